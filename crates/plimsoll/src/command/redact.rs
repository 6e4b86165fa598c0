//! `plimsoll redact`: the redaction of `run` for any text, from stdin to stdout.
//!
//! It knows no secrets by value, as nobody should put them into a command line; shapes and keys
//! only, and what `--redact` adds. Lines come out as they went in but for what was taken.

use std::io::{BufRead, Write};

use anyhow::Context;
use clap::Args;
use contract::env_vars;
use runtime::logs::{RedactSettings, RedactionCounters, Redactor};

use crate::exit::Exit;
use crate::screen;

const EXAMPLE: &str = "\
Example:
  plimsoll redact < app.log > shareable.log
  kubectl logs api | plimsoll redact --json 2> summary.json";

/// Longest part of a line that is looked at as one, bytes; as long as the longest line of `run`.
const LINE_BYTES_MAX: usize = contract::log_fields::LINE_BYTES_MAX;

/// Take credentials out of a text, from stdin to stdout
#[derive(Debug, Args)]
#[command(before_help = EXAMPLE)]
pub struct RedactArgs {
    /// Take out this: a JSON object as for `run`
    #[arg(long, env = env_vars::REDACT.name, value_name = "JSON", value_parser = RedactSettings::parse)]
    redact: Option<RedactSettings>,
    /// Print what was taken, by rule, to stderr as JSON
    #[arg(long)]
    json: bool,
}

/// Copies.
///
/// # Errors
/// When stdin cannot be read or stdout not be written.
pub fn redact(args: &RedactArgs) -> anyhow::Result<Exit> {
    let counters = RedactionCounters::default();
    let settings = args.redact.clone().unwrap_or_default();
    let redactor = Redactor::new(&settings, counters);
    copy(&redactor, &mut std::io::stdin().lock(), &mut screen::data())?;
    if args.json {
        let summary = serde_json::json!({ "redactions": redactor.counts() });
        writeln!(std::io::stderr(), "{summary}")?;
    }
    Ok(Exit::Yes)
}

/// Copies line by line; an over-long line in parts that tear nothing.
fn copy(
    redactor: &Redactor,
    input: &mut impl BufRead,
    output: &mut impl Write,
) -> anyhow::Result<()> {
    let mut scanner = redactor.scanner();
    let (mut line, mut clean) = (Vec::new(), Vec::new());
    loop {
        let room = (LINE_BYTES_MAX - line.len()) as u64;
        let read = std::io::Read::take(&mut *input, room)
            .read_until(b'\n', &mut line)
            .context("stdin cannot be read")?;
        if line.is_empty() {
            break;
        }
        let is_whole = line.ends_with(b"\n") || read == 0;
        let end = if is_whole { line.len() } else { scanner.seam(&line, line.len() / 2).max(1) };
        let part = line[..end].strip_suffix(b"\n").unwrap_or(&line[..end]);
        let is_changed = scanner.redact(part, &mut clean);
        let written = output.write_all(if is_changed { &clean } else { part });
        written.and_then(|()| output.write_all(&line[part.len()..end])).context("stdout")?;
        line.drain(..end);
    }
    output.flush().context("stdout")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copied(input: &str) -> String {
        let mut output = Vec::new();
        copy(&Redactor::default(), &mut input.as_bytes(), &mut output).unwrap();
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn every_line_comes_out_and_keeps_its_end() {
        assert_eq!(
            copied("a\r\n\npassword=x\nlast"),
            "a\r\n\npassword=[REDACTED:assignment]\nlast"
        );
        assert_eq!(copied(""), "");
    }

    #[test]
    fn an_overlong_line_comes_out_whole() {
        let text = "word ".repeat(LINE_BYTES_MAX / 2);
        assert_eq!(copied(&text), text);
    }
}
