//! Starts `plimsoll-run` as users do, with a Unix socket for its admin endpoints: no fixed ports.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use testkit::{Response, Run, get_unix, request_unix, wait_for_some};

/// How long anything of a test may take; the machines that run tests are slow.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
pub(crate) const SIGHUP: i32 = 1;
pub(crate) const SIGINT: i32 = 2;
pub(crate) const SIGQUIT: i32 = 3;
pub(crate) const SIGKILL: i32 = 9;
pub(crate) const SIGUSR1: i32 = 10;
pub(crate) const SIGTERM: i32 = 15;
pub(crate) const SIGSTOP: i32 = 19;

/// The binary that goes into images.
pub(crate) fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_plimsoll-run"))
}

/// Runs `plimsoll-run <flags> --listen off -- <command>`.
pub(crate) fn run<A: AsRef<OsStr>>(flags: &[&str], command: &[A]) -> Run {
    run_with(flags, command, |_| {})
}

/// The same, with more said about the command.
pub(crate) fn run_with<A: AsRef<OsStr>>(
    flags: &[&str],
    command: &[A],
    more: impl FnOnce(&mut Command),
) -> Run {
    let flags = ["--listen", "off"].iter().chain(flags).map(OsStr::new);
    let separator = [OsStr::new("--")];
    let command = command.iter().map(AsRef::as_ref);
    Run::start_with(&binary(), flags.chain(separator).chain(command), more)
}

/// A shell script under `plimsoll-run`.
pub(crate) fn script(flags: &[&str], script: &str) -> Run {
    run(flags, &["sh", "-c", script])
}

/// A running service and its admin socket.
pub(crate) struct Service {
    pub(crate) run: Run,
    sock: PathBuf,
    _directory: tempfile::TempDir,
}

impl Service {
    /// Runs a command with an admin socket of its own.
    pub(crate) fn start<A: AsRef<OsStr>>(flags: &[&str], command: &[A]) -> Self {
        Self::start_with(flags, command, |_| {})
    }

    /// The same, with more said about the command.
    pub(crate) fn start_with<A: AsRef<OsStr>>(
        flags: &[&str],
        command: &[A],
        more: impl FnOnce(&mut Command),
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let sock = directory.path().join("admin.sock");
        let mut all = vec!["--sock", sock.to_str().unwrap()];
        all.extend(flags);
        let run = run_with(&all, command, more);
        Self { run, sock, _directory: directory }
    }

    /// The admin socket.
    pub(crate) fn sock(&self) -> &Path {
        &self.sock
    }

    /// Asks the admin socket; `None` while nobody answers.
    pub(crate) fn ask(&self, path: &str) -> Option<Response> {
        get_unix(&self.sock, path).ok()
    }

    /// Posts nothing to a path of the admin socket.
    #[track_caller]
    pub(crate) fn post(&self, path: &str) -> Response {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        request_unix(&self.sock, &request).unwrap()
    }

    /// Waits until the admin socket answers a path with this status.
    #[track_caller]
    pub(crate) fn wait_for_status(&self, path: &str, status: u16) -> Response {
        wait_for_some(&format!("{status} from {path}"), PATIENCE, || {
            self.ask(path).filter(|response| response.status == status)
        })
    }

    /// The pid of the app, from the line that says so.
    #[track_caller]
    pub(crate) fn app_pid(&self) -> i32 {
        app_pid(&self.run)
    }
}

/// The pid of the app, from the line that says so.
#[track_caller]
pub(crate) fn app_pid(run: &Run) -> i32 {
    let line = run.line("\"app.spawned\"");
    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
    i32::try_from(value["pid"].as_i64().unwrap()).unwrap()
}

/// The pid of the engine: the guard's child that is not the app.
#[track_caller]
pub(crate) fn engine_pid(run: &Run) -> i32 {
    let app = app_pid(run);
    wait_for_some("an engine", PATIENCE, || {
        testkit::children(run.pid()).into_iter().find(|pid| *pid != app && is_engine(*pid))
    })
}

fn is_engine(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/comm"))
        .is_ok_and(|name| name.starts_with("plimsoll-engin"))
}

/// Whether this user may make a process namespace.
pub(crate) fn can_unshare() -> bool {
    let args = ["--pid", "--fork", "--mount-proc", "true"];
    let made = Command::new("unshare").args(args).output();
    made.is_ok_and(|output| output.status.success())
}

/// The `msg` of the app's own lines in a stream, in order.
pub(crate) fn messages(stdout: &str, stream: &str) -> Vec<String> {
    let values =
        stdout.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let ours = values.filter(|value| value["stream"] == stream);
    ours.map(|value| value["msg"].as_str().unwrap_or_default().to_owned()).collect()
}
