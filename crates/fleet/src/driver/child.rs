//! One process from before its start until nothing of it is left.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use super::launch::{Launch, Program, Setup};
use super::leftovers::Leftovers;
use super::output::Pumps;
use super::{Check, News, port, ready};
use crate::hub::Hub;
use crate::machine::{Event, ItemId};

/// Between two questions while it starts.
const ASK_STARTING: Duration = Duration::from_millis(120);
/// Between two questions once it is ready.
const ASK_READY: Duration = Duration::from_secs(1);
/// So many answers in a row that are not "ready" make a ready process unready.
const FALL: u32 = 2;

/// What a process is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Stop,
    Kill,
}

/// Whose process it is, and where its news go.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) item: ItemId,
    pub(super) run: u32,
    pub(super) name: String,
    pub(super) news: mpsc::Sender<News>,
    pub(super) hub: Hub,
    pub(super) leftovers: Leftovers,
}

/// Lives one life; the last news is that it exited.
pub(super) async fn live(launch: Launch, place: Place, mut orders: mpsc::Receiver<Order>) {
    let result = match &launch {
        Launch::Process(program) => run(program, &place, &mut orders).await,
        Launch::Directory(path) => match std::fs::create_dir_all(path) {
            Ok(()) => {
                stand(&Check::Nothing, &place, &mut orders).await;
                Ok(())
            }
            Err(error) => Err(format!("cannot make the directory `{}`: {error}", path.display())),
        },
        Launch::Elsewhere(check) => {
            stand(check, &place, &mut orders).await;
            Ok(())
        }
    };
    place.tell(Event::Exited { item: place.item, run: place.run, result }).await;
}

impl Place {
    async fn tell(&self, event: Event) {
        // The engine outlives its processes; if it does not, nobody is left to be told.
        let _ = self.news.send(News::Machine(event)).await;
    }
}

/// Something without a process of ours: asked until it is told to stop.
async fn stand(check: &Check, place: &Place, orders: &mut mpsc::Receiver<Order>) {
    tokio::select! {
        () = watch(check, place) => {}
        _ = orders.recv() => {}
    }
}

async fn run(
    program: &Program,
    place: &Place,
    orders: &mut mpsc::Receiver<Order>,
) -> Result<(), String> {
    tokio::select! {
        result = set_up(program, place) => result?,
        _ = orders.recv() => return Ok(()),
    }
    if let Some(taken) = program.ports.iter().find(|port| !port::is_free(**port)) {
        let holder = port::holder_of(*taken).unwrap_or_else(|| "another process".into());
        return Err(format!("port {taken} is already taken by {holder}"));
    }
    let mut child = spawn(program)?;
    // A child that has been waited for has no id; this one has not.
    let pid = child.id().unwrap_or_default();
    if let Err(error) = place.leftovers.note(&place.name, pid, program.stop_signal) {
        end_group(pid);
        return Err(format!("cannot note its process id: {error}"));
    }
    let _ = place.news.send(News::Pid { item: place.item, run: place.run, pid }).await;
    let pumps = Pumps::start(&mut child, &place.name, &place.hub);
    let status = attend(&mut child, pid, program, place, orders).await;
    end_group(pid);
    pumps.finish().await;
    place.leftovers.forget(&place.name);
    match status {
        Ok(status) => describe(status),
        Err(error) => Err(format!("cannot be waited for: {error}")),
    }
}

async fn set_up(program: &Program, place: &Place) -> Result<(), String> {
    match &program.setup {
        Setup::Nothing => Ok(()),
        Setup::RemoveFile(path) => {
            let _ = std::fs::remove_file(path);
            Ok(())
        }
        Setup::Postgres(cluster) => cluster.prepare(&place.name, &place.hub).await,
    }
}

