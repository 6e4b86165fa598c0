//! Tells which services' files changed, a while after the last of a burst of changes.
//!
//! ```text
//! notify's thread --bounded channel--> Watch::next: ignored? --> whose? --> Debounce --> Change
//! ```
//!
//! Directories that are ignored are not watched at all, so that a large `node_modules` costs
//! nothing. It deliberately neither builds nor restarts anything. Invariant: a change of a watched
//! file is reported; when events were lost, every service counts as changed.

mod debounce;
mod ignored;
mod restless;
mod roots;
mod seen;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use notify::event::{MetadataKind, ModifyKind};
use notify::{Config, EventKind, PollWatcher, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::Instant;

use debounce::Debounce;
use ignored::Ignored;
use restless::{Meaning, Restless};
pub use roots::{Root, roots};
use seen::Seen;

/// How long nothing must change before a burst counts as over.
const QUIET: Duration = Duration::from_millis(300);
/// How long a burst is waited out at most.
const BURST_MAX: Duration = Duration::from_secs(2);
/// How often files are looked at when the kernel does not tell.
const POLL_INTERVAL: Duration = Duration::from_secs(2);
/// How many directories are watched at most.
const DIRECTORIES_MAX: usize = 20_000;
/// How many events may wait; when there are more, every service counts as changed.
const EVENTS_MAX: usize = 4_096;
/// How many changed files of one service are named.
const PATHS_MAX: usize = 10;

/// How changes are noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// The kernel tells.
    Events,
    /// The files are looked at again and again.
    Polling,
}

/// What changed since the last time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// Services with some of their changed files; without any, when events were lost.
    pub services: BTreeMap<String, Vec<PathBuf>>,
    /// Whether the manifest changed.
    pub is_manifest: bool,
    /// Files that change by themselves, and are left alone from now on.
    pub restless: Vec<PathBuf>,
}

/// Why files cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// More directories than are sensible.
    #[error(
        "more than {DIRECTORIES_MAX} directories to watch below `{}`\nhelp: name large ones in `.gitignore`, or start with `--no-watch`",
        path.display()
    )]
    TooMany {
        /// The service's directory.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("cannot watch `{}`: {source}\nhelp: start with `--no-watch`", path.display())]
    Refused {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: notify::Error,
    },
}

/// Watches the files of a platform.
pub struct Watch {
    watcher: Box<dyn Watcher + Send>,
    method: Method,
    events: mpsc::Receiver<PathBuf>,
    has_lost_events: Arc<AtomicBool>,
    roots: Vec<Root>,
    manifest: PathBuf,
    ignored: Ignored,
    watched: BTreeSet<PathBuf>,
    debounce: Debounce,
    seen: Seen,
    restless: Restless,
    own_outputs: Vec<PathBuf>,
}

impl Watch {
    /// Watches these roots and the manifest.
    ///
    /// Falls back to polling when the kernel's limit of watches is reached; see
    /// [`Watch::limit_message`].
    ///
    /// # Errors
    /// When there are too many directories, or the system refuses for another reason.
    pub fn start(roots: Vec<Root>, manifest: &Path, method: Method) -> Result<Self, WatchError> {
        let manifest = canonical(manifest);
        let roots: Vec<Root> = roots.into_iter().map(Root::canonical).collect();
        let top = manifest.parent().unwrap_or(Path::new("/")).to_owned();
        let mut ignored = Ignored::new(&top, &roots);
        let directories = directories(&roots, &top, &mut ignored)?;
        match watch_all(&directories, method) {
            Err(WatchError::Refused { source, .. }) if is_limit(&source) => {
                watch_all(&directories, Method::Polling)
            }
            other => other,
        }
        .map(|watching| Self {
            watcher: watching.watcher,
            method: watching.method,
            events: watching.events,
            has_lost_events: watching.has_lost_events,
            roots,
            manifest,
            ignored,
            watched: directories,
            debounce: Debounce::new(QUIET, BURST_MAX),
            seen: Seen::default(),
            restless: Restless::default(),
            own_outputs: restless::own_outputs(),
        })
    }

    /// How changes are noticed.
    pub fn method(&self) -> Method {
        self.method
    }

