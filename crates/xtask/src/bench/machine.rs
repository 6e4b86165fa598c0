//! What the figures depend on: the machine, the versions, the revision.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::memory::field;

/// One line each, by name, in the order of the page.
pub(super) struct Facts(pub Vec<(&'static str, String)>);

/// Facts of this machine and this repository; the date is the last commit's unless given.
pub(super) fn facts(root: &Path, date: Option<String>) -> Result<Facts> {
    let date = match date {
        Some(date) => date,
        None => git(root, &["log", "-1", "--format=%cs"])?,
    };
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = field(&cpuinfo, "model name").unwrap_or("unknown").to_owned();
    let n_cores = std::thread::available_parallelism().context("cannot count the cores")?;
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory_kib =
        field(&meminfo, "MemTotal").and_then(|text| text.split(' ').next()?.parse().ok());
    let memory_gib = memory_kib.map_or(0, |kib: u64| kib.div_ceil(1024 * 1024));
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("unknown");
    Ok(Facts(vec![
        ("date", date),
        ("revision", revision(root)?),
        ("processor", format!("{model}, {n_cores} cores")),
        ("memory", format!("{memory_gib} GiB")),
        ("kernel", kernel.trim().to_owned()),
        ("load before the run", format!("{load} (1 minute average; others use this machine too)")),
        ("rustc", first_line("rustc", &["--version"])),
        ("nginx", first_line("nginx", &["-v"])),
        ("wrk", first_line("wrk", &["-v"])),
    ]))
}

fn revision(root: &Path) -> Result<String> {
    let revision = git(root, &["rev-parse", "--short", "HEAD"])?;
    let is_changed = !git(root, &["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    Ok(if is_changed { format!("{revision} with changes") } else { revision })
}

fn git(root: &Path, args: &[&str]) -> Result<String> {
    let output = Command::new("git").args(args).current_dir(root).output();
    let output = output.context("cannot start git")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The first line that a program prints about its version, on either stream.
fn first_line(program: &str, args: &[&str]) -> String {
    let program = crate::tools::find(program, &["/usr/sbin"]).unwrap_or_else(|| program.into());
    let Ok(output) = Command::new(program).args(args).output() else { return "absent".into() };
    let words = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    let words = String::from_utf8_lossy(&words).into_owned();
    let line = words.lines().next().unwrap_or("unknown");
    line.split(" Copyright").next().unwrap_or(line).trim_start_matches("nginx version: ").to_owned()
}
