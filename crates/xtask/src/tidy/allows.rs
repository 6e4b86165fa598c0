//! Rule: a lint is answered by `#[expect(lint, reason = "...")]`, which complains when it is no
//! longer needed; never by an `allow`.

use super::Finding;
use crate::tree::Tree;

/// How a line begins that allows something; in pieces, so that this file passes a plain search.
const ALLOWS: &[&str] = &[concat!("#[all", "ow("), concat!("#![all", "ow(")];

/// Finds lints that are switched off.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.texts().filter(|(path, _)| path.ends_with(".rs")) {
        for (index, line) in text.lines().enumerate() {
            if ALLOWS.iter().any(|allow| line.trim_start().starts_with(allow)) {
                findings.push(Finding::new(
                    path,
                    index + 1,
                    "a lint is switched off for good",
                    "mend the code, or write #[expect(lint, reason = \"why\")]",
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
    fn an_allow_is_found_and_an_expectation_is_not() {
        let text = "#[expect(dead_code, reason = \"x\")]\nfn f() {}\n    #[allow(dead_code)]\n";
        assert_eq!(
            messages(super::check(&tree(&[("a.rs", text)]))),
            ["a.rs:3: a lint is switched off for good"]
        );
    }
}
