//! What a service is written in, and what installs what it depends on.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

use super::environment::words;
use crate::{names::Malformed, suggest};

words!(
    /// A programming language that images can be written for.
    Language {
        /// Python, `CPython`.
        Python = "python",
        /// JavaScript or TypeScript on Node.js.
        Node = "node",
        /// Rust.
        Rust = "rust",
        /// Go.
        Go = "go",
        /// Java or Kotlin on a JVM.
        Java = "java",
    }
);

words!(
    /// What installs dependencies from a lock file.
    PackageManager {
        /// Poetry: `pyproject.toml`, `poetry.lock`.
        Poetry = "poetry",
        /// pip-tools: `requirements.in` compiled to `requirements.txt`.
        PipTools = "pip-tools",
        /// pip: `requirements.txt`.
        Pip = "pip",
        /// uv: `pyproject.toml`, `uv.lock`.
        Uv = "uv",
        /// PDM: `pyproject.toml`, `pdm.lock`.
        Pdm = "pdm",
        /// pnpm: `pnpm-lock.yaml`.
        Pnpm = "pnpm",
        /// npm: `package-lock.json`.
        Npm = "npm",
        /// Yarn: `yarn.lock`.
        Yarn = "yarn",
        /// Cargo: `Cargo.lock`.
        Cargo = "cargo",
        /// Go modules: `go.mod`, `go.sum`.
        GoModules = "go",
        /// Maven: `pom.xml`.
        Maven = "maven",
        /// Gradle: `build.gradle` or `build.gradle.kts`.
        Gradle = "gradle",
    }
);

impl PackageManager {
    /// The language whose packages it installs.
    #[must_use]
    pub const fn language(self) -> Language {
        match self {
            PackageManager::Poetry
            | PackageManager::PipTools
            | PackageManager::Pip
            | PackageManager::Uv
            | PackageManager::Pdm => Language::Python,
            PackageManager::Pnpm | PackageManager::Npm | PackageManager::Yarn => Language::Node,
            PackageManager::Cargo => Language::Rust,
            PackageManager::GoModules => Language::Go,
            PackageManager::Maven | PackageManager::Gradle => Language::Java,
        }
    }
}

/// A language, and the version of it that images have. Written `python` or `python@3.12`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LanguageVersion {
    /// The language.
    pub language: Language,
    /// Digits joined by dots; absent is what the sources say, or our default.
    pub version: Option<String>,
}

/// Longest version of a language, in characters.
const VERSION_LENGTH_MAX: usize = 20;

impl FromStr for LanguageVersion {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<LanguageVersion, Malformed> {
        let (word, version) = match text.split_once('@') {
            Some((word, version)) => (word, Some(version)),
            None => (text, None),
        };
        let language = Language::ALL.iter().copied().find(|known| known.as_str() == word);
        let language = language.ok_or_else(|| {
            let words = Language::ALL.iter().map(|known| known.as_str());
            Malformed::new(crate::names::not_a(word, "a language"), suggest::help(word, words))
        })?;
        if let Some(version) = version.filter(|version| !is_version(version)) {
            let help = format!("write digits joined by dots: `{language}@3.12`");
            return Err(Malformed::new(crate::names::not_a(version, "a version"), help));
        }
        Ok(LanguageVersion { language, version: version.map(str::to_owned) })
    }
}

fn is_version(text: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    text.len() <= VERSION_LENGTH_MAX && text.split('.').all(is_number)
}

impl fmt::Display for LanguageVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Some(version) => write!(f, "{}@{version}", self.language),
            None => self.language.fmt(f),
        }
    }
}

impl Serialize for LanguageVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_may_name_its_version() {
        for text in ["python", "python@3.12", "node@22", "java@21.0.2"] {
            assert_eq!(text.parse::<LanguageVersion>().unwrap().to_string(), text);
        }
        for text in ["pyhton", "python@", "python@3.x", "python@latest", "@3", ""] {
            assert!(text.parse::<LanguageVersion>().is_err(), "{text}");
        }
    }
}
