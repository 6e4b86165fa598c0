//! The pipeline's thread: waits, turns what came into lines, writes them, consumes what was
//! written.
//!
//! Edge-triggered epoll, because bytes of a partial line stay in the pipe while it waits for its
//! end; meanwhile the pipe is also looked at now and then (`Source::holds_back` says why). It
//! deliberately writes with plain blocking calls. Invariant: bytes are consumed from a pipe
//! only after the lines made of them were written, or had to be dropped and were counted.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use tokio::sync::oneshot;

use super::sink::{Queue, rfc3339};
use super::source::{Filled, Scratch, Source};
use super::split::Splitter;
use super::{Context, Counters, Format, Inputs, Outputs, Settings, Stream, enrich};

/// How long a line without an end may wait for it.
const PARTIAL_LINE_WAIT: Duration = Duration::from_millis(500);
/// How soon, and later how seldom, a pipe is looked at that holds back a partial line.
const RECHECK: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(64)];
/// Lines are written together up to so many bytes.
const BATCH_BYTES: usize = 64 * 1024;
/// How long own lines gather before the next write of them. A line is written at once when none was
/// written just before; under load, one wake-up and one write serve all lines of this time.
const GATHER: Duration = Duration::from_millis(2);
/// Stack of the thread; the deepest user is the JSON reader, at 128 levels.
const STACK_BYTES: usize = 256 * 1024;
/// The epoll token of the queue of own lines; the lanes have their index.
const QUEUE_TOKEN: u64 = 2;

/// All that the thread owns.
#[derive(Debug)]
pub(super) struct Pump {
    format: Format,
    lanes: [Lane; 2],
    scratch: Scratch,
    lines: Output,
    /// Only in [`Format::Raw`].
    raw_stderr: Output,
    counters: Counters,
    queue: Queue,
    own: Vec<u8>,
    /// Whether the last look at the queue found lines.
    has_written_own: bool,
    batch: Vec<u8>,
    epoll: Epoll,
}

/// One stream of the app on its way.
#[derive(Debug)]
struct Lane {
    stream: Stream,
    source: Source,
    splitter: Splitter,
    context: Context,
    /// There may be more to read.
    is_ready: bool,
    is_ended: bool,
    last_news: Instant,
    /// When to look again while a partial line is held back.
    recheck: Duration,
}

