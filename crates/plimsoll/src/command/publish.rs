//! `plimsoll publish`: hands a message to a running service's spool, and looks after what waits
//! there.
//!
//! It deliberately talks to the service alone, never to the broker or the spool's files. A refusal
//! is an answer, and that answer is no; no answer is exit code 2, and the message may have been
//! accepted: with `--id` it is safe to repeat.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use contract::bodies::{DeadLetters, Published, Refused, SpoolStatus, Status};
use contract::endpoints;
use runtime::admin::client::{self, Target};
use runtime::settings::parse_duration;

use super::probe::target_of;
use crate::exit::{Exit, exit_codes_help};
use crate::screen;
use crate::table::Table;

/// More is not read from stdin: no service takes it.
const BODY_BYTES_MAX: u64 = 8 * 1024 * 1024;

const EXAMPLE_STATUS: &str = "\
Example:
  plimsoll publish status --json";

const EXAMPLE_DLQ: &str = "\
Example:
  plimsoll publish dlq list
  plimsoll publish dlq retry 17";

const EXAMPLE: &str = "\
Example:
  echo '{\"total\": 12}' | plimsoll publish orders --key 42 -H content-type=application/json
  plimsoll publish status
  plimsoll publish dlq list";

/// Publish a message through a service under `run`, from stdin
#[derive(Debug, Args)]
#[command(
    before_help = EXAMPLE,
    after_help = exit_codes_help(),
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub struct PublishArgs {
    #[command(subcommand)]
    command: Option<Command>,
    /// Publish to this topic
    #[arg(required = true)]
    topic: Option<String>,
    /// Keep the order among messages of this key
    #[arg(long)]
    key: Option<String>,
    /// Recognise a repeated publish by this
    #[arg(long)]
    id: Option<String>,
    /// Send this header along; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME=VALUE")]
    headers: Vec<String>,
    #[command(flatten)]
    service: Service,
}

/// Whom to ask.
#[derive(Debug, Args)]
struct Service {
    /// Ask this Unix socket [env: PLIMSOLL_SOCK]
    #[arg(long, value_name = "PATH")]
    sock: Option<PathBuf>,
    /// Ask this admin listener [env: PLIMSOLL_LISTEN] [default: 127.0.0.1:9460]
    #[arg(long, value_name = "ADDR:PORT", conflicts_with = "sock")]
    listen: Option<String>,
    /// Give up after this long
    #[arg(long, value_name = "DURATION", default_value = "35s", value_parser = parse_duration)]
    timeout: Duration,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what waits in the spool
    #[command(before_help = EXAMPLE_STATUS)]
    Status(Service),
    /// Look after messages that the broker refused for good
    #[command(subcommand)]
    #[command(before_help = EXAMPLE_DLQ)]
    Dlq(Dlq),
}

#[derive(Debug, Subcommand)]
enum Dlq {
    /// List the oldest dead letters
    #[command(before_help = EXAMPLE_DLQ)]
    List(Service),
    /// Accept dead letters again
    #[command(before_help = EXAMPLE_DLQ)]
    Retry(Chosen),
    /// Remove dead letters for good
    #[command(before_help = EXAMPLE_DLQ)]
    Drop(Chosen),
}

#[derive(Debug, Args)]
struct Chosen {
    /// These, by number
    #[arg(required = true, value_name = "SEQ")]
    seqs: Vec<u64>,
    #[command(flatten)]
    service: Service,
}

/// Publishes, or looks after what was published.
///
/// # Errors
/// When nothing answers, or stdin cannot be read.
pub fn publish(args: &PublishArgs) -> anyhow::Result<Exit> {
    match &args.command {
        Some(Command::Status(service)) => status(service),
        Some(Command::Dlq(Dlq::List(service))) => list(service),
        Some(Command::Dlq(Dlq::Retry(chosen))) => decide(chosen, "retry", 202),
        Some(Command::Dlq(Dlq::Drop(chosen))) => decide(chosen, "drop", 204),
        None => send(args, args.topic.as_deref().unwrap_or_default()),
    }
}

fn send(args: &PublishArgs, topic: &str) -> anyhow::Result<Exit> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if topic.is_empty() || !topic.chars().all(is_plain) {
        bail!("`{topic}` is no topic\nhelp: use letters, digits, `.`, `_` and `-`");
    }
    let headers = headers(args)?;
    let mut body = Vec::new();
    let mut stdin = std::io::stdin().lock().take(BODY_BYTES_MAX + 1);
    stdin.read_to_end(&mut body).context("cannot read the message from stdin")?;
    if body.len() as u64 > BODY_BYTES_MAX {
        bail!("the message is longer than {BODY_BYTES_MAX} bytes\nhelp: no service takes it");
    }
    let path = endpoints::PUBLISH.path.replace("{topic}", topic);
    let target = args.service.target()?;
    let answer = client::post(&target, &path, &headers, &body, args.service.timeout)?;
    let Some(text) = accepted(&answer, &[200, 202])? else { return Ok(Exit::No) };
    if args.service.json {
        write!(screen::data(), "{text}")?;
        return Ok(Exit::Yes);
    }
    let published: Published = read(text)?;
    let repeated = if answer.0 == 200 { ", as before" } else { "" };
    writeln!(
        screen::data(),
        "{} accepted as {}, on {}{repeated}",
        published.id.unwrap_or_default(),
        published.seq.unwrap_or_default(),
        published.durable.unwrap_or_default(),
    )?;
    Ok(Exit::Yes)
}

