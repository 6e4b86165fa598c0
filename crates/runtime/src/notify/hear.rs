//! Listens on the notify socket and puts on the board what the application says.
//!
//! It deliberately answers nothing: the protocol has no answers. Invariant: a word of a stranger
//! changes nothing; the first is a line in the log.

use std::{os::fd::OwnedFd, sync::Arc, time::Duration};

use contract::log_events;
use nix::{sys::socket::UnixCredentials, unistd::geteuid};
use tokio::{io::Interest, net::UnixDatagram, task::JoinHandle};

use super::{
    message::{self, Word},
    socket::{self, Datagram},
};
use crate::{
    board::{Board, Moment},
    logs::{Level, Sink, Value},
};

/// How far up a sender's family is looked for.
const GENERATIONS_MAX: usize = 64;
/// How long to wait when the socket cannot be read.
const PAUSE: Duration = Duration::from_millis(100);

/// The running listener; dropping it ends it.
#[derive(Debug)]
pub struct Ear {
    task: JoinHandle<()>,
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Listens to what descendants of `ancestor` say. Must be called inside a tokio runtime.
///
/// # Errors
/// When the socket cannot be registered.
pub fn spawn(
    socket: OwnedFd,
    ancestor: u32,
    board: Arc<Board>,
    sink: Sink,
) -> std::io::Result<Ear> {
    let socket = UnixDatagram::from_std(socket.into())?;
    let listener = Listener { ancestor, board, sink, has_refused: false };
    Ok(Ear { task: tokio::spawn(listener.run(socket)) })
}

struct Listener {
    ancestor: u32,
    board: Arc<Board>,
    sink: Sink,
    has_refused: bool,
}

impl Listener {
    async fn run(mut self, socket: UnixDatagram) {
        loop {
            match socket.async_io(Interest::READABLE, || socket::receive(&socket)).await {
                Ok(datagram) => self.take(&datagram),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    fn take(&mut self, datagram: &Datagram) {
        let Some(sender) = datagram.sender else { return };
        if !self.is_ours(sender) {
            if !self.has_refused {
                self.has_refused = true;
                let fields = [
                    (log_events::KEY, Value::from(log_events::NOTIFY_REFUSED.name)),
                    ("pid", Value::from(sender.pid())),
                ];
                self.sink.event(Level::Warn, "a stranger wrote to the notify socket", &fields);
            }
            return;
        }
        note(&self.board, message::parse(&datagram.bytes), Moment::now());
    }

    fn is_ours(&self, sender: UnixCredentials) -> bool {
        let pid = sender.pid().unsigned_abs();
        sender.uid() == geteuid().as_raw() || descends(pid, self.ancestor)
    }
}

/// Whether a process descends from another, as far as `/proc` still knows.
fn descends(pid: u32, ancestor: u32) -> bool {
    let mut pid = pid;
    for _ in 0..GENERATIONS_MAX {
        if pid == ancestor {
            return true;
        }
        let Some(parent) = parent(pid).filter(|parent| *parent != 0) else { return false };
        pid = parent;
    }
    false
}

fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, also parentheses.
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

/// Puts words on the board, all at once.
fn note(board: &Board, words: Vec<Word>, now: Moment) {
    if words.is_empty() {
        return;
    }
    board.update(now, |snapshot| {
        let notified = &mut snapshot.notified;
        for word in words {
            match word {
                Word::Ready => {
                    notified.is_ready = true;
                    notified.is_reloading = false;
                }
                Word::Reloading => notified.is_reloading = true,
                Word::Stopping => notified.is_stopping = true,
                Word::Watchdog => notified.watchdog = Some(now),
                Word::Status(text) => notified.status = text,
                Word::Extend(by) => notified.extended_until = Some(now.mono + by),
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::{self, Identity};

    #[test]
    fn what_is_said_is_on_the_board() {
        let now = Moment::now();
        let board = Board::new(Identity::default(), now);
        note(&board, message::parse(b"RELOADING=1\nSTATUS=reading"), now);
        let notified = board.snapshot().notified.clone();
        assert!(notified.is_reloading && !notified.is_ready);
        assert_eq!(notified.status.as_deref(), Some("reading"));
        note(&board, message::parse(b"READY=1\nWATCHDOG=1"), now);
        let notified = board.snapshot().notified.clone();
        assert!(notified.is_ready && !notified.is_reloading);
        assert_eq!(notified.watchdog, Some(now));
        note(&board, message::parse(b"STOPPING=1"), now);
        let reasons = board::ready(&board.snapshot(), now);
        assert!(reasons.contains(&board::Reason::AppStopping));
    }

    #[test]
    fn a_family_is_known_by_its_line() {
        let me = std::process::id();
        assert!(descends(me, me));
        assert!(descends(me, parent(me).expect("a parent")));
        assert!(!descends(parent(me).expect("a parent"), me));
        assert!(!descends(u32::MAX, me));
    }
}
