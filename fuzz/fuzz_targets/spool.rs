//! Whatever the files of a spool hold: it opens, ends every read, gives each record that was not
//! touched once and in order and no other, and takes new ones that survive the next start.
//!
//! The input says what is published, acknowledged and buried first, and then what happens to the
//! files: turned bits, cuts, any bytes in place of others, files that come and go, and, as nothing
//! random would find them, entries with any numbers and right checksums.
//!
//! `cargo +nightly fuzz run spool fuzz/corpus/spool fuzz/seeds/spool`

#![no_main]

mod spool_disk;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use runtime::publish::{
    Message, Record,
    disk::Dir,
    spool::{AppendError, Certainty, Limits, Spool, segment},
};
use spool_disk::{MemoryDisk, Place};

/// Small, so that an input fills several segments.
const LIMITS: Limits = Limits { segment: 512, total: 64 * 1024 };
/// Messages of one input.
const MESSAGES_MAX: usize = 24;
/// Things that happen to the files of one input.
const HARMS_MAX: usize = 8;
/// Bytes that one harm writes.
const BYTES_MAX: usize = 200;

/// The input, taken piece by piece; zeros once it is at its end.
struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    fn byte(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or(0)
    }

    fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, left) = self.0.split_at(count.min(self.0.len()));
        self.0 = left;
        taken
    }

    /// Below `end`, which is not zero.
    fn below(&mut self, end: usize) -> usize {
        usize::from(u16::from_le_bytes([self.byte(), self.byte()])) % end
    }

    /// Small numbers and the largest ones are the likely ones.
    fn number(&mut self) -> u64 {
        match self.byte() {
            small @ 0..=127 => u64::from(small),
            large @ 128..=191 => u64::MAX - u64::from(large - 128),
            _ => self.bytes(8).iter().fold(0, |number, byte| number << 8 | u64::from(*byte)),
        }
    }
}

fn message(number: usize, length: usize) -> Message {
    Message {
        topic: "t".into(),
        key: Some(Bytes::from_static(b"k")),
        id: Some(number.to_string()),
        headers: vec![("n".into(), Bytes::from(number.to_string()))],
        body: Bytes::from(vec![b'x'; length]),
    }
}

/// What a life left behind.
struct Left {
    /// Where each record that waits is: its file and its bytes there.
    waiting: BTreeMap<u64, (Place, Vec<u8>, usize)>,
    /// Everything that was ever accepted.
    accepted: BTreeMap<u64, Record>,
    /// Dead letters, and their bytes.
    dead: BTreeMap<u64, (Place, Vec<u8>)>,
}

/// A life that ended well.
fn live(disk: &MemoryDisk, choices: &mut Choices) -> Left {
    let (mut spool, _) = Spool::open(disk.clone(), LIMITS, 7).expect("it opens");
    let count = 1 + choices.below(MESSAGES_MAX);
    for number in 0..count {
        let length = usize::from(choices.byte());
        let outcome = spool.append(vec![message(number, length)], 1, Certainty::Synced);
        assert!(outcome[0].is_ok(), "{outcome:?}");
    }
    let all = spool.read(usize::MAX, usize::MAX).expect("nothing fails");
    assert_eq!(all.len(), count);
    let accepted: BTreeMap<_, _> = all.into_iter().map(|record| (record.seq, record)).collect();
    let (mut done, mut dead) = (BTreeSet::new(), BTreeMap::new());
    for seq in accepted.keys() {
        match choices.byte() % 8 {
            0..=2 => spool.ack(*seq),
            3 => {
                spool.bury(*seq, "no").expect("nothing fails");
                let place = (Dir::Dead, format!("{seq:016x}.dead"));
                dead.insert(*seq, (place.clone(), disk.content(&place).expect("just written")));
            }
            _ => continue,
        }
        done.insert(*seq);
    }
    spool.sync_acks().expect("nothing fails");
    drop(spool);
    let mut waiting = BTreeMap::new();
    for place in disk.places() {
        let Some(name) = segment::Name::parse(&place.1) else { continue };
        let content = disk.content(&place).unwrap_or_default();
        segment::scan(&content, name.salt, 0, |record, range| {
            if !done.contains(&record.seq) {
                let bytes = content[range.clone()].to_vec();
                waiting.insert(record.seq, (place.clone(), bytes, range.start));
            }
        });
    }
    assert_eq!(waiting.len() + done.len(), count);
    Left { waiting, accepted, dead }
}

/// What may happen to files without anybody's intent.
fn harm(disk: &MemoryDisk, choices: &mut Choices) {
    let places = disk.places();
    if places.is_empty() {
        return;
    }
    let place = &places[choices.below(places.len())];
    let mut content = disk.content(place).unwrap_or_default();
    let at = choices.below(content.len().max(1));
    match choices.byte() % 6 {
        0 if !content.is_empty() => content[at] ^= choices.byte(),
        1 => content.truncate(at),
        2 => {
            let count = choices.below(BYTES_MAX);
            let bytes = choices.bytes(count);
            content.resize(content.len().max(at + bytes.len()), 0);
            content[at..at + bytes.len()].copy_from_slice(bytes);
        }
        3 => {
            let count = choices.below(BYTES_MAX);
            content.extend_from_slice(choices.bytes(count));
        }
        4 => {
            let count = choices.below(BYTES_MAX);
            content = choices.bytes(count).to_vec();
        }
        _ => return disk.remove_now(place),
    }
    disk.put(place, content);
}

