//! One resource as values: where it is reached, and what the cluster is asked for when it runs
//! there.
//!
//! Every provider of every type has an arm; a new one does not compile until somebody has said
//! which ports and networks lead to it.

use manifest::Plan;
use manifest::names::{HttpPath, SecretName};
use manifest::plan::{
    Backup, BucketVia, HttpVia, Image, ImageVia, Kafka, KafkaVia, Managed, Postgres, PostgresVia,
    QueueVia, Redis, RedisVia, Resource, ResourceSpec, UseTarget, Volume, VolumeVia, Weekday,
};
use manifest::template::{Output, Template};

use crate::address::{self, Place, port};
use crate::environment::text;
use crate::node::{Map, Node};
use crate::platform::Platform;

/// Where private networks are: what is rented stands in one of them.
const PRIVATE: &[&str] = &["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"];

/// Everywhere.
const ANYWHERE: &[&str] = &["0.0.0.0/0"];

/// The address at which clouds tell a machine its credentials: no service needs it.
const LINK_LOCAL: &str = "169.254.0.0/16";

/// Ports of MSK for TLS and for IAM.
const MSK: &[u16] = &[9094, 9098];

/// Group of a foreign image's process, when nobody knows better.
const FOREIGN_USER: u32 = 1000;

/// User of Redis in its official image.
const REDIS_USER: u32 = 999;

/// How a resource is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reach {
    pub(super) ports: Vec<u16>,
    /// Absent: as pods of the namespace.
    pub(super) networks: Option<Networks>,
}

/// Networks outside the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Networks {
    cidrs: &'static [&'static str],
    except: Vec<&'static str>,
}

impl Reach {
    fn inside(port: u16) -> Reach {
        Reach { ports: vec![port], networks: None }
    }

    /// Rented out, in a private network.
    fn rented(ports: &[u16]) -> Reach {
        let networks = Networks { cidrs: PRIVATE, except: Vec::new() };
        Reach { ports: ports.to_vec(), networks: Some(networks) }
    }

    /// Somewhere that only a name says.
    fn anywhere(port: u16) -> Reach {
        let networks = Networks { cidrs: ANYWHERE, except: vec![LINK_LOCAL] };
        Reach { ports: vec![port], networks: Some(networks) }
    }

    /// Somebody's public address: never one of ours.
    fn public(port: u16) -> Reach {
        let except = PRIVATE.iter().copied().chain([LINK_LOCAL]).collect();
        let networks = Networks { cidrs: ANYWHERE, except };
        Reach { ports: vec![port], networks: Some(networks) }
    }
}

/// How pods reach a resource; absent for what has no address.
pub(super) fn reach(plan: &Plan, resource: &Resource) -> Option<Reach> {
    let known = |usual: u16| known_port(plan, resource).unwrap_or(usual);
    let reach = match &resource.spec {
        ResourceSpec::Postgres(postgres) => match &postgres.via {
            PostgresVia::CloudnativePg { .. } => Reach::inside(port::POSTGRES),
            PostgresVia::AwsRds { .. } | PostgresVia::GcpCloudSql { .. } => {
                Reach::rented(&[port::POSTGRES])
            }
            PostgresVia::Url { .. } => Reach::anywhere(known(port::POSTGRES)),
            PostgresVia::Local | PostgresVia::Docker { .. } => return None,
        },
        ResourceSpec::Redis(redis) => match &redis.via {
            RedisVia::Kubernetes { .. } => Reach::inside(port::REDIS),
            RedisVia::AwsElasticache { .. } | RedisVia::GcpMemorystore { .. } => {
                Reach::rented(&[port::REDIS])
            }
            RedisVia::Url { .. } => Reach::anywhere(known(port::REDIS)),
            RedisVia::Local | RedisVia::Docker { .. } => return None,
        },
        ResourceSpec::Kafka(kafka) => match &kafka.via {
            KafkaVia::Strimzi { .. } => Reach::inside(port::KAFKA),
            KafkaVia::AwsMsk { .. } => Reach::rented(MSK),
            KafkaVia::Url { .. } => Reach::anywhere(known(port::KAFKA)),
            KafkaVia::Local | KafkaVia::Docker { .. } => return None,
        },
        // Their endpoints have public addresses, and private ones through a VPC endpoint.
        ResourceSpec::Bucket(bucket) => match &bucket.via {
            BucketVia::AwsS3
            | BucketVia::GcpGcs
            | BucketVia::HetznerObjectStorage
            | BucketVia::Url { .. } => Reach::anywhere(known(443)),
            BucketVia::Local | BucketVia::Docker { .. } => return None,
        },
        ResourceSpec::Queue(queue) => match &queue.via {
            QueueVia::AwsSqs | QueueVia::GcpPubsub | QueueVia::Url { .. } => {
                Reach::anywhere(known(443))
            }
            QueueVia::Docker { .. } => return None,
        },
        ResourceSpec::Http(http) => match &http.via {
            HttpVia::Url { url } if is_public(url) => Reach::public(known(443)),
            HttpVia::Url { .. } => Reach::anywhere(known(443)),
            HttpVia::Mock { .. } => return None,
        },
        ResourceSpec::Image(image) => match &image.via {
            ImageVia::Kubernetes => Reach::inside(image.port.get()),
            ImageVia::Url { .. } => Reach::anywhere(known(443)),
            ImageVia::Docker => return None,
        },
        // The node mounts it; the pod opens no connection.
        ResourceSpec::Volume(_) => return None,
    };
    Some(reach)
}

