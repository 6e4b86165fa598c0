//! The examples hold what `plimsoll render` writes for them, byte for byte.
//!
//! `UPDATE_EXPECT=1 cargo test` renders them again in place; the diff is the review. What is
//! promised of rendered files is tested here on the same trees.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use blueprint::detect::MARKERS;

/// The platforms below `examples/`.
const EXAMPLES: [&str; 5] = ["discovery", "geo", "novel", "agent", "rag"];

/// What is in a working directory and in no repository.
const IGNORED: [&str; 6] = [".git", ".plimsoll", "data", "node_modules", "shots", "target"];

/// Files with their texts, by path below a directory.
type Tree = BTreeMap<String, String>;

fn example(name: &str) -> PathBuf {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    examples.canonicalize().expect("the examples are beside the crates").join(name)
}

/// Every file below a directory that is text and that a path is wanted of.
fn tree(root: &Path, is_wanted: impl Fn(&str) -> bool) -> Tree {
    let mut files = Tree::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let entry = entry.unwrap();
            let path = entry.path();
            if IGNORED.iter().any(|name| entry.file_name() == *name) {
                continue;
            }
            if entry.file_type().unwrap().is_dir() {
                directories.push(path);
                continue;
            }
            let name = path.strip_prefix(root).unwrap().display().to_string();
            if is_wanted(&name)
                && let Ok(text) = fs::read_to_string(&path)
            {
                files.insert(name, text);
            }
        }
    }
    files
}

/// What a user has before the first render: the manifest, and what says how the sources are built.
fn sources(name: &str) -> Tree {
    tree(&example(name), |path| {
        path == "plimsoll.yaml" || MARKERS.iter().any(|marker| Path::new(path).ends_with(marker))
    })
}

fn plimsoll(directory: &Path, args: &[&str]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    let output = command.args(args).current_dir(directory).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} in {}: {said}", args.join(" "), directory.display());
}

/// What is written for an example where nothing was written before; the lock is one of the files.
fn rendered(name: &str) -> Tree {
    let directory = tempfile::tempdir().unwrap();
    let sources = sources(name);
    for (path, text) in &sources {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    plimsoll(directory.path(), &["render"]);
    tree(directory.path(), |path| !sources.contains_key(path))
}

/// A recognisable value of a secret.
fn planted(name: &str) -> String {
    format!("planted-value-of-{}", name.to_lowercase())
}

/// Names of the secrets of an example, as `secrets/README.md` lists them: environment and name.
fn secrets(files: &Tree) -> Vec<(String, String)> {
    let listed = files["secrets/README.md"].lines().filter_map(|line| {
        let path = line.strip_prefix("| `secrets/")?.split('`').next()?;
        let (environment, name) = path.split_once('/')?;
        Some((environment.to_owned(), name.to_owned()))
    });
    listed.collect()
}

/// The first line in which two texts differ.
fn difference(is: &str, wanted: &str) -> String {
    let mut pairs = (1..).zip(is.lines().zip(wanted.lines()));
    match pairs.find(|(_, (is, wanted))| is != wanted) {
        Some((line, (is, wanted))) => format!("{line}:\n  is       {is}\n  rendered {wanted}"),
        None => format!("{} lines and not {}", is.lines().count(), wanted.lines().count()),
    }
}

#[test]
fn every_example_holds_what_is_rendered_for_it() {
    let is_update = std::env::var_os("UPDATE_EXPECT").is_some_and(|value| value == "1");
    let mut wrong = Vec::new();
    for name in EXAMPLES {
        let root = example(name);
        if is_update {
            plimsoll(&root, &["render", "--force"]);
        }
        for (path, wanted) in rendered(name) {
            match fs::read_to_string(root.join(&path)) {
                Ok(is) if is == wanted => {}
                Ok(is) => wrong.push(format!("{name}/{path}:{}", difference(&is, &wanted))),
                Err(error) => wrong.push(format!("{name}/{path}: {error}")),
            }
        }
    }
    let help = "render them again with UPDATE_EXPECT=1, and read the diff";
    assert!(wrong.is_empty(), "{}\n{help}", wrong.join("\n"));
}

#[test]
fn no_value_of_a_secret_gets_into_a_file() {
    for name in EXAMPLES {
        let files = rendered(name);
        let secrets = secrets(&files);
        assert!(!secrets.is_empty(), "{name} has secrets");
        let directory = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        sources(name).iter().for_each(|(path, text)| write(path, text));
        let mut dotenv = String::new();
        let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
        for (environment, secret) in &secrets {
            dotenv.push_str(&format!("{secret}={}\n", planted(secret)));
            command.env(secret, planted(secret));
            write(&format!("secrets/{environment}/{secret}"), &planted(secret));
        }
        write(".env", &dotenv);
        let output = command.arg("render").current_dir(directory.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        for said in [&output.stdout, &output.stderr] {
            assert!(!String::from_utf8_lossy(said).contains("planted-value"), "{name}");
        }
        for (path, text) in tree(directory.path(), |path| files.contains_key(path)) {
            assert!(!text.contains("planted-value"), "{name}/{path} holds a secret");
            assert_eq!(text, files[&path], "{name}/{path} depends on the environment");
        }
    }
}
