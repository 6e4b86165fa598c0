//! The Helm chart: templates that are the same for everyone, and data for each environment.
//!
//! The templates are committed by hand and read nothing but values; here the values are made. What
//! is true of every platform stands in the chart's own `values.yaml`; `values-<environment>.yaml`
//! names the services and resources in full, so that it can be read alone. A platform without an
//! environment in a cluster gets no chart.
//!
//! Invariant: values hold data and no secret.

mod resource;
mod service;
mod values;

pub(super) use values::pod_security;

use manifest::Plan;
use manifest::names::ServiceName;
use manifest::plan::{
    BucketVia, HttpVia, ImageVia, KafkaVia, PostgresVia, QueueVia, RedisVia, ResourceSpec, Target,
    VolumeVia,
};

use super::Edge;
use crate::artifact::Files;
use crate::node::{Map, Node};
use crate::platform::Platform;

/// What is the same for everyone, by path below the chart's directory.
const VERBATIM: &[(&str, &str)] = &[
    (".helmignore", include_str!("../../assets/helm/helmignore")),
    ("values.yaml", include_str!("../../assets/helm/values.yaml")),
    ("values.schema.json", include_str!("../../assets/helm/values.schema.json")),
    ("templates/NOTES.txt", include_str!("../../assets/helm/templates/NOTES.txt")),
    ("templates/_names.tpl", include_str!("../../assets/helm/templates/_names.tpl")),
    ("templates/_pod.tpl", include_str!("../../assets/helm/templates/_pod.tpl")),
    (
        "templates/analysistemplate.yaml",
        include_str!("../../assets/helm/templates/analysistemplate.yaml"),
    ),
    ("templates/configmap.yaml", include_str!("../../assets/helm/templates/configmap.yaml")),
    ("templates/cronjob.yaml", include_str!("../../assets/helm/templates/cronjob.yaml")),
    ("templates/deployment.yaml", include_str!("../../assets/helm/templates/deployment.yaml")),
    (
        "templates/externalsecret.yaml",
        include_str!("../../assets/helm/templates/externalsecret.yaml"),
    ),
    ("templates/hpa.yaml", include_str!("../../assets/helm/templates/hpa.yaml")),
    ("templates/httproute.yaml", include_str!("../../assets/helm/templates/httproute.yaml")),
    ("templates/image.yaml", include_str!("../../assets/helm/templates/image.yaml")),
    ("templates/ingress.yaml", include_str!("../../assets/helm/templates/ingress.yaml")),
    ("templates/job.yaml", include_str!("../../assets/helm/templates/job.yaml")),
    ("templates/kafka.yaml", include_str!("../../assets/helm/templates/kafka.yaml")),
    ("templates/migration.yaml", include_str!("../../assets/helm/templates/migration.yaml")),
    ("templates/namespace.yaml", include_str!("../../assets/helm/templates/namespace.yaml")),
    (
        "templates/networkpolicy.yaml",
        include_str!("../../assets/helm/templates/networkpolicy.yaml"),
    ),
    (
        "templates/poddisruptionbudget.yaml",
        include_str!("../../assets/helm/templates/poddisruptionbudget.yaml"),
    ),
    ("templates/postgres.yaml", include_str!("../../assets/helm/templates/postgres.yaml")),
    (
        "templates/prometheusrule.yaml",
        include_str!("../../assets/helm/templates/prometheusrule.yaml"),
    ),
    ("templates/rbac.yaml", include_str!("../../assets/helm/templates/rbac.yaml")),
    ("templates/redis.yaml", include_str!("../../assets/helm/templates/redis.yaml")),
    ("templates/scaledobject.yaml", include_str!("../../assets/helm/templates/scaledobject.yaml")),
    ("templates/secretstore.yaml", include_str!("../../assets/helm/templates/secretstore.yaml")),
    ("templates/service.yaml", include_str!("../../assets/helm/templates/service.yaml")),
    (
        "templates/serviceaccount.yaml",
        include_str!("../../assets/helm/templates/serviceaccount.yaml"),
    ),
    (
        "templates/servicemonitor.yaml",
        include_str!("../../assets/helm/templates/servicemonitor.yaml"),
    ),
    ("templates/volume.yaml", include_str!("../../assets/helm/templates/volume.yaml")),
];

/// Writes the files.
pub(super) fn render(platform: &Platform, files: &mut Files<'_>) {
    let mut plans = in_cluster(platform).peekable();
    if plans.peek().is_none() {
        return;
    }
    let root = directory(platform.released());
    for (path, text) in VERBATIM {
        files.verbatim(format!("{root}/{path}"), text);
    }
    files.yaml(format!("{root}/Chart.yaml"), &chart(platform.released()));
    for plan in plans {
        let environment = &plan.environment.name;
        let path = format!("{root}/values-{environment}.yaml");
        files.of(environment).yaml(path, &values::values(platform, plan));
    }
}

