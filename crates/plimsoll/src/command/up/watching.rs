//! Files that change become commands, and words about the manifest.

use std::path::PathBuf;

use fleet::hub::{Hub, Stream};
use fleet::up::{Command, PLATFORM, Request};
use fleet::watch::{Method, Root, Watch};
use tokio::sync::mpsc;

/// How many changed files are named in one line.
const NAMED_MAX: usize = 3;

/// Watches until it is dropped.
pub(super) async fn forward(
    roots: Vec<Root>,
    manifest: PathBuf,
    commands: mpsc::Sender<Command>,
    hub: Hub,
) {
    let say = |item: &str, words: &str| hub.push(item, Stream::Platform, words);
    // Large trees take a moment to walk.
    let started =
        tokio::task::spawn_blocking(move || Watch::start(roots, &manifest, Method::Events)).await;
    let mut watch = match started {
        Ok(Ok(watch)) => watch,
        Ok(Err(error)) => return say(PLATFORM, &format!("files are not watched: {error}")),
        Err(_) => return,
    };
    if watch.method() == Method::Polling {
        say(PLATFORM, &watch.limit_message());
    }
    loop {
        let change = watch.next().await;
        if change.is_manifest {
            say(PLATFORM, "the manifest changed; to apply it, stop and run `plimsoll up` again");
        }
        for path in change.restless {
            let words = "changes by itself and is no longer watched; name it in `.gitignore`";
            say(PLATFORM, &format!("`{}` {words}", path.display()));
        }
        for (name, paths) in change.services {
            say(&name, &format!("changed: {}", named(&paths)));
            let request = Request::Changed { name, paths };
            if commands.send(Command::silent(request)).await.is_err() {
                return;
            }
        }
    }
}

fn named(paths: &[PathBuf]) -> String {
    let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let names: Vec<String> = paths.iter().take(NAMED_MAX).map(name).collect();
    match paths.len() {
        0 => "something (changes came faster than they could be read)".to_owned(),
        n if n > NAMED_MAX => format!("{} and more", names.join(", ")),
        _ => names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_files_are_named() {
        let paths = |n: usize| -> Vec<PathBuf> {
            (0..n).map(|n| PathBuf::from("/src").join(format!("{n}.rs"))).collect()
        };
        assert_eq!(named(&paths(2)), "0.rs, 1.rs");
        assert_eq!(named(&paths(9)), "0.rs, 1.rs, 2.rs and more");
        assert!(named(&[]).starts_with("something"));
    }
}
