//! Opens what lies beneath a directory, and nothing else.
//!
//! The kernel holds the border (`openat2` with `RESOLVE_BENEATH`): it is checked while the links
//! are followed, so that no link can be switched between the check and the opening. What the
//! kernel refuses because a link is absolute is followed by hand, since it may lead back inside; a
//! kernel before 5.6, or a sandbox without the call, gets that treatment for every file.
//!
//! Invariant: every descriptor that is returned was found beneath the directory after all links
//! were followed, and one [`Root`] is one release, whatever its path leads to by then.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, stat};

/// Times a look-up is repeated because somebody renamed something meanwhile.
const RENAMES_MAX: usize = 8;

/// A directory, held open.
#[derive(Debug)]
pub(super) struct Root {
    directory: OwnedFd,
    path: PathBuf,
    place: (u64, u64),
}

/// Which bytes a file has: while nothing of it changes, neither do they.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    place: (u64, u64),
    pub(super) n_bytes: u64,
    /// Seconds and nanoseconds.
    pub(super) modified: (i64, i64),
    /// The same, of anything about it; no program can set it back.
    pub(super) changed: (i64, i64),
}

/// What is behind a name.
#[derive(Debug)]
pub(super) enum Entry {
    /// A file that can be read.
    File(File, Stamp),
    /// A directory.
    Directory,
}

impl Root {
    /// Opens the directory that the path leads to now.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let directory = open(path, flags, Mode::empty())?;
        let place = place(&fstat(&directory)?);
        Ok(Self { directory, path: path.to_path_buf(), place })
    }

    /// Whether the path still leads to this directory.
    pub(super) fn is_current(&self) -> bool {
        stat(&self.path).is_ok_and(|now| place(&now) == self.place)
    }

    /// Looks at a file without opening it: a system call or three, none of which waits for more
    /// than the names on the way. An error says nothing but that [`Root::entry`] has to find out,
    /// unless it is that there is no such name.
    pub(super) fn look(&self, name: &str) -> io::Result<Stamp> {
        let found = self.beneath(Path::new(name), OFlag::O_PATH, ResolveFlag::empty())?;
        Ok(Stamp::of(&fstat(&found)?))
    }

    /// Opens what has this name. May wait for the disk.
    pub(super) fn entry(&self, name: &str) -> io::Result<Entry> {
        // A pipe that nobody writes into must not be waited for.
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let mut opened = Err(Errno::EAGAIN);
        for _ in 0..RENAMES_MAX {
            opened = self.beneath(Path::new(name), flags, ResolveFlag::empty());
            if !matches!(opened, Err(Errno::EAGAIN)) {
                break;
            }
        }
        let opened = match opened {
            Err(Errno::EXDEV | Errno::ENOSYS | Errno::EPERM | Errno::EAGAIN) => {
                self.by_hand(name, flags)?
            }
            // A link to itself, and a socket.
            Err(Errno::ELOOP | Errno::ENXIO) => return Err(io::ErrorKind::NotFound.into()),
            opened => opened?,
        };
        let found = fstat(&opened)?;
        match SFlag::from_bits_truncate(found.st_mode & SFlag::S_IFMT.bits()) {
            SFlag::S_IFREG => Ok(Entry::File(opened.into(), Stamp::of(&found))),
            SFlag::S_IFDIR => Ok(Entry::Directory),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn beneath(&self, name: &Path, flags: OFlag, more: ResolveFlag) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS | more;
        let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(resolve);
        openat2(&self.directory, name, how)
    }

    /// Follows the links first, and opens without following any.
    fn by_hand(&self, name: &str, flags: OFlag) -> io::Result<OwnedFd> {
        let outside = || io::Error::from(io::ErrorKind::NotFound);
        let root = std::fs::canonicalize(&self.path)?;
        let real = std::fs::canonicalize(root.join(name))?;
        let below = real.strip_prefix(&root).map_err(|_| outside())?;
        match self.beneath(below, flags, ResolveFlag::RESOLVE_NO_SYMLINKS) {
            Err(Errno::ENOSYS | Errno::EPERM) => (),
            opened => return Ok(opened?),
        }
        let flags = flags | OFlag::O_NOFOLLOW;
        let file = File::options().read(true).custom_flags(flags.bits()).open(&real)?;
        Ok(file.into())
    }
}

impl Stamp {
    /// Of an open file.
    pub(super) fn now(file: impl AsFd) -> io::Result<Self> {
        Ok(Self::of(&fstat(file)?))
    }

    fn of(found: &FileStat) -> Self {
        Self {
            place: place(found),
            n_bytes: u64::try_from(found.st_size).unwrap_or_default(),
            modified: (found.st_mtime, found.st_mtime_nsec),
            changed: (found.st_ctime, found.st_ctime_nsec),
        }
    }
}

fn place(found: &FileStat) -> (u64, u64) {
    (found.st_dev, found.st_ino)
}