/// The port that an address names.
fn known_port(plan: &Plan, resource: &Resource) -> Option<u16> {
    let port = address::of_resource(plan, Place::Kubernetes, resource, Output::Port)?;
    port.as_literal()?.parse().ok()
}

/// Whether a URL is certainly not of this network.
fn is_public(url: &Template) -> bool {
    let Some(text) = url.as_literal() else { return false };
    let Some(rest) = text.strip_prefix("https://") else { return false };
    let host = rest.split(['/', ':', '?']).next().unwrap_or(rest);
    let is_ours = [".svc", ".local", ".internal", ".lan"].iter().any(|end| host.ends_with(end));
    host.contains('.') && !is_ours && !host.ends_with(|c: char| c.is_ascii_digit())
}

/// The Secret and the key in it, of a secret that an operator in the cluster makes by itself.
pub(super) fn made_by_operator(plan: &Plan, secret: &SecretName) -> Option<(String, &'static str)> {
    let is_made = |resource: &&Resource| {
        let is_operated = matches!(
            &resource.spec,
            ResourceSpec::Postgres(Postgres { via: PostgresVia::CloudnativePg { .. }, .. })
        );
        is_operated && secret.as_str() == format!("{}_PASSWORD", resource.name.upper())
    };
    let resource = plan.resources.values().find(is_made)?;
    Some((format!("{}-app", resource.name.dns()), "password"))
}

/// The values of a resource.
pub(super) fn values(platform: &Platform, plan: &Plan, resource: &Resource) -> Node {
    let mut map =
        Map::new().with("type", resource.spec.kind().as_str()).with("via", resource.spec.via());
    if let Some(reach) = reach(plan, resource) {
        map.put("ports", Node::row(reach.ports));
        if let Some(Networks { cidrs, except }) = reach.networks {
            let cidrs = Node::row(cidrs.iter().copied());
            let cidrs = match except.is_empty() {
                true => cidrs.comment("Narrow it to the subnets that it is in."),
                false => cidrs,
            };
            map = map.with("cidrs", cidrs).with_any("except", Node::row(except));
        }
    }
    let of_type = match &resource.spec {
        ResourceSpec::Postgres(it) => cluster(plan, resource, it),
        ResourceSpec::Redis(it) => redis(platform, resource, it),
        ResourceSpec::Kafka(it) => kafka(resource, it),
        ResourceSpec::Volume(it) => volume(plan, resource, it),
        ResourceSpec::Image(it) => image(platform, plan, resource, it),
        ResourceSpec::Bucket(_) | ResourceSpec::Queue(_) | ResourceSpec::Http(_) => None,
    };
    match of_type {
        Some(OfType { secrets, key, values }) => {
            map.with_any("secrets", Node::list(secrets)).with(key, values).into()
        }
        None => map.into(),
    }
}

