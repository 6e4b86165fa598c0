//! The last lines of one item, bounded by count and by bytes.
//!
//! Invariant: positions are counted from the item's first line ever, so that a reader can tell how
//! many it missed; `first + len` is the position of the next line.

use std::collections::VecDeque;

use super::{Limits, Line};

#[derive(Debug, Default)]
pub(super) struct Ring {
    lines: VecDeque<Line>,
    bytes: usize,
    first: u64,
}

impl Ring {
    pub(super) fn push(&mut self, line: Line, limits: &Limits) {
        self.bytes += line.bytes.len();
        self.lines.push_back(line);
        while self.lines.len() > limits.ring_lines_max.max(1)
            || (self.bytes > limits.ring_bytes_max && self.lines.len() > 1)
        {
            let gone = self.lines.pop_front().map_or(0, |line| line.bytes.len());
            self.bytes -= gone;
            self.first += 1;
        }
    }

    /// Position of the oldest line that is kept.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// The lines from a position on; from the oldest that is kept if that one is gone.
    pub(super) fn from(&self, position: u64) -> impl Iterator<Item = &Line> {
        let skipped = usize::try_from(position.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.lines.iter().skip(skipped)
    }

    pub(super) fn newest_first(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().rev()
    }

    /// Position of the first line whose place among all lines is `seq` or later.
    pub(super) fn position_of(&self, seq: u64) -> u64 {
        self.first + self.lines.partition_point(|line| line.seq < seq) as u64
    }
}
