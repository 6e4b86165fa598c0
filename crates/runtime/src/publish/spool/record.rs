//! One message, and the bytes that hold it in a segment.
//!
//! `len u32 | crc32c u32 | seq u64 | at u64 | tag u16 | flags u16 | n_headers u16 | id u16 | topic
//! u16 | key u32 | body u32 |` and then topic, key, id, headers and body, padded to [`ALIGNMENT`].
//! The checksum covers the length and is seeded with the segment's salt, so that bytes of another
//! file, or a record that somebody wrote into a body, never count as a record. It deliberately does
//! no I/O. Invariant: [`decode`] takes any bytes and allocates no more than them.

use bytes::Bytes;

use crate::publish::settings::{
    BODY_BYTES_LIMIT, HEADERS_BYTES_MAX, HEADERS_MAX, ID_BYTES_MAX, KEY_BYTES_MAX, TOPIC_BYTES_MAX,
};

/// Records start at multiples of this, which makes it cheap to find the next one after damage.
pub const ALIGNMENT: usize = 8;
/// The largest number of a record: far away, and the next one can still be counted.
pub const SEQ_MAX: u64 = 1 << 60;
/// Bytes of a record before its texts.
pub const HEAD_BYTES: usize = 42;
/// Bytes before what the checksum covers.
const PREFIX_BYTES: usize = 8;
/// Longest reason that a dead letter keeps.
pub const REASON_BYTES_MAX: usize = 1024;
/// Bytes that a dead letter adds: its reason, as one more header.
const REASON_HEADER_BYTES: usize = REASON_BYTES_MAX + 64;
/// The largest record.
pub const RECORD_BYTES_MAX: usize = HEAD_BYTES
    + TOPIC_BYTES_MAX
    + KEY_BYTES_MAX
    + ID_BYTES_MAX
    + HEADERS_BYTES_MAX
    + HEADERS_MAX * HEADER_HEAD_BYTES
    + REASON_HEADER_BYTES
    + BODY_BYTES_LIMIT
    + ALIGNMENT;
/// Bytes before each header: its two lengths.
const HEADER_HEAD_BYTES: usize = 6;
const FLAG_HAS_KEY: u16 = 1;

/// What somebody wants published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// A declared topic.
    pub topic: String,
    /// Messages of one key keep their order.
    pub key: Option<Bytes>,
    /// By which a repeated publish is recognised; else one is made.
    pub id: Option<String>,
    /// Names in lower case: `content-type`, `traceparent`, `ce-type`, ...
    pub headers: Vec<(String, Bytes)>,
    /// The content.
    pub body: Bytes,
}

/// A message that the spool holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place in the order of everything accepted; never given twice.
    pub seq: u64,
    /// When it was accepted, in microseconds since 1970.
    pub at_us: u64,
    /// A declared topic.
    pub topic: String,
    /// Messages of one key keep their order.
    pub key: Option<Bytes>,
    /// By which a consumer recognises a repetition.
    pub id: String,
    /// Names in lower case.
    pub headers: Vec<(String, Bytes)>,
    /// The content.
    pub body: Bytes,
}

impl Record {
    /// The record of a message; one without an id gets an empty one.
    pub fn new(message: Message, seq: u64, at_us: u64) -> Self {
        let Message { topic, key, id, headers, body } = message;
        Self { seq, at_us, topic, key, id: id.unwrap_or_default(), headers, body }
    }

    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&Bytes> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// Bytes of the record in a segment.
    pub fn encoded_len(&self) -> usize {
        let headers = self.headers.iter();
        let headers: usize =
            headers.map(|(name, value)| HEADER_HEAD_BYTES + name.len() + value.len()).sum();
        let key = self.key.as_ref().map_or(0, Bytes::len);
        let texts = self.topic.len() + key + self.id.len() + headers + self.body.len();
        (HEAD_BYTES + texts).next_multiple_of(ALIGNMENT)
    }

