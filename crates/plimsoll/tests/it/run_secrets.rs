//! Secrets from files, programs and variables: resolved, delivered, swapped, and shown nowhere.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use testkit::wait_for;

use crate::run_harness::{
    PATIENCE, SIGKILL, SIGTERM, Service, app_pid, engine_pid, messages, run_with,
};

const VALUE: &str = "hunter2-hunter2-hunter2";

/// A file with a secret, and a reference to it.
fn secret(value: &[u8]) -> (tempfile::TempDir, PathBuf, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    fs::write(&path, value).unwrap();
    let reference = format!("${{secret:file:{}}}", path.display());
    (directory, path, reference)
}

fn shell(script: &str) -> [&str; 3] {
    ["sh", "-c", script]
}

/// Everything that a process shows of itself to others.
fn shown(pid: i32) -> String {
    let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let bytes = [read("environ"), read("cmdline"), read("comm")].concat();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn a_value_reaches_the_app_and_nobody_else() {
    let (_directory, path, reference) = secret(format!("{VALUE}\n").as_bytes());
    let script = "test \"$DB\" = \"pg://u:$(cat \"$SOURCE\")@h\" && echo same; echo \"it is $DB\"; \
                  echo \"$DB\" >&2; exec sleep 60";
    let service = Service::start_with(&[], &shell(script), |command| {
        command.env("DB", format!("pg://u:{reference}@h")).env("SOURCE", &path);
    });
    service.wait_for_status("/ready", 200);
    service.run.line("it is");
    assert_eq!(messages(&service.run.stdout(), "stdout")[0], "same");
    assert!(shown(app_pid(&service.run)).contains(VALUE), "the app has it");
    for pid in [service.run.pid(), engine_pid(&service.run)] {
        assert!(!shown(pid).contains(VALUE), "a process of ours shows it");
    }
    for path in ["/health", "/ready", "/metrics", "/info", "/live"] {
        let answer = service.ask(path).unwrap();
        assert!(!answer.text().contains(VALUE), "{path} shows it");
    }
    let metrics = service.ask("/metrics").unwrap().text();
    assert!(metrics.contains("secret_fetch_total"), "{metrics}");
    assert!(metrics.contains("provider=\"file\""), "{metrics}");
    assert!(!service.run.stdout().contains(VALUE), "a line shows it");
    assert!(!service.run.stderr().contains(VALUE), "a line shows it");
}

#[test]
fn every_problem_is_reported_at_once_and_no_app_is_started() {
    let (directory, _path, _) = secret(b"x");
    let mut run = run_with(&[], &shell("echo ran"), |command| {
        command.env("A", "${secret:NOT_THERE}");
        command.env("B", format!("${{secret:file:{}}}", directory.path().display()));
        command.env("C", "password hunter2 ${secret:open");
        command.env("D", "${secret:valt:x}");
    });
    let ended = run.wait(PATIENCE);
    assert_eq!(ended.code, 78, "{}", ended.stdout);
    let lines: Vec<Value> =
        ended.stdout.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let places: Vec<_> = lines
        .iter()
        .filter(|line| line["event"] == "secret.unresolved")
        .map(|line| line["place"].as_str().unwrap().to_owned())
        .collect();
    for place in ["A", "B", "C", "D"] {
        assert!(places.iter().any(|known| known == place), "{place}: {places:?}");
    }
    assert!(!ended.stdout.contains("hunter2") && !ended.stdout.contains("\"ran\""));
}

#[test]
fn each_kind_of_bad_value_has_its_exit_code() {
    let huge = vec![b'a'; 10 << 20];
    let cases: [(&[u8], &str, i32); 4] = [
        (b"a\0b", "NUL", 77),
        (b"\xff\xfe", "UTF-8", 77),
        (&huge, "longer", 77),
        (&huge[..200 << 10], "128 KiB", 77),
    ];
    for (value, word, code) in cases {
        let (_directory, _path, reference) = secret(value);
        let mut run = run_with(&[], &shell("echo ran"), |command| {
            command.env("DB", &reference);
        });
        let ended = run.wait(PATIENCE);
        assert_eq!(ended.code, code, "{word}: {}", ended.stdout);
        assert!(ended.stdout.contains(word), "{word}: {}", ended.stdout);
    }
    let mut run = run_with(&[], &shell("echo ran"), |command| {
        command.env("DB", "${secret:NOT_THERE}");
    });
    assert_eq!(run.wait(PATIENCE).code, 77);
}

#[test]
fn a_provider_that_hangs_is_given_up_with_75() {
    let settings = r#"{"timeout": "200ms", "providers":
        {"slow": {"type": "exec", "command": ["sleep", "60"]}}}"#;
    let flags = ["--secrets", settings, "--start-timeout", "1s"];
    let mut run = run_with(&flags, &shell("echo ran"), |command| {
        command.env("DB", "${secret:slow:x}");
    });
    let ended = run.wait(PATIENCE);
    assert_eq!(ended.code, 75, "{}", ended.stdout);
    assert!(ended.stdout.contains("secret.awaited"), "{}", ended.stdout);
    run.wait_for_nothing_left(PATIENCE);
}

