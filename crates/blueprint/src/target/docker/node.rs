//! Node: a server with its production dependencies, what `next build` gathered, or a built site.

use askama::Template;
use manifest::plan::{Command, PackageManager};

use super::recipe::{self, Base, Recipe, headers, libraries, shell_line};
use super::{native, written};
use crate::detect::Toolchain;
use crate::image::{self, Family};
use crate::platform::Platform;

/// What stands in for a version that `package.json` does not name.
const PNPM: &str = "pnpm@10.15.0";
const YARN: &str = "yarn@1.22.22";
const YARN_MODERN: &str = "yarn@4.9.2";
const COREPACK: &str = "corepack@0.34.0";

/// The first Node without corepack.
const NODE_WITHOUT_COREPACK: u32 = 25;

#[derive(Template)]
#[template(path = "docker/node.stages", escape = "none")]
struct Stages {
    node: String,
    env: String,
    headers: String,
    installer: String,
    copy: String,
    cache: &'static str,
    install: String,
    link: String,
    workdir: String,
    build: String,
}

#[derive(Template)]
#[template(path = "docker/node.server", escape = "none")]
struct Server {
    prune: String,
    libraries: String,
}

#[derive(Template)]
#[template(path = "docker/node.next", escape = "none")]
struct Next {
    workdir: String,
    libraries: String,
}

#[derive(Template)]
#[template(path = "docker/manifests.stage", escape = "none")]
struct Manifests<'a> {
    image: &'a str,
    keep: &'static str,
}

/// How a package manager fills `node_modules`.
struct Installer {
    /// Where it keeps what it downloaded.
    cache: &'static str,
    /// From the lock file alone.
    install: &'static str,
    /// Again, once the sources are there: links what is in the workspace.
    link: Option<&'static str>,
    /// Takes out what only building needs.
    prune: &'static str,
    /// Variables of every stage that builds.
    env: &'static [(&'static str, &'static str)],
}

const NPM: Installer = Installer {
    cache: "/root/.npm",
    install: "npm ci --no-audit --no-fund",
    link: None,
    prune: "npm prune --omit=dev --no-audit --no-fund",
    env: &[],
};

const PNPM_STEPS: Installer = Installer {
    cache: "/pnpm/store",
    install: "pnpm fetch",
    link: Some("pnpm install --frozen-lockfile --prefer-offline"),
    prune: "pnpm install --prod --frozen-lockfile --prefer-offline --ignore-scripts",
    env: &[
        ("CI", "true"),
        ("npm_config_store_dir", "/pnpm/store"),
        // Programs of packages as links to their scripts, which Node starts without a shell.
        ("npm_config_prefer_symlinked_executables", "true"),
    ],
};

const YARN_CLASSIC: Installer = Installer {
    cache: "/yarn",
    install: "yarn install --frozen-lockfile --non-interactive",
    link: None,
    prune: "yarn install --production --frozen-lockfile --ignore-scripts --prefer-offline",
    env: &[("YARN_CACHE_FOLDER", "/yarn")],
};

const YARN_BERRY: Installer = Installer {
    cache: "/yarn",
    install: "yarn install --immutable",
    link: None,
    prune: "yarn workspaces focus --all --production",
    env: &[
        ("YARN_GLOBAL_FOLDER", "/yarn"),
        ("YARN_ENABLE_TELEMETRY", "false"),
        // Node itself finds packages in the image, without Yarn.
        ("YARN_NODE_LINKER", "node-modules"),
    ],
};

