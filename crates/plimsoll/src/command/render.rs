//! `plimsoll render`: writes every production artifact, or says how those on the disk stand.
//!
//! It never overwrites what somebody else wrote: a file that was there before, or that was changed
//! by hand, stays until it is forced. A newer program alone is no difference that `--check` minds.

mod compare;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use anyhow::bail;
use blueprint::lock::{self, Entry, Owner, TEMPLATES};
use blueprint::{Settled, State, TARGETS};
use clap::Args;
use clap::builder::PossibleValuesParser;
use serde_json::json;

use crate::exit::Exit;
use crate::rendering::{self, Loaded, Purpose, Rendering};
use crate::report;
use crate::screen;
use crate::stage::Stage;
use crate::table::Table;

const EXAMPLE: &str = "\
Example:
  plimsoll render                      write everything
  plimsoll render --check              say whether everything is up to date, for CI
  plimsoll render --only compose       write one family of files
  plimsoll render --diff Makefile      show what was changed by hand, and what we would";

/// Write the images, Compose files, charts and everything else of the platform
#[derive(Debug, Args)]
#[command(before_help = EXAMPLE)]
pub struct RenderArgs {
    /// Read the manifest of this directory [default: here or above]
    #[arg(long = "dir", value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Mean these files only [default: all]
    #[arg(value_name = "FILE")]
    files: Vec<String>,
    /// Mean the files of these targets only
    #[arg(long, value_name = "TARGET", value_delimiter = ',', value_parser = targets())]
    only: Vec<String>,
    /// Mean the files of this environment, and those that all share
    #[arg(long, value_name = "NAME")]
    env: Option<String>,
    /// Write nothing; exit 1 when files are stale, missing or changed by hand
    #[arg(long, conflicts_with_all = ["force", "diff"])]
    check: bool,
    /// Write nothing; show how files would change
    #[arg(long)]
    diff: bool,
    /// Overwrite files that were changed by hand or were there before
    #[arg(long, conflicts_with = "diff")]
    force: bool,
    /// Write nothing; list the files with their targets
    #[arg(long, conflicts_with_all = ["check", "diff", "force"])]
    list: bool,
    /// Print one JSON document
    #[arg(long, conflicts_with = "diff")]
    json: bool,
}

fn targets() -> PossibleValuesParser {
    PossibleValuesParser::new(
        TARGETS
            .iter()
            .map(|target| clap::builder::PossibleValue::new(target.name).help(target.help)),
    )
}

/// Renders, compares, and writes.
///
/// # Errors
/// When there is no manifest, the lock cannot be read, or the disk refuses.
pub fn render(args: &RenderArgs) -> anyhow::Result<Exit> {
    let purpose = if args.list || args.check || args.diff { Purpose::Look } else { Purpose::Write };
    let mut rendering = match rendering::load(args.directory.as_deref(), purpose)? {
        Loaded::Rendering(rendering) => rendering,
        Loaded::Problems => return Ok(Exit::Unknown),
    };
    for note in &rendering.notes {
        report::warn(note)?;
    }
    let scope = Scope::of(args, &rendering)?;
    rendering.artifacts.retain(|path, artifact| {
        let environment = artifact.environment.as_ref().map(AsRef::as_ref);
        scope.holds(path, artifact.target, environment)
    });
    if args.list {
        return list(&rendering, args.json);
    }
    let disk = rendering.disk()?;
    let settled = rendering.settle(&disk, |path, entry| {
        // Which environment a file was of is not known once it is no longer rendered.
        args.env.is_none() && scope.holds(path, &entry.target, None)
    });
    if args.diff {
        return compare::show(&rendering, &settled, &disk);
    }
    let is_outdated = is_outdated(&rendering);
    if args.check {
        report(&settled, args)?;
        return check(&settled, is_outdated);
    }
    write(&rendering, &settled, args)?;
    report(&settled, args)?;
    summary(&rendering, &settled, args)
}

/// Which files are meant.
struct Scope {
    files: Vec<String>,
    only: Vec<String>,
    env: Option<String>,
}

impl Scope {
    fn of(args: &RenderArgs, rendering: &Rendering) -> anyhow::Result<Scope> {
        let files =
            args.files.iter().map(|file| rendering.known(file)).collect::<Result<_, _>>()?;
        if let Some(env) = &args.env
            && !rendering.environments.contains(env)
        {
            let known = rendering.environments.join("`, `");
            bail!("there is no environment `{env}`\nhelp: there are `{known}`");
        }
        Ok(Scope { files, only: args.only.clone(), env: args.env.clone() })
    }

