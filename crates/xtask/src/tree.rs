//! The repository as a value: every file that git does not ignore, and every package.
//!
//! The rules of `tidy` are functions of a [`Tree`], so that their tests need no file system. It
//! deliberately leaves out what git ignores.
//!
//! Invariant: paths are relative to the root, with `/` between their parts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

/// Largest file that is read as text, bytes; more is taken for data.
const TEXT_BYTES_MAX: u64 = 1024 * 1024;

/// The repository.
#[derive(Default)]
pub(crate) struct Tree {
    /// Text of each file by path; `None` when it is not text.
    pub files: BTreeMap<String, Option<String>>,
    /// Each Rust file by path, parsed; one that cannot be parsed is in [`Tree::unparsed`].
    pub rust: BTreeMap<String, syn::File>,
    /// Each Rust file that cannot be parsed, with the line and the reason.
    pub unparsed: BTreeMap<String, (usize, String)>,
    /// The workspace's own packages.
    pub packages: Vec<Package>,
}

/// One package of the workspace.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Package {
    /// Name.
    pub name: String,
    /// What it depends on, others' packages included.
    pub dependencies: Vec<Dependency>,
}

/// One dependency of a package.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Dependency {
    /// Name of the package.
    pub name: String,
    /// `dev`, `build`, or nothing for a normal one.
    pub kind: Option<String>,
}

impl Tree {
    /// Reads the repository at `root`.
    pub(crate) fn load(root: &Path) -> Result<Self> {
        let mut files = BTreeMap::new();
        let walk = ignore::WalkBuilder::new(root)
            .hidden(false)
            .require_git(false)
            .filter_entry(|entry| entry.file_name() != ".git")
            .build();
        for entry in walk {
            let entry = entry.context("cannot walk the repository")?;
            if !entry.file_type().is_some_and(|kind| kind.is_file()) {
                continue;
            }
            let path = entry.path().strip_prefix(root).unwrap_or(entry.path());
            files.insert(slashes(path), text_of(entry.path())?);
        }
        Ok(Self::new(files, packages(root)?))
    }

    /// A tree of these files and packages.
    pub(crate) fn new(files: BTreeMap<String, Option<String>>, packages: Vec<Package>) -> Self {
        let mut tree = Self { files, packages, ..Self::default() };
        for (path, text) in &tree.files {
            let Some(text) = text.as_ref().filter(|_| path.ends_with(".rs")) else { continue };
            match syn::parse_file(text) {
                Ok(file) => drop(tree.rust.insert(path.clone(), file)),
                Err(error) => {
                    let line = error.span().start().line;
                    tree.unparsed.insert(path.clone(), (line, error.to_string()));
                }
            }
        }
        tree
    }

    /// Text of a file; `None` when there is no such file, or it is not text.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path)?.as_deref()
    }

    /// Every text file with its path.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().filter_map(|(path, text)| Some((path.as_str(), text.as_deref()?)))
    }

    /// Whether a file or a directory of that path exists.
    pub(crate) fn exists(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        let inside = format!("{path}/");
        path.is_empty()
            || self.files.contains_key(path)
            || self
                .files
                .range(inside.clone()..)
                .next()
                .is_some_and(|(f, _)| f.starts_with(&inside))
    }

    /// Names of files and directories at the root.
    pub(crate) fn top_level(&self) -> BTreeSet<&str> {
        self.files.keys().filter_map(|path| path.split('/').next()).collect()
    }
}

/// Root of the workspace that this binary was built from.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("this crate is two directories below the root")
        .to_path_buf()
}

fn slashes(path: &Path) -> String {
    path.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

fn text_of(path: &Path) -> Result<Option<String>> {
    let named = || format!("cannot read `{}`", path.display());
    if path.metadata().with_context(named)?.len() > TEXT_BYTES_MAX {
        return Ok(None);
    }
    let bytes = std::fs::read(path).with_context(named)?;
    Ok(String::from_utf8(bytes).ok().filter(|text| !text.contains('\0')))
}

fn packages(root: &Path) -> Result<Vec<Package>> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Package>,
    }
    let output = Command::new("cargo")
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root)
        .output()
        .context("cannot start `cargo metadata`")?;
    ensure!(
        output.status.success(),
        "`cargo metadata` failed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    let metadata: Metadata =
        serde_json::from_slice(&output.stdout).context("`cargo metadata` wrote no JSON")?;
    Ok(metadata.packages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_exists_when_a_file_is_inside() {
        let files = BTreeMap::from([("docs/a.md".into(), None), ("docs-old.md".into(), None)]);
        let tree = Tree::new(files, Vec::new());
        assert!(tree.exists("docs") && tree.exists("docs/") && tree.exists("docs/a.md"));
        assert!(!tree.exists("doc") && !tree.exists("docs/b.md") && !tree.exists("docs-old"));
    }
}
