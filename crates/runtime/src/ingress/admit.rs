//! Who gets past the ingress: rate limit, then token, then policy.
//!
//! In this order, because the first costs least and the last knows most; a limit by claim comes
//! after the token. A refusal says as much as its client may know; the rest is in the log, the
//! metrics and the audit log. It deliberately lets a browser's preflight pass without a token, as
//! it cannot carry one. Health paths never come here.
//!
//! Invariant: with a guard configured, a request that reaches the app was let in by it.

use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};

use http::header::{AUTHORIZATION, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts as Head;
use http::{HeaderMap, Method, Response, StatusCode};
use hyper::body::Bytes;
use proxy::{Admission, problem};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::SharedSecret;
use super::jwt::{Claims, JwtSettings, KeyError, Rejection, Verifier};
use super::key_news;
use super::limit::{Asking, Decision, LimitSettings, Limiter};
use super::path::folded;
use super::policy::{self, Policy, PolicyError, PolicySettings};
use crate::audit::{Audit, Entry, Outcome};
use crate::error::Error;
use crate::logs::{Level, Sink};
use crate::metrics::GuardCounters;

/// What the settings say about who gets in, each as it was written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardSettings {
    /// `--trusted-proxies`: networks whose word about a client is believed.
    pub trusted_proxies: Option<String>,
    /// `--rate-limit`.
    pub rate_limit: Option<String>,
    /// `--jwt`.
    pub jwt: Option<String>,
    /// `--policy`.
    pub policy: Option<String>,
}

/// A guard cannot stand.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// Keys cannot be read.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The policy cannot be used.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The settings were not checked.
    #[error("{0}")]
    Settings(String),
}

impl GuardSettings {
    /// Everything that is wrong, without starting anything.
    pub fn check(&self) -> Vec<Error> {
        let mut errors = Vec::new();
        let mut say = |flag: &str, result: Result<(), String>, help: &'static str| {
            if let Err(problem) = result {
                let problem = problem.split("\nhelp:").next().unwrap_or_default().to_owned();
                errors.push(Error::Settings { problem: format!("`{flag}`: {problem}"), help });
            }
        };
        if let Some(text) = &self.trusted_proxies {
            let read = text.parse::<proxy::TrustedProxies>().map(drop);
            let help = "write networks such as `10.0.0.0/8, ::1`";
            say("--trusted-proxies", read.map_err(|it| it.to_string()), help);
        }
        if let Some(text) = &self.rate_limit {
            let read = text.parse::<LimitSettings>().map(drop);
            let help = "write `100/s` or `600/m burst 50`, or see `docs/ingress.md`";
            say("--rate-limit", read.map_err(|it| it.to_string()), help);
        }
        if let Some(text) = &self.jwt {
            let read = text.parse::<JwtSettings>().map(drop);
            let help = "name `issuer`, `audience`, `algorithms` and `jwks`: see `docs/ingress.md`";
            say("--jwt", read.map_err(|it| it.to_string()), help);
        }
        if let Some(text) = &self.policy {
            let read = text.parse::<PolicySettings>().and_then(|it| policy::check(&it));
            let help = "give a `.rego` file that defines `data.plimsoll.allow`";
            say("--policy", read.map_err(|it| it.to_string()), help);
        }
        errors
    }
}

/// The guards that are configured.
#[derive(Debug)]
pub struct Guards {
    service: String,
    limiter: Option<Limiter>,
    verifier: Option<Verifier>,
    policy: Option<Policy>,
    counters: GuardCounters,
    audit: Audit,
    sink: Sink,
}

/// What a guard needs of the engine.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Name of the service, for pages.
    pub service: String,
    /// The secret of tokens, when it may change.
    pub hmac: Option<SharedSecret>,
    /// Where decisions are counted.
    pub counters: GuardCounters,
    /// Where refusals are kept.
    pub audit: Audit,
    /// Where lines go.
    pub sink: Sink,
}

/// A refusal on its way out.
type Refused = Box<Response<Bytes>>;

impl Guards {
    /// Puts up what is configured; `None` when nothing is. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When a key or the policy cannot be read.
    pub fn new(settings: &GuardSettings, around: Surroundings) -> Result<Option<Self>, GuardError> {
        fn read<T: std::str::FromStr<Err: std::fmt::Display>>(
            text: Option<&String>,
        ) -> Result<Option<T>, GuardError> {
            let read = |text: &String| text.parse().map_err(|it: T::Err| it.to_string());
            text.map(read).transpose().map_err(GuardError::Settings)
        }
        let Surroundings { service, hmac, counters, audit, sink } = around;
        let limiter = read(settings.rate_limit.as_ref())?.map(Limiter::new);
        let verifier = match read::<JwtSettings>(settings.jwt.as_ref())? {
            None => None,
            Some(settings) => {
                let tell = key_news::teller(&counters, &sink, &audit);
                Some(Verifier::following(settings, hmac, tell)?)
            }
        };
        let policy = match read::<PolicySettings>(settings.policy.as_ref())? {
            None => None,
            Some(settings) => {
                let (sink, audit, path) = (sink.clone(), audit.clone(), settings.path.clone());
                Some(Policy::new(settings, move |result| told(&sink, &audit, &path, result))?)
            }
        };
        if limiter.is_none() && verifier.is_none() && policy.is_none() {
            return Ok(None);
        }
        Ok(Some(Self { service, limiter, verifier, policy, counters, audit, sink }))
    }

