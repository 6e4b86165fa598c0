//! Writes lines and takes their bytes from the app's pipe as one deed, even across SIGKILL.
//!
//! Between "written" and "taken" an engine may be killed; its successor must know which of the two
//! happened. Only the kernel can tell, so both are made of calls that count in the kernel:
//!
//! ```text
//! note what is meant -> fill the staging pipe -> splice app's pipe into the journal (its position
//! counts what was taken) -> splice the staging pipe to the output (what is left in it is owed)
//! ```
//!
//! The journal (a memory file) and the staging pipe are the guard's, so the successor finds them
//! as they were left: it forgets what was only half staged, and finishes what was staged. Pages
//! move between pipes and are never written again, so no reader can see them change.
//!
//! An output that cannot be spliced to (a file opened for appending, a terminal), a batch larger
//! than the staging pipe, or a kernel without memory files is written plainly: there, and only
//! there, a kill during the write repeats the batch, after a line end. It deliberately knows
//! nothing of lines.
//!
//! Invariant: a batch that was noted is written once and its bytes are taken once.

mod note;

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::FileExt,
    },
    time::Duration,
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::memfd::{MFdFlags, memfd_create},
    unistd::{isatty, pipe2},
};

use self::note::{NOTE_BYTES, Note, Stage};
use crate::sys;

/// How many streams the app has.
pub const LANES: usize = 2;
/// Size of the staging pipe; an unprivileged user may make one of 1 MiB.
const STAGING_BYTES: i32 = 1024 * 1024;
/// A slot of a pipe.
const PAGE_BYTES: usize = 4096;
/// The note is before this position of the journal, what is taken goes behind it.
const COUNTER_BASE: u64 = 4096;
/// Whenever more than so many bytes were taken, the next go in their place: new memory costs time.
const COUNTER_BYTES_KEPT: u64 = 256 * 1024;

/// What the guard keeps for the journals of all engines.
#[derive(Debug)]
pub struct Kept {
    /// The note, and by its position how much was taken.
    pub journal: OwnedFd,
    /// Read end of the staging pipe.
    pub staged: OwnedFd,
    /// Write end of the staging pipe.
    pub staging: OwnedFd,
}

impl Kept {
    /// An empty journal.
    ///
    /// # Errors
    /// When the kernel has no memory files, or no pipe is left.
    pub fn create() -> io::Result<Self> {
        let journal = memfd_create("plimsoll-journal", MFdFlags::MFD_CLOEXEC)?;
        let (staged, staging) = pipe2(OFlag::O_CLOEXEC)?;
        // Refused when the user's pages for pipes are used up; then fewer batches fit.
        let _ = fcntl(&staging, FcntlArg::F_SETPIPE_SZ(STAGING_BYTES));
        Ok(Self { journal, staged, staging })
    }

    /// The same three again, for one engine.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            journal: self.journal.try_clone()?,
            staged: self.staged.try_clone()?,
            staging: self.staging.try_clone()?,
        })
    }
}

/// Bytes to take from an app's pipe together with a write.
#[derive(Clone, Copy, Debug)]
pub(super) struct Take<'a> {
    /// Index of the stream.
    pub(super) lane: usize,
    /// Its pipe.
    pub(super) pipe: &'a File,
    /// How many of its first bytes.
    pub(super) count: usize,
    /// To be remembered of the stream from then on.
    pub(super) state: u64,
}

/// A descriptor that lines are written to.
#[derive(Debug)]
pub(super) struct Output {
    file: File,
    index: usize,
    /// It cannot be spliced to.
    is_plain: bool,
    /// Nobody will ever read again.
    is_closed: bool,
    /// The last plain write ended in the middle of a line.
    is_torn: bool,
}

/// The two ends and the note.
#[derive(Debug)]
pub(super) struct Journal {
    journal: File,
    staged: File,
    staging: File,
    staging_bytes: usize,
    states: [u64; LANES],
}

