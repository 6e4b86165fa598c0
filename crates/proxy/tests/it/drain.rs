//! How a server ends: nothing that was accepted is lost, nothing new is taken.

use proxy::{Drain, Outcome};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{Front, app, echo, field, full, read_exactly, read_head, status, within};

#[tokio::test]
async fn announcing_serves_and_closes_after_the_answer() {
    let front = Front::before(echo().await).await;
    let mut idle = front.connect().await;
    idle.write_all(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let head = read_head(&mut idle).await;
    assert_eq!(field(&head, "connection"), None);
    let n_bytes: usize = field(&head, "content-length").unwrap().parse().unwrap();
    read_exactly(&mut idle, n_bytes).await;

    front.server.begin_drain(Drain::Announce);
    // The idle connection is still good for one request: its client may be sending it just now.
    idle.write_all(b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    within(idle.read_to_string(&mut answer)).await.unwrap();
    assert_eq!(status(&answer), "HTTP/1.1 200 OK");
    assert_eq!(field(&answer, "connection"), Some("close"));
    within(front.server.closed()).await;
}

#[tokio::test]
async fn refusing_ends_idle_connections_answers_503_and_finishes_what_runs() {
    let (go_in, go) = tokio::sync::watch::channel(false);
    let app = app(move |_| {
        let mut go = go.clone();
        async move {
            go.wait_for(|go| *go).await.unwrap();
            http::Response::new(full(vec![b'x'; 3_000_000]))
        }
    })
    .await;
    let mut front = Front::before(app).await;
    let mut slow = front.connect().await;
    slow.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut silent = front.connect().await;
    within(async {
        while front.server.in_flight() == 0 || front.server.connections() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    front.server.begin_drain(Drain::Refuse);
    assert_eq!(within(silent.read(&mut [0; 1])).await.unwrap(), 0, "an idle connection stays open");

    let answer = front.raw("GET /new HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(status(&answer), "HTTP/1.1 503 Service Unavailable");
    assert_eq!(field(&answer, "connection"), Some("close"));
    assert_eq!(front.finished().await.outcome, Outcome::Refused);
    let answer = front.raw("GET /live HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(answer.ends_with("alive"), "a local endpoint is answered to the end: {answer}");
    front.finished().await;

    let is_closed =
        tokio::time::timeout(std::time::Duration::from_millis(50), front.server.closed());
    assert!(is_closed.await.is_err(), "closed while a request was running");
    go_in.send(true).unwrap();
    let mut answer = Vec::new();
    within(slow.read_to_end(&mut answer)).await.unwrap();
    assert!(answer.len() > 3_000_000, "cut after {} bytes", answer.len());
    within(front.server.closed()).await;
    assert_eq!(front.finished().await.outcome, Outcome::Forwarded);
    assert_eq!((front.server.in_flight(), front.server.connections()), (0, 0));
}

#[tokio::test]
async fn two_hundred_slow_requests_all_complete_across_a_drain() {
    let (go_in, go) = tokio::sync::watch::channel(false);
    let app = app(move |_| {
        let mut go = go.clone();
        async move {
            go.wait_for(|go| *go).await.unwrap();
            http::Response::new(full("done"))
        }
    })
    .await;
    let front = Front::before(app).await;
    let mut clients = Vec::new();
    for _ in 0..200 {
        let mut client = front.connect().await;
        clients.push(tokio::spawn(async move {
            client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            answer.ends_with("\r\n\r\ndone")
        }));
    }
    within(async {
        while front.server.in_flight() < 200 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    front.server.begin_drain(Drain::Announce);
    front.server.begin_drain(Drain::Refuse);
    front.server.begin_drain(Drain::Announce);
    assert_eq!(front.server.phase(), Drain::Refuse, "a drain never goes back");
    go_in.send(true).unwrap();
    for client in clients {
        assert!(within(client).await.unwrap());
    }
    within(front.server.closed()).await;
}
