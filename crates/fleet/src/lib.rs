//! Keeps releases serving on a host: what must run, what runs, and the steps between the two.

pub mod control;
pub mod driver;
pub mod edge;
pub mod hub;
pub mod machine;
pub mod resource;
pub mod up;
pub mod watch;
