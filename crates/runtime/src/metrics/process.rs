//! Figures of the app and its descendants, from `/proc`.
//!
//! It deliberately adds up resident memory as `ps` shows it, pages shared between processes counted
//! in each: the exact figure (`smaps_rollup`) costs milliseconds per process. Invariant:
//! `cpu_seconds` never falls, though processes come and go; a process that cannot be read is left
//! out.

use std::collections::BTreeSet;
use std::fs;

/// Most processes that are looked at; the rest of a larger tree is left out.
const PROCESSES_MAX: usize = 512;

/// What is known of the app's processes together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Figures {
    pub(super) cpu_seconds: f64,
    pub(super) resident_bytes: i64,
    pub(super) open_fds: i64,
    pub(super) max_fds: i64,
    pub(super) threads: i64,
}

/// Keeps the CPU time of processes that are gone.
#[derive(Debug, Default)]
pub(super) struct Process {
    pid: Option<u32>,
    cpu_before: f64,
    cpu_now: f64,
}

impl Process {
    /// Reads the tree under `pid`; none while there is no app, or it is gone by now.
    pub(super) fn sample(&mut self, pid: Option<u32>) -> Option<Figures> {
        let pid = pid?;
        let mut figures = read_tree(pid)?;
        if self.pid != Some(pid) {
            self.pid = Some(pid);
            self.cpu_before += self.cpu_now;
            self.cpu_now = 0.0;
        }
        // A descendant that was reaped by another than its parent takes its time with it.
        self.cpu_now = self.cpu_now.max(figures.cpu_seconds);
        figures.cpu_seconds = self.cpu_before + self.cpu_now;
        Some(figures)
    }
}

fn read_tree(root: u32) -> Option<Figures> {
    let mut sum = Figures { max_fds: fd_limit(root).unwrap_or(0), ..Figures::default() };
    let mut seen = BTreeSet::from([root]);
    let mut next = vec![root];
    let mut has_root = false;
    while let Some(pid) = next.pop() {
        let Some(stat) =
            fs::read_to_string(format!("/proc/{pid}/stat")).ok().as_deref().and_then(parse_stat)
        else {
            continue;
        };
        has_root |= pid == root;
        sum.cpu_seconds += stat.cpu_seconds;
        sum.resident_bytes += stat.resident_bytes;
        sum.threads += stat.threads;
        let fds = fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
        sum.open_fds += i64::try_from(fds).unwrap_or(i64::MAX);
        for child in children(pid) {
            if seen.len() < PROCESSES_MAX && seen.insert(child) {
                next.push(child);
            }
        }
    }
    has_root.then_some(sum)
}

/// The children of all threads of a process.
fn children(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|pids| pids.split_whitespace().map(str::parse).collect::<Vec<_>>())
        .flatten()
        .collect()
}

fn fd_limit(pid: u32) -> Option<i64> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[derive(Debug, PartialEq)]
struct Stat {
    cpu_seconds: f64,
    threads: i64,
    resident_bytes: i64,
}

/// Reads `/proc/<pid>/stat`. The name, in parentheses, may itself hold spaces and parentheses.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // `fields[0]` is field 3 of proc(5).
    let number = |field: usize| fields.get(field - 3)?.parse::<f64>().ok();
    let whole = |field: usize| fields.get(field - 3)?.parse::<i64>().ok();
    let ticks = number(14)? + number(15)? + number(16)? + number(17)?;
    Some(Stat {
        cpu_seconds: ticks / ticks_per_second(),
        threads: whole(20)?,
        resident_bytes: whole(24)? * page_bytes(),
    })
}

fn ticks_per_second() -> f64 {
    nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)
        .ok()
        .flatten()
        .map_or(100.0, |n| n as f64)
}

fn page_bytes() -> i64 {
    nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten().unwrap_or(4096)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_is_skipped() {
        let stat = parse_stat(
            "7 (a ) b) S 1 7 7 0 -1 4194560 100 0 0 0 150 50 25 25 20 0 3 0 1 1000 10 18446744073709551615",
        );
        let stat = stat.expect("a stat line");
        assert_eq!(stat.threads, 3);
        assert_eq!(stat.cpu_seconds, 250.0 / ticks_per_second());
        assert_eq!(stat.resident_bytes, 10 * page_bytes());
    }

    #[test]
    fn the_figures_of_a_living_process_are_plausible() {
        let figures = Process::default().sample(Some(std::process::id())).expect("this process");
        assert!(figures.resident_bytes > 0);
        assert!(figures.threads >= 1);
        assert!(figures.open_fds >= 3 && figures.max_fds >= figures.open_fds);
    }

    #[test]
    fn children_are_counted() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("a child");
        assert!(children(std::process::id()).contains(&child.id()));
        child.kill().expect("killed");
        child.wait().expect("reaped");
    }

    #[test]
    fn cpu_time_does_not_fall_when_the_app_starts_again() {
        let mut process = Process { pid: Some(0), cpu_before: 1.0, cpu_now: 41.0 };
        let figures = process.sample(Some(std::process::id())).expect("this process");
        assert!(figures.cpu_seconds >= 42.0);
    }

    #[test]
    fn a_process_that_is_gone_has_no_figures() {
        assert_eq!(Process::default().sample(Some(u32::MAX / 4)), None);
        assert_eq!(Process::default().sample(None), None);
    }
}
