//! `.dockerignore` files: their patterns, by the rules of the builder that reads them.
//!
//! No program reads one alone, so this is ours. Which files a build then sees is not looked at.

use super::super::process::Ended;
use super::{Consumer, Hand, Judgement, Subject, Way};

/// Its ending; before it stands the name of the Dockerfile that it is for, or nothing.
const ENDING: &str = ".dockerignore";

pub(super) const CONSUMER: Consumer = Consumer {
    subjects: |tree| Subject::each(tree, |path| path.ends_with(ENDING)),
    ways: &[Way { tools: &[], prepare: |_| Ok(Vec::new()), judge }],
    is_own: true,
};

fn judge(hand: &Hand<'_>, _: &[Ended]) -> Judgement {
    let path = hand.file();
    let of = path.strip_suffix(ENDING).unwrap_or_default();
    if !(of.is_empty() || of.ends_with('/') || hand.tree.has(of)) {
        return Judgement::Refused(format!("{path}: there is no `{of}`: no build reads it"));
    }
    let wrong: Vec<String> = hand
        .tree
        .text(path)
        .lines()
        .enumerate()
        .filter_map(|(index, line)| Some((index + 1, problem(line)?)))
        .map(|(line, problem)| format!("{path}:{line}: {problem}"))
        .collect();
    if wrong.is_empty() { Judgement::Passed(None) } else { Judgement::Refused(wrong.join("\n")) }
}

/// Why the builder refuses a line.
fn problem(line: &str) -> Option<&'static str> {
    if line.starts_with('#') {
        return None;
    }
    let pattern = line.trim();
    if pattern == "!" {
        return Some("`!` excepts nothing");
    }
    let mut rest = pattern.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' if rest.next().is_none() => return Some("nothing follows the last `\\`"),
            '[' => match class(&mut rest) {
                Some(()) => {}
                None => return Some("`[` is not closed, or holds nothing"),
            },
            _ => {}
        }
    }
    None
}

/// Reads a class of characters to its end; a `]` right at its beginning is an error in Go.
fn class(rest: &mut std::str::Chars<'_>) -> Option<()> {
    let mut is_empty = true;
    loop {
        match rest.next()? {
            '^' if is_empty && rest.as_str().starts_with('^') => return None,
            '^' if is_empty => {}
            ']' if is_empty => return None,
            ']' => return Some(()),
            '\\' => {
                rest.next()?;
                is_empty = false;
            }
            _ => is_empty = false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_builder_cannot_read_is_refused() {
        for good in ["", "# [", "**/*.py[co]", "!README.md", "a\\[b", "[^a-z]x", "  .git  "] {
            assert_eq!(problem(good), None, "{good}");
        }
        for bad in ["!", "a[", "[]", "[^]", "a\\", "*.py[co"] {
            assert!(problem(bad).is_some(), "{bad}");
        }
    }
}
