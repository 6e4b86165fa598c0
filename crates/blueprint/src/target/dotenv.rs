//! What a person must know to fill in: every variable, and every secret of every environment.
//!
//! Nobody reads `.env.example` but people, and Compose when it is copied to `.env`. It deliberately
//! shows addresses as Compose has them; `plimsoll up` and the chart have others.
//!
//! Invariant: every variable that a service gets anywhere is there, and no secret's value is.

mod secrets;
mod variable;

use askama::Template;
use manifest::plan::ResourceSpec;

use super::{Edge, compose};
use crate::artifact::Files;
use crate::platform::Platform;
use crate::text::Mark;
use variable::{Group, Variable};

/// `.env.example`.
#[derive(Template)]
#[template(path = ".env.example", escape = "none")]
struct Example<'a> {
    app: &'a str,
    asked: Vec<Asked>,
    groups: Vec<Group>,
    ours: Vec<Variable>,
}

/// A variable that a Compose file asks for.
struct Asked {
    mark: Option<Mark>,
    meaning: String,
    name: String,
    value: String,
    is_optional: bool,
}

/// Writes the files.
pub(super) fn render(platform: &Platform, files: &mut Files<'_>) {
    let (groups, ours) = variable::all(platform);
    let app = platform.released().app.as_str();
    let example = Example { app, asked: asked(platform), groups, ours };
    let text = example.render().expect("writing to a string does not fail");
    files.text(".env.example", &text);
    secrets::render(platform, files);
}

/// What `uses` of a resource brings: a variable at least, whoever provides it.
pub(super) fn edge(resource: &ResourceSpec) -> Edge {
    match resource {
        ResourceSpec::Postgres(_)
        | ResourceSpec::Redis(_)
        | ResourceSpec::Kafka(_)
        | ResourceSpec::Bucket(_)
        | ResourceSpec::Queue(_)
        | ResourceSpec::Http(_)
        | ResourceSpec::Volume(_)
        | ResourceSpec::Image(_) => Edge::Written,
    }
}

fn asked(platform: &Platform) -> Vec<Asked> {
    let mut asked = Vec::new();
    for plan in platform.plans().iter().filter(|plan| !compose::is_dev(plan)) {
        let file = compose::file_name(platform, plan);
        asked.push(Asked {
            mark: None,
            meaning: format!("Release that `{file}` runs. Required there."),
            name: compose::version_variable(plan),
            value: "1.4.0-3f2a9c1".to_owned(),
            is_optional: false,
        });
        for (name, resource) in compose::file_systems(plan) {
            asked.push(Asked {
                mark: Some(Mark(format!("resources.{resource}"))),
                meaning: format!("DNS name of the EFS file system of `{resource}`. Required."),
                name,
                value: "fs-0123456789abcdef0.efs.eu-west-1.amazonaws.com".to_owned(),
                is_optional: false,
            });
        }
    }
    if platform.plans().iter().any(|plan| compose::collector(plan).is_some()) {
        asked.push(Asked {
            mark: Some(Mark("observability.traces".to_owned())),
            meaning: "Collector that traces go to, by OTLP over HTTP. Optional.".to_owned(),
            name: compose::COLLECTOR.to_owned(),
            value: "http://collector.example:4318".to_owned(),
            is_optional: true,
        });
    }
    if let Some(plan) = platform.local() {
        let file = compose::file_name(platform, plan);
        for (resource, name, mock) in compose::redirections(plan) {
            asked.push(Asked {
                mark: Some(Mark(format!("resources.{resource}"))),
                meaning: format!(
                    "Sends `{resource}` of `{file}` to its mock (`--profile mocks`). Optional."
                ),
                name,
                value: mock,
                is_optional: true,
            });
        }
    }
    asked
}
