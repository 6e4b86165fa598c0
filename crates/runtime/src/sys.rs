//! The calls that no library makes safe for us. The only module of the workspace with `unsafe`.
//!
//! It deliberately decides nothing: each function is one system call and its precondition.

#![expect(unsafe_code, reason = "fork, signals and inherited descriptors have no safe form")]

use std::{
    io,
    ops::Range,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::process::CommandExt,
    },
    process::Command,
};

use contract::exit_codes;
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, FdFlag, fcntl},
    libc,
    sys::{
        prctl,
        signal::{
            SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction, sigprocmask,
        },
    },
    unistd::{Pid, SysconfVar, getpgrp, getppid, setsid, sysconf, tcsetpgrp},
};

/// The pages of our own program that hold what its file holds: they can be given back, and come
/// again when they are touched.
#[derive(Debug, Default)]
pub(crate) struct ProgramPages(Vec<Range<usize>>);

impl ProgramPages {
    /// Looks for them.
    pub(crate) fn find() -> Self {
        let mut pages = Self::default();
        let found: *mut Self = &raw mut pages;
        // SAFETY: the callback is called before the call returns, and takes the pointer for what
        // it is; nobody else uses it meanwhile.
        unsafe { libc::dl_iterate_phdr(Some(note_segments), found.cast()) };
        pages
    }

    /// Gives them back.
    pub(crate) fn release(&self) {
        for Range { start, end } in &self.0 {
            let first = std::ptr::with_exposed_provenance_mut(*start);
            // SAFETY: a segment that is mapped without write permission holds what its file holds,
            // so each page that is dropped is read again as it was. Only whole pages are named.
            unsafe { libc::madvise(first, end - start, libc::MADV_DONTNEED) };
        }
    }
}

/// Notes the read-only segments of a loaded object; stops after the first, the program itself.
extern "C" fn note_segments(
    object: *mut libc::dl_phdr_info,
    _: libc::size_t,
    found: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: the loader passes a valid object with `dlpi_phnum` headers, alive during the call,
    // and what `find` gave it.
    let (base, headers, pages) = unsafe {
        let object = &*object;
        let n_headers = usize::from(object.dlpi_phnum);
        let headers = std::slice::from_raw_parts(object.dlpi_phdr, n_headers);
        (object.dlpi_addr, headers, &mut *found.cast::<ProgramPages>())
    };
    let Ok(Some(page)) = sysconf(SysconfVar::PAGE_SIZE) else { return 1 };
    let page = page.unsigned_abs();
    for header in headers {
        let start = (base + header.p_vaddr).next_multiple_of(page);
        let end = (base + header.p_vaddr + header.p_memsz) / page * page;
        let is_pure = header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0;
        if let (Ok(start), Ok(end)) = (usize::try_from(start), usize::try_from(end))
            && is_pure
            && start < end
        {
            pages.0.push(start..end);
        }
    }
    1
}

/// Gives back the free end of the heap.
pub(crate) fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no precondition; nobody has a pointer to what is free.
    unsafe {
        libc::malloc_trim(0)
    };
}

/// What a child does between fork and exec.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChildSetup {
    /// The signal mask that it starts with.
    pub(crate) mask: SigSet,
    /// Kill it when this process, its parent, dies.
    pub(crate) dies_with: Option<Pid>,
    /// Make its group the foreground of the terminal on stdin.
    pub(crate) takes_terminal: bool,
}

/// Has `command` prepare its child so.
pub(crate) fn prepare_child(command: &mut Command, setup: ChildSetup) {
    let prepare = move || {
        if setup.takes_terminal {
            // SIGTTOU is still blocked here, so the call does not stop us. Not having the
            // terminal after all is no reason not to run.
            let _ = tcsetpgrp(io::stdin(), getpgrp());
        }
        if let Some(parent) = setup.dies_with {
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            if getppid() != parent {
                return Err(Errno::ESRCH.into());
            }
        }
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&setup.mask), None)?;
        Ok(())
    };
    // SAFETY: the closure runs in the forked child of a single-threaded process. It makes only
    // async-signal-safe system calls, allocates nothing (an `Errno` is stored inline in the error)
    // and touches no lock.
    unsafe { command.pre_exec(prepare) };
}

/// Gives a signal its default action: an ignored SIGCHLD would have the kernel reap, and the
/// language's own handlers of SIGSEGV and SIGBUS swallow the first that is sent from outside.
pub(crate) fn restore_default(signal: Signal) -> nix::Result<()> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: the default action runs no code of ours in signal context.
    unsafe { sigaction(signal, &default) }.map(drop)
}

/// Ignores a signal; returns what was done before.
pub(crate) fn ignore(signal: Signal) -> nix::Result<SigAction> {
    let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    // SAFETY: ignoring runs no code of ours in signal context.
    unsafe { sigaction(signal, &ignore) }
}

