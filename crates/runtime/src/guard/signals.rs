//! Which signals mean what, and how they are read.
//!
//! All signals but those of a crash are blocked and read from a descriptor: no handler, no race. It
//! deliberately sends nothing.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::{
    signal::{SigSet, SigmaskHow, Signal, sigprocmask},
    signalfd::{SfdFlags, SignalFd},
};

use crate::{error::Error, sys};

/// Raised by the process itself when it crashes; blocking them would hang it instead.
pub(super) const OF_A_CRASH: [Signal; 7] = [
    Signal::SIGFPE,
    Signal::SIGILL,
    Signal::SIGSEGV,
    Signal::SIGBUS,
    Signal::SIGABRT,
    Signal::SIGTRAP,
    Signal::SIGSYS,
];

/// What a signal to the guard means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// A child ended.
    Child,
    /// Stop; hasty means without a drain.
    Stop {
        /// The number.
        signal: i32,
        /// Whether to skip the drain.
        is_hasty: bool,
    },
    /// The app is to have it, and we are to stop as well, as the terminal asks.
    Suspend {
        /// The number.
        signal: i32,
    },
    /// The app is to have it.
    Forward {
        /// The number.
        signal: i32,
    },
    /// Nobody is to have it.
    Ignore,
}

/// The signals of this process, read instead of handled.
#[derive(Debug)]
pub(super) struct Signals {
    source: SignalFd,
    inherited: SigSet,
}

impl Signals {
    /// Blocks every signal but those of a crash.
    pub(super) fn block() -> Result<Self, Error> {
        let setup = |intent| move |errno: nix::Error| Error::Setup { intent, source: errno.into() };
        for signal in [Signal::SIGCHLD, Signal::SIGSEGV, Signal::SIGBUS] {
            sys::restore_default(signal).map_err(setup("listen for its signals"))?;
        }
        let mut blocked = SigSet::all();
        for signal in OF_A_CRASH {
            blocked.remove(signal);
        }
        let mut inherited = SigSet::empty();
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&blocked), Some(&mut inherited))
            .map_err(setup("block its signals"))?;
        sys::block_internal_signals().map_err(setup("block its signals"))?;
        let source = SignalFd::with_flags(&blocked, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .map_err(setup("read its signals"))?;
        Ok(Self { source, inherited })
    }

    /// The mask that we were started with, which is the app's.
    pub(super) fn inherited(&self) -> SigSet {
        self.inherited
    }

    /// The next signal that came.
    pub(super) fn next(&self) -> Option<Meaning> {
        // The only errors are a closed descriptor and no memory; both leave us as if none came.
        let info = self.source.read_signal().ok().flatten()?;
        Some(meaning(i32::try_from(info.ssi_signo).unwrap_or_default()))
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }
}

fn meaning(signal: i32) -> Meaning {
    match Signal::try_from(signal) {
        Ok(Signal::SIGCHLD) => Meaning::Child,
        Ok(Signal::SIGTERM | Signal::SIGINT) => Meaning::Stop { signal, is_hasty: false },
        Ok(Signal::SIGQUIT) => Meaning::Stop { signal, is_hasty: true },
        Ok(Signal::SIGTSTP | Signal::SIGTTIN | Signal::SIGTTOU) => Meaning::Suspend { signal },
        Ok(Signal::SIGURG) => Meaning::Ignore,
        // Real-time signals have no name, and are forwarded like the others.
        Ok(_) | Err(_) => Meaning::Forward { signal },
    }
}
