//! Upgrades: a tunnel when both sides agree, an ordinary answer when not.

use proxy::Outcome;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{Front, echo, field, read_exactly, read_head, script, status, within};

const ASK: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n\
                   Upgrade: chat/1\r\n\r\n";

#[tokio::test]
async fn an_agreed_upgrade_passes_bytes_both_ways_until_both_ends_close() {
    let app = script(|mut socket, _| async move {
        let head = read_head(&mut socket).await.to_lowercase();
        assert!(head.contains("connection: upgrade\r\n"), "{head}");
        assert!(head.contains("upgrade: chat/1\r\n"), "{head}");
        // The first bytes of the new protocol travel with the head.
        socket
            .write_all(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat/1\r\n\r\nhi",
            )
            .await
            .unwrap();
        assert_eq!(read_exactly(&mut socket, 5).await, b"early");
        socket.write_all(b"got it").await.unwrap();
        assert_eq!(socket.read(&mut [0; 1]).await.unwrap(), 0);
        socket.write_all(b"bye").await.unwrap();
    })
    .await;
    let mut front = Front::before(app).await;
    let mut client = front.connect().await;
    // Bytes of the new protocol that come before the answer.
    client.write_all(format!("{ASK}early").as_bytes()).await.unwrap();
    let head = read_head(&mut client).await;
    assert_eq!(status(&head), "HTTP/1.1 101 Switching Protocols");
    assert_eq!(field(&head, "upgrade"), Some("chat/1"));
    assert_eq!(read_exactly(&mut client, 8).await, b"higot it");
    assert_eq!(front.server.in_flight(), 1, "a tunnel is in flight");
    client.shutdown().await.unwrap();
    let mut rest = Vec::new();
    within(client.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(rest, b"bye");
    let finished = front.finished().await;
    assert_eq!((finished.outcome, finished.status), (Outcome::Tunnel, Some(101)));
    assert_eq!((finished.bytes_in, finished.bytes_out), (5, 11));
    assert_eq!(front.server.in_flight(), 0);
}

#[tokio::test]
async fn a_websocket_client_talks_to_a_websocket_application() {
    let app = script(|socket, _| async move {
        use futures_util::{SinkExt, StreamExt};
        let mut socket = tokio_tungstenite::accept_async(socket).await.unwrap();
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() || message.is_binary() {
                socket.send(message).await.unwrap();
            }
        }
    })
    .await;
    let mut front = Front::before(app).await;
    {
        use futures_util::{SinkExt, StreamExt};
        let url = format!("ws://{}/socket", front.address);
        let (mut socket, _) = within(tokio_tungstenite::connect_async(url)).await.unwrap();
        let large = vec![7; 300_000];
        for message in [Message::text("hello"), Message::binary(large)] {
            socket.send(message.clone()).await.unwrap();
            assert_eq!(within(socket.next()).await.unwrap().unwrap(), message);
        }
        socket.close(None).await.unwrap();
        while let Some(Ok(_)) = within(socket.next()).await {}
    }
    assert_eq!(front.finished().await.outcome, Outcome::Tunnel);
}

#[tokio::test]
async fn a_denied_upgrade_is_an_answer_and_the_connection_goes_on() {
    let front = Front::before(echo().await).await;
    let mut client = front.connect().await;
    for _ in 0..3 {
        client.write_all(ASK.as_bytes()).await.unwrap();
        let head = read_head(&mut client).await;
        assert_eq!(status(&head), "HTTP/1.1 200 OK");
        let n_bytes: usize = field(&head, "content-length").unwrap().parse().unwrap();
        read_exactly(&mut client, n_bytes).await;
    }
}

#[tokio::test]
async fn bytes_behind_a_denied_upgrade_are_never_a_request() {
    let front = Front::before(echo().await).await;
    let answer = front.raw(format!("{ASK}GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")).await;
    assert_eq!(status(&answer), "HTTP/1.1 200 OK");
    assert_eq!(field(&answer, "connection"), Some("close"), "{answer}");
    assert!(!answer.contains("/smuggled"), "{answer}");
}

#[tokio::test]
async fn an_upgrade_with_a_body_or_to_h2c_is_an_ordinary_request() {
    let front = Front::before(echo().await).await;
    let answer = front
        .raw(
            "POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\
              Content-Length: 2\r\n\r\nhi",
        )
        .await;
    assert_eq!(status(&answer), "HTTP/1.1 200 OK");
    assert!(!answer.contains("upgrade: websocket"), "{answer}");
    let answer = front
        .raw("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
              HTTP2-Settings: AAMAAABk\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await;
    assert!(answer.contains("GET /\n") && answer.contains("GET /2\n"), "{answer}");
    assert!(!answer.contains("http2-settings") && !answer.contains("h2c"), "{answer}");
}

#[tokio::test]
async fn a_switch_that_nobody_asked_for_is_502() {
    let app = script(|mut socket, _| async move {
        read_head(&mut socket).await;
        socket
            .write_all(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: evil\r\nConnection: upgrade\r\n\r\n",
            )
            .await
            .unwrap();
        let _closed = socket.read(&mut [0; 1]).await;
    })
    .await;
    let front = Front::before(app).await;
    let answer = front.raw("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert_eq!(status(&answer), "HTTP/1.1 502 Bad Gateway", "{answer}");
}
