//! What both programs read from their environment. Nothing else reads variables.
//!
//! | variable | default | meaning |
//! | --- | --- | --- |
//! | `HOST`, `PORT` | `127.0.0.1`, `8080` (worker `9464`) | where to listen |
//! | `METRICS_PORT` | `PORT` | where the worker serves its metrics |
//! | `DATABASE_URL` | an SQLite file in `DATA_DIR` | `postgres://…` or `sqlite://…` |
//! | `DATA_DIR` | `data` | uploaded files, shared by backend and worker |
//! | `CONCURRENCY` | `1` | documents that one worker reads at the same time (1 to 64) |
//! | `LEASE_SECONDS` | `60` | after this long without a sign of life a job is taken over |
//! | `OCR_LANGUAGES` | `eng` | Tesseract languages, such as `eng+fra` |
//! | `HEARTBEAT_FILE` | none | touched by each turn of the worker's loop |
//!
//! `LOG_LEVEL` is read by [`crate::log`].

use std::env;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// The settings of one process.
#[derive(Debug, Clone)]
pub struct Config {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// Where documents, sentences and jobs are kept; `None` means SQLite in `data_dir`.
    pub database_url: Option<String>,
    /// Where the uploaded files are kept.
    pub data_dir: PathBuf,
    /// How many documents one worker reads at the same time.
    pub concurrency: usize,
    /// How long a job belongs to a worker that shows no sign of life.
    pub lease: Duration,
    /// The languages Tesseract looks for, joined by `+`.
    pub ocr_languages: String,
    /// The file that each turn of the worker's loop touches.
    pub heartbeat_file: Option<PathBuf>,
}

/// A variable that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("`{name}` is `{value}`, expected {expected}\nhelp: {name}={example}")]
pub struct ConfigError {
    name: &'static str,
    value: String,
    expected: &'static str,
    example: &'static str,
}

impl Config {
    /// Reads the environment of the HTTP server.
    pub fn backend() -> Result<Self, ConfigError> {
        Self::from_env("PORT", 8080)
    }

    /// Reads the environment of the worker, which listens for its metrics only.
    pub fn worker() -> Result<Self, ConfigError> {
        let port_name = if set("METRICS_PORT").is_some() { "METRICS_PORT" } else { "PORT" };
        Self::from_env(port_name, 9464)
    }

    fn from_env(port_name: &'static str, port_default: u16) -> Result<Self, ConfigError> {
        let host: IpAddr =
            parsed("HOST", IpAddr::from([127, 0, 0, 1]), "an IP address", "127.0.0.1")?;
        let port: u16 = parsed(port_name, port_default, "a port (0 to 65535)", "8080")?;
        let concurrency = parsed("CONCURRENCY", 1, "a number from 1 to 64", "2")?;
        let lease_seconds = parsed("LEASE_SECONDS", 60, "whole seconds, at least 5", "60")?;
        Ok(Self {
            listen: SocketAddr::new(host, port),
            database_url: set("DATABASE_URL"),
            data_dir: set("DATA_DIR").map_or_else(|| PathBuf::from("data"), PathBuf::from),
            concurrency: concurrency.clamp(1, 64),
            lease: Duration::from_secs(lease_seconds.max(5)),
            ocr_languages: set("OCR_LANGUAGES").unwrap_or_else(|| "eng".into()),
            heartbeat_file: set("HEARTBEAT_FILE")
                .or_else(|| set("PLIMSOLL_HEARTBEAT_FILE"))
                .map(PathBuf::from),
        })
    }
}

/// A variable that is set to something; an empty one counts as absent.
fn set(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn parsed<T: FromStr>(
    name: &'static str,
    default: T,
    expected: &'static str,
    example: &'static str,
) -> Result<T, ConfigError> {
    match set(name) {
        None => Ok(default),
        Some(value) => value.parse().map_err(|_| ConfigError { name, value, expected, example }),
    }
}
