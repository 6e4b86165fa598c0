//! Takes records out of the spool and hands them to Kafka, until each is acknowledged or a dead
//! letter.
//!
//! ```text
//! Backlog --reader--> Machine --Send--> Producer --reports--> Machine --Acknowledge--> Backlog
//!                        '----Bury--> Graves (topic for dead letters, or the spool's `dlq`)
//! ```
//!
//! One task feeds [`machine::Machine`] and carries its effects out. It deliberately keeps nothing
//! on disk: after a crash the spool gives everything again that was not acknowledged, so a record
//! is delivered at least once, and its copies have the same `plimsoll-id`.
//!
//! Invariant: a record leaves the spool only after the broker's acknowledgement, or as a dead
//! letter that is itself acknowledged or on disk.

pub(super) mod machine;
pub(super) mod message;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use contract::log_events;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time,
};

pub use self::machine::Delivery;
pub(super) use self::message::Outbound;
use self::{
    machine::{Effect, Event, Item, Machine, WINDOW_RECORDS},
    message::TRACEPARENT,
};
use super::{Backlog, Publisher, Record, dlq::Graves, settings::TopicSettings};
use crate::{
    kafka::{Config, KafkaSettings, Producer, Report, Reports, reports},
    logs::{Level, Sink, Value},
    metrics::publish::Counters,
    secret::Handle,
    telemetry::{Span, Tracer},
};

/// Records are asked for once this part of the window is free.
const ROOM_MIN: usize = WINDOW_RECORDS / 8;
/// Most reports that are taken in one go.
const REPORTS_MAX: usize = 1024;

/// What a relay works with.
#[derive(Debug)]
pub struct Parts {
    /// The spool.
    pub publisher: Publisher,
    /// The cluster.
    pub kafka: KafkaSettings,
    /// Who publishes, for the header `plimsoll-source`.
    pub source: String,
    /// Where to tell of outages and dead letters.
    pub sink: Sink,
    /// Where deliveries have their spans.
    pub tracer: Tracer,
    /// What fills the references in the settings.
    pub secrets: Handle,
}

/// A relay at work. Dropping it ends it; what is in flight is given again by the next one.
#[derive(Debug)]
pub struct Relay {
    _tasks: JoinSet<()>,
    delivery: watch::Receiver<Delivery>,
}

impl Relay {
    /// How delivery goes, now and whenever that changes.
    #[must_use]
    pub fn delivery(&self) -> watch::Receiver<Delivery> {
        self.delivery.clone()
    }
}

/// Starts to deliver. Must be called inside a tokio runtime.
#[must_use]
pub fn start(parts: Parts) -> Relay {
    let mut tasks = JoinSet::new();
    let (delivery, watched) = watch::channel(Delivery::default());
    let (asks, asked) = mpsc::channel(1);
    let (given, taken) = mpsc::channel(1);
    tasks.spawn(read(parts.publisher.backlog(), asked, given));
    tasks.spawn(Driver::new(parts, asks, delivery).run(taken));
    Relay { _tasks: tasks, delivery: watched }
}

/// Reads the backlog. A task of its own, since a read that is given up would lose what it read.
async fn read(
    mut backlog: Backlog,
    mut asked: mpsc::Receiver<(usize, usize)>,
    given: mpsc::Sender<Vec<Record>>,
) {
    let mut failures = 0;
    while let Some((records, bytes)) = asked.recv().await {
        let read = loop {
            match backlog.next(records, bytes).await {
                Ok(read) => break read,
                // The spool says itself what is wrong with it.
                Err(_) => {
                    failures += 1;
                    time::sleep(machine::backoff(failures, &mut fastrand::Rng::new())).await;
                }
            }
        };
        failures = 0;
        if given.send(read).await.is_err() {
            return;
        }
    }
}

/// What the driver's own tasks tell.
enum Told {
    Renewed(Result<(Producer, Config), String>),
    Probed(Result<(), String>),
    Buried(u64),
}

/// A record that was taken from the spool.
struct Held {
    record: Arc<Record>,
    /// From the first time that it is sent; copies belong to the same.
    span: Option<Span>,
}

struct Driver {
    machine: Machine,
    settings: KafkaSettings,
    source: String,
    sink: Sink,
    counters: Arc<Counters>,
    topics: BTreeMap<String, TopicSettings>,
    names: BTreeMap<String, Arc<str>>,
    /// Only to acknowledge with.
    backlog: Arc<Backlog>,
    records: BTreeMap<u64, Held>,
    tracer: Tracer,
    secrets: Handle,
    producer: Option<Producer>,
    number: u64,
    reporting: mpsc::UnboundedSender<(u64, Report)>,
    reports: Reports,
    telling: mpsc::UnboundedSender<Told>,
    told: mpsc::UnboundedReceiver<Told>,
    graves: Graves,
    asks: mpsc::Sender<(usize, usize)>,
    has_asked: bool,
    delivery: watch::Sender<Delivery>,
    since: Option<Instant>,
}

