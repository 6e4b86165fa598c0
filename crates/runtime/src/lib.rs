//! Runs one process well: guard, engine, lifecycle, ingress, probes, logs, admin endpoints.

pub mod admin;
pub mod board;
pub mod engine;
pub mod guard;
pub mod ingress;
pub mod lifecycle;
pub mod logs;
pub mod metrics;
pub mod probe;
pub mod settings;
