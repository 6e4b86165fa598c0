//! The spool on a real directory.

use std::{path::Path, time::Duration};

use bytes::Bytes;

use super::*;
use crate::publish::disk::{
    crash::{CrashDisk, Faults},
    real::RealDisk,
};

const PATIENCE: Duration = Duration::from_secs(5);
const LIMITS: Limits = Limits { segment: 4 * 1024, total: 64 * 1024 };

fn open(path: &Path, limits: Limits) -> (Spool<RealDisk>, Recovery) {
    let disk = RealDisk::open(path, PATIENCE).expect("a directory");
    Spool::open(disk, limits, 7).expect("a spool")
}

fn message(id: &str, body: &str) -> Message {
    Message {
        topic: "orders".into(),
        key: Some(Bytes::from_static(b"k")),
        id: Some(id.into()),
        headers: vec![("content-type".into(), Bytes::from_static(b"text/plain"))],
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

fn append(spool: &mut Spool<RealDisk>, id: &str, body: &str) -> Result<Appended, AppendError> {
    spool.append(vec![message(id, body)], 1, Certainty::Synced).remove(0)
}

fn ids(spool: &mut Spool<RealDisk>) -> Vec<String> {
    let records = spool.read(1_000_000, usize::MAX).expect("readable");
    records.into_iter().map(|record| record.id).collect()
}

#[test]
fn what_was_accepted_is_read_in_order_and_once() {
    let directory = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(directory.path(), LIMITS);
    for id in ["a", "b", "c"] {
        append(&mut spool, id, "x").unwrap();
    }
    assert_eq!(spool.read(2, usize::MAX).unwrap().len(), 2);
    assert_eq!(ids(&mut spool), ["c"]);
    assert_eq!(ids(&mut spool), [""; 0]);
    spool.rewind();
    assert_eq!(ids(&mut spool), ["a", "b", "c"]);
}

#[test]
fn a_restart_goes_on_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(directory.path(), LIMITS);
    for id in 0..100 {
        append(&mut spool, &id.to_string(), &"x".repeat(200)).unwrap();
    }
    for seq in (1..=50).chain([52, 100]) {
        spool.ack(seq);
    }
    spool.sync_acks().unwrap();
    drop(spool);
    let (mut spool, recovery) = open(directory.path(), LIMITS);
    assert_eq!((recovery.pending, recovery.damaged), (48, 0));
    let left = ids(&mut spool);
    assert_eq!(left.len(), 48);
    assert_eq!((left[0].as_str(), left[1].as_str()), ("50", "52"));
    assert_eq!(append(&mut spool, "new", "x").unwrap().seq, 101);
}

#[test]
fn an_id_is_known_after_its_segment_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(directory.path(), LIMITS);
    let first = append(&mut spool, "first", "x").unwrap();
    for id in 0..60 {
        append(&mut spool, &id.to_string(), &"x".repeat(200)).unwrap();
    }
    (1..=61).for_each(|seq| spool.ack(seq));
    spool.compact();
    drop(spool);
    let (mut spool, _) = open(directory.path(), LIMITS);
    let again = append(&mut spool, "first", "x").unwrap();
    assert_eq!(again, Appended { seq: first.seq, is_duplicate: true });
    assert_eq!(append(&mut spool, "last", "x").unwrap().seq, 62);
}

#[test]
fn the_same_id_twice_in_a_batch_is_one_record() {
    let directory = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(directory.path(), LIMITS);
    let batch = vec![message("a", "1"), message("b", "2"), message("a", "3")];
    let outcome = spool.append(batch, 1, Certainty::Synced);
    assert_eq!(outcome[2], Ok(Appended { seq: 1, is_duplicate: true }));
    assert_eq!(ids(&mut spool), ["a", "b"]);
}

