//! Claims about the loop, with a simulated driver and simulated time.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::board::Board;
use super::engine::Engine;
use super::*;
use crate::driver::{Driver, News};
use crate::machine::{
    Event, ItemId, ItemSpec, Lifetime, Restart, Spec, State, TaskId, TaskKind, TaskSpec,
};

/// What an item does when it is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Serve,
    Crash,
    Hang,
    IgnoreStop,
}

/// Answers every order as its script says, and notes it.
struct Simulated {
    names: Vec<&'static str>,
    acts: BTreeMap<&'static str, Act>,
    news: mpsc::Sender<News>,
    orders: mpsc::UnboundedSender<String>,
    hub: Hub,
}

impl Simulated {
    fn tell(&self, event: Event) {
        self.news.try_send(News::Machine(event)).unwrap();
    }

    fn note(&self, what: &str, item: ItemId) -> Act {
        let name = self.names[item];
        self.orders.send(format!("{what} {name}")).unwrap();
        self.acts.get(name).copied().unwrap_or(Act::Serve)
    }
}

impl Driver for Simulated {
    fn start(&mut self, item: ItemId, run: u32) {
        match self.note("start", item) {
            Act::Serve | Act::IgnoreStop => {
                let pid = 100 + u32::try_from(item).unwrap();
                self.news.try_send(News::Pid { item, run, pid }).unwrap();
                self.tell(Event::Ready { item, run });
            }
            Act::Crash => {
                self.hub.push(self.names[item], Stream::Stderr, "no such table");
                self.tell(Event::Exited { item, run, result: Err("exit code 3".into()) });
            }
            Act::Hang => {
                self.tell(Event::Unready { item, run, reason: "dependency:db".into() });
            }
        }
    }

    fn stop(&mut self, item: ItemId, run: u32) {
        if self.note("stop", item) != Act::IgnoreStop {
            self.tell(Event::Exited { item, run, result: Ok(()) });
        }
    }

    fn kill(&mut self, item: ItemId, run: u32) {
        self.note("kill", item);
        self.tell(Event::Exited { item, run, result: Err("killed by signal 9".into()) });
    }

    fn run_task(&mut self, task: TaskId, run: u32) {
        self.orders.send(format!("build {task}")).unwrap();
        self.tell(Event::TaskEnded { task, run, result: Ok(()) });
    }

    fn kill_task(&mut self, task: TaskId, _run: u32) {
        self.orders.send(format!("kill build {task}")).unwrap();
    }
}

struct Running {
    commands: mpsc::Sender<Command>,
    orders: mpsc::UnboundedReceiver<String>,
    status: watch::Receiver<Status>,
    end: JoinHandle<Result<(), Error>>,
}

