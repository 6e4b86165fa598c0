//! `plimsoll secret check`: whether every reference has a value, before anything is started.
//!
//! Looks at the same variables as `run`: references of the application, and those in our own, such
//! as `PLIMSOLL_PROBES`. A value is never shown. A provider that cannot be asked is not a no.

use std::io::Write;

use anyhow::Context;
use clap::{Args, Subcommand};
use runtime::secret::{self, Checked, Handle, settings};
use serde::Serialize;

use crate::exit::Exit;
use crate::screen;
use crate::table::Table;

const EXAMPLE: &str = "\
Example:
  DB_URL='${secret:vault:kv/app#db_url}' plimsoll secret check";

const AFTER: &str = "\
Exit codes:
  0  every reference has a value
  1  one is missing, refused or cannot be a value
  2  a provider could not be asked, or a reference makes no sense";

/// Look at secrets without showing them
#[derive(Debug, Args)]
#[command(before_help = EXAMPLE)]
pub struct SecretArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Check(CheckArgs),
}

/// Ask each provider for each reference that the variables hold
#[derive(Debug, Args)]
#[command(before_help = EXAMPLE, after_help = AFTER)]
struct CheckArgs {
    /// Say where secrets come from
    #[arg(long, env = "PLIMSOLL_SECRETS", value_name = "JSON", default_value = "{}")]
    secrets: String,
    /// Count what is optional and missing as missing
    #[arg(long)]
    strict: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Report<'a> {
    version: u32,
    secrets: &'a [Checked],
}

/// Looks at secrets.
///
/// # Errors
/// When the settings make no sense or nothing can be written.
pub fn secret(args: &SecretArgs) -> anyhow::Result<Exit> {
    let What::Check(args) = &args.what;
    let text = if args.secrets.is_empty() { "{}" } else { &args.secrets };
    let settings = settings::parse(text).context("`--secrets` (`PLIMSOLL_SECRETS`)")?;
    let mut texts = secret::inherited_references(&settings);
    texts.extend(own_references());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let handle = Handle::new(settings, None);
    let report = runtime.block_on(secret::check(&handle, &texts));
    runtime.shutdown_background();
    if args.json {
        screen::write_json(&Report { version: 1, secrets: &report })?;
    } else {
        show(&report)?;
    }
    Ok(verdict(&report, args.strict))
}

/// References in our own variables.
fn own_references() -> Vec<(String, String)> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    let is_own = |(name, value): &(String, String)| {
        name.starts_with("PLIMSOLL_") && name != "PLIMSOLL_SECRETS" && secret::has_reference(value)
    };
    std::env::vars_os().filter_map(text).filter(is_own).collect()
}

fn show(report: &[Checked]) -> anyhow::Result<()> {
    if report.is_empty() {
        writeln!(screen::words(), "no variable refers to a secret")?;
        return Ok(());
    }
    let mut table = Table::new(["VARIABLE", "SECRET", "PROVIDER", "STATE"]);
    for checked in report {
        let state = match (checked.state, checked.is_optional) {
            ("missing", true) => "missing (optional)".to_owned(),
            (state, _) => state.to_owned(),
        };
        let reference = checked.reference.clone();
        table.push([checked.place.clone(), reference, checked.provider.clone(), state]);
    }
    table.write(&mut screen::data())?;
    for checked in report {
        if let Some(problem) = &checked.problem {
            writeln!(screen::words(), "{} `{}`: {problem}", checked.place, checked.reference)?;
        }
    }
    Ok(())
}

/// That we could not tell weighs more than a no: it may hide others.
fn verdict(report: &[Checked], is_strict: bool) -> Exit {
    let counts =
        |checked: &&Checked| is_strict || !(checked.is_optional && checked.state == "missing");
    let is_unknown = |checked: &Checked| matches!(checked.state, "unreachable" | "config");
    let mut verdict = Exit::Yes;
    for checked in report.iter().filter(counts).filter(|checked| checked.state != "ok") {
        if is_unknown(checked) {
            return Exit::Unknown;
        }
        verdict = Exit::No;
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(state: &'static str, is_optional: bool) -> Checked {
        Checked {
            place: "A".into(),
            reference: "a".into(),
            provider: "file".into(),
            state,
            problem: None,
            lease_seconds: None,
            is_optional,
        }
    }

    #[test]
    fn what_could_not_be_asked_is_not_a_no() {
        let (ok, missing) = (checked("ok", false), checked("missing", false));
        assert_eq!(verdict(&[], true), Exit::Yes);
        assert_eq!(verdict(&[ok.clone(), missing.clone()], false), Exit::No);
        assert_eq!(verdict(&[missing, checked("unreachable", false)], false), Exit::Unknown);
        let optional = [ok, checked("missing", true)];
        assert_eq!(verdict(&optional, false), Exit::Yes);
        assert_eq!(verdict(&optional, true), Exit::No);
    }
}