impl Journal {
    /// Takes over, and finishes what the engine before had begun. `outputs` have the order of
    /// [`Output::new`].
    ///
    /// # Errors
    /// When the kernel refuses to look into what it gave.
    pub(super) fn resume(
        kept: Kept,
        pipes: [&File; LANES],
        outputs: [&mut Output; 2],
    ) -> io::Result<(Self, [u64; LANES])> {
        let staging_bytes = fcntl(&kept.staging, FcntlArg::F_GETPIPE_SZ)?;
        let mut journal = Self {
            journal: kept.journal.into(),
            staged: kept.staged.into(),
            staging: kept.staging.into(),
            staging_bytes: usize::try_from(staging_bytes).unwrap_or_default(),
            states: [0; LANES],
        };
        let note = journal.note()?;
        let n_taken = journal.position()?.saturating_sub(note.base);
        let n_staged = sys::bytes_waiting(&journal.staged)?;
        let counts = match note.stage {
            Stage::Idle | Stage::Staged | Stage::Written | Stage::Torn => true,
            Stage::Staging => n_taken > 0 || n_staged == note.n_written,
            Stage::Writing => false,
        };
        journal.states = if counts { note.after } else { note.before };
        let output = outputs.into_iter().nth(note.output);
        let is_torn = matches!(note.stage, Stage::Writing | Stage::Torn);
        if counts && note.stage != Stage::Idle {
            if let Some(pipe) = pipes.get(note.lane) {
                journal.take(pipe, note.base, note.n_taken)?;
            }
            if let Some(output) = output {
                // Nobody may read any more; then nothing is owed either.
                let _ = journal.settle(output, n_staged);
                output.is_torn |= is_torn;
            }
        } else if let Some(output) = output {
            output.is_torn |= is_torn;
        }
        journal.forget()?;
        journal.rest()?;
        let states = journal.states;
        Ok((journal, states))
    }

    /// Writes `batch` and takes the bytes that it was made of.
    ///
    /// # Errors
    /// The first is that of the write, after which the batch is lost; the second that of the pipe,
    /// which then has another reader.
    pub(super) fn carry(
        &mut self,
        output: &mut Output,
        batch: &[u8],
        take: Option<Take<'_>>,
    ) -> (io::Result<()>, io::Result<()>) {
        let is_staged = !output.is_plain
            && !output.is_torn
            && batch.len().div_ceil(PAGE_BYTES) <= self.staging_bytes / PAGE_BYTES;
        let stage = if is_staged { Stage::Staging } else { Stage::Writing };
        let base = match self.base() {
            Ok(base) => base,
            Err(error) => return (output.write_all(batch), Err(error)),
        };
        let note = self.meant(stage, base, (output.index, batch.len()), take);
        if is_staged {
            self.splice_batch(output, batch, take, note)
        } else {
            self.write_batch(output, batch, take, note)
        }
    }

    fn splice_batch(
        &mut self,
        output: &mut Output,
        batch: &[u8],
        take: Option<Take<'_>>,
        note: Note,
    ) -> (io::Result<()>, io::Result<()>) {
        let noted = self.write_note(&note).and_then(|()| (&self.staging).write_all(batch));
        // Without bytes to take, only the note can tell a batch that was staged from one that was
        // already written.
        let noted = match noted {
            Ok(()) if note.n_taken == 0 => self.write_note(&Note { stage: Stage::Staged, ..note }),
            noted => noted,
        };
        if let Err(error) = noted {
            // No memory for the journal: as if there was none.
            let written = self.forget().and(output.write_all(batch)).map_err(|_| error);
            return (written, self.take_all(take, note.base));
        }
        let taken = self.take_all(take, note.base);
        let written = self.settle(output, batch.len());
        (written, taken)
    }

    fn write_batch(
        &mut self,
        output: &mut Output,
        batch: &[u8],
        take: Option<Take<'_>>,
        note: Note,
    ) -> (io::Result<()>, io::Result<()>) {
        // A journal that cannot be written makes a kill repeat the batch, and nothing worse.
        let _ = self.write_note(&note);
        let written = output.write_all(batch);
        let _ = self.write_note(&Note { stage: Stage::Written, ..note });
        (written, self.take_all(take, note.base))
    }

