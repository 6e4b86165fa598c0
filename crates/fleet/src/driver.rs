//! Carries out what the machine decides: starts, asks and ends real processes.
//!
//! The machine speaks in numbers; a driver knows what they stand for. It deliberately decides
//! nothing: when to start again, whom to stop first and what a failure means is the machine's.
//!
//! *Invariant: for every `start(item, run)` one [`Event::Exited`] with the same numbers follows,
//! and nothing of that process is alive by then.*

mod child;
mod launch;
mod leftovers;
mod output;
mod port;
mod process;
mod ready;
mod task;
mod watchdog;

use std::collections::BTreeMap;

use crate::machine::{Effect, Event, ItemId, TaskId};
use crate::up::Check as ReadyCheck;

pub use launch::{Account, Launch, Program, Setup, TaskLaunch};
pub use leftovers::{Leftover, Leftovers};
pub use port::{holder_of, is_free};
pub use process::{NEWS_MAX, ProcessDriver};
pub use ready::Check;
pub use watchdog::Watchdog;

/// What a driver tells the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// Something the machine must hear.
    Machine(Event),
    /// The process of an item, once there is one.
    Pid {
        /// Which item.
        item: ItemId,
        /// Which of its processes.
        run: u32,
        /// Its process id.
        pid: u32,
    },
    /// What the last `/ready` answer said.
    Checks {
        /// Which item.
        item: ItemId,
        /// Which of its processes.
        run: u32,
        /// Check by name.
        checks: BTreeMap<String, ReadyCheck>,
    },
}

/// Starts and ends processes. The real one and a simulated one.
pub trait Driver {
    /// Starts a process; its news carry `run`.
    fn start(&mut self, item: ItemId, run: u32);
    /// Asks a process to end.
    fn stop(&mut self, item: ItemId, run: u32);
    /// Kills a process with everything it started.
    fn kill(&mut self, item: ItemId, run: u32);
    /// Runs a build or a migration.
    fn run_task(&mut self, task: TaskId, run: u32);
    /// Kills a build or a migration with everything it started.
    fn kill_task(&mut self, task: TaskId, run: u32);
}

/// Hands one effect to the driver; words are left to the caller.
pub fn carry_out(driver: &mut impl Driver, effect: &Effect) {
    match *effect {
        Effect::Start { item, run } => driver.start(item, run),
        Effect::Stop { item, run } => driver.stop(item, run),
        Effect::Kill { item, run } => driver.kill(item, run),
        Effect::RunTask { task, run } => driver.run_task(task, run),
        Effect::KillTask { task, run } => driver.kill_task(task, run),
        Effect::Say(..) => {}
    }
}
