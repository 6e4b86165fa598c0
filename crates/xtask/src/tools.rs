//! Table: the real programs that tests and benchmarks use, and where they come from.
//!
//! `cargo xtask tools` installs what is missing: Debian packages through apt when it may, crates
//! into cargo's directory, and what has no package ([`Prepared`]) into a cache outside the
//! repository. Where it may not, it prints what to type. It deliberately
//! replaces nothing that is already there, of whatever version.
//!
//! Invariant: running it twice does nothing the second time.

mod base_images;
mod collector;
mod custom_resources;
mod docker;
mod helm;
mod kafka;
mod kubernetes;
mod python;
mod vault;
mod verifiers;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::Verdict;

/// One program.
struct Tool {
    /// What must be found.
    program: &'static str,
    /// Directories outside of `PATH` where Debian keeps it.
    also_in: &'static [&'static str],
    source: Source,
    /// What cannot be done without it.
    need: Need,
    /// What for.
    used_by: &'static str,
}

/// What a program is needed for; each includes those above it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Need {
    /// `make up`.
    Up,
    /// `make test` and CI.
    Test,
    /// `make bench`.
    Bench,
}

/// Where a program comes from.
#[derive(Clone, Copy)]
enum Source {
    /// A Debian package.
    Debian(&'static str),
    /// A crate, at this version.
    Crate(&'static str, &'static str),
}

const TOOLS: &[Tool] = &[
    Tool {
        program: "cargo-deny",
        also_in: &[],
        source: Source::Crate("cargo-deny", "0.18.9"),
        need: Need::Test,
        used_by: "ci: licences, sources, one version of everything",
    },
    Tool {
        program: "initdb",
        also_in: &["/usr/lib/postgresql/15/bin", "/usr/lib/postgresql/17/bin"],
        source: Source::Debian("postgresql"),
        need: Need::Up,
        used_by: "up: a local `postgres`",
    },
    Tool {
        program: "redis-server",
        also_in: &[],
        source: Source::Debian("redis-server"),
        need: Need::Up,
        used_by: "up: a local `redis`",
    },
    Tool {
        program: "tesseract",
        also_in: &[],
        source: Source::Debian("tesseract-ocr"),
        need: Need::Up,
        used_by: "examples/discovery: text of scans",
    },
    Tool {
        program: "pdftoppm",
        also_in: &[],
        source: Source::Debian("poppler-utils"),
        need: Need::Up,
        used_by: "examples/discovery: pages of scanned PDFs",
    },
    Tool {
        program: "chromium",
        also_in: &[],
        source: Source::Debian("chromium"),
        need: Need::Test,
        used_by: "tests: the page in a browser",
    },
    Tool {
        program: "node",
        also_in: &[],
        source: Source::Debian("nodejs"),
        need: Need::Test,
        used_by: "tests: a Node server under `run`",
    },
    Tool {
        program: "npm",
        also_in: &[],
        source: Source::Debian("npm"),
        need: Need::Test,
        used_by: "tools: programs that `verify` hands artifacts to",
    },
    Tool {
        program: "make",
        also_in: &[],
        source: Source::Debian("make"),
        need: Need::Test,
        used_by: "tests: `verify` of a Makefile",
    },
    Tool {
        program: "python3",
        also_in: &[],
        source: Source::Debian("python3"),
        need: Need::Test,
        used_by: "tests: a Python server under `run`",
    },
    Tool {
        program: "java",
        also_in: &[],
        source: Source::Debian("openjdk-17-jre-headless"),
        need: Need::Test,
        used_by: "tests: a real Kafka broker",
    },
    Tool {
        program: "mvn",
        also_in: &[],
        source: Source::Debian("maven"),
        need: Need::Test,
        used_by: "tools: the jars of Kafka",
    },
    Tool {
        program: "go",
        also_in: &["/usr/local/go/bin"],
        source: Source::Debian("golang-go"),
        need: Need::Test,
        used_by: "tests: a Go server under `run`",
    },
    Tool {
        program: "curl",
        also_in: &[],
        source: Source::Debian("curl"),
        need: Need::Test,
        used_by: "tests: a client that is not ours",
    },
    Tool {
        program: "ip",
        also_in: &["/usr/sbin", "/sbin"],
        source: Source::Debian("iproute2"),
        need: Need::Test,
        used_by: "tests: a Docker engine with a network of its own",
    },
    Tool {
        program: "iptables",
        also_in: &["/usr/sbin", "/sbin"],
        source: Source::Debian("iptables"),
        need: Need::Test,
        used_by: "tests: a Docker engine with a network of its own",
    },
    Tool {
        program: "runc",
        also_in: &["/usr/sbin"],
        source: Source::Debian("runc"),
        need: Need::Test,
        used_by: "tests: a Docker engine",
    },
    Tool {
        program: "mmdebstrap",
        also_in: &[],
        source: Source::Debian("mmdebstrap"),
        need: Need::Test,
        used_by: "tools: base images",
    },
    Tool {
        program: "nginx",
        also_in: &["/usr/sbin"],
        source: Source::Debian("nginx-light"),
        need: Need::Test,
        used_by: "tests: configurations of nginx; bench: the proxy to compare with",
    },
    Tool {
        program: "wrk",
        also_in: &[],
        source: Source::Debian("wrk"),
        need: Need::Bench,
        used_by: "bench: load",
    },
    Tool {
        program: "tini",
        also_in: &[],
        source: Source::Debian("tini"),
        need: Need::Bench,
        used_by: "bench: the init to compare with",
    },
    Tool {
        program: "dumb-init",
        also_in: &[],
        source: Source::Debian("dumb-init"),
        need: Need::Bench,
        used_by: "bench: the init to compare with",
    },
    Tool {
        program: "s6-svscan",
        also_in: &[],
        source: Source::Debian("s6"),
        need: Need::Bench,
        used_by: "bench: the supervisor to compare with",
    },
    Tool {
        program: "supervisord",
        also_in: &[],
        source: Source::Debian("supervisor"),
        need: Need::Bench,
        used_by: "bench: the supervisor to compare with",
    },
];

/// What no package brings as it is needed: a directory of the cache, made whole or not at all.
struct Prepared {
    /// Its name in messages.
    name: &'static str,
    /// Its directory in the cache; another content has another name.
    directory: fn() -> String,
    /// Fills an empty directory.
    install: fn(&Path) -> Result<()>,
    need: Need,
    used_by: &'static str,
}

const PREPARED: &[Prepared] = &[
    Prepared {
        name: "the OpenTelemetry collector",
        directory: collector::directory,
        install: collector::install,
        need: Need::Test,
        used_by: "tests: spans really arrive",
    },
    Prepared {
        name: "helm",
        directory: helm::directory,
        install: helm::install,
        need: Need::Test,
        used_by: "tests: charts are taken by their own program (a minute or two to build)",
    },
    Prepared {
        name: "programs that verify",
        directory: verifiers::directory,
        install: verifiers::install,
        need: Need::Test,
        used_by: "tests: every artifact is taken by the program that it is for",
    },
    Prepared {
        name: "jars of Kafka",
        directory: kafka::directory,
        install: kafka::install,
        need: Need::Test,
        used_by: "tests: a real broker to publish to",
    },
    Prepared {
        name: "a Kubernetes API server",
        directory: kubernetes::directory,
        install: kubernetes::install,
        need: Need::Test,
        used_by: "tests: what is rendered is admitted by a cluster (minutes to build)",
    },
    Prepared {
        name: "custom resources of Kubernetes",
        directory: custom_resources::directory,
        install: custom_resources::install,
        need: Need::Test,
        used_by: "tests: kinds of Argo, KEDA, Prometheus and others",
    },
    Prepared {
        name: "python packages",
        directory: python::directory,
        install: python::install,
        need: Need::Test,
        used_by: "tests: uvicorn, gunicorn, Flask and Celery under `run`",
    },
    Prepared {
        name: "a Docker engine and Compose",
        directory: docker::directory,
        install: docker::install,
        need: Need::Test,
        used_by: "tests: images are built and run",
    },
    Prepared {
        name: "base images",
        directory: base_images::directory,
        install: base_images::install,
        need: Need::Test,
        used_by: "tests: images are built without a registry",
    },
    Prepared {
        name: "vault",
        directory: vault::directory,
        install: vault::install,
        need: Need::Bench,
        used_by: "tests: a real Vault to take secrets from (a quarter of an hour to build)",
    },
];

/// Installs what is missing, or with `check` only names it.
pub(crate) fn command(need: Need, check: bool) -> Result<Verdict> {
    let programs = programs(need, check)?;
    if programs == Verdict::No {
        return Ok(programs);
    }
    let mut verdict = Verdict::Yes;
    for prepared in PREPARED.iter().filter(|prepared| prepared.need <= need) {
        if prepared.path().exists() {
            continue;
        }
        eprintln!("tools: {} are missing ({})", prepared.name, prepared.used_by);
        if check {
            eprintln!("    help: cargo xtask tools");
            verdict = Verdict::No;
        } else if let Err(error) = prepared.install() {
            // What comes after it may be there all the same.
            eprintln!("tools: cannot install {}: {error:#}", prepared.name);
            verdict = Verdict::No;
        }
    }
    Ok(verdict)
}

impl Prepared {
    fn path(&self) -> PathBuf {
        testkit::tool_cache().join((self.directory)())
    }

