//! Rule: a pure crate has a `clippy.toml` that forbids the outside world, and every `clippy.toml`
//! of a crate keeps the settings of the root.
//!
//! Clippy reads the nearest file only: a crate's own one replaces the root's, it does not add to
//! it.

use toml::{Table, Value};

use super::Finding;
use super::arrows::table;
use crate::tree::Tree;

/// Crates without clock, file, environment, network, randomness; ARCHITECTURE.md says the same.
const PURE: &[&str] = &["blueprint", "contract", "manifest", "wiring"];

/// What must be forbidden, by the table of `clippy.toml` that forbids it.
const FORBIDDEN: &[(&str, &[&str])] = &[
    (
        "disallowed-methods",
        &[
            "std::time::SystemTime::now",
            "std::time::Instant::now",
            "std::env::var",
            "std::env::var_os",
            "std::env::vars",
            "std::env::args",
            "std::env::current_dir",
            "std::fs::read",
            "std::fs::read_to_string",
            "std::fs::write",
            "std::fs::read_dir",
            "std::thread::spawn",
            "std::thread::sleep",
        ],
    ),
    (
        "disallowed-types",
        &[
            "std::fs::File",
            "std::net::TcpStream",
            "std::net::TcpListener",
            "std::process::Command",
            "std::collections::HashMap",
            "std::collections::HashSet",
        ],
    ),
];

/// The workspace's own settings.
const ROOT: &str = "clippy.toml";

/// Finds pure crates that could see the world, and settings that a crate lost.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(PURE.iter().flat_map(|name| unguarded(tree, name)));
    findings.extend(undocumented(tree));
    findings.extend(lost_settings(tree));
    findings
}

fn unguarded(tree: &Tree, name: &str) -> Vec<Finding> {
    if !tree.exists(&format!("crates/{name}")) {
        return Vec::new();
    }
    let path = format!("crates/{name}/{ROOT}");
    let Some(Ok(settings)) = tree.text(&path).map(str::parse::<Table>) else {
        let message = format!("the pure crate `{name}` has no readable clippy.toml");
        return vec![Finding::new(&path, 1, message, "copy that of another pure crate")];
    };
    let missing = FORBIDDEN.iter().flat_map(|(key, items)| {
        let forbidden = items_of(settings.get(*key));
        items.iter().filter(move |item| !forbidden.contains(*item)).map(move |item| (key, item))
    });
    missing
        .map(|(key, item)| {
            let message = format!("the pure crate `{name}` may call `{item}`");
            Finding::new(&path, 1, message, format!("add it to {key}, with the reason"))
        })
        .collect()
}

/// The paths in a list of `{path = "..", reason = ".."}`, or of plain strings.
fn items_of(list: Option<&Value>) -> Vec<&str> {
    let items = list.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(|item| item.get("path").unwrap_or(item).as_str()).collect()
}

fn undocumented(tree: &Tree) -> Vec<Finding> {
    let page = "ARCHITECTURE.md";
    let rows = tree.text(page).map(table).unwrap_or_default();
    rows.iter()
        .filter(|(name, (.., is_pure))| *is_pure != PURE.contains(name))
        .map(|(name, (line, ..))| {
            Finding::new(
                page,
                *line,
                format!("whether `{name}` is pure differs from what tidy checks"),
                "change the table, or PURE in crates/xtask/src/tidy/pure_crates.rs",
            )
        })
        .collect()
}

fn lost_settings(tree: &Tree) -> Vec<Finding> {
    let Some(Ok(root)) = tree.text(ROOT).map(str::parse::<Table>) else { return Vec::new() };
    let mut findings = Vec::new();
    for (path, text) in tree.texts() {
        if !path.starts_with("crates/") || !path.ends_with("/clippy.toml") {
            continue;
        }
        let own: Table = text.parse().unwrap_or_default();
        for (key, value) in root.iter().filter(|(key, value)| own.get(*key) != Some(value)) {
            findings.push(Finding::new(
                path,
                1,
                format!("this file replaces the root's clippy.toml and loses its `{key}`"),
                format!("add: {key} = {value}"),
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use crate::tidy::synthetic::{messages, tree};

    #[test]
    fn a_pure_crate_without_guard_is_found() {
        let found = messages(super::check(&tree(&[("crates/contract/src/lib.rs", "")])));
        assert_eq!(
            found,
            [
                "crates/contract/clippy.toml:1: the pure crate `contract` has no readable clippy.toml"
            ]
        );
    }

    #[test]
    fn a_guard_with_a_gap_is_found() {
        let full: String = super::FORBIDDEN
            .iter()
            .map(|(key, items)| {
                let items = items.iter().filter(|item| **item != "std::env::var");
                let items: Vec<_> = items.map(|item| format!("{{ path = \"{item}\" }}")).collect();
                format!("{key} = [{}]\n", items.join(", "))
            })
            .collect();
        assert_eq!(
            messages(super::check(&tree(&[("crates/manifest/clippy.toml", &full)]))),
            ["crates/manifest/clippy.toml:1: the pure crate `manifest` may call `std::env::var`"]
        );
    }

    #[test]
    fn a_setting_of_the_root_that_a_crate_loses_is_found() {
        let tree = tree(&[
            ("clippy.toml", "allow-unwrap-in-tests = true\ntoo-many-lines-threshold = 70\n"),
            (
                "crates/fleet/clippy.toml",
                "too-many-lines-threshold = 90\nallow-unwrap-in-tests = true\n",
            ),
        ]);
        assert_eq!(
            messages(super::check(&tree)),
            [
                "crates/fleet/clippy.toml:1: this file replaces the root's clippy.toml and loses its \
              `too-many-lines-threshold`"
            ]
        );
    }

    #[test]
    fn a_page_that_calls_another_crate_pure_is_found() {
        let page = "| crate | may use | pure |\n| --- | --- | --- |\n| `fleet` | - | yes |\n";
        assert_eq!(
            messages(super::check(&tree(&[("ARCHITECTURE.md", page)]))),
            ["ARCHITECTURE.md:3: whether `fleet` is pure differs from what tidy checks"]
        );
    }
}