#[test]
fn what_may_be_missing_may_unless_it_is_strict() {
    let script = "echo \"${A-unset}|$B\"";
    let with = |command: &mut std::process::Command| {
        command.env("A", "${secret:NOT_THERE?optional}");
        command.env("B", "${secret:NOT_THERE?default=fallback}");
    };
    let mut run = run_with(&[], &shell(script), with);
    let ended = run.wait(PATIENCE);
    assert_eq!(messages(&ended.stdout, "stdout"), ["unset|fallback"], "{}", ended.stdout);
    let mut run = run_with(&["--strict-secrets"], &shell(script), with);
    assert_eq!(run.wait(PATIENCE).code, 77);
}

#[test]
fn a_file_is_swapped_the_app_is_signalled_and_both_go_with_it() {
    let (_directory, path, reference) = secret(VALUE.as_bytes());
    let settings = r#"{"deliver": "file", "on_change": "signal:HUP", "poll": "100ms"}"#;
    let script = "trap 'echo swapped; test \"$(cat \"$DB_FILE\")\" = other-other-other && echo new' HUP; \
                  echo \"${DB-unset} $DB_FILE\"; ls -l \"$DB_FILE\"; while :; do sleep 0.05; done";
    let mut service = Service::start_with(&["--secrets", settings], &shell(script), |command| {
        command.env("DB", &reference);
    });
    service.run.line("-r--------");
    let line = service.run.line("unset ");
    let value: Value = serde_json::from_str(&line).unwrap();
    let file = value["msg"].as_str().unwrap().split(' ').nth(1).unwrap().to_owned();
    assert_eq!(fs::read_to_string(&file).unwrap(), VALUE);
    let fresh = path.with_extension("new");
    fs::write(&fresh, "other-other-other").unwrap();
    fs::rename(&fresh, &path).unwrap();
    service.run.line("\"secret.rotated\"");
    service.run.line("\"new\"");
    service.run.signal(SIGTERM);
    service.run.wait(PATIENCE);
    assert!(!Path::new(&file).exists(), "it outlived the app");
}

#[test]
fn a_provider_that_goes_away_takes_nothing_away() {
    let (_directory, path, reference) = secret(VALUE.as_bytes());
    let settings = r#"{"deliver": "file", "poll": "100ms"}"#;
    let script = "echo \"$DB_FILE\"; exec sleep 60";
    let service = Service::start_with(&["--secrets", settings], &shell(script), |command| {
        command.env("DB", &reference);
    });
    service.wait_for_status("/ready", 200);
    fs::remove_file(&path).unwrap();
    wait_for("a warning on `/health`", PATIENCE, || {
        service.ask("/health").is_some_and(|answer| {
            answer.status == 200
                && answer.text().contains("secrets:age")
                && answer.text().contains("warn")
        })
    });
    let file = service.run.line("plimsoll-secrets-");
    let value: Value = serde_json::from_str(&file).unwrap();
    assert_eq!(fs::read_to_string(value["msg"].as_str().unwrap()).unwrap(), VALUE);
}

