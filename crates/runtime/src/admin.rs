//! The endpoints of a process: is it alive, is it ready, what does it measure.
//!
//! [`respond`] answers what needs no waiting, from the board alone; the ingress uses the same
//! function for the public ones. [`serve`] runs a listener of its own around it, on TCP or a Unix
//! socket, and adds what waits or commands: `/metrics`, `/v1/heartbeat`, `/v1/drain`. It deliberately
//! has no authentication: who can reach loopback or open the socket's file may ask.
//!
//! Invariant: no answer but that of `/metrics` waits for anything, and that one is bounded.

mod answer;
pub mod client;
mod serve;

use std::net::IpAddr;
use std::sync::Arc;

pub use answer::respond;
pub use serve::{Listener, Server, serve};

use crate::board::Board;
use crate::metrics::{AppMetrics, Metrics};

/// How much `/health` tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// Every check with what it said.
    Full,
    /// The verdict alone: the asker may be anyone.
    #[default]
    Summary,
}

/// Who sees every check on `/health`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DetailPolicy {
    /// Who asks over the socket or from this host.
    #[default]
    Local,
    /// Everyone.
    Always,
}

impl DetailPolicy {
    /// What an asker sees. On the ingress pass `false`: a proxy on this host speaks for strangers.
    #[must_use]
    pub fn detail(self, is_local: bool) -> Detail {
        if is_local || self == DetailPolicy::Always { Detail::Full } else { Detail::Summary }
    }
}

/// What the admin endpoints answer from.
#[derive(Clone, Debug)]
pub struct Admin {
    /// The state.
    pub board: Arc<Board>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Where the app exposes metrics of its own.
    pub app_metrics: Option<AppMetrics>,
    /// Who sees details.
    pub details: DetailPolicy,
}

/// Where a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Through the Unix socket.
    Socket,
    /// Through TCP.
    Tcp(IpAddr),
}

impl Peer {
    /// Whether the asker is on this host.
    #[must_use]
    pub fn is_local(self) -> bool {
        match self {
            Peer::Socket => true,
            Peer::Tcp(address) => address.to_canonical().is_loopback(),
        }
    }
}
