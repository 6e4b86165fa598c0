//! Claims about the process driver: output, exit, stop, kill, ports, leftovers, watchdog.

use std::net::TcpListener;
use std::path::PathBuf;

use fleet::driver::{Driver, Launch, Leftovers, TaskLaunch, Watchdog};
use fleet::machine::Event;
use nix::sys::signal::Signal;

use crate::stage::{LIMIT, Stage, is_alive, process, script};

#[tokio::test]
async fn a_process_is_ready_and_its_lines_and_exit_code_are_heard() {
    let mut stage =
        Stage::new(vec![("it", process(script("echo one; echo two >&2; exit 3")))], vec![]);
    stage.driver.start(0, 1);
    assert_eq!(stage.exited().await, Err("exit code 3".into()));
    let mut lines = stage.hub.tail("it", 9);
    lines.sort();
    assert_eq!(lines, ["one", "two"]);
}

#[tokio::test]
async fn a_stop_is_a_signal_that_the_process_may_answer() {
    let mut stage = Stage::new(
        vec![(
            "it",
            process(script("trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done")),
        )],
        vec![],
    );
    stage.driver.start(0, 1);
    stage.ready().await;
    while stage.hub.tail("it", 1) != ["up"] {
        tokio::task::yield_now().await;
    }
    stage.stop(1).await;
    assert_eq!(stage.hub.tail("it", 1), ["bye"]);
}

#[tokio::test]
async fn a_kill_leaves_nothing_of_what_the_process_started() {
    let mut stage = Stage::new(
        vec![("it", process(script("trap '' TERM; sleep 1000 & echo $!; wait; wait")))],
        vec![],
    );
    stage.driver.start(0, 1);
    let pid = stage.pid().await;
    let grandchild = loop {
        if let Some(line) = stage.hub.tail("it", 1).first() {
            break line.parse().unwrap();
        }
        tokio::task::yield_now().await;
    };
    stage.driver.stop(0, 1);
    stage.driver.kill(0, 1);
    assert_eq!(stage.exited().await, Err("killed by signal 9 (SIGKILL)".into()));
    assert!(!is_alive(pid));
    // It was killed; whoever inherited it may take a moment to bury it.
    let gone = async {
        while is_alive(grandchild) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, gone).await.unwrap();
    assert_eq!(stage.leftovers.find(), []);
}

#[tokio::test]
async fn a_taken_port_is_said_before_anything_starts_and_by_whom() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut program = script("echo never");
    program.ports = vec![port];
    let mut stage = Stage::new(vec![("it", process(program))], vec![]);
    stage.driver.start(0, 1);
    let error = stage.exited().await.unwrap_err();
    assert!(error.starts_with(&format!("port {port} is already taken by `")), "{error}");
    assert!(error.ends_with(&format!("(pid {})", std::process::id())), "{error}");
    assert!(stage.hub.tail("it", 1).is_empty());
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let mut program = script("");
    program.program = PathBuf::from("no-such-program-here");
    let mut stage = Stage::new(vec![("it", process(program))], vec![]);
    stage.driver.start(0, 1);
    let error = stage.exited().await.unwrap_err();
    assert_eq!(error, "`no-such-program-here` was not found; is it installed?");
}

#[tokio::test]
async fn a_directory_is_made_and_is_ready_until_it_is_stopped() {
    let directory = crate::stage::directory();
    let path = directory.path().join("a/b");
    let mut stage = Stage::new(vec![("it", Launch::Directory(path.clone()))], vec![]);
    stage.driver.start(0, 1);
    stage.ready().await;
    assert!(path.is_dir());
    stage.stop(1).await;
}

#[tokio::test]
async fn a_task_tells_its_end_and_a_killed_one_leaves_nothing() {
    let task = |script: &str| TaskLaunch {
        item: "it".into(),
        words: vec!["sh".into(), "-c".into(), script.into()],
        env: [("WORD".to_owned(), "built".to_owned())].into(),
        directory: PathBuf::from("/"),
    };
    let mut stage =
        Stage::new(vec![], vec![task("echo $WORD; exit 2"), task("echo $$; exec sleep 1000")]);
    stage.driver.run_task(0, 1);
    let ended = Event::TaskEnded { task: 0, run: 1, result: Err("exit code 2".into()) };
    assert_eq!(stage.event().await, ended);
    assert_eq!(stage.hub.tail("it", 1), ["built"]);
    stage.driver.run_task(1, 1);
    let pid = loop {
        match stage.hub.tail("it", 1).first().map(|line| line.parse::<u32>()) {
            Some(Ok(pid)) => break pid,
            _ => tokio::task::yield_now().await,
        }
    };
    stage.driver.kill_task(1, 1);
    let gone = async {
        while is_alive(pid) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, gone).await.unwrap();
}

#[tokio::test]
async fn the_watchdog_ends_what_was_noted_once_its_pipe_closes() {
    let directory = crate::stage::directory();
    let leftovers = Leftovers::make(directory.path()).unwrap();
    let mut polite = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    let mut stranger = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    leftovers.note("polite", polite.id(), Signal::SIGTERM).unwrap();
    let wrong_start = format!("{} 15 1\n", stranger.id());
    std::fs::write(leftovers.directory().join("stranger.pid"), wrong_start).unwrap();
    let watchdog = Watchdog::start(leftovers.directory()).unwrap();
    drop(watchdog);
    assert!(!polite.wait().unwrap().success());
    let removed = async {
        while leftovers.directory().join("stranger.pid").exists() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, removed).await.unwrap();
    assert!(stranger.try_wait().unwrap().is_none(), "a process id given anew was signalled");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[tokio::test]
async fn what_a_killed_platform_left_is_found_and_ended() {
    let directory = crate::stage::directory();
    let leftovers = Leftovers::make(directory.path()).unwrap();
    let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    leftovers.note("api", child.id(), Signal::SIGTERM).unwrap();
    let found = leftovers.find();
    assert_eq!(found.iter().map(|left| left.name.as_str()).collect::<Vec<_>>(), ["api"]);
    leftovers.end(&found).await;
    assert!(!child.wait().unwrap().success());
    assert_eq!(leftovers.find(), []);
}
