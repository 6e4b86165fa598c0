//! A directory, and the lock that keeps a second engine out of it.
//!
//! Plain blocking calls, made by the spool's own thread. It deliberately caches nothing. Invariant:
//! while a [`RealDisk`] exists, no other process has one on the same directory.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::{
        fd::AsFd,
        unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    fcntl::{FallocateFlags, Flock, FlockArg, fallocate},
    sys::statvfs::fstatvfs,
};

use super::{Dir, Disk, Space};

/// Name of the file that is locked.
const LOCK_FILE: &str = "lock";
/// Messages may be anything, so nobody else reads them.
const FILE_MODE: u32 = 0o600;
const DIR_MODE: u32 = 0o700;
/// How often a lock that is taken is tried again.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// A directory of this host, locked.
#[derive(Debug)]
pub struct RealDisk {
    path: PathBuf,
    lock: Flock<File>,
}

impl RealDisk {
    /// Makes the directory and locks it. The engine before this one may just have been killed: its
    /// lock is gone as soon as the kernel has ended it, so a taken lock is waited for.
    ///
    /// # Errors
    /// When the directory cannot be made or written, or stays locked for `patience`.
    pub fn open(path: &Path, patience: Duration) -> io::Result<Self> {
        prepare(path)?;
        let open = || options().create(true).truncate(false).open(path.join(LOCK_FILE));
        let mut file = open()?;
        let deadline = Instant::now() + patience;
        loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Ok(Self { path: path.to_owned(), lock }),
                Err((back, Errno::EWOULDBLOCK | Errno::EINTR)) if Instant::now() < deadline => {
                    file = back;
                    std::thread::sleep(LOCK_PAUSE);
                }
                Err((_, Errno::EWOULDBLOCK)) => {
                    let words = "another process has this spool open";
                    return Err(io::Error::new(io::ErrorKind::WouldBlock, words));
                }
                Err((_, errno)) => return Err(errno.into()),
            }
        }
    }

    fn directory(&self, dir: Dir) -> PathBuf {
        self.path.join(dir.name())
    }
}

/// Makes the directory and its own directories, and tries whether they can be written.
///
/// # Errors
/// When they cannot.
pub fn prepare(path: &Path) -> io::Result<()> {
    for dir in Dir::ALL {
        fs::DirBuilder::new().recursive(true).mode(DIR_MODE).create(path.join(dir.name()))?;
    }
    options().create(true).truncate(false).open(path.join(LOCK_FILE)).map(drop)
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(FILE_MODE);
    options
}

impl Disk for RealDisk {
    type File = File;

    fn list(&mut self, dir: Dir) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.directory(dir))? {
            let entry = entry?;
            // What has no such name or is no file was not made by us.
            if let (Ok(name), true) =
                (entry.file_name().into_string(), entry.file_type()?.is_file())
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&mut self, dir: Dir, name: &str, allocate: u64) -> io::Result<File> {
        let path = self.directory(dir).join(name);
        let file = options().create_new(true).open(&path)?;
        let Ok(length @ 1..) = i64::try_from(allocate) else { return Ok(file) };
        match fallocate(&file, FallocateFlags::empty(), 0, length) {
            // Without it writes find their room one by one.
            Ok(()) | Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => Ok(file),
            Err(errno) => {
                // It holds nothing yet.
                let _ = fs::remove_file(&path);
                Err(errno.into())
            }
        }
    }

    fn open(&mut self, dir: Dir, name: &str) -> io::Result<File> {
        options().open(self.directory(dir).join(name))
    }

    fn len(&mut self, file: &File) -> io::Result<u64> {
        Ok(file.metadata()?.len())
    }

    fn read_at(&mut self, file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut count = 0;
        while count < buffer.len() {
            match file.read_at(&mut buffer[count..], offset + count as u64) {
                Ok(0) => break,
                Ok(more) => count += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(count)
    }

    fn write_at(&mut self, file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    fn sync(&mut self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn truncate(&mut self, file: &File, length: u64) -> io::Result<()> {
        file.set_len(length)
    }

    fn rename(&mut self, from: (Dir, &str), to: (Dir, &str)) -> io::Result<()> {
        fs::rename(self.directory(from.0).join(from.1), self.directory(to.0).join(to.1))
    }

    fn remove(&mut self, dir: Dir, name: &str) -> io::Result<()> {
        fs::remove_file(self.directory(dir).join(name))
    }

    fn sync_dir(&mut self, dir: Dir) -> io::Result<()> {
        File::open(self.directory(dir))?.sync_all()
    }

    fn space(&mut self) -> io::Result<Space> {
        let stat = fstatvfs(self.lock.as_fd())?;
        let unit = stat.fragment_size();
        Ok(Space {
            total: stat.blocks().saturating_mul(unit),
            free: stat.blocks_available().saturating_mul(unit),
        })
    }
}
