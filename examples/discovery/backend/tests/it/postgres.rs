//! A Postgres server of our own, in a directory of its own, on a Unix socket.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use tempfile::TempDir;

use crate::platform::{signal, until};

/// A running server. Dropping it stops it.
pub struct Cluster {
    directory: TempDir,
    programs: PathBuf,
    server: Mutex<Child>,
    n_databases: AtomicUsize,
}

impl Cluster {
    /// The server that all tests running at this moment share.
    pub fn shared() -> Option<Arc<Self>> {
        static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(cluster) = shared.upgrade() {
            return Some(cluster);
        }
        let cluster = Arc::new(Self::start()?);
        *shared = Arc::downgrade(&cluster);
        Some(cluster)
    }

    /// A server for one test alone. Without an installed Postgres the test skips, aloud.
    pub fn start() -> Option<Self> {
        let Some(programs) = installed() else {
            eprintln!("SKIPPED: PostgreSQL is not installed in /usr/lib/postgresql/*/bin");
            return None;
        };
        let directory = tempfile::tempdir().unwrap();
        if let Some((uid, gid)) = server_user() {
            chown(directory.path(), Some(uid), Some(gid)).unwrap();
        }
        let data = directory.path().join("data");
        let made = command(&programs, "initdb")
            .args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync", "-D"])
            .arg(&data)
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(made.success());
        let server = Mutex::new(start_server(&programs, directory.path()));
        let cluster = Self { directory, programs, server, n_databases: AtomicUsize::new(0) };
        cluster.wait();
        Some(cluster)
    }

    /// The URL of a new, empty database.
    pub fn create_database(&self) -> String {
        let n = self.n_databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("discovery_{n}");
        let created = self.client("createdb").arg(&name).status().unwrap();
        assert!(created.success());
        format!("postgres:///{name}?host={}&user=postgres", self.directory.path().display())
    }

    /// Stops the server; its data stay.
    pub fn stop(&self) {
        let mut server = self.server.lock().unwrap();
        signal(&server, "INT");
        server.wait().unwrap();
    }

    /// Starts it again.
    pub fn start_again(&self) {
        *self.server.lock().unwrap() = start_server(&self.programs, self.directory.path());
        self.wait();
    }

    fn wait(&self) {
        until("Postgres accepts connections", || {
            self.client("pg_isready").arg("-q").status().unwrap().success()
        });
    }

    fn client(&self, name: &str) -> Command {
        let mut command = command(&self.programs, name);
        command.arg("-h").arg(self.directory.path()).args(["-U", "postgres"]);
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let server = self.server.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        if matches!(server.try_wait(), Ok(None)) {
            signal(server, "INT");
            let _ = server.wait();
        }
    }
}

fn start_server(programs: &Path, directory: &Path) -> Child {
    command(programs, "postgres")
        .arg("-D")
        .arg(directory.join("data"))
        .arg("-k")
        .arg(directory)
        .args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "log_min_messages=fatal"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn installed() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let programs = versions.filter_map(|entry| Some(entry.ok()?.path().join("bin")));
    programs.filter(|programs| programs.join("initdb").is_file()).max()
}

/// Postgres refuses to run as root; then it gets the user that its package made.
fn server_user() -> Option<(u32, u32)> {
    let is_root = rustix::process::geteuid().is_root();
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let line = users.lines().find(|line| line.starts_with("postgres:")).filter(|_| is_root)?;
    let mut ids = line.split(':').skip(2).map(|id| id.parse().unwrap());
    Some((ids.next()?, ids.next()?))
}

fn command(programs: &Path, name: &str) -> Command {
    let mut command = Command::new(programs.join(name));
    command.current_dir("/").env("LC_ALL", "C");
    if let Some((uid, gid)) = server_user() {
        command.uid(uid).gid(gid);
    }
    command
}
