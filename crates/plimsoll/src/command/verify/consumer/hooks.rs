//! `.pre-commit-config.yaml`: `pre-commit validate-config`, which fetches no hook.

use super::super::process::Call;
use super::super::tool::PRE_COMMIT;
use super::{Consumer, Subject, Way, by_code};

pub(super) const CONSUMER: Consumer = Consumer {
    subjects: |tree| Subject::each(tree, |path| path == ".pre-commit-config.yaml"),
    ways: &[Way {
        tools: &[&PRE_COMMIT],
        prepare: |hand| Ok(vec![Call::new(&PRE_COMMIT, ["validate-config", hand.file()])]),
        judge: by_code,
    }],
    is_own: true,
};
