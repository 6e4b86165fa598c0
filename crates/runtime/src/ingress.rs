//! The service port: answers the health paths, forwards everything else to the app.
//!
//! The forwarding itself is `proxy`'s; this module says what is local, what is measured and what is
//! logged. It listens from the first moment of the engine: while the app accepts no connections yet, a
//! request is held for [`HOLD`] and then told 503 with `Retry-After`, so that a start or a restart
//! is a slow answer and not a failed one. Health paths are answered always, count in no metric and write
//! no line: they are ours, and an app's error budget is not spent by a probe.
//!
//! A drain has two steps, as the lifecycle has: [`Ingress::announce`] (serve on, and say
//! `Connection: close`), then [`Ingress::refuse`] (503 for new requests; what runs, ends). It deliberately
//! has no time limit of its own.
//!
//! Invariant: after [`Ingress::closed`], nothing that was accepted is unanswered.

mod route;
mod watch;

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use proxy::{
    Address, Drain, Router, Server, Settings, Site, SiteError, SiteSettings, Target, Upstream,
    UpstreamSettings,
};
use tokio::task::JoinHandle;

use crate::board::Board;
use crate::logs::Sink;
use crate::metrics::Metrics;
use watch::Watch;

/// How long a request waits for an app that accepts no connections.
pub const HOLD: Duration = Duration::from_secs(2);

/// Most requests that wait so at once; above: 503 at once.
pub const HOLD_REQUESTS_MAX: usize = 1024;

/// What stands behind the service port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Behind {
    /// An app that listens here.
    App(SocketAddr),
    /// A built site.
    Site {
        /// Its directory.
        directory: PathBuf,
        /// Whether unknown paths answer with `index.html`.
        is_spa: bool,
    },
}

/// What an ingress is made of.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Name of the service, for pages.
    pub service: String,
    /// What stands behind it.
    pub behind: Behind,
    /// Declared routes such as `/v1/items/{id}`, in the order that the metrics know them.
    pub routes: Vec<String>,
    /// Whether every request writes a line.
    pub access_log: bool,
    /// Whether the app answers the health paths itself.
    pub app_health: bool,
    /// The state that the health paths tell.
    pub board: Arc<Board>,
    /// Where requests are measured.
    pub metrics: Arc<Metrics>,
    /// Where lines go.
    pub sink: Sink,
}

/// An ingress cannot start.
#[derive(Debug, thiserror::Error)]
pub enum IngressError {
    /// The inherited socket is not one that can be served.
    #[error("cannot serve the service port: {0}")]
    Socket(#[source] std::io::Error),
    /// The site cannot be read.
    #[error(transparent)]
    Site(#[from] SiteError),
}

/// A running ingress. Dropping it closes the listener; what was accepted goes on.
#[derive(Debug)]
pub struct Ingress {
    server: Server<Watch>,
    upstream: Option<Arc<Upstream>>,
    accepting: JoinHandle<()>,
}

/// Serves an inherited listening socket on the current runtime.
///
/// # Errors
/// When the socket cannot be made non-blocking, or the site is not there.
pub fn start(listener: TcpListener, parts: Parts) -> Result<Ingress, IngressError> {
    let (target, upstream) = match &parts.behind {
        Behind::App(address) => {
            let settings = UpstreamSettings {
                hold: HOLD,
                hold_requests_max: HOLD_REQUESTS_MAX,
                ..UpstreamSettings::default()
            };
            let upstream = Upstream::new(&parts.service, vec![Address::Tcp(*address)], settings);
            (Target::Upstream(Arc::clone(&upstream)), Some(upstream))
        }
        Behind::Site { directory, is_spa } => {
            let settings = SiteSettings { is_spa: *is_spa, ..SiteSettings::default() };
            (Target::Site(Site::new(directory, &settings)?), None)
        }
    };
    let router = Router::single(&parts.service, target);
    let server = Server::new(Settings::default(), router, Watch::new(&parts));
    listener.set_nonblocking(true).map_err(IngressError::Socket)?;
    let listener = tokio::net::TcpListener::from_std(listener).map_err(IngressError::Socket)?;
    let serving = server.clone();
    let accepting = tokio::spawn(async move { serving.serve(listener).await });
    Ok(Ingress { server, upstream, accepting })
}

impl Ingress {
    /// Serves on, but asks clients to go elsewhere.
    pub fn announce(&self) {
        self.server.begin_drain(Drain::Announce);
    }

    /// Refuses new requests and closes what is idle; health paths are still answered.
    pub fn refuse(&self) {
        self.server.begin_drain(Drain::Refuse);
    }

    /// Requests in flight, tunnels included.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.server.in_flight()
    }

    /// Waits until every connection has ended and lets go of those to the app. Comes to its end only
    /// after [`Ingress::refuse`]; the caller bounds it.
    pub fn closed(&self) -> impl Future<Output = ()> + Send + 'static {
        let (server, upstream) = (self.server.clone(), self.upstream.clone());
        async move {
            server.closed().await;
            if let Some(upstream) = upstream {
                upstream.close_idle();
            }
        }
    }
}

impl Drop for Ingress {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
