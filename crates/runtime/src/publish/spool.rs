//! The log of accepted messages on disk: segments, what is done of them, recovery, compaction.
//!
//! A record is accepted once [`Spool::append`] returns its number with `durable`; it is read by
//! [`Spool::read`] in the order of numbers, and gone after [`Spool::ack`] or [`Spool::bury`]. The
//! spool is a function of its disk and its arguments: it reads no clock and starts no thread.
//!
//! ```text
//!         append                  rolled                 every record done, and that certain
//! (none) -------> active segment -------> sealed segment ----------------------------> removed
//!                   |  write failed: sealed at the last good place    ^
//!                   |  sync failed: poisoned --------- written anew --'
//! ```
//!
//! Invariant: a record for which `append` said `durable` is found after any crash until it is done;
//! a segment goes only after the acknowledgements that cover it are certain.

mod ack_log;
mod acked;
mod ages;
#[cfg(test)]
mod crash_test;
mod dead;
mod done;
mod known_ids;
mod read;
pub mod record;
mod recover;
mod rewrite;
pub mod segment;

#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, VecDeque},
    io,
};

use self::{
    ack_log::AckLog,
    acked::Acked,
    ages::Ages,
    known_ids::{IdHash, KnownIds},
    record::{Message, Record, SEQ_MAX},
};
pub use self::{dead::DeadLetter, recover::Recovery};
use super::disk::{Dir, Disk, Space, is_full};

/// Bytes of a segment, unless the whole spool is small.
pub const SEGMENT_BYTES: u64 = 16 * 1024 * 1024;
/// At least so many segments fit a spool.
const SEGMENTS_MIN: u64 = 8;
/// Bytes of a file of acknowledgements, unless the whole spool is small.
const LOG_BYTES: u64 = 1024 * 1024;
/// Then it is one in so many bytes.
const LOG_PART: u64 = 16;
/// The part of the file system that the spool leaves free: one in so many bytes.
const FREE_PART: u64 = 20;
/// It never leaves more free than this: 5 % of a large disk is not "full".
const FREE_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// A sealed segment of which less than one in so many bytes is live may be written anew.
const SPARSE_PART: u64 = 4;

/// How large things are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a segment.
    pub segment: u64,
    /// Bytes of the whole spool.
    pub total: u64,
}

impl Limits {
    /// The limits of a spool of so many bytes.
    #[must_use]
    pub fn of(total: u64) -> Self {
        Self { segment: SEGMENT_BYTES.min(total / SEGMENTS_MIN), total }
    }

    /// Bytes of a file of acknowledgements.
    fn log(self) -> u64 {
        LOG_BYTES.min(self.total / LOG_PART)
    }
}

/// How sure an append must be before it returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certainty {
    /// On disk.
    Synced,
    /// With the kernel; [`Spool::sync`] follows.
    Written,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Its number.
    pub seq: u64,
    /// It was accepted before.
    pub is_duplicate: bool,
}

/// Why a message was not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppendError {
    /// The spool or the file system is full.
    Full,
    /// The disk failed, and what it said.
    Broken(String),
}

/// What the spool holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Records that wait to be delivered.
    pub pending: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// When the oldest record that waits was accepted, in microseconds since 1970.
    pub oldest_at_us: Option<u64>,
    /// Dead letters.
    pub dead: u64,
    /// The last append found no room.
    pub is_full: bool,
    /// Why nothing can be accepted.
    pub broken: Option<String>,
    /// The last number given.
    pub last_seq: u64,
}

/// One segment.
#[derive(Clone, Debug)]
struct Segment {
    name: segment::Name,
    first_seq: u64,
    last_seq: u64,
    /// Records that are not done.
    n_live: u64,
    n_records: u64,
    /// Where the last accepted record ends.
    end: u64,
    /// Bytes on disk.
    size: u64,
}

/// The segment that is appended to: always the last.
#[derive(Debug)]
struct Active<F> {
    file: F,
    is_synced: bool,
}

/// Where reading goes on.
#[derive(Clone, Copy, Debug, Default)]
struct Cursor {
    number: u64,
    offset: u64,
    /// The last record that was read.
    seq: u64,
}

/// The log. See the module.
#[derive(Debug)]
pub struct Spool<D: Disk> {
    disk: D,
    limits: Limits,
    random: fastrand::Rng,
    segments: VecDeque<Segment>,
    active: Option<Active<D::File>>,
    log: AckLog<D::File>,
    acked: Acked,
    ids: KnownIds,
    ages: Ages,
    next_seq: u64,
    next_number: u64,
    cursor: Cursor,
    reader: Option<(segment::Name, D::File)>,
    /// Segments whose sync failed and that must be written anew before anything is accepted.
    poisoned: Vec<u64>,
    broken: Option<String>,
    is_full: bool,
    n_dead: u64,
    dead_bytes: u64,
    damaged_bytes: u64,
}

/// Records that were encoded for the active segment and are not accepted yet.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    /// Place in the outcome, number and id.
    records: Vec<(usize, u64, IdHash)>,
}

