//! Names of segments, and reading one that nobody vouches for.
//!
//! A segment's name holds its number, how often it was written anew, and its salt, so that no
//! header can be damaged. It deliberately does no I/O. Invariant: [`scan`] takes any bytes, finds
//! every whole record in them, and gives them in ascending order.

use std::ops::Range;

use super::record::{ALIGNMENT, Decoded, Record, decode};

/// What a segment is called, without its directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// Segments are read in this order.
    pub number: u64,
    /// Of one number, the highest generation counts.
    pub generation: u32,
    /// Seeds the checksums.
    pub salt: u64,
}

/// The largest number of a segment; a file with a larger one is not ours.
pub const NUMBER_MAX: u64 = 1 << 48;
/// How often a segment may be written anew.
const GENERATION_MAX: u32 = 1 << 30;
const ENDING: &str = "seg";
/// What is being written; whatever is found of it after a crash is no loss.
pub const PARTIAL_ENDING: &str = ".partial";

impl Name {
    /// Reads a file's name; none when it is not a segment's.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let [number, generation, salt] =
            [(parts.next()?, 16), (parts.next()?, 8), (parts.next()?, 16)].map(|(part, width)| {
                let is_hex = part.len() == width && part.bytes().all(|b| b.is_ascii_hexdigit());
                is_hex.then(|| u64::from_str_radix(part, 16).ok()).flatten()
            });
        if parts.next() != Some(ENDING) || parts.next().is_some() {
            return None;
        }
        let number = number.filter(|number| *number <= NUMBER_MAX)?;
        let generation =
            u32::try_from(generation?).ok().filter(|count| *count <= GENERATION_MAX)?;
        Some(Self { number, generation, salt: salt? })
    }

    /// The next generation; none after the last.
    #[must_use]
    pub fn renewed(self, salt: u64) -> Option<Self> {
        let generation = self.generation + 1;
        (generation <= GENERATION_MAX).then_some(Self { generation, salt, ..self })
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { number, generation, salt } = self;
        write!(f, "{number:016x}.{generation:08x}.{salt:016x}.{ENDING}")
    }
}

/// What a scan found besides records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scanned {
    /// Where the last record ends.
    pub end: usize,
    /// Places that hold neither records nor zeros.
    pub damaged: Vec<Range<usize>>,
}

/// Finds every record whose number is above `last_seq`, in ascending order.
pub fn scan(
    bytes: &[u8],
    salt: u64,
    mut last_seq: u64,
    mut found: impl FnMut(Record, Range<usize>),
) -> Scanned {
    let mut scanned = Scanned::default();
    let mut at = 0;
    while at < bytes.len() {
        let decoded = decode(&bytes[at..], salt);
        if let Decoded::Record(record, length) = decoded
            && record.seq > last_seq
        {
            last_seq = record.seq;
            found(*record, at..at + length);
            at += length;
            scanned.end = at;
            continue;
        }
        let next = next_record(bytes, at + ALIGNMENT, salt, last_seq);
        let hole = at..next.unwrap_or(bytes.len());
        if let Some(last) = bytes[hole.clone()].iter().rposition(|byte| *byte != 0) {
            scanned.damaged.push(at..at + last + 1);
        }
        at = hole.end;
    }
    scanned
}

/// Where the next record begins, at or after `at`.
fn next_record(bytes: &[u8], at: usize, salt: u64, last_seq: u64) -> Option<usize> {
    let mut at = at;
    while at < bytes.len() {
        // Most of a segment that was not filled is zeros.
        if bytes[at..].first_chunk::<64>() == Some(&[0; 64]) {
            at += 64 - ALIGNMENT;
        } else if let Decoded::Record(record, _) = decode(&bytes[at..], salt)
            && record.seq > last_seq
        {
            return Some(at);
        }
        at += ALIGNMENT;
    }
    None
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::publish::spool::record::Message;

    fn segment(count: u64, salt: u64) -> (Vec<u8>, Vec<Range<usize>>) {
        let (mut bytes, mut places) = (Vec::new(), Vec::new());
        for seq in 1..=count {
            let body = Bytes::from(vec![u8::try_from(seq).unwrap(); (seq * 7 % 50) as usize]);
            let message = Message { topic: "t".into(), body, ..Message::default() };
            let start = bytes.len();
            Record::new(message, seq, seq).encode(salt, &mut bytes);
            places.push(start..bytes.len());
        }
        (bytes, places)
    }

    fn seqs(bytes: &[u8], salt: u64) -> Vec<u64> {
        let mut seqs = Vec::new();
        scan(bytes, salt, 0, |record, _| seqs.push(record.seq));
        seqs
    }

    #[test]
    fn names_are_read_back_and_others_are_not_ours() {
        let name = Name { number: 17, generation: 2, salt: u64::MAX };
        assert_eq!(Name::parse(&name.to_string()), Some(name));
        let names =
            ["", "lock", "a.b.c.seg", "0000000000000001.00000000.0000000000000001.seg.partial"];
        for text in names {
            assert_eq!(Name::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn damage_costs_only_what_it_touches(
            count in 1..20u64,
            salt: u64,
            damage in prop::collection::vec((any::<prop::sample::Index>(), 1..=255u8), 0..4),
        ) {
            let (mut bytes, places) = segment(count, salt);
            let mut touched = Vec::new();
            for (index, flip) in damage {
                let at = index.index(bytes.len());
                bytes[at] ^= flip;
                touched.push(at);
            }
            bytes.resize(bytes.len() + 200, 0);
            let found = seqs(&bytes, salt);
            for (index, place) in places.iter().enumerate() {
                let is_whole = !touched.iter().any(|at| place.contains(at));
                let seq = index as u64 + 1;
                prop_assert!(!is_whole || found.contains(&seq), "{seq} is lost");
            }
            prop_assert!(found.windows(2).all(|pair| pair[0] < pair[1]));
        }

        #[test]
        fn a_torn_tail_leaves_what_was_whole(
            count in 1..20u64, salt: u64, cut: prop::sample::Index
        ) {
            let (bytes, places) = segment(count, salt);
            let cut = cut.index(bytes.len());
            let whole = places.iter().filter(|place| place.end <= cut).count();
            prop_assert_eq!(seqs(&bytes[..cut], salt).len(), whole);
        }
    }
}
