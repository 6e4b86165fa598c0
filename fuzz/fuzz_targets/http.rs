//! The pure parts of the HTTP surface: whatever a client sends, no panic, and what holds holds.

#![no_main]

use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use libfuzzer_sys::fuzz_target;
use proxy::{Checked, TraceContext, TrustedProxies};
use runtime::ingress::path::{Pattern, folded};
use tokio::io::{AsyncRead, ReadBuf};

/// What a server is given of the bytes of one connection, read in pieces of `n_bytes`.
fn checked(bytes: &[u8], n_bytes: usize) -> Vec<u8> {
    let mut reader = Checked::new(bytes);
    let mut given = Vec::new();
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        // Room for what marks a refusal.
        let mut piece = vec![0; n_bytes + 8];
        let mut piece = ReadBuf::new(&mut piece);
        match Pin::new(&mut reader).poll_read(&mut cx, &mut piece) {
            Poll::Ready(Ok(())) if !piece.filled().is_empty() => {
                given.extend_from_slice(piece.filled());
            }
            Poll::Ready(_) | Poll::Pending => return given,
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let (whole, in_pieces) = (checked(bytes, bytes.len()), checked(bytes, 1));
    // What is accepted does not depend on how it was cut into pieces.
    assert_eq!(whole == bytes, in_pieces == bytes);
    assert!(whole.len() <= bytes.len() + 8);

    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut headers = http::HeaderMap::new();
    if let Ok(value) = http::HeaderValue::from_bytes(bytes) {
        headers.append("forwarded", value.clone());
        headers.append("x-forwarded-for", value.clone());
        headers.append("x-request-id", value);
    }
    let stranger = IpAddr::from([203, 0, 113, 9]);
    assert_eq!(proxy::client_address(&headers, stranger, &TrustedProxies::loopback()), stranger);
    let proxy_itself = IpAddr::from([127, 0, 0, 1]);
    let _ = proxy::client_address(&headers, proxy_itself, &TrustedProxies::loopback());
    assert!(proxy::request_id(&headers).to_str().is_ok());
    if let Some(trace) = TraceContext::continue_from(bytes) {
        assert_eq!(trace.trace_id().len(), 32);
    }
    if let Ok(trusted) = text.parse::<TrustedProxies>() {
        // What is written is read again as the same.
        assert_eq!(trusted.to_string().parse::<TrustedProxies>().ok(), Some(trusted));
    }
    let parts = folded(text);
    assert!(parts.iter().all(|part| part != ".."));
    if let Ok(pattern) = Pattern::try_from(text.to_owned()) {
        let _ = (pattern.matches(text), pattern.matches_loosely(text));
    }
});
