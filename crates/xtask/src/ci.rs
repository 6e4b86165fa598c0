//! `cargo xtask ci`: every check of CI, in the order in which they fail fastest.
//!
//! Each step is a command of its own, so that a person can repeat one; all run even if one fails,
//! and the end says which. It deliberately sets nothing up: `cargo xtask tools` and `.ci/run` do.
//!
//! Invariant: the verdict is yes exactly when every step that ran said yes; a step that could not
//! run is named and never counts as a yes.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::{Verdict, tree};

/// One check.
struct Step {
    name: &'static str,
    command: &'static [&'static str],
    /// Whether `--fast` leaves it out.
    is_slow: bool,
}

const STEPS: &[Step] = &[
    fast("fmt", &["cargo", "fmt", "--all", "--check"]),
    fast("fmt example", &["cargo", "fmt", "--manifest-path", EXAMPLE, "--all", "--check"]),
    fast(
        "clippy",
        &["cargo", "clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"],
    ),
    fast(
        "clippy example",
        &[
            "cargo",
            "clippy",
            "--quiet",
            "--manifest-path",
            EXAMPLE,
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ],
    ),
    fast("tidy", &["cargo", "xtask", "tidy"]),
    fast("docs", &["cargo", "xtask", "docs", "--check"]),
    fast(
        "deny",
        &["cargo", "deny", "--log-level", "error", "check", "bans", "licenses", "sources"],
    ),
    fast("advisories", ADVISORIES),
    Step { name: "test", command: &["make", "test"], is_slow: true },
    Step { name: "crash", command: &["cargo", "xtask", "crash", "--runs", "20000"], is_slow: true },
];

/// The reference platform has a workspace of its own, as an application outside of ours would.
const EXAMPLE: &str = "examples/discovery/Cargo.toml";

/// Needs a database from the network; see [`is_unreachable`].
const ADVISORIES: &[&str] = &["cargo", "deny", "--log-level", "error", "check", "advisories"];

const fn fast(name: &'static str, command: &'static [&'static str]) -> Step {
    Step { name, command, is_slow: false }
}

enum Outcome {
    Passed,
    Failed,
    NotChecked,
}

/// Runs the steps and prints each with its time.
pub(crate) fn command(fast: bool) -> Result<Verdict> {
    let root = tree::root();
    let mut rows = Vec::new();
    for step in STEPS.iter().filter(|step| !(fast && step.is_slow)) {
        eprintln!("ci: {}: {}", step.name, step.command.join(" "));
        let started = Instant::now();
        let mut command = Command::new(step.command[0]);
        command.args(&step.command[1..]).current_dir(&root);
        let outcome = if step.command == ADVISORIES {
            advisories(&mut command)?
        } else {
            let status =
                command.status().with_context(|| format!("cannot start `{}`", step.name))?;
            if status.success() { Outcome::Passed } else { Outcome::Failed }
        };
        rows.push((step.name, outcome, started.elapsed()));
    }
    for (name, outcome, elapsed) in &rows {
        println!("{name:<16} {:<12} {}", outcome.as_str(), seconds(*elapsed));
    }
    let has_failed = rows.iter().any(|(_, outcome, _)| matches!(outcome, Outcome::Failed));
    Ok(if has_failed { Verdict::No } else { Verdict::Yes })
}

impl Outcome {
    fn as_str(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "FAILED",
            Self::NotChecked => "NOT CHECKED",
        }
    }
}

/// Checks for known vulnerabilities; without the database, says so instead of passing.
fn advisories(command: &mut Command) -> Result<Outcome> {
    let output = command.output().context("cannot start cargo-deny")?;
    let words = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        return Ok(Outcome::Passed);
    }
    if is_unreachable(&words) {
        eprintln!(
            "ci: advisories: the database cannot be fetched; vulnerabilities were NOT checked"
        );
        return Ok(Outcome::NotChecked);
    }
    eprint!("{words}");
    Ok(Outcome::Failed)
}

/// Whether cargo-deny failed before it could judge.
fn is_unreachable(words: &str) -> bool {
    words.contains("failed to fetch advisory database")
        || words.contains("failed to load advisory database")
}

fn seconds(elapsed: Duration) -> String {
    format!("{:.1} s", elapsed.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_database_is_not_a_finding() {
        assert!(is_unreachable("error: failed to fetch advisory database https://github.com/x"));
        assert!(!is_unreachable("error[vulnerability]: Use after free in `x`"));
    }
}
