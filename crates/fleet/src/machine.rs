//! The platform machine: what must run, in which order, and what happens when something fails.
//!
//! Pure: `on(event, now)` returns effects, and [`Machine::next_deadline`] says when to send the
//! next [`Event::Tick`]. It knows neither processes nor ports nor clocks; a driver carries the
//! effects out and reports what came of them. One item (a service or a resource) moves so:
//!
//! ```text
//!            uses ready,            process            answers
//!            tasks done             started            ready
//! waiting ----------------> starting ----------------------> ready <--> unready
//!   |  ^  (building,           |                               |           |
//!   |  |   migrating)          | exit, gate timed out          | exit      | exit
//!   |  |                       v                               v           v
//!   |  +---- pause over --- backoff <-- few failures ----------+-----------+
//!   |  +---- pause over --- crash_looping <-- five failures in the window --+
//!   |
//!   | a task failed            a job: exit 0 -> done, else -> failed
//!   v
//! failed                    any live state -- stop, restart, shutdown --> stopping --> stopped
//! ```
//!
//! A *task* is a build or a migration; several items may share one, and it runs once. A changed
//! item runs its tasks anew while its old process serves, and only then is the process replaced.
//!
//! *Invariant: a process is started only when everything in its `uses` is ready, and on shutdown
//! told to stop only when nothing that uses it lives.*

mod backoff;
mod event;
mod item;
mod report;
mod shutdown;
mod spec;
mod tasks;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use backoff::{CRASH_FAILURES, CRASH_WINDOW_MS, STABLE_MS};
pub use event::{Effect, Event};
use item::{AfterStop, Item};
pub use report::Report;
pub use spec::{ItemSpec, Lifetime, Restart, Spec, TaskKind, TaskSpec};
use tasks::Task;

/// Position of an item in [`Spec::items`].
pub type ItemId = usize;
/// Position of a task in [`Spec::tasks`].
pub type TaskId = usize;
/// Milliseconds on any clock that never goes back.
pub type Millis = u64;

/// How long after a kill a process that does not end is given up, milliseconds.
pub const KILL_LIMIT_MS: Millis = 5_000;

/// What ends sooner than this after its start has not started, even if it was ready, milliseconds.
pub const SETTLE_MS: Millis = 1_000;

/// Where one item (a service or a resource) stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Not run by `up` (a schedule that only the cluster keeps, or something external).
    Skipped,
    /// Waits until everything in its `uses` is ready.
    Waiting,
    /// Its build command runs.
    Building,
    /// Its migration runs.
    Migrating,
    /// Its process was started and has not yet said that it is ready.
    Starting,
    /// Serves.
    Ready,
    /// Was ready and no longer is; its process runs.
    Unready,
    /// A job that ended with success.
    Done,
    /// Failed; starts again after a pause.
    Backoff,
    /// Failed too often in a short time; starts again after long pauses.
    CrashLooping,
    /// Was told to stop and has not yet ended.
    Stopping,
    /// Does not run.
    Stopped,
    /// Failed and is not started again (its first start, a build, a job).
    Failed,
}

/// The whole platform.
#[derive(Debug)]
pub struct Machine {
    spec: Spec,
    items: Vec<Item>,
    tasks: Vec<Task>,
    phase: Phase,
    completed_at: Option<Millis>,
    first_failure: Option<(ItemId, String)>,
    random: fastrand::Rng,
}

/// What the platform as a whole does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Idle,
    Running,
    Draining,
    Killing,
}

/// What can be seen of one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View<'a> {
    /// Where it stands.
    pub state: State,
    /// Since when.
    pub since: Millis,
    /// Which of its processes.
    pub run: u32,
    /// How often it was started again after a failure.
    pub restarts: u32,
    /// When it starts again or its time is up.
    pub deadline: Option<Millis>,
    /// What it says it lacks to be ready; may be empty.
    pub lacks: &'a str,
    /// What went wrong last.
    pub error: Option<&'a str>,
    /// What it waits for, by position.
    pub waits_for: Vec<ItemId>,
}

impl Machine {
    /// A platform in which nothing runs yet. `seed` makes the jitter of restarts.
    pub fn new(spec: Spec, seed: u64) -> Self {
        let items = spec.items.iter().map(|item| Item::new(item.lifetime)).collect();
        let tasks = spec.tasks.iter().map(|_| Task::default()).collect();
        Self {
            spec,
            items,
            tasks,
            phase: Phase::Idle,
            completed_at: None,
            first_failure: None,
            random: fastrand::Rng::with_seed(seed),
        }
    }

