//! `plimsoll up`: the platform of a directory, in the foreground.
//!
//! Here the ends meet: the engine of `fleet`, the control socket, the watcher of files, signals and
//! the screen are tasks around two channels and a hub. It deliberately decides nothing about
//! services. Invariant: it returns when nothing of the platform runs any more, whatever it returns.

mod only;
mod show;
mod signals;
mod watching;

use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use fleet::control::{self, Ends};
use fleet::hub::{Hub, Stream, files};
use fleet::up::{self, COMMANDS_MAX, Error, Options, PLATFORM, Phase, StateDir, Status};
use fleet::watch::roots;
use manifest::Plan;
use tokio::sync::{mpsc, watch};

use crate::exit::Exit;
use crate::platform::{self, Platform};
use crate::source::Source;
use crate::{age, report};

const EXAMPLE: &str = "\
Example:
  plimsoll up                          start everything, rebuild what changes, Ctrl-C to stop
  plimsoll up --seed                   the same, with the first data of each service
  plimsoll up shop --only api --port 9000";

const AFTER: &str = "\
Exit codes:
  0  stopped as it was asked to
  1  something failed at its first start; everything was stopped again
  2  nothing was started: bad usage, bad manifest, something is missing or taken";

/// How long the last lines may take to reach the screen and the files.
const FLUSH_LIMIT: Duration = Duration::from_secs(2);

/// Start the platform of a directory and keep it running
#[derive(Debug, Args)]
#[command(before_help = EXAMPLE, after_help = AFTER)]
pub struct UpArgs {
    /// Start the platform of this directory [default: here or above]
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Run as this environment [default: the first with `target: local`]
    #[arg(long, value_name = "NAME")]
    env: Option<String>,
    /// Listen here for all routes, on 127.0.0.1
    #[arg(long, value_name = "PORT", default_value_t = up::EDGE_PORT)]
    port: u16,
    /// Start only these services, joined by commas, and what they use
    #[arg(long, value_name = "SERVICE", value_delimiter = ',')]
    only: Vec<String>,
    /// Leave services alone when their files change
    #[arg(long)]
    no_watch: bool,
    /// Leave the rest running when something fails at its first start
    #[arg(long)]
    keep_going: bool,
    /// Load the first data of services that have a `seed`, after their migrations
    #[arg(long)]
    seed: bool,
    /// Keep the state in `.plimsoll` of this directory [default: the manifest's]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Show lines of services from the beginning, not only when all are ready
    #[arg(short, long)]
    verbose: bool,
    /// Print lines of services as they wrote them, one JSON object each
    #[arg(long)]
    json: bool,
}

/// Starts, shows, and stops.
///
/// # Errors
/// When nothing could be started.
pub fn up(args: &UpArgs) -> anyhow::Result<Exit> {
    let platform = platform::find(args.directory.as_deref(), args.state_dir.as_deref())?;
    let source = Source::read(&platform)?;
    let mut plan = match source.resolve(args.env.as_deref()) {
        Ok(resolution) => {
            source.show(&resolution.warnings)?;
            resolution.plan
        }
        Err(problems) => {
            source.show(&problems)?;
            return Ok(Exit::Unknown);
        }
    };
    if !args.only.is_empty() {
        only::keep(&mut plan, &args.only)?;
    }
    // Several threads, so that a terminal that does not read holds up nobody but its writer.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(std::thread::available_parallelism().map_or(2, |n| n.get().max(2)))
        .enable_all()
        .build()
        .context("cannot start threads")?;
    let answer = runtime.block_on(run(args, &platform, plan));
    // A writer that is stuck in a closed terminal must not keep the process.
    runtime.shutdown_background();
    answer
}

async fn run(args: &UpArgs, platform: &Platform, plan: Plan) -> anyhow::Result<Exit> {
    let state = StateDir::make(&platform.state_parent)?;
    let mut place = control::claim(&platform.directory, &state.root)?;
    let options = options(args, platform, state.clone())?;
    let plan = Arc::new(plan);
    let hub = Hub::default();
    let (commands, wishes) = mpsc::channel(COMMANDS_MAX);
    let (published, status) = watch::channel(nothing_yet(&plan));

    let recorder = tokio::spawn(record(hub.clone(), state.logs.clone()));
    let screen = tokio::spawn(show::show(
        hub.follow(None, 0),
        status.clone(),
        show::View::new(&plan, args.verbose, args.json),
        commands.clone(),
    ));
    let ends = Ends { commands: commands.clone(), status, hub: hub.clone() };
    let server = tokio::spawn(serve(place.take_listener(), ends));
    let mut helpers = tokio::task::JoinSet::new();
    helpers.spawn(signals::forward(commands.clone()));
    if !args.no_watch {
        let roots = roots(&plan, &platform.directory);
        let manifest = platform.manifest.clone();
        helpers.spawn(watching::forward(roots, manifest, commands, hub.clone()));
    }

    let result = up::run(plan, options, hub.clone(), wishes, published).await;
    hub.close();
    let flushed = async { (screen.await, recorder.await, server.await) };
    // Whatever is not written by then never will be.
    let _ = tokio::time::timeout(FLUSH_LIMIT, flushed).await;
    match result {
        Ok(()) => Ok(Exit::Yes),
        Err(error) => Ok(refuse(error)),
    }
}

/// Shows why it ended; problems one by one, each with its help.
fn refuse(error: Error) -> Exit {
    match error {
        Error::Problems { problems } => {
            problems.into_iter().for_each(|problem| report::show(&problem.into()));
            Exit::Unknown
        }
        Error::FirstStart { .. } => {
            report::show(&error.into());
            Exit::No
        }
        error => {
            report::show(&error.into());
            Exit::Unknown
        }
    }
}

fn options(args: &UpArgs, platform: &Platform, state: StateDir) -> anyhow::Result<Options> {
    let directory = std::path::absolute(&platform.directory)
        .with_context(|| format!("cannot find `{}`", platform.directory.display()))?;
    let program = std::env::current_exe().context("cannot find the running program")?;
    // What is not UTF-8 cannot be a secret of the manifest; services inherit it all the same.
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Ok(Options {
        edge_port: args.port,
        keeps_going: args.keep_going,
        seeds: args.seed,
        variables: variables.collect(),
        dotenv: up::read_dotenv(&directory)?,
        ..Options::new(directory, state, program)
    })
}

/// Answers other commands; without a socket there is nobody to answer.
async fn serve(listener: Option<UnixListener>, ends: Ends) {
    let Some(listener) = listener else { return };
    let hub = ends.hub.clone();
    if let Err(error) = control::serve(listener, ends).await {
        hub.push(PLATFORM, Stream::Platform, format!("other commands get no answer: {error}"));
    }
}

/// Keeps lines in files; when that is not possible, says so once and goes on without.
async fn record(hub: Hub, directory: PathBuf) {
    let follower = hub.follow(None, 0);
    if let Err(error) = files::record(follower, directory, files::Bounds::default()).await {
        hub.push(PLATFORM, Stream::Platform, error.to_string());
    }
}

/// What is known before the engine says anything.
fn nothing_yet(plan: &Plan) -> Status {
    Status {
        app: plan.app.to_string(),
        environment: plan.environment.name.to_string(),
        pid: std::process::id(),
        phase: Phase::Starting,
        edge: None,
        started_ms: age::now_ms(),
        items: Vec::new(),
    }
}
