//! The file that remembers which records are done, and the ids of those that are gone.
//!
//! Entries of [`ENTRY_BYTES`] are appended; each is a fact that stays true, so that after a crash
//! the facts of all files that are there are simply added up, and a damaged entry costs a repeated
//! delivery at most. When a file is full, a new one begins with what is still worth knowing. It
//! deliberately decides nothing about segments. Invariant: an old file is removed only once the new
//! one is certain.

use std::io;

use super::{
    acked::Acked,
    known_ids::{IdHash, KnownIds},
    record::{SEQ_MAX, array},
};
use crate::publish::disk::{Dir, Disk, read_whole};

/// Bytes of one entry: `crc u32 | kind u32 | a u64 | b u64 | c u64`.
const ENTRY_BYTES: usize = 32;
/// A file is written anew when it is full and this many times what it began with.
const GROWTH_MAX: u64 = 4;
/// More of a file is not read.
const FILE_BYTES_LIMIT: u64 = 64 * 1024 * 1024;
const KIND_RANGE: u32 = 1;
const KIND_ID: u32 = 2;
const PREFIX: &str = "acks-";
/// A file with a larger number is not ours.
const GENERATION_MAX: u64 = 1 << 60;

/// The open file and what it does not hold yet.
#[derive(Debug)]
pub(super) struct AckLog<F> {
    file: Option<F>,
    generation: u64,
    /// Where the next entry goes.
    end: u64,
    /// Length that the file began with.
    base: u64,
    /// What is not in the file yet: kind and values.
    waiting: Vec<(u32, [u64; 3])>,
    is_synced: bool,
    /// Ids up to this number are in the file.
    ids_up_to: u64,
    /// Bytes of a file, unless there is more to say.
    file_bytes: u64,
}

/// What the files of the last life say.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// Records that are done.
    pub(super) acked: Acked,
    /// Ids of records that are gone, oldest first.
    pub(super) ids: Vec<(IdHash, u64)>,
    generation: u64,
}

impl Facts {
    /// Reads all files; one that cannot be read says nothing.
    pub(super) fn read<D: Disk>(disk: &mut D, names: &[String]) -> Self {
        let mut facts = Self::default();
        for name in names {
            let Some(generation) = parse_name(name) else { continue };
            facts.generation = facts.generation.max(generation);
            let file = disk.open(Dir::Root, name);
            let bytes = file.and_then(|file| read_whole(disk, &file, FILE_BYTES_LIMIT));
            facts.add(&bytes.unwrap_or_default());
        }
        facts.ids.sort_by_key(|(_, seq)| *seq);
        facts.ids.dedup();
        facts
    }

    /// Adds the entries of one file.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        for entry in bytes.chunks_exact(ENTRY_BYTES) {
            if u32::from_le_bytes(array(entry, 0)) != crc32c::crc32c(&entry[4..]) {
                continue;
            }
            let [a, b, c] = [8, 16, 24].map(|at| u64::from_le_bytes(array(entry, at)));
            match u32::from_le_bytes(array(entry, 4)) {
                KIND_RANGE if b <= SEQ_MAX => self.acked.insert_range(a, b),
                KIND_ID if c <= SEQ_MAX => self.ids.push((u128::from(a) << 64 | u128::from(b), c)),
                _ => {}
            }
        }
    }
}

impl<F> AckLog<F> {
    /// A log after the files of `facts`; nothing is written before [`AckLog::renew`].
    pub(super) fn new(facts: &Facts, file_bytes: u64) -> Self {
        Self {
            file: None,
            generation: facts.generation,
            end: 0,
            base: 0,
            waiting: Vec::new(),
            is_synced: true,
            ids_up_to: facts.ids.last().map_or(0, |(_, seq)| *seq),
            file_bytes,
        }
    }

    /// A record is done.
    pub(super) fn add(&mut self, seq: u64) {
        match self.waiting.last_mut() {
            Some((KIND_RANGE, [_, last, _])) if *last + 1 == seq => *last = seq,
            _ => self.waiting.push((KIND_RANGE, [seq, seq, 0])),
        }
        self.is_synced = false;
    }

