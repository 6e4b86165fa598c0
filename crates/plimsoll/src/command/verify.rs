//! `plimsoll verify`: hands every rendered file to the program that it is for, and says what that
//! program thinks of it.
//!
//! It judges what is in the directory: the files that `plimsoll.lock` names, as they are now. It
//! deliberately renders, mends and installs nothing, and starts nothing that lasts.
//!
//! Invariant: a file that no program has judged never counts as passed.

mod consumer;
mod judge;
mod process;
mod show;
mod tool;
mod tree;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{anyhow, bail};
use blueprint::TARGETS;
use blueprint::lock::{self, Lock, Owner};
use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser};

use self::show::{Row, Verdict};
use self::tree::{File, Tree};
use super::block_on;
use crate::exit::Exit;
use crate::platform::{self, Platform};
use crate::rendering::{self, Loaded, Purpose};
use crate::repository;

const EXAMPLE: &str = "\
Example:
  plimsoll verify                      hand every file to the program that it is for
  plimsoll verify --only compose,helm  mean two families of files
  plimsoll verify --strict             for CI: what no program has judged is a no";

/// Hand every rendered file to the program that it is for
///
/// A program that is not installed is named with how to install it, and what it is for is not
/// verified.
#[derive(Debug, Args)]
#[command(before_help = EXAMPLE)]
pub struct VerifyArgs {
    /// Verify the files of this directory [default: here or above]
    #[arg(long = "dir", value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Mean the files of these targets only
    #[arg(long, value_name = "TARGET", value_delimiter = ',', value_parser = targets())]
    only: Vec<String>,
    /// Mean the files of this environment, and those that all share
    #[arg(long, value_name = "NAME")]
    env: Option<String>,
    /// Exit 1 when a file is not verified
    #[arg(long)]
    strict: bool,
    /// Take schemas of Kubernetes from this directory [default: from the network]
    ///
    /// It is laid out as the public collections are: v1.34.0-standalone-strict/KIND-GROUP-V.json
    /// for kinds of Kubernetes itself, GROUP/KIND_V.json for others.
    #[arg(long, value_name = "DIR")]
    schemas: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

fn targets() -> PossibleValuesParser {
    PossibleValuesParser::new(
        TARGETS.iter().map(|target| PossibleValue::new(target.name).help(target.help)),
    )
}

/// Judges, and shows the judgements.
///
/// # Errors
/// Nothing was rendered, the lock cannot be read, or it was stopped.
pub fn verify(args: &VerifyArgs) -> anyhow::Result<Exit> {
    let platform = platform::find(args.directory.as_deref(), None)?;
    let lock = read_lock(&platform)?;
    let environments = match &args.env {
        None => BTreeMap::new(),
        Some(env) => match environments(args, env)? {
            Some(environments) => environments,
            None => return Ok(Exit::Unknown),
        },
    };
    let is_meant = |path: &str, target: &str| {
        (args.only.is_empty() || args.only.iter().any(|only| only == target))
            && environments.get(path).is_none_or(|of| Some(of) == args.env.as_ref())
    };
    let tree = read(platform, lock, is_meant)?;
    if tree.meant().next().is_none() && tree.missing.is_empty() {
        bail!("there is nothing to verify\nhelp: see what is rendered: `plimsoll render --list`");
    }
    let schemas = args.schemas.as_ref().map(std::path::absolute).transpose()?;
    let (mut rows, n_ejected) = (missing(&tree), tree.n_ejected);
    rows.extend(block_on(judge::judge_all(tree, schemas))??);
    show::show(&rows, n_ejected, args.json)?;
    Ok(exit(&rows, args.strict))
}

fn exit(rows: &[Row], is_strict: bool) -> Exit {
    let has = |verdict: fn(&Verdict) -> bool| rows.iter().any(|row| verdict(&row.verdict));
    if has(|verdict| matches!(verdict, Verdict::Refused)) {
        Exit::No
    } else if has(|verdict| matches!(verdict, Verdict::Unknown)) {
        Exit::Unknown
    } else if is_strict && has(Verdict::is_unverified) {
        Exit::No
    } else {
        Exit::Yes
    }
}

fn read_lock(platform: &Platform) -> anyhow::Result<Lock> {
    let found = repository::read(&platform.directory, [lock::NAME])?;
    let Some(bytes) = found.get(lock::NAME) else {
        bail!(
            "there is no `{}` in `{}`\nhelp: `plimsoll render` writes it, with what is to be \
             verified",
            lock::NAME,
            platform.directory.display()
        );
    };
    let text = String::from_utf8_lossy(bytes);
    Lock::parse(&text).map_err(|error| anyhow!("{error}\nhelp: {}", error.help()))
}

/// The environments of the files that are of one; absent when the manifest has problems.
fn environments(args: &VerifyArgs, env: &str) -> anyhow::Result<Option<BTreeMap<String, String>>> {
    let rendering = match rendering::load(args.directory.as_deref(), Purpose::Look)? {
        Loaded::Rendering(rendering) => rendering,
        Loaded::Problems => return Ok(None),
    };
    if !rendering.environments.iter().any(|known| known == env) {
        let known = rendering.environments.join("`, `");
        bail!("there is no environment `{env}`\nhelp: there are `{known}`");
    }
    let of = |(path, artifact): (&str, &blueprint::Artifact)| {
        Some((path.to_owned(), artifact.environment.as_ref()?.to_string()))
    };
    Ok(Some(rendering.artifacts.iter().filter_map(of).collect()))
}

fn read(
    platform: Platform,
    lock: Lock,
    is_meant: impl Fn(&str, &str) -> bool,
) -> anyhow::Result<Tree> {
    let root = platform.directory;
    let n_files = lock.files.len();
    let ours: BTreeMap<String, String> = lock
        .files
        .into_iter()
        .filter(|(_, entry)| entry.owner != Owner::User)
        .map(|(path, entry)| (path, entry.target))
        .collect();
    let n_ejected = n_files - ours.len();
    let mut disk = repository::read(&root, ours.keys().map(String::as_str))?;
    let mut tree = Tree { root, files: BTreeMap::new(), missing: Vec::new(), n_ejected };
    for (path, target) in ours {
        let is_meant = is_meant(&path, &target);
        match disk.remove(&path) {
            Some(bytes) => {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                tree.files.insert(path, File { target, text, is_meant });
            }
            None if is_meant => tree.missing.push(path),
            None => {}
        }
    }
    Ok(tree)
}

/// What is not there is refused by ourselves.
fn missing(tree: &Tree) -> Vec<Row> {
    let row = |path: &String| {
        let words = format!("{path}: it is not there\nhelp: `plimsoll render` writes it again");
        Row { words, ..Row::ours(path, Verdict::Refused) }
    };
    tree.missing.iter().map(row).collect()
}
