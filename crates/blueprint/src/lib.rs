//! One manifest in, every production artifact out: the same bytes every time, owned by the user.
//!
//! `render` is a function of a [`Platform`]: the plans of all environments, what the sources say,
//! and what is pinned. What happens to the files that are there already is decided by `settle`.
//! Deliberately no clock, file, environment, network or randomness: the command reads and writes.
//!
//! Invariant: rendering cannot fail, and every file of it is accepted by the program it is for.

pub mod artifact;
pub mod detect;
pub mod lock;
pub mod platform;
pub mod settle;
pub mod target;

mod address;
mod environment;
mod image;
mod json;
mod node;
#[cfg(test)]
mod promises;
mod text;
mod timing;
mod worker;
mod yaml;

pub use artifact::{Artifact, Artifacts, Trace};
pub use detect::{Repository, Source, Toolchain, detect};
pub use lock::Lock;
pub use platform::{Pins, Platform};
pub use settle::{Settled, State, settle};
pub use target::{Edge, TARGETS, Target, render};
