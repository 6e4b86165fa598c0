//! A command of the manifest, as it is called in an image.
//!
//! The manifest names what a developer's machine has: a debug build, `poetry run`, `npm start`. An
//! image has the release build, the environment on its path, and no package manager. What is not
//! known here is left as it is.

use manifest::plan::{Command, Language, PackageManager, Service};
use manifest::template::Template;

use super::node_script;
use crate::detect::Toolchain;
use crate::platform::Platform;

/// Where compiled programs stand in an image.
pub(crate) const BIN: &str = "/usr/local/bin";

/// What starts a service in its image: its `run`, or what its sources say. Absent where neither
/// says it, and for a site.
pub(crate) fn run(platform: &Platform, service: &Service) -> Option<Vec<Template>> {
    if service.site.is_some() {
        return None;
    }
    if let Some(run) = &service.run {
        return Some(command(platform, service, run));
    }
    let words = entry(platform.source(service)?.toolchain()?, service)?;
    Some(words.into_iter().map(Template::literal).collect())
}

/// What its sources say that starts a service without `run`.
pub(crate) fn entry(toolchain: &Toolchain, service: &Service) -> Option<Vec<String>> {
    Some(match toolchain.language {
        Language::Python => python_entry(toolchain)?,
        Language::Node => node_script::start(toolchain)?,
        Language::Rust => vec![format!("{BIN}/{}", program(toolchain, service))],
        Language::Go => vec![format!("{BIN}/{}", module(toolchain, service))],
        Language::Java => java(&["java".to_owned(), "-jar".to_owned(), "app.jar".to_owned()]),
    })
}

/// The words of a command of a service in its image.
pub(crate) fn command(platform: &Platform, service: &Service, command: &Command) -> Vec<Template> {
    let words = match command {
        Command::Shell { shell } => {
            let words = ["/bin/sh", "-c", shell.as_str()];
            return words.into_iter().map(Template::literal).collect();
        }
        Command::Exec(words) => words,
    };
    let Some(toolchain) = platform.source(service).and_then(|source| source.toolchain()) else {
        return words.clone();
    };
    // The words before the first open placeholder: addresses are never part of a program's name.
    let known: Vec<String> = words
        .iter()
        .map_while(|word| word.as_literal().map(std::borrow::Cow::into_owned))
        .collect();
    let open = words[known.len()..].iter().cloned();
    let known = match toolchain.language {
        Language::Python => python(known),
        Language::Node => node_script::command(toolchain, known),
        Language::Rust => rust(toolchain, service, known),
        Language::Go => go(toolchain, service, known),
        Language::Java => java(&known),
    };
    known.into_iter().map(Template::literal).chain(open).collect()
}

/// Without what only enters the environment, which an image is in already.
fn python(words: Vec<String>) -> Vec<String> {
    match texts(&words).as_slice() {
        ["poetry" | "uv" | "pdm" | "pipenv", "run", _, ..] => words[2..].to_vec(),
        [script, ..] if script.contains('/') && script.ends_with(".py") => {
            let script = script.trim_start_matches("./").to_owned();
            ["python".to_owned(), script].into_iter().chain(words[1..].iter().cloned()).collect()
        }
        _ => words,
    }
}

/// The one script of a project, or its `FastAPI` application where those usually are.
fn python_entry(toolchain: &Toolchain) -> Option<Vec<String>> {
    for module in ["app/main.py", "main.py"] {
        let text = toolchain.own.get(module).map_or("", String::as_str);
        if text.contains("app = FastAPI(") {
            let module = module.trim_end_matches(".py").replace('/', ".");
            return Some(vec!["uvicorn".to_owned(), format!("{module}:app")]);
        }
    }
    let value: toml::Table = toolchain.own.get("pyproject.toml")?.parse().ok()?;
    let scripts = value.get("project").and_then(|project| project.get("scripts"));
    let poetry = || value.get("tool")?.get("poetry")?.get("scripts");
    let scripts = scripts.or_else(poetry)?.as_table()?;
    let mut names = scripts.keys();
    let only = names.next().filter(|_| scripts.len() == 1)?;
    Some(vec![only.clone()])
}

