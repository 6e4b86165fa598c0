//! One reader of the hub: a position in each ring, and a bell.
//!
//! Invariant: lines arrive in the order of `seq`, each at most once; what a ring forgot before it
//! was read is counted per item and reported in the batch in which the gap is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use super::{Line, Rings, lock};

/// How many lines one batch holds at most.
pub const BATCH_LINES_MAX: usize = 256;

/// Reads the lines of one item, or of all.
#[derive(Debug)]
pub struct Follower {
    rings: Arc<Mutex<Rings>>,
    wake: watch::Receiver<()>,
    only: Option<String>,
    /// Where to read on; items that came later start at their first line.
    positions: BTreeMap<Arc<str>, u64>,
}

/// What came since the last batch.
#[derive(Debug, Default)]
pub struct Batch {
    /// In order, at most [`BATCH_LINES_MAX`].
    pub lines: Vec<Line>,
    /// What was forgotten before this reader came to read it.
    pub missed: Vec<Missed>,
}

/// Lines of one item that this reader did not get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missed {
    /// Whose lines.
    pub item: Arc<str>,
    /// How many.
    pub n_lines: u64,
}

impl Follower {
    pub(super) fn new(
        rings: Arc<Mutex<Rings>>,
        wake: watch::Receiver<()>,
        item: Option<&str>,
        tail: usize,
    ) -> Self {
        let only = item.map(str::to_owned);
        let positions = positions_of_tail(&lock(&rings), only.as_deref(), tail);
        Self { rings, wake, only, positions }
    }

    /// Waits for lines; `None` when the hub is closed and everything was read.
    ///
    /// Cancelling loses nothing: positions move only when a batch is returned.
    pub async fn next(&mut self) -> Option<Batch> {
        loop {
            self.wake.mark_unchanged();
            let (batch, is_closed) = self.read();
            if !batch.lines.is_empty() || !batch.missed.is_empty() {
                return Some(batch);
            }
            if is_closed || self.wake.changed().await.is_err() {
                return None;
            }
        }
    }

    /// What is there now; empty when nothing is.
    pub fn read_now(&mut self) -> Batch {
        self.read().0
    }

    fn read(&mut self) -> (Batch, bool) {
        let rings = lock(&self.rings);
        let mut batch = Batch::default();
        for (item, ring) in &rings.by_item {
            if self.only.as_deref().is_some_and(|only| only != &**item) {
                continue;
            }
            let position = self.positions.entry(Arc::clone(item)).or_insert(0);
            let n_lines = ring.first().saturating_sub(*position);
            if n_lines > 0 {
                batch.missed.push(Missed { item: Arc::clone(item), n_lines });
                *position = ring.first();
            }
            batch.lines.extend(ring.from(*position).take(BATCH_LINES_MAX).cloned());
        }
        batch.lines.sort_unstable_by_key(|line| line.seq);
        batch.lines.truncate(BATCH_LINES_MAX);
        for line in &batch.lines {
            if let Some(position) = self.positions.get_mut(&line.item) {
                *position += 1;
            }
        }
        (batch, rings.is_closed)
    }
}

/// Where to start so that the last `tail` lines are read first.
fn positions_of_tail(rings: &Rings, only: Option<&str>, tail: usize) -> BTreeMap<Arc<str>, u64> {
    let followed =
        || rings.by_item.iter().filter(|(item, _)| only.is_none_or(|only| only == &***item));
    let mut newest: Vec<u64> = followed()
        .flat_map(|(_, ring)| ring.newest_first().take(tail))
        .map(|line| line.seq)
        .collect();
    newest.sort_unstable();
    let start = newest.len().checked_sub(tail).and_then(|skipped| newest.get(skipped).copied());
    // Fewer lines than asked for: everything that is kept. A tail of none: only what comes.
    let start = start.unwrap_or(if tail == 0 { rings.seq_next } else { 0 });
    followed().map(|(item, ring)| (Arc::clone(item), ring.position_of(start))).collect()
}

#[cfg(test)]
mod tests {
    use crate::hub::{Hub, Limits, Stream};

    use super::*;

    fn hub() -> Hub {
        Hub::new(Limits { ring_lines_max: 4, ring_bytes_max: 100_000, line_bytes_max: 1_000 })
    }

    fn texts(batch: &Batch) -> Vec<String> {
        batch.lines.iter().map(|line| super::super::render::message(&line.bytes)).collect()
    }

    #[test]
    fn a_tail_of_all_items_is_the_newest_of_all_in_order() {
        let hub = hub();
        for (item, text) in [("a", "1"), ("b", "2"), ("a", "3"), ("b", "4"), ("a", "5")] {
            hub.push(item, Stream::Stdout, text);
        }
        assert_eq!(texts(&hub.follow(None, 3).read_now()), ["3", "4", "5"]);
        assert_eq!(texts(&hub.follow(Some("b"), 3).read_now()), ["2", "4"]);
        assert!(hub.follow(None, 0).read_now().lines.is_empty());
    }

    #[test]
    fn a_slow_reader_is_told_exactly_what_it_missed() {
        let hub = hub();
        let mut follower = hub.follow(None, 0);
        for n in 0..10 {
            hub.push("a", Stream::Stdout, n.to_string());
        }
        hub.push("b", Stream::Stdout, "whole");
        let batch = follower.read_now();
        assert_eq!(batch.missed, [Missed { item: "a".into(), n_lines: 6 }]);
        assert_eq!(texts(&batch), ["6", "7", "8", "9", "whole"]);
        assert!(follower.read_now().missed.is_empty());
    }

    #[test]
    fn lines_between_tail_and_follow_come_once() {
        let hub = hub();
        hub.push("a", Stream::Stdout, "before");
        let mut follower = hub.follow(None, 10);
        hub.push("a", Stream::Stdout, "after");
        hub.push("new", Stream::Stdout, "first of a new item");
        assert_eq!(texts(&follower.read_now()), ["before", "after", "first of a new item"]);
        assert!(follower.read_now().lines.is_empty());
    }

    #[tokio::test]
    async fn a_closed_hub_is_read_to_its_end() {
        let hub = hub();
        let mut follower = hub.follow(None, 0);
        hub.push("a", Stream::Stdout, "last words");
        hub.close();
        hub.push("a", Stream::Stdout, "too late");
        assert_eq!(texts(&follower.next().await.unwrap()), ["last words"]);
        assert!(follower.next().await.is_none());
    }
}
