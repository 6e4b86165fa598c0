//! The thread that writes records, and the files it writes.
//!
//! It deliberately goes on after a write or a sync that failed: what is not certain is taken back,
//! its records are told and counted as lost, and the next ones are tried. A sync that fails says
//! nothing of which pages are on the disk, and the next one may succeed without them: so everything
//! since the last good one is cut off and written again only as a count. Invariant: the file ends
//! in a whole line whenever a write has returned (or nothing more is written to it), and
//! `self.last` is the hash of that line.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;

use serde_json::{Map, Value, json};
use tokio::sync::oneshot;

use super::chain::{self, GENESIS, LINE_BYTES_MAX};
use super::{Entry, Outcome, QUEUE_MAX, Tell, Told, Unkept};

/// Bytes after which a file is put aside and a new one begun.
pub const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Most bytes of what a record holds besides its own fields.
const DETAILS_BYTES_MAX: usize = 16 * 1024;
/// Most bytes of an actor and of a target.
const NAME_BYTES_MAX: usize = 4 * 1024;

/// The log cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The file cannot be opened, read or written.
    #[error("cannot write the audit log `{path}`: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The last line is not of a chain.
    #[error(
        "the last line of the audit log `{path}` was changed\n\
         help: see where with `plimsoll audit verify`, keep the file, and give another one"
    )]
    Broken {
        /// The file.
        path: PathBuf,
    },
}

/// Who waits for a record, if anybody does.
type Waiter = Option<oneshot::Sender<Result<(), Unkept>>>;

/// An entry with its time.
#[derive(Debug)]
pub(super) struct Record {
    entry: Entry,
    time: jiff::Timestamp,
    waiter: Waiter,
}

impl Record {
    pub(super) fn now(entry: Entry, waiter: Waiter) -> Self {
        Self { entry, time: jiff::Timestamp::now(), waiter }
    }
}

/// Writes one log.
pub(super) struct Writer {
    path: PathBuf,
    file: File,
    n_bytes: u64,
    /// The hash of the last line.
    last: String,
    service: String,
    instance: String,
    lost: Arc<AtomicU64>,
    tell: Tell,
    bytes_max: u64,
    /// Bytes, and the last hash, of what is known to be on the disk.
    synced: (u64, String),
    /// Those of the records behind that.
    unsynced: Vec<Waiter>,
    /// Lost records whose count is behind that.
    n_lost_unsynced: u64,
    /// Whether the file may be longer than `n_bytes`.
    is_torn: bool,
}

impl Writer {
    pub(super) fn open(
        path: &Path,
        service: &str,
        instance: &str,
        lost: Arc<AtomicU64>,
    ) -> Result<Self, AuditError> {
        let failed = |source| AuditError::Write { path: path.to_path_buf(), source };
        let file = append(path).map_err(failed)?;
        let mut writer = Self {
            path: path.to_path_buf(),
            n_bytes: file.metadata().map_err(failed)?.len(),
            file,
            last: GENESIS.to_owned(),
            service: service.to_owned(),
            instance: instance.to_owned(),
            lost,
            tell: Arc::new(|_| ()),
            bytes_max: FILE_BYTES_MAX,
            synced: (0, GENESIS.to_owned()),
            unsynced: Vec::new(),
            n_lost_unsynced: 0,
            is_torn: false,
        };
        let n_torn = writer.mend().map_err(failed)?;
        let broken = || AuditError::Broken { path: path.to_path_buf() };
        if writer.n_bytes > 0 {
            let line = writer.last_line().map_err(failed)?;
            writer.last = chain::unseal(&line).ok_or_else(broken)?.0;
        } else if let Some(last) = last_rotated(path).map_err(failed)? {
            writer.last = last.ok_or_else(broken)?;
        }
        if n_torn > 0 {
            let details = Map::from_iter([("bytes".to_owned(), json!(n_torn))]);
            writer.own("audit.recovered", Outcome::Failed, details).map_err(failed)?;
            writer.file.sync_data().map_err(failed)?;
        }
        writer.synced = (writer.n_bytes, writer.last.clone());
        Ok(writer)
    }

