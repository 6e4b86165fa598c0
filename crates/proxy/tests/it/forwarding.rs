//! Requests and answers pass unchanged, streamed, and of every shape that HTTP/1.1 has.

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use proxy::Outcome;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{
    Front, app, echo, field, full, read_exactly, read_head, script, status, within,
};

#[tokio::test]
async fn a_request_reaches_the_application_as_it_was_sent() {
    let mut front = Front::before(echo().await).await;
    let answer = front
        .raw(
            "PUT /a%2Fb/../c?q=1&q=%20 HTTP/1.1\r\nHost: shop.test\r\nX-Own: 1\r\nX-Own: 2\r\n\
              Connection: close\r\nContent-Length: 5\r\n\r\nhello",
        )
        .await;
    assert_eq!(status(&answer), "HTTP/1.1 200 OK");
    assert!(answer.contains("PUT /a%2Fb/../c?q=1&q=%20\n"), "{answer}");
    assert!(answer.contains("host: shop.test\nx-own: 1\nx-own: 2\n"), "{answer}");
    assert!(answer.ends_with("\n\nhello"), "{answer}");
    let finished = front.finished().await;
    assert_eq!(finished.method, "PUT");
    assert_eq!(finished.path, "/a%2Fb/../c");
    assert_eq!(finished.host, "shop.test");
    assert_eq!(finished.route.as_deref(), Some("app"));
    assert_eq!(finished.upstream.as_deref(), Some("app"));
    assert_eq!(finished.status, Some(200));
    assert_eq!(finished.outcome, Outcome::Forwarded);
    assert_eq!(finished.bytes_in, 5);
    assert!(finished.bytes_out > 100);
}