/// The headers of the request; what would end a line is refused here.
fn headers(args: &PublishArgs) -> anyhow::Result<Vec<(String, String)>> {
    let mut headers = Vec::new();
    headers.extend(args.key.clone().map(|key| ("X-Key".to_owned(), key)));
    headers.extend(args.id.clone().map(|id| ("Idempotency-Key".to_owned(), id)));
    for header in &args.headers {
        let Some((name, value)) = header.split_once('=') else {
            bail!("`{header}` is no header\nhelp: write `-H content-type=application/json`");
        };
        headers.push((name.to_owned(), value.to_owned()));
    }
    for (name, value) in &headers {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if name.is_empty() || !name.chars().all(is_name) || value.contains(char::is_control) {
            let name = name.escape_debug();
            bail!("header `{name}` cannot be sent\nhelp: leave out control letters");
        }
    }
    Ok(headers)
}

fn status(service: &Service) -> anyhow::Result<Exit> {
    let answer = client::get(&service.target()?, endpoints::SPOOL.path, service.timeout)?;
    let Some(text) = accepted(&answer, &[200])? else { return Ok(Exit::No) };
    let spool: SpoolStatus = read(text)?;
    let mut out = screen::data();
    if service.json {
        write!(out, "{text}")?;
    } else {
        let verdict = spool.output.as_deref().unwrap_or("messages are accepted");
        writeln!(out, "{verdict}")?;
        writeln!(out, "waiting  {} messages, {:.1} s", spool.pending, spool.lag_seconds)?;
        writeln!(out, "on disk  {} of {} bytes", spool.bytes, spool.max_bytes)?;
        writeln!(out, "dead     {} messages", spool.dead)?;
        writeln!(out, "topics   {}", spool.topics.join(", "))?;
    }
    Ok(if spool.status == Status::Pass { Exit::Yes } else { Exit::No })
}

fn list(service: &Service) -> anyhow::Result<Exit> {
    let answer = client::get(&service.target()?, endpoints::DEAD_LETTERS.path, service.timeout)?;
    let Some(text) = accepted(&answer, &[200])? else { return Ok(Exit::No) };
    if service.json {
        write!(screen::data(), "{text}")?;
        return Ok(Exit::Yes);
    }
    let dead: DeadLetters = read(text)?;
    let mut table = Table::new(["SEQ", "TIME", "TOPIC", "KEY", "BYTES", "ERROR"]);
    let shown = dead.letters.len() as u64;
    for letter in dead.letters {
        // What comes from outside must not drive the terminal.
        let plain = |text: &str| text.escape_debug().to_string();
        table.push([
            letter.seq.to_string(),
            letter.time,
            letter.topic,
            plain(&letter.key.unwrap_or_default()),
            letter.bytes.to_string(),
            plain(&letter.error),
        ]);
    }
    table.write(&mut screen::data())?;
    if dead.total > shown {
        writeln!(screen::words(), "{} more are not shown", dead.total - shown)?;
    }
    Ok(Exit::Yes)
}

/// Retries or drops dead letters, each on its own.
fn decide(chosen: &Chosen, word: &str, expected: u16) -> anyhow::Result<Exit> {
    let target = chosen.service.target()?;
    let mut exit = Exit::Yes;
    let mut done = Vec::new();
    for seq in &chosen.seqs {
        let path = format!("{}/{seq}/{word}", endpoints::DEAD_LETTERS.path);
        let answer = client::call(&target, "POST", &path, chosen.service.timeout)?;
        let Some(text) = accepted(&answer, &[expected])? else {
            exit = Exit::No;
            continue;
        };
        let new = serde_json::from_str::<Published>(text).ok().and_then(|published| published.seq);
        done.push(serde_json::json!({ "seq": seq, "new_seq": new }));
        match new {
            Some(new) if !chosen.service.json => {
                writeln!(screen::data(), "{seq} is accepted again, as {new}")?;
            }
            None if !chosen.service.json => writeln!(screen::data(), "{seq} is gone")?,
            _ => {}
        }
    }
    if chosen.service.json {
        screen::write_json(&serde_json::json!({ "done": done }))?;
    }
    Ok(exit)
}

/// The body of an answer that is as expected; else says why not.
fn accepted<'a>(answer: &'a (u16, String), expected: &[u16]) -> anyhow::Result<Option<&'a str>> {
    let (status, body) = answer;
    if expected.contains(status) {
        return Ok(Some(body));
    }
    let why = serde_json::from_str::<Refused>(body).map(|refused| refused.error);
    writeln!(screen::words(), "{} ({status})", why.unwrap_or_else(|_| "refused".into()))?;
    Ok(None)
}

fn read<'a, T: serde::Deserialize<'a>>(text: &'a str) -> anyhow::Result<T> {
    serde_json::from_str(text).context("the answer is not one of `plimsoll run`")
}

impl Service {
    fn target(&self) -> anyhow::Result<Target> {
        target_of(self.sock.as_deref(), self.listen.as_deref(), |name| std::env::var_os(name))
    }
}
