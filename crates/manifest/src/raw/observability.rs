//! The keys of `observability` and `policies`.

use crate::{
    decode::OneOrMany,
    keys::keys,
    merge::Table,
    names::{RelativePath, SecretName},
    plan::{ErrorsBackend, LogsBackend, MetricsBackend, TracesBackend},
    scalar::Status,
    span::Spanned,
    units::{Bytes, Millis, Ppm},
};

keys! {
    /// How a platform is watched.
    RawObservability, "`observability`" {
        /// Time series.
        metrics ["metrics"]: RawMetricsStore = "see below";
        /// Traces.
        traces ["traces"]: RawTraces = "see below";
        /// Logs.
        logs ["logs"]: RawLogs = "see below";
        /// Error tracking.
        errors ["errors"]: RawErrors = "none";
        /// Dashboards.
        dashboards ["dashboards"]: RawDashboards = "see below";
        /// Who is told.
        alerts ["alerts"]: RawAlerts = "the owners";
        /// Requests made from outside on a schedule, by name.
        synthetics ["synthetics"]: Table<String, RawSynthetic> = "none";
    }

    /// Time series.
    RawMetricsStore, "`metrics`" {
        /// Where they go.
        backend ["backend"]: MetricsBackend = "`prometheus`; `none` when local";
        /// Between two scrapes.
        interval ["interval"]: Millis = "30s";
        /// How long they are kept.
        retention ["retention"]: Millis = "15d";
    }

    /// Traces.
    RawTraces, "`traces`" {
        /// Where they go.
        backend ["backend"]: TracesBackend = "`tempo`; `none` when local";
        /// The collector, for `otlp`.
        endpoint ["endpoint"]: String = "required for `otlp`";
        /// Share of traces kept.
        sample ["sample"]: Ppm = "10";
    }

    /// Logs.
    RawLogs, "`logs`" {
        /// Where they go.
        backend ["backend"]: LogsBackend = "`loki`; `files` when local";
        /// Searchable until this age.
        online ["online"]: Millis = "30d";
        /// In the archive until this age.
        archive ["archive"]: Millis = "90d";
        /// Deleted at this age.
        delete ["delete"]: Millis = "365d";
        /// Files on a host.
        rotate ["rotate"]: RawRotation = "5 files of 10Mi";
    }

    /// Rotation of log files.
    RawRotation, "`rotate`" {
        /// A file's largest size.
        size ["size"]: Bytes = "10Mi";
        /// Files kept.
        keep ["keep"]: u32 = "5";
    }

    /// Error tracking.
    RawErrors, "`errors`" {
        /// Where they go.
        backend ["backend"]: ErrorsBackend = "`none`";
        /// The secret that holds the DSN.
        dsn ["dsn"]: SecretName = "`SENTRY_DSN`";
        /// Share of errors sent.
        sample ["sample"]: Ppm = "100";
    }

    /// Dashboards.
    RawDashboards, "`dashboards`" {
        /// The folder they are in.
        folder ["folder"]: String = "the app's name";
    }

    /// Who is told what: `pagerduty:<service>`, `slack:#channel`, `email:<address>`,
    /// `webhook:<secret name>`; one or a list.
    RawAlerts, "`alerts`" {
        /// Wakes somebody.
        page ["page"]: OneOrMany<Receiver> = "the owners' `page`";
        /// In working hours.
        ticket ["ticket"]: OneOrMany<Receiver> = "the owners' `chat`";
        /// To be known.
        info ["info"]: OneOrMany<Receiver> = "the owners' `chat`";
        /// Secrets that hold the receivers' keys, by the word before the colon.
        credentials ["credentials"]: Table<String, SecretName> = "`PAGERDUTY_KEY`, `SLACK_URL`";
        /// An address that is called for as long as alerting works.
        deadman ["deadman"]: String = "none";
    }

    /// A request made from outside on a schedule.
    RawSynthetic, "a synthetic" {
        /// What is requested. May hold placeholders.
        url ["url"]: String = "required";
        /// Between two requests.
        every ["every"]: Millis = "60s";
        /// The status that passes.
        status ["status"]: Status = "200";
        /// A text the body must contain.
        contains ["contains"]: String = "none";
    }

    /// What is allowed and kept.
    RawPolicies, "`policies`" {
        /// Directories of Rego policies in Conftest's form.
        rego ["rego"]: Vec<Spanned<RelativePath>> = "none";
        /// Releases that stay startable.
        keep_releases ["keep_releases"]: u32 = "5";
        /// What happens as the error budget shrinks.
        budget ["budget"]: RawBudget = "see below";
    }

    /// What happens as the error budget shrinks.
    RawBudget, "`budget`" {
        /// Tells the owners when this much is left.
        notify ["notify"]: Ppm = "50";
        /// Refuses deploys when this much is left.
        freeze ["freeze"]: Ppm = "0";
        /// Deploys that are never refused, by label.
        exempt ["exempt"]: Vec<Spanned<String>> = "`[rollback, security]`";
    }
}

/// Where an alert goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Receiver(pub(crate) String);

/// The words before the colon.
const RECEIVERS: [&str; 4] = ["pagerduty", "slack", "email", "webhook"];

impl std::str::FromStr for Receiver {
    type Err = crate::names::Malformed;

    fn from_str(text: &str) -> Result<Receiver, crate::names::Malformed> {
        match text.split_once(':') {
            Some((kind, rest)) if RECEIVERS.contains(&kind) && !rest.is_empty() => {
                Ok(Receiver(text.to_owned()))
            }
            _ => Err(crate::names::Malformed::new(
                crate::names::not_a(text, "a receiver"),
                "write `pagerduty:<service>`, `slack:#channel`, `email:<address>` or \
                 `webhook:<secret name>`",
            )),
        }
    }
}

impl crate::decode::Decode for Receiver {
    const NOUN: &'static str = "a receiver";

    fn decode(node: &crate::syntax::Node, reader: &mut crate::decode::Reader) -> Option<Receiver> {
        reader.parsed(node, Self::NOUN)
    }
}

impl schemars::JsonSchema for Receiver {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Receiver".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "title": "a receiver",
            "examples": ["slack:#channel"], "pattern": "^(pagerduty|slack|email|webhook):."})
    }
}