#[tokio::test]
async fn one_connection_carries_many_requests_and_one_upstream_connection_serves_them() {
    let (count_in, mut count) = tokio::sync::mpsc::unbounded_channel();
    let app = script(move |mut socket, number| {
        let count_in = count_in.clone();
        async move {
            while !read_head(&mut socket).await.is_empty() {
                count_in.send(number).unwrap();
                socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
            }
        }
    })
    .await;
    let front = Front::before(app).await;
    let mut client = front.connect().await;
    for _ in 0..20 {
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        assert_eq!(status(&read_head(&mut client).await), "HTTP/1.1 200 OK");
        assert_eq!(read_exactly(&mut client, 2).await, b"ok");
        assert_eq!(count.recv().await, Some(0), "a second upstream connection was opened");
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let front = Front::before(echo().await).await;
    let mut request = String::new();
    for index in 0..50 {
        request.push_str(&format!("GET /{index} HTTP/1.1\r\nHost: a\r\n\r\n"));
    }
    request.push_str("GET /end HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let answer = front.raw(request).await;
    let seen: Vec<&str> = answer.lines().filter_map(|line| line.strip_prefix("GET /")).collect();
    let wanted: Vec<String> = (0..50).map(|n| n.to_string()).chain(["end".to_owned()]).collect();
    assert_eq!(seen, wanted);
}

#[tokio::test]
async fn head_204_and_304_have_no_body_and_keep_their_length() {
    let app = app(|request| async move {
        let mut response = Response::new(full(""));
        match request.uri().path() {
            "/204" => *response.status_mut() = StatusCode::NO_CONTENT,
            "/304" => {
                *response.status_mut() = StatusCode::NOT_MODIFIED;
                response.headers_mut().insert("etag", "\"x\"".parse().unwrap());
            }
            _ => *response.body_mut() = full("twelve bytes"),
        }
        response
    })
    .await;
    let front = Front::before(app).await;
    let close = "Host: a\r\nConnection: close\r\n\r\n";
    let answer = front.raw(format!("HEAD / HTTP/1.1\r\n{close}")).await;
    assert_eq!(field(&answer, "content-length"), Some("12"), "{answer:?}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer:?}");
    let answer = front.raw(format!("GET /204 HTTP/1.1\r\n{close}")).await;
    assert_eq!(status(&answer), "HTTP/1.1 204 No Content");
    assert!(answer.ends_with("\r\n\r\n"));
    assert_eq!(field(&answer, "transfer-encoding"), None);
    assert_eq!(field(&answer, "content-length"), None, "{answer:?}");
    let answer = front.raw(format!("GET /304 HTTP/1.1\r\n{close}")).await;
    assert_eq!(status(&answer), "HTTP/1.1 304 Not Modified");
    assert_eq!(field(&answer, "etag"), Some("\"x\""));
    assert!(answer.ends_with("\r\n\r\n"));
}

#[tokio::test]
async fn an_unknown_method_with_a_body_passes() {
    let front = Front::before(echo().await).await;
    let answer = front
        .raw("BREW /pot HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 3\r\n\r\ntea")
        .await;
    assert!(answer.contains("BREW /pot\n") && answer.ends_with("\n\ntea"), "{answer}");
}

#[tokio::test]
async fn a_post_without_a_body_keeps_its_length_of_zero() {
    let front = Front::before(echo().await).await;
    let request = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let answer = front.raw(request).await;
    assert!(answer.contains("content-length: 0\n"), "{answer}");
    assert!(!answer.contains("transfer-encoding"), "{answer}");
}

#[tokio::test]
async fn connect_is_refused() {
    let front = Front::before(echo().await).await;
    let answer = front.raw("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n").await;
    assert_eq!(status(&answer), "HTTP/1.1 405 Method Not Allowed", "{answer}");
}

#[tokio::test]
async fn an_answer_that_ends_with_the_connection_becomes_chunked() {
    let app = script(|mut socket, _| async move {
        read_head(&mut socket).await;
        socket
            .write_all(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nuntil the end")
            .await
            .unwrap();
    })
    .await;
    let mut front = Front::before(app).await;
    let answer = front.raw("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert_eq!(status(&answer), "HTTP/1.1 200 OK");
    assert_eq!(field(&answer, "transfer-encoding"), Some("chunked"));
    assert!(answer.ends_with("until the end\r\n0\r\n\r\n"), "{answer:?}");
    assert_eq!(front.finished().await.outcome, Outcome::Forwarded);
}

#[tokio::test]
async fn trailers_pass_in_both_directions() {
    let app = app(|request| async move {
        let wants = request.headers().get("te").cloned();
        let body = request.into_body().collect().await.unwrap();
        let sum = body.trailers().and_then(|trailers| trailers.get("x-sum")).cloned();
        let mut trailers = HeaderMap::new();
        trailers.insert("x-seen", sum.unwrap_or_else(|| "none".parse().unwrap()));
        let frames = [Ok(Frame::data(Bytes::from_static(b"data"))), Ok(Frame::trailers(trailers))];
        let stream = StreamBody::new(futures_util::stream::iter(frames));
        let mut response = Response::new(BodyExt::boxed(stream));
        response.headers_mut().insert("trailer", "x-seen".parse().unwrap());
        if let Some(wants) = wants {
            response.headers_mut().insert("x-te", wants);
        }
        response
    })
    .await;
    let front = Front::before(app).await;
    let answer = front
        .raw("POST / HTTP/1.1\r\nHost: a\r\nTE: gzip;q=0.5, trailers\r\nConnection: TE, close\r\n\
              Trailer: x-sum\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 42\r\n\r\n")
        .await;
    assert_eq!(field(&answer, "x-te"), Some("trailers"), "{answer}");
    assert!(answer.ends_with("4\r\ndata\r\n0\r\nx-seen: 42\r\n\r\n"), "{answer:?}");
}

#[tokio::test]
async fn both_directions_stream_at_the_same_time() {
    // The application answers each chunk as it comes; the client sends the next only after that.
    let app = script(|mut socket, _| async move {
        read_head(&mut socket).await;
        socket.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
        loop {
            let chunk = read_exactly(&mut socket, 6).await;
            socket.write_all(&chunk).await.unwrap();
            if chunk.starts_with(b"1\r\nz") {
                break;
            }
        }
        assert_eq!(read_exactly(&mut socket, 5).await, b"0\r\n\r\n");
        socket.write_all(b"0\r\n\r\n").await.unwrap();
    })
    .await;
    let mut front = Front::before(app).await;
    let mut client = front.connect().await;
    client
        .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await
        .unwrap();
    // The application answers before it has a body.
    assert_eq!(status(&read_head(&mut client).await), "HTTP/1.1 200 OK");
    for letter in [b'a', b'b', b'z'] {
        let chunk = [b'1', b'\r', b'\n', letter, b'\r', b'\n'];
        client.write_all(&chunk).await.unwrap();
        assert_eq!(read_exactly(&mut client, 6).await, chunk);
    }
    client.write_all(b"0\r\n\r\n").await.unwrap();
    assert_eq!(read_exactly(&mut client, 5).await, b"0\r\n\r\n");
    assert_eq!(front.finished().await.outcome, Outcome::Forwarded);
}

#[tokio::test]
async fn a_large_body_passes_both_ways_unchanged() {
    let app = app(|request| async move {
        let body = request.into_body().collect().await.unwrap().to_bytes();
        Response::new(full(body))
    })
    .await;
    let mut front = Front::before(app).await;
    let body: Vec<u8> = (0..1_000_000_u64)
        .flat_map(|n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes())
        .collect();
    let client = front.connect().await;
    let (mut read, mut write) = client.into_split();
    let sent = body.clone();
    let sending = tokio::spawn(async move {
        let head = format!(
            "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            sent.len()
        );
        write.write_all(head.as_bytes()).await.unwrap();
        write.write_all(&sent).await.unwrap();
        write
    });
    let mut answer = Vec::new();
    within(read.read_to_end(&mut answer)).await.unwrap();
    sending.await.unwrap();
    let start = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    assert!(answer[start..] == body[..], "the body changed on its way");
    let finished = front.finished().await;
    assert_eq!((finished.bytes_in, finished.bytes_out), (8_000_000, 8_000_000));
}

#[tokio::test]
async fn the_application_decides_about_expect_100_continue() {
    let (gate_in, mut gate) = tokio::sync::mpsc::channel::<()>(1);
    let gate_in = std::sync::Arc::new(gate_in);
    let app = script(move |mut socket, _| {
        let gate_in = gate_in.clone();
        async move {
            let head = read_head(&mut socket).await.to_lowercase();
            assert!(head.contains("expect: 100-continue"), "{head}");
            gate_in.send(()).await.unwrap();
            if head.starts_with("post /no") {
                socket
                    .write_all(b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n")
                    .await
                    .unwrap();
                return;
            }
            socket.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
            assert_eq!(read_exactly(&mut socket, 5).await, b"hello");
            socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        }
    })
    .await;
    let front = Front::before(app).await;
    let expect = "Host: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";

    let mut client = front.connect().await;
    client.write_all(format!("POST /yes HTTP/1.1\r\n{expect}").as_bytes()).await.unwrap();
    gate.recv().await.unwrap();
    assert_eq!(status(&read_head(&mut client).await), "HTTP/1.1 100 Continue");
    client.write_all(b"hello").await.unwrap();
    assert_eq!(status(&read_head(&mut client).await), "HTTP/1.1 200 OK");

    let mut client = front.connect().await;
    client.write_all(format!("POST /no HTTP/1.1\r\n{expect}").as_bytes()).await.unwrap();
    gate.recv().await.unwrap();
    assert_eq!(status(&read_head(&mut client).await), "HTTP/1.1 417 Expectation Failed");
}

#[tokio::test]
async fn an_application_that_ignores_expect_gets_the_body_after_a_wait() {
    let app = script(|mut socket, _| async move {
        assert!(read_head(&mut socket).await.to_lowercase().contains("expect: 100-continue"));
        // It says nothing until it has all of it, as RFC 9110, 10.1.1 lets it.
        assert_eq!(read_exactly(&mut socket, 5).await, b"hello");
        socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    })
    .await;
    let front = Front::before(app).await;
    let expect = "Host: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    let mut client = front.connect().await;
    client.write_all(format!("POST / HTTP/1.1\r\n{expect}hello").as_bytes()).await.unwrap();
    let mut answer = within(read_head(&mut client)).await;
    if status(&answer) == "HTTP/1.1 100 Continue" {
        answer = within(read_head(&mut client)).await;
    }
    assert_eq!(status(&answer), "HTTP/1.1 200 OK");
}

#[tokio::test]
async fn an_application_that_breaks_off_cuts_the_answer_visibly() {
    let app = script(|mut socket, _| async move {
        read_head(&mut socket).await;
        socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort").await.unwrap();
    })
    .await;
    let mut front = Front::before(app).await;
    let answer = front.raw("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(field(&answer, "content-length"), Some("100"));
    assert!(answer.ends_with("short"), "{answer:?}");
    assert_eq!(front.finished().await.outcome, Outcome::UpstreamFailed);
}

#[tokio::test]
async fn an_application_that_does_not_speak_http_is_502_naming_the_service() {
    let app = script(|mut socket, _| async move {
        read_head(&mut socket).await;
        socket.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await.unwrap();
    })
    .await;
    let mut front = Front::before(app).await;
    let answer = front
        .raw("GET / HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\nConnection: close\r\n\r\n")
        .await;
    assert_eq!(status(&answer), "HTTP/1.1 502 Bad Gateway");
    assert!(answer.contains("<code>app</code>"), "{answer}");
    assert_eq!(front.finished().await.outcome, Outcome::UpstreamFailed);
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed_by_the_application() {
    let (seen_in, mut seen) = tokio::sync::mpsc::channel(2);
    let app = script(move |mut socket, _| {
        let seen_in = seen_in.clone();
        async move {
            read_head(&mut socket).await;
            seen_in.send("asked").await.unwrap();
            assert_eq!(socket.read(&mut [0; 1]).await.unwrap_or(0), 0);
            seen_in.send("left").await.unwrap();
        }
    })
    .await;
    let mut front = Front::before(app).await;
    let mut client = front.connect().await;
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert_eq!(within(seen.recv()).await, Some("asked"));
    drop(client);
    assert_eq!(within(seen.recv()).await, Some("left"));
    let finished = front.finished().await;
    assert_eq!((finished.outcome, finished.status), (Outcome::ClientLeft, None));
    assert_eq!(front.server.in_flight(), 0);
}

#[tokio::test]
async fn a_local_endpoint_never_reaches_the_application() {
    let mut front = Front::before(crate::harness::nobody().await).await;
    let answer = front.raw("GET /live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(answer.ends_with("\r\n\r\nalive"), "{answer}");
    let finished = front.finished().await;
    assert_eq!((finished.outcome, finished.route), (Outcome::Local, None));
}

#[tokio::test]
async fn independent_clients_agree_with_the_proxy() {
    let front = Front::before(echo().await).await;
    let url = format!("http://{}/x?y=1", front.address);
    let run = |program: &'static str, arguments: Vec<String>| {
        tokio::task::spawn_blocking(move || {
            let output = std::process::Command::new(program).args(arguments).output();
            output.ok().map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        })
    };
    let arguments = ["-sS", "--http1.1", "-d", "a=b", &url].map(str::to_owned).to_vec();
    if let Some(text) = within(run("curl", arguments)).await.unwrap() {
        assert!(text.starts_with("POST /x?y=1\n") && text.ends_with("a=b"), "{text}");
    }
    let script = format!(
        "import http.client\n\
         connection = http.client.HTTPConnection('{}')\n\
         for index in range(3):\n    \
             connection.request('POST', f'/{{index}}', body=iter([b'ab', b'cd']), encode_chunked=True, \
         headers={{'Transfer-Encoding': 'chunked'}})\n    \
             answer = connection.getresponse()\n    \
             print(answer.status, answer.read().decode().splitlines()[-1])\n",
        front.address
    );
    if let Some(text) = within(run("python3", vec!["-c".to_owned(), script])).await.unwrap() {
        assert_eq!(text, "200 abcd\n200 abcd\n200 abcd\n");
    }
}
