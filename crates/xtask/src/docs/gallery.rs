//! The gallery: what is rendered for each example, with a line on each file.
//!
//! A function of the manifests and locks below `examples/`, which a test of `plimsoll` keeps equal
//! to what is rendered. It deliberately shows no file: they are a click away.
//!
//! Invariant: every rendered file has words in [`ABOUT`], or there is no page.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use blueprint::{Lock, TARGETS, lock};
use contract::reference::GENERATED;
use manifest::Plan;
use manifest::plan::{Service, UseTarget};

/// Where the page is.
pub(super) const PAGE: &str = "docs/gallery.md";

/// The platforms, simplest first.
const PLATFORMS: &[&str] = &["discovery", "rag", "novel", "geo", "agent"];

/// The platform whose chart is shown for all: every chart has the same templates.
const CHART_OF: &str = "agent";

/// What a file is, by how its path begins and ends.
const ABOUT: &[(&str, &str, &str)] = &[
    ("", "Dockerfile", "stages of the images: dependencies, build, and a last one without a shell"),
    ("", ".dockerignore", "what the build may not see"),
    ("", "nginx.conf", "how nginx sends the site"),
    ("docker-bake.json", "", "builds and tags all images with one command"),
    ("compose.dev.yaml", "", "everything on a developer's machine, with reload"),
    ("compose.prod.yaml", "", "production on one host: limits, read-only roots, networks per edge"),
    ("compose.", ".yaml", "the same for an environment before production"),
    ("caddy/", ".Caddyfile", "the edge of a host: names, paths, certificates"),
    ("mocks/", ".json", "the answer of a mock to every call; edit it"),
    (".env.example", "", "every variable that any service reads, and where it comes from"),
    (
        "secrets/README.md",
        "",
        "the secrets of each environment: who reads, makes and replaces them",
    ),
    ("secrets/.gitignore", "", "keeps the values out of the repository"),
    ("Makefile", "", "the verbs of a developer's day"),
    ("docs/PORTS.md", "", "which port is whose"),
    (".pre-commit-config.yaml", "", "linters and a scan for secrets before each commit"),
    (".editorconfig", "", "indents and line ends"),
    ("deploy/argocd/project.yaml", "", "what Argo CD may apply, and where"),
    ("deploy/argocd/", ".yaml", "the application of an environment"),
    ("deploy/helm/", "/Chart.yaml", "name and versions of the chart"),
    ("deploy/helm/", "/values.yaml", "what holds in every environment"),
    ("deploy/helm/", "/values.schema.json", "refuses misspelt values"),
    ("deploy/helm/", "/.helmignore", "what no package of the chart has"),
    ("deploy/helm/", ".yaml", "the services and resources of an environment"),
];

/// What a template of the chart makes.
const TEMPLATES: &[(&str, &str)] = &[
    ("NOTES.txt", "what is said after an installation"),
    ("_names.tpl", "names, labels and image references"),
    ("_pod.tpl", "the pod: environment, mounts, probes, security contexts"),
    ("analysistemplate.yaml", "what decides whether a release goes on, from the service's own SLO"),
    ("configmap.yaml", "the environment of each service"),
    ("cronjob.yaml", "services with a schedule"),
    ("deployment.yaml", "services that last, as Deployments or Rollouts"),
    ("externalsecret.yaml", "secrets from Vault or AWS Secrets Manager"),
    ("hpa.yaml", "scaling on CPU, memory and latency"),
    ("httproute.yaml", "routes, where the cluster has the Gateway API"),
    ("image.yaml", "resources that are somebody else's image"),
    ("ingress.yaml", "routes, where it has an ingress controller"),
    ("job.yaml", "services that run once per release"),
    ("kafka.yaml", "a Kafka cluster and its topics, by Strimzi"),
    ("migration.yaml", "schema changes before traffic moves"),
    ("namespace.yaml", "the namespace, with its level of pod security"),
    ("networkpolicy.yaml", "everything closed but the edges of the manifest"),
    ("poddisruptionbudget.yaml", "how many pods a drain of a node may take"),
    ("postgres.yaml", "a Postgres cluster and its copies, by CloudNativePG"),
    ("prometheusrule.yaml", "the latency that the HPA is told"),
    ("rbac.yaml", "what services and operators may do in the namespace"),
    ("redis.yaml", "a Redis server"),
    ("scaledobject.yaml", "scaling on the depth of a queue, by KEDA"),
    ("secretstore.yaml", "the store that secrets come from"),
    ("service.yaml", "names in the cluster, and what Prometheus finds pods by"),
    ("serviceaccount.yaml", "an account per service"),
    ("servicemonitor.yaml", "what Prometheus scrapes"),
    ("volume.yaml", "disks"),
];

