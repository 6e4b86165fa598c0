//! The links of the chain: how a line is sealed, and how a file is verified.
//!
//! A sealed line is `{...,"prev":"HEX","hash":"HEX"}`, where `hash` is the SHA-256 of the bytes of
//! the line before `,"hash"`. Nothing has to be parsed and written again to verify it, so no
//! reader's idea of JSON matters. It deliberately finds no lines that are missing at the end: for
//! that, keep the last hash elsewhere and compare it with [`Verified::last`].
//!
//! Invariant: a file verifies only if every byte of it was sealed.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use ring::digest::{SHA256, digest};

/// What the first line of the first file says for the hash before it.
pub(super) const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Most bytes of one line.
pub(super) const LINE_BYTES_MAX: usize = 64 * 1024;

/// Bytes of a line from `,"hash"` on.
const SEAL_BYTES: usize = r#","hash":""}"#.len() + GENESIS.len();

/// A file whose every line holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Lines.
    pub n_records: u64,
    /// What the first line says for the hash before it.
    pub first_prev: String,
    /// The hash of the last line; of an empty file, `None`.
    pub last: Option<String>,
}

/// Where a chain breaks.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The file cannot be read.
    #[error("cannot read it: {0}")]
    Io(#[from] io::Error),
    /// A line is not what was sealed.
    #[error("line {line} was changed: its hash is not that of its text")]
    Changed {
        /// Counted from 1.
        line: u64,
    },
    /// A line does not follow the one before.
    #[error("line {line} does not follow the line before it: one was removed, inserted or moved")]
    Unlinked {
        /// Counted from 1.
        line: u64,
    },
    /// A line is no record.
    #[error("line {line} is no sealed record")]
    NoRecord {
        /// Counted from 1.
        line: u64,
    },
}

/// Seals a line: `open` is a JSON object without its last brace, with `prev` as its last field.
pub(super) fn seal(mut open: String) -> (String, String) {
    let hash = hex(digest(&SHA256, open.as_bytes()).as_ref());
    open.push_str(r#","hash":""#);
    open.push_str(&hash);
    open.push_str("\"}");
    (open, hash)
}

/// The hash of a line and of the one before it, if the line holds.
pub(super) fn unseal(line: &[u8]) -> Option<(String, String)> {
    let (open, seal) = line.split_at_checked(line.len().checked_sub(SEAL_BYTES)?)?;
    let hash = seal.strip_prefix(br#","hash":""#)?.strip_suffix(b"\"}")?;
    let prev = open.strip_suffix(b"\"")?;
    let (rest, prev) = prev.split_at_checked(prev.len().checked_sub(GENESIS.len())?)?;
    let is_named = rest.ends_with(br#","prev":""#);
    let is_hex = |text: &[u8]| text.iter().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'));
    let holds = hex(digest(&SHA256, open).as_ref()).as_bytes() == hash;
    if !(is_named && is_hex(prev) && holds) {
        return None;
    }
    Some((String::from_utf8(hash.to_vec()).ok()?, String::from_utf8(prev.to_vec()).ok()?))
}

/// Verifies the lines of a file.
///
/// # Errors
/// At the first line that does not hold.
pub fn verify(path: &Path) -> Result<Verified, Broken> {
    let mut lines = BufReader::new(File::open(path)?);
    let mut verified = Verified { n_records: 0, first_prev: GENESIS.to_owned(), last: None };
    let mut text = Vec::new();
    loop {
        text.clear();
        let limit = LINE_BYTES_MAX as u64 + 1;
        if (&mut lines).take(limit).read_until(b'\n', &mut text)? == 0 {
            return Ok(verified);
        }
        let line = verified.n_records + 1;
        let is_record = text.starts_with(b"{") && text.ends_with(b"\"}\n");
        if !is_record {
            return Err(Broken::NoRecord { line });
        }
        text.pop();
        let (hash, prev) = unseal(&text).ok_or(Broken::Changed { line })?;
        match &verified.last {
            Some(last) if *last != prev => return Err(Broken::Unlinked { line }),
            Some(_) => (),
            None => verified.first_prev = prev,
        }
        verified.n_records = line;
        verified.last = Some(hash);
    }
}

fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
