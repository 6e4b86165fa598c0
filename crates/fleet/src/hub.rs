//! Every line of every item of one platform: kept for a while, written to files, given to readers.
//!
//! ```text
//! child's pipe --push--> ring of the item --+--> Follower (terminal, `plimsoll logs --follow`)
//!                                           +--> files::record (<state>/logs/<item>.jsonl)
//! ```
//!
//! A reader holds a position in the rings, no queue of its own: memory is bounded by the rings
//! whatever the number of readers, and one that is too slow finds its lines gone, counts them, and
//! says so. It deliberately knows no terminal ([`render`] makes text) and redacts nothing: `run`
//! did. Invariant: `push` never waits for a reader or a disk, and every line kept is one JSON
//! object without a line break.

mod escape;
pub mod files;
mod follower;
pub mod render;
mod ring;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use contract::log_fields;
use jiff::Timestamp;
use serde_json::json;
use tokio::sync::watch;

pub use follower::{BATCH_LINES_MAX, Batch, Follower, Missed};
use ring::Ring;

/// How much of each item is kept in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Lines per item.
    pub ring_lines_max: usize,
    /// Bytes per item; the last line is kept even if it alone is longer.
    pub ring_bytes_max: usize,
    /// Longest line; the rest of a longer one is cut off.
    pub line_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            ring_lines_max: 5_000,
            ring_bytes_max: 2 * 1024 * 1024,
            // `run` has cut already at this length, and added fields of its own since.
            line_bytes_max: log_fields::LINE_BYTES_MAX + 64 * 1024,
        }
    }
}

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// The item's standard output; under `run`, its JSON lines.
    Stdout,
    /// The item's standard error.
    Stderr,
    /// Words of our own about the item.
    Platform,
}

/// One line of one item.
#[derive(Debug, Clone)]
pub struct Line {
    /// Position among all lines of the platform.
    pub seq: u64,
    /// Whose line it is.
    pub item: Arc<str>,
    /// Where it came from.
    pub stream: Stream,
    /// One JSON object, without the line break.
    pub bytes: Bytes,
}

/// All lines of a platform; clones are the same hub.
#[derive(Debug, Clone)]
pub struct Hub {
    rings: Arc<Mutex<Rings>>,
    wake: watch::Sender<()>,
}

#[derive(Debug)]
struct Rings {
    limits: Limits,
    by_item: BTreeMap<Arc<str>, Ring>,
    seq_next: u64,
    is_closed: bool,
}

impl Hub {
    /// An empty hub.
    pub fn new(limits: Limits) -> Self {
        let rings = Rings { limits, by_item: BTreeMap::new(), seq_next: 0, is_closed: false };
        Self { rings: Arc::new(Mutex::new(rings)), wake: watch::Sender::new(()) }
    }

    /// Takes one line, without its line break. Never waits for anyone.
    pub fn push(&self, item: &str, stream: Stream, text: impl AsRef<[u8]>) {
        let mut rings = lock(&self.rings);
        let bytes = as_json(item, stream, text.as_ref(), rings.limits.line_bytes_max);
        rings.push(item, stream, bytes);
        drop(rings);
        self.wake.send_replace(());
    }

    /// The last `n` lines of an item as a person reads them, oldest first, without our own words.
    pub fn tail(&self, item: &str, n: usize) -> Vec<String> {
        let mut lines: Vec<Bytes> = {
            let rings = lock(&self.rings);
            let ring = rings.by_item.get(item);
            let newest_first = ring.into_iter().flat_map(Ring::newest_first);
            let of_item = newest_first.filter(|line| line.stream != Stream::Platform);
            of_item.take(n).map(|line| line.bytes.clone()).collect()
        };
        lines.reverse();
        lines.iter().map(|line| render::message(line)).collect()
    }

    /// The last `tail` lines (of one item, or of all together), then all that follow.
    ///
    /// Nothing falls between the two: both are one position in the same rings.
    pub fn follow(&self, item: Option<&str>, tail: usize) -> Follower {
        Follower::new(Arc::clone(&self.rings), self.wake.subscribe(), item, tail)
    }

    /// Ends every follower once it has read what is there; later lines are ignored.
    pub fn close(&self) {
        lock(&self.rings).is_closed = true;
        self.wake.send_replace(());
    }
}

