//! What generator, runtime and fleet must agree on, as data in one place.
//!
//! Endpoints and their bodies, every metric, log field, environment variable and exit code of
//! `plimsoll run`. The runtime registers and answers from these tables, the blueprint writes
//! probes, alerts and dashboards from them, `docs/reference/` is rendered from them.
//!
//! Pure: data and functions of their arguments. It deliberately does not say how anything is
//! measured, served or stored.
//!
//! Invariant: what is listed here is emitted, and what is emitted is listed here.

pub mod bodies;
pub mod endpoints;
pub mod env_vars;
pub mod exit_codes;
pub mod log_events;
pub mod log_fields;
pub mod metrics;
pub mod redactions;
pub mod reference;
