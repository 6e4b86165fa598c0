//! Names as types: what has one of these types was checked once, at the border, and is trusted
//! everywhere else.
//!
//! Deliberately not here: whether the thing that is named exists; `resolve` knows that.
//! Invariant: no value of these types can be made without its `FromStr`.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

/// Longest name of an app, service, resource or environment, in characters. Joined by dashes,
/// three of them still fit a DNS label.
pub const NAME_LENGTH_MAX: usize = 40;

/// Longest name of an environment variable or secret, in characters.
pub const KEY_LENGTH_MAX: usize = 128;

/// Why a text is not a value of the type that was wanted. Both parts are shown to users.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Malformed {
    /// What is wrong, lower case, naming the thing in backticks.
    pub message: String,
    /// What to write instead.
    pub help: String,
}

impl Malformed {
    /// A rejection with both of its parts.
    #[must_use]
    pub fn new(message: impl Into<String>, help: impl Into<String>) -> Malformed {
        Malformed { message: message.into(), help: help.into() }
    }
}

macro_rules! name {
    ($(#[doc = $doc:literal])* $type:ident, $what:literal, $check:path) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(String);

        impl $type {
            /// The name as it was written.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = Malformed;

            fn from_str(text: &str) -> Result<$type, Malformed> {
                $check(text, $what)?;
                Ok($type(text.to_owned()))
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    };
}

name!(
    /// The platform's name: lower-case letters, digits, `-` and `_`, starting with a letter.
    AppName, "an app name", check_name
);
name!(
    /// A service's name: lower-case letters, digits, `-` and `_`, starting with a letter.
    ServiceName, "a service name", check_name
);
name!(
    /// A resource's name: lower-case letters, digits, `-` and `_`, starting with a letter.
    ResourceName, "a resource name", check_name
);
name!(
    /// An environment's name: lower-case letters, digits, `-` and `_`, starting with a letter.
    EnvName, "an environment name", check_name
);
name!(
    /// One of the app's own verbs, a target of its Makefile.
    VerbName, "a verb", check_name
);
name!(
    /// An environment variable: letters, digits and `_`, not starting with a digit.
    EnvVar, "an environment variable", check_variable
);
name!(
    /// The key under which secret providers know a value; never the value itself.
    SecretName, "a secret name", check_secret
);
name!(
    /// A path below the manifest's directory, with `/`, never leaving it; `.` is the directory.
    RelativePath, "a path", check_relative
);
name!(
    /// The absolute path part of a URL, without query: `/ready`.
    HttpPath, "a URL path", check_http_path
);
name!(
    /// A domain or host name: `api.shop.example`, lower case.
    Domain, "a domain", check_domain
);

impl ServiceName {
    /// The name in a host name or Kubernetes object, where `_` is not allowed.
    #[must_use]
    pub fn dns(&self) -> String {
        self.0.replace('_', "-")
    }

    /// The name as the beginning of an environment variable: `memory-sync` is `MEMORY_SYNC`.
    #[must_use]
    pub fn upper(&self) -> String {
        upper(&self.0)
    }
}

impl ResourceName {
    /// The name in a host name or Kubernetes object, where `_` is not allowed.
    #[must_use]
    pub fn dns(&self) -> String {
        self.0.replace('_', "-")
    }

    /// The name as the beginning of an environment variable: `job-store` is `JOB_STORE`.
    #[must_use]
    pub fn upper(&self) -> String {
        upper(&self.0)
    }
}

fn upper(name: &str) -> String {
    name.to_ascii_uppercase().replace('-', "_")
}

fn check_name(text: &str, what: &str) -> Result<(), Malformed> {
    let help = format!(
        "start with a letter; use lower-case letters, digits, `-`, `_`; at most {NAME_LENGTH_MAX}"
    );
    let is_inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    let fits = text.len() <= NAME_LENGTH_MAX
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && !text.ends_with(['-', '_'])
        && text.chars().all(is_inner);
    if fits { Ok(()) } else { Err(Malformed::new(not_a(text, what), help)) }
}

fn check_variable(text: &str, what: &str) -> Result<(), Malformed> {
    let help = "use letters, digits and `_`, not starting with a digit: `DATABASE_URL`";
    let fits = text.len() <= KEY_LENGTH_MAX
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && !text.is_empty()
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if fits { Ok(()) } else { Err(Malformed::new(not_a(text, what), help)) }
}

/// The text is never repeated in the message: it may be the secret itself.
fn check_secret(text: &str, _what: &str) -> Result<(), Malformed> {
    if looks_like_secret_value(text) {
        return Err(Malformed::new(
            "this looks like a secret's value, where its name belongs",
            "write the name here, keep the value in a secret provider, and replace this value: \
             it has been in a file",
        ));
    }
    let is_inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    let fits = !text.is_empty()
        && text.len() <= KEY_LENGTH_MAX
        && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && text.chars().all(is_inner);
    if fits {
        Ok(())
    } else {
        Err(Malformed::new(
            "this is not a secret name",
            "use letters, digits, `_`, `-`, `.` and `/`: `OPENAI_API_KEY`",
        ))
    }
}

/// Beginnings that only issued credentials have.
const ISSUED_PREFIXES: [&str; 16] = [
    "sk-",
    "sk_live_",
    "sk_test_",
    "rk_live_",
    "pk_live_",
    "ghp_",
    "gho_",
    "ghs_",
    "ghu_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "AKIA",
    "AIza",
    "eyJ",
];

/// Longest run of letters and digits, with both cases and digits mixed, that is still a name.
const MIXED_RUN_MAX: usize = 20;

/// Whether a text is a credential rather than the name of one. Errs towards names: a wrong yes
/// refuses a good manifest.
pub(crate) fn looks_like_secret_value(text: &str) -> bool {
    let issued = is_issued_credential(text);
    let assigned = text.contains('=') || text.contains("://") || text.contains("-----BEGIN");
    let mixed_run = text.split(|c: char| !c.is_ascii_alphanumeric()).any(|run| {
        run.len() > MIXED_RUN_MAX
            && run.contains(|c: char| c.is_ascii_digit())
            && run.contains(|c: char| c.is_ascii_lowercase())
    });
    issued || assigned || mixed_run
}

/// Whether a text begins like a credential that somebody issued.
pub(crate) fn is_issued_credential(text: &str) -> bool {
    ISSUED_PREFIXES.iter().any(|p| text.starts_with(p) && text.len() > p.len() + 3)
}

fn check_relative(text: &str, what: &str) -> Result<(), Malformed> {
    let help = "write a path below the manifest's directory, with `/`: `backend/src`";
    let leaves = text.split('/').any(|part| part == "..");
    let fits = !text.is_empty()
        && text.len() <= 1024
        && !text.starts_with(['/', '~'])
        && !leaves
        && !text.contains(['\\', '\0', '\n', '\r']);
    if fits { Ok(()) } else { Err(Malformed::new(not_a(text, what), help)) }
}

fn check_http_path(text: &str, what: &str) -> Result<(), Malformed> {
    let fits = text.starts_with('/')
        && text.len() <= 1024
        && text.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '?' | '#' | '"' | '\\'));
    if fits {
        Ok(())
    } else {
        Err(Malformed::new(not_a(text, what), "start with `/`, without `?` or `#`: `/ready`"))
    }
}

fn check_domain(text: &str, what: &str) -> Result<(), Malformed> {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    if text.len() <= 253 && text.split('.').all(is_label) {
        Ok(())
    } else {
        let help = "write lower-case labels joined by dots, without scheme: `shop.example`";
        Err(Malformed::new(not_a(text, what), help))
    }
}

/// `` `Foo` is not a service name ``, with the text shortened to what a terminal line holds.
pub(crate) fn not_a(text: &str, what: &str) -> String {
    if is_issued_credential(text) {
        return format!("this value is not {what}");
    }
    format!("`{}` is not {what}", shortened(text))
}

/// At most 60 characters of a text, without control characters.
pub(crate) fn shortened(text: &str) -> String {
    const SHOWN_MAX: usize = 60;
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let mut shown: String = text.chars().take(SHOWN_MAX).map(plain).collect();
    if text.chars().nth(SHOWN_MAX).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_users_systems_are_accepted() {
        for name in ["gateway", "delegation_gateway", "memory-sync", "a1"] {
            assert!(name.parse::<ServiceName>().is_ok(), "{name}");
        }
        for name in ["", "Api", "1st", "a-", "a b", "é", "a.b"] {
            assert!(name.parse::<ServiceName>().is_err(), "{name}");
        }
        assert_eq!("memory-sync".parse::<ServiceName>().unwrap().upper(), "MEMORY_SYNC");
    }

    #[test]
    fn a_path_never_leaves_the_directory() {
        for path in ["..", "a/../b", "/etc", "~/x", "", "a\\b"] {
            assert!(path.parse::<RelativePath>().is_err(), "{path}");
        }
        assert!("./backend".parse::<RelativePath>().is_ok());
    }

    #[test]
    fn a_secret_value_is_told_from_a_name_and_never_repeated() {
        for value in ["sk-abc123", "KEY=value", "ghp_0123456789abcdef", "eyJhbGciOi", "a://b"] {
            let malformed = value.parse::<SecretName>().unwrap_err();
            assert!(!malformed.to_string().contains(value), "{malformed}");
        }
        for name in ["OPENAI_API_KEY", "openai", "prod/db.password", "ENV1"] {
            assert!(name.parse::<SecretName>().is_ok(), "{name}");
        }
    }
}