#[test]
fn an_engine_that_takes_over_still_hides_the_values() {
    let (_directory, path, reference) = secret(VALUE.as_bytes());
    let script = "while read -r _; do echo \"it is $DB\"; done < \"$GO\"; exec sleep 60";
    let go = tempfile::tempdir().unwrap();
    let fifo = go.path().join("go");
    nix_mkfifo(&fifo);
    let service = Service::start_with(&[], &shell(script), |command| {
        command.env("DB", &reference).env("GO", &fifo);
    });
    let mut writer = fs::File::options().write(true).open(&fifo).unwrap();
    fs::remove_file(&path).unwrap();
    testkit::signal(engine_pid(&service.run), SIGKILL);
    service.run.line("\"engine.restarted\"");
    std::io::Write::write_all(&mut writer, b"now\n").unwrap();
    service.run.line("it is");
    assert!(!service.run.stdout().contains(VALUE), "{}", service.run.stdout());
}

fn nix_mkfifo(path: &Path) {
    let made = std::process::Command::new("mkfifo").arg(path).status().unwrap();
    assert!(made.success());
}

#[test]
fn exec_resolves_and_becomes_the_app() {
    let (_directory, _path, reference) = secret(VALUE.as_bytes());
    let mut run = run_with(&["--exec"], &shell("echo \"$DB $$\""), |command| {
        command.env("DB", &reference);
    });
    let pid = run.pid();
    let ended = run.wait(PATIENCE);
    assert_eq!(ended.stdout.trim(), format!("{VALUE} {pid}"));
    let mut run = run_with(&["--exec"], &shell("echo ran"), |command| {
        command.env("DB", "${secret:NOT_THERE}");
    });
    let ended = run.wait(PATIENCE);
    assert_eq!((ended.code, ended.stdout.as_str()), (77, ""));
    assert!(ended.stderr.contains("NOT_THERE") && ended.stderr.contains("DB"), "{}", ended.stderr);
}

#[test]
fn secret_check_says_of_each_reference_how_it_is() {
    let (_directory, _path, reference) = secret(VALUE.as_bytes());
    let check = |name: &str, text: &str| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_plimsoll"))
            .args(["secret", "check", "--json"])
            .env("DB", &reference)
            .env(name, text)
            .output()
            .unwrap();
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(!String::from_utf8_lossy(&output.stdout).contains(VALUE));
        (output.status.code().unwrap(), json)
    };
    let (code, json) = check("X", "plain");
    assert_eq!((code, &json["secrets"][0]["state"]), (0, &Value::from("ok")));
    let (code, json) = check("X", "${secret:NOT_THERE}");
    assert_eq!((code, &json["secrets"][1]["state"]), (1, &Value::from("missing")));
    let (code, json) = check("X", "${secret:valt:x}");
    assert_eq!((code, &json["secrets"][1]["state"]), (2, &Value::from("config")));
}

/// A provider that takes every connection and then says a byte now and then, or nothing at all.
fn slow_provider(byte: Option<u8>) -> std::net::SocketAddr {
    use std::io::Write as _;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut streams = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            streams.push(stream.try_clone().unwrap());
            std::thread::spawn(move || {
                let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n";
                let Some(byte) = byte else { return };
                let mut is_open = stream.write_all(head).is_ok();
                while is_open {
                    is_open = stream.write_all(&[byte]).is_ok();
                    std::thread::park_timeout(std::time::Duration::from_millis(50));
                }
            });
        }
    });
    address
}

#[test]
fn a_provider_that_never_comes_to_an_end_is_75_within_the_time_of_the_start() {
    let closed = std::net::SocketAddr::from(([127, 0, 0, 1], testkit::free_port()));
    for address in [slow_provider(None), slow_provider(Some(b' ')), closed] {
        let begun = std::time::Instant::now();
        let mut run = run_with(&["--start-timeout", "1s"], &shell("echo it-ran"), |command| {
            command.env("VAULT_ADDR", format!("http://{address}")).env("VAULT_TOKEN", "t");
            command.env("DB", "${secret:vault:kv/app#key}");
        });
        let ended = run.wait(PATIENCE);
        assert_eq!(ended.code, 75, "{}", ended.stdout);
        assert!(begun.elapsed() < std::time::Duration::from_secs(10), "{:?}", begun.elapsed());
        assert!(!ended.stdout.contains("it-ran"), "{}", ended.stdout);
        let is_told = ["no answer within", "does not answer"];
        assert!(is_told.iter().any(|words| ended.stdout.contains(words)), "{}", ended.stdout);
    }
}
