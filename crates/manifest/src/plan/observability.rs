//! How a platform is watched, and what is allowed and kept.

use std::collections::BTreeMap;

use serde::Serialize;

use super::environment::words;
use crate::{
    names::{RelativePath, SecretName},
    template::Template,
    units::{Bytes, Millis, Ppm},
};

/// How a platform is watched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Observability {
    /// Time series.
    pub metrics: Metrics,
    /// Traces.
    pub traces: Traces,
    /// Logs.
    pub logs: Logs,
    /// Error tracking.
    pub errors: Errors,
    /// Dashboards.
    pub dashboards: Dashboards,
    /// Who is told.
    pub alerts: Alerts,
    /// Requests made from outside on a schedule.
    pub synthetics: BTreeMap<String, Synthetic>,
}

words!(
    /// Where time series go.
    MetricsBackend {
        /// A Prometheus of the platform's own.
        Prometheus = "prometheus",
        /// Amazon Managed Service for Prometheus.
        Amp = "amp",
        /// One that is there already.
        External = "external",
        /// Nowhere.
        None = "none",
    }
);

words!(
    /// Where traces go.
    TracesBackend {
        /// Grafana Tempo.
        Tempo = "tempo",
        /// AWS X-Ray.
        Xray = "xray",
        /// Anything that speaks OTLP, at `endpoint`.
        Otlp = "otlp",
        /// Nowhere.
        None = "none",
    }
);

words!(
    /// Where logs go.
    LogsBackend {
        /// Files that are rotated.
        Files = "files",
        /// Grafana Loki.
        Loki = "loki",
        /// OpenSearch.
        Opensearch = "opensearch",
        /// Amazon CloudWatch.
        Cloudwatch = "cloudwatch",
    }
);

words!(
    /// Where errors go.
    ErrorsBackend {
        /// Sentry.
        Sentry = "sentry",
        /// GlitchTip.
        Glitchtip = "glitchtip",
        /// Bugsink.
        Bugsink = "bugsink",
        /// Nowhere.
        None = "none",
    }
);

/// Time series.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Metrics {
    /// Where they go.
    pub backend: MetricsBackend,
    /// Between two scrapes.
    pub interval: Millis,
    /// How long they are kept.
    pub retention: Millis,
}

/// Traces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Traces {
    /// Where they go.
    pub backend: TracesBackend,
    /// The collector, for `otlp`.
    pub endpoint: Option<String>,
    /// Share of traces kept.
    pub sample: Ppm,
}

/// Logs. The three ages are ordered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Logs {
    /// Where they go.
    pub backend: LogsBackend,
    /// Searchable until this age.
    pub online: Millis,
    /// In the archive until this age.
    pub archive: Millis,
    /// Deleted at this age.
    pub delete: Millis,
    /// Files on a host.
    pub rotate: LogRotation,
}

/// Rotation of log files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogRotation {
    /// A file's largest size.
    pub size: Bytes,
    /// Files kept.
    pub keep: u32,
}

/// Error tracking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Errors {
    /// Where they go.
    pub backend: ErrorsBackend,
    /// The secret that holds the DSN; present unless the backend is `none`.
    pub dsn: Option<SecretName>,
    /// Share of errors sent.
    pub sample: Ppm,
}

/// Dashboards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Dashboards {
    /// The folder they are in.
    pub folder: String,
}

/// Who is told what, and the sign that telling works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Alerts {
    /// Where each severity goes.
    pub route: AlertRoutes,
    /// Secrets that hold the keys of receivers, by the word before the colon.
    pub credentials: BTreeMap<String, SecretName>,
    /// An address that is called for as long as alerting works.
    pub deadman: Option<Template>,
}

/// Where each severity goes: `pagerduty:<service>`, `slack:#channel`, `email:<address>`,
/// `webhook:<secret>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AlertRoutes {
    /// Wakes somebody.
    pub page: Vec<String>,
    /// In working hours.
    pub ticket: Vec<String>,
    /// To be known.
    pub info: Vec<String>,
}

/// A request made from outside on a schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Synthetic {
    /// What is requested.
    pub url: Template,
    /// Between two requests.
    pub every: Millis,
    /// The status that passes.
    pub status: u16,
    /// A text the body must contain.
    pub contains: Option<String>,
}

/// What is allowed and kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Policies {
    /// Directories of Rego policies in Conftest's form.
    pub rego: Vec<RelativePath>,
    /// Releases that stay startable.
    pub keep_releases: u32,
    /// What happens as the error budget shrinks.
    pub budget: Budget,
}

/// What happens as the error budget shrinks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Budget {
    /// Tells the owners when this much is left.
    pub notify: Ppm,
    /// Refuses deploys when this much is left.
    pub freeze: Ppm,
    /// Deploys that are never refused, by label.
    pub exempt: Vec<String>,
}