/// The page.
pub(super) fn page(root: &Path) -> Result<String> {
    let mut page = format!(
        "# Gallery\n\n{GENERATED}\n\n\
         What `plimsoll render` writes for five platforms, each from the one manifest beside it.\n\
         Only `discovery` has sources; of the others there is what says how they would be built.\n\
         A test renders all of them and compares every byte.\n"
    );
    let mut chart = None;
    for name in PLATFORMS {
        let platform = Platform::read(root, name)?;
        platform.write(&mut page)?;
        if *name == CHART_OF {
            chart = Some(platform.chart());
        }
    }
    let (directory, templates) = chart.context("the platform with the chart is one of them")?;
    page.push_str(
        "\n## Templates of the chart\n\nThe same for every platform: what differs stands in the \
         values.\n\n| file | what it makes |\n| --- | --- |\n",
    );
    for template in templates {
        let about = TEMPLATES.iter().find(|(name, _)| *name == template);
        let (_, about) = about.with_context(|| no_words(&template))?;
        let _ = writeln!(page, "| [`{template}`]({directory}/{template}) | {about} |");
    }
    Ok(page)
}

fn no_words(path: &str) -> String {
    format!(
        "the gallery has no words for `{path}`: write a line in crates/xtask/src/docs/gallery.rs"
    )
}

/// One example.
struct Platform {
    name: &'static str,
    /// The sentence at the top of its manifest.
    about: String,
    /// Its plans in the order of promotion.
    plans: Vec<Plan>,
    /// The target of each rendered file, by path.
    files: BTreeMap<String, String>,
}

impl Platform {
    fn read(root: &Path, name: &'static str) -> Result<Platform> {
        let read = |file: &str| {
            let path = format!("examples/{name}/{file}");
            std::fs::read_to_string(root.join(&path))
                .with_context(|| format!("cannot read `{path}`"))
        };
        let text = read("plimsoll.yaml")?;
        let bad = |problem: String| anyhow!("`examples/{name}/plimsoll.yaml`: {problem}");
        let manifest = manifest::parse(&text).map_err(|all| bad(format!("{all:?}")))?;
        let names = manifest.environments();
        let plan = |environment: &&manifest::names::EnvName| {
            let resolved = manifest::resolve(&manifest, environment.as_str());
            resolved.map(|it| it.plan).map_err(|all| bad(format!("{all:?}")))
        };
        let plans = names.iter().map(plan).collect::<Result<Vec<Plan>>>()?;
        let lock = Lock::parse(&read(lock::NAME)?).map_err(|error| anyhow!("{name}: {error}"))?;
        let files = lock.files.into_iter().map(|(path, entry)| (path, entry.target)).collect();
        let about = text.lines().next().unwrap_or_default().trim_start_matches(['#', ' ']);
        Ok(Platform { name, about: about.to_owned(), plans, files })
    }

    fn released(&self) -> Result<&Plan> {
        self.plans.last().context("every manifest has an environment")
    }

