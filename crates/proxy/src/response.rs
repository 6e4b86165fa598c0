//! What an application answers: heads and bodies, read without a second opinion.
//!
//! `httparse` reads the head; where the body ends is decided here, by RFC 9112, 6.3, and by the
//! same rules that clients are held to: one `Content-Length` of plain digits, or one
//! `Transfer-Encoding: chunked`, never both, chunks as `framing` reads them. It deliberately
//! tolerates nothing: an application that is misunderstood answers the next client with the rest of
//! this answer.
//!
//! Invariant: a body ends where its head said, or in an error.

use std::mem::MaybeUninit;

use bytes::{Buf, Bytes, BytesMut};
use http::header::TRANSFER_ENCODING;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use http::{StatusCode, Version};
use http_body::{Frame, SizeHint};

use crate::body::BodyError;
use crate::fields;
use crate::framing::{Chunk, plain_number};
use crate::limits::{HEADERS_MAX, RESPONSE_HEAD_BYTES_MAX};

/// The head of a response.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: StatusCode,
    /// A reason other than the usual one.
    pub(crate) reason: Option<Bytes>,
    pub(crate) headers: HeaderMap,
    /// What follows it.
    pub(crate) body: Decoder,
    /// Whether the connection goes on after the body.
    pub(crate) is_kept: bool,
    /// Whether any of its fields belongs to this connection alone.
    pub(crate) has_hop: bool,
}

/// What came is not a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Takes a head from the front of `bytes`; `None` when it is not all there. `seen` says how many
/// of the bytes were there at the last call, and is 0 for a new head.
///
/// # Errors
/// When it is no head, is too large, or leaves open where the body ends.
pub(crate) fn head(
    bytes: &mut BytesMut,
    seen: &mut usize,
    is_to_head: bool,
) -> Result<Option<Head>, Malformed> {
    // A head that trickles in is read again only when an empty line came: else whoever sends it
    // byte by byte has it read as often.
    let n_before = std::mem::replace(seen, bytes.len());
    if n_before > 0 && !has_empty_line(&bytes[n_before.saturating_sub(2)..]) {
        return Ok(None);
    }
    let mut lines = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let n_bytes = match config.parse_response_with_uninit_headers(&mut parsed, bytes, &mut lines) {
        Ok(httparse::Status::Complete(n_bytes)) if n_bytes <= RESPONSE_HEAD_BYTES_MAX => n_bytes,
        Ok(httparse::Status::Partial) => return Ok(None),
        Ok(_) | Err(_) => return Err(Malformed),
    };
    if has_bare_lf(&bytes[..n_bytes]) {
        return Err(Malformed);
    }
    *seen = 0;
    let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(Malformed)?;
    let version = if parsed.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    let reason = parsed.reason.filter(|reason| Some(*reason) != status.canonical_reason());
    let reason = reason.map(|reason| Bytes::copy_from_slice(reason.as_bytes()));
    // Where each value lies, because the bytes change their owner before they are named.
    let start = bytes.as_ptr().addr();
    let n_lines = parsed.headers.len();
    let mut names = Vec::with_capacity(n_lines);
    for line in parsed.headers.iter() {
        let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(|_| Malformed)?;
        let at = if line.value.is_empty() { 0 } else { line.value.as_ptr().addr() - start };
        names.push((name, at..at + line.value.len()));
    }
    let text = bytes.split_to(n_bytes).freeze();
    let mut headers = HeaderMap::with_capacity(n_lines + 2);
    let mut has_hop = false;
    for (name, place) in names {
        has_hop |= fields::is_of_hop(&name);
        let value = HeaderValue::from_maybe_shared(text.slice(place)).map_err(|_| Malformed)?;
        headers.append(name, value);
    }
    let is_kept = is_kept(version, has_hop, &headers);
    let body = Decoder::new(status, version, is_to_head, has_hop, &headers)?;
    // An application that announces a body where there is none may send it all the same.
    let says_body = has_hop && headers.contains_key(TRANSFER_ENCODING)
        || headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0");
    let is_odd = says_body && (status.is_informational() || status == StatusCode::NO_CONTENT);
    let is_kept = is_kept && body != Decoder::UntilClose && !is_odd;
    Ok(Some(Head { status, reason, headers, body, is_kept, has_hop }))
}

/// Whether a line ends and the next one is empty, in whatever way lines end.
fn has_empty_line(bytes: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', bytes).any(|at| {
        let rest = &bytes[at + 1..];
        rest.starts_with(b"\n") || rest.starts_with(b"\r\n")
    })
}

/// Whether a line ends without CR, which `httparse` takes and the next proxy may not.
fn has_bare_lf(head: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', head).any(|at| at == 0 || head[at - 1] != b'\r')
}

fn is_kept(version: Version, has_hop: bool, headers: &HeaderMap) -> bool {
    if !has_hop || !headers.contains_key(CONNECTION) {
        return version == Version::HTTP_11;
    }
    !fields::has_option(headers, b"close")
        && (version == Version::HTTP_11 || fields::has_option(headers, b"keep-alive"))
}

fn is_chunked(headers: &HeaderMap) -> Result<bool, Malformed> {
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    match (encodings.next(), encodings.next()) {
        (None, _) => Ok(false),
        (Some(value), None) if value.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(true),
        _ => Err(Malformed),
    }
}

