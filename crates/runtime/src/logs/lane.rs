//! One stream of the app on its way: what its window holds becomes lines.
//!
//! Split, join, redact, enrich, one after the other on the bytes of the window, which stay there
//! until they are written. It deliberately writes and waits for nothing.
//!
//! Invariant: `Made::taken` bytes of the window are in the lines that were made, and no others; the
//! lines of an open join are at the beginning of what is left.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::enrich::{Context, Line, enrich};
use super::join::{Joiner, Standing};
use super::source::{Scratch, Source};
use super::split::{Piece, Splitter};
use super::{Format, LineHook, Scanner, Settings, Stream, StreamCounters};

/// How long a line without an end may wait for it.
const PARTIAL_LINE_WAIT: Duration = Duration::from_millis(500);
/// The same where bytes pass unchanged but for secrets.
const PARTIAL_RAW_WAIT: Duration = Duration::from_millis(50);
/// The same when it ends in the middle of what may become a secret.
const PARTIAL_SECRET_WAIT: Duration = Duration::from_secs(5);
/// How long lines wait for others that belong to them.
const JOIN_WAIT: Duration = Duration::from_millis(100);
/// Most lines that are joined.
const JOIN_LINES_MAX: usize = 512;
/// Most bytes that are joined.
const JOIN_BYTES_MAX: usize = 128 * 1024;
/// Lines are written together up to so many bytes.
pub(super) const BATCH_BYTES: usize = 64 * 1024;
/// How soon, and later how seldom, a pipe is looked at that holds back a partial line.
pub(super) const RECHECK: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(64)];

/// One stream of the app.
pub(super) struct Lane {
    pub(super) stream: Stream,
    pub(super) source: Source,
    splitter: Splitter,
    /// There may be more to read.
    pub(super) is_ready: bool,
    pub(super) is_ended: bool,
    pub(super) last_news: Instant,
    /// When to look again while a partial line is held back.
    pub(super) recheck: Duration,
    context: Context,
    scanner: Scanner,
    joiner: Joiner,
    open: Open,
    join_bytes_max: usize,
    on_line: Option<LineHook>,
    /// Room for one line without its secrets.
    clean: Vec<u8>,
}

/// The lines that wait for others, at the beginning of the window.
#[derive(Clone, Copy, Debug)]
struct Open {
    n_bytes: usize,
    n_lines: usize,
    /// So many of them belong together for sure.
    firm_bytes: usize,
    firm_lines: usize,
    since: Instant,
}

impl Open {
    fn none() -> Self {
        Self { n_bytes: 0, n_lines: 0, firm_bytes: 0, firm_lines: 0, since: Instant::now() }
    }

    fn add(&mut self, n_bytes: usize, is_firm: bool) {
        self.n_bytes += n_bytes;
        self.n_lines += 1;
        self.since = Instant::now();
        if is_firm {
            (self.firm_bytes, self.firm_lines) = (self.n_bytes, self.n_lines);
        }
    }
}

/// What was made of the window.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Made {
    pub(super) taken: usize,
    pub(super) lines: u64,
    /// The batch is full, and there may be more.
    pub(super) is_full: bool,
}

impl Lane {
    pub(super) fn new(
        settings: &Settings,
        stream: Stream,
        pipe: OwnedFd,
        scratch: &Scratch,
    ) -> io::Result<Self> {
        Ok(Self {
            stream,
            source: Source::new(pipe, scratch)?,
            splitter: Splitter::new(settings.line_bytes_max),
            is_ready: true,
            is_ended: false,
            last_news: Instant::now(),
            recheck: RECHECK[0],
            context: Context::new(&settings.identity, stream),
            scanner: settings.redactor.scanner(),
            joiner: Joiner::new(settings.multiline),
            open: Open::none(),
            join_bytes_max: settings.line_bytes_max.min(JOIN_BYTES_MAX),
            on_line: settings.on_line.clone(),
            clean: Vec::new(),
        })
    }

    /// What a successor must know to go on behind the lines that were made.
    pub(super) fn state(&self) -> u64 {
        self.splitter.state() | self.scanner.state() << Splitter::STATE_BITS
    }

