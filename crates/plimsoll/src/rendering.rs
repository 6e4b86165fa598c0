//! From a directory to everything that is rendered for it, and how that stands on the disk.
//!
//! `render`, `eject`, `patch`, `explain` and `verify` begin here. It deliberately writes nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use blueprint::detect::Undetected;
use blueprint::{Artifacts, Lock, Settled, lock, settle};
use manifest::Plan;

use crate::platform::{self, Platform};
use crate::repository;
use crate::source::Source;
use crate::suggest;

/// The directory of patches that are applied to what is rendered.
pub(crate) const PATCHES: &str = "plimsoll.patches";

/// Everything that is rendered, what is known of it, and what is on the disk.
pub(crate) struct Rendering {
    /// The manifest's directory.
    pub root: PathBuf,
    /// What should be there: rendered, and patched.
    pub artifacts: Artifacts,
    /// What is rendered where a patch changed it, by path.
    pub unpatched: BTreeMap<String, String>,
    /// What the last render left; empty when there was none.
    pub lock: Lock,
    /// Names what was rendered from.
    pub plan: String,
    /// The environments, in the order of promotion.
    pub environments: Vec<String>,
}

/// What `load` may find instead.
pub(crate) enum Loaded {
    /// Everything is there.
    Rendering(Box<Rendering>),
    /// The manifest has problems; they were shown.
    Problems,
}

/// Reads a directory and renders everything.
///
/// # Errors
/// There is no manifest, the lock is damaged or newer, the sources do not say what they are, or a
/// patch does not apply.
pub(crate) fn load(directory: Option<&Path>) -> anyhow::Result<Loaded> {
    let platform = platform::find(directory, None)?;
    let source = Source::read(&platform)?;
    let Some(plans) = source.resolve_all()? else { return Ok(Loaded::Problems) };
    let lock = read_lock(&platform)?;
    let root = platform.directory;
    let markers = repository::markers(&root, last(&plans))?;
    let sources = blueprint::detect(last(&plans), &markers).map_err(|all| undetected(&all))?;
    let environments = plans.iter().map(|plan| plan.environment.name.to_string()).collect();
    let plan = serde_json::to_vec(&plans).context("a plan is JSON")?;
    let plan = lock::blob(&[plan, format!("{sources:?}").into_bytes()].concat());
    let rendered = blueprint::Platform::new(plans, sources, lock.pins.clone());
    let mut artifacts = blueprint::render(&rendered);
    let unpatched = apply_patches(&root, &mut artifacts)?;
    Ok(Loaded::Rendering(Box::new(Rendering {
        root,
        artifacts,
        unpatched,
        lock,
        plan,
        environments,
    })))
}

fn last(plans: &[Plan]) -> &Plan {
    plans.last().expect("there is a plan for each environment, and at least one")
}

fn undetected(all: &[Undetected]) -> anyhow::Error {
    let lines: Vec<String> = all.iter().map(ToString::to_string).collect();
    let helps: Vec<String> = all.iter().map(|one| format!("\nhelp: {}", one.help())).collect();
    anyhow!("{}{}", lines.join("; "), helps.concat())
}

fn read_lock(platform: &Platform) -> anyhow::Result<Lock> {
    let found = repository::read(&platform.directory, [lock::NAME])?;
    let Some(bytes) = found.get(lock::NAME) else { return Ok(Lock::default()) };
    let text = String::from_utf8_lossy(bytes);
    Lock::parse(&text).map_err(|error| anyhow!("{error}\nhelp: {}", error.help()))
}

/// Applies every patch to the file that it is named after.
fn apply_patches(
    root: &Path,
    artifacts: &mut Artifacts,
) -> anyhow::Result<BTreeMap<String, String>> {
    let mut unpatched = BTreeMap::new();
    let paths: Vec<String> = artifacts.iter().map(|(path, _)| path.to_owned()).collect();
    for path in paths {
        let name = patch_name(&path);
        let found = repository::read(root, [name.as_str()])?;
        let Some(bytes) = found.get(&name) else { continue };
        let Some(artifact) = artifacts.get(&path) else { continue };
        let text = String::from_utf8_lossy(bytes);
        let patch = diffy::Patch::from_str(&text).map_err(|error| {
            anyhow!("`{name}` is not a patch: {error}\nhelp: write it with `plimsoll patch {path}`")
        })?;
        let patched = diffy::apply(&artifact.text, &patch).map_err(|error| {
            anyhow!(
                "`{name}` no longer fits what is rendered: {error}\nhelp: remove it, render, edit \
                 `{path}` again, and write it anew with `plimsoll patch {path}`"
            )
        })?;
        unpatched.insert(path.clone(), artifact.text.clone());
        artifacts.replace(&path, patched);
    }
    Ok(unpatched)
}

/// Where the patch of a file is.
pub(crate) fn patch_name(path: &str) -> String {
    format!("{PATCHES}/{path}.patch")
}

impl Rendering {
    /// What stands on the disk at every path that is rendered or locked.
    ///
    /// # Errors
    /// A path leads out of the directory, or something that is not a file stands there.
    pub(crate) fn disk(&self) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
        let is_ours = |path: &&str| {
            !matches!(
                self.lock.files.get(*path),
                Some(lock::Entry { owner: lock::Owner::User, .. })
            )
        };
        let rendered = self.artifacts.iter().map(|(path, _)| path);
        let paths = rendered.chain(self.lock.files.keys().map(String::as_str));
        repository::read(&self.root, paths.filter(is_ours))
    }

    /// How every file stands.
    pub(crate) fn settle<'a>(
        &'a self,
        disk: &BTreeMap<String, Vec<u8>>,
        is_in_scope: impl Fn(&str, &lock::Entry) -> bool,
    ) -> Vec<Settled<'a>> {
        settle(&self.artifacts, &self.lock, disk, is_in_scope)
    }

    /// The path of a rendered file as it is known here: what a shell completes may be longer.
    ///
    /// # Errors
    /// Nothing of that path is rendered.
    pub(crate) fn known(&self, given: &str) -> anyhow::Result<String> {
        let path = given.strip_prefix("./").unwrap_or(given);
        let below = std::path::absolute(path).ok();
        let root = std::path::absolute(&self.root).ok();
        let relative = below.zip(root).and_then(|(path, root)| {
            Some(path.strip_prefix(root).ok()?.to_string_lossy().into_owned())
        });
        for candidate in [Some(path.to_owned()), relative].into_iter().flatten() {
            if self.artifacts.get(&candidate).is_some() || self.lock.files.contains_key(&candidate)
            {
                return Ok(candidate);
            }
        }
        let known = self.artifacts.iter().map(|(path, _)| path);
        match suggest::nearest(path, known) {
            Some(known) => bail!("`{path}` is not a file of ours\nhelp: did you mean `{known}`?"),
            None => bail!(
                "`{path}` is not a file of ours\nhelp: see them with `plimsoll render --list`"
            ),
        }
    }
}
