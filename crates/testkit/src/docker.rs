//! A Docker engine of one test's own, with directories, processes and a network of its own.
//!
//! Only root can start one. It lives in namespaces of its own for mounts, processes and the
//! network: its bridges, rules and published ports are seen by nobody else, so that files with
//! fixed ports are started as they are, and whatever it started is gone with it, also when the test
//! is killed. It deliberately has no way out: neither a registry nor a mirror can be reached.
//!
//! Invariant: when it is dropped, no process and no mount of it is left.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::libc::SIGTERM;
use nix::unistd::Uid;
use tempfile::TempDir;

use crate::cache::{DOCKER_ENGINE, tool_cache};
use crate::process::{children, signal};

/// How long it may take to start, on a machine that has much else to do.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How long it may take to stop.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// Between two looks at whether it has.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What images, layers and volumes of one test may take where they are in memory.
const MEMORY_GIB: u64 = 10;
/// What must be free for that. Memory is quicker than a disk, and nothing in it has to be deleted.
const MEMORY_FREE_GIB: u64 = 14;

/// Becomes the engine, once there is a loopback device and a place for its files. It dies with the
/// thread that starts it.
const START: &[&str] = &[
    "setpriv",
    "--pdeathsig=KILL",
    "unshare",
    "--net",
    "--mount",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
    "sh",
    "-c",
    "ip link set lo up && eval \"$MOUNT\" && exec dockerd --data-root \"$DATA\" \"$@\"",
    "sh",
];

/// A running engine; it ends when dropped.
#[derive(Debug)]
pub struct Docker {
    unshare: Child,
    directory: TempDir,
}

impl Docker {
    /// Starts one and waits until it answers.
    ///
    /// # Errors
    /// Why none can be started here.
    ///
    /// # Panics
    /// When there is no place for its files.
    pub fn start() -> Result<Self, String> {
        if !Uid::effective().is_root() {
            return Err("only root can start a Docker engine".to_owned());
        }
        let directory = TempDir::new().expect("a temporary directory can be made");
        let place = |name: &str| directory.path().join(name).display().to_string();
        let config = directory.path().join("config");
        fs::create_dir(&config).expect("the directory is new");
        fs::create_dir(directory.path().join("data")).expect("the directory is new");
        symlink(tools().join("cli-plugins"), config.join("cli-plugins")).expect("it is new");
        let log = fs::File::create(place("log")).expect("the directory is new");
        let out = log.try_clone().expect("a file can be opened twice");
        let (program, before) = START.split_first().expect("it is not empty");
        let unshare = Command::new(program)
            .args(before)
            .args(["--exec-root", &place("exec")])
            .args(["--pidfile", &place("pid"), "--host", &format!("unix://{}", place("sock"))])
            .env("PATH", path())
            .env("DATA", place("data"))
            .env("MOUNT", mount())
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(log)
            .spawn()
            .map_err(|error| format!("cannot start `{program}`: {error}"))?;
        let mut docker = Self { unshare, directory };
        docker.wait_until_it_answers()?;
        Ok(docker)
    }

    /// The same for a test: None where none can be started, which is said aloud, and which is a
    /// failure where CI runs.
    ///
    /// # Panics
    /// When `CI` is `true` and none can be started.
    pub fn start_or_skip() -> Option<Self> {
        Self::start().map_err(|error| skip(&format!("no Docker engine: {error}"))).ok()
    }

    /// The client, talking to it.
    pub fn command(&self) -> Command {
        let directory = self.directory.path();
        let mut command = Command::new("docker");
        command
            .env("PATH", path())
            .env("DOCKER_HOST", format!("unix://{}", directory.join("sock").display()))
            .env("DOCKER_CONFIG", directory.join("config"))
            .stdin(Stdio::null());
        command
    }

    /// What the client says, whether it succeeds or not.
    ///
    /// # Panics
    /// When there is no client.
    pub fn output(&self, args: &[&str]) -> Output {
        self.command().args(args).output().expect("there is a client, since the engine answers it")
    }

