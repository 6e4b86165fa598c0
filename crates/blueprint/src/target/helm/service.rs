//! One service as values: everything that its pods, scaling, routes and network rules need.

use std::collections::BTreeSet;

use manifest::Plan;
use manifest::names::SecretName;
use manifest::plan::{
    BucketVia, CloudProvider, Command, KafkaVia, Kind, Migrate, Overlap, QueueVia, Resource,
    ResourceSpec, Restart, Scale, Service, UseTarget,
};
use manifest::units::{Millis, Ppm};

use super::{resource, values};
use crate::address::Place;
use crate::environment::{self, Environment, STATE_DIR, Var};
use crate::image;
use crate::node::{Map, Node};
use crate::platform::Platform;
use crate::timing::StopTimes;

/// Between two looks at whether it has started.
const STARTUP_PERIOD_S: u64 = 5;

/// Looks beyond the start that `run` allows: it gives up itself, with a word about why.
const STARTUP_SLACK: u64 = 6;

/// How much faster than allowed a new release may use up the error budget.
const BURN_MAX: u64 = 10;

/// A run that the cluster missed is made up for within this time.
const STARTING_DEADLINE_S: u32 = 300;

/// The values of a service.
pub(super) fn values(platform: &Platform, plan: &Plan, service: &Service) -> Node {
    let at = format!("services.{}", service.name);
    let environment = Environment::of(plan, service, Place::Kubernetes);
    let because = |path: &str, node: Node| node.because(format!("{at}.{path}"));
    let is_lasting = is_lasting(service);
    let times = StopTimes::of(service);
    let port = service.port.map(|port| because("port", port.get().into()));
    let mut map = Map::new()
        .with("kind", service.kind.as_str())
        .with("image", Map::new().with("name", service.name.as_str()))
        .with_some("port", port)
        .with_any("routes", because("route", routes(service)));
    if !service.route.is_empty() {
        map.put("requestTimeoutSeconds", because("drain", seconds(service.drain.limit)));
    }
    let secrets = secrets(plan, service, &environment);
    map = map
        .with_any("smoke", because("smoke", smoke(service)))
        .with_any("uses", uses(plan, service))
        .with("env", env(&environment))
        .with_any("secrets", secrets.named)
        .with_any("secretsFrom", secrets.made)
        .with_any("volumes", volumes(plan, service))
        .with("writable", because("security", writable(service)))
        .with("scale", because("scale", scale(&service.scale).into()));
    if is_lasting {
        map.put("analysis", because("slo", analysis(service)));
        map.put("probes", because("health", probes(service)));
    }
    map = map
        .with("resources", because("limits", resources(service)))
        .with_some("nodeSelector", node_selector(plan, service).map(|it| because("gpu", it)))
        .with("security", because("security", security(service)))
        .with("strategy", because("drain", strategy(plan, service).into()))
        .with("terminationGracePeriodSeconds", because("stop", times.kill_after_s.into()));
    if !is_lasting {
        map.put("restartPolicy", because("restart", restart(service).into()));
    }
    map.with_some("schedule", schedule(service))
        .with_some(
            "migration",
            service.migrate.as_ref().map(|it| migration(platform, plan, service, it)),
        )
        .with_some("serviceAccountAnnotations", role(plan, service))
        .into()
}

/// Whether it runs until it is stopped.
const fn is_lasting(service: &Service) -> bool {
    match service.kind {
        Kind::Web | Kind::Static | Kind::Worker => true,
        Kind::Cron | Kind::Job => false,
    }
}

fn routes(service: &Service) -> Node {
    let route = |route: &manifest::plan::Route| {
        Map::new().with("host", route.host.as_str()).with("path", route.path.as_str())
    };
    Node::list(service.route.iter().map(route))
}

fn smoke(service: &Service) -> Node {
    Node::list(service.smoke.iter().map(|check| {
        Map::new()
            .with("path", check.path.as_str())
            .with("status", check.status)
            .with_some("contains", check.contains.as_ref())
    }))
}

