//! `plimsoll plan`: what a manifest means in one environment, or everything that is wrong with it.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use manifest::plan::{Resource, Service};
use manifest::{Problems, Resolution};
use serde_json::{Value, json};

use crate::exit::Exit;
use crate::source::Source;
use crate::table::Table;
use crate::{platform, screen};

const EXAMPLE: &str = "\
Example:
  plimsoll plan
  plimsoll plan --env production --json | jq .plan.services.backend";

/// Show what the manifest means, or all its problems
#[derive(Debug, Args)]
#[command(before_help = EXAMPLE)]
pub struct PlanArgs {
    /// Read the manifest of this directory [default: here or above]
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Resolve for this environment [default: the local one]
    #[arg(long, value_name = "NAME")]
    env: Option<String>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Reads, resolves and prints.
///
/// # Errors
/// When there is no manifest, or it cannot be read.
pub fn plan(args: &PlanArgs) -> anyhow::Result<Exit> {
    let platform = platform::find(args.directory.as_deref(), None)?;
    let source = Source::read(&platform)?;
    match source.resolve(args.env.as_deref()) {
        Ok(resolution) => {
            source.show(&resolution.warnings)?;
            match args.json {
                true => screen::write_json(&document(Ok(&resolution)))?,
                false => write(&mut screen::data(), &resolution)?,
            }
            Ok(Exit::Yes)
        }
        Err(problems) => {
            source.show(&problems)?;
            if args.json {
                screen::write_json(&document(Err(&problems)))?;
            }
            Ok(Exit::Unknown)
        }
    }
}

fn document(resolved: Result<&Resolution, &Problems>) -> Value {
    match resolved {
        Ok(Resolution { plan, warnings, .. }) => {
            let mut plan = json!(plan);
            hide_passwords(&mut plan);
            json!({"plan": plan, "problems": warnings.iter().collect::<Vec<_>>()})
        }
        Err(problems) => json!({"plan": null, "problems": problems.iter().collect::<Vec<_>>()}),
    }
}

/// Takes the passwords of URLs out of every text.
pub(super) fn hide_passwords(value: &mut Value) {
    match value {
        Value::String(text) => *text = manifest::without_passwords(text),
        Value::Array(items) => items.iter_mut().for_each(hide_passwords),
        Value::Object(map) => map.values_mut().for_each(hide_passwords),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn write(out: &mut impl Write, resolution: &Resolution) -> anyhow::Result<()> {
    let plan = &resolution.plan;
    let environment = &plan.environment;
    writeln!(out, "{} in {} ({})", plan.app, environment.name, environment.target)?;
    let mut rows = Table::new(["NAME", "TYPE", "RUNS", "PORT", "ROUTES", "USES"]);
    for item in &plan.start_order {
        if let Some(resource) = plan.resources.get(item.name()) {
            rows.push(resource_row(resource));
        } else if let Some(service) = plan.services.get(item.name()) {
            rows.push(service_row(service));
        }
    }
    Ok(rows.write(out)?)
}

fn resource_row(resource: &Resource) -> [String; 6] {
    let spec = &resource.spec;
    let via = format!("via {}", spec.via());
    let nothing = String::new;
    [resource.name.to_string(), spec.kind().to_string(), via, nothing(), nothing(), nothing()]
}

fn service_row(service: &Service) -> [String; 6] {
    let runs = match (&service.run, &service.site) {
        (Some(command), _) => manifest::without_passwords(&command.line()),
        (None, Some(site)) => format!("the site in {}", site.dir),
        (None, None) => "(nothing yet)".to_owned(),
    };
    let routes: Vec<String> = service.route.iter().map(ToString::to_string).collect();
    let uses: Vec<&str> = service.uses.keys().map(String::as_str).collect();
    [
        service.name.to_string(),
        service.kind.to_string(),
        runs,
        service.port.as_ref().map(ToString::to_string).unwrap_or_default(),
        routes.join(" "),
        uses.join(" "),
    ]
}
