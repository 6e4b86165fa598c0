//! The uploaded files, each under the SHA-256 of its bytes, in a directory that the backend and
//! the worker share.
//!
//! Invariant: a file under `blobs/` is complete and on disk (written beside, synced, renamed).

use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tempfile::{NamedTempFile, TempPath};
use tokio::fs::{self, File};
use tokio::io::AsyncWriteExt;

/// The first bytes of an upload, kept to recognise what it is.
pub const HEAD_BYTES: usize = 8 * 1024;

/// A directory of files.
#[derive(Debug, Clone)]
pub struct Blobs {
    directory: PathBuf,
}

/// A file being written. Dropping it removes it.
#[derive(Debug)]
pub struct Incoming {
    path: TempPath,
    file: File,
    hash: Sha256,
    head: Vec<u8>,
    n_bytes: u64,
}

/// A complete file that has no place yet. Dropping it removes it.
#[derive(Debug)]
pub struct Complete {
    path: TempPath,
    /// SHA-256 of the bytes, in hexadecimal.
    pub id: String,
    /// The first bytes, at most [`HEAD_BYTES`].
    pub head: Vec<u8>,
    /// The size in bytes.
    pub n_bytes: u64,
}

impl Blobs {
    /// Opens (and makes, if missing) the directory of files under `data_dir`.
    pub fn open(data_dir: &Path) -> io::Result<Self> {
        let directory = data_dir.join("blobs");
        std::fs::create_dir_all(&directory)?;
        Ok(Self { directory })
    }

    /// Where the file of document `id` is.
    pub fn path(&self, id: &str) -> PathBuf {
        self.directory.join(id.get(..2).unwrap_or("xx")).join(id)
    }

    /// Starts a file.
    pub fn create(&self) -> io::Result<Incoming> {
        let (file, path) =
            NamedTempFile::with_prefix_in(".incoming-", &self.directory)?.into_parts();
        let file = File::from_std(file);
        Ok(Incoming { path, file, hash: Sha256::new(), head: Vec::new(), n_bytes: 0 })
    }

    /// Puts a complete file in its place. Does nothing when the same bytes are there already.
    pub async fn keep(&self, complete: Complete) -> io::Result<()> {
        let target = self.path(&complete.id);
        if fs::try_exists(&target).await? {
            return Ok(());
        }
        let parent = target.parent().unwrap_or(&self.directory).to_owned();
        fs::create_dir_all(&parent).await?;
        complete.path.persist(&target).map_err(|error| error.error)?;
        // The rename is on disk only when the directories are.
        File::open(&parent).await?.sync_all().await?;
        File::open(&self.directory).await?.sync_all().await
    }

    /// Removes the file of document `id`, if it is there.
    pub async fn remove(&self, id: &str) -> io::Result<()> {
        match fs::remove_file(self.path(id)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

impl Incoming {
    /// Adds bytes; returns how many there are now.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<u64> {
        self.hash.update(bytes);
        let n_missing = HEAD_BYTES.saturating_sub(self.head.len()).min(bytes.len());
        self.head.extend_from_slice(&bytes[..n_missing]);
        self.n_bytes += bytes.len() as u64;
        self.file.write_all(bytes).await?;
        Ok(self.n_bytes)
    }

    /// Ends the file; its bytes are on disk afterwards.
    pub async fn finish(mut self) -> io::Result<Complete> {
        self.file.flush().await?;
        self.file.sync_all().await?;
        let id = self.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Complete { path: self.path, id, head: self.head, n_bytes: self.n_bytes })
    }
}
