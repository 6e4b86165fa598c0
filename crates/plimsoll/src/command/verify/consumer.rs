//! The table of consumers: which artifact is handed to which program, and what its answer means.
//!
//! One consumer is one file below. It is data and functions of texts: what a program is given, and
//! how its words are read. Programs are run elsewhere.
//!
//! Invariant: a consumer that cannot tell says so, and never that something passed.

mod bake;
mod caddy;
mod compose;
mod dockerfile;
mod dockerignore;
mod dotenv;
mod editorconfig;
mod gitignore;
mod helm;
mod hooks;
mod kubernetes;
mod makefile;
mod markdown;
mod nginx;
mod script;
mod secrets;
mod wiremock;
mod yaml;

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::process::{Call, Ended};
use super::tool::Tool;
use super::tree::Tree;

/// How long a program may take over one artifact, on a machine that is busy.
pub(super) const TOOL_LIMIT: Duration = Duration::from_secs(180);

/// One kind of artifact, and the programs that it is for.
pub(super) struct Consumer {
    /// What is handed over; each is a row of the answer.
    pub subjects: fn(&Tree) -> Vec<Subject>,
    /// How, best first: the first whose programs are installed is taken.
    pub ways: &'static [Way],
    /// Whether files are made for it. A look at style or for secrets is not enough for a file.
    pub is_own: bool,
}

/// Every consumer, in no order that matters.
pub(super) const CONSUMERS: &[Consumer] = &[
    bake::CONSUMER,
    caddy::CONSUMER,
    compose::CONSUMER,
    dockerfile::CONSUMER,
    dockerignore::CONSUMER,
    dotenv::CONSUMER,
    editorconfig::CONSUMER,
    gitignore::CONSUMER,
    helm::LINT,
    helm::TEMPLATE,
    hooks::CONSUMER,
    kubernetes::CONSUMER,
    makefile::CONSUMER,
    markdown::CONSUMER,
    nginx::CONSUMER,
    script::CONSUMER,
    secrets::CONSUMER,
    wiremock::CONSUMER,
    yaml::CONSUMER,
];

/// What a program is handed at once.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    /// As it is shown.
    pub name: String,
    /// The files that are judged, by path.
    pub files: Vec<String>,
}

/// One way of judging a subject.
pub(super) struct Way {
    /// What it needs; the first is the one that is shown. None: we judge ourselves.
    pub tools: &'static [&'static Tool],
    /// What is run, each fed with what the one before it said.
    pub prepare: fn(&Hand<'_>) -> anyhow::Result<Vec<Call>>,
    /// What their answers mean; the one that failed is the last.
    pub judge: fn(&Hand<'_>, &[Ended]) -> Judgement,
}

/// What there is to judge with.
pub(super) struct Hand<'a> {
    pub tree: &'a Tree,
    pub subject: &'a Subject,
    /// An empty directory outside of the user's.
    pub scratch: &'a Path,
    /// Where schemas of Kubernetes are; from the network when absent.
    pub schemas: Option<&'a PathBuf>,
}

/// What is thought of a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// Nothing is wrong; what should be known all the same.
    Passed(Option<String>),
    /// In the words of the program.
    Refused(String),
    /// The program could not tell; why.
    Unknown(String),
}

impl Hand<'_> {
    /// The file of a subject that has one.
    fn file(&self) -> &str {
        self.subject.files.first().map_or("", String::as_str)
    }
}

impl Subject {
    /// One file.
    fn file(path: String) -> Self {
        Self { name: path.clone(), files: vec![path] }
    }

    /// Each file that fits, by itself.
    fn each(tree: &Tree, fits: impl Fn(&str) -> bool) -> Vec<Self> {
        tree.paths(fits).into_iter().map(Self::file).collect()
    }

    /// All of these at once, if there are any.
    fn all(what: &str, files: Vec<String>) -> Vec<Self> {
        match files.as_slice() {
            [] => Vec::new(),
            [one] => vec![Self::file(one.clone())],
            many => {
                let name = format!("{} {what}", many.len());
                vec![Self { name, files }]
            }
        }
    }
}

/// Trusts the exit code. The words are those of the program, of both streams.
fn by_code(_: &Hand<'_>, ended: &[Ended]) -> Judgement {
    match ended.last() {
        Some(ended) if ended.is_success() => Judgement::Passed(None),
        Some(ended) => Judgement::Refused(words(ended)),
        None => Judgement::Unknown("nothing was run".to_owned()),
    }
}

/// Everything that a program said.
fn words(ended: &Ended) -> String {
    let said = format!("{}\n{}", ended.stdout.trim_end(), ended.stderr.trim_end());
    match said.trim() {
        "" => format!("it said nothing, and ended with {}", ended.code.unwrap_or_default()),
        said => said.to_owned(),
    }
}
