//! One resource of a plan: a type with its parameters, outputs, and who provides it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    environment::words,
    provider::{
        BucketVia, HttpVia, ImageVia, KafkaVia, PostgresVia, QueueVia, RedisVia, VolumeVia,
    },
};
use crate::{
    names::{EnvVar, HttpPath, ResourceName},
    template::{Output, Template},
    units::{Bytes, Millis, Port, Ppm},
};

words!(
    /// A resource type: a contract of parameters, outputs, probe, backup and metrics.
    ResourceType {
        /// A PostgreSQL database.
        Postgres = "postgres",
        /// A Redis, or what speaks its protocol.
        Redis = "redis",
        /// A Kafka, or what speaks its protocol.
        Kafka = "kafka",
        /// An object store bucket with an S3 API.
        Bucket = "bucket",
        /// A message queue with an SQS API.
        Queue = "queue",
        /// Somebody else's HTTP API.
        Http = "http",
        /// A directory that outlives the process.
        Volume = "volume",
        /// A server that is only known by its container image.
        Image = "image",
    }
);

impl ResourceType {
    /// What `${resources.<name>.…}` may ask of it.
    #[must_use]
    pub const fn outputs(self) -> &'static [Output] {
        use Output::{Brokers, Endpoint, Host, Name, Password, Path, Port, Region, Url, User};
        match self {
            ResourceType::Postgres => &[Url, Host, Port, User, Password, Name],
            ResourceType::Redis => &[Url, Host, Port, Password],
            ResourceType::Kafka => &[Brokers, Host, Port],
            ResourceType::Bucket => &[Name, Url, Endpoint, Region],
            ResourceType::Queue => &[Url, Name, Endpoint, Region],
            ResourceType::Http | ResourceType::Image => &[Url, Host, Port],
            ResourceType::Volume => &[Path],
        }
    }

    /// The words that `via` takes for it.
    #[must_use]
    pub const fn providers(self) -> &'static [&'static str] {
        match self {
            ResourceType::Postgres => PostgresVia::WORDS,
            ResourceType::Redis => RedisVia::WORDS,
            ResourceType::Kafka => KafkaVia::WORDS,
            ResourceType::Bucket => BucketVia::WORDS,
            ResourceType::Queue => QueueVia::WORDS,
            ResourceType::Http => HttpVia::WORDS,
            ResourceType::Volume => VolumeVia::WORDS,
            ResourceType::Image => ImageVia::WORDS,
        }
    }

    /// The output that `uses` brings, and the end of its variable's name when that begins with
    /// the resource's.
    #[must_use]
    pub const fn main_output(self) -> (Output, &'static str) {
        match self {
            ResourceType::Kafka => (Output::Brokers, "BROKERS"),
            ResourceType::Bucket => (Output::Name, "BUCKET"),
            ResourceType::Volume => (Output::Path, "DIR"),
            ResourceType::Postgres
            | ResourceType::Redis
            | ResourceType::Queue
            | ResourceType::Http
            | ResourceType::Image => (Output::Url, "URL"),
        }
    }

    /// The variable that `uses` brings when a service uses only one of this type; absent for types
    /// of which a service usually has several.
    #[must_use]
    pub const fn variable(self) -> Option<&'static str> {
        match self {
            ResourceType::Postgres => Some("DATABASE_URL"),
            ResourceType::Redis => Some("REDIS_URL"),
            ResourceType::Kafka => Some("KAFKA_BROKERS"),
            ResourceType::Bucket => Some("S3_BUCKET"),
            ResourceType::Queue => Some("QUEUE_URL"),
            ResourceType::Http | ResourceType::Volume | ResourceType::Image => None,
        }
    }
}

/// One resource with every default filled in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Resource {
    /// Its name.
    pub name: ResourceName,
    /// Its type with parameters.
    #[serde(flatten)]
    pub spec: ResourceSpec,
}

/// A resource type with its parameters and its provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ResourceSpec {
    /// A PostgreSQL database.
    Postgres(Postgres),
    /// A Redis.
    Redis(Redis),
    /// A Kafka.
    Kafka(Kafka),
    /// An object store bucket.
    Bucket(Bucket),
    /// A message queue.
    Queue(Queue),
    /// Somebody else's HTTP API.
    Http(Http),
    /// A directory that outlives the process.
    Volume(Volume),
    /// A foreign container image.
    Image(Image),
}