    /// Has `write` write as much of a batch as is read, and takes the bytes that the batch was made
    /// of. `write` says whether it ended in the middle of a line. A kill meanwhile leaves the batch
    /// to the successor, which then repeats what was written of it, after a line end.
    ///
    /// # Errors
    /// When the pipe has another reader.
    pub(super) fn carry_some(
        &mut self,
        output: &mut Output,
        take: Option<Take<'_>>,
        write: impl FnOnce(&mut Output) -> bool,
    ) -> io::Result<()> {
        let base = match self.base() {
            Ok(base) => base,
            Err(error) => {
                write(output);
                return Err(error);
            }
        };
        let note = self.meant(Stage::Writing, base, (output.index, 0), take);
        let _ = self.write_note(&note);
        let stage = if write(output) { Stage::Torn } else { Stage::Written };
        let _ = self.write_note(&Note { stage, ..note });
        self.take_all(take, note.base)
    }

    /// The rest of a line that was torn has been written, or given up.
    pub(super) fn mended(&self) {
        // Without it the successor of a killed engine begins with an empty line.
        let _ = self.rest();
    }

    /// What a deed is about; from here on the new state of the stream is ours.
    fn meant(
        &mut self,
        stage: Stage,
        base: u64,
        (output, n_written): (usize, usize),
        take: Option<Take<'_>>,
    ) -> Note {
        let before = self.states;
        if let Some(take) = take {
            self.states[take.lane] = take.state;
        }
        Note {
            stage,
            output,
            lane: take.map_or(0, |take| take.lane),
            base,
            n_taken: take.map_or(0, |take| take.count),
            n_written,
            before,
            after: self.states,
        }
    }

    /// Where the next deed begins to count, which is at the front again now and then.
    fn base(&mut self) -> io::Result<u64> {
        let position = self.position()?;
        if position <= COUNTER_BASE + COUNTER_BYTES_KEPT {
            return Ok(position);
        }
        // No note may have a base behind the position.
        self.rest()?;
        self.journal.seek(SeekFrom::Start(COUNTER_BASE))
    }

    /// Notes that nothing is owed.
    fn rest(&self) -> io::Result<()> {
        let states = self.states;
        self.write_note(&Note { before: states, after: states, ..Note::default() })
    }

    fn take_all(&mut self, take: Option<Take<'_>>, base: u64) -> io::Result<()> {
        take.map_or(Ok(()), |take| self.take(take.pipe, base, take.count))
    }