/// What only somebody who knows the format can do.
fn forge(disk: &MemoryDisk, choices: &mut Choices) {
    match choices.byte() % 3 {
        0 => {
            let name = segment::Name {
                number: choices.number(),
                generation: u32::try_from(choices.number()).unwrap_or(u32::MAX),
                salt: choices.number(),
            };
            let mut content = Vec::new();
            for number in 0..choices.below(4) {
                let record = Record::new(message(number, 10), choices.number(), choices.number());
                record.encode(name.salt, &mut content);
            }
            disk.put(&(Dir::Root, name.to_string()), content);
        }
        1 => {
            let mut content = Vec::new();
            for _ in 0..choices.below(5) {
                let mut entry = u32::from(choices.byte() % 4).to_le_bytes().to_vec();
                (0..3).for_each(|_| entry.extend_from_slice(&choices.number().to_le_bytes()));
                content.extend_from_slice(&crc32c::crc32c(&entry).to_le_bytes());
                content.extend_from_slice(&entry);
            }
            disk.put(&(Dir::Root, format!("acks-{:016x}", choices.number())), content);
        }
        _ => {
            let count = choices.below(40);
            let name = String::from_utf8_lossy(choices.bytes(count)).replace('/', "");
            let count = choices.below(BYTES_MAX);
            disk.put(&(Dir::Root, name), choices.bytes(count).to_vec());
        }
    }
}

/// What must hold of the files as they are now. With `is_forged` any record may be lost, and others
/// may have come.
fn check(disk: &MemoryDisk, left: &Left, is_forged: bool, choices: &mut Choices) {
    let is_whole = |(place, bytes, at): &(Place, Vec<u8>, usize)| {
        let content = disk.content(place).unwrap_or_default();
        content.get(*at..at + bytes.len()) == Some(bytes)
    };
    let whole: Vec<u64> =
        left.waiting.iter().filter(|(_, at)| is_whole(at)).map(|(seq, _)| *seq).collect();
    let is_kept = |(place, bytes): &(Place, Vec<u8>)| disk.content(place).as_ref() == Some(bytes);
    let kept: Vec<u64> =
        left.dead.iter().filter(|(_, at)| is_kept(at)).map(|(seq, _)| *seq).collect();
    let (mut spool, recovery) = Spool::open(disk.clone(), LIMITS, 8).expect("it opens");
    let letters = spool.dead_letters(0, usize::MAX).expect("one that is damaged hides no other");
    let letters: BTreeSet<u64> = letters.iter().map(|letter| letter.seq).collect();
    assert!(kept.iter().all(|seq| letters.contains(seq)), "{kept:?} of {letters:?}");
    let records = spool.read(usize::MAX, usize::MAX).expect("nothing fails");
    assert!(records.windows(2).all(|pair| pair[0].seq < pair[1].seq));
    assert_eq!(records.len() as u64, recovery.pending);
    let found: BTreeSet<u64> = records.iter().map(|record| record.seq).collect();
    if !is_forged {
        assert!(whole.iter().all(|seq| found.contains(seq)), "{whole:?} of {found:?}");
        for record in &records {
            assert_eq!(left.accepted.get(&record.seq), Some(record));
        }
    }
    // The files may go bad under a spool that is open, too.
    let n_harms = choices.below(3);
    (0..n_harms).for_each(|_| harm(disk, choices));
    spool.rewind();
    let again = spool.read(usize::MAX, usize::MAX).unwrap_or_default();
    assert!(again.iter().all(|record| found.contains(&record.seq)));
    let appended = spool.append(vec![message(1000, 30)], 1, Certainty::Synced).remove(0);
    let last = match appended {
        Ok(appended) => appended.seq,
        // Somebody forged the last number there is.
        Err(error) => return assert!(is_forged && error != AppendError::Full, "{error:?}"),
    };
    assert!(found.iter().all(|seq| *seq < last), "{last} was given before");
    found.iter().filter(|seq| **seq != last).for_each(|seq| spool.ack(*seq));
    spool.compact();
    spool.sync_acks().expect("nothing fails");
    drop(spool);
    let (mut spool, _) = Spool::open(disk.clone(), LIMITS, 9).expect("it opens");
    let found = spool.read(usize::MAX, usize::MAX).expect("nothing fails");
    let found: Vec<u64> = found.iter().map(|record| record.seq).collect();
    assert_eq!(found.last(), Some(&last));
    // Acknowledgements in a file that was taken away come again, and no others.
    assert!(found.len() == 1 || n_harms > 0, "{found:?}");
}

fuzz_target!(|input: &[u8]| {
    let mut choices = Choices(input);
    let disk = MemoryDisk::default();
    let left = live(&disk, &mut choices);
    let mut is_forged = false;
    for _ in 0..choices.below(HARMS_MAX) {
        if choices.byte() % 4 == 0 {
            is_forged = true;
            forge(&disk, &mut choices);
        } else {
            harm(&disk, &mut choices);
        }
    }
    check(&disk, &left, is_forged, &mut choices);
});
