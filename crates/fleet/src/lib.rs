//! Keeps releases serving on a host: what must run, what runs, and the steps between the two.
//!
//! `up` is the engine in the foreground for one directory. It deliberately links nothing of the
//! runtime: each service is a child process `plimsoll run ...`, spoken to over its admin socket.

pub mod up;

pub mod machine;

pub mod driver;
pub mod edge;
pub mod resource;

pub mod control;
pub mod hub;
pub mod watch;
