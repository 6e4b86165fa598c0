//! Argo CD: one project that says what the applications may do, and one application per
//! environment in a cluster.
//!
//! Environments that somebody has to approve are synced by hand (or by the pipeline, after the
//! approval); all others follow their branch by themselves.

use manifest::Plan;
use manifest::plan::ResourceSpec;

use super::{Edge, helm};
use crate::artifact::Files;
use crate::node::{Map, Node};
use crate::platform::Platform;

/// Where Argo CD itself runs.
const NAMESPACE: &str = "argocd";

/// This cluster.
const SERVER: &str = "https://kubernetes.default.svc";

/// What stands in for the address of the repository, which the manifest does not have.
const REPOSITORY: &str = "https://github.com/OWNER/REPOSITORY.git";

/// Kinds outside the namespace that the chart has.
const CLUSTER_KINDS: &[(&str, &str)] = &[("", "Namespace")];

/// Kinds in the namespace that the chart has, by group.
const KINDS: &[(&str, &[&str])] = &[
    ("", &["ConfigMap", "PersistentVolumeClaim", "Service", "ServiceAccount"]),
    ("apps", &["Deployment", "StatefulSet"]),
    ("argoproj.io", &["AnalysisTemplate", "Rollout"]),
    ("autoscaling", &["HorizontalPodAutoscaler"]),
    ("batch", &["CronJob", "Job"]),
    ("external-secrets.io", &["ExternalSecret", "SecretStore"]),
    ("gateway.networking.k8s.io", &["HTTPRoute"]),
    ("kafka.strimzi.io", &["Kafka", "KafkaNodePool", "KafkaTopic"]),
    ("keda.sh", &["ScaledObject"]),
    ("monitoring.coreos.com", &["PrometheusRule", "ServiceMonitor"]),
    ("networking.k8s.io", &["Ingress", "NetworkPolicy"]),
    ("policy", &["PodDisruptionBudget"]),
    ("postgresql.cnpg.io", &["Cluster", "ScheduledBackup"]),
    ("rbac.authorization.k8s.io", &["Role", "RoleBinding"]),
];

/// Writes the files.
pub(super) fn render(platform: &Platform, files: &mut Files<'_>) {
    let plans: Vec<&Plan> = helm::in_cluster(platform).collect();
    if plans.is_empty() {
        return;
    }
    files.yaml("deploy/argocd/project.yaml", &project(platform.released(), &plans));
    for plan in plans {
        let environment = &plan.environment.name;
        let path = format!("deploy/argocd/{environment}.yaml");
        files.of(environment).yaml(path, &application(plan));
    }
}

/// The value of a key that the user fills in.
fn repository() -> Node {
    Node::from(REPOSITORY).comment(
        "The manifest does not know where the repository is: put its address here, and keep the \
         line\nwith `plimsoll patches`.",
    )
}

fn namespace(plan: &Plan) -> Node {
    let name = plan.environment.namespace.clone();
    let name = name.unwrap_or_else(|| helm::chart_name(plan));
    Node::from(name).because(format!("environments.{}.namespace", plan.environment.name))
}

fn meta(plan: &Plan, name: String) -> Map {
    let labels = Map::new().with("app.kubernetes.io/part-of", helm::chart_name(plan));
    Map::new().with("name", name).with("namespace", NAMESPACE).with("labels", labels)
}

/// What the applications may do: into these namespaces, these kinds, from this repository.
fn project(released: &Plan, plans: &[&Plan]) -> Node {
    let destination =
        |plan: &&Plan| Map::new().with("server", SERVER).with("namespace", namespace(plan));
    let allowed = |group: &str, kind: &str| Map::new().with("group", group).with("kind", kind);
    let cluster = CLUSTER_KINDS.iter().map(|(group, kind)| allowed(group, kind));
    let kinds =
        KINDS.iter().flat_map(|(group, kinds)| kinds.iter().map(|kind| allowed(group, kind)));
    let app = helm::chart_name(released);
    let spec = Map::new()
        .with("description", format!("{} in all environments", released.app))
        .with("sourceRepos", Node::List(vec![repository()]))
        .with("destinations", Node::list(plans.iter().map(destination)))
        .with("clusterResourceWhitelist", Node::list(cluster))
        .with(
            "namespaceResourceWhitelist",
            Node::list(kinds).comment("What the chart has, and nothing else: no Secret among it."),
        )
        .with_any("roles", roles(plans))
        .with("orphanedResources", Map::new().with("warn", true));
    Map::new()
        .with("apiVersion", "argoproj.io/v1alpha1")
        .with("kind", "AppProject")
        .with(
            "metadata",
            meta(released, app).with(
                "finalizers",
                Node::list(["resources-finalizer.argocd.argoproj.io"])
                    .comment("Not deleted while an application uses it."),
            ),
        )
        .with("spec", spec)
        .into()
}

