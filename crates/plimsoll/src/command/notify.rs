//! `plimsoll notify`: says over the notify socket how a process is; for scripts and workers that
//! have no library for it.
//!
//! Words are those of `sd_notify(3)`, sent in one datagram. A word that we would not understand is
//! an error here, before it is lost there. It deliberately knows no `BARRIER`.

use std::ffi::OsString;

use anyhow::{Context, bail};
use clap::Args;
use runtime::notify::{message, outward};

use crate::exit::Exit;

const EXAMPLE: &str = "\
Example:
  plimsoll notify READY=1 STATUS='listening on 8080'
  while work; do plimsoll notify WATCHDOG=1; done";

const AFTER: &str = "\
Words:
  READY=1                   it has started (`run --started notify`), or has reloaded
  RELOADING=1               it reloads
  STOPPING=1                it ends by itself: no requests from now on
  WATCHDOG=1                it lives (a `heartbeat` probe via `notify`)
  STATUS=TEXT               a line for `/health`
  EXTEND_TIMEOUT_USEC=N     no sign of life for so long

Exit codes:
  0  said
  2  nobody listens, or a word has no meaning";

/// Variable that says where to.
const SOCKET: &str = "NOTIFY_SOCKET";

/// Say how this process is to the `run` that started it
#[derive(Debug, Args)]
#[command(before_help = EXAMPLE, after_help = AFTER)]
pub struct NotifyArgs {
    /// Say these words
    #[arg(required = true, value_name = "WORD=VALUE")]
    words: Vec<String>,
    /// Say it to this socket [env: NOTIFY_SOCKET]
    #[arg(long, value_name = "PATH")]
    socket: Option<OsString>,
}

/// Says it.
///
/// # Errors
/// When a word has no meaning, or nobody listens.
pub fn notify(args: &NotifyArgs) -> anyhow::Result<Exit> {
    for word in &args.words {
        check(word)?;
    }
    let given = |socket: &OsString| !socket.is_empty();
    let socket = args.socket.clone().or_else(|| std::env::var_os(SOCKET)).filter(given);
    let Some(socket) = socket else {
        bail!(
            "`NOTIFY_SOCKET` is not set\nhelp: run this under `plimsoll run`, or name a socket with `--socket`"
        );
    };
    outward::send_to(&socket, &args.words.join("\n")).with_context(|| {
        let socket = socket.to_string_lossy();
        format!("nobody listens on `{socket}`\nhelp: is the process that set it still there?")
    })?;
    Ok(Exit::Yes)
}

fn check(word: &str) -> anyhow::Result<()> {
    if word.contains('\n') || message::parse(word.as_bytes()).is_empty() {
        let word = word.escape_debug();
        bail!("`{word}` has no meaning\nhelp: plimsoll notify READY=1, or see `--help`");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_without_meaning_is_not_sent() {
        for word in ["READY=1", "STATUS=x y", "EXTEND_TIMEOUT_USEC=5"] {
            assert!(check(word).is_ok(), "{word}");
        }
        for word in ["READY", "READY=yes", "STATUS=a\nREADY=1", "EXTEND_TIMEOUT_USEC=soon", ""] {
            let said = check(word).unwrap_err().to_string();
            assert!(said.contains("help:"), "{said}");
        }
    }
}
