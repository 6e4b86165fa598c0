//! What `tini` and `dumb-init` are made of: block signals, start a child, wait, reap, forward.
//!
//! No engine, no pipes, no endpoints: the child inherits our streams. The command line decides
//! what to do with a signal and what to say of it. It deliberately sweeps nothing, as they do not.
//!
//! Invariant: a child starts with the signals that its [`Isolation`] says.

use std::{
    ffi::OsString,
    io,
    os::{fd::AsFd, unix::process::CommandExt},
    process::Command,
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        prctl,
        signal::{SigAction, SigSet, SigmaskHow, Signal, sigprocmask},
        signalfd::{SfdFlags, SignalFd},
    },
    unistd::{Pid, getpid, getsid},
};

use super::signals::OF_A_CRASH;
use crate::sys::{self, Reaped};
pub use crate::sys::{Ended, signal_words};

/// How the child is set apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// A group of its own, in the foreground of the terminal; the signals as we found them.
    Group,
    /// A session of its own, which takes the terminal; no signal blocked or ignored.
    Session,
    /// Not at all; no signal blocked or ignored.
    None,
}

/// The signals of this process, read instead of handled.
#[derive(Debug)]
pub struct Bare {
    source: SignalFd,
    inherited: SigSet,
    /// What `tini` ignores meanwhile.
    ignored: Vec<(Signal, SigAction)>,
}

impl Bare {
    /// Blocks signals: for [`Isolation::Group`] all but those of a crash and those of a terminal,
    /// which are ignored, else all.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn block(isolation: Isolation) -> io::Result<Self> {
        let mut blocked = SigSet::all();
        let mut ignored = Vec::new();
        if isolation == Isolation::Group {
            let of_a_terminal = [Signal::SIGTTIN, Signal::SIGTTOU];
            for signal in OF_A_CRASH.into_iter().chain(of_a_terminal) {
                blocked.remove(signal);
            }
            for signal in of_a_terminal {
                ignored.push((signal, sys::ignore(signal)?));
            }
        }
        for signal in [Signal::SIGCHLD, Signal::SIGSEGV, Signal::SIGBUS] {
            sys::restore_default(signal)?;
        }
        let mut inherited = SigSet::empty();
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&blocked), Some(&mut inherited))?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Self { source: SignalFd::with_flags(&blocked, flags)?, inherited, ignored })
    }

    /// Starts the child.
    ///
    /// # Errors
    /// Why it could not be executed, as the kernel says it.
    pub fn spawn(&self, command: &[OsString], isolation: Isolation) -> io::Result<i32> {
        let (program, args) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut command = Command::new(program);
        command.args(args);
        match isolation {
            Isolation::Group => {
                command.process_group(0);
                sys::prepare_grouped_child(&mut command, self.inherited, self.ignored.clone());
            }
            Isolation::Session => sys::prepare_fresh_child(&mut command, true),
            Isolation::None => sys::prepare_fresh_child(&mut command, false),
        }
        i32::try_from(command.spawn()?.id()).map_err(io::Error::other)
    }

    /// Waits for the next signal.
    pub fn wait(&self) -> i32 {
        loop {
            if let Ok(Some(info)) = self.source.read_signal() {
                return i32::try_from(info.ssi_signo).unwrap_or_default();
            }
            let mut source = [PollFd::new(self.source.as_fd(), PollFlags::POLLIN)];
            // An interrupted wait is only a short one.
            let _ = poll(&mut source, PollTimeout::NONE);
        }
    }
}

/// What [`reap`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A child that ended.
    Child(Ended),
    /// Children, but none that ended.
    NoneEnded,
    /// No child at all.
    NoChild,
}

/// Reaps one child that ended.
pub fn reap() -> Found {
    loop {
        match sys::reap(-1) {
            Ok(Some(Reaped::Ended(ended))) => return Found::Child(ended),
            Ok(Some(Reaped::Stopped { .. })) | Err(nix::Error::EINTR) => {}
            Ok(None) => return Found::NoneEnded,
            Err(_) => return Found::NoChild,
        }
    }
}

/// Sends a signal; a negative process id means a group. False: there is nobody any more.
pub fn send(pid: i32, signal: i32) -> bool {
    sys::kill(pid, signal).is_ok()
}

/// Stops this process, until somebody continues it.
pub fn suspend() {
    send(getpid().as_raw(), nix::libc::SIGSTOP);
}

/// Has orphans of our descendants become ours.
///
/// # Errors
/// When the kernel refuses.
pub fn adopt_orphans() -> io::Result<()> {
    Ok(prctl::set_child_subreaper(true)?)
}

/// Whether orphans of our descendants are ours.
pub fn adopts_orphans() -> bool {
    getpid().as_raw() == 1 || prctl::get_child_subreaper().unwrap_or(false)
}

/// Has the kernel send us a signal when our parent ends.
///
/// # Errors
/// When the kernel refuses.
pub fn die_with_parent(signal: &str) -> io::Result<()> {
    let signal: Signal = signal.parse()?;
    Ok(prctl::set_pdeathsig(signal)?)
}

/// Whether a name, with its `SIG`, is that of a signal.
pub fn is_signal(name: &str) -> bool {
    name.parse::<Signal>().is_ok()
}

/// Gives up the controlling terminal. Says whether we led its session.
///
/// # Errors
/// When there is none.
pub fn leave_terminal() -> io::Result<bool> {
    sys::leave_terminal()?;
    Ok(getsid(None).is_ok_and(|session: Pid| session == getpid()))
}