    /// What to tell the user when polling was not asked for.
    pub fn limit_message(&self) -> String {
        let limit = std::fs::read_to_string("/proc/sys/fs/inotify/max_user_watches");
        let limit = limit.map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned());
        format!(
            "the kernel's limit of watched directories is reached (fs.inotify.max_user_watches = \
             {limit}, {n} needed here); looking at files every {seconds} s instead\n\
             help: sudo sysctl fs.inotify.max_user_watches=524288",
            n = self.watched.len(),
            seconds = POLL_INTERVAL.as_secs(),
        )
    }

    /// Waits for the next change; a burst of changes is one.
    ///
    /// Cancelling loses nothing.
    pub async fn next(&mut self) -> Change {
        loop {
            let due = self.debounce.due();
            let quiet = async {
                match due {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = quiet => {
                    let change = self.take();
                    if change != Change::default() {
                        return change;
                    }
                }
                event = self.events.recv() => match event {
                    Some(path) => self.note(&path),
                    // The watcher lives as long as we do, so its thread has died.
                    None => std::future::pending().await,
                },
            }
        }
    }

    fn take(&mut self) -> Change {
        let mut change = Change::default();
        for path in self.debounce.take() {
            if !self.seen.is_news(&path) {
                continue;
            }
            if path == self.manifest {
                change.is_manifest = true;
                continue;
            }
            match self.restless.judge(&path, Instant::now()) {
                Meaning::Change => {}
                Meaning::BecameRestless => {
                    change.restless.push(path);
                    continue;
                }
                Meaning::Restless => continue,
            }
            for service in owners(&self.roots, &path) {
                let paths = change.services.entry(service.to_owned()).or_default();
                if paths.len() < PATHS_MAX {
                    paths.push(path.clone());
                }
            }
        }
        if self.has_lost_events.swap(false, Ordering::Relaxed) {
            for root in &self.roots {
                change.services.entry(root.service.clone()).or_default();
            }
        }
        change
    }

    fn note(&mut self, path: &Path) {
        let now = Instant::now();
        if self.has_lost_events.load(Ordering::Relaxed) || path == self.manifest {
            self.debounce.note(path.to_owned(), now);
            return;
        }
        let is_owned = owners(&self.roots, path).next().is_some();
        if !is_owned && !self.has_root_below(path) {
            return;
        }
        if path.file_name().is_some_and(|name| name == ".gitignore") {
            self.ignored.forget();
        }
        if self.ignored.is_ignored(path) || self.own_outputs.iter().any(|own| own == path) {
            return;
        }
        if !path.is_dir() {
            self.watched.remove(path);
            if is_owned {
                self.debounce.note(path.to_owned(), now);
            }
            return;
        }
        // Polling reports a directory whose entries changed; each entry that matters is too.
        if self.method == Method::Events || !self.watched.contains(path) {
            for file in self.watch_new(path) {
                self.debounce.note(file, now);
            }
        }
    }

    fn has_root_below(&self, path: &Path) -> bool {
        self.roots.iter().flat_map(|root| &root.paths).any(|root| root.starts_with(path))
    }

    /// Watches what appeared, and names the files that were there before the watch was.
    ///
    /// A directory beyond the limits stays unwatched: the platform runs on.
    fn watch_new(&mut self, path: &Path) -> Vec<PathBuf> {
        let mut found = BTreeSet::new();
        if walk(path, &mut self.ignored, &mut found).is_err() {
            return Vec::new();
        }
        let mut files = Vec::new();
        for directory in found {
            if self.watched.len() < DIRECTORIES_MAX
                && self.watcher.watch(&directory, RecursiveMode::NonRecursive).is_ok()
            {
                let entries = std::fs::read_dir(&directory).into_iter().flatten().flatten();
                let entries = entries.map(|entry| entry.path()).filter(|path| !path.is_dir());
                files.extend(entries.filter(|path| !self.ignored.is_ignored(path)));
                self.watched.insert(directory);
            }
        }
        files.retain(|file| owners(&self.roots, file).next().is_some());
        files
    }
}

/// The services that a path belongs to: those with the deepest root that holds it.
fn owners<'a>(roots: &'a [Root], path: &Path) -> impl Iterator<Item = &'a str> {
    let depth = |root: &Root| {
        let holding = root.paths.iter().filter(|holding| path.starts_with(holding));
        holding.map(|holding| holding.components().count()).max()
    };
    let deepest = roots.iter().filter_map(depth).max();
    let deepest: Vec<&str> = roots
        .iter()
        .filter(|root| deepest.is_some() && depth(root) == deepest)
        .map(|root| root.service.as_str())
        .collect();
    deepest.into_iter()
}

struct Watching {
    watcher: Box<dyn Watcher + Send>,
    method: Method,
    events: mpsc::Receiver<PathBuf>,
    has_lost_events: Arc<AtomicBool>,
}

