//! The container of one service.

use std::collections::BTreeMap;

use manifest::Plan;
use manifest::plan::{Gate, Kind, ResourceSpec, Restart, Service, TracesBackend, UseTarget};
use manifest::units::Bytes;

use super::hardening::{self, Share, confine, size};
use super::stack::{Stack, escaped, migration_name, version_variable};
use super::{develop, mock, network, ports, secret};
use crate::address::Place;
use crate::environment::{Environment, STATE_DIR};
use crate::image::Image;
use crate::node::{Map, Node};
use crate::timing::{HealthTimes, StopTimes, duration};

/// Where images have the program that answers for them.
const PLIMSOLL_RUN: &str = "/usr/local/bin/plimsoll-run";
/// How long a developer's container may take to build and to start.
const BUILD_TIME: &str = "15m";

pub(super) fn container(stack: &Stack<'_>, service: &Service) -> Node {
    let at = format!("services.{}", service.name);
    let environment = Environment::of(stack.plan, service, Place::Compose);
    let mut container = Map::new();
    if service.kind == Kind::Cron {
        container.put("profiles", Node::row(["cron"]).because(format!("{at}.schedule")));
    }
    container = image_of(stack, service, container);
    if stack.is_dev
        && let Some(run) = service.run.as_ref().filter(|_| develop::has_own_stage(service))
    {
        container.put("command", develop::command(service, run).because(format!("{at}.run")));
    }
    container = common(stack, service, container, &environment);
    if !stack.is_dev {
        container.put("networks", network::of_service(stack, service));
    }
    container = container.with_any("ports", Node::list(ports::of_service(stack, service)));
    container = container.with_any("depends_on", dependencies(stack, service));
    if matches!(service.kind, Kind::Web | Kind::Worker | Kind::Static) {
        container.put("healthcheck", health(stack, service).because(format!("{at}.health")));
    }
    let kill_after_s = StopTimes::of(service).kill_after_s;
    let patience = Node::from(format!("{kill_after_s}s")).because(format!("{at}.stop"));
    container.put("stop_grace_period", patience);
    container.put("restart", restart(service));
    if stack.is_dev {
        container = container.with_some("develop", develop::watch(stack, service));
    } else {
        container = hardened(stack, service, container);
        container.put("deploy", deploy(service));
        container.put("logging", hardening::logging(stack.plan));
    }
    let comment = comment(stack, service);
    let container = Node::from(container).because(at);
    match comment {
        Some(comment) => container.comment(comment),
        None => container,
    }
}

fn comment(stack: &Stack<'_>, service: &Service) -> Option<String> {
    let schedule = service.schedule.as_ref()?;
    let file = super::file_name(stack.platform, stack.plan);
    Some(format!(
        "Runs at `{}` ({}), started by a timer of the host:\n\
         docker compose -f {file} run --rm {}",
        schedule.cron,
        schedule.timezone,
        service.name.dns()
    ))
}

/// Where the image comes from: a developer's is built here, all others were published.
pub(super) fn image_of(stack: &Stack<'_>, service: &Service, container: Map) -> Map {
    let Some(image) = Image::of(stack.platform, stack.plan, service) else { return container };
    if stack.is_dev {
        let own = image.dev_stage.filter(|_| develop::has_own_stage(service));
        let build = Map::new()
            .with("context", develop::local(&image.context))
            .with("dockerfile", &image.dockerfile)
            .with("target", own.unwrap_or(&image.stage));
        let container = container.with("build", build);
        return match own {
            Some(_) => container.with_some("working_dir", develop::working_dir(stack, service)),
            None => container,
        };
    }
    let variable = version_variable(stack.plan);
    let tag = format!("${{{variable}:?set it to the release, like 1.4.0-3f2a9c1}}");
    container.with("image", format!("{}:{tag}{}", image.repository, image.suffix))
}

/// Environment, secrets and volumes: what a service and its one-shot containers share.
pub(super) fn common(
    stack: &Stack<'_>,
    service: &Service,
    container: Map,
    environment: &Environment,
) -> Map {
    let mut app = Map::new();
    let mut ours = Map::new();
    for (name, var) in &environment.vars {
        let value = mock::redirectable(stack, &escaped(&var.value));
        let node = Node::from(value).because(&var.because);
        if var.is_ours { ours.put(name, node) } else { app.put(name, node) }
    }
    app.0.extend(ours.0);
    if let Some(endpoint) = collector(stack.plan) {
        let value = format!("${{{COLLECTOR}:-{}}}", escaped(endpoint));
        app.put(COLLECTOR, Node::from(value).because("observability.traces"));
    }
    container
        .with("environment", app)
        .with_any("secrets", Node::list(secret::mounted(environment)))
        .with_any("volumes", Node::list(volumes(stack, service)))
}

/// The variable that every OpenTelemetry library reads, and `plimsoll run` too.
pub(in crate::target) const COLLECTOR: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// Where traces go unless the variable says otherwise; nothing if they are not wanted, or go where
/// only a cluster has a collector. An empty address sends none.
pub(in crate::target) fn collector(plan: &Plan) -> Option<&str> {
    let traces = &plan.observability.traces;
    match traces.backend {
        TracesBackend::Otlp => Some(traces.endpoint.as_deref().unwrap_or_default()),
        TracesBackend::Tempo | TracesBackend::Xray if super::is_dev(plan) => Some(""),
        TracesBackend::Tempo | TracesBackend::Xray | TracesBackend::None => None,
    }
}

