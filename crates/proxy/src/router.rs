//! Which target a request goes to: host, then the longest path prefix.
//!
//! A [`Router`] is a value. [`Server::set_router`](crate::Server::set_router) swaps it whole, and a
//! request keeps the target it found. Paths are compared by segment and never rewritten:
//! `/api` matches `/api` and `/api/x`, not `/apix`. It deliberately knows neither weights nor
//! health: a target that cannot answer says so itself.
//!
//! Invariant: for one router, one host and one path, there is one answer.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::site::Site;
use crate::upstream::Upstream;

/// Routes of one listener.
#[derive(Debug, Default)]
pub struct Router {
    /// Per host, longest prefix first.
    hosts: BTreeMap<Box<str>, Vec<Arc<Route>>>,
    /// For every other host.
    any: Vec<Arc<Route>>,
}

/// One route.
#[derive(Debug)]
pub struct Route {
    /// Host without port, lower case; `None` matches every host that no route names.
    pub host: Option<String>,
    /// Path prefix, starts with `/`.
    pub path: String,
    /// What metrics call it: from a bounded, declared list.
    pub label: String,
    /// Where it leads.
    pub target: Target,
    /// Bytes of a request body; above: 413. `None` leaves it to the application.
    pub body_bytes_max: Option<u64>,
}

/// Where a route leads.
#[derive(Debug, Clone)]
pub enum Target {
    /// An application.
    Upstream(Arc<Upstream>),
    /// Files.
    Site(Arc<Site>),
    /// A service that is known, but not there now: 503 with a page that says so.
    Down(Arc<Down>),
}

/// A service that is not there now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Down {
    /// Name of the service.
    pub service: String,
    /// Why, for people; shown to whoever asks.
    pub reason: String,
    /// Sent as `Retry-After`, in whole seconds.
    pub retry_after: Duration,
}

/// Two routes cannot be told apart, or one cannot match.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// The same host and path twice.
    #[error("routes `{first}` and `{second}` both match `{host}{path}`")]
    Duplicate {
        /// Label of one.
        first: String,
        /// Label of the other.
        second: String,
        /// Their host, or `*`.
        host: String,
        /// Their path.
        path: String,
    },
    /// A path without a leading slash.
    #[error("path `{path}` of route `{label}` does not start with `/`")]
    RelativePath {
        /// Label of the route.
        label: String,
        /// Its path.
        path: String,
    },
}

impl Router {
    /// Builds the table.
    ///
    /// # Errors
    /// When two routes have the same host and path, or a path does not start with `/`.
    pub fn new(routes: impl IntoIterator<Item = Route>) -> Result<Self, RouteError> {
        let mut router = Self::default();
        for mut route in routes {
            if !route.path.starts_with('/') {
                return Err(RouteError::RelativePath { label: route.label, path: route.path });
            }
            // `/api/` and `/api` are the same prefix; the root is the empty one.
            route.path.truncate(route.path.trim_end_matches('/').len());
            let host = route.host.as_deref().map(|host| normal_host(host).into_owned());
            route.host.clone_from(&host);
            let table = match host {
                Some(host) => router.hosts.entry(host.into_boxed_str()).or_default(),
                None => &mut router.any,
            };
            if let Some(other) = table.iter().find(|other| other.path == route.path) {
                return Err(RouteError::Duplicate {
                    first: other.label.clone(),
                    second: route.label,
                    host: route.host.unwrap_or_else(|| "*".to_owned()),
                    path: format!("{}/", route.path),
                });
            }
            table.push(Arc::new(route));
            table.sort_by_key(|route| std::cmp::Reverse(route.path.len()));
        }
        Ok(router)
    }

    /// A table with one route for everything.
    pub fn single(label: &str, target: Target) -> Self {
        let route = Route {
            host: None,
            path: String::new(),
            label: label.to_owned(),
            target,
            body_bytes_max: None,
        };
        Self { hosts: BTreeMap::new(), any: vec![Arc::new(route)] }
    }

    /// The route of a request; `host` may have a port and any case.
    pub fn find(&self, host: &str, path: &str) -> Option<&Arc<Route>> {
        let find = |routes: &'_ [Arc<Route>]| {
            routes.iter().position(|route| {
                path.strip_prefix(route.path.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
        };
        let table = if self.hosts.is_empty() {
            &self.any
        } else {
            self.hosts.get(&*normal_host(host)).unwrap_or(&self.any)
        };
        find(table).and_then(|index| table.get(index))
    }

    /// All routes, for status pages; sorted by host.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.hosts.values().flatten().chain(&self.any).map(Arc::as_ref)
    }
}

/// Host without port and final dot, in lower case.
pub fn normal_host(host: &str) -> Cow<'_, str> {
    let name = match host.rfind(':') {
        // The colons of `[::1]` are inside the brackets.
        Some(colon) if !host[colon..].contains(']') => &host[..colon],
        _ => host,
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(host: Option<&str>, path: &str, label: &str) -> Route {
        let down = Down {
            service: label.to_owned(),
            reason: String::new(),
            retry_after: Duration::from_secs(1),
        };
        Route {
            host: host.map(str::to_owned),
            path: path.to_owned(),
            label: label.to_owned(),
            target: Target::Down(Arc::new(down)),
            body_bytes_max: None,
        }
    }

    fn found<'a>(router: &'a Router, host: &str, path: &str) -> Option<&'a str> {
        router.find(host, path).map(|route| route.label.as_str())
    }

    #[test]
    fn the_longest_prefix_of_whole_segments_wins() {
        let router = Router::new([
            route(Some("localhost"), "/", "web"),
            route(Some("localhost"), "/api", "api"),
            route(Some("localhost"), "/api/admin/", "admin"),
        ])
        .unwrap();
        assert_eq!(found(&router, "localhost:8000", "/apix"), Some("web"));
        assert_eq!(found(&router, "LOCALHOST.", "/api"), Some("api"));
        assert_eq!(found(&router, "localhost", "/api/administrator"), Some("api"));
        assert_eq!(found(&router, "localhost", "/api/admin"), Some("admin"));
        assert_eq!(found(&router, "localhost", "/api/admin/x"), Some("admin"));
        assert_eq!(found(&router, "other", "/"), None);
    }

    #[test]
    fn a_named_host_never_falls_through_to_the_catch_all() {
        let router =
            Router::new([route(None, "/", "any"), route(Some("a.test"), "/x", "a")]).unwrap();
        assert_eq!(found(&router, "b.test", "/x"), Some("any"));
        assert_eq!(found(&router, "a.test", "/x"), Some("a"));
        assert_eq!(found(&router, "a.test", "/y"), None);
    }

    #[test]
    fn ipv6_hosts_keep_their_colons() {
        assert_eq!(normal_host("[::1]:8000"), "[::1]");
        assert_eq!(normal_host("[::1]"), "[::1]");
        assert_eq!(normal_host("Example.COM:80"), "example.com");
    }

    #[test]
    fn two_routes_with_one_host_and_path_are_refused() {
        let error = Router::new([route(None, "/a", "one"), route(None, "/a/", "two")]).unwrap_err();
        assert_eq!(error.to_string(), "routes `one` and `two` both match `*/a/`");
    }
}
