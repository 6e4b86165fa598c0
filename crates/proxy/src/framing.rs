//! Reads along with hyper and refuses what two parsers could read differently.
//!
//! Hyper accepts a line that ends in a bare LF, merges equal `Content-Length` fields, and prefers
//! `Transfer-Encoding` where both are given. Each is legal to accept and each has let a request be
//! smuggled past a proxy that saw it otherwise. This machine follows the bytes of one HTTP/1
//! connection (head, body, head ...) and stops at the first such byte. It deliberately checks
//! only the framing: names, values and the request line are hyper's to refuse.
//!
//! ```text
//! Start -> Head -> Start                   no body
//!             |--> Length(n) -> Start
//!             |--> Chunks -> Start
//!             '--> Verdict -> Start        an upgrade was asked for and denied
//! ```
//!
//! Invariant: where this machine accepts a message, hyper finds its end at the same byte.

use crate::limits::{BUFFER_BYTES_MAX, CHUNK_EXTRA_BYTES_MAX};
use crate::watch::Refusal;

/// Longest line that is kept in pieces; hyper refuses a head long before.
const LINE_BYTES_MAX: usize = 2 * BUFFER_BYTES_MAX;

/// The machine of one connection.
#[derive(Debug)]
pub(crate) struct Framing {
    state: State,
    /// A line that came in pieces.
    partial: Vec<u8>,
    head: Head,
    may_upgrade: bool,
}

/// What a head has said about its body.
#[derive(Debug, Default, Clone, Copy)]
struct Head {
    length: Option<u64>,
    is_chunked: bool,
    wants_upgrade: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between two messages.
    Start,
    /// Inside the request line.
    RequestLine,
    /// Inside a head, after the request line.
    Head,
    /// Bytes of the body left.
    Length(u64),
    /// Inside a chunked body.
    Chunks(Chunk),
    /// After a head that asks for an upgrade: what follows may be another protocol.
    Verdict {
        /// Whether something did follow.
        has_early_bytes: bool,
    },
    /// Not our language, or already refused.
    Opaque,
}

/// Where in a chunked body a reader is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chunk {
    /// Digits of the size: how many so far, and their value.
    Size { n_digits: u8, size: u64 },
    /// After the size, up to the CR.
    Extension { size: u64, extra: usize },
    /// The LF of the size line.
    SizeLf { size: u64 },
    /// Bytes of the chunk left.
    Data(u64),
    /// The CR after a chunk.
    DataCr,
    /// The LF after a chunk.
    DataLf,
    /// A trailer line: its bytes so far, and those of the whole section.
    Trailer { line: usize, extra: usize, has_cr: bool },
}

/// Where a client is, for the timeouts of its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Between two messages.
    Between,
    /// Inside a head.
    InHead,
    /// Inside a body.
    InBody,
    /// Not our language.
    Elsewhere,
}

/// A byte that is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Violation {
    /// Bytes before it that are fine.
    pub(crate) n_valid: usize,
    /// What is wrong.
    pub(crate) refusal: Refusal,
    /// Whether it is inside a head, where the next bytes decide what hyper answers.
    pub(crate) is_in_head: bool,
}

impl Framing {
    /// A new connection.
    pub(crate) fn http1() -> Self {
        Self { may_upgrade: true, ..Self::without_upgrades() }
    }

    /// A new connection on which no upgrade is ever agreed to.
    pub(crate) fn without_upgrades() -> Self {
        let head = Head::default();
        Self { state: State::Start, partial: Vec::new(), head, may_upgrade: false }
    }

    /// A connection that this machine has nothing to say about.
    pub(crate) fn opaque() -> Self {
        Self { state: State::Opaque, ..Self::http1() }
    }

    /// Where the client is.
    pub(crate) fn place(&self) -> Place {
        match self.state {
            State::Start => Place::Between,
            State::RequestLine | State::Head => Place::InHead,
            State::Length(_) | State::Chunks(_) => Place::InBody,
            State::Verdict { .. } | State::Opaque => Place::Elsewhere,
        }
    }

