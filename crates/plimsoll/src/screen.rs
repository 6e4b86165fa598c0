//! Where words and data go: stdout for data, stderr for words, colour only for a terminal.
//!
//! `anstream` decides about colour (`NO_COLOR`, `TERM=dumb`, `CLICOLOR`, not a terminal), so that
//! no command asks by itself. Everything is written with `writeln!` and a result: a reader that
//! closed its end is noticed in one place, `report`.

use std::io::{self, Write};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};

/// Of the word `error:`.
pub(crate) const ERROR: Style = AnsiColor::Red.on_default().bold();
/// Of the word `help:`.
pub(crate) const HELP: Style = AnsiColor::Cyan.on_default().bold();
/// Of the word `warning:`.
pub(crate) const WARNING: Style = AnsiColor::Yellow.on_default().bold();
/// Where data goes.
pub(crate) fn data() -> AutoStream<io::StdoutLock<'static>> {
    anstream::stdout().lock()
}

/// Where words go.
pub(crate) fn words() -> AutoStream<io::StderrLock<'static>> {
    anstream::stderr().lock()
}

/// Whether data may carry colours.
pub(crate) fn data_is_coloured() -> bool {
    AutoStream::choice(&io::stdout()) != ColorChoice::Never
}

/// Writes one JSON document, indented, to stdout.
pub(crate) fn write_json<T: serde::Serialize>(document: &T) -> anyhow::Result<()> {
    let mut out = data();
    serde_json::to_writer_pretty(&mut out, document).map_err(io::Error::from)?;
    writeln!(out)?;
    Ok(())
}