/// Where a body is, and where it ends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decoder {
    /// So many bytes are left; none is the end.
    Length(u64),
    /// In chunks; the bytes of the trailers so far.
    Chunks(Chunk, Vec<u8>),
    /// The chunks have ended, and these are the trailers.
    Trailers(Box<HeaderMap>),
    /// Ends with the connection.
    UntilClose,
}

/// What a decoder found.
#[derive(Debug)]
pub(crate) enum Step {
    /// A piece.
    Frame(Frame<Bytes>),
    /// It needs more bytes.
    Starved,
    /// The body has ended.
    Ended,
}

impl Decoder {
    fn new(
        status: StatusCode,
        version: Version,
        is_to_head: bool,
        has_hop: bool,
        headers: &HeaderMap,
    ) -> Result<Self, Malformed> {
        let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
        let length = match (lengths.next(), lengths.next()) {
            (None, _) => None,
            (Some(value), None) => Some(plain_number(value.as_bytes()).ok_or(Malformed)?),
            (Some(_), Some(_)) => return Err(Malformed),
        };
        let is_chunked = has_hop && is_chunked(headers)?;
        if is_chunked && (length.is_some() || version != Version::HTTP_11) {
            return Err(Malformed);
        }
        let has_none = is_to_head
            || status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        Ok(match length {
            _ if has_none => Self::Length(0),
            Some(length) => Self::Length(length),
            None if is_chunked => Self::Chunks(Chunk::SIZE, Vec::new()),
            None => Self::UntilClose,
        })
    }

    /// Takes the next piece of the body from the front of `bytes`.
    pub(crate) fn step(&mut self, bytes: &mut BytesMut) -> Result<Step, BodyError> {
        match self {
            Self::Length(0) => Ok(Step::Ended),
            Self::Trailers(trailers) => {
                let trailers = std::mem::take(&mut **trailers);
                *self = Self::Length(0);
                Ok(Step::Frame(Frame::trailers(trailers)))
            }
            _ if bytes.is_empty() => Ok(Step::Starved),
            Self::Length(left) => {
                let n_bytes = usize::try_from(*left).map_or(bytes.len(), |n| n.min(bytes.len()));
                *left -= n_bytes as u64;
                Ok(Step::Frame(Frame::data(bytes.split_to(n_bytes).freeze())))
            }
            Self::UntilClose => Ok(Step::Frame(Frame::data(bytes.split().freeze()))),
            Self::Chunks(..) => self.chunk(bytes),
        }
    }

    /// Takes one piece of a chunk, and what frames it.
    fn chunk(&mut self, bytes: &mut BytesMut) -> Result<Step, BodyError> {
        let mut data = None;
        while let Self::Chunks(chunk, trailers) = self
            && !bytes.is_empty()
        {
            let is_data = matches!(chunk, Chunk::Data(_));
            if is_data && data.is_some() {
                break;
            }
            let (next, n_bytes) = chunk.step(bytes).map_err(|_| BodyError::Chunk)?;
            if is_data {
                data = Some(bytes.split_to(n_bytes).freeze());
            } else {
                if matches!(chunk, Chunk::Trailer { .. }) {
                    trailers.extend_from_slice(&bytes[..n_bytes]);
                }
                bytes.advance(n_bytes);
            }
            match next {
                Some(next) => *chunk = next,
                None => *self = Self::ended(trailers)?,
            }
        }
        match (data, &*self) {
            (Some(data), _) => Ok(Step::Frame(Frame::data(data))),
            (None, Self::Chunks(..)) => Ok(Step::Starved),
            (None, _) => self.step(bytes),
        }
    }

    /// The decoder after the last chunk.
    fn ended(trailers: &[u8]) -> Result<Self, BodyError> {
        let mut lines = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let Ok(httparse::Status::Complete((_, lines))) =
            httparse::parse_headers(trailers, &mut lines)
        else {
            return Err(BodyError::Chunk);
        };
        let mut headers = HeaderMap::new();
        for line in lines {
            let name = HeaderName::from_bytes(line.name.as_bytes());
            let value = HeaderValue::from_bytes(line.value);
            let (Ok(name), Ok(value)) = (name, value) else { return Err(BodyError::Chunk) };
            headers.append(name, value);
        }
        Ok(if headers.is_empty() { Self::Length(0) } else { Self::Trailers(Box::new(headers)) })
    }

    /// What the end of the connection means.
    pub(crate) fn close(&mut self) -> Result<(), BodyError> {
        match self {
            Self::Length(0) => Ok(()),
            Self::UntilClose => {
                *self = Self::Length(0);
                Ok(())
            }
            _ => Err(BodyError::Closed),
        }
    }

    /// Whether nothing follows.
    pub(crate) fn is_ended(&self) -> bool {
        matches!(self, Self::Length(0))
    }

    /// How many bytes of data follow.
    pub(crate) fn size_hint(&self) -> SizeHint {
        match self {
            Self::Length(left) => SizeHint::with_exact(*left),
            Self::Chunks(..) | Self::Trailers(_) | Self::UntilClose => SizeHint::default(),
        }
    }
}