    fn write(&self, page: &mut String) -> Result<()> {
        let directory = format!("../examples/{}", self.name);
        let _ = writeln!(
            page,
            "\n## {}\n\n{}\nAll of it follows from [`plimsoll.yaml`]({directory}/plimsoll.yaml).",
            self.name, self.about
        );
        self.write_services(page)?;
        self.write_resources(page)?;
        for target in TARGETS {
            let files = self.files.iter().filter(|(_, of)| of.as_str() == target.name);
            let mut rows = String::new();
            for (path, _) in files.filter(|(path, _)| !path.contains("/templates/")) {
                let _ = writeln!(rows, "| [{path}]({directory}/{path}) | {} |", about(path)?);
            }
            if !rows.is_empty() {
                let help = first_upper(target.help);
                let _ = write!(page, "\n{help}:\n\n| file | what it is |\n| --- | --- |\n{rows}");
            }
        }
        Ok(())
    }

    fn write_services(&self, page: &mut String) -> Result<()> {
        page.push_str(
            "\n| service | kind | runs | port | uses |\n| --- | --- | --- | --- | --- |\n",
        );
        for service in self.released()?.services.values() {
            let port = service.port.map_or_else(String::new, |port| port.to_string());
            let uses: Vec<&str> = service.uses.values().map(|used| target(&used.target)).collect();
            let _ = writeln!(
                page,
                "| `{}` | {} | {} | {port} | {} |",
                service.name,
                service.kind.as_str(),
                runs(service),
                uses.join(", ")
            );
        }
        Ok(())
    }

    fn write_resources(&self, page: &mut String) -> Result<()> {
        let names: Vec<&str> = self.plans.iter().map(|it| it.environment.name.as_str()).collect();
        let _ = write!(page, "\n| resource | type | {} |\n", names.join(" | "));
        let _ = writeln!(page, "| --- | --- |{}", " --- |".repeat(names.len()));
        for resource in self.released()?.resources.values() {
            let by_environment = self.plans.iter().map(|plan| {
                plan.resources.get(&resource.name).map_or("-", |resource| resource.spec.via())
            });
            let _ = writeln!(
                page,
                "| `{}` | {} | {} |",
                resource.name,
                resource.spec.kind().as_str(),
                by_environment.collect::<Vec<_>>().join(" | ")
            );
        }
        Ok(())
    }

    /// The directory of the chart's templates, and their names.
    fn chart(&self) -> (String, Vec<String>) {
        let directory = format!("deploy/helm/{}/templates", self.name);
        let names = self.files.keys().filter_map(|path| {
            Some(path.strip_prefix(&directory)?.trim_start_matches('/').to_owned())
        });
        let names = names.collect();
        (format!("../examples/{}/{directory}", self.name), names)
    }
}

/// The words of the first row of [`ABOUT`] that a path fits.
fn about(path: &str) -> Result<&'static str> {
    let name = path.rsplit('/').next().unwrap_or_default();
    let fits = |(begin, end, _): &&(&str, &str, &str)| match (*begin, *end) {
        ("", end) => name == end || (end.starts_with('.') && name.ends_with(end)),
        (whole, "") => path == whole,
        (begin, end) => path.starts_with(begin) && path.ends_with(end),
    };
    let found = ABOUT.iter().find(fits);
    found.map(|(_, _, about)| *about).with_context(|| no_words(path))
}

fn target(target: &UseTarget) -> &str {
    match target {
        UseTarget::Resource(name) => name.as_str(),
        UseTarget::Service(name) => name.as_str(),
    }
}

/// What a service runs, as its manifest says it.
fn runs(service: &Service) -> String {
    match (&service.run, &service.site) {
        (Some(run), _) => format!("`{}`", run.line()),
        (None, Some(site)) => format!("the files of `{}`", site.dir),
        (None, None) => String::new(),
    }
}

fn first_upper(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_words_is_an_error_that_says_where_to_write_them() {
        assert!(about("api/Dockerfile").unwrap().contains("stages"));
        assert!(about("api/Dockerfile.dockerignore").unwrap().contains("may not see"));
        assert!(about("deploy/helm/a/values-production.yaml").unwrap().contains("an environment"));
        let error = about("deploy/new.toml").unwrap_err().to_string();
        assert!(error.contains("docs/gallery.rs"), "{error}");
    }
}
