//! Who asks: verifies bearer tokens before the app sees a request.
//!
//! What a token says about itself chooses nothing. The algorithms are those that the settings name,
//! and a key is bound to its family where it is read, so `none` does not exist here and the text
//! of a public key is never an HMAC secret. `jsonwebtoken` reads keys and checks signatures; the
//! claims are judged here, strictly and with the time given, because its own judgement takes
//! tokens without an audience and issuers that are lists. It deliberately opens no encrypted
//! tokens, and follows no `jku`, `x5u` or `jwk` that a token brings along.
//!
//! Invariant: [`Claims`] come from a token whose signature, issuer, audience and time were checked.

mod crypto;
mod keys;
mod settings;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde::Deserialize;
use serde_json::{Map, Value};

pub use keys::{KeyError, KeyNews, KeySource, Tell};
pub use settings::{JwtError, JwtSettings, Secret};

/// What a verified token says.
pub type Claims = Map<String, Value>;

/// Most bytes of a token.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// Most bytes of a key's name.
const KID_BYTES_MAX: usize = 256;
/// Most keys that are tried for a token that names none.
const TRIES_MAX: usize = 4;

/// Why a token is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// There is none.
    #[error("the request has no bearer token")]
    Missing,
    /// It is none.
    #[error("the token is malformed")]
    Malformed,
    /// More than one.
    #[error("the request has more than one `authorization`")]
    Ambiguous,
    /// Longer than [`TOKEN_BYTES_MAX`].
    #[error("the token is longer than {TOKEN_BYTES_MAX} bytes")]
    TooLong,
    /// Signed in a way that the settings do not name.
    #[error("the algorithm of the token is not accepted here")]
    Algorithm,
    /// Says that something must be understood that is not.
    #[error("the token has critical extensions")]
    Critical,
    /// Of another kind.
    #[error("the token is of another type")]
    Type,
    /// Signed by nobody whom we know.
    #[error("the key of the token is not known")]
    UnknownKey,
    /// Not signed by who it says.
    #[error("the signature of the token is wrong")]
    Signature,
    /// Too late.
    #[error("the token has expired")]
    Expired,
    /// Too early.
    #[error("the token is not valid yet")]
    NotYet,
    /// By somebody else.
    #[error("the issuer of the token is not accepted here")]
    Issuer,
    /// For somebody else.
    #[error("the token is for another audience")]
    Audience,
    /// Something is missing in it.
    #[error("the token has no usable `{claim}`")]
    Claim {
        /// What.
        claim: String,
    },
    /// It does not allow this.
    #[error("the token lacks the scope `{scope}`")]
    Scope {
        /// What is missing.
        scope: String,
    },
    /// There are no keys to check it with.
    #[error("no keys to check tokens with")]
    NoKeys,
}

impl Rejection {
    /// The error of RFC 6750; `None` when the client has sent nothing to be wrong.
    pub fn code(&self) -> Option<&'static str> {
        match self {
            Self::Missing | Self::NoKeys => None,
            Self::Ambiguous => Some("invalid_request"),
            Self::Scope { .. } => Some("insufficient_scope"),
            _ => Some("invalid_token"),
        }
    }
}

/// The head of a token: what of it is looked at. Twice the same name is an error.
#[derive(Debug, Deserialize)]
struct Head {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<Value>,
    b64: Option<Value>,
}

/// A token, taken apart and not believed.
struct Token<'a> {
    head: Head,
    algorithm: Algorithm,
    message: &'a str,
    signature: &'a str,
    payload: &'a str,
}

/// Verifies tokens.
#[derive(Debug)]
pub struct Verifier {
    settings: JwtSettings,
    keys: KeySource,
}

impl Verifier {
    /// Verifies by settings. Must be called inside a tokio runtime when keys are fetched.
    ///
    /// # Errors
    /// When a key cannot be read.
    pub fn new(settings: JwtSettings) -> Result<Self, KeyError> {
        Self::following(settings, None, std::sync::Arc::new(|_| ()))
    }

