//! What `PLIMSOLL_SECRETS` says, as types.
//!
//! Strict: an unknown key or a provider that nobody declared is an error that names it; all
//! problems are reported at once. It deliberately holds no secret, only the files and variables
//! that hold one. Invariant: what [`parse`] returns can be resolved from as it is.

use std::{collections::BTreeMap, fmt, path::PathBuf, str::FromStr, time::Duration};

use nix::sys::signal::Signal;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{
    fault::{Fault, Problem, SecretError},
    syntax::{self, Reference},
};
use crate::settings::duration_text;

/// Most providers and most aliases.
const DECLARED_MAX: usize = 256;
/// Between two rounds, give or take a fifth.
const POLL_DEFAULT: Duration = Duration::from_secs(5 * 60);
/// The shortest time between two rounds.
const POLL_MIN: Duration = Duration::from_millis(100);
/// How long one answer of a provider may take.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// How long a cached value may stand in.
const TTL_DEFAULT: Duration = Duration::from_secs(24 * 60 * 60);

/// Providers that are there without being declared.
pub const BUILT_IN: [&str; 6] = ["aws-sm", "aws-ssm", "bao", "env", "file", "vault"];

/// Where secrets come from and how the app gets them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SecretSettings {
    /// The provider of a name that has no alias; without one, files and then variables.
    pub default: Option<String>,
    /// Providers by name.
    pub providers: BTreeMap<String, ProviderSettings>,
    /// References by alias, without `${secret:` and `}`.
    pub names: BTreeMap<String, String>,
    /// How the app gets values.
    pub deliver: Deliver,
    /// What is done for the app when a value changes.
    pub on_change: OnChange,
    /// Up to this long `on_change` waits, so that replicas do not act at once.
    #[serde(with = "duration_text")]
    pub splay: Duration,
    /// Between two looks at the providers, give or take a fifth.
    #[serde(with = "duration_text")]
    pub poll: Duration,
    /// How long one answer of a provider may take.
    #[serde(with = "duration_text")]
    pub timeout: Duration,
    /// Where the last good values are kept, encrypted.
    pub cache: Option<CacheSettings>,
    /// Where files are delivered; else on the first tmpfs that we may write to.
    pub directory: Option<PathBuf>,
    /// Whether whole values such as `vault:PATH#FIELD` count as references too.
    pub bare: bool,
    /// Whether every reference must be resolved by its provider, now.
    pub strict: bool,
}

impl Default for SecretSettings {
    fn default() -> Self {
        Self {
            default: None,
            providers: BTreeMap::new(),
            names: BTreeMap::new(),
            deliver: Deliver::Env,
            on_change: OnChange::File,
            splay: Duration::ZERO,
            poll: POLL_DEFAULT,
            timeout: TIMEOUT_DEFAULT,
            cache: None,
            directory: None,
            bare: false,
            strict: false,
        }
    }
}

/// How the app gets values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deliver {
    /// In the variable itself.
    Env,
    /// In a file on tmpfs that `NAME_FILE` names.
    File,
}

/// What is done for the app when a value changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnChange {
    /// The file changes, and that is all.
    File,
    /// The app gets this signal.
    Signal(i32),
    /// We stop, with drain, and whoever runs us starts us again.
    Restart,
}

/// Where the last good values are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheSettings {
    /// The file.
    pub path: PathBuf,
    /// A file whose bytes, at least 32, are the key.
    pub key_file: PathBuf,
    /// How long a value may stand in.
    #[serde(default = "ttl_default", with = "duration_text")]
    pub ttl: Duration,
}

/// One provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ProviderSettings {
    /// Variables of our own environment.
    Env {
        /// Put before each name.
        #[serde(default)]
        prefix: String,
    },
    /// Files of mounted secrets, found by name also in other case; or by absolute path.
    File {
        /// Where to look, in this order.
        #[serde(default = "mounts")]
        directories: Vec<PathBuf>,
    },
    /// The files of one directory, by exact name.
    Dir {
        /// The directory.
        path: PathBuf,
    },
    /// Any program that prints the value.
    Exec {
        /// Program and arguments; `{path}`, `{field}` and `{version}` are filled in.
        command: Vec<String>,
    },
    /// A file of JSON or `NAME=value` lines, encrypted by `age` to an X25519 recipient.
    Age {
        /// The encrypted file.
        file: PathBuf,
        /// The file with `AGE-SECRET-KEY-1...`.
        identity: PathBuf,
    },
    /// HashiCorp Vault or OpenBao.
    #[serde(alias = "bao")]
    Vault(VaultSettings),
    /// AWS Secrets Manager.
    AwsSm(AwsSettings),
    /// AWS Systems Manager Parameter Store.
    AwsSsm(AwsSettings),
}

/// A Vault; what is not given comes from `VAULT_*` (`BAO_*`) variables.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VaultSettings {
    /// Such as `https://vault:8200`.
    pub address: Option<String>,
    /// Namespace of all paths.
    pub namespace: Option<String>,
    /// Certificate authorities in PEM, in place of the machine's.
    pub ca_file: Option<PathBuf>,
    /// How we log in.
    pub auth: Option<VaultAuth>,
}

