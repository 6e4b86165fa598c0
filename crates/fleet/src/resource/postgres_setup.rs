//! Makes a Postgres cluster with one login, one database and its extensions, before it first runs.
//!
//! All of it by the server program itself in single-user mode: no client, no second start, no
//! moment in which it listens without a password.
//!
//! *Invariant: a cluster is either complete or not there: it is made beside its place and renamed.*

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::account::give;
use super::kept::write_private;
use crate::driver::Account;
use crate::hub::{Hub, Stream};

/// How long one of the steps may take.
const STEP_LIMIT: Duration = Duration::from_secs(120);
/// Written last, next to the data: which extensions are there already.
const DONE_FILE: &str = "plimsoll-extensions";

/// A cluster as it should be.
#[derive(Debug, Clone)]
pub struct Cluster {
    pub(super) bin: PathBuf,
    pub(super) directory: PathBuf,
    pub(super) account: Option<Account>,
    /// Also the name of the login.
    pub(super) database: String,
    pub(super) password: String,
    pub(super) extensions: Vec<String>,
}

impl Cluster {
    /// Makes what is missing. Repeating it does no harm.
    ///
    /// # Errors
    /// What could not be made, and what Postgres said.
    pub(crate) async fn prepare(&self, name: &str, hub: &Hub) -> Result<(), String> {
        if !self.directory.join("PG_VERSION").exists() {
            hub.push(name, Stream::Platform, "makes a database cluster");
            self.make().await?;
        }
        let done = fs::read_to_string(self.directory.join(DONE_FILE)).unwrap_or_default();
        for extension in &self.extensions {
            if !done.lines().any(|line| line == extension) {
                self.make_extension(extension).await?;
            }
        }
        let list = self.extensions.join("\n");
        if list != done {
            let file = self.directory.join(DONE_FILE);
            fs::write(&file, list)
                .map_err(|e| format!("cannot write `{}`: {e}", file.display()))?;
        }
        Ok(())
    }

    async fn make(&self) -> Result<(), String> {
        let new = self.directory.with_extension("new");
        let words = |what: &Path, error: &std::io::Error| format!("`{}`: {error}", what.display());
        match fs::remove_dir_all(&new) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(words(&new, &error));
            }
            _ => {}
        }
        let password_file = self.directory.with_extension("password");
        write_private(&password_file, self.password.as_bytes())
            .and_then(|()| give(self.account.as_ref(), &password_file))
            .map_err(|error| words(&password_file, &error))?;
        let made = self.initdb(&new, &password_file).await;
        let _ = fs::remove_file(&password_file);
        made?;
        let sql = format!("CREATE DATABASE {};\n", self.database);
        self.single(&new, "postgres", &sql).await?;
        fs::rename(&new, &self.directory).map_err(|error| words(&self.directory, &error))
    }

    async fn initdb(&self, new: &Path, password_file: &Path) -> Result<(), String> {
        let mut command = self.command("initdb");
        command.arg("-D").arg(new).arg("-U").arg(&self.database).arg("--pwfile").arg(password_file);
        command.args(["--auth=scram-sha-256", "--encoding=UTF8"]);
        // Text is compared by code points everywhere, and upper case works beyond ASCII.
        let locale = if cfg!(target_os = "linux") { "C.UTF-8" } else { "C" };
        command.arg(format!("--locale={locale}"));
        let output = finish(command, "").await.map_err(|e| format!("`initdb`: {e}"))?;
        match output.status.success() {
            true => Ok(()),
            false => Err(format!("`initdb` failed: {}", last_words(&output))),
        }
    }

    async fn make_extension(&self, extension: &str) -> Result<(), String> {
        let sql = format!("CREATE EXTENSION IF NOT EXISTS \"{extension}\" CASCADE;\n");
        self.single(&self.directory, &self.database, &sql).await.map_err(|error| {
            format!(
                "extension `{extension}` cannot be made: {error}\n\
                 help: install it for Postgres in `{}` (Debian: a package called \
                 postgresql-<version>-{extension} or postgresql-contrib)",
                self.bin.display()
            )
        })
    }

    /// Runs one statement without a server.
    async fn single(&self, directory: &Path, database: &str, sql: &str) -> Result<(), String> {
        let mut command = self.command("postgres");
        command.arg("--single").arg("-D").arg(directory).arg(database);
        let output = finish(command, sql).await.map_err(|error| format!("`postgres`: {error}"))?;
        let said = String::from_utf8_lossy(&output.stderr);
        let problem = said.lines().find_map(|line| {
            ["ERROR:", "FATAL:"].iter().find_map(|word| Some(line.split_once(word)?.1.trim()))
        });
        match problem {
            Some(problem) => Err(problem.to_owned()),
            None if output.status.success() => Ok(()),
            None => Err(last_words(&output)),
        }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        // A directory that the account can surely enter.
        command.current_dir("/").env("LC_MESSAGES", "C").env_remove("PGDATA");
        if let Some(account) = &self.account {
            command.uid(account.uid).gid(account.gid);
        }
        command
    }
}

/// Runs to the end with `input`; dropping the future kills it.
async fn finish(mut command: Command, input: &str) -> Result<Output, String> {
    let command = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    let run = async {
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes()).await?;
        }
        child.wait_with_output().await
    };
    match tokio::time::timeout(STEP_LIMIT, run).await {
        Ok(output) => output.map_err(|error| error.to_string()),
        Err(_) => Err(format!("did not end within {} s", STEP_LIMIT.as_secs())),
    }
}

fn last_words(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    let line = said.lines().rev().find(|line| !line.trim().is_empty());
    line.map_or_else(|| output.status.to_string(), |line| line.trim().to_owned())
}
