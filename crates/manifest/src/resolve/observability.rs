//! How the platform is watched, and what is allowed and kept.

use std::collections::BTreeMap;

use super::{Resolver, environment::start, origin::join, uses::Edges};
use crate::{
    decode::OneOrMany,
    diagnostics::{Code, Problem},
    merge::{Field, Table},
    names::{AppName, SecretName},
    plan::{
        AlertRoutes, Alerts, Budget, Dashboards, Environment, Errors, ErrorsBackend, LogRotation,
        Logs, LogsBackend, Metrics, MetricsBackend, Observability, Owners, Policies, Synthetic,
        Target, Traces, TracesBackend,
    },
    raw::observability::{RawAlerts, RawLogs, RawSynthetic, Receiver},
    span::Spanned,
    units::{Bytes, Millis, Ppm},
};

const fn days(n: u64) -> Millis {
    Millis::from_secs(n * 86_400)
}

impl Resolver<'_> {
    pub(super) fn observability(
        &mut self,
        environment: &Environment,
        owners: &Owners,
        app: &AppName,
    ) -> Observability {
        let raw = &self.merged.observability;
        let is_local = environment.target == Target::Local;
        let at = "observability";
        let metrics = raw.metrics.value().cloned().unwrap_or_default();
        let metrics_at = &join(at, "metrics");
        let dashboards = raw.dashboards.value().cloned().unwrap_or_default();
        Observability {
            metrics: Metrics {
                backend: self.or(metrics_at, "backend", &metrics.backend, || match is_local {
                    true => MetricsBackend::None,
                    false => MetricsBackend::Prometheus,
                }),
                interval: self
                    .or(metrics_at, "interval", &metrics.interval, || Millis::from_secs(30)),
                retention: self.or(metrics_at, "retention", &metrics.retention, || days(15)),
            },
            traces: self.traces(at, is_local),
            logs: self.logs(at, &raw.logs, is_local),
            errors: self.errors(at),
            dashboards: Dashboards {
                folder: self
                    .or(&join(at, "dashboards"), "folder", &dashboards.folder, || app.to_string()),
            },
            alerts: self.alerts(at, &raw.alerts, owners),
            synthetics: self.synthetics(at, &raw.synthetics),
        }
    }

    fn traces(&mut self, at: &str, is_local: bool) -> Traces {
        let field = &self.merged.observability.traces;
        let raw = field.value().cloned().unwrap_or_default();
        let at = &join(at, "traces");
        let backend = self.or(at, "backend", &raw.backend, || match is_local {
            true => TracesBackend::None,
            false => TracesBackend::Tempo,
        });
        if let (TracesBackend::Otlp, false, Some(written)) =
            (backend, raw.endpoint.is_set(), field.get())
        {
            let problem = Problem::error(Code::MissingKey, "`otlp` traces need an `endpoint`");
            let help = "write `endpoint: https://collector.example:4318`";
            self.tell(problem.at(start(written.span), "").help(help));
        }
        let endpoint = self.opt(at, "endpoint", &raw.endpoint);
        let sample = self.or(at, "sample", &raw.sample, || Ppm::from_percent(10));
        Traces { backend, endpoint, sample }
    }

    fn logs(&mut self, at: &str, field: &Field<RawLogs>, is_local: bool) -> Logs {
        let raw = field.value().cloned().unwrap_or_default();
        let rotate = raw.rotate.value().cloned().unwrap_or_default();
        let at = &join(at, "logs");
        let rotate_at = &join(at, "rotate");
        let logs = Logs {
            backend: self.or(at, "backend", &raw.backend, || match is_local {
                true => LogsBackend::Files,
                false => LogsBackend::Loki,
            }),
            online: self.or(at, "online", &raw.online, || days(30)),
            archive: self.or(at, "archive", &raw.archive, || days(90)),
            delete: self.or(at, "delete", &raw.delete, || days(365)),
            rotate: LogRotation {
                size: self.or(rotate_at, "size", &rotate.size, || Bytes::from_mib(10)),
                keep: self.or(rotate_at, "keep", &rotate.keep, || 5),
            },
        };
        let is_ordered = logs.online <= logs.archive && logs.archive <= logs.delete;
        if let (false, Some(written)) = (is_ordered, field.get()) {
            let message = format!(
                "logs must go online ({}), then to the archive ({}), then away ({}), in this order",
                logs.online, logs.archive, logs.delete
            );
            let problem = Problem::error(Code::InvalidValue, message);
            let help = "write `online`, `archive` and `delete` in rising order";
            self.tell(problem.at(start(written.span), "").help(help));
        }
        logs
    }

    fn errors(&mut self, at: &str) -> Errors {
        let raw = self.merged.observability.errors.value().cloned().unwrap_or_default();
        let at = &join(at, "errors");
        let backend = self.or(at, "backend", &raw.backend, || ErrorsBackend::None);
        let dsn = self.opt(at, "dsn", &raw.dsn).or_else(|| match backend {
            ErrorsBackend::None => None,
            ErrorsBackend::Sentry | ErrorsBackend::Glitchtip | ErrorsBackend::Bugsink => {
                Some(secret("SENTRY_DSN"))
            }
        });
        let sample = self.or(at, "sample", &raw.sample, || Ppm::WHOLE);
        Errors { backend, dsn, sample }
    }

    fn alerts(&mut self, at: &str, field: &Field<RawAlerts>, owners: &Owners) -> Alerts {
        let raw = field.value().cloned().unwrap_or_default();
        let at = &join(at, "alerts");
        let mut route =
            |key: &str, field: &Field<OneOrMany<Receiver>>, usual: &Option<String>| match self
                .opt(at, key, field)
            {
                Some(many) => many.0.into_iter().map(|receiver| receiver.value.0).collect(),
                None => usual.iter().cloned().collect::<Vec<_>>(),
            };
        let route = AlertRoutes {
            page: route("page", &raw.page, &owners.page),
            ticket: route("ticket", &raw.ticket, &owners.chat),
            info: route("info", &raw.info, &owners.chat),
        };
        let mut credentials = BTreeMap::new();
        for (kind, usual) in [("pagerduty", "PAGERDUTY_KEY"), ("slack", "SLACK_URL")] {
            let all = route.page.iter().chain(&route.ticket).chain(&route.info);
            if all.clone().any(|receiver| receiver.split(':').next() == Some(kind)) {
                credentials.insert(kind.to_owned(), secret(usual));
            }
        }
        for (kind, _, name) in raw.credentials.value().into_iter().flat_map(Table::iter) {
            credentials.insert(kind.clone(), name.value.clone());
        }
        let deadman = raw.deadman.get().map(|url| self.template(url, &Edges::Any));
        Alerts { route, credentials, deadman }
    }

    fn synthetics(
        &mut self,
        at: &str,
        field: &Field<Table<String, RawSynthetic>>,
    ) -> BTreeMap<String, Synthetic> {
        let mut synthetics = BTreeMap::new();
        for (name, key, spanned) in field.value().into_iter().flat_map(Table::iter) {
            let (at, raw) = (&join(at, &format!("synthetics.{name}")), &spanned.value);
            let Some(url) = raw.url.get() else {
                let problem = Problem::error(Code::MissingKey, "this synthetic has no `url`");
                self.tell(problem.at(key, "").help("write `url: https://${env.domain}/`"));
                continue;
            };
            let url = self.template(&Spanned::new(url.value.clone(), url.span), &Edges::Any);
            let every = self.or(at, "every", &raw.every, || Millis::from_secs(60));
            let status = raw.status.value().map_or(200, |status| status.0);
            let contains = self.opt(at, "contains", &raw.contains);
            synthetics.insert(name.clone(), Synthetic { url, every, status, contains });
        }
        synthetics
    }

    pub(super) fn policies(&mut self) -> Policies {
        let raw = &self.merged.policies;
        let budget = raw.budget.value().cloned().unwrap_or_default();
        let at = "policies";
        let budget_at = &join(at, "budget");
        Policies {
            rego: self.list(at, "rego", &raw.rego, Vec::new),
            keep_releases: self.or(at, "keep_releases", &raw.keep_releases, || 5),
            budget: Budget {
                notify: self.or(budget_at, "notify", &budget.notify, || Ppm::from_percent(50)),
                freeze: self.or(budget_at, "freeze", &budget.freeze, || Ppm::from_percent(0)),
                exempt: self.list(budget_at, "exempt", &budget.exempt, || {
                    vec!["rollback".to_owned(), "security".to_owned()]
                }),
            },
        }
    }
}

fn secret(name: &str) -> SecretName {
    name.parse().expect("upper-case letters and underscores are a secret name")
}
