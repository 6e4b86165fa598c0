//! The crash model: random work, random faults, power cuts, and what must hold afterwards.
//!
//! Each run is a function of its seed, which a failure names. Set `PLIMSOLL_CRASH_RUNS` for more of
//! them; `cargo xtask crash` does 100000. Invariant tested: no record is lost for which `append`
//! said yes, none comes that nobody appended, order within a key holds, and a spool always opens.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::*;
use crate::publish::disk::crash::{CrashDisk, Faults};

/// Runs of an ordinary test.
const RUNS: u64 = 2_000;
/// Steps of one run.
const STEPS: usize = 24;
const KEYS: usize = 3;
/// Small, so that segments and files of acknowledgements turn over all the time.
const LIMITS: Limits = Limits { segment: 1024, total: 12 * 1024 };

/// What a run knows.
struct Run {
    disk: CrashDisk,
    spool: Spool<CrashDisk>,
    random: fastrand::Rng,
    /// Every id that was ever appended, with its key.
    appended: BTreeMap<String, usize>,
    /// Accepted and durable, by number.
    durable: BTreeMap<u64, String>,
    /// Accepted while durability was not asked for.
    written: BTreeMap<u64, String>,
    /// Acknowledged or buried.
    done: BTreeSet<u64>,
    buried: BTreeSet<u64>,
    next_id: u64,
    n_failed_syncs: u64,
}

fn open(disk: &CrashDisk, seed: u64) -> Spool<CrashDisk> {
    Spool::open(disk.clone(), LIMITS, seed).expect("a spool always opens").0
}

impl Run {
    fn new(seed: u64) -> Self {
        let disk = CrashDisk::new(seed);
        let spool = open(&disk, seed);
        Self {
            disk,
            spool,
            random: fastrand::Rng::with_seed(seed ^ 0x5eed),
            appended: BTreeMap::new(),
            durable: BTreeMap::new(),
            written: BTreeMap::new(),
            done: BTreeSet::new(),
            buried: BTreeSet::new(),
            next_id: 0,
            n_failed_syncs: 0,
        }
    }

    fn step(&mut self) {
        match self.random.u8(..20) {
            0..=8 => self.append(),
            9..=12 => self.ack(),
            13 => self.bury(),
            14 => drop(self.spool.sync_acks()),
            15 => self.spool.compact(),
            16 => self.spool.squeeze(),
            17 => self.change_faults(),
            18 => self.restart(false),
            _ => self.restart(true),
        }
    }

    fn append(&mut self) {
        let count = self.random.usize(1..5);
        let mut messages = Vec::new();
        for _ in 0..count {
            let known = self.appended.len();
            // Now and then somebody tries again what may have been accepted.
            let id = if known > 0 && self.random.u8(..6) == 0 {
                let at = self.random.usize(..known);
                self.appended.keys().nth(at).cloned().unwrap_or_default()
            } else {
                self.next_id += 1;
                format!("{:06}", self.next_id)
            };
            let key = self.random.usize(..KEYS);
            let key = *self.appended.entry(id.clone()).or_insert(key);
            messages.push(Message {
                topic: "t".into(),
                key: Some(Bytes::from(key.to_string())),
                body: Bytes::from(vec![b'x'; self.random.usize(..120)]),
                id: Some(id),
                headers: Vec::new(),
            });
        }
        let ids: Vec<_> = messages.iter().filter_map(|message| message.id.clone()).collect();
        let certainty =
            if self.random.u8(..5) == 0 { Certainty::Written } else { Certainty::Synced };
        let outcome = self.spool.append(messages, 1, certainty);
        for (id, outcome) in ids.into_iter().zip(outcome) {
            let Ok(Appended { seq, is_duplicate }) = outcome else { continue };
            // A repetition is as durable as the first.
            match certainty {
                Certainty::Synced if !is_duplicate => drop(self.durable.insert(seq, id)),
                Certainty::Written if !is_duplicate => drop(self.written.insert(seq, id)),
                _ => {
                    let known = self.durable.get(&seq).or(self.written.get(&seq));
                    assert!(
                        known.is_none_or(|known| *known == id),
                        "{id} is no repetition of {known:?}"
                    );
                }
            }
        }
        self.forget_written();
        if self.random.u8(..8) == 0 && self.spool.sync().is_ok() && self.spool.is_synced() {
            self.forget_written();
            self.durable.append(&mut self.written);
        }
    }

    /// A sync that failed may have cost what was promised to be with the kernel alone.
    fn forget_written(&mut self) {
        let n_failed_syncs = self.disk.n_failed_syncs();
        if self.n_failed_syncs != n_failed_syncs {
            self.n_failed_syncs = n_failed_syncs;
            self.written.clear();
        }
    }

