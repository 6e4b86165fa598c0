//! The project's own chores: tidy, reference pages, real tools, checks, benchmarks, binaries.
//!
//! One file per chore; `cargo xtask --help` lists them. It deliberately holds nothing that users
//! need: their program is `plimsoll`.
//!
//! Invariant: exit code 0 is yes, 1 is no (a finding, a stale page, a failed step), 2 is that it
//! could not be told.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a chore talks to its terminal")]

mod bench;
mod ci;
mod crash;
mod dist;
mod docs;
mod tidy;
mod tools;
mod tree;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's own chores", version)]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Check the rules that compilers do not know: arrows, sizes, names, paths, stale pages
    Tidy {
        /// Break the comments that are too wide
        #[arg(long)]
        fix: bool,
    },
    /// Write the generated pages under docs/reference, and docs/gallery.md
    Docs {
        /// Write nothing; exit with 1 if a page is stale
        #[arg(long)]
        check: bool,
    },
    /// Do what CI does, step by step
    Ci {
        /// Leave out what takes minutes: tests
        #[arg(long)]
        fast: bool,
    },
    /// Cut the power of the modelled disk under the spool, again and again, from a fresh seed
    Crash {
        /// How often
        #[arg(long, default_value_t = 100_000)]
        runs: u64,
        /// The first seed; a failure names its own
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Build the release binaries statically into target/dist, with their sums and sizes
    Dist,
    /// Install the real programs that tests and benchmarks use, or say what to install
    Tools {
        /// What they are needed for
        #[arg(long = "for", value_enum, default_value = "bench")]
        need: tools::Need,
        /// Install nothing; exit with 1 if something is missing
        #[arg(long)]
        check: bool,
    },
    /// Measure, and write docs/benchmarks.md or docs/benchmarks-render.md
    Bench {
        #[command(subcommand)]
        what: bench::Bench,
    },
    /// Serve a fixed answer, as the application behind the measured proxies
    #[command(hide = true)]
    BenchUpstream {
        /// Port on loopback; without it the one in PORT
        #[arg(long)]
        port: Option<u16>,
    },
    /// Write the time into a file, as the program whose start is measured
    #[command(hide = true)]
    BenchStamp { file: std::path::PathBuf },
    /// Write the time of each SIGUSR1 into a named pipe, as the receiver of measured signals
    #[command(hide = true)]
    BenchReceive { pipe: std::path::PathBuf },
    /// Write many lines, as the application whose lines are measured
    #[command(hide = true)]
    BenchWrite { go: std::path::PathBuf },
}

fn main() -> ExitCode {
    let done = match Cli::parse().chore {
        Chore::Tidy { fix } => tidy::command(fix),
        Chore::Docs { check } => docs::command(check),
        Chore::Ci { fast } => ci::command(fast),
        Chore::Crash { runs, seed } => crash::command(runs, seed),
        Chore::Dist => dist::command(),
        Chore::Tools { need, check } => tools::command(need, check),
        Chore::Bench { what } => bench::command(&what),
        Chore::BenchUpstream { port } => bench::upstream::serve(port),
        Chore::BenchStamp { file } => bench::start::stamp(&file),
        Chore::BenchReceive { pipe } => bench::forward::receive(&pipe),
        Chore::BenchWrite { go } => bench::pipeline::write(&go),
    };
    match done {
        Ok(Verdict::Yes) => ExitCode::SUCCESS,
        Ok(Verdict::No) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Answer of a chore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Nothing is wrong.
    Yes,
    /// Something is wrong, and was printed.
    No,
}