    /// The upgrade was denied; whether the connection can go on with another request.
    pub(crate) fn deny_upgrade(&mut self) -> bool {
        match self.state {
            State::Verdict { has_early_bytes: false } => {
                self.state = State::Start;
                true
            }
            State::Verdict { has_early_bytes: true } => false,
            _ => true,
        }
    }

    /// Follows `input`, the next bytes of the connection.
    ///
    /// # Errors
    /// At the first byte that is refused; the machine follows nothing afterwards.
    pub(crate) fn follow(&mut self, input: &[u8]) -> Result<(), Violation> {
        let mut at = 0;
        while at < input.len() {
            let is_in_head = matches!(self.place(), Place::Between | Place::InHead);
            match self.step(&input[at..]) {
                Ok(n_bytes) => at += n_bytes,
                Err(refusal) => {
                    self.state = State::Opaque;
                    return Err(Violation { n_valid: at, refusal, is_in_head });
                }
            }
        }
        Ok(())
    }

    /// Takes some bytes, at least one of a non-empty input.
    fn step(&mut self, input: &[u8]) -> Result<usize, Refusal> {
        match self.state {
            State::Start | State::RequestLine | State::Head => self.head_line(input),
            State::Length(left) => {
                let n_bytes = take(left, input.len());
                let left = left - n_bytes as u64;
                self.state = if left == 0 { State::Start } else { State::Length(left) };
                Ok(n_bytes)
            }
            State::Chunks(chunk) => {
                let (next, n_bytes) = chunk.step(input)?;
                self.state = next.map_or(State::Start, State::Chunks);
                Ok(n_bytes)
            }
            State::Verdict { .. } => {
                self.state = State::Verdict { has_early_bytes: true };
                Ok(input.len())
            }
            State::Opaque => Ok(input.len()),
        }
    }

    /// Takes one line of a head, or the piece of it that is there.
    fn head_line(&mut self, input: &[u8]) -> Result<usize, Refusal> {
        let Some(end) = memchr::memchr(b'\n', input) else {
            if self.partial.len() + input.len() > LINE_BYTES_MAX {
                return Err(Refusal::Malformed);
            }
            if self.state == State::Head && self.partial.is_empty() && is_blank(input[0]) {
                return Err(Refusal::FoldedLine);
            }
            self.partial.extend_from_slice(input);
            if self.state == State::Start {
                self.state = State::RequestLine;
            }
            return Ok(input.len());
        };
        if self.partial.is_empty() {
            self.line(&input[..end])?;
        } else {
            let mut line = std::mem::take(&mut self.partial);
            line.extend_from_slice(&input[..end]);
            self.line(&line)?;
            line.clear();
            self.partial = line;
        }
        Ok(end + 1)
    }

    /// Judges one line, given without its LF.
    fn line(&mut self, line: &[u8]) -> Result<(), Refusal> {
        let Some((b'\r', line)) = line.split_last() else { return Err(Refusal::BareLf) };
        if matches!(self.state, State::Start | State::RequestLine) {
            // An empty line before a request is tolerated, as by hyper and RFC 9112, 2.2.
            self.state = if line.is_empty() { State::Start } else { State::Head };
            self.head = Head::default();
            return Ok(());
        }
        if line.is_empty() {
            self.state = self.head.body()?;
            return Ok(());
        }
        self.field(line)
    }

    /// Judges one field line, given without its CRLF.
    fn field(&mut self, line: &[u8]) -> Result<(), Refusal> {
        match line[0] {
            blank if is_blank(blank) => return Err(Refusal::FoldedLine),
            b'C' | b'c' | b'T' | b't' | b'U' | b'u' => (),
            _ => return Ok(()),
        }
        let Some(colon) = memchr::memchr(b':', line) else { return Ok(()) };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            let length = plain_number(value).ok_or(Refusal::Length)?;
            if self.head.length.replace(length).is_some() {
                return Err(Refusal::Length);
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            let is_repeated = std::mem::replace(&mut self.head.is_chunked, true);
            if is_repeated || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Refusal::Encoding);
            }
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            self.head.wants_upgrade = self.may_upgrade && is_upgrade_honoured(value);
        }
        Ok(())
    }
}

