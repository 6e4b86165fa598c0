//! The binaries, run as users run them.

mod run_exit;
mod run_harness;
mod run_stop;
