//! The edge of a host: the only container with published ports, in front of every route.
//!
//! Certificates come by themselves. It deliberately knows nothing of releases; `plimsoll agent`
//! has an edge of its own for those.

use askama::Template;
use manifest::Plan;
use manifest::plan::{Route, Service};

use super::hardening::{self, Share, confine};
use super::stack::Stack;
use super::{file_name, network};
use crate::address;
use crate::artifact::Files;
use crate::node::{Map, Node};
use crate::text::Mark;
use crate::timing::StopTimes;

/// The edge's image.
const IMAGE: &str = "caddy:2.10.2-alpine";
/// What the edge may take.
const SHARE: Share = Share::new(1000, 256, 256);
/// What the edge needs besides the longest request.
const MARGIN_S: u64 = 5;

/// Its configuration.
#[derive(Template)]
#[template(path = "Caddyfile", escape = "none")]
struct Caddyfile<'a> {
    compose: String,
    email: Option<&'a str>,
    grace_s: u64,
    sites: Vec<Site<'a>>,
}

/// One host name.
struct Site<'a> {
    host: &'a str,
    routes: Vec<Upstream>,
    /// Where everything else goes.
    rest: Option<Upstream>,
}

/// Where requests of one path go.
struct Upstream {
    mark: Mark,
    path: String,
    host: String,
    port: u16,
}

/// Its name in the file.
pub(super) fn name(plan: &Plan) -> String {
    let is_taken = plan.services.keys().any(|name| name.dns() == "edge")
        || plan.resources.keys().any(|name| name.dns() == "edge");
    if is_taken { "plimsoll-edge".to_owned() } else { "edge".to_owned() }
}

/// Writes its configuration.
pub(super) fn render(stack: &Stack<'_>, files: &mut Files<'_>) {
    if !is_there(stack) {
        return;
    }
    let plan = stack.plan;
    let mut sites: Vec<Site<'_>> = Vec::new();
    for (route, service) in plan.routes() {
        let Some(upstream) = plan.services.get(service).and_then(|s| upstream(s, route)) else {
            continue;
        };
        let host = route.host.as_str();
        if sites.last().is_none_or(|site| site.host != host) {
            sites.push(Site { host, routes: Vec::new(), rest: None });
        }
        let Some(site) = sites.last_mut() else { continue };
        if upstream.path == "/" { site.rest = Some(upstream) } else { site.routes.push(upstream) }
    }
    let caddyfile = Caddyfile {
        compose: file_name(stack.platform, plan),
        email: plan.owners.email.as_deref(),
        grace_s: grace_s(stack),
        sites,
    };
    let text = caddyfile.render().expect("writing to a string does not fail");
    files.text(path(plan), &text);
}

fn upstream(service: &Service, route: &Route) -> Option<Upstream> {
    Some(Upstream {
        mark: Mark(format!("services.{}.route", service.name)),
        path: route.path.to_string(),
        host: address::alias(&service.name),
        port: service.port?.get(),
    })
}

fn path(plan: &Plan) -> String {
    format!("caddy/{}.Caddyfile", plan.environment.name)
}

/// Whether there is anything to route, outside a developer's machine.
pub(super) fn is_there(stack: &Stack<'_>) -> bool {
    !stack.is_dev && stack.plan.services.values().any(|service| !service.route.is_empty())
}

/// The longest that a request behind it may take to end.
fn grace_s(stack: &Stack<'_>) -> u64 {
    let routed = stack.plan.services.values().filter(|service| !service.route.is_empty());
    routed.map(|service| StopTimes::of(service).grace.0.div_ceil(1000)).max().unwrap_or(0)
}

/// Its container.
pub(super) fn container(stack: &Stack<'_>) -> Option<Node> {
    if !is_there(stack) {
        return None;
    }
    let plan = stack.plan;
    let file = format!("./{}:/etc/caddy/Caddyfile:ro", path(plan));
    let ask = "wget -q -O /dev/null http://127.0.0.1:2019/config/";
    let health = Map::new()
        .with("test", Node::row(["CMD-SHELL", ask]))
        .with("interval", "10s")
        .with("timeout", "5s")
        .with("retries", 3u32);
    let mut waits = Map::new();
    for service in plan.services.values().filter(|service| !service.route.is_empty()) {
        // One service that fails must not keep all others from their users.
        let wait = Map::new().with("condition", "service_started");
        waits.put(
            service.name.dns(),
            Node::from(wait).because(format!("services.{}.route", service.name)),
        );
    }
    let name = name(plan);
    let container = Map::new()
        .with("image", stack.platform.pinned(IMAGE))
        .with("volumes", vec![file, format!("{name}-data:/data"), format!("{name}-config:/config")])
        .with("networks", Node::list(network::of_front(stack)))
        .with("ports", vec!["80:80", "443:443", "443:443/udp"])
        .with("depends_on", waits)
        .with("healthcheck", health)
        .with("stop_grace_period", format!("{}s", grace_s(stack) + MARGIN_S))
        .with("restart", "unless-stopped")
        .with("read_only", true)
        .with("tmpfs", Node::row(["/tmp"]));
    let container = confine(container, &["NET_BIND_SERVICE"])
        .with("deploy", SHARE.deploy())
        .with("logging", hardening::logging(plan));
    Some(Node::from(container).comment("The only container with published ports."))
}

/// Its volumes: certificates, and the account they were issued to.
pub(super) fn volumes(stack: &Stack<'_>) -> Vec<(String, Node)> {
    if !is_there(stack) {
        return Vec::new();
    }
    let name = name(stack.plan);
    ["config", "data"].map(|word| (format!("{name}-{word}"), Map::new().into())).to_vec()
}
