//! What holds for every command: help, usage, exit codes, JSON, colour, pipes.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// Single letters that a flag may have.
const LETTERS: [char; 6] = ['h', 'q', 'v', 'V', 'f', 'H'];

fn plimsoll<A: AsRef<OsStr>>(directory: &Path, args: &[A]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    command.args(args).current_dir(directory).stdin(Stdio::null());
    for name in ["PLIMSOLL_SOCK", "PLIMSOLL_LISTEN", "NO_COLOR", "CLICOLOR_FORCE"] {
        command.env_remove(name);
    }
    command.output().expect("the program starts")
}

fn here<A: AsRef<OsStr>>(args: &[A]) -> Output {
    plimsoll(Path::new("/"), args)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("we write UTF-8")
}

fn json(bytes: &[u8]) -> serde_json::Value {
    serde_json::from_slice(bytes).expect("stdout is one JSON document")
}

/// A directory with a manifest.
fn shop(manifest: &str) -> TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    std::fs::create_dir(directory.path().join("api")).expect("it is new");
    std::fs::write(directory.path().join("plimsoll.yaml"), manifest).expect("it is writable");
    directory
}

const GOOD: &str = "\
plimsoll: 1
app: shop
services:
  api: {path: api, run: ./serve, port: 8080, uses: [db], route: '@'}
resources:
  db: {type: postgres}
environments:
  dev: {target: local}
";

const BAD: &str = "\
plimsoll: 1
app: shop
services:
  api: {path: api, run: ./serve, prot: 8080, uses: [bd]}
";

/// Every command with its path, those of both binaries.
fn commands() -> Vec<(String, clap::Command)> {
    fn below(path: String, command: &clap::Command, all: &mut Vec<(String, clap::Command)>) {
        for sub in command.get_subcommands() {
            below(format!("{path} {}", sub.get_name()), sub, all);
        }
        all.push((path, command.clone()));
    }
    let mut all = Vec::new();
    below("plimsoll".into(), &plimsoll::command(), &mut all);
    below("plimsoll-run".into(), &plimsoll::run_only_command(), &mut all);
    all
}

#[test]
fn every_help_begins_with_an_example() {
    for (path, command) in commands().into_iter().filter(|(_, command)| !command.is_hide_set()) {
        let before = command.get_before_help().map(ToString::to_string).unwrap_or_default();
        assert!(before.starts_with("Example:\n  "), "`{path}` begins with {before:?}");
    }
    let help = here(&["logs", "--help"]);
    assert!(text(&help.stdout).starts_with("Example:\n  plimsoll logs"));
}

#[test]
fn every_flag_is_documented_in_one_line_without_full_stop() {
    for (path, command) in commands() {
        for argument in command.get_arguments() {
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            let id = argument.get_id();
            assert!(!help.is_empty(), "`{path}` does not document `{id}`");
            assert!(!help.ends_with('.') && !help.contains('\n'), "`{path}` `{id}`: {help}");
            assert!(!help.starts_with(char::is_lowercase), "`{path}` `{id}`: {help}");
        }
    }
}

#[test]
fn single_letters_are_few() {
    for (path, command) in commands() {
        for letter in command.get_arguments().filter_map(clap::Arg::get_short) {
            assert!(LETTERS.contains(&letter), "`{path}` has `-{letter}`");
        }
    }
}

#[test]
fn help_does_not_show_the_values_of_variables() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    let output = command.args(["run", "--help"]).env("PLIMSOLL_PROBES", "hunter2").output();
    assert!(!text(&output.expect("the program starts").stdout).contains("hunter2"));
}

#[test]
fn wrong_usage_is_two_and_suggests() {
    for args in [&["stauts"][..], &["status", "--jsn"], &["probe", "raedy"]] {
        let output = here(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(text(&output.stderr).contains("similar") && output.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn wrong_usage_of_run_is_a_code_that_its_child_would_not_choose() {
    for args in [&["run"][..], &["run", "--drian", "1s", "--", "true"], &["run", "--", ""]] {
        assert_eq!(here(args).status.code(), Some(78), "{args:?}");
    }
    let output = here(&["run", "--drain", "5", "--logs", "xml", "--", "true"]);
    assert_eq!(output.status.code(), Some(78));
    let stderr = text(&output.stderr);
    assert!(stderr.contains("--drain") && stderr.contains("--logs"), "not all: {stderr}");
}

#[test]
fn help_and_version_are_no_errors() {
    for args in [&["--help"][..], &["--version"], &["run", "--help"], &["version"]] {
        let output = here(args);
        assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()), "{args:?}");
    }
}

#[test]
fn completions_are_made_for_every_shell() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = text(&here(&["completions", shell]).stdout);
        assert!(script.contains("restart") && script.contains("plimsoll"), "{shell}");
    }
}