/// Who may sync what nobody syncs by itself.
fn roles(plans: &[&Plan]) -> Node {
    let role = |plan: &&Plan| {
        let environment = &plan.environment;
        let (app, name) = (helm::chart_name(plan), &environment.name);
        let subject = format!("proj:{app}:approve-{name}");
        let on = format!("{app}/{app}-{name}");
        let policy = |action: &str| format!("p, {subject}, applications, {action}, {on}, allow");
        let map = Map::new()
            .with("name", format!("approve-{name}"))
            .with("description", format!("Releases to {name}"))
            .with("policies", Node::list([policy("get"), policy("sync")]))
            .with("groups", Node::list(&environment.approve));
        Node::from(map).because(format!("environments.{name}.approve"))
    };
    Node::list(plans.iter().filter(|plan| !plan.environment.approve.is_empty()).map(role))
}

/// What Argo CD keeps in one environment.
fn application(plan: &Plan) -> Node {
    let environment = &plan.environment;
    let (app, name) = (helm::chart_name(plan), &environment.name);
    let at = format!("environments.{name}");
    let revision = match (&environment.branch, &environment.tag) {
        (Some(branch), _) => Node::from(branch).because(format!("{at}.branch")),
        (None, Some(tag)) => Node::from("HEAD")
            .because(format!("{at}.tag"))
            .comment(format!("The pipeline sets it to the tag (`{tag}`) that is released.")),
        (None, None) => Node::from("HEAD"),
    };
    let helm_values = Map::new()
        .with("releaseName", &app)
        .with("valueFiles", Node::list([format!("values-{name}.yaml")]))
        .with(
            "parameters",
            Node::list([
                Map::new().with("name", "argocd.enabled").with("value", "true"),
                Map::new().with("name", "image.tag").with(
                    "value",
                    Node::from("0.0.0").comment("The pipeline sets it to <semver>-<git sha>."),
                ),
            ]),
        );
    let source = Map::new()
        .with("repoURL", repository())
        .with("targetRevision", revision)
        .with("path", helm::directory(plan))
        .with("helm", helm_values);
    let destination = Map::new().with("server", SERVER).with("namespace", namespace(plan));
    let spec = Map::new()
        .with("project", &app)
        .with("source", source)
        .with("destination", destination)
        .with("syncPolicy", sync_policy(plan))
        .with("ignoreDifferences", ignored())
        .with("revisionHistoryLimit", plan.policies.keep_releases);
    Map::new()
        .with("apiVersion", "argoproj.io/v1alpha1")
        .with("kind", "Application")
        .with("metadata", meta(plan, format!("{app}-{name}")))
        .with("spec", spec)
        .into()
}

fn sync_policy(plan: &Plan) -> Map {
    let environment = &plan.environment;
    let automated = Map::new().with("prune", true).with("selfHeal", true);
    let options = ["CreateNamespace=true", "ServerSideApply=true", "PruneLast=true"];
    let backoff = Map::new().with("duration", "10s").with("factor", 2u32).with("maxDuration", "3m");
    let map = Map::new();
    let map = match environment.approve.is_empty() {
        true => map.with("automated", automated),
        false => map,
    };
    let options = Node::list(options);
    let options = match environment.approve.is_empty() {
        true => options,
        false => options
            .because(format!("environments.{}.approve", environment.name))
            .comment("Not automated: somebody approves, then the pipeline syncs."),
    };
    let label = |mode| (format!("pod-security.kubernetes.io/{mode}"), helm::pod_security(plan));
    let labels: Map = ["enforce", "warn", "audit"].into_iter().map(label).collect();
    map.with("syncOptions", options)
        .with("managedNamespaceMetadata", Map::new().with("labels", labels))
        .with("retry", Map::new().with("limit", 3u32).with("backoff", backoff))
}

