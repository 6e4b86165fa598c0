//! What each resource brings to a file, for every type and every provider.
//!
//! What a cloud rents out or somebody else runs brings no container: its address is a secret or a
//! literal in the environment of whoever uses it. What an operator would run in a cluster is one
//! container here. There is no default arm: a new provider does not compile until it stands here.

mod broker;
mod data;
mod foreign;
mod server;

use manifest::Plan;
use manifest::plan::{
    BucketVia, HttpVia, ImageVia, KafkaVia, PostgresVia, QueueVia, RedisVia, Resource,
    ResourceSpec, VolumeVia,
};

pub(super) use server::{Server, ask};

use super::hardening::Share;
use super::mock;
use super::stack::Stack;
use crate::address::port;
use crate::node::{Map, Node};
use crate::target::Edge;

/// What a mock may take.
pub(super) const MOCK: Share = Share::new(500, 512, 256);

/// What one resource adds to a file.
#[derive(Clone, Debug, Default)]
pub(super) struct Fragment {
    /// Its server, and what prepares it.
    pub(super) containers: Vec<(String, Node)>,
    /// Named volumes.
    pub(super) volumes: Vec<(String, Node)>,
    /// Files of the server that are no secret.
    pub(super) configs: Vec<(String, Node)>,
    /// What clients wait for, and in which state it has to be.
    pub(super) waits: Vec<(String, &'static str)>,
}

impl Fragment {
    /// Whether there is something to connect to.
    pub(super) fn is_server(&self) -> bool {
        !self.containers.is_empty()
    }
}

const NOT_OURS: &str = "its URL is in the manifest: nothing is started for it";
const AWS: &str =
    "rented from AWS: nothing is started for it, its address is a secret or a literal";
const GCP: &str = "rented from Google: nothing is started for it, its address is a secret or a \
                   literal";
const HETZNER: &str = "rented from Hetzner: nothing is started for it, its address is a literal";

/// What `uses` of a resource brings.
pub(super) fn edge(spec: &ResourceSpec) -> Edge {
    use Edge::{NotApplicable, Written};
    match spec {
        ResourceSpec::Postgres(postgres) => match &postgres.via {
            PostgresVia::Local | PostgresVia::Docker { .. } | PostgresVia::CloudnativePg { .. } => {
                Written
            }
            PostgresVia::Url { .. } => NotApplicable(NOT_OURS),
            PostgresVia::AwsRds { .. } => NotApplicable(AWS),
            PostgresVia::GcpCloudSql { .. } => NotApplicable(GCP),
        },
        ResourceSpec::Redis(redis) => match &redis.via {
            RedisVia::Local | RedisVia::Docker { .. } | RedisVia::Kubernetes { .. } => Written,
            RedisVia::Url { .. } => NotApplicable(NOT_OURS),
            RedisVia::AwsElasticache { .. } => NotApplicable(AWS),
            RedisVia::GcpMemorystore { .. } => NotApplicable(GCP),
        },
        ResourceSpec::Kafka(kafka) => match &kafka.via {
            KafkaVia::Local | KafkaVia::Docker { .. } | KafkaVia::Strimzi { .. } => Written,
            KafkaVia::Url { .. } => NotApplicable(NOT_OURS),
            KafkaVia::AwsMsk { .. } => NotApplicable(AWS),
        },
        ResourceSpec::Bucket(bucket) => match &bucket.via {
            BucketVia::Local | BucketVia::Docker { .. } => Written,
            BucketVia::Url { .. } => NotApplicable(NOT_OURS),
            BucketVia::AwsS3 => NotApplicable(AWS),
            BucketVia::GcpGcs => NotApplicable(GCP),
            BucketVia::HetznerObjectStorage => NotApplicable(HETZNER),
        },
        ResourceSpec::Queue(queue) => match &queue.via {
            QueueVia::Docker { .. } => Written,
            QueueVia::Url { .. } => NotApplicable(NOT_OURS),
            QueueVia::AwsSqs => NotApplicable(AWS),
            QueueVia::GcpPubsub => NotApplicable(GCP),
        },
        ResourceSpec::Http(http) => match &http.via {
            HttpVia::Url { .. } => NotApplicable(NOT_OURS),
            HttpVia::Mock { .. } => Written,
        },
        ResourceSpec::Volume(volume) => match &volume.via {
            VolumeVia::Local
            | VolumeVia::Docker
            | VolumeVia::Kubernetes { .. }
            | VolumeVia::AwsEfs
            | VolumeVia::HetznerVolume => Written,
        },
        ResourceSpec::Image(image) => match &image.via {
            ImageVia::Docker | ImageVia::Kubernetes => Written,
            ImageVia::Url { .. } => NotApplicable(NOT_OURS),
        },
    }
}

/// Whether a resource is part of the file.
pub(super) fn is_beside(spec: &ResourceSpec) -> bool {
    edge(spec) == Edge::Written
}

/// What a resource adds; absent for what runs elsewhere.
pub(super) fn fragment(stack: &Stack<'_>, resource: &Resource) -> Option<Fragment> {
    if !is_beside(&resource.spec) {
        return None;
    }
    Some(match &resource.spec {
        ResourceSpec::Postgres(postgres) => data::postgres(stack, resource, postgres),
        ResourceSpec::Redis(redis) => data::redis(stack, resource, redis),
        ResourceSpec::Kafka(kafka) => broker::kafka(stack, resource, kafka),
        ResourceSpec::Bucket(bucket) => data::bucket(stack, resource, bucket),
        ResourceSpec::Queue(queue) => broker::queue(stack, resource, queue),
        ResourceSpec::Http(http) => {
            let HttpVia::Mock { image, port } = &http.via else { return None };
            mock::server(image, port.get(), resource).fragment(stack, resource)
        }
        ResourceSpec::Volume(volume) => foreign::volume(resource, volume),
        ResourceSpec::Image(image) => foreign::image(stack, resource, image),
    })
}

/// The ports of a server: what it is, the port that developers expect, and the container's own.
pub(super) fn server_ports(spec: &ResourceSpec) -> Vec<(&'static str, u16, u16)> {
    if !is_beside(spec) {
        return Vec::new();
    }
    match spec {
        ResourceSpec::Postgres(_) => vec![("Postgres", port::POSTGRES, port::POSTGRES)],
        ResourceSpec::Redis(_) => vec![("Redis", port::REDIS, port::REDIS)],
        ResourceSpec::Kafka(_) => vec![("Kafka", port::KAFKA, broker::KAFKA_FROM_HOST)],
        ResourceSpec::Bucket(_) => vec![
            ("S3 API", port::MINIO, port::MINIO),
            ("object store console", data::MINIO_CONSOLE, data::MINIO_CONSOLE),
        ],
        ResourceSpec::Queue(_) => vec![("SQS API", port::ELASTICMQ, port::ELASTICMQ)],
        ResourceSpec::Http(http) => match &http.via {
            HttpVia::Mock { port, .. } => vec![("mock", port.get(), port.get())],
            HttpVia::Url { .. } => Vec::new(),
        },
        ResourceSpec::Volume(_) => Vec::new(),
        ResourceSpec::Image(image) => vec![("server", image.port.get(), image.port.get())],
    }
}

/// Variables that say where a network file system is, with the resources that need them.
pub(in crate::target) fn file_systems(plan: &Plan) -> Vec<(String, String)> {
    let is_efs = |resource: &&Resource| match &resource.spec {
        ResourceSpec::Volume(volume) => volume.via == VolumeVia::AwsEfs,
        _ => false,
    };
    let named = |resource: &Resource| (foreign::efs_variable(resource), resource.name.to_string());
    plan.resources.values().filter(is_efs).map(named).collect()
}

/// A named volume that the engine keeps, traced to its resource.
fn named_volume(resource: &Resource) -> (String, Node) {
    let node = Node::from(Map::new()).because(format!("resources.{}", resource.name));
    (resource.name.dns(), node)
}
