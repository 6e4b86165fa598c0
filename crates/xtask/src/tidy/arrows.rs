//! Rule: crates depend on each other only along the arrows of ARCHITECTURE.md.
//!
//! The arrows stand here and in the table of ARCHITECTURE.md, for readers of either; both must
//! agree with each other and with what cargo says. Everyone may use `testkit` in tests.

use std::collections::{BTreeMap, BTreeSet};

use super::Finding;
use crate::tree::Tree;

/// Each crate, with what it may use.
pub(super) const ARROWS: &[(&str, &[&str])] = &[
    ("manifest", &[]),
    ("contract", &[]),
    ("wiring", &["contract", "manifest"]),
    ("blueprint", &["contract", "manifest", "wiring"]),
    ("proxy", &["contract"]),
    ("runtime", &["contract", "manifest", "proxy"]),
    ("fleet", &["contract", "manifest", "proxy", "wiring"]),
    ("plimsoll", &["blueprint", "contract", "fleet", "manifest", "proxy", "runtime"]),
    ("testkit", &[]),
    ("xtask", &["blueprint", "contract", "manifest", "plimsoll", "testkit"]),
];

/// The page with the table.
const PAGE: &str = "ARCHITECTURE.md";

/// The crate that every other may use in its tests.
const FOR_TESTS: &str = "testkit";

/// Finds dependencies that are no arrow, and differences between the two tables.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = differences(tree);
    let names: BTreeSet<_> = tree.packages.iter().map(|package| package.name.as_str()).collect();
    let arrows: BTreeMap<_, _> = ARROWS.iter().copied().collect();
    for package in &tree.packages {
        let manifest = format!("crates/{}/Cargo.toml", package.name);
        let Some(allowed) = arrows.get(package.name.as_str()) else {
            findings.push(Finding::new(
                &manifest,
                1,
                format!("the crate `{}` is in no table of arrows", package.name),
                format!("add it to {PAGE} and to crates/xtask/src/tidy/arrows.rs"),
            ));
            continue;
        };
        for dependency in &package.dependencies {
            let name = dependency.name.as_str();
            let is_dev = dependency.kind.as_deref() == Some("dev");
            let is_ours = names.contains(name);
            if !is_ours || allowed.contains(&name) || (is_dev && name == FOR_TESTS) {
                continue;
            }
            findings.push(Finding::new(
                &manifest,
                line_of(tree, &manifest, name),
                format!("`{}` may not use `{name}`", package.name),
                format!("move what both need below them, or change the arrows in {PAGE} first"),
            ));
        }
    }
    findings
}

/// Differences between [`ARROWS`] and the page; none when there is no page.
fn differences(tree: &Tree) -> Vec<Finding> {
    let Some(page) = tree.text(PAGE) else { return Vec::new() };
    let rows = table(page);
    let mut findings = Vec::new();
    for (name, allowed) in ARROWS {
        let Some((line, documented, _)) = rows.get(*name) else {
            findings.push(Finding::new(
                PAGE,
                1,
                format!("the table of crates has no row for `{name}`"),
                format!("add a row: | `{name}` | {} | no |", allowed.join(", ")),
            ));
            continue;
        };
        if *documented != allowed.iter().copied().collect() {
            findings.push(Finding::new(
                PAGE,
                *line,
                format!("the arrows of `{name}` differ from those that tidy allows"),
                format!(
                    "tidy has: {}",
                    if allowed.is_empty() { "-".into() } else { allowed.join(", ") }
                ),
            ));
        }
    }
    for (name, (line, ..)) in &rows {
        if !ARROWS.iter().any(|(known, _)| known == name) {
            findings.push(Finding::new(
                PAGE,
                *line,
                format!("tidy knows no crate `{name}`"),
                "add it to crates/xtask/src/tidy/arrows.rs",
            ));
        }
    }
    findings
}

/// A row of the table of crates: its line, what the crate may use, and whether it is pure.
type Row<'a> = (usize, BTreeSet<&'a str>, bool);

/// Rows of the table whose header is `| crate | may use | pure |`, by crate.
pub(super) fn table(page: &str) -> BTreeMap<&str, Row<'_>> {
    let cells = |line| -> Vec<&str> { str::split(line, '|').map(str::trim).collect() };
    page.lines()
        .enumerate()
        .skip_while(|(_, line)| !cells(line).starts_with(&["", "crate", "may use", "pure"]))
        .skip(2)
        .take_while(|(_, line)| line.starts_with('|'))
        .filter_map(|(index, line)| match cells(line)[..] {
            [_, name, uses, pure, ..] => {
                let uses = uses.split(", ").filter(|name| *name != "-").collect();
                Some((name.trim_matches('`'), (index + 1, uses, pure == "yes")))
            }
            _ => None,
        })
        .collect()
}

/// The line of a manifest that names a dependency; 1 when none does.
fn line_of(tree: &Tree, manifest: &str, dependency: &str) -> usize {
    let text = tree.text(manifest).unwrap_or_default();
    text.lines()
        .position(|line| {
            line.strip_prefix(dependency).is_some_and(|rest| rest.starts_with(['.', ' ', '=']))
        })
        .map_or(1, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use crate::tidy::synthetic::{messages, tree, tree_of_packages};

    #[test]
    fn a_dependency_that_is_no_arrow_is_found_at_its_line() {
        let tree = tree_of_packages(
            &[(
                "crates/proxy/Cargo.toml",
                "[dependencies]\nbytes.workspace = true\nruntime.workspace = true\n",
            )],
            &[("proxy", &["bytes", "runtime"], &[]), ("runtime", &["proxy"], &["testkit"])],
        );
        assert_eq!(
            messages(super::check(&tree)),
            ["crates/proxy/Cargo.toml:3: `proxy` may not use `runtime`"]
        );
    }

    #[test]
    fn testkit_is_for_tests_only() {
        let tree = tree_of_packages(&[], &[("fleet", &["testkit"], &[]), ("testkit", &[], &[])]);
        assert_eq!(
            messages(super::check(&tree)),
            ["crates/fleet/Cargo.toml:1: `fleet` may not use `testkit`"]
        );
    }

    #[test]
    fn a_crate_without_arrows_is_found() {
        let tree = tree_of_packages(&[], &[("extra", &[], &[])]);
        assert_eq!(
            messages(super::check(&tree)),
            ["crates/extra/Cargo.toml:1: the crate `extra` is in no table of arrows"]
        );
    }

    #[test]
    fn a_table_that_says_otherwise_is_found() {
        let mut page = "| crate | may use | pure |\n| --- | --- | --- |\n".to_owned();
        for (name, uses) in super::ARROWS {
            let uses = if *name == "proxy" { "contract, fleet".into() } else { uses.join(", ") };
            let uses = if uses.is_empty() { "-".into() } else { uses };
            page.push_str(&format!("| `{name}` | {uses} | no |\n"));
        }
        page.push_str("| `ghost` | - | no |\n");
        assert_eq!(
            messages(super::check(&tree(&[("ARCHITECTURE.md", &page)]))),
            [
                "ARCHITECTURE.md:7: the arrows of `proxy` differ from those that tidy allows",
                "ARCHITECTURE.md:13: tidy knows no crate `ghost`",
            ]
        );
    }
}
