//! The language: text in, a `Manifest` with spans, and a `Plan` resolved for one environment. Pure.
//!
//! ```
//! let text = "plimsoll: 1\napp: shop\nservices: {api: {run: ./api, port: 8080}}";
//! let manifest = manifest::parse(text).unwrap();
//! let resolution = manifest::resolve(&manifest, manifest.local_environment()).unwrap();
//! assert_eq!(resolution.plan.services.len(), 1);
//! ```
//!
//! Deliberately no clock, file, environment, network or randomness: text and an environment's name
//! are arguments. Invariant: no input makes it panic, and a `Plan` is complete.

mod manifest;
mod resolve;

mod explain;
mod reference;
mod schema;

mod raw;
mod scalar;

mod decode;
mod diagnostics;
mod keys;
mod literal;
mod merge;
mod span;
mod suggest;
mod syntax;

pub mod names;
pub mod plan;
pub mod template;
pub mod units;

pub use diagnostics::{Code, Label, Level, PROBLEMS_MAX, Problem, Problems};
pub use explain::{Explanation, UnknownPath, explain};
pub use literal::without_passwords;
pub use manifest::{BUILT_IN_ENVIRONMENT, Manifest, VERSION, parse};
pub use names::Malformed;
pub use plan::Plan;
pub use reference::reference_markdown;
pub use resolve::{Origin, Resolution, resolve};
pub use schema::json_schema;
pub use span::Span;
pub use syntax::{DEPTH_MAX, NODES_MAX, TEXT_BYTES_MAX};
