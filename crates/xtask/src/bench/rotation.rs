//! How long a new value of a secret takes from its provider's answer to the file that the app
//! reads.
//!
//! The provider is a program that says the time, so that each value tells when it was fetched. When
//! the file has it is seen by looking again and again: a file's own time is of a clock that turns
//! every 4 ms only.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::Effort;
use super::report::Target;
use super::section::{Section, time};
use super::servers::Running;
use super::start::now_ns;
use super::stats::percentile;

/// Values that are followed.
const N_VALUES: usize = 30;
const LIMIT: Duration = Duration::from_secs(60);
const SWAP_MAX: f64 = 0.05;
const LOOK: Duration = Duration::from_micros(200);

pub(super) fn measure(program: &Path, effort: Effort) -> Result<Section> {
    let directory = tempfile::Builder::new().prefix("bench-").tempdir_in("/dev/shm")?;
    let directory = directory.path();
    let secrets = format!(
        r#"{{"deliver": "file", "poll": "100ms", "directory": "{}", "providers":
            {{"clock": {{"type": "exec", "command": ["date", "+%s%N"]}}}}}}"#,
        directory.display()
    );
    let running = Running::start(
        Command::new(program)
            .args(["--listen", "off", "--logs", "off", "--secrets", &secrets])
            .args(["--", "sleep", "600"])
            .env("TIME", "${secret:clock:now}")
            .stdin(Stdio::null()),
    )?;
    let file = directory.join(format!("plimsoll-secrets-{}", running.pid())).join("TIME");
    let (mut swaps, mut last, began) = (Vec::new(), String::new(), Instant::now());
    while swaps.len() < effort.of(N_VALUES) {
        ensure!(began.elapsed() < LIMIT, "`{}` does not change", file.display());
        std::thread::sleep(LOOK);
        // Not there before the service has started.
        let Ok(value) = fs::read_to_string(&file) else { continue };
        if value == last {
            continue;
        }
        let seen = now_ns()?;
        let fetched: u64 = value.trim().parse().context("the value is no time")?;
        let nanos = seen.checked_sub(fetched).context("the clock was set back")?;
        swaps.push(Duration::from_nanos(nanos));
        last = value;
    }
    // The first was not swapped but made, while the service started.
    let mut swaps: Vec<_> = swaps.iter().skip(1).map(Duration::as_secs_f64).collect();
    swaps.sort_by(f64::total_cmp);
    let [p50, p99] = [0.5, 0.99].map(|share| percentile(&swaps, share));
    Ok(Section {
        title: "Rotation of a secret",
        method: format!(
            "A program that prints the time is the provider; from the time that it printed until \
             a reader that looks every {} us sees it in the file, {} values. The end of the program \
             is part of it.",
            LOOK.as_micros(),
            swaps.len()
        ),
        columns: ["what", "p50", "p99"].map(str::to_owned).to_vec(),
        rows: vec![vec!["from the answer to the file".into(), time(p50), time(p99)]],
        targets: vec![Target {
            what: "a new value of a secret is in its file, p99",
            wanted: format!("<= {}", time(SWAP_MAX)),
            measured: time(p99),
            is_met: p99 <= SWAP_MAX,
        }],
    })
}
