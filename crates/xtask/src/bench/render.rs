//! `cargo xtask bench render`: how long a platform takes to render, how that grows, and in how much
//! memory.
//!
//! What is measured is an optimized process of its own, `crates/blueprint/examples/render.rs`, from
//! its start until the last file is made: parsing, resolving every environment, rendering all
//! targets. It deliberately leaves out the disk; with `--program`, the whole command is measured
//! beside it. Invariant: a missed target is called a miss.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::machine;
use super::memory::field;
use super::stats::{as_number, median};
use crate::{Verdict, tree};

/// The page that is written.
const PAGE: &str = "docs/benchmarks-render.md";

/// The platform that the target is about: so many services and as many resources.
const SMALL: usize = 10;

/// Sizes of platforms, in services.
const SIZES: [usize; 5] = [SMALL, 50, 100, 250, 500];

/// Targets: the time of the small platform, the memory of any, and how much a service of the
/// largest may cost beside one of the smallest.
const TIME_MAX: Duration = Duration::from_millis(50);
const MEMORY_MIB_MAX: f64 = 100.0;
const GROWTH_MAX: f64 = 1.5;

/// How the chore is called.
#[derive(Clone, clap::Args)]
pub(crate) struct Render {
    /// Rounds over all sizes; the figures are medians over them
    #[arg(long, default_value_t = 21)]
    rounds: usize,
    /// Measure the whole command of this program too, disk and all
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Date of the page; the last commit's when absent
    #[arg(long)]
    date: Option<String>,
    /// Print the page and do not write it
    #[arg(long)]
    print: bool,
}

/// What one size costs.
struct Row {
    n_services: usize,
    n_files: usize,
    n_bytes: usize,
    /// Median over the rounds.
    seconds: f64,
    /// The largest of all rounds.
    memory_mib: f64,
}

/// What one process said and took.
struct Measured {
    n_files: usize,
    n_bytes: usize,
    seconds: f64,
    memory_mib: f64,
}

/// Measures, and writes or prints the page.
pub(super) fn command(run: &Render) -> Result<Verdict> {
    ensure!(run.rounds > 0, "`--rounds` must be at least 1");
    let root = tree::root();
    let child = build(&root)?;
    let facts = machine::facts(&root, run.date.clone())?;
    let mut all: Vec<Vec<Measured>> = SIZES.iter().map(|_| Vec::new()).collect();
    for _ in 0..run.rounds {
        for (n_services, measured) in SIZES.iter().zip(&mut all) {
            measured.push(measure(&child, &manifest(*n_services))?);
        }
    }
    let rows: Vec<Row> = SIZES.iter().zip(&all).map(|(n, all)| row(*n, all)).collect();
    let whole = match &run.program {
        Some(program) => Some(whole_command(program, run.rounds)?),
        None => None,
    };
    let page = page(run.rounds, &facts, &rows, whole);
    if run.print {
        print!("{page}");
    } else {
        std::fs::write(root.join(PAGE), page).with_context(|| format!("cannot write `{PAGE}`"))?;
        println!("bench: wrote {PAGE}");
    }
    Ok(Verdict::Yes)
}

/// The optimized process that renders.
fn build(root: &Path) -> Result<PathBuf> {
    let arguments = ["build", "--release", "--package", "blueprint", "--example", "render"];
    let status = Command::new("cargo").args(arguments).current_dir(root).status();
    ensure!(status.context("cannot start cargo")?.success(), "the renderer does not build");
    let target = std::env::var_os("CARGO_TARGET_DIR");
    let target = target.map_or_else(|| root.join("target"), PathBuf::from);
    Ok(target.join("release/examples/render"))
}