/// What only one type has.
struct OfType {
    /// Secrets that it needs itself.
    secrets: Vec<String>,
    key: &'static str,
    values: Map,
}

impl OfType {
    fn new(key: &'static str, values: Map) -> Option<OfType> {
        Some(OfType { secrets: Vec::new(), key, values })
    }
}

/// Reservations and limits of a server. Memory is reserved in full: a database is not to be the
/// first that a full node ends.
fn server(cpu_request: &str, cpu: &str, memory: &str) -> Map {
    let of = |cpu: &str| Map::new().with("cpu", cpu).with("memory", memory);
    Map::new().with("requests", of(cpu_request)).with("limits", of(cpu))
}

fn cluster(plan: &Plan, resource: &Resource, postgres: &Postgres) -> Option<OfType> {
    let PostgresVia::CloudnativePg { managed } = &postgres.via else { return None };
    let Managed { storage, replicas, multi_az, .. } = managed;
    let at = format!("resources.{}", resource.name);
    let account = plan.app.as_str().replace('-', "_");
    let has_postgis = postgres.extensions.iter().any(|name| name.starts_with("postgis"));
    let flavour = if has_postgis { "postgis" } else { "postgresql" };
    let spread_over =
        if *multi_az { "topology.kubernetes.io/zone" } else { "kubernetes.io/hostname" };
    let image = format!("ghcr.io/cloudnative-pg/{flavour}:{}", postgres.version);
    let backup =
        postgres.backup.as_ref().map(|it| Node::from(backup(it)).because(format!("{at}.backup")));
    let values = Map::new()
        .with("image", Node::from(image).because(format!("{at}.version")))
        .with("instances", Node::from(1 + replicas).because(format!("{at}.replicas")))
        .with("database", &account)
        .with("owner", &account)
        .with_any("extensions", Node::list(&postgres.extensions))
        .with("storage", storage.to_string())
        .with("spreadOver", spread_over)
        .with("resources", server("500m", "2", "2Gi"))
        .with_some("backup", backup);
    OfType::new("postgres", values)
}

/// When the operator copies it: to an object store if the manifest names one, else as a snapshot.
fn backup(backup: &Backup) -> Map {
    let (hour, minute) = (backup.at / 60, backup.at % 60);
    let day = match backup.on {
        None => "*",
        Some(Weekday::Sunday) => "0",
        Some(Weekday::Monday) => "1",
        Some(Weekday::Tuesday) => "2",
        Some(Weekday::Wednesday) => "3",
        Some(Weekday::Thursday) => "4",
        Some(Weekday::Friday) => "5",
        Some(Weekday::Saturday) => "6",
    };
    let keep_days = backup.keep.0.div_ceil(24 * 60 * 60 * 1000).max(1);
    let store = |path: &String| Map::new().with("path", path).with("keep", format!("{keep_days}d"));
    Map::new()
        .with("schedule", format!("0 {minute} {hour} * * {day}"))
        .with_some("objectStore", backup.copy_to.as_ref().map(store))
}

fn redis(platform: &Platform, resource: &Resource, redis: &Redis) -> Option<OfType> {
    let RedisVia::Kubernetes { image, storage } = &redis.via else { return None };
    let values = Map::new()
        .with("image", platform.pinned(image))
        .with("persistent", redis.persistent)
        .with("storage", storage.to_string())
        .with(
            "maxMemory",
            Node::from("384mb").comment("Below the limit: a copy for the disk takes room, too."),
        )
        .with("resources", server("100m", "1", "512Mi"))
        .with("security", locked(REDIS_USER, true));
    let secrets = vec![format!("{}_PASSWORD", resource.name.upper())];
    Some(OfType { secrets, key: "redis", values })
}

fn locked(user: u32, read_only: bool) -> Map {
    Map::new().with("user", user).with("readOnlyRootFilesystem", read_only)
}

