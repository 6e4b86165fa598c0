//! Requests per second under load, by `wrk`.
//!
//! `wrk` is a closed loop: it sends the next request when the answer is there, so its percentiles
//! are those of a saturated server, and on two cores it competes with what it measures. The
//! processor time that a proxy spent per request does not depend on that, and stands next to it.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use super::memory;
use super::servers::{DIRECT, Footprint, INGRESS, Servers, Target};
use super::stats::{as_number, median};
use crate::tools;

/// Connections that are kept open, of one thread.
pub(super) const CONNECTIONS: u32 = 64;

/// Figures of all servers.
pub(super) struct Loads {
    pub rows: Vec<Load>,
    /// Greatest memory of the ingress without access log, right after each of its rounds.
    pub footprint: Footprint,
}

/// Figures of one server: medians over the rounds.
pub(super) struct Load {
    pub name: &'static str,
    pub requests_per_second: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    /// Processor time of the proxy per request, microseconds; `None` for the application itself.
    pub cpu_us: Option<f64>,
    /// Answers that were not 2xx, and connections that failed.
    pub n_errors: usize,
}

/// One round on one server.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Round {
    pub requests_per_second: f64,
    n_requests: usize,
    pub p50_us: f64,
    pub p99_us: f64,
    cpu_us: f64,
    pub n_errors: usize,
}

/// Loads each server in turn, so many rounds.
pub(super) fn measure(servers: &Servers, n_rounds: usize, seconds: u32) -> Result<Loads> {
    let targets = &servers.targets;
    let mut rounds = vec![Vec::with_capacity(n_rounds); targets.len()];
    let mut footprint = Footprint::default();
    for index in 0..n_rounds {
        eprintln!("bench: round {} of {n_rounds}", index + 1);
        for (target, rounds) in targets.iter().zip(&mut rounds) {
            rounds.push(round(target, seconds)?);
            if target.name == INGRESS {
                let now = servers.memory()?;
                footprint.guard = footprint.guard.max(now.guard);
                footprint.engine = footprint.engine.max(now.engine);
            }
        }
    }
    let rows = targets.iter().zip(rounds).map(|(target, rounds)| summary(target, &rounds));
    Ok(Loads { rows: rows.collect(), footprint })
}

fn summary(target: &Target, rounds: &[Round]) -> Load {
    let middle = |figure: fn(&Round) -> f64| median(rounds.iter().map(figure));
    Load {
        name: target.name,
        requests_per_second: middle(|round| round.requests_per_second),
        p50_us: middle(|round| round.p50_us),
        p99_us: middle(|round| round.p99_us),
        cpu_us: (target.name != DIRECT).then(|| middle(|round| round.cpu_us)),
        n_errors: rounds.iter().map(|round| round.n_errors).sum(),
    }
}

fn round(target: &Target, seconds: u32) -> Result<Round> {
    round_at(&format!("http://{}/", target.address), seconds, &target.pids)
}

/// Loads one address, and counts the processor time of `pids`.
pub(super) fn round_at(url: &str, seconds: u32, pids: &[u32]) -> Result<Round> {
    round_with(url, seconds, CONNECTIONS, pids, None)
}

/// The same with so many connections, and a script of `wrk` that says what is sent.
pub(super) fn round_with(
    url: &str,
    seconds: u32,
    n_connections: u32,
    pids: &[u32],
    script: Option<&Path>,
) -> Result<Round> {
    let wrk = tools::find("wrk", &[]).context("`wrk` is not installed\nhelp: cargo xtask tools")?;
    let cpu = || pids.iter().copied().map(memory::cpu_seconds).sum::<f64>();
    let before = cpu();
    let mut wrk = Command::new(wrk);
    wrk.args(["-t1", &format!("-c{n_connections}"), &format!("-d{seconds}s"), "--latency"]);
    if let Some(script) = script {
        wrk.arg("-s").arg(script);
    }
    let output = wrk.arg(url).stdin(Stdio::null()).output().context("cannot start wrk")?;
    let spent = cpu() - before;
    ensure!(output.status.success(), "wrk failed: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let mut round = parse(&text).with_context(|| format!("wrk said something else:\n{text}"))?;
    round.cpu_us = spent * 1e6 / as_number(round.n_requests.max(1));
    Ok(round)
}

/// Reads what `wrk --latency` prints.
fn parse(text: &str) -> Option<Round> {
    let mut round = Round::default();
    let (mut has_rate, mut has_count) = (false, false);
    for line in text.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        match words[..] {
            ["50%", time] => round.p50_us = micros(time)?,
            ["99%", time] => round.p99_us = micros(time)?,
            ["Requests/sec:", rate] => {
                round.requests_per_second = rate.parse().ok()?;
                has_rate = true;
            }
            [count, "requests", "in", ..] => {
                round.n_requests = count.parse().ok()?;
                has_count = true;
            }
            ["Non-2xx", .., count] => round.n_errors += count.parse::<usize>().ok()?,
            ["Socket", "errors:", ref rest @ ..] => {
                let counts = rest.iter().map(|word| word.trim_end_matches(',').parse::<usize>());
                round.n_errors += counts.flatten().sum::<usize>();
            }
            _ => {}
        }
    }
    (has_rate && has_count).then_some(round)
}

/// A time as wrk writes it, such as `1.23ms`, in microseconds.
fn micros(text: &str) -> Option<f64> {
    let units = [("us", 1.0), ("ms", 1e3), ("s", 1e6), ("m", 6e7), ("h", 3.6e9)];
    let (unit, factor) = units.into_iter().find(|(unit, _)| text.ends_with(unit))?;
    Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRK: &str = "Running 5s test @ http://127.0.0.1:8080/\n  1 threads and 64 connections\n\
        \x20 Thread Stats   Avg      Stdev     Max   +/- Stdev\n    Latency     1.54ms  \
        366.80us   9.63ms   91.07%\n\
        \x20   Req/Sec    41.53k     2.65k   45.79k    75.00%\n  Latency Distribution\n     \
        50%    1.50ms\n\
        \x20    75%    1.61ms\n     90%    1.78ms\n     99%  980.00us\n\
        \x20 207000 requests in 5.01s, 20.00MB read\n\
        \x20 Socket errors: connect 0, read 2, write 0, timeout 1\n  Non-2xx or 3xx responses: 4\n\
        Requests/sec:  41318.12\nTransfer/sec:      4.00MB\n";

    #[test]
    fn the_words_of_wrk_are_understood() {
        let round = parse(WRK).unwrap();
        assert_eq!(round.requests_per_second, 41318.12);
        assert_eq!((round.n_requests, round.n_errors), (207_000, 7));
        assert_eq!((round.p50_us, round.p99_us), (1500.0, 980.0));
    }

    #[test]
    fn other_words_are_not_taken_for_zero_requests() {
        assert_eq!(parse("unable to connect to 127.0.0.1:1 Connection refused\n"), None);
    }

    #[test]
    fn every_unit_of_time_is_understood() {
        assert_eq!(micros("12.50us"), Some(12.5));
        assert_eq!(micros("1.50s"), Some(1_500_000.0));
        assert_eq!(micros("2.00m"), Some(120_000_000.0));
        assert_eq!(micros("fast"), None);
    }
}
