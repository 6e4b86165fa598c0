//! What `--jwt` says, and what it demands of claims.
//!
//! It deliberately has no default for what decides who gets in: issuer, audience, algorithms and
//! keys are named, or the settings are refused. Invariant: the algorithms and the keys of settings
//! that were accepted are of the same families.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use jsonwebtoken::Algorithm;
use serde::Deserialize;
use serde_json::Value;

use super::{Claims, Rejection};
use crate::ingress::path::Pattern;
use crate::settings::duration_text;

/// Largest leeway for clocks that differ.
const LEEWAY_MAX: Duration = Duration::from_secs(300);

/// What `--jwt` says.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JwtSettings {
    /// Whose tokens are accepted.
    #[serde(deserialize_with = "one_or_more")]
    pub issuer: Vec<String>,
    /// For whom they have to be; one of these.
    #[serde(deserialize_with = "one_or_more")]
    pub audience: Vec<String>,
    /// How they may be signed.
    #[serde(deserialize_with = "algorithms")]
    pub algorithms: Vec<Algorithm>,
    /// Where the keys are published.
    #[serde(default)]
    pub jwks: Option<Jwks>,
    /// A file with a published set of keys.
    #[serde(default)]
    pub jwks_file: Option<PathBuf>,
    /// Public keys in PEM files.
    #[serde(default)]
    pub keys: Vec<PemKey>,
    /// The secret of HS256, HS384 and HS512.
    #[serde(default)]
    pub hmac: Option<Secret>,
    /// By how much clocks may differ.
    #[serde(default = "leeway", deserialize_with = "duration_text::deserialize")]
    pub leeway: Duration,
    /// `typ` that a token must have, such as `at+jwt`.
    #[serde(default)]
    pub typ: Option<String>,
    /// Claims that must be there.
    #[serde(default)]
    pub required_claims: Vec<String>,
    /// Scopes that every request needs.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Paths that need no token.
    #[serde(default)]
    pub public: Vec<Pattern>,
    /// Routes that need scopes of their own.
    #[serde(default)]
    pub routes: Vec<ScopedRoute>,
    /// Claims that the app gets as `x-jwt-NAME`.
    #[serde(default)]
    pub forward: Vec<String>,
    /// Whether every refused token goes to the audit log.
    #[serde(default)]
    pub audit_failures: bool,
}

/// Where keys are published.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Jwks {
    /// An `https` address; `http` on this machine only.
    pub url: String,
    /// How often they are fetched.
    #[serde(default = "refresh", deserialize_with = "duration_text::deserialize")]
    pub refresh: Duration,
    /// How long the last ones are used while they cannot be fetched.
    #[serde(default = "stale", deserialize_with = "duration_text::deserialize")]
    pub stale: Duration,
}

/// A public key in a file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PemKey {
    /// The name that tokens have for it.
    #[serde(default)]
    pub kid: Option<String>,
    /// The one algorithm it is for.
    pub algorithm: String,
    /// The PEM file.
    pub file: PathBuf,
}

/// A route that needs scopes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScopedRoute {
    /// Its path.
    pub path: Pattern,
    /// Its methods; none means all.
    #[serde(default)]
    pub methods: Vec<String>,
    /// What it needs, all of it.
    pub scopes: Vec<String>,
}

/// A text that is never shown.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[REDACTED]")
    }
}

fn leeway() -> Duration {
    Duration::from_secs(30)
}

fn refresh() -> Duration {
    Duration::from_secs(300)
}

fn stale() -> Duration {
    Duration::from_secs(24 * 3600)
}

fn one_or_more<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        One(String),
        More(Vec<String>),
    }
    Ok(match Either::deserialize(from)? {
        Either::One(one) => vec![one],
        Either::More(more) => more,
    })
}

fn algorithms<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<Algorithm>, D::Error> {
    let names = one_or_more(from)?;
    let unknown = |name: &String| {
        let known =
            "RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA, HS256, HS384 or HS512";
        serde::de::Error::custom(format!("`{name}` is not an algorithm: give {known}"))
    };
    names.iter().map(|name| name.parse().map_err(|_| unknown(name))).collect()
}

/// Settings that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the token settings cannot be used: {problem}\nhelp: {{\"issuer\": \"https://id.example.com\", \
     \"audience\": \"api\", \"algorithms\": [\"RS256\"], \"jwks\": {{\"url\": \
     \"https://id.example.com/jwks.json\"}}}} is an example"
)]
pub struct JwtError {
    /// What is wrong, with its place.
    pub problem: String,
}

impl FromStr for JwtSettings {
    type Err = JwtError;

    fn from_str(text: &str) -> Result<Self, JwtError> {
        let settings: Self = serde_json::from_str(text).map_err(|error| {
            // Its text shows no values but of names that are not secret.
            JwtError { problem: error.to_string() }
        })?;
        match settings.problem() {
            None => Ok(settings),
            Some(problem) => Err(JwtError { problem }),
        }
    }
}

pub(super) fn is_hmac(algorithm: Algorithm) -> bool {
    matches!(algorithm, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512)
}

