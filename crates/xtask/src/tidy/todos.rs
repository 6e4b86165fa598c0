//! Rule: no note to oneself without the issue that will settle it (`#12`).

use super::Finding;
use crate::tree::Tree;

/// Words of such notes; in pieces, so that this file passes.
const NOTES: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:")];

/// Finds notes without an issue.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.texts().filter(|(path, _)| path.ends_with(".rs")) {
        for (index, line) in text.lines().enumerate() {
            let comment = line.split_once("//").map(|(_, comment)| comment).unwrap_or_default();
            let note = NOTES.iter().find(|note| comment.contains(**note));
            if let Some(note) = note.filter(|_| !names_issue(comment)) {
                findings.push(Finding::new(
                    path,
                    index + 1,
                    format!("a {note} that nobody owns"),
                    "do it now, or name the issue: #12",
                ));
            }
        }
    }
    findings
}

fn names_issue(comment: &str) -> bool {
    comment.split('#').skip(1).any(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use crate::tidy::synthetic::{messages, tree};

    #[test]
    fn a_note_without_an_issue_is_found() {
        let note = super::NOTES[0];
        let text = format!("// {note}: later\n// {note}(#12): later\nlet {note} = 1;\n");
        assert_eq!(
            messages(super::check(&tree(&[("a.rs", &text)]))),
            [format!("a.rs:1: a {note} that nobody owns")]
        );
    }
}
