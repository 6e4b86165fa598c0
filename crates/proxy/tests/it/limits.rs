//! What a slow, silent or greedy client gets.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proxy::{
    Limits, Outcome, Refusal, Route, Router, Settings, Target, Upstream, UpstreamSettings,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::harness::{Front, app, echo, full, read_head, script, short, status, to_with, within};

#[tokio::test]
async fn a_head_of_too_many_bytes_is_431() {
    let limits = Limits { head_bytes_max: 8 * 1024, ..Limits::default() };
    let front = Front::limited(limits, echo().await).await;
    let large = "v".repeat(9000);
    let answer = front.raw(format!("GET / HTTP/1.1\r\nHost: a\r\nX: {large}\r\n\r\n")).await;
    assert_eq!(status(&answer), "HTTP/1.1 431 Request Header Fields Too Large");
    let endless = "v".repeat(1_000_000);
    let answer = front.raw(format!("GET / HTTP/1.1\r\nHost: a\r\nX: {endless}")).await;
    assert_eq!(status(&answer), "HTTP/1.1 431 Request Header Fields Too Large");
}

#[tokio::test]
async fn a_head_of_too_many_fields_is_431() {
    let front = Front::before(echo().await).await;
    let fields = "X: 1\r\n".repeat(150);
    let answer = front.raw(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).await;
    assert_eq!(status(&answer), "HTTP/1.1 431 Request Header Fields Too Large");
}

