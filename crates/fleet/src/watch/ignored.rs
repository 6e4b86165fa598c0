//! Whether a path is nobody's source: what git ignores, what the manifest says, what tools leave.
//!
//! The crate `ignore` matches one file's patterns; here is the order of the files: the nearest
//! `.gitignore` decides, then those above it up to the repository's top, `.git/info/exclude` and
//! the user's own; then the manifest's patterns; then a list of leftovers. Invariant: a pattern
//! with `!` that git would follow is followed, also against the list.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::Root;

/// Never sources: of version control, of us, of build tools, of editors, and data of programs.
const LEFTOVERS: &[&str] = &[
    ".git/",
    ".plimsoll/",
    "target/",
    "node_modules/",
    "__pycache__/",
    ".venv/",
    ".mypy_cache/",
    ".pytest_cache/",
    ".ruff_cache/",
    ".gradle/",
    ".next/",
    ".idea/",
    ".vscode/",
    "*.pyc",
    "*.swp",
    "*.swx",
    "*~",
    ".#*",
    "4913",
    ".DS_Store",
    "*.log",
    "*.pid",
    "*.sock",
    "*.db",
    "*.sqlite",
    "*.sqlite3",
    "*-journal",
    "*-shm",
    "*-wal",
];

pub(super) struct Ignored {
    /// The repository's directory, or the manifest's outside a repository.
    top: PathBuf,
    by_directory: BTreeMap<PathBuf, Gitignore>,
    /// `.git/info/exclude`, and the user's own file.
    of_user: Vec<Gitignore>,
    of_manifest: Vec<Gitignore>,
    leftovers: Gitignore,
}

impl Ignored {
    pub(super) fn new(directory: &Path, roots: &[Root]) -> Self {
        let repository = directory.ancestors().find(|above| above.join(".git").exists());
        let top = repository.unwrap_or(directory).to_owned();
        let exclude = from_file(&top, &top.join(".git/info/exclude"));
        let of_user = vec![exclude, GitignoreBuilder::new(&top).build_global().0];
        let of_manifest = roots
            .iter()
            .filter_map(|root| root.paths.first().map(|path| from_lines(path, &root.ignore)))
            .collect();
        let leftovers = from_lines(Path::new("/"), LEFTOVERS);
        Self { top, by_directory: BTreeMap::new(), of_user, of_manifest, leftovers }
    }

    /// Reads the files of patterns anew, since one has changed.
    pub(super) fn forget(&mut self) {
        self.by_directory.clear();
    }

    pub(super) fn is_ignored(&mut self, path: &Path) -> bool {
        // Of what is gone nobody knows whether it was a directory, which patterns may ask for.
        match path.symlink_metadata() {
            Ok(metadata) => self.is_ignored_as(path, metadata.is_dir()),
            Err(_) => self.is_ignored_as(path, false) || self.is_ignored_as(path, true),
        }
    }

    fn is_ignored_as(&mut self, path: &Path, is_directory: bool) -> bool {
        let mut above = path.parent();
        while let Some(directory) = above.filter(|directory| directory.starts_with(&self.top)) {
            let patterns = self
                .by_directory
                .entry(directory.to_owned())
                .or_insert_with(|| from_file(directory, &directory.join(".gitignore")));
            if let Some(verdict) = verdict(patterns, path, is_directory) {
                return verdict;
            }
            above = directory.parent();
        }
        let of_manifest =
            self.of_manifest.iter().filter(|patterns| path.starts_with(patterns.path()));
        let mut rest = self.of_user.iter().chain(of_manifest).chain([&self.leftovers]);
        rest.find_map(|patterns| verdict(patterns, path, is_directory)).unwrap_or(false)
    }
}

/// What a set of patterns says; `None` when it says nothing.
fn verdict(patterns: &Gitignore, path: &Path, is_directory: bool) -> Option<bool> {
    let matched = patterns.matched(path, is_directory);
    if matched.is_none() { None } else { Some(matched.is_ignore()) }
}

/// A file that is not there, or a line that is no pattern, ignores nothing.
fn from_file(directory: &Path, file: &Path) -> Gitignore {
    let mut builder = GitignoreBuilder::new(directory);
    if file.is_file() {
        builder.add(file);
    }
    builder.build().unwrap_or_else(|_| Gitignore::empty())
}

fn from_lines(directory: &Path, lines: &[impl AsRef<str>]) -> Gitignore {
    let mut builder = GitignoreBuilder::new(directory);
    for line in lines {
        // The manifest's patterns were checked when it was read; a bad one ignores nothing.
        let _ = builder.add_line(None, line.as_ref());
    }
    builder.build().unwrap_or_else(|_| Gitignore::empty())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_nearest_file_decides_and_leftovers_are_last() {
        let top = tempfile::tempdir().unwrap();
        let top = top.path().canonicalize().unwrap();
        fs::create_dir_all(top.join(".git/info")).unwrap();
        fs::create_dir_all(top.join("api/dist")).unwrap();
        fs::create_dir_all(top.join("web/data")).unwrap();
        fs::write(top.join(".gitignore"), "dist/\n*.tmp\n").unwrap();
        fs::write(top.join("web/.gitignore"), "!keep.tmp\n!seed.db\n").unwrap();
        fs::write(top.join(".git/info/exclude"), "private\n").unwrap();
        let root = Root {
            service: "web".into(),
            paths: vec![top.join("web")],
            ignore: vec!["data/".into()],
        };
        let mut ignored = Ignored::new(&top.join("api"), &[root]);
        for (path, expected) in [
            ("api/dist", true),
            ("api/main.py", false),
            ("api/a.tmp", true),
            ("web/a.tmp", true),
            ("web/keep.tmp", false),
            ("web/seed.db", false),
            ("api/seed.db", true),
            ("api/private", true),
            ("web/data", true),
            ("api/data", false),
            ("api/node_modules", true),
            ("api/__pycache__", true),
            ("api/targets", false),
        ] {
            assert_eq!(ignored.is_ignored(&top.join(path)), expected, "{path}");
        }
    }
}
