//! What an application says of itself, and what that changes: notify socket, heartbeats, own paths.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use serde_json::Value;
use testkit::{free_port, wait_for, wait_for_some};

use crate::run_harness::{PATIENCE, SIGKILL, SIGTERM, Service, binary, engine_pid, run_with};

/// `sd_notify` as its manual page shows it, in Python without a library, and a way to be told what
/// to say: each line of the file `say` is sent once.
const PYTHON: &str = r#"
import os, socket, time
address = os.environ['NOTIFY_SOCKET']
if address[0] == '@':
    address = '\0' + address[1:]
sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
sock.connect(address)
said = 0
print('up', os.environ.get('WATCHDOG_USEC', 'none'), flush=True)
while True:
    lines = open('say').read().splitlines() if os.path.exists('say') else []
    for line in lines[said:]:
        sock.sendall(line.replace(';', '\n').encode())
    said = max(said, len(lines))
    time.sleep(0.01)
"#;

/// A Python application that says what it is told to.
struct Speaker {
    service: Service,
    directory: tempfile::TempDir,
    lines: Vec<String>,
}

impl Speaker {
    fn start(flags: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let script = format!("cd {} && exec python3 -c \"$SPEAKER\"", directory.path().display());
        let command = ["env", &format!("SPEAKER={PYTHON}"), "sh", "-c", &script].map(str::to_owned);
        let service = Service::start(flags, &command);
        Self { service, directory, lines: Vec::new() }
    }

    /// Has it say a datagram, whose lines are separated by `;`.
    fn say(&mut self, words: &str) {
        self.lines.push(format!("{words}\n"));
        let new = self.directory.path().join("new");
        std::fs::write(&new, self.lines.concat()).unwrap();
        std::fs::rename(new, self.directory.path().join("say")).unwrap();
    }

    fn ready(&self) -> Value {
        json(&self.service, "/ready")
    }
}

fn json(service: &Service, path: &str) -> Value {
    let answer = wait_for_some("an answer", PATIENCE, || service.ask(path));
    serde_json::from_slice(&answer.body).unwrap()
}

#[test]
fn an_app_that_announces_itself_is_started_once_it_says_so() {
    let mut speaker = Speaker::start(&["--started", "notify"]);
    speaker.service.run.line("up none");
    assert_eq!(speaker.ready()["reasons"], serde_json::json!(["starting"]));
    speaker.say("READY=1;STATUS=serving 3 tenants;MAINPID=1");
    speaker.service.wait_for_status("/ready", 200);
    let health = json(&speaker.service, "/health");
    assert_eq!(health["checks"]["app:process"][0]["output"], "serving 3 tenants");
    speaker.say("RELOADING=1");
    wait_for("reloading", PATIENCE, || {
        let health = json(&speaker.service, "/health");
        health["checks"]["app:process"][0]["observedValue"] == "reloading"
    });
    speaker.service.wait_for_status("/ready", 200);
    speaker.say("READY=1");
    speaker.say("STOPPING=1");
    let ready = speaker.service.wait_for_status("/ready", 503);
    let reasons: Value = serde_json::from_slice(&ready.body).unwrap();
    assert_eq!(reasons["reasons"], serde_json::json!(["app_stopping"]));
    speaker.service.wait_for_status("/live", 200);
}

#[test]
fn what_is_said_while_the_engine_is_gone_is_heard_by_the_next() {
    let mut speaker = Speaker::start(&["--started", "notify"]);
    speaker.service.run.line("up none");
    testkit::signal(engine_pid(&speaker.service.run), SIGKILL);
    speaker.say("READY=1");
    speaker.service.wait_for_status("/ready", 200);
}

#[test]
fn a_worker_that_stops_beating_is_dead_and_nothing_else() {
    let probes =
        r#"{"beat": {"heartbeat": {"via": "notify", "max_age_ms": 1000}, "interval_ms": 100}}"#;
    let mut speaker = Speaker::start(&["--probes", probes]);
    speaker.service.run.line("up 1000000");
    speaker.say("WATCHDOG=1");
    let beaten = |speaker: &Speaker| {
        let metrics = speaker.service.ask("/metrics").unwrap().text();
        metrics.contains("\nworker_last_heartbeat_timestamp{")
    };
    wait_for("a beat", PATIENCE, || beaten(&speaker));
    let dead = speaker.service.wait_for_status("/live", 503);
    assert_eq!(
        serde_json::from_slice::<Value>(&dead.body).unwrap()["reason"],
        "heartbeat_stale:beat"
    );
    speaker.service.wait_for_status("/ready", 200);
    speaker.say("EXTEND_TIMEOUT_USEC=60000000");
    speaker.service.wait_for_status("/live", 200);
}

#[test]
fn a_log_line_is_a_sign_of_life() {
    let probes = r#"{"beat": {"heartbeat": {"log": "^tick [0-9]+$", "max_age_ms": 60000},
        "interval_ms": 100}}"#;
    let script = "trap 'exit 0' TERM; while :; do echo tick 1; sleep 0.05; done";
    let service = Service::start(&["--probes", probes], &["sh", "-c", script]);
    wait_for("a beat", PATIENCE, || {
        let metrics = service.ask("/metrics").map(|answer| answer.text()).unwrap_or_default();
        metrics.contains("\nworker_last_heartbeat_timestamp{")
    });
}

