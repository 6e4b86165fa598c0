//! The few things that the spool asks of a disk.
//!
//! Two implementations: [`real`] is a directory, `crash` (for tests) is a model that forgets at a
//! crash whatever a real disk may forget. The trait deliberately has no rename across directories
//! with other names and no append: each write says where, so that a repeated one does no harm.
//!
//! Invariant: what was written is certain after [`Disk::sync`] of the file and [`Disk::sync_dir`]
//! of its directory, and not before.

#[cfg(test)]
pub(crate) mod crash;
pub mod real;

use std::io;

/// A directory of the spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dir {
    /// Segments and acknowledgements.
    Root,
    /// What was damaged, for whoever wants to look.
    Corrupt,
    /// Messages that the broker refused for good.
    Dead,
}

impl Dir {
    /// Every directory.
    pub const ALL: [Dir; 3] = [Dir::Root, Dir::Corrupt, Dir::Dead];

    /// Its name in the spool's directory.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Dir::Root => "",
            Dir::Corrupt => "corrupt",
            Dir::Dead => "dlq",
        }
    }
}

/// Room on the file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes in all.
    pub total: u64,
    /// Bytes that can still be written.
    pub free: u64,
}

/// What the spool asks of a disk. One thread uses it.
pub trait Disk {
    /// An open file.
    type File;

    /// The names of the files in a directory, in any order.
    ///
    /// # Errors
    /// When the directory cannot be read.
    fn list(&mut self, dir: Dir) -> io::Result<Vec<String>>;

    /// Makes a file that does not exist yet, with room for `allocate` bytes, which read as zeros.
    ///
    /// # Errors
    /// When it exists, or there is no room.
    fn create(&mut self, dir: Dir, name: &str, allocate: u64) -> io::Result<Self::File>;

    /// Opens a file to read and write.
    ///
    /// # Errors
    /// When it does not exist.
    fn open(&mut self, dir: Dir, name: &str) -> io::Result<Self::File>;

    /// The length of a file.
    ///
    /// # Errors
    /// When the disk fails.
    fn len(&mut self, file: &Self::File) -> io::Result<u64>;

    /// Reads up to a buffer's length; less only at the end of the file.
    ///
    /// # Errors
    /// When the disk fails.
    fn read_at(&mut self, file: &Self::File, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes all bytes at an offset.
    ///
    /// # Errors
    /// When the disk is full or fails; then any part of the bytes may have been written.
    fn write_at(&mut self, file: &Self::File, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Returns once everything written to the file is certain.
    ///
    /// # Errors
    /// When the disk fails; then nothing written since the last success is certain, and a second
    /// try says nothing about it.
    fn sync(&mut self, file: &Self::File) -> io::Result<()>;

    /// Cuts a file.
    ///
    /// # Errors
    /// When the disk fails.
    fn truncate(&mut self, file: &Self::File, length: u64) -> io::Result<()>;

    /// Gives a file another name, replacing a file that has it.
    ///
    /// # Errors
    /// When the disk fails.
    fn rename(&mut self, from: (Dir, &str), to: (Dir, &str)) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// When the disk fails.
    fn remove(&mut self, dir: Dir, name: &str) -> io::Result<()>;

    /// Returns once the names in a directory are certain.
    ///
    /// # Errors
    /// When the disk fails.
    fn sync_dir(&mut self, dir: Dir) -> io::Result<()>;

    /// Room on the file system.
    ///
    /// # Errors
    /// When the disk fails.
    fn space(&mut self) -> io::Result<Space>;
}

/// Reads a whole file.
///
/// # Errors
/// When the disk fails, or the file is longer than `limit`.
pub fn read_whole<D: Disk>(disk: &mut D, file: &D::File, limit: u64) -> io::Result<Vec<u8>> {
    let length = disk.len(file)?;
    let length = usize::try_from(length.min(limit)).unwrap_or(usize::MAX);
    let mut bytes = vec![0; length];
    let count = disk.read_at(file, 0, &mut bytes)?;
    bytes.truncate(count);
    Ok(bytes)
}

/// Whether a failure means that there is no room.
#[must_use]
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