    /// Beside its place first, so that a broken installation is never found.
    fn install(&self) -> Result<()> {
        let path = self.path();
        let parent = path.parent().context("the cache has a directory")?;
        std::fs::create_dir_all(parent)
            .with_context(|| format!("cannot make `{}`", parent.display()))?;
        let half = tempfile::Builder::new().prefix("half-").tempdir_in(parent)?;
        (self.install)(half.path())?;
        std::fs::rename(half.keep(), &path)
            .with_context(|| format!("cannot make `{}`", path.display()))?;
        println!("tools: installed {} in {}", self.name, path.display());
        Ok(())
    }
}

fn programs(need: Need, check: bool) -> Result<Verdict> {
    let needed: Vec<_> = TOOLS.iter().filter(|tool| tool.need <= need).collect();
    let missing: Vec<_> = needed.iter().copied().filter(|tool| tool.found().is_none()).collect();
    if missing.is_empty() {
        println!("tools: all {} are there", needed.len());
        return Ok(Verdict::Yes);
    }
    for tool in &missing {
        eprintln!("tools: `{}` is missing ({})", tool.program, tool.used_by);
    }
    let packages: Vec<_> = missing.iter().filter_map(|tool| tool.source.package()).collect();
    if check {
        eprintln!("    help: cargo xtask tools (as root), or by hand:");
        print_commands(&packages, &missing);
        return Ok(Verdict::No);
    }
    for (name, version) in missing.iter().filter_map(|tool| tool.source.crate_version()) {
        install_crate(name, version)?;
    }
    if !packages.is_empty() {
        if !(is_root() && find("apt-get", &[]).is_some()) {
            eprintln!("tools: only root can install packages; by hand:");
            print_commands(&packages, &[]);
            return Ok(Verdict::No);
        }
        install_packages(&packages)?;
    }
    println!("tools: installed {} programs", missing.len());
    Ok(Verdict::Yes)
}

impl Tool {
    fn found(&self) -> Option<PathBuf> {
        find(self.program, self.also_in)
    }
}

impl Source {
    fn package(self) -> Option<&'static str> {
        match self {
            Self::Debian(package) => Some(package),
            Self::Crate(..) => None,
        }
    }

