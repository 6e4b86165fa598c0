//! Starts the two children: the engine and the app.
//!
//! It deliberately waits for neither.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::CommandExt,
    },
    path::Path,
    process::{Command, Stdio},
};

use command_fds::{CommandFdExt, FdMapping};
use contract::{env_vars, exit_codes};
use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    sys::signal::SigSet,
    unistd::{Pid, getpid, pipe2},
};

use super::{listen::Listeners, terminal};
use crate::{
    engine,
    error::Error,
    logs::journal,
    notify, probe, secret,
    settings::{Settings, Workload},
    sys::{self, ChildSetup},
    wire::{Environment, fds},
};

/// What the app may write while no engine reads, in each of its streams.
const PIPE_BYTES: i32 = 1024 * 1024;
const ITSELF: &str = "/proc/self/exe";

/// The app's stdout and stderr. Our read ends stay open for life, so no engine's death breaks them.
#[derive(Debug)]
pub(super) struct Pipes {
    /// None where no engine reads: the app then has our own streams.
    reads: Option<[OwnedFd; 2]>,
    /// Ours until the app has them: its own end must be seen.
    writes: Option<[OwnedFd; 2]>,
    /// How far the lines are; without it an engine's death repeats some.
    journal: Option<journal::Kept>,
}

impl Pipes {
    /// Two pipes, as deep as the kernel allows up to [`PIPE_BYTES`].
    pub(super) fn create() -> io::Result<Self> {
        let (stdout, stdout_write) = pipe2(OFlag::O_CLOEXEC)?;
        let (stderr, stderr_write) = pipe2(OFlag::O_CLOEXEC)?;
        for pipe in [&stdout, &stderr] {
            // Unprivileged users have a limit on all their pipes together; a shallow one works.
            let _ = fcntl(pipe, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES));
        }
        Ok(Self {
            reads: Some([stdout, stderr]),
            writes: Some([stdout_write, stderr_write]),
            journal: journal::Kept::create().ok(),
        })
    }

    /// Our own streams in place of pipes.
    pub(super) fn inherit() -> io::Result<Self> {
        let stdout = io::stdout().as_fd().try_clone_to_owned()?;
        let stderr = io::stderr().as_fd().try_clone_to_owned()?;
        Ok(Self { reads: None, writes: Some([stdout, stderr]), journal: None })
    }

    /// Gives up the ends that the app writes to.
    pub(super) fn close_writes(&mut self) {
        self.writes = None;
    }
}

/// Starts an engine; `control` is its end of the socket.
pub(super) fn engine(listeners: &Listeners, pipes: &Pipes, control: OwnedFd) -> io::Result<i32> {
    let own_name = std::env::args_os().next().unwrap_or_else(|| OsString::from("plimsoll-run"));
    let program =
        if Path::new(ITSELF).exists() { OsString::from(ITSELF) } else { own_name.clone() };
    let mut inherited = listeners.duplicate()?;
    inherited.push((fds::GUARD, control));
    if let Some([stdout, stderr]) = &pipes.reads {
        inherited.push((fds::APP_STDOUT, stdout.try_clone()?));
        inherited.push((fds::APP_STDERR, stderr.try_clone()?));
    }
    if let Some(journal) = &pipes.journal {
        let journal::Kept { journal, staged, staging } = journal.try_clone()?;
        inherited.extend([(fds::JOURNAL, journal), (fds::STAGED, staged), (fds::STAGING, staging)]);
    }
    let mappings = inherited
        .into_iter()
        .map(|(child_fd, parent_fd)| FdMapping { parent_fd, child_fd })
        .collect();
    let mut command = Command::new(program);
    // A group of its own: the terminal's Ctrl-C is for the guard. Its mask stays ours, all blocked,
    // until it has its handlers.
    command.arg0(own_name).arg(engine::SUBCOMMAND).stdin(Stdio::null()).process_group(0);
    // The exporter's library reads them too, and would undo what the settings resolved.
    let telemetry = std::env::vars_os().map(|(name, _)| name);
    for name in telemetry.filter(|name| name.as_encoded_bytes().starts_with(b"OTEL_")) {
        command.env_remove(name);
    }
    command.fd_mappings(mappings).map_err(|error| io::Error::other(error.to_string()))?;
    pid(command.spawn()?.id())
}

/// Becomes the app. Comes back only with the reason why not.
pub(super) fn exec(settings: &Settings) -> Error {
    let Workload::Command { program, args } = &settings.workload else {
        let source = io::Error::other("a static site has no process");
        return Error::Setup { intent: "become the command", source };
    };
    let mut command = Command::new(program);
    command.args(args);
    command.envs(environment(settings, |name| std::env::var_os(name).is_some()));
    match secret::exec_environment(settings.secrets.clone(), settings.start_timeout) {
        Ok(env) => {
            for name in unresolved(settings, &env, std::env::vars_os()) {
                command.env_remove(name);
            }
            command.envs(&env.0);
        }
        Err(error) => return error.into(),
    }
    let source = command.exec();
    Error::Spawn { program: settings.workload.program(), code: failure_code(&source), source }
}

/// How the app is known again, and where it may speak to us.
#[derive(Clone, Copy, Debug)]
pub(super) struct Marks<'a> {
    /// In the environment of everything that it starts.
    pub(super) run_id: &'a str,
    /// The address for its notifications.
    pub(super) notify: Option<&'a OsStr>,
}

