//! Every signal from 1 to 64, every exit code, and who has the terminal.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use testkit::{Run, children, is_alive, wait_for};

use crate::run_harness::{
    PATIENCE, SIGKILL, SIGTERM, SIGUSR1, app_pid, binary, can_unshare, messages, run, run_with,
    script,
};

/// Says which signals it gets, all that can be caught.
const LISTENER: &str = "
import os, signal
def say(number, frame):
    os.write(1, b'got %d\\n' % number)
for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, say)
os.write(1, b'up\\n')
while True:
    signal.pause()
";

/// The kernel raises them in who crashes; they are not for others.
const OF_A_CRASH: [i32; 7] = [4, 5, 6, 7, 8, 11, 31];
const SIGSTOP_SELF: [i32; 3] = [20, 21, 22];
/// For us alone: SIGCHLD, SIGURG, and two that the C library keeps.
const NOT_FORWARDED: [i32; 4] = [17, 23, 32, 33];

/// Sends any signal, real-time ones too.
fn kill(pid: i32, signal: i32) {
    let (signal, pid) = (format!("-{signal}"), pid.to_string());
    assert!(Command::new("/bin/kill").args([signal, pid]).status().unwrap().success());
}

fn state(pid: i32) -> char {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.chars().next().unwrap()
}

/// Sends every signal that is forwarded, and those that are not, to the guard.
fn send_all(run: &Run, guard: i32, is_init: bool) {
    let stops = [2, 3, 15];
    let special = [SIGKILL, 19];
    for signal in (1..=64).filter(|signal| !stops.contains(signal) && !special.contains(signal)) {
        if NOT_FORWARDED.contains(&signal) || (is_init && OF_A_CRASH.contains(&signal)) {
            kill(guard, signal);
        } else if SIGSTOP_SELF.contains(&signal) {
            kill(guard, signal);
            run.line(&format!("\"got {signal}\""));
            if !is_init {
                wait_for("the guard to be stopped", PATIENCE, || state(guard) == 'T');
                kill(guard, 18);
            }
        } else if !OF_A_CRASH.contains(&signal) {
            kill(guard, signal);
            run.line(&format!("\"got {signal}\""));
        }
    }
    assert!(is_alive(guard), "the guard took a signal as its own");
    let heard = messages(&run.stdout(), "stdout");
    for signal in NOT_FORWARDED.iter().chain(&OF_A_CRASH) {
        assert!(!heard.contains(&format!("got {signal}")), "{signal} was passed on");
    }
}

#[test]
fn every_signal_is_passed_on_ignored_or_obeyed() {
    let run = run(&[], &["python3", "-c", LISTENER]);
    run.line("\"up\"");
    send_all(&run, run.pid(), false);
}

#[test]
fn as_pid_1_every_signal_is_passed_on_ignored_or_obeyed() {
    if !can_unshare() {
        eprintln!("skipped: this user may not make a process namespace with `unshare`");
        return;
    }
    let binary = binary();
    let flags = ["--pid", "--fork", "--mount-proc", binary.to_str().unwrap(), "--listen", "off"];
    let command = flags.into_iter().chain(["--", "python3", "-c", LISTENER]);
    let run = Run::start(Path::new("unshare"), command);
    run.line("\"up\"");
    let guard = *children(run.pid()).first().unwrap();
    send_all(&run, guard, true);
    kill(guard, SIGKILL);
    run.wait_for_nothing_left(PATIENCE);
}

#[test]
fn a_signal_of_a_crash_ends_the_guard_and_everything_with_it() {
    for signal in OF_A_CRASH {
        let mut run = script(&[], "ulimit -c 0; setsid sleep 300 & echo up; wait");
        run.line("\"up\"");
        kill(run.pid(), signal);
        assert_eq!(run.wait(PATIENCE).code, 128 + signal);
        run.wait_for_nothing_left(PATIENCE);
    }
}

#[test]
fn a_signal_can_become_another_or_none() {
    let flags = ["--signal-rewrite", "HUP:USR1,USR2:0,TERM:40"];
    let mut run = run(&flags, &["python3", "-c", LISTENER]);
    run.line("\"up\"");
    kill(run.pid(), 12);
    kill(run.pid(), 1);
    run.line("\"got 10\"");
    kill(run.pid(), SIGTERM);
    run.line("\"got 40\"");
    let heard = messages(&run.stdout(), "stdout");
    assert!(!heard.contains(&"got 12".to_owned()) && !heard.contains(&"got 15".to_owned()));
    kill(run.pid(), SIGTERM);
    kill(run.pid(), SIGTERM);
    assert_eq!(run.wait(PATIENCE).code, 137);
}

#[test]
fn who_gets_a_signal_is_its_scope() {
    // Main, one of its group, and one that left it.
    let listener =
        |word: &str| format!("trap 'echo {word}' USR1; echo up; while :; do sleep 0.02; done");
    let (member, escapee) = (listener("group"), listener("tree"));
    let tree = format!("sh -c \"$MEMBER\" & setsid sh -c \"$ESCAPEE\" & {}", listener("main"));
    for (scope, expected) in [
        ("main", &["main"][..]),
        ("group", &["group", "main"]),
        ("tree", &["group", "main", "tree"]),
    ] {
        let run = run_with(&["--signal-scope", scope], &["sh", "-c", &tree], |command| {
            command.env("MEMBER", &member).env("ESCAPEE", &escapee);
        });
        wait_for("all three", PATIENCE, || run.stdout().matches("\"up\"").count() == 3);
        run.signal(SIGUSR1);
        let heard = || {
            let mut heard = messages(&run.stdout(), "stdout");
            heard.retain(|line| line != "up");
            heard.sort();
            heard
        };
        wait_for("those who are meant", PATIENCE, || heard() == expected);
    }
}

