//! Reading what waits, from the segments as they are.
//!
//! It deliberately keeps no index: records are read in their order, and what is done is stepped
//! over. Invariant: a record is given once between two calls of [`Spool::rewind`], after all with
//! lower numbers.

use std::io;

use super::{
    Cursor, Dir, Disk, Segment, Spool,
    record::{self, Decoded, Record},
    segment,
};

/// How much is read at once.
const READ_BYTES: usize = 256 * 1024;

impl<D: Disk> Spool<D> {
    /// Reads records that wait, in their order, each once until [`Spool::rewind`].
    ///
    /// # Errors
    /// When the disk fails.
    pub fn read(&mut self, records_max: usize, bytes_max: usize) -> io::Result<Vec<Record>> {
        let mut found = Vec::new();
        let (mut bytes, mut want) = (0, READ_BYTES);
        while found.len() < records_max && bytes < bytes_max {
            let Some(segment) = self.next_to_read() else { break };
            let left = usize::try_from(segment.end - self.cursor.offset).unwrap_or(usize::MAX);
            let wanted = want.min(left);
            let chunk = self.read_chunk(segment.name, wanted)?;
            if chunk.len() < wanted {
                // Somebody cut the file, or the disk gave its end up.
                self.rewrite(segment.name.number)?;
                continue;
            }
            let mut at = 0;
            let stopped = loop {
                if found.len() == records_max || bytes >= bytes_max || at == chunk.len() {
                    break None;
                }
                match record::decode(&chunk[at..], segment.name.salt) {
                    Decoded::Record(record, length) => {
                        at += length;
                        if record.seq > self.cursor.seq && !self.acked.contains(record.seq) {
                            bytes += length;
                            self.cursor.seq = record.seq;
                            found.push(*record);
                        }
                    }
                    other => break Some(other),
                }
            };
            self.cursor.offset += at as u64;
            match stopped {
                None => want = READ_BYTES,
                Some(_) if at > 0 => {}
                // Larger than a chunk.
                Some(Decoded::Cut(length)) if chunk.len() < length && length <= left => {
                    want = length;
                }
                // Damaged since it was written: what is whole goes to a new file.
                Some(_) => self.rewrite(segment.name.number)?,
            }
        }
        Ok(found)
    }

    /// The segment that has something after the cursor.
    fn next_to_read(&mut self) -> Option<Segment> {
        let from = self.segments.partition_point(|s| s.name.number < self.cursor.number);
        let (number, offset) = (self.cursor.number, self.cursor.offset);
        let mut candidates = self.segments.range(from..);
        let segment = candidates.find(|segment| {
            let offset = if segment.name.number == number { offset } else { 0 };
            segment.n_live > 0 && offset < segment.end
        })?;
        let segment = segment.clone();
        if segment.name.number != number {
            self.cursor.number = segment.name.number;
            self.cursor.offset = 0;
        }
        Some(segment)
    }

    fn read_chunk(&mut self, name: segment::Name, length: usize) -> io::Result<Vec<u8>> {
        let file = match self.reader.take() {
            Some((known, file)) if known == name => file,
            _ => self.disk.open(Dir::Root, &name.to_string())?,
        };
        let mut chunk = vec![0; length];
        let count = self.disk.read_at(&file, self.cursor.offset, &mut chunk);
        self.reader = Some((name, file));
        chunk.truncate(count?);
        Ok(chunk)
    }

    /// Has [`Spool::read`] begin with the oldest record again.
    pub fn rewind(&mut self) {
        self.cursor = Cursor::default();
    }
}
