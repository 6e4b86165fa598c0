//! The one way out: an answer or an error becomes words on stderr and an exit code.
//!
//! Error texts may carry lines that start with `help:`; they are gathered from the whole chain of
//! causes and shown last, once each. A reader that went away (`plimsoll logs | head`) is no error.

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use anstyle::Style;

use crate::exit::Exit;
use crate::screen::{self, ERROR, HELP, WARNING};

/// Turns what a command returned into the code of the process.
pub(crate) fn finish(answer: anyhow::Result<Exit>) -> ExitCode {
    let exit = match answer {
        Ok(exit) => exit,
        Err(error) if reader_went_away(&error) => Exit::Yes,
        Err(error) => {
            show(&error);
            Exit::Unknown
        }
    };
    exit.into()
}

/// Shows one error among several, or one whose exit code is not ours.
pub(crate) fn show(error: &anyhow::Error) {
    // Nothing is left to tell anyone if stderr is closed too.
    let _ = write_error(&mut screen::words(), error);
}

/// Whether the error is only that nobody reads any more.
fn reader_went_away(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == ErrorKind::BrokenPipe)
}

/// Writes `error: what: why`, then the helps.
pub(crate) fn write_error(out: &mut impl Write, error: &anyhow::Error) -> io::Result<()> {
    write(out, ("error", ERROR), error)
}

/// Shows what is odd but stops nothing: words, with lines that start with `help:`.
pub(crate) fn warn(text: &str) -> io::Result<()> {
    write(&mut screen::words(), ("warning", WARNING), &anyhow::anyhow!("{text}"))
}

fn write(
    out: &mut impl Write,
    (label, style): (&str, Style),
    error: &anyhow::Error,
) -> io::Result<()> {
    let (message, helps) = split(error);
    writeln!(out, "{style}{label}:{style:#} {message}")?;
    for help in helps {
        writeln!(out, "  {HELP}help:{HELP:#} {help}")?;
    }
    Ok(())
}

/// The messages of the chain joined by colons, and the helps in order, once each.
fn split(error: &anyhow::Error) -> (String, Vec<String>) {
    let mut messages: Vec<String> = Vec::new();
    let mut helps: Vec<String> = Vec::new();
    for cause in error.chain() {
        let text = cause.to_string();
        let mut message: Vec<&str> = Vec::new();
        for line in text.lines() {
            match line.trim_start().strip_prefix("help:") {
                Some(help) if !helps.iter().any(|known| known == help.trim()) => {
                    helps.push(help.trim().to_owned());
                }
                Some(_) => {}
                None => message.push(line),
            }
        }
        let message = message.join("\n");
        // A wrapper that repeats its cause would say the same thing twice.
        if !messages.iter().any(|known| known.ends_with(&message)) {
            messages.push(message);
        }
    }
    (messages.join(": "), helps)
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;
    use expect_test::{Expect, expect};

    use super::*;

    fn check(error: &anyhow::Error, expected: &Expect) {
        let mut out = Vec::new();
        write_error(&mut anstream::StripStream::new(&mut out), error).unwrap();
        expected.assert_eq(&String::from_utf8(out).unwrap());
    }

    #[test]
    fn helps_of_the_whole_chain_come_last_and_once() {
        let cause = anyhow!("no such file\nhelp: run `plimsoll init`");
        let error = cause.context("cannot read `plimsoll.yaml`\nhelp: run `plimsoll init`");
        check(
            &error,
            &expect![[r"
                error: cannot read `plimsoll.yaml`: no such file
                  help: run `plimsoll init`
            "]],
        );
    }

    #[test]
    fn a_closed_pipe_is_found_below_its_context() {
        let error = anyhow::Error::from(io::Error::from(ErrorKind::BrokenPipe)).context("writing");
        assert!(reader_went_away(&error));
    }
}
