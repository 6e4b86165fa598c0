//! A real Kubernetes API server for tests, with its etcd and the controllers that make Pods.
//!
//! It deliberately has no scheduler and no kubelet: objects are defaulted, validated, admitted and
//! stored as in production, and no Pod ever runs.
//!
//! Invariant: the server's process and files are gone when the [`Kubernetes`] is dropped; the
//! process also ends by itself when the test program has ended in whatever way.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    cache::tool_cache,
    http::{Response, request},
    run::Run,
    wait::{wait_for, wait_for_some},
};

/// The server, in the cache: its version.
pub const KUBERNETES: &str = "kubernetes-1.36.3";
/// The definitions of kinds that Kubernetes itself does not have, in the cache. A changed list gets
/// a new number.
pub const CUSTOM_RESOURCES: &str = "custom-resources-1";

/// How long it may take to be ready on a machine that is busy.
const START_LIMIT: Duration = Duration::from_secs(120);
/// How long a defined kind may take to be served.
const SERVED_LIMIT: Duration = Duration::from_secs(60);
/// Where kinds are defined.
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// A running API server; it ends when dropped.
#[derive(Debug)]
pub struct Kubernetes {
    _run: Run,
    port: u16,
    kubeconfig: PathBuf,
    _directory: TempDir,
}

/// Whether an object is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Defaulted, validated and admitted, and then forgotten.
    DryRun,
    /// Stored.
    Stored,
}

/// An object that the server took.
#[derive(Clone, Debug)]
pub struct Taken {
    /// The object with all defaults.
    pub object: Value,
    /// What the server warned of.
    pub warnings: Vec<String>,
}

/// The path below the cache of something that `cargo xtask tools` makes; `None`, said aloud, where
/// it did not.
///
/// # Panics
/// Where `CI` is `true` and it is missing: there nothing is skipped.
#[must_use]
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
pub fn prepared(path: &str) -> Option<PathBuf> {
    let path = tool_cache().join(path);
    if path.exists() {
        return Some(path);
    }
    let message = format!("`{}` is missing: run `cargo xtask tools --for test`", path.display());
    let is_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    assert!(!is_ci, "{message}");
    eprintln!("SKIPPED: {message}");
    None
}

impl Kubernetes {
    /// Starts it and waits until it is ready and serves every custom resource; `None`, said aloud,
    /// where it was not built.
    ///
    /// # Panics
    /// When it does not start, and where `CI` is `true` and it was not built.
    #[must_use]
    pub fn start() -> Option<Self> {
        let program = prepared(&format!("{KUBERNETES}/kubernetes"))?;
        let definitions = prepared(CUSTOM_RESOURCES)?;
        let directory = TempDir::new().expect("a temporary directory can be made");
        let mut run = Run::start(&program, [directory.path()]);
        let line = wait_for_some("the API server to be ready", START_LIMIT, || {
            assert!(!run.has_ended(), "the API server ended: {}", run.stderr());
            run.stdout().split_inclusive('\n').find(|line| line.ends_with('\n')).map(str::to_owned)
        });
        let line: Value = serde_json::from_str(&line).expect("it says where it listens in JSON");
        let port = line["port"].as_u64().and_then(|port| u16::try_from(port).ok());
        let it = Self {
            _run: run,
            port: port.expect("it says its port"),
            kubeconfig: line["kubeconfig"].as_str().expect("it says its file").into(),
            _directory: directory,
        };
        it.define(&definitions);
        Some(it)
    }

    /// What helm and kubectl need to talk to it as its administrator.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Applies one document of YAML on the server's side, with unknown fields refused.
    ///
    /// A namespaced object that names no namespace goes into `namespace`.
    ///
    /// # Errors
    /// With the server's words, when it does not take the object.
    pub fn apply(&self, document: &str, namespace: &str, keep: Keep) -> Result<Taken, String> {
        let path = self.path_of(document, namespace)?;
        let query = "fieldManager=plimsoll-test&force=true&fieldValidation=Strict";
        let path = format!("{path}?{query}{}", keep.query());
        taken(&self.ask("PATCH", &path, "application/apply-patch+yaml", document))
    }

    /// Creates an object at the path of its kind, with unknown fields refused.
    ///
    /// # Errors
    /// With the server's words, when it does not take the object.
    pub fn create(&self, path: &str, object: &Value, keep: Keep) -> Result<Taken, String> {
        let path = format!("{path}?fieldValidation=Strict{}", keep.query());
        taken(&self.ask("POST", &path, "application/json", &object.to_string()))
    }

    /// Changes fields of what is at a path of its API.
    ///
    /// # Errors
    /// With the server's words, when it does not take the change.
    pub fn merge(&self, path: &str, fields: &Value) -> Result<Taken, String> {
        taken(&self.ask("PATCH", path, "application/merge-patch+json", &fields.to_string()))
    }

    /// What is at a path of its API.
    ///
    /// # Errors
    /// With the server's words, when there is nothing.
    pub fn get(&self, path: &str) -> Result<Value, String> {
        Ok(taken(&self.ask("GET", path, "application/json", ""))?.object)
    }

