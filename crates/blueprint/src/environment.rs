//! The environment of one container: what the manifest says, what `uses` brings, and what
//! `plimsoll run` is told. The same for Compose and for a chart; only addresses differ.
//!
//! Invariant: a value holds no secret, only `${secret:NAME}`, which `run` resolves at the start.

use std::collections::{BTreeMap, BTreeSet};

use contract::env_vars;
use manifest::Plan;
use manifest::names::SecretName;
use manifest::plan::{Kind, Service, UseTarget};
use manifest::template::{Output, Part, Template};
use wiring::Calls;

use crate::address::{self, Place, port, resolve};
use crate::timing::StopTimes;

/// What one container gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Environment {
    /// Variables by name.
    pub(crate) vars: BTreeMap<String, Var>,
    /// The secrets that their values and probes ask for; each is a mounted file of that name.
    pub(crate) secrets: BTreeSet<SecretName>,
}

/// One variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Var {
    /// Its value; secrets stand in it as `${secret:NAME}`.
    pub(crate) value: String,
    /// The place of the manifest that it comes from.
    pub(crate) because: String,
    /// Whether it is for `plimsoll run` and not for the application.
    pub(crate) is_ours: bool,
}

/// Where the state of `run` is kept in a container: in memory, since the root is read-only.
pub(crate) const STATE_DIR: &str = "/run/plimsoll";

impl Environment {
    /// The environment of a service.
    pub(crate) fn of(plan: &Plan, service: &Service, place: Place) -> Environment {
        let mut all = Environment::default();
        let name = &service.name;
        let calls = calls(plan, service, place);
        for (key, template) in &service.env {
            // What only says an order, such as `uses` of a job, has no address to give.
            let Some(value) = resolve(plan, place, &through(&calls, template)) else { continue };
            let brought = service.uses.iter().find(|(_, used)| used.env.get(key) == Some(template));
            let because = match brought {
                Some((used, _)) => format!("services.{name}.uses.{used}"),
                None => format!("services.{name}.env.{key}"),
            };
            all.put(key.as_str(), &value, because, false);
        }
        for secret in &service.secrets {
            let value = format!("${{secret:{secret}}}");
            all.secrets.insert(secret.clone());
            let because = format!("services.{name}.secrets");
            all.vars.insert(secret.to_string(), Var { value, because, is_ours: false });
        }
        for (key, value) in crate::worker::defaults(service) {
            let because = format!("services.{name}.run");
            let var = Var { value, because, is_ours: false };
            all.vars.entry(key.to_owned()).or_insert(var);
        }
        all.add_credentials(plan, service, place);
        all.add_settings(plan, service, place);
        if let Some((name, value)) = calls.setting() {
            let because = format!("services.{}.uses", service.name);
            all.vars.insert(name.to_owned(), Var { value, because, is_ours: true });
        }
        all
    }

    /// The environment of what brings a service's schema forward. It answers nobody and waits for
    /// resources only: a service that it waited for may be waiting for it.
    pub(crate) fn for_migration(plan: &Plan, service: &Service, place: Place) -> Environment {
        let mut job = service.clone();
        job.kind = Kind::Job;
        job.port = None;
        job.metrics = None;
        job.heartbeat = None;
        job.uses.retain(|_, used| matches!(used.target, UseTarget::Resource(_)));
        Environment::of(plan, &job, place)
    }

    fn put(&mut self, key: &str, template: &Template, because: String, is_ours: bool) {
        self.secrets.extend(template.secrets().cloned());
        let value = text(template);
        self.vars.insert(key.to_owned(), Var { value, because, is_ours });
    }

    /// What an S3 or SQS client reads, where the server beside it is ours. A server that takes any
    /// key takes that of one which does not.
    fn add_credentials(&mut self, plan: &Plan, service: &Service, place: Place) {
        let mut found = Vec::new();
        for (used, edge) in &service.uses {
            let UseTarget::Resource(resource) = &edge.target else { continue };
            let Some(resource) = plan.resources.get(resource) else { continue };
            let credentials = address::credentials(resource, place).into_iter();
            found.extend(credentials.map(|(key, value)| (used, key, value)));
        }
        found.sort_by_key(|(_, _, value)| value.as_literal().is_some());
        for (used, key, value) in found {
            if !self.vars.contains_key(key) {
                self.put(key, &value, format!("services.{}.uses.{used}", service.name), false);
            }
        }
    }

