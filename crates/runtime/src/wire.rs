//! Messages between guard and engine: JSON, each behind its length.
//!
//! The guard tells its whole [`Snapshot`] whenever it changes, so that a new engine needs no
//! history and no message can be lost for good. The engine asks for deeds, which the guard does in
//! order. It deliberately does no I/O: [`encode`] makes bytes, [`Inbox`] takes them apart.
//!
//! Invariant: a frame is at most [`FRAME_BYTES_MAX`] long, in both directions.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{error::Error, settings::Settings};

/// Both ends must be of this version; they are, unless somebody starts an engine by hand.
pub const VERSION: u32 = 1;
/// The longest frame: a command line may have 2 MiB, and JSON may make three times that of it.
pub const FRAME_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The most last lines that are kept of an app.
pub const LAST_LINES_MAX: usize = 3;

const HEADER_BYTES: usize = size_of::<u32>();

/// File descriptors that the engine finds open, by number. Those of listeners that were not asked
/// for are absent.
pub mod fds {
    /// The socket to the guard.
    pub const GUARD: i32 = 3;
    /// Read end of the app's stdout.
    pub const APP_STDOUT: i32 = 4;
    /// Read end of the app's stderr.
    pub const APP_STDERR: i32 = 5;
    /// The admin listener on TCP.
    pub const ADMIN_TCP: i32 = 6;
    /// The admin listener on a Unix socket.
    pub const ADMIN_SOCK: i32 = 7;
    /// The listener of the service port.
    pub const INGRESS: i32 = 8;
    /// The log journal, see `logs::journal`; absent where the kernel has none.
    pub const JOURNAL: i32 = 12;
    /// Read end of its staging pipe.
    pub const STAGED: i32 = 13;
    /// Write end of its staging pipe.
    pub const STAGING: i32 = 14;
    /// The datagram socket on which the application says how it is.
    pub const NOTIFY: i32 = 9;
    /// The first listener of declared calls; the others follow, in the order of their names.
    pub const EGRESS: i32 = 32;
}

/// What the guard says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToEngine {
    /// The first message.
    Hello {
        /// [`VERSION`] of the guard.
        version: u32,
        /// What to run, with the addresses and ports that were really bound.
        settings: Box<Settings>,
        /// The life so far.
        snapshot: Snapshot,
    },
    /// Something changed.
    Changed(Snapshot),
    /// Answer with [`ToGuard::Pong`].
    Ping,
}

/// What the engine asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToGuard {
    /// A sign of life: the first word, and the answer to [`ToEngine::Ping`].
    Pong,
    /// Spawn the app, with these variables on top of what the guard gives it.
    Spawn {
        /// Held by the guard for the engines to come.
        env: Environment,
    },
    /// Remember that the app has answered.
    Started,
    /// Remember what was said last of readiness.
    Ready(bool),
    /// Tell the systemd that runs us; it listens to its main process only.
    Notify {
        /// As `sd_notify(3)` has it.
        state: String,
    },
    /// Send the stop signal to the app's process group.
    Terminate,
    /// Send SIGKILL to the app's process group.
    Kill,
    /// End everything that descends from the app.
    Sweep,
    /// Exit; every line has been written.
    Exit {
        /// The code, if the app has none of its own.
        code: u8,
        /// One word for why.
        reason: String,
        /// The last lines of the app, redacted; at most [`LAST_LINES_MAX`].
        last_lines: Vec<String>,
    },
}

/// All that the guard knows of the life so far. Times are since boot of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// When the guard began.
    pub born: Duration,
    /// In the environment of everything that the app starts, and of nothing else on this machine.
    pub run_id: String,
    /// The app.
    pub app: App,
    /// Whether the app has answered.
    pub is_started: bool,
    /// Whether the last that was said of readiness was yes.
    pub is_ready: bool,
    /// The stop that was asked for.
    pub stop: Option<Stop>,
    /// Whether nothing that the app left behind is left.
    pub is_swept: bool,
    /// How many orphans were reaped.
    pub orphans_reaped: u64,
    /// How often the engine was started again.
    pub engine_restarts: u32,
    /// What the app was spawned with: a new engine must know the secrets that its lines may hold.
    pub app_env: Environment,
}