/// Starts the app. The error carries the exit code that says why not.
pub(super) fn app(
    settings: &Settings,
    env: &Environment,
    marks: Marks<'_>,
    pipes: &mut Pipes,
    mask: SigSet,
) -> Result<i32, (u8, io::Error)> {
    let result = try_app(settings, env, marks, pipes, mask);
    pipes.close_writes();
    result.map_err(|error| (failure_code(&error), error))
}

fn try_app(
    settings: &Settings,
    env: &Environment,
    marks: Marks<'_>,
    pipes: &Pipes,
    mask: SigSet,
) -> io::Result<i32> {
    let Workload::Command { program, args } = &settings.workload else {
        return Err(io::Error::other("a static site has no process"));
    };
    let Some([stdout, stderr]) = &pipes.writes else {
        return Err(io::Error::other("the application was spawned already"));
    };
    let mut command = Command::new(program);
    command.args(args).process_group(0);
    command.stdout(File::from(stdout.try_clone()?)).stderr(File::from(stderr.try_clone()?));
    command.envs(environment(settings, |name| std::env::var_os(name).is_some()));
    // What systemd told us is not meant for the application.
    for name in notify::outward::VARIABLES {
        command.env_remove(name);
    }
    command.envs(marks.notify.map(|address| (env_vars::CHILD_NOTIFY_SOCKET.name, address)));
    command.envs(probe::child_variables(&settings.probes));
    let inherited = std::env::vars_os();
    for name in unresolved(settings, env, inherited) {
        command.env_remove(name);
    }
    command.envs(&env.0).env(env_vars::CHILD_RUN_ID.name, marks.run_id);
    let guard = getpid();
    let setup = ChildSetup {
        mask,
        dies_with: (guard != Pid::from_raw(1)).then_some(guard),
        takes_terminal: settings.ingress.is_none() && terminal::is_ours(),
    };
    sys::prepare_child(&mut command, setup);
    pid(command.spawn()?.id())
}

/// Variables that refer to secrets and have no value of their own: the value is optional and not
/// there, or it is in a file.
fn unresolved(
    settings: &Settings,
    env: &Environment,
    inherited: impl Iterator<Item = (OsString, OsString)>,
) -> Vec<OsString> {
    let has_reference = |(name, value): &(OsString, OsString)| {
        let (Some(name), Some(value)) = (name.to_str(), value.to_str()) else { return false };
        secret::replaces(&settings.secrets, name, value) && !env.0.contains_key(name)
    };
    inherited.filter(has_reference).map(|(name, _)| name).collect()
}

/// What the app gets on top of what we inherited.
fn environment(
    settings: &Settings,
    is_set: impl Fn(&str) -> bool,
) -> Vec<(&'static str, OsString)> {
    let identity = &settings.identity;
    let mut variables = vec![(env_vars::CHILD_INSTANCE.name, identity.instance.clone().into())];
    if let (Some(_), Some(port)) = (&settings.ingress, settings.app.port) {
        variables.push((env_vars::CHILD_PORT.name, port.to_string().into()));
        if !is_set(env_vars::CHILD_HOST.name) {
            variables.push((env_vars::CHILD_HOST.name, settings.app.host.to_string().into()));
        }
    }
    if let Some(sock) = &settings.admin.sock {
        variables.push((env_vars::CHILD_SOCK.name, sock.clone().into()));
    }
    if !is_set(env_vars::CHILD_OTEL_SERVICE_NAME.name) {
        let service = identity.service.clone().into();
        variables.push((env_vars::CHILD_OTEL_SERVICE_NAME.name, service));
    }
    if !is_set(env_vars::CHILD_OTEL_RESOURCE_ATTRIBUTES.name) {
        let attributes = resource_attributes(settings).into();
        variables.push((env_vars::CHILD_OTEL_RESOURCE_ATTRIBUTES.name, attributes));
    }
    variables
}

fn resource_attributes(settings: &Settings) -> String {
    let identity = &settings.identity;
    let pairs = [
        ("service.instance.id", Some(&identity.instance)),
        ("service.version", identity.version.as_ref()),
        ("deployment.environment.name", identity.environment.as_ref()),
    ];
    let pairs = pairs.into_iter().filter_map(|(key, value)| Some((key, percent_encoded(value?))));
    pairs.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

/// As OpenTelemetry wants the values: all but the unreserved characters of URLs.
fn percent_encoded(value: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    value.bytes().map(encode).collect()
}

/// As shells say it: 127 for what is not there, 126 for what cannot be run.
fn failure_code(error: &io::Error) -> u8 {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => exit_codes::NOT_FOUND.code,
        io::ErrorKind::OutOfMemory | io::ErrorKind::WouldBlock => exit_codes::GUARD.code,
        _ => exit_codes::NOT_EXECUTABLE.code,
    }
}

fn pid(id: u32) -> io::Result<i32> {
    i32::try_from(id).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        let mut settings =
            Settings::new(Workload::Command { program: "/bin/true".into(), args: Vec::new() });
        settings.identity.instance = "a b".into();
        settings
    }

    #[test]
    fn without_an_ingress_the_app_keeps_its_own_port() {
        let variables = environment(&settings(), |_| false);
        let names: Vec<_> = variables.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["PLIMSOLL_INSTANCE", "OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"]);
    }

    #[test]
    fn what_the_user_set_is_left_alone() {
        let variables = environment(&settings(), |name| name.starts_with("OTEL_"));
        assert_eq!(variables.len(), 1);
    }

    #[test]
    fn resource_attributes_are_percent_encoded() {
        assert_eq!(resource_attributes(&settings()), "service.instance.id=a%20b");
    }
}
