//! The top of the manifest, its environments and owners.

use super::{
    observability::{RawObservability, RawPolicies},
    resource::RawResource,
    service::RawService,
};
use crate::{
    keys::keys,
    merge::Table,
    names::{AppName, Domain, EnvName, ResourceName, ServiceName},
    plan::{CloudProvider, Target},
    scalar::Text,
    span::Spanned,
};

keys! {
    /// A platform: what runs, what it needs, where it runs. Keys starting `x-` are ignored
    /// everywhere, and are a good place for YAML anchors.
    RawManifest, "the manifest" {
        /// The version of this language: `1`.
        version ["plimsoll"]: Text = "required";
        /// The platform's name.
        app ["app"]: AppName = "required";
        /// Image repository. A service's image is `<image>/<service>:<version>`.
        image ["image"]: String = "none";
        /// Who answers for the platform.
        owners ["owners"]: RawOwners = "nobody";
        /// The processes and sites.
        services ["services"]: Table<ServiceName, RawService> = "required";
        /// What the services need and do not contain.
        resources ["resources"]: Table<ResourceName, RawResource> = "none";
        /// Where it runs. The order is the order of promotion. Without an environment whose
        /// target is `local`, there is one of that name for `plimsoll up`.
        environments ["environments"]: Table<EnvName, RawEnvironment> = "`local` only";
        /// How it is watched.
        observability ["observability"]: RawObservability = "see below";
        /// What is allowed and kept.
        policies ["policies"]: RawPolicies = "see below";
    }

    /// Who answers for something, and where they are reached.
    RawOwners, "`owners`" {
        /// The team's name.
        team ["team"]: String = "none";
        /// Where pages go: `pagerduty:<service>`.
        page ["page"]: String = "none";
        /// Where everything else goes: `slack:#channel`.
        chat ["chat"]: String = "none";
        /// An address for reports.
        email ["email"]: String = "none";
    }

    /// One step of the promotion order. `services`, `resources`, `owners`, `observability` and
    /// `policies` are overlays: maps merge, everything else is replaced, `null` deletes.
    RawEnvironment, "an environment" {
        /// What kind of place it is.
        target ["target"]: Target = "required";
        /// Hosts with an agent, for `target: host`.
        hosts ["hosts"]: Vec<Spanned<String>> = "required for `host`";
        /// The domain that routes are relative to.
        domain ["domain"]: Domain = "`localhost` for `local`";
        /// A push to this branch deploys here.
        branch ["branch"]: String = "none";
        /// A tag that matches this pattern deploys here.
        tag ["tag"]: String = "none";
        /// Who must approve a deploy.
        approve ["approve"]: Vec<Spanned<String>> = "nobody";
        /// Image repository of this environment.
        image ["image"]: String = "the manifest's";
        /// Kubernetes namespace.
        namespace ["namespace"]: String = "`<app>-<environment>` in a cluster";
        /// Where the infrastructure is rented.
        cloud ["cloud"]: RawCloud = "none";
        /// Whether it serves users: decides replicas, zones and backups.
        production ["production"]: bool = "true for the last one that is not local";
        /// Changes of services.
        services ["services"]: Table<ServiceName, RawService> = "none";
        /// Changes of resources.
        resources ["resources"]: Table<ResourceName, RawResource> = "none";
        /// Changes of owners.
        owners ["owners"]: RawOwners = "none";
        /// Changes of observability.
        observability ["observability"]: RawObservability = "none";
        /// Changes of policies.
        policies ["policies"]: RawPolicies = "none";
    }

    /// An account at a cloud provider.
    RawCloud, "`cloud`" {
        /// Who.
        provider ["provider"]: CloudProvider = "required";
        /// The provider's name of the region.
        region ["region"]: String = "required";
        /// Account or project id.
        account ["account"]: Text = "the credentials' own";
    }
}