/// How we log in to a Vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "snake_case", deny_unknown_fields)]
pub enum VaultAuth {
    /// With a token from `VAULT_TOKEN`, this file, or `~/.vault-token`.
    Token {
        /// The file with the token, such as an agent's sink.
        #[serde(default)]
        file: Option<PathBuf>,
    },
    /// With a role and its secret.
    Approle {
        /// The role.
        role_id: String,
        /// The file with the secret.
        #[serde(default)]
        secret_id_file: Option<PathBuf>,
        /// Where the method is mounted.
        #[serde(default = "approle_mount")]
        mount: String,
    },
    /// With the pod's service account.
    Kubernetes {
        /// The role.
        role: String,
        /// The file with the account's token.
        #[serde(default = "service_account")]
        token_file: PathBuf,
        /// Where the method is mounted.
        #[serde(default = "kubernetes_mount")]
        mount: String,
    },
    /// With a JSON web token.
    Jwt {
        /// The role.
        role: String,
        /// The file with the token.
        token_file: PathBuf,
        /// Where the method is mounted.
        #[serde(default = "jwt_mount")]
        mount: String,
    },
}

/// AWS; credentials come from where its own programs look for them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AwsSettings {
    /// Else `AWS_REGION`, `AWS_DEFAULT_REGION`, or that of an ARN.
    pub region: Option<String>,
    /// In place of the region's own address.
    pub endpoint: Option<String>,
    /// Profile of the shared files.
    pub profile: Option<String>,
}

/// Reads the text of `PLIMSOLL_SECRETS`.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(text: &str) -> Result<SecretSettings, SecretError> {
    let failed = |fault| SecretError {
        problems: vec![Problem { place: String::new(), reference: String::new(), fault }],
    };
    let mut value: serde_json::Value = serde_json::from_str(text).map_err(|error| {
        let help = r#"help: for example `{"default": "vault", "deliver": "file"}`"#;
        failed(Fault::config(format!("not a JSON object: {error}\n{help}")))
    })?;
    if !value.is_object() {
        return Err(failed(Fault::config("not a JSON object\nhelp: write `{}` for the defaults")));
    }
    let providers = value.as_object_mut().and_then(|object| object.remove("providers"));
    let mut settings: SecretSettings =
        serde_json::from_value(value).map_err(|error| failed(Fault::config(error)))?;
    let mut problems = Vec::new();
    for (name, provider) in provider_values(providers).map_err(failed)? {
        match serde_json::from_value(provider) {
            Ok(provider) => drop(settings.providers.insert(name, provider)),
            Err(error) => problems.push(problem(&format!("provider {name}"), Fault::config(error))),
        }
    }
    problems.extend(settings.check());
    if problems.is_empty() { Ok(settings) } else { Err(SecretError { problems }) }
}

fn provider_values(
    providers: Option<serde_json::Value>,
) -> Result<serde_json::Map<String, serde_json::Value>, Fault> {
    match providers {
        None => Ok(serde_json::Map::new()),
        Some(serde_json::Value::Object(providers)) => Ok(providers),
        Some(_) => Err(Fault::config(
            "`providers` is not an object\nhelp: write `{\"main\": {\"type\": \"vault\"}}`",
        )),
    }
}

impl SecretSettings {
    /// What cannot work, whatever the providers say.
    fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.providers.len() > DECLARED_MAX || self.names.len() > DECLARED_MAX {
            let text = format!("more than {DECLARED_MAX} providers or names are declared");
            problems.push(problem("secrets", Fault::config(text)));
        }
        if self.poll < POLL_MIN {
            let text = format!("shorter than {} ms\nhelp: `5m` is usual", POLL_MIN.as_millis());
            problems.push(problem("poll", Fault::config(text)));
        }
        if let Some(name) = self.default.as_ref().filter(|name| !self.knows(name)) {
            problems.push(problem("default", self.unknown_provider(name)));
        }
        for (name, provider) in &self.providers {
            if let ProviderSettings::Exec { command } = provider
                && command.first().is_none_or(String::is_empty)
            {
                let text = "`command` names no program\nhelp: for example `[\"op\", \"read\", \"{path}\"]`";
                problems.push(problem(&format!("provider {name}"), Fault::config(text)));
            }
        }
        for alias in self.names.keys() {
            if let Err(fault) = self.alias(alias).unwrap_or(Ok(Reference::named("x"))) {
                problems.push(problem(&format!("names.{alias}"), fault));
            }
        }
        problems
    }

    /// What an alias stands for, if there is one.
    pub(super) fn alias(&self, name: &str) -> Option<Result<Reference, Fault>> {
        let body = self.names.get(name)?;
        Some(match syntax::parse_body(body) {
            Err(problem) => Err(Fault::config(problem)),
            Ok(reference) => match &reference.provider {
                None => Err(Fault::config(
                    "an alias names no provider\nhelp: write `\"PROVIDER:PATH#FIELD\"`",
                )),
                Some(provider) if !self.knows(provider) => Err(self.unknown_provider(provider)),
                Some(_) => Ok(reference),
            },
        })
    }

    /// Whether a provider of this name is declared or built in.
    pub(super) fn knows(&self, provider: &str) -> bool {
        self.providers.contains_key(provider) || BUILT_IN.contains(&provider)
    }

    pub(super) fn unknown_provider(&self, name: &str) -> Fault {
        let known: Vec<_> = self.providers.keys().map(String::as_str).chain(BUILT_IN).collect();
        Fault::config(format!(
            "there is no provider `{name}`\nhelp: declare it in `--secrets`, or use one of {}",
            known.join(", ")
        ))
    }
}

