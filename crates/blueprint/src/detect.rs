//! What the sources of a service say: its language, the version, and what installs its packages.
//!
//! Only files that every tool of the language reads count ([`MARKERS`]); nothing is guessed from
//! the names of source files. The nearest directory with such a file, from the service's upwards,
//! says the language; the nearest one with a lock file of that is where its image is built from.
//! It deliberately reads nothing: files are an argument.
//!
//! Invariant: what the manifest says is never overruled; every answer names its evidence.

mod undetected;
mod versions;

use std::collections::BTreeMap;

use manifest::names::ServiceName;
use manifest::plan::{Kind, Language, PackageManager, Plan, Service};

pub use undetected::Undetected;

use crate::image;

/// The files that are looked at, by name. Nothing else is read.
pub const MARKERS: &[&str] = &[
    ".npmrc",
    ".nvmrc",
    ".python-version",
    ".yarnrc.yml",
    "Cargo.lock",
    "Cargo.toml",
    "app/main.py",
    "build.gradle",
    "build.gradle.kts",
    "bun.lock",
    "bun.lockb",
    "go.mod",
    "go.sum",
    "gradlew",
    "main.py",
    "next.config.js",
    "next.config.mjs",
    "next.config.ts",
    "package-lock.json",
    "package.json",
    "pdm.lock",
    "pnpm-lock.yaml",
    "pnpm-workspace.yaml",
    "poetry.lock",
    "pom.xml",
    "pyproject.toml",
    "requirements.in",
    "requirements.txt",
    "rust-toolchain.toml",
    "uv.lock",
    "yarn.lock",
];

/// Largest marker file whose text is looked into, in bytes. Lock files only have to be there.
pub const MARKER_BYTES_MAX: usize = 1 << 20;

/// The marker files of a repository with their texts, by path below the manifest's directory.
pub type Repository = BTreeMap<String, String>;

/// What an image of a service is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Files that are served as they are.
    Files,
    /// Sources that a toolchain makes runnable.
    Toolchain(Toolchain),
}

impl Source {
    /// What makes them runnable, if they have to be made so.
    #[must_use]
    pub fn toolchain(&self) -> Option<&Toolchain> {
        match self {
            Source::Files => None,
            Source::Toolchain(toolchain) => Some(toolchain),
        }
    }
}

/// What makes sources runnable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolchain {
    /// The language.
    pub language: Language,
    /// Its version, as the tag of a base image begins: `3.12`, `22`, `21`.
    pub version: String,
    /// What installs its packages.
    pub manager: PackageManager,
    /// The directory that an image is built from: the one with the lock file, or the service's.
    /// `.` is the manifest's directory.
    pub root: String,
    /// Names of the marker files in `root`; none when the manifest was believed without looking.
    pub markers: BTreeMap<String, String>,
    /// The same of the service's own directory, which may be below `root`.
    pub own: BTreeMap<String, String>,
    /// Why we think so: a file, or the manifest.
    pub evidence: String,
}

/// The file that says that a package manager is used; the first that is there wins.
const SIGNS: &[(&str, PackageManager)] = &[
    ("poetry.lock", PackageManager::Poetry),
    ("uv.lock", PackageManager::Uv),
    ("pdm.lock", PackageManager::Pdm),
    ("requirements.in", PackageManager::PipTools),
    ("requirements.txt", PackageManager::Pip),
    ("pnpm-lock.yaml", PackageManager::Pnpm),
    ("package-lock.json", PackageManager::Npm),
    ("yarn.lock", PackageManager::Yarn),
    ("Cargo.lock", PackageManager::Cargo),
    ("go.mod", PackageManager::GoModules),
    ("pom.xml", PackageManager::Maven),
    ("build.gradle.kts", PackageManager::Gradle),
    ("build.gradle", PackageManager::Gradle),
];

/// The file that says the language where nobody says what installs its packages.
const DECLARATIONS: &[(&str, Language)] = &[
    ("Cargo.toml", Language::Rust),
    ("package.json", Language::Node),
    ("pyproject.toml", Language::Python),
];

/// Lock files of a package manager that no image of ours has.
const BUN: &[&str] = &["bun.lock", "bun.lockb"];

/// Looks at every service of a plan: at its sources, and what starts them.
///
/// # Errors
/// All services whose sources say too little.
pub fn detect(
    plan: &Plan,
    repository: &Repository,
) -> Result<BTreeMap<ServiceName, Source>, Vec<Undetected>> {
    let mut sources = BTreeMap::new();
    let mut problems = Vec::new();
    for service in plan.services.values().filter(|service| service.from.is_none()) {
        match source(service, repository) {
            Ok(source) => {
                sources.insert(service.name.clone(), source);
            }
            Err(problem) => problems.push(problem),
        }
    }
    let is_started = |service: &&Service| {
        let owner = service.from.as_ref().unwrap_or(&service.name);
        let toolchain = sources.get(owner).and_then(Source::toolchain);
        toolchain.is_none_or(|toolchain| {
            let is_said = service.run.is_some() || service.site.is_some();
            is_said || image::entry(toolchain, service).is_some()
        })
    };
    let idle = plan.services.values().filter(|service| !is_started(service));
    let idle = idle.map(|service| Undetected::NoCommand { service: service.name.clone() });
    problems.extend(idle);
    if problems.is_empty() { Ok(sources) } else { Err(problems) }
}

