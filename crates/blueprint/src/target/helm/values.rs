//! `values-<environment>.yaml`: what differs between environments, and all services and resources.

use manifest::Plan;
use manifest::plan::{CloudProvider, MetricsBackend, Service, TracesBackend};

use super::{chart_name, directory, resource, service};
use crate::node::{Map, Node};
use crate::platform::Platform;

/// Where the collector of the observability files listens in a cluster.
const COLLECTOR: &str = "http://otel-collector.monitoring:4318";

/// The values of one environment.
pub(super) fn values(platform: &Platform, plan: &Plan) -> Node {
    let environment = &plan.environment;
    let at = format!("environments.{}", environment.name);
    let services = plan.services.values().map(|it| {
        (
            it.name.as_str(),
            service::values(platform, plan, it).because(format!("services.{}", it.name)),
        )
    });
    let resources = plan.resources.values().map(|it| {
        let because = format!("resources.{}", it.name);
        (it.name.as_str(), resource::values(platform, plan, it).because(because))
    });
    let namespace = environment.namespace.as_ref();
    let namespace =
        namespace.map(|name| Map::new().with("name", name).with("podSecurity", pod_security(plan)));
    let repository = plan.image.clone().unwrap_or_else(|| chart_name(plan));
    let values = Map::new()
        .with("environment", Node::from(environment.name.as_str()).because(&at))
        .with_some("namespace", namespace)
        .with("image", Map::new().with("repository", Node::from(repository).because("image")))
        .with("externalSecrets", external_secrets(plan))
        .with_any("telemetry", telemetry(plan))
        .with_any("monitoring", monitoring(plan))
        .apart("services", Node::Map(services.collect()))
        .apart("resources", Node::Map(resources.collect()));
    Node::from(values).comment(header(plan))
}

/// The strictest level of Pod Security that every service keeps to.
pub(in crate::target) fn pod_security(plan: &Plan) -> &'static str {
    let is_root = |service: &Service| service.security.user == 0;
    let wants_more = |service: &Service| {
        service.security.capabilities.iter().any(|name| name != "NET_BIND_SERVICE")
    };
    let mut services = plan.services.values();
    if services.clone().any(wants_more) {
        "privileged"
    } else if services.any(is_root) {
        "baseline"
    } else {
        "restricted"
    }
}

/// How the file is used.
fn header(plan: &Plan) -> String {
    let (app, root, environment) = (chart_name(plan), directory(plan), &plan.environment.name);
    let namespace = plan.environment.namespace.as_deref().unwrap_or("default");
    format!(
        "{app} in {environment}. By hand:\n\
         helm upgrade --install {app} {root} --namespace {namespace} --create-namespace \\\n  \
         --values {root}/values-{environment}.yaml --set image.tag=<semver>-<git sha>"
    )
}

/// Where secrets come from: the cloud's own store, or a Vault.
fn external_secrets(plan: &Plan) -> Map {
    let environment = &plan.environment;
    let path = format!("{}/{}", plan.app, environment.name);
    let Some(cloud) = &environment.cloud else {
        return Map::new().with("provider", "vault").with("path", path);
    };
    let because = format!("environments.{}.cloud", environment.name);
    match cloud.provider {
        CloudProvider::Aws => {
            let role = role(plan, "secrets");
            let store = Map::new()
                .with_some("serviceAccountAnnotations", role)
                .with("aws", Map::new().with("region", &cloud.region));
            Map::new()
                .with("provider", Node::from("aws").because(because))
                .with("path", path)
                .with("store", store)
        }
        CloudProvider::Gcp | CloudProvider::Hetzner => {
            Map::new().with("provider", "vault").with("path", path)
        }
    }
}

/// The annotation by which an account in the cluster becomes a role in AWS: its name is the one
/// that the infrastructure's files give it.
pub(super) fn role(plan: &Plan, name: &str) -> Option<Map> {
    let cloud = plan.environment.cloud.as_ref()?;
    let account = cloud.account.as_ref()?;
    let (app, environment) = (chart_name(plan), &plan.environment.name);
    let arn = format!("arn:aws:iam::{account}:role/{app}-{environment}-{name}");
    let is_aws = cloud.provider == CloudProvider::Aws;
    is_aws.then(|| Map::new().with("eks.amazonaws.com/role-arn", arn))
}

fn telemetry(plan: &Plan) -> Map {
    let traces = &plan.observability.traces;
    let endpoint = match traces.backend {
        TracesBackend::None => None,
        TracesBackend::Otlp => traces.endpoint.clone(),
        TracesBackend::Tempo | TracesBackend::Xray => Some(COLLECTOR.to_owned()),
    };
    let because = |endpoint| Node::from(endpoint).because("observability.traces");
    Map::new().with_some("otlpEndpoint", endpoint.map(because))
}

fn monitoring(plan: &Plan) -> Map {
    let metrics = &plan.observability.metrics;
    let off = || Map::new().with("enabled", false);
    match metrics.backend {
        MetricsBackend::None => {
            Map::new().with("serviceMonitor", off()).with("prometheusRule", off())
        }
        MetricsBackend::Prometheus | MetricsBackend::Amp | MetricsBackend::External => {
            let interval = metrics.interval.to_string();
            let interval = Node::from(interval).because("observability.metrics.interval");
            Map::new().with("interval", interval)
        }
    }
}
