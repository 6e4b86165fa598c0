//! Binds every socket before anything is started, so that a taken port costs nothing.
//!
//! It deliberately accepts nothing: the engine does, and whichever engine lives finds the same
//! sockets.

use std::{
    ffi::OsStr,
    fs, io,
    net::{IpAddr, SocketAddr, TcpListener},
    os::{
        fd::{AsFd, OwnedFd},
        unix::{
            fs::PermissionsExt,
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
};

use nix::sys::socket::{Backlog, listen};

use super::alone;
use crate::{error::Error, notify, settings::Settings, wire::fds};

/// Connections that wait to be accepted, while an engine is started again for example.
const BACKLOG: i32 = 1024;
/// The owner and the group may use the admin socket.
const SOCK_MODE: u32 = 0o660;

/// The sockets, each with the number under which the engine finds it.
#[derive(Debug)]
pub(super) struct Listeners {
    sockets: Vec<(i32, OwnedFd)>,
    sock: Option<PathBuf>,
    notify: Option<notify::socket::Bound>,
}

impl Listeners {
    /// Binds what `settings` ask for, and writes the ports that were really bound into them.
    pub(super) fn bind(settings: &mut Settings) -> Result<Self, Error> {
        let mut listeners = Self { sockets: Vec::new(), sock: None, notify: None };
        if let Some(ingress) = &mut settings.ingress {
            let socket = bind_tcp("the ingress", &mut ingress.listen, "--ingress")?;
            listeners.sockets.push((fds::INGRESS, socket));
        }
        if let Some(address) = &mut settings.admin.listen {
            let socket = bind_tcp("the admin listener", address, "--listen")?;
            listeners.sockets.push((fds::ADMIN_TCP, socket));
        }
        let egress = settings.egress.values_mut().filter_map(|it| it.listen.as_mut());
        for (number, address) in (fds::EGRESS..).zip(egress) {
            let socket = bind_tcp("a listener of `--egress`", address, "--egress")?;
            listeners.sockets.push((number, socket));
        }
        if let Some(path) = &settings.admin.sock {
            listeners.sockets.push((fds::ADMIN_SOCK, bind_sock(path)?));
            listeners.sock = Some(path.clone());
        }
        if settings.workload.has_app() && !alone::is_enough(settings) {
            let setup = |source| Error::Setup { intent: "bind a notify socket", source };
            let bound = notify::socket::bind().map_err(setup)?;
            let socket = bound.socket.try_clone().map_err(setup)?;
            listeners.sockets.push((fds::NOTIFY, socket));
            listeners.notify = Some(bound);
        }
        if settings.ingress.is_some() && settings.app.port.is_none() {
            settings.app.port = Some(free_port(settings.app.host)?);
        }
        Ok(listeners)
    }

    /// Where the application says how it is: the value of `NOTIFY_SOCKET`.
    pub(super) fn notify_address(&self) -> Option<&OsStr> {
        self.notify.as_ref().map(|bound| bound.address.as_os_str())
    }

    /// The sockets, for one engine.
    pub(super) fn duplicate(&self) -> io::Result<Vec<(i32, OwnedFd)>> {
        let duplicate = |(number, socket): &(i32, OwnedFd)| Ok((*number, socket.try_clone()?));
        self.sockets.iter().map(duplicate).collect()
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        if let Some(path) = &self.sock {
            // It may be gone already, and nobody could be told.
            let _ = fs::remove_file(path);
        }
    }
}

fn bind_tcp(
    what: &'static str,
    address: &mut SocketAddr,
    flag: &'static str,
) -> Result<OwnedFd, Error> {
    let refused = |address: SocketAddr, source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => Error::Taken { what, address: address.to_string(), flag },
        _ => Error::Listen { what, address: address.to_string(), flag, source },
    };
    let listener = TcpListener::bind(*address).map_err(|error| refused(*address, error))?;
    deepen(&listener).map_err(|error| refused(*address, error))?;
    *address = listener.local_addr().map_err(|error| refused(*address, error))?;
    Ok(listener.into())
}

/// Binds a Unix socket in place of one that nobody listens on any more.
fn bind_sock(path: &Path) -> Result<OwnedFd, Error> {
    let what = "the admin socket";
    let flag = "--sock";
    let address = || path.display().to_string();
    let refused = |source| Error::Listen { what, address: address(), flag, source };
    if UnixStream::connect(path).is_ok() {
        return Err(Error::Taken { what, address: address(), flag });
    }
    if is_socket(path) {
        fs::remove_file(path).map_err(refused)?;
    }
    let listener = UnixListener::bind(path).map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => Error::Taken { what, address: address(), flag },
        _ => refused(source),
    })?;
    fs::set_permissions(path, fs::Permissions::from_mode(SOCK_MODE)).map_err(refused)?;
    deepen(&listener).map_err(refused)?;
    Ok(listener.into())
}

fn is_socket(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
}

fn deepen(socket: &impl AsFd) -> io::Result<()> {
    Ok(listen(&socket.as_fd(), Backlog::new(BACKLOG)?)?)
}

/// A port that nobody has now. The app binds it a moment later; that it is taken in between is
/// possible, unlikely, and ends as the app's own error.
fn free_port(host: IpAddr) -> Result<u16, Error> {
    TcpListener::bind((host, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|source| Error::Setup { intent: "find a free port for the application", source })
}
