//! `plimsoll up`: one directory's platform in the foreground.
//!
//! The engine takes [`Command`]s from a bounded channel and publishes a [`Status`] on a watch
//! channel after every change; it prints nothing. Who serves the control socket, watches files or
//! draws lines on a terminal stands outside, and holds the other ends of those channels:
//!
//! ```text
//! control socket --+                              +--> watch::Receiver<Status> (status, urls)
//! signals ---------+-> mpsc Command -> up::run ---+
//! watch::... ------+                              +--> hub::Hub: push(item, stream, text)
//! ```
//!
//! ```text
//! Plan --assemble--> machine::Spec + launches      says at once everything that is missing
//!                          |
//! engine: command | news | time --> machine --> effects --> driver, hub, status, edge
//! ```
//!
//! It deliberately takes no lock: whoever calls it has claimed the state directory.
//!
//! *Invariant: when [`run`] returns, nothing that it started is alive, whatever it returns.*

mod assemble;
mod board;
mod engine;
mod error;
mod request;
mod service;
mod state_dir;
mod status;
mod values;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use manifest::Plan;
use tokio::sync::{mpsc, watch};

pub(crate) use assemble::Assembled;
pub use error::{Error, Problem};
pub use request::{COMMANDS_MAX, Command, Refused, Request};
pub use state_dir::{STATE_NAME, StateDir};
pub use status::{Check, ItemKind, ItemStatus, Phase, Status};
pub use values::read_dotenv;

use crate::driver::{Leftovers, NEWS_MAX, ProcessDriver, Watchdog};
use crate::edge::Edge;
use crate::hub::{Hub, Stream};
use crate::machine::Machine;

/// Where the edge listens unless told otherwise.
pub const EDGE_PORT: u16 = 8000;
/// The name under which words about the whole platform appear in the hub.
pub const PLATFORM: &str = "plimsoll";

/// How a platform is run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The directory of the manifest: services' paths are relative to it.
    pub dir: PathBuf,
    /// Where everything of this platform is kept.
    pub state: StateDir,
    /// The `plimsoll` program whose `run` starts each service.
    pub exe: PathBuf,
    /// Where the edge listens, on 127.0.0.1.
    pub edge_port: u16,
    /// Whether a failure at the first start leaves the rest running.
    pub keeps_going: bool,
    /// Whether first data is loaded, once, after the migrations.
    pub seeds: bool,
    /// A health gate for all services in place of the manifest's.
    pub start_limit: Option<Duration>,
    /// The environment of `plimsoll up`; secrets come from here first.
    pub variables: BTreeMap<String, String>,
    /// What `.env` beside the manifest says; secrets come from here second.
    pub dotenv: BTreeMap<String, String>,
}

impl Options {
    /// What holds unless told otherwise.
    pub fn new(dir: PathBuf, state: StateDir, exe: PathBuf) -> Self {
        let (variables, dotenv) = (BTreeMap::new(), BTreeMap::new());
        let (edge_port, keeps_going, seeds, start_limit) = (EDGE_PORT, false, false, None);
        Self { dir, state, exe, edge_port, keeps_going, seeds, start_limit, variables, dotenv }
    }
}

/// Runs a platform until it is told to shut down, or its first start fails.
///
/// # Errors
/// Everything that is missing before anything starts, or the item whose first start failed.
pub async fn run(
    plan: Arc<Plan>,
    options: Options,
    hub: Hub,
    commands: mpsc::Receiver<Command>,
    status: watch::Sender<Status>,
) -> Result<(), Error> {
    let result = run_to_end(&plan, &options, hub, commands, status).await;
    options.state.close();
    result
}

async fn run_to_end(
    plan: &Plan,
    options: &Options,
    hub: Hub,
    commands: mpsc::Receiver<Command>,
    status: watch::Sender<Status>,
) -> Result<(), Error> {
    let leftovers = Leftovers::make(&options.state.run).map_err(|source| Error::State {
        intent: "note processes in",
        path: options.state.run.clone(),
        source,
    })?;
    let result = run_noted(plan, options, hub, commands, status, leftovers.clone()).await;
    leftovers.close();
    result
}

async fn run_noted(
    plan: &Plan,
    options: &Options,
    hub: Hub,
    commands: mpsc::Receiver<Command>,
    status: watch::Sender<Status>,
    leftovers: Leftovers,
) -> Result<(), Error> {
    clean_up(&leftovers, &hub).await;
    let assembled = assemble::assemble(plan, options)?;
    for (name, note) in &assembled.notes {
        hub.push(name, Stream::Platform, note);
    }
    let edge = Edge::open(plan, &assembled, options.edge_port).await?;
    let watchdog = Watchdog::start(leftovers.directory()).map_err(|source| Error::State {
        intent: "watch over",
        path: leftovers.directory().to_owned(),
        source,
    })?;
    let (news_sender, news) = mpsc::channel(NEWS_MAX);
    let names = assembled.spec.items.iter().map(|item| item.name.clone());
    let items = names.zip(assembled.launches.iter().cloned()).collect();
    let tasks = assembled.task_launches.clone();
    let driver = ProcessDriver::new(items, tasks, news_sender, hub.clone(), leftovers);
    let machine = Machine::new(assembled.spec.clone(), u64::from(std::process::id()));
    let board = board::Board::new(plan, &assembled, edge.as_ref().map(Edge::url));
    let result =
        engine::Engine::new(machine, driver, board, edge, hub, status).run(commands, news).await;
    watchdog.end().await;
    result
}

/// Ends what a platform that was killed left behind, and says so.
async fn clean_up(leftovers: &Leftovers, hub: &Hub) {
    let found = leftovers.find();
    for left in &found {
        let text =
            format!("was left running (pid {}) by a platform that was killed; ends it", left.pid);
        hub.push(&left.name, Stream::Platform, text);
    }
    leftovers.end(&found).await;
}

#[cfg(test)]
mod tests;
