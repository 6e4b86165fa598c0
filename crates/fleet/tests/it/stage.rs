//! A place for real processes: a state directory, a hub, a driver, and its news.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fleet::driver::Check;
use fleet::driver::{
    Driver, Launch, Leftovers, NEWS_MAX, News, ProcessDriver, Program, Setup, TaskLaunch,
};
use fleet::hub::Hub;
use fleet::machine::Event;
use nix::sys::signal::Signal;
use tokio::sync::mpsc;

/// Longer than anything here takes on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

pub(crate) struct Stage {
    _directory: tempfile::TempDir,
    pub(crate) hub: Hub,
    pub(crate) driver: ProcessDriver,
    pub(crate) leftovers: Leftovers,
    news: mpsc::Receiver<News>,
}

impl Stage {
    pub(crate) fn new(items: Vec<(&str, Launch)>, tasks: Vec<TaskLaunch>) -> Self {
        let directory = directory();
        let hub = Hub::default();
        let leftovers = Leftovers::make(directory.path()).unwrap();
        let (sender, news) = mpsc::channel(NEWS_MAX);
        let items = items.into_iter().map(|(name, launch)| (name.to_owned(), launch)).collect();
        let driver = ProcessDriver::new(items, tasks, sender, hub.clone(), leftovers.clone());
        Self { _directory: directory, hub, driver, leftovers, news }
    }

    /// The next news that is an event.
    pub(crate) async fn event(&mut self) -> Event {
        let next = async {
            loop {
                if let News::Machine(event) = self.news.recv().await.expect("the driver lives") {
                    return event;
                }
            }
        };
        tokio::time::timeout(LIMIT, next).await.expect("something happens in time")
    }

    /// Waits until the item is ready.
    pub(crate) async fn ready(&mut self) {
        loop {
            match self.event().await {
                Event::Ready { .. } => return,
                Event::Unready { .. } => {}
                other => panic!("not ready: {other:?}; {:?}", self.hub.tail("it", 20)),
            }
        }
    }

    /// Waits until the item's process has ended.
    pub(crate) async fn exited(&mut self) -> Result<(), String> {
        loop {
            if let Event::Exited { result, .. } = self.event().await {
                return result;
            }
        }
    }

    pub(crate) async fn pid(&mut self) -> u32 {
        loop {
            if let Some(News::Pid { pid, .. }) = self.news.recv().await {
                return pid;
            }
        }
    }

    pub(crate) async fn stop(&mut self, run: u32) {
        self.driver.stop(0, run);
        assert_eq!(self.exited().await, Ok(()), "{:?}", self.hub.tail("it", 20));
    }
}

/// A directory that other accounts may enter, as directories of projects are.
pub(crate) fn directory() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(directory.path(), open).unwrap();
    directory
}

/// A shell script as a process.
pub(crate) fn script(script: &str) -> Program {
    Program {
        program: PathBuf::from("sh"),
        args: vec!["-c".into(), script.into()],
        env: [].into(),
        directory: PathBuf::from("/"),
        account: None,
        ports: vec![],
        stop_signal: Signal::SIGTERM,
        setup: Setup::Nothing,
        check: Check::Nothing,
    }
}

pub(crate) fn process(program: Program) -> Launch {
    Launch::Process(Box::new(program))
}

/// Whether a program is in `PATH`.
pub(crate) fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// Whether a process runs.
pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"));
    stat.is_ok_and(|stat| !stat.rsplit(") ").next().unwrap_or_default().starts_with('Z'))
}
