//! What the machine is told, and what it wants done. Data only.

use super::{ItemId, Report, TaskId};

/// What happened. `run` names one process of an item; what a former process says is ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The platform is to start.
    Begin,
    /// Time passed.
    Tick,
    /// The process answers that it is ready.
    Ready {
        /// Which item.
        item: ItemId,
        /// Which of its processes.
        run: u32,
    },
    /// The process answers that it is not ready, or does not answer.
    Unready {
        /// Which item.
        item: ItemId,
        /// Which of its processes.
        run: u32,
        /// What it lacks.
        reason: String,
    },
    /// The process ended or could not be started.
    Exited {
        /// Which item.
        item: ItemId,
        /// Which of its processes.
        run: u32,
        /// `Ok` for exit code 0; otherwise what happened.
        result: Result<(), String>,
    },
    /// A task ended.
    TaskEnded {
        /// Which task.
        task: TaskId,
        /// Which of its runs.
        run: u32,
        /// What went wrong, if anything.
        result: Result<(), String>,
    },
    /// Files of an item changed: run its tasks, then replace its process.
    Changed(ItemId),
    /// A person wants the item to run.
    Start(ItemId),
    /// A person wants the item not to run.
    Stop(ItemId),
    /// A person wants a new process, with its tasks done anew.
    Restart(ItemId),
    /// Stop everything in order; a second one kills.
    Shutdown,
}

/// What the driver must do. Repeating one does no harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Start a process and watch it.
    Start {
        /// Which item.
        item: ItemId,
        /// The number its events must carry.
        run: u32,
    },
    /// Ask the process to end.
    Stop {
        /// Which item.
        item: ItemId,
        /// Which of its processes.
        run: u32,
    },
    /// Kill the process and everything it started.
    Kill {
        /// Which item.
        item: ItemId,
        /// Which of its processes.
        run: u32,
    },
    /// Run a build or a migration.
    RunTask {
        /// Which task.
        task: TaskId,
        /// The number its end must carry.
        run: u32,
    },
    /// Kill a build or a migration; its end need not be reported.
    KillTask {
        /// Which task.
        task: TaskId,
        /// Which of its runs.
        run: u32,
    },
    /// Tell the user.
    Say(ItemId, Report),
}
