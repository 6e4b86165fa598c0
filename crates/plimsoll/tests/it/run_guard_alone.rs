//! The guard without an engine, where one would have nothing to do: what a guard owes still holds.

use std::time::{Duration, Instant};

use testkit::{Run, children, wait_for};

use crate::run_harness::{PATIENCE, SIGHUP, SIGINT, SIGTERM, run, script};

/// What leaves nothing to do for an engine.
const ALONE: [&str; 4] = ["--logs", "raw", "--redact", "off"];

fn alone(flags: &[&str], text: &str) -> Run {
    let all: Vec<_> = ALONE.iter().chain(flags).copied().collect();
    script(&all, text)
}

#[test]
fn the_only_child_is_the_app_and_its_bytes_are_not_touched() {
    let mut it =
        alone(&[], "printf 'a\\0b password=hunter2\\r'; echo up; echo oops >&2; exec sleep 60");
    it.line("up");
    assert_eq!(children(it.pid()).len(), 1);
    it.signal(SIGTERM);
    let ended = it.wait(PATIENCE);
    assert_eq!(ended.code, 143);
    assert_eq!((&*ended.stdout, &*ended.stderr), ("a\0b password=hunter2\rup\n", "oops\n"));
}

#[test]
fn whatever_else_is_asked_for_brings_the_engine_back() {
    let it = script(&["--logs", "raw"], "echo password=hunter2; exec sleep 60");
    it.line("password=[REDACTED");
    wait_for("an engine and the app", PATIENCE, || children(it.pid()).len() == 2);
}

#[test]
fn exit_codes_are_the_apps() {
    for code in [0, 1, 42, 255] {
        assert_eq!(alone(&[], &format!("exit {code}")).wait(PATIENCE).code, code);
    }
    assert_eq!(alone(&[], "kill -SEGV $$").wait(PATIENCE).code, 139);
    let missing = run(&ALONE, &["no-such-command-anywhere"]).wait(PATIENCE);
    assert_eq!(missing.code, 127);
    assert!(missing.stderr.contains("no-such-command-anywhere"), "{}", missing.stderr);
    let flags = ["--success-exit-codes", "143"];
    let mut it = alone(&flags, "echo up; exec sleep 60");
    it.line("up");
    it.signal(SIGTERM);
    assert_eq!(it.wait(PATIENCE).code, 0);
}

#[test]
fn signals_are_passed_on_and_orphans_reaped() {
    let it = alone(
        &[],
        "trap 'echo got hup' HUP; (sh -c 'exit 0' &); echo up; while :; do sleep 0.02; done",
    );
    it.line("up");
    it.signal(SIGHUP);
    it.line("got hup");
    let zombies = || {
        let stat = |pid| std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        children(it.pid()).into_iter().filter(|pid| stat(*pid).contains(") Z ")).count()
    };
    wait_for("no zombie", PATIENCE, || zombies() == 0);
}

#[test]
fn a_stubborn_tree_is_gone_after_the_grace() {
    let mut it = alone(
        &["--stop-grace", "200ms"],
        "trap '' TERM; setsid sh -c 'trap \"\" TERM; while :; do sleep 0.02; done' & \
         echo up; while :; do sleep 0.02; done",
    );
    it.line("up");
    it.signal(SIGTERM);
    assert_eq!(it.wait(PATIENCE).code, 137);
    it.wait_for_nothing_left(Duration::ZERO);
}

#[test]
fn the_drain_comes_before_the_stop_and_a_second_signal_skips_it() {
    let text = "trap 'echo asked; exit 7' TERM; echo up; while :; do sleep 0.02; done";
    let mut patient = alone(&["--drain", "600ms"], text);
    patient.line("up");
    let began = Instant::now();
    patient.signal(SIGTERM);
    assert_eq!(patient.wait(PATIENCE).code, 7);
    assert!(began.elapsed() >= Duration::from_millis(600), "{:?}", began.elapsed());
    let mut hasty = alone(&["--drain", "10m"], text);
    hasty.line("up");
    hasty.signal(SIGTERM);
    hasty.signal(SIGINT);
    assert_eq!(hasty.wait(PATIENCE).code, 7);
}
