//! The verbs of a repository, and the table of its ports.
//!
//! Tests and linters run on the developer's machine, as the manifest says them; what needs a
//! database runs in the developer's containers. It deliberately decides nothing: each verb is one
//! command that can be typed as well.
//!
//! Invariant: no two rules have one name, and `make help` shows every rule.

mod ports;
mod rule;

use askama::Template;
use manifest::Plan;
use manifest::plan::ResourceSpec;

use super::{Edge, compose};
use crate::artifact::Files;
use crate::platform::Platform;
use rule::Rule;

/// `Makefile`.
#[derive(Template)]
#[template(path = "Makefile", escape = "none")]
struct Makefile<'a> {
    app: &'a str,
    compose: String,
    environment: String,
    /// Secrets that a developer's servers start with.
    made_here: Vec<String>,
    /// Secrets that a developer gets from somebody; a stand-in lets everything start.
    given: Vec<String>,
    /// What sends services to mocks: `LLM_URL=http://llm-mock:8080`.
    mocks: Vec<String>,
    rules: Vec<Rule>,
    names: String,
}

/// Names of the rules that every Makefile has, besides those of services.
const FIXED: &[&str] =
    &["help", "dev", "stop", "logs", "secrets", "clean", "render", "check", "up"];

/// Writes the files.
pub(super) fn render(platform: &Platform, files: &mut Files<'_>) {
    // Whoever has no local environment works with the first of the others.
    let plan = platform.local().or_else(|| platform.plans().first());
    let Some(plan) = plan else { return };
    let made = |maker| {
        let secrets = compose::secrets(plan).into_iter();
        let of_maker = secrets.filter(|(_, secret)| secret.maker == maker);
        of_maker.map(|(name, _)| compose::secret_file(&name)).collect()
    };
    let rules = rule::all(plan);
    let redirections = compose::redirections(plan).into_iter();
    let mocks: Vec<String> = redirections.map(|(_, name, mock)| format!("{name}={mock}")).collect();
    let names: Vec<&str> = FIXED
        .iter()
        .copied()
        .chain((!mocks.is_empty()).then_some("mocks"))
        .chain(rules.iter().map(|rule| rule.name.as_str()))
        .collect();
    let makefile = Makefile {
        app: platform.released().app.as_str(),
        compose: compose::file_name(platform, plan),
        environment: plan.environment.name.to_string(),
        made_here: made(compose::Maker::Us),
        given: made(compose::Maker::Others),
        names: wrapped(&names),
        mocks,
        rules,
    };
    let text = makefile.render().expect("writing to a string does not fail");
    files.text("Makefile", &text);
    ports::render(platform, plan, files);
}

/// What `uses` of a resource brings: a line in the port table, where it has a port of ours.
pub(super) fn edge(resource: &ResourceSpec) -> Edge {
    match resource {
        ResourceSpec::Volume(_) => Edge::NotApplicable("a directory has no port"),
        ResourceSpec::Postgres(_)
        | ResourceSpec::Redis(_)
        | ResourceSpec::Kafka(_)
        | ResourceSpec::Bucket(_)
        | ResourceSpec::Queue(_)
        | ResourceSpec::Http(_)
        | ResourceSpec::Image(_) => match compose::edge(resource) {
            Edge::Written => Edge::Written,
            Edge::NotApplicable(_) => {
                Edge::NotApplicable("it runs elsewhere: no port of a developer's machine is its")
            }
        },
    }
}

/// Words in lines that fit, joined as make reads them.
fn wrapped(words: &[&str]) -> String {
    let mut text = String::new();
    let mut length = ".PHONY:".len();
    for word in words {
        if length + word.len() + 3 > 100 {
            text.push_str(" \\\n\t");
            length = 8;
        } else {
            text.push(' ');
        }
        text.push_str(word);
        length += word.len() + 1;
    }
    text
}

/// The services of a plan whose rules there are.
fn services(plan: &Plan) -> impl Iterator<Item = &manifest::plan::Service> {
    plan.services.values()
}
