//! The lines of each item in `<logs>/<item>.jsonl`, rotated by size, a bounded number of files.
//!
//! The newest file has the plain name, older ones end in `.1`, `.2` ... It is a reader like any
//! other: a slow disk never holds a service up, and lines that it lost are counted in the file.
//! Invariant: of each item at most `files_max` files of about `file_bytes_max` are kept.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use super::{Batch, Follower, Line};

/// How much is kept on disk of each item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// A file that has grown to this is put aside.
    pub file_bytes_max: u64,
    /// Files of one item, the newest included.
    pub files_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { file_bytes_max: 8 * 1024 * 1024, files_max: 3 }
    }
}

/// Why lines are not kept in a file.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// Could not create, write or put aside.
    #[error(
        "cannot keep logs in `{}`: {source}\nhelp: check its permissions and the space on its disk",
        path.display()
    )]
    Unwritable {
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Writes everything that the follower reads, until the hub is closed.
///
/// # Errors
/// When a file cannot be written; what came before is kept, what comes after is not.
pub async fn record(
    mut follower: Follower,
    directory: PathBuf,
    bounds: Bounds,
) -> Result<(), FilesError> {
    let mut files = Files { directory, bounds, open: BTreeMap::new() };
    while let Some(batch) = follower.next().await {
        let writing = tokio::task::spawn_blocking(move || {
            let written = files.write(&batch);
            (files, written)
        });
        let Ok((returned, written)) = writing.await else { return Ok(()) };
        files = returned;
        written?;
    }
    Ok(())
}

/// The file that holds the newest lines of an item.
pub fn path_of(directory: &Path, item: &str) -> PathBuf {
    directory.join(format!("{item}.jsonl"))
}

/// The last `n` lines of an item that were written, by this or an earlier run; none without a file.
///
/// # Errors
/// When a file is there and cannot be read.
pub fn read_tail(directory: &Path, item: &str, n: usize) -> Result<Vec<String>, FilesError> {
    let mut lines: Vec<String> = Vec::new();
    for age in 0..Bounds::default().files_max {
        let path = aged(&path_of(directory, item), age);
        let text = match fs::read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(source) => return Err(FilesError::Unwritable { path, source }),
        };
        let wanted = n - lines.len();
        let mut older: Vec<String> = text.lines().rev().take(wanted).map(str::to_owned).collect();
        older.reverse();
        older.append(&mut lines);
        lines = older;
        if lines.len() == n {
            break;
        }
    }
    Ok(lines)
}

struct Files {
    directory: PathBuf,
    bounds: Bounds,
    open: BTreeMap<Arc<str>, Open>,
}

struct Open {
    file: File,
    bytes: u64,
}

impl Files {
    fn write(&mut self, batch: &Batch) -> Result<(), FilesError> {
        let mut pending: BTreeMap<Arc<str>, Vec<u8>> = BTreeMap::new();
        for missed in &batch.missed {
            let note = json!({
                "level": "warn",
                "msg": format!("{} lines were lost: the disk is slow", missed.n_lines),
                "service": &*missed.item,
                "stream": "plimsoll",
            });
            let bytes = pending.entry(Arc::clone(&missed.item)).or_default();
            bytes.extend_from_slice(note.to_string().as_bytes());
            bytes.push(b'\n');
        }
        for Line { item, bytes, .. } in &batch.lines {
            let pending = pending.entry(Arc::clone(item)).or_default();
            pending.extend_from_slice(bytes);
            pending.push(b'\n');
        }
        for (item, bytes) in pending {
            let path = path_of(&self.directory, &item);
            self.append(&item, &path, &bytes)
                .map_err(|source| FilesError::Unwritable { path, source })?;
        }
        Ok(())
    }

