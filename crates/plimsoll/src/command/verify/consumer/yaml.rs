//! YAML as such: `yamllint`, by its default rules but for what is a matter of taste.
//!
//! Templates of a chart are not YAML. It deliberately is nobody's own consumer.

use super::super::process::Call;
use super::super::tool::YAMLLINT;
use super::super::tree;
use super::{Consumer, Subject, Way, by_code};

/// The rules of the hook that is rendered into `.pre-commit-config.yaml`.
const RULES: &str = "{extends: default, rules: {\
    comments: {min-spaces-from-content: 1}, document-start: disable, line-length: disable, \
    braces: {max-spaces-inside: 1}, truthy: {check-keys: false}}}";

pub(super) const CONSUMER: Consumer = Consumer {
    subjects: |tree| {
        let is_yaml =
            |path: &str| tree::has_extension(path, &["yaml", "yml"]) && !tree.is_template(path);
        Subject::all("YAML files", tree.paths(is_yaml))
    },
    ways: &[Way {
        tools: &[&YAMLLINT],
        prepare: |hand| {
            let mut call = Call::new(&YAMLLINT, ["--strict", "--format", "parsable"]);
            call.args.extend(["--config-data", RULES].map(Into::into));
            call.args.extend(hand.subject.files.iter().map(Into::into));
            Ok(vec![call])
        },
        judge: by_code,
    }],
    is_own: false,
};
