//! The pipeline's thread: waits, turns what came into lines, writes them, consumes what was
//! written.
//!
//! Edge-triggered epoll, because bytes of a partial line stay in the pipe while it waits for its
//! end; meanwhile the pipe is also looked at now and then (`Source::holds_back` says why). It
//! deliberately writes with blocking calls. Invariant: bytes are taken from a pipe only together
//! with the lines made of them (`journal`), or when these had to be dropped and were counted.

use std::io;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use tokio::sync::oneshot;

use super::dropping::Dropping;
use super::journal::{Journal, Output, Take};
use super::lane::{BATCH_BYTES, Lane, Made, RECHECK};
use super::sink::{Queue, rfc3339};
use super::source::{Filled, Scratch};
use super::{Counters, Format, Inputs, Level, OnBlock, Outputs, Scanner, Settings, Stream};

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
    /// By the index of the output; only with [`OnBlock::Drop`].
    dropping: Option<[Dropping; 2]>,
    epoll: Epoll,
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
                    lane.resume(state);
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
            dropping: (settings.on_block == OnBlock::Drop).then(Default::default),
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
            self.settle();
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

    /// Writes what is owed to a reader that came back, and says what was dropped meanwhile.
    fn settle(&mut self) {
        let Some(dropping) = &mut self.dropping else { return };
        for (dropping, output) in dropping.iter_mut().zip([&mut self.lines, &mut self.raw_stderr]) {
            if dropping.is_owing()
                && dropping.settle(output)
                && let Some(journal) = &self.journal
            {
                journal.mended();
            }
            if let Some(count) = dropping.take_dropped() {
                let event = contract::log_events::LOGS_DROPPED.name;
                let fields = [(contract::log_events::KEY, event.into()), ("dropped", count.into())];
                let msg = "log lines were dropped while nobody read them";
                self.queue.sink().event(Level::Warn, msg, &fields);
            }
        }
    }

    /// Waits until something is there to do, and marks the lanes that have it.
    fn wait(&mut self) {
        let timeout = if self.lanes.iter().any(|lane| lane.is_ready) {
            EpollTimeout::ZERO
        } else {
            let owing = self.dropping.iter().flatten().any(Dropping::is_owing);
            let waits = self.lanes.iter().filter_map(|lane| lane.wait(self.format));
            let waits = waits.chain(owing.then_some(RECHECK[1]));
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
        let is_over = |wait: Option<Duration>| wait.is_some_and(|wait| wait.is_zero());
        let is_due = is_over(lane.partial_wait(self.format));
        let is_join_due = is_over(lane.join_wait());
        if (is_due || is_join_due) && !lane.is_ready {
            if is_due {
                self.flush(index);
            } else {
                self.join(index);
            }
            // More may have come behind what was held back.
            let lane = &mut self.lanes[index];
            lane.is_ready = !lane.is_ended;
        }
    }

    /// Passes on what the window of a lane holds, up to its last partial line.
    fn pass(&mut self, index: usize) {
        let ts = rfc3339(Timestamp::now());
        loop {
            let lane = &mut self.lanes[index];
            let counters = self.counters.of(lane.stream);
            let made = match self.format {
                Format::Json => lane.lines(&ts, counters, &mut self.batch),
                Format::Raw => lane.bytes(counters, &mut self.batch),
                Format::Off => {
                    return lane.consume(lane.source.window().len(), &self.scratch);
                }
            };
            self.commit(index, made);
            if !made.is_full {
                break;
            }
        }
        self.lanes[index].absorb(&self.scratch);
    }

    /// Passes on a partial line as it is, and what waits for other lines.
    fn flush(&mut self, index: usize) {
        self.pass(index);
        let ts = rfc3339(Timestamp::now());
        let lane = &mut self.lanes[index];
        let counters = self.counters.of(lane.stream);
        let made = lane.rest(self.format, &ts, counters, &mut self.batch);
        self.commit(index, made);
    }

    /// Passes on lines that waited long enough for others.
    fn join(&mut self, index: usize) {
        let ts = rfc3339(Timestamp::now());
        let lane = &mut self.lanes[index];
        let made = lane.joined(&ts, self.counters.of(lane.stream), &mut self.batch);
        self.commit(index, made);
    }

    /// Writes the batch, and takes the bytes of the lane's window that it was made of; counts its
    /// lines as written or dropped.
    fn commit(&mut self, index: usize, Made { taken, lines, .. }: Made) {
        let lane = &mut self.lanes[index];
        if self.batch.is_empty() {
            return lane.consume(taken, &self.scratch);
        }
        self.queue.note_last(&self.batch);
        let output = match (self.format, lane.stream) {
            (Format::Raw, Stream::Stderr) => &mut self.raw_stderr,
            _ => &mut self.lines,
        };
        let counters = self.counters.of(lane.stream);
        let Some(journal) = &mut self.journal else {
            if let Some(dropping) = &mut self.dropping {
                dropping[output.index()].write(output, &self.batch, counters);
            } else {
                counters.wrote(lines, &output.write_all(&self.batch));
            }
            empty(&mut self.batch);
            return lane.consume(taken, &self.scratch);
        };
        let count = lane.source.release(taken);
        let state = lane.state();
        let take = Some(Take { lane: index, pipe: lane.source.pipe(), count, state });
        let gone = if let Some(dropping) = &mut self.dropping {
            let dropping = &mut dropping[output.index()];
            let batch = &self.batch;
            journal.carry_some(output, take, |output| dropping.write(output, batch, counters))
        } else {
            let (written, gone) = journal.carry(output, &self.batch, take);
            counters.wrote(lines, &written);
            gone
        };
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
        if let Some(dropping) = &mut self.dropping {
            let counters = self.counters.of(Stream::Plimsoll);
            let (dropping, own) = (&mut dropping[output.index()], &self.own);
            let mut write = |output: &mut Output| dropping.write(output, own, counters);
            match &mut self.journal {
                // Nothing is taken that could have another reader.
                Some(journal) => drop(journal.carry_some(output, None, write)),
                None => _ = write(output),
            }
            empty(&mut self.own);
            return is_finishing;
        }
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