    fn append(&mut self, item: &Arc<str>, path: &Path, bytes: &[u8]) -> io::Result<()> {
        if !self.open.contains_key(item) {
            self.open.insert(Arc::clone(item), open(path)?);
        }
        let Some(current) = self.open.get_mut(item) else { return Ok(()) };
        let n_bytes = bytes.len() as u64;
        if current.bytes > 0 && current.bytes + n_bytes > self.bounds.file_bytes_max {
            put_aside(path, self.bounds.files_max)?;
            *current = open(path)?;
        }
        current.file.write_all(bytes)?;
        current.bytes += n_bytes;
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<Open> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    // Logs may quote what users typed, so they are for the owner alone.
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    let bytes = file.metadata()?.len();
    Ok(Open { file, bytes })
}

/// Every file becomes one older; the oldest goes.
fn put_aside(path: &Path, files_max: usize) -> io::Result<()> {
    for age in (0..files_max.saturating_sub(1)).rev() {
        match fs::rename(aged(path, age), aged(path, age + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    if files_max <= 1 { fs::remove_file(path) } else { Ok(()) }
}

fn aged(path: &Path, age: usize) -> PathBuf {
    match age {
        0 => path.to_owned(),
        _ => PathBuf::from(format!("{}.{age}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use crate::hub::{Hub, Limits, Stream};

    use super::*;

    async fn recorded(lines: usize, bounds: Bounds) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let hub = Hub::default();
        let follower = hub.follow(None, usize::MAX);
        for n in 0..lines {
            hub.push("api", Stream::Stdout, format!(r#"{{"msg":"{n:04}"}}"#));
        }
        hub.close();
        record(follower, directory.path().join("logs"), bounds).await.unwrap();
        directory
    }

    #[tokio::test]
    async fn lines_are_kept_byte_for_byte() {
        let directory = recorded(2, Bounds::default()).await;
        let text = fs::read_to_string(directory.path().join("logs/api.jsonl")).unwrap();
        assert_eq!(text, "{\"msg\":\"0000\"}\n{\"msg\":\"0001\"}\n");
    }

    #[tokio::test]
    async fn files_are_bounded_by_size_and_number() {
        let bounds = Bounds { file_bytes_max: 4_200, files_max: 3 };
        let directory = recorded(3_000, bounds).await;
        let mut names: Vec<_> = fs::read_dir(directory.path().join("logs"))
            .unwrap()
            .map(|entry| entry.unwrap())
            .inspect(|entry| assert!(entry.metadata().unwrap().len() <= 4_200))
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["api.jsonl", "api.jsonl.1", "api.jsonl.2"]);
    }

    #[tokio::test]
    async fn a_tail_reaches_into_older_files() {
        let bounds = Bounds { file_bytes_max: 4_200, files_max: 3 };
        let directory = recorded(600, bounds).await;
        let lines = read_tail(&directory.path().join("logs"), "api", 400).unwrap();
        assert_eq!(lines.len(), 400);
        assert_eq!(lines.last().unwrap(), r#"{"msg":"0599"}"#);
        assert_eq!(lines.first().unwrap(), r#"{"msg":"0200"}"#);
    }

    #[tokio::test]
    async fn lines_that_the_disk_was_too_slow_for_are_counted_in_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let hub = Hub::new(Limits { ring_lines_max: 2, ..Limits::default() });
        let follower = hub.follow(None, 0);
        for _ in 0..5 {
            hub.push("api", Stream::Stdout, "x");
        }
        hub.close();
        record(follower, directory.path().into(), Bounds::default()).await.unwrap();
        let text = fs::read_to_string(path_of(directory.path(), "api")).unwrap();
        assert!(text.contains("3 lines were lost"), "{text}");
    }

    #[tokio::test]
    async fn a_directory_that_cannot_be_written_is_an_error_with_its_path() {
        let directory = tempfile::tempdir().unwrap();
        let in_the_way = directory.path().join("logs");
        fs::write(&in_the_way, "a file").unwrap();
        let hub = Hub::default();
        let follower = hub.follow(None, 0);
        hub.push("api", Stream::Stdout, "x");
        hub.close();
        let error = record(follower, in_the_way, Bounds::default()).await.unwrap_err();
        assert!(error.to_string().contains("logs/api.jsonl"), "{error}");
    }
}