    fn holds(&self, path: &str, target: &str, environment: Option<&str>) -> bool {
        (self.files.is_empty() || self.files.iter().any(|file| file == path))
            && (self.only.is_empty() || self.only.iter().any(|only| only == target))
            && (self.env.is_none() || environment.is_none_or(|of| self.env.as_deref() == Some(of)))
    }
}

fn list(rendering: &Rendering, is_json: bool) -> anyhow::Result<Exit> {
    if is_json {
        let files: Vec<_> = rendering
            .artifacts
            .iter()
            .map(|(path, artifact)| {
                json!({"path": path, "target": artifact.target, "environment": artifact.environment})
            })
            .collect();
        screen::write_json(&json!({"files": files}))?;
        return Ok(Exit::Yes);
    }
    let mut table = Table::new(["TARGET", "ENVIRONMENT", "FILE"]);
    for (path, artifact) in rendering.artifacts.iter() {
        let environment = artifact.environment.as_ref().map_or("-", AsRef::as_ref);
        table.push([artifact.target.to_owned(), environment.to_owned(), path.to_owned()]);
    }
    table.write(&mut screen::data())?;
    Ok(Exit::Yes)
}

/// Whether only this program, and not the manifest, may have changed since the last render.
fn is_outdated(rendering: &Rendering) -> bool {
    rendering.lock.plan == rendering.plan
        && rendering.lock.templates.is_some_and(|templates| templates < TEMPLATES)
}

