//! Ctrl-C and its kin: the first stops, the second kills, the third gives up on all.

use std::io::{IsTerminal, Write};

use fleet::up::{Command, Request};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::screen;

/// Turns signals into commands, until it is dropped.
pub(super) async fn forward(commands: mpsc::Sender<Command>) {
    let all = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
    let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)] = all else { return };
    for count in 1_u32.. {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
        if std::io::stderr().is_terminal() {
            // The terminal has just written `^C` there.
            let _ = writeln!(screen::words());
        }
        if count > 2 {
            let _ =
                writeln!(screen::words(), "leaving at once; what still runs is killed behind us");
            std::process::exit(130);
        }
        if commands.send(Command::silent(Request::Shutdown)).await.is_err() {
            return;
        }
    }
}
