//! `cargo xtask crash`: the spool's crash model, many times, optimized, from a fresh seed.
//!
//! An ordinary test run does 2000 runs of fixed seeds; this does as many as are asked for, from a
//! seed that is printed, so that a failure can be repeated. It deliberately models nothing itself:
//! the model is `crates/runtime/src/publish/spool/crash_test.rs`.

use std::process::Command;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};

use crate::{Verdict, tree};

/// The test that is run.
const TEST: &str = "publish::spool::crash_test::";

const OPTIMIZED: &str = "profile.dev.package.runtime.opt-level=2";

/// Runs the model; yes when nothing was lost.
pub(crate) fn command(n_runs: u64, seed: Option<u64>) -> Result<Verdict> {
    let seed = seed.map_or_else(fresh, Ok)?;
    println!("crash: {n_runs} runs from seed {seed}");
    let began = Instant::now();
    let status = Command::new("cargo")
        // Of the ordinary test build, only our own crate is built again.
        .args(["test", "--config", OPTIMIZED, "--package", "runtime", "--lib", "--", TEST])
        .env("PLIMSOLL_CRASH_RUNS", n_runs.to_string())
        .env("PLIMSOLL_CRASH_SEED", seed.to_string())
        .current_dir(tree::root())
        .status()
        .context("cannot start cargo")?;
    let seconds = began.elapsed().as_secs_f64();
    if !status.success() {
        println!("crash: FAILED; again: cargo xtask crash --runs {n_runs} --seed {seed}");
        return Ok(Verdict::No);
    }
    println!("crash: {n_runs} runs in {seconds:.0} s with the build, no acknowledged record lost");
    Ok(Verdict::Yes)
}

/// A seed that nobody chose, small enough to be typed.
fn fresh() -> Result<u64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    Ok(u64::from(since.subsec_nanos()) + since.as_secs() % 1000 * 1_000_000_000)
}
