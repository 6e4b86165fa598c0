//! `.env.example`: read by Compose as the `.env` that it is copied to.

use std::fs;

use anyhow::Context as _;

use super::super::process::Call;
use super::super::tool::{COMPOSE, COMPOSE_ALONE, Tool};
use super::{Consumer, Hand, Subject, Way, by_code};

pub(super) const NAME: &str = ".env.example";

/// The least that Compose takes.
const NOTHING: &str = "services: {nothing: {image: scratch}}\n";

pub(super) const CONSUMER: Consumer = Consumer {
    subjects: |tree| Subject::each(tree, |path| path == NAME),
    ways: &[
        Way { tools: &[&COMPOSE], prepare: |hand| Ok(vec![read(&COMPOSE, hand)?]), judge: by_code },
        Way {
            tools: &[&COMPOSE_ALONE],
            prepare: |hand| Ok(vec![read(&COMPOSE_ALONE, hand)?]),
            judge: by_code,
        },
    ],
    is_own: true,
};

fn read(tool: &'static Tool, hand: &Hand<'_>) -> anyhow::Result<Call> {
    let file = hand.scratch.join("compose.yaml");
    fs::write(&file, NOTHING).context("cannot write a file to read the variables with")?;
    let mut call = Call::new(tool, ["--env-file", hand.file(), "--file"]);
    call.args.push(file.into());
    call.args.extend(["config", "--quiet"].map(Into::into));
    Ok(call)
}