    /// Takes one event and says what to do.
    pub fn on(&mut self, event: Event, now: Millis) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Begin => {
                if self.phase == Phase::Idle {
                    self.phase = Phase::Running;
                    self.items.iter_mut().for_each(|item| item.since = now);
                }
            }
            Event::Tick => self.tick(now, &mut effects),
            Event::Ready { item, run } if self.is_current(item, run) => {
                self.ready(item, now, &mut effects);
            }
            Event::Unready { item, run, reason } if self.is_current(item, run) => {
                self.unready(item, reason, now, &mut effects);
            }
            Event::Exited { item, run, result } if self.is_current(item, run) => {
                self.exited(item, result, now, &mut effects);
            }
            Event::Ready { .. } | Event::Unready { .. } | Event::Exited { .. } => {}
            Event::TaskEnded { task, run, result } if self.is_current_task(task, run) => {
                self.task_ended(task, result, now, &mut effects);
            }
            Event::TaskEnded { .. } => {}
            Event::Shutdown => self.shutdown(now, &mut effects),
            Event::Changed(id) if self.may_act_on(id) => self.changed(id, now, &mut effects),
            Event::Start(id) if self.may_act_on(id) => self.start_wanted(id, now),
            Event::Stop(id) if self.may_act_on(id) => self.stop_wanted(id, now, &mut effects),
            Event::Restart(id) if self.may_act_on(id) => self.restart_wanted(id, now, &mut effects),
            Event::Changed(_) | Event::Start(_) | Event::Stop(_) | Event::Restart(_) => {}
        }
        self.advance(now, &mut effects);
        effects
    }

    /// When the next [`Event::Tick`] is due; never later than the first limit that may pass.
    pub fn next_deadline(&self) -> Option<Millis> {
        let items = self.items.iter().filter_map(|item| item.deadline);
        let tasks = self.tasks.iter().filter_map(Task::deadline);
        items.chain(tasks).min()
    }

    /// Whether everything was ready once.
    pub fn has_completed(&self) -> bool {
        self.completed_at.is_some()
    }

    /// Whether everything is being stopped or has stopped.
    pub fn is_stopping(&self) -> bool {
        matches!(self.phase, Phase::Draining | Phase::Killing)
    }

    /// Whether it was told to stop and nothing lives any more.
    pub fn is_over(&self) -> bool {
        self.is_stopping() && !self.items.iter().any(Item::is_live)
    }

    /// The failure that ended the first start, if one did.
    pub fn first_failure(&self) -> Option<(ItemId, &str)> {
        self.first_failure.as_ref().map(|(id, reason)| (*id, reason.as_str()))
    }

    /// What it was made of.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// What can be seen of one item.
    pub fn view(&self, id: ItemId) -> View<'_> {
        let item = &self.items[id];
        let state = match item.state {
            State::Waiting => self.running_task(id).map_or(State::Waiting, TaskKind::state),
            state => state,
        };
        View {
            state,
            since: item.since,
            run: item.run,
            restarts: item.restarts,
            deadline: item.deadline,
            lacks: &item.lacks,
            error: item.error.as_deref(),
            waits_for: self.unmet(&self.spec.items[id].uses),
        }
    }

    fn is_current(&self, id: ItemId, run: u32) -> bool {
        self.items.get(id).is_some_and(|item| item.run == run && item.is_live())
    }

    fn may_act_on(&self, id: ItemId) -> bool {
        self.phase == Phase::Running && id < self.items.len()
    }

    /// Starts whatever may start now; on shutdown, stops whatever may stop now.
    fn advance(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        match self.phase {
            Phase::Idle => {}
            Phase::Draining | Phase::Killing => self.stop_unused(now, effects),
            Phase::Running => {
                self.run_tasks(now, effects);
                self.replace_stale(now, effects);
                for id in 0..self.items.len() {
                    if self.may_start(id) {
                        self.start(id, now, effects);
                    }
                }
                let is_settled = |(id, item): (ItemId, &Item)| {
                    item.state == State::Ready || item.has_ended() || self.is_running_job(id)
                };
                if self.completed_at.is_none() && self.items.iter().enumerate().all(is_settled) {
                    self.completed_at = Some(now);
                }
            }
        }
    }

    fn may_start(&self, id: ItemId) -> bool {
        let spec = &self.spec.items[id];
        self.items[id].state == State::Waiting
            && spec.tasks.iter().all(|task| self.tasks[*task].allows_start())
            && self.unmet(&spec.uses).is_empty()
    }

    fn is_running_job(&self, id: ItemId) -> bool {
        self.spec.items[id].lifetime != Lifetime::Serves && self.items[id].is_live()
    }

    /// Those of `uses` that are not ready (a job: not done).
    fn unmet(&self, uses: &[ItemId]) -> Vec<ItemId> {
        uses.iter().copied().filter(|id| !self.items[*id].is_met()).collect()
    }

    fn start(&mut self, id: ItemId, now: Millis, effects: &mut Vec<Effect>) {
        let limit = match self.spec.items[id].lifetime {
            Lifetime::Serves => Some(now + self.spec.items[id].start_limit_ms),
            Lifetime::Once | Lifetime::OnDemand => None,
        };
        let item = &mut self.items[id];
        item.run += 1;
        item.started = now;
        item.lacks.clear();
        item.enter(State::Starting, now);
        item.deadline = limit;
        effects.push(Effect::Start { item: id, run: item.run });
    }

    fn ready(&mut self, id: ItemId, now: Millis, effects: &mut Vec<Effect>) {
        if self.spec.items[id].lifetime != Lifetime::Serves {
            return;
        }
        let item = &mut self.items[id];
        if !matches!(item.state, State::Starting | State::Unready) {
            return;
        }
        let after_ms = now.saturating_sub(item.since);
        let was_starting = item.state == State::Starting;
        item.enter(State::Ready, now);
        item.deadline = (!item.failures.is_empty()).then_some(now + STABLE_MS);
        item.was_ready = true;
        item.lacks.clear();
        item.error = None;
        let report = if was_starting { Report::Ready { after_ms } } else { Report::ReadyAgain };
        effects.push(Effect::Say(id, report));
    }

    fn unready(&mut self, id: ItemId, reason: String, now: Millis, effects: &mut Vec<Effect>) {
        let item = &mut self.items[id];
        item.lacks.clone_from(&reason);
        if item.state == State::Ready {
            item.enter(State::Unready, now);
            effects.push(Effect::Say(id, Report::Unready { reason }));
        }
    }

    fn exited(
        &mut self,
        id: ItemId,
        result: Result<(), String>,
        now: Millis,
        effects: &mut Vec<Effect>,
    ) {
        let spec = &self.spec.items[id];
        let may_end = spec.lifetime != Lifetime::Serves || spec.restart != Restart::Always;
        let item = &mut self.items[id];
        if item.state == State::Stopping {
            match std::mem::replace(&mut item.next, AfterStop::Stay) {
                AfterStop::Stay => {
                    item.enter(State::Stopped, now);
                    effects.push(Effect::Say(id, Report::Stopped));
                }
                AfterStop::StartAgain => item.enter(State::Waiting, now),
                AfterStop::Fail(reason) => self.failed(id, reason, now, effects),
            }
            return;
        }
        match result {
            Ok(()) if may_end => {
                let after_ms = now.saturating_sub(item.since);
                item.enter(State::Done, now);
                item.error = None;
                effects.push(Effect::Say(id, Report::Done { after_ms }));
            }
            Ok(()) => self.failed(id, "ended by itself with exit code 0".into(), now, effects),
            Err(reason) => self.failed(id, reason, now, effects),
        }
    }

    /// The one place that decides what a failure of a process leads to.
    fn failed(&mut self, id: ItemId, reason: String, now: Millis, effects: &mut Vec<Effect>) {
        let spec = &self.spec.items[id];
        let is_final = spec.lifetime != Lifetime::Serves || spec.restart == Restart::Never;
        let may_end_all = self.is_first_start(id, now) && !self.spec.keeps_going;
        let item = &mut self.items[id];
        let is_young = now < item.started.saturating_add(SETTLE_MS);
        item.error = Some(reason.clone());
        let n_failures = item.count_failure(now);
        if self.phase != Phase::Running {
            return self.items[id].enter(State::Failed, now);
        }
        if is_final
            || (may_end_all && (!item.was_ready || is_young || n_failures >= CRASH_FAILURES))
        {
            item.enter(State::Failed, now);
            effects.push(Effect::Say(id, Report::Failed { reason: reason.clone() }));
            if may_end_all {
                self.give_up(id, reason, now, effects);
            }
            return;
        }
        let pause_ms = backoff::pause_ms(n_failures, &mut self.random);
        let is_looping = n_failures >= CRASH_FAILURES;
        item.enter(if is_looping { State::CrashLooping } else { State::Backoff }, now);
        item.deadline = Some(now + pause_ms);
        item.restarts += 1;
        let report = match is_looping {
            true => Report::CrashLooping { reason, n_failures, pause_ms },
            false => Report::WillRestart { reason, pause_ms },
        };
        effects.push(Effect::Say(id, report));
    }

    /// Whether a failure of an item now is one of the first start. What has no port is ready the
    /// moment it runs, so all may have been ready before one of them fell on its first step.
    fn is_first_start(&self, id: ItemId, now: Millis) -> bool {
        let item = &self.items[id];
        let is_young = item.run == 1 && now < item.started.saturating_add(SETTLE_MS);
        self.completed_at.is_none_or(|at| is_young && now < at.saturating_add(SETTLE_MS))
    }

    fn start_wanted(&mut self, id: ItemId, now: Millis) {
        let item = &mut self.items[id];
        match item.state {
            State::Stopping => item.next = AfterStop::StartAgain,
            State::Stopped
            | State::Failed
            | State::Skipped
            | State::Done
            | State::Backoff
            | State::CrashLooping => {
                item.failures.clear();
                item.enter(State::Waiting, now);
                self.retry_failed_tasks(id);
            }
            _ => {}
        }
    }

    fn stop_wanted(&mut self, id: ItemId, now: Millis, effects: &mut Vec<Effect>) {
        self.items[id].is_stale = false;
        match self.items[id].state {
            State::Starting | State::Ready | State::Unready => {
                self.stop(id, AfterStop::Stay, now, effects);
            }
            State::Stopping => self.items[id].next = AfterStop::Stay,
            State::Waiting | State::Backoff | State::CrashLooping | State::Failed => {
                self.items[id].enter(State::Stopped, now);
            }
            _ => {}
        }
    }

    fn restart_wanted(&mut self, id: ItemId, now: Millis, effects: &mut Vec<Effect>) {
        match self.items[id].state {
            State::Starting | State::Ready | State::Unready => match self.spec.items[id].lifetime {
                Lifetime::OnDemand => self.stop(id, AfterStop::StartAgain, now, effects),
                Lifetime::Serves | Lifetime::Once => self.changed(id, now, effects),
            },
            _ => {
                self.start_wanted(id, now);
                self.redo_tasks(id, now);
            }
        }
    }

    /// Asks a live process to end; its limit starts now.
    fn stop(&mut self, id: ItemId, next: AfterStop, now: Millis, effects: &mut Vec<Effect>) {
        let limit_ms = self.spec.items[id].stop_limit_ms;
        let item = &mut self.items[id];
        item.enter(State::Stopping, now);
        item.deadline = Some(now + limit_ms);
        item.next = next;
        effects.push(Effect::Stop { item: id, run: item.run });
    }

    fn tick(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        for id in 0..self.items.len() {
            let item = &mut self.items[id];
            if item.deadline.is_none_or(|deadline| deadline > now) {
                continue;
            }
            item.deadline = None;
            match item.state {
                // On the way down it is stopped anyway, once nothing that uses it lives.
                State::Starting if self.phase != Phase::Running => {}
                State::Starting => self.gate_timed_out(id, now, effects),
                State::Ready => item.failures.clear(),
                State::Backoff | State::CrashLooping => item.enter(State::Waiting, now),
                State::Stopping => self.stop_timed_out(id, now, effects),
                _ => {}
            }
        }
        self.end_late_tasks(now, effects);
    }

    fn gate_timed_out(&mut self, id: ItemId, now: Millis, effects: &mut Vec<Effect>) {
        let seconds = self.spec.items[id].start_limit_ms / 1000;
        let lacks = match self.items[id].lacks.as_str() {
            "" => String::new(),
            lacks => format!(": {lacks}"),
        };
        let reason = format!("was not ready within {seconds} s{lacks}");
        self.stop(id, AfterStop::Fail(reason), now, effects);
    }
}