#[test]
fn a_full_spool_refuses_and_takes_again_after_acks() {
    let directory = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(directory.path(), LIMITS);
    let mut accepted = 0;
    while append(&mut spool, &accepted.to_string(), &"x".repeat(500)).is_ok() {
        accepted += 1;
    }
    assert!(accepted > 60, "{accepted}");
    assert!(spool.stats().is_full);
    assert!(spool.stats().bytes <= LIMITS.total);
    (1..=20).for_each(|seq| spool.ack(seq));
    assert!(append(&mut spool, "more", &"x".repeat(500)).is_ok());
    assert!(!spool.stats().is_full);
    assert_eq!(ids(&mut spool).len(), accepted - 20 + 1);
}

#[test]
fn one_record_that_waits_does_not_hold_a_whole_segment() {
    let directory = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(directory.path(), LIMITS);
    for id in 0..1000 {
        let appended = append(&mut spool, &id.to_string(), &"x".repeat(500)).unwrap();
        if appended.seq % 50 != 1 {
            spool.ack(appended.seq);
        }
    }
    let left: Vec<u64> = spool.read(1000, usize::MAX).unwrap().iter().map(|r| r.seq).collect();
    assert_eq!(left, (0..20).map(|n| n * 50 + 1).collect::<Vec<_>>());
}

#[test]
fn a_large_record_is_read_whole() {
    let directory = tempfile::tempdir().unwrap();
    let limits = Limits { segment: 2 << 20, total: 16 << 20 };
    let (mut spool, _) = open(directory.path(), limits);
    for id in ["a", "b", "c"] {
        append(&mut spool, id, &"x".repeat(1 << 20)).unwrap();
    }
    assert_eq!(ids(&mut spool), ["a", "b", "c"]);
}

#[test]
fn a_dead_letter_is_listed_retried_and_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(directory.path(), LIMITS);
    append(&mut spool, "a", "poison").unwrap();
    append(&mut spool, "b", "fine").unwrap();
    spool.bury(1, "too large").unwrap();
    drop(spool);
    let (mut spool, recovery) = open(directory.path(), LIMITS);
    assert_eq!((recovery.pending, spool.stats().dead), (1, 1));
    let letter = spool.dead_letters(0, 10).unwrap().remove(0);
    assert_eq!((letter.seq, letter.id.as_str(), letter.error.as_str()), (1, "a", "too large"));
    assert_eq!(spool.retry_dead(1, 2).unwrap().seq, 3);
    let again = spool.read(10, usize::MAX).unwrap();
    assert_eq!(again.iter().map(|r| r.seq).collect::<Vec<_>>(), [2, 3]);
    assert_eq!((again[1].id.as_str(), again[1].header("plimsoll-error")), ("a", None));
    spool.bury(3, "still too large").unwrap();
    spool.drop_dead(3).unwrap();
    assert!(spool.drop_dead(3).is_err());
    assert_eq!(spool.stats().dead, 0);
}

#[test]
fn a_damaged_dead_letter_hides_no_other_and_can_be_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(directory.path(), LIMITS);
    for (seq, id) in [(1, "a"), (2, "b")] {
        append(&mut spool, id, "poison").unwrap();
        spool.bury(seq, "too large").unwrap();
    }
    std::fs::write(directory.path().join("dlq/0000000000000001.dead"), "rot").unwrap();
    let letters = spool.dead_letters(0, 10).unwrap();
    let shown: Vec<_> = letters.iter().map(|letter| (letter.seq, letter.error.as_str())).collect();
    assert_eq!(shown, [(1, "dead letter 1 is damaged"), (2, "too large")]);
    assert!(spool.retry_dead(1, 2).is_err());
    spool.drop_dead(1).unwrap();
    assert_eq!(spool.dead_letters(0, 10).unwrap().len(), 1);
}

#[test]
fn a_failed_sync_stays_failed_until_everything_is_written_anew() {
    let disk = CrashDisk::new(5);
    let (mut spool, _) = Spool::open(disk.clone(), LIMITS, 7).unwrap();
    assert!(spool.append(vec![message("first", "x")], 1, Certainty::Synced)[0].is_ok());
    disk.set_faults(Faults { sync: 1000, ..Faults::default() });
    let outcome = spool.append(vec![message("a", "x")], 1, Certainty::Written);
    assert!(outcome[0].is_ok());
    for _ in 0..3 {
        assert!(spool.sync().is_err());
        assert!(!spool.is_synced());
    }
    disk.set_faults(Faults::default());
    spool.sync().unwrap();
    assert!(spool.is_synced());
}