impl Driver {
    fn new(
        parts: Parts,
        asks: mpsc::Sender<(usize, usize)>,
        delivery: watch::Sender<Delivery>,
    ) -> Self {
        let (reporting, reports) = reports();
        // There is one message for each record, probe and change of producers, all bounded.
        let (telling, told) = mpsc::unbounded_channel();
        let backlog = Arc::new(parts.publisher.backlog());
        Self {
            machine: Machine::new(fastrand::u64(..)),
            settings: parts.kafka,
            source: parts.source,
            counters: parts.publisher.counters().clone(),
            topics: parts.publisher.settings().topics.clone(),
            names: BTreeMap::new(),
            graves: Graves::new(backlog.clone(), parts.sink.clone()),
            sink: parts.sink,
            tracer: parts.tracer,
            secrets: parts.secrets,
            backlog,
            records: BTreeMap::new(),
            producer: None,
            number: 0,
            reporting,
            reports,
            telling,
            told,
            asks,
            has_asked: false,
            delivery,
            since: None,
        }
    }

    async fn run(mut self, mut taken: mpsc::Receiver<Vec<Record>>) {
        let mut reports = Vec::with_capacity(REPORTS_MAX);
        let has_references = self.settings.has_references();
        let mut changes = self.secrets.changes();
        self.counters.delivery(&Delivery::default());
        self.act(Event::Tick);
        loop {
            self.ask();
            let wake = self.machine.wake_at().map(time::Instant::from_std);
            let sleep = time::sleep_until(wake.unwrap_or_else(far));
            tokio::select! {
                // There is always one: we hold the other ends ourselves.
                _ = self.reports.recv_many(&mut reports, REPORTS_MAX) => {
                    for (number, report) in reports.drain(..) {
                        self.report(number, report);
                    }
                }
                records = taken.recv() => match records {
                    Some(records) => self.take(records),
                    None => return,
                },
                Some(told) = self.told.recv() => self.tell(told),
                Ok(()) = changes.changed(), if has_references => self.rotate(),
                () = sleep => self.act(Event::Tick),
            }
        }
    }

    /// Asks the reader for more when there is room for it.
    fn ask(&mut self) {
        let (records, bytes) = self.machine.room();
        if !self.has_asked && records >= ROOM_MIN && bytes > 0 {
            self.has_asked = self.asks.try_send((records, bytes)).is_ok();
        }
    }

    fn take(&mut self, records: Vec<Record>) {
        self.has_asked = false;
        let mut items = Vec::with_capacity(records.len());
        for record in records {
            let name = self.names.entry(record.topic.clone());
            let topic = name.or_insert_with(|| record.topic.as_str().into()).clone();
            let settings = self.topics.get(&record.topic).cloned().unwrap_or_default();
            let attempts_max = settings.max_attempts;
            items.push(Item {
                seq: record.seq,
                topic,
                bytes: message::bytes(&record),
                attempts_max,
            });
            let seq = record.seq;
            self.records.insert(seq, Held { record: Arc::new(record), span: None });
        }
        self.act(Event::Took(items));
    }

    fn report(&mut self, number: u64, report: Report) {
        if number != self.number {
            return;
        }
        self.act(match report {
            Report::Delivered(seq) => Event::Delivered(seq),
            Report::Failed(seq, failure) => Event::Failed(seq, failure),
            Report::Broken(_) => Event::Broken,
            Report::Unreachable(why) => Event::Unreachable(why),
        });
    }

    fn tell(&mut self, told: Told) {
        match told {
            Told::Renewed(Ok((producer, config))) => {
                self.producer = Some(producer);
                self.graves.renew(config);
                self.act(Event::Renewed(Ok(())));
            }
            Told::Renewed(Err(why)) => self.act(Event::Renewed(Err(why))),
            Told::Probed(result) => self.act(Event::Probed(result)),
            Told::Buried(seq) => {
                self.records.remove(&seq);
                self.act(Event::Buried(seq));
            }
        }
    }

