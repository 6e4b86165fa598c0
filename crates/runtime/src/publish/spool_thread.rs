//! The thread that owns the spool: gathers what comes together, so that it shares one sync.
//!
//! The first message of a group is written at once when the disk is idle; while it syncs, the next
//! group gathers. With several publishers at work a group waits for [`GROUP_DELAY`] or
//! [`GROUP_BYTES`], whichever comes first. It deliberately knows no HTTP and no Kafka.
//!
//! Invariant: no call of the disk is made on another thread, and every command gets its answer, or
//! sees its answer's channel closed.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, TryRecvError},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};

use super::{
    Durable, Receipt, Rejected, State,
    disk::Disk,
    settings::{BROKER_PATIENCE, Fsync},
    spool::{
        AppendError, Appended, Certainty, DeadLetter, Spool,
        record::{Message, Record},
    },
};
use crate::metrics::publish::Counters;

/// How long a group gathers.
const GROUP_DELAY: Duration = Duration::from_millis(2);
/// How much of it is enough.
const GROUP_BYTES: usize = 64 * 1024;
/// Most bytes that are written at once.
const GROUP_BYTES_MAX: usize = 1024 * 1024;
/// How often acknowledgements are made certain, segments removed and the state told.
const TICK: Duration = Duration::from_millis(500);

/// What the thread is asked for.
#[derive(Debug)]
pub(super) enum Command {
    /// Accept a message.
    Append(Message, Answer, OwnedSemaphorePermit),
    /// Look at what was acknowledged.
    Wake,
    /// A record that is refused for good.
    Bury(u64, String, oneshot::Sender<io::Result<()>>),
    /// Records that wait: at most so many, and about so many bytes; and the last number there is.
    Read(usize, usize, oneshot::Sender<io::Result<(Vec<Record>, u64)>>),
    /// Read from the oldest on again.
    Rewind(oneshot::Sender<()>),
    /// Dead letters above a number.
    DeadLetters(u64, usize, oneshot::Sender<io::Result<Vec<DeadLetter>>>),
    /// Accept a dead letter again.
    RetryDead(u64, oneshot::Sender<io::Result<Appended>>),
    /// Remove a dead letter.
    DropDead(u64, oneshot::Sender<io::Result<()>>),
    /// Make everything certain and end.
    Close(oneshot::Sender<()>),
}

/// Who waits for a message to be accepted.
type Answer = oneshot::Sender<Result<Receipt, Rejected>>;

/// Acknowledged records that the thread has not seen yet. Bounded by the records in flight.
#[derive(Debug, Default)]
pub(super) struct Acks(Mutex<Vec<u64>>);

impl Acks {
    pub(super) fn add(&self, seq: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(seq);
    }

    fn take(&self) -> Vec<u64> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What the thread works with.
pub(super) struct SpoolThread<D: Disk> {
    spool: Spool<D>,
    fsync: Fsync,
    commands: Receiver<Command>,
    acks: Arc<Acks>,
    state: watch::Sender<State>,
    counters: Arc<Counters>,
    /// Who waits for the broker, by number.
    for_broker: BTreeMap<u64, (Answer, Receipt)>,
    /// When they have waited long enough, in the order of their numbers.
    deadlines: VecDeque<(Instant, u64)>,
    next_tick: Instant,
    /// When the disk was last made certain, with `fsync: interval`.
    synced: Instant,
    /// Messages of the last group.
    last_group: usize,
}

/// Messages that share a write, each with who waits for it.
#[derive(Default)]
struct Group {
    messages: Vec<Message>,
    answers: Vec<Answer>,
    bytes: usize,
}

impl Group {
    fn push(&mut self, message: Message, answer: Answer) {
        self.bytes += message.body.len() + message.topic.len();
        self.messages.push(message);
        self.answers.push(answer);
    }
}

impl<D: Disk> SpoolThread<D> {
    pub(super) fn new(
        spool: Spool<D>,
        fsync: Fsync,
        commands: Receiver<Command>,
        acks: Arc<Acks>,
        state: watch::Sender<State>,
        counters: Arc<Counters>,
    ) -> Self {
        let now = Instant::now();
        Self {
            spool,
            fsync,
            commands,
            acks,
            state,
            counters,
            for_broker: BTreeMap::new(),
            deadlines: VecDeque::new(),
            next_tick: now,
            synced: now,
            last_group: 0,
        }
    }

    /// Serves until it is closed, or nobody is left to ask.
    pub(super) fn run(mut self) {
        loop {
            self.acknowledge();
            let patience = self.do_what_is_due();
            let command = match self.commands.recv_timeout(patience) {
                Ok(command) => command,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return self.close(),
            };
            let next = match command {
                Command::Append(message, answer, _room) => {
                    let mut group = Group::default();
                    group.push(message, answer);
                    let next = self.gather(&mut group, self.last_group > 1);
                    self.last_group = group.messages.len();
                    self.append(group);
                    next
                }
                command => Some(command),
            };
            match next {
                None => {}
                Some(Command::Append(message, answer, _room)) => {
                    let mut group = Group::default();
                    group.push(message, answer);
                    self.append(group);
                }
                Some(Command::Close(done)) => {
                    self.close();
                    // Whoever asked may have lost patience.
                    let _ = done.send(());
                    return;
                }
                Some(command) => self.serve(command),
            }
        }
    }

