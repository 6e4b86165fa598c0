//! `plimsoll eject`: makes a rendered file the user's own. It is never looked at again.

use std::io::Write;
use std::path::PathBuf;

use anyhow::bail;
use blueprint::lock::{self, Entry, Owner};
use clap::Args;

use crate::exit::Exit;
use crate::rendering::{self, Loaded, Purpose};
use crate::screen;
use crate::stage::Stage;

const EXAMPLE: &str = "\
Example:
  plimsoll eject backend/Dockerfile
  plimsoll eject --undo backend/Dockerfile";

/// Make a rendered file your own: it is never written or checked again
#[derive(Debug, Args)]
#[command(before_help = EXAMPLE)]
pub struct EjectArgs {
    /// The files
    #[arg(value_name = "FILE", required = true)]
    files: Vec<String>,
    /// Let the files be rendered again; what is in them counts as changed by hand
    #[arg(long)]
    undo: bool,
    /// Read the manifest of this directory [default: here or above]
    #[arg(long = "dir", value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// Writes it down in the lock.
///
/// # Errors
/// A file is not ours, or the lock cannot be written.
pub fn eject(args: &EjectArgs) -> anyhow::Result<Exit> {
    let rendering = match rendering::load(args.directory.as_deref(), Purpose::Write)? {
        Loaded::Rendering(rendering) => rendering,
        Loaded::Problems => return Ok(Exit::Unknown),
    };
    let mut lock = rendering.lock.clone();
    for file in &args.files {
        let path = rendering.known(file)?;
        let entry = lock.files.get(&path);
        let is_theirs = entry.is_some_and(|entry| entry.owner == Owner::User);
        match (args.undo, is_theirs) {
            (true, true) => {
                lock.files.remove(&path);
            }
            (true, false) => bail!("`{path}` was not ejected\nhelp: `plimsoll render` writes it"),
            (false, _) => {
                let rendered = rendering.artifacts.get(&path).map(|artifact| artifact.target);
                let target = rendered.or(entry.map(|entry| entry.target.as_str()));
                let target = target.unwrap_or_default().to_owned();
                lock.files.insert(path, Entry { target, owner: Owner::User });
            }
        }
    }
    if lock.templates.is_none() {
        lock.templates = Some(lock::TEMPLATES);
    }
    let mut stage = Stage::new(&rendering.root);
    stage.write(lock::NAME, &lock.to_text(), false)?;
    stage.commit()?;
    let mut out = screen::words();
    let (they_are, them, they_differ) = match args.files.len() {
        1 => ("it is", "it", "it differs"),
        _ => ("they are", "them", "they differ"),
    };
    match args.undo {
        true => writeln!(out, "next: `plimsoll render` shows where {they_differ} from ours")?,
        false => writeln!(
            out,
            "{they_are} yours: nothing of ours writes or checks {them}; commit `{}`",
            lock::NAME
        )?,
    }
    Ok(Exit::Yes)
}