/// How the images of a family are made.
pub(super) fn recipe(platform: &Platform, family: &Family<'_>, toolchain: &Toolchain) -> Recipe {
    let version = &toolchain.version;
    let node = platform.pinned(&format!("node:{version}-bookworm"));
    let manager = manager(toolchain);
    let is_site = family.services.iter().all(|service| service.site.is_some());
    let is_next = !is_site && image::is_next(toolchain);
    let is_workspace = is_workspace(toolchain) && toolchain.manager != PackageManager::Pnpm;
    let workdir = family.workdir();
    let mut env = vec![("COREPACK_ENABLE_DOWNLOAD_PROMPT", "0".to_owned())];
    if toolchain.manager == PackageManager::Npm {
        env.clear();
    }
    env.extend(manager.env.iter().map(|(name, value)| (*name, (*value).to_owned())));
    if is_next {
        env.push(("NEXT_TELEMETRY_DISABLED", "1".to_owned()));
    }
    let mut stages = String::new();
    if is_workspace {
        let keep = "find . -type f ! -name package.json ! -name package-lock.json \\\n        \
                    ! -name yarn.lock ! -name .yarnrc.yml ! -path './.yarn/*' -delete";
        stages = written(&Manifests { image: &node, keep }) + "\n\n";
    }
    stages.push_str(&written(&Stages {
        node: node.clone(),
        env: recipe::env(&env) + if env.is_empty() { "" } else { "\n" },
        headers: headers(&native::headers(family)),
        installer: installer(toolchain),
        copy: copy(toolchain, is_workspace),
        cache: manager.cache,
        install: manager.install.to_owned(),
        link: manager.link.map_or_else(String::new, |link| run(&manager, link) + "\n"),
        workdir: workdir.clone(),
        build: match build(family, toolchain) {
            Some(command) if is_next && !says_standalone(toolchain) => {
                format!("RUN export NEXT_PRIVATE_STANDALONE=true; {command}")
            }
            command => command.map_or_else(String::new, |command| format!("RUN {command}")),
        },
    }));
    let needs_npm = family
        .services
        .iter()
        .any(|service| service.site.is_none() && is_for_a_manager(platform, service));
    let mut copies = Vec::new();
    if !is_site {
        let libraries = libraries(if is_next { "/tree" } else { "/app /tree" });
        stages.push_str("\n\n");
        if is_next {
            stages.push_str(&written(&Next { workdir: workdir.clone(), libraries }));
            copies.push("COPY --from=tree /tree/ /".to_owned());
        } else {
            let prune = run(&manager, manager.prune);
            stages.push_str(&written(&Server { prune, libraries }));
            copies.push("COPY --from=tree /tree/ /".to_owned());
            copies.push("COPY --from=tree /app/ /app/".to_owned());
        }
    }
    Recipe {
        stages,
        base: if needs_npm { Base::Node } else { Base::Libraries },
        toolchain: platform.pinned(&format!("node:{version}-bookworm-slim")),
        copies,
        env: last_env(is_next, needs_npm),
        workdir,
        secret: Some(("npmrc", "$HOME/.npmrc")),
    }
}

fn last_env(is_next: bool, needs_npm: bool) -> Vec<(&'static str, String)> {
    let mut env = vec![("NODE_ENV", "production".to_owned()), ("HOME", "/tmp".to_owned())];
    if is_next {
        env.push(("NEXT_TELEMETRY_DISABLED", "1".to_owned()));
        // Docker sets this to the container's name, on which Next would listen.
        env.push(("HOSTNAME", "127.0.0.1".to_owned()));
    }
    if needs_npm {
        env.push(("NPM_CONFIG_UPDATE_NOTIFIER", "false".to_owned()));
    }
    env
}

/// Whether only a package manager understands a command: its script cannot be seen from here.
fn is_for_a_manager(platform: &Platform, service: &manifest::plan::Service) -> bool {
    let words = image::run(platform, service).unwrap_or_default();
    let first = words.first().and_then(manifest::template::Template::as_literal);
    matches!(first.as_deref(), Some("npm" | "npx" | "pnpm" | "yarn"))
}

fn manager(toolchain: &Toolchain) -> Installer {
    match toolchain.manager {
        PackageManager::Pnpm => PNPM_STEPS,
        PackageManager::Yarn if is_berry(toolchain) => YARN_BERRY,
        PackageManager::Yarn => YARN_CLASSIC,
        // The managers of other languages are never paired with Node.
        _ => NPM,
    }
}

fn is_berry(toolchain: &Toolchain) -> bool {
    let named = named_manager(toolchain);
    toolchain.markers.contains_key(".yarnrc.yml")
        || named.is_some_and(|named| named.starts_with("yarn@") && !named.starts_with("yarn@1."))
}