    /// What the client says; it must succeed.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn done(&self, args: &[&str]) -> String {
        done(self.command().args(args))
    }

    /// A program among the engine's processes, in its network: where published ports are.
    pub fn inside(&self, program: &str) -> Command {
        let pid = self.pid().unwrap_or_default().to_string();
        let mut command = Command::new("nsenter");
        command.args(["--target", &pid, "--net", "--mount", "--pid", program]).env("PATH", path());
        command
    }

    /// What a file says to a process among the engine's; empty if it cannot be read.
    ///
    /// # Panics
    /// When there is no `cat`.
    pub fn read(&self, file: &str) -> String {
        let output = self.inside("cat").arg(file).output().expect("there is a `cat`");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A directory of its own, removed with it.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The engine's own process, which is the first of its namespace.
    fn pid(&self) -> Option<i32> {
        children(i32::try_from(self.unshare.id()).ok()?).first().copied()
    }

    fn wait_until_it_answers(&mut self) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            let answer = self.command().args(["info", "--format", "{{.ServerVersion}}"]).output();
            let answer = answer.map_err(|error| format!("cannot start `docker`: {error}"))?;
            if answer.status.success() {
                return Ok(());
            }
            let has_ended = !matches!(self.unshare.try_wait(), Ok(None));
            if has_ended || begun.elapsed() > START_LIMIT {
                let log = fs::read_to_string(self.directory.path().join("log"));
                let log = log.unwrap_or_default();
                let last: Vec<_> = log.lines().rev().take(5).collect();
                let mut said = "it does not start".to_owned();
                for line in last.iter().rev() {
                    let _ = write!(said, "\n{line}");
                }
                return Err(said);
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        // Without a client nothing was started.
        let listed = self.command().args(["ps", "--all", "--quiet"]).output();
        let listed = listed.map(|listed| listed.stdout).unwrap_or_default();
        let listed = String::from_utf8_lossy(&listed).into_owned();
        if !listed.trim().is_empty() {
            let mut remove = self.command();
            remove.args(["rm", "--force", "--volumes"]).args(listed.split_whitespace());
            let _ = remove.output();
        }
        if let Some(pid) = self.pid() {
            signal(pid, SIGTERM);
        }
        let begun = Instant::now();
        while matches!(self.unshare.try_wait(), Ok(None)) && begun.elapsed() < STOP_LIMIT {
            std::thread::sleep(LOOK_AGAIN);
        }
        // Whatever is left dies with the first process of its namespace.
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
    }
}

/// What puts the engine's files into memory, if there is enough.
fn mount() -> String {
    let about = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let mut lines = about.lines().filter_map(|line| line.strip_prefix("MemAvailable:"));
    let free = lines.next().and_then(|kib| kib.trim().trim_end_matches(" kB").parse().ok());
    if free.unwrap_or(0_u64) < MEMORY_FREE_GIB << 20 {
        return "true".to_owned();
    }
    format!("mount -t tmpfs -o size={MEMORY_GIB}g,mode=711 tmpfs \"$DATA\"")
}

/// Says aloud why a test is skipped, which is a failure where CI runs.
#[expect(clippy::panic, clippy::print_stderr, reason = "a test fails or skips aloud")]
pub(crate) fn skip(why: &str) {
    if std::env::var_os("CI").is_some_and(|ci| ci == "true") {
        panic!("{why}");
    }
    eprintln!("skipped: {why}");
}

/// What a program says that must succeed.
#[track_caller]
pub(crate) fn done(command: &mut Command) -> String {
    let output = command.output().expect("the program is there");
    let (stdout, stderr) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?} ({}): {stdout}{stderr}", output.status);
    stdout.trim().to_owned()
}

/// Where `cargo xtask tools` puts an engine.
fn tools() -> PathBuf {
    tool_cache().join(DOCKER_ENGINE)
}

/// Where programs are looked for: ours before those of the machine.
fn path() -> std::ffi::OsString {
    let machine = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let all = [tools().join("bin")].into_iter().chain(std::env::split_paths(&machine));
    std::env::join_paths(all.chain(system)).expect("they came from such a list")
}