fn source(service: &Service, repository: &Repository) -> Result<Source, Undetected> {
    if service.kind == Kind::Static && service.build.is_none() && service.language.is_none() {
        return Ok(Source::Files);
    }
    let said = service.language.as_ref().map(|said| said.language);
    let wanted = service.package_manager;
    let directories = upwards(service.path.as_str());
    let declared = declared(&directories, repository);
    let is_possible_language =
        |language: Language| match said.or(wanted.map(PackageManager::language)) {
            Some(said) => said == language,
            None => declared.iter().all(|languages| languages.contains(&language)),
        };
    let is_possible = |manager: PackageManager| {
        wanted.is_none_or(|wanted| wanted == manager) && is_possible_language(manager.language())
    };
    for directory in &directories {
        let has = |name: &str| repository.contains_key(&join(directory, name));
        let is_found =
            |(name, manager): &(&str, PackageManager)| has(name) && is_possible(*manager);
        let mut found: Vec<(&str, PackageManager)> =
            SIGNS.iter().copied().filter(is_found).collect();
        // `requirements.txt` is what pip-tools writes, and what others export.
        if found.iter().any(|(_, manager)| *manager != PackageManager::Pip) {
            found.retain(|(_, manager)| *manager != PackageManager::Pip);
        }
        found.dedup_by_key(|(_, manager)| *manager);
        match found.as_slice() {
            [] => {}
            [(name, manager)] => {
                let evidence = format!("`{}`", join(directory, name));
                return Ok(toolchain(service, *manager, directory.clone(), repository, evidence));
            }
            several => {
                let found = several.iter().map(|(_, manager)| *manager).collect();
                return Err(Undetected::Several { service: service.name.clone(), found });
            }
        }
        let bun = BUN.iter().find(|name| has(name) && is_possible_language(Language::Node));
        if let (Some(name), None) = (bun, wanted) {
            let (service, lock) = (service.name.clone(), join(directory, name));
            return Err(Undetected::Bun { service, lock });
        }
    }
    let root = directories[0].clone();
    let manager = match (wanted, said) {
        (Some(manager), _) => manager,
        // Nothing installs packages of Node without a lock file, and nobody has just none.
        (None, Some(language)) if language != Language::Node => usual(language),
        (None, _) => {
            let (service, path) = (service.name.clone(), service.path.to_string());
            return Err(match (said, declared) {
                (Some(language), _) => Undetected::NoLock { service, language, path },
                (None, Some(languages)) => {
                    Undetected::NoLock { service, language: languages[0], path }
                }
                (None, None) => Undetected::Nothing { service, path },
            });
        }
    };
    Ok(toolchain(service, manager, root, repository, "the manifest".to_owned()))
}

/// The nearest directory in which something says the language, with all that are said there: by
/// lock files if there are any, else by what only names packages.
fn declared(directories: &[String], repository: &Repository) -> Option<Vec<Language>> {
    directories.iter().find_map(|directory| {
        let has = |name: &str| repository.contains_key(&join(directory, name));
        let signs = SIGNS.iter().filter(|(name, _)| has(name));
        let mut languages: Vec<Language> = signs.map(|(_, manager)| manager.language()).collect();
        if BUN.iter().any(|name| has(name)) {
            languages.push(Language::Node);
        }
        if languages.is_empty() {
            let declared = DECLARATIONS.iter().filter(|(name, _)| has(name));
            languages.extend(declared.map(|(_, language)| *language));
        }
        (!languages.is_empty()).then_some(languages)
    })
}

/// The package manager of a language when nobody says which.
const fn usual(language: Language) -> PackageManager {
    match language {
        Language::Python => PackageManager::Pip,
        Language::Node => PackageManager::Npm,
        Language::Rust => PackageManager::Cargo,
        Language::Go => PackageManager::GoModules,
        Language::Java => PackageManager::Maven,
    }
}

fn toolchain(
    service: &Service,
    manager: PackageManager,
    root: String,
    repository: &Repository,
    evidence: String,
) -> Source {
    let markers = markers_of(&root, repository);
    let own = markers_of(&upwards(service.path.as_str()).swap_remove(0), repository);
    let language = manager.language();
    let said = service.language.as_ref().and_then(|said| said.version.clone());
    let version = said.unwrap_or_else(|| versions::version(language, &markers));
    Source::Toolchain(Toolchain { language, version, manager, root, markers, own, evidence })
}

fn markers_of(directory: &str, repository: &Repository) -> BTreeMap<String, String> {
    let text = |name: &&str| {
        let text = repository.get(&join(directory, name))?;
        Some(((*name).to_owned(), text.clone()))
    };
    MARKERS.iter().filter_map(text).collect()
}

/// A directory and those above it, up to the manifest's, which is `.`.
#[must_use]
pub fn upwards(path: &str) -> Vec<String> {
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    let mut directories: Vec<String> =
        (1..=parts.len()).rev().map(|n_parts| parts[..n_parts].join("/")).collect();
    directories.push(".".to_owned());
    directories
}

/// The path of a file in a directory, without `./`.
#[must_use]
pub fn join(directory: &str, name: &str) -> String {
    if directory == "." { name.to_owned() } else { format!("{directory}/{name}") }
}

#[cfg(test)]
mod tests;