#[test]
fn every_exit_code_and_every_deadly_signal_comes_through() {
    let codes = (0..=255).map(|code| (format!("exit {code}"), code));
    // Those whose default is to end the process.
    let deadly = (1..=16).chain([24, 25, 26, 27, 29, 30, 31]).chain(34..=64);
    let signals =
        deadly.map(|signal| (format!("ulimit -c 0; kill -{signal} $$; sleep 9"), 128 + signal));
    for (command, code) in codes.chain(signals) {
        let mut run = script(&["--logs", "off"], &command);
        assert_eq!(run.wait(PATIENCE).code, code, "{command}");
    }
}

#[test]
fn stubborn_processes_in_sessions_of_their_own_are_gone_a_second_after_the_grace() {
    let stubborn = "trap '' TERM INT HUP; while :; do sleep 0.02; done";
    let tree = format!(
        "{stubborn} & setsid sh -c \"$STUBBORN\" & (setsid sh -c \"$STUBBORN\" &) ; \
                        echo up; {stubborn}"
    );
    let mut run = run_with(&["--stop-grace", "500ms"], &["sh", "-c", &tree], |command| {
        command.env("STUBBORN", stubborn);
    });
    run.line("\"up\"");
    let begun = Instant::now();
    run.signal(SIGTERM);
    assert_eq!(run.wait(PATIENCE).code, 137);
    run.wait_for_nothing_left(Duration::ZERO);
    eprintln!("gone after {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

/// Forks for ever, each child in a session of its own, each parent gone at once.
const HOPPER: &str = "
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    while True:
        if os.fork() != 0:
            os._exit(0)
        os.setsid()
        time.sleep(0.001)
os.write(1, b'up\\n')
signal.pause()
";

#[test]
fn a_child_that_forks_for_ever_is_caught() {
    let mut run = run(&["--stop-grace", "300ms"], &["python3", "-c", HOPPER]);
    run.line("\"up\"");
    run.signal(SIGTERM);
    assert_eq!(run.wait(PATIENCE).code, 137);
    // It never lives long, so that one look could miss it.
    for _ in 0..200 {
        assert!(run.processes().is_empty(), "it forks on");
    }
}

#[test]
fn a_killed_guard_and_engine_take_the_app_with_them() {
    let run = script(&[], "echo up; exec sleep 300");
    run.line("\"up\"");
    let (app, engine) = (app_pid(&run), crate::run_harness::engine_pid(&run));
    let (engine, guard) = (engine.to_string(), run.pid().to_string());
    assert!(Command::new("/bin/kill").args(["-9", &engine, &guard]).status().unwrap().success());
    wait_for("the app to be gone", PATIENCE, || !is_alive(app));
}

#[test]
fn a_killed_guard_leaves_no_process_in_a_session_of_its_own() {
    let mut run = script(&[], "setsid sleep 300 & (setsid sleep 300 &); echo up; wait");
    run.line("\"up\"");
    let marker = run.marker();
    run.signal(SIGKILL);
    run.wait(PATIENCE);
    wait_for("everything to be gone", PATIENCE, || marker.processes().is_empty());
}

/// Plays a person at a terminal: an interactive shell, a job, Ctrl-Z, `fg`, Ctrl-C.
const TERMINAL: &str = r#"
import os, pty, re, select, sys, time
seen = b''
def wait(pattern, fd):
    global seen
    end = time.time() + 20
    while not re.search(pattern, seen):
        left = end - time.time()
        if left <= 0 or not select.select([fd], [], [], left)[0]:
            sys.exit('no %r in %r' % (pattern, seen))
        seen += os.read(fd, 4096)
    seen = b''
pid, fd = pty.fork()
if pid == 0:
    os.environ['PS1'] = 'shell> '
    os.execvp('bash', ['bash', '--norc', '--noprofile', '-i'])
wait(rb'shell> ', fd)
job = r'''import os, time
print("foreground", os.tcgetpgrp(0) == os.getpgrp(), flush=True)
while True: time.sleep(0.05)'''
open('job.py', 'w').write(job)
os.write(fd, b'%s --listen off --logs raw -- python3 job.py\n' % sys.argv[1].encode())
wait(rb'foreground True', fd)
os.write(fd, b'\x1a')
wait(rb'Stopped[^$]*shell> ', fd)
os.write(fd, b'echo still a "sh"ell\n')
wait(rb'still a shell', fd)
os.write(fd, b'fg\n')
time.sleep(0.3)
os.write(fd, b'\x03')
wait(rb'KeyboardInterrupt[^$]*shell> ', fd)
os.write(fd, b'echo "code"=$?\n')
wait(rb'code=130', fd)
os.write(fd, b'exit\n')
print('done')
"#;

#[test]
fn at_a_terminal_the_app_has_it_and_ctrl_c_and_ctrl_z_work() {
    let directory = tempfile::tempdir().unwrap();
    let binary = binary();
    let args = ["-c", TERMINAL, binary.to_str().unwrap()];
    let mut person = Run::start_with(Path::new("python3"), args, |command| {
        command.current_dir(directory.path());
    });
    let ended = person.wait(Duration::from_secs(60));
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "done\n"), "{}", ended.stderr);
}
