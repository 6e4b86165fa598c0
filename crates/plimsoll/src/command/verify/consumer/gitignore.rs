//! `.gitignore` beside secrets: git itself says that a value would not be committed, and that what
//! is rendered would be.

use std::fs;

use anyhow::Context as _;

use super::super::process::{Call, Ended};
use super::super::tool::GIT;
use super::super::tree::{self, Tree};
use super::{Consumer, Hand, Judgement, Subject, Way};

/// Where a value of a secret would be, below the directory of the file.
const VALUE: &str = "dev/A_VALUE";

pub(super) const CONSUMER: Consumer = Consumer {
    subjects: |tree| Subject::each(tree, |path| tree::name(path) == ".gitignore"),
    ways: &[Way { tools: &[&GIT], prepare: |hand| Ok(vec![ask(hand)?]), judge }],
    is_own: true,
};

/// Asked in a repository that has nothing, whether or not the user's directory is one.
fn ask(hand: &Hand<'_>) -> anyhow::Result<Call> {
    let git = hand.scratch;
    fs::create_dir_all(git.join("objects"))
        .and_then(|()| fs::create_dir_all(git.join("refs")))
        .and_then(|()| fs::write(git.join("HEAD"), "ref: refs/heads/main\n"))
        .context("cannot make a repository to ask git in")?;
    let mut call = Call::new(&GIT, ["-c", "core.excludesFile=/dev/null", "--git-dir"]);
    call.args.push(git.into());
    let args = ["--work-tree", ".", "check-ignore", "--no-index", "--verbose", "--non-matching"];
    call.args.extend(args.map(Into::into));
    let (value, rendered) = asked(hand.tree, hand.file());
    call.args.push("--".into());
    call.args.push(value.into());
    call.args.extend(rendered.into_iter().map(Into::into));
    Ok(call)
}

/// What must be ignored, and what must not.
fn asked(tree: &Tree, path: &str) -> (String, Vec<String>) {
    let directory = path.strip_suffix(".gitignore").unwrap_or_default();
    let rendered = tree.files.keys().filter(|path| path.starts_with(directory));
    (format!("{directory}{VALUE}"), rendered.cloned().collect())
}

fn judge(hand: &Hand<'_>, ended: &[Ended]) -> Judgement {
    let Some(ended) = ended.last() else {
        return Judgement::Unknown("nothing was run".to_owned());
    };
    // 1 says that none is ignored, which may be wrong, but is an answer.
    if !matches!(ended.code, Some(0 | 1)) {
        return Judgement::Unknown(super::words(ended));
    }
    let (value, _) = asked(hand.tree, hand.file());
    let wrong: Vec<String> = ended
        .stdout
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .filter_map(|(rule, path)| {
            let pattern = rule.splitn(3, ':').nth(2).unwrap_or_default();
            let is_ignored = !pattern.is_empty() && !pattern.starts_with('!');
            match (is_ignored, path == value) {
                (false, true) => Some(format!("{}: `{path}` would be committed", hand.file())),
                (true, false) => Some(format!("{rule}: `{path}` would not be committed")),
                _ => None,
            }
        })
        .collect();
    if wrong.is_empty() { Judgement::Passed(None) } else { Judgement::Refused(wrong.join("\n")) }
}
