//! Serves the admin endpoints on one listener.
//!
//! HTTP/1.1 by hyper. It deliberately keeps no state between requests. Invariant: a connection ends
//! within [`CONNECTION_LIFETIME`] and a grace, a head within [`HEAD_TIMEOUT`], and no more than
//! [`CONNECTIONS_MAX`] are open.

use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use contract::endpoints::{self, Endpoint, Listeners};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use super::answer::{Form, answer, refuse, refuse_method, reply, unknown_path};
use super::audited::{Caller, Deed};
use super::{Admin, Peer};
use crate::audit::Outcome;
use crate::board::Moment;
use crate::egress::{Egress, ResponseBody};
use crate::metrics::form_for;
use crate::publish;

/// Most connections of one listener; more wait to be accepted.
const CONNECTIONS_MAX: usize = 128;
/// How long a request's head may take, and a connection may be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Most bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Most header lines of a request.
const HEADERS_MAX: usize = 64;
/// Most bytes of a request's body.
const BODY_BYTES_MAX: usize = 1024;
/// How long a request's body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);
/// After so long a connection is asked to end, so that none is kept open by a reader that stalls.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(120);
/// How long the answer under way then has.
const CONNECTION_GRACE: Duration = Duration::from_secs(5);
/// How long to wait when the kernel gives no connection, for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What to listen on; opened by the guard, so that a new engine loses no waiting connection.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(std::net::TcpListener),
    /// A Unix socket.
    Unix(std::os::unix::net::UnixListener),
}

