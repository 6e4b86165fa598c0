//! Dead letters: records that the broker refuses for good, set aside with the reason.
//!
//! With a topic for them they go there, by a producer of their own that is started for the first
//! one; without, or when that topic refuses them too, they go to the spool's `dlq` on disk. It
//! deliberately never tries for long: a dead letter must not hold anybody up.
//!
//! Invariant: a burial ends only when the record is stored elsewhere, acknowledged or on disk.

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use contract::log_events;
use tokio::{
    sync::{mpsc, oneshot},
    time,
};

use super::{
    Backlog, Record,
    relay::{
        Outbound,
        machine::backoff,
        message::{ERROR, TOPIC},
        parent,
    },
};
use crate::{
    kafka::{Config, Outgoing, Producer, Report, reports},
    logs::{Level, Sink, Value},
};

/// How long the topic for dead letters may take before the disk has to do.
const TOPIC_LIMIT: Duration = Duration::from_secs(10);
/// The same for the whole answer, however it fails to come.
const ANSWER_LIMIT: Duration = Duration::from_secs(15);
/// Most letters on their way to the topics; others wait.
const QUEUE_MAX: usize = 64;

/// A record to send to a topic for dead letters, and who waits for it.
struct Letter {
    record: Arc<Record>,
    topic: String,
    why: String,
    source: String,
    done: oneshot::Sender<Result<(), String>>,
}

/// Where records are buried.
pub(super) struct Graves {
    backlog: Arc<Backlog>,
    sink: Sink,
    config: Option<Config>,
    digger: Option<mpsc::Sender<Letter>>,
}

impl Graves {
    pub(super) fn new(backlog: Arc<Backlog>, sink: Sink) -> Self {
        Self { backlog, sink, config: None, digger: None }
    }

    /// The settings changed: a secret may have.
    pub(super) fn renew(&mut self, config: Config) {
        self.config = Some(config);
        // The one at work ends when its letters have answered.
        self.digger = None;
    }

    /// Puts a record aside; the future ends when that is certain.
    pub(super) fn bury(
        &mut self,
        record: Arc<Record>,
        topic: Option<String>,
        why: String,
        source: &str,
    ) -> impl Future<Output = ()> + Send + use<> {
        let (backlog, sink) = (self.backlog.clone(), self.sink.clone());
        let source = source.to_owned();
        let to = topic.and_then(|topic| Some((topic, self.digger()?)));
        async move {
            let seq = record.seq;
            let mut place = "spool".to_owned();
            let mut is_sent = false;
            if let Some((topic, digger)) = to {
                let (done, answer) = oneshot::channel();
                let letter = Letter {
                    record: record.clone(),
                    topic: topic.clone(),
                    why: why.clone(),
                    source,
                    done,
                };
                let sent = digger.send(letter).await.is_ok();
                let answered = time::timeout(ANSWER_LIMIT, answer).await;
                is_sent = sent && matches!(answered, Ok(Ok(Ok(()))));
                if is_sent {
                    place = topic;
                    backlog.ack(seq);
                }
            }
            narrate(&sink, &record, &why, &place);
            let mut failures = 0;
            while !is_sent && backlog.dead(seq, &why).await.is_err() {
                failures += 1;
                time::sleep(backoff(failures, &mut fastrand::Rng::new())).await;
            }
        }
    }

    /// The task that sends to topics, started when it is first needed.
    fn digger(&mut self) -> Option<mpsc::Sender<Letter>> {
        if self.digger.is_none() {
            let limit = u64::try_from(TOPIC_LIMIT.as_millis()).unwrap_or(u64::MAX);
            let config = self.config.as_ref()?.for_dead_letters(limit);
            let (letters, queue) = mpsc::channel(QUEUE_MAX);
            tokio::spawn(dig(config, queue));
            self.digger = Some(letters);
        }
        self.digger.clone()
    }
}

/// Sends letters until nobody has more and all have answered.
async fn dig(config: Config, mut letters: mpsc::Receiver<Letter>) {
    let (reporting, mut reports) = reports();
    let producer = Producer::start(&config, 0, &reporting);
    let mut waiting: BTreeMap<u64, oneshot::Sender<Result<(), String>>> = BTreeMap::new();
    let mut is_open = true;
    while is_open || !waiting.is_empty() {
        tokio::select! {
            letter = letters.recv(), if is_open => match letter {
                Some(letter) => {
                    let tag = letter.record.seq;
                    let sent = match &producer {
                        Ok(producer) => send(producer, &letter),
                        Err(why) => Err(why.clone()),
                    };
                    match sent {
                        Ok(()) => drop(waiting.insert(tag, letter.done)),
                        // Nobody listens only when the relay is over.
                        Err(why) => drop(letter.done.send(Err(why))),
                    }
                }
                None => is_open = false,
            },
            Some((_, report)) = reports.recv() => {
                let (tag, result) = match report {
                    Report::Delivered(tag) => (tag, Ok(())),
                    Report::Failed(tag, failure) => (tag, Err(failure.text)),
                    Report::Broken(_) | Report::Unreachable(_) => continue,
                };
                if let Some(done) = waiting.remove(&tag) {
                    drop(done.send(result));
                }
            }
        }
    }
}

fn send(producer: &Producer, letter: &Letter) -> Result<(), String> {
    let outbound = Outbound::new(&letter.record, &letter.source, parent(&letter.record), false);
    let mut outgoing = Outgoing { topic: &letter.topic, ..outbound.outgoing() };
    outgoing.headers.push((ERROR.into(), letter.why.as_bytes()));
    outgoing.headers.push((TOPIC.into(), letter.record.topic.as_bytes()));
    producer.send(&outgoing).map_err(|failure| failure.text)
}

fn narrate(sink: &Sink, record: &Record, why: &str, place: &str) {
    let fields = [
        ("event", Value::Str(log_events::PUBLISH_DEAD_LETTER.name)),
        ("topic", Value::Str(&record.topic)),
        ("id", Value::Str(&record.id)),
        ("seq", Value::U64(record.seq)),
        ("to", Value::Str(place)),
        ("output", Value::Str(why)),
    ];
    sink.event(Level::Error, "the broker refuses a message for good", &fields);
}
