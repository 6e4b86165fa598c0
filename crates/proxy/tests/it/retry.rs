//! What is sent twice, and what never is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proxy::{Outcome, Settings, UpstreamSettings};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::harness::{
    Front, field, nobody, read_exactly, read_head, script, status, to_with, within,
};

/// Serves one request per connection; on a second one it closes without an answer, like an
/// application that is restarted or whose keep-alive ran out at the wrong moment.
async fn one_request_per_connection(n_requests: Arc<AtomicUsize>) -> std::net::SocketAddr {
    script(move |mut socket, _| {
        let n_requests = Arc::clone(&n_requests);
        async move {
            for turn in 0..2 {
                if read_head(&mut socket).await.is_empty() {
                    return;
                }
                n_requests.fetch_add(1, Ordering::SeqCst);
                if turn == 0 {
                    socket
                        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                        .await
                        .unwrap();
                }
            }
        }
    })
    .await
}

#[tokio::test]
async fn an_idempotent_request_on_a_dead_pooled_connection_is_sent_again() {
    let n_requests = Arc::new(AtomicUsize::new(0));
    let front = Front::before(one_request_per_connection(Arc::clone(&n_requests)).await).await;
    let mut client = front.connect().await;
    for _ in 0..2 {
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        assert_eq!(status(&read_head(&mut client).await), "HTTP/1.1 200 OK");
        assert_eq!(read_exactly(&mut client, 2).await, b"ok");
    }
    assert_eq!(n_requests.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_post_that_may_have_been_read_is_never_sent_again() {
    let n_requests = Arc::new(AtomicUsize::new(0));
    let mut front = Front::before(one_request_per_connection(Arc::clone(&n_requests)).await).await;
    let mut client = front.connect().await;
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    read_head(&mut client).await;
    assert_eq!(read_exactly(&mut client, 2).await, b"ok");
    client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx").await.unwrap();
    assert_eq!(status(&read_head(&mut client).await), "HTTP/1.1 502 Bad Gateway");
    assert_eq!(n_requests.load(Ordering::SeqCst), 2);
    front.finished().await;
    assert_eq!(front.finished().await.outcome, Outcome::UpstreamFailed);
}

#[tokio::test]
async fn a_first_connection_that_dies_is_502_and_not_tried_again() {
    let n_requests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&n_requests);
    let app = script(move |mut socket, _| {
        let counted = Arc::clone(&counted);
        async move {
            read_head(&mut socket).await;
            counted.fetch_add(1, Ordering::SeqCst);
        }
    })
    .await;
    let front = Front::before(app).await;
    let answer = front.raw("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert_eq!(status(&answer), "HTTP/1.1 502 Bad Gateway");
    assert_eq!(n_requests.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_application_that_is_not_there_is_503_with_retry_after_naming_the_service() {
    let mut front = Front::before(nobody().await).await;
    let answer = front
        .raw("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi")
        .await;
    assert_eq!(status(&answer), "HTTP/1.1 503 Service Unavailable");
    assert_eq!(field(&answer, "retry-after"), Some("1"));
    assert_eq!(field(&answer, "content-type"), Some("application/problem+json"));
    let body = answer.split("\r\n\r\n").nth(1).unwrap();
    let problem: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!((&problem["service"], &problem["status"]), (&"app".into(), &503.into()));
    assert!(!answer.contains("127.0.0.1"), "an address is nobody's business: {answer}");
    assert_eq!(front.finished().await.outcome, Outcome::Unavailable);
}

#[tokio::test]
async fn a_request_is_held_while_the_application_restarts() {
    let address = nobody().await;
    let settings = UpstreamSettings { hold: Duration::from_secs(10), ..Default::default() };
    let front = Front::with(Settings::default(), to_with(address, settings)).await;
    let mut client = front.connect().await;
    client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").await.unwrap();
    within(async {
        while front.server.in_flight() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let listener = TcpListener::bind(address).await.unwrap();
    let (mut socket, _) = within(listener.accept()).await.unwrap();
    assert!(read_head(&mut socket).await.starts_with("POST /"));
    assert_eq!(read_exactly(&mut socket, 2).await, b"hi");
    socket.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    assert_eq!(status(&read_head(&mut client).await), "HTTP/1.1 204 No Content");
}

#[tokio::test]
async fn no_more_requests_are_held_than_allowed() {
    let hold = Duration::from_secs(10);
    let settings = UpstreamSettings { hold, hold_requests_max: 1, ..Default::default() };
    let front = Front::with(Settings::default(), to_with(nobody().await, settings)).await;
    let mut held = front.connect().await;
    held.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    within(async {
        while front.server.in_flight() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let answer = front.raw("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert_eq!(status(&answer), "HTTP/1.1 503 Service Unavailable");
}

#[tokio::test]
async fn a_second_address_takes_over_when_the_first_refuses() {
    let app = crate::harness::echo().await;
    let addresses = vec![proxy::Address::Tcp(nobody().await), proxy::Address::Tcp(app)];
    let upstream = proxy::Upstream::new("app", addresses, UpstreamSettings::default());
    let router = proxy::Router::single("app", proxy::Target::Upstream(upstream));
    let front = Front::with(Settings::default(), router).await;
    for _ in 0..4 {
        let answer = front.raw("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        assert_eq!(status(&answer), "HTTP/1.1 200 OK");
    }
}
