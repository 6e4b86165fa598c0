//! `plimsoll.lock`: which files are ours, what they were when we wrote them, what is pinned.
//!
//! A file's state is named by git's own name of its text (`git hash-object`), so that the text as
//! we wrote it can be had back with `git cat-file -p` for a three-way comparison, without a copy
//! of it anywhere. It deliberately holds no time and no machine: two renders give the same lock.
//!
//! Invariant: a lock of a newer form is refused, never guessed at.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};

use crate::platform::Pins;

/// Name of the file.
pub const NAME: &str = "plimsoll.lock";

/// The form of the file that this program writes.
pub const FORM: u32 = 1;

/// Changes whenever the same plan would give other files. A difference that only this explains is
/// not the user's: `render --check` tells it and stays green.
pub const TEMPLATES: u32 = 1;

const HEADER: &str = "\
# Written by `plimsoll render`. Commit it: it knows which files are Plimsoll's and what they were.
";

/// What the last render left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    /// [`TEMPLATES`] of the program that wrote it; absent in a new one.
    pub templates: Option<u32>,
    /// A hash of everything that was rendered.
    pub plan: String,
    /// Digests of images.
    pub pins: Pins,
    /// The files that were written, by path.
    pub files: BTreeMap<String, Entry>,
}

/// What is known of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The target that wrote it.
    pub target: String,
    /// Whose it is.
    pub owner: Owner,
}

/// Whose a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Ours; what it was when we wrote it.
    Plimsoll {
        /// Git's name of the text.
        blob: String,
    },
    /// The user's since `eject`: never looked at again.
    User,
}

/// Why a lock cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// A newer program wrote it.
    #[error("`{NAME}` has form {found}, and this program knows form {FORM}")]
    Newer {
        /// The form.
        found: u64,
    },
    /// It is damaged: not TOML, or keys are missing.
    #[error("`{NAME}` is damaged: {message}")]
    Damaged {
        /// What the reader said, with its line.
        message: String,
    },
    /// It names a file outside the directory.
    #[error("`{NAME}` names `{path}`, which is not below the manifest's directory")]
    Outside {
        /// The path.
        path: String,
    },
}

