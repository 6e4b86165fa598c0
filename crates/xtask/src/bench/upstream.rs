//! The application behind the measured proxies: a fixed answer of 12 bytes, as fast as it goes.
//!
//! One thread, HTTP/1.1 with keep-alive. It takes its port from `PORT`, as any application does, so
//! that `plimsoll run` starts it without knowing it.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Response, server::conn::http1};
use hyper_util::rt::TokioIo;

use crate::Verdict;

/// The answer to every request.
const ANSWER: &[u8] = b"hello world\n";

/// Serves until it is stopped.
pub(crate) fn serve(port: Option<u16>) -> Result<Verdict> {
    let port = match port {
        Some(port) => port,
        None => std::env::var("PORT")
            .ok()
            .and_then(|text| text.parse().ok())
            .context("`PORT` holds no port\nhelp: give `--port`")?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(accept(SocketAddr::from((Ipv4Addr::LOCALHOST, port))))?;
    Ok(Verdict::Yes)
}

async fn accept(address: SocketAddr) -> Result<()> {
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on `{address}`"))?;
    loop {
        let (stream, _) = listener.accept().await.context("cannot accept")?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let answer = service_fn(|_| async {
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(ANSWER))))
            });
            // A client that goes away in the middle is the client's affair.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}
