//! Hosts and paths lead to services, and the table is swapped while requests run.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use proxy::{Address, Down, Outcome, Route, Router, Settings, Target, Upstream, UpstreamSettings};
use tokio::io::AsyncWriteExt;

use crate::harness::{Front, app, echo, field, full, read_exactly, read_head, status, to};

fn route(host: Option<&str>, path: &str, target: Target) -> Route {
    let label = format!("{}{path}", host.unwrap_or("*"));
    Route {
        host: host.map(str::to_owned),
        path: path.to_owned(),
        label,
        target,
        body_bytes_max: None,
    }
}

async fn named(name: &'static str) -> Target {
    let app = app(move |_| async move { http::Response::new(full(name)) }).await;
    Target::Upstream(Upstream::tcp(name, app))
}

async fn get(front: &Front, host: &str, path: &str) -> String {
    front.raw(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await
}

#[tokio::test]
async fn host_and_longest_path_decide() {
    let router = Router::new([
        route(Some("localhost"), "/", named("web").await),
        route(Some("localhost"), "/api", named("api").await),
        route(Some("admin.localhost"), "/", named("admin").await),
    ])
    .unwrap();
    let mut front = Front::with(Settings::default(), router).await;
    for (host, path, name, label) in [
        ("localhost:8000", "/", "web", "localhost/"),
        ("LOCALHOST", "/api/x?y", "api", "localhost/api"),
        ("admin.localhost", "/api", "admin", "admin.localhost/"),
    ] {
        assert!(get(&front, host, path).await.ends_with(name), "{host}{path}");
        let finished = front.finished().await;
        assert_eq!(
            (finished.route.as_deref(), finished.upstream.as_deref()),
            (Some(label), Some(name))
        );
    }
}

#[tokio::test]
async fn an_unknown_host_is_404_and_told_nothing() {
    let router = Router::new([route(Some("secret.test"), "/", named("secret").await)]).unwrap();
    let mut front = Front::with(Settings::default(), router).await;
    let answer = get(&front, "other.test", "/").await;
    assert_eq!(status(&answer), "HTTP/1.1 404 Not Found");
    assert!(!answer.contains("secret"), "{answer}");
    let finished = front.finished().await;
    assert_eq!((finished.outcome, finished.route), (Outcome::Served, None));
}

#[tokio::test]
async fn a_service_that_is_down_has_a_page_that_names_it_and_escapes_its_reason() {
    let down = Down {
        service: "api".to_owned(),
        reason: "crashed with <exit 1>".to_owned(),
        retry_after: Duration::from_secs(5),
    };
    let router = Router::single("api", Target::Down(Arc::new(down)));
    let front = Front::with(Settings::default(), router).await;
    let answer = front
        .raw("GET / HTTP/1.1\r\nHost: a\r\nAccept: text/html,*/*\r\nConnection: close\r\n\r\n")
        .await;
    assert_eq!(status(&answer), "HTTP/1.1 503 Service Unavailable");
    assert_eq!(field(&answer, "retry-after"), Some("5"));
    assert!(answer.contains("<code>api</code>"), "{answer}");
    assert!(answer.contains("crashed with &lt;exit 1&gt;"), "{answer}");
}

#[tokio::test]
async fn a_swap_takes_the_next_request_and_leaves_the_running_one() {
    let (go_in, go) = tokio::sync::watch::channel(false);
    let blue = app(move |_| {
        let mut go = go.clone();
        async move {
            go.wait_for(|go| *go).await.unwrap();
            http::Response::new(full("blue"))
        }
    })
    .await;
    let front = Front::before(blue).await;
    let mut slow = front.connect().await;
    slow.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    crate::harness::within(async {
        while front.server.in_flight() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let green = app(|_| async { http::Response::new(full("green")) }).await;
    front.server.set_router(to(green));
    assert!(get(&front, "a", "/").await.ends_with("green"));
    go_in.send(true).unwrap();
    read_head(&mut slow).await;
    assert_eq!(read_exactly(&mut slow, 4).await, b"blue");
    // The same client connection goes to the new target with its next request.
    slow.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    read_head(&mut slow).await;
    assert_eq!(read_exactly(&mut slow, 5).await, b"green");
}

#[tokio::test]
async fn an_application_on_a_unix_socket_is_reached() {
    let tcp = echo().await;
    let directory = tempfile::tempdir().unwrap();
    let path: PathBuf = directory.path().join("app.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        loop {
            let Ok((mut client, _)) = listener.accept().await else { return };
            let mut app = tokio::net::TcpStream::connect(tcp).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut client, &mut app).await });
        }
    });
    let upstream = Upstream::new("app", vec![Address::Unix(path)], UpstreamSettings::default());
    let front =
        Front::with(Settings::default(), Router::single("app", Target::Upstream(upstream))).await;
    assert!(get(&front, "a", "/socket").await.contains("GET /socket\n"));
}

#[tokio::test]
async fn options_of_the_whole_server_reaches_the_root() {
    let front = Front::before(echo().await).await;
    let answer = front.raw("OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(answer.contains("OPTIONS *\n"), "{answer}");
}