fn rust(toolchain: &Toolchain, service: &Service, words: Vec<String>) -> Vec<String> {
    match texts(&words).as_slice() {
        ["cargo", "run", flags @ ..] => {
            let end = flags.iter().position(|flag| *flag == "--").unwrap_or(flags.len());
            let named = flags[..end]
                .windows(2)
                .find(|pair| matches!(pair[0], "--bin" | "-p" | "--package"))
                .map(|pair| pair[1].to_owned());
            let name = named.unwrap_or_else(|| program(toolchain, service));
            let arguments = flags.iter().skip(end + 1).map(|word| (*word).to_owned());
            [format!("{BIN}/{name}")].into_iter().chain(arguments).collect()
        }
        [path, ..] if path.split('/').any(|part| part == "target") => installed(&words),
        _ => words,
    }
}

fn go(toolchain: &Toolchain, service: &Service, words: Vec<String>) -> Vec<String> {
    match texts(&words).as_slice() {
        ["go", "run", package, arguments @ ..] => {
            let name = match package.trim_end_matches('/').rsplit('/').next() {
                None | Some("" | ".") => module(toolchain, service),
                Some(name) => name.to_owned(),
            };
            let arguments = arguments.iter().map(|word| (*word).to_owned());
            [format!("{BIN}/{name}")].into_iter().chain(arguments).collect()
        }
        [path, ..] if path.contains('/') && !path.starts_with('/') => installed(&words),
        _ => words,
    }
}

/// The jar has one name in an image, whatever its version.
pub(super) fn java(words: &[String]) -> Vec<String> {
    let jar = |arguments: &[String]| {
        let start = ["java", "-jar", "app.jar"].map(str::to_owned);
        start.into_iter().chain(arguments.iter().cloned()).collect()
    };
    let tool = words.first().map(|word| word.trim_start_matches("./"));
    if matches!(tool, Some("mvn" | "mvnw" | "gradle" | "gradlew")) {
        return jar(&[]);
    }
    let mut words = words.to_vec();
    if let Some(at) = words.iter().position(|word| word == "-jar")
        && let Some(path) = words.get_mut(at + 1)
    {
        *path = match directory_of_jar(path) {
            Some((_, name)) => name,
            None => "app.jar".to_owned(),
        };
    }
    words
}

/// A jar that needs the files beside it: their directory below the build's, and its name.
pub(crate) fn directory_of_jar(path: &str) -> Option<(String, String)> {
    let path = path.trim_start_matches("./");
    let rest = path.strip_prefix("target/").or_else(|| path.strip_prefix("build/"))?;
    let (directory, name) = rest.rsplit_once('/')?;
    (directory != "libs").then(|| (directory.to_owned(), name.to_owned()))
}

/// The first word as the program that is installed.
fn installed(words: &[String]) -> Vec<String> {
    let name = words[0].rsplit('/').next().unwrap_or_default();
    [format!("{BIN}/{name}")].into_iter().chain(words[1..].iter().cloned()).collect()
}

/// The program of a package: the package's name.
pub(crate) fn program(toolchain: &Toolchain, service: &Service) -> String {
    let name = || -> Option<String> {
        let value: toml::Table = toolchain.own.get("Cargo.toml")?.parse().ok()?;
        Some(value.get("package")?.get("name")?.as_str()?.to_owned())
    };
    name().unwrap_or_else(|| service.name.to_string())
}

/// The program of a module: the last part of its path.
pub(crate) fn module(toolchain: &Toolchain, service: &Service) -> String {
    let name = || -> Option<String> {
        let lines = toolchain.markers.get("go.mod")?.lines();
        let path = lines.filter_map(|line| line.trim().strip_prefix("module ")).next()?;
        Some(path.trim().rsplit('/').next()?.to_owned())
    };
    name().unwrap_or_else(|| service.name.to_string())
}

/// The package manager's words for itself, in commands.
pub(super) fn is_manager(word: &str) -> bool {
    PackageManager::ALL.iter().any(|manager| manager.as_str() == word)
}

fn texts(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}
