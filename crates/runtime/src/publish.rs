//! Durable publish: a message that was accepted survives crashes and the broker's absence.
//!
//! ```text
//! app --HTTP--> http --> Publisher --> thread: Spool on a Disk --> Backlog --> relay --> broker
//!                           202 <-- fdatasync                         ack <-----------------'
//! ```
//!
//! [`start`] opens the spool on a thread of its own, so that no disk ever stops the engine's loop;
//! [`Publisher`] puts messages in, [`Backlog`] takes them out again in their order. It deliberately
//! knows no broker: `relay` does.
//!
//! Invariant: a message with a [`Receipt`] that says [`Durable::Disk`] is given to the backlog, in
//! this life or a later one, until it is acknowledged or a dead letter.

mod backlog;
mod batch;
pub mod disk;
mod dlq;
pub mod http;
pub mod relay;
pub mod report;
pub mod settings;
pub mod spool;
mod spool_thread;

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        mpsc::{SyncSender, TrySendError, sync_channel},
    },
    time::Duration,
};

use contract::log_events;
use thiserror::Error;
use tokio::sync::{Semaphore, oneshot, watch};
use uuid::Uuid;

pub use self::backlog::Backlog;
pub(crate) use self::relay::machine::backoff;
pub use self::spool::{
    DeadLetter, Stats,
    record::{Message, Record},
};
use self::{
    disk::real::RealDisk,
    settings::{
        HEADERS_BYTES_MAX, HEADERS_MAX, ID_BYTES_MAX, KEY_BYTES_MAX, KeyRule, PublishSettings,
    },
    spool::{Limits, Recovery, Spool},
    spool_thread::{Acks, Answer, Command, SpoolThread},
};
use crate::{
    logs::{Level, Sink, Value},
    metrics::publish::Counters,
};

/// Most commands that wait for the thread: all messages that there is room for, and others.
const QUEUE_MAX: usize = QUEUE_UNITS_MAX + 1024;
/// Most bytes of bodies that wait for the thread, in [`QUEUE_UNIT`]s.
const QUEUE_UNITS_MAX: usize = 8 * 1024;
const QUEUE_UNIT: usize = 1024;
/// Most of them of one batch that are handed over together.
const TOGETHER_UNITS_MAX: usize = 1024;
/// How long the lock of an engine that was just killed is waited for.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
/// The part of a flush that is kept for the disk.
const CLOSE_RESERVE: Duration = Duration::from_millis(500);
/// Name of the thread; the kernel keeps 15 bytes.
const THREAD_NAME: &str = "plimsoll-spool";

/// How sure a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durable {
    /// On disk.
    Disk,
    /// In memory of the kernel: it survives a crash of ours, not one of the machine.
    Memory,
    /// With the broker.
    Broker,
}

impl Durable {
    /// The word in an answer.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Durable::Disk => "disk",
            Durable::Memory => "memory",
            Durable::Broker => "broker",
        }
    }
}

/// A message was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Its id.
    pub id: String,
    /// Its place in the order of everything accepted.
    pub seq: u64,
    /// How sure it is.
    pub durable: Durable,
    /// It was accepted before, under the same id.
    pub is_duplicate: bool,
}

/// Why a message was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Rejected {
    /// No such topic.
    #[error("topic `{topic}` is not declared; declared: {declared}")]
    UnknownTopic {
        /// What was asked for.
        topic: String,
        /// What there is.
        declared: String,
    },
    /// Without a key there is no order.
    #[error("topic `{0}` needs a key; give it in the header `X-Key`")]
    KeyRequired(String),
    /// Something is larger than it may be.
    #[error("{what} is longer than {limit} bytes")]
    TooLarge {
        /// What is.
        what: &'static str,
        /// How large it may be.
        limit: u64,
    },
    /// Something has a form that cannot travel.
    #[error("{0}")]
    Invalid(String),
    /// No room until the broker takes something.
    #[error("the spool is full; try again later")]
    Full,
    /// The engine has more to write than it may hold.
    #[error("too many messages wait for the disk; try again later")]
    Busy,
    /// The spool is being opened.
    #[error("the spool is not open yet")]
    Opening,
    /// The disk failed.
    #[error("the spool cannot be written: {0}")]
    Broken(String),
}

/// How the spool is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// It is being opened.
    #[default]
    Opening,
    /// It could not be opened, and why.
    Closed(String),
    /// It is open.
    Open(Stats),
}

impl State {
    /// Whether messages are accepted.
    #[must_use]
    pub fn is_well(&self) -> bool {
        matches!(self, State::Open(stats) if !stats.is_full && stats.broken.is_none())
    }
}

/// Where messages go in. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Publisher {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: PublishSettings,
    commands: SyncSender<Command>,
    /// Given back when the thread takes a message from the queue.
    room: Arc<Semaphore>,
    acks: Arc<Acks>,
    state: watch::Receiver<State>,
    counters: Arc<Counters>,
}

