//! Starts the calls that go through us, and tells the app where they go.
//!
//! It deliberately holds no logic of calls. Invariant: without `--egress` there is nothing: no
//! client, no task, no variable.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use contract::log_events;
use tokio::task::JoinHandle;

use super::{Parts, setup};
use crate::egress::{self, Egress, EgressParts, Listening};
use crate::error::Error;
use crate::logs::{Level, Sink, Value};
use crate::outbound::Hidden;
use crate::secret;
use crate::settings::Settings;

/// How long after a secret could not be had it is asked for again.
const RETRY: Duration = Duration::from_secs(5);

/// Running calls; dropping it ends the listeners.
#[derive(Debug, Default)]
pub(super) struct Calls {
    egress: Option<Arc<Egress>>,
    _listening: Option<Listening>,
    resolving: Option<JoinHandle<()>>,
}

impl Drop for Calls {
    fn drop(&mut self) {
        if let Some(task) = &self.resolving {
            task.abort();
        }
    }
}

impl Calls {
    /// For the admin listeners.
    pub(super) fn calls(&self) -> Option<Arc<Egress>> {
        self.egress.clone()
    }
}

/// Starts what the settings declare.
pub(super) fn start(
    settings: &Settings,
    listeners: Vec<TcpListener>,
    parts: &mut Parts,
) -> Result<Calls, Error> {
    if settings.egress.is_empty() {
        return Ok(Calls::default());
    }
    let made = EgressParts {
        board: parts.board.clone(),
        metrics: parts.metrics.clone(),
        sink: parts.sink.clone(),
        tracer: parts.tracer.clone(),
    };
    let failed = |error| setup("make its HTTP client")(io::Error::other(error));
    let egress = Arc::new(Egress::new(&settings.egress, &made).map_err(failed)?);
    let listening = egress::listen(&egress, listeners).map_err(setup("serve calls"))?;
    for (name, dependency) in &settings.egress {
        let url = match (dependency.listen, settings.admin.listen.and_then(on_this_host)) {
            (Some(listen), _) => format!("http://{listen}"),
            (None, Some(admin)) => format!("http://{admin}/out/{name}"),
            // Only by the socket, which no address names.
            (None, None) => continue,
        };
        parts.app_env.0.insert(egress::url_variable(name), url);
    }
    let fields = settings.egress.values().flat_map(|it| it.headers.values());
    let resolving = fields.map(Hidden::reveal).any(secret::has_reference).then(|| {
        let (secrets, sink) = (parts.secrets.clone(), parts.sink.clone());
        tokio::spawn(resolve(egress.clone(), secrets, sink))
    });
    Ok(Calls { egress: Some(egress), _listening: Some(listening), resolving })
}

/// Puts secrets into header fields, and again whenever one has changed.
async fn resolve(egress: Arc<Egress>, secrets: secret::Handle, sink: Sink) {
    let mut changes = secrets.changes();
    let mut told = Vec::new();
    loop {
        changes.mark_unchanged();
        let fill = async |text: String| secrets.fill(&text).await.map_err(|it| it.to_string());
        let problems = egress.resolve(fill).await;
        if problems != told {
            for (dependency, reason) in &problems {
                let fields = [
                    (log_events::KEY, Value::Str(log_events::EGRESS_UNRESOLVED.name)),
                    ("dependency", Value::Str(dependency)),
                    ("reason", Value::Str(reason)),
                ];
                sink.event(Level::Warn, "a call lacks a secret", &fields);
            }
        }
        let is_whole = problems.is_empty();
        told = problems;
        if is_whole {
            if changes.changed().await.is_err() {
                return;
            }
        } else {
            // Whichever comes first; a provider that is back need not have changed anything.
            let _ = tokio::time::timeout(RETRY, changes.changed()).await;
        }
    }
}

/// How a process of this host reaches the admin listener, as one of this host.
fn on_this_host(listen: SocketAddr) -> Option<SocketAddr> {
    let ip = match listen.ip() {
        ip if ip.is_loopback() => ip,
        ip if ip.is_unspecified() && ip.is_ipv4() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        ip if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        // Whoever calls there comes from another address than loopback, and is refused.
        _ => return None,
    };
    Some(SocketAddr::new(ip, listen.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_app_calls_on_loopback_or_not_at_all() {
        let on = |text: &str| on_this_host(text.parse().unwrap()).map(|it| it.to_string());
        assert_eq!(on("0.0.0.0:9460").as_deref(), Some("127.0.0.1:9460"));
        assert_eq!(on("[::]:9460").as_deref(), Some("[::1]:9460"));
        assert_eq!(on("127.0.0.1:1").as_deref(), Some("127.0.0.1:1"));
        assert_eq!(on("10.0.0.5:9460"), None);
    }
}