    /// Makes a namespace and waits for its service account, without which no Pod is admitted.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn namespace(&self, name: &str, labels: &Value) {
        let object = serde_json::json!({"metadata": {"name": name, "labels": labels}});
        let made = self.create("/api/v1/namespaces", &object, Keep::Stored);
        made.expect("a namespace can be made");
        let account = format!("/api/v1/namespaces/{name}/serviceaccounts/default");
        wait_for("the service account", SERVED_LIMIT, || self.get(&account).is_ok());
    }

    /// Defines the kinds in the files of a directory, and waits until they are served.
    fn define(&self, directory: &Path) {
        let files = fs::read_dir(directory).expect("the cache can be read").flatten();
        let define = |file: fs::DirEntry| {
            let text = fs::read_to_string(file.path()).expect("a definition can be read");
            let made = taken(&self.ask("POST", DEFINITIONS, "application/yaml", &text));
            made.map_err(|why| format!("{}: {why}", file.path().display())).expect("it is right")
        };
        let definitions: Vec<_> = files.map(define).collect();
        for Taken { object, .. } in definitions {
            let text = |path: &str| object.pointer(path).and_then(Value::as_str);
            let group = text("/spec/group").expect("a definition has a group");
            let kind = text("/spec/names/kind").expect("a definition has a kind");
            let versions = object["spec"]["versions"].as_array().into_iter().flatten();
            for version in versions.filter(|version| version["served"] == true) {
                let version = version["name"].as_str().expect("a version has a name");
                let version = format!("{group}/{version}");
                wait_for(&format!("`{kind}` of `{version}`"), SERVED_LIMIT, || {
                    self.resource(&version, kind).is_ok()
                });
            }
        }
    }

    /// The path of the object that a document is about.
    fn path_of(&self, document: &str, namespace: &str) -> Result<String, String> {
        let missing = |what: &str| format!("a document without {what}:\n{document}");
        let version = top(document, "apiVersion").ok_or_else(|| missing("apiVersion"))?;
        let kind = top(document, "kind").ok_or_else(|| missing("kind"))?;
        let name = of_metadata(document, "name").ok_or_else(|| missing("a name"))?;
        let resource = self.resource(version, kind)?;
        let plural = resource["name"].as_str().unwrap_or_default();
        let base = if version.contains('/') { "apis" } else { "api" };
        Ok(if resource["namespaced"] == true {
            let namespace = of_metadata(document, "namespace").unwrap_or(namespace);
            format!("/{base}/{version}/namespaces/{namespace}/{plural}/{name}")
        } else {
            format!("/{base}/{version}/{plural}/{name}")
        })
    }

    /// What the server says of a kind.
    fn resource(&self, version: &str, kind: &str) -> Result<Value, String> {
        let base = if version.contains('/') { "apis" } else { "api" };
        let list = self.get(&format!("/{base}/{version}"))?;
        let mut resources = list["resources"].as_array().into_iter().flatten();
        let found = resources.find(|resource| {
            let name = resource["name"].as_str().unwrap_or_default();
            resource["kind"] == kind && !name.contains('/')
        });
        found.cloned().ok_or_else(|| format!("the server has no kind `{kind}` in `{version}`"))
    }

    fn ask(&self, method: &str, path: &str, content: &str, body: &str) -> Response {
        let text = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\
             Content-Type: {content}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        request(self.port, &text).expect("the API server answers")
    }
}

impl Keep {
    fn query(self) -> &'static str {
        match self {
            Self::DryRun => "&dryRun=All",
            Self::Stored => "",
        }
    }
}

fn taken(answer: &Response) -> Result<Taken, String> {
    let object: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    if !(200..300).contains(&answer.status) {
        let message = object["message"].as_str().map(str::to_owned);
        let message = message.unwrap_or_else(|| answer.text());
        return Err(format!("{}: {message}", answer.status));
    }
    let fields = answer.head.lines().filter_map(|line| line.split_once(": "));
    let warnings = fields.filter(|(name, _)| name.eq_ignore_ascii_case("warning"));
    let warnings = warnings.map(|(_, value)| value.to_owned()).collect();
    Ok(Taken { object, warnings })
}

/// The value of a key that begins a line, in YAML as programs write it.
fn top<'a>(document: &'a str, key: &str) -> Option<&'a str> {
    document.lines().find_map(|line| value_of(line, key))
}

/// The same for a key of `metadata`.
fn of_metadata<'a>(document: &'a str, key: &str) -> Option<&'a str> {
    let lines = document.lines().skip_while(|line| line.trim_end() != "metadata:").skip(1);
    let inside = lines.take_while(|line| line.starts_with([' ', '#']) || line.is_empty());
    inside.filter_map(|line| line.strip_prefix("  ")).find_map(|line| value_of(line, key))
}

fn value_of<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let value = line.strip_prefix(key)?.strip_prefix(": ")?;
    Some(value.split(" #").next()?.trim().trim_matches(['"', '\'']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_says_which_object_it_is() {
        let text = "# Source: x\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  labels:\n    \
                    name: no\n  # words\n  name: \"api\"\n  namespace: shop # why\nspec:\n  name: no\n";
        assert_eq!(top(text, "apiVersion"), Some("apps/v1"));
        assert_eq!(top(text, "kind"), Some("Deployment"));
        assert_eq!(of_metadata(text, "name"), Some("api"));
        assert_eq!(of_metadata(text, "namespace"), Some("shop"));
        assert_eq!(of_metadata("kind: X\nspec:\n  name: no\n", "name"), None);
    }
}
