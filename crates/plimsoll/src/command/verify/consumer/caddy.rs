//! Caddyfiles: `caddy validate`, which loads every module and listens nowhere.

use super::super::process::{Call, Ended};
use super::super::tool::CADDY;
use super::super::tree;
use super::{Consumer, Hand, Judgement, Subject, Way, by_code};

pub(super) const CONSUMER: Consumer = Consumer {
    subjects: |tree| Subject::each(tree, |path| tree::name(path).ends_with("Caddyfile")),
    ways: &[Way { tools: &[&CADDY], prepare: |hand| Ok(vec![validate(hand)]), judge }],
    is_own: true,
};

fn validate(hand: &Hand<'_>) -> Call {
    let args = ["validate", "--adapter", "caddyfile", "--config", hand.file()];
    // It keeps certificates and a copy of its configuration, which are not the user's.
    let env = ["HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"];
    let env = env.map(|name| (name, hand.scratch.as_os_str().to_owned()));
    Call { env: env.to_vec(), ..Call::new(&CADDY, args) }
}

/// Its log is JSON, its verdict is not.
fn judge(hand: &Hand<'_>, ended: &[Ended]) -> Judgement {
    let Judgement::Refused(words) = by_code(hand, ended) else { return by_code(hand, ended) };
    let verdict: Vec<&str> = words.lines().filter(|line| !line.starts_with('{')).collect();
    Judgement::Refused(if verdict.is_empty() { words } else { verdict.join("\n") })
}