#[tokio::test]
async fn a_target_that_is_too_long_is_414() {
    let front = Front::before(echo().await).await;
    let target = "a".repeat(20_000);
    let answer = front.raw(format!("GET /{target} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
    assert_eq!(status(&answer), "HTTP/1.1 414 URI Too Long");
}

#[tokio::test]
async fn a_silent_connection_is_closed_and_a_slow_head_refused() {
    let mut front = Front::limited(short(), echo().await).await;
    // Nothing at all: closed without a word.
    assert_eq!(front.raw("").await, "");
    // Half a head, and then a byte at a time: the clock runs from the first byte.
    let mut client = front.connect().await;
    let (mut read, mut write) = client.split();
    let drip = async {
        write.write_all(b"GET / HTTP/1.1\r\nHost: ").await.unwrap();
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        loop {
            tick.tick().await;
            if write.write_all(b"a").await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    let mut answer = Vec::new();
    tokio::select! {
        _ended = within(read.read_to_end(&mut answer)) => (),
        () = drip => unreachable!("the drip never ends"),
    }
    assert_eq!(front.refused().await, Refusal::TooSlow);
}

#[tokio::test]
async fn a_keep_alive_connection_is_closed_when_it_idles_but_not_while_it_waits_for_an_answer() {
    let (go_in, go) = tokio::sync::watch::channel(false);
    let app = app(move |_| {
        let mut go = go.clone();
        async move {
            go.wait_for(|go| *go).await.unwrap();
            http::Response::new(full("late"))
        }
    })
    .await;
    let front = Front::limited(short(), app).await;
    let mut client = front.connect().await;
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    // Longer than every timeout of this listener: the answer is the application's to give.
    let early = tokio::time::timeout(short().idle_timeout * 4, client.read_u8()).await;
    assert!(early.is_err(), "cut while the application was still working");
    go_in.send(true).unwrap();
    let mut answer = String::new();
    within(client.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.ends_with("late"), "answered, and then closed for being idle: {answer:?}");
}

#[tokio::test]
async fn a_body_that_stalls_is_408_and_closes_the_connection() {
    let mut front = Front::limited(short(), echo().await).await;
    let answer = front.raw("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf").await;
    assert_eq!(status(&answer), "HTTP/1.1 408 Request Timeout");
    let finished = front.finished().await;
    assert_eq!((finished.outcome, finished.bytes_in), (Outcome::ClientLeft, 4));
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_is_cut() {
    let app = app(|_| async { http::Response::new(full(vec![0; 64 * 1024 * 1024])) }).await;
    let mut front = Front::limited(short(), app).await;
    let mut client = front.connect().await;
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let finished = front.finished().await;
    assert_eq!(finished.outcome, Outcome::ClientLeft);
    assert!(finished.bytes_out < 32 * 1024 * 1024, "{}", finished.bytes_out);
    drop(client);
}

#[tokio::test]
async fn an_application_that_does_not_read_stops_the_client_after_bounded_bytes() {
    let (headed_in, mut headed) = tokio::sync::mpsc::channel(1);
    let app = script(move |mut socket, _| {
        let headed_in = headed_in.clone();
        async move {
            read_head(&mut socket).await;
            headed_in.send(()).await.unwrap();
            std::future::pending::<()>().await;
        }
    })
    .await;
    let front = Front::before(app).await;
    let mut client = front.connect().await;
    client
        .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n")
        .await
        .unwrap();
    within(headed.recv()).await.unwrap();
    let n_sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&n_sent);
    let flood = async move {
        let chunk = vec![0; 64 * 1024];
        loop {
            client.write_all(&chunk).await.unwrap();
            counted.fetch_add(chunk.len(), Ordering::Relaxed);
        }
    };
    // The flood ends when no byte has moved for a while; were it unbounded, it would reach 1 GB.
    let watch = async {
        let mut last = usize::MAX;
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        loop {
            tick.tick().await;
            let now = n_sent.load(Ordering::Relaxed);
            if now == last {
                return now;
            }
            last = now;
        }
    };
    let n_bytes = tokio::select! {
        () = flood => unreachable!("the flood never ends"),
        n_bytes = within(watch) => n_bytes,
    };
    // Kernel buffers of two sockets (a few MB each at most), and ours.
    assert!(n_bytes < 24 * 1024 * 1024, "{n_bytes} bytes were taken from the client");
}

#[tokio::test]
async fn a_body_above_the_limit_of_its_route_is_413() {
    let upstream = Upstream::tcp("app", echo().await);
    let route = Route {
        host: None,
        path: "/".to_owned(),
        label: "app".to_owned(),
        target: Target::Upstream(upstream),
        body_bytes_max: Some(10),
    };
    let mut front = Front::with(Settings::default(), Router::new([route]).unwrap()).await;
    let answer =
        front.raw("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n0123456789a").await;
    assert_eq!(status(&answer), "HTTP/1.1 413 Payload Too Large");
    assert_eq!(front.finished().await.outcome, Outcome::Refused);
    let answer = front
        .raw("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n0123456789a\r\n0\r\n\r\n")
        .await;
    assert_eq!(status(&answer), "HTTP/1.1 413 Payload Too Large");
    let answer = front
        .raw("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 10\r\n\r\n0123456789")
        .await;
    assert_eq!(status(&answer), "HTTP/1.1 200 OK");
}

#[tokio::test]
async fn an_application_that_never_answers_is_504() {
    let app = script(|mut socket, _| async move {
        read_head(&mut socket).await;
        std::future::pending::<()>().await;
    })
    .await;
    let settings =
        UpstreamSettings { head_timeout: Duration::from_millis(100), ..Default::default() };
    let mut front = Front::with(Settings::default(), to_with(app, settings)).await;
    let answer = front.raw("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert_eq!(status(&answer), "HTTP/1.1 504 Gateway Timeout");
    assert_eq!(front.finished().await.outcome, Outcome::TimedOut);
}

#[tokio::test]
async fn connections_above_the_limit_wait_until_one_closes() {
    let limits = Limits { connections_max: 1, ..Limits::default() };
    let front = Front::limited(limits, echo().await).await;
    let mut first = front.connect().await;
    first.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert_eq!(status(&read_head(&mut first).await), "HTTP/1.1 200 OK");
    let mut second = front.connect().await;
    second.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(100), second.read_u8()).await;
    assert!(early.is_err(), "served above the limit");
    drop(first);
    assert_eq!(status(&read_head(&mut second).await), "HTTP/1.1 200 OK");
}

#[tokio::test]
async fn an_application_that_answers_early_and_reads_no_more_is_let_go() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let app = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _head = stream.read(&mut [0; 1024]).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
        std::future::pending::<()>().await;
    });
    let body_idle_timeout = Duration::from_millis(100);
    let settings = UpstreamSettings { body_idle_timeout, ..Default::default() };
    let front = Front::with(Settings::default(), to_with(app, settings)).await;
    let mut client = front.connect().await;
    client
        .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n")
        .await
        .unwrap();
    let piece = vec![0; 65_536];
    // Nothing of it is read, so that only a closed connection ends this.
    within(async { while client.write_all(&piece).await.is_ok() {} }).await;
}

/// A request with a body of which only a part was sent.
const HALF: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nhalf";

#[tokio::test]
async fn an_answer_before_the_end_of_the_request_says_that_the_connection_closes() {
    let says_close = |answer: &str| crate::harness::field(answer, "connection") == Some("close");
    // By us: no route, nobody there, the owner's own path.
    let nothing = Front::with(Settings::default(), Router::default()).await;
    let answer = nothing.raw(HALF).await;
    assert_eq!(status(&answer), "HTTP/1.1 404 Not Found");
    assert!(says_close(&answer), "{answer}");
    let answer = nothing.raw(HALF.replace(" / ", " /live ")).await;
    assert!(answer.ends_with("alive") && says_close(&answer), "{answer}");
    // By the application, which did not want the body.
    let app = script(|mut socket, _| async move {
        read_head(&mut socket).await;
        let _cut =
            socket.write_all(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno").await;
        let _ended = socket.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let front = Front::limited(short(), app).await;
    let answer = front.raw(HALF).await;
    assert_eq!(status(&answer), "HTTP/1.1 401 Unauthorized");
    assert!(says_close(&answer), "{answer}");
    // And after a whole request it does not.
    let front = Front::before(echo().await).await;
    let mut client = front.connect().await;
    client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody").await.unwrap();
    assert!(!says_close(&read_head(&mut client).await));
}

#[tokio::test]
async fn a_hundred_megabytes_of_head_are_refused_and_not_read() {
    let front = Front::before(echo().await).await;
    for begin in ["GET / HTTP/1.1\r\nHost: a\r\nX: ", "GET /", "X"] {
        let mut client = front.connect().await;
        client.write_all(begin.as_bytes()).await.unwrap();
        let (mut read, mut write) = client.split();
        let piece = vec![b'a'; 1024 * 1024];
        let mut n_sent = 0;
        let send = async {
            while n_sent < 100 && write.write_all(&piece).await.is_ok() {
                n_sent += 1;
            }
        };
        let mut answer = Vec::new();
        let (_reset, ()) =
            within(async { tokio::join!(read.read_to_end(&mut answer), send) }).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let is_refused = ["HTTP/1.1 431", "HTTP/1.1 414", "HTTP/1.1 400"];
        assert!(is_refused.iter().any(|line| answer.starts_with(line)), "{begin:?}: {answer}");
        assert!(n_sent < 100, "all of it was read");
    }
}
