//! Signals, orphans and stops: everything ends, in time, and nothing stays behind.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    path::Path,
    time::{Duration, Instant},
};

use testkit::{Run, children, is_alive, signal, wait_for};

use crate::run_harness::{
    PATIENCE, SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGSTOP, SIGTERM, SIGUSR1, app_pid, can_unshare,
    engine_pid, messages, run_with, script,
};

/// Starts a script in a session of its own, out of reach of its process group.
const ESCAPEE: &str = "setsid sleep 300 & echo up; wait";

#[test]
fn signals_that_are_not_a_stop_are_passed_on() {
    let run = script(
        &[],
        "trap 'echo got hup' HUP; trap 'echo got usr1' USR1; echo up; while :; do sleep 0.02; done",
    );
    run.line("\"up\"");
    run.signal(SIGHUP);
    run.line("got hup");
    run.signal(SIGUSR1);
    run.line("got usr1");
    assert!(is_alive(run.pid()), "the guard took a signal that was the app's");
}

#[test]
fn a_stop_reaches_the_app_and_its_code_comes_back() {
    let mut run =
        script(&[], "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.02; done");
    run.line("\"up\"");
    run.signal(SIGTERM);
    let ended = run.wait(PATIENCE);
    assert_eq!(ended.code, 3);
    assert_eq!(messages(&ended.stdout, "stdout"), ["up", "bye"]);
}

/// A worker that says so when it gets a TERM, under a main process that waits for it.
const POOL: &str = "trap 'sleep 0.3; echo main is done; exit 5' TERM; \
                    sh -c 'trap \"echo worker got term; exit\" TERM; echo up; \
                    while :; do sleep 0.02; done' & \
                    wait; while :; do sleep 0.02; done";

#[test]
fn the_main_process_alone_gets_the_stop_signal_and_what_it_leaves_is_swept() {
    let mut run = script(&[], POOL);
    run.line("\"up\"");
    run.signal(SIGTERM);
    let ended = run.wait(PATIENCE);
    assert_eq!(ended.code, 5);
    let lines = messages(&ended.stdout, "stdout");
    assert_eq!(lines, ["up", "main is done", "worker got term"], "swept after the main process");
    run.wait_for_nothing_left(Duration::ZERO);
}

#[test]
fn the_whole_process_group_gets_the_stop_signal_if_told_so() {
    let mut run = script(&["--signal-scope", "group"], POOL);
    run.line("\"up\"");
    run.signal(SIGTERM);
    let ended = run.wait(PATIENCE);
    assert_eq!(messages(&ended.stdout, "stdout"), ["up", "worker got term", "main is done"]);
    run.wait_for_nothing_left(Duration::ZERO);
}

#[test]
fn the_stop_signal_can_be_another() {
    let mut run = script(
        &["--stop-signal", "INT"],
        "trap 'exit 4' INT; echo up; while :; do sleep 0.02; done",
    );
    run.line("\"up\"");
    run.signal(SIGTERM);
    assert_eq!(run.wait(PATIENCE).code, 4);
}

#[test]
fn an_app_that_ignores_the_stop_is_killed_after_the_grace() {
    let mut run =
        script(&["--stop-grace", "300ms"], "trap '' TERM; echo up; while :; do sleep 0.02; done");
    run.line("\"up\"");
    let begun = Instant::now();
    run.signal(SIGTERM);
    assert_eq!(run.wait(PATIENCE).code, 137);
    assert!(begun.elapsed() >= Duration::from_millis(300), "killed before the grace was over");
    run.wait_for_nothing_left(PATIENCE);
}

#[test]
fn the_third_signal_kills_at_once() {
    let mut run =
        script(&["--stop-grace", "1h"], "trap '' TERM INT; echo up; while :; do sleep 0.02; done");
    run.line("\"up\"");
    run.signal(SIGINT);
    run.line("shutdown.begin");
    run.signal(SIGINT);
    run.signal(SIGTERM);
    assert_eq!(run.wait(PATIENCE).code, 137);
}

#[test]
fn the_second_signal_cuts_the_drain_short() {
    let mut run =
        script(&["--drain", "1h"], "trap 'exit 0' TERM; echo up; while :; do sleep 0.02; done");
    run.line("\"up\"");
    // Before the app counts as started there is nothing to drain.
    run.line("\"event\":\"ready\"");
    run.signal(SIGINT);
    run.line("shutdown.begin");
    assert!(is_alive(app_pid(&run)), "the app must live on during the drain");
    run.signal(SIGTERM);
    assert_eq!(run.wait(PATIENCE).code, 0);
}

#[test]
fn sigquit_skips_the_drain() {
    let mut run =
        script(&["--drain", "1h"], "trap 'exit 0' TERM; echo up; while :; do sleep 0.02; done");
    run.line("\"up\"");
    run.signal(SIGQUIT);
    assert_eq!(run.wait(PATIENCE).code, 0);
}

#[test]
fn a_process_in_a_session_of_its_own_is_swept() {
    let mut run = script(&["--stop-grace", "2s"], ESCAPEE);
    run.line("\"up\"");
    run.signal(SIGTERM);
    run.wait(PATIENCE);
    run.wait_for_nothing_left(Duration::ZERO);
}

