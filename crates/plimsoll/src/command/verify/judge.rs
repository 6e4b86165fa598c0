//! Runs what the consumers want to have run: some at once, each within its time.
//!
//! On Ctrl-C everything that runs is ended, and there is no answer.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::{Context as _, bail};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::consumer::{CONSUMERS, Consumer, Hand, Judgement, Subject, TOOL_LIMIT, Way};
use super::process;
use super::show::{Progress, Row, Verdict};
use super::tool::{Installed, Tool};
use super::tree::Tree;

/// Most programs at once: some take a core and hundreds of megabytes.
const TOOLS_AT_ONCE_MAX: usize = 4;

/// By name: where a program is, or why it is not.
type Found = BTreeMap<&'static str, Result<Installed, String>>;

/// Everything that is shared by what runs at once.
struct Work {
    tree: Tree,
    schemas: Option<PathBuf>,
    found: Found,
    at_once: Semaphore,
    /// What runs, since when.
    running: Mutex<BTreeMap<String, Instant>>,
}

/// Hands every subject to its program.
///
/// # Errors
/// It was stopped by a signal, or cannot work at all.
pub(super) async fn judge_all(tree: Tree, schemas: Option<PathBuf>) -> anyhow::Result<Vec<Row>> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for signals")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for signals")?;
    tokio::select! {
        // When it is dropped, so are the programs.
        rows = judge(tree, schemas) => rows,
        _ = interrupt.recv() => bail!("stopped; every program that ran was ended"),
        _ = terminate.recv() => bail!("stopped; every program that ran was ended"),
    }
}

