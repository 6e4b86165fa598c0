//! `dumb-init` 1.2.5.
//!
//! Its texts and codes are those of dumb-init. It deliberately differs in two: `-V` goes on with
//! our own version, and the child does not say with `-v` how it takes the terminal.

use std::ffi::{OsStr, OsString};
use std::io::Write;

use runtime::guard::bare::{self, Bare, Ended, Found, Isolation};

use super::options::{self, Known};
use super::words;
use crate::screen;

const VERSION: &str = concat!("dumb-init v1.2.5 - plimsoll ", env!("CARGO_PKG_VERSION"));
const OPTIONS: [Known; 5] = [
    option(b'h', "help", false),
    option(b'c', "single-child", false),
    option(b'r', "rewrite", true),
    option(b'v', "verbose", false),
    option(b'V', "version", false),
];
/// It knows no real-time signals, and passes them on as they are.
const SIGNAL_MAX: usize = 31;
const SIGHUP: i32 = 1;
const SIGTERM: i32 = 15;
const SIGCHLD: i32 = 17;
const SIGCONT: i32 = 18;
const SIGSTOP: i32 = 19;
/// By these a terminal stops a job.
const OF_A_TERMINAL: [i32; 3] = [20, 21, 22];

const fn option(short: u8, long: &'static str, takes_value: bool) -> Known {
    Known { short, long: Some(long), takes_value }
}

/// What was asked for.
#[derive(Debug)]
struct Wishes {
    is_verbose: bool,
    isolation: Isolation,
    /// What a signal becomes, by number; 0 is nothing.
    rewrites: [Option<i32>; SIGNAL_MAX + 1],
    command: Vec<OsString>,
}

/// Runs as dumb-init; returns its exit code.
pub(super) fn run(arguments: &[OsString]) -> u8 {
    let name = arguments.first().map_or("dumb-init".into(), |name| name.to_string_lossy());
    match wishes(&name, arguments) {
        Ok(wishes) => supervise(&wishes),
        Err(code) => code,
    }
}

fn wishes(name: &str, arguments: &[OsString]) -> Result<Wishes, u8> {
    let mut wishes = Wishes {
        is_verbose: false,
        isolation: Isolation::Session,
        rewrites: [None; SIGNAL_MAX + 1],
        command: Vec::new(),
    };
    let (given, complaint) = options::read(&OPTIONS, arguments.get(1..).unwrap_or_default());
    for (option, value) in given.options {
        match option {
            b'h' => {
                say(&help(name));
                return Err(0);
            }
            b'V' => {
                say(VERSION);
                return Err(0);
            }
            b'v' => wishes.is_verbose = true,
            b'c' => wishes.isolation = Isolation::None,
            b'r' => {
                let (signal, replacement) = rewrite(&value).ok_or_else(|| {
                    say(REWRITE_HELP);
                    1
                })?;
                wishes.rewrites[signal] = Some(replacement);
            }
            _ => {}
        }
    }
    if let Some(complaint) = complaint {
        say(&format!("{name}: {complaint}"));
        return Err(1);
    }
    if given.command.is_empty() {
        say(&format!("Usage: {name} [option] program [args]\nTry {name} --help for full usage."));
        return Err(1);
    }
    wishes.command = given.command;
    if std::env::var_os("DUMB_INIT_DEBUG").is_some_and(|value| value == "1") {
        wishes.is_verbose = true;
        say("[dumb-init] Running in debug mode.");
    }
    if std::env::var_os("DUMB_INIT_SETSID").is_some_and(|value| value == "0") {
        wishes.isolation = Isolation::None;
        wishes.tell("Not running in setsid mode.");
    }
    if wishes.isolation == Isolation::Session {
        for signal in OF_A_TERMINAL {
            if let Ok(index) = usize::try_from(signal) {
                wishes.rewrites[index].get_or_insert(SIGSTOP);
            }
        }
    }
    Ok(wishes)
}

/// `15:3`, as `scanf` reads it: what follows is left alone.
fn rewrite(value: &OsStr) -> Option<(usize, i32)> {
    let text = value.to_string_lossy();
    let (signal, replacement) = text.split_once(':')?;
    let end = replacement.find(|letter: char| !letter.is_ascii_digit());
    let replacement = &replacement[..end.unwrap_or(replacement.len())];
    let signal = signal.trim().parse().ok().filter(|signal| (1..=SIGNAL_MAX).contains(signal))?;
    let replacement: usize = replacement.parse().ok().filter(|number| *number <= SIGNAL_MAX)?;
    Some((signal, i32::try_from(replacement).ok()?))
}

impl Wishes {
    fn tell(&self, text: &str) {
        if self.is_verbose {
            say(&format!("[dumb-init] {text}"));
        }
    }

