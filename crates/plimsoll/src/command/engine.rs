//! `plimsoll engine`: the hidden half of `run`, started by its guard and by nobody else.

use clap::Args;

use crate::exit::Exit;
use crate::report;

/// Serve one process (started by `run` itself)
#[derive(Debug, Args)]
pub struct EngineArgs {}

/// Becomes the engine; everything it needs comes from the guard.
///
/// # Errors
/// None: what goes wrong has exit codes of its own.
pub fn engine() -> anyhow::Result<Exit> {
    match runtime::engine::main() {
        Ok(code) => Ok(Exit::Child(code)),
        Err(error) => {
            let code = error.exit_code().code;
            report::show(&error.into());
            Ok(Exit::Child(code))
        }
    }
}
