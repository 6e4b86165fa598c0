//! `plimsoll render --diff`: what was changed by hand since we wrote a file, and what we would
//! change.
//!
//! The text as we wrote it is asked of git by its name in the lock. Where git does not have it,
//! that is said, and the two texts that there are are compared.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use blueprint::{Settled, State};
use diffy::{DiffOptions, PatchFormatter};

use crate::exit::Exit;
use crate::rendering::Rendering;
use crate::screen;

/// Lines around a change.
const CONTEXT_LINES: usize = 3;

/// Shows every difference; the exit code says whether there is one.
pub(super) fn show(
    rendering: &Rendering,
    settled: &[Settled<'_>],
    disk: &BTreeMap<String, Vec<u8>>,
) -> anyhow::Result<Exit> {
    let mut out = screen::data();
    let mut is_same = true;
    for file in settled.iter().filter(|file| !file.state.is_settled()) {
        is_same = false;
        let ours = file.artifact.map_or("", |artifact| artifact.text.as_str());
        let theirs = disk.get(file.path).map(|bytes| String::from_utf8_lossy(bytes));
        let theirs = theirs.as_deref().unwrap_or("");
        let base = file.written.filter(|_| file.state == State::Edited);
        match base.map(|name| as_written(&rendering.root, name, ours)) {
            Some(Some(base)) => {
                write(&mut out, file.path, "as we wrote it", "changed by hand", &base, theirs)?;
                write(&mut out, file.path, "as we wrote it", "as rendered now", &base, ours)?;
            }
            Some(None) => {
                let path = file.path;
                writeln!(out, "# `{path}` as we wrote it is not in git; compared with what is")?;
                write(&mut out, path, "on the disk", "as rendered now", theirs, ours)?;
            }
            None => write(&mut out, file.path, "on the disk", "as rendered now", theirs, ours)?,
        }
    }
    Ok(if is_same { Exit::Yes } else { Exit::No })
}

/// The text that git knows by this name; what is rendered now, if it still has that name.
fn as_written(root: &Path, name: &str, rendered: &str) -> Option<String> {
    if blueprint::lock::blob(rendered.as_bytes()) == name {
        return Some(rendered.to_owned());
    }
    let output = Command::new("git")
        .current_dir(root)
        .args(["cat-file", "-p", name])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn write(
    out: &mut impl Write,
    path: &str,
    from: &str,
    to: &str,
    before: &str,
    after: &str,
) -> anyhow::Result<()> {
    if before == after {
        return Ok(());
    }
    let mut options = DiffOptions::new();
    options.set_context_len(CONTEXT_LINES);
    options.set_original_filename(format!("{path} ({from})"));
    options.set_modified_filename(format!("{path} ({to})"));
    let patch = options.create_patch(before, after);
    let formatter = PatchFormatter::new();
    let formatter = if screen::data_is_coloured() { formatter.with_color() } else { formatter };
    Ok(write!(out, "{}", formatter.fmt_patch(&patch))?)
}
