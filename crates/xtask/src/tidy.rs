//! `cargo xtask tidy`: the rules of CONVENTIONS.md and ARCHITECTURE.md that a machine can check.
//!
//! One file per rule under `tidy/`, each a function of a [`Tree`]; [`RULES`] lists them. It
//! deliberately repeats nothing that rustfmt, clippy or cargo-deny already check.
//!
//! Invariant: all findings of all rules are printed at once, each with a file, a line and a help.

mod allows;
mod arrows;
mod line_width;
mod machine_paths;
mod manifests;
mod module_docs;
mod names;
mod parsed;
mod paths;
mod pure_crates;
mod sizes;
mod test_binaries;
mod todos;
mod unsafe_code;

use std::fmt;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::tree::{self, Tree};
use crate::{Verdict, docs};

/// A rule: its name and what finds its violations.
type Rule = (&'static str, fn(&Tree) -> Vec<Finding>);

/// Every rule that is a function of the tree.
const RULES: &[Rule] = &[
    ("parsed", parsed::check),
    ("arrows", arrows::check),
    ("manifests", manifests::check),
    ("pure-crates", pure_crates::check),
    ("sizes", sizes::check),
    ("line-width", line_width::check),
    ("module-docs", module_docs::check),
    ("names", names::check),
    ("paths", paths::check),
    ("machine-paths", machine_paths::check),
    ("unsafe", unsafe_code::check),
    ("allows", allows::check),
    ("todos", todos::check),
    ("test-binaries", test_binaries::check),
];

/// One violation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// File, relative to the root.
    pub path: String,
    /// Line, from 1.
    pub line: usize,
    /// What is wrong, in lower case.
    pub message: String,
    /// What to do.
    pub help: String,
}

impl Finding {
    /// A violation at a line of a file.
    pub(crate) fn new(
        path: &str,
        line: usize,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self { path: path.to_owned(), line, message: message.into(), help: help.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: {}\n    help: {}", self.path, self.line, self.message, self.help)
    }
}

/// Checks the repository and prints every finding; with `fix`, first mends what is mechanical.
pub(crate) fn command(fix: bool) -> Result<Verdict> {
    let root = tree::root();
    let mut tree = Tree::load(&root)?;
    if fix {
        mend(&root, &tree)?;
        tree = Tree::load(&root)?;
    }
    let mut n_findings = 0;
    for (rule, findings) in check(&tree) {
        for finding in &findings {
            eprintln!("[{rule}] {finding}");
        }
        n_findings += findings.len();
    }
    for page in docs::stale(&root)? {
        n_findings += 1;
        eprintln!("[docs] {page}:1: this generated page is stale\n    help: cargo xtask docs");
    }
    let n_files = tree.files.len();
    if n_findings == 0 {
        println!("tidy: {n_files} files, {} rules, no findings", RULES.len() + 1);
        return Ok(Verdict::Yes);
    }
    eprintln!("tidy: {n_findings} findings in {n_files} files");
    Ok(Verdict::No)
}

/// Breaks the comments that are too wide.
fn mend(root: &Path, tree: &Tree) -> Result<()> {
    for (path, text) in tree.texts().filter(|(path, _)| path.ends_with(".rs")) {
        let wrapped = line_width::wrap(text);
        if wrapped != text {
            std::fs::write(root.join(path), wrapped)
                .with_context(|| format!("cannot write `{path}`"))?;
            println!("tidy: broke the comments of {path}");
        }
    }
    Ok(())
}

/// Findings of every rule that has some, in the order of [`RULES`].
fn check(tree: &Tree) -> Vec<(&'static str, Vec<Finding>)> {
    let mut found = Vec::new();
    for (rule, check) in RULES {
        let mut findings = check(tree);
        findings.sort();
        findings.dedup();
        if !findings.is_empty() {
            found.push((*rule, findings));
        }
    }
    found
}

/// Builds trees for the tests of the rules.
#[cfg(test)]
mod synthetic {
    use std::collections::BTreeMap;

    use crate::tree::{Dependency, Package, Tree};

    /// A tree of these files.
    pub(super) fn tree(files: &[(&str, &str)]) -> Tree {
        Tree::new(texts(files), Vec::new())
    }

    /// The same with packages: name, normal dependencies, dev-dependencies.
    pub(super) fn tree_of_packages(
        files: &[(&str, &str)],
        packages: &[(&str, &[&str], &[&str])],
    ) -> Tree {
        let dependency = |name: &&str, kind: Option<&str>| Dependency {
            name: (*name).to_owned(),
            kind: kind.map(str::to_owned),
        };
        let packages = packages
            .iter()
            .map(|(name, normal, dev)| Package {
                name: (*name).to_owned(),
                dependencies: (normal.iter().map(|name| dependency(name, None)))
                    .chain(dev.iter().map(|name| dependency(name, Some("dev"))))
                    .collect(),
            })
            .collect();
        Tree::new(texts(files), packages)
    }

    /// What a rule says about these files, one `path:line: message` per finding.
    pub(super) fn messages(findings: Vec<super::Finding>) -> Vec<String> {
        findings.into_iter().map(|f| format!("{}:{}: {}", f.path, f.line, f.message)).collect()
    }

    fn texts(files: &[(&str, &str)]) -> BTreeMap<String, Option<String>> {
        files.iter().map(|(path, text)| ((*path).into(), Some((*text).into()))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_of_all_rules_are_reported_at_once() {
        let tree = synthetic::tree(&[
            ("crates/a/src/lib.rs", "#[allow(dead_code)]\nfn f() {}\n"),
            ("crates/a/src/utils.rs", "//! Doc.\n"),
        ]);
        let rules: Vec<_> = check(&tree).into_iter().map(|(rule, _)| rule).collect();
        assert!(["module-docs", "names", "allows"].iter().all(|rule| rules.contains(rule)));
    }

    #[test]
    fn a_finding_names_the_file_the_line_and_the_way_out() {
        let finding = Finding::new("a.rs", 3, "`x` is wrong", "write y");
        assert_eq!(finding.to_string(), "a.rs:3: `x` is wrong\n    help: write y");
    }
}
