//! How we get a token, and keep it.
//!
//! Files are read anew for each login, since an agent or the kubelet rotates them. It deliberately
//! keeps no role secret. Invariant: at most one login runs at a time.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::{super::file, Auth, Session, Vault, variable};
use crate::secret::{
    fault::Fault,
    settings::VaultAuth,
    value::{self, without_line_break},
};

impl Vault {
    /// A token that should be valid.
    pub(super) async fn token(&self) -> Result<SecretString, Fault> {
        let mut session = self.session.lock().await;
        if let Some(current) = session.as_mut() {
            let is_due = current.renew_at.is_some_and(|at| at <= Instant::now());
            if !is_due {
                return Ok(current.token.clone());
            }
            if current.is_renewable
                && let Ok(renewed) = self.renew_token(&current.token).await
            {
                *current = renewed;
                return Ok(current.token.clone());
            }
        }
        let fresh = self.log_in().await?;
        let token = fresh.token.clone();
        *session = Some(fresh);
        Ok(token)
    }

    async fn log_in(&self) -> Result<Session, Fault> {
        let (mount, body) = match &self.auth {
            VaultAuth::Token { file } => return self.fixed(file.as_deref()).await,
            VaultAuth::Approle { role_id, secret_id_file, mount } => {
                let secret_id = match secret_id_file {
                    Some(path) => Some(read(path)?),
                    None => None,
                };
                let secret_id = secret_id.as_ref().map(ExposeSecret::expose_secret);
                (mount, json!({ "role_id": role_id, "secret_id": secret_id }))
            }
            VaultAuth::Kubernetes { role, token_file, mount }
            | VaultAuth::Jwt { role, token_file, mount } => {
                let jwt = read(token_file)?;
                (mount, json!({ "role": role, "jwt": jwt.expose_secret() }))
            }
        };
        let path = format!("auth/{mount}/login");
        let answer = self.send(&Method::POST, &path, Some(&body), None).await.map_err(|fault| {
            Fault { text: format!("login by `{mount}`: {}", fault.text), ..fault }
        })?;
        let auth = answer.auth.ok_or_else(|| Fault::denied("the login gave no token"))?;
        Ok(session(auth))
    }

    /// A token that somebody else has got. Whether and when it ends is asked, but need not be
    /// known.
    async fn fixed(&self, file: Option<&Path>) -> Result<Session, Fault> {
        let token = match (file, variable("TOKEN")) {
            (Some(path), _) => read(path)?,
            (None, Some(token)) => token.into(),
            (None, None) => read(&home_token()).map_err(|_| {
                Fault::denied(
                    "there is no token\nhelp: set `VAULT_TOKEN`, or `auth` of the provider",
                )
            })?,
        };
        let data = match self.look_up(&token).await {
            Ok(answer) => answer.data.unwrap_or_default(),
            Err(_) => serde_json::Map::new(),
        };
        let ttl = data.get("ttl").and_then(Value::as_u64).unwrap_or(0);
        let is_renewable = data.get("renewable").and_then(Value::as_bool).unwrap_or(false);
        Ok(Session { token, renew_at: renew_at(ttl), is_renewable })
    }

    async fn renew_token(&self, token: &SecretString) -> Result<Session, Fault> {
        let body = json!({});
        let path = "auth/token/renew-self";
        let answer = self.send(&Method::PUT, path, Some(&body), Some(token)).await?;
        answer.auth.map(session).ok_or_else(|| Fault::denied("the renewal gave no token"))
    }
}

fn session(auth: Auth) -> Session {
    Session {
        token: auth.client_token.into(),
        renew_at: renew_at(auth.lease_duration),
        is_renewable: auth.renewable,
    }
}

/// After two thirds of its time; 0 means that it does not end.
fn renew_at(ttl_s: u64) -> Option<Instant> {
    (ttl_s > 0).then(|| Instant::now() + Duration::from_secs(ttl_s) * 2 / 3)
}

fn read(path: &Path) -> Result<SecretString, Fault> {
    let bytes = file::read(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Fault::denied(format!("the file `{}` for the login is not there", path.display()))
        }
        _ => file::unreadable(path, &error),
    })?;
    value::text(&without_line_break(bytes))
}

fn home_token() -> PathBuf {
    PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".vault-token")
}