impl Default for Hub {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl Rings {
    fn push(&mut self, item: &str, stream: Stream, bytes: Bytes) {
        if self.is_closed {
            return;
        }
        let item = match self.by_item.get_key_value(item) {
            Some((known, _)) => Arc::clone(known),
            None => Arc::from(item),
        };
        let line = Line { seq: self.seq_next, item: Arc::clone(&item), stream, bytes };
        self.seq_next += 1;
        self.by_item.entry(item).or_default().push(line, &self.limits);
    }
}

/// A panic elsewhere leaves whole lines behind, so a poisoned lock is as good as any.
fn lock(rings: &Mutex<Rings>) -> MutexGuard<'_, Rings> {
    rings.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The line itself if it is a JSON object, otherwise an object that holds it.
fn as_json(item: &str, stream: Stream, text: &[u8], line_bytes_max: usize) -> Bytes {
    let text = text.trim_ascii_end();
    let is_whole = text.len() <= line_bytes_max;
    let is_object = text.first() == Some(&b'{')
        && serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok()
        && !text.contains(&b'\n');
    if is_whole && is_object && stream != Stream::Platform {
        return Bytes::copy_from_slice(text);
    }
    let kept = &text[..text.len().min(line_bytes_max)];
    let mut line = json!({
        log_fields::TS.name: format!("{:.6}", Timestamp::now()),
        log_fields::LEVEL.name: "info",
        log_fields::MSG.name: String::from_utf8_lossy(kept),
        log_fields::SERVICE.name: item,
        log_fields::STREAM.name: stream.as_str(),
    });
    if !is_whole {
        line[log_fields::TRUNCATED.name] = true.into();
    }
    Bytes::from(line.to_string())
}

impl Stream {
    /// The stream as the field `stream` of a line names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Platform => "plimsoll",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Hub {
        Hub::new(Limits { ring_lines_max: 3, ring_bytes_max: 1_000, line_bytes_max: 200 })
    }

    #[test]
    fn a_ring_forgets_its_oldest_lines() {
        let hub = small();
        for n in 0..5 {
            hub.push("api", Stream::Stdout, format!("line {n}"));
        }
        assert_eq!(hub.tail("api", 10), ["line 2", "line 3", "line 4"]);
        assert_eq!(hub.tail("api", 1), ["line 4"]);
        assert!(hub.tail("unknown", 10).is_empty());
    }

    #[test]
    fn bytes_bound_a_ring_too() {
        let hub =
            Hub::new(Limits { ring_lines_max: 100, ring_bytes_max: 500, line_bytes_max: 400 });
        for n in 0..10 {
            hub.push("api", Stream::Stdout, format!(r#"{{"msg":"{n}{}"}}"#, "x".repeat(200)));
        }
        assert_eq!(hub.tail("api", 100).len(), 2);
    }

    #[test]
    fn a_json_line_keeps_its_bytes_and_other_lines_become_json() {
        let text = br#"{ "msg" : "as it was", "n": 1.0 }"#;
        assert_eq!(&as_json("api", Stream::Stdout, text, 1_000)[..], text);
        for text in ["plain", "{broken", "{\"a\":1}\n{\"b\":2}", "[1]", "", "\u{1b}[0m"] {
            let line = as_json("api", Stream::Stderr, text.as_bytes(), 1_000);
            let object: serde_json::Value = serde_json::from_slice(&line).unwrap();
            assert_eq!(object["msg"], text);
            assert_eq!(object["stream"], "stderr");
        }
        assert!(
            serde_json::from_slice::<serde_json::Value>(&as_json(
                "api",
                Stream::Stdout,
                b"not utf-8 \xff",
                1_000
            ))
            .is_ok()
        );
    }

    #[test]
    fn a_long_line_is_cut_and_says_so() {
        let line = as_json("api", Stream::Stdout, &[b'x'; 500], 200);
        let object: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(object["truncated"], true);
        assert_eq!(object["msg"].as_str().unwrap().len(), 200);
    }

    #[test]
    fn a_tail_leaves_our_own_words_out() {
        let hub = small();
        hub.push("api", Stream::Stderr, "theirs");
        hub.push("api", Stream::Platform, "starting");
        assert_eq!(hub.tail("api", 5), ["theirs"]);
    }
}
