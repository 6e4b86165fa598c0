//! The process that does everything that may fail: HTTP, probes, logs, and the lifecycle's driver.

/// The hidden subcommand that the guard starts this program with.
pub const SUBCOMMAND: &str = "engine";

/// Runs as the engine of the guard that started this process; returns its exit code.
///
/// # Errors
/// When no guard of this version is at the other end.
pub fn main() -> Result<u8, crate::error::Error> {
    Err(crate::error::Error::Wire { problem: "not built yet".into() })
}