/// Variables of the app whose values may be secret. Shown by name only.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Environment(pub BTreeMap<String, String>);

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The app's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum App {
    /// Not spawned yet.
    Waiting,
    /// Could not be spawned.
    Failed {
        /// 126 or 127, or 125 when no process could be made at all.
        code: u8,
        /// When.
        at: Duration,
    },
    /// It runs.
    Running {
        /// Its process id, and that of its group.
        pid: i32,
        /// When it was spawned.
        since: Duration,
    },
    /// It has ended.
    Exited {
        /// Its code, or 128 + n.
        code: u8,
        /// The signal that ended it.
        signal: Option<i32>,
        /// When.
        at: Duration,
    },
}

/// A stop that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// The first signal.
    pub signal: i32,
    /// Whether one of them skips the drain.
    pub is_hasty: bool,
    /// When the first came.
    pub since: Duration,
    /// How many came.
    pub signals: u32,
}

/// One message as a frame.
///
/// # Errors
/// When it is longer than [`FRAME_BYTES_MAX`], or a path in it is not UTF-8.
pub fn encode<M: Serialize>(message: &M) -> Result<Vec<u8>, Error> {
    let body = serde_json::to_vec(message).map_err(|error| wire(error.to_string()))?;
    let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= FRAME_BYTES_MAX);
    let length = length.ok_or_else(|| too_long(body.len()))?;
    let mut frame = Vec::with_capacity(HEADER_BYTES + body.len());
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&body);
    Ok(frame)
}

/// Bytes that came in and are not yet messages; never more than one frame and one read.
#[derive(Debug, Default)]
pub struct Inbox {
    bytes: Vec<u8>,
}

impl Inbox {
    /// Takes what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole message.
    ///
    /// # Errors
    /// When the frame is too long or is not a message; the conversation is then over.
    pub fn take<M: DeserializeOwned>(&mut self) -> Result<Option<M>, Error> {
        let Some((header, rest)) = self.bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_be_bytes(*header)).unwrap_or(usize::MAX);
        if length > FRAME_BYTES_MAX {
            return Err(too_long(length));
        }
        let Some(body) = rest.get(..length) else { return Ok(None) };
        let message = serde_json::from_slice(body).map_err(|error| wire(error.to_string()))?;
        self.bytes.drain(..HEADER_BYTES + length);
        if self.bytes.is_empty() {
            self.bytes = Vec::new();
        }
        Ok(Some(message))
    }
}

fn wire(problem: String) -> Error {
    Error::Wire { problem }
}

fn too_long(length: usize) -> Error {
    wire(format!("a message of {length} bytes is longer than {FRAME_BYTES_MAX}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn messages_arrive_whole_however_they_are_cut() {
        let messages = [
            ToGuard::Spawn { env: Environment([("A".into(), "b".into())].into()) },
            ToGuard::Exit { code: 69, reason: "gate_timeout".into(), last_lines: vec!["a".into()] },
            ToGuard::Terminate,
        ];
        let bytes: Vec<u8> = messages.iter().flat_map(|message| encode(message).unwrap()).collect();
        for size in 1..bytes.len() {
            let mut inbox = Inbox::default();
            let mut arrived = Vec::new();
            for chunk in bytes.chunks(size) {
                inbox.push(chunk);
                while let Some(message) = inbox.take::<ToGuard>().unwrap() {
                    arrived.push(message);
                }
            }
            assert_eq!(arrived, messages);
        }
    }

    #[test]
    fn the_values_of_variables_are_not_shown() {
        let env = Environment([("TOKEN".into(), "hunter2".into())].into());
        assert_eq!(format!("{env:?}"), r#"{"TOKEN"}"#);
    }

    #[test]
    fn a_frame_beyond_the_limit_is_refused_before_it_is_read() {
        let mut inbox = Inbox::default();
        inbox.push(&u32::MAX.to_be_bytes());
        assert!(inbox.take::<ToGuard>().is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_message_or_an_error_never_a_panic(bytes: Vec<u8>) {
            let mut inbox = Inbox::default();
            inbox.push(&bytes);
            while let Ok(Some(_)) = inbox.take::<ToGuard>() {}
        }
    }
}
