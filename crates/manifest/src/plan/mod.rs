//! The plan: what a manifest means in one environment. Nothing missing, nothing contradictory.
//!
//! Plain data, ordered, the same bytes every time. Only `resolve` makes one; nobody re-validates.
//! Field names are the manifest's keys, so that `explain` paths are the ones users write.
//! Invariant: every name in a plan (in `uses`, templates, `from`, routes) is in the plan.

mod command;
mod environment;
mod language;
mod observability;
mod provider;
mod resource;
mod service;
mod slo;

use std::collections::BTreeMap;

use serde::Serialize;

pub use self::{
    command::{Command, Migrate, Verb},
    environment::{Cloud, CloudProvider, Environment, Owners, Target},
    language::{Language, LanguageVersion, PackageManager},
    observability::{
        AlertRoutes, Alerts, Budget, Dashboards, Errors, ErrorsBackend, LogRotation, Logs,
        LogsBackend, Metrics, MetricsBackend, Observability, Policies, Synthetic, Traces,
        TracesBackend,
    },
    provider::{
        BucketVia, HttpVia, ImageVia, KafkaVia, Managed, PostgresVia, QueueVia, RedisVia, VolumeVia,
    },
    resource::{
        Backup, Breaker, Bucket, Http, Image, Kafka, Postgres, Queue, Redis, Resource,
        ResourceSpec, ResourceType, Retry, Topic, Verify, Volume, Weekday,
    },
    service::{
        Drain, Gate, Gpu, Health, Heartbeat, HeartbeatVia, Kind, Limits, MetricsEndpoint, Overlap,
        QueueScale, Restart, Route, Scale, Schedule, Security, Service, Severity, Signal,
        SiteServer, SmokeCheck, Static, Stop, Use, UseTarget, Watch,
    },
    slo::{Availability, CustomSlo, Freshness, Latency, Sli, Slo, Success},
};
use crate::names::{AppName, EnvName, ResourceName, ServiceName};

/// Everything about one platform in one environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The platform's name.
    pub app: AppName,
    /// Image repository; a service's image is `<image>/<service>:<version>`.
    pub image: Option<String>,
    /// The environment this plan is for.
    pub environment: Environment,
    /// All environments in the order in which a release is promoted.
    pub promotion: Vec<EnvName>,
    /// Who answers for the platform.
    pub owners: Owners,
    /// The processes and sites.
    pub services: BTreeMap<ServiceName, Service>,
    /// What the services need and do not contain.
    pub resources: BTreeMap<ResourceName, Resource>,
    /// Every resource and service, each after everything in its `uses`.
    pub start_order: Vec<Item>,
    /// How it is watched.
    pub observability: Observability,
    /// What is allowed and kept.
    pub policies: Policies,
}

/// A resource or a service, by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Item {
    /// A resource of the plan.
    Resource(ResourceName),
    /// A service of the plan.
    Service(ServiceName),
}

impl Item {
    /// The name alone.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Item::Resource(name) => name.as_str(),
            Item::Service(name) => name.as_str(),
        }
    }
}

impl Plan {
    /// Every route with its service, longest path first within a host: the first match wins.
    #[must_use]
    pub fn routes(&self) -> Vec<(&Route, &ServiceName)> {
        let mut routes: Vec<_> = self
            .services
            .values()
            .flat_map(|s| s.route.iter().map(move |r| (r, &s.name)))
            .collect();
        routes.sort_by(|(a, _), (b, _)| {
            (&a.host, b.path.as_str().len(), &a.path).cmp(&(
                &b.host,
                a.path.as_str().len(),
                &b.path,
            ))
        });
        routes
    }
}