/// Every line of the templates.
#[cfg(test)]
pub(super) fn verbatim_lines() -> impl Iterator<Item = &'static str> {
    let is_template = |(path, _): &&(&str, &str)| path.ends_with(".yaml") && path.contains('/');
    VERBATIM.iter().filter(is_template).flat_map(|(_, text)| text.lines())
}

/// The plans of environments in a cluster.
pub(super) fn in_cluster(platform: &Platform) -> impl Iterator<Item = &Plan> {
    platform.plans().iter().filter(|plan| plan.environment.target == Target::Kubernetes)
}

/// The chart's name: the app's, as Kubernetes takes names.
pub(super) fn chart_name(plan: &Plan) -> String {
    plan.app.as_str().replace('_', "-")
}

/// Where the chart is, below the manifest's directory.
pub(super) fn directory(plan: &Plan) -> String {
    format!("deploy/helm/{}", chart_name(plan))
}

/// `Chart.yaml`.
fn chart(plan: &Plan) -> Node {
    let team = plan.owners.team.as_ref();
    let names: Vec<&str> = plan.services.keys().map(ServiceName::as_str).collect();
    let maintainer = |name: &String| {
        let it = Map::new().with("name", name).with_some("email", plan.owners.email.as_ref());
        Node::list([Node::from(it).because("owners")])
    };
    Map::new()
        .with("apiVersion", "v2")
        .with("name", Node::from(chart_name(plan)).because("app"))
        .with("description", format!("{}: {}", plan.app, names.join(", ")))
        .with("type", "application")
        .with(
            "version",
            Node::from("1.0.0").comment("Of the templates; a release changes `image.tag`."),
        )
        .with("appVersion", "0.0.0")
        .with("kubeVersion", ">=1.27.0-0")
        .with_some("maintainers", team.map(maintainer))
        .into()
}

/// Why a resource on one machine is in no chart.
const ON_A_MACHINE: Edge =
    Edge::NotApplicable("it runs on one machine, and the chart is for environments in a cluster");

/// What `uses` of a resource brings.
pub(super) fn edge(resource: &ResourceSpec) -> Edge {
    match resource {
        ResourceSpec::Postgres(postgres) => match postgres.via {
            PostgresVia::Local | PostgresVia::Docker { .. } => ON_A_MACHINE,
            PostgresVia::Url { .. }
            | PostgresVia::CloudnativePg { .. }
            | PostgresVia::AwsRds { .. }
            | PostgresVia::GcpCloudSql { .. } => Edge::Written,
        },
        ResourceSpec::Redis(redis) => match redis.via {
            RedisVia::Local | RedisVia::Docker { .. } => ON_A_MACHINE,
            RedisVia::Url { .. }
            | RedisVia::Kubernetes { .. }
            | RedisVia::AwsElasticache { .. }
            | RedisVia::GcpMemorystore { .. } => Edge::Written,
        },
        ResourceSpec::Kafka(kafka) => match kafka.via {
            KafkaVia::Local | KafkaVia::Docker { .. } => ON_A_MACHINE,
            KafkaVia::Url { .. } | KafkaVia::Strimzi { .. } | KafkaVia::AwsMsk { .. } => {
                Edge::Written
            }
        },
        ResourceSpec::Bucket(bucket) => match bucket.via {
            BucketVia::Local | BucketVia::Docker { .. } => ON_A_MACHINE,
            BucketVia::Url { .. }
            | BucketVia::AwsS3
            | BucketVia::GcpGcs
            | BucketVia::HetznerObjectStorage => Edge::Written,
        },
        ResourceSpec::Queue(queue) => match queue.via {
            QueueVia::Docker { .. } => ON_A_MACHINE,
            QueueVia::Url { .. } | QueueVia::AwsSqs | QueueVia::GcpPubsub => Edge::Written,
        },
        ResourceSpec::Http(http) => match http.via {
            HttpVia::Mock { .. } => ON_A_MACHINE,
            HttpVia::Url { .. } => Edge::Written,
        },
        ResourceSpec::Volume(volume) => match volume.via {
            VolumeVia::Local | VolumeVia::Docker | VolumeVia::HetznerVolume => ON_A_MACHINE,
            VolumeVia::Kubernetes { .. } | VolumeVia::AwsEfs => Edge::Written,
        },
        ResourceSpec::Image(image) => match image.via {
            ImageVia::Docker => ON_A_MACHINE,
            ImageVia::Url { .. } | ImageVia::Kubernetes => Edge::Written,
        },
    }
}

#[cfg(test)]
mod tests;
