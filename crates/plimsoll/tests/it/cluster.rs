//! The charts and Argo CD files of every example against a real Kubernetes API server.
//!
//! Where the server was not built (`cargo xtask tools --for test`), nothing is claimed, aloud; with
//! `CI=true` that is a failure.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{HELM, KUBERNETES, Keep, Kubernetes, prepared};

/// The examples, with the environment in a cluster that is added where one has none.
const EXAMPLES: &[(&str, &str)] = &[
    ("agent", ""),
    ("discovery", ""),
    ("geo", ""),
    ("novel", "  cluster: {target: kubernetes, domain: novel.example}\n"),
    ("rag", "  cluster: {target: kubernetes, domain: rag.example}\n"),
];

/// What a user may turn on: between them, these have every kind that the charts know.
const VARIANTS: &[&str] = &[
    "revisionHistoryLimit=5",
    "namespace.create=true,argocd.enabled=true,rollouts.enabled=true,edge.kind=gateway,\
     rbac.operators={ops},monitoring.annotations=true",
    "keda.enabled=false,externalSecrets.provider=aws,externalSecrets.store.aws.region=eu-west-1,\
     migrations.enabled=false,telemetry.otlpEndpoint=,edge.tls.clusterIssuer=",
];

/// The only warning that is expected: Argo CD's own name for it has no path.
const FINALIZER: &str = "resources-finalizer.argocd.argoproj.io";

/// How long controllers and Helm may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(300);

/// An example as rendered.
pub(crate) struct Rendered {
    directory: TempDir,
    name: &'static str,
}

/// A server, Helm and charts, shared by the tests that run at the same time.
pub(crate) struct Cluster {
    pub(crate) kubernetes: Kubernetes,
    /// Every example, rendered once.
    pub(crate) examples: Vec<Rendered>,
    helm: PathBuf,
    home: TempDir,
}

impl Cluster {
    /// `None` where something is not installed.
    pub(crate) fn shared() -> Option<Arc<Self>> {
        static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = shared.upgrade() {
            return Some(running);
        }
        let helm = prepared(&format!("{HELM}/helm"))?;
        let kubernetes = Kubernetes::start()?;
        let examples = EXAMPLES.iter().map(|(name, more)| Rendered::new(name, more)).collect();
        let home = tempfile::tempdir().unwrap();
        let started = Arc::new(Self { kubernetes, examples, helm, home });
        *shared = Arc::downgrade(&started);
        Some(started)
    }

    pub(crate) fn helm(&self, args: &[&str]) -> Command {
        let mut helm = Command::new(&self.helm);
        let kubeconfig = self.kubernetes.kubeconfig();
        helm.args(args).env("HOME", self.home.path()).env("KUBECONFIG", kubeconfig);
        helm.stdin(Stdio::null());
        helm
    }

    /// The documents of a chart.
    fn template(&self, chart: &Path, environment: &str, set: &str) -> Vec<String> {
        let values = chart.join(format!("values-{environment}.yaml"));
        let (chart, values) = (chart.display().to_string(), values.display().to_string());
        let version = KUBERNETES.trim_start_matches("kubernetes-");
        let args = ["template", "release", &chart, "--values", &values, "--set", set];
        let mut helm = self.helm(&args);
        helm.args(["--kube-version", version]);
        documents(&said(&mut helm))
    }
}

impl Rendered {
    fn new(name: &'static str, more: &str) -> Self {
        let it = Self { directory: tempfile::tempdir().unwrap(), name };
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name);
        copy(&example, it.path());
        let manifest = it.path().join("plimsoll.yaml");
        let text = fs::read_to_string(&manifest).unwrap();
        fs::write(&manifest, format!("{text}{more}")).unwrap();
        said(Command::new("git").args(["init", "--quiet"]).current_dir(it.path()));
        said(Command::new(env!("CARGO_BIN_EXE_plimsoll")).arg("render").current_dir(it.path()));
        it
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn chart(&self) -> PathBuf {
        let mut charts = fs::read_dir(self.path().join("deploy/helm")).unwrap();
        charts.next().unwrap().unwrap().path()
    }

    /// Names of the environments in a cluster.
    fn environments(&self) -> Vec<String> {
        let names = files(&self.chart()).into_iter().filter_map(|path| {
            let name = path.file_name()?.to_str()?;
            Some(name.strip_prefix("values-")?.strip_suffix(".yaml")?.to_owned())
        });
        let names: Vec<_> = names.collect();
        assert!(!names.is_empty(), "{} has no environment in a cluster", self.name);
        names
    }

    /// The namespace that the values of an environment name, and its level of Pod Security.
    fn namespace(&self, environment: &str) -> (String, String) {
        let values = self.chart().join(format!("values-{environment}.yaml"));
        let text = fs::read_to_string(values).unwrap();
        let lines = text.lines().skip_while(|line| *line != "namespace:").skip(1);
        let lines: Vec<_> = lines.take_while(|line| line.starts_with("  ")).collect();
        let value = |key: &str| {
            let mut found = lines.iter().filter_map(|line| line.trim().strip_prefix(key));
            found.next().unwrap().trim_start_matches(": ").to_owned()
        };
        (value("name"), value("podSecurity"))
    }
}