/// Has a child take the foreground of the terminal on stdin, if there is one, and start with this
/// mask and these dispositions.
pub(crate) fn prepare_grouped_child(
    command: &mut Command,
    mask: SigSet,
    actions: Vec<(Signal, SigAction)>,
) {
    let prepare = move || {
        match tcsetpgrp(io::stdin(), getpgrp()) {
            Ok(()) | Err(Errno::ENOTTY | Errno::ENXIO) => {}
            Err(errno) => return Err(errno.into()),
        }
        for (signal, action) in &actions {
            // SAFETY: what was there before is put back.
            unsafe { sigaction(*signal, action) }?;
        }
        Ok(sigprocmask(SigmaskHow::SIG_SETMASK, Some(&mask), None)?)
    };
    // SAFETY: as in `prepare_child`.
    unsafe { command.pre_exec(prepare) };
}

/// Has a child start with no signal blocked or ignored, and in a session of its own if told so,
/// which then takes the terminal on stdin, if it can.
pub(crate) fn prepare_fresh_child(command: &mut Command, in_session: bool) {
    let prepare = move || {
        for signal in Signal::iterator() {
            // Two of them cannot be changed, and need not.
            let _ = restore_default(signal);
        }
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
        if in_session {
            setsid()?;
            // SAFETY: TIOCSCTTY takes a number. Without a terminal it fails, which is as well.
            let _ = unsafe { libc::ioctl(libc::STDIN_FILENO, libc::TIOCSCTTY, 0) };
        }
        Ok(())
    };
    // SAFETY: as in `prepare_child`.
    unsafe { command.pre_exec(prepare) };
}

/// Gives up the controlling terminal on stdin.
pub(crate) fn leave_terminal() -> nix::Result<()> {
    // SAFETY: TIOCNOTTY takes no argument.
    Errno::result(unsafe { libc::ioctl(libc::STDIN_FILENO, libc::TIOCNOTTY) }).map(drop)
}

/// A signal in the words of the C library.
pub fn signal_words(signal: i32) -> String {
    // SAFETY: `strsignal` returns null or a string that lives until the next call; this process
    // has one thread, and it is copied at once.
    let words = unsafe {
        let words = libc::strsignal(signal);
        (!words.is_null()).then(|| std::ffi::CStr::from_ptr(words).to_string_lossy().into_owned())
    };
    words.unwrap_or_else(|| signal.to_string())
}

/// Sends any signal, real-time ones too, which `nix` cannot name; a negative pid means a group.
pub(crate) fn kill(pid: i32, signal: i32) -> nix::Result<()> {
    // SAFETY: `kill` takes two numbers and no memory.
    Errno::result(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// How many bytes wait in a pipe.
pub(crate) fn bytes_waiting(pipe: &impl AsRawFd) -> nix::Result<usize> {
    let mut count: libc::c_int = 0;
    // SAFETY: FIONREAD writes one `int`, into `count`.
    Errno::result(unsafe { libc::ioctl(pipe.as_raw_fd(), libc::FIONREAD, &raw mut count) })?;
    Ok(usize::try_from(count).unwrap_or_default())
}

/// Blocks 32 and 33, which the C library keeps for itself and leaves out of every set: sent from
/// outside they would end us.
pub(crate) fn block_internal_signals() -> nix::Result<()> {
    let mask: u64 = 1 << 31 | 1 << 32;
    // SAFETY: the kernel reads eight bytes of `mask` and writes nothing.
    Errno::result(unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_BLOCK,
            &raw const mask,
            std::ptr::null::<u64>(),
            size_of::<u64>(),
        )
    })
    .map(drop)
}

/// What `waitpid` reported of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reaped {
    /// It ended.
    Ended(Ended),
    /// It was stopped, and lives.
    Stopped {
        /// Its process id.
        pid: i32,
    },
}

/// A child that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its process id.
    pub pid: i32,
    /// Its exit code, or 128 + n.
    pub code: u8,
    /// The signal that ended it.
    pub signal: Option<i32>,
}

/// Reaps one child that ended or was stopped, any for `pid` -1; `None` if there is none now. `nix`
/// fails on a child that a real-time signal ended, after having reaped it.
pub(crate) fn reap(pid: i32) -> nix::Result<Option<Reaped>> {
    let mut status = 0;
    // SAFETY: `waitpid` writes one number, into `status`.
    let pid = Errno::result(unsafe {
        libc::waitpid(pid, &raw mut status, libc::WNOHANG | libc::WUNTRACED)
    })?;
    if pid == 0 {
        return Ok(None);
    }
    if libc::WIFSTOPPED(status) {
        return Ok(Some(Reaped::Stopped { pid }));
    }
    let signal = libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status));
    let code = match signal {
        Some(signal) => exit_codes::of_signal(signal),
        // The kernel keeps eight bits.
        None => u8::try_from(libc::WEXITSTATUS(status)).unwrap_or(u8::MAX),
    };
    Ok(Some(Reaped::Ended(Ended { pid, code, signal })))
}

/// Takes a descriptor that the guard left open for the engine, and keeps it from its children.
///
/// Each number must be taken once only; the engine does so in one place, before anything else runs.
pub(crate) fn take_inherited(number: RawFd) -> nix::Result<OwnedFd> {
    // SAFETY: only probed here; `fcntl` fails with EBADF if nothing is open under this number.
    let probe = unsafe { std::os::fd::BorrowedFd::borrow_raw(number) };
    fcntl(probe, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    // SAFETY: it is open, was made for us by the guard, and nobody else in this process owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
