//! Claims about platforms that do not start: a clear error with the name, and nothing left running.

use std::net::TcpListener;
use std::time::Duration;

use testkit::Ended;

use crate::run_harness::{SIGINT, SIGKILL};
use crate::up_harness::{PATIENCE, Platform, up};

/// Runs to its end, which is a failure, and leaves nothing.
fn failure(manifest: &str) -> Ended {
    let mut platform = Platform::start(manifest, &["--no-watch"]);
    let ended = platform.run.wait(PATIENCE);
    platform.run.wait_for_nothing_left(Duration::ZERO);
    ended
}

#[track_caller]
fn says(ended: &Ended, code: i32, expected: &[&str]) {
    assert_eq!(ended.code, code, "{ended:?}");
    for text in expected {
        assert!(ended.stderr.contains(text), "no {text:?} in:\n{}", ended.stderr);
    }
}

#[test]
fn a_child_that_exits_at_once_is_named_with_its_last_lines() {
    let ended = failure(
        "plimsoll: 1\napp: shop\nservices:\n  good: {run: sleep 1000}\n  bad: {run: {shell: 'echo no such table; exit 3'}}\n",
    );
    says(&ended, 1, &["service `bad`", "exit code 3", "no such table", "help:"]);
}

#[test]
fn a_gate_that_never_passes_is_named_with_its_limit() {
    let port = testkit::free_port();
    let ended = failure(&format!(
        "plimsoll: 1\napp: shop\nservices:\n  web: {{run: sleep 1000, port: {port}, health: {{start_timeout: 2s}}}}\n"
    ));
    says(&ended, 1, &["service `web` was not ready within 2 s"]);
}

#[test]
fn a_command_that_does_not_exist_is_named() {
    let ended = failure("plimsoll: 1\napp: shop\nservices: {bot: {run: no-such-program}}\n");
    says(&ended, 1, &["service `bot`", "no-such-program"]);
}

#[test]
fn a_failed_build_starts_nothing() {
    let ended = failure(
        "plimsoll: 1\napp: shop\nservices:\n  bot: {build: {shell: 'echo missing bracket; exit 1'}, run: sleep 1000}\n",
    );
    says(&ended, 1, &["service `bot` build failed: exit code 1", "missing bracket"]);
}

#[test]
fn taken_ports_missing_secrets_and_missing_commands_are_all_said_before_anything_starts() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let ended = failure(&format!(
        "plimsoll: 1\napp: shop\nservices:\n  web: {{run: touch started, port: {port}}}\n  \
         bot: {{run: touch started, secrets: [API_KEY]}}\n  none: {{}}\n"
    ));
    let port = format!("service `web` needs port {port}, which is already taken by");
    says(&ended, 2, &[&port, "`API_KEY`", "service `none` has no run command"]);
}

#[test]
fn a_taken_edge_is_said_with_the_way_out() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let edge_port = taken.local_addr().unwrap().port();
    let port = testkit::free_port();
    let directory = crate::up_harness::project(&format!(
        "plimsoll: 1\napp: shop\nservices: {{web: {{run: sleep 1000, port: {port}, route: \"@\"}}}}\n"
    ));
    let ended = up(directory.path(), edge_port, &[]).wait(PATIENCE);
    says(&ended, 2, &["the edge needs port", "plimsoll up --port"]);
}

#[test]
fn a_second_up_in_the_same_directory_is_refused_and_the_first_goes_on() {
    let platform =
        Platform::start("plimsoll: 1\napp: shop\nservices: {bot: {run: sleep 1000}}\n", &[]);
    platform.until("bot", "ready");
    let ended = platform.command(&["up"]);
    says(&ended, 2, &["already runs"]);
    platform.until("bot", "ready");
}

#[test]
fn killed_outright_it_leaves_nothing_running_all_the_same() {
    let mut platform = Platform::start(
        "plimsoll: 1\napp: shop\nservices: {bot: {run: {shell: 'sleep 1000 & sleep 1000'}}}\n",
        &[],
    );
    platform.until("bot", "ready");
    assert!(platform.run.processes().len() >= 4, "{:?}", platform.run.processes());
    platform.run.signal(SIGKILL);
    assert_eq!(platform.run.wait(PATIENCE).code, 128 + SIGKILL);
    platform.run.wait_for_nothing_left(PATIENCE);
}

#[test]
fn a_second_interrupt_kills_what_does_not_stop() {
    let mut platform = Platform::start(
        "plimsoll: 1\napp: shop\nservices:\n  bot: {run: {shell: 'trap \"\" TERM; while :; do sleep 0.1; done'}, stop: {grace: 10m}}\n",
        &[],
    );
    platform.until("bot", "ready");
    platform.run.signal(SIGINT);
    platform.until("bot", "stopping");
    platform.run.signal(SIGINT);
    platform.run.wait(PATIENCE);
    platform.run.wait_for_nothing_left(PATIENCE);
}
