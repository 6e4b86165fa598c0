//! `plimsoll outbox init --print`: the SQL that makes the table for `plimsoll run --outbox`.
//!
//! It deliberately runs nothing: schemas change by the migrations of whoever owns them.

use std::io::Write;

use clap::{Args, Subcommand};
use runtime::outbox::{settings::is_table, sql};

use crate::exit::Exit;
use crate::screen;

const EXAMPLE: &str = "\
Example:
  plimsoll outbox init --print > migrations/0007_outbox.sql";

/// Prepare a table whose events are published
#[derive(Debug, Args)]
#[command(before_help = EXAMPLE)]
pub struct OutboxArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Init(InitArgs),
}

/// Print the SQL that makes the tables
#[derive(Debug, Args)]
#[command(before_help = EXAMPLE)]
struct InitArgs {
    /// Print it; nothing is ever run
    #[arg(long, required = true)]
    print: bool,
    /// Name the table, with its schema if it has one
    #[arg(long, default_value = "outbox", value_name = "NAME")]
    table: String,
}

/// Runs the command.
///
/// # Errors
/// When the name is none, or stdout cannot be written.
pub fn outbox(args: &OutboxArgs) -> anyhow::Result<Exit> {
    let What::Init(init) = &args.what;
    anyhow::ensure!(init.print, "only `--print` is there: your migrations run the SQL");
    anyhow::ensure!(
        is_table(&init.table),
        "`{}` is not a table\nhelp: `name` or `schema.name`, without quotes",
        init.table
    );
    screen::data().write_all(sql::ddl(&init.table).as_bytes())?;
    Ok(Exit::Yes)
}
