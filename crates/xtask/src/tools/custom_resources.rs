//! The definitions of the kinds that a chart has and Kubernetes itself does not, from those who
//! define them.
//!
//! Most are files of a Go module; Strimzi's are written by its own generator. It deliberately takes
//! only the kinds that our charts and Argo CD files have.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// Files of one Go module.
struct Module {
    path: &'static str,
    version: &'static str,
    /// As `go.sum` has it.
    sum: &'static str,
    directory: &'static str,
    files: &'static [&'static str],
}

const MODULES: &[Module] = &[
    Module {
        path: "github.com/argoproj/argo-cd/v3",
        version: "v3.5.7",
        sum: "h1:Xm1BF+I5OgDKUG3SDK49vn2/Y5AMyaNVko+/JT08gj0=",
        directory: "manifests/crds",
        files: &["application-crd.yaml", "appproject-crd.yaml"],
    },
    Module {
        path: "github.com/argoproj/argo-rollouts",
        version: "v1.9.0",
        sum: "h1:bXgBpwCByXyAUcgBnyP0fxkSW2CEot78InTFjFlag5g=",
        directory: "manifests/crds",
        files: &["analysis-template-crd.yaml", "rollout-crd.yaml"],
    },
    Module {
        path: "github.com/cloudnative-pg/cloudnative-pg",
        version: "v1.27.0",
        sum: "h1:mp0zlYO4vKAJmQdArWORWKr1lmB4Hj8JeBQGX5RBnpg=",
        directory: "config/crd/bases",
        files: &["postgresql.cnpg.io_clusters.yaml", "postgresql.cnpg.io_scheduledbackups.yaml"],
    },
    Module {
        path: "github.com/external-secrets/external-secrets",
        version: "v1.3.2",
        sum: "h1:u2J8RjlHIeF0oZCqtl92adI/uZWUwOesJIDkfql6LqQ=",
        directory: "config/crds/bases",
        files: &[
            "external-secrets.io_externalsecrets.yaml",
            "external-secrets.io_secretstores.yaml",
        ],
    },
    Module {
        path: "github.com/kedacore/keda/v2",
        version: "v2.20.2",
        sum: "h1:SR60v8uIcelbveS8n/1jcl8tLdBBIbHMxmdOHw8tKqA=",
        directory: "config/crd/bases",
        files: &["keda.sh_scaledobjects.yaml"],
    },
    Module {
        path: "github.com/prometheus-operator/prometheus-operator",
        version: "v0.85.0",
        sum: "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=",
        directory: "example/prometheus-operator-crd",
        files: &[
            "monitoring.coreos.com_prometheusrules.yaml",
            "monitoring.coreos.com_servicemonitors.yaml",
        ],
    },
    Module {
        path: "sigs.k8s.io/gateway-api",
        version: "v1.5.1",
        sum: "h1:RqVRIlkhLhUO8wOHKTLnTJA6o/1un4po4/6M1nRzdd0=",
        directory: "config/crd/standard",
        files: &["gateway.networking.k8s.io_httproutes.yaml"],
    },
];

/// Strimzi's generator, pinned.
const STRIMZI: &str = "crates/testkit/kubernetes/pom.xml";

/// Its classes and the files that it writes.
const STRIMZI_KINDS: &[(&str, &str)] = &[
    ("io.strimzi.api.kafka.model.kafka.Kafka", "kafka.strimzi.io_kafkas.yaml"),
    ("io.strimzi.api.kafka.model.nodepool.KafkaNodePool", "kafka.strimzi.io_kafkanodepools.yaml"),
    ("io.strimzi.api.kafka.model.topic.KafkaTopic", "kafka.strimzi.io_kafkatopics.yaml"),
];

/// Where they go: a name for this list.
pub(super) fn directory() -> String {
    testkit::CUSTOM_RESOURCES.to_owned()
}

/// Fetches and writes them.
pub(super) fn install(into: &Path) -> Result<()> {
    for module in MODULES {
        module.copy(into)?;
    }
    let jars = tempfile::tempdir()?;
    super::kafka::copy_jars(STRIMZI, jars.path())?;
    let files = STRIMZI_KINDS.iter().map(|(class, file)| {
        let file = into.join(file);
        format!("{class}={}", file.display())
    });
    super::run(
        Command::new("java")
            .arg("-cp")
            .arg(jars.path().join("*"))
            .args(["io.strimzi.crdgenerator.CrdGenerator", "--yaml"])
            .args(files),
    )
}

impl Module {
    fn copy(&self, into: &Path) -> Result<()> {
        let from = self.fetch(into)?.join(self.directory);
        for file in self.files {
            let from = from.join(file);
            let text = std::fs::read(&from);
            let text = text.with_context(|| format!("cannot read `{}`", from.display()))?;
            // A file of a module is read-only; its copy is not.
            std::fs::write(into.join(file), text)
                .with_context(|| format!("cannot write `{file}`"))?;
        }
        Ok(())
    }

    /// The directory of its files, in the cache of Go's modules.
    fn fetch(&self, outside_of_modules: &Path) -> Result<PathBuf> {
        let name = format!("{}@{}", self.path, self.version);
        eprintln!("tools: go mod download {name}");
        let output = Command::new("go")
            .args(["mod", "download", "-json", &name])
            .current_dir(outside_of_modules)
            .output()
            .context("cannot start `go`")?;
        let said = String::from_utf8_lossy(&output.stderr);
        let it: Value = serde_json::from_slice(&output.stdout)
            .with_context(|| format!("`go mod download {name}` failed: {said}"))?;
        let field = |field: &str| {
            let value = it[field].as_str();
            value.with_context(|| format!("`{name}` has no {field}: {}", it["Error"]))
        };
        ensure!(field("Sum")? == self.sum, "`{name}` is not what it was: {}", field("Sum")?);
        Ok(PathBuf::from(field("Dir")?))
    }
}