    /// Bytes on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.end.max(self.file_bytes)
    }

    /// Writes what waits, so that it survives this process.
    ///
    /// # Errors
    /// When the disk is full or fails; then it still waits.
    pub(super) fn write<D: Disk<File = F>>(
        &mut self,
        disk: &mut D,
        acked: &Acked,
        ids: &KnownIds,
    ) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let is_long = self.end > self.file_bytes.max(self.base * GROWTH_MAX);
        let Some(file) = self.file.as_ref().filter(|_| !is_long) else {
            return self.renew(disk, acked, ids);
        };
        let mut bytes = Vec::with_capacity(self.waiting.len() * ENTRY_BYTES);
        for (kind, values) in &self.waiting {
            entry(&mut bytes, *kind, *values);
        }
        if disk.write_at(file, self.end, &bytes).is_err() {
            return self.renew(disk, acked, ids);
        }
        self.end += bytes.len() as u64;
        self.waiting.clear();
        Ok(())
    }

    /// Makes everything certain that was added.
    ///
    /// # Errors
    /// When the disk is full or fails; then nothing may be removed yet.
    pub(super) fn sync<D: Disk<File = F>>(
        &mut self,
        disk: &mut D,
        acked: &Acked,
        ids: &KnownIds,
    ) -> io::Result<()> {
        if self.is_synced {
            return Ok(());
        }
        self.write(disk, acked, ids)?;
        if !self.is_synced {
            let synced = self.file.as_ref().map(|file| disk.sync(file));
            match synced {
                Some(Ok(())) => self.is_synced = true,
                // What an earlier write said is uncertain too: say everything again.
                Some(Err(_)) | None => return self.renew(disk, acked, ids),
            }
        }
        Ok(())
    }

    /// Remembers the ids of records up to a number, whose segments are about to go.
    ///
    /// # Errors
    /// As for [`AckLog::sync`].
    pub(super) fn retire<D: Disk<File = F>>(
        &mut self,
        disk: &mut D,
        acked: &Acked,
        ids: &KnownIds,
        up_to: u64,
    ) -> io::Result<()> {
        for (hash, seq) in ids.retiring(self.ids_up_to, up_to) {
            self.waiting.push((KIND_ID, [high(hash), low(hash), seq]));
            self.is_synced = false;
        }
        self.ids_up_to = self.ids_up_to.max(up_to);
        self.sync(disk, acked, ids)
    }

    /// Begins a new file with everything worth knowing, and removes the old ones.
    ///
    /// # Errors
    /// When the disk is full or fails; then the old files stay, and the next write tries again.
    pub(super) fn renew<D: Disk<File = F>>(
        &mut self,
        disk: &mut D,
        acked: &Acked,
        ids: &KnownIds,
    ) -> io::Result<()> {
        self.file = None;
        self.is_synced = false;
        self.generation += 1;
        let mut bytes = Vec::new();
        for (first, last) in acked.ranges() {
            entry(&mut bytes, KIND_RANGE, [first, last, 0]);
        }
        for (hash, seq) in ids.retiring(0, self.ids_up_to) {
            entry(&mut bytes, KIND_ID, [high(hash), low(hash), seq]);
        }
        let name = file_name(self.generation);
        let length = bytes.len() as u64;
        let file = disk.create(Dir::Root, &name, self.file_bytes.max(length))?;
        let written = disk
            .write_at(&file, 0, &bytes)
            .and_then(|()| disk.sync(&file))
            .and_then(|()| disk.sync_dir(Dir::Root));
        if let Err(error) = written {
            // It may hold half of the facts, which are all true.
            let _ = disk.remove(Dir::Root, &name);
            return Err(error);
        }
        for old in disk.list(Dir::Root).unwrap_or_default() {
            if parse_name(&old).is_some_and(|generation| generation < self.generation) {
                // What stays says nothing wrong, and the next renewal tries again.
                let _ = disk.remove(Dir::Root, &old);
            }
        }
        self.file = Some(file);
        (self.end, self.base) = (length, length);
        self.waiting.clear();
        self.is_synced = true;
        Ok(())
    }
}

fn entry(bytes: &mut Vec<u8>, kind: u32, values: [u64; 3]) {
    let start = bytes.len();
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&kind.to_le_bytes());
    for value in values {
        bytes.extend_from_slice(&value.to_le_bytes());
    }
    let crc = crc32c::crc32c(&bytes[start + 4..]);
    bytes[start..start + 4].copy_from_slice(&crc.to_le_bytes());
}

fn high(hash: IdHash) -> u64 {
    u64::try_from(hash >> 64).expect("64 bits are left")
}

fn low(hash: IdHash) -> u64 {
    u64::try_from(hash & u128::from(u64::MAX)).expect("64 bits are left")
}

fn file_name(generation: u64) -> String {
    format!("{PREFIX}{generation:016x}")
}

fn parse_name(text: &str) -> Option<u64> {
    let digits = text.strip_prefix(PREFIX).filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok().filter(|generation| *generation <= GENERATION_MAX)
}
