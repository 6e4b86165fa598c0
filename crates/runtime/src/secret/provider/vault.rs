//! Secrets in HashiCorp Vault or OpenBao: KV of both versions, and engines that make credentials.
//!
//! We log in when the first secret is asked for, and again when the token is refused; a token that
//! can be renewed is, when two thirds of its time are over. `data/` in the path of a KV of version
//! 2 may be written or left out, as with its own program. It deliberately follows no redirect: a
//! token must not travel to an address that nobody configured.
//!
//! Invariant: sealed, standby, unknown, refused and unreachable are told apart, and no token, role
//! secret or value is in what is said about them.

mod login;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use reqwest::{Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::Mutex;

use super::Place;
use crate::{
    outbound,
    secret::{
        fault::{Fault, FaultKind},
        settings::{VaultAuth, VaultSettings},
        value::{self, Fetched, Lease},
    },
};

/// Most characters that are shown of what it says of an error.
const ERROR_CHARS_SHOWN: usize = 200;

/// One Vault.
#[derive(Debug)]
pub(in crate::secret) struct Vault {
    address: String,
    namespace: Option<String>,
    auth: VaultAuth,
    client: reqwest::Client,
    session: Mutex<Option<Session>>,
}

/// A login.
#[derive(Clone, Debug)]
struct Session {
    token: SecretString,
    /// When two thirds of it are over; `None` for a token that does not end.
    renew_at: Option<Instant>,
    is_renewable: bool,
}

/// What every answer looks like.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer {
    lease_id: String,
    lease_duration: u64,
    renewable: bool,
    data: Option<Map<String, Value>>,
    auth: Option<Auth>,
    errors: Vec<Value>,
}

#[derive(Deserialize)]
struct Auth {
    client_token: String,
    #[serde(default)]
    lease_duration: u64,
    #[serde(default)]
    renewable: bool,
}