/// Copies a directory without what programs made in it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        match entry.file_type().unwrap().is_dir() {
            true if ["target", "node_modules", ".plimsoll"].iter().any(|it| path.ends_with(it)) => {
            }
            true => copy(&path, &to),
            false => drop(fs::copy(&path, &to).unwrap()),
        }
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.is_file()).collect();
    files.sort();
    files
}

/// What a command says, which must succeed.
#[track_caller]
pub(crate) fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let (out, err) = (output.stdout, String::from_utf8_lossy(&output.stderr).into_owned());
    assert!(output.status.success(), "{command:?}: {err}");
    String::from_utf8(out).unwrap()
}

/// The documents of a stream that say something.
fn documents(stream: &str) -> Vec<String> {
    let documents = format!("\n{stream}").split("\n---").map(str::to_owned).collect::<Vec<_>>();
    let says_something = |document: &String| {
        document.lines().any(|line| !line.trim().is_empty() && !line.starts_with('#'))
    };
    documents.into_iter().filter(says_something).collect()
}

fn first_lines(document: &str) -> String {
    document.lines().take(8).collect::<Vec<_>>().join("\n")
}

/// The labels of a namespace with a level of Pod Security.
pub(crate) fn pod_security(level: &str) -> Value {
    json!({
        "pod-security.kubernetes.io/enforce": level,
        "pod-security.kubernetes.io/warn": level,
    })
}