    pub(super) fn telling(mut self, tell: Tell) -> Self {
        self.tell = tell;
        self
    }

    #[cfg(test)]
    pub(super) fn rotating_at(mut self, bytes_max: u64) -> Self {
        self.bytes_max = bytes_max;
        self
    }

    /// Does something while the log's file is one that takes bytes and keeps none.
    #[cfg(test)]
    pub(super) fn with_file_that_cannot_sync<T>(&mut self, act: impl FnOnce(&mut Self) -> T) -> T {
        let null = append(Path::new("/dev/null")).expect("a device");
        let file = std::mem::replace(&mut self.file, null);
        let done = act(self);
        self.file = file;
        done
    }

    /// Writes what comes until nobody can send any more. Whatever waits is synced together.
    pub(super) fn run(mut self, queue: &Receiver<Record>) {
        while let Ok(first) = queue.recv() {
            let rest = std::iter::from_fn(|| queue.try_recv().ok()).take(QUEUE_MAX);
            for record in std::iter::once(first).chain(rest) {
                self.take(record);
            }
            if !self.unsynced.is_empty() {
                // Who waits was told; the next record tries again.
                let _ = self.sync();
            }
        }
    }

    pub(super) fn take(&mut self, mut record: Record) {
        let waiter = record.waiter.take();
        match self.write(&record) {
            Ok(()) => self.unsynced.push(waiter),
            Err(error) => self.lose(vec![waiter], &Unkept::Write(error.to_string())),
        }
    }

