//! Table: what the exit codes of the binaries mean.
//!
//! Two tables, because `plimsoll run` passes its child's code through and must therefore fail
//! with codes that a program seldom chooses (those of `sysexits.h` and of shells), while every
//! other command answers a question. It deliberately does not map errors to codes: the
//! crates that own the errors do, with these constants.
//!
//! Invariant: within one table a code means one thing.

/// One exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExitCode {
    /// The number.
    pub code: u8,
    /// One word for it, in logs and `exit.json`.
    pub name: &'static str,
    /// What it tells the caller, without a full stop.
    pub meaning: &'static str,
}

/// The answer is yes, or the work is done.
pub const OK: ExitCode = ExitCode { code: 0, name: "ok", meaning: "yes, or done" };
/// The answer is no.
pub const NO: ExitCode =
    ExitCode { code: 1, name: "no", meaning: "the answer is no: drift, a finding, not healthy" };
/// No answer.
pub const UNKNOWN: ExitCode = ExitCode {
    code: 2,
    name: "unknown",
    meaning: "could not tell: wrong usage, a manifest with problems, input or output failed",
};

/// Codes of every command but `run`.
pub const COMMANDS: &[ExitCode] = &[OK, NO, UNKNOWN];

/// A dependency that gates the start stayed down.
pub const START_GATE: ExitCode = ExitCode {
    code: 69,
    name: "gate_timeout",
    meaning: "a dependency that gates the start was not up in time",
};
/// A bug of ours.
pub const INTERNAL: ExitCode =
    ExitCode { code: 70, name: "internal", meaning: "a bug in plimsoll itself" };
/// State cannot be kept.
pub const STATE: ExitCode =
    ExitCode { code: 74, name: "state", meaning: "the state directory cannot be read or written" };
/// A provider of secrets or configuration cannot be reached.
pub const PROVIDER: ExitCode = ExitCode {
    code: 75,
    name: "provider",
    meaning: "a provider of secrets or configuration cannot be reached, and nothing is cached",
};
/// A secret is missing.
pub const SECRET: ExitCode =
    ExitCode { code: 77, name: "secret", meaning: "a secret is missing or was refused" };
/// The manifest, a flag or a variable is wrong.
pub const CONFIG: ExitCode = ExitCode {
    code: 78,
    name: "config",
    meaning: "a flag, a variable or the manifest is wrong; nothing was started",
};
/// The guard could not set itself up.
pub const GUARD: ExitCode = ExitCode {
    code: 125,
    name: "guard",
    meaning: "the guard could not set itself up: a port is taken, a pipe or a process cannot be made",
};
/// The command cannot be executed.
pub const NOT_EXECUTABLE: ExitCode = ExitCode {
    code: 126,
    name: "not_executable",
    meaning: "the command was found but cannot be executed",
};
/// The command does not exist.
pub const NOT_FOUND: ExitCode =
    ExitCode { code: 127, name: "not_found", meaning: "the command was not found" };

/// Added to the number of the signal that ended the child: SIGKILL gives 137, SIGTERM 143.
pub const SIGNAL_BASE: u8 = 128;

/// Own codes of `plimsoll run`; every other code is the child's.
pub const RUN: &[ExitCode] =
    &[START_GATE, INTERNAL, STATE, PROVIDER, SECRET, CONFIG, GUARD, NOT_EXECUTABLE, NOT_FOUND];

/// The exit code for a child that a signal ended; 255 if the number is out of range.
pub fn of_signal(signal: i32) -> u8 {
    match u8::try_from(signal) {
        Ok(number @ 1..SIGNAL_BASE) => SIGNAL_BASE + number,
        Ok(_) | Err(_) => u8::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_ascend_and_are_unique() {
        for table in [COMMANDS, RUN] {
            assert!(table.windows(2).all(|pair| pair[0].code < pair[1].code));
        }
    }

    #[test]
    fn own_codes_stay_below_those_of_signals() {
        assert!(RUN.iter().all(|exit| exit.code < SIGNAL_BASE && exit.code > 2));
    }

    #[test]
    fn a_signal_becomes_128_plus_its_number() {
        assert_eq!(of_signal(9), 137);
        assert_eq!(of_signal(15), 143);
        assert_eq!(of_signal(64), 192);
        assert_eq!(of_signal(0), 255);
        assert_eq!(of_signal(-1), 255);
    }
}