/// A running listener; dropping it ends it and its connections.
#[derive(Debug)]
pub struct Server {
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Answers on a listener until the [`Server`] is dropped. Must be called inside a tokio runtime.
///
/// # Errors
/// When the listener cannot be made non-blocking or registered.
pub fn serve(listener: Listener, admin: Arc<Admin>) -> io::Result<Server> {
    let task = match listener {
        Listener::Tcp(listener) => {
            listener.set_nonblocking(true)?;
            let listener = TcpListener::from_std(listener)?;
            tokio::spawn(accept(admin, async move || {
                let (stream, address) = listener.accept().await?;
                // Without it a small answer may wait for an acknowledgement.
                let _ = stream.set_nodelay(true);
                Ok((stream, Peer::Tcp(address.ip()), Caller(address.to_string())))
            }))
        }
        Listener::Unix(listener) => {
            listener.set_nonblocking(true)?;
            let listener = UnixListener::from_std(listener)?;
            tokio::spawn(accept(admin, async move || {
                let (stream, _) = listener.accept().await?;
                let caller = Caller::of_socket(stream.peer_cred().ok());
                Ok((stream, Peer::Socket, caller))
            }))
        }
    };
    Ok(Server { task })
}

async fn accept<S>(admin: Arc<Admin>, next: impl AsyncFn() -> io::Result<(S, Peer, Caller)>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = tokio::task::JoinSet::new();
    while let Ok(permit) = room.clone().acquire_owned().await {
        while connections.try_join_next().is_some() {}
        match next().await {
            Ok((stream, peer, caller)) => {
                let admin = admin.clone();
                connections.spawn(converse(stream, (peer, caller), admin, Place::new(permit)));
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// What a connection takes up: a place of the admin endpoints, or one of those that call.
///
/// An application that keeps many connections to call must not keep a probe out.
struct Place {
    permit: Mutex<OwnedSemaphorePermit>,
    is_caller: AtomicBool,
}

impl Place {
    fn new(permit: OwnedSemaphorePermit) -> Arc<Self> {
        Arc::new(Self { permit: Mutex::new(permit), is_caller: AtomicBool::new(false) })
    }

    /// Moves the connection among those that call; false when there are too many.
    fn call(&self, egress: &Egress) -> bool {
        if self.is_caller.load(Ordering::Relaxed) {
            return true;
        }
        let Some(permit) = egress.enter() else { return false };
        *self.permit.lock().unwrap_or_else(PoisonError::into_inner) = permit;
        self.is_caller.store(true, Ordering::Relaxed);
        true
    }
}

/// One connection, to its end.
async fn converse<S>(
    stream: S,
    (peer, caller): (Peer, Caller),
    admin: Arc<Admin>,
    place: Arc<Place>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let kept = place.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        let (admin, place) = (admin.clone(), place.clone());
        request.extensions_mut().insert(caller.clone());
        async move { Ok::<_, Infallible>(admin.answer_all(request, peer, &place).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(proxy::Checked::new(stream)), service);
    let mut connection = std::pin::pin!(connection);
    // How a connection ended is the client's affair; nothing here depends on it.
    if tokio::time::timeout(CONNECTION_LIFETIME, connection.as_mut()).await.is_ok() {
        return;
    }
    connection.as_mut().graceful_shutdown();
    if kept.is_caller.load(Ordering::Relaxed) {
        // A call has limits of its own, and ends within them.
        let _ = connection.await;
    } else {
        let _ = tokio::time::timeout(CONNECTION_GRACE, connection).await;
    }
}

impl Admin {
    /// Answers a request, a call to a dependency included.
    async fn answer_all(
        &self,
        request: Request<Incoming>,
        peer: Peer,
        place: &Place,
    ) -> Response<ResponseBody> {
        let Some(egress) = self.egress.as_ref().filter(|_| Egress::is_call(request.uri().path()))
        else {
            return self.respond(request, peer).await.map(|body| Either::Left(Full::new(body)));
        };
        if !place.call(egress) {
            return Egress::refuse_connection();
        }
        let address = match peer {
            Peer::Socket => None,
            Peer::Tcp(address) => Some(address),
        };
        egress.respond(request, address).await
    }

    /// Answers any request, whatever its path.
    pub async fn respond(&self, request: Request<Incoming>, peer: Peer) -> Response<Bytes> {
        let is_head = request.method() == Method::HEAD;
        let response = match endpoints::find(request.uri().path()) {
            None => unknown_path(),
            Some(endpoint) => match refuse_method(endpoint, request.method()) {
                Some(refusal) => refusal,
                None => self.answer(endpoint, request, peer).await,
            },
        };
        if is_head { response.map(|_| Bytes::new()) } else { response }
    }

    /// Answers, and has what changes something recorded first.
    async fn answer(
        &self,
        endpoint: &'static Endpoint,
        request: Request<Incoming>,
        peer: Peer,
    ) -> Response<Bytes> {
        let Some(deed) = Deed::of(endpoint, &request, peer) else {
            return self.act(endpoint, request, peer).await;
        };
        let mut response = if deed.is_forbidden {
            self.audit.record(deed.entry(Outcome::Denied, None));
            self.act(endpoint, request, peer).await
        } else {
            match self.audit.commit(deed.entry(Outcome::Allowed, None)).await {
                Ok(()) => self.act(endpoint, request, peer).await,
                Err(why) => deed.refused(&why),
            }
        };
        let status = response.status();
        if !status.is_success() && !deed.is_forbidden {
            self.audit.record(deed.entry(Outcome::Failed, Some(status)));
        }
        deed.name(response.headers_mut());
        response
    }

    async fn act(
        &self,
        endpoint: &'static Endpoint,
        request: Request<Incoming>,
        peer: Peer,
    ) -> Response<Bytes> {
        if endpoint.listeners == Listeners::Socket && peer != Peer::Socket {
            let error = format!("`{}` is answered on the Unix socket only", endpoint.path);
            return refuse(StatusCode::FORBIDDEN, error);
        }
        if publish::http::is_ours(endpoint) {
            return publish::http::answer(self.publisher.as_ref(), endpoint, request, peer).await;
        }
        if *endpoint == endpoints::METRICS {
            return self.metrics(&request).await;
        }
        if endpoint.method == endpoints::Method::Get {
            let detail = self.details.detail(peer.is_local());
            let form = Form::of(request.headers());
            return answer(endpoint, &self.board.snapshot(), Moment::now(), detail, form);
        }
        if let Err(refusal) = read_body(request).await {
            return refusal;
        }
        if *endpoint == endpoints::HEARTBEAT {
            self.heartbeat(peer)
        } else if *endpoint == endpoints::HOLD || *endpoint == endpoints::RELEASE {
            self.board.hold(*endpoint == endpoints::HOLD, Moment::now());
            no_content()
        } else {
            self.drain()
        }
    }

    async fn metrics(&self, request: &Request<Incoming>) -> Response<Bytes> {
        let accept = request.headers().get(header::ACCEPT);
        let form = form_for(accept.and_then(|value| value.to_str().ok()).unwrap_or_default());
        let app = match &self.app_metrics {
            Some(app) => Some(app.read().await),
            None => None,
        };
        let text = self.metrics.render(&self.board.snapshot(), Moment::now(), form, app);
        reply(StatusCode::OK, form.media_type(), text.into())
    }

    fn heartbeat(&self, peer: Peer) -> Response<Bytes> {
        if !peer.is_local() {
            let error = "a heartbeat must come from the host of its worker".to_owned();
            return refuse(StatusCode::FORBIDDEN, error);
        }
        let snapshot = self.board.snapshot();
        if !snapshot.verdicts.values().any(|verdict| verdict.kind == "heartbeat") {
            let error = "no `heartbeat` probe is configured; add one to `PLIMSOLL_PROBES`";
            return refuse(StatusCode::NOT_FOUND, error.to_owned());
        }
        self.board.heartbeat(Moment::now());
        no_content()
    }

    fn drain(&self) -> Response<Bytes> {
        self.board.drain(Moment::now());
        no_content()
    }
}

fn no_content() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let no_store = header::HeaderValue::from_static(endpoints::CACHE_CONTROL);
    response.headers_mut().insert(header::CACHE_CONTROL, no_store);
    response
}

/// Reads and forgets a small body.
async fn read_body(request: Request<Incoming>) -> Result<(), Response<Bytes>> {
    let body = Limited::new(request.into_body(), BODY_BYTES_MAX).collect();
    match tokio::time::timeout(BODY_TIMEOUT, body).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) => {
            let error = format!("the body is longer than {BODY_BYTES_MAX} bytes, or broken");
            Err(refuse(StatusCode::PAYLOAD_TOO_LARGE, error))
        }
        Err(_) => {
            let error = format!("the body did not come within {} s", BODY_TIMEOUT.as_secs());
            Err(refuse(StatusCode::REQUEST_TIMEOUT, error))
        }
    }
}