    fn crate_version(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Debian(_) => None,
            Self::Crate(name, version) => Some((name, version)),
        }
    }
}

/// Where a program is: on the `PATH`, in cargo's directory, or in one of these.
pub(crate) fn find(program: &str, also_in: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([cargo_bin()])
        .chain(also_in.iter().map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

fn cargo_bin() -> PathBuf {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    home.unwrap_or_default().join("bin")
}

fn is_root() -> bool {
    nix::unistd::Uid::effective().is_root()
}

fn print_commands(packages: &[&str], missing: &[&Tool]) {
    if !packages.is_empty() {
        println!("apt-get install --no-install-recommends {}", packages.join(" "));
    }
    for (name, version) in missing.iter().filter_map(|tool| tool.source.crate_version()) {
        println!("cargo install --locked {name} --version {version}");
    }
}

fn install_crate(name: &str, version: &str) -> Result<()> {
    run(Command::new("cargo").args(["install", "--locked", name, "--version", version]))
}

fn install_packages(packages: &[&str]) -> Result<()> {
    run(Command::new("apt-get").args(["update", "--quiet"]))?;
    run(Command::new("apt-get")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(["install", "--quiet", "--yes", "--no-install-recommends"])
        .args(packages))
}

fn run(command: &mut Command) -> Result<()> {
    eprintln!("tools: {command:?}");
    let status = command.status().with_context(|| format!("cannot start {command:?}"))?;
    ensure!(status.success(), "{command:?} failed ({status})");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_outside_of_the_path() {
        assert!(find("sh", &[]).is_some());
        assert!(find("no-such-program-here", &["/usr/bin"]).is_none());
    }

    #[test]
    fn no_program_is_listed_twice() {
        let mut programs: Vec<_> = TOOLS.iter().map(|tool| tool.program).collect();
        programs.sort_unstable();
        programs.dedup();
        assert_eq!(programs.len(), TOOLS.len());
    }
}
