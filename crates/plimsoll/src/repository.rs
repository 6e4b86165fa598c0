//! The user's directory, as far as rendering goes: marker files, and what stands at given paths.
//!
//! Invariant: nothing outside the manifest's directory is ever read or written, whatever links
//! and paths say.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use blueprint::detect::{MARKER_BYTES_MAX, MARKERS, join, upwards};
use manifest::Plan;

/// Largest file that is compared with a rendered one, in bytes.
const COMPARED_BYTES_MAX: u64 = 16 << 20;

/// The marker files in the directories of a plan's services and above them.
pub(crate) fn markers(root: &Path, plan: &Plan) -> anyhow::Result<blueprint::Repository> {
    let mut found = blueprint::Repository::new();
    let directories: BTreeSet<String> =
        plan.services.values().flat_map(|service| upwards(service.path.as_str())).collect();
    for directory in directories {
        for name in MARKERS {
            let path = join(&directory, name);
            let file = match fs::File::open(root.join(&path)) {
                Ok(file) => file,
                Err(error) if is_absent(&error) => continue,
                Err(error) => return Err(error).with_context(|| format!("cannot read `{path}`")),
            };
            let mut bytes = Vec::new();
            let limit = u64::try_from(MARKER_BYTES_MAX).unwrap_or(u64::MAX);
            match file.take(limit).read_to_end(&mut bytes) {
                Ok(_) => {}
                // A directory of that name is not the file.
                Err(error) if error.kind() == ErrorKind::IsADirectory => continue,
                Err(error) => return Err(error).with_context(|| format!("cannot read `{path}`")),
            }
            found.insert(path, String::from_utf8_lossy(&bytes).into_owned());
        }
    }
    Ok(found)
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// What stands at each of the paths; those where nothing stands are left out.
///
/// # Errors
/// A path leads out of the directory, or something that is not a file stands there.
pub(crate) fn read<'a>(
    root: &Path,
    paths: impl IntoIterator<Item = &'a str>,
) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let mut found = BTreeMap::new();
    for path in paths {
        let whole = place(root, path)?;
        match fs::symlink_metadata(&whole) {
            Err(error) if is_absent(&error) => continue,
            Err(error) => return Err(error).with_context(|| format!("cannot look at `{path}`")),
            Ok(meta) if meta.is_symlink() => bail!(
                "`{path}` is a symbolic link\nhelp: put the file itself there, or take the path \
                 over with `plimsoll eject {path}`"
            ),
            Ok(meta) if !meta.is_file() => bail!(
                "`{path}` is not a file\nhelp: move it away, or take the path over with \
                 `plimsoll eject {path}`"
            ),
            Ok(meta) if meta.len() > COMPARED_BYTES_MAX => bail!(
                "`{path}` has {} bytes, which no file of ours has\nhelp: move it away, or take \
                 the path over with `plimsoll eject {path}`",
                meta.len()
            ),
            Ok(_) => {}
        }
        let bytes = fs::read(&whole).with_context(|| format!("cannot read `{path}`"))?;
        found.insert(path.to_owned(), bytes);
    }
    Ok(found)
}

/// The place of a path below the directory: every directory on the way is a real one.
///
/// # Errors
/// A link on the way leads out of the directory or in a circle, or a file is in the way.
pub(crate) fn place(root: &Path, path: &str) -> anyhow::Result<PathBuf> {
    let mut here = root.to_owned();
    let mut parts: Vec<&str> = path.split('/').collect();
    let name = parts.pop().unwrap_or_default();
    for part in parts {
        here.push(part);
        let meta = match fs::symlink_metadata(&here) {
            Err(error) if is_absent(&error) => continue,
            other => other.with_context(|| format!("cannot look at `{}`", here.display()))?,
        };
        if meta.is_symlink() {
            inside(root, &here, path)?;
        } else if !meta.is_dir() {
            bail!(
                "`{}` is a file, where `{path}` needs a directory\nhelp: move it away",
                here.display()
            );
        }
    }
    Ok(here.join(name))
}

/// That a link leads to a directory below the root.
fn inside(root: &Path, link: &Path, path: &str) -> anyhow::Result<()> {
    let target = link.canonicalize().with_context(|| {
        format!(
            "`{}` is a link that leads nowhere, or in a circle, on the way to `{path}`\n\
             help: replace the link by a directory",
            link.display()
        )
    })?;
    let root = root.canonicalize().context("cannot tell the manifest's directory")?;
    if !target.starts_with(&root) {
        bail!(
            "`{}` leads to `{}`, which is outside the manifest's directory\n\
             help: nothing is written there; replace the link by a directory",
            link.display(),
            target.display()
        );
    }
    Ok(())
}
