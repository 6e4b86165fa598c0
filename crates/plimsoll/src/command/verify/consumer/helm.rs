//! Charts: `helm lint --strict` with the values of each environment, which holds them against the
//! schema, and what the chart gives for them, handed to `kubeconform`.

use super::super::process::{Call, Ended};
use super::super::tool::{HELM, KUBECONFORM};
use super::super::tree::{self, Tree};
use super::{Consumer, Hand, Judgement, Subject, Way, by_code, kubernetes, words};

pub(super) const LINT: Consumer = Consumer {
    subjects,
    ways: &[Way {
        tools: &[&HELM],
        prepare: |hand| {
            let mut call = Call::new(&HELM, ["lint", "--strict"]);
            add_chart(&mut call, hand);
            Ok(vec![call])
        },
        judge: by_code,
    }],
    is_own: true,
};

pub(super) const TEMPLATE: Consumer = Consumer {
    subjects,
    ways: &[Way {
        tools: &[&KUBECONFORM, &HELM],
        prepare: |hand| {
            let mut template = Call::new(&HELM, ["template", "verify"]);
            template.args.extend(["--kube-version", kubernetes::VERSION].map(Into::into));
            add_chart(&mut template, hand);
            Ok(vec![template, kubernetes::conform(hand, ["-"])])
        },
        judge: |hand, ended| match ended {
            [template] => Judgement::Refused(words(template)),
            _ => judge_objects(hand, ended),
        },
    }],
    is_own: false,
};

fn judge_objects(hand: &Hand<'_>, ended: &[Ended]) -> Judgement {
    match kubernetes::judge(hand, ended) {
        Judgement::Refused(words) => {
            // It has read a stream, and does not know of what.
            Judgement::Refused(words.replace("stdin: ", &format!("{}: ", hand.subject.name)))
        }
        judgement => judgement,
    }
}

/// Each chart with each file of values that is meant; with its own alone when there is no other.
fn subjects(tree: &Tree) -> Vec<Subject> {
    let mut subjects = Vec::new();
    for chart in tree.charts() {
        let files = |fits: &dyn Fn(&str) -> bool| {
            tree.paths(|path| tree::is_below(path, &chart) && fits(path))
        };
        let shared = files(&|path| !is_values(path));
        let values = files(&is_values);
        if values.is_empty() {
            subjects.push(Subject { name: chart.clone(), files: shared });
            continue;
        }
        for path in values {
            let files = [std::slice::from_ref(&path), &shared].concat();
            subjects.push(Subject { name: format!("{chart} ({})", tree::name(&path)), files });
        }
    }
    subjects
}

/// Whether a file has the values of an environment; those that all share are read anyhow.
fn is_values(path: &str) -> bool {
    let name = tree::name(path);
    name.starts_with("values-") && tree::has_extension(name, &["yaml", "yml"])
}

fn add_chart(call: &mut Call, hand: &Hand<'_>) {
    let file = hand.file();
    if is_values(file) {
        call.args.extend(["--values", file].map(Into::into));
    }
    let charts = hand.tree.charts();
    let chart = charts.iter().find(|chart| tree::is_below(file, chart));
    call.args.extend(chart.map(Into::into));
}
