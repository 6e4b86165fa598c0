//! Probe: an HTTP request is answered with the status, and the text, that is expected.
//!
//! One connection is kept and asked again while the server keeps it. It reads no more of a body
//! than it must, follows no redirect and asks no proxy: what is probed is the address itself.
//! Invariant: what is shown has neither query nor header.

use ::http::uri::Scheme;
use ::http::{HeaderValue, Request, Uri, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use memchr::memmem;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;

use super::settings::{self, HttpUrl, Statuses};
use super::tcp::Tcp;
use super::tls;
use crate::outbound;

/// Most bytes of the answer's head.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Most bytes of the body that are looked through.
const BODY_BYTES_MAX: usize = 256 * 1024;
/// A body that is not looked at is read to this length, to keep the connection; a longer one is
/// not worth it.
const REST_BYTES_MAX: usize = 16 * 1024;

/// Probes a URL.
#[derive(Debug)]
pub(super) struct Http {
    /// Where; an error when a secret in the address was not filled in.
    uri: Result<Uri, String>,
    authority: String,
    expect: Vec<Statuses>,
    contains: Option<String>,
    headers: Vec<(header::HeaderName, settings::Confidential)>,
    tcp: Tcp,
    kept: Option<Session>,
    is_connected: bool,
}

/// A connection; dropping it closes it.
#[derive(Debug)]
struct Session {
    sender: SendRequest<Empty<Bytes>>,
    connection: AbortHandle,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// Why a request failed.
enum Failure {
    /// The answer is not what was expected.
    Answer(String),
    /// There was no whole answer.
    Broken(String),
}

impl Http {
    pub(super) fn new(settings: settings::Http) -> Self {
        let uri = match settings.url {
            HttpUrl::Ready(uri) => Ok(uri),
            HttpUrl::Open(_) => Err("a secret in its address is not known yet".to_owned()),
        };
        let (host, port) = uri.as_ref().map_or(("", None), |uri| {
            let port = if uri.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
            (uri.host().unwrap_or_default(), Some(uri.port_u16().unwrap_or(port)))
        });
        let authority = format!("{host}:{}", port.unwrap_or_default());
        Self {
            tcp: Tcp::new(authority.clone()),
            uri,
            authority,
            expect: settings.expect,
            contains: settings.contains,
            headers: settings.headers,
            kept: None,
            is_connected: false,
        }
    }

    /// Asks once. May be dropped at any point; the connection is then closed.
    pub(super) async fn check(&mut self) -> Result<(), String> {
        self.is_connected = false;
        let uri = self.uri.clone()?;
        if let Some(mut session) = self.kept.take()
            && session.sender.ready().await.is_ok()
        {
            self.is_connected = true;
            match self.ask(&uri, session).await {
                Ok(()) => return Ok(()),
                Err(Failure::Answer(said)) => return Err(said),
                // The server closed it between two probes, as servers do.
                Err(Failure::Broken(_)) => self.is_connected = false,
            }
        }
        let session = self.connect(&uri).await?;
        match self.ask(&uri, session).await {
            Ok(()) => Ok(()),
            Err(Failure::Answer(said) | Failure::Broken(said)) => Err(said),
        }
    }

    pub(super) fn waited_for(&self) -> String {
        if self.is_connected { self.shown() } else { self.tcp.waited_for() }
    }

    async fn connect(&mut self, uri: &Uri) -> Result<Session, String> {
        let stream = self.tcp.connect().await?;
        // Without it the request may wait for an acknowledgement.
        let _ = stream.set_nodelay(true);
        self.is_connected = true;
        if uri.scheme() != Some(&Scheme::HTTPS) {
            return self.handshake(stream).await;
        }
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(host.clone())
            .map_err(|_| format!("TLS: `{host}` is not a server's name"))?;
        let stream = TlsConnector::from(outbound::tls())
            .connect(name, stream)
            .await
            .map_err(|error| format!("TLS with `{}`: {}", self.authority, tls::reason(&error)))?;
        self.handshake(stream).await
    }

    async fn handshake<S>(&self, stream: S) -> Result<Session, String>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD_BYTES_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| format!("{}: {error}", self.shown()))?;
        Ok(Session { sender, connection: tokio::spawn(connection).abort_handle() })
    }

    async fn ask(&mut self, uri: &Uri, mut session: Session) -> Result<(), Failure> {
        let broken =
            |error: &dyn std::fmt::Display| Failure::Broken(format!("{}: {error}", self.shown()));
        let request = self.request(uri).map_err(|error| broken(&error))?;
        let answer = session.sender.send_request(request).await.map_err(|error| broken(&error))?;
        let code = answer.status().as_u16();
        let mut body = answer.into_body();
        let is_expected = match &self.expect[..] {
            [] => (200..400).contains(&code),
            expect => expect.iter().any(|it| (it.first..=it.last).contains(&code)),
        };
        if !is_expected {
            return Err(Failure::Answer(format!("{}: answered {code}", self.shown())));
        }
        let Some(text) = &self.contains else {
            if read(&mut body, REST_BYTES_MAX).await.is_ok_and(|read| read.is_whole) {
                self.kept = Some(session);
            }
            return Ok(());
        };
        let read = read(&mut body, BODY_BYTES_MAX).await.map_err(|error| broken(&error))?;
        if memmem::find(&read.bytes, text.as_bytes()).is_none() {
            let looked = if read.is_whole { "the body" } else { "the beginning of the body" };
            return Err(Failure::Answer(format!(
                "{}: answered {code}, but {looked} does not hold `{text}`",
                self.shown()
            )));
        }
        if read.is_whole {
            self.kept = Some(session);
        }
        Ok(())
    }

    fn request(&self, uri: &Uri) -> Result<Request<Empty<Bytes>>, ::http::Error> {
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::get(path)
            .header(header::HOST, uri.authority().map_or("", |authority| authority.as_str()))
            .header(header::USER_AGENT, "plimsoll-probe")
            .header(header::ACCEPT, "*/*")
            .body(Empty::new())?;
        for (name, value) in &self.headers {
            let mut value = HeaderValue::from_str(&value.0)?;
            value.set_sensitive(true);
            request.headers_mut().insert(name.clone(), value);
        }
        Ok(request)
    }

    /// The request in words, without a query: it may hold a token.
    fn shown(&self) -> String {
        let Ok(uri) = &self.uri else { return "GET".into() };
        let scheme = uri.scheme_str().unwrap_or("http");
        format!("GET {scheme}://{}{}", self.authority, uri.path())
    }
}

