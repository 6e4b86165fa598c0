//! Takes calls: `/out/<name>/..` on an admin listener, and listeners of dependencies' own.
//!
//! Whoever reaches it calls with the service's credentials. So a caller must be on this host, name
//! it so in `Host` (a page that had its name resolved to loopback does not), and be no page of
//! another origin. It deliberately asks for no token.
//!
//! Invariant: no more than [`CONNECTIONS_MAX`] connections call at once, besides those of the
//! admin endpoints.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use http::header::{HOST, HeaderMap, ORIGIN};
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::{JoinHandle, JoinSet};

use super::Egress;
use super::answer::{self, Reason};
use super::body::ResponseBody;
use super::call::{call, full};
use super::dependency::Dependency;

/// Most connections that call.
pub(super) const CONNECTIONS_MAX: usize = 1024;
/// What calls begin with on an admin listener.
const PREFIX: &str = "/out/";
/// How long a connection may be idle, and a head may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// Most bytes of a head.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// How long to wait when the kernel gives no connection, for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl Egress {
    /// Whether a request on an admin listener is a call.
    pub fn is_call(path: &str) -> bool {
        path.starts_with(PREFIX)
    }

    /// A place among the connections that call.
    pub fn enter(&self) -> Option<OwnedSemaphorePermit> {
        self.room.clone().try_acquire_owned().ok()
    }

    /// Answers a call on an admin listener.
    pub async fn respond(
        &self,
        request: Request<Incoming>,
        peer: Option<IpAddr>,
    ) -> Response<ResponseBody> {
        let path = request.uri().path().to_owned();
        let rest = path.strip_prefix(PREFIX).unwrap_or_default();
        let (name, rest) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if let Some(peer) = peer
            && !(peer.to_canonical().is_loopback() && is_of_this_host(request.headers()))
        {
            return answer::refuse(Reason::Forbidden, "", None).map(full);
        }
        match self.dependencies.get(name) {
            Some(dependency) => call(dependency, request, rest).await,
            // The name is the caller's: it may hold anything.
            None => answer::refuse(Reason::Unknown, "", None).map(full),
        }
    }

    /// The answer when no more connections may call.
    pub fn refuse_connection() -> Response<ResponseBody> {
        answer::refuse(Reason::BulkheadFull, "", Some(Duration::from_secs(1))).map(full)
    }
}

/// Whether a request says that it was meant for this host, and not by a page of another.
fn is_of_this_host(headers: &HeaderMap) -> bool {
    let is_local = |host: &str| {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    };
    let of = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let host = of(HOST).map(|text| {
        text.rsplit_once(':').map_or(text, |(host, port)| {
            // An address of IPv6 without a port has colons too.
            if port.bytes().all(|byte| byte.is_ascii_digit()) { host } else { text }
        })
    });
    let origin = of(ORIGIN).map(|text| text.parse::<Uri>().ok());
    host.is_none_or(is_local)
        && origin.is_none_or(|origin| origin.as_ref().and_then(Uri::host).is_some_and(is_local))
}

/// Listeners of dependencies' own; dropping it ends them and their connections.
#[derive(Debug)]
pub struct Listening(Vec<JoinHandle<()>>);

impl Drop for Listening {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

/// Serves each dependency on the listener of its own, in the order of their names.
///
/// # Errors
/// When a listener cannot be registered.
pub fn listen(egress: &Arc<Egress>, listeners: Vec<TcpListener>) -> io::Result<Listening> {
    let declared = egress.dependencies.values().filter(|it| it.settings.listen.is_some());
    let mut tasks = Vec::new();
    for (dependency, listener) in declared.zip(listeners) {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        tasks.push(tokio::spawn(accept(egress.clone(), dependency.clone(), listener)));
    }
    Ok(Listening(tasks))
}

async fn accept(
    egress: Arc<Egress>,
    dependency: Arc<Dependency>,
    listener: tokio::net::TcpListener,
) {
    let mut connections = JoinSet::new();
    while let Ok(permit) = egress.room.clone().acquire_owned().await {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let _ = stream.set_nodelay(true);
                let dependency = dependency.clone();
                connections.spawn(async move {
                    converse(stream, dependency).await;
                    drop(permit);
                });
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn converse(stream: tokio::net::TcpStream, dependency: Arc<Dependency>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let dependency = dependency.clone();
        async move {
            if !is_of_this_host(request.headers()) {
                let refusal = answer::refuse(Reason::Forbidden, &dependency.name, None);
                return Ok::<_, Infallible>(refusal.map(full));
            }
            let path = request.uri().path().to_owned();
            Ok(call(&dependency, request, &path).await)
        }
    });
    // How a connection ended is the application's affair; the call has recorded it.
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
