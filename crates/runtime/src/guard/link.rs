//! The guard's end of the socket to the engine: never waits, never holds more than a bound.

use std::{
    io::{self, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use crate::{
    error::Error,
    wire::{self, FRAME_BYTES_MAX, Inbox, ToEngine, ToGuard},
};

/// The most that waits to be sent: a greeting and some thousand changes.
const OUTBOX_BYTES_MAX: usize = FRAME_BYTES_MAX + 1024 * 1024;
const READ_BYTES: usize = 4096;

/// The guard's end.
#[derive(Debug)]
pub(super) struct Link {
    stream: UnixStream,
    inbox: Inbox,
    outbox: Vec<u8>,
}

impl Link {
    /// A link, and the end that is the engine's.
    pub(super) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        Ok((Self { stream: ours, inbox: Inbox::default(), outbox: Vec::new() }, theirs.into()))
    }

    /// Queues a message and sends what can be sent now. False: the engine does not listen.
    pub(super) fn send(&mut self, message: &ToEngine) -> Result<bool, Error> {
        self.outbox.extend(wire::encode(message)?);
        Ok(self.outbox.len() <= OUTBOX_BYTES_MAX && self.flush())
    }

    /// Sends what can be sent now. False: the engine does not listen.
    pub(super) fn flush(&mut self) -> bool {
        while !self.outbox.is_empty() {
            match self.stream.write(&self.outbox) {
                Ok(0) => return false,
                Ok(sent) => drop(self.outbox.drain(..sent)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        self.outbox.shrink_to(READ_BYTES);
        true
    }

    /// Whether something waits to be sent.
    pub(super) fn is_behind(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// What the engine asked for since, and whether it is still there and makes sense.
    pub(super) fn receive(&mut self) -> (Vec<ToGuard>, bool) {
        let mut messages = Vec::new();
        let mut buffer = [0; READ_BYTES];
        loop {
            let is_open = match self.stream.read(&mut buffer) {
                Ok(0) => false,
                Ok(length) => {
                    self.inbox.push(&buffer[..length]);
                    self.take_messages(&mut messages)
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return (messages, true),
                Err(error) => error.kind() == io::ErrorKind::Interrupted,
            };
            if !is_open {
                return (messages, false);
            }
        }
    }

    fn take_messages(&mut self, messages: &mut Vec<ToGuard>) -> bool {
        loop {
            match self.inbox.take() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
