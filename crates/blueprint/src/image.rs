//! The images of a platform: which Dockerfile makes each, under which name, and what a command of
//! the manifest is called in it. For everyone who builds or starts them.
//!
//! Services that are `from` another are one family: one Dockerfile, shared stages, an image each.
//! It deliberately knows no stage but the last and the one for developers; `target::docker` does.
//!
//! Invariant: every service has exactly one image, and no two Dockerfiles have one path.

mod command;
mod node_script;

use std::collections::{BTreeMap, BTreeSet};

use manifest::Plan;
use manifest::names::ServiceName;
use manifest::plan::{Command, Kind, Service};

pub(crate) use command::{BIN, command, directory_of_jar, entry, program, run};
pub(crate) use node_script::is_next;

use crate::detect::{Source, Toolchain};
use crate::platform::Platform;

/// Stages that are ours in every Dockerfile; a service of such a name gets another for its own.
const RESERVED: &[&str] = &["build", "dependencies", "manifests", "plimsoll", "sources", "tree"];

/// One image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    /// The directory that it is built from, below the manifest's.
    pub(crate) context: String,
    /// Its Dockerfile, below the context.
    pub(crate) dockerfile: String,
    /// The stage that is the image.
    pub(crate) stage: String,
    /// The stage with a shell, the toolchain, all dependencies and the sources; absent for files
    /// that are served as they are.
    pub(crate) dev_stage: Option<&'static str>,
    /// Its name without a tag: `ghcr.io/acme/shop/api`.
    pub(crate) repository: String,
    /// What stands behind the version in its tag: nothing, or `-cuda`.
    pub(crate) suffix: &'static str,
}

impl Image {
    /// The image of a service in an environment; absent for one that no release has, only an
    /// earlier environment.
    pub(crate) fn of(platform: &Platform, plan: &Plan, service: &Service) -> Option<Image> {
        let owner = service.from.as_ref().unwrap_or(&service.name);
        let (context, dockerfile) = platform.dockerfile(owner)?;
        let has_cuda = service.gpu.as_ref().is_some_and(|gpu| gpu.cuda.is_some());
        let stage = stage(service);
        let is_made = platform.source(service).and_then(Source::toolchain).is_some();
        Some(Image {
            context: context.to_owned(),
            dockerfile: dockerfile.to_owned(),
            stage: if has_cuda { format!("{stage}.cuda") } else { stage },
            dev_stage: is_made.then_some("sources"),
            repository: repository(plan, service),
            suffix: if has_cuda { "-cuda" } else { "" },
        })
    }
}

/// The context and the Dockerfile of every service whose sources are its own. The first of a
/// context has the plain name.
pub(crate) fn dockerfiles(
    plan: &Plan,
    sources: &BTreeMap<ServiceName, Source>,
) -> BTreeMap<ServiceName, (String, String)> {
    let mut contexts = BTreeSet::new();
    let owners = plan.services.values().filter(|service| service.from.is_none());
    let place = |owner: &Service| {
        let context = match sources.get(&owner.name).and_then(Source::toolchain) {
            Some(toolchain) => toolchain.root.clone(),
            None => clean(owner.path.as_str()),
        };
        let dockerfile = match contexts.insert(context.clone()) {
            true => "Dockerfile".to_owned(),
            false => format!("Dockerfile.{}", owner.name),
        };
        (owner.name.clone(), (context, dockerfile))
    };
    owners.map(place).collect()
}

/// The last stage of a service.
pub(crate) fn stage(service: &Service) -> String {
    let name = service.name.as_str();
    if RESERVED.contains(&name) { format!("{name}.image") } else { name.to_owned() }
}

/// The name of a service's image without a tag.
fn repository(plan: &Plan, service: &Service) -> String {
    format!("{}/{}", plan.image.as_deref().unwrap_or(plan.app.as_str()), service.name)
}

/// Services whose images come from one Dockerfile.
#[derive(Clone, Debug)]
pub(crate) struct Family<'a> {
    /// The service whose sources they are; the others are `from` it.
    pub(crate) owner: &'a Service,
    /// All of them; the owner is the last.
    pub(crate) services: Vec<&'a Service>,
    /// What its sources say.
    pub(crate) source: &'a Source,
    /// The directory that its images are built from.
    pub(crate) context: String,
    /// Its Dockerfile, below the context.
    pub(crate) dockerfile: String,
}

impl<'a> Family<'a> {
    /// Every family, by name of its owner.
    pub(crate) fn all(platform: &'a Platform) -> Vec<Family<'a>> {
        let plan = platform.released();
        let mut followers: BTreeMap<&ServiceName, Vec<&Service>> = BTreeMap::new();
        for service in plan.services.values() {
            if let Some(owner) = &service.from {
                followers.entry(owner).or_default().push(service);
            }
        }
        let owners = plan.services.values().filter(|service| service.from.is_none());
        let family = |owner: &'a Service| {
            let (context, dockerfile) = platform.dockerfile(&owner.name)?;
            let mut services = followers.remove(&owner.name).unwrap_or_default();
            services.push(owner);
            Some(Family {
                owner,
                services,
                source: platform.source(owner).unwrap_or(&Source::Files),
                context: context.to_owned(),
                dockerfile: dockerfile.to_owned(),
            })
        };
        owners.filter_map(family).collect()
    }

    /// How its programs are made; absent for files.
    pub(crate) fn toolchain(&self) -> Option<&'a Toolchain> {
        self.source.toolchain()
    }

    /// The Dockerfile's path below the manifest's directory.
    pub(crate) fn path(&self) -> String {
        crate::detect::join(&self.context, &self.dockerfile)
    }

    /// Where its sources stand in an image.
    pub(crate) fn workdir(&self) -> String {
        let below = below(&self.context, self.owner.path.as_str());
        if below == "." { "/app".to_owned() } else { format!("/app/{below}") }
    }

    /// Its sources' directory, below the context; `.` is the context itself.
    pub(crate) fn below(&self) -> String {
        below(&self.context, self.owner.path.as_str())
    }
}

/// Whether a service needs a shell in its image, which distroless has not.
pub(crate) fn needs_shell(platform: &Platform, service: &Service) -> bool {
    let migrate = service.migrate.as_ref().map(|migrate| &migrate.run);
    let commands = [service.run.as_ref(), migrate];
    service.kind != Kind::Static
        && commands.into_iter().flatten().any(|command| {
            matches!(command, Command::Shell { .. }) || {
                let words = self::command(platform, service, command);
                words.first().and_then(manifest::template::Template::as_literal).is_some_and(
                    |word| {
                        matches!(
                            word.as_ref(),
                            "/bin/sh" | "sh" | "bash" | "npm" | "npx" | "pnpm" | "yarn"
                        )
                    },
                )
            }
        })
}

/// A path without `./` and doubled slashes; `.` is nothing.
pub(crate) fn clean(path: &str) -> String {
    crate::detect::upwards(path).swap_remove(0)
}

/// A path below a directory that holds it.
fn below(directory: &str, path: &str) -> String {
    let path = clean(path);
    if directory == "." {
        return path;
    }
    match path.strip_prefix(directory).map(|rest| rest.trim_start_matches('/')) {
        None | Some("") => ".".to_owned(),
        Some(rest) => rest.to_owned(),
    }
}
