//! What an application may answer, and what is never passed on as an answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proxy::Outcome;
use tokio::io::AsyncWriteExt;

use crate::harness::{Front, field, read_exactly, read_head, script, status};

const ASK: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// What a client gets when the application answers with these bytes and closes.
async fn answered(bytes: impl Into<Vec<u8>>) -> (String, Outcome) {
    let bytes: Vec<u8> = bytes.into();
    let app = script(move |mut socket, _| {
        let bytes = bytes.clone();
        async move {
            read_head(&mut socket).await;
            let _cut = socket.write_all(&bytes).await;
        }
    })
    .await;
    let mut front = Front::before(app).await;
    let answer = front.raw(ASK).await;
    (answer, front.finished().await.outcome)
}

#[tokio::test]
async fn a_head_that_leaves_open_where_its_body_ends_is_502() {
    for lines in [
        "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n",
        "Content-Length: 2\r\nContent-Length: 2\r\n",
        "Content-Length: 2, 2\r\n",
        "Content-Length: +2\r\n",
        "Content-Length: 0x2\r\n",
        "Content-Length:\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "X-Folded: a\r\n b\r\n",
        "X-Space : a\r\n",
        "no colon\r\n",
    ] {
        let (answer, outcome) = answered(format!("HTTP/1.1 200 OK\r\n{lines}\r\nok")).await;
        assert_eq!(status(&answer), "HTTP/1.1 502 Bad Gateway", "{lines:?}");
        assert_eq!(outcome, Outcome::UpstreamFailed, "{lines:?}");
    }
    let (answer, _) =
        answered("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").await;
    assert_eq!(status(&answer), "HTTP/1.1 502 Bad Gateway", "1.0 has no chunks");
}

#[tokio::test]
async fn a_head_above_the_limits_is_502() {
    let long = format!("X-Long: {}\r\n", "x".repeat(proxy::limits::RESPONSE_HEAD_BYTES_MAX));
    let many = "X-Many: 1\r\n".repeat(proxy::limits::HEADERS_MAX + 1);
    for lines in [long, many] {
        let (answer, _) = answered(format!("HTTP/1.1 200 OK\r\n{lines}\r\n")).await;
        assert_eq!(status(&answer), "HTTP/1.1 502 Bad Gateway");
    }
    let early = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(1000);
    let (answer, _) = answered(format!("{early}HTTP/1.1 204 No Content\r\n\r\n")).await;
    assert_eq!(status(&answer), "HTTP/1.1 502 Bad Gateway", "informational without an end");
}

#[tokio::test]
async fn a_malformed_or_incomplete_body_is_cut_visibly() {
    for body in [
        "Transfer-Encoding: chunked\r\n\r\n2\r\nokx\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n2\nok\n0\n\n",
        "Transfer-Encoding: chunked\r\n\r\n-2\r\nok\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nok\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nno colon\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
        "Content-Length: 3\r\n\r\nok",
    ] {
        let (answer, outcome) = answered(format!("HTTP/1.1 200 OK\r\n{body}")).await;
        assert_eq!(outcome, Outcome::UpstreamFailed, "{body:?}");
        assert!(!answer.ends_with("0\r\n\r\n"), "{body:?} passed as whole: {answer:?}");
    }
}

#[tokio::test]
async fn what_follows_an_answer_is_never_the_answer_of_another_request() {
    let n_connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&n_connections);
    let app = script(move |mut socket, _| {
        let counted = Arc::clone(&counted);
        async move {
            counted.fetch_add(1, Ordering::SeqCst);
            read_head(&mut socket).await;
            let evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
            let good = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok{evil}");
            socket.write_all(good.as_bytes()).await.unwrap();
            read_head(&mut socket).await;
        }
    })
    .await;
    let front = Front::before(app).await;
    let mut client = front.connect().await;
    for turn in 1..=3 {
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        assert_eq!(field(&read_head(&mut client).await, "content-length"), Some("2"));
        assert_eq!(read_exactly(&mut client, 2).await, b"ok");
        assert_eq!(n_connections.load(Ordering::SeqCst), turn, "the connection was used again");
    }
}

#[tokio::test]
async fn informational_answers_end_here_and_the_final_one_counts() {
    let early = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n";
    let (answer, _) = answered(format!(
        "HTTP/1.1 100 Continue\r\n\r\n{early}HTTP/1.1 200 Fine By Me\r\nX: \r\n\
         Content-Length: 2\r\n\r\nok"
    ))
    .await;
    assert_eq!(status(&answer), "HTTP/1.1 200 Fine By Me");
    assert_eq!(field(&answer, "x"), Some(""), "an empty value stays");
    assert!(answer.ends_with("\r\n\r\nok") && !answer.contains("a.css"), "{answer}");
}

#[tokio::test]
async fn an_answer_that_comes_byte_by_byte_is_the_same() {
    let app = script(|mut socket, _| async move {
        read_head(&mut socket).await;
        let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n\
                      1\r\n!\r\n0\r\nX-Sum: 6\r\n\r\n";
        for byte in answer.bytes() {
            socket.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut front = Front::before(app).await;
    let answer = front.raw(ASK.replace("close", "close, TE\r\nTE: trailers")).await;
    let body: String =
        answer.split("\r\n\r\n").nth(1).unwrap().lines().skip(1).step_by(2).collect();
    assert_eq!(body, "hello!", "{answer:?}");
    assert!(
        answer.to_lowercase().ends_with("0\r\nx-sum: 6\r\n\r\n") || answer.ends_with("0\r\n\r\n")
    );
    assert_eq!(front.finished().await.outcome, Outcome::Forwarded);
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_request_leaves_the_rest_of_it_to_be_read() {
    let (whole_in, mut whole) = tokio::sync::mpsc::channel(1);
    let app = script(move |mut socket, _| {
        let whole_in = whole_in.clone();
        async move {
            read_head(&mut socket).await;
            socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly").await.unwrap();
            whole_in.send(read_exactly(&mut socket, 6).await).await.unwrap();
        }
    })
    .await;
    let front = Front::before(app).await;
    let mut client = front.connect().await;
    client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc").await.unwrap();
    assert_eq!(status(&read_head(&mut client).await), "HTTP/1.1 200 OK");
    client.write_all(b"def").await.unwrap();
    assert_eq!(whole.recv().await.unwrap(), b"abcdef");
    assert_eq!(read_exactly(&mut client, 5).await, b"early");
}

#[tokio::test]
async fn a_line_that_ends_in_a_bare_lf_is_502() {
    for bytes in [
        "HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: a\n\r\nok",
        "HTTP/1.1 200 OK\r\nX: a\nContent-Length: 2\r\n\r\nok",
        "\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ] {
        let (answer, outcome) = answered(bytes).await;
        assert_eq!(status(&answer), "HTTP/1.1 502 Bad Gateway", "{bytes:?}");
        assert_eq!(outcome, Outcome::UpstreamFailed, "{bytes:?}");
    }
}

#[tokio::test]
async fn a_head_that_comes_byte_by_byte_is_read_whole() {
    let app = script(|mut socket, _| async move {
        read_head(&mut socket).await;
        let _set = socket.set_nodelay(true);
        for byte in b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" {
            let _cut = socket.write_all(&[*byte]).await;
            tokio::task::yield_now().await;
        }
    })
    .await;
    let front = Front::before(app).await;
    let answer = front.raw(ASK).await;
    assert_eq!(status(&answer), "HTTP/1.1 200 OK");
    assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
}
