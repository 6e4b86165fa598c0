//! As the real PID 1 of a container that holds nothing but us and a small program.
//!
//! The Docker engine is the test's own, which needs root.

#![expect(clippy::unwrap_used, reason = "a test fails or skips aloud")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use testkit::{Docker, wait_for, wait_for_some};

use crate::run_harness::{PATIENCE, binary};

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

/// An image of nothing but the files of a directory.
fn image(engine: &Docker, root: &Path) {
    let archive = engine.directory().join("root.tar");
    let made = Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(root).arg(".").status();
    assert!(made.unwrap().success());
    engine.done(&["import", &archive.display().to_string(), "plimsoll-test:1"]);
}

/// Starts a container; its name and the pid that its PID 1 has among the engine's processes.
fn run(engine: &Docker, name: &str, flags: &[&str], command: &[&str]) -> i32 {
    let mut args = vec!["run", "--detach", "--network=none", "--name", name];
    args.extend(flags);
    args.extend(["plimsoll-test:1", "/plimsoll-run"]);
    args.extend(command);
    engine.done(&args);
    engine.done(&["inspect", "--format", "{{.State.Pid}}", name]).parse().unwrap()
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

fn children(engine: &Docker, parent: i32) -> Vec<String> {
    let stats = engine.inside("sh").args(["-c", "cat /proc/[0-9]*/stat 2>/dev/null"]).output();
    let stats = String::from_utf8_lossy(&stats.unwrap().stdout).into_owned();
    stats
        .lines()
        .filter_map(|stat| stat.rsplit_once(") ").map(|(_, rest)| rest.to_owned()))
        .filter(|rest| rest.split(' ').nth(1) == Some(&parent.to_string()))
        .collect()
}

#[test]
fn under_docker_as_pid_1_of_an_empty_image_everything_holds() {
    let Some(engine) = Docker::start_or_skip() else { return };
    let directory = tempfile::tempdir().unwrap();
    image(&engine, &root(directory.path()));

    let guard = run(&engine, "service", &["--stop-signal=TERM"], &["--", "/app"]);
    wait_for("the app", PATIENCE, || engine.done(&["logs", "service"]).contains("up as "));
    // As Docker's HEALTHCHECK would ask.
    for probe in ["live", "ready", "started"] {
        wait_for(probe, PATIENCE, || {
            engine.output(&["exec", "service", "/plimsoll-run", "probe", probe]).status.success()
        });
    }
    wait_for("the orphans to be reaped", PATIENCE, || {
        let children = children(&engine, guard);
        // The engine and the app.
        children.len() == 2 && children.iter().all(|child| !child.starts_with('Z'))
    });
    let begun = Instant::now();
    engine.done(&["stop", "--time", "30", "service"]);
    eprintln!("docker stop took {:?}", begun.elapsed());
    let code = engine.done(&["inspect", "--format", "{{.State.ExitCode}}", "service"]);
    assert_eq!(code, "143");
    let logs = engine.done(&["logs", "service"]);
    for line in logs.lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
    }
    assert!(logs.contains("shutdown.end"), "{logs}");

    for code in ["0", "42", "255"] {
        let name = format!("exit-{code}");
        run(&engine, &name, &[], &["--listen", "off", "--", "/app", code]);
        assert_eq!(engine.done(&["wait", &name]), code);
    }
    run(&engine, "missing", &[], &["--", "/no-such-command"]);
    assert_eq!(engine.done(&["wait", "missing"]), "127");

    let log = directory.path().join("termination-log");
    fs::write(&log, "").unwrap();
    let mount = format!("{}:/dev/termination-log", log.display());
    run(&engine, "ending", &["--volume", &mount], &["--", "/app", "9"]);
    engine.done(&["wait", "ending"]);
    let ending: serde_json::Value = wait_for_some("the ending", PATIENCE, || {
        serde_json::from_slice(&fs::read(&log).unwrap()).ok()
    });
    assert_eq!((&ending["reason"], &ending["code"]), (&"exit".into(), &9.into()), "{ending}");

    // A name is found without any library, by what Docker writes into `/etc/hosts`.
    let probes = r#"{"self": {"tcp": "admin.internal:9460", "gate": ["ready"]}}"#;
    let hosts = ["--add-host=admin.internal:127.0.0.1"];
    run(&engine, "named", &hosts, &["--probes", probes, "--", "/app"]);
    wait_for("the name to be found", PATIENCE, || {
        engine.output(&["exec", "named", "/plimsoll-run", "probe", "ready"]).status.success()
    });

    // A read-only root, no privileges, and a user that is not root.
    let flags =
        ["--read-only", "--cap-drop=ALL", "--user=65534:65534", "--security-opt=no-new-privileges"];
    run(&engine, "hardened", &flags, &["--", "/app", "7"]);
    assert_eq!(engine.done(&["wait", "hardened"]), "7");
    assert!(engine.done(&["logs", "hardened"]).contains("app.exited"));
}
