//! What `verify` says: what it waits for, then one table, then the words of who refused, then what
//! to do next.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::json;
use tokio::time::{Interval, MissedTickBehavior};

use crate::screen;
use crate::table::{Table, styled};

/// After this a person wants to know what is being waited for, and again after it.
const PROGRESS: Duration = Duration::from_millis(100);

/// The same where lines are not rewritten.
const REMINDER: Duration = Duration::from_secs(10);

/// Most lines of one program's words; the rest is counted.
const WORDS_LINES_MAX: usize = 40;

/// Longest line of progress, in characters.
const PROGRESS_WIDTH_MAX: usize = 78;

/// One judgement.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub artifact: String,
    /// The files that were judged.
    pub files: Vec<String>,
    pub tool: String,
    /// Empty when it is not known.
    pub version: String,
    pub verdict: Verdict,
    /// Those of the program, or why there is no judgement.
    pub words: String,
    /// How what is missing is had.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub install: Vec<&'static str>,
}

/// How a subject stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Verdict {
    /// Its program takes it.
    Passed,
    /// Its program does not.
    Refused,
    /// Its program is not installed.
    NotVerified,
    /// Its program could not tell.
    Unknown,
    /// There is no program for it.
    NoConsumer,
}

impl Verdict {
    /// Whether nobody has said yes or no.
    pub(super) fn is_unverified(&self) -> bool {
        !matches!(self, Verdict::Passed | Verdict::Refused)
    }

    fn word(self) -> &'static str {
        match self {
            Verdict::Passed => "passed",
            Verdict::Refused => "refused",
            Verdict::NotVerified => "not verified",
            Verdict::Unknown => "could not tell",
            Verdict::NoConsumer => "no consumer",
        }
    }
}

impl Row {
    /// Of a file that we judge ourselves.
    pub(super) fn ours(artifact: &str, verdict: Verdict) -> Self {
        Row {
            artifact: artifact.to_owned(),
            files: vec![artifact.to_owned()],
            tool: "plimsoll".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            verdict,
            words: String::new(),
            install: Vec::new(),
        }
    }
}

/// Shows all judgements.
pub(super) fn show(rows: &[Row], n_ejected: usize, is_json: bool) -> anyhow::Result<()> {
    let of = |verdict| rows.iter().filter(move |row| row.verdict == verdict);
    let counts = BTreeMap::from([
        ("passed", of(Verdict::Passed).count()),
        ("refused", of(Verdict::Refused).count()),
        ("not-verified", of(Verdict::NotVerified).count()),
        ("unknown", of(Verdict::Unknown).count()),
        ("no-consumer", of(Verdict::NoConsumer).count()),
    ]);
    if is_json {
        return screen::write_json(
            &json!({"checks": rows, "counts": counts, "ejected": n_ejected}),
        );
    }
    let mut table = Table::new(["ARTIFACT", "TOOL", "VERSION", "VERDICT"]);
    for row in rows {
        let verdict = match (row.verdict, row.words.as_str()) {
            (Verdict::Refused, _) => styled(screen::ERROR, row.verdict.word()),
            (Verdict::Passed, words) if !words.is_empty() => format!("passed ({words})"),
            _ => row.verdict.word().to_owned(),
        };
        let version = if row.version.is_empty() { "-" } else { &row.version };
        let cells = [&row.artifact, &row.tool, version];
        let [artifact, tool, version] = cells.map(str::to_owned);
        table.push([artifact, tool, version, verdict]);
    }
    table.write(&mut screen::data())?;
    write_words(of(Verdict::Refused).chain(of(Verdict::Unknown)))?;
    write_missing(rows)?;
    write_summary(&counts, n_ejected)
}

/// What programs said of what they did not take.
fn write_words<'a>(rows: impl Iterator<Item = &'a Row>) -> anyhow::Result<()> {
    let mut out = screen::words();
    for row in rows {
        writeln!(out, "\n{} ({} by {})", row.artifact, row.verdict.word(), row.tool)?;
        let lines: Vec<&str> = row.words.lines().collect();
        for line in lines.iter().take(WORDS_LINES_MAX) {
            writeln!(out, "    {line}")?;
        }
        if let Some(more @ 1..) = lines.len().checked_sub(WORDS_LINES_MAX) {
            writeln!(out, "    ... and {more} lines more: see them with --json")?;
        }
    }
    Ok(())
}

/// Each missing program once, with how it is had.
fn write_missing(rows: &[Row]) -> anyhow::Result<()> {
    let mut missing: BTreeMap<&str, (usize, &[&str])> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.verdict == Verdict::NotVerified) {
        missing.entry(&row.words).or_insert((0, &row.install)).0 += 1;
    }
    let mut out = screen::words();
    for (why, (n_rows, install)) in missing {
        writeln!(out, "\n{why}: {n_rows} not verified")?;
        for how in install {
            writeln!(out, "{} {how}", styled(screen::HELP, "help:"))?;
        }
    }
    Ok(())
}

fn write_summary(counts: &BTreeMap<&str, usize>, n_ejected: usize) -> anyhow::Result<()> {
    let mut words = vec![format!("{} passed", counts["passed"])];
    for (count, word) in [
        ("refused", "refused"),
        ("unknown", "could not be told"),
        ("not-verified", "not verified"),
        ("no-consumer", "without a consumer"),
    ] {
        if counts[count] > 0 {
            words.push(format!("{} {word}", counts[count]));
        }
    }
    let mut out = screen::words();
    writeln!(out, "\n{}", words.join(", "))?;
    if n_ejected > 0 {
        writeln!(out, "{n_ejected} ejected files are yours and were not looked at")?;
    }
    Ok(())
}

/// What is being waited for. On a terminal one line that is rewritten, elsewhere a line now and
/// then.
pub(super) struct Progress {
    is_terminal: bool,
    interval: Interval,
    n_judged: usize,
    n_subjects: usize,
    has_line: bool,
}

impl Progress {
    pub(super) fn new(n_subjects: usize) -> Self {
        let is_terminal = io::stderr().is_terminal()
            && std::env::var_os("TERM").is_none_or(|terminal| terminal != "dumb");
        let every = if is_terminal { PROGRESS } else { REMINDER };
        let mut interval = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { is_terminal, interval, n_judged: 0, n_subjects, has_line: false }
    }

    pub(super) fn has_judged(&mut self) {
        self.n_judged += 1;
    }

    pub(super) async fn tick(&mut self) {
        self.interval.tick().await;
    }

    pub(super) fn write(&mut self, running: &BTreeMap<String, Instant>) -> io::Result<()> {
        let oldest = running.iter().min_by_key(|(_, since)| **since);
        let waited = oldest.map_or(String::new(), |(name, since)| {
            format!(": {name}, for {} s", since.elapsed().as_secs())
        });
        let line = format!("{} of {} judged{waited}", self.n_judged, self.n_subjects);
        let line: String = line.chars().take(PROGRESS_WIDTH_MAX).collect();
        let mut out = screen::words();
        if self.is_terminal {
            self.has_line = true;
            write!(out, "\r\x1b[K{line}")?;
            out.flush()
        } else {
            writeln!(out, "{line}")
        }
    }

    pub(super) fn clear(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.has_line) {
            let mut out = screen::words();
            write!(out, "\r\x1b[K")?;
            out.flush()?;
        }
        Ok(())
    }
}
