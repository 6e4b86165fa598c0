//! The text layer of a PDF, read in a confined process of its own.
//!
//! PDF files are programs written by strangers. Whatever one of them does (panic, endless
//! recursion, gigabytes of zeros) happens in a child with limits, page by page, so that the pages
//! read before it are kept and the rest is left to character recognition.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use pdf_extract::{Document, PlainTextOutput, output_doc_page};
use serde::{Deserialize, Serialize};

use crate::confine;
use crate::words::words;

/// Pages beyond this are not read.
pub const PAGES_MAX: usize = 2_000;
/// Text beyond this, in bytes, is not read.
pub const TEXT_BYTES_MAX: usize = 10 << 20;

const DEADLINE: Duration = Duration::from_secs(60);
/// Nested objects are read by recursion; a deep nest ends in a crash of the child, not sooner.
const STACK_BYTES: usize = 64 << 20;
/// A page with a picture and fewer words than this is a scan with a stamp on it.
const WORDS_OF_A_STAMP: usize = 10;

/// What the text layer holds.
#[derive(Debug, Default)]
pub struct TextLayer {
    /// Each page's text; `None` is left to character recognition.
    pub pages: Vec<Option<String>>,
    /// How many pages the document really has.
    pub n_pages: usize,
}

/// Why a PDF cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum PdfError {
    /// It is damaged beyond reading, empty, or locked.
    #[error("{0}")]
    Unreadable(String),
    /// The attempt itself failed.
    #[error("{0}")]
    NotTried(String),
}

/// One line of the child's report.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Report {
    Pages(usize),
    Text(String),
    Picture,
    Unreadable(String),
}

/// Reads the text layer in a child process; `directory` is for its report.
pub async fn text_layer(
    worker: &Path,
    pdf: &Path,
    directory: &Path,
) -> Result<TextLayer, PdfError> {
    let pdf = std::path::absolute(pdf).map_err(|error| PdfError::NotTried(error.to_string()))?;
    let arguments = ["pdf-text", &pdf.to_string_lossy(), "report"];
    let result = confine::run(worker, worker, &arguments, directory, DEADLINE).await;
    let report = tokio::fs::read(directory.join("report")).await.unwrap_or_default();
    let layer = parse_report(&report)?;
    match (layer, result) {
        (Some(layer), _) => Ok(layer),
        (None, Err(error @ confine::ConfineError::NotStarted { .. })) => {
            Err(PdfError::NotTried(error.to_string()))
        }
        (None, _) => Err(PdfError::Unreadable("the PDF is damaged and cannot be read".into())),
    }
}

/// A report may end anywhere: its writer may have been killed.
fn parse_report(report: &[u8]) -> Result<Option<TextLayer>, PdfError> {
    let mut layer: Option<TextLayer> = None;
    for line in report.split(|byte| *byte == b'\n') {
        match (serde_json::from_slice(line), &mut layer) {
            (Ok(Report::Unreadable(why)), _) => return Err(PdfError::Unreadable(why)),
            (Ok(Report::Pages(n_pages)), None) => {
                layer = Some(TextLayer { pages: Vec::new(), n_pages });
            }
            (Ok(Report::Text(text)), Some(layer)) => layer.pages.push(Some(text)),
            (Ok(Report::Picture), Some(layer)) => layer.pages.push(None),
            _ => break,
        }
    }
    if let Some(layer) = &mut layer {
        layer.pages.resize(layer.n_pages.min(PAGES_MAX), None);
    }
    Ok(layer)
}

/// The child: `worker pdf-text <pdf> <report>`.
pub fn write_report(pdf: &Path, report: &Path) -> std::io::Result<()> {
    std::panic::set_hook(Box::new(|_| {}));
    let mut report = BufWriter::new(File::create(report)?);
    let pdf = pdf.to_owned();
    let reading = std::thread::Builder::new()
        .stack_size(STACK_BYTES)
        .spawn(move || write_pages(&pdf, &mut report))?;
    reading.join().unwrap_or_else(|_| Err(std::io::Error::other("panicked")))
}

fn write_pages(pdf: &Path, report: &mut impl Write) -> std::io::Result<()> {
    let document = match catch_unwind(|| open(pdf)) {
        Ok(Ok(document)) => document,
        Ok(Err(why)) => return write(report, &Report::Unreadable(why)),
        Err(_) => return Ok(()),
    };
    let numbers: Vec<u32> = document.get_pages().into_keys().collect();
    if numbers.is_empty() {
        return write(report, &Report::Unreadable("the PDF has no pages".into()));
    }
    write(report, &Report::Pages(numbers.len()))?;
    let mut n_bytes = 0;
    for number in numbers.into_iter().take(PAGES_MAX) {
        let page = catch_unwind(AssertUnwindSafe(|| read_page(&document, number)));
        let page = page.unwrap_or(Report::Picture);
        if let Report::Text(text) = &page {
            n_bytes += text.len();
        }
        if n_bytes > TEXT_BYTES_MAX {
            write(report, &Report::Text(String::new()))?;
        } else {
            write(report, &page)?;
        }
    }
    Ok(())
}

fn open(pdf: &Path) -> Result<Document, String> {
    let mut document =
        Document::load(pdf).map_err(|_| "the PDF is damaged and cannot be read".to_owned())?;
    if document.is_encrypted() && document.decrypt("").is_err() {
        return Err("the PDF is protected by a password".into());
    }
    Ok(document)
}

fn read_page(document: &Document, number: u32) -> Report {
    let mut text = String::new();
    let result = output_doc_page(document, &mut PlainTextOutput::new(&mut text), number);
    let n_words = words(&text).len();
    let pages = document.get_pages();
    let Some(page) = pages.get(&number) else { return Report::Picture };
    let has_images = document.get_page_images(*page).is_ok_and(|images| !images.is_empty());
    let has_content = document.get_page_content(*page).is_ok_and(|content| !content.is_empty());
    let is_scan = if has_images { n_words < WORDS_OF_A_STAMP } else { n_words == 0 && has_content };
    if result.is_err() || is_scan { Report::Picture } else { Report::Text(text) }
}

fn write(report: &mut impl Write, line: &Report) -> std::io::Result<()> {
    serde_json::to_writer(&mut *report, line)?;
    report.write_all(b"\n")?;
    report.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_missing_from_a_broken_report_are_left_to_recognition() {
        let report = b"{\"pages\":3}\n{\"text\":\"one\"}\n{\"te";
        let layer = parse_report(report).unwrap().unwrap();
        assert_eq!(layer.pages, [Some("one".to_owned()), None, None]);
    }

    #[test]
    fn an_empty_report_is_no_text_layer() {
        assert!(parse_report(b"").unwrap().is_none());
    }
}
