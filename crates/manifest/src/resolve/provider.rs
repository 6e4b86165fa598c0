//! Who provides a resource where: the words of `via`, the usual one, and whether it fits the place.

use super::{Resolver, origin::join, resource::Draft};
use crate::{
    diagnostics::{Code, Problem},
    plan::{
        Bucket, BucketVia, CloudProvider, Environment, Http, HttpVia, ImageVia, Kafka, KafkaVia,
        Managed, Postgres, PostgresVia, QueueVia, Redis, RedisVia, ResourceType, Target, VolumeVia,
    },
    units::Bytes,
};

/// Who provides a type in a place when nobody says so; `None` where there is no good answer.
pub(super) fn usual(kind: ResourceType, environment: &Environment) -> Option<&'static str> {
    let cloud = environment.cloud.as_ref().map(|cloud| cloud.provider);
    match environment.target {
        Target::Local => usual_locally(kind),
        Target::Host => usual_on_host(kind, cloud),
        Target::Kubernetes => usual_in_cluster(kind, cloud),
        Target::Ecs => usual_on_aws(kind),
        Target::CloudRun => usual_on_gcp(kind),
    }
}

const fn usual_locally(kind: ResourceType) -> Option<&'static str> {
    match kind {
        ResourceType::Postgres
        | ResourceType::Redis
        | ResourceType::Kafka
        | ResourceType::Bucket
        | ResourceType::Volume => Some("local"),
        ResourceType::Queue | ResourceType::Image => Some("docker"),
        ResourceType::Http => Some("url"),
    }
}

fn usual_on_host(kind: ResourceType, cloud: Option<CloudProvider>) -> Option<&'static str> {
    match kind {
        ResourceType::Postgres
        | ResourceType::Redis
        | ResourceType::Kafka
        | ResourceType::Image => Some("docker"),
        ResourceType::Bucket => Some(match cloud {
            Some(CloudProvider::Aws) => "aws-s3",
            Some(CloudProvider::Gcp) => "gcp-gcs",
            Some(CloudProvider::Hetzner) => "hetzner-object-storage",
            None => "docker",
        }),
        ResourceType::Queue => Some(match cloud {
            Some(CloudProvider::Aws) => "aws-sqs",
            Some(CloudProvider::Gcp) => "gcp-pubsub",
            Some(CloudProvider::Hetzner) | None => "docker",
        }),
        ResourceType::Volume => Some(match cloud {
            Some(CloudProvider::Hetzner) => "hetzner-volume",
            Some(CloudProvider::Aws | CloudProvider::Gcp) | None => "local",
        }),
        ResourceType::Http => Some("url"),
    }
}

fn usual_in_cluster(kind: ResourceType, cloud: Option<CloudProvider>) -> Option<&'static str> {
    let managed = match cloud {
        Some(CloudProvider::Aws) => usual_on_aws(kind),
        Some(CloudProvider::Gcp) => usual_on_gcp(kind),
        Some(CloudProvider::Hetzner) | None => None,
    };
    match kind {
        ResourceType::Volume | ResourceType::Image => Some("kubernetes"),
        ResourceType::Postgres => managed.or(Some("cloudnative-pg")),
        ResourceType::Redis => managed.or(Some("kubernetes")),
        ResourceType::Kafka => managed.or(Some("strimzi")),
        ResourceType::Bucket => match cloud {
            Some(CloudProvider::Hetzner) => Some("hetzner-object-storage"),
            Some(CloudProvider::Aws | CloudProvider::Gcp) | None => managed,
        },
        ResourceType::Queue => managed,
        ResourceType::Http => Some("url"),
    }
}

const fn usual_on_aws(kind: ResourceType) -> Option<&'static str> {
    match kind {
        ResourceType::Postgres => Some("aws-rds"),
        ResourceType::Redis => Some("aws-elasticache"),
        ResourceType::Kafka => Some("aws-msk"),
        ResourceType::Bucket => Some("aws-s3"),
        ResourceType::Queue => Some("aws-sqs"),
        ResourceType::Volume => Some("aws-efs"),
        ResourceType::Http => Some("url"),
        ResourceType::Image => None,
    }
}

