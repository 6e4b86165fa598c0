//! Header fields: what ends at the proxy, what it adds, whom it believes.

use proxy::{Settings, TrustedProxies};

use crate::harness::{Front, app, echo, field, full, to};

/// What the application sees of a request with these extra lines.
async fn seen(front: &Front, lines: &str) -> String {
    front
        .raw(format!("GET / HTTP/1.1\r\nHost: shop.test\r\n{lines}Connection: close\r\n\r\n"))
        .await
}

fn value<'a>(seen: &'a str, name: &str) -> Vec<&'a str> {
    let body = seen.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    body.lines().filter_map(|line| line.strip_prefix(&format!("{name}: "))).collect()
}

#[tokio::test]
async fn hop_by_hop_fields_end_here_and_so_do_those_that_connection_names() {
    let front = Front::before(echo().await).await;
    let text = seen(
        &front,
        "Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: x\r\n\
         TE: gzip\r\nX-Hop: 1\r\nX-End: 2\r\nConnection: X-Hop, X-Request-Id, Host, Content-Length\r\n",
    )
    .await;
    for gone in
        ["keep-alive", "proxy-connection", "proxy-authorization", "te", "x-hop", "connection"]
    {
        assert!(value(&text, gone).is_empty(), "{gone} in {text}");
    }
    assert_eq!(value(&text, "x-end"), ["2"]);
    assert_eq!(value(&text, "host"), ["shop.test"]);
    assert_eq!(value(&text, "x-request-id").len(), 1, "ours cannot be named away");
}

