//! The binaries, run as users run them.

mod cli;
mod discovery;
mod run_contract;
mod run_drain;
mod run_exit;
mod run_harness;
mod run_stop;
mod up;
mod up_fails;
mod up_harness;
mod up_lives;
mod up_serves;
