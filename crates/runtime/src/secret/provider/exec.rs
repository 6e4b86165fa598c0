//! Secrets that any program prints: `op`, `sops`, `gcloud`, `pass`, or a script.
//!
//! The program gets our environment and nothing on stdin; its stdout is the value. What it says on
//! stderr is shown cut and only when it fails. It deliberately uses no shell. Invariant: the
//! program and the children that stay in its group are gone when the answer is.

use std::process::Stdio;

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::Command,
};
use zeroize::Zeroizing;

use super::Place;
use crate::secret::{
    fault::Fault,
    value::{Fetched, VALUE_BYTES_MAX, without_line_break},
};

/// Most bytes of stderr that are kept.
const STDERR_BYTES_MAX: usize = 4096;
/// Most characters of it that are shown.
const STDERR_CHARS_SHOWN: usize = 200;

/// A program with its arguments.
#[derive(Debug)]
pub(in crate::secret) struct Program {
    command: Vec<String>,
}

impl Program {
    pub(super) fn new(command: Vec<String>) -> Self {
        Self { command }
    }

    pub(super) async fn fetch(&self, place: &Place) -> Result<Fetched, Fault> {
        let words: Vec<_> = self.command.iter().map(|word| filled(word, place)).collect();
        let (program, args) = words.split_first().expect("the settings have been checked");
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| {
            Fault::config(format!("`{program}` cannot be started: {error}\nhelp: check `command`"))
        })?;
        let _group = child.id().and_then(|id| i32::try_from(id).ok()).map(Group);
        let stdout = child.stdout.take().expect("it was asked for");
        let stderr = child.stderr.take().expect("it was asked for");
        let (value, words) =
            tokio::join!(bounded(stdout, VALUE_BYTES_MAX), bounded(stderr, STDERR_BYTES_MAX));
        let failed = |error| Fault::unreachable(format!("`{program}` cannot be read: {error}"));
        let status = child.wait().await.map_err(failed)?;
        if !status.success() {
            let words = shown(&words.unwrap_or_default());
            return Err(Fault::unreachable(format!("`{program}` failed ({status}){words}")));
        }
        let value = value.map_err(failed)?;
        if value.is_empty() {
            return Err(Fault::missing(format!("`{program}` printed nothing")));
        }
        Fetched::text(&without_line_break(value))
    }
}

/// Ends with the answer, whatever the program has started.
struct Group(i32);

impl Drop for Group {
    fn drop(&mut self) {
        // Gone already, as a rule.
        let _ = killpg(Pid::from_raw(self.0), Signal::SIGKILL);
    }
}

fn filled(word: &str, place: &Place) -> String {
    let version = place.version.map(|version| version.to_string()).unwrap_or_default();
    word.replace("{path}", &place.path)
        .replace("{field}", place.field.as_deref().unwrap_or_default())
        .replace("{version}", &version)
}

/// Reads to the end, and keeps the first `limit` bytes and one, which tells that there were more.
async fn bounded(
    mut source: impl AsyncRead + Unpin,
    limit: usize,
) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let mut kept = Zeroizing::new(Vec::with_capacity(limit + 1));
    let mut chunk = Zeroizing::new([0; 4096]);
    loop {
        let length = source.read(&mut chunk[..]).await?;
        if length == 0 {
            return Ok(kept);
        }
        let room = (limit + 1).saturating_sub(kept.len()).min(length);
        kept.extend_from_slice(&chunk[..room]);
    }
}

/// The first line of what it said. Some tools repeat what they were given, so long words, which
/// may be tokens, are left out.
fn shown(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let mask = |word: &str| {
        let is_long = word.len() >= 16 && word.chars().any(|c| c.is_ascii_digit());
        if is_long { "[...]".to_owned() } else { word.to_owned() }
    };
    let masked: Vec<_> = line.split_whitespace().map(mask).collect();
    let cut: String = masked.join(" ").chars().take(STDERR_CHARS_SHOWN).collect();
    if cut.is_empty() { cut } else { format!(": {cut}") }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::secret::{fault::FaultKind, value::Document};

    async fn run(command: &[&str]) -> Result<String, Fault> {
        let program = Program::new(command.iter().map(|&word| word.to_owned()).collect());
        let place = Place { path: "a b".into(), field: Some("f".into()), version: Some(2) };
        match program.fetch(&place).await?.document {
            Document::Text(text) => Ok(text.expose_secret().to_owned()),
            Document::Fields(_) => unreachable!("programs print text"),
        }
    }

    #[tokio::test]
    async fn path_field_and_version_are_words_of_their_own() {
        let printed =
            run(&["/bin/sh", "-c", "echo \"$1|$2|$3\"", "x", "{path}", "{field}", "{version}"]);
        assert_eq!(printed.await.expect("it prints"), "a b|f|2");
    }

    #[tokio::test]
    async fn a_failure_says_why_without_tokens() {
        let error = run(&["/bin/sh", "-c", "echo no login with hvs.0123456789abcdef >&2; exit 3"]);
        let error = error.await.expect_err("it fails");
        assert_eq!(error.kind, FaultKind::Unreachable);
        assert!(error.text.contains("no login") && !error.text.contains("hvs"), "{}", error.text);
    }

    #[tokio::test]
    async fn endless_output_nothing_and_no_program_are_told_apart() {
        let long = run(&["/bin/sh", "-c", "head -c 3000000 /dev/zero"]).await.expect_err("long");
        assert_eq!(long.kind, FaultKind::Invalid);
        assert_eq!(run(&["/bin/true"]).await.expect_err("nothing").kind, FaultKind::Missing);
        assert_eq!(run(&["/no/program"]).await.expect_err("none").kind, FaultKind::Config);
    }
}
