//! Objects of Kubernetes: `kubeconform`, strictly. Kinds of Argo CD and others have their schemas
//! in a catalogue beside that of Kubernetes itself.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::super::process::{Call, Ended};
use super::super::tool::KUBECONFORM;
use super::{Consumer, Hand, Judgement, Subject, Way, words};

/// The version of Kubernetes that is rendered for and judged by, so that every machine says the
/// same.
pub(super) const VERSION: &str = "1.34.0";

/// Where schemas of other kinds are, when no directory is given.
const CATALOGUE: &str = "https://raw.githubusercontent.com/datreeio/CRDs-catalog/main";

/// Where they are in a directory, or in the catalogue.
const OTHER_KINDS: &str = "{{ .Group }}/{{ .ResourceKind }}_{{ .ResourceAPIVersion }}.json";

/// Where those of Kubernetes are in a directory.
const OWN_KINDS: &str = "{{ .NormalizedKubernetesVersion }}-standalone{{ .StrictSuffix }}/\
    {{ .ResourceKind }}{{ .KindSuffix }}.json";

pub(super) const CONSUMER: Consumer = Consumer {
    subjects: |tree| {
        let of_target =
            |path: &str| tree.files.get(path).is_some_and(|file| file.target == "argocd");
        Subject::each(tree, of_target)
    },
    ways: &[Way {
        tools: &[&KUBECONFORM],
        prepare: |hand| Ok(vec![conform(hand, [hand.file()])]),
        judge,
    }],
    is_own: true,
};

pub(super) fn conform<const N: usize>(hand: &Hand<'_>, files: [&str; N]) -> Call {
    let args = ["-strict", "-verbose", "-output", "json", "-ignore-missing-schemas"];
    let mut call = Call::new(&KUBECONFORM, args);
    call.args.extend(["-kubernetes-version", VERSION].map(Into::into));
    let places = match hand.schemas {
        None => ["default".to_owned(), format!("{CATALOGUE}/{OTHER_KINDS}")],
        Some(directory) => {
            let directory = directory.display();
            [format!("{directory}/{OWN_KINDS}"), format!("{directory}/{OTHER_KINDS}")]
        }
    };
    for place in places {
        call.args.extend(["-schema-location".to_owned(), place].map(Into::into));
    }
    call.args.extend(files.map(Into::into));
    call
}

#[derive(Deserialize)]
struct Answer {
    resources: Vec<Resource>,
}

#[derive(Deserialize)]
struct Resource {
    filename: String,
    kind: String,
    name: String,
    status: String,
    msg: String,
}

/// Its statuses: a kind without a schema was not judged, and a schema that cannot be had is no
/// answer.
pub(super) fn judge(_: &Hand<'_>, ended: &[Ended]) -> Judgement {
    let Some(ended) = ended.last() else {
        return Judgement::Unknown("nothing was run".to_owned());
    };
    let Ok(Answer { resources }) = serde_json::from_str(&ended.stdout) else {
        return Judgement::Unknown(words(ended));
    };
    let line = |one: &Resource| {
        let object = format!("{} {}", one.kind, one.name);
        format!("{}: {}: {}", one.filename, object.trim(), one.msg)
    };
    let is_unreached = |one: &&Resource| one.msg.contains("failed downloading schema");
    let of = |status: &'static str| resources.iter().filter(move |one| one.status == status);
    let (unreached, wrong): (Vec<_>, Vec<_>) = of("statusError").partition(is_unreached);
    let wrong: Vec<String> = of("statusInvalid").chain(wrong).map(line).collect();
    let skipped: BTreeSet<&str> = of("statusSkipped").map(|one| one.kind.as_str()).collect();
    let n_judged = of("statusValid").count();
    if !wrong.is_empty() {
        return Judgement::Refused(wrong.join("\n"));
    }
    if let Some(one) = unreached.first() {
        return Judgement::Unknown(format!(
            "schemas cannot be had: {}; name a directory that has them with `--schemas`",
            one.msg
        ));
    }
    let kinds = skipped.into_iter().collect::<Vec<_>>().join(", ");
    if n_judged == 0 {
        return Judgement::Unknown(format!("it judged nothing: it has no schema of {kinds}"));
    }
    let note = format!("{} of {} objects: no schema of {kinds}", n_judged, resources.len());
    Judgement::Passed((!kinds.is_empty()).then_some(note))
}
