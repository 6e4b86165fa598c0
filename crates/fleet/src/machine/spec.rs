//! What the machine is made of: items, their dependencies, and the tasks before them. Data only.

use super::{ItemId, Millis, State, TaskId};

/// A platform, as far as order and time go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spec {
    /// Resources and services. What an item uses must not, in the end, use the item.
    pub items: Vec<ItemSpec>,
    /// Builds and migrations.
    pub tasks: Vec<TaskSpec>,
    /// Whether a failure at the first start leaves the rest running.
    pub keeps_going: bool,
}

/// One service or resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemSpec {
    /// Its name in the manifest.
    pub name: String,
    /// What must be ready before it starts.
    pub uses: Vec<ItemId>,
    /// What must be done before it starts.
    pub tasks: Vec<TaskId>,
    /// How long it runs.
    pub lifetime: Lifetime,
    /// When it is started again after an end of its own.
    pub restart: Restart,
    /// How long it may take to become ready, milliseconds.
    pub start_limit_ms: Millis,
    /// How long it may take to end when asked, milliseconds; then it is killed.
    pub stop_limit_ms: Millis,
}

/// How long an item runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// Until it is stopped; an end of its own is a failure.
    Serves,
    /// Until it ends with success; a failure is final.
    Once,
    /// Like `Once`, but only when a person asks.
    OnDemand,
}

/// When a serving item that ended by itself is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// However it ended.
    Always,
    /// Unless it ended with success.
    OnFailure,
    /// Never.
    Never,
}

/// A build, a migration or first data, run once for all items that name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskSpec {
    /// Which of them.
    pub kind: TaskKind,
    /// The item it is named after.
    pub owner: ItemId,
    /// Items that must be ready before it runs.
    pub uses: Vec<ItemId>,
    /// Tasks that must be done before it runs.
    pub after: Vec<TaskId>,
    /// How long it may take, milliseconds; then it is killed.
    pub limit_ms: Millis,
}

/// What a task does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskKind {
    /// Makes what an item runs.
    Build,
    /// Brings a database to what an item expects.
    Migrate,
    /// Loads first data, once in the life of a platform.
    Seed,
}

impl TaskKind {
    /// What an item is called while it waits for such a task.
    pub(super) fn state(self) -> State {
        match self {
            Self::Build => State::Building,
            Self::Migrate | Self::Seed => State::Migrating,
        }
    }
}

impl std::fmt::Display for TaskKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Build => "build",
            Self::Migrate => "migration",
            Self::Seed => "first data",
        })
    }
}
