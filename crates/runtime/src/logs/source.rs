//! Reads a pipe without taking from it what is not yet written elsewhere.
//!
//! `tee(2)` copies what the pipe holds into a scratch pipe (pages are shared, not copied), the
//! window is read from there, and only [`Source::consume`] removes bytes from the pipe itself. A reader
//! that dies in between leaves everything it had not consumed to the next one. What is no pipe is
//! read plainly.
//!
//! The exception is a partial line that fills half of the pipe: it is taken into memory, or the
//! writer could block before it finishes the line. With pipes of 1 MiB and lines of 256 KiB at most
//! that never happens.
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

/// One of the app's streams.
#[derive(Debug)]
pub(super) struct Source {
    pipe: File,
    scratch: Option<Scratch>,
    window: Vec<u8>,
    /// How many bytes at the end of the window are still in the pipe.
    in_pipe: usize,
}

/// The pipe that pages are shared with, empty between two fills.
#[derive(Debug)]
struct Scratch {
    reader: File,
    writer: OwnedFd,
    /// Where consumed pages go.
    null: Option<File>,
    /// From so many bytes on a partial line is taken into memory.
    absorb_bytes: usize,
}

impl Source {
    /// Reads `pipe`, which is better a pipe.
    ///
    /// # Errors
    /// When the kernel refuses a scratch pipe, or to make what is no pipe non-blocking.
    pub(super) fn new(pipe: OwnedFd) -> io::Result<Self> {
        let scratch = match fcntl(&pipe, FcntlArg::F_GETPIPE_SZ) {
            Ok(size) => Some(Scratch::new(size)?),
            Err(_) => {
                let flags = OFlag::from_bits_retain(fcntl(&pipe, FcntlArg::F_GETFL)?);
                fcntl(&pipe, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
                None
            }
        };
        Ok(Self { pipe: File::from(pipe), scratch, window: Vec::new(), in_pipe: 0 })
    }

    /// The bytes that were read and not consumed.
    pub(super) fn window(&self) -> &[u8] {
        &self.window
    }

    /// Looks for more bytes; never waits.
    ///
    /// # Errors
    /// When the pipe cannot be read; it never will be again.
    pub(super) fn fill(&mut self) -> io::Result<Filled> {
        let Some(scratch) = &mut self.scratch else { return self.fill_plainly() };
        let wanted = self.in_pipe + FILL_BYTES_MAX;
        let found = match tee(&self.pipe, &scratch.writer, wanted, SpliceFFlags::SPLICE_F_NONBLOCK)
        {
            Ok(0) => return Ok(Filled::Ended),
            Ok(found) => found,
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(Filled::Nothing),
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

    /// Drops the first `count` bytes of the window, and takes them from the pipe.
    ///
    /// # Errors
    /// When the pipe does not give what it showed; someone else reads it.
    pub(super) fn consume(&mut self, count: usize) -> io::Result<()> {
        let taken = self.window.len() - self.in_pipe;
        let from_pipe = count.saturating_sub(taken);
        self.window.drain(..count);
        if self.window.is_empty() {
            self.window.shrink_to(FILL_BYTES_MAX);
        }
        self.in_pipe -= from_pipe;
        match &self.scratch {
            Some(scratch) => discard(&self.pipe, scratch.null.as_ref(), from_pipe),
            None => Ok(()),
        }
    }

    /// Makes room in the pipe when a partial line fills too much of it.
    ///
    /// # Errors
    /// As [`Source::consume`].
    pub(super) fn absorb(&mut self) -> io::Result<()> {
        match &self.scratch {
            Some(scratch) if self.in_pipe >= scratch.absorb_bytes => {
                discard(&self.pipe, scratch.null.as_ref(), self.in_pipe)?;
                self.in_pipe = 0;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl AsFd for Source {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

impl Scratch {
    fn new(source_size: i32) -> io::Result<Self> {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
        // Refused when the user's pages for pipes are used up; then lines are absorbed earlier.
        let _ = fcntl(&writer, FcntlArg::F_SETPIPE_SZ(source_size));
        let size = fcntl(&writer, FcntlArg::F_GETPIPE_SZ)?.min(source_size);
        let absorb_bytes = usize::try_from(size).unwrap_or(0) / 2;
        let null = File::options().write(true).open("/dev/null").ok();
        Ok(Self { reader: File::from(reader), writer, null, absorb_bytes })
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
        let (mut app, reader) = pipe();
        let next_reader = reader.try_clone().expect("a duplicate");
        app.write_all(b"one\ntwo\nthr").expect("room");
        let mut first = Source::new(reader).expect("a source");
        assert_eq!(first.fill().expect("readable"), Filled::More(11));
        first.consume(4).expect("consumed");
        assert_eq!(first.window(), b"two\nthr");
        drop(first);

        let mut second = Source::new(next_reader).expect("a source");
        app.write_all(b"ee\n").expect("room");
        assert_eq!(second.fill().expect("readable"), Filled::More(10));
        assert_eq!(second.window(), b"two\nthree\n");
    }

    #[test]
    fn only_new_bytes_count_as_more() {
        let (mut app, reader) = pipe();
        let mut source = Source::new(reader).expect("a source");
        assert_eq!(source.fill().expect("readable"), Filled::Nothing);
        app.write_all(b"ab").expect("room");
        assert_eq!(source.fill().expect("readable"), Filled::More(2));
        assert_eq!(source.fill().expect("readable"), Filled::Nothing);
        app.write_all(b"c").expect("room");
        assert_eq!(source.fill().expect("readable"), Filled::More(1));
        assert_eq!(source.window(), b"abc");
    }

    #[test]
    fn the_end_comes_after_the_last_byte() {
        let (mut app, reader) = pipe();
        let mut source = Source::new(reader).expect("a source");
        app.write_all(b"last words").expect("room");
        drop(app);
        assert_eq!(source.fill().expect("readable"), Filled::More(10));
        assert_eq!(source.fill().expect("readable"), Filled::Ended);
        assert_eq!(source.window(), b"last words");
        source.consume(10).expect("consumed");
        assert_eq!(source.fill().expect("readable"), Filled::Ended);
    }

    #[test]
    fn a_partial_line_does_not_fill_the_pipe_for_ever() {
        let (mut app, reader) = pipe();
        let mut source = Source::new(reader).expect("a source");
        for _ in 0..64 {
            // More than the pipe holds, in all; a write that found no room would hang the test.
            app.write_all(&[b'x'; 4096]).expect("room");
            while source.fill().expect("readable") != Filled::Nothing {}
            source.absorb().expect("absorbed");
        }
        assert_eq!(source.window().len(), 64 * 4096);
        source.consume(64 * 4096).expect("consumed");
        assert_eq!(source.window(), b"");
    }

    #[test]
    fn what_is_no_pipe_is_read_plainly() {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(b"text").expect("written");
        io::Seek::rewind(&mut file).expect("rewound");
        let mut source = Source::new(file.into()).expect("a source");
        assert_eq!(source.fill().expect("readable"), Filled::More(4));
        assert_eq!(source.fill().expect("readable"), Filled::Ended);
        source.consume(4).expect("consumed");
    }
}
