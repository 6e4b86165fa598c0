//! `tini` 0.19.0.
//!
//! Its texts and codes are tini's. It deliberately differs in three: `-l` shows our licence,
//! `--version` goes on with our own, and options end with the first word that is none, as they do
//! in Alpine's tini. Debian's also takes those of a command that has no `--` before it, and fails.

use std::ffi::{OsStr, OsString};
use std::io::Write;

use runtime::guard::bare::{self, Bare, Found, Isolation};

use super::options::{self, Known};
use super::words;
use crate::screen;

const VERSION: &str = concat!("tini version 0.19.0 - plimsoll ", env!("CARGO_PKG_VERSION"));
const LICENCE: &str = "Plimsoll, which can stand in for tini, is licensed under Apache-2.0.";
const OPTIONS: [Known; 8] = [
    option(b'p', true),
    option(b'h', false),
    option(b'v', false),
    option(b'w', false),
    option(b'g', false),
    option(b'l', false),
    option(b'e', true),
    option(b's', false),
];
/// What verbosity is needed to be told so much.
const INFO: i32 = 2;
const DEBUG: i32 = 3;
const TRACE: i32 = 4;
const SIGCHLD: i32 = 17;

const fn option(short: u8, takes_value: bool) -> Known {
    Known { short, long: None, takes_value }
}

/// What was asked for.
#[derive(Debug)]
struct Wishes {
    verbosity: i32,
    is_subreaper: bool,
    to_group: bool,
    warns: bool,
    dies_by: Option<String>,
    /// By code.
    is_success: [bool; 256],
    command: Vec<OsString>,
}

/// Runs as tini; returns its exit code.
pub(super) fn run(arguments: &[OsString]) -> u8 {
    let name = arguments.first().map_or("tini".into(), |name| name.to_string_lossy());
    match wishes(&name, arguments) {
        Ok(wishes) => supervise(&wishes),
        Err(code) => code,
    }
}

fn wishes(name: &str, arguments: &[OsString]) -> Result<Wishes, u8> {
    let set = |name| std::env::var_os(name).is_some();
    let verbosity = std::env::var("TINI_VERBOSITY").ok().map(|text| leading_number(&text));
    let mut wishes = Wishes {
        verbosity: verbosity.unwrap_or(1),
        is_subreaper: set("TINI_SUBREAPER"),
        to_group: set("TINI_KILL_PROCESS_GROUP"),
        warns: false,
        dies_by: None,
        is_success: [false; 256],
        command: Vec::new(),
    };
    if let [_, only] = arguments
        && only == "--version"
    {
        say(VERSION);
        return Err(0);
    }
    let (given, complaint) = options::read(&OPTIONS, arguments.get(1..).unwrap_or_default());
    for (option, value) in given.options {
        match option {
            b'h' => {
                let _ = screen::data().write_all(usage(name).as_bytes());
                return Err(0);
            }
            b'l' => {
                say(LICENCE);
                return Err(0);
            }
            b's' => wishes.is_subreaper = true,
            b'v' => wishes.verbosity += 1,
            b'w' => wishes.warns = true,
            b'g' => wishes.to_group = true,
            b'p' => wishes.dies_by = Some(death_signal(&value)?),
            b'e' => wishes.is_success[usize::from(expected_code(&value)?)] = true,
            _ => {}
        }
    }
    if let Some(complaint) = complaint {
        warn(&format!("{name}: {complaint}"));
        warn(usage(name).trim_end_matches('\n'));
        warn("");
        return Err(1);
    }
    if given.command.is_empty() {
        warn(usage(name).trim_end_matches('\n'));
        warn("");
        return Err(1);
    }
    wishes.command = given.command;
    Ok(wishes)
}

fn death_signal(value: &OsStr) -> Result<String, u8> {
    let name = value.to_string_lossy();
    if bare::is_signal(&name) {
        return Ok(name.into_owned());
    }
    fatal(&format!("Not a valid option for -p: {name}"));
    Err(1)
}

fn expected_code(value: &OsStr) -> Result<u8, u8> {
    let text = value.to_string_lossy();
    text.parse().map_err(|_| {
        fatal(&format!("Not a valid option for -e: {text}"));
        1
    })
}

/// What C's `atoi` makes of a text.
fn leading_number(text: &str) -> i32 {
    let text = text.trim_start();
    let digits = text.strip_prefix('-').unwrap_or(text);
    let end = digits.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(digits.len());
    let number = digits[..end].parse().unwrap_or(0);
    if text.starts_with('-') { -number } else { number }
}

