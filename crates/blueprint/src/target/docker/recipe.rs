//! What a language gives to its images: the stages that build, and what the last ones copy.

use askama::Template;

use super::written;

/// What the last stage stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Base {
    /// Certificates and time zones: for files and programs that link nothing.
    Nothing,
    /// The C and C++ libraries beside.
    Libraries,
    /// A Java runtime of this version.
    Java(u32),
    /// Node with its shell and package managers, for commands that only those understand.
    Node,
}

/// How the images of a family are made.
#[derive(Clone, Debug)]
pub(super) struct Recipe {
    /// The stages that build, the last of which is `tree` if anything is copied.
    pub(super) stages: String,
    /// What the last stages stand on.
    pub(super) base: Base,
    /// The image of the toolchain, for a last stage that needs all of it.
    pub(super) toolchain: String,
    /// Instructions that copy what was built.
    pub(super) copies: Vec<String>,
    /// Variables of the last stage.
    pub(super) env: Vec<(&'static str, String)>,
    /// Where commands are executed.
    pub(super) workdir: String,
    /// The id of the build secret with credentials of private registries, and the file that usually
    /// has them.
    pub(super) secret: Option<(&'static str, &'static str)>,
}

impl Recipe {
    /// Files that are served as they are: nothing is built.
    pub(super) fn files() -> Recipe {
        Recipe {
            stages: String::new(),
            base: Base::Nothing,
            toolchain: String::new(),
            copies: Vec::new(),
            env: Vec::new(),
            workdir: "/site".to_owned(),
            secret: None,
        }
    }
}

#[derive(Template)]
#[template(path = "docker/libraries.run", escape = "none")]
struct Libraries<'a> {
    places: &'a str,
}

/// Collects what the programs and libraries in some directories link and distroless does not have.
/// What a module brings beside itself is found there, and not collected.
pub(super) fn libraries(places: &str) -> String {
    written(&Libraries { places })
}

#[derive(Template)]
#[template(path = "docker/headers.run", escape = "none")]
struct Headers {
    packages: String,
}

/// Installs the packages that only building needs, if there are any.
pub(super) fn headers(packages: &[&str]) -> String {
    if packages.is_empty() {
        return String::new();
    }
    format!("{}\n", written(&Headers { packages: packages.join(" ") }))
}

/// `ENV` with each variable in a line of its own.
pub(super) fn env(variables: &[(&str, String)]) -> String {
    let pairs: Vec<String> =
        variables.iter().map(|(name, value)| format!("{name}={}", quoted(value))).collect();
    if pairs.is_empty() { String::new() } else { format!("ENV {}", pairs.join(" \\\n    ")) }
}

/// A value of `ENV` or `LABEL`, quoted where it has to be.
pub(super) fn quoted(value: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !value.is_empty() && value.chars().all(is_plain) {
        return value.to_owned();
    }
    let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$");
    format!("\"{}\"", escaped.replace('\n', " "))
}

/// Words as an instruction takes them without a shell.
pub(super) fn exec_form(words: &[String]) -> String {
    let words: Vec<String> =
        words.iter().map(|word| serde_json::Value::from(word.as_str()).to_string()).collect();
    format!("[{}]", words.join(", "))
}

/// Words of a command for a shell.
pub(super) fn shell_line(words: &[String]) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    let quote = |word: &String| match !word.is_empty() && word.chars().all(is_plain) {
        true => word.clone(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    };
    words.iter().map(quote).collect::<Vec<_>>().join(" ")
}