/// A platform of so many services and as many resources, of all types, in three environments.
fn manifest(n_services: usize) -> String {
    let mut text = "plimsoll: 1\napp: shop\nimage: ghcr.io/acme/shop\nservices:\n".to_owned();
    for index in 0..n_services {
        let shape = match index % 4 {
            0 => format!(
                "run: uvicorn app.main:app\n    port: {}\n    route: s{index}\n    \
                 migrate: alembic upgrade head\n    metrics: /metrics\n    \
                 scale: {{min: 2, max: 10, cpu: 70}}\n    \
                 slo: {{availability: 99.9, latency: {{p95: 300ms}}}}",
                10_000 + index
            ),
            1 => "run: python -m app.worker\n    heartbeat: 60s\n    \
                  scale: {min: 1, max: 20, queue: {metric: depth, target: 10}}"
                .to_owned(),
            2 => format!(
                "run: gunicorn app:app\n    port: {}\n    secrets: [API_KEY]",
                10_000 + index
            ),
            _ => "run: python -m app.sweep\n    schedule: \"15 3 * * *\"".to_owned(),
        };
        let near = |step: usize| (index + step) % n_services;
        let _ = write!(
            text,
            "  s{index}:\n    path: s{index}\n    language: python@3.13\n    \
             package_manager: uv\n    {shape}\n    uses: [r{}, r{}, r{}]\n",
            near(0),
            near(1),
            near(5)
        );
    }
    text.push_str("resources:\n");
    for index in 0..n_services {
        let spec = match index % 10 {
            0 | 5 => "{type: postgres, version: 16}",
            1 | 6 => "{type: redis, version: 7}",
            2 => "{type: kafka, topics: {events: {partitions: 3}}}",
            3 => "{type: bucket}",
            4 => "{type: queue}",
            7 => "{type: http, url: \"https://api.example/v1\"}",
            8 => "{type: volume}",
            _ => "{type: image, image: \"example/search:1.0\", port: 7700, data: /data}",
        };
        let _ = writeln!(text, "  r{index}: {spec}");
    }
    text.push_str(
        "environments:\n  dev: {target: local}\n  \
         staging: {target: host, hosts: [one], domain: stg.shop.example}\n  \
         production:\n    target: kubernetes\n    domain: shop.example\n    \
         cloud: {provider: aws, region: eu-west-1}\n",
    );
    text
}

