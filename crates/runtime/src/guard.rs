//! The foreground process: the only waiter, the owner of sockets, pipes, signals and exit code.

use crate::{error::Error, settings::Settings};

/// Runs a process until it and everything it left behind have ended; returns its exit code.
///
/// # Errors
/// When the process never ran; the caller prints the error and exits with [`Error::exit_code`].
pub fn main(_settings: Settings) -> Result<u8, Error> {
    Err(Error::Wire { problem: "not built yet".into() })
}
