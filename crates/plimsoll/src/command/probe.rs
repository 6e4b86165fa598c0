//! `plimsoll probe`: asks a running service how it is; the health check of an image without shell.
//!
//! No answer is not a no: it is exit code 2, which orchestrators count as unhealthy all the same.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use contract::env_vars;
use runtime::admin::client::{self, Target};
use runtime::settings::{LISTEN_DEFAULT, parse_address, parse_duration, parse_listen};

use crate::exit::Exit;
use crate::screen;

const EXAMPLE: &str = "\
Example:
  plimsoll probe ready
  HEALTHCHECK CMD [\"plimsoll-run\", \"probe\", \"ready\"]";

const AFTER: &str = "\
Exit codes:
  0  yes
  1  no; the answer says why
  2  nothing answered";

/// Ask a service under `run` whether it is live or ready
#[derive(Debug, Args)]
#[command(before_help = EXAMPLE, after_help = AFTER)]
pub struct ProbeArgs {
    /// Ask this
    #[arg(value_enum)]
    question: Question,
    /// Ask this Unix socket [env: PLIMSOLL_SOCK]
    #[arg(long, value_name = "PATH")]
    sock: Option<PathBuf>,
    /// Ask this admin listener [env: PLIMSOLL_LISTEN] [default: 127.0.0.1:9460]
    #[arg(long, value_name = "ADDR:PORT", conflicts_with = "sock")]
    listen: Option<String>,
    /// Give up after this long
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = parse_duration)]
    timeout: Duration,
    /// Leave the answer to the exit code
    #[arg(short, long)]
    quiet: bool,
}

/// What can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Question {
    /// Does the process do its work
    Live,
    /// May it get requests
    Ready,
    /// Has it started
    Started,
    /// Is all well, with every check
    Health,
}

/// Asks.
///
/// # Errors
/// When nothing answers.
pub fn probe(args: &ProbeArgs) -> anyhow::Result<Exit> {
    let target = target(args, |name| std::env::var_os(name))?;
    let question = match args.question {
        Question::Live => client::Question::Live,
        Question::Ready => client::Question::Ready,
        Question::Started => client::Question::Started,
        Question::Health => client::Question::Health,
    };
    let answer = client::probe(&target, question, args.timeout)?;
    if !args.quiet {
        writeln!(screen::data(), "{}", answer.body.trim_end())?;
    }
    Ok(if answer.is_yes { Exit::Yes } else { Exit::No })
}

/// Flags first, then the variables that `run` itself listens by: the same image has both.
fn target(args: &ProbeArgs, variable: impl Fn(&str) -> Option<OsString>) -> anyhow::Result<Target> {
    target_of(args.sock.as_deref(), args.listen.as_deref(), variable)
}

/// The admin endpoints of a service, for any command that asks them.
pub(super) fn target_of(
    sock: Option<&Path>,
    listen: Option<&str>,
    variable: impl Fn(&str) -> Option<OsString>,
) -> anyhow::Result<Target> {
    if let Some(sock) = sock {
        return Ok(Target::Unix(sock.to_owned()));
    }
    if let Some(listen) = listen {
        return Ok(Target::Tcp(parse_address(listen).context("`--listen`")?));
    }
    let given = |name| variable(name).filter(|value| !value.is_empty());
    if let Some(sock) = given(env_vars::SOCK.name) {
        return Ok(Target::Unix(sock.into()));
    }
    let Some(listen) = given(env_vars::LISTEN.name) else {
        return Ok(Target::Tcp(LISTEN_DEFAULT));
    };
    match parse_listen(&listen.to_string_lossy()).with_context(|| env_vars::LISTEN.name)? {
        Some(address) => Ok(Target::Tcp(address)),
        None => bail!(
            "`PLIMSOLL_LISTEN` is `off`, and no socket is named\nhelp: name one with `--sock PATH`"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(sock: Option<&str>, listen: Option<&str>) -> ProbeArgs {
        ProbeArgs {
            question: Question::Ready,
            sock: sock.map(PathBuf::from),
            listen: listen.map(str::to_owned),
            timeout: Duration::from_secs(1),
            quiet: false,
        }
    }

    fn of(args: &ProbeArgs, variables: &[(&str, &str)]) -> anyhow::Result<String> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        target(args, variable).map(|target| target.to_string())
    }

    #[test]
    fn a_flag_beats_every_variable() {
        let variables = [("PLIMSOLL_SOCK", "/run/a.sock"), ("PLIMSOLL_LISTEN", "127.0.0.1:1")];
        assert_eq!(of(&args(Some("/b.sock"), None), &variables).unwrap(), "/b.sock");
        assert_eq!(of(&args(None, Some(":2")), &variables).unwrap(), "0.0.0.0:2");
        assert_eq!(of(&args(None, None), &variables).unwrap(), "/run/a.sock");
        assert_eq!(of(&args(None, None), &variables[1..]).unwrap(), "127.0.0.1:1");
        assert_eq!(of(&args(None, None), &[]).unwrap(), "127.0.0.1:9460");
    }

    #[test]
    fn a_listener_that_is_off_cannot_be_asked() {
        let error = of(&args(None, None), &[("PLIMSOLL_LISTEN", "off")]).unwrap_err();
        assert!(error.to_string().contains("help:"), "{error}");
    }
}