fn watch_all(directories: &BTreeSet<PathBuf>, method: Method) -> Result<Watching, WatchError> {
    let (sender, events) = mpsc::channel(EVENTS_MAX);
    let has_lost_events = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&has_lost_events);
    let on_event = move |event: notify::Result<notify::Event>| {
        let Ok(event) = event else { return flag.store(true, Ordering::Relaxed) };
        if event.need_rescan() {
            flag.store(true, Ordering::Relaxed);
        }
        if !is_change(event.kind, method) {
            return;
        }
        for path in event.paths {
            if sender.try_send(path).is_err() {
                flag.store(true, Ordering::Relaxed);
            }
        }
    };
    let refused = |path: &Path, source| WatchError::Refused { path: path.to_owned(), source };
    let nowhere = Path::new("");
    let mut watcher: Box<dyn Watcher + Send> = match method {
        Method::Events => Box::new(
            RecommendedWatcher::new(on_event, Config::default())
                .map_err(|source| refused(nowhere, source))?,
        ),
        Method::Polling => {
            let config = Config::default().with_poll_interval(POLL_INTERVAL);
            Box::new(PollWatcher::new(on_event, config).map_err(|source| refused(nowhere, source))?)
        }
    };
    for directory in directories {
        watcher
            .watch(directory, RecursiveMode::NonRecursive)
            .map_err(|source| refused(directory, source))?;
    }
    Ok(Watching { watcher, method, events, has_lost_events })
}

/// Whether the kernel has no more watches, or no more watchers, to give.
fn is_limit(error: &notify::Error) -> bool {
    match &error.kind {
        notify::ErrorKind::MaxFilesWatch => true,
        notify::ErrorKind::Io(error) => {
            error.raw_os_error() == Some(nix::errno::Errno::EMFILE as i32)
                || error.raw_os_error() == Some(nix::errno::Errno::ENOSPC as i32)
        }
        _ => false,
    }
}

/// Whether an event changes what a program would read.
fn is_change(kind: EventKind, method: Method) -> bool {
    match kind {
        EventKind::Access(_) => false,
        // Polling sees a new content only by its time.
        EventKind::Modify(ModifyKind::Metadata(MetadataKind::WriteTime)) => true,
        EventKind::Modify(ModifyKind::Metadata(_)) => method == Method::Polling,
        _ => true,
    }
}

/// All directories to watch: those of the services, and the manifest's own.
fn directories(
    roots: &[Root],
    top: &Path,
    ignored: &mut Ignored,
) -> Result<BTreeSet<PathBuf>, WatchError> {
    let mut found = BTreeSet::from([top.to_owned()]);
    for path in roots.iter().flat_map(|root| &root.paths) {
        walk(path, ignored, &mut found)?;
        // A root that is created again later is seen by the directory that holds it.
        found.extend(path.parent().filter(|parent| parent.is_dir()).map(Path::to_owned));
    }
    Ok(found)
}

fn walk(
    root: &Path,
    ignored: &mut Ignored,
    found: &mut BTreeSet<PathBuf>,
) -> Result<(), WatchError> {
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        // What cannot be read (any more) has no changes that we could see.
        let Ok(entries) = std::fs::read_dir(&directory) else { continue };
        found.insert(directory);
        if found.len() > DIRECTORIES_MAX {
            return Err(WatchError::TooMany { path: root.to_owned() });
        }
        for entry in entries.flatten() {
            // Links are not followed: they may lead out, or in circles.
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_directory && !ignored.is_ignored(&entry.path()) {
                pending.push(entry.path());
            }
        }
    }
    Ok(())
}

