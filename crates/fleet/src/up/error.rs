//! Why a platform does not start, or could not go on. All its wording is here.

use std::path::PathBuf;

use crate::resource::Unavailable;

/// Why a platform ended otherwise than by being asked to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something is missing or taken; nothing was started.
    #[error("{}", join(problems))]
    Problems {
        /// All of them.
        problems: Vec<Problem>,
    },
    /// The first start of an item failed; everything was stopped again.
    #[error("{kind} `{name}` {reason}{}\nhelp: {help}", tail(last_lines))]
    FirstStart {
        /// `service` or `resource`.
        kind: &'static str,
        /// The item.
        name: String,
        /// What happened.
        reason: String,
        /// Its last lines, oldest first.
        last_lines: Vec<String>,
        /// What to do next.
        help: String,
    },
    /// The state directory cannot be used.
    #[error("cannot {intent} `{}`: {source}\nhelp: free some space there, or make it writable", path.display())]
    State {
        /// What was tried.
        intent: &'static str,
        /// With which file or directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// `.env` cannot be read.
    #[error("cannot read `{}`: {problem}\nhelp: one `NAME=value` a line", path.display())]
    Dotenv {
        /// The file.
        path: PathBuf,
        /// What is wrong; never a value.
        problem: String,
    },
}

/// One thing that keeps a platform from starting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A service has nothing to run.
    #[error(
        "service `{service}` has no run command\n\
         help: say how it starts, in the manifest: `services: {{{service}: {{run: <command>}}}}`"
    )]
    NoRun {
        /// The service.
        service: String,
    },
    /// The directory of a service is not there.
    #[error("service `{service}` has its sources in `{}`, which is not a directory\nhelp: correct its `path`", path.display())]
    NoDirectory {
        /// The service.
        service: String,
        /// The directory.
        path: PathBuf,
    },
    /// A secret has no value.
    #[error(
        "service `{service}` needs the secret `{key}`, which has no value here\n\
         help: {key}=... plimsoll up\n\
         help: or a line `{key}=...` in `.env` beside the manifest (keep that file out of git)"
    )]
    NoSecret {
        /// The service.
        service: String,
        /// The secret.
        key: String,
    },
    /// A port is taken.
    #[error("{what} needs port {port}, which is already taken by {holder}\nhelp: {help}")]
    PortTaken {
        /// ``service `api` `` or `the edge`.
        what: String,
        /// The port.
        port: u16,
        /// Who has it.
        holder: String,
        /// What to do.
        help: String,
    },
    /// A resource cannot be provided.
    #[error(transparent)]
    Resource(#[from] Unavailable),
    /// A placeholder has no value on this machine.
    #[error(
        "`{placeholder}` in {place} has no value on this machine\n\
         help: set what needs it for this environment, or give the resource by its URL"
    )]
    NoValue {
        /// ``service `api` ``.
        place: String,
        /// As it stands in the manifest.
        placeholder: String,
    },
    /// Two routes cannot be told apart, or the like.
    #[error("the routes cannot be served: {problem}\nhelp: give one of them another host or path")]
    Routes {
        /// What is wrong.
        problem: String,
    },
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self::Problems { problems: vec![problem] }
    }
}

fn join(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn tail(last_lines: &[String]) -> String {
    if last_lines.is_empty() {
        return "\n  (it wrote nothing)".into();
    }
    last_lines.iter().map(|line| format!("\n  | {line}")).collect()
}