    /// Takes from `pipe` until `count` bytes are taken since the journal was at `base`.
    fn take(&mut self, pipe: &File, base: u64, count: usize) -> io::Result<()> {
        let end = base + count as u64;
        let mut left = usize::try_from(end.saturating_sub(self.position()?)).unwrap_or_default();
        while left > 0 {
            let flags = SpliceFFlags::SPLICE_F_NONBLOCK;
            match splice(pipe, None, &self.journal, None, left, flags) {
                Ok(0) | Err(Errno::EAGAIN) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(taken) => left -= taken,
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Moves what is staged to the output.
    fn settle(&mut self, output: &mut Output, mut n_staged: usize) -> io::Result<()> {
        while n_staged > 0 {
            let flags = SpliceFFlags::empty();
            match splice(&self.staged, None, &output.file, None, n_staged, flags) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => n_staged -= written,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => output.wait(),
                Err(Errno::EINVAL | Errno::ENOSYS) => {
                    output.is_plain = true;
                    let mut rest = vec![0; n_staged];
                    (&self.staged).read_exact(&mut rest)?;
                    return output.write_all(&rest);
                }
                Err(errno) => {
                    self.forget()?;
                    return Err(output.note_error(errno.into()));
                }
            }
        }
        Ok(())
    }

    /// Empties the staging pipe.
    fn forget(&mut self) -> io::Result<()> {
        let left = sys::bytes_waiting(&self.staged)?;
        let mut rest = (&self.staged).take(left as u64);
        io::copy(&mut rest, &mut io::sink()).map(drop)
    }

    /// Where the next byte that is taken will go; kept by the kernel.
    fn position(&mut self) -> io::Result<u64> {
        match self.journal.stream_position()? {
            before @ 0..COUNTER_BASE => {
                debug_assert_eq!(before, 0, "nothing is taken into the note");
                self.journal.seek(SeekFrom::Start(COUNTER_BASE))
            }
            position => Ok(position),
        }
    }

    fn note(&self) -> io::Result<Note> {
        let mut bytes = [0; NOTE_BYTES];
        match self.journal.read_exact_at(&mut bytes, 0) {
            Ok(()) => Ok(Note::decode(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Note::default()),
            Err(error) => Err(error),
        }
    }

    fn write_note(&self, note: &Note) -> io::Result<()> {
        self.journal.write_all_at(&note.encode(), 0)
    }
}

impl Output {
    /// An output; `index` is 0 for stdout and 1 for stderr.
    pub(super) fn new(file: OwnedFd, index: usize) -> Self {
        let is_appending = fcntl(&file, FcntlArg::F_GETFL)
            .is_ok_and(|flags| OFlag::from_bits_retain(flags).contains(OFlag::O_APPEND));
        let is_plain = is_appending || isatty(&file).unwrap_or(false);
        Self { file: File::from(file), index, is_plain, is_closed: false, is_torn: false }
    }

    /// 0 for stdout and 1 for stderr.
    pub(super) fn index(&self) -> usize {
        self.index
    }

    /// Writes all of `bytes`, after the end of a line that was torn.
    pub(super) fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.is_closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let mended = if self.is_torn { self.write_plainly(b"\n") } else { Ok(()) };
        mended.and_then(|()| self.write_plainly(bytes)).map_err(|error| self.note_error(error))?;
        self.is_torn = false;
        Ok(())
    }

    fn write_plainly(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.file.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether a little can be written without blocking, now or within `patience`.
    pub(super) fn can_take(&self, patience: Duration) -> bool {
        let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::ZERO);
        let mut asked = [PollFd::new(self.file.as_fd(), PollFlags::POLLOUT)];
        poll(&mut asked, timeout).is_ok_and(|ready| ready > 0)
    }

    /// Someone who shares the descriptor made it non-blocking.
    fn wait(&self) {
        let mut asked = [PollFd::new(self.file.as_fd(), PollFlags::POLLOUT)];
        // An interrupted wait is only a short one.
        let _ = poll(&mut asked, PollTimeout::NONE);
    }

    fn note_error(&mut self, error: io::Error) -> io::Error {
        self.is_closed |= error.kind() == io::ErrorKind::BrokenPipe;
        self.is_torn = true;
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Rig {
        kept: Kept,
        app: File,
        pipe: File,
        reader: File,
        writer: OwnedFd,
    }

    impl Rig {
        fn new() -> Self {
            let (pipe, app) = pipe2(OFlag::O_CLOEXEC).expect("a pipe");
            let (reader, writer) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).expect("a pipe");
            let kept = Kept::create().expect("a journal");
            Self { kept, app: app.into(), pipe: pipe.into(), reader: reader.into(), writer }
        }

        fn output(&self) -> Output {
            Output::new(self.writer.try_clone().expect("a duplicate"), 0)
        }

        /// Another engine.
        fn journal(&self, output: &mut Output) -> (Journal, [u64; LANES]) {
            let kept = self.kept.try_clone().expect("duplicates");
            let mut other = self.output();
            Journal::resume(kept, [&self.pipe, &self.pipe], [output, &mut other]).expect("resumed")
        }

        fn take(&self, count: usize, state: u64) -> Take<'_> {
            Take { lane: 0, pipe: &self.pipe, count, state }
        }

        fn written(&mut self) -> String {
            let mut bytes = vec![0; 4096];
            let length = self.reader.read(&mut bytes).unwrap_or(0);
            String::from_utf8_lossy(&bytes[..length]).into_owned()
        }

        fn in_pipe(&self) -> usize {
            sys::bytes_waiting(&self.pipe).expect("a pipe")
        }
    }

    #[test]
    fn a_batch_is_written_and_its_bytes_are_taken() {
        let mut rig = Rig::new();
        rig.app.write_all(b"one\ntwo\n").expect("room");
        let mut output = rig.output();
        let (mut journal, _) = rig.journal(&mut output);
        let (written, taken) = journal.carry(&mut output, b"<one>\n", Some(rig.take(4, 7)));
        assert!(written.is_ok() && taken.is_ok());
        assert_eq!((rig.written().as_str(), rig.in_pipe()), ("<one>\n", 4));
        assert_eq!(rig.journal(&mut output).1, [7, 0]);
    }

    /// Dies after so many steps of one deed, and has the next engine go on.
    fn dies_after(steps: usize) -> (Rig, [u64; LANES]) {
        let rig = Rig::new();
        (&rig.app).write_all(b"one\ntwo\n").expect("room");
        let mut output = rig.output();
        let (mut journal, _) = rig.journal(&mut output);
        let batch = b"<one>\n<two>\n";
        let take = rig.take(8, 5);
        let base = journal.position().expect("a position");
        let note = journal.meant(Stage::Staging, base, (0, batch.len()), Some(take));
        let steps_of_it: [&dyn Fn(&mut Journal); 6] = [
            &|journal| journal.write_note(&note).expect("noted"),
            &|journal| (&journal.staging).write_all(&batch[..5]).expect("room"),
            &|journal| (&journal.staging).write_all(&batch[5..]).expect("room"),
            &|journal| journal.take(&rig.pipe, base, 3).expect("there"),
            &|journal| journal.take(&rig.pipe, base, 8).expect("there"),
            &|journal| journal.settle(&mut rig.output(), 7).expect("open"),
        ];
        for step in &steps_of_it[..steps] {
            step(&mut journal);
        }
        let states = rig.journal(&mut output).1;
        (rig, states)
    }

    #[test]
    fn whenever_an_engine_dies_a_batch_is_written_once_or_is_still_in_the_pipe() {
        for steps in 0..=6 {
            let (mut rig, states) = dies_after(steps);
            let found = (rig.written(), rig.in_pipe(), states);
            let untouched = (String::new(), 8, [0, 0]);
            let done = ("<one>\n<two>\n".to_owned(), 0, [5, 0]);
            assert_eq!(found, if steps <= 2 { untouched } else { done }, "after {steps} steps");
        }
    }

    #[test]
    fn own_lines_are_written_once_or_not_at_all() {
        let mut rig = Rig::new();
        let mut output = rig.output();
        let (mut journal, _) = rig.journal(&mut output);
        let note = journal.meant(Stage::Staging, COUNTER_BASE, (0, 4), None);
        journal.write_note(&note).expect("noted");
        (&journal.staging).write_all(b"own").expect("room");
        rig.journal(&mut output);
        assert_eq!(rig.written(), "");
        journal.write_note(&note).expect("noted");
        (&journal.staging).write_all(b"own\n").expect("room");
        journal.write_note(&Note { stage: Stage::Staged, ..note }).expect("noted");
        journal.settle(&mut output, 1).expect("open");
        rig.journal(&mut output);
        assert_eq!(rig.written(), "own\n");
    }

    #[test]
    fn a_file_that_is_appended_to_is_written_plainly_and_mended() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let append = File::options().append(true).open(file.path()).expect("it is there");
        let rig = Rig::new();
        (&rig.app).write_all(b"one\ntwo\n").expect("room");
        let mut output = Output::new(append.into(), 0);
        assert!(output.is_plain);
        let (mut journal, _) = rig.journal(&mut output);
        let note = journal.meant(Stage::Writing, COUNTER_BASE, (0, 6), Some(rig.take(4, 0)));
        journal.write_note(&note).expect("noted");
        output.write_plainly(b"<on").expect("written");
        let (mut journal, _) = rig.journal(&mut output);
        let (written, _) = journal.carry(&mut output, b"<one>\n", Some(rig.take(4, 0)));
        assert!(written.is_ok());
        let text = std::fs::read_to_string(file.path()).expect("text");
        assert_eq!((text.as_str(), rig.in_pipe()), ("<on\n<one>\n", 4));
    }

