//! Rule: no file names a place on the machine of whoever wrote it.

use super::Finding;
use crate::tree::{self, Tree};

/// How paths begin that exist on one machine only; in pieces, so that this file passes.
const PLACES: &[&str] =
    &[concat!("/wo", "rk/"), concat!("/ho", "me/"), concat!("/Us", "ers/"), concat!("/ro", "ot/")];

/// Accounts that are in an image of somebody else's, on whatever machine it runs.
const IN_IMAGES: &[&str] = &["wiremock/"];

/// Finds paths of one machine.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let root = tree::root().to_string_lossy().into_owned();
    let mut findings = Vec::new();
    for (path, text) in tree.texts() {
        for (index, line) in text.lines().enumerate() {
            let place = PLACES.iter().find(|place| names_place(line, place));
            if let Some(place) = place.copied().or(line.contains(&root).then_some(root.as_str())) {
                findings.push(Finding::new(
                    path,
                    index + 1,
                    format!("`{place}` is a place on one machine"),
                    "make it relative, or take it from the environment",
                ));
            }
        }
    }
    findings
}

/// Whether the line has an absolute path that begins so.
fn names_place(line: &str, place: &str) -> bool {
    line.match_indices(place).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let rest = &line[at + place.len()..];
        let after = rest.chars().next();
        !before.is_some_and(|c| c.is_alphanumeric() || "._-}/~*".contains(c))
            && after.is_some_and(char::is_alphanumeric)
            && !IN_IMAGES.iter().any(|account| rest.starts_with(account))
    })
}

#[cfg(test)]
mod tests {
    use crate::tidy::synthetic::{messages, tree};

    #[test]
    fn a_path_of_one_machine_is_found() {
        let home = super::PLACES[1];
        let text = format!("cp {home}ann/x .\n$DIR{home}x a{home}x target{home}x\nsee {home}\n");
        let found = messages(super::check(&tree(&[("a.sh", &text)])));
        assert_eq!(found, [format!("a.sh:1: `{home}` is a place on one machine")]);
    }

    #[test]
    fn the_place_of_this_repository_is_found() {
        let text = format!("{}\n", crate::tree::root().display());
        assert_eq!(super::check(&tree(&[("a.md", &text)])).len(), 1);
    }
}
