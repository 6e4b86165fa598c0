//! How much later a program starts, and how much longer a run takes, under each init.
//!
//! The child is this binary, which writes the time at which its `main` began; the clock is the same
//! for all processes. `/bin/true` gives the time of a whole run, from the spawn until the exit was
//! seen.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};

use super::inits::OURS;
use super::stats::{median, percentile};
use crate::{Verdict, tools};

/// Figures of one way to start a program.
pub(super) struct Start {
    /// The init, or `directly`.
    pub name: &'static str,
    /// From the spawn until the child's `main`, milliseconds.
    pub to_main_ms: f64,
    /// The same at the 99th percentile.
    pub to_main_p99_ms: f64,
    /// From the spawn of `/bin/true` until its exit was seen, milliseconds.
    pub whole_ms: f64,
}

/// The name without an init.
pub(super) const DIRECTLY: &str = "directly";
/// The name of ours where nothing is asked for but an init.
pub(super) const ALONE: &str = "plimsoll-run, guard alone";

/// A way to start a program.
struct Init {
    name: &'static str,
    /// What goes before the program and its arguments.
    before: Vec<PathBuf>,
    main_ms: Vec<f64>,
    whole_ms: Vec<f64>,
}

/// Starts a program many times directly and under each init that is installed, in turns.
pub(super) fn measure(program: &Path, n_starts: usize) -> Result<Vec<Start>> {
    let directory = tempfile::tempdir().context("cannot create a directory")?;
    let stamp = directory.path().join("stamp");
    let this = std::env::current_exe().context("cannot find this program")?;
    let mut inits = inits(program);
    for _ in 0..n_starts {
        for init in &mut inits {
            let began = now_ns()?;
            run(&init.before, &[&this, Path::new("bench-stamp"), &stamp])?;
            let text = std::fs::read_to_string(&stamp)
                .with_context(|| format!("`{}` did not run its child", init.name))?;
            let main: u64 = text.parse().context("the child wrote no time")?;
            std::fs::remove_file(&stamp)?;
            init.main_ms.push(millis(main.saturating_sub(began)));
            let began = Instant::now();
            run(&init.before, &[Path::new("/bin/true")])?;
            init.whole_ms.push(began.elapsed().as_secs_f64() * 1e3);
        }
    }
    Ok(inits.into_iter().map(Init::figures).collect())
}

impl Init {
    fn figures(mut self) -> Start {
        self.main_ms.sort_by(f64::total_cmp);
        Start {
            name: self.name,
            to_main_ms: percentile(&self.main_ms, 0.5),
            to_main_p99_ms: percentile(&self.main_ms, 0.99),
            whole_ms: median(self.whole_ms),
        }
    }
}

fn inits(program: &Path) -> Vec<Init> {
    let init = |name, before| Init { name, before, main_ms: Vec::new(), whole_ms: Vec::new() };
    let ours = |flags: &[&str]| {
        let flags = flags.iter().chain(&["--"]).map(PathBuf::from);
        std::iter::once(program.to_path_buf()).chain(flags).collect()
    };
    let alone = ["--logs", "raw", "--redact", "off", "--listen", "off"];
    let mut inits =
        vec![init(DIRECTLY, Vec::new()), init(OURS, ours(&[])), init(ALONE, ours(&alone))];
    for (name, flag) in [("tini", "-s"), ("dumb-init", "--")] {
        if let Some(peer) = tools::find(name, &[]) {
            inits.push(init(name, vec![peer, flag.into()]));
        }
    }
    inits
}

fn run(before: &[PathBuf], command: &[&Path]) -> Result<()> {
    let mut words = before.iter().map(PathBuf::as_path).chain(command.iter().copied());
    let first = words.next().context("nothing to run")?;
    let status = Command::new(first)
        .args(words)
        .env("PLIMSOLL_LISTEN", "127.0.0.1:0")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .with_context(|| format!("cannot start `{}`", first.display()))?;
    ensure!(status.success(), "`{}` failed ({status})", first.display());
    Ok(())
}

/// Writes the time into a file: the measured child.
pub(crate) fn stamp(file: &Path) -> Result<Verdict> {
    std::fs::write(file, now_ns()?.to_string())
        .with_context(|| format!("cannot write `{}`", file.display()))?;
    Ok(Verdict::Yes)
}

pub(super) fn now_ns() -> Result<u64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    u64::try_from(since.as_nanos()).context("the clock is after 2500")
}

fn millis(nanos: u64) -> f64 {
    std::time::Duration::from_nanos(nanos).as_secs_f64() * 1e3
}
