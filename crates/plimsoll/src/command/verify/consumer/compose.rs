//! Compose files: `docker compose config`, with the variables of `.env.example`; without Compose
//! its published schema, which is less.

use super::super::process::{Call, Ended};
use super::super::tool::{CHECK_JSONSCHEMA, COMPOSE, COMPOSE_ALONE, Tool};
use super::super::tree;
use super::{Consumer, Hand, Judgement, Subject, Way, by_code, dotenv, words};

pub(super) const CONSUMER: Consumer = Consumer {
    subjects: |tree| Subject::each(tree, is_compose),
    ways: &[
        Way { tools: &[&COMPOSE], prepare: |hand| Ok(vec![config(&COMPOSE, hand)]), judge },
        Way {
            tools: &[&COMPOSE_ALONE],
            prepare: |hand| Ok(vec![config(&COMPOSE_ALONE, hand)]),
            judge,
        },
        Way {
            tools: &[&CHECK_JSONSCHEMA],
            prepare: |hand| {
                let args = ["--builtin-schema", "vendor.compose-spec", hand.file()];
                Ok(vec![Call::new(&CHECK_JSONSCHEMA, args)])
            },
            judge: |hand, ended| match by_code(hand, ended) {
                Judgement::Passed(_) => Judgement::Passed(Some("its schema only".to_owned())),
                judgement => judgement,
            },
        },
    ],
    is_own: true,
};

fn is_compose(path: &str) -> bool {
    let name = tree::name(path);
    (name.starts_with("compose.") || name.starts_with("docker-compose."))
        && tree::has_extension(name, &["yaml", "yml"])
}

fn config(tool: &'static Tool, hand: &Hand<'_>) -> Call {
    let mut args = vec!["--file", hand.file(), "--profile", "*"];
    if hand.tree.has(dotenv::NAME) {
        args.extend(["--env-file", dotenv::NAME]);
    }
    args.extend(["config", "--quiet"]);
    Call::new(tool, args)
}

/// A variable that is not set is only warned of; `.env.example` promises all of them.
pub(super) fn judge(_: &Hand<'_>, ended: &[Ended]) -> Judgement {
    match ended.last() {
        Some(ended) if ended.is_success() && !ended.stderr.contains("is not set") => {
            Judgement::Passed(None)
        }
        Some(ended) => Judgement::Refused(words(ended)),
        None => Judgement::Unknown("nothing was run".to_owned()),
    }
}