impl ResourceSpec {
    /// The type alone.
    #[must_use]
    pub const fn kind(&self) -> ResourceType {
        match self {
            ResourceSpec::Postgres(_) => ResourceType::Postgres,
            ResourceSpec::Redis(_) => ResourceType::Redis,
            ResourceSpec::Kafka(_) => ResourceType::Kafka,
            ResourceSpec::Bucket(_) => ResourceType::Bucket,
            ResourceSpec::Queue(_) => ResourceType::Queue,
            ResourceSpec::Http(_) => ResourceType::Http,
            ResourceSpec::Volume(_) => ResourceType::Volume,
            ResourceSpec::Image(_) => ResourceType::Image,
        }
    }

    /// The provider's word.
    #[must_use]
    pub const fn via(&self) -> &'static str {
        match self {
            ResourceSpec::Postgres(postgres) => postgres.via.as_str(),
            ResourceSpec::Redis(redis) => redis.via.as_str(),
            ResourceSpec::Kafka(kafka) => kafka.via.as_str(),
            ResourceSpec::Bucket(bucket) => bucket.via.as_str(),
            ResourceSpec::Queue(queue) => queue.via.as_str(),
            ResourceSpec::Http(http) => http.via.as_str(),
            ResourceSpec::Volume(volume) => volume.via.as_str(),
            ResourceSpec::Image(image) => image.via.as_str(),
        }
    }
}

/// A PostgreSQL database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Postgres {
    /// Major version.
    pub version: String,
    /// Extensions that migrations may create.
    pub extensions: Vec<String>,
    /// When it is copied.
    pub backup: Option<Backup>,
    /// Who provides it.
    #[serde(flatten)]
    pub via: PostgresVia,
}

/// A Redis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Redis {
    /// Major version.
    pub version: String,
    /// Whether its data survives a restart.
    pub persistent: bool,
    /// Who provides it.
    #[serde(flatten)]
    pub via: RedisVia,
}

/// A Kafka.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Kafka {
    /// Version.
    pub version: String,
    /// Topics that exist before any service starts.
    pub topics: BTreeMap<String, Topic>,
    /// Who provides it.
    #[serde(flatten)]
    pub via: KafkaVia,
}

/// One Kafka topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Topic {
    /// Partitions.
    pub partitions: u32,
    /// How long records are kept.
    pub retention: Millis,
    /// Whether only the last record of a key is kept.
    pub compact: bool,
}

/// An object store bucket. Never public.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bucket {
    /// Whether overwritten objects are kept.
    pub versioned: bool,
    /// Objects older than this move to cheap storage.
    pub archive_after: Option<Millis>,
    /// Objects older than this are deleted.
    pub delete_after: Option<Millis>,
    /// The region of a second copy.
    pub replicate_to: Option<String>,
    /// Who provides it.
    #[serde(flatten)]
    pub via: BucketVia,
}

/// A message queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Queue {
    /// Whether order is kept and duplicates are dropped.
    pub fifo: bool,
    /// How long a received message stays invisible.
    pub visibility: Millis,
    /// How long messages are kept.
    pub retention: Millis,
    /// Receives after which a message goes to the dead letters.
    pub dead_letter_after: u32,
    /// Who provides it.
    #[serde(flatten)]
    pub via: QueueVia,
}

/// Somebody else's HTTP API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Http {
    /// What is asked to see whether it works.
    pub health: Option<HttpPath>,
    /// One attempt's limit.
    pub timeout: Millis,
    /// When an attempt is repeated.
    pub retry: Retry,
    /// When no attempt is made.
    pub breaker: Breaker,
    /// Calls at the same time.
    pub concurrency: u32,
    /// Calls allowed a day.
    pub quota: Option<u32>,
    /// Who answers.
    #[serde(flatten)]
    pub via: HttpVia,
}

/// When an attempt is repeated: exponential back-off with jitter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Retry {
    /// Attempts after the first.
    pub max: u32,
    /// Before the first repetition.
    pub backoff: Millis,
}

/// When no attempt is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Breaker {
    /// Share of failures that opens it.
    pub failures: Ppm,
    /// How long it stays open.
    pub open: Millis,
}

/// A directory that outlives the process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Volume {
    /// Where containers see it.
    pub mount: String,
    /// Disk.
    pub storage: Bytes,
    /// When it is copied.
    pub backup: Option<Backup>,
    /// Who provides it.
    #[serde(flatten)]
    pub via: VolumeVia,
}

