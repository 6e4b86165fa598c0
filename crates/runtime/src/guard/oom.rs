//! Whether the kernel killed something of ours because memory ran out.
//!
//! A process that the kernel kills for memory ends by SIGKILL like any other; only the counters of
//! its control group tell. It deliberately sets no limits. Invariant: where there are no counters,
//! nothing was killed for memory.

use std::{fs, path::PathBuf};

/// Where control groups are mounted.
const ROOT: &str = "/sys/fs/cgroup";

/// The counter of our control group.
#[derive(Debug)]
pub(super) struct OomKills {
    file: Option<PathBuf>,
    before: u64,
}

impl OomKills {
    /// Starts to count.
    pub(super) fn watch() -> Self {
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let file = groups.lines().filter_map(counter_file).find(|file| file.exists());
        let before = file.as_ref().and_then(count).unwrap_or_default();
        Self { file, before }
    }

    /// Whether there was one since.
    pub(super) fn has_happened(&self) -> bool {
        self.file.as_ref().and_then(count).is_some_and(|now| now > self.before)
    }
}

/// The file of a line of `/proc/self/cgroup`: version 2 or the memory controller of version 1.
fn counter_file(line: &str) -> Option<PathBuf> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, group) = (parts.next()?, parts.next()?.trim_start_matches('/'));
    match controllers {
        "" => Some(PathBuf::from(ROOT).join(group).join("memory.events")),
        _ if controllers.split(',').any(|controller| controller == "memory") => {
            Some(PathBuf::from(ROOT).join("memory").join(group).join("memory.oom_control"))
        }
        _ => None,
    }
}

fn count(file: &PathBuf) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_control_groups_are_understood() {
        let file = |line| counter_file(line).map(|file| file.display().to_string());
        assert_eq!(file("0::/a/b").as_deref(), Some("/sys/fs/cgroup/a/b/memory.events"));
        assert_eq!(file("0::/").as_deref(), Some("/sys/fs/cgroup/memory.events"));
        let first = file("4:cpu,memory:/a");
        assert_eq!(first.as_deref(), Some("/sys/fs/cgroup/memory/a/memory.oom_control"));
        assert_eq!(file("3:cpuset:/a"), None);
    }
}
