//! The binary: one file per command; the only crate that prints.
