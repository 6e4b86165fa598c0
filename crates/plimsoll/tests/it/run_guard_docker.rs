//! As the real PID 1 of a container that holds nothing but us and a small program.
//!
//! Starts a Docker engine of its own, with a directory of its own and no network, which needs root.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails or skips aloud")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use testkit::{signal, wait_for, wait_for_some};

use crate::run_harness::{PATIENCE, SIGTERM, binary};

/// How long the engine may take to start, on a machine that has much else to do.
const ENGINE_LIMIT: Duration = Duration::from_secs(40);

/// The application: says what it is, leaves orphans behind, and lives until SIGTERM.
const APP: &str = r#"
use std::{io::Write, process::Command, thread::sleep, time::Duration};
fn main() {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        // Ends at once and leaves a child, which is nobody's but PID 1's.
        Some("leave") => drop(Command::new(&args[0]).arg("orphan").spawn().unwrap()),
        Some("orphan") => sleep(Duration::from_millis(200)),
        Some("stay") => sleep(Duration::from_secs(600)),
        Some(code) => std::process::exit(code.parse().unwrap()),
        None => {
            for _ in 0..3 {
                Command::new(&args[0]).arg("leave").status().unwrap();
            }
            drop(Command::new(&args[0]).arg("stay").spawn().unwrap());
            println!("up as {}", std::process::id());
            std::io::stdout().flush().unwrap();
            sleep(Duration::from_secs(600));
        }
    }
}
"#;

/// A Docker engine of this test's own.
struct Engine {
    process: Child,
    directory: tempfile::TempDir,
}

