//! Rule: every Rust file opens with `//!`, saying what it is for.

use super::Finding;
use crate::tree::Tree;

/// What a file says that was laid out and never written.
const PLACEHOLDER: &str = "To be written.";

/// Finds files without an opening.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.texts().filter(|(path, _)| path.ends_with(".rs")) {
        let first = text.lines().find(|line| !line.starts_with("#!")).unwrap_or_default();
        let doc = first.strip_prefix("//!").map(str::trim).unwrap_or_default();
        let message = match doc {
            "" => "no module documentation",
            PLACEHOLDER => "this file was never written",
            _ => continue,
        };
        let help = "open with `//!`: what for, what it deliberately does not do, its invariant";
        findings.push(Finding::new(path, 1, message, help));
    }
    findings
}

#[cfg(test)]
mod tests {
    use crate::tidy::synthetic::{messages, tree};

    #[test]
    fn a_file_without_an_opening_is_found() {
        let tree = tree(&[
            ("a.rs", "use std::fmt;\n"),
            ("b.rs", "//! To be written.\n"),
            ("c.rs", "//! Waits.\n"),
            ("d.rs", "#![no_main]\n//! Fuzzes.\n"),
        ]);
        assert_eq!(
            messages(super::check(&tree)),
            ["a.rs:1: no module documentation", "b.rs:1: this file was never written"]
        );
    }
}
