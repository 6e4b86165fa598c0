//! From a file to the text of its pages.
//!
//! What a file is, its bytes say, never its name. Errors come in two kinds: the document cannot be
//! read (trying again is useless) or the attempt failed (it may work later).

use std::path::Path;

use tokio::io::AsyncReadExt;
use tokio::sync::watch;
use tracing::warn;

use crate::confine::ConfineError;
use crate::metrics::WorkerMetrics;
use crate::ocr::Ocr;
use crate::pdf::{self, PdfError, TEXT_BYTES_MAX};

/// The kinds of files that can be read, and how each begins.
const SIGNATURES: [(&str, &[u8]); 6] = [
    ("application/pdf", b"%PDF-"),
    ("image/png", b"\x89PNG\r\n\x1a\n"),
    ("image/jpeg", b"\xff\xd8\xff"),
    ("image/tiff", b"II*\0"),
    ("image/tiff", b"MM\0*"),
    ("text/plain", b"\xef\xbb\xbf"),
];
/// A PDF may have a few bytes of something else in front.
const PDF_SEARCH_BYTES: usize = 1024;

/// After this many pages that no program can read, the rest is not tried: each may have cost its
/// whole deadline.
const BROKEN_PAGES_MAX: usize = 5;

/// What was read.
#[derive(Debug, Default)]
pub struct Pages {
    /// Each page's text.
    pub texts: Vec<String>,
    /// Pages that need character recognition, which is not installed.
    pub n_unread: usize,
    /// What a reader should know; empty when all is well.
    pub note: String,
}

/// How far the reading has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Pages read.
    pub pages_done: usize,
    /// Pages to read.
    pub pages_total: usize,
}

/// Why a document was not read.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// It cannot be read; trying again is useless.
    #[error("{0}")]
    Unreadable(String),
    /// The attempt failed; it may work later.
    #[error("{0}")]
    NotTried(String),
}

/// What reading needs beside the file.
#[derive(Debug)]
pub struct Reader<'a> {
    /// The worker's own program, which confines others.
    pub worker: &'a Path,
    /// Character recognition, if installed.
    pub ocr: Option<Ocr>,
    /// Where durations go.
    pub metrics: &'a WorkerMetrics,
    /// Where the progress goes.
    pub progress: &'a watch::Sender<Progress>,
}

/// What a file is, by its first bytes; `None` if it is nothing that can be read.
pub fn media_type(head: &[u8]) -> Option<&'static str> {
    let signature = SIGNATURES.iter().find(|(_, bytes)| head.starts_with(bytes));
    if let Some((media_type, _)) = signature {
        return Some(media_type);
    }
    if head.starts_with(b"RIFF") && head.get(8..12) == Some(b"WEBP") {
        return Some("image/webp");
    }
    let front = &head[..head.len().min(PDF_SEARCH_BYTES)];
    if front.windows(5).any(|window| window == b"%PDF-") {
        return Some("application/pdf");
    }
    let is_utf16 = head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff");
    (is_utf16 || !head.contains(&0)).then_some("text/plain")
}