#[test]
fn forged_numbers_end_in_a_refusal_and_no_number_is_given_twice() {
    let directory = tempfile::tempdir().unwrap();
    let name = segment::Name { number: segment::NUMBER_MAX, generation: 0, salt: 3 };
    let mut bytes = Vec::new();
    for seq in [SEQ_MAX, SEQ_MAX + 1, u64::MAX] {
        Record::new(message("forged", "x"), seq, 1).encode(name.salt, &mut bytes);
    }
    std::fs::write(directory.path().join(name.to_string()), bytes).unwrap();
    let (mut spool, recovery) = open(directory.path(), LIMITS);
    assert_eq!((recovery.pending, recovery.damaged), (1, 1));
    assert!(matches!(append(&mut spool, "b", "x"), Err(AppendError::Broken(_))));
}

#[test]
fn an_old_record_in_a_later_segment_gives_no_other_up() {
    let directory = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(directory.path(), LIMITS);
    for id in ["a", "b", "c"] {
        append(&mut spool, id, "x").unwrap();
    }
    drop(spool);
    let name = segment::Name { number: 2, generation: 0, salt: 3 };
    let mut bytes = Vec::new();
    for seq in [1, 9] {
        Record::new(message("later", "x"), seq, 1).encode(name.salt, &mut bytes);
    }
    std::fs::write(directory.path().join(name.to_string()), bytes).unwrap();
    let (mut spool, _) = open(directory.path(), LIMITS);
    let seqs: Vec<u64> = spool.read(10, usize::MAX).unwrap().iter().map(|r| r.seq).collect();
    assert_eq!(seqs, [1, 2, 3, 9]);
    seqs.iter().for_each(|seq| spool.ack(*seq));
    spool.sync_acks().unwrap();
    drop(spool);
    assert_eq!(open(directory.path(), LIMITS).1.pending, 0);
}

#[test]
fn a_second_engine_is_kept_out() {
    let directory = tempfile::tempdir().unwrap();
    let (_spool, _) = open(directory.path(), LIMITS);
    let error = RealDisk::open(directory.path(), Duration::ZERO).unwrap_err();
    assert_eq!(error.to_string(), "another process has this spool open");
}

#[test]
fn damage_of_any_byte_loses_no_other_record_and_never_stops_a_start() {
    let directory = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(directory.path(), LIMITS);
    for id in 0..40 {
        append(&mut spool, &id.to_string(), &"x".repeat(100)).unwrap();
    }
    drop(spool);
    let mut random = fastrand::Rng::with_seed(3);
    for _ in 0..50 {
        let copy = tempfile::tempdir().unwrap();
        let mut files = Vec::new();
        for entry in std::fs::read_dir(directory.path()).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                let to = copy.path().join(entry.file_name());
                std::fs::copy(entry.path(), &to).unwrap();
                files.push(to);
            }
        }
        files.sort();
        let file = &files[random.usize(..files.len())];
        let mut bytes = std::fs::read(file).unwrap();
        if !bytes.is_empty() {
            let at = random.usize(..bytes.len());
            if random.bool() { bytes.truncate(at) } else { bytes[at] ^= 1 << random.u8(..8) }
        }
        std::fs::write(file, &bytes).unwrap();
        let is_segment = file.extension().is_some_and(|ending| ending == "seg");
        let (mut spool, _) = open(copy.path(), LIMITS);
        let found = ids(&mut spool).len();
        assert!(is_segment && found >= 10 || found == 40, "{file:?}: {found}");
        assert!(append(&mut spool, "after", "x").is_ok());
        drop(spool);
        assert_eq!(open(copy.path(), LIMITS).1.pending, found as u64 + 1);
    }
}
