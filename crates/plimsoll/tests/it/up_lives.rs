//! Claims about platforms that run: crashes, changes, orders from outside.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use testkit::{wait_for, wait_for_some};

use crate::run_harness::SIGINT;
use crate::up_harness::{PATIENCE, Platform, project};

#[test]
fn a_service_that_keeps_crashing_is_restarted_and_shown_in_a_crash_loop() {
    let directory = project(
        "plimsoll: 1\napp: shop\nservices:\n  calm: {run: sleep 1000}\n  \
         bot: {run: {shell: 'while test -f healthy; do sleep 0.02; done; echo ill; exit 3'}}\n",
    );
    fs::write(directory.path().join("healthy"), "").unwrap();
    let platform = Platform::start_in(directory, &["--no-watch"]);
    platform.until_running();
    // What falls in its first second has not started, and would end the platform.
    wait_for("the service to be a second old", PATIENCE, || {
        let Some(item) = platform.item("bot") else { return false };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        u128::from(item["since_ms"].as_u64().unwrap()) + 2_000 < now
    });
    fs::remove_file(platform.path("healthy")).unwrap();
    let item = platform.until("bot", "crash_looping");
    assert_eq!(item["error"], "exit code 3");
    assert!(item["restarts"].as_u64().unwrap() >= 5, "{item}");
    assert!(item["last_lines"].to_string().contains("ill"), "{item}");
    assert_eq!(platform.item("calm").unwrap()["state"], "ready");
    fs::write(platform.path("healthy"), "").unwrap();
    let ended = platform.command(&["restart", "bot"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    platform.until("bot", "ready");
}

#[test]
fn a_change_rebuilds_and_restarts_and_a_failed_build_keeps_the_old_process() {
    let directory = project(
        "plimsoll: 1\napp: shop\nservices:\n  bot:\n    path: bot\n    build: sh build.sh\n    \
         run: {shell: 'echo version $(cat built); exec sleep 1000'}\n",
    );
    let bot = directory.path().join("bot");
    fs::create_dir(&bot).unwrap();
    fs::write(bot.join("build.sh"), "cp source built; exit $(cat code)\n").unwrap();
    fs::write(bot.join(".gitignore"), "built\n").unwrap();
    fs::write(bot.join("source"), "one").unwrap();
    fs::write(bot.join("code"), "0").unwrap();
    let platform = Platform::start_in(directory, &["--verbose"]);
    platform.until_running();
    platform.run.line("version one");
    let before = platform.item("bot").unwrap()["pid"].clone();

    fs::write(platform.path("bot/code"), "4").unwrap();
    let failed = wait_for_some("the build to fail", PATIENCE, || {
        platform.item("bot").filter(|item| item["error"] == "build failed: exit code 4")
    });
    assert_eq!((&failed["state"], &failed["pid"]), (&"ready".into(), &before));

    fs::write(platform.path("bot/code"), "0").unwrap();
    fs::write(platform.path("bot/source"), "two").unwrap();
    platform.run.line("version two");
    let after = platform.until("bot", "ready");
    assert_ne!(after["pid"], before);
    assert!(after["error"].is_null(), "{after}");
}

#[test]
fn a_stopped_service_stays_down_until_it_is_started() {
    let platform =
        Platform::start("plimsoll: 1\napp: shop\nservices: {bot: {run: sleep 1000}}\n", &[]);
    platform.until_running();
    assert_eq!(platform.command(&["stop", "bot"]).code, 0);
    assert!(platform.until("bot", "stopped")["pid"].is_null());
    assert_eq!(platform.command(&["start", "bot"]).code, 0);
    platform.until("bot", "ready");
}

#[test]
fn jobs_run_once_before_what_uses_them_and_an_interrupt_ends_everything() {
    let mut platform = Platform::start(
        "plimsoll: 1\napp: shop\nservices:\n  seed: {once: true, run: touch seeded}\n  \
         bot: {uses: [seed], run: {shell: 'test -f seeded || exit 9; exec sleep 1000'}}\n",
        &["--no-watch"],
    );
    platform.until_running();
    assert_eq!(platform.item("seed").unwrap()["state"], "done");
    platform.run.signal(SIGINT);
    assert_eq!(platform.run.wait(PATIENCE).code, 0);
    platform.run.wait_for_nothing_left(PATIENCE);
}

#[test]
fn going_on_despite_a_failure_leaves_the_rest_running() {
    let platform = Platform::start(
        "plimsoll: 1\napp: shop\nservices:\n  good: {run: sleep 1000}\n  bad: {run: sh -c 'exit 3'}\n",
        &["--keep-going"],
    );
    platform.until("good", "ready");
    wait_for("the failure to show", PATIENCE, || {
        platform.item("bad").is_some_and(|item| item["error"] == "exit code 3")
    });
    assert_eq!(platform.item("good").unwrap()["state"], "ready");
}
