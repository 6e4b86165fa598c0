//! HTTP/2 in clear text with prior knowledge, found by its first bytes.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use proxy::{Drain, Limits, Outcome};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{Front, app, echo, full, script, within};

async fn client<B>(front: &Front) -> SendRequest<B>
where
    B: http_body::Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: std::error::Error + Send + Sync,
{
    let socket = front.connect().await;
    let (sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    sender
}

#[tokio::test]
async fn http2_is_told_apart_and_forwarded_as_http1() {
    let mut front = Front::before(echo().await).await;
    let mut client = client(&front).await;
    let request = Request::builder()
        .method(Method::POST)
        .uri("http://shop.test/a?b=c")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .body(Full::new(Bytes::from_static(b"hello")))
        .unwrap();
    let response = within(client.send_request(request)).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let text = response.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(text.starts_with("POST /a?b=c\n"), "{text}");
    assert!(text.contains("host: shop.test\n"), "{text}");
    assert!(text.contains("cookie: a=1; b=2\n"), "{text}");
    assert!(text.ends_with("\n\nhello"), "{text}");
    let finished = front.finished().await;
    assert_eq!((finished.host.as_str(), finished.outcome), ("shop.test", Outcome::Forwarded));
}

#[tokio::test]
async fn a_hundred_streams_share_a_connection() {
    let front = Front::before(echo().await).await;
    let client = client::<Empty<Bytes>>(&front).await;
    let mut tasks = Vec::new();
    for index in 0..100 {
        let mut client = client.clone();
        tasks.push(tokio::spawn(async move {
            let request =
                Request::get(format!("http://a/{index}")).body(Empty::<Bytes>::new()).unwrap();
            let response = client.send_request(request).await.unwrap();
            let text = response.into_body().collect().await.unwrap().to_bytes();
            assert!(text.starts_with(format!("GET /{index}\n").as_bytes()));
        }));
    }
    for task in tasks {
        within(task).await.unwrap();
    }
}

#[tokio::test]
async fn trailers_pass_through_http2() {
    let app = app(|_| async {
        let mut trailers = http::HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        let frames = [Ok(Frame::data(Bytes::from_static(b"x"))), Ok(Frame::trailers(trailers))];
        let body = StreamBody::new(futures_util::stream::iter(frames));
        let mut response = http::Response::new(BodyExt::boxed(body));
        response.headers_mut().insert("trailer", "grpc-status".parse().unwrap());
        response
    })
    .await;
    let front = Front::before(app).await;
    let mut client = client(&front).await;
    let request =
        Request::get("http://a/").header("te", "trailers").body(Empty::<Bytes>::new()).unwrap();
    let response = within(client.send_request(request)).await.unwrap();
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()["grpc-status"], "0");
}

#[tokio::test]
async fn curl_with_prior_knowledge_agrees() {
    let front = Front::before(echo().await).await;
    let url = format!("http://{}/curl", front.address);
    let output = tokio::task::spawn_blocking(move || {
        std::process::Command::new("curl")
            .args(["-sS", "--http2-prior-knowledge", "-w", "%{http_version}", "-d", "body", &url])
            .output()
    });
    let Ok(output) = within(output).await.unwrap() else { return };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.starts_with("POST /curl\n") && text.ends_with("body2"), "{text}");
}

#[tokio::test]
async fn a_drain_sends_goaway_and_lets_the_streams_end() {
    let (go_in, go) = tokio::sync::watch::channel(false);
    let (asked_in, mut asked) = tokio::sync::mpsc::channel(1);
    let app = app(move |_| {
        let (mut go, asked_in) = (go.clone(), asked_in.clone());
        async move {
            asked_in.send(()).await.unwrap();
            go.wait_for(|go| *go).await.unwrap();
            http::Response::new(full("done"))
        }
    })
    .await;
    let front = Front::before(app).await;
    let mut client = client(&front).await;
    let request = Request::get("http://a/slow").body(Empty::<Bytes>::new()).unwrap();
    let answer = tokio::spawn(client.send_request(request));
    within(asked.recv()).await.unwrap();
    front.server.begin_drain(Drain::Announce);
    assert_eq!(front.server.in_flight(), 1);
    go_in.send(true).unwrap();
    let response = within(answer).await.unwrap().unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "done");
    // The client still holds its end: it was GOAWAY that ended the connection.
    within(front.server.closed()).await;
    assert!(within(client.ready()).await.is_err());
}