#[tokio::test]
async fn hop_by_hop_fields_of_the_answer_end_here() {
    let app = app(|_| async {
        let mut response = http::Response::new(full("x"));
        let headers = response.headers_mut();
        headers.insert("connection", "x-private".parse().unwrap());
        headers.insert("x-private", "1".parse().unwrap());
        headers.insert("keep-alive", "timeout=5".parse().unwrap());
        headers.append("set-cookie", "a=1".parse().unwrap());
        headers.append("set-cookie", "b=2".parse().unwrap());
        response
    })
    .await;
    let front = Front::before(app).await;
    let answer = front.raw("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert_eq!(field(&answer, "x-private"), None);
    assert_eq!(field(&answer, "keep-alive"), None);
    assert_eq!(answer.matches("set-cookie").count(), 2);
}

#[tokio::test]
async fn a_valid_trace_is_continued_and_an_invalid_one_replaced() {
    let mut front = Front::before(echo().await).await;
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let text = seen(&front, &format!("traceparent: {parent}\r\ntracestate: v=1\r\n")).await;
    let finished = front.finished().await;
    let sent = value(&text, "traceparent");
    assert_eq!(sent.len(), 1);
    assert_eq!(finished.trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(sent[0], format!("00-{}-{}-01", finished.trace_id, finished.span_id));
    assert_ne!(finished.span_id, "00f067aa0ba902b7");
    assert_eq!(value(&text, "tracestate"), ["v=1"]);

    for lines in [
        "traceparent: nonsense\r\ntracestate: v=1\r\n".to_owned(),
        format!("traceparent: {parent}\r\ntraceparent: {parent}\r\ntracestate: v=1\r\n"),
    ] {
        let text = seen(&front, &lines).await;
        let finished = front.finished().await;
        assert_ne!(finished.trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(value(&text, "traceparent").len(), 1);
        assert_eq!(value(&text, "tracestate"), [] as [&str; 0]);
    }
}

#[tokio::test]
async fn a_sane_request_id_is_kept_and_any_other_replaced() {
    let mut front = Front::before(echo().await).await;
    let text = seen(&front, "X-Request-Id: req-42/a.b:c\r\n").await;
    assert_eq!(value(&text, "x-request-id"), ["req-42/a.b:c"]);
    assert_eq!(field(&text, "x-request-id"), Some("req-42/a.b:c"), "sent back");
    assert_eq!(front.finished().await.request_id, "req-42/a.b:c");
    let long = "a".repeat(129);
    for lines in [
        "X-Request-Id: a b\r\n".to_owned(),
        "X-Request-Id: \"}{\r\n".to_owned(),
        "X-Request-Id: a\r\nX-Request-Id: b\r\n".to_owned(),
        format!("X-Request-Id: {long}\r\n"),
        String::new(),
    ] {
        let text = seen(&front, &lines).await;
        let ids = value(&text, "x-request-id");
        assert_eq!(ids.len(), 1, "{lines}");
        assert_eq!((ids[0].len(), &ids[0][14..15]), (36, "4"), "a version 4 uuid for {lines}");
        assert_eq!(front.finished().await.request_id, ids[0]);
    }
}

#[tokio::test]
async fn a_trusted_proxy_is_continued() {
    let mut front = Front::before(echo().await).await;
    let text = seen(
        &front,
        "X-Forwarded-For: 203.0.113.9, 10.0.0.1\r\nX-Forwarded-Proto: https\r\n\
         X-Forwarded-Host: outer.test\r\nForwarded: for=203.0.113.9;proto=https, for=10.0.0.1\r\n",
    )
    .await;
    assert_eq!(value(&text, "x-forwarded-for"), ["203.0.113.9, 10.0.0.1", "127.0.0.1"]);
    assert_eq!(value(&text, "x-forwarded-proto"), ["https"]);
    assert_eq!(value(&text, "x-forwarded-host"), ["outer.test"]);
    assert_eq!(
        value(&text, "forwarded"),
        [
            "for=203.0.113.9;proto=https, for=10.0.0.1",
            "for=127.0.0.1;host=\"shop.test\";proto=http"
        ]
    );
    // 10.0.0.1 is not trusted, so nothing left of it is believed.
    assert_eq!(front.finished().await.client.to_string(), "10.0.0.1");
}

#[tokio::test]
async fn the_client_is_known_by_either_field_and_not_by_a_contradiction() {
    let mut front = Front::before(echo().await).await;
    for (lines, client) in [
        ("Forwarded: for=\"[2001:db8::7]:4711\"\r\n", "2001:db8::7"),
        ("X-Forwarded-For: 192.0.2.1:5000\r\n", "192.0.2.1"),
        ("X-Forwarded-For: 192.0.2.1\r\nForwarded: for=203.0.113.5\r\n", "127.0.0.1"),
    ] {
        seen(&front, lines).await;
        assert_eq!(front.finished().await.client.to_string(), client, "{lines}");
    }
}

#[tokio::test]
async fn an_untrusted_client_is_replaced() {
    let settings = Settings { trusted_proxies: TrustedProxies::none(), ..Settings::default() };
    let mut front = Front::with(settings, to(echo().await)).await;
    let text = seen(
        &front,
        "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\n\
         X-Forwarded-Host: evil.test\r\nForwarded: for=203.0.113.9\r\n\
         X-Forwarded-Ssl: on\r\nX-Real-IP: 203.0.113.9\r\nx_forwarded_for: 203.0.113.9\r\n\
         X-Really: mine\r\n",
    )
    .await;
    for claim in ["x-forwarded-ssl", "x-real-ip", "x_forwarded_for"] {
        assert_eq!(value(&text, claim), [""; 0], "{claim}");
    }
    assert_eq!(value(&text, "x-really"), ["mine"]);
    assert_eq!(value(&text, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(value(&text, "x-forwarded-proto"), ["http"]);
    assert_eq!(value(&text, "x-forwarded-host"), ["shop.test"]);
    assert_eq!(value(&text, "forwarded"), ["for=127.0.0.1;host=\"shop.test\";proto=http"]);
    assert_eq!(front.finished().await.client.to_string(), "127.0.0.1");
}

#[tokio::test]
async fn an_absolute_target_decides_the_host_and_is_sent_in_origin_form() {
    let mut front = Front::before(echo().await).await;
    let answer = front
        .raw("GET http://inner.test/p?q HTTP/1.1\r\nHost: outer.test\r\nConnection: close\r\n\r\n")
        .await;
    assert!(answer.contains("GET /p?q\n"), "{answer}");
    assert_eq!(value(&answer, "host"), ["inner.test"]);
    assert_eq!(front.finished().await.host, "inner.test");
}
