//! One service of a plan.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Resolver,
    environment::start,
    origin::{Origin, join},
    uses::Edges,
};
use crate::{
    diagnostics::{Code, Problem},
    merge::{Field, Table, Written},
    names::{Domain, ServiceName},
    plan::{
        Command, Environment, Kind, Migrate, Owners, Restart, Route, Service, SiteServer,
        SmokeCheck, Static, Verb,
    },
    raw::{
        command::RawCommand,
        service::{RawService, RouteHost},
    },
    span::{Span, Spanned},
    units::Millis,
};

/// What kind of process the keys describe.
pub(super) fn kind(raw: &RawService) -> Kind {
    if raw.site.is_set() {
        Kind::Static
    } else if raw.schedule.is_set() {
        Kind::Cron
    } else if raw.once.value() == Some(&true) {
        Kind::Job
    } else if raw.route.is_set() || raw.port.is_set() {
        Kind::Web
    } else {
        Kind::Worker
    }
}

impl Resolver<'_> {
    pub(super) fn services(
        &mut self,
        environment: &Environment,
        owners: &Owners,
    ) -> BTreeMap<ServiceName, Service> {
        let ports = self.ports();
        let merged = self.merged;
        let mut services = BTreeMap::new();
        for (name, _, raw) in merged.services.iter() {
            let mut service = self.service(name, raw, environment, owners);
            service.port = ports.get(name).copied();
            services.insert(name.clone(), service);
        }
        self.check_routes(&services);
        services
    }

    fn service(
        &mut self,
        name: &ServiceName,
        spanned: &Spanned<RawService>,
        environment: &Environment,
        owners: &Owners,
    ) -> Service {
        let at = &format!("services.{name}");
        let raw = &spanned.value;
        let kind = kind(raw);
        let origin = self.written(spanned.span);
        self.note("services", name.as_str(), origin);
        self.note(at, "kind", Origin::Derived { from: "its keys".to_owned() });
        self.note(at, "port", self.port_origin(raw));
        self.check_kind(name, kind, raw);
        let targets = self.targets(raw);
        let used: BTreeSet<_> = targets.iter().map(|(target, _)| target.clone()).collect();
        let edges = &Edges::Service { service: name, uses: &used };
        let uses = self.uses(at, targets);
        let env = self.env(at, raw, &uses, edges);
        let secrets = self.opt(at, "secrets", &raw.secrets).unwrap_or_default();
        let raw_owners = raw.owners.value().cloned().unwrap_or_default();
        Service {
            kind,
            owners: self.owners(&join(at, "owners"), &raw_owners, Some(owners)),
            path: self.or(at, "path", &raw.path, || ".".parse().expect("a dot is a relative path")),
            from: self.opt(at, "from", &raw.from),
            language: self.opt(at, "language", &raw.language),
            package_manager: self.opt(at, "package_manager", &raw.package_manager),
            system: self.list(at, "system", &raw.system, Vec::new),
            build: self.command_at(at, "build", &raw.build, edges),
            run: self.command_at(at, "run", &raw.run, edges),
            port: None,
            uses,
            env,
            secrets: secrets.0.into_iter().map(|secret| secret.value).collect(),
            migrate: self.migrate(at, raw, edges),
            seed: self.command_at(at, "seed", &raw.seed, edges),
            test: self.command_at(at, "test", &raw.test, edges),
            lint: self.command_at(at, "lint", &raw.lint, edges),
            verbs: self.verbs(at, raw, edges),
            smoke: self.smoke(at, raw),
            route: self.routes(at, raw, environment),
            scale: self.scale(at, raw, kind, environment),
            slo: self.slo(at, raw),
            limits: self.limits(at, raw, kind),
            security: self.security(at, raw),
            stop: self.stop(at, raw),
            drain: self.drain(at, raw, environment),
            restart: self.or(at, "restart", &raw.restart, || match kind {
                Kind::Web | Kind::Worker | Kind::Static => Restart::Always,
                Kind::Cron | Kind::Job => Restart::OnFailure,
            }),
            gpu: self.gpu(at, raw),
            health: self.health(at, raw),
            heartbeat: self.heartbeat(at, raw),
            metrics: self.metrics_endpoint(at, raw),
            watch: self.watch(at, raw),
            schedule: self.schedule(at, raw),
            once: self.or(at, "once", &raw.once, || false),
            site: self.site(at, raw),
            name: name.clone(),
        }
    }

    fn port_origin(&self, raw: &RawService) -> Origin {
        raw.port.get().map_or(Origin::Default, |port| self.written(port.span))
    }

    /// Keys that contradict the kind.
    fn check_kind(&mut self, name: &ServiceName, kind: Kind, raw: &RawService) {
        let listens: &[&str] = &["route", "port", "smoke"];
        let unwanted: &[&str] = match kind {
            Kind::Web => &[],
            Kind::Worker => &["smoke"],
            Kind::Static => &["run", "schedule", "once", "migrate"],
            Kind::Cron => &["route", "port", "smoke", "once", "scale"],
            Kind::Job => &["route", "port", "smoke", "scale"],
        };
        let reason = match kind {
            Kind::Web => "a web service",
            Kind::Worker => "a worker: it has neither `port` nor `route`",
            Kind::Static => "a site: it has `static`",
            Kind::Cron => "a cron: it has `schedule`",
            Kind::Job => "a job: it has `once`",
        };
        for (key, span) in raw.written() {
            let is_false = key == "once" && raw.once.value() == Some(&false);
            if unwanted.contains(&key) && !is_false {
                let message = format!("`{key}` does not go with {reason}");
                let help = if listens.contains(&key) && kind == Kind::Worker {
                    format!("give `{name}` a `port`, or take `{key}` out")
                } else {
                    format!("take `{key}` out, or make it a service of its own")
                };
                self.tell(Problem::error(Code::Conflict, message).at(span, "").help(help));
            }
        }
    }

    pub(super) fn command_at(
        &mut self,
        at: &str,
        key: &str,
        field: &Field<RawCommand>,
        edges: &Edges<'_>,
    ) -> Option<Command> {
        let origin = field.get().map_or(Origin::Default, |raw| self.written(raw.span));
        self.note(at, key, origin);
        self.command(field.get()?, edges)
    }

    fn migrate(&mut self, at: &str, raw: &RawService, edges: &Edges<'_>) -> Option<Migrate> {
        let origin = raw.migrate.get().map_or(Origin::Default, |raw| self.written(raw.span));
        self.note(at, "migrate", origin);
        let spanned = raw.migrate.get()?;
        let (at, raw) = (&join(at, "migrate"), &spanned.value.value);
        let run = self.run_or_shell(at, "`migrate`", spanned.span, (&raw.run, &raw.shell), edges);
        Some(Migrate {
            contract: self.command_at(at, "contract", &raw.contract, edges),
            down: self.command_at(at, "down", &raw.down, edges),
            check: self.command_at(at, "check", &raw.check, edges),
            timeout: self.or(at, "timeout", &raw.timeout, || Millis::from_secs(600)),
            lock_timeout: self.or(at, "lock_timeout", &raw.lock_timeout, || Millis(100)),
            run: run?,
        })
    }

    fn verbs(
        &mut self,
        at: &str,
        raw: &RawService,
        edges: &Edges<'_>,
    ) -> BTreeMap<crate::names::VerbName, Verb> {
        let mut verbs = BTreeMap::new();
        for (name, key, spanned) in raw.verbs.value().into_iter().flat_map(Table::iter) {
            let at = &join(at, &format!("verbs.{name}"));
            let raw = &spanned.value.value;
            let what = format!("verb `{name}`");
            let Some(run) = self.run_or_shell(at, &what, key, (&raw.run, &raw.shell), edges) else {
                continue;
            };
            let help = self.opt(at, "help", &raw.help);
            let gate = self.or(at, "gate", &raw.gate, || false);
            verbs.insert(name.clone(), Verb { run, help, gate });
        }
        verbs
    }

    /// The command of a map that has either `run` or `shell`.
    fn run_or_shell(
        &mut self,
        at: &str,
        what: &str,
        span: Span,
        (run, shell): (&Field<RawCommand>, &Field<String>),
        edges: &Edges<'_>,
    ) -> Option<Command> {
        match (run.get(), shell.get()) {
            (Some(_), None) => self.command_at(at, "run", run, edges),
            (None, Some(script)) => {
                let origin = self.written(script.span);
                self.note(at, "run", origin);
                Some(Command::Shell { shell: script.value.clone() })
            }
            (Some(run), Some(shell)) => {
                let problem =
                    Problem::error(Code::Conflict, format!("{what} has both `run` and `shell`"))
                        .at(shell.span, "")
                        .at(run.span, "`run` is here");
                self.tell(problem.help("keep one of them"));
                None
            }
            (None, None) => {
                let problem = Problem::error(Code::MissingKey, format!("{what} has no `run`"));
                self.tell(problem.at(start(span), "").help("write the command as `run: …`"));
                None
            }
        }
    }

    fn smoke(&mut self, at: &str, raw: &RawService) -> Vec<SmokeCheck> {
        let origin = raw.smoke.get().map_or(Origin::Default, |raw| self.written(raw.span));
        self.note(at, "smoke", origin);
        let checks = raw.smoke.value().into_iter().flat_map(Table::iter);
        checks
            .map(|(path, _, check)| SmokeCheck {
                path: path.clone(),
                status: check.value.value.status.value().map_or(200, |status| status.0),
                contains: check.value.value.contains.value().cloned(),
            })
            .collect()
    }

    fn routes(&mut self, at: &str, raw: &RawService, environment: &Environment) -> Vec<Route> {
        let written = self.opt(at, "route", &raw.route).map_or_else(Vec::new, |many| many.0);
        let mut routes = Vec::new();
        for route in written {
            let host = match (&route.value.host, &environment.domain) {
                (RouteHost::Full(host), _) => Some(host.clone()),
                (RouteHost::Domain, Some(domain)) => Some(domain.clone()),
                (RouteHost::Label(label), Some(domain)) => {
                    format!("{label}.{domain}").parse::<Domain>().ok()
                }
                (RouteHost::Domain | RouteHost::Label(_), None) => None,
            };
            match host {
                Some(host) => routes.push(Route { host, path: route.value.path }),
                None => {
                    let name = &environment.name;
                    let message = format!("environment `{name}` has no `domain` for this route");
                    let help = format!("add `domain: shop.example` to `environments.{name}`");
                    let problem = Problem::error(Code::MissingKey, message);
                    self.tell(problem.at(route.span, "").help(help));
                }
            }
        }
        routes
    }

    fn site(&mut self, at: &str, raw: &RawService) -> Option<Static> {
        let origin = raw.site.get().map_or(Origin::Default, |raw| self.written(raw.span));
        self.note(at, "static", origin);
        let spanned = raw.site.get()?;
        let (at, raw) = (&join(at, "static"), &spanned.value.value);
        if !raw.dir.is_set() {
            let problem = Problem::error(Code::MissingKey, "`static` has no `dir`");
            let help = "name the directory of the built files: `dir: dist`";
            self.tell(problem.at(start(spanned.span), "").help(help));
        }
        Some(Static {
            spa: self.or(at, "spa", &raw.spa, || true),
            csp: self.opt(at, "csp", &raw.csp),
            server: self.or(at, "server", &raw.server, || SiteServer::Plimsoll),
            dir: self.opt(at, "dir", &raw.dir)?,
        })
    }
}
