//! Claims about platforms that serve: the edge, health, and databases that come and go.

use std::fs;

use testkit::{Response, free_port, get, request, wait_for, wait_for_some};

use crate::run_harness::SIGINT;
use crate::up_harness::{PATIENCE, Platform, has, has_postgres, project};

/// An API in Python: answers `hello` and says whether it was given a database.
const API: &str = "\
import http.server, os
class Api(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        body = ('hello from ' + self.path + ' ' + os.environ.get('DATABASE_URL', '')[:11]).encode()
        self.send_response(200)
        self.send_header('content-length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(('127.0.0.1', int(os.environ['PORT'])), Api).serve_forever()
";

fn at(platform: &Platform, host: &str, path: &str) -> Option<Response> {
    let text = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    request(platform.edge_port, &text).ok()
}

#[test]
fn a_site_and_an_api_are_reached_through_one_port_by_host_and_path() {
    if !has("python3") {
        return;
    }
    let (api, web) = (free_port(), free_port());
    let directory = project(&format!(
        "plimsoll: 1\napp: shop\nservices:\n  \
         api: {{run: python3 api.py, port: {api}, route: [api, \"@/v1\"]}}\n  \
         web: {{static: {{dir: site, csp: \"default-src 'none'\"}}, port: {web}, route: \"@\", \
         uses: [api]}}\n"
    ));
    fs::create_dir(directory.path().join("site")).unwrap();
    fs::write(directory.path().join("site/index.html"), "<h1>Shop</h1>").unwrap();
    fs::write(directory.path().join("api.py"), API).unwrap();
    let mut platform = Platform::start_in(directory, &["--no-watch"]);
    let early = wait_for_some("the edge to listen", PATIENCE, || at(&platform, "localhost", "/"));
    if early.status != 200 {
        assert_eq!(early.status, 503, "{}", early.text());
        assert!(early.header("retry-after").is_some(), "{}", early.head);
    }
    platform.until_running();
    let body = |host, path| at(&platform, host, path).map(|answer| (answer.status, answer.text()));
    assert_eq!(body("localhost", "/").unwrap(), (200, "<h1>Shop</h1>".into()));
    let page = at(&platform, "localhost", "/").unwrap();
    assert_eq!(page.header("content-security-policy"), Some("default-src 'none'"));
    assert_eq!(body("127.0.0.1", "/").unwrap(), (200, "<h1>Shop</h1>".into()));
    assert_eq!(body("localhost", "/v1/x").unwrap(), (200, "hello from /v1/x ".into()));
    assert_eq!(body("api.localhost", "/y").unwrap(), (200, "hello from /y ".into()));
    assert_eq!(body("other.localhost", "/").unwrap().0, 404);

    assert_eq!(platform.command(&["stop", "api"]).code, 0);
    platform.until("api", "stopped");
    wait_for("the edge to say so", PATIENCE, || {
        at(&platform, "api.localhost", "/").is_some_and(|answer| answer.status == 503)
    });
    assert_eq!(body("localhost", "/").unwrap().0, 200);
    platform.run.signal(SIGINT);
    assert_eq!(platform.run.wait(PATIENCE).code, 0);
    platform.run.wait_for_nothing_left(PATIENCE);
}

#[test]
fn a_database_that_stops_makes_its_user_unready_but_not_dead_and_comes_back() {
    if !has("python3") || !has_postgres() || !has("redis-server") {
        return;
    }
    let port = free_port();
    let directory = project(&format!(
        "plimsoll: 1\napp: shop\nservices:\n  \
         api: {{run: python3 api.py, port: {port}, route: \"@\", uses: [db, cache], \
         migrate: {{shell: 'test -n \"$DATABASE_URL\" && echo migrated >> migrations'}}}}\n\
         resources: {{db: {{type: postgres}}, cache: {{type: redis}}}}\n"
    ));
    fs::write(directory.path().join("api.py"), API).unwrap();
    let mut platform = Platform::start_in(directory, &["--no-watch"]);
    platform.until_running();
    assert_eq!(fs::read_to_string(platform.path("migrations")).unwrap(), "migrated\n");
    let answer = at(&platform, "localhost", "/").unwrap();
    assert_eq!(answer.text(), "hello from / postgres://");
    let status = |path: &str| get(port, path).map(|answer| answer.status).ok();
    assert_eq!(status("/ready"), Some(200));

    assert_eq!(platform.command(&["stop", "db"]).code, 0);
    wait_for("/ready to be 503", PATIENCE, || status("/ready") == Some(503));
    assert_eq!(status("/live"), Some(200));
    let api = platform.until("api", "unready");
    assert_eq!(api["checks"]["db"]["is_passing"], false, "{api}");

    assert_eq!(platform.command(&["start", "db"]).code, 0);
    platform.until("api", "ready");
    assert_eq!(status("/ready"), Some(200));
    assert_eq!(platform.item("api").unwrap()["restarts"], 0);
    platform.run.signal(SIGINT);
    assert_eq!(platform.run.wait(PATIENCE).code, 0);
    platform.run.wait_for_nothing_left(PATIENCE);
}
