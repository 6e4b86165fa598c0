//! Builds and migrations: when they run, and what their end means for the items that need them.
//!
//! *Invariant: at most one build runs at a time, and a task never runs twice at once.*

use super::item::AfterStop;
use super::{Effect, ItemId, Lifetime, Machine, Millis, Phase, Report, State, TaskId, TaskKind};

/// How many builds run at the same time: they use every core by themselves.
const BUILDS_MAX: usize = 1;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum TaskState {
    #[default]
    Pending,
    Running {
        /// Something changed meanwhile, so its result is already old.
        again: bool,
        deadline: Millis,
    },
    Done,
    Failed,
}

#[derive(Debug, Default)]
pub(super) struct Task {
    pub(super) state: TaskState,
    /// Which run this is; what an earlier one says is ignored.
    pub(super) run: u32,
    was_done: bool,
}

impl Task {
    pub(super) fn deadline(&self) -> Option<Millis> {
        match self.state {
            TaskState::Running { deadline, .. } => Some(deadline),
            _ => None,
        }
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.state, TaskState::Running { .. })
    }

    /// Done; or done before and failed since, so that what it made then can still be run.
    pub(super) fn allows_start(&self) -> bool {
        self.state == TaskState::Done || (self.state == TaskState::Failed && self.was_done)
    }

    fn redo(&mut self) {
        match &mut self.state {
            TaskState::Running { again, .. } => *again = true,
            state => *state = TaskState::Pending,
        }
    }
}

impl Machine {
    pub(super) fn is_current_task(&self, id: TaskId, run: u32) -> bool {
        self.tasks.get(id).is_some_and(|task| task.run == run && task.is_running())
    }

    /// The kind of the task of this item that runs now.
    pub(super) fn running_task(&self, id: ItemId) -> Option<TaskKind> {
        let mut tasks = self.spec.items[id].tasks.iter();
        tasks.find(|task| self.tasks[**task].is_running()).map(|task| self.spec.tasks[*task].kind)
    }

    pub(super) fn run_tasks(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        for id in 0..self.tasks.len() {
            if self.may_run(id) {
                let deadline = now + self.spec.tasks[id].limit_ms;
                self.tasks[id].state = TaskState::Running { again: false, deadline };
                self.tasks[id].run += 1;
                effects.push(Effect::RunTask { task: id, run: self.tasks[id].run });
                let report = Report::TaskStarted { kind: self.spec.tasks[id].kind };
                effects.push(Effect::Say(self.spec.tasks[id].owner, report));
            }
        }
    }

    fn may_run(&self, id: TaskId) -> bool {
        let spec = &self.spec.tasks[id];
        let is_build = spec.kind == TaskKind::Build;
        let has_room = || {
            let running = self.tasks.iter().zip(&self.spec.tasks);
            running.filter(|(task, spec)| task.is_running() && spec.kind == TaskKind::Build).count()
                < BUILDS_MAX
        };
        self.tasks[id].state == TaskState::Pending
            && self.is_wanted(id)
            && self.unmet(&spec.uses).is_empty()
            && spec.after.iter().all(|task| self.tasks[*task].state == TaskState::Done)
            && (!is_build || has_room())
    }

    fn is_wanted(&self, task: TaskId) -> bool {
        self.items_of(task).any(|id| {
            let item = &self.items[id];
            item.state == State::Waiting
                || item.is_stale
                || (item.state == State::Stopping && item.next == AfterStop::StartAgain)
        })
    }

