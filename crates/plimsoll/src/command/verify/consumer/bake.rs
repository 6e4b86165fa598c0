//! The bake file: `docker buildx bake --print`, which resolves every target and builds none.

use super::super::process::Call;
use super::super::tool::{BUILDX, BUILDX_ALONE, Tool};
use super::super::tree;
use super::{Consumer, Hand, Subject, Way, by_code};

pub(super) const CONSUMER: Consumer = Consumer {
    subjects: |tree| Subject::each(tree, |path| tree::name(path).starts_with("docker-bake.")),
    ways: &[
        Way { tools: &[&BUILDX], prepare: |hand| Ok(vec![print(&BUILDX, hand)]), judge: by_code },
        Way {
            tools: &[&BUILDX_ALONE],
            prepare: |hand| Ok(vec![print(&BUILDX_ALONE, hand)]),
            judge: by_code,
        },
    ],
    is_own: true,
};

fn print(tool: &'static Tool, hand: &Hand<'_>) -> Call {
    Call::new(tool, ["bake", "--file", hand.file(), "--print", "--progress", "plain"])
}
