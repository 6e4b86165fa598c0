//! Log lines of real programs under `plimsoll-run`: traces are one line, secrets are none.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use testkit::wait_for_some;

use crate::run_harness::{PATIENCE, SIGKILL, binary, engine_pid, run, script};

/// A compiler, and the runtime of what it compiled, take their time on a busy machine.
const SLOW_START: Duration = Duration::from_secs(120);
/// A line of this length is written when the environment says no other: `VERY_LONG_LINE`.
const LONG_LINE_BYTES: u64 = 64 * 1024 * 1024;
/// What a line may cost, however long it is.
const GROWTH_KIB_MAX: u64 = 16 * 1024;

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
fn an_exception_of_java_with_its_cause_is_one_error() {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("Boom.java");
    let program = r#"public class Boom {
        static void deep() { throw new RuntimeException("inner"); }
        public static void main(String[] args) {
            System.err.println("before");
            try { deep(); } catch (RuntimeException cause) {
                throw new IllegalStateException("boom", cause);
            }
        }
    }"#;
    std::fs::write(&source, program).unwrap();
    let end = run(&[], &["java", "-Xmx64m", source.to_str().unwrap()]).wait(SLOW_START);
    let lines = lines(&end.stdout, "stderr");
    assert_eq!(lines.len(), 2, "{lines:?}");
    let msg = lines[1]["msg"].as_str().unwrap();
    assert!(msg.starts_with("Exception in thread \"main\" java.lang.IllegalStateException: boom"));
    assert!(msg.contains("\n\tat Boom.main(Boom.java:"), "{msg}");
    assert!(
        msg.contains("\nCaused by: java.lang.RuntimeException: inner\n\tat Boom.deep("),
        "{msg}"
    );
    assert_eq!((&lines[1]["level"], end.code), (&"error".into(), 1));
}

#[test]
fn a_panic_of_go_is_one_record_and_its_logfmt_has_fields() {
    let directory = tempfile::tempdir().unwrap();
    let (source, program) = (directory.path().join("main.go"), directory.path().join("boom"));
    let text = r#"package main
        import ("log/slog"; "os")
        func main() {
            log := slog.New(slog.NewTextHandler(os.Stderr, nil))
            log.Warn("disk full", "used", 0.97, "path", "/var/my lib")
            var none map[string]int
            none["x"] = 1
        }"#;
    std::fs::write(&source, text).unwrap();
    let build = Command::new("go").args(["build", "-o"]).arg(&program).arg(&source).status();
    assert!(build.unwrap().success());
    let end = run(&[], &[&program]).wait(PATIENCE);
    let lines = lines(&end.stdout, "stderr");
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!((&lines[0]["msg"], &lines[0]["level"]), (&"disk full".into(), &"warn".into()));
    assert_eq!((&lines[0]["used"], &lines[0]["path"]), (&"0.97".into(), &"/var/my lib".into()));
    let msg = lines[1]["msg"].as_str().unwrap();
    assert!(msg.starts_with("panic: assignment to entry in nil map"), "{msg}");
    assert!(msg.contains("\ngoroutine 1 [running]:\nmain.main()\n\t"), "{msg}");
    assert_eq!((&lines[1]["level"], end.code), (&"fatal".into(), 2));
}

#[test]
fn a_private_key_is_taken_out_though_the_engine_is_killed_within_it() {
    let directory = tempfile::tempdir().unwrap();
    let go = directory.path().join("go");
    let body = |letter: &str| letter.repeat(64);
    let text = format!(
        "echo -----BEGIN PRIVATE KEY-----; echo {}; while ! [ -e {} ]; do sleep 0.05; done; \
         echo {}; echo {}=; echo -----END PRIVATE KEY-----; echo the end",
        body("A"),
        go.display(),
        body("B"),
        body("C"),
    );
    let mut run = script(&[], &text);
    let is_taken = || run.stdout().matches("[REDACTED:private-key]").count() == 2;
    testkit::wait_for("the beginning of the key", PATIENCE, is_taken);
    testkit::signal(engine_pid(&run), SIGKILL);
    std::fs::write(go, "").unwrap();
    run.line("the end");
    let end = run.wait(PATIENCE);
    for letter in ["A", "B", "C"] {
        assert!(!end.stdout.contains(&body(letter)), "{}", end.stdout);
    }
    assert_eq!(end.code, 0);
}

/// A process that does not outlive its test.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The most that a process has had in memory, KiB.
fn peak_kib(pid: i32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    peak.trim_end_matches("kB").trim().parse().ok()
}

/// A gigabyte takes minutes without optimisation, so that one is written on demand:
/// `VERY_LONG_LINE=1000000000 cargo test --test it a_line_without_an_end`.
#[test]
fn a_line_without_an_end_passes_whole_in_constant_memory() {
    let asked = std::env::var("VERY_LONG_LINE").ok().and_then(|text| text.parse().ok());
    let bytes: u64 = asked.unwrap_or(LONG_LINE_BYTES);
    let text = format!("head -c {bytes} /dev/zero | tr '\\0' x; echo; echo the end");
    let mut command = Command::new(binary());
    command.args(["--listen", "off", "--", "sh", "-c", &text]);
    let mut run = Ends(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let guard = i32::try_from(run.0.id()).unwrap();
    let engine = wait_for_some("an engine", PATIENCE, || {
        let name = |pid: &i32| std::fs::read_to_string(format!("/proc/{pid}/comm"));
        let is_engine = |pid: &i32| name(pid).is_ok_and(|name| name.starts_with("plimsoll-engin"));
        testkit::children(guard).into_iter().find(is_engine)
    });
    let mut reader = BufReader::new(run.0.stdout.take().unwrap());
    let (mut line, mut passed, mut peaks) = (Vec::new(), 0, Vec::new());
    while reader.read_until(b'\n', &mut line).unwrap() > 0 {
        let value: Value = serde_json::from_slice(&line).unwrap();
        if value["truncated"] == true {
            let part = value["msg"].as_str().unwrap();
            assert!(part.bytes().all(|byte| byte == b'x'));
            passed += part.len() as u64;
            peaks.extend(peak_kib(engine));
        }
        line.clear();
    }
    assert_eq!(passed, bytes);
    let (first, last) = (peaks[0], peaks[peaks.len() - 1]);
    println!("{bytes} bytes: the engine had {first} KiB at the first part, {last} KiB at the last");
    assert!(last - first < GROWTH_KIB_MAX, "memory grew from {first} to {last} KiB");
    assert_eq!(run.0.wait().unwrap().code(), Some(0));
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