    fn ack(&mut self) {
        let Ok(records) = self.spool.read(self.random.usize(1..8), usize::MAX) else { return };
        self.check(&records);
        for record in records {
            if self.random.u8(..4) != 0 {
                self.done.insert(record.seq);
                self.spool.ack(record.seq);
            }
        }
        if self.random.bool() {
            let _ = self.spool.write_acks();
        }
    }

    fn bury(&mut self) {
        let waiting = self.durable.keys().find(|seq| !self.done.contains(seq)).copied();
        if let Some(seq) = waiting
            && self.spool.bury(seq, "poison").is_ok()
        {
            self.done.insert(seq);
            self.buried.insert(seq);
        }
    }

    fn change_faults(&mut self) {
        let faults = match self.random.u8(..4) {
            0 => Faults { sync: 300, ..Faults::default() },
            1 => Faults { write: 300, sync: 50, is_full: false },
            2 => Faults { is_full: true, ..Faults::default() },
            _ => Faults::default(),
        };
        self.disk.set_faults(faults);
    }

    /// The process ends; with it the power, or not.
    fn restart(&mut self, is_power_lost: bool) {
        if is_power_lost {
            self.disk.lose_power();
            // What was not certain may be gone, and its number given again.
            self.written.clear();
        }
        self.spool = open(&self.disk, self.random.u64(..));
        self.forget_written();
    }

    /// What was read must have been appended, in order.
    fn check(&self, records: &[Record]) {
        for record in records {
            let key = self.appended.get(&record.id);
            let key = key.unwrap_or_else(|| unreachable!("`{}` was never appended", record.id));
            assert_eq!(record.key.as_deref(), Some(key.to_string().as_bytes()), "another's key");
            if let Some(id) = self.durable.get(&record.seq) {
                assert_eq!(*id, record.id, "number {} belongs to another", record.seq);
            }
        }
        let seqs: Vec<u64> = records.iter().map(|record| record.seq).collect();
        assert!(seqs.windows(2).all(|pair| pair[0] < pair[1]), "out of order: {seqs:?}");
    }

    /// After all that: everything durable is there.
    fn finish(mut self) {
        self.disk.set_faults(Faults::default());
        if self.random.bool() {
            self.disk.lose_power();
        }
        self.spool = open(&self.disk, 1);
        self.spool.rewind();
        let records = self.spool.read(usize::MAX, usize::MAX).expect("the disk is well again");
        self.check(&records);
        let found: BTreeSet<u64> = records.iter().map(|record| record.seq).collect();
        for (seq, id) in &self.durable {
            let is_there = found.contains(seq) || self.done.contains(seq);
            assert!(is_there, "record {seq} (`{id}`) is lost");
        }
        let dead = self.spool.dead_letters(0, usize::MAX).expect("the disk is well again");
        let dead: BTreeSet<u64> = dead.iter().map(|letter| letter.seq).collect();
        for seq in &self.buried {
            assert!(dead.contains(seq), "dead letter {seq} is lost");
        }
        assert_eq!(self.spool.stats().pending, found.len() as u64);
        for seq in found {
            self.spool.ack(seq);
        }
        self.spool.compact();
        assert_eq!(self.spool.stats().pending, 0);
        let next = self.spool.last_seq() + 1;
        let message = Message { topic: "t".into(), id: Some("last".into()), ..Message::default() };
        let appended = self.spool.append(vec![message], 1, Certainty::Synced).remove(0);
        assert_eq!(appended, Ok(Appended { seq: next, is_duplicate: false }));
        assert!(self.durable.keys().all(|seq| *seq < next), "a number was given twice");
    }
}

#[test]
fn no_accepted_record_is_lost_whenever_it_crashes() {
    let variable = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let first: u64 = variable("PLIMSOLL_CRASH_SEED").unwrap_or(1);
    let runs: u64 = variable("PLIMSOLL_CRASH_RUNS").unwrap_or(RUNS);
    let n_threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for thread in 0..n_threads as u64 {
            scope.spawn(move || {
                for seed in (first + thread..first + runs).step_by(n_threads) {
                    let result = std::panic::catch_unwind(|| {
                        let mut run = Run::new(seed);
                        (0..STEPS).for_each(|_| run.step());
                        run.finish();
                    });
                    assert!(result.is_ok(), "PLIMSOLL_CRASH_SEED={seed} PLIMSOLL_CRASH_RUNS=1");
                }
            });
        }
    });
}
