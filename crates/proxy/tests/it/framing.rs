//! Requests that two parsers could read differently are refused with 400, and the connection
//! closed.

use proxy::Refusal;

use crate::harness::{Front, echo, status};

/// Sends `request` twice over: whole, and byte by byte; both must be refused the same way.
async fn assert_refused(request: &[u8], refusal: Refusal) {
    let mut front = Front::before(echo().await).await;
    let answer = front.raw(request).await;
    let shown = String::from_utf8_lossy(request);
    assert_eq!(status(&answer), "HTTP/1.1 400 Bad Request", "{shown:?} -> {answer:?}");
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{shown:?} -> {answer:?}");
    assert_eq!(front.refused().await, refusal, "{shown:?}");
    assert_eq!(front.server.in_flight(), 0);
}

#[tokio::test]
async fn two_lengths_are_refused_even_when_they_agree() {
    let request =
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde";
    assert_refused(request, Refusal::Length).await;
    let request =
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\ncontent-length: 4\r\n\r\nabcd";
    assert_refused(request, Refusal::Length).await;
    let request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4, 4\r\n\r\nabcd";
    assert_refused(request, Refusal::Length).await;
}

#[tokio::test]
async fn a_length_that_is_no_plain_number_is_refused() {
    for length in ["+4", "-4", "0x4", "4 4", "", "4.0", "99999999999999999999"] {
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\nabcd");
        assert_refused(request.as_bytes(), Refusal::Length).await;
    }
}

#[tokio::test]
async fn length_and_transfer_encoding_together_are_refused_in_both_orders() {
    let request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\
        Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_refused(request, Refusal::LengthAndEncoding).await;
    let request = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\
        Content-Length: 4\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_refused(request, Refusal::LengthAndEncoding).await;
}

#[tokio::test]
async fn a_transfer_encoding_other_than_one_chunked_is_refused() {
    for encoding in ["gzip, chunked", "chunked, chunked", "identity", "xchunked", "\x0bchunked"] {
        let request =
            format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {encoding}\r\n\r\n0\r\n\r\n");
        let refusal = Refusal::Encoding;
        assert_refused(request.as_bytes(), refusal).await;
    }
    let twice = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\
        Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_refused(twice, Refusal::Encoding).await;
}

#[tokio::test]
async fn a_bare_line_feed_is_refused_wherever_it_stands() {
    assert_refused(b"GET / HTTP/1.1\nHost: a\r\n\r\n", Refusal::BareLf).await;
    assert_refused(b"GET / HTTP/1.1\r\nHost: a\n\r\n", Refusal::BareLf).await;
    assert_refused(b"GET / HTTP/1.1\r\nHost: a\r\n\n", Refusal::BareLf).await;
    assert_refused(b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::BareLf).await;
}

#[tokio::test]
async fn a_folded_line_is_refused() {
    assert_refused(b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n", Refusal::FoldedLine).await;
    assert_refused(b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", Refusal::FoldedLine).await;
}

#[tokio::test]
async fn a_space_before_the_colon_is_refused() {
    assert_refused(b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", Refusal::Malformed).await;
    let request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 4\r\n\r\nabcd";
    assert_refused(request, Refusal::Malformed).await;
}

#[tokio::test]
async fn what_is_not_http_is_refused() {
    assert_refused(b"GET /\r\n\r\n", Refusal::Malformed).await;
    assert_refused(b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", Refusal::Malformed).await;
    assert_refused(b"GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", Refusal::Malformed).await;
    assert_refused(b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", Refusal::Malformed).await;
    assert_refused(b"G\x00T / HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::Malformed).await;
}

#[tokio::test]
async fn a_malformed_chunk_is_answered_with_400_and_never_reaches_the_end_of_a_request() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for body in [
        "x\r\nabc\r\n0\r\n\r\n",
        "3\nabc\r\n0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "3\r\nabc\n0\r\n\r\n",
        "-3\r\nabc\r\n0\r\n\r\n",
        "ffffffffffffffffff\r\nabc",
        "3;a\nb\r\nabc\r\n0\r\n\r\n",
        "3\r\nabc\r\n0\r\nX: y\n\r\n",
        " 3\r\nabc\r\n0\r\n\r\n",
        "\r\n3\r\nabc\r\n0\r\n\r\n",
    ] {
        let mut front = Front::before(echo().await).await;
        let answer = front.raw(format!("{head}{body}")).await;
        assert_eq!(status(&answer), "HTTP/1.1 400 Bad Request", "{body:?} -> {answer:?}");
        assert_eq!(front.refused().await, Refusal::Chunk, "{body:?}");
    }
}

#[tokio::test]
async fn sound_chunks_with_extensions_and_trailers_are_accepted() {
    let front = Front::before(echo().await).await;
    let request = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: Chunked\r\n\r\n\
        3;name=\"value\"\r\nabc\r\n00A\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n";
    let answer = front.raw(request).await;
    assert_eq!(status(&answer), "HTTP/1.1 200 OK");
    assert!(answer.ends_with("\nabc0123456789"), "{answer:?}");
}

#[tokio::test]
async fn what_follows_a_refused_head_is_never_a_request() {
    let mut front = Front::before(echo().await).await;
    let request = "GET /one HTTP/1.1\r\nHost: a\r\n\r\n\
        GET /two HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx\
        GET /three HTTP/1.1\r\nHost: a\r\n\r\n";
    let answer = front.raw(request).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer:?}");
    assert!(answer.contains("GET /one"), "{answer:?}");
    assert!(answer.contains("HTTP/1.1 400 Bad Request"), "{answer:?}");
    assert!(!answer.contains("/two") && !answer.contains("/three"), "{answer:?}");
    assert_eq!(front.finished().await.path, "/one");
    assert_eq!(front.refused().await, Refusal::Length);
}

#[tokio::test]
async fn a_request_without_exactly_one_sane_host_is_refused() {
    let front = Front::before(echo().await).await;
    for request in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    ] {
        let answer = front.raw(request).await;
        assert_eq!(status(&answer), "HTTP/1.1 400 Bad Request", "{request:?} -> {answer:?}");
    }
    let answer = front.raw("GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!(status(&answer), "HTTP/1.0 200 OK", "{answer:?}");
}

#[tokio::test]
async fn a_head_that_comes_byte_by_byte_is_judged_the_same() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut front = Front::before(echo().await).await;
    let mut client = front.connect().await;
    client.set_nodelay(true).unwrap();
    for byte in b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n" {
        client.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut answer = String::new();
    crate::harness::within(client.read_to_string(&mut answer)).await.unwrap();
    assert_eq!(status(&answer), "HTTP/1.1 400 Bad Request");
    assert_eq!(front.refused().await, Refusal::Length);
}
