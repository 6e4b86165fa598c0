//! One item's own memory: where it stands, since when, and how often it failed.

use std::collections::VecDeque;

use super::{Lifetime, Millis, State};

#[derive(Debug)]
pub(super) struct Item {
    pub(super) state: State,
    pub(super) since: Millis,
    pub(super) run: u32,
    pub(super) started: Millis,
    pub(super) deadline: Option<Millis>,
    pub(super) next: AfterStop,
    pub(super) was_killed: bool,
    pub(super) is_stale: bool,
    pub(super) was_ready: bool,
    pub(super) failures: VecDeque<Millis>,
    pub(super) restarts: u32,
    pub(super) lacks: String,
    pub(super) error: Option<String>,
}

/// What follows when a process that is being stopped has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum AfterStop {
    Stay,
    StartAgain,
    Fail(String),
}

impl Item {
    pub(super) fn new(lifetime: Lifetime) -> Self {
        let state = match lifetime {
            Lifetime::OnDemand => State::Skipped,
            Lifetime::Serves | Lifetime::Once => State::Waiting,
        };
        Self {
            state,
            since: 0,
            run: 0,
            started: 0,
            deadline: None,
            next: AfterStop::Stay,
            was_killed: false,
            is_stale: false,
            was_ready: false,
            failures: VecDeque::new(),
            restarts: 0,
            lacks: String::new(),
            error: None,
        }
    }

    pub(super) fn enter(&mut self, state: State, now: Millis) {
        self.state = state;
        self.since = now;
        self.deadline = None;
        self.was_killed = false;
    }

    /// Whether a process of it may exist.
    pub(super) fn is_live(&self) -> bool {
        use State::{Ready, Starting, Stopping, Unready};
        matches!(self.state, Starting | Ready | Unready | Stopping)
    }

    /// Whether what uses it may start.
    pub(super) fn is_met(&self) -> bool {
        matches!(self.state, State::Ready | State::Done | State::Skipped)
    }

    /// Whether it rests, and nothing of its own will move it.
    pub(super) fn has_ended(&self) -> bool {
        use State::{Done, Failed, Skipped, Stopped};
        matches!(self.state, Done | Failed | Skipped | Stopped)
    }
}
