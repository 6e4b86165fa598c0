//! Where the control socket is, and the lock that keeps one `up` per state directory.
//!
//! The lock is held by the kernel for the life of the process, so a socket file that is left behind
//! by `kill -9` is recognised: whoever gets the lock may remove it. Paths of sockets are limited to
//! 107 bytes; a longer one is reached through the directory's descriptor in `/proc/self/fd`, so
//! that the socket is in the state directory whatever its depth.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::ControlError;

/// File name of the control socket in the state directory.
pub const SOCKET_NAME: &str = "up.sock";
/// File name of the lock beside it.
const LOCK_NAME: &str = "up.lock";
/// The longest path of a Unix socket, in bytes.
const PATH_BYTES_MAX: usize = 107;

/// A state directory that is ours as long as this lives; the socket goes with it.
#[derive(Debug)]
pub struct Place {
    listener: Option<UnixListener>,
    socket: PathBuf,
    _lock: Flock<File>,
}

impl Place {
    /// The listening socket, once.
    pub fn take_listener(&mut self) -> Option<UnixListener> {
        self.listener.take()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // It may be gone already, with the whole directory.
        let _ = fs::remove_file(&self.socket);
    }
}

/// Takes the state directory and listens on its socket, for the owner only.
///
/// `directory` is the platform's, for messages; `state` must exist.
///
/// # Errors
/// When another `up` has it, or the directory cannot be written.
pub fn claim(directory: &Path, state: &Path) -> Result<Place, ControlError> {
    let lock = lock(directory, &state.join(LOCK_NAME))?;
    let socket = state.join(SOCKET_NAME);
    let unusable = |intent, source| ControlError::Unusable { intent, path: socket.clone(), source };
    match fs::remove_file(&socket) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            return Err(unusable("remove the stale socket", source));
        }
        _ => {}
    }
    let listener = reach(state, |path| UnixListener::bind(path))
        .and_then(|listener| {
            fs::set_permissions(&socket, Permissions::from_mode(0o600))?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        })
        .map_err(|source| unusable("listen on", source))?;
    Ok(Place { listener: Some(listener), socket, _lock: lock })
}

/// Connects to the `up` that has the state directory.
pub(super) fn connect(directory: &Path, state: &Path) -> Result<UnixStream, ControlError> {
    use io::ErrorKind::{ConnectionRefused, NotADirectory, NotFound, PermissionDenied};
    let directory = directory.to_owned();
    let connected = reach(state, |path| UnixStream::connect(path)).and_then(|stream| {
        stream.set_nonblocking(true)?;
        Ok(stream)
    });
    connected.map_err(|source| match source.kind() {
        // A refused connection is a socket that nobody listens on: left behind by `kill -9`.
        NotFound | NotADirectory | ConnectionRefused => ControlError::NotRunning { directory },
        PermissionDenied => ControlError::Forbidden { directory },
        _ => ControlError::Unusable { intent: "connect to", path: state.join(SOCKET_NAME), source },
    })
}

fn lock(directory: &Path, path: &Path) -> Result<Flock<File>, ControlError> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(|source| ControlError::Unusable {
        intent: "open",
        path: path.to_owned(),
        source,
    })?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        Errno::EWOULDBLOCK => ControlError::AlreadyRunning { directory: directory.to_owned() },
        errno => {
            ControlError::Unusable { intent: "lock", path: path.to_owned(), source: errno.into() }
        }
    })
}

/// Uses the socket of a state directory by a path that fits into an address.
fn reach<T>(state: &Path, by: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let path = state.join(SOCKET_NAME);
    if path.as_os_str().len() <= PATH_BYTES_MAX {
        return by(&path);
    }
    let directory = File::open(state)?;
    by(&Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(SOCKET_NAME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_claim_is_refused_and_a_later_one_is_not() {
        let state = tempfile::tempdir().unwrap();
        let place = claim(Path::new("."), state.path()).unwrap();
        let refused = claim(Path::new("."), state.path()).unwrap_err();
        assert!(matches!(refused, ControlError::AlreadyRunning { .. }), "{refused}");
        connect(Path::new("."), state.path()).unwrap();
        drop(place);
        claim(Path::new("."), state.path()).unwrap();
    }

    #[test]
    fn a_socket_left_behind_is_no_running_up() {
        let state = tempfile::tempdir().unwrap();
        drop(UnixListener::bind(state.path().join(SOCKET_NAME)).unwrap());
        let error = connect(Path::new("shop"), state.path()).unwrap_err();
        assert!(error.to_string().contains("no `plimsoll up` runs in `shop`"), "{error}");
        claim(Path::new("shop"), state.path()).unwrap();
    }

    #[test]
    fn only_the_owner_may_connect() {
        let state = tempfile::tempdir().unwrap();
        let _place = claim(Path::new("."), state.path()).unwrap();
        let mode = fs::metadata(state.path().join(SOCKET_NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_path_too_long_for_a_socket_works_all_the_same() {
        let deep = tempfile::tempdir().unwrap();
        let state = deep.path().join("d".repeat(100)).join("e".repeat(100));
        fs::create_dir_all(&state).unwrap();
        let _place = claim(Path::new("."), &state).unwrap();
        assert!(state.join(SOCKET_NAME).exists());
        connect(Path::new("."), &state).unwrap();
    }
}
