//! Opening a spool, whatever state it was left in.
//!
//! Reads every segment, cuts torn tails, steps over damage, and begins a new file of
//! acknowledgements. It deliberately repairs nothing in place. Invariant: it succeeds whenever the
//! directory can be listed: a file that cannot be used is set aside, counted and named.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
};

use super::{
    AckLog, Cursor, Dir, Disk, KnownIds, Limits, Segment, Spool,
    ack_log::Facts,
    ages::Ages,
    known_ids,
    segment::{self, PARTIAL_ENDING, scan},
};
use crate::publish::disk::read_whole;

/// More of one segment is not read.
const SEGMENT_BYTES_LIMIT: u64 = 64 * 1024 * 1024;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Records that wait.
    pub pending: u64,
    /// Places that held neither records nor zeros: a torn tail, or damage.
    pub damaged: u64,
    /// Their bytes.
    pub damaged_bytes: u64,
    /// Files that could not be read at all, and why.
    pub unreadable: Vec<String>,
}

impl<D: Disk> Spool<D> {
    /// Opens a spool. `seed` is random.
    ///
    /// # Errors
    /// When the directory cannot be listed.
    pub fn open(mut disk: D, limits: Limits, seed: u64) -> io::Result<(Self, Recovery)> {
        let names = disk.list(Dir::Root)?;
        let facts = Facts::read(&mut disk, &names);
        let mut ids = KnownIds::default();
        // An id without a record counts only when the record is known to be done.
        let done = facts.ids.iter().filter(|(_, seq)| facts.acked.contains(*seq));
        done.for_each(|(hash, seq)| ids.insert(*hash, *seq));
        let mut spool = Self {
            log: AckLog::new(&facts, limits.log()),
            disk,
            limits,
            random: fastrand::Rng::with_seed(seed),
            segments: VecDeque::new(),
            active: None,
            acked: facts.acked,
            ids,
            ages: Ages::default(),
            next_seq: 1,
            next_number: 1,
            cursor: Cursor::default(),
            reader: None,
            poisoned: Vec::new(),
            broken: None,
            is_full: false,
            n_dead: 0,
            dead_bytes: 0,
            damaged_bytes: 0,
        };
        let mut recovery = Recovery::default();
        for name in spool.newest_generations(&names) {
            spool.next_number = spool.next_number.max(name.number + 1);
            if let Err(error) = spool.recover_segment(name, &mut recovery) {
                recovery.unreadable.push(format!("{name}: {error}"));
                let text = name.to_string();
                let _ = spool.disk.rename((Dir::Root, &text), (Dir::Corrupt, &text));
            }
        }
        spool.count_on();
        spool.count_dead();
        // Without room the old files stay, and the next write tries again.
        let renewed = spool.log.renew(&mut spool.disk, &spool.acked, &spool.ids);
        if renewed.is_ok() {
            spool.compact();
        }
        recovery.pending = spool.segments.iter().map(|segment| segment.n_live).sum();
        Ok((spool, recovery))
    }

    /// The segments that count, in order; what they replaced and what was never finished goes.
    fn newest_generations(&mut self, names: &[String]) -> Vec<segment::Name> {
        let mut newest: BTreeMap<u64, segment::Name> = BTreeMap::new();
        let mut replaced = Vec::new();
        for text in names {
            if text.ends_with(PARTIAL_ENDING) {
                // It is ignored as long as it stays.
                let _ = self.disk.remove(Dir::Root, text);
            }
            let Some(name) = segment::Name::parse(text) else { continue };
            let older = match newest.get_mut(&name.number) {
                Some(known) if known.generation > name.generation => Some(name),
                Some(known) => Some(std::mem::replace(known, name)),
                None => newest.insert(name.number, name),
            };
            replaced.extend(older);
        }
        for name in replaced {
            let _ = self.disk.remove(Dir::Root, &name.to_string());
        }
        newest.into_values().collect()
    }

    fn recover_segment(&mut self, name: segment::Name, recovery: &mut Recovery) -> io::Result<()> {
        let text = name.to_string();
        let file = self.disk.open(Dir::Root, &text)?;
        let bytes = read_whole(&mut self.disk, &file, SEGMENT_BYTES_LIMIT)?;
        let before = self.segments.back().map_or(0, |segment| segment.last_seq);
        let size = bytes.len() as u64;
        let mut segment =
            Segment { name, first_seq: 0, last_seq: 0, n_live: 0, n_records: 0, end: 0, size };
        let (acked, ids, ages) = (&mut self.acked, &mut self.ids, &mut self.ages);
        let mut expected = before + 1;
        let scanned = scan(&bytes, name.salt, before, |record, _| {
            // Numbers that no record has wait for nobody: they were lost, or given up.
            acked.insert_range(expected, record.seq - 1);
            expected = record.seq + 1;
            if segment.n_records == 0 {
                segment.first_seq = record.seq;
            }
            segment.last_seq = record.seq;
            segment.n_records += 1;
            segment.n_live += u64::from(!acked.contains(record.seq));
            ages.accepted(record.seq, record.at_us);
            let hash = known_ids::hash(&record.id);
            if ids.get(hash).is_none() {
                ids.insert(hash, record.seq);
            }
        });
        recovery.damaged += scanned.damaged.len() as u64;
        let damaged = scanned.damaged.iter().map(|place| place.len() as u64);
        recovery.damaged_bytes += damaged.sum::<u64>();
        self.keep_damaged(&name, &bytes, &scanned.damaged);
        if segment.n_records == 0 {
            // A torn one is kept in `corrupt`.
            return self.disk.remove(Dir::Root, &text);
        }
        segment.end = scanned.end as u64;
        if segment.end < segment.size && self.disk.truncate(&file, segment.end).is_ok() {
            segment.size = segment.end;
        }
        // What was read may be known to the kernel alone.
        if self.disk.sync(&file).is_err() {
            self.poisoned.push(name.number);
        }
        self.segments.push_back(segment);
        Ok(())
    }

    /// Goes on after the last number that anybody knows of.
    fn count_on(&mut self) {
        let last = self.segments.back().map_or(0, |segment| segment.last_seq);
        let last = last.max(self.acked.last().unwrap_or(0));
        let first = self.segments.back().map_or(1, |segment| segment.last_seq + 1);
        self.acked.insert_range(first, last);
        self.next_seq = last + 1;
    }
}