fn check(settled: &[Settled<'_>], is_outdated: bool) -> anyhow::Result<Exit> {
    let of = |state| settled.iter().filter(|file| file.state == state).count();
    let n_edited = of(State::Edited) + of(State::Foreign);
    let n_stale = of(State::New) + of(State::Stale) + of(State::Missing) + of(State::Gone);
    let mut out = screen::words();
    match (n_stale, n_edited) {
        (0, 0) => writeln!(out, "{} as rendered", files_are(settled.len()))?,
        (_, 0) if is_outdated => {
            let files = files(n_stale);
            writeln!(out, "this plimsoll would write {files} otherwise than the last one")?;
            writeln!(out, "next: `plimsoll render`, when it suits you")?;
            return Ok(Exit::Yes);
        }
        _ => {
            let stale = (n_stale > 0).then(|| format!("{} stale", files_are(n_stale)));
            let it = if n_edited == 1 { "it" } else { "them" };
            let edited =
                (n_edited > 0).then(|| format!("{} not as we wrote {it}", files_are(n_edited)));
            let both: Vec<String> = stale.into_iter().chain(edited).collect();
            writeln!(out, "{}", both.join(", "))?;
            let next = if n_edited == 0 { "plimsoll render" } else { "plimsoll render --diff" };
            writeln!(out, "next: `{next}`")?;
        }
    }
    Ok(if n_stale + n_edited == 0 { Exit::Yes } else { Exit::No })
}

/// `1 file`, `2 files`.
fn files(n: usize) -> String {
    format!("{n} file{}", if n == 1 { "" } else { "s" })
}

/// `1 file is`, `2 files are`.
fn files_are(n: usize) -> String {
    format!("{} {}", files(n), if n == 1 { "is" } else { "are" })
}

/// Writes what is to be written, and the lock.
fn write(rendering: &Rendering, settled: &[Settled<'_>], args: &RenderArgs) -> anyhow::Result<()> {
    let mut stage = Stage::new(&rendering.root);
    let mut lock = rendering.lock.clone();
    for file in settled {
        match file.artifact {
            Some(artifact) if file.state.is_written(args.force) => {
                stage.write(file.path, &artifact.text, artifact.is_executable)?;
            }
            Some(_) => {}
            None => {
                if file.state == State::Gone {
                    stage.remove(file.path)?;
                }
                if file.state != State::Ejected {
                    lock.files.remove(file.path);
                }
                continue;
            }
        }
        let is_as_rendered = file.state == State::Same || file.state.is_written(args.force);
        if let Some(artifact) = file.artifact.filter(|_| is_as_rendered) {
            let owner = Owner::Plimsoll { blob: lock::blob(artifact.text.as_bytes()) };
            let target = artifact.target.to_owned();
            lock.files.insert(file.path.to_owned(), Entry { target, owner });
        }
    }
    // After a part only, the rest is still that of the plan before.
    let is_whole = args.files.is_empty() && args.only.is_empty() && args.env.is_none();
    if is_whole {
        lock.plan.clone_from(&rendering.plan);
        lock.templates = Some(TEMPLATES);
    }
    if lock != rendering.lock {
        stage.write(lock::NAME, &lock.to_text(), false)?;
    }
    stage.commit()
}

/// One line for each file that is not simply as rendered.
fn report(settled: &[Settled<'_>], args: &RenderArgs) -> anyhow::Result<()> {
    if args.json {
        let files: Vec<_> = settled
            .iter()
            .map(|file| {
                let is_written = !args.check && file.state.is_written(args.force);
                json!({"path": file.path, "state": file.state, "written": is_written})
            })
            .collect();
        return screen::write_json(&json!({"files": files}));
    }
    let mut table = Table::new(["FILE", "STATE", ""]);
    let mut n_rows = 0;
    for file in settled {
        if let Some(words) = words(file.state, args) {
            table.push([file.path.to_owned(), state_word(file.state).to_owned(), words.to_owned()]);
            n_rows += 1;
        }
    }
    if n_rows > 0 {
        table.write(&mut screen::data())?;
    }
    Ok(())
}

fn state_word(state: State) -> &'static str {
    match state {
        State::Same => "same",
        State::New => "new",
        State::Stale => "stale",
        State::Missing => "missing",
        State::Edited => "edited",
        State::Foreign => "foreign",
        State::Ejected => "ejected",
        State::Gone => "gone",
        State::Left => "left",
    }
}

/// What a person has to know about a file in a state.
fn words(state: State, args: &RenderArgs) -> Option<&'static str> {
    Some(match (state, args.check, args.force) {
        (State::Same | State::Ejected, ..) => return None,
        (State::New, true, _) => "not written yet",
        (State::New, false, _) => "written",
        (State::Stale, true, _) => "the manifest has moved on",
        (State::Stale, false, _) => "rewritten",
        (State::Missing, true, _) => "was deleted",
        (State::Missing, false, _) => "written again",
        (State::Edited, _, false) => "changed by hand: left as it is",
        (State::Foreign, _, false) => "was there before us: left as it is",
        (State::Edited | State::Foreign, _, true) => "overwritten",
        (State::Gone, true, _) => "no longer rendered",
        (State::Gone, false, _) => "removed",
        (State::Left, ..) => "no longer rendered, but changed by hand: it is yours now",
    })
}

fn summary(
    rendering: &Rendering,
    settled: &[Settled<'_>],
    args: &RenderArgs,
) -> anyhow::Result<Exit> {
    let mut by_state: BTreeMap<State, Vec<&str>> = BTreeMap::new();
    for file in settled {
        by_state.entry(file.state).or_default().push(file.path);
    }
    let is_written = |file: &&Settled<'_>| file.state.is_written(args.force);
    let n_written = settled.iter().filter(is_written).count();
    let mut out = screen::words();
    let kept: Vec<&str> = [State::Edited, State::Foreign]
        .iter()
        .filter(|_| !args.force)
        .flat_map(|state| by_state.get(state).into_iter().flatten().copied())
        .collect();
    let it = if n_written == 1 { "it" } else { "them" };
    let kept_words = if kept.len() == 1 { "it is" } else { "they are" };
    match (n_written, kept.first()) {
        (0, None) => writeln!(out, "{} as rendered; nothing to do", files_are(settled.len()))?,
        (_, None) => writeln!(
            out,
            "wrote {}; read {it}, and commit {it} with `plimsoll.lock`",
            files(n_written)
        )?,
        (_, Some(first)) => {
            writeln!(out, "wrote {}, left {} as {kept_words}", files(n_written), kept.len())?;
            writeln!(out, "see:  `plimsoll render --diff {first}`")?;
            writeln!(out, "then: `plimsoll patch {first}` keeps your change in every render,")?;
            writeln!(out, "      `plimsoll eject {first}` makes the file yours,")?;
            writeln!(out, "      `plimsoll render --force {first}` drops your change")?;
        }
    }
    if rendering.unpatched.len() > 1 {
        writeln!(out, "{} files carry your patches", rendering.unpatched.len())?;
    }
    Ok(if kept.is_empty() { Exit::Yes } else { Exit::No })
}
