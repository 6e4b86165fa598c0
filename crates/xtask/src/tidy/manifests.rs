//! Rule: crates take their lints, and the versions of what they use, from the root manifest.
//!
//! Lints that a crate does not inherit do not hold there, and a version that stands twice differs
//! one day.

use toml::{Table, Value};

use super::Finding;
use crate::tree::Tree;

/// Tables of a manifest that name other packages.
const DEPENDENCIES: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

/// Finds manifests under `crates/` that say something themselves.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    tree.texts()
        .filter(|(path, _)| path.starts_with("crates/") && path.ends_with("/Cargo.toml"))
        .flat_map(|(path, text)| check_manifest(path, text))
        .collect()
}

fn check_manifest(path: &str, text: &str) -> Vec<Finding> {
    let manifest: Table = match text.parse() {
        Ok(manifest) => manifest,
        Err(error) => return vec![Finding::new(path, 1, error.to_string(), "mend the manifest")],
    };
    let mut findings = Vec::new();
    if !is_inherited(manifest.get("lints")) {
        findings.push(Finding::new(
            path,
            1,
            "this crate does not inherit the workspace's lints",
            "add: [lints] workspace = true",
        ));
    }
    let named = DEPENDENCIES.iter().filter_map(|table| manifest.get(*table)?.as_table()).flatten();
    for (name, value) in named {
        if !is_inherited(Some(value)) {
            let line = text.lines().position(|line| line.trim_start().starts_with(name.as_str()));
            findings.push(Finding::new(
                path,
                line.map_or(1, |index| index + 1),
                format!("`{name}` does not take its version from the workspace"),
                format!("write `{name}.workspace = true`; the version stands in the root manifest"),
            ));
        }
    }
    findings
}

fn is_inherited(value: Option<&Value>) -> bool {
    value.and_then(|value| value.get("workspace")).and_then(Value::as_bool) == Some(true)
}

#[cfg(test)]
mod tests {
    use crate::tidy::synthetic::{messages, tree};

    #[test]
    fn a_version_in_a_member_is_found() {
        let text = "[lints]\nworkspace = true\n[dependencies]\na.workspace = true\nb = \"1\"\n";
        assert_eq!(
            messages(super::check(&tree(&[("crates/x/Cargo.toml", text)]))),
            ["crates/x/Cargo.toml:5: `b` does not take its version from the workspace"]
        );
    }

    #[test]
    fn a_crate_without_the_lints_is_found() {
        assert_eq!(
            messages(super::check(&tree(&[("crates/x/Cargo.toml", "[dependencies]\n")]))),
            ["crates/x/Cargo.toml:1: this crate does not inherit the workspace's lints"]
        );
    }
}
