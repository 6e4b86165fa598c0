//! What a platform that was killed left behind: one small file per process, `<pid> <signal>
//! <start>`, in a directory of that one `up`.
//!
//! A directory each, because the watchdog of a platform that was killed may still be at work when
//! the next `up` starts: it must find only what its own platform started.
//!
//! The watchdog reads the same files the moment `up` dies; the next `up` reads them in case the
//! watchdog died too. A process id alone proves nothing, so the start time in `/proc` is compared.
//!
//! *Invariant: a process is only signalled when its start time is the one that was written.*

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

/// How long what was left behind gets to end before it is killed.
const END_LIMIT: Duration = Duration::from_secs(10);
/// How long what was killed gets to be gone.
const KILL_LIMIT: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The directories of those files.
#[derive(Debug, Clone)]
pub struct Leftovers {
    all: PathBuf,
    own: PathBuf,
}

/// A process that outlived its platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// The item it was.
    pub name: String,
    /// Its process id, also of its group.
    pub pid: i32,
    signal: i32,
    started: u64,
    file: PathBuf,
}

impl Leftovers {
    /// Makes a directory for this process within `all`, which exists.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make(all: &Path) -> io::Result<Self> {
        let own = all.join(format!("up-{}", std::process::id()));
        fs::create_dir_all(&own)?;
        Ok(Self { all: all.to_owned(), own })
    }

    /// Where the processes that this one starts are noted.
    pub fn directory(&self) -> &Path {
        &self.own
    }

    /// Removes what is empty by now; what is not may be another watchdog's.
    pub fn close(&self) {
        let directories = fs::read_dir(&self.all).into_iter().flatten().flatten();
        for directory in directories.filter(|entry| entry.path().is_dir()) {
            let _ = fs::remove_dir(directory.path());
        }
    }

    /// Notes a process that was started.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn note(&self, name: &str, pid: u32, signal: Signal) -> io::Result<()> {
        let started = i32::try_from(pid).ok().and_then(start_time).unwrap_or(0);
        fs::write(self.file(name), format!("{pid} {} {started}\n", signal as i32))
    }

    /// Forgets a process that ended.
    pub fn forget(&self, name: &str) {
        // A file that stays is harmless: its start time fits no process.
        let _ = fs::remove_file(self.file(name));
    }

    /// The processes that were noted and still run.
    pub fn find(&self) -> Vec<Leftover> {
        let directories = fs::read_dir(&self.all).into_iter().flatten().flatten();
        let files = directories.filter_map(|entry| fs::read_dir(entry.path()).ok()).flatten();
        let mut found: Vec<_> = files.flatten().filter_map(|entry| read(&entry.path())).collect();
        found.retain(Leftover::is_alive);
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found
    }

    /// Ends what [`Self::find`] found, first politely, and forgets every file.
    pub async fn end(&self, found: &[Leftover]) {
        for left in found {
            if let Ok(signal) = Signal::try_from(left.signal) {
                let _ = kill(Pid::from_raw(left.pid), signal);
            }
        }
        wait_until_gone(found, END_LIMIT).await;
        for left in found.iter().filter(|left| left.is_alive()) {
            let _ = killpg(Pid::from_raw(left.pid), Signal::SIGKILL);
            let _ = kill(Pid::from_raw(left.pid), Signal::SIGKILL);
        }
        wait_until_gone(found, KILL_LIMIT).await;
        // The watchdog may have been faster.
        found.iter().for_each(|left| drop(fs::remove_file(&left.file)));
    }

    fn file(&self, name: &str) -> PathBuf {
        self.own.join(format!("{name}.pid"))
    }
}

impl Leftover {
    fn is_alive(&self) -> bool {
        start_time(self.pid).is_some_and(|started| started == self.started)
    }
}

async fn wait_until_gone(found: &[Leftover], limit: Duration) {
    let gone = async {
        while found.iter().any(Leftover::is_alive) {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    let _ = tokio::time::timeout(limit, gone).await;
}

fn read(path: &Path) -> Option<Leftover> {
    let name = path.file_name()?.to_str()?.strip_suffix(".pid")?.to_owned();
    let text = fs::read_to_string(path).ok()?;
    let mut words = text.split_whitespace();
    let pid = words.next()?.parse().ok().filter(|pid| *pid > 1)?;
    let signal = words.next()?.parse().ok()?;
    let started = words.next()?.parse().ok()?;
    Some(Leftover { name, pid, signal, started, file: path.to_owned() })
}

/// When a process was started, in ticks since the machine was; `None` when there is none.
fn start_time(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses and may hold anything.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let is_zombie = fields.next()? == "Z";
    if is_zombie { None } else { fields.nth(18)?.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_id_that_was_given_anew_is_not_a_leftover() {
        let directory = tempfile::tempdir().unwrap();
        let leftovers = Leftovers::make(directory.path()).unwrap();
        leftovers.note("me", std::process::id(), Signal::SIGTERM).unwrap();
        assert_eq!(leftovers.find().len(), 1);
        fs::write(leftovers.file("me"), format!("{} 15 7\n", std::process::id())).unwrap();
        assert_eq!(leftovers.find(), []);
    }

    #[test]
    fn files_that_say_nothing_sensible_are_not_leftovers() {
        let directory = tempfile::tempdir().unwrap();
        let leftovers = Leftovers::make(directory.path()).unwrap();
        for (name, text) in [("a.pid", ""), ("b.pid", "1 15 0"), ("c.pid", "-5 9 1"), ("d", "x")] {
            fs::write(leftovers.directory().join(name), text).unwrap();
        }
        assert_eq!(leftovers.find(), []);
    }

    #[test]
    fn what_an_earlier_platform_left_is_found_and_its_directory_goes() {
        let directory = tempfile::tempdir().unwrap();
        let earlier = directory.path().join("up-1");
        fs::create_dir(&earlier).unwrap();
        let leftovers = Leftovers::make(directory.path()).unwrap();
        leftovers.note("me", std::process::id(), Signal::SIGTERM).unwrap();
        fs::rename(leftovers.file("me"), earlier.join("me.pid")).unwrap();
        let found = leftovers.find();
        assert_eq!(found.len(), 1);
        fs::remove_file(&found[0].file).unwrap();
        leftovers.close();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
