//! Probe: an HTTP request is answered with a status from 200 to 399.
//!
//! It reads the head of the answer only. It deliberately follows no redirect and speaks no TLS yet;
//! `settings` refuses `https` addresses. Invariant: what is shown of an address has no query.

use ::http::{Request, Uri, header};
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;

use super::tcp::Tcp;

/// Most bytes of the answer's head.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Probes a URL.
#[derive(Debug)]
pub(super) struct Http {
    uri: Uri,
    authority: String,
    tcp: Tcp,
    is_connected: bool,
}

impl Http {
    pub(super) fn new(uri: Uri) -> Self {
        let host = uri.host().unwrap_or_default();
        let authority = format!("{host}:{}", uri.port_u16().unwrap_or(80));
        let tcp = Tcp::new(authority.clone());
        Self { uri, authority, tcp, is_connected: false }
    }

    pub(super) async fn check(&mut self) -> Result<(), String> {
        self.is_connected = false;
        let stream = self.tcp.connect().await?;
        self.is_connected = true;
        let broken = |error: hyper::Error| format!("{}: {error}", self.shown());
        let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
            .max_buf_size(HEAD_BYTES_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        // Ends with this function, also when the timeout drops it.
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(connection);
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let request = Request::get(path)
            .header(header::HOST, &self.authority)
            .header(header::USER_AGENT, "plimsoll-probe")
            .header(header::ACCEPT, "*/*")
            .header(header::CONNECTION, "close")
            .body(Empty::<Bytes>::new())
            .map_err(|error| format!("{}: {error}", self.shown()))?;
        let status = sender.send_request(request).await.map_err(broken)?.status();
        match status.as_u16() {
            200..400 => Ok(()),
            code => Err(format!("{}: answered {code}", self.shown())),
        }
    }

    pub(super) fn waited_for(&self) -> String {
        if self.is_connected { self.shown() } else { self.tcp.waited_for() }
    }

    /// The request in words, without a query: it may hold a token.
    fn shown(&self) -> String {
        format!("GET http://{}{}", self.authority, self.uri.path())
    }
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
        let result = Http::new(uri).check().await;
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
