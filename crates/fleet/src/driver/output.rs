//! Reads a child's output line by line into the hub.
//!
//! *Invariant: a line is at most [`LINE_BYTES_MAX`] long; what is longer comes in pieces, and
//! nothing is held back when the stream ends.*

use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::Child;
use tokio::task::JoinSet;

use crate::hub::{Hub, Stream};

/// The longest line that is passed on whole, bytes.
const LINE_BYTES_MAX: u64 = 256 * 1024;
/// How long the rest of the output is read after the process has ended: what it started may hold
/// the pipe open for ever.
const REST_LIMIT: Duration = Duration::from_millis(500);

/// The tasks that read one child's output.
#[derive(Debug)]
pub(super) struct Pumps(JoinSet<()>);

impl Pumps {
    /// Takes both streams of a child.
    pub(super) fn start(child: &mut Child, name: &str, hub: &Hub) -> Self {
        let mut pumps = JoinSet::new();
        if let Some(stdout) = child.stdout.take() {
            pumps.spawn(pump(stdout, name.to_owned(), Stream::Stdout, hub.clone()));
        }
        if let Some(stderr) = child.stderr.take() {
            pumps.spawn(pump(stderr, name.to_owned(), Stream::Stderr, hub.clone()));
        }
        Self(pumps)
    }

    /// Reads what is left, for a bounded time.
    pub(super) async fn finish(mut self) {
        let all = async { while self.0.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(REST_LIMIT, all).await;
    }
}

async fn pump(stream: impl AsyncRead + Unpin, name: String, which: Stream, hub: Hub) {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let text = line.strip_suffix(b"\n").unwrap_or(&line);
                let text = text.strip_suffix(b"\r").unwrap_or(text);
                hub.push(&name, which, text);
            }
        }
    }
}
