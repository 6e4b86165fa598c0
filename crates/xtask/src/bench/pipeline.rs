//! What the log pipeline costs: processor time of the engine for so many bytes of lines.
//!
//! The application is this binary, which writes a mixture of JSON, logfmt and plain lines as fast
//! as they are taken, some of them with secrets. Processor time does not depend on who else runs.
//! The output is searched for every secret: a leak is a figure, too.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::report::Target;
use super::section::Section;
use super::servers::Running;
use super::stats::median;
use super::{Effort, memory};
use crate::Verdict;

/// What the application writes in one run.
const MIB: usize = 256;
const ROUNDS: usize = 3;
/// Values that must not be seen.
const N_SECRETS: usize = 51;
/// Every so many lines hold one of them.
const SECRET_EVERY: usize = 100;
const RATE_MIN: f64 = 150.0;
const LIMIT: Duration = Duration::from_secs(120);
/// Written by the application when it has written everything.
const LAST: &str = "that was all";

/// The value of a secret.
fn secret(index: usize) -> String {
    format!("s3cr3t-{index:03}-{}", "kP9/x+Zq".repeat(3))
}

pub(super) fn measure(program: &Path, effort: Effort) -> Result<Section> {
    let n_rounds = effort.of(ROUNDS);
    let ways: [(&str, &[&str]); 3] = [
        ("json, redaction", &["--logs", "json"]),
        ("json, no redaction", &["--logs", "json", "--redact", "off"]),
        ("raw, no redaction", &["--logs", "raw", "--redact", "off"]),
    ];
    let mut rounds = vec![Vec::new(); ways.len()];
    let mut n_leaks = 0;
    for _ in 0..n_rounds {
        for (index, ((_, flags), rounds)) in ways.iter().zip(&mut rounds).enumerate() {
            let round = round(program, flags)?;
            rounds.push(round.mib_per_second);
            n_leaks += if index == 0 { round.n_leaks } else { 0 };
        }
    }
    let rates: Vec<_> = rounds.into_iter().map(median).collect();
    let rows = ways.iter().zip(&rates);
    let rows = rows.map(|((name, _), rate)| vec![(*name).to_owned(), format!("{rate:.0} MiB/s")]);
    let rate = rates.first().copied().unwrap_or_default();
    let targets = vec![
        Target {
            what: "log pipeline, MiB of lines per second of processor time",
            wanted: format!(">= {RATE_MIN:.0}"),
            measured: format!("{rate:.0}"),
            is_met: rate >= RATE_MIN,
        },
        Target {
            what: "lines with a secret that came out with it",
            wanted: "0".into(),
            measured: n_leaks.to_string(),
            is_met: n_leaks == 0,
        },
    ];
    Ok(Section {
        title: "Log pipeline",
        method: format!(
            "An application writes {MIB} MiB of JSON, logfmt and plain lines of 80 to 400 bytes, \
             one in {SECRET_EVERY} with one of {N_SECRETS} secrets; median of {n_rounds}.\n\
             Processor time of the engine in all its threads, user and kernel, from the \
             application's pipe to a file."
        ),
        columns: ["form", "per second of processor time"].map(str::to_owned).to_vec(),
        rows: rows.collect(),
        targets,
    })
}

struct Round {
    mib_per_second: f64,
    n_leaks: usize,
}

