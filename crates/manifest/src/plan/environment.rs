//! Where a plan runs and who answers for it.

use serde::Serialize;

use crate::names::{Domain, EnvName};

macro_rules! words {
    (
        $(#[doc = $doc:literal])*
        $type:ident { $($(#[doc = $each:literal])* $name:ident = $text:literal,)* }
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $type { $($(#[doc = $each])* $name,)* }

        impl $type {
            /// Every one of them, in the order of the reference page.
            pub const ALL: &[$type] = &[$($type::$name,)*];

            /// What each of them means, in the same order.
            pub const HELP: &[&str] = &[$(concat!($($each),*),)*];

            /// The word in the manifest.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $($type::$name => $text,)* }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}

pub(crate) use words;

words!(
    /// What kind of place an environment is.
    Target {
        /// This machine, by `plimsoll up`.
        Local = "local",
        /// One or more hosts with an agent.
        Host = "host",
        /// A Kubernetes cluster.
        Kubernetes = "kubernetes",
        /// AWS ECS on Fargate.
        Ecs = "ecs",
        /// Google Cloud Run.
        CloudRun = "cloud-run",
    }
);

words!(
    /// Who rents the infrastructure out.
    CloudProvider {
        /// Amazon Web Services.
        Aws = "aws",
        /// Google Cloud.
        Gcp = "gcp",
        /// Hetzner Cloud.
        Hetzner = "hetzner",
    }
);

/// One step of the promotion order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Environment {
    /// Its name.
    pub name: EnvName,
    /// What kind of place it is.
    pub target: Target,
    /// Hosts with an agent, for `target: host`; never empty there.
    pub hosts: Vec<String>,
    /// The domain that routes are relative to; `localhost` for a local target.
    pub domain: Option<Domain>,
    /// A push to this branch deploys here.
    pub branch: Option<String>,
    /// A tag that matches this pattern deploys here.
    pub tag: Option<String>,
    /// Who must approve a deploy; empty when nobody has to.
    pub approve: Vec<String>,
    /// Kubernetes namespace.
    pub namespace: Option<String>,
    /// Where the infrastructure is rented.
    pub cloud: Option<Cloud>,
    /// Whether it serves users: decides replicas, zones and backups.
    pub production: bool,
}

/// An account at a cloud provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cloud {
    /// Who.
    pub provider: CloudProvider,
    /// The provider's name of the region.
    pub region: String,
    /// Account or project id.
    pub account: Option<String>,
}

/// Who answers for something, and where they are reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Owners {
    /// The team's name.
    pub team: Option<String>,
    /// Where pages go: `pagerduty:<service>`.
    pub page: Option<String>,
    /// Where everything else goes: `slack:#channel`.
    pub chat: Option<String>,
    /// An address for reports.
    pub email: Option<String>,
}
