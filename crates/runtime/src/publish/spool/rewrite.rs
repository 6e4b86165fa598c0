//! Writing a segment anew: after a failed sync, after damage, or to be rid of what is done.
//!
//! The new file has the old one's number and the next generation, is made certain under a name that
//! recovery ignores, and then takes its place. It deliberately keeps the order and the numbers of
//! records. Invariant: at any moment, one whole file with every live record of the segment exists.

use std::io;

use super::AppendError;
use super::{
    Acked, Dir, Disk, Record, SPARSE_PART, Segment, Spool,
    segment::{self, PARTIAL_ENDING, scan},
};
use crate::publish::disk::read_whole;

/// Bytes that are kept of what was damaged.
const CORRUPT_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Files that are kept of what was damaged.
const CORRUPT_FILES_MAX: usize = 256;

impl<D: Disk> Spool<D> {
    /// Writes poisoned segments anew, if there are any; nothing is accepted before that.
    pub(super) fn mend(&mut self) -> Result<(), AppendError> {
        while let Some(number) = self.poisoned.last().copied() {
            if let Err(error) = self.rewrite(number) {
                return Err(self.refuse(&error));
            }
            self.poisoned.retain(|poisoned| *poisoned != number);
        }
        self.broken = None;
        Ok(())
    }

    /// Writes sealed segments anew of which most records are done, while the spool is full of them:
    /// one message that waits for long must not hold a whole segment.
    pub(super) fn squeeze(&mut self) {
        let active = self.active.is_some().then(|| self.segments.back()).flatten();
        let active = active.map(|segment| segment.name.number);
        let sparse = |segment: &&Segment| {
            let is_sparse = segment.n_live.saturating_mul(SPARSE_PART) < segment.n_records;
            is_sparse && Some(segment.name.number) != active
        };
        let numbers: Vec<u64> =
            self.segments.iter().filter(sparse).map(|segment| segment.name.number).collect();
        for number in numbers {
            if self.rewrite(number).is_err() {
                return;
            }
        }
    }

    /// Writes a segment anew with the records that are not done.
    pub(super) fn rewrite(&mut self, number: u64) -> io::Result<()> {
        let position = self.segments.iter().position(|segment| segment.name.number == number);
        let Some(index) = position else { return Ok(()) };
        if self.active.is_some() && index + 1 == self.segments.len() {
            self.sync_active()?;
            self.seal();
        }
        let Some(old) = self.segments.get(index).cloned() else { return Ok(()) };
        let file = self.disk.open(Dir::Root, &old.name.to_string())?;
        let mut bytes = read_whole(&mut self.disk, &file, old.end)?;
        bytes.truncate(usize::try_from(old.end).unwrap_or(usize::MAX));
        let mut records = Vec::new();
        // What is older than the segment's first was no record of it when it was opened either.
        let before = old.first_seq.saturating_sub(1);
        let scanned = scan(&bytes, old.name.salt, before, |record, _| records.push(record));
        self.give_up_missing(&old, &records);
        // What is done may be left out only once that is certain.
        let retired = self.log.retire(&mut self.disk, &self.acked, &self.ids, old.last_seq);
        let may_forget = retired.is_ok();
        let salt = self.random.u64(..);
        let name = old.name.renewed(salt).ok_or_else(|| io::Error::other("written too often"))?;
        let mut new = Segment { name, n_live: 0, n_records: 0, end: 0, size: 0, ..old.clone() };
        let mut out = Vec::new();
        for record in &records {
            let is_done = self.acked.contains(record.seq);
            if !is_done || !may_forget {
                record.encode(name.salt, &mut out);
                new.n_records += 1;
                new.n_live += u64::from(!is_done);
            }
        }
        self.keep_damaged(&old.name, &bytes, &scanned.damaged);
        if new.n_records > 0 {
            new.end = out.len() as u64;
            new.size = new.end;
            self.replace(&new, &out)?;
        }
        // An old generation that stays is removed by the next recovery.
        let is_gone = self.disk.remove(Dir::Root, &old.name.to_string()).is_ok();
        self.poisoned.retain(|poisoned| *poisoned != number);
        if self.reader.as_ref().is_some_and(|(known, _)| *known == old.name) {
            self.reader = None;
        }
        if self.cursor.number == number {
            self.cursor.offset = 0;
        }
        if new.n_records > 0 {
            self.segments[index] = new;
        } else if is_gone {
            self.segments.remove(index);
        } else {
            self.segments[index].n_live = 0;
        }
        Ok(())
    }

    /// Numbers of a segment that no record of it has any more wait for nobody.
    fn give_up_missing(&mut self, segment: &Segment, records: &[Record]) {
        let mut missing = Acked::default();
        let mut expected = segment.first_seq;
        let found = records.iter().map(|record| record.seq).chain([segment.last_seq + 1]);
        for seq in found {
            missing.insert_range(expected, seq - 1);
            expected = seq + 1;
        }
        if missing.last().is_none() {
            return;
        }
        // Whoever sends one of them again must not be told that it is there; those that are done
        // stay known.
        let acked = &self.acked;
        self.ids.forget_lost(|seq| missing.contains(seq) && !acked.contains(seq));
        missing.ranges().for_each(|(first, last)| self.acked.insert_range(first, last));
    }

    /// Makes a segment certain, and gives it its name.
    fn replace(&mut self, new: &Segment, bytes: &[u8]) -> io::Result<()> {
        let name = new.name.to_string();
        let partial = format!("{name}{PARTIAL_ENDING}");
        let file = self.disk.create(Dir::Root, &partial, new.size)?;
        let placed = self
            .disk
            .write_at(&file, 0, bytes)
            .and_then(|()| self.disk.sync(&file))
            .and_then(|()| self.disk.rename((Dir::Root, &partial), (Dir::Root, &name)))
            .and_then(|()| self.disk.sync_dir(Dir::Root));
        if placed.is_err() {
            let _ = self.disk.remove(Dir::Root, &partial);
            let _ = self.disk.remove(Dir::Root, &name);
        }
        placed
    }

    /// Keeps what was damaged for whoever wants to look, as long as there is room.
    pub(super) fn keep_damaged(
        &mut self,
        name: &segment::Name,
        bytes: &[u8],
        damaged: &[std::ops::Range<usize>],
    ) {
        for place in damaged {
            let Ok(kept) = self.disk.list(Dir::Corrupt) else { return };
            let text = format!("{name}.{:08x}", place.start);
            let is_room = kept.len() < CORRUPT_FILES_MAX && self.damaged_bytes < CORRUPT_BYTES_MAX;
            if !is_room || kept.contains(&text) {
                continue;
            }
            self.damaged_bytes += place.len() as u64;
            // Nothing depends on it.
            if let Ok(file) = self.disk.create(Dir::Corrupt, &text, 0) {
                let _ = self.disk.write_at(&file, 0, &bytes[place.clone()]);
            }
        }
    }
}