fn spawn(program: &Program) -> Result<Child, String> {
    let mut command = command(&program.program);
    command
        .args(&program.args)
        .envs(&program.env)
        .current_dir(&program.directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Its own group: Ctrl-C on the terminal reaches `up` alone, which stops in order.
        .process_group(0)
        .kill_on_drop(true);
    if let Some(account) = &program.account {
        command.uid(account.uid).gid(account.gid);
    }
    command.spawn().map_err(|error| cannot_start(&program.program, &program.directory, &error))
}

/// A command without the variables that `plimsoll run` reads: what was set for one process around
/// the platform is not meant for each of its services.
pub(super) fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    for var in contract::env_vars::ALL {
        command.env_remove(var.name);
    }
    command
}

/// Why a program could not be started, in words that name what is missing.
pub(super) fn cannot_start(program: &Path, directory: &Path, error: &std::io::Error) -> String {
    if !directory.is_dir() {
        return format!("its directory `{}` is not there", directory.display());
    }
    let program = program.display();
    match error.kind() {
        std::io::ErrorKind::NotFound => format!("`{program}` was not found; is it installed?"),
        std::io::ErrorKind::PermissionDenied => format!("`{program}` may not be executed"),
        _ => format!("`{program}` cannot be started: {error}"),
    }
}

/// Waits for the end, passes orders on, and asks whether it is ready meanwhile.
async fn attend(
    child: &mut Child,
    pid: u32,
    program: &Program,
    place: &Place,
    orders: &mut mpsc::Receiver<Order>,
) -> std::io::Result<ExitStatus> {
    let watching = watch(&program.check, place);
    tokio::pin!(watching);
    let mut is_watching = true;
    loop {
        tokio::select! {
            status = child.wait() => return status,
            () = &mut watching, if is_watching => is_watching = false,
            order = orders.recv() => match order {
                Some(Order::Stop) => {
                    is_watching = false;
                    signal(pid, program.stop_signal);
                }
                // Without a sender nobody could ever end it.
                Some(Order::Kill) | None => {
                    end_group(pid);
                    let _ = child.start_kill();
                    return child.wait().await;
                }
            },
        }
    }
}

/// Asks for ever, and tells what changed.
async fn watch(check: &Check, place: &Place) {
    let (item, run) = (place.item, place.run);
    let mut told: Option<Option<String>> = None;
    let mut told_checks = std::collections::BTreeMap::new();
    let mut n_failed = 0;
    loop {
        let answer = ready::ask(check).await;
        let is_ready = answer.lacks.is_none();
        n_failed = if is_ready { 0 } else { n_failed + 1 };
        if answer.checks != told_checks {
            told_checks.clone_from(&answer.checks);
            let news = News::Checks { item, run, checks: answer.checks };
            let _ = place.news.send(news).await;
        }
        let was_ready = told == Some(None);
        if told.as_ref() != Some(&answer.lacks) && (!was_ready || n_failed >= FALL) {
            told = Some(answer.lacks.clone());
            let event = match answer.lacks {
                None => Event::Ready { item, run },
                Some(reason) => Event::Unready { item, run, reason },
            };
            place.tell(event).await;
        }
        if *check == Check::Nothing {
            return std::future::pending().await;
        }
        tokio::time::sleep(if told == Some(None) { ASK_READY } else { ASK_STARTING }).await;
    }
}

fn signal(pid: u32, signal: Signal) {
    if let Ok(pid) = i32::try_from(pid) {
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

/// Kills whatever is left of a process group; it is not an error when nothing is.
pub(super) fn end_group(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().filter(|pid| *pid > 1) {
        let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

/// `Ok` for exit code 0, otherwise how it ended, in words.
pub(super) fn describe(status: ExitStatus) -> Result<(), String> {
    if let Some(number) = status.signal() {
        let name = Signal::try_from(number).map_or("unknown", Signal::as_str);
        return Err(format!("killed by signal {number} ({name})"));
    }
    match status.code() {
        Some(0) => Ok(()),
        Some(127) => Err("exit code 127: its command was not found".into()),
        Some(126) => Err("exit code 126: its command may not be executed".into()),
        Some(code) => Err(format!("exit code {code}")),
        None => Err("ended without an exit code".into()),
    }
}
