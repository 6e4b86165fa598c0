//! Writes lines to an output that may stop being read, and drops whole lines when it does.
//!
//! Only `--on-block drop` writes this way. It deliberately keeps nothing but the rest of the one
//! line that was being written, and that in memory: a pipe that is full cannot take it.
//!
//! When the engine is killed, lines that its journal does not call written are still in the app's
//! pipe, and the next engine writes or drops them. Of the batch that was being written (64 KiB, or
//! one line) the lines that got through come twice. The one line of which a part got through ends
//! there, and comes again if its batch does; with two outputs (`raw`), it is ended on the one that
//! was written last. Lines that were dropped and not yet told are not told.
//!
//! Invariant: while the engine lives no line is torn, and each is counted as written or as dropped.

use std::io;
use std::time::Duration;

use super::StreamCounters;
use super::journal::Output;

/// How long a reader may be busy before lines are dropped.
const PATIENCE: Duration = Duration::from_millis(20);

/// What is owed to an output.
#[derive(Debug, Default)]
pub(super) struct Dropping {
    /// The rest of a line.
    owed: Vec<u8>,
    n_dropped: u64,
}

impl Dropping {
    /// Writes lines as far as they are read; whether the rest of one is owed.
    pub(super) fn write(
        &mut self,
        output: &mut Output,
        batch: &[u8],
        counters: &StreamCounters,
    ) -> bool {
        if !self.settle(output) {
            self.drop_lines(batch, counters);
            return true;
        }
        let written = output.write_some(batch, PATIENCE).unwrap_or(0);
        let is_whole = written == 0 || batch[written - 1] == b'\n';
        let line_end = memchr::memchr(b'\n', &batch[written..]).map(|at| written + at + 1);
        let kept_to = if is_whole { written } else { line_end.unwrap_or(batch.len()) };
        self.owed.extend_from_slice(&batch[written..kept_to]);
        counters.lines.inc_by(lines_in(&batch[..kept_to]));
        self.drop_lines(&batch[kept_to..], counters);
        self.is_owing()
    }

    /// Whether nothing is owed any more.
    pub(super) fn settle(&mut self, output: &mut Output) -> bool {
        if !self.owed.is_empty() {
            match output.write_some(&self.owed, PATIENCE) {
                Ok(written) => drop(self.owed.drain(..written)),
                Err(_) => self.owed.clear(),
            }
        }
        self.owed.is_empty()
    }

    /// Whether something waits for the reader.
    pub(super) fn is_owing(&self) -> bool {
        !self.owed.is_empty()
    }

    /// How many lines were dropped, once lines are read again.
    pub(super) fn take_dropped(&mut self) -> Option<u64> {
        let is_over = self.n_dropped > 0 && self.owed.is_empty();
        is_over.then(|| std::mem::take(&mut self.n_dropped))
    }

    fn drop_lines(&mut self, lines: &[u8], counters: &StreamCounters) {
        let count = lines_in(lines);
        counters.dropped.inc_by(count);
        self.n_dropped += count;
    }
}

fn lines_in(batch: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', batch).count() as u64
}

impl Output {
    /// Writes as much of `bytes` as is read within `patience` each time.
    ///
    /// # Errors
    /// When nobody will ever read again.
    pub(super) fn write_some(&mut self, bytes: &[u8], patience: Duration) -> io::Result<usize> {
        let mut written = 0;
        while written < bytes.len() && self.can_take(patience) {
            // A pipe that takes anything takes a page without blocking, and so the end of a line
            // that was torn with a byte less.
            let end = bytes.len().min(written + PAGE_BYTES);
            self.write_all(&bytes[written..end])?;
            written = end;
        }
        Ok(written)
    }
}

const PAGE_BYTES: usize = 4096 - 1;