    /// Goes on where another left off with this [`Lane::state`].
    pub(super) fn resume(&mut self, state: u64) {
        self.splitter = self.splitter.clone().resumed(state);
        self.scanner = self.scanner.redactor().scanner().resumed(state >> Splitter::STATE_BITS);
    }

    /// Appends the lines that are whole, up to a full batch.
    pub(super) fn lines(&mut self, ts: &str, counters: &StreamCounters, out: &mut Vec<u8>) -> Made {
        let Self { source, splitter, context, scanner, joiner, open, on_line, clean, .. } = self;
        let window = source.window();
        let mut maker = Maker { ts, counters, context, scanner, clean, out };
        let mut made = Made::default();
        let mut at = open.n_bytes;
        while let Some(piece) = next(splitter, maker.scanner, &window[at..]) {
            let start = at;
            at += piece.taken;
            if piece.is_leftover || piece.is_cut {
                made.lines += maker.join(&window[made.taken..start], open);
                joiner.reset();
                made.taken = at;
                if !piece.is_leftover {
                    counters.truncated.inc_by(u64::from(piece.is_first_cut));
                    maker.line(piece.bytes, true, false);
                    made.lines += 1;
                }
            } else {
                if let Some(hook) = on_line {
                    hook(piece.bytes);
                }
                match joiner.on(piece.bytes) {
                    standing @ (Standing::Belongs | Standing::MayBelong) => {
                        open.add(piece.taken, standing == Standing::Belongs);
                    }
                    standing => {
                        made.lines += maker.join(&window[made.taken..start], open);
                        made.taken = start;
                        if standing == Standing::Begins {
                            open.add(piece.taken, false);
                        } else {
                            maker.line(piece.bytes, false, false);
                            (made.taken, made.lines) = (at, made.lines + 1);
                        }
                    }
                }
            }
            if open.n_lines >= JOIN_LINES_MAX || open.n_bytes >= self.join_bytes_max {
                made.lines += maker.join(&window[made.taken..at], open);
                joiner.reset();
                made.taken = at;
            }
            if maker.out.len() >= BATCH_BYTES {
                made.is_full = true;
                break;
            }
        }
        made
    }

    /// Appends the bytes of whole lines, without secrets, up to a full batch.
    pub(super) fn bytes(&mut self, counters: &StreamCounters, out: &mut Vec<u8>) -> Made {
        let Self { source, splitter, scanner, clean, on_line, .. } = self;
        let window = source.window();
        let mut made = Made::default();
        if on_line.is_none() && !scanner.is_on() {
            out.extend_from_slice(window);
            let lines = memchr::memchr_iter(b'\n', window).count() as u64;
            return Made { taken: window.len(), lines, is_full: false };
        }
        while let Some(piece) = next(splitter, scanner, &window[made.taken..]) {
            if let Some(hook) = on_line.as_ref().filter(|_| !piece.is_cut) {
                hook(piece.bytes);
            }
            let is_changed = scanner.redact(piece.bytes, clean);
            out.extend_from_slice(if is_changed { clean } else { piece.bytes });
            let end = made.taken + piece.taken;
            out.extend_from_slice(&window[made.taken + piece.bytes.len()..end]);
            made.taken = end;
            made.lines += u64::from(window[end - 1] == b'\n');
            counters.truncated.inc_by(u64::from(piece.is_first_cut));
            if out.len() >= BATCH_BYTES {
                made.is_full = true;
                break;
            }
        }
        made
    }

    /// Appends what waits: lines for others that belong to them, or a line for its end.
    pub(super) fn rest(
        &mut self,
        format: Format,
        ts: &str,
        counters: &StreamCounters,
        out: &mut Vec<u8>,
    ) -> Made {
        let Self { source, splitter, context, scanner, joiner, open, clean, .. } = self;
        let window = source.window();
        let mut maker = Maker { ts, counters, context, scanner, clean, out };
        let mut made = Made { taken: open.n_bytes, ..Made::default() };
        made.lines += maker.join(&window[..made.taken], open);
        joiner.reset();
        if let Some(piece) = splitter.flush(&window[made.taken..]) {
            made.taken += piece.taken;
            if format == Format::Raw {
                let is_changed = maker.scanner.redact(piece.bytes, maker.clean);
                maker.out.extend_from_slice(if is_changed { maker.clean } else { piece.bytes });
            } else {
                maker.line(piece.bytes, piece.is_cut, false);
                made.lines += 1;
            }
        }
        made
    }

