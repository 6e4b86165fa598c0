//! Who provides a resource in an environment: one enum per resource type.
//!
//! Match on them without a default arm: a new provider then does not compile until every artifact
//! family has either a fragment for it or says "not applicable".

use serde::Serialize;

use crate::{
    template::Template,
    units::{Bytes, Port},
};

/// What is asked of a managed or clustered service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Managed {
    /// The provider's name of the instance size.
    pub size: Option<String>,
    /// Disk.
    pub storage: Bytes,
    /// Read replicas, or further nodes.
    pub replicas: u32,
    /// Whether it survives the loss of one zone.
    pub multi_az: bool,
}

macro_rules! providers {
    ($($(#[doc = $doc:literal])* $type:ident {
        $(
            $(#[doc = $each:literal])*
            $name:ident $({
                $($(#[doc = $meaning:literal])* $field:ident: $value:ty,)*
            })? = $text:literal,
        )*
    })*) => {$(
        $(#[doc = $doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
        #[serde(tag = "via")]
        pub enum $type {
            $(
                $(#[doc = $each])*
                #[serde(rename = $text)]
                $name $({ $($(#[doc = $meaning])* $field: $value,)* })?,
            )*
        }

        impl $type {
            /// The words that `via` takes for this type, in the order of the reference page.
            pub const WORDS: &[&str] = &[$($text,)*];

            /// The word in the manifest.
            #[must_use]
            pub const fn as_str(&self) -> &'static str {
                match self { $($type::$name { .. } => $text,)* }
            }
        }
    )*};
}

providers! {
    /// Who provides a Postgres.
    PostgresVia {
        /// Server binaries installed on this machine, in a private data directory.
        Local = "local",
        /// A container.
        Docker {
            /// The image.
            image: String,
        } = "docker",
        /// A server that is there already.
        Url {
            /// Its connection URL.
            url: Template,
        } = "url",
        /// The CloudNativePG operator in the cluster.
        CloudnativePg {
            /// What is asked of it; instances are `1 + replicas`.
            managed: Managed,
        } = "cloudnative-pg",
        /// Amazon RDS.
        AwsRds {
            /// What is asked of it.
            managed: Managed,
        } = "aws-rds",
        /// Google Cloud SQL.
        GcpCloudSql {
            /// What is asked of it.
            managed: Managed,
        } = "gcp-cloud-sql",
    }

    /// Who provides a Redis.
    RedisVia {
        /// Server binaries installed on this machine, in a private data directory.
        Local = "local",
        /// A container.
        Docker {
            /// The image.
            image: String,
        } = "docker",
        /// A server that is there already.
        Url {
            /// Its connection URL.
            url: Template,
        } = "url",
        /// A StatefulSet in the cluster.
        Kubernetes {
            /// The image.
            image: String,
            /// Its disk.
            storage: Bytes,
        } = "kubernetes",
        /// Amazon ElastiCache.
        AwsElasticache {
            /// What is asked of it.
            managed: Managed,
        } = "aws-elasticache",
        /// Google Memorystore.
        GcpMemorystore {
            /// What is asked of it.
            managed: Managed,
        } = "gcp-memorystore",
    }

    /// Who provides a Kafka.
    KafkaVia {
        /// A broker installed on this machine, in a private data directory.
        Local = "local",
        /// A container.
        Docker {
            /// The image.
            image: String,
        } = "docker",
        /// Brokers that are there already.
        Url {
            /// `host:port`, joined by commas.
            brokers: Template,
        } = "url",
        /// The Strimzi operator in the cluster.
        Strimzi {
            /// What is asked of it.
            managed: Managed,
        } = "strimzi",
        /// Amazon MSK.
        AwsMsk {
            /// What is asked of it.
            managed: Managed,
        } = "aws-msk",
    }

    /// Who provides a bucket.
    BucketVia {
        /// A directory on this machine.
        Local = "local",
        /// A container with an S3 API.
        Docker {
            /// The image.
            image: String,
        } = "docker",
        /// A bucket that is there already.
        Url {
            /// `s3://name`, or the address of an S3 API followed by the name.
            url: Template,
        } = "url",
        /// Amazon S3.
        AwsS3 = "aws-s3",
        /// Google Cloud Storage.
        GcpGcs = "gcp-gcs",
        /// Hetzner Object Storage.
        HetznerObjectStorage = "hetzner-object-storage",
    }

    /// Who provides a queue.
    QueueVia {
        /// A container with an SQS API.
        Docker {
            /// The image.
            image: String,
        } = "docker",
        /// A queue that is there already.
        Url {
            /// Its URL.
            url: Template,
        } = "url",
        /// Amazon SQS.
        AwsSqs = "aws-sqs",
        /// Google Pub/Sub.
        GcpPubsub = "gcp-pubsub",
    }

    /// Who answers an HTTP dependency.
    HttpVia {
        /// The real one.
        Url {
            /// Its address.
            url: Template,
        } = "url",
        /// A container that answers in its place.
        Mock {
            /// The image.
            image: String,
            /// The port it listens on.
            port: Port,
        } = "mock",
    }

    /// Who provides a volume.
    VolumeVia {
        /// A directory on this machine.
        Local = "local",
        /// A named volume of the container engine.
        Docker = "docker",
        /// A PersistentVolumeClaim.
        Kubernetes {
            /// Storage class; absent is the cluster's default.
            class: Option<String>,
        } = "kubernetes",
        /// Amazon EFS.
        AwsEfs = "aws-efs",
        /// A Hetzner volume, attached to the host.
        HetznerVolume = "hetzner-volume",
    }

    /// Who runs a foreign image.
    ImageVia {
        /// A container.
        Docker = "docker",
        /// One that runs already.
        Url {
            /// Its address.
            url: Template,
        } = "url",
        /// A StatefulSet in the cluster.
        Kubernetes = "kubernetes",
    }
}
