//! Forwards HTTP: one connection in, one out.
