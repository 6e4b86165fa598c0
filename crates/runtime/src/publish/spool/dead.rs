//! Dead letters: messages that the broker refuses for good, one file each, until somebody decides.
//!
//! A file holds the record as a segment would, with the reason as a header. It deliberately sends
//! nothing. Invariant: a record leaves the spool only once its dead letter is certain, and a dead
//! letter goes only once its message is accepted again, or on request.

use std::io;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    AppendError, Appended, Certainty, Dir, Disk, Spool,
    record::{Decoded, Message, REASON_BYTES_MAX, RECORD_BYTES_MAX, Record, decode},
    segment::scan,
};
use crate::publish::disk::read_whole;

/// Most dead letters; then those who refuse a message have to wait.
const DEAD_MAX: u64 = 10_000;
/// Header of a dead letter that holds the reason.
const ERROR_HEADER: &str = "plimsoll-error";
/// Files of dead letters are alone, so that no salt tells them apart.
const SALT: u64 = 0;
const ENDING: &str = ".dead";
const PARTIAL_ENDING: &str = ".partial";

/// One dead letter, without its body.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Its number.
    pub seq: u64,
    /// When it was accepted, in microseconds since 1970.
    pub at_us: u64,
    /// Its topic.
    pub topic: String,
    /// Its id.
    pub id: String,
    /// Its key, as far as that is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Bytes of its body.
    pub bytes: u64,
    /// Why it is one.
    pub error: String,
}

