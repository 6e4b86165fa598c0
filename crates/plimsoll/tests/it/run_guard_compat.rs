//! Under the names of `tini` and `dumb-init` we do what they do: both are run, and compared.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails or skips aloud")]

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use testkit::{Run, wait_for};

use crate::run_harness::{PATIENCE, binary};

/// The real program, or none, which is said.
fn real(name: &str) -> Option<PathBuf> {
    let path = Path::new("/usr/bin").join(name);
    if !path.exists() {
        eprintln!("skipped: `{name}` is not installed, so there is nothing to compare with");
        return None;
    }
    Some(path)
}

/// This program under another name.
fn ours(directory: &Path, name: &str) -> PathBuf {
    let path = directory.join(name);
    symlink(binary(), &path).unwrap();
    path
}

/// What a program said and how it ended, without what differs between any two runs.
fn outcome(program: &Path, name: &str, args: &[&str], variables: &[(&str, &str)]) -> [String; 3] {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new(program);
    command.arg0(name).args(args).envs(variables.iter().copied()).stdin(Stdio::null());
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes)
            .replace(concat!(" - plimsoll ", env!("CARGO_PKG_VERSION")), "");
        // Its child says how it takes the terminal, at any moment; ours cannot speak so early.
        let of_the_child =
            |line: &&str| !line.contains("attach to") && !line.contains("setsid com");
        let text = text.lines().filter(of_the_child).collect::<Vec<_>>().join("\n");
        let text: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        // Numbers of any length are alike.
        let mut short = text.clone();
        while short.contains("00") {
            short = short.replace("00", "0");
        }
        short
    };
    let code = format!("{:?}", output.status.code());
    [code, text(&output.stdout), text(&output.stderr)]
}

/// Arguments and variables.
type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)]);

fn compare(name: &str, cases: &[Case<'_>]) {
    let Some(real) = real(name) else { return };
    let directory = tempfile::tempdir().unwrap();
    let ours = ours(directory.path(), name);
    for (args, variables) in cases {
        let expected = outcome(&real, name, args, variables);
        assert_eq!(
            outcome(&ours, name, args, variables),
            expected,
            "{name} {args:?} {variables:?}"
        );
    }
}

#[test]
fn under_the_name_of_tini_flags_messages_and_codes_are_those_of_tini() {
    compare(
        "tini",
        &[
            (&[], &[]),
            (&["-h"], &[]),
            (&["--version"], &[]),
            (&["-x"], &[]),
            (&["-p"], &[]),
            (&["-p", "FOO", "--", "true"], &[]),
            (&["-e", "999", "--", "true"], &[]),
            (&["-e", "1x", "true"], &[]),
            (&["--"], &[]),
            (&["true"], &[]),
            (&["--", "no-such-command-anywhere"], &[]),
            (&["-s", "/etc/passwd"], &[]),
            (&["-s", "--", "sh", "-c", "exit 42"], &[]),
            (&["-s", "--", "sh", "-c", "kill -9 $$"], &[]),
            (&["-s", "-e", "143", "-e", "3", "--", "sh", "-c", "exit 3"], &[]),
            (&["-se3", "--", "sh", "-c", "exit 4"], &[]),
            (&["-s", "-p", "SIGKILL", "true"], &[]),
            (&["true"], &[("TINI_VERBOSITY", "0")]),
            (&["true"], &[("TINI_SUBREAPER", "")]),
            (&["-sv", "--", "sh", "-c", "exit 5"], &[]),
            (&["-svvv", "--", "sh", "-c", "exit 5"], &[]),
            (&["-sw", "--", "sh", "-c", "(sleep 0.1 &); sleep 0.3; exit 6"], &[]),
        ],
    );
}

#[test]
fn under_the_name_of_dumb_init_flags_messages_and_codes_are_those_of_dumb_init() {
    compare(
        "dumb-init",
        &[
            (&[], &[]),
            (&["-h"], &[]),
            (&["--help"], &[]),
            (&["-V"], &[]),
            (&["-x"], &[]),
            (&["-r"], &[]),
            (&["-r", "5", "true"], &[]),
            (&["-r", "32:1", "true"], &[]),
            (&["-r", "1:32", "true"], &[]),
            (&["--rewrite"], &[]),
            (&["--nope"], &[]),
            (&["--ver"], &[]),
            (&["--help=3"], &[]),
            (&["--si", "true"], &[]),
            (&["no-such-command-anywhere"], &[]),
            (&["/etc/passwd"], &[]),
            (&["--", "sh", "-c", "exit 42"], &[]),
            (&["sh", "-c", "kill -9 $$"], &[]),
            (&["-v", "-c", "true"], &[]),
            (&["-v", "-r", "15:0", "--rewrite=1:2", "sh", "-c", "exit 3"], &[]),
            (&["true"], &[("DUMB_INIT_DEBUG", "1"), ("DUMB_INIT_SETSID", "0")]),
            (&["true"], &[("DUMB_INIT_DEBUG", "1")]),
        ],
    );
}

/// Says which signals it gets, and how it was set apart.
const LISTENER: &str = "
import os, signal
def say(number, frame):
    os.write(1, b'got %d\\n' % number)
for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, say)
alone = (os.getpgrp() == os.getpid(), os.getsid(0) == os.getpid())
ignored = open('/proc/self/status').read().split('SigBlk:')[1].split()[0]
os.write(1, b'up %s %s\\n' % (repr(alone).encode(), ignored.encode()))
while True:
    signal.pause()
