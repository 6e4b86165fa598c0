//! The datagram socket on which the application tells us how it is.
//!
//! It lies in a directory of its own under a name that cannot be guessed; where no directory can be
//! made (a read-only image from scratch) it is an abstract one. Whoever finds it may write: an
//! application may have given up its account, so what counts is who the kernel says the sender is.
//! Invariant: nothing is left on disk once a [`Bound`] is dropped.

use std::{
    env,
    ffi::OsString,
    fs, io,
    os::{
        fd::{AsRawFd, OwnedFd, RawFd},
        linux::net::SocketAddrExt,
        unix::{
            fs::PermissionsExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    path::{Path, PathBuf},
};

use nix::{
    cmsg_space,
    errno::Errno,
    sys::socket::{
        ControlMessageOwned, MsgFlags, UnixAddr, UnixCredentials, recvmsg, setsockopt,
        sockopt::PassCred,
    },
    unistd::{close, mkdtemp},
};

/// Longest datagram that is read; the rest of a longer one is cut.
const DATAGRAM_BYTES_MAX: usize = 4096;
/// Most descriptors that the kernel lets one datagram carry; room for all, so that each is closed.
const DESCRIPTORS_MAX: usize = 253;
const FILE: &str = "notify";
/// Others may pass through it to the socket, but not list it.
const DIRECTORY_MODE: u32 = 0o711;
const SOCKET_MODE: u32 = 0o666;

/// A bound socket.
#[derive(Debug)]
pub struct Bound {
    /// The socket.
    pub socket: OwnedFd,
    /// The value of `NOTIFY_SOCKET`; an abstract name begins with `@`.
    pub address: OsString,
    directory: Option<PathBuf>,
}

impl Drop for Bound {
    fn drop(&mut self) {
        if let Some(directory) = &self.directory {
            // It may be gone already, and nobody could be told.
            let _ = fs::remove_dir_all(directory);
        }
    }
}

/// Binds a socket that only we read.
///
/// # Errors
/// When the kernel gives no socket at all.
pub fn bind() -> io::Result<Bound> {
    let own = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let places = own.into_iter().chain([PathBuf::from("/run"), env::temp_dir()]);
    let bound = places.filter(|place| place.is_absolute()).find_map(|place| bind_in(&place).ok());
    bound.map_or_else(bind_abstract, Ok)
}

fn bind_in(place: &Path) -> io::Result<Bound> {
    let directory = mkdtemp(&place.join("plimsoll-XXXXXX"))?;
    let path = directory.join(FILE);
    let bind = || {
        let socket = prepared(UnixDatagram::bind(&path)?)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(SOCKET_MODE))?;
        fs::set_permissions(&directory, fs::Permissions::from_mode(DIRECTORY_MODE))?;
        Ok(socket)
    };
    match bind() {
        Ok(socket) => {
            Ok(Bound { socket, address: path.clone().into(), directory: Some(directory) })
        }
        Err(error) => {
            // The error is what the caller wants to know of.
            let _ = fs::remove_dir_all(&directory);
            Err(error)
        }
    }
}

fn bind_abstract() -> io::Result<Bound> {
    let name = format!("plimsoll/{}", uuid::Uuid::new_v4());
    let address = SocketAddr::from_abstract_name(&name)?;
    let socket = prepared(UnixDatagram::bind_addr(&address)?)?;
    Ok(Bound { socket, address: format!("@{name}").into(), directory: None })
}

fn prepared(socket: UnixDatagram) -> io::Result<OwnedFd> {
    socket.set_nonblocking(true)?;
    // Before anybody can send: what came earlier would carry no credentials.
    setsockopt(&socket, PassCred, &true)?;
    Ok(socket.into())
}

/// A datagram and who sent it.
#[derive(Debug)]
pub struct Datagram {
    /// What it says.
    pub bytes: Vec<u8>,
    /// The sender, as the kernel knows it.
    pub sender: Option<UnixCredentials>,
}

/// The next datagram. Descriptors that come with it are closed, which is what a sender of
/// `BARRIER=1` waits for.
///
/// # Errors
/// `WouldBlock` when there is none now.
pub fn receive(socket: &impl AsRawFd) -> io::Result<Datagram> {
    let mut bytes = vec![0; DATAGRAM_BYTES_MAX];
    let mut space = cmsg_space!(UnixCredentials, [RawFd; DESCRIPTORS_MAX]);
    let mut buffers = [io::IoSliceMut::new(&mut bytes)];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<UnixAddr>(socket.as_raw_fd(), &mut buffers, Some(&mut space), flags)?;
    let mut sender = None;
    for control in message.cmsgs().map_err(|errno: Errno| io::Error::from(errno))? {
        match control {
            ControlMessageOwned::ScmCredentials(credentials) => sender = Some(credentials),
            ControlMessageOwned::ScmRights(descriptors) => {
                for descriptor in descriptors {
                    // It is ours alone, and how closing it went concerns nobody.
                    let _ = close(descriptor);
                }
            }
            _ => {}
        }
    }
    let length = message.bytes;
    bytes.truncate(length);
    Ok(Datagram { bytes, sender })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> UnixDatagram {
        UnixDatagram::unbound().expect("a socket")
    }

    #[test]
    fn a_sender_is_known_and_the_directory_goes_with_the_socket() {
        let bound = bind().expect("bound");
        let path = PathBuf::from(&bound.address);
        client().send_to(b"READY=1", &path).expect("sent");
        let datagram = receive(&bound.socket).expect("a datagram");
        assert_eq!(datagram.bytes, b"READY=1");
        let sender = datagram.sender.expect("credentials");
        assert_eq!(sender.pid().unsigned_abs(), std::process::id());
        let none = receive(&bound.socket).expect_err("nothing more");
        assert_eq!(none.kind(), io::ErrorKind::WouldBlock);
        drop(bound);
        assert!(!path.parent().expect("a directory").exists());
    }

    #[test]
    fn an_abstract_socket_works_where_there_is_no_directory() {
        assert!(bind_in(Path::new("/nonexistent")).is_err());
        let bound = bind_abstract().expect("bound");
        let name = bound.address.to_str().expect("text").strip_prefix('@').expect("abstract");
        let address = SocketAddr::from_abstract_name(name).expect("a name");
        client().send_to_addr(b"STATUS=x", &address).expect("sent");
        assert_eq!(receive(&bound.socket).expect("a datagram").bytes, b"STATUS=x");
    }

    #[test]
    fn a_descriptor_that_comes_along_is_closed() {
        use nix::sys::socket::{ControlMessage, sendmsg};
        use std::io::Read;

        let bound = bind().expect("bound");
        let (reader, writer) = nix::unistd::pipe().expect("a pipe");
        let to = UnixAddr::new(Path::new(&bound.address)).expect("an address");
        let rights = [writer.as_raw_fd()];
        let control = [ControlMessage::ScmRights(&rights)];
        let text = [io::IoSlice::new(b"BARRIER=1")];
        let sender = client();
        sendmsg(sender.as_raw_fd(), &text, &control, MsgFlags::empty(), Some(&to)).expect("sent");
        drop(writer);
        receive(&bound.socket).expect("a datagram");
        // The end of the pipe is seen only once every copy of the other end is closed.
        let mut rest = Vec::new();
        fs::File::from(reader).read_to_end(&mut rest).expect("its end");
        assert!(rest.is_empty());
    }
}
