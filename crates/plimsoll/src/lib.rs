//! The command line: one file per command, and the only crate that prints.
//!
//! Both binaries live on this library: `plimsoll` has every command, `plimsoll-run` only what an
//! image needs. It deliberately decides nothing about platforms or processes: `fleet` and
//! `runtime` do. Data goes to stdout, words go to stderr, and every path out is an [`exit::Exit`].

pub mod command;

mod age;
pub mod exit;
mod platform;
mod rendering;
mod report;
mod repository;
mod screen;
mod source;
mod stage;
mod suggest;
mod table;
mod turn;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Arg, ArgAction, CommandFactory, FromArgMatches};

use crate::command::{Cli, run_only::RunOnly};
use crate::exit::Exit;

/// The whole command line of `plimsoll`, also for the generated reference page.
pub fn command() -> clap::Command {
    shaped(Cli::command())
}

/// The whole command line of `plimsoll-run`, also for the generated reference page.
pub fn run_only_command() -> clap::Command {
    shaped(RunOnly::command())
}

/// Runs `plimsoll` with the arguments of this process.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if let Some(name) = other_name(&arguments) {
        return ExitCode::from(command::compat::run(name, &arguments));
    }
    if is_engine(&arguments) {
        return report::finish(command::engine::engine());
    }
    let is_run = arguments.get(1).is_some_and(|argument| argument == "run");
    if is_run && let Some(args) = command::run::quick::read(&arguments[2..]) {
        return report::finish(command::run::run_process(&args));
    }
    match parse(command(), arguments, is_run) {
        Ok(cli) => report::finish(command::dispatch(cli)),
        Err(exit) => exit.into(),
    }
}

/// Runs `plimsoll-run` with the arguments of this process.
pub fn run_only_main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if let Some(name) = other_name(&arguments) {
        return ExitCode::from(command::compat::run(name, &arguments));
    }
    if is_engine(&arguments) {
        return report::finish(command::engine::engine());
    }
    if let Some(args) = arguments.get(1..).and_then(command::run::quick::read) {
        return report::finish(command::run::run_process(&args));
    }
    let is_run = arguments.get(1).is_none_or(|argument| argument != "probe");
    match parse(run_only_command(), arguments, is_run) {
        Ok(line) => report::finish(command::run_only::dispatch(&line)),
        Err(exit) => exit.into(),
    }
}

/// The name of another program that this one was started by.
fn other_name(arguments: &[OsString]) -> Option<command::compat::Name> {
    command::compat::Name::of(arguments.first()?)
}

/// The engine starts on every start of a service, so it does not wait for the parser to be built.
fn is_engine(arguments: &[OsString]) -> bool {
    arguments.get(1).is_some_and(|argument| argument == runtime::engine::SUBCOMMAND)
}

/// Understands the arguments, or says what is wrong with them; help and version are no errors.
fn parse<T: FromArgMatches>(
    command: clap::Command,
    arguments: Vec<OsString>,
    is_run: bool,
) -> Result<T, Exit> {
    let mut shown = command.clone();
    let parsed = command.try_get_matches_from(arguments).and_then(|m| T::from_arg_matches(&m));
    parsed.map_err(|error| {
        let error = error.format(&mut shown);
        // Nothing is left to tell anyone if the stream is closed.
        let _ = error.print();
        match (error.use_stderr(), is_run) {
            (false, _) => Exit::Yes,
            (true, true) => Exit::Child(contract::exit_codes::CONFIG.code),
            (true, false) => Exit::Unknown,
        }
    })
}

/// What holds for every command: one short help, whose text does not depend on the environment.
fn shaped(command: clap::Command) -> clap::Command {
    let help = Arg::new("help")
        .short('h')
        .long("help")
        .action(ArgAction::HelpShort)
        .help("Print help")
        .display_order(999);
    let command = command.disable_help_flag(true).disable_help_subcommand(true).arg(help);
    let names: Vec<String> =
        command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    names
        .into_iter()
        .fold(command, |command, name| command.mut_subcommand(name, shaped))
        .mut_args(|arg| arg.hide_env_values(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parsers_are_consistent() {
        command().debug_assert();
        run_only_command().debug_assert();
    }
}
