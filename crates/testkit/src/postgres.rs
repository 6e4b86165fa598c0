//! A real PostgreSQL server, in a directory and on a port of its own.
//!
//! It refuses to run as root, so root starts it as `postgres`. Invariant: the port stays the same
//! from start to drop, whatever happens to the server between.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    Run,
    wait::{lasting_port, wait_for},
};

const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(60);
/// Fast: sessions are ended, what they had committed is kept.
const SIGINT: i32 = 2;
/// Immediate, as a crash: SIGKILL would leave its children.
const SIGQUIT: i32 = 3;

/// A server with one database, `app`, whose owner needs no password.
#[derive(Debug)]
pub struct Postgres {
    directory: TempDir,
    port: u16,
    run: Option<Run>,
}

impl Postgres {
    /// Starts a server and waits until it answers.
    ///
    /// # Panics
    /// When it is not installed, or does not answer in time.
    #[must_use]
    pub fn start() -> Self {
        let directory = TempDir::new().expect("a temporary directory can be made");
        let mut postgres = Self { directory, port: lasting_port(), run: None };
        if is_root() {
            let owned =
                Command::new("chown").arg("postgres").arg(postgres.directory.path()).status();
            assert!(owned.is_ok_and(|status| status.success()), "`postgres` is a user");
        }
        let data = postgres.data();
        let made = as_server("initdb")
            .args(["--auth=trust", "--username=app", "--encoding=UTF8", "--no-sync", "-D"])
            .arg(data)
            .output()
            .expect("`initdb` starts: run `cargo xtask tools`");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        postgres.spawn();
        let made = postgres.query("postgres", "create database app");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        postgres
    }

    /// The address of the database.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://app@127.0.0.1:{}/app", self.port)
    }

    /// Runs SQL, and returns what it prints without decoration.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn sql(&self, sql: &str) -> String {
        let output = self.query("app", sql);
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Stops it in order.
    pub fn stop(&mut self) {
        self.end(SIGINT);
    }

    /// Stops it as a crash would: it recovers at the next start.
    pub fn kill(&mut self) {
        self.end(SIGQUIT);
    }

    /// Starts it again with the same port and data; a running one is stopped first.
    pub fn restart(&mut self) {
        self.stop();
        self.spawn();
    }

    fn query(&self, database: &str, sql: &str) -> Output {
        let mut psql = Command::new(program("psql"));
        psql.args([
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            "127.0.0.1",
            "-U",
            "app",
        ]);
        psql.args(["-p", &self.port.to_string(), "-d", database, "-c", sql]);
        psql.output().expect("`psql` starts")
    }

    fn spawn(&mut self) {
        let server = as_server("postgres");
        let port = self.port.to_string();
        let socket = format!("unix_socket_directories={}", self.directory.path().display());
        let data = self.data();
        let data = data.to_str().expect("the path is text");
        let settings = ["-D", data, "-h", "127.0.0.1", "-p", &port, "-c", &socket];
        let args = server.get_args().map(ToOwned::to_owned);
        let args: Vec<_> = args.chain(settings.map(Into::into)).collect();
        self.run = Some(Run::start(Path::new(server.get_program()), args));
        wait_for("PostgreSQL to start", START_LIMIT, || {
            self.query("postgres", "select 1").status.success()
        });
    }

    fn end(&mut self, signal: i32) {
        if let Some(mut run) = self.run.take() {
            run.signal(signal);
            run.wait(STOP_LIMIT);
        }
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }
}

impl Drop for Postgres {
    /// Its children show no environment, so the mark of the run does not find them.
    fn drop(&mut self) {
        if let Some(run) = &self.run {
            run.signal(SIGQUIT);
        }
    }
}

/// A program of the server's, as a user that may run it. When the test dies, it dies.
fn as_server(name: &str) -> Command {
    let mut command = Command::new("setpriv");
    if is_root() {
        command.args(["--reuid", "postgres", "--regid", "postgres", "--clear-groups"]);
    }
    command.args(["--pdeathsig", "KILL"]).arg(program(name));
    command
}

fn program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<_> = versions.map(|entry| entry.path().join("bin").join(name)).collect();
    found.retain(|path| path.exists());
    found.sort();
    found.pop().unwrap_or_else(|| name.into())
}

fn is_root() -> bool {
    nix::unistd::Uid::effective().is_root()
}