#[test]
fn json_is_one_document_on_stdout() {
    let shop = shop(GOOD);
    let version = plimsoll(shop.path(), &["version", "--json"]);
    assert_eq!(json(&version.stdout)["name"], "plimsoll");
    assert!(json(&plimsoll(shop.path(), &["schema"]).stdout)["properties"].is_object());
    let plan = plimsoll(shop.path(), &["plan", "--json"]);
    assert_eq!(json(&plan.stdout)["plan"]["services"]["api"]["port"], 8080);
    let explained = plimsoll(shop.path(), &["explain", "services.api.port", "--json"]);
    let explained = json(&explained.stdout);
    assert_eq!((&explained["value"], &explained["origin"]["line"]), (&8080.into(), &4.into()));
}

#[test]
fn a_bad_manifest_is_two_with_all_problems_and_carets() {
    let shop = shop(BAD);
    let output = plimsoll(shop.path(), &["plan"]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(2), String::new()));
    let stderr = text(&output.stderr);
    for part in ["prot", "`port`", "^^^^", "plimsoll.yaml:4", "help:"] {
        assert!(stderr.contains(part), "no {part:?} in:\n{stderr}");
    }
    let document = plimsoll(shop.path(), &["plan", "--json"]);
    assert!(json(&document.stdout)["plan"].is_null());
    assert_eq!(json(&document.stdout)["problems"][0]["code"], "unknown_key");
}

#[test]
fn a_manifest_is_found_from_below_its_directory() {
    let shop = shop(GOOD);
    let output = plimsoll(&shop.path().join("api"), &["plan"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).starts_with("shop in dev (local)\n"));
}

#[test]
fn an_unknown_path_is_explained_by_its_neighbours() {
    let shop = shop(GOOD);
    let output = plimsoll(shop.path(), &["explain", "services.api.limit"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("help: did you mean `limits`?"));
}

#[test]
fn nothing_is_coloured_in_a_pipe_unless_that_is_forced() {
    let shop = shop(BAD);
    assert!(!plimsoll(shop.path(), &["plan"]).stderr.contains(&0x1b));
    let plan = |variables: &[(&str, &str)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
        command.arg("plan").current_dir(shop.path()).env_remove("NO_COLOR");
        command.envs(variables.iter().copied()).output().expect("the program starts").stderr
    };
    assert!(plan(&[("CLICOLOR_FORCE", "1")]).contains(&0x1b));
    assert!(!plan(&[("NO_COLOR", "1")]).contains(&0x1b));
}

#[test]
fn commands_without_a_running_up_say_how_to_start_one() {
    let shop = shop(GOOD);
    let all: [&[&str]; 5] =
        [&["status"], &["logs"], &["restart", "api"], &["down"], &["logs", "--follow"]];
    for args in all {
        let output = plimsoll(shop.path(), args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(text(&output.stderr).contains("help: plimsoll up ."), "{args:?}");
    }
    let nowhere = tempfile::tempdir().expect("a temporary directory can be made");
    let output = plimsoll(nowhere.path(), &["status", "."]);
    assert!(text(&output.stderr).contains("there is no `plimsoll.yaml` in `.`"));
}

#[test]
fn a_reader_that_goes_away_ends_a_command_quietly() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    command.arg("schema").stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it is our child");
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
}

#[test]
fn arguments_of_the_command_may_be_any_bytes() {
    let bytes = OsString::from_vec(b"a\xffb".to_vec());
    let args = ["run", "--listen", "off", "--logs", "raw", "--", "printf", "%s\\n"].map(OsStr::new);
    let output = here(&[&args[..], &[&bytes]].concat());
    assert_eq!((output.status.code(), output.stdout), (Some(0), b"a\xffb\n".to_vec()));
}

/// Answers one request on a socket with a status, whatever it asks.
fn answer_once(sock: &Path, status: &'static str) -> std::thread::JoinHandle<()> {
    let listener = UnixListener::bind(sock).expect("it is new");
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the probe connects");
        let mut request = [0; 1024];
        let _ = stream.read(&mut request).expect("the probe asks");
        write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 3\r\n\r\n{{ }}")
            .expect("the probe reads");
    })
}

#[test]
fn a_probe_tells_yes_no_and_nobody_apart() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    for (status, code) in [("200 OK", 0), ("503 Service Unavailable", 1), ("404 Not Found", 2)] {
        let sock = directory.path().join(format!("{code}.sock"));
        let answered = answer_once(&sock, status);
        let output = here(&["probe", "ready", "--sock", sock.to_str().expect("it is UTF-8")]);
        answered.join().expect("it answered");
        assert_eq!(output.status.code(), Some(code), "{status}");
        assert_eq!(output.stdout.is_empty(), code == 2, "{status}");
    }
    let nobody = directory.path().join("nobody.sock");
    let output = here(&["probe", "live", "--sock", nobody.to_str().expect("it is UTF-8")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("help:"));
}

#[test]
fn the_small_binary_needs_no_name_for_run() {
    let small = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll-run"));
        let output = command.args(args).env("PLIMSOLL_LISTEN", "off").output();
        output.expect("the program starts").status.code()
    };
    assert_eq!(small(&["--", "sh", "-c", "exit 7"]), Some(7));
    assert_eq!(small(&["probe", "live", "--sock", "/nowhere"]), Some(2));
    assert_eq!(small(&[]), Some(78));
    assert_eq!(small(&["up"]), Some(78));
}