impl JwtSettings {
    fn problem(&self) -> Option<String> {
        for (name, values) in [("issuer", &self.issuer), ("audience", &self.audience)] {
            if values.is_empty() || values.iter().any(String::is_empty) {
                return Some(format!("`{name}` is empty"));
            }
        }
        if self.algorithms.is_empty() {
            return Some("`algorithms` is empty".to_owned());
        }
        let n_hmac = self.algorithms.iter().filter(|it| is_hmac(**it)).count();
        let has_public = self.jwks.is_some() || self.jwks_file.is_some() || !self.keys.is_empty();
        if n_hmac > 0 && n_hmac < self.algorithms.len() {
            return Some("`algorithms` mixes a shared secret with public keys".to_owned());
        }
        match (n_hmac > 0, has_public, self.hmac.is_some()) {
            (true, false, true) | (false, true, false) => (),
            (true, true, _) => return Some("HS algorithms take `hmac` and no keys".to_owned()),
            (true, ..) => return Some("HS algorithms need the secret `hmac`".to_owned()),
            (false, _, true) => return Some("`hmac` is for HS algorithms only".to_owned()),
            (false, ..) => return Some("it names no keys: give `jwks` or `keys`".to_owned()),
        }
        if let Some(jwks) = &self.jwks {
            let is_local = ["http://127.0.0.1", "http://localhost", "http://[::1]"]
                .iter()
                .any(|prefix| jwks.url.starts_with(prefix));
            if !jwks.url.starts_with("https://") && !is_local {
                return Some("`jwks.url` is not an `https` address".to_owned());
            }
            if jwks.refresh < Duration::from_secs(1) || jwks.stale < jwks.refresh {
                return Some("`jwks.refresh` is from 1s to `jwks.stale`".to_owned());
            }
        }
        if self.leeway > LEEWAY_MAX {
            return Some(format!("`leeway` is at most {} s", LEEWAY_MAX.as_secs()));
        }
        let is_name = |name: &String| format!("x-jwt-{name}").parse::<http::HeaderName>().is_ok();
        let bad = self.forward.iter().find(|name| !is_name(name));
        bad.map(|name| format!("`forward` has `{name}`, which cannot be part of a header's name"))
    }

    /// Whether a request needs no token.
    pub fn is_public(&self, path: &str) -> bool {
        self.public.iter().any(|pattern| pattern.matches(path))
    }

    /// Whether claims suffice for a route.
    ///
    /// # Errors
    /// The first scope that is missing.
    pub fn judge_scopes(&self, claims: &Claims, method: &str, path: &str) -> Result<(), Rejection> {
        let routed = self
            .routes
            .iter()
            .filter(|route| {
                let of_method = |it: &String| it.eq_ignore_ascii_case(method);
                (route.methods.is_empty() || route.methods.iter().any(of_method))
                    && route.path.matches_loosely(path)
            })
            .flat_map(|route| &route.scopes);
        let has = scopes(claims);
        match self.scopes.iter().chain(routed).find(|scope| !has.contains(&scope.as_str())) {
            None => Ok(()),
            Some(scope) => Err(Rejection::Scope { scope: scope.clone() }),
        }
    }

    pub(super) fn judge_type(&self, typ: Option<&str>) -> Result<(), Rejection> {
        let Some(wanted) = &self.typ else { return Ok(()) };
        // RFC 7515, 4.1.9: `application/` may be left out.
        let short = |typ: &str| {
            let typ = typ.to_ascii_lowercase();
            typ.strip_prefix("application/").map(str::to_owned).unwrap_or(typ)
        };
        if typ.is_some_and(|typ| short(typ) == short(wanted)) {
            Ok(())
        } else {
            Err(Rejection::Type)
        }
    }

    pub(super) fn judge(&self, claims: &Claims, now: Duration) -> Result<(), Rejection> {
        let missing = |claim: &str| Rejection::Claim { claim: claim.to_owned() };
        let time = |name: &str| match claims.get(name) {
            None => Ok(None),
            Some(value) => {
                value.as_f64().filter(|it| it.is_finite()).map(Some).ok_or(missing(name))
            }
        };
        let (now, leeway) = (now.as_secs_f64(), self.leeway.as_secs_f64());
        if now >= time("exp")?.ok_or(missing("exp"))? + leeway {
            return Err(Rejection::Expired);
        }
        for name in ["nbf", "iat"] {
            if time(name)?.is_some_and(|time| time > now + leeway) {
                return Err(Rejection::NotYet);
            }
        }
        let issuer = claims.get("iss").and_then(Value::as_str).ok_or(missing("iss"))?;
        if !self.issuer.iter().any(|accepted| accepted == issuer) {
            return Err(Rejection::Issuer);
        }
        let is_ours = |audience: &Value| {
            audience.as_str().is_some_and(|it| self.audience.iter().any(|ours| ours == it))
        };
        let is_for_us = match claims.get("aud").ok_or(missing("aud"))? {
            Value::Array(audiences) => audiences.iter().any(is_ours),
            audience => is_ours(audience),
        };
        if !is_for_us {
            return Err(Rejection::Audience);
        }
        match self.required_claims.iter().find(|it| claims.get(*it).is_none_or(Value::is_null)) {
            None => Ok(()),
            Some(claim) => Err(missing(claim)),
        }
    }
}

/// What a token allows: `scope` as words (RFC 8693), or `scp` and `scope` as a list.
fn scopes(claims: &Claims) -> Vec<&str> {
    let mut scopes = Vec::new();
    for name in ["scope", "scp"] {
        match claims.get(name) {
            Some(Value::String(words)) => scopes.extend(words.split(' ')),
            Some(Value::Array(list)) => scopes.extend(list.iter().filter_map(Value::as_str)),
            _ => (),
        }
    }
    scopes
}
