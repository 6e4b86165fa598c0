//! `cargo xtask bench runtime`: what `plimsoll run` costs, in time and memory, next to other
//! programs. `cargo xtask bench render` is a page of its own.
//!
//! Everything that is compared is measured in one run, in turns, so that whatever else the machine
//! does falls on all alike; figures are medians over the rounds. It deliberately sets no limit
//! that fails a build: figures of a shared machine are read by people, in docs/benchmarks.md.
//!
//! Invariant: a figure that could not be measured is missing from the page, never estimated.

mod answers;
mod engine_kill;
mod footprint;
pub(crate) mod forward;
mod inits;
mod latency;
mod load;
mod machine;
mod memory;
pub(crate) mod pipeline;
mod publish;
mod render;
mod report;
mod rotation;
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

use crate::{Verdict, dist, tree};

/// The page that is written.
const PAGE: &str = "docs/benchmarks.md";

#[derive(clap::Subcommand)]
pub(crate) enum Bench {
    /// Measure everything and write docs/benchmarks.md
    Runtime(Run),
    /// Measure rendering and write docs/benchmarks-render.md
    Render(render::Render),
}

/// How much is measured, and of what.
#[derive(Clone, clap::Args)]
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
    /// Measure a tenth of everything and print it: whether it works, not how fast it is
    #[arg(long)]
    quick: bool,
    /// Measure only these parts and print them
    #[arg(long, value_delimiter = ',', value_parser = PARTS)]
    only: Vec<String>,
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

/// Names of the parts, in the order in which they are measured.
const PARTS: [&str; 11] = [
    "start",
    "requests",
    "footprint",
    "signals",
    "stop",
    "answers",
    "engine-kill",
    "publish",
    "rotation",
    "site",
    "logs",
];

/// How much of its whole work a scenario does.
#[derive(Clone, Copy)]
struct Effort {
    is_quick: bool,
}

impl Run {
    fn effort(&self) -> Effort {
        Effort { is_quick: self.quick }
    }

    /// The same with the numbers that are really measured.
    fn scaled(&self) -> Self {
        let effort = self.effort();
        Self {
            rounds: effort.of(self.rounds),
            seconds: effort.seconds(self.seconds),
            starts: effort.of(self.starts),
            requests: effort.of(self.requests),
            ..self.clone()
        }
    }
}

impl Effort {
    /// So many repetitions in place of `whole`.
    fn of(self, whole: usize) -> usize {
        if self.is_quick { (whole / 10).max(2) } else { whole }
    }

    /// So many seconds in place of `whole`.
    fn seconds(self, whole: u32) -> u32 {
        if self.is_quick { 1 } else { whole }
    }
}

/// Measures, and writes or prints the page.
pub(crate) fn command(what: &Bench) -> Result<Verdict> {
    match what {
        Bench::Runtime(run) => runtime(run),
        Bench::Render(run) => render::command(run),
    }
}

fn runtime(run: &Run) -> Result<Verdict> {
    ensure!(run.rounds > 0 && run.seconds > 0, "`--rounds` and `--seconds` must be at least 1");
    let root = tree::root();
    if cfg!(debug_assertions) {
        return again_optimized(&root);
    }
    let program = match &run.program {
        Some(program) => program.clone(),
        None => dist::build(&root, "plimsoll", &["plimsoll", "plimsoll-run"])?.join("plimsoll-run"),
    };
    let facts = machine::facts(&root, run.date.clone())?;
    let run = &run.scaled();
    let figures = figures(run, &program)?;
    let page = report::page(run, &facts, &figures);
    print!("{}", report::verdicts(&figures));
    if run.print || run.quick || !run.only.is_empty() {
        print!("{page}");
    } else {
        std::fs::write(root.join(PAGE), page).with_context(|| format!("cannot write `{PAGE}`"))?;
        println!("bench: wrote {PAGE}");
    }
    Ok(Verdict::Yes)
}

fn figures(run: &Run, program: &Path) -> Result<report::Figures> {
    let is_wanted = |part: &str| run.only.is_empty() || run.only.iter().any(|it| it == part);
    let mut figures = report::Figures::default();
    if is_wanted("start") {
        eprintln!("bench: start");
        figures.starts = start::measure(program, run.starts)?;
    }
    if is_wanted("requests") {
        figures.requests = Some(requests(run, program)?);
    }
    let scenarios: [(&str, Scenario); 9] = [
        ("footprint", footprint::measure),
        ("signals", forward::measure),
        ("stop", stop::measure),
        ("answers", answers::measure),
        ("engine-kill", engine_kill::measure),
        ("publish", publish::measure),
        ("rotation", rotation::measure),
        ("site", site::measure),
        ("logs", pipeline::measure),
    ];
    for (name, measure) in scenarios.into_iter().filter(|(name, _)| is_wanted(name)) {
        eprintln!("bench: {name}");
        let section = measure(program, run.effort());
        figures.sections.push(section.with_context(|| format!("cannot measure {name}"))?);
    }
    Ok(figures)
}

/// Measures one part of the page.
type Scenario = fn(&Path, Effort) -> Result<section::Section>;

fn requests(run: &Run, program: &Path) -> Result<report::Requests> {
    let servers = servers::Servers::start(program)?;
    let idle = servers.memory()?;
    eprintln!("bench: {} sequential requests to each server", run.requests);
    let latencies = latency::measure(&servers.targets, run.requests)?;
    eprintln!("bench: {} rounds of {} s of load on each server", run.rounds, run.seconds);
    let loads = load::measure(&servers, run.rounds, run.seconds)?;
    Ok(report::Requests { idle, latencies, loads })
}

/// Runs this command in an optimized build of this program: it is the client and the application of
/// what is measured, and must not be what limits it.
fn again_optimized(root: &Path) -> Result<Verdict> {
    let this = dist::build(root, "xtask", &["xtask"])?.join("xtask");
    let arguments = std::env::args_os().skip(1);
    let status = Command::new(&this).args(arguments).status();
    let status = status.with_context(|| format!("cannot start `{}`", this.display()))?;
    Ok(if status.success() { Verdict::Yes } else { Verdict::No })
}

/// KiB as MiB.
fn as_mib(kib: u64) -> f64 {
    f64::from(u32::try_from(kib).unwrap_or(u32::MAX)) / 1024.0
}
