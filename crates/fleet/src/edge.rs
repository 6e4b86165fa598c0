//! The one port through which a browser reaches every service: routes of the plan, as they are now.
//!
//! A service that serves is a target, any other is a page that says what it is doing. It
//! deliberately balances nothing and retries nothing itself: that is the proxy's.
//!
//! *Invariant: every route of the plan is in every table, and a table is swapped whole.*

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use manifest::Plan;
use manifest::plan::Route as PlanRoute;
use proxy::{
    Address, Down, Drain, Route, Router, Server, Settings, Target, Upstream, UpstreamSettings,
};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use crate::driver::holder_of;
use crate::machine::State;
use crate::up::{Assembled, Error, ItemStatus, Problem, Status};

/// Where every route of a local platform ends.
const LOCALHOST: &str = "localhost";
/// How long a request waits while a service refuses connections, as between two processes.
const HOLD: Duration = Duration::from_secs(3);
/// When a browser that met a starting service should ask again.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How long requests in flight have when the edge closes: the services behind it have ended.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// The edge of a platform.
pub(crate) struct Edge {
    server: Server<()>,
    accepting: AbortHandle,
    port: u16,
    routes: Vec<EdgeRoute>,
    /// What each service was doing when the table was made.
    shown: BTreeMap<String, Shown>,
}

/// One route, with the service that it leads to.
#[derive(Debug, Clone)]
struct EdgeRoute {
    host: String,
    path: String,
    service: String,
    upstream: Option<Arc<Upstream>>,
}

/// Whether a service gets requests; if not, why.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Shown {
    Up,
    Down(String),
}

