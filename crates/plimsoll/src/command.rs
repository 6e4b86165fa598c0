//! The table of commands. Each is one file below, named after it; this file only sends there.

pub mod audit;
pub mod compat;
pub mod completions;
pub mod down;
pub mod eject;
pub mod engine;
pub mod explain;
pub mod logs;
pub mod notify;
pub mod outbox;
pub mod patch;
pub mod plan;
pub mod probe;
pub mod publish;
pub mod redact;
pub mod render;
pub mod restart;
pub mod run;
pub mod run_only;
pub mod schema;
pub mod secret;
pub mod start;
pub mod status;
pub mod stop;
pub mod up;
pub mod verify;
pub mod version;

use std::io::Write;

use anyhow::Context;
use clap::{Parser, Subcommand};
use fleet::control::ControlError;

use crate::exit::{Exit, exit_codes_help};
use crate::{report, screen, suggest};

/// Shown before everything else in `plimsoll --help`.
const EXAMPLE: &str = "\
Example:
  plimsoll up                          start the platform of this directory
  plimsoll render                      write its images, Compose files and charts
  plimsoll run -- python app.py        run one process as in production";

/// Take software over the line into production, and keep it there
#[derive(Debug, Parser)]
#[command(
    name = "plimsoll",
    version,
    before_help = EXAMPLE,
    after_help = exit_codes_help(),
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 100
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(up::UpArgs),
    Status(status::StatusArgs),
    Logs(logs::LogsArgs),
    Start(start::StartArgs),
    Stop(stop::StopArgs),
    Restart(restart::RestartArgs),
    Down(down::DownArgs),
    Plan(plan::PlanArgs),
    Explain(explain::ExplainArgs),
    Render(render::RenderArgs),
    Verify(verify::VerifyArgs),
    Patch(patch::PatchArgs),
    Eject(eject::EjectArgs),
    Schema(schema::SchemaArgs),
    Run(run::RunCommand),
    #[command(hide = true)]
    Engine(engine::EngineArgs),
    Probe(probe::ProbeArgs),
    Publish(publish::PublishArgs),
    Notify(notify::NotifyArgs),
    Outbox(outbox::OutboxArgs),
    Secret(secret::SecretArgs),
    Redact(redact::RedactArgs),
    Audit(audit::AuditArgs),
    Completions(completions::CompletionsArgs),
    Version(version::VersionArgs),
}

/// Does what was asked.
///
/// # Errors
/// When the command could not find out; the exit code is then 2.
pub fn dispatch(cli: Cli) -> anyhow::Result<Exit> {
    match cli.command {
        Command::Up(args) => up::up(&args),
        Command::Status(args) => status::status(&args),
        Command::Logs(args) => logs::logs(&args),
        Command::Start(args) => start::start(&args),
        Command::Stop(args) => stop::stop(&args),
        Command::Restart(args) => restart::restart(&args),
        Command::Down(args) => down::down(&args),
        Command::Plan(args) => plan::plan(&args),
        Command::Explain(args) => explain::explain(&args),
        Command::Render(args) => render::render(&args),
        Command::Verify(args) => verify::verify(&args),
        Command::Patch(args) => patch::patch(&args),
        Command::Eject(args) => eject::eject(&args),
        Command::Schema(_) => schema::schema(),
        Command::Run(args) => run::run(&args),
        Command::Engine(_) => engine::engine(),
        Command::Probe(args) => probe::probe(&args),
        Command::Publish(args) => publish::publish(&args),
        Command::Notify(args) => notify::notify(&args),
        Command::Outbox(args) => outbox::outbox(&args),
        Command::Secret(args) => secret::secret(&args),
        Command::Redact(args) => redact::redact(&args),
        Command::Audit(args) => audit::audit(&args),
        Command::Completions(args) => completions::completions(&args),
        Command::Version(args) => version::version(&args),
    }
}

/// Waits on this thread for what a command asks of others.
fn block_on<F: Future>(future: F) -> anyhow::Result<F::Output> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot wait for answers")?;
    Ok(runtime.block_on(future))
}

/// Says that a wish was accepted; a refusal is an answer too, and that answer is no.
fn accepted(answer: Result<(), ControlError>, words: &str) -> anyhow::Result<Exit> {
    match answer {
        Ok(()) => {
            writeln!(screen::words(), "{words}")?;
            Ok(Exit::Yes)
        }
        Err(error @ ControlError::Refused(_)) => {
            report::show(&suggest::refusal(error));
            Ok(Exit::No)
        }
        Err(error) => Err(error.into()),
    }
}