/// Every edge that has an address: the peers of the network policies.
fn uses(plan: &Plan, service: &Service) -> Map {
    let mut map = Map::new();
    for (name, used) in &service.uses {
        let kind = match &used.target {
            UseTarget::Service(peer) => {
                let has_port = plan.services.get(peer).is_some_and(|peer| peer.port.is_some());
                has_port.then_some("service")
            }
            UseTarget::Resource(peer) => {
                let peer = plan.resources.get(peer);
                let has_port = peer.is_some_and(|peer| resource::reach(plan, peer).is_some());
                has_port.then_some("resource")
            }
        };
        if let Some(kind) = kind {
            map.put(
                name,
                Node::from(kind).because(format!("services.{}.uses.{name}", service.name)),
            );
        }
    }
    map
}

fn env(environment: &Environment) -> Map {
    environment.vars.iter().map(env_entry).collect()
}

fn env_entry((name, var): (&String, &Var)) -> (String, Node) {
    (name.clone(), Node::from(&var.value).because(&var.because))
}

/// Secrets by name, and those that an operator in the cluster makes.
struct Secrets {
    named: Node,
    made: Map,
}

fn secrets(plan: &Plan, service: &Service, environment: &Environment) -> Secrets {
    let (mut named, mut made) = (Vec::new(), Map::new());
    for secret in &environment.secrets {
        let because = because_of(plan, service, secret);
        match resource::made_by_operator(plan, secret) {
            Some((name, key)) => {
                let from = Map::new().with("name", name).with("key", key);
                made.put(secret.as_str(), Node::from(from).because(because));
            }
            None => named.push(Node::from(secret.as_str()).because(because)),
        }
    }
    Secrets { named: Node::List(named), made }
}

/// The place of the manifest that asks for a secret.
fn because_of(plan: &Plan, service: &Service, secret: &SecretName) -> String {
    let is_of = |(name, used): &(&String, &manifest::plan::Use)| match &used.target {
        UseTarget::Resource(resource) => {
            let resource = plan.resources.get(resource);
            let prefix = resource.map(|it| format!("{}_", it.name.upper())).unwrap_or_default();
            let brings = used.env.values().any(|it| it.secrets().any(|other| other == secret));
            !name.is_empty() && (brings || secret.as_str().starts_with(&prefix))
        }
        UseTarget::Service(_) => false,
    };
    match service.uses.iter().find(is_of) {
        Some((used, _)) if !service.secrets.contains(secret) => {
            format!("services.{}.uses.{used}", service.name)
        }
        _ => format!("services.{}.secrets", service.name),
    }
}

/// Directories that outlive the pod.
fn volumes(plan: &Plan, service: &Service) -> Map {
    let mut map = Map::new();
    for (used, volume) in used_volumes(plan, service) {
        let because = format!("services.{}.uses.{used}", service.name);
        let ResourceSpec::Volume(spec) = &volume.spec else { continue };
        map.put(volume.name.as_str(), Node::from(&spec.mount).because(because));
    }
    map
}

fn used_volumes<'a>(
    plan: &'a Plan,
    service: &'a Service,
) -> impl Iterator<Item = (&'a String, &'a Resource)> {
    service.uses.iter().filter_map(|(used, edge)| match &edge.target {
        UseTarget::Resource(name) => {
            let resource = plan.resources.get(name)?;
            matches!(resource.spec, ResourceSpec::Volume(_)).then_some((used, resource))
        }
        UseTarget::Service(_) => None,
    })
}

/// Directories in memory: what the manifest says, and where `run` keeps its state.
fn writable(service: &Service) -> Node {
    let mut paths: BTreeSet<&str> = service.security.writable.iter().map(String::as_str).collect();
    paths.insert(STATE_DIR);
    Node::list(paths)
}

