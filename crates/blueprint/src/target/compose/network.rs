//! Networks: whoever is used has one, and only those that declare it are in it.
//!
//! None of them leads out of the host. What calls others (a provider's API, a rented database)
//! is in `outside` too, where containers cannot reach each other. A developer's file has one
//! network for all: published ports need a way out.
//!
//! Two clients of one server meet in its network. One network per edge would keep them apart, but
//! an engine has addresses for some thirty networks in all; the chart's policies are exact.

use std::collections::BTreeSet;

use manifest::plan::{
    BucketVia, HttpVia, ImageVia, KafkaVia, PostgresVia, QueueVia, RedisVia, ResourceSpec, Service,
    TracesBackend, UseTarget, VolumeVia,
};

use super::front;
use super::stack::Stack;
use crate::address;
use crate::node::{Map, Node};

/// The network that leads out.
const OUTSIDE: &str = "outside";

/// `networks` of the file.
pub(super) fn declared(stack: &Stack<'_>) -> Map {
    if stack.is_dev {
        return Map::new();
    }
    let mut own = BTreeSet::new();
    let mut leads_out = front::is_there(stack);
    for service in stack.plan.services.values() {
        own.insert(service.name.dns());
        leads_out |= calls_out(stack, service);
    }
    own.extend(stack.fragments.iter().filter(|(_, f)| f.is_server()).map(|(name, _)| name.dns()));
    let mut networks = Map::new();
    for name in own {
        networks.put(name, Map::new().with("internal", true));
    }
    if leads_out {
        let apart = Map::new().with("com.docker.network.bridge.enable_icc", "false");
        let comment = "Leads out of this host. Containers in it do not reach each other.";
        let outside = Node::from(Map::new().with("driver_opts", apart)).comment(comment);
        networks.put(OUTSIDE, outside);
    }
    networks
}

/// `networks` of a service: its own, where it has a name of its own, and those of what it uses.
pub(super) fn of_service(stack: &Stack<'_>, service: &Service) -> Map {
    let alias = Map::new().with("aliases", Node::row([address::alias(&service.name)]));
    let mut networks = Map::new().with(service.name.dns(), alias);
    for (network, because) in edges(stack, service) {
        let node = Node::from(Map::new());
        let node = because.map_or(node.clone(), |because| node.because(because));
        networks.put(network, node);
    }
    networks
}

/// The networks of what a service uses, and the way out if it needs one.
pub(super) fn used(stack: &Stack<'_>, service: &Service) -> Vec<Node> {
    let node = |(network, because): (String, Option<String>)| match because {
        Some(because) => Node::from(network).because(because),
        None => Node::from(network),
    };
    edges(stack, service).into_iter().map(node).collect()
}

/// The same, each with what asks for it.
fn edges(stack: &Stack<'_>, service: &Service) -> Vec<(String, Option<String>)> {
    let mut networks = Vec::new();
    let mut outside = Vec::new();
    for (name, used) in &service.uses {
        let because = format!("services.{}.uses.{name}", service.name);
        let network = match &used.target {
            UseTarget::Service(other) => Some(other.dns()),
            UseTarget::Resource(resource) => {
                let fragment = stack.fragments.get(resource);
                fragment.filter(|fragment| fragment.is_server()).map(|_| resource.dns())
            }
        };
        match network {
            Some(network) => networks.push((network, Some(because))),
            None if is_outside(stack, &used.target) => outside.push(because),
            None => {}
        }
    }
    let because = outside.into_iter().next();
    if because.is_some() || exports_traces(stack) {
        networks.push((OUTSIDE.to_owned(), because));
    }
    networks
}

/// The edge's networks: that of everyone whom it routes to, and the way out.
pub(super) fn of_front(stack: &Stack<'_>) -> Vec<Node> {
    let mut routed: Vec<Node> = Vec::new();
    for service in stack.plan.services.values().filter(|service| !service.route.is_empty()) {
        let because = format!("services.{}.route", service.name);
        routed.push(Node::from(service.name.dns()).because(because));
    }
    routed.push(OUTSIDE.into());
    routed
}

fn calls_out(stack: &Stack<'_>, service: &Service) -> bool {
    exports_traces(stack) || service.uses.values().any(|used| is_outside(stack, &used.target))
}

fn exports_traces(stack: &Stack<'_>) -> bool {
    stack.plan.observability.traces.backend == TracesBackend::Otlp
}

/// Whether something runs on another host.
fn is_outside(stack: &Stack<'_>, target: &UseTarget) -> bool {
    let UseTarget::Resource(name) = target else { return false };
    let Some(resource) = stack.plan.resources.get(name) else { return false };
    match &resource.spec {
        ResourceSpec::Postgres(postgres) => match &postgres.via {
            PostgresVia::Local | PostgresVia::Docker { .. } | PostgresVia::CloudnativePg { .. } => {
                false
            }
            PostgresVia::Url { .. }
            | PostgresVia::AwsRds { .. }
            | PostgresVia::GcpCloudSql { .. } => true,
        },
        ResourceSpec::Redis(redis) => match &redis.via {
            RedisVia::Local | RedisVia::Docker { .. } | RedisVia::Kubernetes { .. } => false,
            RedisVia::Url { .. }
            | RedisVia::AwsElasticache { .. }
            | RedisVia::GcpMemorystore { .. } => true,
        },
        ResourceSpec::Kafka(kafka) => match &kafka.via {
            KafkaVia::Local | KafkaVia::Docker { .. } | KafkaVia::Strimzi { .. } => false,
            KafkaVia::Url { .. } | KafkaVia::AwsMsk { .. } => true,
        },
        ResourceSpec::Bucket(bucket) => match &bucket.via {
            BucketVia::Local | BucketVia::Docker { .. } => false,
            BucketVia::Url { .. }
            | BucketVia::AwsS3
            | BucketVia::GcpGcs
            | BucketVia::HetznerObjectStorage => true,
        },
        ResourceSpec::Queue(queue) => match &queue.via {
            QueueVia::Docker { .. } => false,
            QueueVia::Url { .. } | QueueVia::AwsSqs | QueueVia::GcpPubsub => true,
        },
        ResourceSpec::Http(http) => match &http.via {
            HttpVia::Url { .. } => true,
            HttpVia::Mock { .. } => false,
        },
        // The engine mounts it, not the container.
        ResourceSpec::Volume(volume) => match &volume.via {
            VolumeVia::Local
            | VolumeVia::Docker
            | VolumeVia::Kubernetes { .. }
            | VolumeVia::AwsEfs
            | VolumeVia::HetznerVolume => false,
        },
        ResourceSpec::Image(image) => match &image.via {
            ImageVia::Docker | ImageVia::Kubernetes => false,
            ImageVia::Url { .. } => true,
        },
    }
}