#[test]
fn what_a_command_leaves_behind_is_swept_when_it_ends_by_itself() {
    let mut run =
        script(&[], "setsid sh -c 'trap \"\" TERM; while :; do sleep 0.02; done' & exit 6");
    let ended = run.wait(PATIENCE);
    assert_eq!(ended.code, 6);
    run.wait_for_nothing_left(Duration::ZERO);
}

#[test]
fn orphans_are_reaped() {
    // The middle process ends at once, the innermost becomes the guard's child and then a zombie.
    let run = script(
        &[],
        "sh -c 'sh -c \"exit 0\" & exec sleep 0.05' & wait; (sleep 0.05 &) ; sleep 0.3; echo up; exec sleep 300",
    );
    run.line("\"up\"");
    let app = app_pid(&run);
    let engine = engine_pid(&run);
    wait_for("only app and engine to be left", PATIENCE, || {
        let mut left = children(run.pid());
        left.retain(|pid| *pid != app && *pid != engine);
        left.is_empty() && n_zombies(run.pid()) == 0
    });
}

fn n_zombies(parent: i32) -> usize {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let stats = entries.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
    stats.filter(|stat| stat.contains(&format!(") Z {parent} "))).count()
}

#[test]
fn a_stop_works_while_engines_are_killed() {
    let mut run = script(
        &["--stop-grace", "2s"],
        "trap 'echo bye; exit 5' TERM; echo up; while :; do sleep 0.02; done",
    );
    run.line("\"up\"");
    signal(engine_pid(&run), SIGKILL);
    run.signal(SIGTERM);
    let ended = run.wait(PATIENCE);
    assert_eq!(ended.code, 5);
    assert!(messages(&ended.stdout, "stdout").contains(&"bye".to_owned()));
    run.wait_for_nothing_left(PATIENCE);
}

#[test]
fn an_engine_that_hangs_cannot_hold_up_a_stop() {
    let mut run =
        script(&["--stop-grace", "400ms"], "trap '' TERM; echo up; while :; do sleep 0.02; done");
    run.line("\"up\"");
    let engine = engine_pid(&run);
    signal(engine, SIGSTOP);
    run.signal(SIGTERM);
    assert_eq!(run.wait(PATIENCE).code, 137);
    run.wait_for_nothing_left(PATIENCE);
}

#[test]
fn a_killed_guard_leaves_nothing_behind() {
    let mut run = script(&[], "sleep 300 & echo up; wait");
    run.line("\"up\"");
    let marker = run.marker();
    run.signal(SIGKILL);
    run.wait(PATIENCE);
    wait_for("app and engine to be gone", PATIENCE, || marker.processes().is_empty());
}

#[test]
fn the_app_starts_with_a_clean_signal_mask() {
    let run = script(&[], "grep -E '^Sig(Blk|Ign)' /proc/self/status; echo up; sleep 1");
    run.line("\"up\"");
    let lines = messages(&run.stdout(), "stdout");
    let mask = |name: &str| {
        let line = lines.iter().find(|line| line.starts_with(name)).unwrap();
        u64::from_str_radix(line.rsplit(['\t', ' ']).next().unwrap().trim(), 16).unwrap()
    };
    assert_eq!(mask("SigBlk"), 0);
    assert_eq!(mask("SigIgn") & (1 << 12), 0, "SIGPIPE must not be ignored");
}

#[test]
fn the_app_gets_what_the_contract_says_and_keeps_the_rest() {
    let ended = run_with(&["--instance", "a-1", "--service", "shop"], &["env"], |command| {
        command.env("FOO", "bar").env("HOST", "mine");
    })
    .wait(PATIENCE);
    let lines = messages(&ended.stdout, "stdout");
    for expected in ["FOO=bar", "HOST=mine", "PLIMSOLL_INSTANCE=a-1", "OTEL_SERVICE_NAME=shop"] {
        assert!(lines.iter().any(|line| line == expected), "{expected} in {lines:?}");
    }
    assert!(!lines.iter().any(|line| line.starts_with("PORT=")), "no ingress, no port");
}

#[test]
fn stdin_is_the_apps() {
    use std::{io::Write, process::Stdio};
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"from stdin\n").unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    let ended = run_with(&[], &["cat"], |command| {
        command.stdin(Stdio::from(file));
    })
    .wait(PATIENCE);
    assert_eq!(messages(&ended.stdout, "stdout"), ["from stdin"]);
}

#[test]
fn as_pid_1_of_a_namespace_it_reaps_and_sweeps_everything() {
    if !can_unshare() {
        eprintln!("skipped: this user may not make a process namespace with `unshare`");
        return;
    }
    let script = "setsid sh -c 'trap \"\" TERM; while :; do sleep 0.02; done' & \
                  (sleep 0.02 &); trap 'exit 3' TERM; echo up; while :; do sleep 0.02; done";
    let binary = crate::run_harness::binary();
    let flags = ["--pid", "--fork", "--mount-proc", binary.to_str().unwrap(), "--listen", "off"];
    let command = flags.into_iter().chain(["--", "sh", "-c", script]);
    let mut run = Run::start(Path::new("unshare"), command);
    run.line("\"up\"");
    let guard = *children(run.pid()).first().unwrap();
    assert_eq!(n_zombies(guard), 0);
    signal(guard, SIGTERM);
    assert_eq!(run.wait(PATIENCE).code, 3);
    run.wait_for_nothing_left(Duration::ZERO);
}