    /// Appends the lines that waited long enough for others.
    pub(super) fn joined(
        &mut self,
        ts: &str,
        counters: &StreamCounters,
        out: &mut Vec<u8>,
    ) -> Made {
        let Self { source, context, scanner, joiner, open, clean, .. } = self;
        let taken = open.n_bytes;
        let mut maker = Maker { ts, counters, context, scanner, clean, out };
        let lines = maker.join(&source.window()[..taken], open);
        joiner.reset();
        Made { taken, lines, is_full: false }
    }

    /// How long lines may still wait for others; none when none do.
    pub(super) fn join_wait(&self) -> Option<Duration> {
        let is_open = self.open.n_bytes > 0;
        is_open.then(|| JOIN_WAIT.saturating_sub(self.open.since.elapsed()))
    }

    /// How long a partial line may still wait; none without one.
    pub(super) fn partial_wait(&self, format: Format) -> Option<Duration> {
        let limit = match format {
            Format::Json => PARTIAL_LINE_WAIT,
            Format::Raw => PARTIAL_RAW_WAIT,
            Format::Off => return None,
        };
        let partial = &self.source.window()[self.open.n_bytes..];
        if partial.is_empty() {
            return None;
        }
        let waited = self.last_news.elapsed();
        let is_over = waited >= limit && !self.scanner.may_go_on(partial);
        let limit = if waited < limit || is_over { limit } else { PARTIAL_SECRET_WAIT };
        Some(limit.saturating_sub(waited))
    }

    /// How long nothing need be done unless epoll says so; none for ever.
    pub(super) fn wait(&self, format: Format) -> Option<Duration> {
        let flush = self.join_wait().into_iter().chain(self.partial_wait(format)).min()?;
        Some(if self.source.holds_back() { flush.min(self.recheck) } else { flush })
    }

    pub(super) fn consume(&mut self, count: usize, scratch: &Scratch) {
        let gone = self.source.consume(count, scratch);
        self.end_on_error(&gone);
    }

    pub(super) fn absorb(&mut self, scratch: &Scratch) {
        let gone = self.source.absorb(scratch);
        self.end_on_error(&gone);
    }

    /// A pipe that does not give what it showed has another reader; ours is over.
    pub(super) fn end_on_error(&mut self, gone: &io::Result<()>) {
        if gone.is_err() {
            self.is_ready = false;
            self.is_ended = true;
        }
    }
}

/// The next line or part of one; a part is cut where it tears nothing that is to be taken out.
fn next<'a>(splitter: &mut Splitter, scanner: &mut Scanner, window: &'a [u8]) -> Option<Piece<'a>> {
    let reach = scanner.reach();
    splitter.next_with(window, reach, |window, limit| scanner.seam(window, limit))
}

/// Makes one line at a time.
struct Maker<'a> {
    ts: &'a str,
    counters: &'a StreamCounters,
    context: &'a Context,
    scanner: &'a mut Scanner,
    clean: &'a mut Vec<u8>,
    out: &'a mut Vec<u8>,
}

impl Maker<'_> {
    fn line(&mut self, bytes: &[u8], is_cut: bool, is_trace: bool) {
        let is_changed = self.scanner.redact(bytes, self.clean);
        let bytes = if is_changed { &**self.clean } else { bytes };
        let line = Line { bytes, is_cut, is_trace };
        let is_lossy = enrich(line, self.ts, self.context, self.out);
        if is_lossy {
            self.counters.not_utf8.inc();
        }
        self.out.push(b'\n');
    }

    /// Ends a join: one line of what belongs together, the others by themselves.
    fn join(&mut self, waiting: &[u8], open: &mut Open) -> u64 {
        let Open { firm_bytes, firm_lines, .. } = *open;
        if open.n_bytes == 0 {
            return 0;
        }
        *open = Open::none();
        let (together, others) = waiting.split_at(firm_bytes);
        let mut lines = 0;
        if firm_lines > 0 {
            self.line(without_end(together), false, true);
            lines += 1;
        }
        for line in others.split_inclusive(|byte| *byte == b'\n') {
            self.line(without_end(line), false, false);
            lines += 1;
        }
        lines
    }
}

fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}