/// Opens the spool in `directory` on a thread of its own. Until it is open, nothing is accepted.
///
/// # Errors
/// When the thread cannot be started.
pub fn start(
    settings: PublishSettings,
    directory: &Path,
    counters: Arc<Counters>,
    sink: Sink,
) -> io::Result<Publisher> {
    let (commands, inbox) = sync_channel(QUEUE_MAX);
    let (state, watched) = watch::channel(State::default());
    let limits = Limits::of(settings.max_bytes.0);
    let acks = Arc::new(Acks::default());
    let (fsync, path) = (settings.fsync, directory.to_owned());
    let (counted, acked) = (counters.clone(), acks.clone());
    counters.declare(settings.topics.keys());
    std::thread::Builder::new().name(THREAD_NAME.into()).spawn(move || {
        let opened = RealDisk::open(&path, LOCK_PATIENCE)
            .and_then(|disk| Spool::open(disk, limits, fastrand::u64(..)));
        match opened {
            Ok((spool, recovery)) => {
                narrate(&sink, &path, &recovery);
                counted.damaged(recovery.damaged);
                SpoolThread::new(spool, fsync, inbox, acked, state, counted).run();
            }
            Err(error) => {
                let words = error.to_string();
                let fields = [
                    ("event", Value::Str(log_events::SPOOL_CLOSED.name)),
                    ("dir", Value::Str(&path.to_string_lossy())),
                    ("output", Value::Str(&words)),
                ];
                sink.event(Level::Error, "the spool cannot be opened", &fields);
                state.send_replace(State::Closed(words));
            }
        }
    })?;
    let room = Arc::new(Semaphore::new(QUEUE_UNITS_MAX));
    let shared = Shared { settings, commands, room, acks, state: watched, counters };
    Ok(Publisher { shared: Arc::new(shared) })
}

/// Says what was found in the spool.
fn narrate(sink: &Sink, path: &Path, recovery: &Recovery) {
    let is_whole = recovery.damaged == 0 && recovery.unreadable.is_empty();
    let unreadable = recovery.unreadable.join("; ");
    let path = path.to_string_lossy();
    let mut fields = vec![
        ("event", Value::Str(log_events::SPOOL_OPENED.name)),
        ("dir", Value::Str(&path)),
        ("pending", Value::U64(recovery.pending)),
        ("damaged", Value::U64(recovery.damaged)),
        ("damaged_bytes", Value::U64(recovery.damaged_bytes)),
    ];
    if !unreadable.is_empty() {
        fields.push(("output", Value::Str(&unreadable)));
    }
    let (level, words) = if is_whole {
        (Level::Info, "the spool is open")
    } else {
        (Level::Warn, "the spool is open; what was torn or damaged is kept in `corrupt`")
    };
    sink.event(level, words, &fields);
}

impl Publisher {
    /// What was configured.
    #[must_use]
    pub fn settings(&self) -> &PublishSettings {
        &self.shared.settings
    }