impl<D: Disk> Spool<D> {
    /// Accepts messages in their order. Every message has an id.
    pub fn append(
        &mut self,
        messages: Vec<Message>,
        now_us: u64,
        certainty: Certainty,
    ) -> Vec<Result<Appended, AppendError>> {
        if let Err(error) = self.mend() {
            return messages.iter().map(|_| Err(error.clone())).collect();
        }
        self.is_full = false;
        let mut outcome = vec![Err(AppendError::Full); messages.len()];
        let mut repeated: Vec<(usize, usize)> = Vec::new();
        let mut in_batch: HashMap<IdHash, usize> = HashMap::new();
        let mut batch = Batch::default();
        for (index, message) in messages.into_iter().enumerate() {
            let hash = known_ids::hash(message.id.as_deref().unwrap_or_default());
            if let Some(seq) = self.ids.get(hash) {
                outcome[index] = Ok(Appended { seq, is_duplicate: true });
                continue;
            }
            if let Some(first) = in_batch.get(&hash) {
                repeated.push((index, *first));
                continue;
            }
            if self.next_seq > SEQ_MAX {
                outcome[index] = Err(used_up());
                continue;
            }
            let record = Record::new(message, self.next_seq, now_us);
            if let Err(error) = self.make_room(&record, &mut batch, certainty, &mut outcome) {
                outcome[index] = Err(error);
                continue;
            }
            let segment = self.segments.back().expect("room was made in the last segment");
            record.encode(segment.name.salt, &mut batch.bytes);
            batch.records.push((index, record.seq, hash));
            in_batch.insert(hash, index);
            self.next_seq += 1;
        }
        self.commit(batch, now_us, certainty, &mut outcome);
        for (index, first) in repeated {
            outcome[index] =
                outcome[first].clone().map(|first| Appended { is_duplicate: true, ..first });
        }
        outcome
    }

    /// Sees to it that the active segment has room for one more record.
    fn make_room(
        &mut self,
        record: &Record,
        batch: &mut Batch,
        certainty: Certainty,
        outcome: &mut [Result<Appended, AppendError>],
    ) -> Result<(), AppendError> {
        let length = record.encoded_len() as u64;
        let limit = self.limits.segment;
        let has_room = |spool: &Self, waiting: u64| {
            let end = spool.segments.back().map_or(0, |segment| segment.end);
            spool.active.is_some() && (end + waiting + length <= limit || end + waiting == 0)
        };
        if has_room(self, batch.bytes.len() as u64) {
            return Ok(());
        }
        self.commit(std::mem::take(batch), record.at_us, certainty, outcome);
        if has_room(self, 0) {
            return Ok(());
        }
        self.mend()?;
        self.roll(length)
    }

    /// Seals the active segment and begins the next, with room for at least `length` bytes.
    fn roll(&mut self, length: u64) -> Result<(), AppendError> {
        self.sync_active().map_err(|error| self.broke(&error))?;
        self.seal();
        let size = self.limits.segment.max(length);
        if self.bytes() + size > self.limits.total {
            self.compact();
            self.squeeze();
        }
        let has_space = |space: Space| {
            space.free.saturating_sub(size) >= (space.total / FREE_PART).min(FREE_BYTES_MAX)
        };
        if self.bytes() + size > self.limits.total || !self.disk.space().is_ok_and(has_space) {
            self.is_full = true;
            return Err(AppendError::Full);
        }
        if self.next_number > segment::NUMBER_MAX {
            return Err(used_up());
        }
        let name =
            segment::Name { number: self.next_number, generation: 0, salt: self.random.u64(..) };
        let text = name.to_string();
        let created = self.disk.create(Dir::Root, &text, size);
        let file = created.map_err(|error| self.refuse(&error))?;
        if let Err(error) = self.disk.sync_dir(Dir::Root) {
            let _ = self.disk.remove(Dir::Root, &text);
            return Err(self.refuse(&error));
        }
        self.next_number += 1;
        self.active = Some(Active { file, is_synced: true });
        let (first_seq, last_seq) = (self.next_seq, self.next_seq - 1);
        let (n_live, n_records) = (0, 0);
        self.segments.push_back(Segment {
            name,
            first_seq,
            last_seq,
            n_live,
            n_records,
            end: 0,
            size,
        });
        Ok(())
    }

    /// Nothing more is appended to the active segment.
    fn seal(&mut self) {
        let (Some(active), Some(segment)) = (self.active.take(), self.segments.back_mut()) else {
            return;
        };
        // A tail that stays costs room, and a restart cuts it.
        if self.disk.truncate(&active.file, segment.end).is_ok() {
            segment.size = segment.end;
        }
        if segment.n_records == 0 {
            let name = segment.name.to_string();
            if self.disk.remove(Dir::Root, &name).is_ok() {
                self.segments.pop_back();
            }
        }
    }