fn scale(scale: &Scale) -> Map {
    let queue = scale
        .queue
        .as_ref()
        .map(|queue| Map::new().with("metric", &queue.metric).with("target", queue.target));
    Map::new()
        .with("min", scale.min)
        .with("max", scale.max)
        .with_some("cpu", scale.cpu.map(percent))
        .with_some("memory", scale.memory.map(percent))
        .with_some("latency", scale.latency.map(|limit| format!("{}m", limit.0)))
        .with_some("queue", queue)
}

/// What a new release must show before it takes over.
fn analysis(service: &Service) -> Node {
    let slo = &service.slo;
    let errors = slo.availability.as_ref().map(|it| {
        let budget = u64::from(Ppm::WHOLE.parts() - it.objective.parts());
        let ratio = (budget * BURN_MAX).min(u64::from(Ppm::WHOLE.parts()) / 2);
        decimal(ratio, 1_000_000)
    });
    let latency = slo.latency.as_ref().map(|it| {
        let histogram = it.histogram.as_deref();
        let ours = contract::metrics::HTTP_SERVER_REQUEST_DURATION_SECONDS.name;
        Map::new()
            .with("histogram", histogram.unwrap_or(ours))
            .with("quantile", decimal(it.objective.parts().into(), 1_000_000))
            .with("secondsMax", decimal(it.threshold.0, 1000))
    });
    let heartbeat = service.heartbeat.as_ref().map(|it| seconds(it.max_age));
    Map::new()
        .with_some("errorRatioMax", errors)
        .with_some("latency", latency)
        .with_some("heartbeatAgeSecondsMax", heartbeat)
        .with("ready", true)
        .into()
}

/// `run` counts failures itself before it says so: the cluster need not count them again.
fn probes(service: &Service) -> Node {
    let health = &service.health;
    let timeout_s = health.timeout.0.div_ceil(1000).max(1);
    let probe = |period_s: u64, failures: u64| {
        Map::new()
            .with("periodSeconds", number(period_s))
            .with("timeoutSeconds", number(timeout_s))
            .with("failureThreshold", number(failures))
    };
    let starts = health.start_timeout.0.div_ceil(STARTUP_PERIOD_S * 1000) + STARTUP_SLACK;
    let readiness_s = health.interval.0.div_ceil(1000).max(1);
    Map::new()
        .with("startup", probe(STARTUP_PERIOD_S, starts))
        .with("liveness", probe(10, 3))
        .with("readiness", probe(readiness_s, 2))
        .into()
}

fn resources(service: &Service) -> Node {
    let limits = &service.limits;
    let of = |cpu: String, memory: String| Map::new().with("cpu", cpu).with("memory", memory);
    let gpu = service.gpu.as_ref().map(|gpu| {
        Node::from(Map::new().with("count", gpu.count))
            .because(format!("services.{}.gpu", service.name))
    });
    Map::new()
        .with("requests", of(limits.cpu_request.to_string(), limits.memory_request.to_string()))
        .with("limits", of(limits.cpu.to_string(), limits.memory.to_string()))
        .with_some("gpu", gpu)
        .into()
}

/// The nodes that have the model of graphics processor, by the label that each cloud gives them.
fn node_selector(plan: &Plan, service: &Service) -> Option<Node> {
    let model = service.gpu.as_ref()?.model.as_ref()?;
    let provider = plan.environment.cloud.as_ref().map(|cloud| cloud.provider);
    let label = match provider {
        Some(CloudProvider::Gcp) => "cloud.google.com/gke-accelerator",
        Some(CloudProvider::Aws) => "karpenter.k8s.aws/instance-gpu-name",
        Some(CloudProvider::Hetzner) | None => "nvidia.com/gpu.product",
    };
    Some(Map::new().with(label, model).into())
}

fn security(service: &Service) -> Node {
    let security = &service.security;
    Map::new()
        .with("user", security.user)
        .with("readOnlyRootFilesystem", security.read_only_root)
        .with_any("capabilities", Node::list(&security.capabilities))
        .into()
}