impl Vault {
    pub(super) fn new(settings: VaultSettings, limit: Duration) -> Result<Self, Fault> {
        let help = "help: give the provider an `address`, or set `VAULT_ADDR` or `BAO_ADDR`";
        let address = settings.address.or_else(|| variable("ADDR"));
        let address = address
            .ok_or_else(|| Fault::config(format!("nothing says where the Vault is\n{help}")))?;
        let address = address.trim_end_matches('/').to_owned();
        let is_url = reqwest::Url::parse(&address).is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https") && url.has_host() && url.username().is_empty()
        });
        if !is_url {
            let help = "help: write for example `https://vault:8200`";
            return Err(Fault::config(format!("its address is not an http(s) URL\n{help}")));
        }
        let ca_file = settings.ca_file.or_else(|| variable("CACERT").map(PathBuf::from));
        let client = match ca_file {
            None => outbound::client(limit),
            Some(path) => {
                let pem = std::fs::read(&path).map_err(|error| {
                    Fault::config(format!("`ca_file` `{}`: {error}", path.display()))
                })?;
                outbound::client_trusting(limit, &pem)
            }
        };
        Ok(Self {
            address,
            namespace: settings.namespace.or_else(|| variable("NAMESPACE")),
            auth: settings.auth.unwrap_or(VaultAuth::Token { file: None }),
            client: client.map_err(Fault::config)?,
            session: Mutex::new(None),
        })
    }

    pub(super) async fn fetch(&self, place: &Place) -> Result<Fetched, Fault> {
        let path = place.path.trim_matches('/');
        let kv = self.key_value_mount(path).await?;
        let is_v2 = kv.as_ref().is_some_and(|mount| mount.is_v2);
        let mut full = match kv {
            Some(Mount { path: mount, is_v2: true }) => {
                let rest = path[mount.len()..].trim_start_matches('/');
                let rest = rest.strip_prefix("data/").unwrap_or(rest);
                format!("{mount}/data/{rest}")
            }
            _ => path.to_owned(),
        };
        if let Some(version) = place.version {
            if !is_v2 {
                return Err(Fault::config("only a KV of version 2 has versions"));
            }
            full = format!("{full}?version={version}");
        }
        let answer = self.ask(Method::GET, &full, None).await?;
        let mut data = answer.data.ok_or_else(|| Fault::missing("nothing is stored there"))?;
        if is_v2 {
            data = match data.remove("data") {
                Some(Value::Object(data)) => data,
                _ => return Err(Fault::missing("this version is deleted")),
            };
        }
        let lease = (!answer.lease_id.is_empty()).then(|| Lease {
            id: answer.lease_id,
            duration: Duration::from_secs(answer.lease_duration),
            is_renewable: answer.renewable,
        });
        Ok(Fetched { document: value::fields(data)?, lease })
    }

    /// Makes a lease as long again as it was.
    pub(super) async fn renew(&self, lease: &Lease) -> Result<Lease, Fault> {
        let body = serde_json::json!({
            "lease_id": lease.id, "increment": lease.duration.as_secs(),
        });
        let answer = self.ask(Method::PUT, "sys/leases/renew", Some(body)).await?;
        Ok(Lease {
            id: lease.id.clone(),
            duration: Duration::from_secs(answer.lease_duration),
            is_renewable: answer.renewable,
        })
    }

    /// Which KV a path is in, as its own program finds out; `None` for another engine, or when we
    /// may not know, and then the path is taken as it is.
    async fn key_value_mount(&self, path: &str) -> Result<Option<Mount>, Fault> {
        let question = format!("sys/internal/ui/mounts/{path}");
        let answer = match self.ask(Method::GET, &question, None).await {
            Ok(answer) => answer,
            Err(fault) if fault.kind == FaultKind::Unreachable => return Err(fault),
            // Without a right to it, the answer is 403; the secret itself says more.
            Err(_) => return Ok(None),
        };
        let data = answer.data.unwrap_or_default();
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        let mount = text(data.get("path")).unwrap_or_default().trim_end_matches('/').to_owned();
        if text(data.get("type")).as_deref() != Some("kv") || !path.starts_with(&mount) {
            return Ok(None);
        }
        let version = text(data.get("options").and_then(|options| options.get("version")));
        Ok(Some(Mount { path: mount, is_v2: version.as_deref() == Some("2") }))
    }

    /// Asks with a valid token; a token that is refused is replaced once.
    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<Answer, Fault> {
        let token = self.token().await?;
        match self.send(&method, path, body.as_ref(), Some(&token)).await {
            Err(fault) if fault.kind == FaultKind::Denied && self.forget(&token).await => {
                let token = self.token().await?;
                self.send(&method, path, body.as_ref(), Some(&token)).await
            }
            answer => answer,
        }
    }

    /// Forgets the login with this token. Whether another try can help: not with a fixed token
    /// that has not changed, nor for a fresh one, which is refused for what it may not do.
    async fn forget(&self, token: &SecretString) -> bool {
        let mut session = self.session.lock().await;
        let is_current = session
            .as_ref()
            .is_some_and(|session| session.token.expose_secret() == token.expose_secret());
        if is_current && self.look_up(token).await.is_ok() {
            return false;
        }
        if is_current {
            *session = None;
        }
        true
    }

    async fn look_up(&self, token: &SecretString) -> Result<Answer, Fault> {
        self.send(&Method::GET, "auth/token/lookup-self", None, Some(token)).await
    }

    async fn send(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
        token: Option<&SecretString>,
    ) -> Result<Answer, Fault> {
        let mut request =
            self.client.request(method.clone(), format!("{}/v1/{path}", self.address));
        request = request.header("X-Vault-Request", "true");
        if let Some(token) = token {
            let mut token = reqwest::header::HeaderValue::from_str(token.expose_secret())
                .map_err(|_| Fault::config("the token has characters that no token has"))?;
            token.set_sensitive(true);
            request = request.header("X-Vault-Token", token);
        }
        if let Some(namespace) = &self.namespace {
            request = request.header("X-Vault-Namespace", namespace);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let unreachable = |error: outbound::OutboundError| {
            Fault::unreachable(format!("`{}` does not answer: {error}", self.address))
        };
        let answer = request.send().await.map_err(|error| unreachable(error.into()))?;
        let status = answer.status();
        let bytes = outbound::read(answer).await.map_err(unreachable)?;
        let bytes = zeroize::Zeroizing::new(bytes);
        let parsed = serde_json::from_slice::<Answer>(&bytes);
        if status.is_success() {
            return match parsed {
                Ok(answer) => Ok(answer),
                Err(_) if bytes.is_empty() => Ok(Answer::default()),
                Err(_) => Err(Fault::unreachable(format!(
                    "what answers at `{}` is not a Vault",
                    self.address
                ))),
            };
        }
        Err(self.refused(status, &parsed.unwrap_or_default()))
    }

    fn refused(&self, status: StatusCode, answer: &Answer) -> Fault {
        let said: Vec<_> = answer.errors.iter().filter_map(Value::as_str).map(str::trim).collect();
        let said: String = said.join("; ").chars().take(ERROR_CHARS_SHOWN).collect();
        let said = if said.is_empty() { status.to_string() } else { said };
        let address = &self.address;
        match status.as_u16() {
            404 if answer.data.is_some() => Fault::missing("this version is deleted"),
            404 => Fault::missing("nothing is stored there"),
            401 | 403 => Fault::denied(format!(
                "Vault says no: {said}\nhelp: check the policy and the login (`auth`)"
            )),
            // A login with the wrong role or secret is a bad request to Vault.
            400 => Fault::denied(format!("Vault says no: {said}")),
            429 | 472 | 473 => Fault::unreachable(format!("`{address}` is a standby: {said}")),
            301..=308 => Fault::unreachable(format!(
                "`{address}` points elsewhere, as a standby does\nhelp: give the address of the active one"
            )),
            501 => Fault::unreachable(format!("the Vault at `{address}` is not initialized")),
            503 => {
                Fault::unreachable(format!("the Vault at `{address}` is sealed or in maintenance"))
            }
            _ => Fault::unreachable(format!("`{address}` failed: {said}")),
        }
    }
}

/// A KV engine.
struct Mount {
    path: String,
    is_v2: bool,
}

/// A variable that both programs know.
fn variable(name: &str) -> Option<String> {
    let of =
        |prefix| std::env::var(format!("{prefix}_{name}")).ok().filter(|text| !text.is_empty());
    of("BAO").or_else(|| of("VAULT"))
}
