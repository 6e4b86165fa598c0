//! How a developer's container follows the sources.
//!
//! A service with a command runs it, after its own `build`, in the image stage that has sources
//! and tools; changed files are copied in and the service starts again. Where something has to be
//! installed first, and for sites, the image is made anew.

use manifest::plan::{Command, Kind, Service};
use manifest::template::Template;

use super::stack::{Stack, escaped, origin};
use crate::detect::{Source, join};
use crate::image::{Image, clean};
use crate::node::{Map, Node};

/// Where the stage with the sources has the directory that the image is built from.
const SOURCES: &str = "/app";

/// Names below a service's sources that never matter to a running process.
const NEVER_WATCHED: &[&str] =
    &[".git/", ".venv/", "__pycache__/", "dist/", "node_modules/", "target/"];

/// Whether the container runs the manifest's own command on synchronised sources.
pub(super) fn has_own_stage(service: &Service) -> bool {
    service.run.is_some() && service.kind != Kind::Static
}

/// A command in the manifest's own words, after its own build.
pub(super) fn command(service: &Service, command: &Command) -> Node {
    let words = match (&service.build, command) {
        (Some(build), command) => shell(format!("{} && exec {}", build.line(), command.line())),
        (None, Command::Exec(words)) => words.iter().map(Template::to_string).collect(),
        (None, Command::Shell { shell: script }) => shell(script.clone()),
    };
    Node::row(words.iter().map(|word| escaped(word)))
}

fn shell(script: String) -> Vec<String> {
    vec!["sh".to_owned(), "-c".to_owned(), script]
}

/// What happens when sources change.
pub(super) fn watch(stack: &Stack<'_>, service: &Service) -> Option<Node> {
    let image = Image::of(stack.platform, stack.plan, service).filter(|_| service.watch.enabled)?;
    let ignored: Vec<&str> = NEVER_WATCHED
        .iter()
        .copied()
        .chain(service.watch.ignore.iter().map(String::as_str))
        .collect();
    let mut rules = Vec::new();
    let path = &origin(stack.plan, service).path;
    for path in [path].into_iter().chain(&service.watch.paths) {
        let rule = Map::new().with("path", local(path.as_str()));
        let rule = match place(&image.context, path.as_str()) {
            Some(place) if has_own_stage(service) => {
                rule.with("action", "sync+restart").with("target", place)
            }
            _ => rule.with("action", "rebuild"),
        };
        rules.push(rule.with("ignore", Node::row(ignored.iter().copied())));
    }
    if has_own_stage(service)
        && let Some(Source::Toolchain(toolchain)) = stack.platform.source(service)
    {
        let markers = toolchain.markers.keys().map(|name| join(&toolchain.root, name));
        let rebuild =
            |path: String| Map::new().with("path", local(&path)).with("action", "rebuild");
        rules.extend(markers.map(rebuild));
    }
    let watch = Node::list(rules).because(format!("services.{}.watch", service.name));
    Some(Map::new().with("watch", watch).into())
}

/// Where a command runs in the stage with the sources, which begins at their top: in its service's
/// directory, as in the image.
pub(super) fn working_dir(stack: &Stack<'_>, service: &Service) -> Option<Node> {
    let image = Image::of(stack.platform, stack.plan, service)?;
    let origin = origin(stack.plan, service);
    let place = place(&image.context, &clean(origin.path.as_str()))?;
    let node = || Node::from(place.as_str()).because(format!("services.{}.path", origin.name));
    (place != SOURCES).then(node)
}

/// A path below the manifest's directory as Compose reads it.
pub(super) fn local(path: &str) -> String {
    if path == "." { ".".to_owned() } else { format!("./{path}") }
}

/// Where a path is in the stage with the sources; absent if the image is not built from it.
fn place(context: &str, path: &str) -> Option<String> {
    let below = match context {
        "." => Some(path),
        context if context == path => Some("."),
        context => path.strip_prefix(context)?.strip_prefix('/'),
    }?;
    Some(if below == "." { SOURCES.to_owned() } else { format!("{SOURCES}/{below}") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pins;

    #[test]
    fn sources_have_a_place_below_the_directory_that_the_image_is_built_from() {
        assert_eq!(place(".", ".").as_deref(), Some("/app"));
        assert_eq!(place(".", "backend").as_deref(), Some("/app/backend"));
        assert_eq!(place("backend", "backend").as_deref(), Some("/app"));
        assert_eq!(place("backend", "backend/src").as_deref(), Some("/app/src"));
        assert_eq!(place("backend", "backend2"), None);
        assert_eq!(place("backend", "frontend"), None);
    }

    #[test]
    fn what_runs_on_the_sources_runs_in_the_directory_of_its_service() {
        let text = "
plimsoll: 1
app: shop
services:
  api:
    path: ./backend
    run: uvicorn app.main:app
    migrate: alembic upgrade head
    port: 8080
  worker: {from: api, run: celery -A app worker}
  other: {path: other, run: serve, port: 8081}
environments: {dev: {target: local}}
";
        let plan = manifest::resolve(&manifest::parse(text).unwrap(), "dev").unwrap().plan;
        let files = ["uv.lock", "other/uv.lock"].map(|path| (path.to_owned(), String::new()));
        let sources = crate::detect(&plan, &crate::Repository::from(files)).unwrap();
        let artifacts = crate::render(&crate::Platform::new(vec![plan], sources, Pins::new()));
        let file = &artifacts.get("compose.dev.yaml").unwrap().text;
        let file: serde_json::Value = serde_saphyr::from_str(file).unwrap();
        let dockerfile = &artifacts.get("Dockerfile").unwrap().text;
        for name in ["api", "api-migrate", "worker"] {
            let container = &file["services"][name];
            assert_eq!(container["build"]["target"], "sources", "{name}");
            assert_eq!(container["working_dir"], "/app/backend", "{name}");
        }
        assert!(dockerfile.contains("\nWORKDIR /app/backend\n"), "{dockerfile}");
        let other = &file["services"]["other"];
        assert_eq!(other["build"]["target"], "sources");
        assert!(other.get("working_dir").is_none(), "it is the stage's: {other}");
    }
}