impl Edge {
    /// Listens; `None` when the plan has no routes.
    ///
    /// # Errors
    /// When the port is taken or two routes are the same.
    pub(crate) async fn open(
        plan: &Plan,
        assembled: &Assembled,
        port: u16,
    ) -> Result<Option<Self>, Error> {
        let routes = routes(plan, assembled);
        if routes.is_empty() {
            return Ok(None);
        }
        let shown = BTreeMap::new();
        let router = table(&routes, &shown)
            .map_err(|error| Problem::Routes { problem: error.to_string() })?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(|error| {
            Problem::PortTaken {
                what: "the edge".into(),
                port,
                holder: holder_of(port).unwrap_or_else(|| error.to_string()),
                help: "end that process, or choose another: plimsoll up --port <port>".into(),
            }
        })?;
        let server = Server::new(Settings::default(), router, ());
        let serving = server.clone();
        let accepting = tokio::spawn(async move { serving.serve(listener).await }).abort_handle();
        Ok(Some(Self { server, accepting, port, routes, shown }))
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> String {
        format!("http://{LOCALHOST}:{}", self.port)
    }

    /// Swaps the table when a service came or went.
    pub(crate) fn follow(&mut self, status: &Status) {
        let shown: BTreeMap<_, _> =
            status.items.iter().map(|item| (item.name.clone(), shown(item))).collect();
        if shown == self.shown {
            return;
        }
        for route in &self.routes {
            let is_up = |table: &BTreeMap<_, _>| table.get(&route.service) == Some(&Shown::Up);
            // Connections to a process that ends are of no use to the next one.
            if let Some(upstream) =
                route.upstream.as_ref().filter(|_| is_up(&self.shown) && !is_up(&shown))
            {
                upstream.close_idle();
            }
        }
        // The same routes made a table when the edge was opened.
        if let Ok(router) = table(&self.routes, &shown) {
            self.server.set_router(router);
        }
        self.shown = shown;
    }

    /// Refuses what is new and waits, bounded, for what runs.
    pub(crate) async fn close(self) {
        self.server.begin_drain(Drain::Refuse);
        let _ = tokio::time::timeout(CLOSE_LIMIT, self.server.closed()).await;
        self.accepting.abort();
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Where people reach a route through the edge of this machine.
pub(crate) fn public_url(plan: &Plan, route: &PlanRoute, port: u16) -> String {
    let path = route.path.as_str().trim_end_matches('/');
    format!("http://{}:{port}{path}", local_host(plan, route))
}

/// A host of the environment's domain, as the same label of `localhost`; any other as it is.
fn local_host(plan: &Plan, route: &PlanRoute) -> String {
    let host = route.host.as_str();
    let domain = plan.environment.domain.as_ref().map_or(LOCALHOST, |domain| domain.as_str());
    match host.strip_suffix(domain) {
        Some("") => LOCALHOST.to_owned(),
        Some(label) if label.ends_with('.') => format!("{label}{LOCALHOST}"),
        _ => host.to_owned(),
    }
}

fn routes(plan: &Plan, assembled: &Assembled) -> Vec<EdgeRoute> {
    let mut upstreams = BTreeMap::new();
    let mut routes = Vec::new();
    for (route, service) in plan.routes() {
        let service = service.to_string();
        let upstream = upstreams
            .entry(service.clone())
            .or_insert_with(|| assembled.ports.get(&service).map(|port| upstream(&service, *port)));
        let host = local_host(plan, route);
        let path = route.path.to_string();
        let one = EdgeRoute { host, path, service, upstream: upstream.clone() };
        if one.host == LOCALHOST {
            routes.push(EdgeRoute { host: Ipv4Addr::LOCALHOST.to_string(), ..one.clone() });
        }
        routes.push(one);
    }
    routes
}

fn upstream(service: &str, port: u16) -> Arc<Upstream> {
    let address = Address::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let settings = UpstreamSettings { hold: HOLD, ..UpstreamSettings::default() };
    Upstream::new(service, vec![address], settings)
}

fn table(
    routes: &[EdgeRoute],
    shown: &BTreeMap<String, Shown>,
) -> Result<Router, proxy::RouteError> {
    Router::new(routes.iter().map(|route| {
        let target = match (shown.get(&route.service), &route.upstream) {
            (Some(Shown::Up), Some(upstream)) => Target::Upstream(Arc::clone(upstream)),
            (Some(Shown::Down(reason)), _) => down(&route.service, reason),
            _ => down(&route.service, "starting"),
        };
        Route {
            host: Some(route.host.clone()),
            path: route.path.clone(),
            label: route.service.clone(),
            target,
            body_bytes_max: None,
        }
    }))
}

fn down(service: &str, reason: &str) -> Target {
    let (service, reason) = (service.to_owned(), reason.to_owned());
    Target::Down(Arc::new(Down { service, reason, retry_after: RETRY_AFTER }))
}

/// Traffic goes to what was ready once and runs: a service that lacks a database answers for
/// itself, better than we could.
fn shown(item: &ItemStatus) -> Shown {
    let words = match item.state {
        State::Ready | State::Unready => return Shown::Up,
        State::Skipped => "not run here",
        State::Waiting => "waiting for what it uses",
        State::Building => "being built",
        State::Migrating => "migrating its database",
        State::Starting => "starting",
        State::Done => "done",
        State::Backoff => "down after a failure; it starts again in a moment",
        State::CrashLooping => "in a crash loop",
        State::Stopping => "stopping",
        State::Stopped => "stopped",
        State::Failed => "failed",
    };
    let reason = match (&item.error, item.note.as_str()) {
        (Some(error), _) if item.state != State::Starting => format!("{words}: {error}"),
        (_, "") => words.to_owned(),
        (_, note) => format!("{words} ({note})"),
    };
    Shown::Down(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(service: &str, port: Option<u16>) -> EdgeRoute {
        EdgeRoute {
            host: "localhost".into(),
            path: format!("/{service}"),
            service: service.into(),
            upstream: port.map(|port| upstream(service, port)),
        }
    }

    fn target_of(router: &Router, path: &str) -> String {
        match &router.find("localhost:8000", path).unwrap().target {
            Target::Upstream(upstream) => format!("to {}", upstream.name()),
            Target::Down(down) => format!("{} is {}", down.service, down.reason),
            Target::Site(_) => "a site".into(),
        }
    }

    #[test]
    fn only_what_serves_gets_requests_and_the_rest_says_why_not() {
        let routes = [route("api", Some(1)), route("web", Some(2)), route("bot", None)];
        let mut shown = BTreeMap::from([
            ("api".to_owned(), Shown::Up),
            ("web".to_owned(), Shown::Down("being built".into())),
        ]);
        let router = table(&routes, &shown).unwrap();
        assert_eq!(target_of(&router, "/api/x"), "to api");
        assert_eq!(target_of(&router, "/web"), "web is being built");
        assert_eq!(target_of(&router, "/bot"), "bot is starting");
        shown.insert("web".into(), Shown::Up);
        assert_eq!(target_of(&table(&routes, &shown).unwrap(), "/web"), "to web");
    }

    #[test]
    fn hosts_of_a_domain_become_hosts_of_localhost() {
        let text = "plimsoll: 1\napp: shop\nservices:\n  a: {run: ./a, port: 8001, route: \"@\"}\n  \
                    b: {run: ./b, port: 8002, route: [api/v1, www.other.example]}\n\
                    environments: {staging: {target: host, hosts: [h], domain: shop.example}}\n";
        let manifest = manifest::parse(text).unwrap();
        let plan = manifest::resolve(&manifest, "staging").unwrap().plan;
        let urls: Vec<_> =
            plan.routes().iter().map(|(route, _)| public_url(&plan, route, 8000)).collect();
        assert_eq!(
            urls,
            [
                "http://api.localhost:8000/v1",
                "http://localhost:8000",
                "http://www.other.example:8000"
            ]
        );
    }
}