fn round(program: &Path, flags: &[&str]) -> Result<Round> {
    let directory = tempfile::tempdir().context("cannot create a directory")?;
    let path = directory.path().join("lines");
    let go = directory.path().join("go");
    let this = std::env::current_exe().context("cannot find this program")?;
    let mut command = Command::new(program);
    command.args(["--listen", "off"]).args(flags).arg("--").arg(this).arg("bench-write").arg(&go);
    for index in 0..N_SECRETS {
        command.env(format!("VALUE_{index}"), secret(index));
        command.env(format!("SECRET_{index}"), format!("${{secret:env:VALUE_{index}}}"));
    }
    command.stdin(Stdio::null()).stdout(File::create(&path)?).stderr(Stdio::null());
    let running = Running::start(&mut command)?;
    let own = program.canonicalize().unwrap_or_else(|_| program.to_path_buf());
    let began = Instant::now();
    let engine = loop {
        let children = memory::children(running.pid());
        let engine = children.into_iter().find(|pid| memory::executable(*pid) == own);
        // The application waits for us, and has said so.
        if let Some(engine) =
            engine.filter(|_| fs::metadata(&path).is_ok_and(|meta| meta.len() > 0))
        {
            break engine;
        }
        ensure!(began.elapsed() < LIMIT, "the application does not start");
        std::thread::sleep(Duration::from_millis(5));
    };
    let before = memory::cpu_seconds(engine);
    File::create(&go)?;
    while !ends_with_last(&path)? {
        ensure!(began.elapsed() < LIMIT, "not all lines came within {LIMIT:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
    let spent = memory::cpu_seconds(engine) - before;
    ensure!(spent > 0.0, "the engine is gone before its processor time was read");
    drop(running);
    let text = fs::read(&path)?;
    let n_leaks = text.split(|byte| *byte == b'\n').filter(|line| leaks(line)).count();
    let mib = u32::try_from(MIB).map(f64::from)?;
    Ok(Round { mib_per_second: mib / spent, n_leaks })
}

fn leaks(line: &[u8]) -> bool {
    line.windows(7).any(|window| window == b"s3cr3t-")
}

/// Whether the last bytes of a file hold the last line.
fn ends_with_last(path: &Path) -> Result<bool> {
    use std::os::unix::fs::FileExt as _;
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut tail = vec![0; 1024];
    let n_read = file.read_at(&mut tail, length.saturating_sub(1024))?;
    Ok(String::from_utf8_lossy(&tail[..n_read]).contains(LAST))
}

/// Waits until a file is there, writes [`MIB`] of lines, and stays until it is ended, since the
/// engine goes with it: the measured application.
pub(crate) fn write(go: &Path) -> Result<Verdict> {
    println!("waiting");
    while !go.exists() {
        std::thread::sleep(Duration::from_millis(2));
    }
    let mut out = BufWriter::with_capacity(64 * 1024, std::io::stdout());
    let mut n_bytes = 0;
    for index in 0.. {
        if n_bytes >= MIB * 1024 * 1024 {
            break;
        }
        let line = line(index);
        n_bytes += line.len();
        out.write_all(line.as_bytes())?;
    }
    writeln!(out, "{LAST}")?;
    out.flush()?;
    std::thread::sleep(LIMIT);
    Ok(Verdict::Yes)
}

fn line(index: usize) -> String {
    let value = match (index + index / SECRET_EVERY) % SECRET_EVERY {
        0 => secret(index / SECRET_EVERY % N_SECRETS),
        _ => format!("item-{index}"),
    };
    match index % 4 {
        0 => {
            format!(
                r#"{{"level":"info","msg":"order accepted","order_id":{index},"customer":"c-{index}","note":"{value}","items":[{{"sku":"A-17","count":2}},{{"sku":"B-99","count":1}}],"total":129.95,"duration_ms":12.75}}"#
            ) + "\n"
        }
        1 => format!(
            "2026-11-21T10:00:00.123Z INFO shop.orders: order {index} of customer c-{index} was \
             accepted in 12.75 ms ({value})\n"
        ),
        2 => {
            format!("level=info msg=\"order accepted\" order={index} value={value} took=12.75ms\n")
        }
        _ => format!(
            "127.0.0.1 - - [21/Nov/2026:10:00:00 +0000] \"GET /v1/orders/{index} HTTP/1.1\" 200 \
             5316 \"-\" \"Mozilla/5.0 (X11; Linux x86_64)\" {value}\n"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_in_lines_of_every_form() {
        let forms = (0..SECRET_EVERY * 8).filter(|index| leaks(line(*index).as_bytes()));
        assert_eq!(forms.count(), 8);
        assert!(!leaks(line(1).as_bytes()));
    }
}