impl<D: Disk> Spool<D> {
    /// Makes a record a dead letter, and acknowledges it.
    ///
    /// # Errors
    /// When there are too many, or the disk fails; then the record still waits.
    pub fn bury(&mut self, seq: u64, error: &str) -> io::Result<()> {
        let Some(mut record) = self.find(seq)? else { return Ok(()) };
        if self.n_dead >= DEAD_MAX {
            let words = format!("there are {DEAD_MAX} dead letters");
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, words));
        }
        let error = &error[..error.floor_char_boundary(REASON_BYTES_MAX)];
        record.headers.push((ERROR_HEADER.into(), Bytes::copy_from_slice(error.as_bytes())));
        let mut bytes = Vec::new();
        record.encode(SALT, &mut bytes);
        let name = file_name(seq);
        let partial = format!("{name}{PARTIAL_ENDING}");
        // Left over from a crash.
        let _ = self.disk.remove(Dir::Dead, &partial);
        let file = self.disk.create(Dir::Dead, &partial, 0)?;
        self.disk.write_at(&file, 0, &bytes)?;
        self.disk.sync(&file)?;
        self.disk.rename((Dir::Dead, &partial), (Dir::Dead, &name))?;
        self.disk.sync_dir(Dir::Dead)?;
        self.n_dead += 1;
        self.dead_bytes += bytes.len() as u64;
        self.ack(seq);
        // What cannot be written now comes a second time, as the same dead letter.
        let _ = self.write_acks();
        Ok(())
    }

    /// Up to `count` dead letters above a number, oldest first.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn dead_letters(&mut self, above: u64, count: usize) -> io::Result<Vec<DeadLetter>> {
        let mut seqs = self.dead_seqs()?;
        seqs.retain(|seq| *seq > above);
        seqs.truncate(count);
        let mut letters = Vec::with_capacity(seqs.len());
        for seq in seqs {
            letters.push(match self.exhume(seq) {
                Ok((record, error)) => DeadLetter {
                    seq,
                    at_us: record.at_us,
                    topic: record.topic,
                    id: record.id,
                    key: record.key.map(|key| String::from_utf8_lossy(&key).into_owned()),
                    bytes: record.body.len() as u64,
                    error,
                },
                // One that cannot be read hides no other, and can be dropped by its number.
                Err(error) => DeadLetter { seq, error: error.to_string(), ..DeadLetter::default() },
            });
        }
        Ok(letters)
    }

    /// Accepts a dead letter again, with its id and a new number.
    ///
    /// # Errors
    /// When there is none of that number, or no room.
    pub fn retry_dead(&mut self, seq: u64, now_us: u64) -> io::Result<Appended> {
        let (record, _) = self.exhume(seq)?;
        let Record { topic, key, id, headers, body, .. } = record;
        // Its id is known, but this is no repetition.
        self.ids.forget(super::known_ids::hash(&id));
        let message = Message { topic, key, id: Some(id), headers, body };
        let mut outcome = self.append(vec![message], now_us, Certainty::Synced);
        match outcome.pop().unwrap_or(Err(AppendError::Full)) {
            Ok(appended) => self.drop_dead(seq).map(|()| appended),
            Err(AppendError::Full) => Err(io::ErrorKind::StorageFull.into()),
            Err(AppendError::Broken(words)) => Err(io::Error::other(words)),
        }
    }

    /// Removes a dead letter for good.
    ///
    /// # Errors
    /// When there is none of that number, or the disk fails.
    pub fn drop_dead(&mut self, seq: u64) -> io::Result<()> {
        let name = file_name(seq);
        let file = self.disk.open(Dir::Dead, &name)?;
        let length = self.disk.len(&file)?;
        self.disk.remove(Dir::Dead, &name)?;
        self.disk.sync_dir(Dir::Dead)?;
        self.n_dead = self.n_dead.saturating_sub(1);
        self.dead_bytes = self.dead_bytes.saturating_sub(length);
        Ok(())
    }

    /// Counts what an earlier life left.
    pub(super) fn count_dead(&mut self) {
        for seq in self.dead_seqs().unwrap_or_default() {
            self.n_dead += 1;
            let length = self.disk.open(Dir::Dead, &file_name(seq));
            self.dead_bytes += length.and_then(|file| self.disk.len(&file)).unwrap_or(0);
        }
    }

    /// The numbers of all dead letters, ascending.
    fn dead_seqs(&mut self) -> io::Result<Vec<u64>> {
        let names = self.disk.list(Dir::Dead)?;
        let mut seqs: Vec<u64> = names.iter().filter_map(|name| parse_name(name)).collect();
        seqs.sort_unstable();
        Ok(seqs)
    }

    /// Reads a dead letter and its reason.
    fn exhume(&mut self, seq: u64) -> io::Result<(Record, String)> {
        let file = self.disk.open(Dir::Dead, &file_name(seq))?;
        let bytes = read_whole(&mut self.disk, &file, RECORD_BYTES_MAX as u64)?;
        let Decoded::Record(mut record, _) = decode(&bytes, SALT) else {
            let words = format!("dead letter {seq} is damaged");
            return Err(io::Error::new(io::ErrorKind::InvalidData, words));
        };
        let error = match record.headers.pop() {
            Some((name, value)) if name == ERROR_HEADER => String::from_utf8_lossy(&value).into(),
            other => {
                record.headers.extend(other);
                String::new()
            }
        };
        Ok((*record, error))
    }

    /// A record that waits, by its number.
    fn find(&mut self, seq: u64) -> io::Result<Option<Record>> {
        let index = self.segments.partition_point(|segment| segment.last_seq < seq);
        let Some(segment) = self.segments.get(index).cloned() else { return Ok(None) };
        if self.acked.contains(seq) {
            return Ok(None);
        }
        let file = self.disk.open(Dir::Root, &segment.name.to_string())?;
        let bytes = read_whole(&mut self.disk, &file, segment.end)?;
        let mut found = None;
        scan(&bytes, segment.name.salt, 0, |record, _| {
            if record.seq == seq {
                found = Some(record);
            }
        });
        Ok(found)
    }
}

fn file_name(seq: u64) -> String {
    format!("{seq:016x}{ENDING}")
}

fn parse_name(text: &str) -> Option<u64> {
    let digits = text.strip_suffix(ENDING).filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok()
}
