//! What we tell the systemd that runs us: `READY=1`, `STATUS=`, `STOPPING=1`, `WATCHDOG=1`, and
//! `EXTEND_TIMEOUT_USEC=` while an application that starts slowly asks for it.
//!
//! The engine decides what to say ([`Outward::next`]) and the guard says it ([`send`]), since
//! systemd listens to the main process only. Where nobody started us with a `NOTIFY_SOCKET` nothing
//! is ever said. Invariant: `WATCHDOG=1` is said only while `/live` says yes.

use std::{
    env,
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    path::Path,
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::board::{self, Board, Moment, Snapshot};

/// Where whoever started us listens.
const SOCKET: &str = "NOTIFY_SOCKET";
/// How long it lets us be silent, microseconds.
const WATCHDOG_USEC: &str = "WATCHDOG_USEC";
/// Whom it means.
const WATCHDOG_PID: &str = "WATCHDOG_PID";

/// What whoever started us said about this, and meant for us alone.
pub const VARIABLES: [&str; 3] = [SOCKET, WATCHDOG_USEC, WATCHDOG_PID];

/// Says something to whoever started us. It never blocks.
///
/// # Errors
/// When nobody listens there any more.
pub fn send(state: &str) -> io::Result<()> {
    let Some(address) = env::var_os(SOCKET) else { return Ok(()) };
    send_to(&address, state)
}

/// Says something to the socket that a `NOTIFY_SOCKET` names.
///
/// # Errors
/// When nobody listens there, or it is no address.
pub fn send_to(address: &OsStr, state: &str) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    let address = match address.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(Path::new(address))?,
    };
    socket.send_to_addr(state.as_bytes(), &address).map(drop)
}

/// What is to be said next.
#[derive(Debug)]
pub struct Outward {
    board: Arc<Board>,
    updates: watch::Receiver<Arc<Snapshot>>,
    said: Said,
    /// Half of the time that we may be silent, and when that is over.
    watchdog: Option<(Duration, Instant)>,
    is_asked: bool,
}

/// What was said before.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    is_ready: bool,
    is_stopping: bool,
    status: String,
    /// Until when the app asked to be waited for.
    extended_until: Option<std::time::Instant>,
}

impl Outward {
    /// Reads from the environment whether somebody wants to know. `guard` is the process that
    /// speaks.
    #[must_use]
    pub fn new(board: Arc<Board>, guard: u32) -> Self {
        let is_asked = env::var_os(SOCKET).is_some_and(|address| !address.is_empty());
        let number = |name| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let is_meant = number(WATCHDOG_PID).is_none_or(|pid| pid == u64::from(guard));
        let watchdog = number(WATCHDOG_USEC).filter(|us| is_asked && is_meant && *us > 0);
        let watchdog = watchdog.map(|us| (Duration::from_micros(us) / 2, Instant::now()));
        let updates = board.subscribe();
        Self { board, updates, said: Said::default(), watchdog, is_asked }
    }

    /// The next thing to say; never comes when nobody asked. May be dropped at any point.
    pub async fn next(&mut self) -> String {
        if !self.is_asked {
            return std::future::pending().await;
        }
        loop {
            if let Some(state) = self.said.after(&self.board.snapshot(), Moment::now()) {
                return state;
            }
            let due = self.watchdog.map(|(_, due)| due);
            tokio::select! {
                changed = self.updates.changed() => if changed.is_err() {
                    return std::future::pending().await;
                },
                () = until(due) => if let Some((half, due)) = &mut self.watchdog {
                    *due = Instant::now() + *half;
                    if board::live(&self.board.snapshot(), Moment::now()).is_none() {
                        return "WATCHDOG=1".into();
                    }
                },
            }
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

impl Said {
    /// What there is to say about a state; none when all was said.
    fn after(&mut self, snapshot: &Snapshot, now: Moment) -> Option<String> {
        let reasons = board::ready(snapshot, now);
        let status = if reasons.is_empty() {
            "ready".to_owned()
        } else {
            let words: Vec<_> = reasons.iter().map(ToString::to_string).collect();
            format!("not ready: {}", words.join(", "))
        };
        let mut lines = Vec::new();
        if reasons.is_empty() && !self.is_ready {
            self.is_ready = true;
            lines.push("READY=1".to_owned());
        }
        if snapshot.phase >= board::Phase::Draining && !self.is_stopping {
            self.is_stopping = true;
            lines.push("STOPPING=1".to_owned());
        }
        let extended_until = snapshot.notified.extended_until;
        if extended_until != self.extended_until {
            self.extended_until = extended_until;
            // Later it is for us alone: a stop has limits of its own, which nobody extends.
            let is_starting = !self.is_ready && !self.is_stopping;
            let left = extended_until.filter(|_| is_starting);
            let left = left.map(|until| until.saturating_duration_since(now.mono).as_micros());
            lines.extend(left.map(|left| format!("EXTEND_TIMEOUT_USEC={left}")));
        }
        if status != self.status {
            lines.push(format!("STATUS={status}"));
            self.status = status;
        }
        (!lines.is_empty()).then(|| lines.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::{Identity, Phase};

    #[test]
    fn each_thing_is_said_once() {
        let now = Moment::now();
        let board = Board::new(Identity::default(), now);
        let mut said = Said::default();
        let mut next = || said.after(&board.snapshot(), now);
        assert_eq!(next().as_deref(), Some("STATUS=not ready: init"));
        assert_eq!(next(), None);
        board.app_spawned(1, now);
        board.set_phase(Phase::Started, now);
        assert_eq!(next().as_deref(), Some("READY=1\nSTATUS=ready"));
        assert_eq!(next(), None);
        board.set_phase(Phase::Draining, now);
        assert_eq!(next().as_deref(), Some("STOPPING=1\nSTATUS=not ready: draining"));
        board.set_phase(Phase::Stopping, now);
        assert_eq!(next().as_deref(), Some("STATUS=not ready: stopping, draining"));
    }

    #[test]
    fn a_slow_start_is_extended_and_a_stop_is_not() {
        use std::time::Duration;
        let now = Moment::now();
        let board = Board::new(Identity::default(), now);
        let mut said = Said::default();
        let mut next = || said.after(&board.snapshot(), now);
        let extend = |seconds| {
            board.update(now, |snapshot| {
                let until = now.mono + Duration::from_secs(seconds);
                snapshot.notified.extended_until = Some(until);
            });
        };
        extend(60);
        let starting = "EXTEND_TIMEOUT_USEC=60000000\nSTATUS=not ready: init";
        assert_eq!(next().as_deref(), Some(starting));
        extend(90);
        assert_eq!(next().as_deref(), Some("EXTEND_TIMEOUT_USEC=90000000"));
        assert_eq!(next(), None);
        board.set_phase(Phase::Stopping, now);
        assert_eq!(next().as_deref(), Some("STOPPING=1\nSTATUS=not ready: stopping, draining"));
        extend(120);
        assert_eq!(next(), None);
    }

    #[test]
    fn it_is_sent_to_a_path_and_to_an_abstract_name() {
        let bound = crate::notify::socket::bind().expect("bound");
        send_to(&bound.address, "READY=1").expect("sent");
        let datagram = crate::notify::socket::receive(&bound.socket).expect("a datagram");
        assert_eq!(datagram.bytes, b"READY=1");
        assert!(send_to(OsStr::new("@plimsoll-nobody"), "READY=1").is_err());
    }
}
