//! `plimsoll run`: one process, run as in production.
//!
//! Flags and variables are the table of `contract::env_vars`, so that a new one is added there and
//! read in `settings` below; the words become types by the parsers of `runtime`. A flag wins over
//! its variable, a variable over the default. Problems are reported all at once. Wrong usage is
//! exit code 78, since 2 may be the child's.

pub(crate) mod quick;
mod settings;

use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::{Arg, ArgAction, ArgMatches, Args, FromArgMatches, error::ErrorKind, value_parser};
use contract::env_vars::{self, Var};
use contract::exit_codes;

use crate::exit::{Exit, listed};
use crate::report;

const EXAMPLE: &str = "\
Example:
  plimsoll run -- python app.py
  plimsoll run --ingress 0.0.0.0:8080 -- node server.js";

/// Name of the positional arguments.
const COMMAND: &str = "command";

/// Run one process as in production: health, metrics, logs, bounded stop
#[derive(Debug, Args)]
#[command(before_help = EXAMPLE, after_help = exit_codes_help())]
pub struct RunCommand {
    #[command(flatten)]
    args: RunArgs,
}

/// What `run` and `plimsoll-run` understand, as it was given.
#[derive(Debug, Default)]
pub struct RunArgs {
    /// By the name of the variable.
    given: BTreeMap<&'static str, OsString>,
    /// The program and its arguments.
    command: Vec<OsString>,
}

/// Runs the command under the guard.
///
/// # Errors
/// None today; what goes wrong has codes of its own.
pub fn run(command: &RunCommand) -> anyhow::Result<Exit> {
    run_process(&command.args)
}

/// The same without the name `run`, for `plimsoll-run`.
///
/// # Errors
/// As for [`run`].
pub fn run_process(args: &RunArgs) -> anyhow::Result<Exit> {
    let settings = match settings::settings(&args.given, &args.command) {
        Ok(settings) => settings,
        Err(problems) => {
            problems.iter().for_each(report::show);
            return Ok(Exit::Child(exit_codes::CONFIG.code));
        }
    };
    match runtime::guard::main(settings) {
        Ok(code) => Ok(Exit::Child(code)),
        Err(error) => {
            let code = error.exit_code().code;
            report::show(&error.into());
            Ok(Exit::Child(code))
        }
    }
}

/// The exit codes of `run`, as shown at the end of its help.
pub fn exit_codes_help() -> String {
    listed("Exit codes: the command's own, 128+n if signal n ended it, or", exit_codes::RUN)
}

impl Args for RunArgs {
    fn augment_args(command: clap::Command) -> clap::Command {
        command.args(vars().map(flag)).arg(
            Arg::new(COMMAND)
                .value_name("CMD")
                .help("Run this command, with its arguments")
                .value_parser(value_parser!(OsString))
                .num_args(1..)
                .last(true)
                .required_unless_present_any([id(&env_vars::STATIC), id(&env_vars::OUTBOX)]),
        )
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for RunArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut args = Self::default();
        args.update_from_arg_matches(matches)?;
        Ok(args)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for var in vars() {
            if let Some(value) = matches.get_one::<OsString>(id(var)) {
                self.given.insert(var.name, value.clone());
            }
        }
        self.command = matches.get_many(COMMAND).into_iter().flatten().cloned().collect();
        if self.command.first().is_some_and(|program| program.is_empty()) {
            return Err(clap::Error::raw(ErrorKind::InvalidValue, "the command is empty\n"));
        }
        Ok(())
    }
}

/// Every row that becomes a flag.
fn vars() -> impl Iterator<Item = &'static Var> {
    env_vars::ALL.iter().copied()
}

/// A row of the table as a flag.
fn flag(var: &'static Var) -> Arg {
    let mut help = String::with_capacity(var.meaning.len() + var.default.len() + 16);
    let mut letters = var.meaning.chars();
    help.extend(letters.next().map(|first| first.to_ascii_uppercase()));
    help.push_str(letters.as_str());
    let in_words = var.default.strip_prefix('(').and_then(|words| words.strip_suffix(')'));
    match in_words.unwrap_or(var.default) {
        "none" | "absent" => {}
        default => help.push_str(&format!(" [default: {default}]")),
    }
    let arg = Arg::new(id(var))
        .long(id(var))
        .env(var.name)
        .value_name(var.form)
        .help(help)
        .help_heading(heading(var))
        .value_parser(value_parser!(OsString))
        .action(ArgAction::Set);
    // `--spa` alone means `--spa on`; nothing else can follow it, since the command needs `--`.
    if is_switch(var) { arg.num_args(0..=1).default_missing_value("on") } else { arg }
}

/// Whether a flag can be given without a value.
fn is_switch(var: &Var) -> bool {
    var.form == "on or off"
}

/// The flag without its dashes, which is also its id.
fn id(var: &'static Var) -> &'static str {
    var.flag.trim_start_matches('-')
}

/// Under which heading of the help a flag stands.
fn heading(var: &'static Var) -> &'static str {
    match id(var) {
        "service" | "env" | "release" | "instance" => "Identity",
        "listen" | "sock" | "ingress" | "routes" | "static" | "spa" => "Listeners",
        id if id.starts_with("app-") => "Application",
        "secrets" | "strict-secrets" => "Secrets",
        "probes" | "ready-http" | "live-http" | "started" | "start-timeout" | "details" => "Health",
        "logs" | "access-log" | "redact" | "multiline" | "on-block" | "max-line" => "Logs",
        "publish" => "Publishing",
        id if id.starts_with("stop-") => "Stop",
        "drain" | "linger" | "signal-scope" | "signal-rewrite" | "success-exit-codes" => "Stop",
        _ => "State",
    }
}
