//! What is said of an end, and what becomes of an engine that hangs.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{fs, path::Path, process::Command, time::Duration};

use serde_json::Value;
use testkit::{Run, is_alive, signal, wait_for};

use crate::run_harness::{
    PATIENCE, SIGKILL, SIGSTOP, SIGTERM, Service, app_pid, binary, engine_pid, run, run_with,
    script,
};

/// An engine that hangs is replaced after 15 s.
const HANG_LIMIT: Duration = Duration::from_secs(40);

/// Runs a script to its end and returns what is said of it.
fn ending(flags: &[&str], text: &str, act: impl FnOnce(&Run)) -> Value {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("termination-log");
    let mut all = vec!["--termination-log", log.to_str().unwrap()];
    all.extend(flags);
    let mut run = script(&all, text);
    act(&run);
    run.wait(PATIENCE);
    serde_json::from_slice(&fs::read(log).unwrap()).unwrap()
}

#[test]
fn the_termination_log_says_whose_code_it_is_and_why() {
    let exit = ending(&[], "exit 9", |_| {});
    assert_eq!(
        (&exit["origin"], &exit["reason"], &exit["code"]),
        (&"app".into(), &"exit".into(), &9.into())
    );
    let signal = ending(&[], "kill -HUP $$", |_| {});
    assert_eq!(
        (&signal["reason"], &signal["code"], &signal["signal"]),
        (&"signal".into(), &129.into(), &1.into())
    );
    let killed = ending(
        &["--stop-grace", "100ms"],
        "trap '' TERM; echo up; while :; do sleep 0.02; done",
        |run| {
            run.line("\"up\"");
            run.signal(SIGTERM);
        },
    );
    assert_eq!((&killed["reason"], &killed["code"]), (&"killed".into(), &137.into()));
    assert_eq!(killed["shutdown"]["outcome"], "killed");
}

#[test]
fn a_command_that_cannot_be_started_is_our_end_not_the_apps() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let flags = ["--termination-log", log.to_str().unwrap()];
    run(&flags, &["no-such-command-anywhere"]).wait(PATIENCE);
    let exit: Value = serde_json::from_slice(&fs::read(log).unwrap()).unwrap();
    assert_eq!((&exit["origin"], &exit["reason"]), (&"plimsoll".into(), &"not_found".into()));
}

