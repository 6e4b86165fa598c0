//! One client connection from its first byte to its last.
//!
//! Tells HTTP/1 from HTTP/2 (prior knowledge) by the first bytes, hands the socket to hyper, and
//! carries a drain to it: HTTP/2 is told to go away, HTTP/1 is closed after the current response.
//! It deliberately never uses hyper's `pipeline_flush`, which holds a response back until the
//! next request was parsed.
//!
//! Invariant: the connection is counted in its server until its socket is closed or tunnelled.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::Sleep;

use crate::client_io::{ClientIo, Wire};
use crate::exchange::{ExchangeBody, exchange};
use crate::framing::Framing;
use crate::limits::{BUFFER_BYTES_MAX, H2_RESETS_MAX};
use crate::server::{Drain, Shared};
use crate::trust::Peer;
use crate::turn::StreamExecutor;
use crate::watch::{Hooks, Refusal};

/// What an HTTP/2 client sends first.
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Time between two HTTP/2 pings, and for the answer to one: finds clients that are gone.
const H2_PING: Duration = Duration::from_secs(20);

/// What the exchanges of one connection share.
#[derive(Debug)]
pub(crate) struct Client<H> {
    pub(crate) shared: Arc<Shared<H>>,
    pub(crate) wire: Arc<Wire>,
    pub(crate) peer: Peer,
    /// Kept from one exchange to the next: setting a timer costs more than looking at one.
    pub(crate) timer: Mutex<Option<Pin<Box<Sleep>>>>,
}

/// Serves one connection to its end.
pub(crate) async fn serve<H: Hooks>(
    shared: Arc<Shared<H>>,
    mut socket: TcpStream,
    address: SocketAddr,
) {
    let _delayed = socket.set_nodelay(true);
    let limits = &shared.settings.limits;
    // Whoever comes during a drain is told so, instead of being hung up on.
    let is_late = shared.phase() == Drain::Refuse;
    let first = first_bytes(&mut socket, &shared, is_late);
    let first = tokio::time::timeout(limits.idle_timeout, first).await;
    let Ok(Some((prefix, is_h2))) = first else { return };
    let wire = Wire::new(if is_h2 { Framing::opaque() } else { Framing::http1() });
    let io = ClientIo::new(socket, prefix, Arc::clone(&wire), Arc::clone(limits));
    let peer = Peer::new(address, &shared.settings.trusted_proxies);
    let client =
        Arc::new(Client { shared: Arc::clone(&shared), wire, peer, timer: Mutex::new(None) });
    let is_malformed = if is_h2 {
        serve_h2(&shared, io, &client).await
    } else {
        serve_h1(&shared, io, &client, is_late).await
    };
    let refusal = client.wire.refusal().or(is_malformed.then_some(Refusal::Malformed));
    if let Some(refusal) = refusal {
        shared.hooks.refused(refusal, address.ip());
    }
}

/// Reads until it is clear which protocol begins; `None` when the client leaves or we drain first.
async fn first_bytes<H: Hooks>(
    socket: &mut TcpStream,
    shared: &Shared<H>,
    is_late: bool,
) -> Option<(Vec<u8>, bool)> {
    let mut bytes = Vec::with_capacity(H2_PREFACE.len());
    loop {
        let mut scratch = [0; H2_PREFACE.len()];
        let room = H2_PREFACE.len() - bytes.len();
        let n_bytes = tokio::select! {
            biased;
            n_bytes = socket.read(&mut scratch[..room]) => n_bytes.ok()?,
            () = shared.reached(Drain::Refuse), if bytes.is_empty() && !is_late => return None,
        };
        bytes.extend_from_slice(&scratch[..n_bytes]);
        if bytes == H2_PREFACE {
            return Some((bytes, true));
        }
        if !H2_PREFACE.starts_with(&bytes) {
            return Some((bytes, false));
        }
        if n_bytes == 0 {
            return None;
        }
    }
}

/// Whether it ended because the client did not speak HTTP/1.
async fn serve_h1<H: Hooks>(
    shared: &Arc<Shared<H>>,
    io: ClientIo,
    client: &Arc<Client<H>>,
    is_late: bool,
) -> bool {
    let mut builder = http1::Builder::new();
    builder
        .max_buf_size(BUFFER_BYTES_MAX)
        .max_header_size(shared.settings.limits.head_bytes_max)
        .header_read_timeout(None)
        .half_close(false);
    let service = service(client);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(io), service).with_upgrades());
    let mut drain = pin!(shared.reached(Drain::Refuse));
    let mut is_draining = is_late;
    let ended = std::future::poll_fn(|cx| {
        // First the connection: a request that has arrived is no longer idle.
        let ended = connection.as_mut().poll(cx);
        if ended.is_ready() || is_draining || drain.as_mut().poll(cx).is_pending() {
            return ended;
        }
        is_draining = true;
        connection.as_mut().graceful_shutdown();
        connection.as_mut().poll(cx)
    })
    .await;
    ended.is_err_and(|error| error.is_parse() || error.is_parse_too_large())
}

/// Whether it ended because the client did not speak HTTP/2.
async fn serve_h2<H: Hooks>(
    shared: &Arc<Shared<H>>,
    io: ClientIo,
    client: &Arc<Client<H>>,
) -> bool {
    let limits = &shared.settings.limits;
    let mut builder = http2::Builder::new(StreamExecutor { stall_timeout: limits.stall_timeout });
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(H2_PING)
        .keep_alive_timeout(H2_PING)
        .max_concurrent_streams(limits.h2_streams_max)
        .max_header_list_size(limits.h2_head_bytes_max)
        .max_pending_accept_reset_streams(H2_RESETS_MAX)
        .max_local_error_reset_streams(H2_RESETS_MAX)
        .initial_stream_window_size(limits.h2_window_bytes)
        .initial_connection_window_size(limits.h2_window_bytes * 4)
        .max_send_buf_size(BUFFER_BYTES_MAX);
    let service = service(client);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(io), service));
    let mut drain = pin!(shared.reached(Drain::Announce));
    let mut is_draining = false;
    let ended = std::future::poll_fn(|cx| {
        if !is_draining && drain.as_mut().poll(cx).is_ready() {
            is_draining = true;
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(cx)
    })
    .await;
    ended.is_err_and(|error| error.is_parse())
}

fn service<H: Hooks>(
    client: &Arc<Client<H>>,
) -> impl hyper::service::Service<
    Request<Incoming>,
    Response = Response<ExchangeBody<H>>,
    Error = Infallible,
    Future: Future<Output = Result<Response<ExchangeBody<H>>, Infallible>> + Send + 'static,
> + Send
+ 'static {
    let client = Arc::clone(client);
    service_fn(move |request| exchange(Arc::clone(&client), request))
}
