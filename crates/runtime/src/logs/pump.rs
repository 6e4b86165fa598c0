//! The pipeline's thread: waits, turns what came into lines, writes them, consumes what was
//! written.
//!
//! Edge-triggered epoll, because bytes of a partial line stay in the pipe while it waits for its
//! end; meanwhile the pipe is also looked at now and then (`Source::holds_back` says why). It
//! deliberately writes with blocking calls. Invariant: bytes are taken from a pipe only together
//! with the lines made of them (`journal`), or when these had to be dropped and were counted.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use tokio::sync::oneshot;

use super::journal::{Journal, Output, Take};
use super::sink::{Queue, rfc3339};
use super::source::{Filled, Scratch, Source};
use super::split::Splitter;
use super::{
    Context, Counters, Format, Inputs, LineHook, Outputs, Scanner, Settings, Stream, enrich,
};

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
pub(super) struct Pump {
    format: Format,
    lanes: [Lane; 2],
    scratch: Scratch,
    journal: Option<Journal>,
    lines: Output,
    /// Only in [`Format::Raw`].
    raw_stderr: Output,
    counters: Counters,
    queue: Queue,
    own: Vec<u8>,
    /// Whether the last look at the queue found lines.
    has_written_own: bool,
    batch: Vec<u8>,
    /// Room for one line without its secrets.
    clean: Vec<u8>,
    /// For lines of our own.
    scanner: Scanner,
    on_line: Option<LineHook>,
    epoll: Epoll,
}

/// One stream of the app on its way.
#[derive(Debug)]
struct Lane {
    stream: Stream,
    source: Source,
    splitter: Splitter,
    context: Context,
    scanner: Scanner,
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
        let mut lanes = [
            Lane::new(settings, Stream::Stdout, inputs.stdout, &scratch)?,
            Lane::new(settings, Stream::Stderr, inputs.stderr, &scratch)?,
        ];
        let mut lines = Output::new(outputs.stdout, 0);
        let mut raw_stderr = Output::new(outputs.stderr, 1);
        let journal = match inputs.journal {
            Some(kept) => {
                let pipes = [lanes[0].source.pipe(), lanes[1].source.pipe()];
                let outputs = [&mut lines, &mut raw_stderr];
                let (journal, states) = Journal::resume(kept, pipes, outputs)?;
                for (lane, state) in lanes.iter_mut().zip(states) {
                    lane.splitter = lane.splitter.clone().resumed(state);
                }
                Some(journal)
            }
            None => None,
        };
        for (token, lane) in (0..).zip(&lanes) {
            let edge = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
            match epoll.add(&lane.source, EpollEvent::new(edge, token)) {
                // A file: always ready until it ends.
                Ok(()) | Err(Errno::EPERM) => {}
                Err(error) => return Err(error.into()),
            }
        }
        epoll.add(queue.wake(), EpollEvent::new(EpollFlags::EPOLLIN, QUEUE_TOKEN))?;
        Ok(Self {
            format: settings.format,
            lanes,
            scratch,
            journal,
            lines,
            raw_stderr,
            counters,
            queue,
            own: Vec::new(),
            has_written_own: false,
            batch: Vec::new(),
            clean: Vec::new(),
            scanner: settings.redactor.scanner(),
            on_line: settings.on_line.clone(),
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
        let (mut taken, mut lines) = (0, 0);
        loop {
            let lane = &mut self.lanes[index];
            let Some(piece) = lane.splitter.next(&lane.source.window()[taken..]) else { break };
            taken += piece.taken;
            if piece.is_leftover {
                continue;
            }
            let counters = self.counters.of(lane.stream);
            counters.truncated.inc_by(u64::from(piece.is_first_cut));
            if let Some(hook) = &self.on_line {
                hook(piece.bytes);
            }
            let is_changed = lane.scanner.redact(piece.bytes, &mut self.clean);
            let line = if is_changed { &self.clean } else { piece.bytes };
            let is_lossy = enrich(line, piece.is_cut, &ts, &lane.context, &mut self.batch);
            counters.not_utf8.inc_by(u64::from(is_lossy));
            self.batch.push(b'\n');
            lines += 1;
            if self.batch.len() >= BATCH_BYTES {
                self.commit(index, taken, lines);
                (taken, lines) = (0, 0);
            }
        }
        self.commit(index, taken, lines);
        self.lanes[index].absorb(&self.scratch);
    }

    fn pass_bytes(&mut self, index: usize) {
        let window = self.lanes[index].source.window();
        self.batch.extend_from_slice(window);
        let taken = window.len();
        let lines = memchr::memchr_iter(b'\n', window).count();
        self.commit(index, taken, lines as u64);
    }

    /// Passes on a partial line as it is.
    fn flush(&mut self, index: usize) {
        self.pass(index);
        let lane = &mut self.lanes[index];
        let Some(piece) = lane.splitter.flush(lane.source.window()) else { return };
        let (ts, taken) = (rfc3339(Timestamp::now()), piece.taken);
        let is_changed = lane.scanner.redact(piece.bytes, &mut self.clean);
        let line = if is_changed { &self.clean } else { piece.bytes };
        enrich(line, piece.is_cut, &ts, &lane.context, &mut self.batch);
        self.batch.push(b'\n');
        self.commit(index, taken, 1);
    }

    /// Writes the batch, which holds `lines`, and takes the first `taken` bytes of the lane's
    /// window, which they were made of; counts the lines as written or dropped.
    fn commit(&mut self, index: usize, taken: usize, lines: u64) {
        let lane = &mut self.lanes[index];
        if self.batch.is_empty() {
            return lane.consume(taken, &self.scratch);
        }
        let output = match (self.format, lane.stream) {
            (Format::Raw, Stream::Stderr) => &mut self.raw_stderr,
            _ => &mut self.lines,
        };
        let Some(journal) = &mut self.journal else {
            let written = output.write_all(&self.batch);
            self.counters.of(lane.stream).wrote(lines, &written);
            empty(&mut self.batch);
            return lane.consume(taken, &self.scratch);
        };
        let count = lane.source.release(taken);
        let state = lane.splitter.state();
        let take = Take { lane: index, pipe: lane.source.pipe(), count, state };
        let (written, gone) = journal.carry(output, &self.batch, Some(take));
        self.counters.of(lane.stream).wrote(lines, &written);
        lane.end_on_error(&gone);
        empty(&mut self.batch);
    }

    /// Writes the lines of our own, and says whether the end was asked for.
    fn write_own(&mut self) -> bool {
        let is_finishing = self.queue.take(&mut self.own);
        self.has_written_own = !self.own.is_empty();
        if !self.has_written_own || self.format == Format::Off {
            self.own.clear();
            return is_finishing;
        }
        // The lines are whole, and what is taken has no line end.
        if self.scanner.redact(&self.own, &mut self.clean) {
            std::mem::swap(&mut self.own, &mut self.clean);
        }
        let output = match self.format {
            Format::Raw => &mut self.raw_stderr,
            Format::Json | Format::Off => &mut self.lines,
        };
        let written = match &mut self.journal {
            Some(journal) => journal.carry(output, &self.own, None).0,
            None => output.write_all(&self.own),
        };
        let lines = memchr::memchr_iter(b'\n', &self.own).count() as u64;
        self.counters.of(Stream::Plimsoll).wrote(lines, &written);
        empty(&mut self.own);
        is_finishing
    }
}

fn empty(batch: &mut Vec<u8>) {
    batch.clear();
    batch.shrink_to(4 * BATCH_BYTES);
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
            scanner: settings.redactor.scanner(),
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
