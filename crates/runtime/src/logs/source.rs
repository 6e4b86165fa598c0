//! Reads a pipe without taking from it what is not yet written elsewhere.
//!
//! `tee(2)` copies what the pipe holds into a scratch pipe (pages are shared, not copied), the
//! window is read from there, and only [`Source::consume`] removes bytes from the pipe itself. A
//! reader that dies in between leaves everything it had not consumed to the next one. What is no
//! pipe is read plainly.
//!
//! The exception is a partial line that fills half of the smaller pipe: it is taken into memory, or
//! the writer could block before it finishes the line. With pipes of 1 MiB, a scratch pipe of
//! [`SCRATCH_BYTES_MAX`] and lines of 256 KiB at most that does not happen.
//!
//! Invariant: the window is what was taken and not consumed, then the first bytes of the pipe.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice, tee};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::pipe2;

/// Most bytes that one [`Source::fill`] adds.
pub(super) const FILL_BYTES_MAX: usize = 64 * 1024;

/// What a [`Source::fill`] found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Filled {
    /// So many bytes more than before.
    More(usize),
    /// Nothing new now.
    Nothing,
    /// Nothing new ever.
    Ended,
}

/// Most bytes of the scratch pipe; they count against what the kernel allows a user.
const SCRATCH_BYTES_MAX: i32 = 512 * 1024;

/// One of the app's streams.
#[derive(Debug)]
pub(super) struct Source {
    pipe: File,
    /// Not a pipe that can be looked into: bytes are taken as they are read.
    is_plain: bool,
    window: Vec<u8>,
    /// How many bytes at the end of the window are still in the pipe.
    in_pipe: usize,
    /// From so many bytes on a partial line is taken into memory.
    absorb_bytes: usize,
}

/// The pipe that pages are shared with; one is enough, as it is empty between two fills.
#[derive(Debug)]
pub(super) struct Scratch {
    reader: File,
    writer: OwnedFd,
    bytes_max: i32,
    /// Where consumed pages go.
    null: Option<File>,
}

impl Source {
    /// Reads `pipe`, which is better a pipe.
    ///
    /// # Errors
    /// When what is no pipe cannot be made non-blocking.
    pub(super) fn new(pipe: OwnedFd, scratch: &Scratch) -> io::Result<Self> {
        let size = fcntl(&pipe, FcntlArg::F_GETPIPE_SZ);
        let mut source = Self {
            pipe: File::from(pipe),
            is_plain: false,
            window: Vec::new(),
            in_pipe: 0,
            absorb_bytes: 0,
        };
        match size {
            Ok(size) => {
                let smaller = usize::try_from(size.min(scratch.bytes_max));
                source.absorb_bytes = smaller.unwrap_or(0) / 2;
            }
            Err(_) => source.become_plain()?,
        }
        Ok(source)
    }

    fn become_plain(&mut self) -> io::Result<()> {
        let flags = OFlag::from_bits_retain(fcntl(&self.pipe, FcntlArg::F_GETFL)?);
        fcntl(&self.pipe, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        self.is_plain = true;
        Ok(())
    }

    /// The bytes that were read and not consumed.
    pub(super) fn window(&self) -> &[u8] {
        &self.window
    }

    /// Whether bytes of a partial line are still in the pipe.
    ///
    /// Then epoll may be silent about more: a writer that was blocked in the middle of a large
    /// write and goes on wakes its reader only if the pipe was empty.
    pub(super) fn holds_back(&self) -> bool {
        self.in_pipe > 0
    }

    /// Looks for more bytes; never waits.
    ///
    /// # Errors
    /// When the pipe cannot be read; it never will be again.
    pub(super) fn fill(&mut self, scratch: &mut Scratch) -> io::Result<Filled> {
        if self.is_plain {
            return self.fill_plainly();
        }
        let wanted = self.in_pipe + FILL_BYTES_MAX;
        let found = match tee(&self.pipe, &scratch.writer, wanted, SpliceFFlags::SPLICE_F_NONBLOCK)
        {
            Ok(0) => return Ok(Filled::Ended),
            Ok(found) => found,
            Err(Errno::EAGAIN) => return Ok(Filled::Nothing),
            // A kernel without it, such as a sandbox.
            Err(Errno::ENOSYS | Errno::EINVAL) if self.in_pipe == 0 => {
                self.become_plain()?;
                return self.fill_plainly();
            }
            Err(error) => return Err(error.into()),
        };
        scratch.skip(found.min(self.in_pipe))?;
        if found <= self.in_pipe {
            return Ok(if is_hung_up(self.pipe.as_fd()) { Filled::Ended } else { Filled::Nothing });
        }
        let fresh = found - self.in_pipe;
        let start = self.window.len();
        self.window.resize(start + fresh, 0);
        scratch.reader.read_exact(&mut self.window[start..])?;
        self.in_pipe = found;
        Ok(Filled::More(fresh))
    }

    fn fill_plainly(&mut self) -> io::Result<Filled> {
        let start = self.window.len();
        self.window.resize(start + FILL_BYTES_MAX, 0);
        let read = self.pipe.read(&mut self.window[start..]);
        self.window.truncate(start + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => Ok(Filled::Ended),
            Ok(fresh) => Ok(Filled::More(fresh)),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(Filled::Nothing),
                _ => Err(error),
            },
        }
    }

