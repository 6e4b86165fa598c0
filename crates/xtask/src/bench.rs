//! `cargo xtask bench runtime`: what `plimsoll run` costs, in time and memory, next to other
//! programs.
//!
//! Everything that is compared is measured in one run, in turns, so that whatever else the machine
//! does falls on all alike; figures are medians over the rounds. It deliberately sets no limit
//! that fails a build: figures of a shared machine are read by people, in docs/benchmarks.md.
//!
//! Invariant: a figure that could not be measured is missing from the page, never estimated.

mod answers;
pub(crate) mod forward;
mod inits;
mod latency;
mod load;
mod machine;
mod memory;
pub(crate) mod pipeline;
mod report;
mod section;
mod servers;
mod site;
pub(crate) mod start;
mod stats;
mod stop;
pub(crate) mod upstream;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::{Verdict, tree};

/// The page that is written.
const PAGE: &str = "docs/benchmarks.md";

#[derive(clap::Subcommand)]
pub(crate) enum Bench {
    /// Measure everything and write docs/benchmarks.md
    Runtime(Run),
}

/// How much is measured, and of what.
#[derive(clap::Args)]
pub(crate) struct Run {
    /// Rounds of each load; the figures are medians over them
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of each round of load
    #[arg(long, default_value_t = 5)]
    seconds: u32,
    /// Starts of each program
    #[arg(long, default_value_t = 200)]
    starts: usize,
    /// Sequential requests to each server
    #[arg(long, default_value_t = 20_000)]
    requests: usize,
    /// Measure this program and do not build one
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Date of the page; the last commit's when absent
    #[arg(long)]
    date: Option<String>,
    /// Print the page and do not write it
    #[arg(long)]
    print: bool,
}

/// Measures, and writes or prints the page.
pub(crate) fn command(what: &Bench) -> Result<Verdict> {
    let Bench::Runtime(run) = what;
    ensure!(run.rounds > 0 && run.seconds > 0, "`--rounds` and `--seconds` must be at least 1");
    let root = tree::root();
    if cfg!(debug_assertions) {
        return again_optimized(&root);
    }
    let program = match &run.program {
        Some(program) => program.clone(),
        None => build(&root, "plimsoll", "plimsoll-run")?,
    };
    let facts = machine::facts(&root, run.date.clone())?;
    eprintln!("bench: {} starts of each program", run.starts);
    let starts = start::measure(&program, run.starts)?;
    let servers = servers::Servers::start(&program)?;
    let idle = servers.memory()?;
    eprintln!("bench: {} sequential requests to each server", run.requests);
    let latencies = latency::measure(&servers.targets, run.requests)?;
    eprintln!("bench: {} rounds of {} s of load on each server", run.rounds, run.seconds);
    let loads = load::measure(&servers, run.rounds, run.seconds)?;
    drop(servers);
    let sections = sections(&program)?;
    let figures = report::Figures { starts, idle, latencies, loads, sections };
    let page = report::page(run, &facts, &figures);
    print!("{}", report::verdicts(&figures));
    if run.print {
        print!("{page}");
    } else {
        std::fs::write(root.join(PAGE), page).with_context(|| format!("cannot write `{PAGE}`"))?;
        println!("bench: wrote {PAGE}");
    }
    Ok(Verdict::Yes)
}

/// Measures one part of the page.
type Scenario = fn(&Path) -> Result<section::Section>;

/// The scenarios that are not about requests, one after another.
fn sections(program: &Path) -> Result<Vec<section::Section>> {
    let scenarios: [(&str, Scenario); 5] = [
        ("signals", forward::measure),
        ("stops", stop::measure),
        ("answers while things go wrong", answers::measure),
        ("a static site", site::measure),
        ("the log pipeline", pipeline::measure),
    ];
    let measure = |(name, measure): (&str, Scenario)| {
        eprintln!("bench: {name}");
        measure(program).with_context(|| format!("cannot measure {name}"))
    };
    scenarios.into_iter().map(measure).collect()
}

/// Runs this command in an optimized build of this program: it is the client and the application of
/// what is measured, and must not be what limits it.
fn again_optimized(root: &Path) -> Result<Verdict> {
    let this = build(root, "xtask", "xtask")?;
    let arguments = std::env::args_os().skip(1);
    let status = Command::new(&this).args(arguments).status();
    let status = status.with_context(|| format!("cannot start `{}`", this.display()))?;
    Ok(if status.success() { Verdict::Yes } else { Verdict::No })
}

/// Builds a program as it is shipped, and says where it is.
fn build(root: &Path, package: &str, program: &str) -> Result<PathBuf> {
    let arguments = ["build", "--release", "--package", package, "--bin", program];
    eprintln!("bench: cargo {}", arguments.join(" "));
    let status = Command::new("cargo").args(arguments).current_dir(root).status();
    ensure!(status.context("cannot start cargo")?.success(), "`{program}` does not build");
    let target = std::env::var_os("CARGO_TARGET_DIR");
    let target = target.map_or_else(|| root.join("target"), PathBuf::from);
    Ok(target.join("release").join(program))
}