    #[test]
    fn a_batch_that_was_written_in_part_is_done_and_its_last_line_is_ended() {
        for (is_torn, expected) in [(true, "<one>\n<tw\n<next>\n"), (false, "<one>\n<tw<next>\n")] {
            let mut rig = Rig::new();
            rig.app.write_all(b"one\ntwo\nnext\n").expect("room");
            let mut output = rig.output();
            let (mut journal, _) = rig.journal(&mut output);
            let gone = journal.carry_some(&mut output, Some(rig.take(8, 7)), |output| {
                output.write_all(b"<one>\n<tw").expect("room");
                is_torn
            });
            assert!(gone.is_ok());
            let mut output = rig.output();
            let (mut journal, states) = rig.journal(&mut output);
            assert_eq!((states, rig.in_pipe()), ([7, 0], 5));
            let next = |output: &mut Output| output.write_all(b"<next>\n").is_err();
            assert!(journal.carry_some(&mut output, Some(rig.take(5, 9)), next).is_ok());
            assert_eq!((rig.written().as_str(), rig.in_pipe()), (expected, 0));
        }
    }

    #[test]
    fn a_batch_whose_writing_was_cut_short_is_left_to_the_next_engine() {
        let mut rig = Rig::new();
        rig.app.write_all(b"one\ntwo\n").expect("room");
        let mut output = rig.output();
        let (mut journal, _) = rig.journal(&mut output);
        let note = journal.meant(Stage::Writing, COUNTER_BASE, (0, 0), Some(rig.take(8, 7)));
        journal.write_note(&note).expect("noted");
        output.write_all(b"<on").expect("room");
        let mut output = rig.output();
        let (mut journal, states) = rig.journal(&mut output);
        assert_eq!((states, rig.in_pipe()), ([0, 0], 8));
        let again = |output: &mut Output| output.write_all(b"<one>\n<two>\n").is_err();
        assert!(journal.carry_some(&mut output, Some(rig.take(8, 7)), again).is_ok());
        assert_eq!((rig.written().as_str(), rig.in_pipe()), ("<on\n<one>\n<two>\n", 0));
    }