/// A server that is only known by its image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Image {
    /// The image with its tag.
    pub image: String,
    /// The port it listens on.
    pub port: Port,
    /// What is asked to see whether it works; absent: the port accepts.
    pub health: Option<HttpPath>,
    /// Where it keeps data, if it does.
    pub data: Option<String>,
    /// Disk for `data`.
    pub storage: Bytes,
    /// Its environment.
    pub env: BTreeMap<EnvVar, Template>,
    /// When `data` is copied.
    pub backup: Option<Backup>,
    /// Who runs it.
    #[serde(flatten)]
    pub via: ImageVia,
}

impl Postgres {
    /// The image of a container of it, whoever provides it elsewhere.
    #[must_use]
    pub fn image(&self) -> String {
        match &self.via {
            PostgresVia::Docker { image } => image.clone(),
            _ => Postgres::usual_image(&self.version, &self.extensions),
        }
    }

    /// The image when the manifest names none.
    pub(crate) fn usual_image(version: &str, extensions: &[String]) -> String {
        let has = |name: &str| extensions.iter().any(|extension| extension.starts_with(name));
        match (has("postgis"), has("vector")) {
            (true, _) => format!("postgis/postgis:{version}-3.5"),
            (false, true) => format!("pgvector/pgvector:pg{version}"),
            (false, false) => format!("postgres:{version}"),
        }
    }
}

impl Redis {
    /// The image of a container of it, whoever provides it elsewhere.
    #[must_use]
    pub fn image(&self) -> String {
        match &self.via {
            RedisVia::Docker { image } | RedisVia::Kubernetes { image, .. } => image.clone(),
            _ => Redis::usual_image(&self.version),
        }
    }

    /// The image when the manifest names none.
    pub(crate) fn usual_image(version: &str) -> String {
        format!("redis:{version}-alpine")
    }
}

impl Kafka {
    /// The image of a container of it, whoever provides it elsewhere.
    #[must_use]
    pub fn image(&self) -> String {
        match &self.via {
            KafkaVia::Docker { image } => image.clone(),
            _ => Kafka::usual_image(&self.version),
        }
    }

    /// The image when the manifest names none.
    pub(crate) fn usual_image(version: &str) -> String {
        format!("apache/kafka:{version}.0")
    }
}

impl Bucket {
    /// The image of a container with an S3 API, when the manifest names none.
    pub const USUAL_IMAGE: &str = "minio/minio:RELEASE.2025-04-22T22-12-26Z";

    /// The image of a container with an S3 API, whoever provides the bucket elsewhere.
    #[must_use]
    pub fn image(&self) -> &str {
        match &self.via {
            BucketVia::Docker { image } => image,
            _ => Bucket::USUAL_IMAGE,
        }
    }
}

impl Http {
    /// The image that answers in place of the real one, when the manifest names none.
    pub const USUAL_MOCK: &str = "wiremock/wiremock:3.13.1";
}

words!(
    /// How often a backup is restored to prove it.
    Verify {
        /// After each.
        Always = "always",
        /// Once a day.
        Daily = "daily",
        /// Once a week.
        Weekly = "weekly",
        /// Once a month.
        Monthly = "monthly",
        /// Never; the audit reports it.
        Never = "never",
    }
);

words!(
    /// A day of the week.
    Weekday {
        /// Monday.
        Monday = "monday",
        /// Tuesday.
        Tuesday = "tuesday",
        /// Wednesday.
        Wednesday = "wednesday",
        /// Thursday.
        Thursday = "thursday",
        /// Friday.
        Friday = "friday",
        /// Saturday.
        Saturday = "saturday",
        /// Sunday.
        Sunday = "sunday",
    }
);

/// When something is copied, for how long, and how that is proven.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Backup {
    /// Minutes after midnight, UTC; shown as `03:00`.
    #[serde(serialize_with = "clock")]
    pub at: u16,
    /// Only on this day; absent is every day.
    pub on: Option<Weekday>,
    /// How long copies are kept.
    pub keep: Millis,
    /// How often one is restored.
    pub verify: Verify,
    /// A second place: a bucket's URL.
    pub copy_to: Option<String>,
    /// Whether any moment can be restored (write-ahead log), where the provider can.
    pub point_in_time: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn clock<S: serde::Serializer>(minutes: &u16, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{:02}:{:02}", minutes / 60, minutes % 60))
}
