//! The records of one topic, in order, and how many of them may be in flight.
//!
//! Invariant: nothing goes out while an earlier record of the lane waits behind a failure, and
//! while it is careful at most one record is in flight.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use super::backoff;

/// See the module. The numbers beside the records say how often they failed by the topic's fault.
#[derive(Debug)]
pub(super) struct Lane {
    waiting: BTreeMap<u64, u32>,
    in_flight: BTreeMap<u64, u32>,
    /// Those that may be refused for their size: they go out alone.
    large: BTreeSet<u64>,
    flow: Flow,
    /// Set from a failure until nothing is in flight.
    is_draining: bool,
    pause_until: Option<Instant>,
    /// Failures in a row, for the length of the pause.
    failures: u32,
}

#[derive(Debug, PartialEq, Eq)]
enum Flow {
    /// One at a time, until one was delivered and none of these suspects is left.
    Careful(BTreeSet<u64>),
    /// All at once.
    Open,
}

impl Default for Lane {
    fn default() -> Self {
        Self {
            waiting: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            large: BTreeSet::new(),
            flow: Flow::Careful(BTreeSet::new()),
            is_draining: false,
            pause_until: None,
            failures: 0,
        }
    }
}

impl Lane {
    pub(super) fn add(&mut self, seq: u64, is_large: bool) {
        self.waiting.insert(seq, 0);
        if is_large {
            self.large.insert(seq);
        }
    }

    /// It is stored; says whether it was in flight here.
    pub(super) fn delivered(&mut self, seq: u64) -> bool {
        let was_in_flight = self.in_flight.remove(&seq).is_some();
        self.failures = 0;
        if let Flow::Careful(suspects) = &mut self.flow {
            suspects.remove(&seq);
            if suspects.is_empty() && !self.is_draining {
                self.flow = Flow::Open;
            }
        }
        self.look_whether_drained();
        was_in_flight
    }

    /// Whether it went out with nothing else of the lane in flight.
    pub(super) fn is_alone(&self, seq: u64) -> bool {
        let goes_alone = matches!(self.flow, Flow::Careful(_)) || self.large.contains(&seq);
        goes_alone && !self.is_draining && self.in_flight.contains_key(&seq)
    }

    /// It waits again; says whether it was in flight here.
    pub(super) fn failed(&mut self, seq: u64) -> bool {
        let Some(attempts) = self.in_flight.remove(&seq) else { return false };
        self.waiting.insert(seq, attempts);
        self.is_draining = true;
        self.be_careful();
        self.look_whether_drained();
        true
    }

    /// It may have been refused for its own sake.
    pub(super) fn suspect(&mut self, seq: u64) {
        self.be_careful();
        if let Flow::Careful(suspects) = &mut self.flow {
            suspects.insert(seq);
        }
    }

    /// One at a time until one is delivered.
    pub(super) fn be_careful(&mut self) {
        if self.flow == Flow::Open {
            self.flow = Flow::Careful(BTreeSet::new());
        }
    }

    /// Whether this failure is the first of those that come together.
    pub(super) fn begins_pause(&self) -> bool {
        self.pause_until.is_none()
    }

    pub(super) fn pause(&mut self, now: Instant, random: &mut fastrand::Rng) {
        self.failures = self.failures.saturating_add(1);
        self.pause_until = Some(now + backoff(self.failures, random));
    }

    /// Counts a failure for all that are held, since all share the topic; takes out those that have
    /// failed as often as they may.
    pub(super) fn tire(&mut self, limit: impl Fn(u64) -> u32) -> Vec<(u64, u32)> {
        self.waiting.values_mut().chain(self.in_flight.values_mut()).for_each(|n| *n += 1);
        let waiting = self.waiting.iter().map(|(seq, attempts)| (*seq, *attempts));
        let tired: Vec<_> = waiting.filter(|(seq, attempts)| *attempts >= limit(*seq)).collect();
        tired.iter().for_each(|(seq, _)| self.remove(*seq));
        tired
    }

    pub(super) fn remove(&mut self, seq: u64) {
        self.waiting.remove(&seq);
        self.in_flight.remove(&seq);
        self.large.remove(&seq);
        if let Flow::Careful(suspects) = &mut self.flow {
            suspects.remove(&seq);
        }
        self.look_whether_drained();
    }

    /// What goes out now, in order.
    pub(super) fn next(&mut self, now: Instant) -> Vec<u64> {
        if self.is_draining || self.pause_until.is_some_and(|until| until > now) {
            return Vec::new();
        }
        self.pause_until = None;
        let seqs: Vec<_> = self.waiting.keys().copied().take(self.count()).collect();
        for seq in &seqs {
            if let Some(attempts) = self.waiting.remove(seq) {
                self.in_flight.insert(*seq, attempts);
            }
        }
        seqs
    }

    /// How many of those that wait may join those that are in flight.
    fn count(&self) -> usize {
        let is_free = self.in_flight.is_empty();
        if self.flow != Flow::Open {
            return usize::from(is_free);
        }
        if self.large.is_empty() {
            return self.waiting.len();
        }
        if self.in_flight.keys().any(|seq| self.large.contains(seq)) {
            return 0;
        }
        let before = self.waiting.keys().take_while(|seq| !self.large.contains(seq)).count();
        if before == 0 { usize::from(is_free) } else { before }
    }

    pub(super) fn wake_at(&self) -> Option<Instant> {
        self.pause_until.filter(|_| !self.waiting.is_empty() && !self.is_draining)
    }

    fn look_whether_drained(&mut self) {
        self.is_draining &= !self.in_flight.is_empty();
    }
}