/// Every template of Pods in an object, however deep.
fn pod_templates(object: &Value) -> Vec<&Value> {
    let inside = |value: &Value| value.pointer("/spec/containers").is_some();
    match object {
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(key, value)| match key == "template" && inside(value) {
                true => vec![value],
                false => pod_templates(value),
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(pod_templates).collect(),
        _ => Vec::new(),
    }
}

/// The Pods that an object's controller would make, one of each template.
fn pods_of(object: &Value) -> Vec<Value> {
    let claims = object.pointer("/spec/volumeClaimTemplates").and_then(Value::as_array);
    let volumes = claims.into_iter().flatten().map(|claim| {
        let name = &claim["metadata"]["name"];
        json!({"name": name, "persistentVolumeClaim": {"claimName": name}})
    });
    let volumes: Vec<_> = volumes.collect();
    let pod_of = |template: &Value| {
        let mut pod = template.clone();
        pod["metadata"]["generateName"] = "pod-".into();
        let own = pod["spec"]["volumes"].as_array().cloned().unwrap_or_default();
        pod["spec"]["volumes"] = own.into_iter().chain(volumes.iter().cloned()).collect();
        pod
    };
    pod_templates(object).into_iter().map(pod_of).collect()
}

#[test]
fn every_object_of_every_chart_is_admitted_in_every_environment() {
    let Some(cluster) = Cluster::shared() else { return };
    let (mut wrong, mut kinds, mut n_objects) = (BTreeSet::new(), BTreeSet::new(), 0);
    for example in &cluster.examples {
        for environment in example.environments() {
            let (namespace, level) = example.namespace(&environment);
            cluster.kubernetes.namespace(&namespace, &pod_security(&level));
            for set in VARIANTS {
                for document in cluster.template(&example.chart(), &environment, set) {
                    let taken = cluster.kubernetes.apply(&document, &namespace, Keep::DryRun);
                    let why = match taken {
                        Ok(taken) if taken.warnings.is_empty() => {
                            kinds.insert(taken.object["kind"].as_str().unwrap().to_owned());
                            n_objects += 1;
                            continue;
                        }
                        Ok(taken) => taken.warnings.join("; "),
                        Err(why) => why,
                    };
                    let object = first_lines(&document);
                    wrong.insert(format!("{namespace}, {set}: {why}\n{object}\n"));
                }
            }
        }
    }
    let texts: Vec<_> = wrong.into_iter().collect();
    assert!(texts.is_empty(), "{n_objects} were admitted, not these:\n{}", texts.join("\n"));
    let wanted = kinds_of_the_project(&cluster.examples[0]);
    assert!(wanted.len() > 20, "the project allows only {wanted:?}");
    for kind in wanted {
        assert!(kinds.contains(&kind), "no example has a `{kind}`; they have {kinds:?}");
    }
    println!("{n_objects} objects of {} kinds were admitted", kinds.len());
}

/// What Argo CD lets our charts make: every kind that they have.
fn kinds_of_the_project(example: &Rendered) -> BTreeSet<String> {
    let text = fs::read_to_string(example.path().join("deploy/argocd/project.yaml")).unwrap();
    let kinds = text.lines().filter_map(|line| line.strip_prefix("      kind: "));
    kinds.map(str::to_owned).collect()
}

#[test]
fn every_pod_is_admitted_where_its_level_of_security_is_enforced() {
    let Some(cluster) = Cluster::shared() else { return };
    let mut n_pods = 0;
    for example in &cluster.examples {
        for environment in example.environments() {
            let (name, level) = example.namespace(&environment);
            assert_eq!(level, "restricted", "{name}");
            let namespace = format!("{name}-pods");
            cluster.kubernetes.namespace(&namespace, &pod_security(&level));
            let set = format!("namespace.name={namespace},rollouts.enabled=true");
            // An account must be there before a Pod that uses it.
            let mut documents = cluster.template(&example.chart(), &environment, &set);
            documents.sort_by_key(|document| !document.contains("\nkind: ServiceAccount\n"));
            let mut pods = Vec::new();
            for document in documents {
                let is_account = document.contains("\nkind: ServiceAccount\n");
                let keep = if is_account { Keep::Stored } else { Keep::DryRun };
                let taken = cluster.kubernetes.apply(&document, &namespace, keep).unwrap();
                pods.extend(pods_of(&taken.object));
            }
            for pod in pods {
                let path = format!("/api/v1/namespaces/{namespace}/pods");
                let taken = cluster.kubernetes.create(&path, &pod, Keep::DryRun);
                let taken = taken.unwrap_or_else(|why| panic!("{namespace}: {why}\n{pod}"));
                assert_eq!(taken.warnings, [""; 0], "{pod}");
                n_pods += 1;
            }
        }
    }
    assert!(n_pods > 20, "only {n_pods} Pods were tried");
}

#[test]
fn what_is_wrong_is_refused() {
    let Some(cluster) = Cluster::shared() else { return };
    cluster.kubernetes.namespace("wrong", &pod_security("restricted"));
    let example = &cluster.examples[0];
    let documents = cluster.template(&example.chart(), "production", "namespace.name=wrong");
    let of_kind = |kind: &str| {
        let mut found = documents.iter().filter(|it| it.contains(&format!("\nkind: {kind}\n")));
        found.next().unwrap_or_else(|| panic!("no {kind}")).as_str()
    };
    let refusal = |document: &str, right: &str, wrong: &str| {
        let broken = document.replacen(right, wrong, 1);
        assert_ne!(broken, document, "{right:?} is not in:\n{document}");
        assert!(cluster.kubernetes.apply(document, "wrong", Keep::DryRun).is_ok());
        cluster.kubernetes.apply(&broken, "wrong", Keep::DryRun).unwrap_err()
    };
    let deployment = of_kind("Deployment");
    let why = refusal(deployment, "  revisionHistoryLimit: 5", "  revisionHistoryLimit: five");
    assert!(why.contains("revisionHistoryLimit"), "{why}");
    let why = refusal(deployment, "  revisionHistoryLimit:", "  revisionHistoryLimits:");
    assert!(why.contains("revisionHistoryLimits"), "{why}");
    let why = refusal(of_kind("ScaledObject"), "maxReplicaCount: ", "maxReplicaCount: -x");
    assert!(why.contains("maxReplicaCount"), "{why}");
    let why = refusal(of_kind("Kafka"), "type: internal", "type: eternal");
    assert!(why.contains("eternal"), "{why}");

    let accounts = documents.iter().filter(|it| it.contains("\nkind: ServiceAccount\n"));
    for account in accounts {
        cluster.kubernetes.apply(account, "wrong", Keep::Stored).unwrap();
    }
    let taken = cluster.kubernetes.apply(deployment, "wrong", Keep::DryRun).unwrap();
    let mut pod = pods_of(&taken.object).remove(0);
    pod["spec"]["hostNetwork"] = true.into();
    let refused = cluster.kubernetes.create("/api/v1/namespaces/wrong/pods", &pod, Keep::DryRun);
    let why = refused.unwrap_err();
    assert!(why.contains("violates PodSecurity \"restricted"), "{why}");
}

#[test]
fn every_file_of_argo_cd_is_admitted() {
    let Some(cluster) = Cluster::shared() else { return };
    cluster.kubernetes.namespace("argocd", &json!({}));
    let mut kinds = Vec::new();
    for example in &cluster.examples {
        for file in files(&example.path().join("deploy/argocd")) {
            for document in documents(&fs::read_to_string(&file).unwrap()) {
                let taken = cluster.kubernetes.apply(&document, "", Keep::DryRun);
                let taken = taken.unwrap_or_else(|why| panic!("{}: {why}", file.display()));
                let is_new = |warning: &&String| !warning.contains(FINALIZER);
                let new: Vec<_> = taken.warnings.iter().filter(is_new).collect();
                assert!(new.is_empty(), "{}: {new:?}", file.display());
                kinds.push(taken.object["kind"].as_str().unwrap().to_owned());
            }
        }
    }
    let n_of = |kind: &str| kinds.iter().filter(|it| *it == kind).count();
    assert_eq!(n_of("AppProject"), EXAMPLES.len());
    assert!(n_of("Application") > EXAMPLES.len(), "{kinds:?}");
}