/// The path as the kernel names it in events; as it is when it does not exist.
fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    /// Longer than any machine needs to tell of a change.
    const PATIENCE: Duration = Duration::from_secs(30);

    struct Files {
        _directory: TempDir,
        top: PathBuf,
        watch: Watch,
    }

    /// A manifest and two services, of which `web` lies inside the directory of `api`.
    fn files(method: Method) -> Files {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path().canonicalize().unwrap();
        fs::create_dir_all(top.join("api/web/src")).unwrap();
        fs::create_dir_all(top.join("api/node_modules/x")).unwrap();
        fs::write(top.join("plimsoll.yaml"), "plimsoll: 1").unwrap();
        fs::write(top.join("api/.gitignore"), "*.out\nbuild/\n").unwrap();
        let root = |service: &str, path: &str| Root {
            service: service.into(),
            paths: vec![top.join(path)],
            ignore: Vec::new(),
        };
        let roots = vec![root("api", "api"), root("worker", "api"), root("web", "api/web")];
        let watch = Watch::start(roots, &top.join("plimsoll.yaml"), method).unwrap();
        Files { _directory: directory, top, watch }
    }

    impl Files {
        fn write(&self, path: &str) {
            fs::write(self.top.join(path), path).unwrap();
        }

        async fn change(&mut self) -> Change {
            tokio::time::timeout(PATIENCE, self.watch.next()).await.expect("no change was seen")
        }
    }

    fn services(change: &Change) -> Vec<&str> {
        change.services.keys().map(String::as_str).collect()
    }

    #[tokio::test]
    async fn a_change_belongs_to_every_service_of_the_nearest_root() {
        let mut files = files(Method::Events);
        files.write("api/main.py");
        let change = files.change().await;
        assert_eq!(services(&change), ["api", "worker"]);
        assert_eq!(change.services["api"], [files.top.join("api/main.py")]);
        files.write("api/web/src/index.html");
        assert_eq!(services(&files.change().await), ["web"]);
    }

    #[tokio::test]
    async fn what_git_ignores_is_no_change() {
        let mut files = files(Method::Events);
        for ignored in ["api/a.out", "api/node_modules/x/index.js", "api/data.sqlite"] {
            files.write(ignored);
        }
        fs::create_dir_all(files.top.join("api/build/deep")).unwrap();
        files.write("api/build/deep/a.js");
        files.write("api/seen.py");
        let change = files.change().await;
        assert_eq!(change.services["api"], [files.top.join("api/seen.py")]);
    }

    #[tokio::test]
    async fn a_burst_is_one_change() {
        let mut files = files(Method::Events);
        for n in 0..50 {
            files.write(&format!("api/{n}.py"));
        }
        let change = files.change().await;
        assert_eq!(change.services["api"].len(), PATHS_MAX);
        assert_eq!(files.watch.debounce.due(), None);
    }

    #[tokio::test]
    async fn files_in_a_new_directory_are_seen() {
        let mut files = files(Method::Events);
        fs::create_dir_all(files.top.join("api/new/deep")).unwrap();
        files.write("api/new/deep/a.py");
        let change = files.change().await;
        assert_eq!(change.services["api"], [files.top.join("api/new/deep/a.py")]);
    }

    #[tokio::test]
    async fn a_root_that_goes_and_comes_back_is_watched_again() {
        let mut files = files(Method::Events);
        files.write("api/main.py");
        files.change().await;
        fs::remove_dir_all(files.top.join("api")).unwrap();
        files.change().await;
        fs::create_dir_all(files.top.join("api/web")).unwrap();
        files.write("api/web/again.html");
        assert_eq!(services(&files.change().await), ["web"]);
    }

    #[tokio::test]
    async fn a_change_of_the_manifest_is_told_apart() {
        let mut files = files(Method::Events);
        files.write("other.yaml");
        files.write("plimsoll.yaml");
        let change = files.change().await;
        assert!(change.is_manifest);
        assert!(change.services.is_empty());
    }

    #[tokio::test]
    async fn an_output_written_again_with_the_same_bytes_is_no_change() {
        let mut files = files(Method::Events);
        files.write("api/output.js");
        files.change().await;
        fs::remove_file(files.top.join("api/output.js")).unwrap();
        files.write("api/output.js");
        files.write("api/main.py");
        let change = files.change().await;
        assert_eq!(change.services["api"], [files.top.join("api/main.py")]);
    }

    #[tokio::test]
    async fn polling_sees_the_same() {
        let mut files = files(Method::Polling);
        files.write("api/a.out");
        files.write("api/main.py");
        let change = files.change().await;
        assert_eq!(change.services["api"], [files.top.join("api/main.py")]);
    }

    #[tokio::test]
    async fn lost_events_change_every_service() {
        let mut files = files(Method::Events);
        files.watch.has_lost_events.store(true, Ordering::Relaxed);
        files.write("api/a.out");
        assert_eq!(services(&files.change().await), ["api", "web", "worker"]);
    }

    #[tokio::test]
    async fn an_ignore_file_that_changes_counts_at_once() {
        let mut files = files(Method::Events);
        fs::write(files.top.join("api/.gitignore"), "*.py\n").unwrap();
        files.change().await;
        files.write("api/main.py");
        files.write("api/a.out");
        let change = files.change().await;
        assert_eq!(change.services["api"], [files.top.join("api/a.out")]);
    }
}