impl LockError {
    /// What to do about it.
    #[must_use]
    pub fn help(&self) -> String {
        match self {
            LockError::Newer { .. } => {
                "upgrade plimsoll to the version that your team uses".to_owned()
            }
            LockError::Damaged { .. } | LockError::Outside { .. } => format!(
                "take it from git: `git checkout {NAME}`; or delete it and render: files that \
                 equal what is rendered are taken over, others stay as they are and are named"
            ),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u32,
    templates: u32,
    plan: String,
    /// How many files are listed below: a lock that was cut off is told from a short one.
    n_files: usize,
    #[serde(default, rename = "image", skip_serializing_if = "Vec::is_empty")]
    images: Vec<WrittenImage>,
    #[serde(default, rename = "file")]
    files: Vec<WrittenFile>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenImage {
    name: String,
    digest: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenFile {
    path: String,
    target: String,
    /// Absent in a file that is the user's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    blob: Option<String>,
}

impl Lock {
    /// Reads a lock.
    ///
    /// # Errors
    /// It is of a newer form, damaged, or names a file outside the directory.
    pub fn parse(text: &str) -> Result<Lock, LockError> {
        let damaged =
            |error: &toml::de::Error| LockError::Damaged { message: with_line(error, text) };
        let table: toml::Table = text.parse().map_err(|error| damaged(&error))?;
        let form = table.get("version").and_then(toml::Value::as_integer).unwrap_or_default();
        if let Ok(found) = u64::try_from(form)
            && found > u64::from(FORM)
        {
            return Err(LockError::Newer { found });
        }
        let written: Written = toml::from_str(text).map_err(|error| damaged(&error))?;
        if written.files.len() != written.n_files {
            let (listed, wanted) = (written.files.len(), written.n_files);
            let message = format!("it lists {listed} files where {wanted} were written");
            return Err(LockError::Damaged { message });
        }
        let mut files = BTreeMap::new();
        for WrittenFile { path, target, blob } in written.files {
            if path.parse::<manifest::names::RelativePath>().is_err() {
                return Err(LockError::Outside { path });
            }
            let owner = blob.map_or(Owner::User, |blob| Owner::Plimsoll { blob });
            files.insert(path, Entry { target, owner });
        }
        Ok(Lock {
            templates: Some(written.templates),
            plan: written.plan,
            pins: written.images.into_iter().map(|image| (image.name, image.digest)).collect(),
            files,
        })
    }

    /// The text of the file.
    #[must_use]
    pub fn to_text(&self) -> String {
        let image = |(name, digest): (&String, &String)| WrittenImage {
            name: name.clone(),
            digest: digest.clone(),
        };
        let file = |(path, entry): (&String, &Entry)| WrittenFile {
            path: path.clone(),
            target: entry.target.clone(),
            blob: match &entry.owner {
                Owner::Plimsoll { blob } => Some(blob.clone()),
                Owner::User => None,
            },
        };
        let written = Written {
            version: FORM,
            templates: self.templates.unwrap_or(TEMPLATES),
            plan: self.plan.clone(),
            n_files: self.files.len(),
            images: self.pins.iter().map(image).collect(),
            files: self.files.iter().map(file).collect(),
        };
        let body = toml::to_string(&written).expect("texts and numbers are TOML");
        format!("{HEADER}{body}")
    }
}

/// Git's name of a text: what `git hash-object` prints.
#[must_use]
pub fn blob(bytes: &[u8]) -> String {
    let mut hash = Sha1::new();
    hash.update(format!("blob {}\0", bytes.len()));
    hash.update(bytes);
    let mut name = String::with_capacity(40);
    for byte in hash.finalize() {
        // Writing to a `String` cannot fail.
        let _ = write!(name, "{byte:02x}");
    }
    name
}

/// What the reader says, and on which line; not its picture of the line, which a lock that was
/// merged badly makes long.
fn with_line(error: &toml::de::Error, text: &str) -> String {
    let words = error.message().lines().map(str::trim).filter(|line| !line.is_empty());
    let message = words.collect::<Vec<_>>().join(" ");
    let before = error.span().and_then(|span| text.get(..span.start));
    match before.map(|before| before.matches('\n').count() + 1) {
        Some(line) => format!("line {line}: {message}"),
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn lock() -> Lock {
        let entry = |owner| Entry { target: "compose".to_owned(), owner };
        let blob = blob(b"services: {}\n");
        Lock {
            templates: Some(1),
            plan: "abc".to_owned(),
            pins: BTreeMap::from([("postgres:16".to_owned(), "sha256:0123".to_owned())]),
            files: BTreeMap::from([
                ("compose.dev.yaml".to_owned(), entry(Owner::Plimsoll { blob })),
                ("compose.prod.yaml".to_owned(), entry(Owner::User)),
            ]),
        }
    }

    #[test]
    fn a_lock_is_read_as_it_was_written() {
        expect![[r##"
            # Written by `plimsoll render`. Commit it: it knows which files are Plimsoll's and what they were.
            version = 1
            templates = 1
            plan = "abc"
            n_files = 2

            [[image]]
            name = "postgres:16"
            digest = "sha256:0123"

            [[file]]
            path = "compose.dev.yaml"
            target = "compose"
            blob = "ad189ddbec905274478cedb2ae508abbdb4caeb0"

            [[file]]
            path = "compose.prod.yaml"
            target = "compose"
        "##]]
        .assert_eq(&lock().to_text());
        assert_eq!(Lock::parse(&lock().to_text()), Ok(lock()));
    }

    #[test]
    fn half_of_a_lock_is_damaged_and_a_newer_one_is_named() {
        let text = lock().to_text();
        for end in 0..text.len() {
            let half = &text[..end];
            assert!(
                matches!(Lock::parse(half), Err(LockError::Damaged { .. }))
                    || half.trim_end() == text.trim_end(),
                "{half}"
            );
        }
        let newer = text.replace("version = 1", "version = 2");
        assert_eq!(Lock::parse(&newer), Err(LockError::Newer { found: 2 }));
        let outside = text.replace("compose.dev.yaml", "../../etc/passwd");
        assert!(matches!(Lock::parse(&outside), Err(LockError::Outside { .. })));
    }

    #[test]
    fn damage_is_told_in_one_line_with_its_number() {
        let text = lock().to_text();
        let conflict = text.replace("plan = ", "<<<<<<< HEAD\nplan = ");
        let said = Lock::parse(&conflict).unwrap_err().to_string();
        assert!(said.contains("is damaged: line 4: ") && said.lines().count() == 1, "{said}");
        let unknown = text.replace("n_files", "n_fils");
        let said = Lock::parse(&unknown).unwrap_err().to_string();
        assert!(said.contains("n_fils") && said.lines().count() == 1, "{said}");
    }

    #[test]
    fn a_text_has_the_name_that_git_gives_it() {
        assert_eq!(blob(b""), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
        assert_eq!(blob(b"hello\n"), "ce013625030ba8dba906f756967f9e9ca394464a");
    }
}
