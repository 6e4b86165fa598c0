//! `.editorconfig`: `editorconfig-checker` over every rendered file, so that what we write is as we
//! ask others to write.

use super::super::process::Call;
use super::super::tool::EDITORCONFIG_CHECKER;
use super::super::tree;
use super::{Consumer, Subject, Way, by_code};

pub(super) const CONSUMER: Consumer = Consumer {
    subjects: |tree| Subject::each(tree, |path| tree::name(path) == ".editorconfig"),
    ways: &[Way {
        tools: &[&EDITORCONFIG_CHECKER],
        prepare: |hand| {
            let mut call = Call::new(&EDITORCONFIG_CHECKER, ["-no-color", "-format", "gcc"]);
            call.args.extend(hand.tree.meant().map(|(path, _)| path.into()));
            Ok(vec![call])
        },
        judge: by_code,
    }],
    is_own: true,
};
