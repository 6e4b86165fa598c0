//! Rule: every Rust file can be parsed, as the other rules need its syntax tree.

use super::Finding;
use crate::tree::Tree;

/// Finds files that are not Rust.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    tree.unparsed
        .iter()
        .map(|(path, (line, reason))| {
            Finding::new(path, *line, format!("not Rust: {reason}"), "cargo check says more")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use crate::tidy::synthetic::{messages, tree};

    #[test]
    fn a_file_that_is_not_rust_is_found() {
        let found = messages(super::check(&tree(&[("crates/a/src/a.rs", "//! Doc.\nfn f( {}\n")])));
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("not Rust"), "{found:?}");
    }
}
