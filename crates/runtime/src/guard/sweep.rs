//! Finds what the app left behind: every process that descends from the guard, but the engine.
//!
//! As PID 1 everything in the container descends from us. Elsewhere we are a subreaper, so that an
//! orphan becomes our child, wherever its session is. It deliberately decides nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use super::SIGKILL;
use crate::sys;

/// Processes that are looked at; the kernel's own limit (`pid_max`) is not higher.
const PROCESSES_MAX: usize = 4 * 1024 * 1024;

/// The processes that are left, without zombies; `spared` and what descends from it is left out.
pub(super) fn remaining(guard: i32, spared: Option<i32>) -> Vec<i32> {
    if is_alone_with(guard, spared) {
        return Vec::new();
    }
    descendants(&parents(), guard, spared)
}

/// Whether the kernel lists no child but `spared`: an orphan would be one. It saves looking at
/// every process of the machine. As PID 1 there may be more, since who entered from outside is no
/// child.
fn is_alone_with(guard: i32, spared: Option<i32>) -> bool {
    guard != 1 && spared.is_some_and(|spared| children(guard) == [spared])
}

/// Kills all that is left. A group is killed as one, so that none of it forks in the meantime.
pub(super) fn kill_remaining(guard: i32, spared: Option<i32>) -> usize {
    let parents = parents();
    let left = descendants(&parents, guard, spared);
    let is_left = |pid: &i32| left.contains(pid);
    let groups: BTreeSet<i32> =
        left.iter().filter_map(|pid| Some(parents.get(pid)?.group)).collect();
    for group in groups {
        let mut members = parents.iter().filter(|(_, parent)| parent.group == group);
        if members.all(|(pid, parent)| is_left(pid) || parent.is_zombie) {
            let _ = sys::kill(-group, SIGKILL);
        }
    }
    for pid in &left {
        let _ = sys::kill(*pid, SIGKILL);
    }
    left.len()
}

/// The direct children of a process of one thread, by the kernel's own list.
pub(super) fn children(parent: i32) -> Vec<i32> {
    let list = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
    list.unwrap_or_default().split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

struct Parent {
    pid: i32,
    group: i32,
    is_zombie: bool,
}

/// Every process with its parent; empty where `/proc` is not mounted.
fn parents() -> BTreeMap<i32, Parent> {
    let Ok(entries) = fs::read_dir("/proc") else { return BTreeMap::new() };
    let pids = entries.flatten().take(PROCESSES_MAX);
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| {
        Some((pid, stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?))
    })
    .collect()
}

/// Reads `pid (name) state parent ...`; the name may hold spaces and parentheses.
fn stat(text: &str) -> Option<Parent> {
    let mut fields = text.rsplit_once(") ")?.1.split(' ');
    let is_zombie = matches!(fields.next()?, "Z" | "X");
    let pid = fields.next()?.parse().ok()?;
    Some(Parent { pid, group: fields.next()?.parse().ok()?, is_zombie })
}

fn descendants(parents: &BTreeMap<i32, Parent>, guard: i32, spared: Option<i32>) -> Vec<i32> {
    let is_ours = |mut pid: i32| {
        // A process has at most as many ancestors as there are processes; a cycle would be a race.
        for _ in 0..parents.len() {
            if Some(pid) == spared {
                return false;
            }
            match parents.get(&pid) {
                Some(parent) if parent.pid == guard => return Some(pid) != spared,
                // Entered from outside (`docker exec`): ours to end only as PID 1.
                Some(parent) if parent.pid == 0 => return guard == 1,
                Some(parent) => pid = parent.pid,
                None => return false,
            }
        }
        false
    };
    let alive = parents.iter().filter(|(pid, parent)| **pid != guard && !parent.is_zombie);
    alive.map(|(pid, _)| *pid).filter(|pid| is_ours(*pid)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(rows: &[(i32, i32, bool)]) -> BTreeMap<i32, Parent> {
        rows.iter()
            .map(|&(pid, parent, is_zombie)| (pid, Parent { pid: parent, group: pid, is_zombie }))
            .collect()
    }

    #[test]
    fn children_of_children_are_left_but_not_the_engine_nor_its_own() {
        let rows = [
            (1, 0, false),
            (10, 1, false),
            (11, 10, false),
            (12, 11, false),
            (20, 10, false),
            (21, 20, false),
            (30, 1, false),
        ];
        assert_eq!(descendants(&tree(&rows), 10, Some(20)), [11, 12]);
    }

    #[test]
    fn zombies_are_no_longer_there() {
        assert!(descendants(&tree(&[(10, 1, false), (11, 10, true)]), 10, None).is_empty());
    }

    #[test]
    fn what_entered_a_container_from_outside_is_ours_as_pid_1_only() {
        let rows = [(1, 0, false), (7, 0, false), (8, 7, false)];
        assert_eq!(descendants(&tree(&rows), 1, None), [7, 8]);
        assert!(descendants(&tree(&rows), 5, None).is_empty());
    }

    #[test]
    fn a_name_may_hold_parentheses_and_spaces() {
        let parent = stat("12 (a) b (c)) S 7 12 12 0").unwrap();
        assert_eq!((parent.pid, parent.is_zombie), (7, false));
    }
}
