//! What may be asked of a running platform. Nothing here acts: the engine answers.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

/// How many commands may wait for the engine; more make the sender wait.
pub const COMMANDS_MAX: usize = 64;

/// A wish, as it travels over the control socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "do")]
pub enum Request {
    /// Starts an item that was stopped or has failed; nothing happens if it runs.
    Start {
        /// The service or resource.
        name: String,
    },
    /// Stops an item until it is started again.
    Stop {
        /// The service or resource.
        name: String,
    },
    /// Builds (if it has a build) and starts an item anew.
    Restart {
        /// The service or resource.
        name: String,
    },
    /// Files of a service changed: build it, and start it anew if the build succeeds.
    Changed {
        /// The service.
        name: String,
        /// Which files, for the message only; may be cut.
        paths: Vec<PathBuf>,
    },
    /// Stops everything, in reverse order of `uses`. A second one kills what still runs.
    Shutdown,
}

/// A request with the place where its answer goes.
#[derive(Debug)]
pub struct Command {
    /// What is wanted.
    pub request: Request,
    /// Answered as soon as the request is accepted or refused, not when it is carried out;
    /// `None` when nobody waits (a signal, a watcher).
    pub answer: Option<oneshot::Sender<Result<(), Refused>>>,
}

impl Command {
    /// A request whose answer nobody waits for.
    pub fn silent(request: Request) -> Self {
        Self { request, answer: None }
    }
}

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "refused")]
pub enum Refused {
    /// No item has that name.
    #[error(
        "no service or resource is called `{name}`\nhelp: one of {}",
        known.iter().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(", ")
    )]
    Unknown {
        /// What was asked for.
        name: String,
        /// The names there are, sorted.
        known: Vec<String>,
    },
    /// The platform is being stopped.
    #[error("the platform is stopping\nhelp: wait for it to end, then run `plimsoll up` again")]
    Stopping,
    /// The item is not run by `up`.
    #[error("`{name}` is not run by `plimsoll up`: {reason}")]
    NotRun {
        /// The item.
        name: String,
        /// Why.
        reason: String,
    },
}
