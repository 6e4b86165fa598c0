//! A proxy, applications behind it and clients in front of it, all on ports that the kernel picks.
//!
//! Nothing here sleeps: whatever is waited for is an event, and bounded by [`within`].

use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Collected, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use proxy::{
    Exchange, Hooks, Limits, Outcome, Refusal, Router, Server, Settings, Target, Upstream,
    UpstreamSettings,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Longest wait of any test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Fails the test when something takes too long.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("took too long")
}

/// What a finished exchange was, owned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finished {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) host: String,
    pub(crate) route: Option<String>,
    pub(crate) upstream: Option<String>,
    pub(crate) status: Option<u16>,
    pub(crate) outcome: Outcome,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) trace_id: String,
    pub(crate) span_id: String,
    pub(crate) request_id: String,
    pub(crate) client: IpAddr,
}

/// Records what the proxy says, and answers `/live` itself.
pub(crate) struct Recorder {
    finished: UnboundedSender<Finished>,
    refused: UnboundedSender<Refusal>,
}

impl Hooks for Recorder {
    fn local(&self, request: &Parts) -> Option<Response<Bytes>> {
        (request.uri.path() == "/live").then(|| Response::new(Bytes::from_static(b"alive")))
    }

    fn finished(&self, exchange: &Exchange<'_>) {
        let _gone = self.finished.send(Finished {
            method: exchange.method.to_string(),
            path: exchange.path.to_owned(),
            host: exchange.host.to_owned(),
            route: exchange.route.map(str::to_owned),
            upstream: exchange.upstream.map(str::to_owned),
            status: exchange.status.map(|status| status.as_u16()),
            outcome: exchange.outcome,
            bytes_in: exchange.bytes_in,
            bytes_out: exchange.bytes_out,
            trace_id: exchange.trace.trace_id().to_owned(),
            span_id: exchange.trace.span_id().to_owned(),
            request_id: exchange.request_id.to_owned(),
            client: exchange.client,
        });
    }

    fn refused(&self, refusal: Refusal, _client: IpAddr) {
        let _gone = self.refused.send(refusal);
    }
}

/// A running proxy.
pub(crate) struct Front {
    pub(crate) address: SocketAddr,
    pub(crate) server: Server<Recorder>,
    finished: UnboundedReceiver<Finished>,
    refused: UnboundedReceiver<Refusal>,
}

impl Front {
    /// A proxy with these settings and routes.
    pub(crate) async fn with(settings: Settings, router: Router) -> Self {
        let (finished_in, finished) = unbounded_channel();
        let (refused_in, refused) = unbounded_channel();
        let recorder = Recorder { finished: finished_in, refused: refused_in };
        let server = Server::new(settings, router, recorder);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = server.clone();
        tokio::spawn(async move { serving.serve(listener).await });
        Self { address, server, finished, refused }
    }

    /// A proxy in front of one application.
    pub(crate) async fn before(app: SocketAddr) -> Self {
        Self::with(Settings::default(), to(app)).await
    }

    /// A proxy with these limits in front of one application.
    pub(crate) async fn limited(limits: Limits, app: SocketAddr) -> Self {
        let settings = Settings { limits: Arc::new(limits), ..Settings::default() };
        Self::with(settings, to(app)).await
    }

    /// The next exchange that ends.
    pub(crate) async fn finished(&mut self) -> Finished {
        within(self.finished.recv()).await.expect("the proxy is gone")
    }

    /// The next connection that is refused.
    pub(crate) async fn refused(&mut self) -> Refusal {
        within(self.refused.recv()).await.expect("the proxy is gone")
    }

    /// Sends bytes on a new connection and reads until the proxy closes it.
    pub(crate) async fn raw(&self, request: impl AsRef<[u8]>) -> String {
        let mut client = self.connect().await;
        client.write_all(request.as_ref()).await.unwrap();
        let mut answer = Vec::new();
        let _reset = within(client.read_to_end(&mut answer)).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// A new connection.
    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }
}

/// Routes everything to one application.
pub(crate) fn to(app: SocketAddr) -> Router {
    Router::single("app", Target::Upstream(Upstream::tcp("app", app)))
}

/// Routes everything to one application that is reached in this way.
pub(crate) fn to_with(app: SocketAddr, settings: UpstreamSettings) -> Router {
    let upstream = Upstream::new("app", vec![proxy::Address::Tcp(app)], settings);
    Router::single("app", Target::Upstream(upstream))
}

/// A body of either kind.
pub(crate) type AppBody = BoxBody<Bytes, Infallible>;

/// A body from memory.
pub(crate) fn full(text: impl Into<Bytes>) -> AppBody {
    Full::new(text.into()).boxed()
}

/// An application that answers with a function.
pub(crate) async fn app<F, A>(answer: F) -> SocketAddr
where
    F: Fn(Request<Incoming>) -> A + Clone + Send + 'static,
    A: Future<Output = Response<AppBody>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let Ok((socket, _)) = listener.accept().await else { return };
            let answer = answer.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let answer = answer(request);
                    async move { Ok::<_, Infallible>(answer.await) }
                });
                let _ended = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(socket), service)
                    .with_upgrades()
                    .await;
            });
        }
    });
    address
}

/// An application that says what it was asked: request line, fields in order, body.
pub(crate) async fn echo() -> SocketAddr {
    app(|request| async move {
        let (parts, body) = request.into_parts();
        let mut text = format!("{} {}\n", parts.method, parts.uri);
        for (name, value) in &parts.headers {
            text.push_str(&format!("{name}: {}\n", value.to_str().unwrap_or("?")));
        }
        text.push('\n');
        let body = body.collect().await.map(Collected::to_bytes).unwrap_or_default();
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(&body);
        Response::new(full(bytes))
    })
    .await
}

/// An application that is a script: called with each connection and its number.
pub(crate) async fn script<F, A>(play: F) -> SocketAddr
where
    F: Fn(TcpStream, usize) -> A + Send + 'static,
    A: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for number in 0.. {
            let Ok((socket, _)) = listener.accept().await else { return };
            tokio::spawn(play(socket, number));
        }
    });
    address
}

/// Reads one head, up to its empty line.
pub(crate) async fn read_head(socket: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match within(socket.read_u8()).await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// Reads exactly this many bytes.
pub(crate) async fn read_exactly(socket: &mut TcpStream, n_bytes: usize) -> Vec<u8> {
    let mut bytes = vec![0; n_bytes];
    within(socket.read_exact(&mut bytes)).await.unwrap();
    bytes
}

/// The status line of a raw answer.
pub(crate) fn status(answer: &str) -> &str {
    answer.lines().next().unwrap_or_default()
}

/// The value of a field in a raw answer.
pub(crate) fn field<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let head = answer.split("\r\n\r\n").next().unwrap_or_default();
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// A port on which nobody listens.
pub(crate) async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

/// Limits so short that a test can wait for them.
pub(crate) fn short() -> Limits {
    let soon = Duration::from_millis(150);
    Limits { head_timeout: soon, idle_timeout: soon, stall_timeout: soon, ..Limits::default() }
}