impl Pump {
    pub(super) fn new(
        settings: &Settings,
        inputs: Inputs,
        outputs: Outputs,
        counters: Counters,
        queue: Queue,
    ) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let scratch = Scratch::new()?;
        let lanes = [
            Lane::new(settings, Stream::Stdout, inputs.stdout, &scratch)?,
            Lane::new(settings, Stream::Stderr, inputs.stderr, &scratch)?,
        ];
        for (token, lane) in (0..).zip(&lanes) {
            let edge = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
            match epoll.add(&lane.source, EpollEvent::new(edge, token)) {
                // A file: always ready until it ends.
                Ok(()) | Err(Errno::EPERM) => {}
                Err(error) => return Err(error.into()),
            }
        }
        epoll.add(queue.wake(), EpollEvent::new(EpollFlags::EPOLLIN, QUEUE_TOKEN))?;
        let is_torn = settings.is_takeover && settings.format == Format::Json;
        Ok(Self {
            format: settings.format,
            lanes,
            scratch,
            lines: Output::new(outputs.stdout, is_torn),
            raw_stderr: Output::new(outputs.stderr, false),
            counters,
            queue,
            own: Vec::new(),
            has_written_own: false,
            batch: Vec::new(),
            epoll,
        })
    }

    /// Starts the thread; `finished` is told when it has written all it had to.
    pub(super) fn spawn(self, finished: oneshot::Sender<()>) -> io::Result<()> {
        let thread = std::thread::Builder::new().name("logs".into()).stack_size(STACK_BYTES);
        thread.spawn(move || {
            let _guard = AbortOnPanic;
            self.run();
            // Nobody waits any more when the time to flush is over.
            let _ = finished.send(());
        })?;
        Ok(())
    }

    fn run(mut self) {
        let mut is_finishing = false;
        loop {
            self.wait();
            if self.write_own() && !is_finishing {
                is_finishing = true;
                // What came between the wait and now is still to be written.
                for lane in &mut self.lanes {
                    lane.is_ready = !lane.is_ended;
                }
            }
            for index in 0..self.lanes.len() {
                self.turn(index);
            }
            if self.has_written_own && !is_finishing && self.lanes.iter().all(|lane| !lane.is_ready)
            {
                // The app is quiet, and has the room of a pipe should it say something now.
                std::thread::sleep(GATHER);
            }
            if is_finishing && self.lanes.iter().all(|lane| !lane.is_ready) {
                break;
            }
        }
        for index in 0..self.lanes.len() {
            self.flush(index);
        }
        self.write_own();
    }

    /// Waits until something is there to do, and marks the lanes that have it.
    fn wait(&mut self) {
        let timeout = if self.lanes.iter().any(|lane| lane.is_ready) {
            EpollTimeout::ZERO
        } else {
            let waits = self.lanes.iter().filter_map(|lane| lane.wait(self.format));
            // A millisecond more, or the wait would end just before the deadline and spin.
            waits.min().map_or(EpollTimeout::NONE, |wait| {
                EpollTimeout::try_from(wait + Duration::from_millis(1)).unwrap_or(EpollTimeout::MAX)
            })
        };
        let mut events = [EpollEvent::empty(); 3];
        // An interrupted wait is only a short one.
        let count = self.epoll.wait(&mut events, timeout).unwrap_or(0);
        for event in &events[..count] {
            let lane = usize::try_from(event.data()).ok().and_then(|at| self.lanes.get_mut(at));
            if let Some(lane) = lane {
                lane.is_ready = !lane.is_ended;
            }
        }
        for lane in &mut self.lanes {
            if !lane.is_ready && !lane.is_ended && lane.source.holds_back() {
                lane.is_ready = true;
                lane.recheck = (lane.recheck * 2).min(RECHECK[1]);
            }
        }
    }

    /// One fill of one lane, and the lines in it.
    fn turn(&mut self, index: usize) {
        let lane = &mut self.lanes[index];
        if lane.is_ready {
            match lane.source.fill(&mut self.scratch) {
                Ok(Filled::More(fresh)) => {
                    lane.last_news = Instant::now();
                    lane.recheck = RECHECK[0];
                    self.counters.of(lane.stream).bytes.inc_by(fresh as u64);
                    self.pass(index);
                }
                Ok(Filled::Nothing) => lane.is_ready = false,
                Ok(Filled::Ended) | Err(_) => {
                    lane.is_ready = false;
                    lane.is_ended = true;
                    self.flush(index);
                }
            }
        }
        let lane = &mut self.lanes[index];
        let is_due = lane.partial_wait(self.format).is_some_and(|wait| wait.is_zero());
        if is_due && !lane.is_ready {
            self.flush(index);
            // More may have come behind what was held back.
            let lane = &mut self.lanes[index];
            lane.is_ready = !lane.is_ended;
        }
    }

    /// Passes on what the window of a lane holds, up to its last partial line.
    fn pass(&mut self, index: usize) {
        match self.format {
            Format::Json => self.pass_lines(index),
            Format::Raw => self.pass_bytes(index),
            Format::Off => {
                let lane = &mut self.lanes[index];
                lane.consume(lane.source.window().len(), &self.scratch);
            }
        }
    }

    fn pass_lines(&mut self, index: usize) {
        let ts = rfc3339(Timestamp::now());
        let lane = &mut self.lanes[index];
        let counters = self.counters.of(lane.stream);
        let (mut taken, mut lines) = (0, 0);
        while let Some(piece) = lane.splitter.next(&lane.source.window()[taken..]) {
            taken += piece.taken;
            if piece.is_leftover {
                continue;
            }
            counters.truncated.inc_by(u64::from(piece.is_first_cut));
            enrich(piece.bytes, piece.is_cut, &ts, &lane.context, &mut self.batch);
            self.batch.push(b'\n');
            lines += 1;
            if self.batch.len() >= BATCH_BYTES {
                self.lines.write(&mut self.batch, lines, counters);
                lane.consume(taken, &self.scratch);
                (taken, lines) = (0, 0);
            }
        }
        self.lines.write(&mut self.batch, lines, counters);
        lane.consume(taken, &self.scratch);
        lane.absorb(&self.scratch);
    }

    fn pass_bytes(&mut self, index: usize) {
        let lane = &mut self.lanes[index];
        let window = lane.source.window();
        self.batch.extend_from_slice(window);
        let taken = window.len();
        let lines = memchr::memchr_iter(b'\n', window).count();
        let output = match lane.stream {
            Stream::Stdout => &mut self.lines,
            Stream::Stderr | Stream::Plimsoll => &mut self.raw_stderr,
        };
        output.write(&mut self.batch, lines as u64, self.counters.of(lane.stream));
        lane.consume(taken, &self.scratch);
    }

    /// Passes on a partial line as it is.
    fn flush(&mut self, index: usize) {
        self.pass(index);
        let lane = &mut self.lanes[index];
        let Some(piece) = lane.splitter.flush(lane.source.window()) else { return };
        let (ts, taken) = (rfc3339(Timestamp::now()), piece.taken);
        enrich(piece.bytes, piece.is_cut, &ts, &lane.context, &mut self.batch);
        self.batch.push(b'\n');
        self.lines.write(&mut self.batch, 1, self.counters.of(lane.stream));
        lane.consume(taken, &self.scratch);
    }

    /// Writes the lines of our own, and says whether the end was asked for.
    fn write_own(&mut self) -> bool {
        let is_finishing = self.queue.take(&mut self.own);
        self.has_written_own = !self.own.is_empty();
        let counters = self.counters.of(Stream::Plimsoll);
        let lines = memchr::memchr_iter(b'\n', &self.own).count() as u64;
        match self.format {
            Format::Json => self.lines.write(&mut self.own, lines, counters),
            Format::Raw => self.raw_stderr.write(&mut self.own, lines, counters),
            Format::Off => self.own.clear(),
        }
        is_finishing
    }
}

