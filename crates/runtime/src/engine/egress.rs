//! Starts the calls that go through us, and tells the app where they go.
//!
//! It deliberately holds no logic of calls. Invariant: without `--egress` there is nothing: no
//! client, no task, no variable.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::Arc;

use super::{Parts, setup};
use crate::egress::{self, Egress, EgressParts, Listening};
use crate::error::Error;
use crate::settings::Settings;

/// Running calls; dropping it ends the listeners.
#[derive(Debug, Default)]
pub(super) struct Calls {
    egress: Option<Arc<Egress>>,
    _listening: Option<Listening>,
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
    Ok(Calls { egress: Some(egress), _listening: Some(listening) })
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
