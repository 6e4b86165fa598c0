//! Log lines of real programs under `plimsoll-run`: traces are one line, secrets are none.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::run_harness::{PATIENCE, run};

/// The app's own lines of a stream.
fn lines(stdout: &str, stream: &str) -> Vec<Value> {
    let values = stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    values.filter(|value| value["stream"] == stream).collect()
}

#[test]
fn a_chained_traceback_of_python_is_one_error() {
    let program = "import sys\nprint('before', file=sys.stderr)\ntry:\n    {}['x']\n\
                   except KeyError as cause:\n    raise ValueError('boom') from cause\n";
    let end = run(&[], &["python3", "-c", program]).wait(PATIENCE);
    let lines = lines(&end.stdout, "stderr");
    assert_eq!(lines.len(), 2, "{lines:?}");
    let msg = lines[1]["msg"].as_str().unwrap();
    assert!(msg.starts_with("Traceback") && msg.ends_with("ValueError: boom"), "{msg}");
    assert!(msg.contains("KeyError: 'x'\n\nThe above exception was the direct cause"));
    assert_eq!(lines[1]["level"], "error");
}

#[test]
fn an_uncaught_error_of_node_is_one_error() {
    let program = "throw new TypeError('boom', { cause: new Error('inner') })";
    let end = run(&[], &["node", "-e", program]).wait(PATIENCE);
    let lines = lines(&end.stdout, "stderr");
    let trace: Vec<_> =
        lines.iter().filter(|line| line["msg"].as_str().unwrap().contains("TypeError")).collect();
    assert_eq!(trace.iter().filter(|line| line["level"] == "error").count(), 1, "{lines:?}");
    assert!(
        trace.iter().any(|line| line["msg"].as_str().unwrap().contains("[cause]: Error: inner"))
    );
}

#[test]
fn a_credential_of_the_app_reaches_neither_its_lines_nor_the_reason_of_its_end() {
    let state = tempfile::tempdir().unwrap();
    let script =
        "echo 'db=postgres://app:hunter2@db/x'; echo '{\"password\":\"hunter2\"}' >&2; exit 3";
    let flags = ["--state", state.path().to_str().unwrap()];
    let end = run(&flags, &["sh", "-c", script]).wait(PATIENCE);
    assert!(end.stdout.contains("[REDACTED:url-userinfo]"), "{}", end.stdout);
    assert!(end.stdout.contains("[REDACTED:key]"), "{}", end.stdout);
    assert!(!end.stdout.contains("hunter2") && !end.stderr.contains("hunter2"));
    for entry in std::fs::read_dir(state.path()).unwrap().flatten() {
        let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
        assert!(!text.contains("hunter2"), "{}", entry.path().display());
    }
}

#[test]
fn a_text_from_stdin_is_redacted_and_the_summary_counts_by_rule() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_plimsoll"))
        .args(["redact", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"token=abc\nplain\npassword=x\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let text = "token=[REDACTED:assignment]\nplain\npassword=[REDACTED:assignment]\n";
    assert_eq!(String::from_utf8(output.stdout).unwrap(), text);
    let summary: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(summary["redactions"]["assignment"], 2);
}
