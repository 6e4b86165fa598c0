//! The thread that owns the spool: what comes while the disk is at work shares the next sync.
//!
//! A message that finds the disk idle is written at once; while it syncs, the next group gathers
//! by itself. So nobody waits for longer than two syncs, the one under way and its own, however
//! many publish; the more do, the larger are the groups. It deliberately has no timer to wait for
//! more, and knows no HTTP and no Kafka.
//!
//! Invariant: no call of the disk is made on another thread, and every command gets its answer, or
//! sees its answer's channel closed.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError},
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

/// Most bytes that are written at once.
const GROUP_BYTES_MAX: usize = 1024 * 1024;
/// How often acknowledgements are made certain, segments removed and the state told.
const TICK: Duration = Duration::from_millis(500);

/// What the thread is asked for.
#[derive(Debug)]
pub(super) enum Command {
    /// Accept messages.
    Append(Vec<(Message, Answer)>, OwnedSemaphorePermit),
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
pub(super) type Answer = oneshot::Sender<Result<Receipt, Rejected>>;

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
}

/// Messages that share a write, each with who waits for it.
#[derive(Default)]
struct Group {
    messages: Vec<Message>,
    answers: Vec<Answer>,
    bytes: usize,
}

impl Group {
    fn push(&mut self, (message, answer): (Message, Answer)) {
        self.bytes += message.body.len() + message.topic.len();
        self.messages.push(message);
        self.answers.push(answer);
    }

    /// Each message by itself.
    fn split(self) -> impl Iterator<Item = Group> {
        self.messages.into_iter().zip(self.answers).map(|pair| {
            let mut group = Group::default();
            group.push(pair);
            group
        })
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
                Command::Append(messages, room) => {
                    let mut group = Group::default();
                    messages.into_iter().for_each(|pair| group.push(pair));
                    drop(room);
                    let next = self.gather(&mut group);
                    self.append(group);
                    next
                }
                command => Some(command),
            };
            match next {
                None => {}
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

    /// Adds what has come meanwhile to a group; returns what came that is no message.
    fn gather(&self, group: &mut Group) -> Option<Command> {
        while group.bytes < GROUP_BYTES_MAX {
            match self.commands.try_recv().ok()? {
                Command::Append(messages, _room) => {
                    messages.into_iter().for_each(|pair| group.push(pair));
                }
                command => return Some(command),
            }
        }
        None
    }

    /// Writes what came, together or one message after another.
    fn append(&mut self, group: Group) {
        if self.fsync == Fsync::Each {
            group.split().for_each(|group| self.write(group));
        } else {
            self.write(group);
        }
    }

    /// Writes a group and answers everybody in it.
    fn write(&mut self, group: Group) {
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
        serve(fsync, &[ids], Faults { sync: 1000, ..Faults::default() }).0
    }

    /// What a thread answers to batches that came while it was at work, and its syncs of files.
    fn serve(
        fsync: Fsync,
        batches: &[&[&str]],
        faults: Faults,
    ) -> (Vec<Result<Durable, Rejected>>, u64) {
        let disk = CrashDisk::new(1);
        let (mut spool, _) = Spool::open(disk.clone(), LIMITS, 1).unwrap();
        // The segment is there before the disk fails.
        let first = Message { topic: "t".into(), id: Some("first".into()), ..Message::default() };
        assert!(spool.append(vec![first], 1, Certainty::Synced)[0].is_ok());
        disk.set_faults(faults);
        let (commands, inbox) = sync_channel(batches.len());
        let room = Arc::new(Semaphore::new(batches.len()));
        let mut waiting = Vec::new();
        for batch in batches {
            let messages = batch.iter().map(|id| {
                let id = Some((*id).to_owned());
                let message = Message { topic: "t".into(), id, ..Message::default() };
                let (answer, answered) = oneshot::channel();
                waiting.push(answered);
                (message, answer)
            });
            let messages = messages.collect();
            let permit = room.clone().try_acquire_owned().unwrap();
            commands.send(Command::Append(messages, permit)).unwrap();
        }
        drop(commands);
        let n_syncs = disk.n_syncs();
        let (state, _) = watch::channel(State::default());
        let counters = Metrics::new(&Identity::default(), &[]).publish();
        SpoolThread::new(spool, fsync, inbox, Arc::default(), state, counters).run();
        let answers = waiting.into_iter().map(|mut answered| answered.try_recv().unwrap());
        let answers = answers.map(|answer| answer.map(|receipt| receipt.durable)).collect();
        (answers, disk.n_syncs() - n_syncs)
    }

    #[test]
    fn what_came_while_the_disk_was_at_work_shares_a_sync() {
        let batches: [&[&str]; 3] = [&["a"], &["b", "c", "d"], &["e"]];
        for (fsync, n_syncs) in [(Fsync::Group, 1), (Fsync::Each, 5)] {
            let (answers, synced) = serve(fsync, &batches, Faults::default());
            assert_eq!(answers, [const { Ok(Durable::Disk) }; 5]);
            assert_eq!(synced, n_syncs, "{fsync:?}");
        }
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