    fn forward(&self, child: i32, signal: i32) {
        let index = usize::try_from(signal).unwrap_or_default();
        let replaced = self.rewrites.get(index).copied().flatten();
        if let Some(replacement) = replaced {
            self.tell(&format!("Translating signal {signal} to {replacement}."));
        }
        let signal = replaced.unwrap_or(signal);
        if signal == 0 {
            return self.tell("Not forwarding signal 0 to children (ignored).");
        }
        bare::send(if self.isolation == Isolation::Session { -child } else { child }, signal);
        self.tell(&format!("Forwarded signal {signal} to children."));
    }

    /// Gives up the terminal for the child; the signals that this costs us are not the child's.
    fn leave_terminal(&self) -> Vec<i32> {
        if self.isolation != Isolation::Session {
            return Vec::new();
        }
        match bare::leave_terminal() {
            Ok(true) => {
                self.tell(
                    "Detached from controlling tty, ignoring the first SIGHUP and SIGCONT we \
                     receive.",
                );
                vec![SIGHUP, SIGCONT]
            }
            Ok(false) => {
                self.tell("Detached from controlling tty, but was not session leader.");
                Vec::new()
            }
            Err(error) => {
                let (code, text) = (error.raw_os_error().unwrap_or_default(), words(&error));
                self.tell(&format!("Unable to detach from controlling tty (errno={code} {text})."));
                Vec::new()
            }
        }
    }

    /// Reaps all that ended; the code of the child if it did.
    fn reap(&self, child: i32) -> Option<u8> {
        while let Found::Child(Ended { pid, code, signal }) = bare::reap() {
            match signal {
                Some(signal) => {
                    self.tell(&format!(
                        "A child with PID {pid} was terminated by signal {signal}."
                    ));
                }
                None => {
                    self.tell(&format!("A child with PID {pid} exited with exit status {code}."));
                }
            }
            if pid == child {
                self.forward(child, SIGTERM);
                self.tell(&format!("Child exited with status {code}. Goodbye."));
                return Some(code);
            }
        }
        None
    }
}

fn supervise(wishes: &Wishes) -> u8 {
    let signals = match Bare::block(wishes.isolation) {
        Ok(signals) => signals,
        Err(error) => {
            say(&format!("[dumb-init] Unable to block signals: {}", words(&error)));
            return 1;
        }
    };
    let mut ignored = wishes.leave_terminal();
    let child = match signals.spawn(&wishes.command, wishes.isolation) {
        Ok(child) => child,
        Err(error) => {
            let program = wishes.command.first().map(|name| name.to_string_lossy());
            let program = program.unwrap_or_default();
            say(&format!("[dumb-init] {program}: {}", words(&error)));
            return 2;
        }
    };
    wishes.tell(&format!("Child spawned with PID {child}."));
    if std::env::set_current_dir("/").is_err() {
        wishes.tell("Unable to chdir(\"/\")");
    }
    loop {
        let signal = signals.wait();
        wishes.tell(&format!("Received signal {signal}."));
        if let Some(index) = ignored.iter().position(|ignored| *ignored == signal) {
            ignored.remove(index);
            wishes.tell(&format!("Ignoring tty hand-off signal {signal}."));
        } else if signal == SIGCHLD {
            if let Some(code) = wishes.reap(child) {
                return code;
            }
        } else {
            wishes.forward(child, signal);
            if OF_A_TERMINAL.contains(&signal) {
                wishes.tell("Suspending self due to TTY signal.");
                bare::suspend();
            }
        }
    }
}

fn say(text: &str) {
    // Nothing is left to tell anyone if the stream is closed.
    let _ = writeln!(screen::words(), "{text}");
}

const REWRITE_HELP: &str = "\
Usage: -r option takes <signum>:<signum>, where <signum> is between 1 and 31.
This option can be specified multiple times.
Use --help for full usage.";

fn help(name: &str) -> String {
    format!(
        "\
{VERSION}
Usage: {name} [option] command [[arg] ...]

dumb-init is a simple process supervisor that forwards signals to children.
It is designed to run as PID1 in minimal container environments.

Optional arguments:
   -c, --single-child   Run in single-child mode.
                        In this mode, signals are only proxied to the
                        direct child and not any of its descendants.
   -r, --rewrite s:r    Rewrite received signal s to new signal r before proxying.
                        To ignore (not proxy) a signal, rewrite it to 0.
                        This option can be specified multiple times.
   -v, --verbose        Print debugging information to stderr.
   -h, --help           Print this help message and exit.
   -V, --version        Print the current version and exit.

Full help is available online at https://github.com/Yelp/dumb-init"
    )
}
