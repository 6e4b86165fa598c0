//! The Makefile: `make --dry-run` of every target, which says what it would do and does nothing.

use super::super::process::Call;
use super::super::tool::MAKE;
use super::super::tree;
use super::{Consumer, Hand, Subject, Way, by_code};

pub(super) const CONSUMER: Consumer = Consumer {
    subjects: |tree| Subject::each(tree, |path| tree::name(path) == "Makefile"),
    ways: &[Way { tools: &[&MAKE], prepare: |hand| Ok(vec![dry_run(hand)]), judge: by_code }],
    is_own: true,
};

fn dry_run(hand: &Hand<'_>) -> Call {
    let mut call = Call::new(&MAKE, ["--dry-run", "--file", hand.file()]);
    call.args.extend(targets(hand.tree.text(hand.file())).map(Into::into));
    call
}

/// The names of targets: words before a colon at the beginning of a line.
fn targets(text: &str) -> impl Iterator<Item = &str> {
    let is_plain = |name: &&str| {
        let is_word = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
        !name.is_empty() && !name.starts_with('.') && name.chars().all(is_word)
    };
    text.lines()
        .filter(|line| !line.starts_with(['\t', '#']))
        .filter_map(|line| line.split_once(':'))
        .filter(|(names, rest)| !names.contains('=') && !rest.starts_with(['=', ':']))
        .flat_map(|(names, _)| names.split_whitespace())
        .filter(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_found_and_variables_are_not() {
        let text = "A := b\nB ?= x:y\n.PHONY: help\nhelp: ## x\n\techo: a\none two: help\n# c: d\n";
        assert_eq!(targets(text).collect::<Vec<_>>(), ["help", "one", "two"]);
    }
}
