//! Dockerfiles: `hadolint`, with the user's own `.hadolint.yaml` where there is one.

use super::super::process::Call;
use super::super::tool::HADOLINT;
use super::super::tree;
use super::{Consumer, Subject, Way, by_code};

pub(super) const CONSUMER: Consumer = Consumer {
    subjects: |tree| Subject::each(tree, is_dockerfile),
    ways: &[Way {
        tools: &[&HADOLINT],
        prepare: |hand| Ok(vec![Call::new(&HADOLINT, ["--no-color", hand.file()])]),
        judge: by_code,
    }],
    is_own: true,
};

pub(super) fn is_dockerfile(path: &str) -> bool {
    let name = tree::name(path);
    name == "Dockerfile" || (name.starts_with("Dockerfile.") && !name.ends_with(".dockerignore"))
}