#[tokio::test]
async fn rapid_resets_end_the_connection() {
    let front = Front::before(
        script(|socket, _| async move {
            let mut socket = socket;
            let _ended = socket.read_to_end(&mut Vec::new()).await;
        })
        .await,
    )
    .await;
    let mut socket = front.connect().await;
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend_from_slice(&[0, 0, 0, 4, 0, 0, 0, 0, 0]);
    for index in 0..20_000_u32 {
        let id = (index * 2 + 1).to_be_bytes();
        // HEADERS: GET http /, with `:authority` a; then RST_STREAM(CANCEL).
        bytes.extend_from_slice(&[0, 0, 6, 1, 5, id[0], id[1], id[2], id[3]]);
        bytes.extend_from_slice(&[0x82, 0x86, 0x84, 0x41, 0x01, b'a']);
        bytes.extend_from_slice(&[0, 0, 4, 3, 0, id[0], id[1], id[2], id[3], 0, 0, 0, 8]);
    }
    let (mut read, mut write) = socket.split();
    let mut answer = Vec::new();
    let (_written, _read) =
        within(async { tokio::join!(write.write_all(&bytes), read.read_to_end(&mut answer)) })
            .await;
    // GOAWAY (type 7) with ENHANCE_YOUR_CALM (11) is the last thing that is said.
    let calm = answer.windows(17).any(|frame| frame[3] == 7 && frame[13..17] == [0, 0, 0, 11]);
    assert!(calm, "no GOAWAY in {} bytes", answer.len());
    within(front.server.drained()).await;
}

#[tokio::test]
async fn a_header_list_above_the_limit_is_refused() {
    let limits = Limits { h2_head_bytes_max: 4096, ..Limits::default() };
    let front = Front::limited(limits, echo().await).await;
    let mut client = client(&front).await;
    let request = Request::get("http://a/")
        .header("x-large", "v".repeat(5000))
        .body(Empty::<Bytes>::new())
        .unwrap();
    match within(client.send_request(request)).await {
        Ok(response) => assert_eq!(response.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
        Err(error) => assert!(error.is_user() || error.to_string().contains("http2"), "{error}"),
    }
}

#[tokio::test]
async fn an_http2_body_that_stalls_is_408() {
    let limits = Limits { stall_timeout: Duration::from_millis(150), ..Limits::default() };
    let mut front = Front::limited(limits, echo().await).await;
    let mut client = client(&front).await;
    let (_hold, body) = http_body_util::channel::Channel::<Bytes>::new(1);
    let request = Request::post("http://a/").body(body).unwrap();
    let response = within(client.send_request(request)).await.unwrap();
    assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
    assert_eq!(front.finished().await.outcome, Outcome::ClientLeft);
}

#[tokio::test]
async fn an_http2_client_that_grants_no_window_is_cut_and_holds_no_application() {
    let (gone_in, mut gone) = tokio::sync::mpsc::channel(1);
    let app = script(move |mut socket, _| {
        let gone_in = gone_in.clone();
        async move {
            crate::harness::read_head(&mut socket).await;
            let head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n";
            socket.write_all(head).await.unwrap();
            let piece = vec![0; 64 * 1024];
            while socket.write_all(&piece).await.is_ok() {}
            gone_in.send(()).await.unwrap();
        }
    })
    .await;
    let limits = Limits { stall_timeout: Duration::from_millis(150), ..Limits::default() };
    let mut front = Front::limited(limits, app).await;
    // A window of nothing, and one of a few bytes: neither is ever made larger.
    for window in [0_u8, 100] {
        let mut socket = front.connect().await;
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        // SETTINGS_INITIAL_WINDOW_SIZE.
        bytes.extend_from_slice(&[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, window]);
        bytes.extend_from_slice(&[0, 0, 6, 1, 5, 0, 0, 0, 1, 0x82, 0x86, 0x84, 0x41, 1, b'a']);
        socket.write_all(&bytes).await.unwrap();
        within(gone.recv()).await.unwrap();
        assert_eq!(front.finished().await.outcome, Outcome::ClientLeft);
        within(front.server.drained()).await;
        drop(socket);
    }
}

#[tokio::test]
async fn an_http2_client_that_reads_slowly_but_steadily_is_served() {
    let app = app(|_| async { http::Response::new(full(vec![7; 300_000])) }).await;
    let limits = Limits { stall_timeout: Duration::from_millis(400), ..Limits::default() };
    let front = Front::limited(limits, app).await;
    let mut client = client(&front).await;
    let request = Request::get("http://a/").body(Empty::<Bytes>::new()).unwrap();
    let mut body = within(client.send_request(request)).await.unwrap().into_body();
    let mut n_bytes = 0;
    let mut tick = tokio::time::interval(Duration::from_millis(60));
    while let Some(frame) = within(body.frame()).await {
        tick.tick().await;
        n_bytes += frame.unwrap().into_data().unwrap().len();
    }
    assert_eq!(n_bytes, 300_000);
}
