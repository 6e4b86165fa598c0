//! Pages for people: `markdownlint-cli2`. Lines are as long as their tables.

use std::fs;

use anyhow::Context as _;

use super::super::process::{Call, Ended};
use super::super::tool::MARKDOWNLINT;
use super::super::tree;
use super::{Consumer, Hand, Judgement, Subject, Way, by_code};

/// Its name says what it is.
const RULES_NAME: &str = "plimsoll.markdownlint-cli2.yaml";

const RULES: &str = "config: {MD013: false}\nnoBanner: true\nnoProgress: true\n";

pub(super) const CONSUMER: Consumer = Consumer {
    subjects: |tree| Subject::each(tree, |path| tree::has_extension(path, &["md"])),
    ways: &[Way { tools: &[&MARKDOWNLINT], prepare: |hand| Ok(vec![lint(hand)?]), judge }],
    is_own: true,
};

fn lint(hand: &Hand<'_>) -> anyhow::Result<Call> {
    let rules = hand.scratch.join(RULES_NAME);
    fs::write(&rules, RULES).context("cannot write the rules for Markdown")?;
    let mut call = Call::new(&MARKDOWNLINT, ["--config"]);
    call.args.push(rules.into());
    // With a colon it is a name, and not a pattern.
    call.args.push(format!(":{}", hand.file()).into());
    Ok(call)
}

/// Its findings are on stderr, how many they are on stdout.
fn judge(hand: &Hand<'_>, ended: &[Ended]) -> Judgement {
    match (by_code(hand, ended), ended.last()) {
        (Judgement::Refused(_), Some(ended)) if !ended.stderr.trim().is_empty() => {
            Judgement::Refused(ended.stderr.trim().to_owned())
        }
        (judgement, _) => judgement,
    }
}
