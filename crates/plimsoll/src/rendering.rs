//! From a directory to everything that is rendered for it, and how that stands on the disk.
//!
//! `render`, `eject`, `patch`, `explain` and `verify` begin here. It deliberately writes nothing.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use blueprint::detect::Undetected;
use blueprint::{Artifacts, Lock, Settled, lock, settle};
use manifest::Plan;
use manifest::plan::Service;

use crate::platform::{self, Platform};
use crate::repository;
use crate::source::Source;
use crate::suggest;
use crate::turn::Turn;

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
    /// What is odd but prevents nothing, each with its help.
    pub notes: Vec<String>,
    /// Keeps others from writing until everything is written; absent when nothing will be.
    _turn: Option<Turn>,
}

/// What a command is about to do with the files.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Nothing is written.
    Look,
    /// Files are: nobody else may write meanwhile.
    Write,
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
/// There is no manifest, the lock is damaged or newer, the sources do not say what they are, a
/// patch does not apply, or another command writes and does not end.
pub(crate) fn load(directory: Option<&Path>, purpose: Purpose) -> anyhow::Result<Loaded> {
    let platform = platform::find(directory, None)?;
    let turn = match purpose {
        Purpose::Look => None,
        Purpose::Write => Some(Turn::take(&platform.directory)?),
    };
    let source = Source::read(&platform)?;
    let Some(plans) = source.resolve_all()? else { return Ok(Loaded::Problems) };
    let lock = read_lock(&platform)?;
    let root = platform.directory;
    let markers = repository::markers(&root, last(&plans))?;
    let absent = absent(&root, last(&plans));
    let sources =
        blueprint::detect(last(&plans), &markers).map_err(|all| undetected(&all, &absent))?;
    let environments = plans.iter().map(|plan| plan.environment.name.to_string()).collect();
    let plan = serde_json::to_vec(&plans).context("a plan is JSON")?;
    let plan = lock::blob(&[plan, format!("{sources:?}").into_bytes()].concat());
    let rendered = blueprint::Platform::new(plans, sources, lock.pins.clone());
    let mut artifacts = blueprint::render(&rendered);
    if let Some(turn) = &turn {
        sweep(turn, &root, &artifacts, &lock);
    }
    let unpatched = apply_patches(&root, &mut artifacts)?;
    let mut notes: Vec<String> = absent.into_values().collect();
    notes.extend(idle_patches(&root, &artifacts));
    Ok(Loaded::Rendering(Box::new(Rendering {
        root,
        artifacts,
        unpatched,
        lock,
        plan,
        environments,
        notes,
        _turn: turn,
    })))
}

/// Removes what killed commands have left wherever one writes.
fn sweep(turn: &Turn, root: &Path, artifacts: &Artifacts, lock: &Lock) {
    let rendered = artifacts.iter().map(|(path, _)| path);
    let paths: Vec<&str> = rendered.chain(lock.files.keys().map(String::as_str)).collect();
    let patches: Vec<String> = paths.iter().map(|path| patch_name(path)).collect();
    let all = paths.iter().copied().chain(patches.iter().map(String::as_str));
    turn.sweep(root, all.chain([lock::NAME]));
}

fn last(plans: &[Plan]) -> &Plan {
    plans.last().expect("there is a plan for each environment, and at least one")
}

/// Services whose directory is not there, with words about it.
fn absent(root: &Path, plan: &Plan) -> BTreeMap<String, String> {
    let services = plan.services.values().filter(|service| service.from.is_none());
    let absent = services.filter(|service| !root.join(service.path.as_str()).is_dir());
    let words = |service: &Service| {
        format!(
            "the directory `{}` of service `{name}` does not exist\nhelp: create it, or correct \
             `services.{name}.path`",
            service.path,
            name = service.name
        )
    };
    absent.map(|service| (service.name.to_string(), words(service))).collect()
}

fn undetected(all: &[Undetected], absent: &BTreeMap<String, String>) -> anyhow::Error {
    let words = |one: &Undetected| match one {
        Undetected::Nothing { service, .. } if absent.contains_key(service.as_str()) => {
            absent[service.as_str()].clone()
        }
        one => format!("{one}\nhelp: {}", one.help()),
    };
    let texts: Vec<String> = all.iter().map(words).collect();
    let (helps, lines): (Vec<&str>, Vec<&str>) =
        texts.iter().flat_map(|text| text.lines()).partition(|line| line.starts_with("help:"));
    anyhow!("{}\n{}", lines.join("; "), helps.join("\n"))
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
        if patch.hunks().is_empty() {
            bail!(
                "`{name}` is not a patch: it changes nothing\nhelp: remove it, or write it with \
                 `plimsoll patch {path}`"
            );
        }
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

/// Most files of a directory of patches that are looked at.
const PATCHES_MAX: usize = 10_000;

/// Words about every patch of a file that is not rendered.
fn idle_patches(root: &Path, artifacts: &Artifacts) -> Vec<String> {
    let mut names = Vec::new();
    let mut directories = vec![root.join(PATCHES)];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            match entry.file_type() {
                _ if names.len() >= PATCHES_MAX => break,
                Ok(kind) if kind.is_dir() => directories.push(entry.path()),
                Ok(_) => names.push(entry.path()),
                Err(_) => {}
            }
        }
    }
    names.sort();
    let words = |path: &PathBuf| {
        let name = path.strip_prefix(root).ok()?.to_str()?;
        let of = name.strip_prefix(PATCHES)?.strip_prefix('/')?.strip_suffix(".patch")?;
        if artifacts.get(of).is_some() {
            return None;
        }
        let help = match suggest::nearest(of, artifacts.iter().map(|(path, _)| path)) {
            Some(near) => format!("rename it to `{}`, or remove it", patch_name(near)),
            None => "remove it: nothing of that path is rendered".to_owned(),
        };
        Some(format!("`{name}` is for no file of ours, and changes nothing\nhelp: {help}"))
    };
    names.iter().filter_map(words).collect()
}

/// A path given from the current directory, from the root; its directory may not be there yet.
fn below(root: &Path, given: &str) -> Option<String> {
    let mut whole = PathBuf::new();
    for part in std::path::absolute(given).ok()?.components() {
        match part {
            Component::ParentDir => {
                // A link before it leads elsewhere than its name says.
                whole = whole.canonicalize().unwrap_or(whole);
                whole.pop();
            }
            part => whole.push(part),
        }
    }
    let root = root.canonicalize().ok()?;
    let known =
        whole.ancestors().skip(1).find_map(|above| Some((above, above.canonicalize().ok()?)));
    let (above, real) = known?;
    let whole = real.join(whole.strip_prefix(above).ok()?);
    Some(whole.strip_prefix(root).ok()?.to_str()?.to_owned())
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

    /// The path of a rendered file as it is known here: given from the current directory, from
    /// the manifest's, or from the top of all.
    ///
    /// # Errors
    /// Nothing of that path is rendered.
    pub(crate) fn known(&self, given: &str) -> anyhow::Result<String> {
        let path = given.strip_prefix("./").unwrap_or(given);
        for candidate in [below(&self.root, given), Some(path.to_owned())].into_iter().flatten() {
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