impl Engine {
    /// None where there is no Docker engine or we may not start it, which is said.
    fn start() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        let log = fs::File::create(path("log")).unwrap();
        let mut dockerd = Command::new("dockerd");
        dockerd.args(["--data-root", &path("data"), "--exec-root", &path("exec")]);
        dockerd.args(["--pidfile", &path("pid"), "--host", &format!("unix://{}", path("sock"))]);
        dockerd.args(["--bridge=none", "--iptables=false", "--storage-driver=vfs"]);
        dockerd.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let process = dockerd.spawn().inspect_err(|error| eprintln!("skipped: dockerd: {error}"));
        let mut engine = Self { process: process.ok()?, directory };
        let begun = Instant::now();
        while !engine.docker(&["info", "--format", "{{.ServerVersion}}"]).status.success() {
            let has_ended = engine.process.try_wait().unwrap().is_some();
            if has_ended || begun.elapsed() > ENGINE_LIMIT {
                let log = fs::read_to_string(engine.directory.path().join("log")).unwrap();
                eprintln!("skipped: no Docker engine can be started here:\n{log}");
                return None;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(engine)
    }

    fn docker(&self, args: &[&str]) -> Output {
        let sock = format!("unix://{}", self.directory.path().join("sock").display());
        Command::new("docker").env("DOCKER_HOST", sock).args(args).output().unwrap()
    }

    /// What a command says that must succeed.
    #[track_caller]
    fn done(&self, args: &[&str]) -> String {
        let output = self.docker(args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "docker {args:?}: {stderr}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// An image of nothing but the files of a directory.
    fn image(&self, root: &Path) {
        let archive = self.directory.path().join("root.tar");
        let (archive, root) = (archive.display().to_string(), root.display().to_string());
        assert!(
            Command::new("tar")
                .args(["-cf", &archive, "-C", &root, "."])
                .status()
                .unwrap()
                .success()
        );
        self.done(&["import", &archive, "plimsoll-test:1"]);
    }

    /// Starts a container; its name and the pid that its PID 1 has outside.
    fn run(&self, name: &str, flags: &[&str], command: &[&str]) -> i32 {
        let mut args = vec!["run", "--detach", "--network=none", "--name", name];
        args.extend(flags);
        args.extend(["plimsoll-test:1", "/plimsoll-run"]);
        args.extend(command);
        self.done(&args);
        self.done(&["inspect", "--format", "{{.State.Pid}}", name]).parse().unwrap()
    }

    fn logs(&self, name: &str) -> String {
        self.done(&["logs", name])
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        for container in self.done(&["ps", "--all", "--quiet"]).lines() {
            let _ = self.docker(&["rm", "--force", container]);
        }
        // It ends its containerd too, which SIGKILL would leave behind.
        signal(i32::try_from(self.process.id()).unwrap_or_default(), SIGTERM);
        let _ = self.process.wait();
    }
}

/// A root directory with this program, the libraries that it needs if it is not static, and the
/// application, which is.
fn root(directory: &Path) -> PathBuf {
    let root = directory.join("root");
    fs::create_dir_all(root.join("tmp")).unwrap();
    let program = std::env::var_os("PLIMSOLL_STATIC_BINARY").map_or_else(binary, PathBuf::from);
    fs::copy(&program, root.join("plimsoll-run")).unwrap();
    let needs = Command::new("ldd").arg(&program).output().unwrap();
    let needs = String::from_utf8_lossy(&needs.stdout).into_owned();
    for library in needs.split_whitespace().filter(|word| word.starts_with('/')) {
        let place = root.join(library.trim_start_matches('/'));
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::copy(library, place).unwrap();
    }
    let source = directory.join("app.rs");
    fs::write(&source, APP).unwrap();
    let built = Command::new("rustc")
        .args(["-C", "target-feature=+crt-static", "-o"])
        .arg(root.join("app"))
        .arg(&source)
        .status();
    assert!(built.unwrap().success());
    root
}

fn children(parent: i32) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let stats = entries.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    stats
        .filter_map(|stat| stat.rsplit_once(") ").map(|(_, rest)| rest.to_owned()))
        .filter(|rest| rest.split(' ').nth(1) == Some(&parent.to_string()))
        .collect()
}

#[test]
fn under_docker_as_pid_1_of_an_empty_image_everything_holds() {
    let Some(engine) = Engine::start() else { return };
    let directory = tempfile::tempdir().unwrap();
    engine.image(&root(directory.path()));

    let guard = engine.run("service", &["--stop-signal=TERM"], &["--", "/app"]);
    wait_for("the app", PATIENCE, || engine.logs("service").contains("up as "));
    // As Docker's HEALTHCHECK would ask.
    for probe in ["live", "ready", "started"] {
        wait_for(probe, PATIENCE, || {
            engine.docker(&["exec", "service", "/plimsoll-run", "probe", probe]).status.success()
        });
    }
    wait_for("the orphans to be reaped", PATIENCE, || {
        let children = children(guard);
        // The engine and the app.
        children.len() == 2 && children.iter().all(|child| !child.starts_with('Z'))
    });
    let begun = Instant::now();
    engine.done(&["stop", "--time", "30", "service"]);
    eprintln!("docker stop took {:?}", begun.elapsed());
    let code = engine.done(&["inspect", "--format", "{{.State.ExitCode}}", "service"]);
    assert_eq!(code, "143");
    let logs = engine.logs("service");
    for line in logs.lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
    }
    assert!(logs.contains("shutdown.end"), "{logs}");

    for code in ["0", "42", "255"] {
        let name = format!("exit-{code}");
        engine.run(&name, &[], &["--listen", "off", "--", "/app", code]);
        assert_eq!(engine.done(&["wait", &name]), code);
    }
    engine.run("missing", &[], &["--", "/no-such-command"]);
    assert_eq!(engine.done(&["wait", "missing"]), "127");

    let log = directory.path().join("termination-log");
    fs::write(&log, "").unwrap();
    let mount = format!("{}:/dev/termination-log", log.display());
    engine.run("ending", &["--volume", &mount], &["--", "/app", "9"]);
    engine.done(&["wait", "ending"]);
    let ending: serde_json::Value = wait_for_some("the ending", PATIENCE, || {
        serde_json::from_slice(&fs::read(&log).unwrap()).ok()
    });
    assert_eq!((&ending["reason"], &ending["code"]), (&"exit".into(), &9.into()), "{ending}");

    // A name is found without any library, by what Docker writes into `/etc/hosts`.
    let probes = r#"{"self": {"tcp": "admin.internal:9460", "gate": ["ready"]}}"#;
    let hosts = ["--add-host=admin.internal:127.0.0.1"];
    engine.run("named", &hosts, &["--probes", probes, "--", "/app"]);
    wait_for("the name to be found", PATIENCE, || {
        engine.docker(&["exec", "named", "/plimsoll-run", "probe", "ready"]).status.success()
    });

    // A read-only root, no privileges, and a user that is not root.
    let flags =
        ["--read-only", "--cap-drop=ALL", "--user=65534:65534", "--security-opt=no-new-privileges"];
    engine.run("hardened", &flags, &["--", "/app", "7"]);
    assert_eq!(engine.done(&["wait", "hardened"]), "7");
    assert!(engine.logs("hardened").contains("app.exited"));
}
