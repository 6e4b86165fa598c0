//! One build or migration: runs to its end, its lines go to the hub under the item's name.

use std::path::Path;
use std::process::Stdio;

use nix::sys::signal::Signal;

use super::child::{cannot_start, command, describe, end_group};
use super::launch::TaskLaunch;
use super::leftovers::Leftovers;
use super::output::Pumps;
use crate::hub::Hub;

/// Kills a task's process group when the task that attends it is dropped.
struct Group<'a> {
    pid: u32,
    name: String,
    leftovers: &'a Leftovers,
}

impl Drop for Group<'_> {
    fn drop(&mut self) {
        end_group(self.pid);
        self.leftovers.forget(&self.name);
    }
}

/// Runs to its end. Dropping the future kills what it started.
pub(super) async fn perform(
    launch: &TaskLaunch,
    hub: &Hub,
    leftovers: &Leftovers,
    file_name: String,
) -> Result<(), String> {
    let Some((program, args)) = launch.words.split_first() else {
        return Err("its command is empty".into());
    };
    let mut child = command(Path::new(program))
        .args(args)
        .envs(&launch.env)
        .current_dir(&launch.directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| cannot_start(Path::new(program), &launch.directory, &error))?;
    let pid = child.id().unwrap_or_default();
    let group = Group { pid, name: file_name, leftovers };
    leftovers
        .note(&group.name, pid, Signal::SIGTERM)
        .map_err(|error| format!("cannot note its process id: {error}"))?;
    let pumps = Pumps::start(&mut child, &launch.item, hub);
    let status = child.wait().await;
    drop(group);
    pumps.finish().await;
    describe(status.map_err(|error| format!("cannot be waited for: {error}"))?)
}
