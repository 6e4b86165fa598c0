//! What `render` gives: files as values, each with the places of the manifest that brought it.
//!
//! Invariant: a path is relative, has no `..` and stands for one file; the order is that of paths.

use std::collections::BTreeMap;

use manifest::names::EnvName;
use serde::Serialize;

use crate::node::Node;
use crate::{json, text, yaml};

/// One file of the user's repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// The target that writes it.
    pub target: &'static str,
    /// The environment that it is for; absent for files that all share.
    pub environment: Option<EnvName>,
    /// What stands in it.
    pub text: String,
    /// Whether it may be executed.
    pub is_executable: bool,
    /// The lines that places of the manifest brought, in the order of writing.
    pub traces: Vec<Trace>,
}

/// A line that exists because of a place of the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trace {
    /// The line, from 1.
    pub line: u32,
    /// The place: `services.api.uses.db`.
    pub because: String,
}

/// Files by their paths below the manifest's directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Artifacts {
    files: BTreeMap<String, Artifact>,
}

impl Artifacts {
    /// The files, by path.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Artifact)> {
        self.files.iter().map(|(path, artifact)| (path.as_str(), artifact))
    }

    /// The file at a path.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Artifact> {
        self.files.get(path)
    }

    /// How many files there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there is no file.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Keeps the files that are wanted.
    pub fn retain(&mut self, mut is_wanted: impl FnMut(&str, &Artifact) -> bool) {
        self.files.retain(|path, artifact| is_wanted(path, artifact));
    }

    /// Replaces the text of a file; its lines are no longer those that were traced.
    pub fn replace(&mut self, path: &str, text: String) {
        if let Some(artifact) = self.files.get_mut(path) {
            artifact.text = text;
        }
    }

    /// Every line of every file that exists because of a place of the manifest, or below it.
    #[must_use]
    pub fn because(&self, place: &str) -> Vec<(&str, &Artifact, u32)> {
        let is_of = |because: &str| {
            because.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let mut found = Vec::new();
        for (path, artifact) in self.iter() {
            let traces = artifact.traces.iter().filter(|trace| is_of(&trace.because));
            found.extend(traces.map(|trace| (path, artifact, trace.line)));
        }
        found
    }
}

/// Collects the files of one target.
pub(crate) struct Files<'a> {
    artifacts: &'a mut Artifacts,
    target: &'static str,
    environment: Option<EnvName>,
}

impl<'a> Files<'a> {
    pub(crate) fn new(artifacts: &'a mut Artifacts, target: &'static str) -> Files<'a> {
        Files { artifacts, target, environment: None }
    }

    /// The same, for files of one environment.
    pub(crate) fn of(&mut self, environment: &EnvName) -> Files<'_> {
        let environment = Some(environment.clone());
        Files { artifacts: self.artifacts, target: self.target, environment }
    }

    /// A file that a program parses as YAML.
    pub(crate) fn yaml(&mut self, path: impl Into<String>, tree: &Node) {
        let (text, traces) = yaml::write(tree);
        self.put(path.into(), text, traces, false);
    }

    /// A file that a program parses as JSON.
    pub(crate) fn json(&mut self, path: impl Into<String>, tree: &Node) {
        let (text, traces) = json::write(tree);
        self.put(path.into(), text, traces, false);
    }

    /// A file that a template wrote.
    pub(crate) fn text(&mut self, path: impl Into<String>, marked: &str) {
        let (text, traces) = text::finish(marked);
        self.put(path.into(), text, traces, false);
    }

    /// A file that is the same for everyone.
    pub(crate) fn verbatim(&mut self, path: impl Into<String>, text: &str) {
        self.put(path.into(), text.to_owned(), Vec::new(), false);
    }

    fn put(&mut self, path: String, text: String, traces: Vec<Trace>, is_executable: bool) {
        debug_assert!(!path.starts_with('/') && !path.split('/').any(|part| part == ".."));
        let environment = self.environment.clone();
        let artifact = Artifact { target: self.target, environment, text, is_executable, traces };
        let before = self.artifacts.files.insert(path, artifact);
        debug_assert!(before.is_none(), "two targets write one file");
    }
}