/// Starts the process, feeds it, and looks at it when it is done.
fn measure(child: &Path, manifest: &str) -> Result<Measured> {
    let start = Instant::now();
    let mut process = Command::new(child)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{}`", child.display()))?;
    let mut input = process.stdin.take().context("its input is a pipe")?;
    let output = process.stdout.take().context("its output is a pipe")?;
    writeln!(input, "{}", manifest.len()).context("cannot write to it")?;
    input.write_all(manifest.as_bytes()).context("cannot write to it")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line).context("cannot read from it")?;
    let seconds = start.elapsed().as_secs_f64();
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id()));
    drop(input);
    ensure!(process.wait().context("cannot wait for it")?.success(), "it did not render");
    let status = status.context("cannot see its memory")?;
    let peak = field(&status, "VmHWM").and_then(|text| text.split(' ').next()?.parse().ok());
    let mut counts = line.split_whitespace().map(str::parse::<usize>);
    let mut count = || counts.next().context("it says two numbers")?.context("a number");
    Ok(Measured {
        n_files: count()?,
        n_bytes: count()?,
        seconds,
        memory_mib: super::as_mib(peak.context("the kernel tells its peak")?),
    })
}

fn row(n_services: usize, all: &[Measured]) -> Row {
    Row {
        n_services,
        n_files: all.first().map_or(0, |one| one.n_files),
        n_bytes: all.first().map_or(0, |one| one.n_bytes),
        seconds: median(all.iter().map(|one| one.seconds)),
        memory_mib: all.iter().map(|one| one.memory_mib).fold(0.0, f64::max),
    }
}

/// The medians of a first `plimsoll render` and of a `--check` after it, of the small platform.
fn whole_command(program: &Path, rounds: usize) -> Result<(f64, f64)> {
    let run = |directory: &Path, arguments: &[&str]| -> Result<f64> {
        let start = Instant::now();
        let output = Command::new(program).args(arguments).current_dir(directory).output();
        let output = output.with_context(|| format!("cannot start `{}`", program.display()))?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(start.elapsed().as_secs_f64())
    };
    let (mut writes, mut checks) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let directory = tempfile::tempdir().context("cannot make a directory")?;
        let path = directory.path().join("plimsoll.yaml");
        std::fs::write(path, manifest(SMALL)).context("cannot write the manifest")?;
        writes.push(run(directory.path(), &["render"])?);
        checks.push(run(directory.path(), &["render", "--check"])?);
    }
    Ok((median(writes), median(checks)))
}

fn page(rounds: usize, facts: &machine::Facts, rows: &[Row], whole: Option<(f64, f64)>) -> String {
    let mut page = format!(
        "# Benchmarks of rendering\n\n\
         <!-- Written by `cargo xtask bench render`. Do not edit: the next run overwrites it. -->\n\n\
         A platform of so many services and as many resources, of all types, is rendered for a \
         developer's machine, a host and Kubernetes, with every target.\n\
         Each figure is of a new process, from its start until every file is made; medians over \
         {rounds} rounds, all sizes in turns.\n\
         They are read by people and fail no build.\n\n## Targets\n\n\
         | target | wanted | measured | |\n| --- | --- | --- | --- |\n"
    );
    for (what, wanted, measured, is_met) in targets(rows) {
        let verdict = if is_met { "met" } else { "MISS" };
        let _ = writeln!(page, "| {what} | {wanted} | {measured} | {verdict} |");
    }
    page.push_str("\n## Machine\n\n");
    for (name, value) in facts.0.iter().filter(|(name, _)| !matches!(*name, "nginx" | "wrk")) {
        let _ = writeln!(page, "* {name}: {value}");
    }
    page.push_str(
        "\n## Growth\n\n| services | resources | files | KiB | time | a service | peak memory |\n\
         | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for row in rows {
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} | {:.1} ms | {:.2} ms | {:.1} MiB |",
            row.n_services,
            row.n_services,
            row.n_files,
            row.n_bytes / 1024,
            row.seconds * 1e3,
            each(row) * 1e3,
            row.memory_mib
        );
    }
    if let Some((write, check)) = whole {
        let _ = write!(
            page,
            "\n## The whole command\n\n{SMALL} services and as many resources, with the disk: \
             every file is written beside its place, synchronised, and renamed.\n\n\
             | command | time |\n| --- | --- |\n| first `plimsoll render` | {:.1} ms |\n\
             | `plimsoll render --check` | {:.1} ms |\n",
            write * 1e3,
            check * 1e3
        );
    }
    page
}

/// The time of one service of a platform.
fn each(row: &Row) -> f64 {
    row.seconds / as_number(row.n_services)
}

/// What was wanted and measured, and whether it was met.
fn targets(rows: &[Row]) -> Vec<(String, String, String, bool)> {
    let (Some(small), Some(large)) = (rows.first(), rows.last()) else { return Vec::new() };
    let memory = rows.iter().map(|row| row.memory_mib).fold(0.0, f64::max);
    let growth = each(large) / each(small);
    vec![
        (
            format!("{} services and as many resources", small.n_services),
            format!("< {} ms", TIME_MAX.as_millis()),
            format!("{:.1} ms", small.seconds * 1e3),
            small.seconds < TIME_MAX.as_secs_f64(),
        ),
        (
            format!(
                "a service of {} costs as much as one of {}",
                large.n_services, small.n_services
            ),
            format!("<= {GROWTH_MAX:.1} x"),
            format!("{growth:.2} x"),
            growth <= GROWTH_MAX,
        ),
        (
            "peak memory of any".to_owned(),
            format!("< {MEMORY_MIB_MAX:.0} MiB"),
            format!("{memory:.1} MiB"),
            memory < MEMORY_MIB_MAX,
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_platform_that_is_measured_is_one() {
        for n_services in [10, 50] {
            let text = manifest(n_services);
            let parsed = manifest::parse(&text).unwrap_or_else(|all| panic!("{all:#?}"));
            for name in ["dev", "staging", "production"] {
                let plan = manifest::resolve(&parsed, name);
                let plan = plan.unwrap_or_else(|all| panic!("{name}: {all:#?}")).plan;
                assert_eq!((plan.services.len(), plan.resources.len()), (n_services, n_services));
            }
        }
    }

    #[test]
    fn a_missed_target_is_a_miss() {
        let row = |n_services, seconds, memory_mib| Row {
            n_services,
            n_files: 1,
            n_bytes: 1,
            seconds,
            memory_mib,
        };
        let met = |rows: &[Row]| targets(rows).iter().map(|it| it.3).collect::<Vec<_>>();
        assert_eq!(met(&[row(10, 0.01, 9.0), row(500, 0.6, 50.0)]), [true, true, true]);
        assert_eq!(met(&[row(10, 0.06, 9.0), row(500, 9.0, 150.0)]), [false, false, false]);
    }
}
