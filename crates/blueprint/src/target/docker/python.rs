//! Python: an environment in `/opt/venv`, and the interpreter that it was made with.

use askama::Template;
use manifest::plan::PackageManager;

use super::recipe::{Base, Recipe, headers, libraries};
use super::{native, written};
use crate::detect::Toolchain;
use crate::image::Family;
use crate::platform::Platform;

/// Package managers are pinned: a newer one must not change what an image has. Poetry writes its
/// own version into the lock file, which is then preferred.
const POETRY: &str = "2.5.1";
const UV: &str = "0.13.9";
const PDM: &str = "2.29.4";

/// The directory that cannot be written belongs to nobody's home: programs that insist get `/tmp`.
const ENV: &[(&str, &str)] = &[
    ("PATH", "/opt/venv/bin:/usr/local/bin:/usr/bin:/bin"),
    ("PYTHONUNBUFFERED", "1"),
    ("PYTHONDONTWRITEBYTECODE", "1"),
    ("HOME", "/tmp"),
];

/// What a program needs beside its words, where the root cannot be written.
const PROGRAMS: &[(&str, &str, &str)] =
    &[("dask", "DASK_TEMPORARY_DIRECTORY", "/tmp"), ("prefect", "PREFECT_HOME", "/tmp/prefect")];

#[derive(Template)]
#[template(path = "docker/python.stages", escape = "none")]
struct Stages<'a> {
    python: String,
    version: &'a str,
    env: String,
    headers: String,
    installer: String,
    files: String,
    sync: String,
    project: String,
    cache: &'static str,
    libraries: String,
}

/// How a package manager fills the environment.
struct Installer {
    /// What is installed to have it: a requirement with a version.
    installer: Option<String>,
    /// What it reads before the sources are there; only files that exist are named.
    files: Vec<&'static str>,
    /// Fills the environment from the lock file.
    sync: String,
    /// Adds the project itself, once the sources are there.
    project: Option<String>,
    /// Variables that keep it to the environment.
    env: Vec<(&'static str, &'static str)>,
}