/// db <- api <- web; api has a build.
fn platform(acts: &[(&'static str, Act)]) -> Running {
    let item = |name: &str, uses: &[ItemId], tasks: &[TaskId]| ItemSpec {
        name: name.into(),
        uses: uses.to_vec(),
        tasks: tasks.to_vec(),
        lifetime: Lifetime::Serves,
        restart: Restart::Always,
        start_limit_ms: 60_000,
        stop_limit_ms: 25_000,
    };
    let build =
        TaskSpec { kind: TaskKind::Build, owner: 1, uses: vec![], after: vec![], limit_ms: 60_000 };
    let spec = Spec {
        items: vec![item("db", &[], &[]), item("api", &[0], &[0]), item("web", &[1], &[])],
        tasks: vec![build],
        keeps_going: false,
    };
    let names = vec!["db", "api", "web"];
    let hub = Hub::default();
    let (news_sender, news) = mpsc::channel(64);
    let (order_sender, orders) = mpsc::unbounded_channel();
    let (commands, command_receiver) = mpsc::channel(COMMANDS_MAX);
    let board = Board::of_names(&names);
    let machine = Machine::new(spec, 1);
    let (status_sender, status) = watch::channel(board.status(&machine));
    let acts = acts.iter().copied().collect();
    let driver =
        Simulated { names, acts, news: news_sender, orders: order_sender, hub: hub.clone() };
    let engine = Engine::new(machine, driver, board, None, hub, status_sender);
    let end = tokio::spawn(engine.run(command_receiver, news));
    Running { commands, orders, status, end }
}

impl Running {
    async fn until(&mut self, what: impl FnMut(&Status) -> bool) -> Status {
        let found = tokio::time::timeout(Duration::from_secs(600), self.status.wait_for(what));
        found.await.unwrap().unwrap().clone()
    }

    async fn ask(&self, request: Request) -> Result<(), Refused> {
        let (sender, answer) = oneshot::channel();
        self.commands.send(Command { request, answer: Some(sender) }).await.unwrap();
        answer.await.unwrap()
    }

    fn orders(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.orders.try_recv().ok()).collect()
    }

    async fn end(self) -> (Result<(), Error>, Status, Vec<String>) {
        let Self { mut orders, status, end, .. } = self;
        let result = tokio::time::timeout(Duration::from_secs(600), end).await.unwrap().unwrap();
        let status = status.borrow().clone();
        (result, status, std::iter::from_fn(|| orders.try_recv().ok()).collect())
    }
}

fn state(status: &Status, name: &str) -> State {
    status.items.iter().find(|item| item.name == name).unwrap().state
}

#[tokio::test(start_paused = true)]
async fn a_platform_starts_in_order_is_shown_and_stops_in_reverse() {
    let mut it = platform(&[]);
    let status = it.until(|status| status.phase == Phase::Running).await;
    assert_eq!(it.orders(), ["build 0", "start db", "start api", "start web"]);
    let pids: Vec<_> = status.items.iter().map(|item| item.pid).collect();
    assert_eq!(pids, [Some(100), Some(101), Some(102)]);
    assert_eq!(state(&status, "web"), State::Ready);
    assert_eq!(it.ask(Request::Shutdown).await, Ok(()));
    let (result, status, orders) = it.end().await;
    assert!(result.is_ok());
    assert_eq!(orders, ["stop web", "stop api", "stop db"]);
    assert_eq!(status.phase, Phase::Stopped);
}

#[tokio::test(start_paused = true)]
async fn a_first_start_that_fails_names_the_service_with_its_last_lines() {
    let (result, status, orders) = platform(&[("api", Act::Crash)]).end().await;
    let error = result.unwrap_err().to_string();
    assert!(error.starts_with("service `api` ended at once with exit code 3"), "{error}");
    assert!(error.contains("| no such table"), "{error}");
    assert!(error.contains("help: "), "{error}");
    assert_eq!(orders, ["build 0", "start db", "start api", "stop db"]);
    assert_eq!(status.phase, Phase::Stopped);
}

#[tokio::test(start_paused = true)]
async fn a_gate_that_never_passes_says_what_was_lacking() {
    let (result, _, orders) = platform(&[("api", Act::Hang)]).end().await;
    let error = result.unwrap_err().to_string();
    let expected = "service `api` was not ready within 60 s: dependency:db";
    assert!(error.starts_with(expected), "{error}");
    assert_eq!(orders.last().unwrap(), "stop db");
}

#[tokio::test(start_paused = true)]
async fn a_second_shutdown_kills() {
    let mut it = platform(&[("web", Act::IgnoreStop)]);
    it.until(|status| status.phase == Phase::Running).await;
    it.ask(Request::Shutdown).await.unwrap();
    it.until(|status| status.phase == Phase::Stopping).await;
    it.ask(Request::Shutdown).await.unwrap();
    let (result, _, orders) = it.end().await;
    assert!(result.is_ok());
    assert!(orders.contains(&"kill web".to_owned()), "{orders:?}");
    assert!(orders.contains(&"kill db".to_owned()), "{orders:?}");
}

#[tokio::test(start_paused = true)]
async fn what_ignores_the_stop_is_killed_after_its_limit() {
    let mut it = platform(&[("web", Act::IgnoreStop)]);
    it.until(|status| status.phase == Phase::Running).await;
    it.orders();
    it.ask(Request::Shutdown).await.unwrap();
    let (_, _, orders) = it.end().await;
    assert_eq!(orders, ["stop web", "kill web", "stop api", "stop db"]);
}

#[tokio::test(start_paused = true)]
async fn unknown_names_are_refused_with_those_there_are() {
    let mut it = platform(&[]);
    it.until(|status| status.phase == Phase::Running).await;
    let refused = it.ask(Request::Restart { name: "apy".into() }).await.unwrap_err();
    let known = vec!["api".to_owned(), "db".into(), "web".into()];
    assert_eq!(refused, Refused::Unknown { name: "apy".into(), known });
    it.ask(Request::Shutdown).await.unwrap();
    assert!(it.end().await.0.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_change_builds_and_replaces_only_that_service() {
    let mut it = platform(&[]);
    it.until(|status| status.phase == Phase::Running).await;
    it.orders();
    it.ask(Request::Changed { name: "api".into(), paths: vec![] }).await.unwrap();
    for expected in ["build 0", "stop api", "start api"] {
        assert_eq!(it.orders.recv().await.unwrap(), expected);
    }
    it.ask(Request::Shutdown).await.unwrap();
    assert!(it.end().await.0.is_ok());
}
