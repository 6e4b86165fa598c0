//! `plimsoll render` and what belongs to it, on a directory as a user has it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::run_publish::SmallDisk;

const MANIFEST: &str = "\
plimsoll: 1
app: shop
image: ghcr.io/acme/shop
services:
  api:
    path: api
    language: python@3.13
    package_manager: uv
    run: uvicorn app.main:app
    port: 8080
    uses: [db]
    route: '@'
resources:
  db: {type: postgres}
environments:
  dev: {target: local}
  production: {target: host, hosts: [one], domain: shop.example}
";

struct Repository(TempDir);

/// How a command ended, and what it said.
struct Said {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Repository {
    fn new() -> Self {
        let repository = Self(tempfile::tempdir().unwrap());
        repository.write("plimsoll.yaml", MANIFEST);
        repository.git(&["init", "--quiet"]);
        repository
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path().join(path)).unwrap()
    }

    fn git(&self, args: &[&str]) {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=t", "-c", "user.email=t@t"]).args(args);
        let output = git.current_dir(self.path()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    fn plimsoll(&self, args: &[&str]) -> Said {
        let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
        let Output { status, stdout, stderr } =
            command.args(args).current_dir(self.path()).stdin(Stdio::null()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Said { code: status.code().unwrap(), stdout: text(stdout), stderr: text(stderr) }
    }

    /// Every file but git's own, with its text.
    fn files(&self) -> Vec<(String, String)> {
        let mut files = Vec::new();
        let mut directories = vec![self.path().to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let entry = entry.unwrap();
                let path = entry.path();
                match entry.file_type().unwrap().is_dir() {
                    true if entry.file_name() == ".git" => {}
                    true => directories.push(path),
                    false => {
                        let name = path.strip_prefix(self.path()).unwrap().display().to_string();
                        files.push((name, fs::read_to_string(&path).unwrap_or_default()));
                    }
                }
            }
        }
        files.sort();
        files
    }
}

#[test]
fn everything_is_written_once_and_is_the_same_in_another_directory() {
    let (one, other) = (Repository::new(), Repository::new());
    let first = one.plimsoll(&["render"]);
    assert_eq!(first.code, 0, "{}", first.stderr);
    for path in ["api/Dockerfile", "compose.prod.yaml", "Makefile", ".env.example", "plimsoll.lock"]
    {
        assert!(one.path().join(path).is_file(), "{path} is missing");
    }
    assert_eq!(other.plimsoll(&["render"]).code, 0);
    assert_eq!(one.files(), other.files());
    let again = one.plimsoll(&["render"]);
    assert!(again.stderr.contains("nothing to do"), "{}", again.stderr);
    assert_eq!(one.files(), other.files());
    assert_eq!(one.plimsoll(&["render", "--check"]).code, 0);
}

#[test]
fn a_manifest_that_has_moved_on_makes_files_stale_and_then_new() {
    let it = Repository::new();
    it.plimsoll(&["render"]);
    it.write("plimsoll.yaml", &MANIFEST.replace("8080", "9090"));
    let before = it.files();
    let check = it.plimsoll(&["render", "--check"]);
    assert_eq!(check.code, 1);
    assert!(check.stdout.contains("the manifest has moved on"), "{}", check.stdout);
    assert_eq!(it.files(), before, "a check writes nothing");
    assert_eq!(it.plimsoll(&["render"]).code, 0);
    assert!(it.read("compose.prod.yaml").contains("0.0.0.0:9090"));
}

#[test]
fn what_was_changed_by_hand_stays_until_it_is_forced() {
    let it = Repository::new();
    it.plimsoll(&["render"]);
    it.git(&["add", "--all"]);
    it.git(&["commit", "--quiet", "--message", "rendered"]);
    let mine = format!("{}\nmine:\n\techo mine\n", it.read("Makefile"));
    it.write("Makefile", &mine);
    it.write("plimsoll.yaml", &MANIFEST.replace("8080", "9090"));
    let render = it.plimsoll(&["render"]);
    assert_eq!(render.code, 1);
    assert!(render.stdout.contains("changed by hand: left as it is"), "{}", render.stdout);
    assert!(render.stderr.contains("plimsoll render --diff Makefile"), "{}", render.stderr);
    assert_eq!(it.read("Makefile"), mine);
    assert!(it.read("compose.prod.yaml").contains("9090"), "the others are written");
    let diff = it.plimsoll(&["render", "--diff", "Makefile"]);
    assert_eq!(diff.code, 1);
    assert!(diff.stdout.contains("+\techo mine"), "{}", diff.stdout);
    assert_eq!(it.plimsoll(&["render", "--check"]).code, 1);
    assert_eq!(it.plimsoll(&["render", "--force", "Makefile"]).code, 0);
    assert!(!it.read("Makefile").contains("mine"));
}

#[test]
fn what_was_there_before_us_is_never_overwritten() {
    let it = Repository::new();
    it.write("api/Dockerfile", "FROM scratch\n");
    let render = it.plimsoll(&["render"]);
    assert_eq!(render.code, 1);
    assert!(render.stdout.contains("was there before us"), "{}", render.stdout);
    assert_eq!(it.read("api/Dockerfile"), "FROM scratch\n");
    assert_eq!(it.plimsoll(&["eject", "api/Dockerfile"]).code, 0);
    assert_eq!(it.plimsoll(&["render"]).code, 0);
    assert_eq!(it.plimsoll(&["render", "--check"]).code, 0);
    assert_eq!(it.read("api/Dockerfile"), "FROM scratch\n");
    assert_eq!(it.plimsoll(&["eject", "--undo", "api/Dockerfile"]).code, 0);
    assert_eq!(it.plimsoll(&["render", "--check"]).code, 1);
}

#[test]
fn a_patch_makes_a_change_again_in_every_render() {
    let it = Repository::new();
    it.plimsoll(&["render"]);
    let mine = it.read(".editorconfig").replace("root = true", "root = true # mine");
    assert_ne!(mine, it.read(".editorconfig"));
    it.write(".editorconfig", &mine);
    assert_eq!(it.plimsoll(&["patch", ".editorconfig"]).code, 0);
    assert_eq!(it.plimsoll(&["render", "--check"]).code, 0);
    fs::remove_file(it.path().join(".editorconfig")).unwrap();
    assert_eq!(it.plimsoll(&["render"]).code, 0);
    assert_eq!(it.read(".editorconfig"), mine);
    it.write("plimsoll.patches/.editorconfig.patch", "--- a\n+++ b\n@@ -1 +1 @@\n-no\n+yes\n");
    let broken = it.plimsoll(&["render"]);
    assert_eq!(broken.code, 2);
    assert!(broken.stderr.contains("no longer fits what is rendered"), "{}", broken.stderr);
    assert_eq!(it.plimsoll(&["patch", "--drop", ".editorconfig"]).code, 2, "it has to fit first");
}

#[test]
fn what_a_killed_command_has_left_is_removed_and_nothing_else() {
    let it = Repository::new();
    assert_eq!(it.plimsoll(&["render"]).code, 0);
    let (before, litter) = (it.files(), ".plimsoll-staged-Ab3dE6");
    let places = ["", "api/", "plimsoll.patches/"].map(|place| format!("{place}{litter}"));
    let commands: [&[&str]; 2] = [&["render"], &["eject", "Makefile"]];
    for args in commands {
        places.iter().for_each(|place| it.write(place, "half"));
        it.write("api/.plimsoll-staged-notes.md", "mine");
        assert_eq!(it.plimsoll(&["render", "--check"]).code, 0);
        assert!(places.iter().all(|place| it.path().join(place).exists()), "a check removes none");
        assert_eq!(it.plimsoll(args).code, 0, "{args:?}");
        assert!(!places.iter().any(|place| it.path().join(place).exists()), "{args:?}");
        assert_eq!(it.read("api/.plimsoll-staged-notes.md"), "mine");
        it.plimsoll(&["eject", "--undo", "Makefile"]);
        it.plimsoll(&["render"]);
    }
    fs::remove_file(it.path().join("api/.plimsoll-staged-notes.md")).unwrap();
    assert_eq!(it.files(), before);
}

#[test]
fn two_renders_at_once_wait_for_each_other() {
    let it = Repository::new();
    let litter = it.path().join(".plimsoll-staged-Ab3dE6");
    fs::write(&litter, "of the one that runs").unwrap();
    let running = fs::File::open(it.path()).unwrap();
    running.lock().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    command.arg("render").current_dir(it.path()).stdin(Stdio::null()).stdout(Stdio::null());
    let mut second = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut words = BufReader::new(second.stderr.take().unwrap());
    let mut line = String::new();
    words.read_line(&mut line).unwrap();
    assert!(line.contains("waiting for another plimsoll"), "{line}");
    assert!(litter.exists() && !it.path().join("plimsoll.lock").exists());
    drop(running);
    assert_eq!(second.wait().unwrap().code(), Some(0));
    assert!(!litter.exists() && it.path().join("plimsoll.lock").is_file());
}

/// What is wrong, how it comes about, and what is said of it.
type Case<'a> = (&'a str, &'a dyn Fn(&Repository), &'a str);

#[test]
fn nothing_is_written_where_it_must_not_be() {
    let outside = tempfile::tempdir().unwrap();
    let cases: [Case<'_>; 5] = [
        ("a link out", &|it| symlink(outside.path(), it.path().join("docs")).unwrap(), "outside"),
        ("a circle", &|it| symlink("docs", it.path().join("docs")).unwrap(), "in a circle"),
        ("a file in the way", &|it| it.write("docs", ""), "needs a directory"),
        (
            "a directory in the way",
            &|it| fs::create_dir(it.path().join("Makefile")).unwrap(),
            "is not a file",
        ),
        (
            "a link in the way",
            &|it| symlink("/etc/passwd", it.path().join("Makefile")).unwrap(),
            "symbolic link",
        ),
    ];
    for (what, prepare, reason) in cases {
        let it = Repository::new();
        prepare(&it);
        let before = it.files();
        let render = it.plimsoll(&["render"]);
        assert_eq!(render.code, 2, "{what}: {}", render.stderr);
        assert!(render.stderr.contains(reason), "{what}: {}", render.stderr);
        assert!(render.stderr.contains("help:"), "{what}: {}", render.stderr);
        assert_eq!(it.files(), before, "{what}: nothing is half-written");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }
}

/// Renders where the disk refuses; says what was said. Nothing may have changed.
fn refused_by_the_disk(options: &str, prepare: impl Fn(&Path)) -> Option<String> {
    let repository = Repository(tempfile::tempdir().unwrap());
    let Some(_disk) = SmallDisk::mount_with(repository.path(), options) else {
        println!("skipped: no file system can be mounted here");
        return None;
    };
    repository.write("plimsoll.yaml", MANIFEST);
    repository.write("Makefile", "mine:\n");
    prepare(repository.path());
    let before = repository.files();
    let said = repository.plimsoll(&["render", "--force"]);
    assert_eq!(said.code, 2, "{}", said.stderr);
    assert_eq!(repository.files(), before, "something was changed");
    Some(said.stderr)
}

#[test]
fn a_full_disk_changes_nothing() {
    let Some(said) = refused_by_the_disk("size=32k", |_| ()) else { return };
    assert!(said.contains("cannot write") && said.contains("No space left"), "{said}");
    assert!(said.contains("help: nothing was changed"), "{said}");
}

#[test]
fn a_directory_that_cannot_be_written_changes_nothing() {
    let remount = |path: &Path| {
        let mut mount = Command::new("mount");
        assert!(mount.args(["-o", "remount,ro"]).arg(path).status().unwrap().success());
    };
    let Some(said) = refused_by_the_disk("size=8m", remount) else { return };
    assert!(said.contains("cannot write") && said.contains("Read-only"), "{said}");
}

#[test]
fn a_lock_that_cannot_be_trusted_stops_everything() {
    let it = Repository::new();
    it.plimsoll(&["render"]);
    let lock = it.read("plimsoll.lock");
    let newer = lock.replace("version = 1", "version = 99");
    for (text, reason) in [(newer.as_str(), "form 99"), (&lock[..lock.len() / 2], "damaged")] {
        it.write("plimsoll.lock", text);
        let before = it.files();
        let render = it.plimsoll(&["render", "--force"]);
        assert_eq!(render.code, 2);
        assert!(render.stderr.contains(reason), "{}", render.stderr);
        assert_eq!(it.files(), before);
    }
    fs::remove_file(it.path().join("plimsoll.lock")).unwrap();
    assert_eq!(it.plimsoll(&["render"]).code, 0, "files that are as rendered are taken over");
    assert_eq!(it.read("plimsoll.lock"), lock);
}

#[test]
fn sources_that_say_nothing_are_asked_about() {
    let it = Repository::new();
    it.write(
        "plimsoll.yaml",
        &MANIFEST.replace("    language: python@3.13\n    package_manager: uv\n", ""),
    );
    it.write("api/README.md", "");
    let render = it.plimsoll(&["render"]);
    assert_eq!(render.code, 2);
    assert!(render.stderr.contains("`services.api.language: python`"), "{}", render.stderr);
    it.write("api/poetry.lock", "");
    it.write("api/pyproject.toml", "[project]\nname = 'api'\nrequires-python = '>=3.11'\n");
    assert_eq!(it.plimsoll(&["render"]).code, 0);
    let dockerfile = it.read("api/Dockerfile");
    assert!(dockerfile.contains("python:3.11") && dockerfile.contains("poetry"), "{dockerfile}");
}

#[test]
fn a_service_that_nothing_starts_is_asked_about() {
    let it = Repository::new();
    let lines = MANIFEST.lines().filter(|line| !line.starts_with("    run:"));
    it.write("plimsoll.yaml", &lines.map(|line| format!("{line}\n")).collect::<String>());
    for args in [&["render"][..], &["render", "--check"]] {
        let asked = it.plimsoll(args);
        assert_eq!(asked.code, 2, "{args:?}: {}", asked.stderr);
        assert!(asked.stderr.contains("`services.api.run` is missing"), "{}", asked.stderr);
        assert!(asked.stderr.contains("help: write `run: ...`"), "{}", asked.stderr);
    }
    assert!(!it.path().join("api/Dockerfile").exists());
}

#[test]
fn a_part_can_be_meant_by_target_environment_or_name() {
    let it = Repository::new();
    assert_eq!(it.plimsoll(&["render", "--only", "hooks"]).code, 0);
    assert!(it.path().join(".editorconfig").is_file());
    assert!(!it.path().join("Makefile").exists());
    assert_eq!(it.plimsoll(&["render", "--env", "dev"]).code, 0);
    assert!(it.path().join("compose.dev.yaml").is_file());
    assert!(!it.path().join("compose.prod.yaml").exists());
    let unknown = it.plimsoll(&["render", "--env", "prod"]);
    assert_eq!(unknown.code, 2);
    assert!(unknown.stderr.contains("`dev`, `production`"), "{}", unknown.stderr);
    let unknown = it.plimsoll(&["render", "Makfile"]);
    assert!(unknown.stderr.contains("did you mean `Makefile`?"), "{}", unknown.stderr);
}

#[test]
fn a_file_may_be_given_from_where_one_stands() {
    let it = Repository::new();
    it.plimsoll(&["render"]);
    let mine = format!("{}# mine\n", it.read("Makefile"));
    it.write("Makefile", &mine);
    it.write("api/deep/x", "");
    let whole = it.path().join("Makefile").display().to_string();
    let cases = [
        ("api", "../Makefile"),
        ("api/deep", "../../Makefile"),
        ("api", "Makefile"),
        ("api", whole.as_str()),
    ];
    for (below, file) in cases {
        let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
        let command = command.args(["render", "--diff", file]).current_dir(it.path().join(below));
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{file}: {output:?}");
        assert!(String::from_utf8(output.stdout).unwrap().contains("+# mine"), "{file}");
    }
    let outside = it.plimsoll(&["render", "--diff", "../Makefile"]);
    assert_eq!(outside.code, 2, "{}", outside.stderr);
}

#[test]
fn a_directory_that_is_not_there_is_told() {
    let it = Repository::new();
    let render = it.plimsoll(&["render", "--check"]);
    let words = "the directory `api` of service `api` does not exist";
    assert!(render.stderr.contains(&format!("warning: {words}")), "{}", render.stderr);
    it.write("api/main.py", "");
    assert!(!it.plimsoll(&["render"]).stderr.contains("does not exist"));
    it.write("plimsoll.yaml", "plimsoll: 1\napp: shop\nservices: {web: {path: wbe, run: x}}\n");
    let render = it.plimsoll(&["render"]);
    assert_eq!(render.code, 2);
    assert!(
        render.stderr.contains("the directory `wbe` of service `web` does"),
        "{}",
        render.stderr
    );
    assert!(render.stderr.contains("correct `services.web.path`"), "{}", render.stderr);
}

#[test]
fn a_patch_that_changes_nothing_is_told() {
    let it = Repository::new();
    it.write("plimsoll.patches/Makfile.patch", "--- a\n+++ b\n@@ -1 +1 @@\n-no\n+yes\n");
    it.write("plimsoll.patches/README.md", "mine");
    let render = it.plimsoll(&["render"]);
    assert_eq!(render.code, 0, "{}", render.stderr);
    let words = "`plimsoll.patches/Makfile.patch` is for no file of ours";
    assert!(render.stderr.contains(words), "{}", render.stderr);
    assert!(render.stderr.contains("rename it to `plimsoll.patches/Makefile.patch`"));
    assert!(!render.stderr.contains("README"), "{}", render.stderr);
    it.write("plimsoll.patches/Makefile.patch", "garbage\n");
    let render = it.plimsoll(&["render"]);
    assert_eq!(render.code, 2);
    assert!(render.stderr.contains("Makefile.patch` is not a patch"), "{}", render.stderr);
}

#[test]
fn one_file_is_told_as_one() {
    let it = Repository::new();
    it.plimsoll(&["render"]);
    it.write("Makefile", "mine:\n");
    let check = it.plimsoll(&["render", "--check"]);
    assert!(check.stderr.contains("1 file is not as we wrote it\n"), "{}", check.stderr);
    let render = it.plimsoll(&["render"]);
    assert!(render.stderr.contains("wrote 0 files, left 1 as it is"), "{}", render.stderr);
    let eject = it.plimsoll(&["eject", "Makefile"]);
    assert!(eject.stderr.contains("it is yours: nothing of ours writes or checks it;"));
    fs::remove_file(it.path().join(".editorconfig")).unwrap();
    let check = it.plimsoll(&["render", "--check"]);
    assert!(check.stderr.contains("1 file is stale\n"), "{}", check.stderr);
    assert!(it.plimsoll(&["render"]).stderr.contains("wrote 1 file; read it, and commit it with"));
}

#[test]
fn a_secret_in_the_open_is_told_by_plan_and_stops_render() {
    let it = Repository::new();
    let secret = "env: {PASSWORD: hunter22, DB: 'postgres://u:p4ssw0rd@h/d'}";
    let run = "run: uvicorn app.main:app --db postgres://u:p4ssw0rd@h/d";
    let text =
        MANIFEST.replace("    run: uvicorn app.main:app", &format!("    {secret}\n    {run}"));
    it.write("plimsoll.yaml", &text);
    for args in [&["plan"][..], &["plan", "--json"], &["explain", "services.api"]] {
        let said = it.plimsoll(args);
        assert_eq!(said.code, 0, "{}", said.stderr);
        assert!(!said.stdout.contains("p4ssw0rd"), "{}", said.stdout);
        assert!(!said.stderr.contains("p4ssw0rd"), "{}", said.stderr);
    }
    let plan = it.plimsoll(&["plan"]);
    assert!(plan.stderr.contains("`PASSWORD` holds a secret"), "{}", plan.stderr);
    assert!(plan.stderr.contains("the URL in `DB` holds a password"), "{}", plan.stderr);
    let render = it.plimsoll(&["render"]);
    assert_eq!(render.code, 2, "{}", render.stderr);
    assert!(render.stderr.contains("error[secret_literal]"), "{}", render.stderr);
    assert!(!render.stderr.contains("hunter22"), "{}", render.stderr);
}

#[test]
fn an_edge_is_explained_with_every_line_that_it_brings() {
    let it = Repository::new();
    it.plimsoll(&["render"]);
    let said = it.plimsoll(&["explain", "services.api.uses.db"]).stdout;
    let places = said.lines().filter_map(|line| line.split_whitespace().nth(1));
    let lines: Vec<(String, usize)> = places
        .filter_map(|place| {
            let (file, line) = place.rsplit_once(':')?;
            Some((file.to_owned(), line.parse().ok()?))
        })
        .collect();
    assert!(lines.iter().any(|(file, _)| file == "compose.prod.yaml"), "{said}");
    for (file, line) in lines {
        let text = it.read(&file);
        assert!(text.lines().nth(line - 1).is_some(), "{file}:{line}");
    }
    assert!(said.contains("not applicable:"), "{said}");
}