";

/// What the child hears of every signal, and what it is.
fn heard(program: &Path, name: &str, flags: &[&str]) -> String {
    use std::os::unix::process::CommandExt;
    let args = flags.iter().chain(&["--", "python3", "-c", LISTENER]);
    let run = Run::start_with(program, args, |command| {
        command.arg0(name);
    });
    run.line("up");
    let send = |signal: i32| {
        let (signal, pid) = (format!("-{signal}"), run.pid().to_string());
        assert!(Command::new("/bin/kill").args([signal, pid]).status().unwrap().success());
    };
    let left_out = [4, 5, 6, 7, 8, 9, 11, 17, 19, 20, 21, 22, 31, 32, 33];
    let signals = (1..=64).filter(|signal| !left_out.contains(signal));
    for signal in signals {
        let before = run.stdout().len();
        send(signal);
        // A signal that is rewritten to nothing is not heard: the next one tells.
        if signal != 1 {
            wait_for(&format!("signal {signal}"), PATIENCE, || run.stdout().len() > before);
        }
    }
    let state = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", run.pid())).unwrap();
        stat.rsplit_once(") ").unwrap().1.starts_with('T')
    };
    send(20);
    let suspends = name == "dumb-init";
    if suspends {
        wait_for("it to be suspended", PATIENCE, state);
        send(18);
        wait_for("it to go on", PATIENCE, || !state());
    }
    run.stdout()
        .lines()
        .filter(|line| *line != "got 20" && *line != "got 18")
        .collect::<Vec<_>>()
        .join(",")
}

#[test]
fn signals_groups_and_sessions_are_those_of_tini_and_dumb_init() {
    let directory = tempfile::tempdir().unwrap();
    let cases: [(&str, &[&[&str]]); 2] = [
        ("tini", &[&["-s"], &["-s", "-g"]]),
        ("dumb-init", &[&[], &["-c"], &["-r", "1:0", "--rewrite", "15:12"]]),
    ];
    for (name, all_flags) in cases {
        let Some(real) = real(name) else { continue };
        let ours = ours(directory.path(), name);
        for flags in all_flags {
            assert_eq!(heard(&ours, name, flags), heard(&real, name, flags), "{name} {flags:?}");
        }
    }
}

#[test]
fn as_dumb_init_the_rest_of_the_session_gets_a_term_when_the_child_ends() {
    let directory = tempfile::tempdir().unwrap();
    let witness = directory.path().join("witness");
    let worker = "trap 'echo bye > $WITNESS; exit' TERM; while :; do sleep 0.02; done";
    let script = "sh -c \"$WORKER\" & sleep 0.3; exit 3";
    let ours = ours(directory.path(), "dumb-init");
    let mut run = Run::start_with(&ours, ["sh", "-c", script], |command| {
        command.env("WORKER", worker).env("WITNESS", &witness);
    });
    assert_eq!(run.wait(PATIENCE).code, 3);
    wait_for("the worker's last word", PATIENCE, || witness.exists());
}