    /// Puts an event into the machine and carries out what it says, until it is content.
    fn act(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for effect in self.machine.on(event, Instant::now()) {
                events.extend(self.carry_out(effect));
            }
        }
    }

    /// Carries out one effect; says what came of it at once.
    fn carry_out(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Send(seq) => return self.send(seq),
            Effect::Acknowledge(seq) => {
                if let Some(Held { record, .. }) = self.records.remove(&seq) {
                    self.counters.delivered(&record.topic, age(&record));
                }
                self.backlog.ack(seq);
            }
            Effect::Retry(seq) => {
                if let Some(Held { record, .. }) = self.records.get(&seq) {
                    self.counters.retried(&record.topic);
                }
            }
            Effect::Bury(seq, why) => self.bury(seq, why),
            Effect::Renew => self.renew(),
            Effect::Probe => {
                if let Some(producer) = &self.producer {
                    let probe = producer.probe(self.machine.topic().map(|topic| &**topic));
                    let telling = self.telling.clone();
                    tokio::spawn(async move { telling.send(Told::Probed(probe.await)) });
                }
            }
            Effect::Delivery(delivery) => self.narrate(delivery),
        }
        None
    }

    fn send(&mut self, seq: u64) -> Option<Event> {
        let Held { record, span } = self.records.get_mut(&seq)?;
        let span = span.get_or_insert_with(|| self.tracer.producer(&record.topic, parent(record)));
        let is_ordered = self.topics.get(&record.topic).is_some_and(|topic| topic.ordered);
        let outbound = Outbound::new(record, &self.source, span.traceparent(), is_ordered);
        let sent = self.producer.as_ref()?.send(&outbound.outgoing());
        sent.err().map(|failure| Event::Failed(seq, failure))
    }

    fn bury(&mut self, seq: u64, why: String) {
        let Some(Held { record, span }) = self.records.get_mut(&seq) else { return };
        if let Some(span) = span {
            span.fail("refused");
        }
        let record = record.clone();
        self.counters.dlq(&record.topic);
        let topic = self.topics.get(&record.topic).and_then(|topic| topic.dlq.clone());
        let burial = self.graves.bury(record, topic, why, &self.source);
        let telling = self.telling.clone();
        tokio::spawn(async move {
            burial.await;
            telling.send(Told::Buried(seq))
        });
    }

    /// A secret is another one now: what is in flight may wait for ever with the old one.
    fn rotate(&mut self) {
        if let Some(producer) = &self.producer {
            producer.give_up();
        }
        self.act(Event::Broken);
    }

    /// Makes a new producer beside the loop: its threads take a moment.
    fn renew(&mut self) {
        self.producer = None;
        self.number += 1;
        let (settings, number) = (self.settings.clone(), self.number);
        let secrets = self.secrets.clone();
        let (reporting, telling) = (self.reporting.clone(), self.telling.clone());
        tokio::spawn(async move {
            let made = settings.filled(&secrets).await.and_then(|config| {
                Producer::start(&config, number, &reporting).map(|producer| (producer, config))
            });
            telling.send(Told::Renewed(made))
        });
    }

    /// Says aloud when an outage begins and ends; not that something is being looked into.
    fn narrate(&mut self, delivery: Delivery) {
        let brokers = self.settings.brokers().join(",");
        match (&delivery, self.since) {
            (Delivery::Stopped(why), None) => {
                self.since = Some(Instant::now());
                let fields = [
                    ("event", Value::Str(log_events::PUBLISH_STOPPED.name)),
                    ("brokers", Value::Str(&brokers)),
                    ("output", Value::Str(why)),
                ];
                let words = "messages cannot be delivered; they are kept until the broker is back";
                self.sink.event(Level::Warn, words, &fields);
            }
            (Delivery::Flowing, Some(since)) => {
                self.since = None;
                let fields = [
                    ("event", Value::Str(log_events::PUBLISH_RESUMED.name)),
                    ("brokers", Value::Str(&brokers)),
                    ("took_ms", Value::U64(millis(since.elapsed()))),
                ];
                self.sink.event(Level::Info, "messages are delivered again", &fields);
            }
            _ => {}
        }
        self.counters.delivery(&delivery);
        self.delivery.send_replace(delivery);
    }
}

/// The trace that a record was published in.
pub(super) fn parent(record: &Record) -> Option<&str> {
    let header = record.headers.iter().find(|(name, _)| name == TRACEPARENT)?;
    std::str::from_utf8(&header.1).ok()
}

/// How long ago a record was accepted.
fn age(record: &Record) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(Duration::from_micros(record.at_us))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Later than anything that is waited for.
fn far() -> time::Instant {
    time::Instant::now() + Duration::from_secs(3600)
}
