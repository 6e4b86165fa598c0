//! What is sent when, retried, given up and acknowledged: the rules of delivery, without a clock.
//!
//! ```text
//!            took                 send                  delivered
//! backlog ---------> waiting ------------> in flight --------------> acknowledged
//!                       ^                      |
//!                       |   passing, topic     | record: refused alone
//!                       '----------------------+----------------------> buried (dead letter)
//! ```
//!
//! Each topic is a lane. A lane that starts or has seen a failure is *careful*: it has one record
//! in flight until one is delivered, so what is refused is known by its own fault and never by its
//! batch's. A failure first drains the lane, so that what is sent again is sent in order. Above the
//! lanes stands the breaker: no cluster, no sending; and the producer, which is replaced after a
//! fatal error, once all that it had in flight has answered.
//!
//! Invariant: a record goes out only when every earlier record of its lane has gone out since the
//! lane last drained; so the first copies of a lane's records are stored in order.

mod breaker;
mod lane;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

pub use self::breaker::Delivery;
use self::{breaker::Breaker, lane::Lane};
use crate::kafka::{Failure, FailureKind, LARGE_BYTES};

/// Most records that are held, in flight or waiting.
pub(crate) const WINDOW_RECORDS: usize = 4096;
/// Most bytes of records that are held, unless one alone has more.
pub(crate) const WINDOW_BYTES: usize = 4 * 1024 * 1024;
/// The first pause after a failure.
pub(crate) const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// The longest pause.
pub(crate) const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// With something in flight, so long without an answer is looked into.
const STALL_LIMIT: Duration = Duration::from_secs(10);

/// A record, as far as delivery is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) seq: u64,
    pub(crate) topic: Arc<str>,
    pub(crate) bytes: usize,
    /// How often it may fail by the fault of its topic.
    pub(crate) attempts_max: u32,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// These come next, in the order of their numbers.
    Took(Vec<Item>),
    /// A record is stored.
    Delivered(u64),
    /// A record was not stored.
    Failed(u64, Failure),
    /// A record is a dead letter now.
    Buried(u64),
    /// The producer is of no use any more.
    Broken,
    /// The new producer is there, or why not.
    Renewed(Result<(), String>),
    /// No broker can be reached.
    Unreachable(String),
    /// The cluster was asked.
    Probed(Result<(), String>),
    /// Time went by.
    Tick,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Hand the record to the producer.
    Send(u64),
    /// Tell the backlog that it is done.
    Acknowledge(u64),
    /// The record went back to wait.
    Retry(u64),
    /// Make a dead letter of it.
    Bury(u64, String),
    /// Replace the producer.
    Renew,
    /// Ask the cluster whether it is there.
    Probe,
    /// Deliveries stopped, go on, or are being looked into.
    Delivery(Delivery),
}

/// The state of all deliveries.
#[derive(Debug)]
pub(crate) struct Machine {
    lanes: BTreeMap<Arc<str>, Lane>,
    held: BTreeMap<u64, Item>,
    bytes: usize,
    in_flight: usize,
    breaker: Breaker,
    renewal: Renewal,
    renewals: u32,
    progress: Option<Instant>,
    random: fastrand::Rng,
}

/// Where a change of producers is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Renewal {
    /// There is one.
    None,
    /// What is in flight has to answer first.
    Draining,
    /// A pause comes first.
    At(Instant),
    /// It is being made.
    Made,
}

