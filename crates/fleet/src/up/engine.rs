//! One loop: what happened goes into the machine, what it wants goes to the driver.
//!
//! It deliberately decides nothing: a command is translated, an effect is handed on, and the new
//! state is shown to whoever looks (status, edge, hub).

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::board::Board;
use super::{Command, Error, ItemKind, PLATFORM, Refused, Request, Status};
use crate::driver::{Driver, News, carry_out};
use crate::edge::Edge;
use crate::hub::{Hub, Stream};
use crate::machine::{Effect, Event, ItemId, Machine, Millis, Report};

/// How many of a process's last lines are shown when it fails.
const LAST_LINES: usize = 12;

/// A running platform.
pub(super) struct Engine<D> {
    machine: Machine,
    driver: D,
    board: Board,
    edge: Option<Edge>,
    hub: Hub,
    status: watch::Sender<Status>,
    epoch: Instant,
}

impl<D: Driver> Engine<D> {
    pub(super) fn new(
        machine: Machine,
        driver: D,
        board: Board,
        edge: Option<Edge>,
        hub: Hub,
        status: watch::Sender<Status>,
    ) -> Self {
        Self { machine, driver, board, edge, hub, status, epoch: Instant::now() }
    }

    /// Runs until nothing runs any more.
    pub(super) async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        mut news: mpsc::Receiver<News>,
    ) -> Result<(), Error> {
        self.feed(Event::Begin);
        while !self.machine.is_over() {
            let deadline = self.machine.next_deadline();
            let due = self.epoch + Duration::from_millis(deadline.unwrap_or_default());
            tokio::select! {
                Some(command) = commands.recv() => self.command(command),
                Some(news) = news.recv() => self.news(news),
                () = tokio::time::sleep_until(due), if deadline.is_some() => {
                    self.feed(Event::Tick);
                }
            }
        }
        if let Some(edge) = self.edge.take() {
            edge.close().await;
        }
        self.outcome()
    }

    fn now(&self) -> Millis {
        Millis::try_from(self.epoch.elapsed().as_millis()).unwrap_or(Millis::MAX)
    }

    fn feed(&mut self, event: Event) {
        let now = self.now();
        let effects = self.machine.on(event, now);
        for effect in &effects {
            match effect {
                Effect::Say(item, report) => self.say(*item, report),
                effect => carry_out(&mut self.driver, effect),
            }
        }
        self.publish();
    }

    fn say(&mut self, item: ItemId, report: &Report) {
        let name = self.board.name(item).to_owned();
        if report.is_failure() {
            self.board.has_failed(item, self.hub.tail(&name, LAST_LINES));
        }
        self.hub.push(&name, Stream::Platform, report.to_string());
    }

    fn publish(&mut self) {
        let status = self.board.status(&self.machine);
        if let Some(edge) = &mut self.edge {
            edge.follow(&status);
        }
        self.status.send_if_modified(|shown| {
            let is_new = *shown != status;
            *shown = status;
            is_new
        });
    }

    fn news(&mut self, news: News) {
        match news {
            News::Machine(event) => self.feed(event),
            News::Pid { item, run, pid } => {
                self.board.has_process(item, run, pid);
                self.publish();
            }
            News::Checks { item, run, checks } => {
                if self.machine.view(item).run == run {
                    self.board.has_checks(item, checks);
                    self.publish();
                }
            }
        }
    }

    fn command(&mut self, command: Command) {
        let answer = self.event_of(command.request);
        let result = answer.as_ref().map(|_| ()).map_err(Clone::clone);
        if let Some(sender) = command.answer {
            // Whoever asked may have gone away meanwhile.
            let _ = sender.send(result);
        }
        if let Ok(event) = answer {
            self.feed(event);
        }
    }

    fn event_of(&mut self, request: Request) -> Result<Event, Refused> {
        if request == Request::Shutdown {
            let text = match self.machine.is_stopping() {
                true => "kills what still runs",
                false => "stops everything; once more kills",
            };
            self.hub.push(PLATFORM, Stream::Platform, text);
            return Ok(Event::Shutdown);
        }
        if self.machine.is_stopping() {
            return Err(Refused::Stopping);
        }
        let item = |name: String| match self.board.find(&name) {
            Some(item) => Ok(item),
            None => Err(Refused::Unknown { name, known: self.board.names() }),
        };
        Ok(match request {
            Request::Start { name } => Event::Start(item(name)?),
            Request::Stop { name } => Event::Stop(item(name)?),
            Request::Restart { name } => Event::Restart(item(name)?),
            Request::Changed { name, .. } => Event::Changed(item(name)?),
            Request::Shutdown => Event::Shutdown,
        })
    }

    fn outcome(self) -> Result<(), Error> {
        let Some((item, reason)) = self.machine.first_failure() else { return Ok(()) };
        let name = self.board.name(item).to_owned();
        let kind = match self.board.kind(item) {
            ItemKind::Service => "service",
            ItemKind::Resource => "resource",
        };
        let status = self.board.status(&self.machine);
        let lines: BTreeMap<_, _> =
            status.items.into_iter().map(|item| (item.name, item.last_lines)).collect();
        let last_lines = lines.get(&name).cloned().unwrap_or_default();
        let help = help_for(reason);
        Err(Error::FirstStart { kind, reason: words(reason), name, last_lines, help })
    }
}

/// The reason as the end of a sentence that begins with the item's name.
fn words(reason: &str) -> String {
    let is_code = reason.starts_with("exit code");
    if is_code { format!("ended at once with {reason}") } else { reason.to_owned() }
}

fn help_for(reason: &str) -> String {
    let help = match reason {
        reason if reason.contains("already taken") => "end that process, or use another port",
        reason if reason.contains("was not ready within") => {
            "see why in its lines; a service with a `port` must listen on `$PORT`, its own port \
             is ours; if it needs longer: `health: {start_timeout: 5m}`"
        }
        reason if reason.contains("not found") => {
            "install it, or correct the command in the manifest"
        }
        reason if reason.starts_with("build failed") || reason.starts_with("migration failed") => {
            "mend it and run `plimsoll up` again"
        }
        _ => "mend it and run `plimsoll up` again; `--keep-going` leaves the rest running",
    };
    help.to_owned()
}
