//! Helm's releases of a rendered chart in a real cluster's API: installed, upgraded, rolled back.
//!
//! No Pod runs there; how a migration ends is said by the test, in the place of the node.

use std::io::Read as _;
use std::process::Stdio;
use std::sync::Arc;

use serde_json::{Value, json};
use testkit::{wait_for, wait_for_some};

use crate::cluster::{Cluster, LIMIT, pod_security, said};

/// A release in a namespace of its own.
struct Release {
    cluster: Arc<Cluster>,
    namespace: &'static str,
}

/// How one step went.
#[derive(Default)]
struct Step {
    is_success: bool,
    /// What Helm said of its failure.
    said: String,
    /// Image tags of the Deployments when the first migration ran.
    before: Vec<String>,
    n_migrations: usize,
}

impl Release {
    fn installed(namespace: &'static str) -> Option<Self> {
        let cluster = Cluster::shared()?;
        cluster.kubernetes.namespace(namespace, &pod_security("restricted"));
        let it = Self { cluster, namespace };
        let step = it.upgrade("1.0.0", "Succeeded");
        assert!(step.is_success, "{}", step.said);
        assert_eq!(it.tags(), ["1.0.0"]);
        Some(it)
    }

    /// `helm upgrade --install` to an image, with migrations that end so.
    fn upgrade(&self, tag: &str, phase: &str) -> Step {
        let chart = self.cluster.examples[0].chart();
        let values = chart.join("values-staging.yaml");
        let set = format!("image.tag={tag},namespace.name={}", self.namespace);
        let mut helm = self.cluster.helm(&["upgrade", "--install", "agent", "--set", &set]);
        helm.arg(&chart).arg("--values").arg(values).args(["--namespace", self.namespace]);
        helm.args(["--timeout", "280s"]).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = helm.spawn().unwrap();
        let mut step = Step::default();
        step.is_success = wait_for_some(&format!("{helm:?}"), LIMIT, || {
            self.end_migrations(phase, &mut step);
            child.try_wait().unwrap().map(|status| status.success())
        });
        child.stderr.take().unwrap().read_to_string(&mut step.said).unwrap();
        step
    }

    /// Tells the API server that the Pods of migrations ended, as their node would.
    fn end_migrations(&self, phase: &str, step: &mut Step) {
        let pods = format!("/api/v1/namespaces/{}/pods", self.namespace);
        let selector = "labelSelector=app.kubernetes.io/component%3Dmigration";
        for pod in self.list(&format!("{pods}?{selector}")) {
            let is_ending = !pod["metadata"]["deletionTimestamp"].is_null();
            if pod["status"]["phase"] != "Pending" || is_ending {
                continue;
            }
            if step.n_migrations == 0 {
                step.before = self.tags();
            }
            let name = pod["metadata"]["name"].as_str().unwrap();
            let status = json!({"status": {"phase": phase}});
            let told = self.cluster.kubernetes.merge(&format!("{pods}/{name}/status"), &status);
            step.n_migrations += usize::from(told.is_ok());
        }
    }

    fn list(&self, path: &str) -> Vec<Value> {
        let list = self.cluster.kubernetes.get(path).unwrap();
        list["items"].as_array().cloned().unwrap_or_default()
    }

    fn deployments(&self) -> Vec<Value> {
        self.list(&format!("/apis/apps/v1/namespaces/{}/deployments", self.namespace))
    }

    /// The image tags of all Deployments of our own, each once.
    fn tags(&self) -> Vec<String> {
        let deployments = self.deployments();
        let images = deployments.iter().filter_map(|deployment| {
            let image = deployment.pointer("/spec/template/spec/containers/0/image")?.as_str()?;
            image.starts_with("ghcr.io/acme/agent/").then(|| image.rsplit(':').next().unwrap())
        });
        let mut tags: Vec<_> = images.map(str::to_owned).collect();
        tags.sort();
        tags.dedup();
        tags
    }
}

#[test]
fn migrations_end_before_an_upgrade_changes_any_deployment() {
    let Some(release) = Release::installed("release-upgraded") else { return };
    let step = release.upgrade("2.0.0", "Succeeded");
    assert!(step.is_success, "{}", step.said);
    assert!(step.n_migrations > 0, "no migration ran");
    assert_eq!(step.before, ["1.0.0"]);
    assert_eq!(release.tags(), ["2.0.0"]);
}

#[test]
fn a_migration_that_failed_leaves_every_deployment_as_it_was() {
    let Some(release) = Release::installed("release-failed") else { return };
    let step = release.upgrade("2.0.0", "Failed");
    assert!(!step.is_success);
    assert!(step.said.contains("pre-upgrade hooks failed"), "{}", step.said);
    assert_eq!(release.tags(), ["1.0.0"]);
}

#[test]
fn a_rollback_brings_the_deployments_of_the_release_before() {
    let Some(release) = Release::installed("release-rolled-back") else { return };
    let step = release.upgrade("2.0.0", "Succeeded");
    assert!(step.is_success, "{}", step.said);
    let args = ["rollback", "agent", "1", "--namespace", release.namespace];
    said(&mut release.cluster.helm(&args));
    assert_eq!(release.tags(), ["1.0.0"]);
}

#[test]
fn the_pods_of_a_release_are_made_where_restricted_is_enforced() {
    let Some(release) = Release::installed("release-pods") else { return };
    let deployments = release.deployments();
    assert!(deployments.len() > 5, "only {} Deployments", deployments.len());
    for deployment in deployments {
        let wanted = deployment["spec"]["replicas"].as_u64().unwrap();
        let name = deployment["metadata"]["name"].as_str().unwrap();
        let path = format!("/apis/apps/v1/namespaces/{}/deployments/{name}", release.namespace);
        wait_for(&format!("{wanted} Pods of {name}"), LIMIT, || {
            let found = release.cluster.kubernetes.get(&path).unwrap();
            found["status"]["replicas"] == wanted
        });
    }
}