fn volumes(stack: &Stack<'_>, service: &Service) -> Vec<Node> {
    let mut volumes = Vec::new();
    for (name, used) in &service.uses {
        let UseTarget::Resource(resource) = &used.target else { continue };
        let Some(resource) = stack.plan.resources.get(resource) else { continue };
        if let ResourceSpec::Volume(volume) = &resource.spec {
            let mount = format!("{}:{}", resource.name.dns(), volume.mount);
            volumes
                .push(Node::from(mount).because(format!("services.{}.uses.{name}", service.name)));
        }
    }
    volumes
}

/// What has to be there first.
fn dependencies(stack: &Stack<'_>, service: &Service) -> Map {
    let mut waits = resources(stack, service);
    for (name, used) in &service.uses {
        let UseTarget::Service(other) = &used.target else { continue };
        let because = format!("services.{}.uses.{name}", service.name);
        let condition = match stack.plan.services.get(other).map(|other| other.kind) {
            Some(Kind::Cron) | None => continue,
            Some(Kind::Job) => "service_completed_successfully",
            Some(_) if used.gate.contains(&Gate::Start) => "service_healthy",
            Some(_) => "service_started",
        };
        waits.insert(other.dns(), (condition, because));
    }
    for other in stack.plan.services.values() {
        if other.migrate.is_some() && shares_schema(stack, service, other) {
            let because = format!("services.{}.migrate", other.name);
            let name = migration_name(stack.plan, &other.name);
            waits.insert(name, ("service_completed_successfully", because));
        }
    }
    written(waits)
}

/// The containers that a service waits for, with the condition and the reason.
type Waits = BTreeMap<String, (&'static str, String)>;

/// The resources beside a service.
pub(super) fn resources(stack: &Stack<'_>, service: &Service) -> Waits {
    let mut waits = Waits::new();
    for (name, used) in &service.uses {
        let UseTarget::Resource(resource) = &used.target else { continue };
        let Some(fragment) = stack.fragments.get(resource) else { continue };
        let is_gate = used.gate.contains(&Gate::Start);
        for (container, condition) in &fragment.waits {
            let because = format!("services.{}.uses.{name}", service.name);
            let condition = match (*condition, is_gate) {
                ("service_healthy", false) => "service_started",
                (condition, _) => condition,
            };
            waits.insert(container.clone(), (condition, because));
        }
    }
    waits
}

pub(super) fn written(waits: Waits) -> Map {
    let wait = |(name, (condition, because)): (String, (&str, String))| {
        (name, Node::from(Map::new().with("condition", condition)).because(because))
    };
    waits.into_iter().map(wait).collect()
}

/// Whether a service needs the schema that another one migrates.
fn shares_schema(stack: &Stack<'_>, service: &Service, owner: &Service) -> bool {
    let is_postgres = |target: &UseTarget| match target {
        UseTarget::Resource(name) => stack
            .plan
            .resources
            .get(name)
            .is_some_and(|resource| matches!(resource.spec, ResourceSpec::Postgres(_))),
        UseTarget::Service(_) => false,
    };
    service.name == owner.name
        || service
            .uses
            .values()
            .filter(|used| is_postgres(&used.target))
            .any(|used| owner.uses.values().any(|theirs| theirs.target == used.target))
}

fn health(stack: &Stack<'_>, service: &Service) -> Node {
    let times = HealthTimes::of(service);
    let start_period = match stack.is_dev {
        true => BUILD_TIME.to_owned(),
        false => duration(times.start_period),
    };
    Map::new()
        .with("test", Node::row(["CMD", PLIMSOLL_RUN, "probe", "ready"]))
        .with("interval", duration(times.interval))
        .with("timeout", duration(times.timeout))
        .with("retries", times.retries)
        .with("start_period", start_period)
        .into()
}

fn restart(service: &Service) -> Node {
    let word = match (service.kind, service.restart) {
        (Kind::Cron, _) | (_, Restart::Never) => "no",
        (_, Restart::Always) => "unless-stopped",
        (_, Restart::OnFailure) => "on-failure",
    };
    Node::from(word)
}

/// User, root file system and rights.
pub(super) fn hardened(stack: &Stack<'_>, service: &Service, container: Map) -> Map {
    let security = &service.security;
    let at = format!("services.{}.security", service.name);
    let user = security.user;
    let mut tmpfs = vec![format!("{STATE_DIR}:mode=0700,uid={user},gid={user},size=16m")];
    // Memory that a process fills there counts as its own.
    let half = size(Bytes(service.limits.memory.0 / 2));
    tmpfs.extend(security.writable.iter().map(|path| format!("{path}:mode=1777,size={half}")));
    debug_assert!(!stack.is_dev, "a developer's containers are not held to anything");
    let container = container
        .with("user", Node::from(format!("{user}:{user}")).because(at))
        .with("read_only", security.read_only_root)
        .with("tmpfs", Node::list(tmpfs));
    let kept: Vec<&str> = security.capabilities.iter().map(String::as_str).collect();
    confine(container, &kept)
}

fn deploy(service: &Service) -> Map {
    let at = format!("services.{}", service.name);
    let limits = &service.limits;
    let share = Share { cpu: limits.cpu, memory: limits.memory, pids: limits.pids };
    let mut reserved = Map::new().with("memory", size(limits.memory_request));
    if let Some(gpu) = &service.gpu {
        let device = Map::new()
            .with("driver", "nvidia")
            .with("count", gpu.count)
            .with("capabilities", Node::row(["gpu"]));
        reserved.put("devices", Node::list([device]).because(format!("{at}.gpu")));
    }
    let resources = Map::new().with("limits", share.limits()).with("reservations", reserved);
    let replicas = Node::from(service.scale.min).because(format!("{at}.scale"));
    let resources = Node::from(resources).because(format!("{at}.limits"));
    let mut deploy = Map::new();
    if !matches!(service.kind, Kind::Cron | Kind::Job) {
        deploy.put("replicas", replicas);
    }
    deploy.with("resources", resources)
}