const fn usual_on_gcp(kind: ResourceType) -> Option<&'static str> {
    match kind {
        ResourceType::Postgres => Some("gcp-cloud-sql"),
        ResourceType::Redis => Some("gcp-memorystore"),
        ResourceType::Bucket => Some("gcp-gcs"),
        ResourceType::Queue => Some("gcp-pubsub"),
        ResourceType::Http => Some("url"),
        ResourceType::Kafka | ResourceType::Volume | ResourceType::Image => None,
    }
}

/// Whether a provider can be reached from a place at all.
fn fits(via: &str, target: Target) -> bool {
    let in_cluster = matches!(via, "kubernetes" | "cloudnative-pg" | "strimzi");
    let on_machine = matches!(via, "local" | "docker" | "mock" | "hetzner-volume");
    match target {
        Target::Local | Target::Host => !in_cluster,
        Target::Kubernetes | Target::Ecs | Target::CloudRun if on_machine => false,
        Target::Kubernetes => true,
        Target::Ecs | Target::CloudRun => !in_cluster,
    }
}

impl Resolver<'_> {
    fn check_place(&mut self, draft: &Draft<'_>) {
        let target = draft.environment.target;
        if let (Some(via), false) = (draft.raw.via.get(), fits(&draft.via, target)) {
            let (name, place) = (draft.name, &draft.environment.name);
            let message = format!(
                "resource `{name}` is `via: {}`, which environment `{place}` ({target}) \
                 cannot have",
                crate::names::shortened(&draft.via)
            );
            let usual = usual(draft.kind, draft.environment).unwrap_or("url");
            let help = format!("write `environments.{place}.resources.{name}: {{via: {usual}}}`");
            self.tell(Problem::error(Code::Conflict, message).at(via.span, "").help(help));
        }
    }

    fn managed(&mut self, draft: &Draft<'_>) -> Managed {
        let (at, raw) = (&join(&draft.at, "managed"), draft.raw);
        let is_production = draft.environment.production;
        Managed {
            size: self.opt(at, "size", &raw.size),
            storage: self.or(at, "storage", &raw.storage, || Bytes(20 << 30)),
            replicas: self.or(at, "replicas", &raw.replicas, || 0),
            multi_az: self.or(at, "multi_az", &raw.multi_az, || is_production),
        }
    }

    fn image_or(&mut self, draft: &Draft<'_>, usual: impl FnOnce() -> String) -> String {
        self.or(&draft.at, "image", &draft.raw.image, usual)
    }

    pub(super) fn postgres_via(
        &mut self,
        draft: &Draft<'_>,
        version: &str,
        extensions: &[String],
    ) -> Option<PostgresVia> {
        self.check_place(draft);
        let usual = || Postgres::usual_image(version, extensions);
        Some(match draft.via.as_str() {
            "local" => PostgresVia::Local,
            "docker" => PostgresVia::Docker { image: self.image_or(draft, usual) },
            "url" => PostgresVia::Url { url: self.url(draft)? },
            "cloudnative-pg" => PostgresVia::CloudnativePg { managed: self.managed(draft) },
            "aws-rds" => PostgresVia::AwsRds { managed: self.managed(draft) },
            "gcp-cloud-sql" => PostgresVia::GcpCloudSql { managed: self.managed(draft) },
            _ => return self.no_provider(draft),
        })
    }

    pub(super) fn redis_via(&mut self, draft: &Draft<'_>, version: &str) -> Option<RedisVia> {
        self.check_place(draft);
        let usual = || Redis::usual_image(version);
        Some(match draft.via.as_str() {
            "local" => RedisVia::Local,
            "docker" => RedisVia::Docker { image: self.image_or(draft, usual) },
            "url" => RedisVia::Url { url: self.url(draft)? },
            "kubernetes" => {
                let image = self.image_or(draft, usual);
                let storage = self.managed(draft).storage;
                RedisVia::Kubernetes { image, storage }
            }
            "aws-elasticache" => RedisVia::AwsElasticache { managed: self.managed(draft) },
            "gcp-memorystore" => RedisVia::GcpMemorystore { managed: self.managed(draft) },
            _ => return self.no_provider(draft),
        })
    }

    pub(super) fn kafka_via(&mut self, draft: &Draft<'_>, version: &str) -> Option<KafkaVia> {
        self.check_place(draft);
        let usual = || Kafka::usual_image(version);
        Some(match draft.via.as_str() {
            "local" => KafkaVia::Local,
            "docker" => KafkaVia::Docker { image: self.image_or(draft, usual) },
            "url" => KafkaVia::Url { brokers: self.url(draft)? },
            "strimzi" => KafkaVia::Strimzi { managed: self.managed(draft) },
            "aws-msk" => KafkaVia::AwsMsk { managed: self.managed(draft) },
            _ => return self.no_provider(draft),
        })
    }

    pub(super) fn bucket_via(&mut self, draft: &Draft<'_>) -> Option<BucketVia> {
        self.check_place(draft);
        let usual = || Bucket::USUAL_IMAGE.to_owned();
        Some(match draft.via.as_str() {
            "local" => BucketVia::Local,
            "docker" => BucketVia::Docker { image: self.image_or(draft, usual) },
            "url" => BucketVia::Url { url: self.url(draft)? },
            "aws-s3" => BucketVia::AwsS3,
            "gcp-gcs" => BucketVia::GcpGcs,
            "hetzner-object-storage" => BucketVia::HetznerObjectStorage,
            _ => return self.no_provider(draft),
        })
    }

    pub(super) fn queue_via(&mut self, draft: &Draft<'_>) -> Option<QueueVia> {
        self.check_place(draft);
        let usual = || "softwaremill/elasticmq-native:1.6.12".to_owned();
        Some(match draft.via.as_str() {
            "docker" => QueueVia::Docker { image: self.image_or(draft, usual) },
            "url" => QueueVia::Url { url: self.url(draft)? },
            "aws-sqs" => QueueVia::AwsSqs,
            "gcp-pubsub" => QueueVia::GcpPubsub,
            _ => return self.no_provider(draft),
        })
    }

    pub(super) fn http_via(&mut self, draft: &Draft<'_>) -> Option<HttpVia> {
        self.check_place(draft);
        let usual = || Http::USUAL_MOCK.to_owned();
        Some(match draft.via.as_str() {
            "url" => HttpVia::Url { url: self.url(draft)? },
            "mock" => {
                let image = self.image_or(draft, usual);
                HttpVia::Mock { image, port: self.mock_port(draft)? }
            }
            _ => return self.no_provider(draft),
        })
    }

    pub(super) fn volume_via(&mut self, draft: &Draft<'_>) -> Option<VolumeVia> {
        self.check_place(draft);
        Some(match draft.via.as_str() {
            "local" => VolumeVia::Local,
            "docker" => VolumeVia::Docker,
            "kubernetes" => {
                let class = self.opt(&draft.at, "class", &draft.raw.class);
                VolumeVia::Kubernetes { class }
            }
            "aws-efs" => VolumeVia::AwsEfs,
            "hetzner-volume" => VolumeVia::HetznerVolume,
            _ => return self.no_provider(draft),
        })
    }

    pub(super) fn image_via(&mut self, draft: &Draft<'_>) -> Option<ImageVia> {
        self.check_place(draft);
        Some(match draft.via.as_str() {
            "docker" => ImageVia::Docker,
            "url" => ImageVia::Url { url: self.url(draft)? },
            "kubernetes" => ImageVia::Kubernetes,
            _ => return self.no_provider(draft),
        })
    }

    fn no_provider<T>(&mut self, draft: &Draft<'_>) -> Option<T> {
        self.unknown_via(draft);
        None
    }
}
