//! Scripts of a `package.json`, as words that Node itself starts: an image has no package manager
//! and no shell, in which they would run.

use super::command::is_manager;
use crate::detect::Toolchain;

/// How a server of `Next.js` starts: its build has gathered everything around this file.
pub(crate) const NEXT: [&str; 2] = ["node", "server.js"];

/// What starts a package without a command: its `start` script, or its main file.
pub(super) fn start(toolchain: &Toolchain) -> Option<Vec<String>> {
    if is_next(toolchain) {
        return Some(NEXT.map(str::to_owned).to_vec());
    }
    let package = package(toolchain)?;
    if package.get("scripts").and_then(|scripts| scripts.get("start")).is_some() {
        return Some(command(toolchain, ["npm", "start"].map(str::to_owned).to_vec()));
    }
    let main = package.get("main")?.as_str()?;
    Some(vec!["node".to_owned(), main.trim_start_matches("./").to_owned()])
}

/// The words of a command, without the package manager where it can be left out.
pub(super) fn command(toolchain: &Toolchain, words: Vec<String>) -> Vec<String> {
    let texts: Vec<&str> = words.iter().map(String::as_str).collect();
    let (script, arguments) = match texts.as_slice() {
        [manager, "run", script, rest @ ..] if is_manager(manager) => (*script, rest),
        [manager, "exec", tool, rest @ ..] if is_manager(manager) => {
            return tool_words(tool, rest);
        }
        ["npx", tool, rest @ ..] => return tool_words(tool, rest),
        [manager, script, rest @ ..] if is_manager(manager) => (*script, rest),
        [tool, rest @ ..] if tool.contains("node_modules/.bin/") => {
            let tool = tool.rsplit('/').next().unwrap_or_default();
            return tool_words(tool, rest);
        }
        ["next", "start", ..] => return NEXT.map(str::to_owned).to_vec(),
        _ => return words,
    };
    let arguments = arguments.strip_prefix(&["--"]).unwrap_or(arguments);
    let Some(text) = script_text(toolchain, script) else { return words };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || " -_./:=@,+".contains(c);
    let mut parts = text.split_whitespace().chain(arguments.iter().copied());
    let first = parts.next().unwrap_or_default();
    if !text.chars().all(is_plain) || first.contains('=') || is_manager(first) || first.is_empty() {
        let shell = [text.as_str()].into_iter().chain(arguments.iter().copied());
        let shell = shell.collect::<Vec<_>>().join(" ");
        return vec!["/bin/sh".to_owned(), "-c".to_owned(), shell];
    }
    let rest: Vec<&str> = parts.collect();
    match first {
        "node" => ["node"].iter().chain(&rest).map(|word| (*word).to_owned()).collect(),
        tool => tool_words(tool, &rest),
    }
}

/// A tool of a package, started by Node: its first line asks for `env`, which is not there.
fn tool_words(tool: &str, arguments: &[&str]) -> Vec<String> {
    if tool == "next" && arguments.first() == Some(&"start") {
        return NEXT.map(str::to_owned).to_vec();
    }
    let program = ["node".to_owned(), format!("node_modules/.bin/{tool}")];
    program.into_iter().chain(arguments.iter().map(|word| (*word).to_owned())).collect()
}

fn script_text(toolchain: &Toolchain, script: &str) -> Option<String> {
    let package = package(toolchain)?;
    Some(package.get("scripts")?.get(script)?.as_str()?.trim().to_owned())
}

pub(crate) fn package(toolchain: &Toolchain) -> Option<serde_json::Value> {
    serde_json::from_str(toolchain.own.get("package.json")?).ok()
}

/// Whether the package is a `Next.js` application.
pub(crate) fn is_next(toolchain: &Toolchain) -> bool {
    let has_config = toolchain.own.keys().any(|name| name.starts_with("next.config."));
    has_config
        || package(toolchain).is_some_and(|package| {
            let dependencies = package.get("dependencies");
            dependencies.is_some_and(|dependencies| dependencies.get("next").is_some())
        })
}