    /// Lets a request in, or not. What it may say of its client to the app is settled here.
    pub async fn admit(
        &self,
        request: &mut Head,
        client: IpAddr,
        route: Option<&str>,
    ) -> Admission {
        match self.judge(request, client, route).await {
            Ok(fields) => Admission::Pass(fields),
            Err(refusal) => Admission::Refuse(*refusal),
        }
    }

    async fn judge(
        &self,
        request: &mut Head,
        client: IpAddr,
        route: Option<&str>,
    ) -> Result<HeaderMap, Refused> {
        let mut fields = HeaderMap::new();
        let (early, late) = match &self.limiter {
            Some(limiter) if limiter.needs_claims() => (None, Some(limiter)),
            limiter => (limiter.as_ref(), None),
        };
        if let Some(limiter) = early {
            self.limit(limiter, request, client, None, &mut fields)?;
        }
        let claims = match &self.verifier {
            None => None,
            Some(verifier) => self.verify(verifier, request, client).await?,
        };
        if let Some(limiter) = late {
            self.limit(limiter, request, client, claims.as_ref(), &mut fields)?;
        }
        if let Some(policy) = &self.policy {
            self.decide(policy, request, client, route, claims.as_ref()).await?;
        }
        if let (Some(verifier), Some(claims)) = (&self.verifier, &claims) {
            forward(&verifier.settings().forward, claims, &mut request.headers);
        }
        Ok(fields)
    }

    fn limit(
        &self,
        limiter: &Limiter,
        request: &Head,
        client: IpAddr,
        claims: Option<&Claims>,
        fields: &mut HeaderMap,
    ) -> Result<(), Refused> {
        let (method, path) = (request.method.as_str(), request.uri.path());
        let asking = Asking { client, method, path, headers: &request.headers, claims };
        let Some(decision) = limiter.take(&asking, Instant::now()) else { return Ok(()) };
        self.counters.limited(decision.retry_after.is_some(), limiter.n_clients());
        limit_fields(&decision, fields);
        let Some(wait) = decision.retry_after else { return Ok(()) };
        let detail = "too many requests from this client";
        let status = StatusCode::TOO_MANY_REQUESTS;
        let mut refusal = self.refusal(request, status, detail);
        // To be early by a part of a second is to be refused again.
        let wait = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        refusal.headers_mut().insert(RETRY_AFTER, wait.into());
        refusal.headers_mut().extend(std::mem::take(fields));
        Err(refusal)
    }

    async fn verify(
        &self,
        verifier: &Verifier,
        request: &mut Head,
        client: IpAddr,
    ) -> Result<Option<Claims>, Refused> {
        let settings = verifier.settings();
        strip(&mut request.headers);
        let path = request.uri.path();
        let is_preflight = request.method == Method::OPTIONS
            && request.headers.contains_key("origin")
            && request.headers.contains_key("access-control-request-method");
        if is_preflight || settings.is_public(path) {
            return Ok(None);
        }
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let verified = match bearer(&request.headers) {
            Ok(token) => verifier.verify(token, now).await,
            Err(rejection) => Err(rejection),
        };
        let method = request.method.as_str();
        let judged = verified
            .and_then(|claims| settings.judge_scopes(&claims, method, path).map(|()| claims));
        self.counters.verified(judged.as_ref().err());
        judged.map(Some).map_err(|rejection| {
            if settings.audit_failures {
                let details = Map::from_iter([("reason".to_owned(), rejection.to_string().into())]);
                self.denied("jwt.reject", request, client, details);
            }
            self.unauthorized(request, &rejection)
        })
    }

    /// What RFC 6750 has a client hear.
    fn unauthorized(&self, request: &Head, rejection: &Rejection) -> Refused {
        let status = match rejection {
            Rejection::NoKeys => StatusCode::SERVICE_UNAVAILABLE,
            Rejection::Scope { .. } => StatusCode::FORBIDDEN,
            Rejection::Ambiguous => StatusCode::BAD_REQUEST,
            _ => StatusCode::UNAUTHORIZED,
        };
        let mut refusal = self.refusal(request, status, &rejection.to_string());
        let challenge = match (rejection, rejection.code()) {
            (Rejection::NoKeys, _) => {
                refusal.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("2"));
                return refusal;
            }
            (_, None) => "Bearer".to_owned(),
            (Rejection::Scope { scope }, Some(code)) => {
                format!("Bearer error=\"{code}\", scope=\"{scope}\"")
            }
            (_, Some(code)) => {
                format!("Bearer error=\"{code}\", error_description=\"{rejection}\"")
            }
        };
        // A backtick is no part of a quoted description (RFC 6750, 3).
        if let Ok(challenge) = HeaderValue::from_str(&challenge.replace('`', "'")) {
            refusal.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        refusal
    }

