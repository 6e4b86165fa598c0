//! The environment of a plan, and its owners.

use super::{Chosen, Resolver};
use crate::{
    diagnostics::{Code, Problem},
    manifest::{BUILT_IN_ENVIRONMENT, Manifest},
    merge::Field,
    names::Domain,
    plan::{Cloud, CloudProvider, Environment, Owners, Target},
    raw::environment::{RawCloud, RawEnvironment, RawOwners},
    span::{Span, Spanned},
};

/// Finds an environment by name.
pub(super) fn choose(manifest: &Manifest, name: &str) -> Option<Chosen> {
    let all = manifest.environments_in_order();
    let is_local = |raw: &RawEnvironment| raw.target.value() == Some(&Target::Local);
    let last = all.iter().rev().find(|(_, _, raw)| !is_local(&raw.value)).map(|(name, ..)| *name);
    if let Some((name, _, raw)) = all.iter().find(|(known, ..)| known.as_str() == name) {
        let is_production = raw.value.production.value().copied().unwrap_or(last == Some(*name));
        return Some(Chosen { name: (*name).clone(), raw: Some((*raw).clone()), is_production });
    }
    let is_built_in =
        name == BUILT_IN_ENVIRONMENT && manifest.local_environment() == BUILT_IN_ENVIRONMENT;
    let name = name.parse().ok()?;
    is_built_in.then_some(Chosen { name, raw: None, is_production: false })
}

impl Resolver<'_> {
    pub(super) fn environment(&mut self) -> Environment {
        let at = "environment";
        let chosen = self.environment;
        let whole = chosen.raw.as_ref().map(|raw| raw.span);
        let raw = chosen.raw.as_ref().map(|raw| raw.value.clone()).unwrap_or_default();
        if let (Some(span), false) = (whole, raw.target.is_set()) {
            let message = format!("environment `{}` has no `target`", chosen.name);
            let help = "write `target: local`, `host`, `kubernetes`, `ecs` or `cloud-run`";
            self.tell(Problem::error(Code::MissingKey, message).at(start(span), "").help(help));
        }
        let target = self.or(at, "target", &raw.target, || Target::Local);
        let hosts = self.list(at, "hosts", &raw.hosts, Vec::new);
        if let (Some(span), true) = (whole, target == Target::Host && hosts.is_empty()) {
            let message = format!("environment `{}` has no `hosts`", chosen.name);
            let problem = Problem::error(Code::MissingKey, message).at(start(span), "");
            self.tell(problem.help("name at least one: `hosts: [web-1]`"));
        }
        let local_domain = || "localhost".parse::<Domain>().ok();
        let domain = self.opt(at, "domain", &raw.domain).or_else(|| match target {
            Target::Local => local_domain(),
            Target::Host | Target::Kubernetes | Target::Ecs | Target::CloudRun => None,
        });
        let namespace = self.opt(at, "namespace", &raw.namespace).or_else(|| {
            let app = self.manifest.raw.app.value()?;
            let name = format!("{app}-{}", chosen.name).replace('_', "-");
            (target == Target::Kubernetes).then_some(name)
        });
        Environment {
            name: chosen.name.clone(),
            target,
            hosts,
            domain,
            production: chosen.is_production,
            branch: self.opt(at, "branch", &raw.branch),
            tag: self.opt(at, "tag", &raw.tag),
            approve: self.list(at, "approve", &raw.approve, Vec::new),
            namespace,
            cloud: raw.cloud.get().and_then(|cloud| self.cloud(cloud)),
        }
    }

    /// The image repository: the environment's own, or the manifest's.
    pub(super) fn image_repository(&mut self, of_all: &Field<String>) -> Option<String> {
        let raw = self.environment.raw.as_ref();
        let own = raw.map(|raw| raw.value.image.clone()).filter(Field::is_set);
        self.opt("", "image", own.as_ref().unwrap_or(of_all))
    }

    fn cloud(&mut self, cloud: &Spanned<RawCloud>) -> Option<Cloud> {
        let at = "environment.cloud";
        let raw = &cloud.value;
        for (key, is_set) in [("provider", raw.provider.is_set()), ("region", raw.region.is_set())]
        {
            if !is_set {
                let message = format!("`cloud` has no `{key}`");
                let help = "write `cloud: {provider: aws, region: eu-west-1}`";
                self.tell(
                    Problem::error(Code::MissingKey, message).at(start(cloud.span), "").help(help),
                );
            }
        }
        let provider: CloudProvider = self.opt(at, "provider", &raw.provider)?;
        let region = self.opt(at, "region", &raw.region)?;
        let account = self.opt(at, "account", &raw.account).map(|account| account.0);
        Some(Cloud { provider, region, account })
    }

    /// Owners; what is absent is taken from `base`.
    pub(super) fn owners(&mut self, at: &str, raw: &RawOwners, base: Option<&Owners>) -> Owners {
        let base = base.cloned().unwrap_or_default();
        Owners {
            team: self.opt(at, "team", &raw.team).or(base.team),
            page: self.opt(at, "page", &raw.page).or(base.page),
            chat: self.opt(at, "chat", &raw.chat).or(base.chat),
            email: self.opt(at, "email", &raw.email).or(base.email),
        }
    }
}

/// The beginning of a map: a caret under all of it points at nothing.
pub(super) fn start(span: Span) -> Span {
    Span { start: span.start, end: span.start.saturating_add(1).min(span.end.max(span.start)) }
}