fn supervise(wishes: &Wishes) -> u8 {
    let log = |level, kind: &str, text: &str| {
        if wishes.verbosity >= level {
            say(&format!("[{kind} tini ({})] {text}", std::process::id()));
        }
    };
    let failed = |what: &str, error: &std::io::Error| {
        fatal(&format!("{what}: {}", words(error)));
        1
    };
    let signals = match Bare::block(Isolation::Group) {
        Ok(signals) => signals,
        Err(error) => return failed("sigprocmask failed", &error),
    };
    if let Some(signal) = &wishes.dies_by
        && let Err(error) = bare::die_with_parent(signal)
    {
        return failed("Failed to set up parent death signal", &error);
    }
    if wishes.is_subreaper {
        if let Err(error) = bare::adopt_orphans() {
            return failed("Failed to register as child subreaper", &error);
        }
        log(TRACE, "TRACE", "Registered as child subreaper");
    }
    if wishes.verbosity > 0 && !bare::adopts_orphans() {
        warn(&format!("[WARN  tini ({})] {NOT_A_REAPER}", std::process::id()));
    }
    let program = wishes.command.first().map(|name| name.to_string_lossy()).unwrap_or_default();
    let child = match signals.spawn(&wishes.command, Isolation::Group) {
        Ok(child) => child,
        Err(error) => {
            fatal(&format!("exec {program} failed: {}", words(&error)));
            return match error.kind() {
                std::io::ErrorKind::NotFound => 127,
                std::io::ErrorKind::PermissionDenied => 126,
                _ => 1,
            };
        }
    };
    log(INFO, "INFO ", &format!("Spawned child process '{program}' with pid '{child}'"));
    loop {
        match signals.wait() {
            SIGCHLD => log(DEBUG, "DEBUG", "Received SIGCHLD"),
            signal => {
                let words = bare::signal_words(signal);
                log(DEBUG, "DEBUG", &format!("Passing signal: '{words}'"));
                if !bare::send(if wishes.to_group { -child } else { child }, signal) {
                    warn(&format!(
                        "[WARN  tini ({})] Child was dead when forwarding signal",
                        std::process::id()
                    ));
                }
            }
        }
        if let Some(code) = reap(wishes, child, &log) {
            log(TRACE, "TRACE", "Exiting: child has exited");
            return if wishes.is_success[usize::from(code)] { 0 } else { code };
        }
    }
}

/// Reaps all that ended; the code of the child if it did.
fn reap(wishes: &Wishes, child: i32, log: &impl Fn(i32, &str, &str)) -> Option<u8> {
    let mut code = None;
    loop {
        let ended = match bare::reap() {
            Found::Child(ended) => ended,
            Found::NoneEnded => {
                log(TRACE, "TRACE", "No child to reap");
                return code;
            }
            Found::NoChild => {
                log(TRACE, "TRACE", "No child to wait");
                return code;
            }
        };
        log(DEBUG, "DEBUG", &format!("Reaped child with pid: '{}'", ended.pid));
        if ended.pid == child {
            let how = match ended.signal {
                Some(signal) => {
                    format!("with signal (with signal '{}')", bare::signal_words(signal))
                }
                None => format!("normally (with status '{}')", ended.code),
            };
            log(INFO, "INFO ", &format!("Main child exited {how}"));
            code = Some(ended.code);
        } else if wishes.warns {
            let pid = ended.pid;
            warn(&format!(
                "[WARN  tini ({})] Reaped zombie process with pid={pid}",
                std::process::id()
            ));
        }
    }
}

fn say(line: &str) {
    // Nothing is left to tell anyone if the stream is closed.
    let _ = writeln!(screen::data(), "{line}");
}

fn warn(line: &str) {
    let _ = writeln!(screen::words(), "{line}");
}

fn fatal(text: &str) {
    warn(&format!("[FATAL tini ({})] {text}", std::process::id()));
}

const NOT_A_REAPER: &str = "\
Tini is not running as PID 1 and isn't registered as a child subreaper.
Zombie processes will not be re-parented to Tini, so zombie reaping won't work.
To fix the problem, use the -s option or set the environment variable TINI_SUBREAPER to register \
Tini as a child subreaper, or run Tini as PID 1.";

fn usage(name: &str) -> String {
    let base = name.rsplit('/').next().unwrap_or(name);
    format!(
        "\
{base} ({VERSION})
Usage: {base} [OPTIONS] PROGRAM -- [ARGS] | --version

Execute a program under the supervision of a valid init process ({base})

Command line options:

  --version: Show version and exit.
  -h: Show this help message and exit.
  -s: Register as a process subreaper (requires Linux >= 3.4).
  -p SIGNAL: Trigger SIGNAL when parent dies, e.g. \"-p SIGKILL\".
  -v: Generate more verbose output. Repeat up to 3 times.
  -w: Print a warning when processes are getting reaped.
  -g: Send signals to the child's process group.
  -e EXIT_CODE: Remap EXIT_CODE (from 0 to 255) to 0.
  -l: Show license and exit.

Environment variables:

  TINI_SUBREAPER: Register as a process subreaper (requires Linux >= 3.4).
  TINI_VERBOSITY: Set the verbosity level (default: 1).
  TINI_KILL_PROCESS_GROUP: Send signals to the child's process group.

"
    )
}