    async fn decide(
        &self,
        policy: &Policy,
        request: &Head,
        client: IpAddr,
        route: Option<&str>,
        claims: Option<&Claims>,
    ) -> Result<(), Refused> {
        let headers = policy.headers().iter().filter_map(|name| {
            let values = request.headers.get_all(name.as_str());
            let texts: Vec<_> = values.iter().filter_map(|value| value.to_str().ok()).collect();
            (!texts.is_empty()).then(|| (name.to_ascii_lowercase(), texts.join(", ").into()))
        });
        let input = json!({
            "method": request.method.as_str(),
            "path": folded(request.uri.path()),
            "raw_path": request.uri.path(),
            "query": request.uri.query(),
            "headers": headers.collect::<Map<String, Value>>(),
            "claims": claims,
            "client": client.to_string(),
            "route": route,
        });
        let (decision, took) = policy.decide(input).await;
        self.counters.decided(decision.is_allowed, decision.error.is_some(), took);
        if decision.is_allowed {
            return Ok(());
        }
        if let Some(error) = &decision.error {
            self.sink.event(
                Level::Error,
                "the policy could not decide: denied",
                &[("error", crate::logs::Value::Str(error))],
            );
        }
        let details = Map::from_iter([
            ("reason".to_owned(), decision.reason.as_str().into()),
            ("error".to_owned(), decision.error.into()),
        ]);
        self.denied("policy.deny", request, client, details);
        Err(self.refusal(request, StatusCode::FORBIDDEN, &decision.reason))
    }

    fn refusal(&self, request: &Head, status: StatusCode, detail: &str) -> Refused {
        Box::new(problem(&request.headers, status, Some(&self.service), detail, None))
    }

    fn denied(
        &self,
        action: &'static str,
        request: &Head,
        client: IpAddr,
        details: Map<String, Value>,
    ) {
        if self.audit.is_on() {
            let target = format!("{} {}", request.method, request.uri.path());
            let actor = client.to_string();
            self.audit.record(Entry { action, actor, target, outcome: Outcome::Denied, details });
        }
    }
}

/// Says what came of a policy that changed.
fn told(sink: &Sink, audit: &Audit, path: &std::path::Path, result: Result<(), PolicyError>) {
    let name = path.display().to_string();
    let mut details = Map::new();
    let outcome = match result {
        Ok(()) => {
            let fields = [("policy", crate::logs::Value::Str(&name))];
            sink.event(Level::Info, "the policy was read again", &fields);
            Outcome::Allowed
        }
        Err(error) => {
            let error = error.to_string();
            let fields = [
                ("policy", crate::logs::Value::Str(&name)),
                ("error", crate::logs::Value::Str(&error)),
            ];
            sink.event(
                Level::Error,
                "the policy changed and is wrong: the last one stays",
                &fields,
            );
            details.insert("error".to_owned(), error.into());
            Outcome::Failed
        }
    };
    let actor = "engine".to_owned();
    audit.record(Entry { action: "policy.reload", actor, target: name, outcome, details });
}

/// The one bearer token of a request.
fn bearer(headers: &HeaderMap) -> Result<&str, Rejection> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(Rejection::Missing)?;
    if values.next().is_some() {
        return Err(Rejection::Ambiguous);
    }
    let text = value.to_str().map_err(|_| Rejection::Malformed)?;
    let (scheme, token) = text.split_once(' ').ok_or(Rejection::Missing)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(token.trim()) } else { Err(Rejection::Missing) }
}

/// Removes what only we may say. Servers that turn names into variables take `_` for `-`.
fn strip(headers: &mut HeaderMap) {
    let is_ours = |name: &HeaderName| name.as_str().replace('_', "-").starts_with("x-jwt-");
    let names: Vec<_> = headers.keys().filter(|name| is_ours(name)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// Says to the app what a token says: texts as they are, anything else as JSON.
fn forward(names: &[String], claims: &Claims, headers: &mut HeaderMap) {
    for claim in names {
        let text = match claims.get(claim) {
            None => continue,
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
        };
        let name = format!("x-jwt-{claim}").to_ascii_lowercase().replace('_', "-");
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(&text)) {
            headers.insert(name, value);
        }
    }
}

/// The fields that clients read today (draft-ietf-httpapi-ratelimit-headers, version 7).
fn limit_fields(decision: &Decision, fields: &mut HeaderMap) {
    let seconds = |time: Duration| time.as_secs() + u64::from(time.subsec_nanos() > 0);
    let name = HeaderName::from_static;
    fields.insert(name("ratelimit-limit"), decision.rule.count.into());
    fields.insert(name("ratelimit-remaining"), decision.remaining.into());
    fields.insert(name("ratelimit-reset"), seconds(decision.reset).into());
    let policy = format!("{};w={}", decision.rule.count, seconds(decision.rule.window));
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        fields.insert(name("ratelimit-policy"), policy);
    }
}

#[cfg(test)]
mod tests;
