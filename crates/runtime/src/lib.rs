//! Runs one process well: guard, engine, lifecycle, ingress, probes, logs, admin endpoints.
//!
//! Two processes of ours stand around the user's. The [`guard`] has no runtime and no threads, and
//! outlives everything; the [`engine`] does all that may fail. They talk through [`wire`].
//! It deliberately knows nothing of other services, of releases and of the manifest's text.
//!
//! Invariant: the guard exits only after the application has, with the application's code.

pub mod settings;

pub mod lifecycle;

pub mod guard;
mod sys;
pub mod wire;

pub mod engine;

mod jitter;

pub mod audit;
pub mod board;
pub mod ingress;
pub mod logs;
pub mod metrics;
pub mod notify;
pub mod outbox;
pub mod probe;
pub mod publish;

pub mod admin;

pub mod kafka;
pub mod outbound;
pub mod secret;

pub mod egress;
pub mod telemetry;

pub mod error;