async fn judge(tree: Tree, schemas: Option<PathBuf>) -> anyhow::Result<Vec<Row>> {
    let subjects: Vec<(&'static Consumer, Subject)> = CONSUMERS
        .iter()
        .flat_map(|consumer| (consumer.subjects)(&tree).into_iter().map(move |one| (consumer, one)))
        .collect();
    let mut rows = without_consumer(&tree, &subjects);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let work = Arc::new(Work {
        found: find(&tree, &subjects).await,
        tree,
        schemas,
        at_once: Semaphore::new(cores.min(TOOLS_AT_ONCE_MAX)),
        running: Mutex::default(),
    });
    let mut progress = Progress::new(subjects.len());
    let mut tasks = JoinSet::new();
    for (consumer, subject) in subjects {
        let work = Arc::clone(&work);
        tasks.spawn(async move { work.judge(consumer, subject).await });
    }
    while !tasks.is_empty() {
        tokio::select! {
            Some(row) = tasks.join_next() => {
                rows.push(row.context("a judgement was lost")??);
                progress.has_judged();
            }
            () = progress.tick() => {
                let running = work.running.lock().expect("nobody panics while it is held").clone();
                progress.write(&running)?;
            }
        }
    }
    progress.clear()?;
    rows.sort_by(|a, b| (&a.artifact, &a.tool).cmp(&(&b.artifact, &b.tool)));
    Ok(rows)
}

/// Files that nothing is made to judge, so that none hides.
fn without_consumer(tree: &Tree, subjects: &[(&Consumer, Subject)]) -> Vec<Row> {
    let judged: BTreeSet<&str> = subjects
        .iter()
        .filter(|(consumer, _)| consumer.is_own)
        .flat_map(|(_, subject)| subject.files.iter().map(String::as_str))
        .collect();
    tree.meant()
        .filter(|(path, _)| !judged.contains(path))
        .map(|(path, _)| Row { tool: "-".to_owned(), ..Row::ours(path, Verdict::NoConsumer) })
        .collect()
}

/// Looks for every program that some way needs.
async fn find(tree: &Tree, subjects: &[(&'static Consumer, Subject)]) -> Found {
    let tools: BTreeMap<&str, &'static Tool> = subjects
        .iter()
        .flat_map(|(consumer, _)| consumer.ways)
        .flat_map(|way| way.tools)
        .map(|tool| (tool.name, *tool))
        .collect();
    let mut tasks = JoinSet::new();
    for tool in tools.into_values() {
        let root = tree.root.clone();
        tasks.spawn(async move { (tool.name, tool.find(&root).await) });
    }
    tasks.join_all().await.into_iter().collect()
}

impl Work {
    async fn judge(&self, consumer: &'static Consumer, subject: Subject) -> anyhow::Result<Row> {
        let is_there = |tool: &&Tool| self.found.get(tool.name).is_some_and(Result::is_ok);
        let way = consumer.ways.iter().find(|way| way.tools.iter().all(is_there));
        let Some(way) = way else { return Ok(self.not_verified(consumer, &subject)) };
        let judgement = self.run(way, &subject).await?;
        let mut row = Row::ours(&subject.name, Verdict::Passed);
        row.files = subject.files;
        if let Some(tool) = way.tools.first() {
            tool.name.clone_into(&mut row.tool);
            let installed = self.found.get(tool.name).and_then(|found| found.as_ref().ok());
            row.version = installed.map(|found| found.version.clone()).unwrap_or_default();
        }
        (row.verdict, row.words) = match judgement {
            Judgement::Passed(note) => (Verdict::Passed, note.unwrap_or_default()),
            Judgement::Refused(words) => (Verdict::Refused, self.relative(&words)),
            Judgement::Unknown(words) => (Verdict::Unknown, words),
        };
        Ok(row)
    }

    /// Some programs say where a file is in the whole machine, which a person knows.
    fn relative(&self, words: &str) -> String {
        match self.tree.root.canonicalize() {
            Ok(root) => words.replace(&format!("{}/", root.display()), ""),
            Err(_) => words.to_owned(),
        }
    }

    /// Names the programs that are missing for the best way.
    fn not_verified(&self, consumer: &Consumer, subject: &Subject) -> Row {
        let mut row = Row::ours(&subject.name, Verdict::NotVerified);
        row.files.clone_from(&subject.files);
        row.version = String::new();
        let best = consumer.ways.first();
        let missing = best.into_iter().flat_map(|way| way.tools).filter_map(|tool| {
            let why = self.found.get(tool.name)?.as_ref().err()?;
            Some((*tool, why))
        });
        let missing: Vec<_> = missing.collect();
        if let Some((tool, _)) = missing.first() {
            tool.name.clone_into(&mut row.tool);
        }
        row.words = missing.iter().map(|(_, why)| why.as_str()).collect::<Vec<_>>().join("; ");
        row.install = missing.iter().map(|(tool, _)| tool.install).collect();
        row
    }

    /// Runs the programs of one way, each fed with what the one before it said.
    async fn run(&self, way: &Way, subject: &Subject) -> anyhow::Result<Judgement> {
        let _permit = self.at_once.acquire().await.context("work goes on")?;
        let scratch = tempfile::tempdir().context("cannot make a directory to work in")?;
        let hand = Hand {
            tree: &self.tree,
            subject,
            scratch: scratch.path(),
            schemas: self.schemas.as_ref(),
        };
        let mut ended = Vec::new();
        let mut said = String::new();
        for call in (way.prepare)(&hand)? {
            let Some(Ok(installed)) = self.found.get(call.tool.name) else {
                bail!("`{}` is run and is not needed", call.tool.name);
            };
            let command = call.tool.command(&installed.path, &self.tree.root);
            let name = format!("{} on {}", call.tool.name, subject.name);
            let mark = |started| {
                let mut running = self.running.lock().expect("nobody panics while it is held");
                match started {
                    Some(started) => running.insert(name.clone(), started),
                    None => running.remove(&name),
                };
            };
            mark(Some(Instant::now()));
            let one = process::run(command, &call, std::mem::take(&mut said), TOOL_LIMIT).await;
            mark(None);
            match one {
                Err(why) => return Ok(Judgement::Unknown(why)),
                Ok(one) => {
                    let has_failed = !one.is_success();
                    said.clone_from(&one.stdout);
                    ended.push(one);
                    if has_failed {
                        break;
                    }
                }
            }
        }
        Ok((way.judge)(&hand, &ended))
    }
}
