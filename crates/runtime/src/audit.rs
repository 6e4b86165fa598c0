//! Who did what: an append-only log whose lines vouch for each other.
//!
//! Each line is one JSON object that ends in the SHA-256 of everything before it, and holds the
//! hash of the line before: whoever changes, removes or inserts a line breaks the chain there
//! ([`verify`]). Records are written and synced by one thread, in groups; [`Audit::record`] never
//! waits. It deliberately removes no file: rotated ones are the auditor's.
//!
//! Invariant: what is in the file is a chain, from its first line to its last, across rotations and
//! crashes; a record that found no room is counted in the next one.

mod chain;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use serde_json::{Map, Value};

pub use chain::{Broken, Verified, verify};
pub use writer::{AuditError, FILE_BYTES_MAX};

/// Most records that wait to be written; more are counted and lost.
pub const QUEUE_MAX: usize = 4096;

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// What was done, such as `drain` or `secret.read`.
    pub action: &'static str,
    /// By whom: an address, a signal, `engine`.
    pub actor: String,
    /// To what.
    pub target: String,
    /// What came of it.
    pub outcome: Outcome,
    /// Anything else; never a secret.
    pub details: Map<String, Value>,
}

/// What came of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Allowed,
    /// It was refused.
    Denied,
    /// It was tried.
    Failed,
}

impl Outcome {
    /// The outcome as one word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Failed => "failed",
        }
    }
}

/// Takes records. Cloning gives another handle to the same log.
#[derive(Debug, Clone, Default)]
pub struct Audit(Option<Arc<Open>>);

#[derive(Debug)]
struct Open {
    records: Option<SyncSender<writer::Record>>,
    lost: Arc<AtomicU64>,
    writer: Option<JoinHandle<()>>,
}

impl Audit {
    /// Takes records and keeps none.
    #[must_use]
    pub fn off() -> Self {
        Self(None)
    }

    /// Appends to the log at `path`, which is made when it is not there. A line that a crash has
    /// left torn is cut off, and the cut is recorded.
    ///
    /// # Errors
    /// When the file cannot be opened, or its last whole line is not of a chain.
    pub fn open(path: &Path, service: &str, instance: &str) -> Result<Self, AuditError> {
        let lost = Arc::new(AtomicU64::new(0));
        let writer = writer::Writer::open(path, service, instance, Arc::clone(&lost))?;
        let (records, queue) = sync_channel(QUEUE_MAX);
        let writer = std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || writer.run(&queue))
            .map_err(|source| AuditError::Write { path: path.to_path_buf(), source })?;
        Ok(Self(Some(Arc::new(Open { records: Some(records), lost, writer: Some(writer) }))))
    }

    /// Whether records are kept: what is dear to collect need not be otherwise.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Records what happened. Never waits.
    pub fn record(&self, entry: Entry) {
        let Some(open) = &self.0 else { return };
        let Some(records) = &open.records else { return };
        if records.try_send(writer::Record::now(entry)).is_err() {
            open.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Open {
    /// Waits until what was recorded is on the disk.
    fn drop(&mut self) {
        self.records = None;
        if let Some(writer) = self.writer.take() {
            let _written = writer.join();
        }
    }
}

#[cfg(test)]
mod tests;