    /// Appends the record's bytes. Lengths were checked when the message was accepted.
    pub fn encode(&self, salt: u64, out: &mut Vec<u8>) {
        let start = out.len();
        let total = self.encoded_len();
        let key = self.key.as_deref().unwrap_or_default();
        let flags = if self.key.is_some() { FLAG_HAS_KEY } else { 0 };
        out.reserve(total);
        out.extend_from_slice(&u32_of(total - PREFIX_BYTES).to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.seq.to_le_bytes());
        out.extend_from_slice(&self.at_us.to_le_bytes());
        out.extend_from_slice(&tag(salt).to_le_bytes());
        out.extend_from_slice(&flags.to_le_bytes());
        for length in [self.headers.len(), self.id.len(), self.topic.len()] {
            out.extend_from_slice(&u16_of(length).to_le_bytes());
        }
        for length in [key.len(), self.body.len()] {
            out.extend_from_slice(&u32_of(length).to_le_bytes());
        }
        out.extend_from_slice(self.topic.as_bytes());
        out.extend_from_slice(key);
        out.extend_from_slice(self.id.as_bytes());
        for (name, value) in &self.headers {
            out.extend_from_slice(&u16_of(name.len()).to_le_bytes());
            out.extend_from_slice(&u32_of(value.len()).to_le_bytes());
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(value);
        }
        out.extend_from_slice(&self.body);
        out.resize(start + total, 0);
        let crc = checksum(salt, &out[start..start + 4], &out[start + PREFIX_BYTES..]);
        out[start + 4..start + PREFIX_BYTES].copy_from_slice(&crc.to_le_bytes());
    }
}

/// What a place in a segment holds.
#[derive(Debug, PartialEq, Eq)]
pub enum Decoded {
    /// A record, and the bytes that it takes.
    Record(Box<Record>, usize),
    /// Nothing was written here yet.
    Blank,
    /// A record may begin here, which takes so many bytes.
    Cut(usize),
    /// No record begins here.
    Damaged,
}

/// Reads what begins at the start of `bytes`.
#[must_use]
pub fn decode(bytes: &[u8], salt: u64) -> Decoded {
    let Some(total) = plausible_len(bytes, salt) else {
        let is_blank = bytes.iter().take(PREFIX_BYTES).all(|byte| *byte == 0);
        return if is_blank { Decoded::Blank } else { Decoded::Damaged };
    };
    let Some(whole) = bytes.get(..total) else { return Decoded::Cut(total) };
    let crc = u32::from_le_bytes(array(whole, 4));
    if crc != checksum(salt, &whole[..4], &whole[PREFIX_BYTES..]) {
        return Decoded::Damaged;
    }
    match texts(whole).filter(|record| record.seq <= SEQ_MAX) {
        Some(record) => Decoded::Record(Box::new(record), total),
        None => Decoded::Damaged,
    }
}

/// The length of the record that may begin here: cheap, so that a search can ask everywhere.
fn plausible_len(bytes: &[u8], salt: u64) -> Option<usize> {
    let head = bytes.get(..HEAD_BYTES)?;
    let total = u32::from_le_bytes(array(head, 0)) as usize + PREFIX_BYTES;
    let is_plausible = (HEAD_BYTES..=RECORD_BYTES_MAX).contains(&total)
        && total.is_multiple_of(ALIGNMENT)
        && u16::from_le_bytes(array(head, 24)) == tag(salt);
    is_plausible.then_some(total)
}

