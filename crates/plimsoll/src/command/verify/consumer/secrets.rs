//! Every file: `gitleaks` finds no secret in it. What it finds is named and never shown.

use std::fs;

use anyhow::Context as _;
use serde::Deserialize;

use super::super::process::{Call, Ended};
use super::super::tool::GITLEAKS;
use super::{Consumer, Hand, Judgement, Subject, Way, words};

/// The user's own rules.
const RULES: &str = ".gitleaks.toml";

pub(super) const CONSUMER: Consumer = Consumer {
    subjects: |tree| Subject::all("files", tree.paths(|_| true)),
    ways: &[Way { tools: &[&GITLEAKS], prepare: |hand| Ok(vec![look(hand)?]), judge }],
    is_own: false,
};

/// It takes a directory, so it is given one that has our files and nothing else.
fn look(hand: &Hand<'_>) -> anyhow::Result<Call> {
    for path in &hand.subject.files {
        let copy = hand.scratch.join(path);
        let parent = copy.parent().context("a file is in a directory")?;
        fs::create_dir_all(parent)
            .and_then(|()| fs::write(&copy, hand.tree.text(path)))
            .with_context(|| format!("cannot copy `{path}`"))?;
    }
    let mut call = Call::new(&GITLEAKS, ["dir"]);
    call.args.push(hand.scratch.into());
    call.args.extend(["--no-banner", "--redact", "--log-level", "error"].map(Into::into));
    call.args.extend(["--report-format", "json", "--report-path", "-"].map(Into::into));
    if hand.tree.root.join(RULES).is_file() {
        call.args.extend(["--config", RULES].map(Into::into));
    }
    Ok(call)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Finding {
    #[serde(rename = "RuleID")]
    rule: String,
    description: String,
    start_line: u64,
    file: String,
}

fn judge(hand: &Hand<'_>, ended: &[Ended]) -> Judgement {
    let Some(ended) = ended.last() else {
        return Judgement::Unknown("nothing was run".to_owned());
    };
    if ended.is_success() {
        return Judgement::Passed(None);
    }
    let Ok(findings) = serde_json::from_str::<Vec<Finding>>(&ended.stdout) else {
        return Judgement::Unknown(words(ended));
    };
    let scratch = format!("{}/", hand.scratch.display());
    let line = |finding: Finding| {
        let Finding { rule, description, start_line, file } = finding;
        format!("{}:{start_line}: {description} ({rule})", file.replace(&scratch, ""))
    };
    Judgement::Refused(findings.into_iter().map(line).collect::<Vec<_>>().join("\n"))
}