    #[test]
    fn the_journal_stays_small_and_what_it_remembers_stays_right() {
        let rig = Rig::new();
        let file = tempfile::tempfile().expect("a file");
        let mut output = Output::new(file.into(), 0);
        let (mut journal, _) = rig.journal(&mut output);
        for round in 1..=40 {
            (&rig.app).write_all(&[b'x'; 32 * 1024]).expect("room");
            let take = rig.take(32 * 1024, round);
            let (written, taken) = journal.carry(&mut output, b"<x>\n", Some(take));
            assert!(written.is_ok() && taken.is_ok());
            assert_eq!(rig.journal(&mut rig.output()).1, [round, 0]);
        }
        let length = rig.kept.try_clone().map(|kept| File::from(kept.journal));
        let length = length.and_then(|journal| journal.metadata()).expect("there").len();
        assert!(length <= COUNTER_BASE + COUNTER_BYTES_KEPT + 32 * 1024, "{length} bytes");
    }

    #[test]
    fn a_batch_larger_than_the_staging_pipe_is_written_all_the_same() {
        let rig = Rig::new();
        let file = tempfile::NamedTempFile::new().expect("a file");
        let mut output = Output::new(file.reopen().expect("it is there").into(), 0);
        let (mut journal, _) = rig.journal(&mut output);
        let batch = vec![b'x'; 3 * 1024 * 1024];
        let (written, _) = journal.carry(&mut output, &batch, None);
        assert!(written.is_ok());
        let (written, _) = journal.carry(&mut output, b"y", None);
        assert!(written.is_ok());
        assert_eq!(std::fs::read(file.path()).expect("bytes").len(), batch.len() + 1);
    }

    #[test]
    fn a_reader_that_is_gone_costs_the_batch_and_blocks_nobody() {
        let mut rig = Rig::new();
        rig.app.write_all(b"one\n").expect("room");
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC).expect("a pipe");
        drop(reader);
        let mut output = Output::new(writer, 0);
        let (mut journal, _) = rig.journal(&mut output);
        let (written, taken) = journal.carry(&mut output, b"<one>\n", Some(rig.take(4, 0)));
        assert!(written.is_err() && taken.is_ok());
        assert_eq!(rig.in_pipe(), 0);
        assert_eq!(sys::bytes_waiting(&journal.staged).expect("a pipe"), 0);
    }
}
