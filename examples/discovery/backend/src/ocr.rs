//! Character recognition with Tesseract, on one page at a time.
//!
//! The programs are looked up anew for every document: what is installed later is used at once.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::confine::{self, ConfineError, find_program};
use crate::metrics::WorkerMetrics;

/// One page in Tesseract: usually two seconds.
const RECOGNISE_DEADLINE: Duration = Duration::from_secs(120);
/// One page in pdftoppm: usually half a second.
const RASTER_DEADLINE: Duration = Duration::from_secs(20);
/// The longer side of a rasterised page: about 250 dots per inch on A4, and a bound for memory
/// whatever size the page claims to have.
const RASTER_PIXELS: &str = "2900";

/// The programs that are installed.
#[derive(Debug, Clone)]
pub struct Ocr {
    tesseract: PathBuf,
    pdftoppm: Option<PathBuf>,
    languages: String,
}

impl Ocr {
    /// What is installed now; `None` without Tesseract.
    pub fn find(languages: &str) -> Option<Self> {
        Some(Self {
            tesseract: find_program("tesseract")?,
            pdftoppm: find_program("pdftoppm"),
            languages: languages.to_owned(),
        })
    }

    /// Whether pages of a PDF can be read, not only images.
    pub fn reads_pdf(&self) -> bool {
        self.pdftoppm.is_some()
    }

    /// Reads an image file.
    pub async fn image(
        &self,
        worker: &Path,
        image: &Path,
        directory: &Path,
        metrics: &WorkerMetrics,
    ) -> Result<String, ConfineError> {
        let started = Instant::now();
        let image = std::path::absolute(image).unwrap_or_else(|_| image.to_owned());
        let image = image.to_string_lossy();
        let arguments = [&*image, "stdout", "-l", &self.languages];
        let output =
            confine::run(worker, &self.tesseract, &arguments, directory, RECOGNISE_DEADLINE).await;
        metrics.ocr_duration.observe(started.elapsed().as_secs_f64());
        Ok(String::from_utf8_lossy(&output?).into_owned())
    }

    /// Reads page `number` (counted from 1) of a PDF.
    pub async fn pdf_page(
        &self,
        worker: &Path,
        pdf: &Path,
        number: usize,
        directory: &Path,
        metrics: &WorkerMetrics,
    ) -> Result<String, ConfineError> {
        let Some(pdftoppm) = &self.pdftoppm else { return Ok(String::new()) };
        let pdf = std::path::absolute(pdf).unwrap_or_else(|_| pdf.to_owned());
        let (pdf, number) = (pdf.to_string_lossy(), number.to_string());
        let arguments = [
            "-f",
            &number,
            "-l",
            &number,
            "-singlefile",
            "-gray",
            "-scale-to",
            RASTER_PIXELS,
            &pdf,
            "page",
        ];
        confine::run(worker, pdftoppm, &arguments, directory, RASTER_DEADLINE).await?;
        self.image(worker, &directory.join("page.pgm"), directory, metrics).await
    }
}
