//! The manifest as it was written: every key typed, every value with its place, nothing filled in.
//!
//! Overlays have the same types as what they overlay. Deliberately no defaults and no rules across
//! keys: that is `resolve`.

pub(crate) mod command;
pub(crate) mod environment;
pub(crate) mod observability;
pub(crate) mod resource;
pub(crate) mod service;
pub(crate) mod slo;