/// Two releases side by side, unless they must not be, or a disk is with one node.
fn strategy(plan: &Plan, service: &Service) -> &'static str {
    let holds_disk = used_volumes(plan, service)
        .any(|(_, volume)| resource::access_mode(plan, volume) == "ReadWriteOnce");
    if holds_disk || service.drain.overlap == Overlap::Never { "Recreate" } else { "RollingUpdate" }
}

const fn restart(service: &Service) -> &'static str {
    match service.restart {
        Restart::Never => "Never",
        Restart::Always | Restart::OnFailure => "OnFailure",
    }
}

fn schedule(service: &Service) -> Option<Node> {
    let schedule = service.schedule.as_ref()?;
    let tries_again: u32 = if service.restart == Restart::Never { 0 } else { 2 };
    let map = Map::new()
        .with("cron", &schedule.cron)
        .with("timezone", &schedule.timezone)
        .with("timeoutSeconds", seconds(schedule.timeout))
        .with("startingDeadlineSeconds", STARTING_DEADLINE_S)
        .with("backoffLimit", tries_again);
    Some(Node::from(map).because(format!("services.{}.schedule", service.name)))
}

/// The Job of the schema changes: what it executes, and what of the environment differs there.
fn migration(platform: &Platform, plan: &Plan, service: &Service, migrate: &Migrate) -> Node {
    let args = words(platform, plan, service, &migrate.run);
    let serving = Environment::of(plan, service, Place::Kubernetes).vars;
    let migrating = Environment::for_migration(plan, service, Place::Kubernetes).vars;
    let without = serving.keys().filter(|name| !migrating.contains_key(*name));
    let differs = |(name, var): &(&String, &Var)| {
        serving.get(*name).is_none_or(|other| other.value != var.value)
    };
    let env: Map = migrating.iter().filter(differs).map(env_entry).collect();
    let map = Map::new()
        .with("args", Node::list(args))
        .with("timeoutSeconds", seconds(migrate.timeout))
        .with_any("env", env)
        .with_any("without", Node::list(without));
    Node::from(map).because(format!("services.{}.migrate", service.name))
}

/// The words of a command, as the image has them.
fn words(platform: &Platform, plan: &Plan, service: &Service, command: &Command) -> Vec<String> {
    let words = image::command(platform, service, command);
    words.iter().filter_map(|word| environment::filled(plan, Place::Kubernetes, word)).collect()
}

/// The cloud's name for the service, when it calls the cloud.
fn role(plan: &Plan, service: &Service) -> Option<Node> {
    let (used, _) = service.uses.iter().find(|(_, edge)| match &edge.target {
        UseTarget::Resource(name) => plan.resources.get(name).is_some_and(is_called_with_a_role),
        UseTarget::Service(_) => false,
    })?;
    let role = values::role(plan, &service.name.dns())?;
    Some(Node::from(role).because(format!("services.{}.uses.{used}", service.name)))
}

fn is_called_with_a_role(resource: &Resource) -> bool {
    match &resource.spec {
        ResourceSpec::Bucket(bucket) => bucket.via == BucketVia::AwsS3,
        ResourceSpec::Queue(queue) => queue.via == QueueVia::AwsSqs,
        ResourceSpec::Kafka(kafka) => matches!(kafka.via, KafkaVia::AwsMsk { .. }),
        ResourceSpec::Postgres(_)
        | ResourceSpec::Redis(_)
        | ResourceSpec::Http(_)
        | ResourceSpec::Volume(_)
        | ResourceSpec::Image(_) => false,
    }
}

fn percent(share: Ppm) -> u32 {
    (share.parts() / 10_000).max(1)
}

/// Whole seconds, rounded up.
fn seconds(time: Millis) -> Node {
    number(time.0.div_ceil(1000).max(1))
}

fn number(value: u64) -> Node {
    Node::Int(i64::try_from(value).unwrap_or(i64::MAX))
}

/// A fraction without a float: `12345` of `1000` is `12.345`.
fn decimal(value: u64, whole: u64) -> String {
    let digits = whole.ilog10() as usize;
    let fraction = format!("{:0digits$}", value % whole);
    let text = format!("{}.{fraction}", value / whole);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