    /// How the spool is, now and whenever it changes.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<State> {
        self.shared.state.clone()
    }

    /// The counters of everything that is published.
    #[must_use]
    pub fn counters(&self) -> &Arc<Counters> {
        &self.shared.counters
    }

    /// Accepts a message; returns once it is as sure as the settings say.
    ///
    /// # Errors
    /// When the message cannot be accepted, or not now; then it is not in the spool, or may be if
    /// the disk failed.
    pub async fn publish(&self, mut message: Message) -> Result<Receipt, Rejected> {
        self.check(&message).inspect_err(|_| self.shared.counters.invalid(&message.topic))?;
        message.id.get_or_insert_with(|| Uuid::now_v7().to_string());
        let units = units(&message);
        let (answer, answered) = oneshot::channel();
        self.enqueue(vec![(message, answer)], units).await;
        answered.await.map_err(|_| self.why_closed())?
    }

    /// Accepts messages in their order; they share a write, if they are not too many for one.
    pub async fn publish_all(&self, messages: Vec<Message>) -> Vec<Result<Receipt, Rejected>> {
        let mut waiting = Vec::with_capacity(messages.len());
        let (mut together, mut n_units) = (Vec::new(), 0);
        for mut message in messages {
            if let Err(error) = self.check(&message) {
                self.shared.counters.invalid(&message.topic);
                waiting.push(Err(error));
                continue;
            }
            message.id.get_or_insert_with(|| Uuid::now_v7().to_string());
            let more = units(&message);
            if n_units + more > TOGETHER_UNITS_MAX {
                self.enqueue(std::mem::take(&mut together), n_units).await;
                n_units = 0;
            }
            n_units += more;
            let (answer, answered) = oneshot::channel();
            together.push((message, answer));
            waiting.push(Ok(answered));
        }
        self.enqueue(together, n_units).await;
        let mut outcome = Vec::with_capacity(waiting.len());
        for answered in waiting {
            outcome.push(match answered {
                Ok(answered) => answered.await.unwrap_or_else(|_| Err(self.why_closed())),
                Err(error) => Err(error),
            });
        }
        outcome
    }

    /// Hands messages to the thread, in turn with others that wait for room. When it is gone, the
    /// channels of the answers are closed.
    async fn enqueue(&self, messages: Vec<(Message, Answer)>, n_units: usize) {
        if messages.is_empty() {
            return;
        }
        let n_units = u32::try_from(n_units.min(QUEUE_UNITS_MAX)).unwrap_or(u32::MAX);
        let Ok(room) = self.shared.room.clone().acquire_many_owned(n_units).await else { return };
        let sent = self.shared.commands.try_send(Command::Append(messages, room));
        if let Err(TrySendError::Full(Command::Append(messages, _))) = sent {
            for (_, answer) in messages {
                // Whoever asked may have hung up.
                let _ = answer.send(Err(Rejected::Busy));
            }
        }
    }

    /// Asks the thread.
    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, Rejected> {
        let (answer, answered) = oneshot::channel();
        match self.shared.commands.try_send(command(answer)) {
            Ok(()) => answered.await.map_err(|_| self.why_closed()),
            Err(TrySendError::Full(_)) => Err(Rejected::Busy),
            Err(TrySendError::Disconnected(_)) => Err(self.why_closed()),
        }
    }

    /// Why the thread answers nobody.
    fn why_closed(&self) -> Rejected {
        match &*self.shared.state.borrow() {
            State::Opening => Rejected::Opening,
            State::Closed(words) => Rejected::Broken(words.clone()),
            State::Open(_) => Rejected::Broken("it is closed".into()),
        }
    }

    /// Whether a message can be accepted at all.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, message: &Message) -> Result<(), Rejected> {
        let settings = &self.shared.settings;
        let Some(topic) = settings.topics.get(&message.topic) else {
            let declared: Vec<&str> = settings.topics.keys().map(String::as_str).collect();
            let declared = declared.join(", ");
            return Err(Rejected::UnknownTopic { topic: message.topic.clone(), declared });
        };
        if topic.key == KeyRule::Required && message.key.is_none() {
            return Err(Rejected::KeyRequired(message.topic.clone()));
        }
        let key = message.key.as_ref().map_or(0, bytes::Bytes::len);
        let id = message.id.as_ref().map_or(0, String::len);
        let headers = message.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        for (what, length, limit) in [
            ("the body", message.body.len(), settings.max_body.0),
            ("the key", key, KEY_BYTES_MAX as u64),
            ("the id", id, ID_BYTES_MAX as u64),
            ("all headers together", headers, HEADERS_BYTES_MAX as u64),
        ] {
            if length as u64 > limit {
                return Err(Rejected::TooLarge { what, limit });
            }
        }
        if message.headers.len() > HEADERS_MAX {
            let words = format!("a message has at most {HEADERS_MAX} headers");
            return Err(Rejected::Invalid(words));
        }
        if message.id.as_deref().is_some_and(|id| id.is_empty() || id.contains(char::is_control)) {
            return Err(Rejected::Invalid("an id has at least one letter, and no control".into()));
        }
        Ok(())
    }

    /// What waits to be delivered. There is one at a time: who asks again begins anew.
    #[must_use]
    pub fn backlog(&self) -> Backlog {
        Backlog::new(self.clone())
    }

    /// Dead letters above a number, oldest first, at most `count`.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn dead_letters(
        &self,
        above: u64,
        count: usize,
    ) -> Result<Vec<DeadLetter>, Rejected> {
        self.ask(|answer| Command::DeadLetters(above, count, answer))
            .await?
            .map_err(|error| broken(&error))
    }

    /// Accepts a dead letter again, and returns its new number; none when there is no such letter.
    ///
    /// # Errors
    /// When there is no room, or the disk fails.
    pub async fn retry_dead(&self, seq: u64) -> Result<Option<u64>, Rejected> {
        let retried = self.ask(|answer| Command::RetryDead(seq, answer)).await?;
        found(retried.map(|appended| appended.seq))
    }

    /// Removes a dead letter for good; false when there is none of that number.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn drop_dead(&self, seq: u64) -> Result<bool, Rejected> {
        let dropped = self.ask(|answer| Command::DropDead(seq, answer)).await?;
        Ok(found(dropped)?.is_some())
    }

    /// Gives the broker a last chance, makes everything certain and ends the thread, all within
    /// `limit`; what is not delivered stays on disk.
    pub async fn finish(&self, limit: Duration) {
        let end = tokio::time::Instant::now() + limit;
        if self.shared.settings.kafka.is_some() {
            let mut state = self.state();
            let is_empty =
                |state: &State| !matches!(state, State::Open(stats) if stats.pending > 0);
            let emptied = async { state.wait_for(is_empty).await.map(drop) };
            // Whatever is left goes on after the next start.
            let _ = tokio::time::timeout(limit.saturating_sub(CLOSE_RESERVE), emptied).await;
        }
        // A thread that is gone has nothing to make certain.
        let _ = tokio::time::timeout_at(end, self.ask(Command::Close)).await;
    }
}

/// How much room a message needs while it waits.
fn units(message: &Message) -> usize {
    message.body.len() / QUEUE_UNIT + 1
}

fn broken(error: &io::Error) -> Rejected {
    match error.kind() {
        io::ErrorKind::StorageFull => Rejected::Full,
        _ => Rejected::Broken(error.to_string()),
    }
}

fn found<T>(result: io::Result<T>) -> Result<Option<T>, Rejected> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(broken(&error)),
    }
}
