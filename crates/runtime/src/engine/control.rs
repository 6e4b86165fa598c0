//! The engine's end of the socket to the guard, and what it inherits from it.
//!
//! It deliberately interprets nothing but the greeting. Invariant: every inherited descriptor is
//! taken once, here, and is closed to the engine's own children.

use std::{
    io::{self, Read},
    net::TcpListener,
    os::{
        fd::OwnedFd,
        unix::net::{UnixListener, UnixStream as StdUnixStream},
    },
    time::Duration,
};

use tokio::{io::AsyncWriteExt, net::UnixStream};

use crate::{
    error::Error,
    logs::journal,
    settings::Settings,
    sys,
    wire::{self, Inbox, Snapshot, ToEngine, ToGuard, fds},
};

/// How long the greeting may take; the guard sends it before it starts us.
const HELLO_LIMIT: Duration = Duration::from_secs(5);
const READ_BYTES: usize = 4096;

/// What the guard hands to an engine.
pub(super) struct Inheritance {
    pub(super) control: StdUnixStream,
    pub(super) inbox: Inbox,
    pub(super) settings: Settings,
    pub(super) snapshot: Snapshot,
    pub(super) app_stdout: OwnedFd,
    pub(super) app_stderr: OwnedFd,
    pub(super) journal: Option<journal::Kept>,
    pub(super) admin_tcp: Option<TcpListener>,
    pub(super) admin_sock: Option<UnixListener>,
    pub(super) ingress: Option<TcpListener>,
    pub(super) notify: Option<OwnedFd>,
    pub(super) egress: Vec<TcpListener>,
}

/// Takes over everything; to be called once, before anything else opens a file.
pub(super) fn inherit() -> Result<Inheritance, Error> {
    let mut control = StdUnixStream::from(take(fds::GUARD)?);
    control.set_nonblocking(false).map_err(|error| broken(&error))?;
    control.set_read_timeout(Some(HELLO_LIMIT)).map_err(|error| broken(&error))?;
    let mut inbox = Inbox::default();
    let (settings, snapshot) = greeting(&mut control, &mut inbox)?;
    let tcp = |number| -> Result<TcpListener, Error> {
        let listener = TcpListener::from(take(number)?);
        listener.set_nonblocking(true).map_err(|error| broken(&error))?;
        Ok(listener)
    };
    let sock = |number| -> Result<UnixListener, Error> {
        let listener = UnixListener::from(take(number)?);
        listener.set_nonblocking(true).map_err(|error| broken(&error))?;
        Ok(listener)
    };
    Ok(Inheritance {
        app_stdout: take(fds::APP_STDOUT)?,
        app_stderr: take(fds::APP_STDERR)?,
        journal: take_journal(),
        admin_tcp: settings.admin.listen.map(|_| tcp(fds::ADMIN_TCP)).transpose()?,
        admin_sock: settings.admin.sock.as_ref().map(|_| sock(fds::ADMIN_SOCK)).transpose()?,
        ingress: settings.ingress.as_ref().map(|_| tcp(fds::INGRESS)).transpose()?,
        notify: settings.workload.has_app().then(|| take(fds::NOTIFY)).transpose()?,
        egress: (fds::EGRESS..)
            .zip(settings.egress.values().filter(|it| it.listen.is_some()))
            .map(|(number, _)| tcp(number))
            .collect::<Result<_, _>>()?,
        control,
        inbox,
        settings,
        snapshot,
    })
}

fn take(number: i32) -> Result<OwnedFd, Error> {
    sys::take_inherited(number)
        .map_err(|errno| Error::Wire { problem: format!("descriptor {number}: {errno}") })
}

/// All of it or nothing: the guard has none where the kernel refused it.
fn take_journal() -> Option<journal::Kept> {
    let journal = take(fds::JOURNAL).ok()?;
    Some(journal::Kept {
        journal,
        staged: take(fds::STAGED).ok()?,
        staging: take(fds::STAGING).ok()?,
    })
}

fn greeting(control: &mut StdUnixStream, inbox: &mut Inbox) -> Result<(Settings, Snapshot), Error> {
    let mut buffer = [0; READ_BYTES];
    loop {
        match inbox.take()? {
            Some(ToEngine::Hello { version: wire::VERSION, settings, snapshot }) => {
                return Ok((*settings, snapshot));
            }
            Some(ToEngine::Hello { version, .. }) => {
                let problem = format!("it speaks version {version}, not {}", wire::VERSION);
                return Err(Error::Wire { problem });
            }
            Some(ToEngine::Changed(_) | ToEngine::Ping) => {
                return Err(Error::Wire { problem: "it did not greet".into() });
            }
            None => match control.read(&mut buffer).map_err(|error| broken(&error))? {
                0 => return Err(Error::Wire { problem: "it is gone".into() }),
                length => inbox.push(&buffer[..length]),
            },
        }
    }
}

fn broken(error: &io::Error) -> Error {
    Error::Wire { problem: error.to_string() }
}

/// What the guard says after its greeting.
pub(super) enum Word {
    /// Something changed.
    Changed(Snapshot),
    /// It wants to know whether we turn.
    Ping,
}

/// The socket to the guard.
pub(super) struct Control {
    stream: UnixStream,
    inbox: Inbox,
}

impl Control {
    /// Goes on with a conversation in the async runtime.
    pub(super) fn new(stream: StdUnixStream, inbox: Inbox) -> Result<Self, Error> {
        stream.set_nonblocking(true).map_err(|error| broken(&error))?;
        Ok(Self { stream: UnixStream::from_std(stream).map_err(|error| broken(&error))?, inbox })
    }

    /// The guard's next word; `None` once it is gone. Dropping the future loses nothing.
    pub(super) async fn receive(&mut self) -> Option<Word> {
        let mut buffer = [0; READ_BYTES];
        loop {
            match self.inbox.take() {
                Ok(Some(ToEngine::Changed(snapshot))) => return Some(Word::Changed(snapshot)),
                Ok(Some(ToEngine::Ping)) => return Some(Word::Ping),
                Ok(Some(ToEngine::Hello { .. })) | Err(_) => return None,
                Ok(None) => {}
            }
            self.stream.readable().await.ok()?;
            match self.stream.try_read(&mut buffer) {
                Ok(0) => return None,
                Ok(length) => self.inbox.push(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return None,
            }
        }
    }

    /// Asks the guard for a deed. That it is gone is noticed by [`Control::receive`].
    pub(super) async fn ask(&mut self, message: &ToGuard) {
        if let Ok(frame) = wire::encode(message) {
            let _ = self.stream.write_all(&frame).await;
        }
    }
}
