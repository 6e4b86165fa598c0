//! The language: text in, a `Manifest` with spans, and a `Plan` resolved for one environment. Pure.
//!
//! Deliberately no clock, file, environment, network or randomness: text and an environment's name
//! are arguments. Invariant: no input makes it panic, and a `Plan` is complete.

pub mod names;
pub mod plan;
pub mod template;
pub mod units;

pub use names::Malformed;
pub use plan::Plan;