    /// Does what its time has come for; returns how long nothing else is due.
    fn do_what_is_due(&mut self) -> Duration {
        let now = Instant::now();
        if now >= self.next_tick {
            self.tick();
            self.next_tick = now + TICK;
        }
        let mut due = self.next_tick;
        if let Fsync::Interval(interval) = self.fsync
            && !self.spool.is_synced()
        {
            if now >= self.synced + interval {
                // It is tried again by the next append.
                let _ = self.sync();
                self.synced = now;
            }
            due = due.min(self.synced + interval);
        }
        if self.deadlines.front().is_some_and(|(deadline, _)| *deadline <= now) {
            self.stop_waiting(now);
        }
        due = self.deadlines.front().map_or(due, |(deadline, _)| due.min(*deadline));
        due.saturating_duration_since(now)
    }

    /// Takes note of what was delivered.
    fn acknowledge(&mut self) {
        let seqs = self.acks.take();
        if seqs.is_empty() {
            return;
        }
        for seq in seqs {
            self.spool.ack(seq);
            if let Some((answer, receipt)) = self.for_broker.remove(&seq) {
                let _ = answer.send(Ok(Receipt { durable: Durable::Broker, ..receipt }));
            }
        }
        while self.deadlines.front().is_some_and(|(_, seq)| !self.for_broker.contains_key(seq)) {
            self.deadlines.pop_front();
        }
        // What cannot be written now is tried again at the next tick.
        let _ = self.spool.write_acks();
    }

    /// The broker was too slow for some: the disk has to do.
    fn stop_waiting(&mut self, now: Instant) {
        let synced = self.sync();
        while let Some((_, seq)) = self.deadlines.pop_front_if(|(deadline, _)| *deadline <= now) {
            if let Some((answer, receipt)) = self.for_broker.remove(&seq) {
                let receipt = Receipt { durable: Durable::Disk, ..receipt };
                let _ = answer.send(synced.clone().map(|()| receipt));
            }
        }
    }

    /// Adds what comes in time to a group; returns what came that is no message.
    fn gather(&self, group: &mut Group, is_busy: bool) -> Option<Command> {
        if self.fsync == Fsync::Each {
            return None;
        }
        let deadline = Instant::now() + GROUP_DELAY;
        loop {
            let command = match self.commands.try_recv() {
                Ok(command) => command,
                Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) if !is_busy || group.bytes >= GROUP_BYTES => return None,
                Err(TryRecvError::Empty) => {
                    let patience = deadline.saturating_duration_since(Instant::now());
                    self.commands.recv_timeout(patience).ok()?
                }
            };
            match command {
                Command::Append(message, answer, _room) => group.push(message, answer),
                command => return Some(command),
            }
            if group.bytes >= GROUP_BYTES_MAX {
                return None;
            }
        }
    }

    /// Writes a group and answers everybody in it.
    fn append(&mut self, group: Group) {
        let (certainty, durable) = match self.fsync {
            Fsync::Each | Fsync::Group => (Certainty::Synced, Durable::Disk),
            Fsync::Interval(_) | Fsync::Kafka => (Certainty::Written, Durable::Memory),
        };
        let texts =
            |message: &Message| (message.topic.clone(), message.id.clone().unwrap_or_default());
        let texts: Vec<(String, String)> = group.messages.iter().map(texts).collect();
        let begun = Instant::now();
        let outcome = self.spool.append(group.messages, now_us(), certainty);
        if certainty == Certainty::Synced {
            self.counters.fsync(begun.elapsed());
        }
        let was_well = self.state.borrow().is_well();
        let mut is_news = !was_well;
        for ((answer, (topic, id)), outcome) in group.answers.into_iter().zip(texts).zip(outcome) {
            let Appended { seq, is_duplicate } = match outcome {
                Ok(appended) => appended,
                Err(error) => {
                    is_news = true;
                    let _ = answer.send(Err(self.rejected(error, &topic)));
                    continue;
                }
            };
            let receipt = Receipt { id, seq, durable, is_duplicate };
            if is_duplicate {
                let _ = answer.send(self.repeated(receipt));
                continue;
            }
            is_news = true;
            self.counters.accepted(&topic);
            if self.fsync == Fsync::Kafka {
                self.for_broker.insert(seq, (answer, receipt));
                self.deadlines.push_back((begun + BROKER_PATIENCE, seq));
            } else {
                // Whoever asked may have hung up; the message is accepted all the same.
                let _ = answer.send(Ok(receipt));
            }
        }
        if is_news {
            self.tell();
        }
    }

    fn rejected(&self, error: AppendError, topic: &str) -> Rejected {
        match error {
            AppendError::Full => {
                self.counters.rejected_full(topic);
                Rejected::Full
            }
            AppendError::Broken(words) => Rejected::Broken(words),
        }
    }

