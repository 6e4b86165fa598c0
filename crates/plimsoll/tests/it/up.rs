//! `plimsoll up` and the commands that speak to it, with real processes.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use testkit::{Run, free_port, wait_for, wait_for_some};

/// How long anything of a test may take; the machines that run tests are slow.
const PATIENCE: Duration = Duration::from_secs(30);
const SIGINT: i32 = 2;
const SIGKILL: i32 = 9;

/// A worker that ticks, and one that does nothing.
const TICKER: &str = "\
plimsoll: 1
app: shop
services:
  ticker: {path: ., run: {shell: 'echo started; while :; do echo tick; sleep 0.2; done'}}
  other: {path: ., run: {shell: 'exec sleep 1000'}}
";

/// A platform in a directory of its own.
struct Shop {
    directory: TempDir,
}

impl Shop {
    fn new(manifest: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        std::fs::write(directory.path().join("plimsoll.yaml"), manifest).expect("it is writable");
        Self { directory }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn up(&self, args: &[&str]) -> Run {
        let args = ["up"].iter().chain(args);
        Run::start_with(Path::new(env!("CARGO_BIN_EXE_plimsoll")), args, |command| {
            command.current_dir(self.path());
        })
    }

    /// Started, and everything of it ready.
    fn is_up(&self, args: &[&str]) -> Run {
        let run = self.up(args);
        let end = Instant::now() + PATIENCE;
        let is_up = wait_for_some("the banner", PATIENCE * 2, || {
            let is_up = run.stderr().contains("is up after");
            (is_up || Instant::now() > end).then_some(is_up)
        });
        assert!(is_up, "not up in time:\n{}\n{}", run.stderr(), run.stdout());
        run
    }

    fn ask(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
        command.args(args).current_dir(self.path()).stdin(Stdio::null());
        command.output().expect("the program starts")
    }

    fn state_of(&self, name: &str) -> String {
        let output = self.ask(&["status", "--json"]);
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let items = status["items"].as_array().cloned().unwrap_or_default();
        let item = items.into_iter().find(|item| item["name"] == name).unwrap_or_default();
        item["state"].as_str().unwrap_or_default().to_owned()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_platform_is_shown_followed_and_stopped_from_another_shell() {
    let shop = Shop::new(TICKER);
    let mut up = shop.is_up(&["--no-watch"]);
    let status = shop.ask(&["status"]);
    assert_eq!(status.status.code(), Some(0), "{}", text(&status.stderr));
    assert!(text(&status.stdout).starts_with("shop (local) running"));
    wait_for("a line of the ticker", PATIENCE, || {
        text(&shop.ask(&["logs", "ticker", "--tail", "5"]).stdout).contains("ticker | ")
    });
    let logs = text(&shop.ask(&["logs", "--json"]).stdout);
    assert!(logs.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
    let down = shop.ask(&["down"]);
    assert_eq!(down.status.code(), Some(0), "{}", text(&down.stderr));
    assert_eq!(up.wait(PATIENCE).code, 0);
    up.wait_for_nothing_left(PATIENCE);
}

#[test]
fn an_item_is_stopped_and_started_by_name() {
    let shop = Shop::new(TICKER);
    let _up = shop.is_up(&["--no-watch"]);
    assert_eq!(shop.ask(&["stop", "other"]).status.code(), Some(0));
    wait_for("it to stop", PATIENCE, || shop.state_of("other") == "stopped");
    assert_eq!(shop.ask(&["start", "other"]).status.code(), Some(0));
    wait_for("it to be ready", PATIENCE, || shop.state_of("other") == "ready");
    let refused = shop.ask(&["restart", "othr"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("did you mean `other`?"));
}

#[test]
fn the_first_interrupt_stops_everything() {
    let shop = Shop::new(TICKER);
    let mut up = shop.is_up(&["--no-watch"]);
    up.signal(SIGINT);
    let ended = up.wait(PATIENCE);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(!ended.stderr.contains('\x1b') && !ended.stdout.contains('\x1b'));
    up.wait_for_nothing_left(PATIENCE);
}

#[test]
fn a_first_start_that_fails_says_why_and_leaves_nothing() {
    // With a port it is not ready before something answers there, and here nothing ever does.
    let shop = Shop::new(&format!(
        "plimsoll: 1\napp: shop\nservices:\n  \
         good: {{path: ., run: {{shell: 'exec sleep 1000'}}}}\n  \
         bad: {{path: ., port: {}, run: {{shell: 'echo no such luck >&2; exit 3'}}}}\n",
        free_port(),
    ));
    let mut up = shop.up(&["--no-watch"]);
    let ended = up.wait(PATIENCE);
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    for part in ["error: service `bad`", "exit code 3", "| no such luck", "help:"] {
        assert!(ended.stderr.contains(part), "no {part:?} in:\n{}", ended.stderr);
    }
    up.wait_for_nothing_left(PATIENCE);
}

#[test]
fn a_second_up_in_one_directory_is_refused() {
    let shop = Shop::new(TICKER);
    let _up = shop.is_up(&["--no-watch"]);
    let second = shop.ask(&["up"]);
    assert_eq!(second.status.code(), Some(2));
    assert!(text(&second.stderr).contains("already runs in `.`"), "{}", text(&second.stderr));
    assert_eq!(shop.ask(&["status"]).status.code(), Some(0));
}

#[test]
fn logs_of_a_platform_that_was_killed_can_still_be_read() {
    let shop = Shop::new(TICKER);
    let up = shop.is_up(&["--no-watch"]);
    let file = shop.path().join(".plimsoll/logs/ticker.jsonl");
    wait_for("a line in the file", PATIENCE, || {
        std::fs::read_to_string(&file).is_ok_and(|kept| kept.contains("\"tick\""))
    });
    up.signal(SIGKILL);
    wait_for("the socket to be nobody's", PATIENCE, || {
        shop.ask(&["status"]).status.code() == Some(2)
    });
    let logs = shop.ask(&["logs", "ticker"]);
    assert_eq!(logs.status.code(), Some(0));
    assert!(
        text(&logs.stdout).contains("started") && text(&logs.stderr).contains("last one wrote")
    );
    // What was left ends by itself, and the platform that comes next takes the directory over.
    up.wait_for_nothing_left(PATIENCE);
    let _next = shop.is_up(&["--no-watch"]);
}

#[test]
fn only_what_was_asked_for_and_what_it_uses_is_started() {
    let shop = Shop::new(TICKER);
    let _up = shop.is_up(&["--no-watch", "--only", "other"]);
    assert_eq!(shop.state_of("other"), "ready");
    assert_eq!(shop.state_of("ticker"), "");
    let wrong = shop.ask(&["up", "--only", "tickr"]);
    assert!(text(&wrong.stderr).contains("did you mean `ticker`?"));
}

#[test]
fn a_changed_file_starts_its_service_anew() {
    let shop = Shop::new(TICKER);
    let up = shop.is_up(&[]);
    std::fs::write(shop.path().join("source.txt"), "new").expect("it is writable");
    wait_for("the restart", PATIENCE, || {
        let stderr = up.stderr();
        stderr.contains("changed: source.txt") && stderr.contains("starts anew")
    });
    std::fs::write(shop.path().join("plimsoll.yaml"), "plimsoll: 1\n").expect("it is writable");
    wait_for("words about the manifest", PATIENCE, || up.stderr().contains("the manifest changed"));
}
