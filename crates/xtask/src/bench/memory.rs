//! What the kernel says of a process: memory, processor time, children.

use std::fs;

use anyhow::{Context as _, Result};

/// Resident memory of a process, KiB.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Memory {
    /// Pages in memory, shared ones in full.
    pub rss_kib: u64,
    /// Pages in memory, shared ones divided among those that share them.
    pub pss_kib: u64,
    /// Those pages in memory that are no file's.
    pub anonymous_kib: u64,
}

impl Memory {
    /// The greater of each figure.
    pub(super) fn max(self, other: Self) -> Self {
        Self {
            rss_kib: self.rss_kib.max(other.rss_kib),
            pss_kib: self.pss_kib.max(other.pss_kib),
            anonymous_kib: self.anonymous_kib.max(other.anonymous_kib),
        }
    }

    /// KiB of two processes that run the same program: the pages of its files are there once.
    pub(super) fn with_same_program(self, other: Self) -> u64 {
        let files_kib = |memory: Self| memory.rss_kib.saturating_sub(memory.anonymous_kib);
        self.anonymous_kib + other.anonymous_kib + files_kib(self).max(files_kib(other))
    }
}

/// Memory of a process now.
pub(super) fn of(pid: u32) -> Result<Memory> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read `{path}`"))?;
    Ok(Memory {
        rss_kib: kib(&text, "Rss"),
        pss_kib: kib(&text, "Pss"),
        anonymous_kib: kib(&text, "Anonymous"),
    })
}

/// Processor time of a process so far, seconds; 0 when it is gone.
pub(super) fn cpu_seconds(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let ticks: u32 = after_name(&text).skip(11).take(2).filter_map(|t| t.parse::<u32>().ok()).sum();
    // The kernel tells user space in hundredths of a second, whatever its own tick.
    f64::from(ticks) / 100.0
}

/// Children of a process.
pub(super) fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// The program that a process runs; empty when it is gone.
pub(super) fn executable(pid: u32) -> std::path::PathBuf {
    fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default()
}

/// The value of a `name: value` line of a file of the kernel's.
pub(super) fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    lines.into_iter().find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim())
}

fn kib(text: &str, name: &str) -> u64 {
    field(text, name).and_then(|value| value.split(' ').next()?.parse().ok()).unwrap_or(0)
}

/// Words of `/proc/PID/stat` after the name, which may itself hold spaces.
fn after_name(stat: &str) -> impl Iterator<Item = &str> {
    stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_whatever_their_blanks() {
        let text = "Rss:                1856 kB\nPss:                 349 kB\n";
        assert_eq!((kib(text, "Rss"), kib(text, "Pss"), kib(text, "Gone")), (1856, 349, 0));
    }

    #[test]
    fn the_pages_of_a_shared_program_count_once() {
        let guard = Memory { rss_kib: 4700, pss_kib: 0, anonymous_kib: 700 };
        let engine = Memory { rss_kib: 5100, pss_kib: 0, anonymous_kib: 1000 };
        assert_eq!(guard.with_same_program(engine), 700 + 1000 + 4100);
    }

    #[test]
    fn a_name_with_a_bracket_does_not_shift_the_columns() {
        let words: Vec<_> = after_name("7 (a) b) S 1 7").collect();
        assert_eq!(words, ["S", "1", "7"]);
    }

    #[test]
    fn this_process_has_memory() {
        assert!(of(std::process::id()).unwrap().rss_kib > 0);
    }
}
