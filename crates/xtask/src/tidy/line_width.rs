//! Rule: at most 100 columns.
//!
//! rustfmt breaks code but neither comments nor strings, and leaves a whole expression as it is
//! around a string that is too long. A line with a string or an address may be longer.

use super::Finding;
use crate::tree::Tree;

/// Most characters of a line.
const COLUMNS_MAX: usize = 100;

/// Finds lines that are too long.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.texts().filter(|(path, _)| path.ends_with(".rs")) {
        for (index, line) in text.lines().enumerate() {
            let n_columns = line.chars().count();
            if n_columns > COLUMNS_MAX && !line.contains('"') && !line.contains("://") {
                findings.push(Finding::new(
                    path,
                    index + 1,
                    format!("{n_columns} columns, more than {COLUMNS_MAX}"),
                    "break the line",
                ));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use crate::tidy::synthetic::{messages, tree};

    #[test]
    fn a_comment_of_101_columns_is_found() {
        let text =
            format!("// {}\n// {}\n// \"{}\"\n", "a".repeat(97), "a".repeat(98), "b".repeat(99));
        assert_eq!(
            messages(super::check(&tree(&[("a.rs", &text)]))),
            ["a.rs:2: 101 columns, more than 100"]
        );
    }
}
