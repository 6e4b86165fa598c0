//! The protocol of `sd_notify(3)`, in both directions.
//!
//! The application gets a `NOTIFY_SOCKET` and says `READY=1`, `WATCHDOG=1`, `STATUS=...` there
//! ([`hear`]); where we run under systemd ourselves, we tell it the same ([`outward`]). The guard
//! owns the socket, so that a restarted engine misses no word. It deliberately stores no file
//! descriptors for anyone and spawns nothing.
//!
//! Invariant: a word counts only if it comes from a descendant of ours or from our own account.

pub mod hear;
pub mod message;
pub mod outward;
pub mod socket;

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// What counts as having started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartedBy {
    /// The application's port, or its own path, answers.
    Port,
    /// The application has sent `READY=1`.
    Notify,
}

impl FromStr for StartedBy {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "port" => Ok(StartedBy::Port),
            "notify" => Ok(StartedBy::Notify),
            _ => Err(Error::Word {
                what: "sign of having started",
                text: text.to_owned(),
                accepted: "`port`, `notify`",
            }),
        }
    }
}