/// What was read of a body.
struct Read {
    bytes: Vec<u8>,
    /// Whether there is no more.
    is_whole: bool,
}

async fn read(body: &mut Incoming, limit: usize) -> Result<Read, hyper::Error> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            bytes.extend_from_slice(&data);
        }
        if bytes.len() >= limit {
            return Ok(Read { bytes, is_whole: false });
        }
    }
    Ok(Read { bytes, is_whole: true })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    /// Answers one request with the given bytes, then closes.
    async fn check(answer: &'static str) -> Result<(), String> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut head = [0; 1024];
            let count = stream.read(&mut head).expect("a request");
            stream.write_all(answer.as_bytes()).expect("sent");
            String::from_utf8_lossy(&head[..count]).into_owned()
        });
        let uri = format!("http://127.0.0.1:{port}/ready?token=secret").parse().expect("a URL");
        let url = HttpUrl::Ready(uri);
        let settings =
            settings::Http { url, expect: Vec::new(), contains: None, headers: Vec::new() };
        let result = Http::new(settings).check().await;
        let head = server.join().expect("served");
        assert!(head.starts_with("GET /ready?token=secret HTTP/1.1\r\n"), "{head}");
        result.map_err(|error| error.replace(&port.to_string(), "PORT"))
    }

    #[tokio::test]
    async fn success_and_redirects_pass() {
        assert_eq!(check("HTTP/1.1 204 No Content\r\n\r\n").await, Ok(()));
        assert_eq!(check("HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n").await, Ok(()));
    }

    #[tokio::test]
    async fn other_statuses_fail_without_showing_the_query() {
        let failed = check("HTTP/1.1 503 Service Unavailable\r\n\r\n").await;
        assert_eq!(failed, Err("GET http://127.0.0.1:PORT/ready: answered 503".into()));
    }

    #[tokio::test]
    async fn what_is_not_http_fails() {
        assert!(check("SSH-2.0-OpenSSH_9.2\r\n").await.is_err());
        assert!(check("").await.is_err());
    }
}