impl Machine {
    /// Nothing held, the producer about to be made; `seed` decides the jitter.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            lanes: BTreeMap::new(),
            held: BTreeMap::new(),
            bytes: 0,
            in_flight: 0,
            breaker: Breaker::default(),
            renewal: Renewal::Draining,
            renewals: 0,
            progress: None,
            random: fastrand::Rng::with_seed(seed),
        }
    }

    /// How many more records and bytes may be taken.
    pub(crate) fn room(&self) -> (usize, usize) {
        let records = WINDOW_RECORDS.saturating_sub(self.held.len());
        (records, WINDOW_BYTES.saturating_sub(self.bytes))
    }

    #[cfg(test)]
    /// How many records are neither acknowledged nor buried.
    pub(crate) fn held(&self) -> usize {
        self.held.len()
    }

    /// The topic of the oldest record.
    pub(crate) fn topic(&self) -> Option<&Arc<str>> {
        self.held.values().next().map(|item| &item.topic)
    }

    /// Takes one event in and says what to do now.
    pub(crate) fn on(&mut self, event: Event, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        let before = self.breaker.state();
        match event {
            Event::Took(items) => self.took(items),
            Event::Delivered(seq) => self.delivered(seq, now, &mut effects),
            Event::Failed(seq, failure) => self.failed(seq, &failure, now, &mut effects),
            Event::Buried(seq) => self.forget(seq),
            Event::Broken if self.renewal == Renewal::None => self.renewal = Renewal::Draining,
            Event::Broken | Event::Tick => {}
            Event::Renewed(result) => self.renewed(result, now),
            Event::Unreachable(why) => self.breaker.doubt(why),
            Event::Probed(Ok(())) => self.breaker.probe_passed(),
            Event::Probed(Err(why)) => self.breaker.probe_failed(why, now, &mut self.random),
        }
        self.renew(now, &mut effects);
        self.look_for_stall(now);
        if self.renewal == Renewal::None && self.breaker.wants_probe(now) {
            effects.push(Effect::Probe);
        }
        if self.breaker.state() != before {
            effects.push(Effect::Delivery(self.breaker.state()));
        }
        self.send(now, &mut effects);
        effects
    }

    /// When [`Event::Tick`] is due, if nothing happens before.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        let renewal = match self.renewal {
            Renewal::At(at) => Some(at),
            _ => None,
        };
        let stall = (self.in_flight > 0).then_some(self.progress).flatten();
        // A pause that ends while nothing may be sent is not worth waking for.
        let lanes = self.lanes.values().filter(|_| self.may_send()).filter_map(Lane::wake_at);
        let stall = stall.map(|progress| progress + STALL_LIMIT);
        lanes.chain(renewal).chain(stall).chain(self.breaker.wake_at()).min()
    }

    fn took(&mut self, items: Vec<Item>) {
        for item in items {
            let lane = self.lanes.entry(item.topic.clone()).or_default();
            lane.add(item.seq, item.bytes >= LARGE_BYTES);
            self.bytes += item.bytes;
            self.held.insert(item.seq, item);
        }
    }

    fn delivered(&mut self, seq: u64, now: Instant, effects: &mut Vec<Effect>) {
        self.progress = Some(now);
        self.renewals = 0;
        self.breaker.close();
        if let Some(lane) = self.lane_of(seq)
            && lane.delivered(seq)
        {
            self.in_flight -= 1;
        }
        if self.held.contains_key(&seq) {
            effects.push(Effect::Acknowledge(seq));
            self.forget(seq);
        }
    }

    fn failed(&mut self, seq: u64, failure: &Failure, now: Instant, effects: &mut Vec<Effect>) {
        self.progress = Some(now);
        let Some(topic) = self.held.get(&seq).map(|item| item.topic.clone()) else { return };
        let Some(lane) = self.lanes.get_mut(&topic) else { return };
        let was_alone = lane.is_alone(seq);
        if !lane.failed(seq) {
            return;
        }
        self.in_flight -= 1;
        match failure.kind {
            FailureKind::Record if was_alone => {
                lane.remove(seq);
                effects.push(Effect::Bury(seq, failure.text.clone()));
            }
            // One of its batch is at fault: each of them has to show on its own.
            FailureKind::Record => {
                lane.suspect(seq);
                effects.push(Effect::Retry(seq));
            }
            FailureKind::Topic | FailureKind::Passing => {
                effects.push(Effect::Retry(seq));
                if lane.begins_pause() {
                    lane.pause(now, &mut self.random);
                    if failure.kind == FailureKind::Topic {
                        bury_tired(lane, &self.held, &failure.text, effects);
                    }
                }
            }
            FailureKind::Producer => {
                effects.push(Effect::Retry(seq));
                if self.renewal == Renewal::None {
                    self.renewal = Renewal::Draining;
                }
            }
        }
    }

    fn forget(&mut self, seq: u64) {
        let Some(item) = self.held.remove(&seq) else { return };
        self.bytes -= item.bytes;
        if let Some(lane) = self.lanes.get_mut(&item.topic) {
            lane.remove(seq);
        }
    }

    fn renewed(&mut self, result: Result<(), String>, now: Instant) {
        match result {
            Ok(()) => self.renewal = Renewal::None,
            Err(why) => {
                self.renewal = Renewal::At(now + self.pause_of_renewal());
                self.breaker.open(why, now, &mut self.random);
            }
        }
        self.lanes.values_mut().for_each(Lane::be_careful);
    }

    /// Goes on with the change of producers, if one is under way.
    fn renew(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.renewal == Renewal::Draining && self.in_flight == 0 {
            let pause = self.pause_of_renewal();
            self.renewal = Renewal::At(now + pause);
        }
        if let Renewal::At(at) = self.renewal
            && at <= now
        {
            self.renewal = Renewal::Made;
            self.renewals = self.renewals.saturating_add(1);
            effects.push(Effect::Renew);
        }
    }

    /// The first of all and the first after a delivery come at once.
    fn pause_of_renewal(&mut self) -> Duration {
        match self.renewals {
            0 => Duration::ZERO,
            renewals => backoff(renewals, &mut self.random),
        }
    }

    fn look_for_stall(&mut self, now: Instant) {
        let since = *self.progress.get_or_insert(now);
        if self.in_flight > 0 && now.saturating_duration_since(since) >= STALL_LIMIT {
            self.progress = Some(now);
            let waited = STALL_LIMIT.as_secs();
            self.breaker.doubt(format!("no acknowledgement for {waited} s"));
        }
    }

    fn may_send(&self) -> bool {
        self.renewal == Renewal::None && self.breaker.is_closed()
    }

    fn send(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if !self.may_send() {
            return;
        }
        for lane in self.lanes.values_mut() {
            let seqs = lane.next(now);
            if self.in_flight == 0 && !seqs.is_empty() {
                self.progress = Some(now);
            }
            self.in_flight += seqs.len();
            effects.extend(seqs.into_iter().map(Effect::Send));
        }
    }

    fn lane_of(&mut self, seq: u64) -> Option<&mut Lane> {
        self.lanes.get_mut(&self.held.get(&seq)?.topic)
    }
}

/// Gives up the records of a lane that have failed as often as they may.
fn bury_tired(lane: &mut Lane, held: &BTreeMap<u64, Item>, why: &str, effects: &mut Vec<Effect>) {
    let limit = |seq: u64| held.get(&seq).map_or(u32::MAX, |item| item.attempts_max);
    for (seq, attempts) in lane.tire(limit) {
        effects.push(Effect::Bury(seq, format!("{why} ({attempts} attempts)")));
    }
}

/// The pause before try `number + 1`: up to twice as long each time, any length of it as likely.
pub(crate) fn backoff(number: u32, random: &mut fastrand::Rng) -> Duration {
    let doubled = BACKOFF_MIN.saturating_mul(1_u32 << number.saturating_sub(1).min(16));
    let longest = doubled.min(BACKOFF_MAX);
    // Never nothing: a loop that fails at once must not take the processor.
    longest.mul_f64(random.f64()).max(BACKOFF_MIN / 10)
}