/// What autoscalers change is not drift.
fn ignored() -> Node {
    let replicas = |group: &str, kind: &str| {
        Map::new()
            .with("group", group)
            .with("kind", kind)
            .with("jsonPointers", Node::list(["/spec/replicas"]))
    };
    Node::list([replicas("apps", "Deployment"), replicas("argoproj.io", "Rollout")])
}

/// What `uses` of a resource brings.
pub(super) fn edge(_: &ResourceSpec) -> Edge {
    Edge::NotApplicable("an application names the chart; the edge is in the chart's values")
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use expect_test::expect;

    use super::*;
    use crate::artifact::Artifacts;

    const SHOP: &str = "
plimsoll: 1
app: shop
services: {api: {run: ./api, port: 8080}}
environments:
  staging: {target: kubernetes, branch: main}
  production: {target: kubernetes, tag: 'v*', approve: [release-managers]}
";

    fn rendered() -> Artifacts {
        let manifest = manifest::parse(SHOP).unwrap();
        let plan = |name| manifest::resolve(&manifest, name).unwrap().plan;
        let plans = vec![plan("staging"), plan("production")];
        let mut artifacts = Artifacts::default();
        let platform = Platform::new(plans, BTreeMap::new(), BTreeMap::new());
        render(&platform, &mut Files::new(&mut artifacts, "argocd"));
        artifacts
    }

    #[test]
    fn what_must_be_approved_is_not_synced_by_itself() {
        let artifacts = rendered();
        let is_automated = |path| {
            artifacts.get(path).unwrap().text.lines().any(|line| line.trim() == "automated:")
        };
        assert!(is_automated("deploy/argocd/staging.yaml"));
        assert!(!is_automated("deploy/argocd/production.yaml"));
    }

    #[test]
    fn the_project_allows_exactly_the_kinds_of_the_chart() {
        let kinds: BTreeSet<&str> = KINDS
            .iter()
            .flat_map(|(_, kinds)| kinds.iter().copied())
            .chain(CLUSTER_KINDS.iter().map(|(_, kind)| *kind))
            .collect();
        let mut written = BTreeSet::new();
        for line in helm::verbatim_lines() {
            let Some(kind) = line.strip_prefix("kind: ") else { continue };
            match kind {
                "{{ if $isRollout }}Rollout{{ else }}Deployment{{ end }}" => {
                    written.extend(["Rollout", "Deployment"]);
                }
                kind => {
                    written.insert(kind);
                }
            }
        }
        assert_eq!(kinds, written);
    }

    #[test]
    fn an_application_of_production() {
        expect![[r#"
            apiVersion: argoproj.io/v1alpha1
            kind: Application
            metadata:
              name: shop-production
              namespace: argocd
              labels:
                app.kubernetes.io/part-of: shop
            spec:
              project: shop
              source:
                # The manifest does not know where the repository is: put its address here, and keep the line
                # with `plimsoll patches`.
                repoURL: https://github.com/OWNER/REPOSITORY.git
                # The pipeline sets it to the tag (`v*`) that is released.
                targetRevision: HEAD
                path: deploy/helm/shop
                helm:
                  releaseName: shop
                  valueFiles:
                    - values-production.yaml
                  parameters:
                    - name: argocd.enabled
                      value: "true"
                    - name: image.tag
                      # The pipeline sets it to <semver>-<git sha>.
                      value: "0.0.0"
              destination:
                server: https://kubernetes.default.svc
                namespace: shop-production
              syncPolicy:
                # Not automated: somebody approves, then the pipeline syncs.
                syncOptions:
                  - CreateNamespace=true
                  - ServerSideApply=true
                  - PruneLast=true
                managedNamespaceMetadata:
                  labels:
                    pod-security.kubernetes.io/enforce: restricted
                    pod-security.kubernetes.io/warn: restricted
                    pod-security.kubernetes.io/audit: restricted
                retry:
                  limit: 3
                  backoff:
                    duration: 10s
                    factor: 2
                    maxDuration: 3m
              ignoreDifferences:
                - group: apps
                  kind: Deployment
                  jsonPointers:
                    - /spec/replicas
                - group: argoproj.io
                  kind: Rollout
                  jsonPointers:
                    - /spec/replicas
              revisionHistoryLimit: 5
        "#]].assert_eq(&rendered().get("deploy/argocd/production.yaml").unwrap().text);
    }
}
