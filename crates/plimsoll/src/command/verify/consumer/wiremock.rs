//! Mocks of somebody else's APIs: WireMock loads them, and is ended once it would serve them.

use std::collections::BTreeMap;
use std::fs;

use anyhow::Context as _;

use super::super::process::{Call, Ended};
use super::super::tool::WIREMOCK;
use super::super::tree::{self, Tree};
use super::{Consumer, Hand, Judgement, Subject, Way, words};

/// What it says when every mapping is loaded.
const IS_READY: &str = "\nport:";

pub(super) const CONSUMER: Consumer = Consumer {
    subjects,
    ways: &[Way { tools: &[&WIREMOCK], prepare: |hand| Ok(vec![serve(hand)?]), judge }],
    is_own: true,
};

/// The mappings of one mock.
fn subjects(tree: &Tree) -> Vec<Subject> {
    let mut mocks: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in tree.paths(|path| path.starts_with("mocks/") && path.ends_with(".json")) {
        let mock = path.rsplit_once('/').map_or("", |(mock, _)| mock).to_owned();
        mocks.entry(mock).or_default().push(path);
    }
    mocks.into_iter().map(|(name, files)| Subject { name, files }).collect()
}

fn serve(hand: &Hand<'_>) -> anyhow::Result<Call> {
    let mappings = hand.scratch.join("mappings");
    fs::create_dir_all(&mappings).context("cannot make a directory of mappings")?;
    for path in &hand.subject.files {
        fs::write(mappings.join(tree::name(path)), hand.tree.text(path))
            .with_context(|| format!("cannot copy `{path}`"))?;
    }
    let args = ["--port", "0", "--bind-address", "127.0.0.1", "--root-dir"];
    let mut call = Call { until: Some(IS_READY), ..Call::new(&WIREMOCK, args) };
    call.args.push(hand.scratch.into());
    Ok(call)
}

/// It ends by itself only when it cannot load a mapping, with the path that we gave it.
fn judge(hand: &Hand<'_>, ended: &[Ended]) -> Judgement {
    match ended.last() {
        Some(ended) if ended.has_said => Judgement::Passed(None),
        Some(ended) => {
            let ours = format!("{}/", hand.scratch.join("mappings").display());
            let theirs = format!("{}/", hand.subject.name);
            let said = words(ended).replace(&ours, &theirs);
            let is_trace = |line: &&str| line.starts_with("\tat ") || line.starts_with("\t...");
            let said: Vec<&str> = said.lines().filter(|line| !is_trace(line)).collect();
            Judgement::Refused(said.join("\n"))
        }
        None => Judgement::Unknown("nothing was run".to_owned()),
    }
}
