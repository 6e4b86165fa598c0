//! Rule: a crate has at most one binary of integration tests, `tests/it/main.rs`: each more is
//! linked anew and shares nothing.

use super::Finding;
use crate::tree::Tree;

/// The one.
const MAIN: &str = "it/main.rs";

/// Finds other binaries of integration tests.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    tree.files
        .keys()
        .filter(|path| is_other_binary(path))
        .map(|path| {
            Finding::new(
                path,
                1,
                "a second binary of integration tests",
                format!("make it a module of `tests/{MAIN}`"),
            )
        })
        .collect()
}

/// Whether cargo makes a test binary of this file, and it is not [`MAIN`].
fn is_other_binary(path: &str) -> bool {
    let Some((package, test)) = path.split_once("/tests/") else { return false };
    let is_package = !package.contains("/src");
    let is_binary = match test.split('/').collect::<Vec<_>>()[..] {
        [file] => file.ends_with(".rs"),
        [_, file] => file == "main.rs",
        _ => false,
    };
    is_package && is_binary && test != MAIN
}

#[cfg(test)]
mod tests {
    use crate::tidy::synthetic::{messages, tree};

    #[test]
    fn a_second_test_binary_is_found() {
        let tree = tree(&[
            ("crates/a/tests/it/main.rs", ""),
            ("crates/a/tests/it/start.rs", ""),
            ("crates/a/tests/more.rs", ""),
            ("crates/a/tests/other/main.rs", ""),
            ("crates/a/tests/data/page.html", ""),
        ]);
        assert_eq!(
            messages(super::check(&tree)),
            [
                "crates/a/tests/more.rs:1: a second binary of integration tests",
                "crates/a/tests/other/main.rs:1: a second binary of integration tests",
            ]
        );
    }
}