    /// Drops the first `count` bytes of the window. So many of them as it says are still to be
    /// taken from the pipe.
    pub(super) fn release(&mut self, count: usize) -> usize {
        let in_memory = self.window.len() - self.in_pipe;
        let from_pipe = count.saturating_sub(in_memory);
        self.window.drain(..count);
        if self.window.is_empty() {
            self.window.shrink_to(FILL_BYTES_MAX);
        }
        self.in_pipe -= from_pipe;
        from_pipe
    }

    /// The pipe itself.
    pub(super) fn pipe(&self) -> &File {
        &self.pipe
    }

    /// Drops the first `count` bytes of the window, and takes them from the pipe.
    ///
    /// # Errors
    /// When the pipe does not give what it showed; someone else reads it.
    pub(super) fn consume(&mut self, count: usize, scratch: &Scratch) -> io::Result<()> {
        let from_pipe = self.release(count);
        discard(&self.pipe, scratch.null.as_ref(), from_pipe)
    }

    /// Makes room in the pipe when a partial line fills too much of it.
    ///
    /// # Errors
    /// As [`Source::consume`].
    pub(super) fn absorb(&mut self, scratch: &Scratch) -> io::Result<()> {
        if self.in_pipe > 0 && self.in_pipe >= self.absorb_bytes {
            discard(&self.pipe, scratch.null.as_ref(), self.in_pipe)?;
            self.in_pipe = 0;
        }
        Ok(())
    }
}

impl AsFd for Source {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

impl Scratch {
    /// A pipe as large as the kernel allows, up to the limit.
    ///
    /// # Errors
    /// When the kernel refuses a pipe.
    pub(super) fn new() -> io::Result<Self> {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
        // Refused when the user's pages for pipes are used up; then lines are absorbed earlier.
        let _ = fcntl(&writer, FcntlArg::F_SETPIPE_SZ(SCRATCH_BYTES_MAX));
        let bytes_max = fcntl(&writer, FcntlArg::F_GETPIPE_SZ)?;
        let null = File::options().write(true).open("/dev/null").ok();
        Ok(Self { reader: File::from(reader), writer, bytes_max, null })
    }

