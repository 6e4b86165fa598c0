//! How an item is started, completely resolved: no name is looked up after this. Data only.

use std::collections::BTreeMap;
use std::path::PathBuf;

use nix::sys::signal::Signal;

use super::Check;
use crate::resource::Cluster;

/// What stands behind an item.
#[derive(Debug, Clone)]
pub enum Launch {
    /// A child process.
    Process(Box<Program>),
    /// A directory, made when it is missing.
    Directory(PathBuf),
    /// Something that runs elsewhere and is only asked whether it answers.
    Elsewhere(Check),
}

/// A program with everything around it.
#[derive(Debug, Clone)]
pub struct Program {
    /// Its file, or a name to be found in `PATH`.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables that it gets besides those of `plimsoll up` itself.
    pub env: BTreeMap<String, String>,
    /// Its working directory.
    pub directory: PathBuf,
    /// Whom it runs as; `None` is whoever runs `plimsoll up`.
    pub account: Option<Account>,
    /// TCP ports on 127.0.0.1 that it will listen on; they must be free before it starts.
    pub ports: Vec<u16>,
    /// The signal that asks it to end.
    pub stop_signal: Signal,
    /// What is done before it starts.
    pub setup: Setup,
    /// How it is found out that it is ready.
    pub check: Check,
}

/// What is done before a program starts; repeating it does no harm.
#[derive(Debug, Clone)]
pub enum Setup {
    /// Nothing.
    Nothing,
    /// A Postgres cluster is made, with its database and extensions.
    Postgres(Cluster),
    /// A socket of a process before is removed.
    RemoveFile(PathBuf),
}

/// A user and group of the system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The login name, for messages.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// A build or a migration.
#[derive(Debug, Clone)]
pub struct TaskLaunch {
    /// The item under whose name its lines appear.
    pub item: String,
    /// Program and arguments; never empty.
    pub words: Vec<String>,
    /// Variables that it gets besides those of `plimsoll up` itself.
    pub env: BTreeMap<String, String>,
    /// Its working directory.
    pub directory: PathBuf,
}