impl Head {
    /// What follows the head.
    fn body(self) -> Result<State, Refusal> {
        match (self.length, self.is_chunked) {
            (Some(_), true) => Err(Refusal::LengthAndEncoding),
            (None, true) => Ok(State::Chunks(Chunk::SIZE)),
            (Some(length @ 1..), false) => Ok(State::Length(length)),
            (Some(0) | None, false) if self.wants_upgrade => {
                Ok(State::Verdict { has_early_bytes: false })
            }
            (Some(0) | None, false) => Ok(State::Start),
        }
    }
}

impl Chunk {
    /// The start of a body.
    pub(crate) const SIZE: Self = Self::Size { n_digits: 0, size: 0 };

    /// Takes some bytes; `None` after the last of the body.
    pub(crate) fn step(self, input: &[u8]) -> Result<(Option<Self>, usize), Refusal> {
        if let Self::Data(left) = self {
            let n_bytes = take(left, input.len());
            let left = left - n_bytes as u64;
            let next = if left == 0 { Self::DataCr } else { Self::Data(left) };
            return Ok((Some(next), n_bytes));
        }
        let next = match (self, input[0]) {
            (Self::Size { n_digits, size }, digit) if digit.is_ascii_hexdigit() => {
                // Fifteen digits are a petabyte and leave no room to overflow.
                if n_digits == 15 {
                    return Err(Refusal::Chunk);
                }
                let value = (digit as char).to_digit(16).map_or(0, u64::from);
                Self::Size { n_digits: n_digits + 1, size: size * 16 + value }
            }
            (Self::Size { n_digits: 1.., size }, b'\r') => Self::SizeLf { size },
            (Self::Size { n_digits: 1.., size }, b';' | b' ' | b'\t') => {
                Self::Extension { size, extra: 1 }
            }
            (Self::Extension { size, .. }, b'\r') => Self::SizeLf { size },
            (Self::Extension { size, extra }, byte)
                if byte != b'\n' && extra < CHUNK_EXTRA_BYTES_MAX =>
            {
                Self::Extension { size, extra: extra + 1 }
            }
            (Self::SizeLf { size: 0 }, b'\n') => Self::Trailer { line: 0, extra: 0, has_cr: false },
            (Self::SizeLf { size }, b'\n') => Self::Data(size),
            (Self::DataCr, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => Self::SIZE,
            (Self::Trailer { line: 0, has_cr: true, .. }, b'\n') => return Ok((None, 1)),
            (Self::Trailer { extra, has_cr: true, .. }, b'\n') => {
                Self::Trailer { line: 0, extra, has_cr: false }
            }
            (Self::Trailer { line, extra, has_cr: false }, b'\r') => {
                Self::Trailer { line, extra, has_cr: true }
            }
            (Self::Trailer { line, extra, has_cr: false }, byte)
                if byte != b'\n' && extra < CHUNK_EXTRA_BYTES_MAX =>
            {
                Self::Trailer { line: line + 1, extra: extra + 1, has_cr: false }
            }
            _ => return Err(Refusal::Chunk),
        };
        Ok((Some(next), 1))
    }
}

/// Whether an `Upgrade` is passed on. `h2c` is not: a client that wants HTTP/2 in clear text can
/// begin with it, and the smuggling tricks of the upgrade are not worth having.
pub(crate) fn is_upgrade_honoured(value: &[u8]) -> bool {
    !value
        .split(|byte| *byte == b',')
        .any(|protocol| protocol.trim_ascii().eq_ignore_ascii_case(b"h2c"))
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn take(left: u64, available: usize) -> usize {
    usize::try_from(left).map_or(available, |left| left.min(available))
}

/// A number of plain digits.
pub(crate) fn plain_number(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 18 || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(value.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}