#[test]
fn a_command_that_asks_the_app_decides_over_life_and_a_stop_ends_the_question() {
    let directory = tempfile::tempdir().unwrap();
    let sick = directory.path().join("sick");
    let probes = serde_json::json!({"pulse": {"exec": ["test", "!", "-e", sick],
        "gate": ["live"], "fall": 2, "interval_ms": 200}});
    let script =
        "trap 'echo ends; while :; do sleep 0.05; done' TERM; while :; do sleep 0.05; done";
    let flags = ["--probes", &probes.to_string(), "--stop-grace", "60s"];
    let service = Service::start(&flags, &["sh", "-c", script]);
    service.wait_for_status("/ready", 200);
    std::fs::write(&sick, "").unwrap();
    let dead = service.wait_for_status("/live", 503);
    assert_eq!(serde_json::from_slice::<Value>(&dead.body).unwrap()["reason"], "pulse");
    // It is told, and nothing else: whoever asks decides over a restart.
    service.wait_for_status("/ready", 200);
    service.run.signal(SIGTERM);
    service.run.line("ends");
    service.wait_for_status("/live", 200);
}

#[test]
fn a_shell_script_speaks_with_our_own_command() {
    let binary = binary();
    let script = format!(
        "trap 'exit 0' TERM; {0} notify READY=1 STATUS='all is well' && echo said; \
         {0} notify NONSENSE; echo code $?; while :; do sleep 0.05; done",
        binary.display()
    );
    let mut service = Service::start(&["--started", "notify"], &["sh", "-c", &script]);
    service.wait_for_status("/ready", 200);
    service.run.line("\"code 2\"");
    let health = json(&service, "/health");
    assert_eq!(health["checks"]["app:process"][0]["output"], "all is well");
    service.run.signal(SIGTERM);
    assert_eq!(service.run.wait(PATIENCE).code, 0);
}

#[test]
fn nothing_of_the_notify_socket_is_left_behind() {
    let mut service = Service::start(&[], &["sh", "-c", "echo at $NOTIFY_SOCKET; sleep 60"]);
    let line = service.run.line("at /");
    let path = line.split("at ").nth(1).unwrap().split('"').next().unwrap().to_owned();
    assert!(std::path::Path::new(&path).exists());
    service.run.signal(SIGTERM);
    service.run.wait(PATIENCE);
    assert!(!std::path::Path::new(&path).parent().unwrap().exists(), "{path}");
}

#[test]
fn systemd_hears_of_us_what_it_waits_for() {
    let name = format!("plimsoll-test-{}-{}", std::process::id(), free_port());
    let systemd = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    systemd.set_read_timeout(Some(PATIENCE)).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let go = directory.path().join("go");
    let script = format!(
        "trap 'exit 0' TERM; echo said ${{WATCHDOG_USEC:-nothing}}; \
         {0} notify EXTEND_TIMEOUT_USEC=60000000; \
         while ! [ -e {1} ]; do sleep 0.05; done; {0} notify READY=1; \
         while :; do sleep 0.05; done",
        binary().display(),
        go.display()
    );
    let mut run = run_with(&["--started", "notify"], &["sh", "-c", &script], |command| {
        command.env("NOTIFY_SOCKET", format!("@{name}")).env("WATCHDOG_USEC", "200000");
    });
    let mut heard = String::new();
    let mut hear = |word: &str| {
        while !heard.contains(word) {
            let mut datagram = [0; 4096];
            let length = systemd.recv(&mut datagram).unwrap();
            heard.push_str(&String::from_utf8_lossy(&datagram[..length]));
            heard.push('\n');
        }
    };
    hear("EXTEND_TIMEOUT_USEC=59");
    std::fs::write(go, "").unwrap();
    hear("READY=1");
    hear("STATUS=ready");
    hear("WATCHDOG=1");
    // What systemd said was said to us alone.
    run.line("said nothing");
    run.signal(SIGTERM);
    hear("STOPPING=1");
    assert_eq!(run.wait(PATIENCE).code, 0);
}

#[test]
fn someone_at_the_socket_can_hold_traffic_back() {
    let service = Service::start(&[], &["sleep", "60"]);
    service.wait_for_status("/ready", 200);
    assert_eq!(service.post("/v1/unready").status, 204);
    let ready = service.wait_for_status("/ready", 503);
    assert!(ready.text().contains("\"held\""), "{}", ready.text());
    assert_eq!(service.post("/v1/ready").status, 204);
    service.wait_for_status("/ready", 200);
}

#[test]
fn the_apps_own_paths_stay_in_step_with_ours() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    std::fs::write(file("ok"), "yes").unwrap();
    std::fs::write(file("alive"), "yes").unwrap();
    let port = free_port().to_string();
    let path = directory.path().to_str().unwrap();
    let command = ["python3", "-m", "http.server", &port, "--bind", "127.0.0.1", "-d", path];
    let flags = ["--app-port", &port, "--ready-http", "/ok", "--live-http", "/alive"];
    let service = Service::start(&flags, &command);
    service.wait_for_status("/ready", 200);
    std::fs::remove_file(file("ok")).unwrap();
    let ready = service.wait_for_status("/ready", 503);
    assert!(ready.text().contains("\"app.ready\""), "{}", ready.text());
    service.wait_for_status("/live", 200);
    std::fs::remove_file(file("alive")).unwrap();
    let live = service.wait_for_status("/live", 503);
    assert!(live.text().contains("\"app.live\""), "{}", live.text());
    std::fs::write(file("ok"), "yes").unwrap();
    std::fs::write(file("alive"), "yes").unwrap();
    service.wait_for_status("/live", 200);
    service.wait_for_status("/ready", 200);
}