/// The fields of a record whose checksum is right; still nothing is believed.
fn texts(whole: &[u8]) -> Option<Record> {
    let short = |at| usize::from(u16::from_le_bytes(array(whole, at)));
    let long = |at| u32::from_le_bytes(array(whole, at)) as usize;
    let (n_headers, id, topic) = (short(28), short(30), short(32));
    let (key, body) = (long(34), long(38));
    let has_key = u16::from_le_bytes(array(whole, 26)) & FLAG_HAS_KEY != 0;
    let mut rest = &whole[HEAD_BYTES..];
    let topic = text(take(&mut rest, topic)?)?;
    let key = take(&mut rest, key)?;
    let key = has_key.then(|| Bytes::copy_from_slice(key));
    let id = text(take(&mut rest, id)?)?;
    if n_headers > HEADERS_MAX + 1 {
        return None;
    }
    let mut headers = Vec::with_capacity(n_headers);
    for _ in 0..n_headers {
        let lengths = take(&mut rest, HEADER_HEAD_BYTES)?;
        let name = usize::from(u16::from_le_bytes(array(lengths, 0)));
        let value = u32::from_le_bytes(array(lengths, 2)) as usize;
        let name = text(take(&mut rest, name)?)?;
        headers.push((name, Bytes::copy_from_slice(take(&mut rest, value)?)));
    }
    let body = Bytes::copy_from_slice(take(&mut rest, body)?);
    if rest.len() >= ALIGNMENT {
        return None;
    }
    let seq = u64::from_le_bytes(array(whole, 8));
    let at_us = u64::from_le_bytes(array(whole, 16));
    Some(Record { seq, at_us, topic, key, id, headers, body })
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

fn text(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).ok().map(str::to_owned)
}

/// `N` bytes from `at`; the caller has checked that they are there.
pub(super) fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

/// The checksum of two pieces, under a salt.
pub(super) fn checksum(salt: u64, first: &[u8], second: &[u8]) -> u32 {
    let seeded = crc32c::crc32c(&salt.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(seeded, first), second)
}

/// What every record of a segment has, and bytes that are not a record of it hardly ever have.
fn tag(salt: u64) -> u16 {
    let mixed = salt ^ (salt >> 32);
    // The low bits of what is random are random; never zero, which is what is blank.
    u16::try_from(mixed & 0xfffe).unwrap_or_default() | 1
}

fn u32_of(length: usize) -> u32 {
    u32::try_from(length).expect("a record is far below 4 GiB")
}

fn u16_of(length: usize) -> u16 {
    u16::try_from(length).expect("texts are checked when a message is accepted")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record() -> Record {
        Record {
            seq: 7,
            at_us: 1_700_000_000_000_000,
            topic: "orders".into(),
            key: Some(Bytes::from_static(b"k\0\xff")),
            id: "018f".into(),
            headers: vec![("content-type".into(), Bytes::from_static(b"application/json"))],
            body: Bytes::from_static(b"{}"),
        }
    }

    fn bytes(record: &Record, salt: u64) -> Vec<u8> {
        let mut out = Vec::new();
        record.encode(salt, &mut out);
        out
    }

    #[test]
    fn what_is_written_is_read() {
        let mut record = record();
        for key in [None, Some(Bytes::new()), Some(Bytes::from_static(b"a"))] {
            record.key = key;
            let bytes = bytes(&record, 5);
            assert_eq!(bytes.len(), record.encoded_len());
            assert_eq!(decode(&bytes, 5), Decoded::Record(Box::new(record.clone()), bytes.len()));
        }
    }

    #[test]
    fn the_record_of_another_segment_is_none() {
        assert_eq!(decode(&bytes(&record(), 5), 6 << 20), Decoded::Damaged);
    }

    #[test]
    fn a_blank_place_is_blank_and_a_cut_one_is_cut() {
        assert_eq!(decode(&[0; 64], 5), Decoded::Blank);
        assert_eq!(decode(&[], 5), Decoded::Blank);
        let bytes = bytes(&record(), 5);
        assert_eq!(decode(&bytes[..bytes.len() - 1], 5), Decoded::Cut(bytes.len()));
    }

    proptest! {
        #[test]
        fn one_wrong_bit_is_seen(at in 0..96usize * 8, salt: u64) {
            let record = record();
            let mut bytes = bytes(&record, salt);
            let at = at % (bytes.len() * 8);
            bytes[at / 8] ^= 1 << (at % 8);
            prop_assert!(!matches!(decode(&bytes, salt), Decoded::Record(..)));
        }

        #[test]
        fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..256), salt: u64) {
            prop_assert!(!matches!(decode(&bytes, salt), Decoded::Record(..)));
        }
    }
}