    /// The first of its id may not be certain yet when the broker was to say so.
    fn repeated(&mut self, receipt: Receipt) -> Result<Receipt, Rejected> {
        if self.fsync != Fsync::Kafka {
            return Ok(receipt);
        }
        self.sync().map(|()| Receipt { durable: Durable::Disk, ..receipt })
    }

    fn serve(&mut self, command: Command) {
        // Whoever asked may have hung up.
        match command {
            Command::Append(..) | Command::Close(_) | Command::Wake => {}
            Command::Bury(seq, error, answer) => {
                let _ = answer.send(self.spool.bury(seq, &error));
            }
            Command::Read(records, bytes, answer) => {
                let last = self.spool.last_seq();
                let _ = answer.send(self.spool.read(records, bytes).map(|read| (read, last)));
            }
            Command::Rewind(answer) => {
                self.spool.rewind();
                let _ = answer.send(());
            }
            Command::DeadLetters(above, count, answer) => {
                let _ = answer.send(self.spool.dead_letters(above, count));
            }
            Command::RetryDead(seq, answer) => {
                let _ = answer.send(self.spool.retry_dead(seq, now_us()));
                self.tell();
            }
            Command::DropDead(seq, answer) => {
                let _ = answer.send(self.spool.drop_dead(seq));
            }
        }
    }

    fn sync(&mut self) -> Result<(), Rejected> {
        if self.spool.is_synced() {
            return Ok(());
        }
        let begun = Instant::now();
        let synced = self.spool.sync();
        self.counters.fsync(begun.elapsed());
        synced.map_err(|error| Rejected::Broken(error.to_string()))
    }

    /// What is done from time to time.
    fn tick(&mut self) {
        // What cannot be made certain now is tried again.
        let _ = self.spool.sync_acks();
        self.spool.compact();
        self.tell();
    }

    /// Tells everybody who watches what the spool holds.
    fn tell(&mut self) {
        let stats = self.spool.stats();
        self.counters.holds(&stats, now_us());
        self.state.send_replace(State::Open(stats));
    }

    fn close(&mut self) {
        self.acknowledge();
        self.stop_waiting(Instant::now() + BROKER_PATIENCE);
        // It is the last try; what is lost is delivered twice.
        let _ = self.spool.sync();
        let _ = self.spool.sync_acks();
        self.spool.compact();
        self.tell();
    }
}

/// The time, in microseconds since 1970.
pub(super) fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use tokio::sync::Semaphore;

    use super::*;
    use crate::{
        board::Identity,
        metrics::Metrics,
        publish::{
            disk::crash::{CrashDisk, Faults},
            spool::Limits,
        },
    };

    const LIMITS: Limits = Limits { segment: 4 * 1024, total: 64 * 1024 };

    /// What a thread answers to messages with these ids, on a disk whose syncs fail.
    fn answers(fsync: Fsync, ids: &[&str]) -> Vec<Result<Durable, Rejected>> {
        let disk = CrashDisk::new(1);
        let (mut spool, _) = Spool::open(disk.clone(), LIMITS, 1).unwrap();
        // The segment is there before the disk fails.
        let first = Message { topic: "t".into(), id: Some("first".into()), ..Message::default() };
        assert!(spool.append(vec![first], 1, Certainty::Synced)[0].is_ok());
        disk.set_faults(Faults { sync: 1000, ..Faults::default() });
        let (commands, inbox) = sync_channel(ids.len());
        let room = Arc::new(Semaphore::new(ids.len()));
        let mut waiting = Vec::new();
        for id in ids {
            let message =
                Message { topic: "t".into(), id: Some((*id).to_owned()), ..Message::default() };
            let (answer, answered) = oneshot::channel();
            let permit = room.clone().try_acquire_owned().unwrap();
            commands.send(Command::Append(message, answer, permit)).unwrap();
            waiting.push(answered);
        }
        drop(commands);
        let (state, _) = watch::channel(State::default());
        let counters = Metrics::new(&Identity::default(), &[]).publish();
        SpoolThread::new(spool, fsync, inbox, Arc::default(), state, counters).run();
        let answers = waiting.into_iter().map(|mut answered| answered.try_recv().unwrap());
        answers.map(|answer| answer.map(|receipt| receipt.durable)).collect()
    }

    #[test]
    fn a_repetition_is_not_called_durable_while_the_disk_fails() {
        for answer in answers(Fsync::Kafka, &["a", "a", "a"]) {
            assert!(matches!(answer, Err(Rejected::Broken(_))), "{answer:?}");
        }
    }

    #[test]
    fn nothing_is_called_durable_on_a_disk_that_fails() {
        for fsync in [Fsync::Each, Fsync::Group, Fsync::Interval(Duration::ZERO)] {
            for answer in answers(fsync, &["a", "b", "a", "c"]) {
                assert_ne!(answer, Ok(Durable::Disk), "{fsync:?}");
            }
        }
    }
}
