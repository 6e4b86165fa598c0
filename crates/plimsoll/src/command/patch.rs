//! `plimsoll patch`: keeps a change that was made by hand, and makes it again in every render.
//!
//! The change is a unified diff under `plimsoll.patches/`, which is committed and reviewed like
//! code. Where it no longer fits, `render` says so and writes nothing.

use std::io::Write;
use std::path::PathBuf;

use anyhow::bail;
use blueprint::lock::{self, Entry, Owner};
use clap::Args;

use crate::exit::Exit;
use crate::rendering::{self, Loaded, Purpose, patch_name};
use crate::screen;
use crate::stage::Stage;

const EXAMPLE: &str = "\
Example:
  plimsoll patch Makefile              keep what was changed by hand in it
  plimsoll patch --drop Makefile       render it without the change again";

/// Keep a change made by hand to a rendered file, in every render
#[derive(Debug, Args)]
#[command(before_help = EXAMPLE)]
pub struct PatchArgs {
    /// The file
    #[arg(value_name = "FILE")]
    file: String,
    /// Forget the patch; the file is rendered as without it
    #[arg(long)]
    drop: bool,
    /// Read the manifest of this directory [default: here or above]
    #[arg(long = "dir", value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// Writes the difference down.
///
/// # Errors
/// The file is not ours or was not changed, or the patch cannot be written.
pub fn patch(args: &PatchArgs) -> anyhow::Result<Exit> {
    let rendering = match rendering::load(args.directory.as_deref(), Purpose::Write)? {
        Loaded::Rendering(rendering) => rendering,
        Loaded::Problems => return Ok(Exit::Unknown),
    };
    let path = rendering.known(&args.file)?;
    let Some(artifact) = rendering.artifacts.get(&path) else {
        bail!("`{path}` is no longer rendered\nhelp: it is yours; change it as you like")
    };
    let name = patch_name(&path);
    let mut stage = Stage::new(&rendering.root);
    let mut out = screen::words();
    let unpatched = rendering.unpatched.get(&path);
    if args.drop {
        if unpatched.is_none() {
            bail!("`{path}` has no patch\nhelp: patches are in `{}`", rendering::PATCHES);
        }
        stage.remove(&name)?;
        stage.commit()?;
        writeln!(out, "removed `{name}`; next: `plimsoll render {path}`")?;
        return Ok(Exit::Yes);
    }
    let disk = rendering.disk()?;
    let Some(bytes) = disk.get(&path) else {
        bail!("`{path}` is not there\nhelp: `plimsoll render {path}` writes it")
    };
    let Ok(theirs) = std::str::from_utf8(bytes) else {
        bail!("`{path}` is not UTF-8\nhelp: `plimsoll eject {path}` makes it yours as it is")
    };
    let ours = unpatched.unwrap_or(&artifact.text);
    if ours == theirs {
        bail!("`{path}` is as rendered: there is no change to keep\nhelp: edit it first");
    }
    let mut options = diffy::DiffOptions::new();
    options.set_original_filename(format!("a/{path}"));
    options.set_modified_filename(format!("b/{path}"));
    stage.write(&name, &options.create_patch(ours, theirs).to_string(), false)?;
    let mut lock = rendering.lock.clone();
    let owner = Owner::Plimsoll { blob: lock::blob(bytes) };
    lock.files.insert(path.clone(), Entry { target: artifact.target.to_owned(), owner });
    stage.write(lock::NAME, &lock.to_text(), false)?;
    stage.commit()?;
    writeln!(out, "wrote `{name}`: every render makes this change again; commit it")?;
    Ok(Exit::Yes)
}
