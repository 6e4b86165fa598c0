//! The exit code of `run` is the command's, or says why there was none.

use std::{fs, net::TcpListener, time::Duration};

use testkit::free_port;

use crate::run_harness::{PATIENCE, run, script};

#[test]
fn the_exit_code_is_the_commands_own() {
    for code in [0, 1, 2, 42, 69, 78, 125, 126, 127, 128, 143, 254, 255] {
        let mut run = script(&["--logs", "off"], &format!("exit {code}"));
        assert_eq!(run.wait(PATIENCE).code, code);
    }
}

#[test]
fn a_command_that_a_signal_ended_counts_as_128_plus_its_number() {
    // HUP, KILL, SEGV, TERM, and a real-time signal.
    for signal in [1, 9, 11, 15, 40] {
        let mut run = script(&["--logs", "off"], &format!("kill -{signal} $$"));
        assert_eq!(run.wait(PATIENCE).code, 128 + signal);
    }
}

#[test]
fn codes_that_mean_success_become_0() {
    let mut run = script(&["--logs", "off", "--success-exit-codes", "3,143"], "exit 3");
    assert_eq!(run.wait(PATIENCE).code, 0);
}

#[test]
fn a_command_that_does_not_exist_is_127_and_named() {
    let ended = run(&["--logs", "off"], &["no-such-command-anywhere"]).wait(PATIENCE);
    assert_eq!(ended.code, 127);
    assert!(ended.stderr.contains("`no-such-command-anywhere`"), "{}", ended.stderr);
}

#[test]
fn a_file_that_cannot_be_executed_is_126() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let ended = run(&["--logs", "off"], &[file.path()]).wait(PATIENCE);
    assert_eq!(ended.code, 126);
    assert!(ended.stderr.contains("help:"), "{}", ended.stderr);
}

#[test]
fn a_port_that_is_taken_is_named_before_anything_is_started() {
    let holder = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = holder.local_addr().unwrap().to_string();
    let witness = tempfile::tempdir().unwrap();
    let touched = witness.path().join("touched");
    let touch = format!("touch {}", touched.display());
    let ended = script(&["--ingress", &address], &touch).wait(PATIENCE);
    assert_eq!(ended.code, 125);
    assert!(ended.stderr.contains(&format!("`{address}`")), "{}", ended.stderr);
    assert!(ended.stderr.contains("--ingress"), "{}", ended.stderr);
    assert!(!touched.exists(), "the command ran");
}

#[test]
fn an_audit_log_that_cannot_be_kept_is_named_before_anything_is_started() {
    let directory = tempfile::tempdir().unwrap();
    let (touched, changed) = (directory.path().join("touched"), directory.path().join("changed"));
    fs::write(&changed, "no line of a chain\n").unwrap();
    for (log, part) in
        [(directory.path().to_path_buf(), "cannot write the audit log"), (changed, "was changed")]
    {
        let touch = format!("touch {}", touched.display());
        let ended = script(&["--audit-log", log.to_str().unwrap()], &touch).wait(PATIENCE);
        assert_eq!(ended.code, 74, "{}", ended.stderr);
        assert!(ended.stderr.contains(part), "{}", ended.stderr);
        assert!(!touched.exists(), "the command ran");
    }
}

#[test]
fn an_admin_socket_that_is_left_over_is_replaced_and_one_in_use_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let sock = directory.path().join("admin.sock");
    drop(std::os::unix::net::UnixListener::bind(&sock).unwrap());
    let flags = ["--sock", sock.to_str().unwrap()];
    let first = script(&flags, "echo up; exec sleep 60");
    first.line("up");
    let second = script(&flags, "true").wait(PATIENCE);
    assert_eq!(second.code, 125);
    assert!(second.stderr.contains("is taken"), "{}", second.stderr);
    assert!(sock.exists(), "the socket of the first was removed by the second");
}

#[test]
fn the_admin_socket_is_gone_after_the_exit() {
    let directory = tempfile::tempdir().unwrap();
    let sock = directory.path().join("admin.sock");
    script(&["--sock", sock.to_str().unwrap()], "true").wait(PATIENCE);
    assert!(!sock.exists());
}

#[test]
fn why_it_ended_is_kept_in_the_state_directory() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let mut run = script(&["--state", state.to_str().unwrap(), "--service", "shop"], "exit 9");
    run.wait(PATIENCE);
    let text = fs::read_to_string(state.join("exit.json")).unwrap();
    let exit: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(exit["origin"], "app");
    assert_eq!(exit["code"], 9);
    assert_eq!(exit["service"], "shop");
}

#[test]
fn a_start_gate_that_stays_closed_is_69() {
    let port = free_port();
    let probes = format!(r#"{{"db": {{"tcp": "127.0.0.1:{port}", "gate": ["start"]}}}}"#);
    let flags = ["--logs", "off", "--probes", &probes, "--start-timeout", "300ms"];
    let ended = script(&flags, "exit 5").wait(PATIENCE);
    assert_eq!(ended.code, 69, "{}", ended.stderr);
}

#[test]
fn the_arguments_of_the_command_need_not_be_text() {
    use std::os::unix::ffi::OsStrExt;
    let odd = std::ffi::OsStr::from_bytes(b"a\xffb");
    let command = ["sh".as_ref(), "-c".as_ref(), "test ${#1} -ge 3".as_ref(), "sh".as_ref(), odd];
    assert_eq!(run(&["--logs", "off"], &command).wait(PATIENCE).code, 0);
}

#[test]
fn a_command_that_ends_at_once_loses_no_line() {
    let ended = script(&[], "seq 1 5000").wait(Duration::from_secs(30));
    let lines = crate::run_harness::messages(&ended.stdout, "stdout");
    let expected: Vec<_> = (1..=5000).map(|number| number.to_string()).collect();
    assert_eq!(lines, expected);
}