fn problem(place: &str, fault: Fault) -> Problem {
    Problem { place: place.to_owned(), reference: String::new(), fault }
}

fn mounts() -> Vec<PathBuf> {
    vec!["/run/secrets".into()]
}

fn ttl_default() -> Duration {
    TTL_DEFAULT
}

fn approle_mount() -> String {
    "approle".into()
}

fn kubernetes_mount() -> String {
    "kubernetes".into()
}

fn jwt_mount() -> String {
    "jwt".into()
}

fn service_account() -> PathBuf {
    "/var/run/secrets/kubernetes.io/serviceaccount/token".into()
}

impl ProviderSettings {
    /// The provider of this name when it is not declared.
    pub(super) fn built_in(name: &str) -> Option<Self> {
        Some(match name {
            "env" => Self::Env { prefix: String::new() },
            "file" => Self::File { directories: mounts() },
            "vault" | "bao" => Self::Vault(VaultSettings::default()),
            "aws-sm" => Self::AwsSm(AwsSettings::default()),
            "aws-ssm" => Self::AwsSsm(AwsSettings::default()),
            _ => return None,
        })
    }
}

impl FromStr for OnChange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "file" => return Ok(Self::File),
            "restart" => return Ok(Self::Restart),
            _ => {}
        }
        let name = text.strip_prefix("signal:").map(str::to_ascii_uppercase);
        let full =
            name.map(|name| if name.starts_with("SIG") { name } else { format!("SIG{name}") });
        match full.and_then(|name| name.parse::<Signal>().ok()) {
            Some(signal) if signal != Signal::SIGKILL && signal != Signal::SIGSTOP => {
                Ok(Self::Signal(signal as i32))
            }
            _ => Err(format!(
                "`{text}` is nothing to do on a change; one of `file`, `signal:HUP`, `restart` is"
            )),
        }
    }
}

impl fmt::Display for OnChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File => f.write_str("file"),
            Self::Restart => f.write_str("restart"),
            Self::Signal(number) => match Signal::try_from(*number) {
                Ok(signal) => write!(f, "signal:{}", signal.as_str()),
                Err(_) => write!(f, "signal:{number}"),
            },
        }
    }
}

impl Serialize for OnChange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for OnChange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_understood_and_survives_the_way_to_the_engine() {
        let text = r#"{
            "default": "main", "deliver": "file", "on_change": "signal:HUP", "splay": "5s",
            "poll": "1m", "cache": {"path": "/c", "key_file": "/k", "ttl": "2h"}, "bare": true,
            "providers": {
                "main": {"type": "vault", "address": "http://v", "auth":
                    {"method": "kubernetes", "role": "app"}},
                "sm": {"type": "aws-sm", "region": "eu-west-1"},
                "op": {"type": "exec", "command": ["op", "read", "{path}"]},
                "old": {"type": "age", "file": "/s.age", "identity": "/id"},
                "mount": {"type": "dir", "path": "/etc/s"}
            },
            "names": {"openai": "main:kv/openai#key?version=2"}
        }"#;
        let settings = parse(text).expect("it is valid");
        assert_eq!(settings.on_change, OnChange::Signal(1));
        let sent = serde_json::to_string(&settings).expect("it can be sent");
        assert_eq!(serde_json::from_str::<SecretSettings>(&sent).expect("it arrives"), settings);
    }

    #[test]
    fn every_problem_is_reported_with_its_place() {
        let text = r#"{"default": "valt", "poll": "1ms",
            "providers": {"a": {"type": "vault", "adress": "x"}, "b": {"type": "exec", "command": []}},
            "names": {"x": "nobody:path", "y": "a b"}}"#;
        let error = parse(text).expect_err("it is wrong").to_string();
        for part in ["`valt`", "poll", "provider a", "adress", "provider b", "names.x", "names.y"] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let error = parse(r#"{"delivr": "env"}"#).expect_err("it is wrong").to_string();
        assert!(error.contains("delivr") && error.contains("deliver"), "{error}");
        assert!(parse("[]").is_err());
        assert!(parse(r#"{"on_change": "signal:KILL"}"#).is_err());
    }
}
