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
fn judge(hand: &Hand<'_>, ended: &[Ended]) -> Judgement {
    match ended.last() {
        Some(ended) if ended.is_success() && !ended.stderr.contains("is not set") => {
            Judgement::Passed(None)
        }
        Some(ended) => {
            let words = words(ended);
            let line = line(&words, hand.tree.text(hand.file()));
            let place = line.map(|line| format!("{}:{line}: ", hand.file()));
            Judgement::Refused(format!("{}{words}", place.unwrap_or_default()))
        }
        None => Judgement::Unknown("nothing was run".to_owned()),
    }
}

/// The line of what Compose calls `services.api.cap_drp`; it names no lines itself.
fn line(words: &str, text: &str) -> Option<usize> {
    let path = words.split_whitespace().find(|word| word.starts_with("services."))?;
    let mut lines = text.lines().map(str::trim_start).zip(1..);
    let mut found = None;
    for key in path.trim_end_matches(':').split('.') {
        let is_key = |(line, _): &(&str, usize)| {
            line.strip_prefix(key).is_some_and(|rest| rest.starts_with(':'))
        };
        // What is not a key is of a list: its owner is near enough.
        let Some((_, number)) = lines.find(is_key) else { break };
        found = Some(number);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_a_key_is_found_below_its_owners() {
        let text = "services:\n  a:\n    cap_drop: []\n  b:\n    image: x\n    cap_drop: []\n";
        assert_eq!(line("x: services.b.cap_drop false schema", text), Some(6));
        assert_eq!(line("services.b.ports.0: bad", text), Some(4));
        assert_eq!(line("it is bad", text), None);
    }
}
