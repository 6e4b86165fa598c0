//! How long a stop takes, and what it leaves behind.
//!
//! An application that ends at once shows what the init adds. A tree that ignores SIGTERM and has
//! moved into sessions of its own shows what is left when everything has gone wrong.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;
use testkit::Marker;

use super::Effort;
use super::inits::{self, Init, OURS};
use super::report::Target;
use super::section::{Section, time};
use super::servers::Running;
use super::stats::median;

/// Stops of an application that ends at once, each.
const N_STOPS: usize = 10;
/// How long is looked for what is left.
const LEFT_LIMIT: Duration = Duration::from_secs(10);
/// How long an application may take to be there.
const START_LIMIT: Duration = Duration::from_secs(60);
/// The most that we may add, seconds.
const ADDED_MAX: f64 = 0.020;
/// The grace of every init here is one second; and another to sweep.
const STUBBORN_MAX: f64 = 2.0;
const POLL: Duration = Duration::from_micros(500);

/// Says that it is there, and dies of SIGTERM at once.
const OBEDIENT: &str = "touch \"$0\"; exec sleep 600";
/// Ignores SIGTERM, and so do its child and a grandchild in a session of its own.
const STUBBORN: &str = "trap '' TERM; setsid sh -c 'setsid sleep 600 & touch \"$0\"; wait' \"$0\" & \
                        sleep 601 & wait; wait; sleep 602";

pub(super) fn measure(program: &Path, effort: Effort) -> Result<Section> {
    let n_stops = effort.of(N_STOPS);
    let inits = inits::all(program);
    let mut stops = vec![Vec::new(); inits.len()];
    for _ in 0..n_stops {
        for (init, times) in inits.iter().zip(&mut stops) {
            times.push(stop(init, OBEDIENT)?.exit);
        }
    }
    let mut rows = Vec::new();
    let mut targets = Vec::new();
    for (init, times) in inits.iter().zip(stops) {
        let seconds = median(times.into_iter().map(|time| time.unwrap_or(f64::INFINITY)));
        let stubborn = stop(init, STUBBORN)?;
        if init.name == OURS {
            targets.push(Target {
                what: "stop of a well-behaved application",
                wanted: format!("<= {}", time(ADDED_MAX)),
                measured: time(seconds),
                is_met: seconds <= ADDED_MAX,
            });
            targets.push(Target {
                what: "a stubborn tree is gone, grace 1 s",
                wanted: format!("<= {}", time(STUBBORN_MAX)),
                measured: limited(stubborn.gone),
                is_met: stubborn.gone.is_some_and(|seconds| seconds <= STUBBORN_MAX),
            });
        }
        rows.push(vec![
            init.name.to_owned(),
            if seconds.is_finite() { time(seconds) } else { limited(None) },
            limited(stubborn.exit),
            limited(stubborn.gone),
            stubborn.n_left.to_string(),
        ]);
    }
    Ok(Section {
        title: "Stop",
        method: format!(
            "SIGTERM to the init; the first time is from the signal until its exit with an \
             application that ends at once, median of {n_stops}.\n\
             The stubborn tree ignores SIGTERM in one process, and has another in a session of its \
             own; the grace is 1 s where an init has one.\n\
             What is left is counted when the init has ended, or after {} s.",
            LEFT_LIMIT.as_secs()
        ),
        columns: [
            "init",
            "well-behaved: exit",
            "stubborn: exit",
            "stubborn: all gone",
            "processes left",
        ]
        .map(str::to_owned)
        .to_vec(),
        rows,
        targets,
    })
}

/// How a stop went, seconds; `None` is longer than the limit.
struct Stop {
    exit: Option<f64>,
    gone: Option<f64>,
    n_left: usize,
}

fn stop(init: &Init, script: &str) -> Result<Stop> {
    let directory = tempfile::tempdir().context("cannot create a directory")?;
    let there = directory.path().join("there");
    let name = there.to_str().context("the directory's name is not UTF-8")?;
    let marker = Marker::default();
    let mut command = init.command(&["sh", "-c", script, name], directory.path())?;
    let (variable, value) = marker.variable();
    let mut running = Running::start(command.env(variable, value))?;
    let began = Instant::now();
    while !there.exists() {
        anyhow::ensure!(began.elapsed() < START_LIMIT, "`{}` did not start it", init.name);
        std::thread::sleep(POLL);
    }
    // The shell becomes its program after it made the file.
    std::thread::sleep(Duration::from_millis(50));
    let began = Instant::now();
    running.signal(Signal::SIGTERM)?;
    let (mut exit, mut gone) = (None, None);
    while gone.is_none() && began.elapsed() < LEFT_LIMIT {
        if exit.is_none() && running.has_ended()? {
            exit = Some(began.elapsed().as_secs_f64());
        }
        // Looking at every process of the machine costs time that must not count as theirs.
        if exit.is_some() || began.elapsed() > Duration::from_secs(1) {
            gone = marker.processes().is_empty().then(|| began.elapsed().as_secs_f64());
        }
        std::thread::sleep(POLL);
    }
    // What is gone has ended, though nobody looked in between.
    if gone.is_some() && exit.is_none() && running.has_ended()? {
        exit = gone;
    }
    let n_left = marker.processes().len();
    marker.kill_all();
    Ok(Stop { exit, gone, n_left })
}

fn limited(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| format!("not within {} s", LEFT_LIMIT.as_secs()), time)
}