fn kafka(resource: &Resource, kafka: &Kafka) -> Option<OfType> {
    let KafkaVia::Strimzi { managed } = &kafka.via else { return None };
    let at = format!("resources.{}.topics", resource.name);
    let topics: Map = kafka
        .topics
        .iter()
        .map(|(name, topic)| {
            let retention = i64::try_from(topic.retention.0).unwrap_or(i64::MAX);
            let values = Map::new()
                .with("partitions", topic.partitions)
                .with("retentionMs", retention)
                .with("compact", topic.compact);
            (name.clone(), Node::from(values).because(format!("{at}.{name}")))
        })
        .collect();
    // The operator wants all three numbers of a version.
    let version = match kafka.version.split('.').count() {
        2 => format!("{}.0", kafka.version),
        _ => kafka.version.clone(),
    };
    // The newest operator has one form of its objects, those that still know Kafka 3 another.
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    let form = if major.is_some_and(|major| major >= 4) { "v1" } else { "v1beta2" };
    let values = Map::new()
        .with("apiVersion", format!("kafka.strimzi.io/{form}"))
        .with("version", version)
        .with("nodes", 1 + managed.replicas)
        .with("storage", managed.storage.to_string())
        .with("resources", server("500m", "2", "2Gi"))
        .with_any("topics", topics);
    OfType::new("kafka", values)
}

/// How many nodes may mount a volume: as many as there are pods that use it.
pub(super) fn access_mode(plan: &Plan, resource: &Resource) -> &'static str {
    let ResourceSpec::Volume(Volume { via, .. }) = &resource.spec else { return "ReadWriteOnce" };
    let target = UseTarget::Resource(resource.name.clone());
    let users = plan
        .services
        .values()
        .filter(|service| service.uses.values().any(|edge| edge.target == target));
    let pods: u64 = users.map(|service| u64::from(service.scale.max)).sum();
    if *via == VolumeVia::AwsEfs || pods > 1 { "ReadWriteMany" } else { "ReadWriteOnce" }
}

fn volume(plan: &Plan, resource: &Resource, volume: &Volume) -> Option<OfType> {
    let class = match &volume.via {
        VolumeVia::Kubernetes { class } => class.clone(),
        VolumeVia::AwsEfs => Some("efs-sc".to_owned()),
        VolumeVia::Local | VolumeVia::Docker | VolumeVia::HetznerVolume => return None,
    };
    let mode = access_mode(plan, resource);
    let mode_node = match (mode, &class) {
        ("ReadWriteMany", None) => Node::from(mode).comment(
            "More than one pod writes to it: name a `storageClass` that several nodes can mount.",
        ),
        _ => Node::from(mode),
    };
    let values = Map::new()
        .with("storage", volume.storage.to_string())
        .with("accessMode", mode_node)
        .with_some("storageClass", class);
    OfType::new("volume", values)
}

fn image(platform: &Platform, plan: &Plan, resource: &Resource, image: &Image) -> Option<OfType> {
    match &image.via {
        ImageVia::Kubernetes => {}
        ImageVia::Docker | ImageVia::Url { .. } => return None,
    }
    let mut secrets = Vec::new();
    let mut env = Map::new();
    for (key, template) in &image.env {
        let Some(resolved) = address::resolve(plan, Place::Kubernetes, template) else { continue };
        secrets.extend(resolved.secrets().map(ToString::to_string));
        let because = format!("resources.{}.env.{key}", resource.name);
        env.put(key.as_str(), Node::from(text(&resolved)).because(because));
    }
    secrets.sort();
    secrets.dedup();
    let values = Map::new()
        .with("name", platform.pinned(&image.image))
        .with_any("env", env)
        .with_some("health", image.health.as_ref().map(HttpPath::as_str))
        .with_some("data", image.data.as_ref())
        .with("storage", image.storage.to_string())
        .with("resources", server("250m", "2", "2Gi"))
        .with(
            "security",
            Node::from(locked(FOREIGN_USER, false))
                .comment("Not root. Where the image writes besides its data, nobody knows."),
        );
    Some(OfType { secrets, key: "image", values })
}