    /// Writes a batch to the active segment, and says what became of each record.
    fn commit(
        &mut self,
        batch: Batch,
        now_us: u64,
        certainty: Certainty,
        outcome: &mut [Result<Appended, AppendError>],
    ) {
        let Some((_, first_seq, _)) = batch.records.first().copied() else { return };
        let written = self.write(&batch, certainty);
        for (index, seq, hash) in batch.records {
            outcome[index] = match &written {
                // A segment that was written anew may have lost what was not certain.
                Ok(()) if self.acked.contains(seq) => {
                    Err(AppendError::Broken("the disk lost a write".into()))
                }
                Ok(()) => {
                    self.ids.insert(hash, seq);
                    Ok(Appended { seq, is_duplicate: false })
                }
                Err(error) => {
                    // It was never accepted, so nothing waits for it.
                    self.acked.insert(seq);
                    Err(error.clone())
                }
            };
        }
        if written.is_ok() {
            self.ages.accepted(first_seq, now_us);
        }
    }

    fn write(&mut self, batch: &Batch, certainty: Certainty) -> Result<(), AppendError> {
        let (Some(active), Some(segment)) = (&mut self.active, self.segments.back_mut()) else {
            return Err(AppendError::Broken("the segment was given up".into()));
        };
        if let Err(error) = self.disk.write_at(&active.file, segment.end, &batch.bytes) {
            // Half of the batch may be there: no later record may come after it.
            let refusal = self.refuse(&error);
            if let Err(error) = self.sync_active() {
                return Err(self.broke(&error));
            }
            self.seal();
            return Err(refusal);
        }
        active.is_synced = false;
        let before = segment.clone();
        let count = batch.records.len() as u64;
        segment.end += batch.bytes.len() as u64;
        segment.size = segment.size.max(segment.end);
        segment.last_seq = self.next_seq - 1;
        segment.n_records += count;
        segment.n_live += count;
        if certainty == Certainty::Written {
            return Ok(());
        }
        let Err(error) = self.sync_active() else { return Ok(()) };
        // Written anew, the batch may reach the disk after all.
        if self.mend().is_ok() {
            return Ok(());
        }
        if let Some(segment) = self.segment_mut(before.name.number)
            && segment.name == before.name
        {
            *segment = before;
        }
        Err(self.broke(&error))
    }

    /// Makes everything certain that was accepted, and writes anew what an earlier sync gave up.
    ///
    /// # Errors
    /// When the disk is full or fails; then nothing that was accepted since the last success is
    /// certain, and the next append or sync tries again.
    pub fn sync(&mut self) -> io::Result<()> {
        // A segment that this poisons is written anew at once.
        let _ = self.sync_active();
        self.mend().map_err(|error| match error {
            AppendError::Full => io::ErrorKind::StorageFull.into(),
            AppendError::Broken(words) => io::Error::other(words),
        })
    }

    /// Makes the active segment certain. It says nothing about those that are poisoned.
    fn sync_active(&mut self) -> io::Result<()> {
        let Some(active) = self.active.as_mut().filter(|active| !active.is_synced) else {
            return Ok(());
        };
        match self.disk.sync(&active.file) {
            Ok(()) => {
                active.is_synced = true;
                Ok(())
            }
            Err(error) => {
                self.active = None;
                let number = self.segments.back().map(|segment| segment.name.number);
                self.poisoned.extend(number);
                Err(error)
            }
        }
    }

    /// Whether everything that was accepted is certain.
    pub fn is_synced(&self) -> bool {
        self.poisoned.is_empty() && self.active.as_ref().is_none_or(|active| active.is_synced)
    }

    /// What the spool holds.
    pub fn stats(&mut self) -> Stats {
        let pending = self.segments.iter().map(|segment| segment.n_live).sum();
        let oldest = self.acked.first_missing();
        Stats {
            pending,
            bytes: self.bytes(),
            oldest_at_us: if pending > 0 { self.ages.of(oldest) } else { None },
            dead: self.n_dead,
            is_full: self.is_full,
            broken: self.broken.clone(),
            last_seq: self.last_seq(),
        }
    }

    /// The last number that was given; 0 when none was.
    pub fn last_seq(&self) -> u64 {
        self.next_seq - 1
    }

    /// Bytes on disk.
    fn bytes(&self) -> u64 {
        let segments: u64 = self.segments.iter().map(|segment| segment.size).sum();
        segments + self.log.bytes() + self.dead_bytes
    }

    fn segment_mut(&mut self, number: u64) -> Option<&mut Segment> {
        self.segments.iter_mut().find(|segment| segment.name.number == number)
    }

    /// Why a write was refused.
    fn refuse(&mut self, error: &io::Error) -> AppendError {
        if is_full(error) {
            self.is_full = true;
            return AppendError::Full;
        }
        self.broke(error)
    }

    fn broke(&mut self, error: &io::Error) -> AppendError {
        let words = error.to_string();
        self.broken = Some(words.clone());
        AppendError::Broken(words)
    }
}

/// No spool lives so long: only a file that somebody forged has such numbers.
fn used_up() -> AppendError {
    AppendError::Broken("its numbers are used up; move the files of the spool away".into())
}