impl Lane {
    fn new(
        settings: &Settings,
        stream: Stream,
        pipe: OwnedFd,
        scratch: &Scratch,
    ) -> io::Result<Self> {
        Ok(Self {
            stream,
            source: Source::new(pipe, scratch)?,
            splitter: Splitter::new(settings.line_bytes_max),
            context: Context::new(&settings.identity, stream),
            is_ready: true,
            is_ended: false,
            last_news: Instant::now(),
            recheck: RECHECK[0],
        })
    }

    /// How long a partial line may still wait; none without one.
    fn partial_wait(&self, format: Format) -> Option<Duration> {
        let has_partial = format == Format::Json && !self.source.window().is_empty();
        has_partial.then(|| PARTIAL_LINE_WAIT.saturating_sub(self.last_news.elapsed()))
    }

    /// How long nothing need be done unless epoll says so; none for ever.
    fn wait(&self, format: Format) -> Option<Duration> {
        let flush = self.partial_wait(format)?;
        Some(if self.source.holds_back() { flush.min(self.recheck) } else { flush })
    }

    fn consume(&mut self, count: usize, scratch: &Scratch) {
        let gone = self.source.consume(count, scratch);
        self.end_on_error(&gone);
    }

    fn absorb(&mut self, scratch: &Scratch) {
        let gone = self.source.absorb(scratch);
        self.end_on_error(&gone);
    }

    /// A pipe that does not give what it showed has another reader; ours is over.
    fn end_on_error(&mut self, gone: &io::Result<()>) {
        if gone.is_err() {
            self.is_ready = false;
            self.is_ended = true;
        }
    }
}

/// A descriptor that lines are written to.
#[derive(Debug)]
struct Output {
    file: File,
    /// Nobody will ever read again.
    is_closed: bool,
    /// The last write ended, or an earlier engine died, in the middle of a line.
    is_torn: bool,
}

impl Output {
    fn new(file: OwnedFd, is_torn: bool) -> Self {
        Self { file: File::from(file), is_closed: false, is_torn }
    }

    /// Writes and empties `batch`, which holds `lines`, and counts them as written or dropped.
    fn write(&mut self, batch: &mut Vec<u8>, lines: u64, counters: &super::StreamCounters) {
        if batch.is_empty() {
            return;
        }
        if self.is_torn {
            self.is_torn = self.write_all(b"\n").is_err();
        }
        let written = if self.is_closed {
            Err(io::ErrorKind::BrokenPipe.into())
        } else {
            self.write_all(batch)
        };
        match written {
            Ok(()) => counters.lines.inc_by(lines),
            Err(error) => {
                self.is_closed = error.kind() == io::ErrorKind::BrokenPipe;
                self.is_torn = true;
                counters.dropped.inc_by(lines)
            }
        };
        batch.clear();
        batch.shrink_to(4 * BATCH_BYTES);
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.file.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Someone who shares the descriptor made it non-blocking.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let mut asked = [PollFd::new(self.file.as_fd(), PollFlags::POLLOUT)];
                    // An interrupted wait is only a short one.
                    let _ = poll(&mut asked, PollTimeout::NONE);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Ends the engine when the thread panics: without it the app would block on its full pipe for
/// ever, with a new engine it goes on.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}