    /// Makes sure of what was written since the last time, or takes all of it back.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        let synced = self.file.sync_data();
        let waiters = std::mem::take(&mut self.unsynced);
        let n_lost = std::mem::take(&mut self.n_lost_unsynced);
        match &synced {
            Ok(()) => {
                self.synced = (self.n_bytes, self.last.clone());
                if !waiters.is_empty() {
                    (self.tell)(Told::Kept(waiters.len() as u64));
                }
                answer(waiters, &Ok(()));
            }
            Err(error) => {
                (self.n_bytes, self.last) = self.synced.clone();
                self.cut();
                self.lost.fetch_add(n_lost, Ordering::Relaxed);
                self.lose(waiters, &Unkept::Sync(error.to_string()));
            }
        }
        synced
    }

    fn lose(&mut self, waiters: Vec<Waiter>, why: &Unkept) {
        let n_records = waiters.len() as u64;
        self.lost.fetch_add(n_records, Ordering::Relaxed);
        (self.tell)(Told::Lost(n_records, why));
        answer(waiters, &Err(why.clone()));
    }

    /// Cuts the file to the lines that count; what cannot be cut now is cut before the next line.
    fn cut(&mut self) {
        self.is_torn = self.file.set_len(self.n_bytes).is_err();
    }

    pub(super) fn write(&mut self, record: &Record) -> io::Result<()> {
        if self.n_bytes >= self.bytes_max {
            self.rotate()?;
        }
        let n_lost = self.lost.swap(0, Ordering::Relaxed);
        if n_lost > 0 {
            let details = Map::from_iter([("records".to_owned(), json!(n_lost))]);
            if let Err(error) = self.own("audit.lost", Outcome::Failed, details) {
                self.lost.fetch_add(n_lost, Ordering::Relaxed);
                return Err(error);
            }
            self.n_lost_unsynced += n_lost;
        }
        self.append(record)
    }

    /// A record about the log itself.
    fn own(
        &mut self,
        action: &'static str,
        outcome: Outcome,
        details: Map<String, Value>,
    ) -> io::Result<()> {
        let target = self.path.display().to_string();
        let actor = "engine".to_owned();
        self.append(&Record::now(Entry { action, actor, target, outcome, details }, None))
    }

    fn append(&mut self, record: &Record) -> io::Result<()> {
        let (mut line, hash) = chain::seal(self.line(record));
        line.push('\n');
        if self.is_torn {
            self.file.set_len(self.n_bytes)?;
            self.is_torn = false;
        }
        if let Err(error) = self.file.write_all(line.as_bytes()) {
            // Half a line would be torn for ever.
            self.cut();
            return Err(error);
        }
        self.n_bytes += line.len() as u64;
        self.last = hash;
        Ok(())
    }

    /// A record as an object without its last brace.
    fn line(&self, record: &Record) -> String {
        let Entry { action, actor, target, outcome, details } = &record.entry;
        let mut details = Value::Object(details.clone());
        let n_bytes = details.to_string().len();
        if n_bytes > DETAILS_BYTES_MAX {
            details = json!({ "cut_bytes": n_bytes });
        }
        let text = |text: &str| Value::from(text).to_string();
        let short = |long: &str| {
            let mut end = long.len().min(NAME_BYTES_MAX);
            while !long.is_char_boundary(end) {
                end -= 1;
            }
            text(&long[..end])
        };
        format!(
            "{{\"time\":\"{:.6}\",\"service\":{},\"instance\":{},\"action\":{},\"actor\":{},\
             \"target\":{},\"outcome\":\"{}\",\"details\":{details},\"prev\":\"{}\"",
            record.time,
            short(&self.service),
            short(&self.instance),
            text(action),
            short(actor),
            short(target),
            outcome.as_str(),
            self.last,
        )
    }

    /// Puts the file aside under the next free number, and begins a new one that links to it.
    fn rotate(&mut self) -> io::Result<()> {
        self.sync()?;
        let number = rotated(&self.path)?.last().map_or(1, |(number, _)| number + 1);
        let aside = numbered(&self.path, number);
        std::fs::rename(&self.path, &aside)?;
        self.file = match append(&self.path) {
            Ok(file) => file,
            Err(error) => {
                // The full file goes on being the log, and the next record tries again.
                std::fs::rename(&aside, &self.path)?;
                return Err(error);
            }
        };
        (self.n_bytes, self.synced.0) = (0, 0);
        if let Some(directory) = self.path.parent().filter(|it| !it.as_os_str().is_empty()) {
            File::open(directory)?.sync_all()?;
        }
        Ok(())
    }

    /// Cuts off what a crash has left behind the last whole line; says how many bytes.
    fn mend(&mut self) -> io::Result<u64> {
        let tail = self.tail()?;
        let whole = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let n_torn = (tail.len() - whole) as u64;
        if n_torn > 0 {
            self.n_bytes -= n_torn;
            self.file.set_len(self.n_bytes)?;
        }
        Ok(n_torn)
    }

    fn last_line(&mut self) -> io::Result<Vec<u8>> {
        let mut tail = self.tail()?;
        tail.pop();
        let start = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        Ok(tail.split_off(start))
    }

    /// The end of the file, with at least one whole line and a torn one.
    fn tail(&mut self) -> io::Result<Vec<u8>> {
        let n_bytes = self.n_bytes.min(2 * LINE_BYTES_MAX as u64);
        self.file.seek(SeekFrom::Start(self.n_bytes - n_bytes))?;
        let mut tail = Vec::new();
        (&mut self.file).take(n_bytes).read_to_end(&mut tail)?;
        Ok(tail)
    }
}

fn answer(waiters: Vec<Waiter>, kept: &Result<(), Unkept>) {
    for waiter in waiters.into_iter().flatten() {
        // It may have waited long enough.
        let _ = waiter.send(kept.clone());
    }
}

/// Only its owner reads it.
fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)
}

fn numbered(path: &Path, number: u64) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number:06}"));
    name.into()
}

/// The files that were put aside, in order.
fn rotated(path: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let directory = path.parent().filter(|it| !it.as_os_str().is_empty());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory.unwrap_or(Path::new(".")))? {
        let entry = entry?;
        let entry_name = entry.file_name().to_string_lossy().into_owned();
        let number = entry_name.strip_prefix(&name).and_then(|rest| rest.strip_prefix('.'));
        if let Some(number) = number.and_then(|number| number.parse().ok()) {
            found.push((number, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

/// The last hash of the last file that was put aside; within, `None` when it does not hold.
fn last_rotated(path: &Path) -> io::Result<Option<Option<String>>> {
    let Some((_, path)) = rotated(path)?.pop() else { return Ok(None) };
    Ok(Some(chain::verify(&path).ok().and_then(|verified| verified.last)))
}