    /// What `run` is told.
    fn add_settings(&mut self, plan: &Plan, service: &Service, place: Place) {
        let at = format!("services.{}", service.name);
        let times = StopTimes::of(service);
        let mut settings = wiring::settings(plan, service);
        let mut set = |var: &env_vars::Var, value: String| settings.insert(var.name, value);
        set(&env_vars::LISTEN, format!("0.0.0.0:{}", port::ADMIN));
        set(&env_vars::STATE, STATE_DIR.to_owned());
        set(&env_vars::DRAIN, format!("{}ms", times.drain.0));
        set(&env_vars::STOP_GRACE, format!("{}ms", times.grace.0));
        set(&env_vars::STOP_BUDGET, format!("{}ms", times.budget.0));
        if let Some(port) = service.port.filter(|_| service.kind != Kind::Static) {
            set(&env_vars::INGRESS, format!("0.0.0.0:{port}"));
        }
        let because = |name: &str| match name {
            "PLIMSOLL_INGRESS" => format!("{at}.port"),
            "PLIMSOLL_DRAIN" => format!("{at}.drain"),
            "PLIMSOLL_STOP_GRACE" | "PLIMSOLL_STOP_BUDGET" | "PLIMSOLL_STOP_SIGNAL" => {
                format!("{at}.stop")
            }
            "PLIMSOLL_READY_HTTP" | "PLIMSOLL_LIVE_HTTP" | "PLIMSOLL_START_TIMEOUT" => {
                format!("{at}.health")
            }
            "PLIMSOLL_APP_METRICS" => format!("{at}.metrics"),
            "PLIMSOLL_ENV" => "environments".to_owned(),
            _ => at.clone(),
        };
        for (name, value) in settings {
            let because = because(name);
            self.vars.insert(name.to_owned(), Var { value, because, is_ours: true });
        }
        let mut asked = BTreeSet::new();
        let probes = wiring::probes(plan, service, &mut |template| {
            let resolved = resolve(plan, place, template)?;
            asked.extend(resolved.secrets().cloned());
            Some(text(&resolved))
        });
        if !probes.is_empty() {
            let value = serde_json::Value::from(probes).to_string();
            let because = format!("{at}.uses");
            let var = Var { value, because, is_ours: true };
            self.vars.insert(env_vars::PROBES.name.to_owned(), var);
            self.secrets.extend(asked);
        }
    }
}

/// The calls of a service to `http` resources, through listeners of `run` in its container. An
/// address with a secret in it is called directly.
fn calls(plan: &Plan, service: &Service, place: Place) -> Calls {
    let taken = [service.port, service.metrics.as_ref().and_then(|metrics| metrics.port)];
    let is_free = |port: &u16| !taken.iter().flatten().any(|taken| taken.get() == *port);
    let mut ports = (port::CALLS..).filter(is_free);
    Calls::of(plan, service, &mut |resource| {
        let port = ports.next()?;
        let output = Output::Url;
        let url = address::of_resource(plan, place, plan.resources.get(resource)?, output)?;
        Some((url.as_literal()?.into_owned(), port))
    })
}

/// A template in which calls go where `run` takes them.
fn through(calls: &Calls, template: &Template) -> Template {
    let part = |part: &Part| match calls.address(part) {
        Some(address) => Part::Literal(address.clone()),
        None => part.clone(),
    };
    Template(template.0.iter().map(part).collect())
}

/// A template as `run` reads it in this place; absent where a part of it has no value.
pub(crate) fn filled(plan: &Plan, place: Place, template: &Template) -> Option<String> {
    resolve(plan, place, template).as_ref().map(text)
}

/// A resolved template as `run` reads it.
pub(crate) fn text(template: &Template) -> String {
    template
        .fill(|part| Ok::<_, std::convert::Infallible>(part.to_string()))
        .unwrap_or_else(|never| match never {})
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_container_gets_addresses_and_names_of_secrets_and_no_secret() {
        let text = "
plimsoll: 1
app: shop
services:
  api:
    run: ./api
    port: 8080
    uses: [db, files]
    env: {LOG_LEVEL: info, GREETING: 'costs $$5'}
    secrets: [OPENAI_API_KEY]
resources:
  db: {type: postgres}
  files: {type: bucket}
environments: {production: {target: host, hosts: [a], domain: shop.example}}
";
        let manifest = manifest::parse(text).unwrap();
        let plan = manifest::resolve(&manifest, "production").unwrap().plan;
        let service = plan.services.values().next().unwrap();
        let environment = Environment::of(&plan, service, Place::Compose);
        let mut shown = String::new();
        for (name, var) in &environment.vars {
            shown.push_str(&format!("{name}={}  # {}\n", var.value, var.because));
        }
        for secret in &environment.secrets {
            shown.push_str(&format!("secret {secret}\n"));
        }
        expect![[r#"
            AWS_ACCESS_KEY_ID=${secret:FILES_ACCESS_KEY_ID}  # services.api.uses.files
            AWS_SECRET_ACCESS_KEY=${secret:FILES_SECRET_ACCESS_KEY}  # services.api.uses.files
            DATABASE_URL=postgres://shop:${secret:DB_PASSWORD}@db:5432/shop  # services.api.uses.db
            GREETING=costs $5  # services.api.env.GREETING
            LOG_LEVEL=info  # services.api.env.LOG_LEVEL
            OPENAI_API_KEY=${secret:OPENAI_API_KEY}  # services.api.secrets
            PLIMSOLL_DRAIN=0ms  # services.api.drain
            PLIMSOLL_ENV=production  # environments
            PLIMSOLL_INGRESS=0.0.0.0:8080  # services.api.port
            PLIMSOLL_LISTEN=0.0.0.0:9460  # services.api
            PLIMSOLL_PROBES={"db":{"gate":["start","ready"],"postgres":"postgres://shop:${secret:DB_PASSWORD}@db:5432/shop","severity":"hard"}}  # services.api.uses
            PLIMSOLL_SERVICE=api  # services.api
            PLIMSOLL_START_TIMEOUT=60000ms  # services.api.health
            PLIMSOLL_STATE=/run/plimsoll  # services.api
            PLIMSOLL_STOP_BUDGET=34000ms  # services.api.stop
            PLIMSOLL_STOP_GRACE=30000ms  # services.api.stop
            PLIMSOLL_STOP_SIGNAL=TERM  # services.api.stop
            S3_BUCKET=shop-production-files  # services.api.uses.files
            secret DB_PASSWORD
            secret FILES_ACCESS_KEY_ID
            secret FILES_SECRET_ACCESS_KEY
            secret OPENAI_API_KEY
        "#]].assert_eq(&shown);
    }
}
