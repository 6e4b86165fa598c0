//! Rules that follow from the manifest: per service, and one for all of a kind.

use std::collections::{BTreeMap, BTreeSet};

use manifest::Plan;
use manifest::plan::{Command, Kind, Service};
use manifest::template::Template;

use super::{FIXED, compose, services};
use crate::address::Place;
use crate::environment::filled;
use crate::text::Mark;

/// One rule of the Makefile.
pub(super) struct Rule {
    pub(super) mark: Option<Mark>,
    pub(super) name: String,
    pub(super) needs: String,
    pub(super) help: String,
    pub(super) lines: Vec<String>,
}

/// Verbs that services have in common: the word, and what `make help` says of all of them.
const COMMON: &[(&str, &str)] = &[
    ("test", "Run all tests"),
    ("lint", "Run all linters"),
    ("migrate", "Bring every schema forward"),
    ("seed", "Load first data"),
    ("load-test", "Send requests to every service for a while (LOAD='hey -z 30s -c 20')"),
];

/// Every rule, the common ones first.
pub(super) fn all(plan: &Plan) -> Vec<Rule> {
    let mut own: Vec<Rule> = Vec::new();
    let mut by_word: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for service in services(plan) {
        for (word, _) in COMMON {
            if let Some(rule) = common(plan, service, word) {
                by_word.entry(word).or_default().push(rule.name.clone());
                own.push(rule);
            }
        }
        own.push(logs(service));
    }
    let mut rules: Vec<Rule> = COMMON
        .iter()
        .map(|(word, help)| {
            let needs = by_word.get(word).map(|names| names.join(" ")).unwrap_or_default();
            let lines = if needs.is_empty() { vec![nothing(word)] } else { Vec::new() };
            let (name, help) = ((*word).to_owned(), (*help).to_owned());
            Rule { mark: None, name, needs, help, lines }
        })
        .collect();
    rules.extend(own);
    rules.extend(verbs(plan, &rules));
    rules
}

fn nothing(word: &str) -> String {
    match word {
        "lint" => "pre-commit run --all-files".to_owned(),
        word => format!("@echo 'no service has a `{word}` in plimsoll.yaml'"),
    }
}

/// A common verb of one service, if it has one.
fn common(plan: &Plan, service: &Service, word: &str) -> Option<Rule> {
    let name = &service.name;
    let (help, line) = match word {
        "test" => (format!("Run the tests of {name}"), here(plan, service, service.test.as_ref()?)),
        "lint" => (format!("Lint {name}"), here(plan, service, service.lint.as_ref()?)),
        "migrate" => {
            service.migrate.as_ref()?;
            let container = compose::migration_name(plan, name);
            let line = format!("$(COMPOSE) run --rm --build {container}");
            (format!("Bring the schema of {name} forward"), line)
        }
        "seed" => {
            let line = inside(plan, service, service.seed.as_ref()?);
            (format!("Load first data of {name}"), line)
        }
        "load-test" => (format!("Send requests to {name} for a while"), load(plan, service)?),
        _ => return None,
    };
    let mark = match word {
        "load-test" => format!("services.{name}.port"),
        word => format!("services.{name}.{word}"),
    };
    let needs = if matches!(word, "migrate" | "seed") { "secrets" } else { "" };
    Some(Rule {
        mark: Some(Mark(mark)),
        name: format!("{word}-{name}"),
        needs: needs.to_owned(),
        help,
        lines: vec![line],
    })
}

fn logs(service: &Service) -> Rule {
    let name = &service.name;
    Rule {
        mark: None,
        name: format!("logs-{name}"),
        needs: String::new(),
        help: format!("Follow the logs of {name}"),
        lines: vec![format!("$(COMPOSE) logs --follow --tail 100 {}", name.dns())],
    }
}

/// The app's own verbs: under their own name where nothing else has it, and always with the
/// service's in front.
fn verbs(plan: &Plan, known: &[Rule]) -> Vec<Rule> {
    let mut taken: BTreeSet<String> = known.iter().map(|rule| rule.name.clone()).collect();
    taken.extend(FIXED.iter().map(|name| (*name).to_owned()));
    let mut rules = Vec::new();
    for service in services(plan) {
        for (verb, what) in &service.verbs {
            let short = verb.to_string();
            let long = format!("{}-{verb}", service.name);
            let Some(name) = [short, long].into_iter().find(|name| taken.insert(name.clone()))
            else {
                continue;
            };
            let help = what.help.clone();
            rules.push(Rule {
                mark: Some(Mark(format!("services.{}.verbs.{verb}", service.name))),
                name,
                needs: "secrets".to_owned(),
                help: help.unwrap_or_else(|| format!("Run `{verb}` of {}", service.name)),
                lines: vec![inside(plan, service, &what.run)],
            });
        }
    }
    rules
}

/// A command on this machine, in the directory of its service.
fn here(plan: &Plan, service: &Service, command: &Command) -> String {
    let line = line(plan, command);
    match compose::origin(plan, service).path.as_str() {
        "." => line,
        path => format!("cd {} && {line}", quoted(path)),
    }
}

/// A command in the developer's container of its service, after its build.
fn inside(plan: &Plan, service: &Service, command: &Command) -> String {
    let name = service.name.dns();
    let line = line(plan, command);
    let line = match &service.build {
        Some(build) if service.kind != Kind::Static => {
            let script = format!("{} && exec {}", build.line(), line.replace("$$", "$"));
            format!("sh -c {}", quoted(&script).replace('$', "$$"))
        }
        _ => line,
    };
    format!("$(COMPOSE) run --rm --build {name} {line}")
}

/// Requests to a path that answers.
fn load(plan: &Plan, service: &Service) -> Option<String> {
    if !matches!(service.kind, Kind::Web | Kind::Static) {
        return None;
    }
    let ports = compose::published(plan);
    let port = ports.iter().find(|one| one.name == service.name.as_str())?.host;
    let smoke = service.smoke.iter().find(|check| check.status == 200);
    let path = smoke.map(|check| &check.path).or(service.health.ready.as_ref());
    let path = path.map_or("/", |path| path.as_str());
    Some(format!("$(LOAD) http://127.0.0.1:{port}{path}"))
}

/// A command as a shell in a Makefile reads it.
fn line(plan: &Plan, command: &Command) -> String {
    let text = match command {
        Command::Exec(words) => {
            let words = words.iter().map(|word: &Template| {
                quoted(&filled(plan, Place::Compose, word).unwrap_or_else(|| word.to_string()))
            });
            words.collect::<Vec<_>>().join(" ")
        }
        Command::Shell { shell } => format!("sh -c {}", quoted(shell.trim())),
    };
    text.replace('$', "$$").replace('\n', "; ")
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}