    /// The same with a shared secret that may change; `tell` hears what becomes of keys.
    ///
    /// # Errors
    /// When a key cannot be read.
    pub fn following(
        settings: JwtSettings,
        hmac: Option<tokio::sync::watch::Receiver<Secret>>,
        tell: Tell,
    ) -> Result<Self, KeyError> {
        crypto::install();
        let keys = KeySource::new(&settings, hmac, tell)?;
        Ok(Self { settings, keys })
    }

    /// The settings in force.
    pub fn settings(&self) -> &JwtSettings {
        &self.settings
    }

    /// What the token of a request says, if it can be believed; `now` is the Unix time.
    ///
    /// # Errors
    /// Why it is not believed.
    pub async fn verify(&self, token: &str, now: Duration) -> Result<Claims, Rejection> {
        let token = self.take_apart(token)?;
        let kid = token.head.kid.as_deref();
        if !self.keys.current().has(kid, token.algorithm) {
            // It may have been made with a key that is younger than our set.
            self.keys.refreshed().await;
        }
        let keys = self.keys.current();
        if keys.is_empty() {
            return Err(Rejection::NoKeys);
        }
        let mut result = Err(Rejection::UnknownKey);
        for key in keys.find(kid, token.algorithm).take(TRIES_MAX) {
            result = Err(Rejection::Signature);
            let (signature, message) = (token.signature, token.message.as_bytes());
            let verified = jsonwebtoken::crypto::verify(signature, message, key, token.algorithm);
            if verified.is_ok_and(|is_right| is_right) {
                result = Ok(());
                break;
            }
        }
        result?;
        let payload = URL_SAFE_NO_PAD.decode(token.payload).map_err(|_| Rejection::Malformed)?;
        let claims = strict::object(&payload).ok_or(Rejection::Malformed)?;
        self.settings.judge(&claims, now)?;
        Ok(claims)
    }

    fn take_apart<'a>(&self, token: &'a str) -> Result<Token<'a>, Rejection> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Rejection::TooLong);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(Rejection::Malformed)?;
        let (head, payload) = message.split_once('.').ok_or(Rejection::Malformed)?;
        if payload.contains('.') || signature.is_empty() {
            return Err(Rejection::Malformed);
        }
        let head = URL_SAFE_NO_PAD.decode(head).map_err(|_| Rejection::Malformed)?;
        let head: Head = serde_json::from_slice(&head).map_err(|_| Rejection::Malformed)?;
        if head.crit.is_some() || head.b64.is_some() {
            return Err(Rejection::Critical);
        }
        if head.kid.as_ref().is_some_and(|kid| kid.len() > KID_BYTES_MAX) {
            return Err(Rejection::Malformed);
        }
        let algorithm = head.alg.parse().map_err(|_| Rejection::Algorithm)?;
        if !self.settings.algorithms.contains(&algorithm) {
            return Err(Rejection::Algorithm);
        }
        self.settings.judge_type(head.typ.as_deref())?;
        Ok(Token { head, algorithm, message, signature, payload })
    }
}

/// Objects in which no name stands twice: two readers could see different claims.
mod strict {
    use std::fmt;

    use serde::de::{Error, MapAccess, Visitor};
    use serde::{Deserialize, Deserializer};
    use serde_json::{Map, Value};

    /// An object, if `text` is one.
    pub(super) fn object(text: &[u8]) -> Option<Map<String, Value>> {
        serde_json::from_slice::<Object>(text).ok().map(|object| object.0)
    }

    struct Object(Map<String, Value>);

    impl<'de> Deserialize<'de> for Object {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_map(OnceEach)
        }
    }

    struct OnceEach;

    impl<'de> Visitor<'de> for OnceEach {
        type Value = Object;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Object, A::Error> {
            let mut object = Map::new();
            while let Some((name, value)) = entries.next_entry()? {
                if object.insert(name, value).is_some() {
                    return Err(A::Error::custom("a name stands twice"));
                }
            }
            Ok(Object(object))
        }
    }
}

#[cfg(test)]
mod tests;
