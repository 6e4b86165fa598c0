//! The way down: users before what they use, each with a limit, and a second request kills.

use super::item::AfterStop;
use super::tasks::TaskState;
use super::{Effect, ItemId, KILL_LIMIT_MS, Machine, Millis, Phase, Report, State};

impl Machine {
    /// Stops everything in order; asked a second time, kills what still lives.
    pub(super) fn shutdown(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        match self.phase {
            Phase::Idle | Phase::Running => self.drain(now, effects),
            Phase::Draining => {
                self.phase = Phase::Killing;
                for id in 0..self.items.len() {
                    if self.items[id].is_live() {
                        self.kill(id, now, effects);
                    }
                }
            }
            Phase::Killing => {}
        }
    }

    /// The first start failed: remember why, and stop everything.
    pub(super) fn give_up(
        &mut self,
        id: ItemId,
        reason: String,
        now: Millis,
        effects: &mut Vec<Effect>,
    ) {
        if self.first_failure.is_none() {
            self.first_failure = Some((id, reason));
        }
        if self.phase == Phase::Running {
            self.drain(now, effects);
        }
    }

    /// Whatever has no live user is asked to end.
    pub(super) fn stop_unused(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        for id in 0..self.items.len() {
            let is_up =
                matches!(self.items[id].state, State::Starting | State::Ready | State::Unready);
            if is_up && !self.has_live_user(id) {
                self.stop(id, AfterStop::Stay, now, effects);
            }
        }
    }

    /// The limit of a stop passed: kill; the limit of the kill passed: give it up.
    pub(super) fn stop_timed_out(&mut self, id: ItemId, now: Millis, effects: &mut Vec<Effect>) {
        if self.items[id].was_killed {
            let item = &mut self.items[id];
            item.enter(State::Failed, now);
            item.error = Some(Report::WouldNotDie.to_string());
            effects.push(Effect::Say(id, Report::WouldNotDie));
        } else {
            let limit_ms = self.spec.items[id].stop_limit_ms;
            effects.push(Effect::Say(id, Report::StopTimedOut { limit_ms }));
            self.kill(id, now, effects);
        }
    }

    fn drain(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        self.phase = Phase::Draining;
        for task in 0..self.tasks.len() {
            if self.tasks[task].is_running() {
                self.tasks[task].state = TaskState::Failed;
                effects.push(Effect::KillTask { task, run: self.tasks[task].run });
            }
        }
        for item in &mut self.items {
            item.is_stale = false;
            match item.state {
                State::Waiting | State::Backoff | State::CrashLooping => {
                    item.enter(State::Stopped, now);
                }
                State::Stopping if item.next == AfterStop::StartAgain => {
                    item.next = AfterStop::Stay;
                }
                _ => {}
            }
        }
    }

    fn kill(&mut self, id: ItemId, now: Millis, effects: &mut Vec<Effect>) {
        let item = &mut self.items[id];
        if item.state != State::Stopping {
            item.enter(State::Stopping, now);
            item.next = AfterStop::Stay;
        }
        item.deadline = Some(now + KILL_LIMIT_MS);
        item.was_killed = true;
        effects.push(Effect::Kill { item: id, run: item.run });
    }

    fn has_live_user(&self, id: ItemId) -> bool {
        self.spec
            .items
            .iter()
            .zip(&self.items)
            .any(|(spec, item)| item.is_live() && spec.uses.contains(&id))
    }
}