/// How the images of a family are made.
pub(super) fn recipe(platform: &Platform, family: &Family<'_>, toolchain: &Toolchain) -> Recipe {
    let version = &toolchain.version;
    let python = platform.pinned(&format!("python:{version}-bookworm"));
    let manager = manager(toolchain);
    let workdir = family.workdir();
    let installer = manager.installer.as_ref().map_or_else(String::new, |requirement| {
        let name = requirement.split('=').next().unwrap_or_default();
        format!(
            "RUN --mount=type=cache,target=/root/.cache \\\n    python -m venv /opt/{name} && \
             /opt/{name}/bin/pip install {requirement}\n"
        )
    });
    let project = manager.project.as_ref().map_or_else(String::new, |command| {
        format!(
            "RUN --mount=type=cache,target=/root/.cache \\\n    \
             --mount=type=secret,id=netrc,target=/root/.netrc \\\n    {command}\n"
        )
    });
    let stages = written(&Stages {
        python: python.clone(),
        version,
        env: build_env(&manager),
        headers: headers(&native::headers(family)),
        installer,
        files: manager.files.join(" "),
        sync: format!("python -m venv --without-pip /opt/venv && \\\n    {}", manager.sync),
        project,
        // Where hadolint looks whether pip has a cache that stays out of the image.
        cache: if manager.installer.is_some() { "/root/.cache" } else { "/root/.cache/pip" },
        libraries: libraries("/opt/venv /tree"),
    });
    let mut env: Vec<(&'static str, String)> =
        ENV.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    env.push(("PYTHONPATH", workdir.clone()));
    env.extend(programs(family));
    Recipe {
        stages,
        base: Base::Libraries,
        toolchain: python,
        copies: vec![
            "COPY --from=tree /tree/ /".to_owned(),
            "COPY --from=build /opt/venv/ /opt/venv/".to_owned(),
            "COPY --from=build /app/ /app/".to_owned(),
        ],
        env,
        workdir,
        secret: Some(("netrc", "$HOME/.netrc")),
    }
}

/// What any program of a family needs: they share a recipe.
fn programs(family: &Family<'_>) -> Vec<(&'static str, String)> {
    let runs = family.services.iter().filter_map(|service| service.run.as_ref());
    let lines: Vec<String> = runs.map(manifest::plan::Command::line).collect();
    let is_used = |program: &str| {
        lines.iter().any(|line| line.split_whitespace().take(3).any(|word| word == program))
    };
    let used = PROGRAMS.iter().filter(|(program, _, _)| is_used(program));
    used.map(|(_, name, value)| (*name, (*value).to_owned())).collect()
}

fn build_env(manager: &Installer) -> String {
    let path = match &manager.installer {
        Some(requirement) => {
            let name = requirement.split('=').next().unwrap_or_default();
            format!("/opt/venv/bin:/opt/{name}/bin:$PATH")
        }
        None => "/opt/venv/bin:$PATH".to_owned(),
    };
    let mut lines = vec![
        "PIP_DISABLE_PIP_VERSION_CHECK=1".to_owned(),
        "PIP_ROOT_USER_ACTION=ignore".to_owned(),
        "VIRTUAL_ENV=/opt/venv".to_owned(),
    ];
    lines.extend(manager.env.iter().map(|(name, value)| format!("{name}={value}")));
    // Our own `PATH` names an environment that is not there yet: only what follows finds it.
    lines.push(format!("PATH={path}"));
    format!("ENV {}\n", lines.join(" \\\n    "))
}

fn manager(toolchain: &Toolchain) -> Installer {
    let text = |name: &str| toolchain.markers.get(name).map_or("", String::as_str);
    let project = text("pyproject.toml");
    match toolchain.manager {
        PackageManager::Poetry => {
            let is_package = project.contains("[build-system]")
                && !project.lines().any(|line| line.replace(' ', "") == "package-mode=false");
            Installer {
                installer: Some(format!("poetry=={}", poetry_version(text("poetry.lock")))),
                files: vec!["pyproject.toml", "poetry.lock"],
                sync: "poetry install --only main --no-root --no-directory".to_owned(),
                project: is_package.then(|| "poetry install --only main".to_owned()),
                env: vec![("POETRY_NO_INTERACTION", "1")],
            }
        }
        PackageManager::Uv => Installer {
            installer: Some(format!("uv=={UV}")),
            files: vec!["pyproject.toml", "uv.lock"],
            sync: "uv sync --frozen --no-dev --no-install-workspace".to_owned(),
            project: Some("uv sync --frozen --no-dev".to_owned()),
            env: vec![
                ("UV_PROJECT_ENVIRONMENT", "/opt/venv"),
                ("UV_LINK_MODE", "copy"),
                ("UV_PYTHON_DOWNLOADS", "never"),
            ],
        },
        PackageManager::Pdm => Installer {
            installer: Some(format!("pdm=={PDM}")),
            files: vec!["pyproject.toml", "pdm.lock"],
            sync: "pdm sync --prod --no-self".to_owned(),
            project: Some("pdm sync --prod".to_owned()),
            env: vec![("PDM_CHECK_UPDATE", "false")],
        },
        // The managers of other languages are never paired with Python.
        _ => {
            let hashes = match text("requirements.txt").contains("--hash=") {
                true => "--require-hashes ",
                false => "",
            };
            Installer {
                installer: None,
                files: vec!["requirements.txt"],
                sync: format!(
                    "pip --python /opt/venv install {hashes}--requirement requirements.txt"
                ),
                project: None,
                env: vec![],
            }
        }
    }
}

/// The version that wrote the lock file: `# This file is … generated by Poetry 2.1.3 and …`.
fn poetry_version(lock: &str) -> &str {
    let said = lock.lines().next().and_then(|line| line.split_once("generated by Poetry "));
    let version = said.map(|(_, rest)| rest.split(' ').next().unwrap_or_default());
    let is_version = |text: &&str| {
        text.starts_with(|c: char| c.is_ascii_digit())
            && text.bytes().all(|b| b.is_ascii_digit() || b == b'.')
    };
    version.filter(is_version).unwrap_or(POETRY)
}
