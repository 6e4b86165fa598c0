//! `plimsoll up`: one directory's platform in the foreground.
//!
//! The engine takes [`Command`]s from a bounded channel and publishes a [`Status`] on a watch
//! channel after every change; it prints nothing. Who serves the control socket, watches files or
//! draws lines on a terminal stands outside, and holds the other ends of those channels:
//!
//! ```text
//! control socket --+                              +--> watch::Receiver<Status> (status, urls)
//! signals ---------+-> mpsc Command -> up::run ---+
//! watch::... ------+                              +--> hub::Hub: push(item, stream, text)
//! ```
//!
//! `run(plan, options, hub, commands, status)` returns when nothing runs any more: `Ok` after a
//! shutdown that was asked for, an error that names the service otherwise. Of the hub it needs a
//! cheap clone with `push(&self, item: &str, stream: Stream, text: &str)` (stdout, stderr, or
//! `Stream::Platform` for words of our own) and `tail(&self, item: &str, n: usize) -> Vec<String>`.

mod request;
mod status;

pub use request::{COMMANDS_MAX, Command, Refused, Request};
pub use status::{Check, ItemKind, ItemStatus, Phase, Status};
