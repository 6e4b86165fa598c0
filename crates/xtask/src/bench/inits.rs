//! Table: the programs that run another one, ours and its peers, each as its users call it.
//!
//! A peer that is not installed has no row. Each gets one command and no more: what a peer needs
//! beside it (a service directory, a configuration) is written here, in its shortest form.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use crate::tools;

/// The name with ours.
pub(super) const OURS: &str = "plimsoll-run";

/// A program that runs another one.
pub(super) struct Init {
    pub name: &'static str,
    program: PathBuf,
    prepare: Prepare,
}

/// The command of a program for an application, with a directory for its files.
type Prepare = fn(&Path, &[&str], &Path) -> Result<Command>;

impl Init {
    /// The command that runs `app` under this, with a directory of its own for its files.
    pub(super) fn command(&self, app: &[&str], directory: &Path) -> Result<Command> {
        let mut command = (self.prepare)(&self.program, app, directory)
            .with_context(|| format!("cannot prepare `{}`", self.name))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(command)
    }
}

/// Ours, and the peers that are installed.
pub(super) fn all(ours: &Path) -> Vec<Init> {
    let mut inits = vec![Init { name: OURS, program: ours.to_path_buf(), prepare: prepare_ours }];
    let peers: [(&'static str, &str, Prepare); 4] = [
        ("tini", "tini", prepare_tini),
        ("dumb-init", "dumb-init", prepare_dumb_init),
        ("s6-svscan", "s6-svscan", prepare_s6),
        ("supervisord", "supervisord", prepare_supervisord),
    ];
    for (name, program, prepare) in peers {
        if let Some(program) = tools::find(program, &[]) {
            inits.push(Init { name, program, prepare });
        }
    }
    inits
}

fn prepare_ours(program: &Path, app: &[&str], directory: &Path) -> Result<Command> {
    let mut command = Command::new(program);
    command.args(["--listen", "off", "--drain", "0s", "--stop-grace", "1s"]);
    command.arg("--sock").arg(directory.join("sock")).arg("--").args(app);
    Ok(command)
}

fn prepare_tini(program: &Path, app: &[&str], _: &Path) -> Result<Command> {
    let mut command = Command::new(program);
    command.args(["-s", "-g", "--"]).args(app);
    Ok(command)
}

fn prepare_dumb_init(program: &Path, app: &[&str], _: &Path) -> Result<Command> {
    let mut command = Command::new(program);
    command.arg("--").args(app);
    Ok(command)
}

fn prepare_s6(program: &Path, app: &[&str], directory: &Path) -> Result<Command> {
    let service = directory.join("scan/app");
    fs::create_dir_all(&service)?;
    let run = service.join("run");
    fs::write(&run, format!("#!/bin/sh\nexec {}\n", shell(app)))?;
    fs::set_permissions(&run, fs::Permissions::from_mode(0o755))?;
    fs::write(service.join("timeout-kill"), "1000\n")?;
    let mut command = Command::new(program);
    command.arg(directory.join("scan"));
    Ok(command)
}

fn prepare_supervisord(program: &Path, app: &[&str], directory: &Path) -> Result<Command> {
    let path = directory.join("supervisord.conf");
    let (directory, app) = (directory.display(), shell(app));
    let script = format!("{directory}/app.sh");
    fs::write(&script, format!("exec {app}\n"))?;
    let text = format!(
        "[supervisord]\nnodaemon=true\nlogfile=/dev/null\nlogfile_maxbytes=0\n\
         pidfile={directory}/pid\n[program:app]\ncommand=sh {script}\nautorestart=false\n\
         startsecs=0\nstopwaitsecs=1\nstopasgroup=true\nkillasgroup=true\n"
    );
    fs::write(&path, text)?;
    let mut command = Command::new(program);
    command.arg("-n").arg("-c").arg(path);
    Ok(command)
}

/// The words of a command for a shell.
fn shell(words: &[&str]) -> String {
    let quoted = words.iter().map(|word| format!("'{}'", word.replace('\'', r"'\''")));
    quoted.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_reach_a_shell_as_they_are() {
        let words = ["echo", "it's", "a b", "$HOME"];
        let output = Command::new("sh").args(["-c", &shell(&words)]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "it's a b $HOME\n");
    }
}