/// `packageManager` of the `package.json` beside the lock file: `pnpm@10.15.0+sha512.…`.
fn named_manager(toolchain: &Toolchain) -> Option<String> {
    let value: serde_json::Value =
        serde_json::from_str(toolchain.markers.get("package.json")?).ok()?;
    let text = value.get("packageManager")?.as_str()?;
    let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "@.+-".contains(c));
    is_plain.then(|| text.to_owned())
}

fn is_workspace(toolchain: &Toolchain) -> bool {
    let package = toolchain.markers.get("package.json").map_or("", String::as_str);
    let value: Option<serde_json::Value> = serde_json::from_str(package).ok();
    value.is_some_and(|value| value.get("workspaces").is_some())
}

fn says_standalone(toolchain: &Toolchain) -> bool {
    let mut configs = toolchain.own.iter().filter(|(name, _)| name.starts_with("next.config."));
    configs.any(|(_, text)| text.contains("standalone"))
}

/// Makes the package manager available in the version that the project names.
fn installer(toolchain: &Toolchain) -> String {
    let usual = match toolchain.manager {
        PackageManager::Pnpm => PNPM,
        // The old Yarn starts the one that the project brings.
        PackageManager::Yarn if is_berry(toolchain) && !brings_yarn(toolchain) => YARN_MODERN,
        PackageManager::Yarn => YARN,
        _ => return String::new(),
    };
    let named = named_manager(toolchain).unwrap_or_else(|| usual.to_owned());
    let major: u32 = toolchain.version.parse().unwrap_or(0);
    let corepack = match major >= NODE_WITHOUT_COREPACK {
        true => format!("npm install --global {COREPACK} && \\\n    "),
        false => String::new(),
    };
    format!("RUN {corepack}corepack enable && corepack install --global {named}\n")
}

/// The files that decide the dependencies, as `COPY`.
fn copy(toolchain: &Toolchain, is_workspace: bool) -> String {
    if is_workspace {
        return "COPY --from=manifests /app ./".to_owned();
    }
    let has = |name: &str| toolchain.markers.contains_key(name);
    let mut files = match toolchain.manager {
        PackageManager::Pnpm => vec!["pnpm-lock.yaml"],
        PackageManager::Yarn => vec!["package.json", "yarn.lock"],
        _ => vec!["package.json", "package-lock.json"],
    };
    files.extend(["pnpm-workspace.yaml", ".npmrc", ".yarnrc.yml"].iter().filter(|name| has(name)));
    let mut lines = vec![format!("COPY {} ./", files.join(" "))];
    if brings_yarn(toolchain) {
        lines.push("COPY .yarn/releases/ .yarn/releases/".to_owned());
    }
    lines.join("\n")
}

/// Whether Yarn itself is in the repository.
fn brings_yarn(toolchain: &Toolchain) -> bool {
    let yarnrc = toolchain.markers.get(".yarnrc.yml").map_or("", String::as_str);
    yarnrc.contains("yarnPath")
}

/// A step of the package manager, with its downloads and its credentials.
fn run(manager: &Installer, command: &str) -> String {
    format!(
        "RUN --mount=type=cache,target={} \\\n    --mount=type=secret,id=npmrc,target=/root/.npmrc \
         \\\n    {command}",
        manager.cache
    )
}

/// What makes the sources runnable: `build` of the manifest, or the script of that name.
fn build(family: &Family<'_>, toolchain: &Toolchain) -> Option<String> {
    match &family.owner.build {
        Some(Command::Shell { shell }) => return Some(shell.replace('\n', " && ")),
        Some(Command::Exec(words)) => {
            let words: Vec<String> = words.iter().map(ToString::to_string).collect();
            return Some(shell_line(&words));
        }
        None => {}
    }
    let package = toolchain.own.get("package.json").map_or("", String::as_str);
    let value: Option<serde_json::Value> = serde_json::from_str(package).ok();
    let scripts = value.as_ref().and_then(|value| value.get("scripts"));
    let has_build = scripts.is_some_and(|scripts| scripts.get("build").is_some());
    let manager = toolchain.manager.as_str();
    match has_build {
        true => Some(format!("{manager} run build")),
        false => image::is_next(toolchain).then(|| "node_modules/.bin/next build".to_owned()),
    }
}
