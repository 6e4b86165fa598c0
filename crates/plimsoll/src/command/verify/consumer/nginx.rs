//! Configurations of nginx: `nginx -t` on a copy that has its working directory elsewhere, since
//! the test makes the directories that it names.

use anyhow::Context as _;

use super::super::process::{Call, Ended};
use super::super::tool::NGINX;
use super::super::tree;
use super::{Consumer, Hand, Judgement, Subject, Way, by_code};

/// Where a configuration of ours lets nginx write.
const WRITABLE: &str = "/tmp/";
/// The copy.
const COPY: &str = "nginx.conf";

pub(super) const CONSUMER: Consumer = Consumer {
    subjects: |tree| Subject::each(tree, |path| tree::name(path) == "nginx.conf"),
    ways: &[Way { tools: &[&NGINX], prepare: |hand| Ok(vec![test(hand)?]), judge }],
    is_own: true,
};

fn test(hand: &Hand<'_>) -> anyhow::Result<Call> {
    let copy = hand.scratch.join(COPY);
    let elsewhere = format!("{}/", hand.scratch.display());
    let text = hand.tree.text(hand.file()).replace(WRITABLE, &elsewhere);
    std::fs::write(&copy, text).with_context(|| format!("cannot write `{}`", copy.display()))?;
    let prefix = hand.scratch.as_os_str().to_owned();
    let quiet = ["-t", "-q", "-e", "stderr"].map(Into::into);
    let args = quiet.into_iter().chain(["-p".into(), prefix, "-c".into(), copy.into()]);
    Ok(Call::new(&NGINX, args))
}

/// Its words are about the copy.
fn judge(hand: &Hand<'_>, ended: &[Ended]) -> Judgement {
    let Judgement::Refused(words) = by_code(hand, ended) else { return by_code(hand, ended) };
    let copy = hand.scratch.join(COPY).display().to_string();
    Judgement::Refused(words.replace(&copy, hand.file()))
}
