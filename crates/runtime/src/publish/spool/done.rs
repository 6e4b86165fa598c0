//! What is done: acknowledgements, and the segments that can go because of them.
//!
//! It deliberately forgets nothing by itself. Invariant: a segment is removed only once the
//! acknowledgements of all its records, and the ids worth knowing, are certain.

use std::io;

use super::{Dir, Disk, Spool};

impl<D: Disk> Spool<D> {
    /// A record was delivered. Certain after [`Spool::sync_acks`].
    pub fn ack(&mut self, seq: u64) {
        if seq >= self.next_seq || !self.acked.insert(seq) {
            return;
        }
        self.log.add(seq);
        let index = self.segments.partition_point(|segment| segment.last_seq < seq);
        if let Some(segment) = self.segments.get_mut(index)
            && segment.first_seq <= seq
        {
            segment.n_live = segment.n_live.saturating_sub(1);
        }
    }

    /// Hands acknowledgements to the kernel, so that they survive this process.
    ///
    /// # Errors
    /// When the disk is full or fails; then records may be delivered again after a restart.
    pub fn write_acks(&mut self) -> io::Result<()> {
        self.log.write(&mut self.disk, &self.acked, &self.ids)
    }

    /// Makes acknowledgements certain.
    ///
    /// # Errors
    /// When the disk is full or fails.
    pub fn sync_acks(&mut self) -> io::Result<()> {
        self.log.sync(&mut self.disk, &self.acked, &self.ids)
    }

    /// Removes segments of which every record is done.
    pub fn compact(&mut self) {
        let last = self.segments.len().saturating_sub(usize::from(self.active.is_some()));
        let done = self.segments.range(..last).filter(|segment| segment.n_live == 0);
        let Some(up_to) = done.map(|segment| segment.last_seq).max() else { return };
        if self.log.retire(&mut self.disk, &self.acked, &self.ids, up_to).is_err() {
            return;
        }
        let mut index = 0;
        while let Some(segment) = self.segments.get(index) {
            let is_active = self.active.is_some() && index + 1 == self.segments.len();
            let is_done = segment.n_live == 0 && !is_active;
            // What cannot be removed is tried again.
            if is_done && self.disk.remove(Dir::Root, &segment.name.to_string()).is_ok() {
                let gone = self.segments.remove(index);
                self.poisoned
                    .retain(|number| gone.as_ref().is_none_or(|s| s.name.number != *number));
            } else {
                index += 1;
            }
        }
    }
}
