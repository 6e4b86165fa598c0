//! The HTTP forwarding core: what stands between a client and a service.
//!
//! `plimsoll run` puts it in front of one application ([`Server`] with one [`Upstream`] and its own
//! health endpoints as [`Hooks::local`]); `plimsoll up` puts it in front of all of them (a
//! [`Router`] by host and path, swapped while requests run). The rules that are easy to get wrong
//! exist once, here: request smuggling, hop-by-hop fields, upgrades, streaming both ways, pools,
//! what may be sent twice, how a drain ends.
//!
//! It deliberately holds no policy of its own (no rate limits, no authentication), buffers no body,
//! and writes neither logs nor metrics: [`Hooks::finished`] is told about every exchange once.
//!
//! Invariant: the bytes of one request reach at most one application, and every accepted
//! request ends in exactly one call of [`Hooks::finished`].

mod body;
mod checked;
mod client_io;
mod connection;
mod exchange;
mod fields;
mod forward;
mod forwarded;
mod framing;
pub mod limits;
mod link;
mod outgoing;
mod page;
mod response;
pub mod router;
pub mod server;
pub mod site;
pub mod trace;
mod trust;
mod tunnel;
mod turn;
pub mod upstream;
pub mod watch;

pub use checked::Checked;
pub use fields::request_id;
pub use forwarded::client_address;
pub use limits::Limits;
pub use page::problem;
pub use router::{Down, Route, RouteError, Router, Target};
pub use server::{Drain, Server, Settings};
pub use site::{Site, SiteError, SiteSettings};
pub use trace::TraceContext;
pub use trust::{TrustError, TrustedProxies};
pub use upstream::{Address, Upstream, UpstreamSettings};
pub use watch::{Admission, Exchange, Hooks, Outcome, Refusal};
