//! A file that was found, with everything that is said about it.
//!
//! The fields of a plain 200 are made once and kept with the file; other answers begin as a copy of
//! them. It deliberately knows nothing of the request but what it accepts.
//!
//! Invariant: the bytes, the length and the tag are of one state of one file, unless somebody
//! writes into it at that moment.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap,
    HeaderValue, LAST_MODIFIED, VARY,
};

use super::beneath::{Entry, Root, Stamp};
use super::encoding::{Encoding, Encodings};
use super::names;
use crate::limits::SHELF_FILE_BYTES_MAX;

/// For a year, and never asked again: the name changes with the content.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// Asked again every time; an unchanged file costs a 304.
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");

/// Times a file is read again because it changed meanwhile.
const READS_MAX: usize = 3;

/// A file that was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) stamp: Stamp,
    pub(super) encoding: Encoding,
    /// The fields of a whole answer.
    pub(super) headers: HeaderMap,
    pub(super) tag: HeaderValue,
    pub(super) modified: SystemTime,
    pub(super) content: Content,
}

/// Where the bytes are.
#[derive(Debug)]
pub(super) enum Content {
    /// In memory.
    Whole(Bytes),
    /// Too many for that. Taken by whoever sends them.
    Open(Mutex<Option<File>>),
}

/// What a name leads to.
#[derive(Debug)]
pub(super) enum Lookup {
    /// A file, in the best encoding that is there.
    Found(Arc<Found>),
    /// A directory.
    Directory,
}

/// Looks a name up in the release that the directory is now. Waits for the disk.
pub(super) fn find(
    directory: &Path,
    name: &str,
    accepted: &Encodings,
    more: &HeaderMap,
) -> io::Result<Lookup> {
    let root = Root::open(directory)?;
    for encoding in accepted.iter() {
        match root.entry(&encoding.name_of(name)) {
            Ok(Entry::File(file, stamp)) => {
                let found = Found::read(file, stamp, name, encoding, more)?;
                return Ok(Lookup::Found(Arc::new(found)));
            }
            Ok(Entry::Directory) if encoding == Encoding::Plain => return Ok(Lookup::Directory),
            Err(error) if encoding == Encoding::Plain => return Err(error),
            // What cannot be read beside a file is not there.
            Ok(Entry::Directory) | Err(_) => (),
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

impl Found {
    fn read(
        mut file: File,
        mut stamp: Stamp,
        name: &str,
        encoding: Encoding,
        more: &HeaderMap,
    ) -> io::Result<Self> {
        let mut whole = None;
        for _ in 0..READS_MAX {
            if stamp.n_bytes > SHELF_FILE_BYTES_MAX as u64 {
                break;
            }
            let bytes = read_piece(&mut file, 0, SHELF_FILE_BYTES_MAX + 1)?;
            let after = Stamp::now(&file)?;
            let is_same = after == stamp && bytes.len() as u64 == stamp.n_bytes;
            if !is_same {
                stamp = after;
                continue;
            }
            whole = Some(bytes);
            break;
        }
        let content = match whole {
            Some(bytes) => Content::Whole(bytes),
            None => Content::Open(Mutex::new(Some(file))),
        };
        let modified = time(stamp.modified);
        let tag = tag(&stamp, encoding);
        let headers = headers(name, encoding, &stamp, &tag, modified, more);
        Ok(Self { stamp, encoding, headers, tag, modified, content })
    }

    /// Bytes of the file.
    pub(super) fn n_bytes(&self) -> u64 {
        self.stamp.n_bytes
    }

    /// Bytes that are in memory, when all are.
    pub(super) fn n_bytes_held(&self) -> Option<usize> {
        match &self.content {
            Content::Whole(bytes) => Some(bytes.len()),
            Content::Open(_) => None,
        }
    }

    /// The open file; once.
    pub(super) fn take_file(&self) -> Option<File> {
        match &self.content {
            Content::Whole(_) => None,
            Content::Open(file) => file.lock().unwrap_or_else(PoisonError::into_inner).take(),
        }
    }
}

/// Reads up to so many bytes from a place in a file.
pub(super) fn read_piece(file: &mut File, at: u64, n_bytes_max: usize) -> io::Result<Bytes> {
    file.seek(SeekFrom::Start(at))?;
    let left = file.metadata()?.len().saturating_sub(at);
    let n_bytes = usize::try_from(left).map_or(n_bytes_max, |left| left.min(n_bytes_max));
    let mut bytes = Vec::with_capacity(n_bytes);
    file.take(n_bytes_max as u64).read_to_end(&mut bytes)?;
    Ok(bytes.into())
}

fn headers(
    name: &str,
    encoding: Encoding,
    stamp: &Stamp,
    tag: &HeaderValue,
    modified: SystemTime,
    more: &HeaderMap,
) -> HeaderMap {
    let content_type = names::content_type(name);
    let is_html = content_type.starts_with("text/html");
    let is_immutable = !is_html && names::is_hashed(name);
    // Room for those that every answer gets.
    let mut headers = HeaderMap::with_capacity(more.len() + 16);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(stamp.n_bytes));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    headers.insert(ETAG, tag.clone());
    headers.insert(CACHE_CONTROL, if is_immutable { IMMUTABLE } else { NO_CACHE });
    if let Some(word) = encoding.word() {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(word));
    }
    if let Ok(date) = HeaderValue::from_str(&httpdate::fmt_http_date(modified)) {
        headers.insert(LAST_MODIFIED, date);
    }
    for (name, value) in more {
        headers.insert(name, value.clone());
    }
    headers
}

/// A strong tag: it is another one for other bytes, as far as the file system tells times.
fn tag(stamp: &Stamp, encoding: Encoding) -> HeaderValue {
    let (seconds, nanoseconds) = stamp.modified;
    let word = encoding.word().unwrap_or_default();
    let text = format!("\"{seconds:x}.{nanoseconds:08x}-{:x}{word}\"", stamp.n_bytes);
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("\"\""))
}

/// A time of a file; dates of HTTP begin in 1970 and end in 9999.
fn time((seconds, _): (i64, i64)) -> SystemTime {
    const LAST: u64 = 253_402_300_799;
    let seconds = u64::try_from(seconds).unwrap_or_default().min(LAST);
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}