    fn items_of(&self, task: TaskId) -> impl Iterator<Item = ItemId> + '_ {
        (0..self.items.len()).filter(move |id| self.spec.items[*id].tasks.contains(&task))
    }

    pub(super) fn task_ended(
        &mut self,
        task: TaskId,
        result: Result<(), String>,
        now: Millis,
        effects: &mut Vec<Effect>,
    ) {
        if let TaskState::Running { again: true, .. } = self.tasks[task].state {
            self.tasks[task].state = TaskState::Pending;
            return;
        }
        match result {
            Ok(()) => {
                self.tasks[task].state = TaskState::Done;
                self.tasks[task].was_done = true;
                let kind = self.spec.tasks[task].kind;
                effects.push(Effect::Say(self.spec.tasks[task].owner, Report::TaskDone { kind }));
            }
            Err(reason) => self.task_failed(task, &reason, now, effects),
        }
    }

    fn task_failed(&mut self, task: TaskId, reason: &str, now: Millis, effects: &mut Vec<Effect>) {
        self.tasks[task].state = TaskState::Failed;
        self.fail_what_follows(task);
        if self.phase != Phase::Running {
            return;
        }
        let kind = self.spec.tasks[task].kind;
        let owner = self.spec.tasks[task].owner;
        let error = format!("{kind} failed: {reason}");
        let mut keeps_serving = false;
        for id in self.items_of(task).collect::<Vec<_>>() {
            let item = &mut self.items[id];
            let was_wanted = item.state == State::Waiting || item.is_stale;
            item.is_stale = false;
            if !was_wanted {
                continue;
            }
            item.error = Some(error.clone());
            if item.state == State::Waiting {
                item.enter(State::Failed, now);
            } else {
                keeps_serving |= id == owner;
            }
        }
        let reason = reason.to_owned();
        effects.push(Effect::Say(owner, Report::TaskFailed { kind, reason, keeps_serving }));
        if !self.has_completed() && !self.spec.keeps_going {
            self.give_up(owner, error, now, effects);
        }
    }

    /// What was to run after a failed task does not run either.
    fn fail_what_follows(&mut self, task: TaskId) {
        for (next, spec) in self.tasks.iter_mut().zip(&self.spec.tasks) {
            if spec.after.contains(&task) && next.state == TaskState::Pending {
                next.state = TaskState::Failed;
            }
        }
    }

    pub(super) fn end_late_tasks(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        for id in 0..self.tasks.len() {
            if self.tasks[id].deadline().is_some_and(|deadline| deadline <= now) {
                effects.push(Effect::KillTask { task: id, run: self.tasks[id].run });
                let seconds = self.spec.tasks[id].limit_ms / 1000;
                self.task_failed(id, &format!("did not end within {seconds} s"), now, effects);
            }
        }
    }

    /// Files changed: the tasks run anew while the old process serves.
    pub(super) fn changed(&mut self, id: ItemId, now: Millis, effects: &mut Vec<Effect>) {
        if self.spec.items[id].lifetime == Lifetime::OnDemand {
            return;
        }
        match self.items[id].state {
            State::Stopped | State::Skipped | State::Done | State::Stopping => return,
            State::Starting | State::Ready | State::Unready => {
                self.items[id].is_stale = true;
                effects.push(Effect::Say(id, Report::Changed));
            }
            State::Failed | State::Backoff | State::CrashLooping => {
                self.items[id].failures.clear();
                self.items[id].enter(State::Waiting, now);
                effects.push(Effect::Say(id, Report::Changed));
            }
            State::Waiting | State::Building | State::Migrating => {}
        }
        self.redo_tasks(id, now);
    }

    /// Marks the tasks of an item to run anew, and what shares its builds to be replaced after.
    pub(super) fn redo_tasks(&mut self, id: ItemId, now: Millis) {
        for task in self.spec.items[id].tasks.clone() {
            let is_seed = self.spec.tasks[task].kind == TaskKind::Seed;
            if is_seed && self.tasks[task].state == TaskState::Done {
                continue;
            }
            self.tasks[task].redo();
            if self.spec.tasks[task].kind != TaskKind::Build {
                continue;
            }
            for other in self.items_of(task).collect::<Vec<_>>() {
                let item = &mut self.items[other];
                match item.state {
                    State::Starting | State::Ready | State::Unready => item.is_stale = true,
                    State::Backoff | State::CrashLooping => item.enter(State::Waiting, now),
                    _ => {}
                }
            }
        }
    }

    /// What failed is tried again when a person asks for the item.
    pub(super) fn retry_failed_tasks(&mut self, id: ItemId) {
        for task in self.spec.items[id].tasks.clone() {
            if self.tasks[task].state == TaskState::Failed {
                self.tasks[task].state = TaskState::Pending;
            }
        }
    }

    /// Stops the old process of everything whose tasks have all been done anew.
    pub(super) fn replace_stale(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        for id in 0..self.items.len() {
            let tasks = &self.spec.items[id].tasks;
            let is_built = tasks.iter().all(|task| self.tasks[*task].state == TaskState::Done);
            if self.items[id].is_stale && is_built {
                self.items[id].is_stale = false;
                if matches!(self.items[id].state, State::Starting | State::Ready | State::Unready) {
                    self.stop(id, AfterStop::StartAgain, now, effects);
                }
            }
        }
    }
}