#[test]
fn the_last_lines_are_in_the_ending_without_secrets() {
    let text = "for i in 1 2 3 4 5; do echo line $i; done; echo password=hunter2 is it; exit 3";
    let exit = ending(&[], text, |_| {});
    let lines: Vec<_> =
        exit["last_lines"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    assert_eq!(lines.len(), 3, "{exit}");
    assert_eq!(lines[..2], ["line 4", "line 5"]);
    assert!(lines[2].starts_with("password=[REDACTED") && !lines[2].contains("hunter2"), "{exit}");
}

#[test]
fn a_start_gate_that_stays_closed_is_the_reason_gate_timeout() {
    let probes = r#"{"db": {"tcp": "127.0.0.1:1", "gate": ["start"]}}"#;
    let flags = ["--probes", probes, "--start-timeout", "200ms"];
    let exit = ending(&flags, "echo ran", |_| {});
    let said = (&exit["origin"], &exit["reason"], &exit["code"]);
    assert_eq!(said, (&"plimsoll".into(), &"gate_timeout".into(), &69.into()));
    assert_eq!(exit["last_lines"], Value::Array(Vec::new()));
}

#[test]
fn the_memory_of_guard_and_engine_is_hidden_and_that_of_the_app_is_not() {
    use std::os::unix::{fs::MetadataExt, process::CommandExt};
    const NOBODY: u32 = 65_534;
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let run = run_with(&[], &["sleep", "600"], |command| {
        // Whatever root runs belongs to root, hidden or not.
        if is_root {
            command.uid(NOBODY);
        }
    });
    let app = app_pid(&run);
    let owner = |pid: i32| fs::metadata(format!("/proc/{pid}/environ")).unwrap().uid();
    wait_for("the engine to be hidden", PATIENCE, || owner(engine_pid(&run)) == 0);
    assert_eq!(owner(run.pid()), 0, "anybody of the same user can read the guard's memory");
    assert_ne!(owner(app), 0, "the app cannot be debugged");
}

#[test]
fn a_termination_log_that_cannot_be_written_is_said_before_anything_starts() {
    let ended = script(&["--termination-log", "/no/such/directory/log"], "echo ran").wait(PATIENCE);
    assert_eq!(ended.code, 74);
    assert!(ended.stderr.contains("--termination-log"), "{}", ended.stderr);
    assert!(!ended.stdout.contains("ran"));
}

#[test]
fn an_app_that_the_kernel_kills_for_memory_ended_by_oom() {
    let (root, limit) = match Path::new("/sys/fs/cgroup/memory") {
        first if first.is_dir() => (first, "memory.limit_in_bytes"),
        _ => (Path::new("/sys/fs/cgroup"), "memory.max"),
    };
    let group = root.join(format!("plimsoll-test-{}", std::process::id()));
    let made = fs::create_dir(&group).and_then(|()| fs::write(group.join(limit), "96M"));
    if made.is_err() {
        let _ = fs::remove_dir(&group);
        eprintln!("skipped: this user may not make a control group with a memory limit");
        return;
    }
    // No swap, or the kernel would rather swap.
    let _ = fs::write(group.join("memory.swap.max"), "0");
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let enter = format!("echo $$ > {}/cgroup.procs; exec \"$@\"", group.display());
    let hog = "x = []\nwhile True: x.append(bytearray(1 << 20))";
    let mut run = Run::start(
        Path::new("sh"),
        [
            "-c",
            &enter,
            "sh",
            binary().to_str().unwrap(),
            "--listen",
            "off",
            "--termination-log",
            log.to_str().unwrap(),
            "--",
            "python3",
            "-c",
            hog,
        ],
    );
    let ended = run.wait(Duration::from_secs(60));
    let exit: Value = serde_json::from_slice(&fs::read(log).unwrap()).unwrap();
    let _ = fs::remove_dir(&group);
    assert_eq!(ended.code, 137, "{}", ended.stderr);
    assert_eq!(exit["reason"], "oom", "{exit}");
}

#[test]
fn an_engine_that_hangs_is_replaced_and_the_app_goes_on() {
    let service = Service::start(&[], &["sleep", "600"]);
    service.wait_for_status("/ready", 200);
    let (app, engine) = (app_pid(&service.run), engine_pid(&service.run));
    signal(engine, SIGSTOP);
    wait_for("the engine to be killed", HANG_LIMIT, || !is_alive(engine));
    service.wait_for_status("/ready", 200);
    assert!(is_alive(app));
}

#[test]
fn a_guard_that_was_stopped_for_long_does_not_blame_its_engine() {
    let run = script(&[], "echo up; exec sleep 600");
    run.line("\"up\"");
    let engine = engine_pid(&run);
    signal(run.pid(), SIGSTOP);
    // Longer than an engine may be silent.
    std::thread::sleep(Duration::from_secs(16));
    signal(run.pid(), 18);
    std::thread::sleep(Duration::from_millis(500));
    assert!(is_alive(engine));
    signal(run.pid(), SIGKILL);
}

#[test]
fn exec_leaves_nothing_of_us_and_keeps_the_environment() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(binary());
    command.args(["--exec", "on", "--", "sh", "-c", "echo $$ $FOO; exit 7"]).env("FOO", "bar");
    let output = command.current_dir(directory.path()).stdout(std::process::Stdio::piped());
    let child = output.spawn().unwrap();
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{pid} bar\n"));
    assert_eq!(output.status.code(), Some(7));
    let missing =
        Command::new(binary()).args(["--exec", "on", "--", "no-such-command"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(127));
}
