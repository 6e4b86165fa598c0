//! Who did what: an append-only log whose lines vouch for each other.
//!
//! Each line is one JSON object that ends in the SHA-256 of everything before it, and holds the
//! hash of the line before: whoever changes, removes or inserts a line breaks the chain there
//! ([`verify`]). Records are written and synced by one thread, in groups. What is only noted
//! ([`Audit::record`]) never waits; what must not happen unrecorded ([`Audit::commit`]) waits until
//! its record is on the disk, and is not done when that fails. It deliberately removes no file:
//! rotated ones are the auditor's.
//!
//! Invariant: what is in the file is a chain, from its first line to its last, across rotations and
//! crashes; a record that could not be kept is told at once and counted in the next one that is.

mod chain;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::oneshot;

pub use chain::{Broken, Verified, verify};
pub use writer::{AuditError, FILE_BYTES_MAX};

/// Most records that wait to be written; more are counted and lost.
pub const QUEUE_MAX: usize = 4096;

/// How long [`Audit::commit`] waits for the disk.
pub const COMMIT_TIMEOUT: Duration = Duration::from_secs(5);

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

/// Why a record is not kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unkept {
    /// Too many wait already.
    #[error("{QUEUE_MAX} records wait for the disk already")]
    Full,
    /// It could not be written.
    #[error("it cannot be written: {0}")]
    Write(String),
    /// It was written, and the disk does not say that it is there.
    #[error("it cannot be synced: {0}")]
    Sync(String),
    /// The disk did not answer.
    #[error("the disk did not answer within {} s", COMMIT_TIMEOUT.as_secs())]
    Late,
}

/// What is told of the log, by whatever thread finds out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told<'a> {
    /// So many records are on the disk.
    Kept(u64),
    /// So many are lost.
    Lost(u64, &'a Unkept),
}

type Tell = Arc<dyn Fn(Told<'_>) + Send + Sync>;

/// Takes records. Cloning gives another handle to the same log.
#[derive(Debug, Clone, Default)]
pub struct Audit(Option<Arc<Open>>);

struct Open {
    /// Or why there is none that takes them.
    records: Result<SyncSender<writer::Record>, Unkept>,
    lost: Arc<AtomicU64>,
    tell: Tell,
    writer: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Open").field("lost", &self.lost).finish_non_exhaustive()
    }
}

/// Opens a log and leaves it: what cannot be kept is refused before anything runs.
///
/// # Errors
/// As for [`Audit::open`].
pub fn prepare(path: &Path, service: &str, instance: &str) -> Result<(), AuditError> {
    writer::Writer::open(path, service, instance, Arc::default()).map(drop)
}

impl Audit {
    /// Takes records and keeps none.
    #[must_use]
    pub fn off() -> Self {
        Self(None)
    }

    /// Appends to the log at `path`, which is made when it is not there. A line that a crash has
    /// left torn is cut off, and the cut is recorded. `tell` hears what becomes of records.
    ///
    /// # Errors
    /// When the file cannot be opened, or its last whole line is not of a chain.
    pub fn open(
        path: &Path,
        service: &str,
        instance: &str,
        tell: impl Fn(Told<'_>) + Send + Sync + 'static,
    ) -> Result<Self, AuditError> {
        let (lost, tell) = (Arc::new(AtomicU64::new(0)), Arc::new(tell) as Tell);
        let writer = writer::Writer::open(path, service, instance, Arc::clone(&lost))?
            .telling(Arc::clone(&tell));
        let (records, queue) = sync_channel(QUEUE_MAX);
        let writer = std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || writer.run(&queue))
            .map_err(|source| AuditError::Write { path: path.to_path_buf(), source })?;
        Ok(Self(Some(Arc::new(Open { records: Ok(records), lost, tell, writer: Some(writer) }))))
    }

    /// A log that could not be opened: each record is told as lost, and what must not happen
    /// without one does not.
    pub fn closed(why: &AuditError, tell: impl Fn(Told<'_>) + Send + Sync + 'static) -> Self {
        let records = Err(Unkept::Write(why.to_string()));
        let (lost, tell) = (Arc::new(AtomicU64::new(0)), Arc::new(tell) as Tell);
        Self(Some(Arc::new(Open { records, lost, tell, writer: None })))
    }

    /// Whether records are kept: what is dear to collect need not be otherwise.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Records what happened. Never waits.
    pub fn record(&self, entry: Entry) {
        if let Some(open) = &self.0 {
            // Told and counted already.
            let _ = open.send(writer::Record::now(entry, None));
        }
    }

    /// Records what is about to happen, and waits until that is on the disk.
    ///
    /// # Errors
    /// When it may not be there: then it must not happen.
    pub async fn commit(&self, entry: Entry) -> Result<(), Unkept> {
        let Some(open) = &self.0 else { return Ok(()) };
        let (done, answer) = oneshot::channel();
        open.send(writer::Record::now(entry, Some(done)))?;
        match tokio::time::timeout(COMMIT_TIMEOUT, answer).await {
            Ok(Ok(kept)) => kept,
            Ok(Err(_)) => Err(Unkept::Write("its thread is gone".to_owned())),
            Err(_) => Err(Unkept::Late),
        }
    }
}

impl Open {
    fn send(&self, record: writer::Record) -> Result<(), Unkept> {
        let sent = self.records.as_ref().map_err(Unkept::clone);
        let sent = sent.and_then(|it| it.try_send(record).map_err(|_| Unkept::Full));
        sent.inspect_err(|why| {
            self.lost.fetch_add(1, Ordering::Relaxed);
            (self.tell)(Told::Lost(1, why));
        })
    }
}

impl Drop for Open {
    /// Waits until what was recorded is on the disk.
    fn drop(&mut self) {
        self.records = Err(Unkept::Full);
        if let Some(writer) = self.writer.take() {
            let _written = writer.join();
        }
    }
}

#[cfg(test)]
mod tests;
