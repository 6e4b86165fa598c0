//! How long a signal is on its way through an init.
//!
//! The receiver is this binary: it waits for SIGUSR1 and writes the time at which it came into a
//! named pipe. The time from `kill` to the receiver's clock is what is measured, and the same
//! without an init is shown beside it.

use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::Effort;
use super::inits::{self, OURS};
use super::report::Target;
use super::section::{Section, time};
use super::servers::Running;
use super::start::{DIRECTLY, now_ns};
use super::stats::percentile;
use crate::Verdict;

/// Signals to each, one after another.
const N_SIGNALS: usize = 500;
/// At the 99th percentile, seconds.
const P99_MAX: f64 = 200e-6;
/// Inits that forward it; the others keep it to themselves.
const FORWARDING: [&str; 3] = [OURS, "tini", "dumb-init"];

pub(super) fn measure(program: &Path, effort: Effort) -> Result<Section> {
    let n_signals = effort.of(N_SIGNALS);
    let mut rows = Vec::new();
    let mut targets = Vec::new();
    let this = std::env::current_exe().context("cannot find this program")?;
    let this = this.to_str().context("this program's name is not UTF-8")?;
    let inits = inits::all(program);
    let inits = inits.iter().filter(|init| FORWARDING.contains(&init.name)).map(Some);
    for init in std::iter::once(None).chain(inits) {
        let directory = tempfile::tempdir().context("cannot create a directory")?;
        let pipe = directory.path().join("pipe");
        mkfifo(&pipe, Mode::S_IRWXU).context("cannot make a named pipe")?;
        let name = pipe.to_str().context("the directory's name is not UTF-8")?;
        let receiver = [this, "bench-receive", name];
        let command = match init {
            Some(init) => init.command(&receiver, directory.path())?,
            None => {
                let mut command = Command::new(this);
                command.args(&receiver[1..]).stdin(Stdio::null());
                command
            }
        };
        let times = times(command, &pipe, n_signals)?;
        let (p50, p99) = (percentile(&times, 0.5), percentile(&times, 0.99));
        let name = init.map_or(DIRECTLY, |init| init.name);
        if name == OURS {
            targets.push(Target {
                what: "a forwarded signal arrives, p99",
                wanted: format!("<= {}", time(P99_MAX)),
                measured: time(p99),
                is_met: p99 <= P99_MAX,
            });
        }
        rows.push(vec![name.to_owned(), time(p50), time(p99)]);
    }
    Ok(Section {
        title: "Signals",
        method: format!(
            "SIGUSR1 to the init, {n_signals} times; from `kill` until the application has it."
        ),
        columns: ["init", "p50", "p99"].map(str::to_owned).to_vec(),
        rows,
        targets,
    })
}

/// Sorted times of all signals, seconds.
fn times(mut command: Command, pipe: &Path, n_signals: usize) -> Result<Vec<f64>> {
    let running = Running::start(&mut command)?;
    let reader = OpenOptions::new().read(true).write(true).open(pipe)?;
    let mut lines = BufReader::new(reader).lines();
    let mut line = || lines.next().context("the receiver is gone")?.map_err(anyhow::Error::from);
    line()?;
    let mut times = Vec::with_capacity(n_signals);
    for _ in 0..n_signals {
        let sent = now_ns()?;
        running.signal(Signal::SIGUSR1)?;
        let came: u64 = line()?.parse().context("the receiver wrote no time")?;
        let nanos = came.saturating_sub(sent);
        times.push(std::time::Duration::from_nanos(nanos).as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}

/// Writes a line when it is there, and one with the time for each SIGUSR1: the measured receiver.
pub(crate) fn receive(pipe: &Path) -> Result<Verdict> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGUSR1);
    signals.thread_block().context("cannot block a signal")?;
    let mut pipe = OpenOptions::new()
        .write(true)
        .open(pipe)
        .with_context(|| format!("cannot open `{}`", pipe.display()))?;
    pipe.write_all(b"there\n")?;
    loop {
        signals.wait().context("cannot wait for a signal")?;
        pipe.write_all(format!("{}\n", now_ns()?).as_bytes())?;
    }
}
