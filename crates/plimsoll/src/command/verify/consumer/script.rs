//! Shell scripts: `shellcheck`.

use super::super::process::Call;
use super::super::tool::SHELLCHECK;
use super::super::tree::{self, Tree};
use super::{Consumer, Subject, Way, by_code};

pub(super) const CONSUMER: Consumer = Consumer {
    subjects: |tree| Subject::each(tree, |path| is_script(tree, path)),
    ways: &[Way {
        tools: &[&SHELLCHECK],
        prepare: |hand| Ok(vec![Call::new(&SHELLCHECK, ["--format", "gcc", hand.file()])]),
        judge: by_code,
    }],
    is_own: true,
};

fn is_script(tree: &Tree, path: &str) -> bool {
    let first = tree.text(path).lines().next().unwrap_or_default();
    let interpreter = first.strip_prefix("#!").unwrap_or_default();
    let interpreter = interpreter.rsplit(['/', ' ']).next().unwrap_or_default();
    tree::has_extension(path, &["sh", "bash"]) || matches!(interpreter, "sh" | "bash" | "dash")
}
