//! The whole platform at one moment, as `plimsoll status --json` and the control socket show it.
//!
//! Data only. Times are Unix milliseconds. Passwords never appear: URLs here carry `***`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::machine::State;

/// The whole platform at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The application's name.
    pub app: String,
    /// The environment it runs as.
    pub environment: String,
    /// The process id of `plimsoll up`.
    pub pid: u32,
    /// What the platform as a whole does.
    pub phase: Phase,
    /// Where the edge listens, e.g. `http://localhost:8000`; `None` without routes.
    pub edge: Option<String>,
    /// When this platform was started, Unix milliseconds.
    pub started_ms: u64,
    /// Resources first, then services, each in start order.
    pub items: Vec<ItemStatus>,
}

/// What the platform as a whole does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Not everything was ready yet.
    Starting,
    /// Everything was ready once.
    Running,
    /// Everything is being stopped, in reverse order.
    Stopping,
    /// Nothing runs any more.
    Stopped,
}

/// Whether an item is one of the user's programs or something they use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemKind {
    /// One of the user's programs.
    Service,
    /// A database, a cache, a directory.
    Resource,
}

/// One service or resource at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemStatus {
    /// Its name in the manifest.
    pub name: String,
    /// Service or resource.
    pub kind: ItemKind,
    /// `web`, `worker`, `static`, `cron`, `job`; or the resource's type, `postgres`, `redis` ...
    pub flavour: String,
    /// Where it stands.
    pub state: State,
    /// Since when, Unix milliseconds.
    pub since_ms: u64,
    /// One line about the state: what it waits for, when it starts again; may be empty.
    pub note: String,
    /// Its process, if one runs.
    pub pid: Option<u32>,
    /// How often it was started again after a failure.
    pub restarts: u32,
    /// Where it listens on 127.0.0.1.
    pub port: Option<u16>,
    /// Where a person reaches it: through the edge first, then directly.
    pub urls: Vec<String>,
    /// What it uses, directly.
    pub uses: Vec<String>,
    /// The checks of its last `/ready` answer, by name.
    pub checks: BTreeMap<String, Check>,
    /// What went wrong last, with its help; kept until the item is ready again.
    pub error: Option<String>,
    /// Its last lines at the time of the last failure.
    pub last_lines: Vec<String>,
}

/// One check of a service's readiness.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Whether it passes.
    pub is_passing: bool,
    /// What it says when it fails; empty otherwise.
    pub output: String,
}