impl Reader<'_> {
    /// Reads the file at `path`.
    pub async fn read(&self, path: &Path, media_type: &str) -> Result<Pages, ExtractError> {
        let directory = tempfile::tempdir().map_err(|error| not_tried(&error))?;
        match media_type {
            "text/plain" => self.text(path).await,
            "application/pdf" => self.pdf(path, directory.path()).await,
            _ => self.image(path, directory.path()).await,
        }
    }

    async fn text(&self, path: &Path) -> Result<Pages, ExtractError> {
        let file = tokio::fs::File::open(path).await.map_err(|error| not_tried(&error))?;
        let n_bytes_max = TEXT_BYTES_MAX as u64;
        let is_cut = file.metadata().await.is_ok_and(|metadata| metadata.len() > n_bytes_max);
        let mut bytes = Vec::new();
        file.take(n_bytes_max).read_to_end(&mut bytes).await.map_err(|error| not_tried(&error))?;
        let text = decode(&bytes);
        let limit_mb = TEXT_BYTES_MAX >> 20;
        let note = match is_cut {
            true => format!("only the first {limit_mb} MB of text were read"),
            false => String::new(),
        };
        // Form feeds separate the pages of a plain text.
        let texts: Vec<String> = text.split('\u{c}').map(str::to_owned).collect();
        self.report(texts.len(), texts.len());
        Ok(Pages { texts, n_unread: 0, note })
    }

    async fn image(&self, path: &Path, directory: &Path) -> Result<Pages, ExtractError> {
        self.report(0, 1);
        let Some(ocr) = &self.ocr else {
            return Ok(Pages { texts: vec![String::new()], n_unread: 1, note: String::new() });
        };
        let text = ocr
            .image(self.worker, path, directory, self.metrics)
            .await
            .map_err(|error| ocr_error(&error))?;
        self.report(1, 1);
        Ok(Pages { texts: vec![text], n_unread: 0, note: String::new() })
    }

    async fn pdf(&self, path: &Path, directory: &Path) -> Result<Pages, ExtractError> {
        let layer = pdf::text_layer(self.worker, path, directory).await?;
        let n_total = layer.pages.len();
        let mut pages = Pages::default();
        let mut n_broken = 0;
        for (index, page) in layer.pages.into_iter().enumerate() {
            let text = match (page, &self.ocr) {
                (Some(text), _) => text,
                (None, Some(_)) if n_broken >= BROKEN_PAGES_MAX => {
                    n_broken += 1;
                    String::new()
                }
                (None, Some(ocr)) if ocr.reads_pdf() => {
                    let result =
                        ocr.pdf_page(self.worker, path, index + 1, directory, self.metrics).await;
                    match result.map_err(|error| ocr_error(&error)) {
                        Ok(text) => text,
                        Err(error @ ExtractError::NotTried(_)) => return Err(error),
                        Err(ExtractError::Unreadable(_)) => {
                            n_broken += 1;
                            String::new()
                        }
                    }
                }
                (None, _) => {
                    pages.n_unread += 1;
                    String::new()
                }
            };
            pages.texts.push(text);
            self.report(index + 1, n_total);
        }
        if n_broken == n_total {
            return Err(ExtractError::Unreadable("no page of the PDF can be read".into()));
        }
        if n_broken > 0 {
            pages.note = format!("{n_broken} of {n_total} pages cannot be read");
        } else if layer.n_pages > n_total {
            pages.note = format!("only the first {n_total} of {} pages were read", layer.n_pages);
        }
        Ok(pages)
    }

    fn report(&self, pages_done: usize, pages_total: usize) {
        self.progress.send_replace(Progress { pages_done, pages_total });
    }
}

impl From<PdfError> for ExtractError {
    fn from(error: PdfError) -> Self {
        match error {
            PdfError::Unreadable(why) => Self::Unreadable(why),
            PdfError::NotTried(why) => Self::NotTried(why),
        }
    }
}

fn not_tried(error: &std::io::Error) -> ExtractError {
    ExtractError::NotTried(error.to_string())
}

/// A program that could not start may start later; one that gave up on a page will again. What it
/// said is for the log, not for the reader of the document.
fn ocr_error(error: &ConfineError) -> ExtractError {
    let why = match error {
        ConfineError::NotStarted { .. } => return ExtractError::NotTried(error.to_string()),
        ConfineError::TooSlow { .. } => "reading the picture takes too long",
        ConfineError::TooMuchOutput { .. } => "the picture holds too much text",
        ConfineError::Failed { .. } => "the picture is damaged or too large",
    };
    warn!(%error, "character recognition failed");
    ExtractError::Unreadable(why.to_owned())
}

/// UTF-8, UTF-16 with its mark, or else Latin-1, in which every byte is a character.
fn decode(bytes: &[u8]) -> String {
    let utf16 = |from: fn([u8; 2]) -> u16| {
        let units: Vec<u16> =
            bytes[2..].chunks_exact(2).map(|pair| from([pair[0], pair[1]])).collect();
        String::from_utf16_lossy(&units)
    };
    if bytes.starts_with(b"\xff\xfe") {
        return utf16(u16::from_le_bytes);
    }
    if bytes.starts_with(b"\xfe\xff") {
        return utf16(u16::from_be_bytes);
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        // Cut in the middle of the last character: still UTF-8.
        Err(error) if error.error_len().is_none() => String::from_utf8_lossy(bytes).into_owned(),
        Err(_) => bytes.iter().copied().map(char::from).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_say_what_a_file_is() {
        assert_eq!(media_type(b"%PDF-1.7\n"), Some("application/pdf"));
        assert_eq!(media_type(b"junk\n%PDF-1.7\n"), Some("application/pdf"));
        assert_eq!(media_type(b"RIFF\x01\0\0\0WEBPVP8 "), Some("image/webp"));
        assert_eq!(media_type("plain, with é".as_bytes()), Some("text/plain"));
        assert_eq!(media_type(b"PK\x03\x04\0\0"), None);
        assert_eq!(media_type(b"\x7fELF\x02\0"), None);
    }

    #[test]
    fn old_encodings_are_read() {
        assert_eq!(decode(b"caf\xe9 au lait"), "café au lait");
        assert_eq!(decode(b"\xff\xfeh\0i\0"), "hi");
        assert_eq!(decode(b"\xfe\xff\0h\0i\0"), "hi");
        assert_eq!(decode("né".as_bytes().get(..2).unwrap()), "n\u{fffd}");
    }
}