    fn skip(&mut self, count: usize) -> io::Result<()> {
        discard(&self.reader, self.null.as_ref(), count)
    }
}

/// Takes `count` bytes, which must be there, out of `pipe`: by page into `/dev/null` where there is
/// one, else by copying.
fn discard(mut pipe: &File, null: Option<&File>, mut count: usize) -> io::Result<()> {
    let mut copy = [0; 4096];
    while count > 0 {
        let by_page =
            null.map(|null| splice(pipe, None, null, None, count, SpliceFFlags::SPLICE_F_NONBLOCK));
        let gone = match by_page {
            Some(Ok(gone)) if gone > 0 => gone,
            Some(Err(Errno::EINTR)) => continue,
            Some(Ok(_)) | Some(Err(Errno::EAGAIN)) => {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Some(Err(_)) | None => {
                let limit = count.min(copy.len());
                pipe.read(&mut copy[..limit])?
            }
        };
        if gone == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        count -= gone;
    }
    Ok(())
}

fn is_hung_up(pipe: BorrowedFd<'_>) -> bool {
    let mut asked = [PollFd::new(pipe, PollFlags::POLLIN)];
    let hung_up = PollFlags::POLLHUP;
    poll(&mut asked, PollTimeout::ZERO).is_ok()
        && asked[0].revents().is_some_and(|events| events.contains(hung_up))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn pipe() -> (File, OwnedFd) {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC).expect("a pipe");
        (File::from(writer), reader)
    }

    #[test]
    fn what_was_not_consumed_is_left_to_the_next_reader() {
        let mut scratch = Scratch::new().expect("a pipe");
        let (mut app, reader) = pipe();
        let next_reader = reader.try_clone().expect("a duplicate");
        app.write_all(b"one\ntwo\nthr").expect("room");
        let mut first = Source::new(reader, &scratch).expect("a source");
        assert_eq!(first.fill(&mut scratch).expect("readable"), Filled::More(11));
        first.consume(4, &scratch).expect("consumed");
        assert_eq!(first.window(), b"two\nthr");
        drop(first);

        let mut second = Source::new(next_reader, &scratch).expect("a source");
        app.write_all(b"ee\n").expect("room");
        assert_eq!(second.fill(&mut scratch).expect("readable"), Filled::More(10));
        assert_eq!(second.window(), b"two\nthree\n");
    }

    #[test]
    fn only_new_bytes_count_as_more() {
        let mut scratch = Scratch::new().expect("a pipe");
        let (mut app, reader) = pipe();
        let mut source = Source::new(reader, &scratch).expect("a source");
        assert_eq!(source.fill(&mut scratch).expect("readable"), Filled::Nothing);
        app.write_all(b"ab").expect("room");
        assert_eq!(source.fill(&mut scratch).expect("readable"), Filled::More(2));
        assert_eq!(source.fill(&mut scratch).expect("readable"), Filled::Nothing);
        app.write_all(b"c").expect("room");
        assert_eq!(source.fill(&mut scratch).expect("readable"), Filled::More(1));
        assert_eq!(source.window(), b"abc");
    }

    #[test]
    fn the_end_comes_after_the_last_byte() {
        let mut scratch = Scratch::new().expect("a pipe");
        let (mut app, reader) = pipe();
        let mut source = Source::new(reader, &scratch).expect("a source");
        app.write_all(b"last words").expect("room");
        drop(app);
        assert_eq!(source.fill(&mut scratch).expect("readable"), Filled::More(10));
        assert_eq!(source.fill(&mut scratch).expect("readable"), Filled::Ended);
        assert_eq!(source.window(), b"last words");
        source.consume(10, &scratch).expect("consumed");
        assert_eq!(source.fill(&mut scratch).expect("readable"), Filled::Ended);
    }

    #[test]
    fn a_partial_line_does_not_fill_the_pipe_for_ever() {
        let mut scratch = Scratch::new().expect("a pipe");
        let (mut app, reader) = pipe();
        let mut source = Source::new(reader, &scratch).expect("a source");
        for _ in 0..64 {
            // More than the pipe holds, in all; a write that found no room would hang the test.
            app.write_all(&[b'x'; 4096]).expect("room");
            while source.fill(&mut scratch).expect("readable") != Filled::Nothing {}
            source.absorb(&scratch).expect("absorbed");
        }
        assert_eq!(source.window().len(), 64 * 4096);
        source.consume(64 * 4096, &scratch).expect("consumed");
        assert_eq!(source.window(), b"");
    }

    #[test]
    fn what_is_no_pipe_is_read_plainly() {
        let mut scratch = Scratch::new().expect("a pipe");
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(b"text").expect("written");
        io::Seek::rewind(&mut file).expect("rewound");
        let mut source = Source::new(file.into(), &scratch).expect("a source");
        assert_eq!(source.fill(&mut scratch).expect("readable"), Filled::More(4));
        assert_eq!(source.fill(&mut scratch).expect("readable"), Filled::Ended);
        source.consume(4, &scratch).expect("consumed");
    }
}
