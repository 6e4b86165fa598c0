//! Log lines: JSON for machines, plain text for a terminal. Always on standard error, so that
//! standard output stays free for data.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

/// Starts logging. `LOG_LEVEL` chooses what is shown (default `info`).
pub fn start() {
    let filter = EnvFilter::try_from_env("LOG_LEVEL")
        .unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn,lopdf=off,pdf_extract=off"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    // Ignored: only a second call in one process could fail, and then logging has started.
    let _ = if stderr().is_terminal() {
        builder.without_time().with_target(false).try_init()
    } else {
        builder.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init()
    };
}
