//! What placeholders stand for in a file: addresses of what runs beside a service, secrets of the
//! rest.
//!
//! A password or the URL of something that is rented is never known when files are written: it
//! stays `${secret:…}`, which `plimsoll run` resolves when the process starts. Every provider of
//! every type has an arm of its own here; a new one does not compile until it has an address.
//!
//! Invariant: a resolved template holds literals and secrets only.

use manifest::Plan;
use manifest::names::{ResourceName, SecretName, ServiceName};
use manifest::plan::{
    Bucket, BucketVia, Http, HttpVia, Image, ImageVia, Kafka, KafkaVia, Postgres, PostgresVia,
    Queue, QueueVia, Redis, RedisVia, Resource, ResourceSpec, Volume,
};
use manifest::template::{Output, Part, ServiceOutput, Template};

/// Where the services of a file run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Containers on one host, in one network.
    Compose,
    /// Pods in one namespace.
    Kubernetes,
}

/// Ports of servers, as every client of theirs expects them.
pub(crate) mod port {
    pub(crate) const POSTGRES: u16 = 5432;
    pub(crate) const REDIS: u16 = 6379;
    pub(crate) const KAFKA: u16 = 9092;
    pub(crate) const MINIO: u16 = 9000;
    pub(crate) const ELASTICMQ: u16 = 9324;
    /// The admin listener of `plimsoll run`.
    pub(crate) const ADMIN: u16 = 9460;
    /// The first listener of `plimsoll run` for calls to somebody else's API, on loopback; the
    /// next is one higher.
    pub(crate) const CALLS: u16 = 9480;
}

/// Who has a server's address.
enum Server<'a> {
    /// It runs beside the services, under this name and port.
    Beside(String, u16),
    /// The manifest gives its URL.
    At(&'a Template),
    /// Somebody rents it out: its outputs are secrets.
    Rented,
}

/// A template with nothing open but secrets; absent where a part has no value in this place.
pub(crate) fn resolve(plan: &Plan, place: Place, template: &Template) -> Option<Template> {
    let mut parts = Vec::new();
    for part in &template.0 {
        match part {
            Part::Literal(_) | Part::Secret { .. } => parts.push(part.clone()),
            Part::Resource { resource, output } => {
                parts.extend(of_resource(plan, place, plan.resources.get(resource)?, *output)?.0);
            }
            Part::Service { service, output } => {
                parts.push(Part::Literal(of_service(plan, place, service, *output)?));
            }
        }
    }
    Some(Template(parts))
}

/// Under which name a service is known in its own network on a host, and in no other: where two
/// share the network that leads out, Docker looks a bare name up there first, and there they do not
/// reach each other.
pub(crate) fn alias(name: &ServiceName) -> String {
    format!("{}.internal", name.dns())
}

/// An output of a service for the others.
fn of_service(
    plan: &Plan,
    place: Place,
    name: &ServiceName,
    output: ServiceOutput,
) -> Option<String> {
    let service = plan.services.get(name)?;
    let has_networks = plan.environment.target != manifest::plan::Target::Local;
    let host = match place {
        Place::Compose if has_networks => alias(name),
        Place::Compose | Place::Kubernetes => name.dns(),
    };
    let port = service.port.map(|port| port.to_string());
    match output {
        ServiceOutput::Host => Some(host),
        ServiceOutput::Port => port,
        ServiceOutput::Url => Some(format!("http://{host}:{}", port?)),
        ServiceOutput::PublicUrl => {
            let scheme = if plan.environment.target == manifest::plan::Target::Local {
                "http"
            } else {
                "https"
            };
            Some(format!("{scheme}://{}", service.route.first()?))
        }
    }
}

/// An output of a resource.
pub(crate) fn of_resource(
    plan: &Plan,
    place: Place,
    resource: &Resource,
    output: Output,
) -> Option<Template> {
    let name = &resource.name;
    let account = plan.app.as_str().replace('-', "_");
    match &resource.spec {
        ResourceSpec::Postgres(postgres) => {
            let url = |host: &str, port: u16| {
                let start = format!("postgres://{account}:");
                let end = format!("@{host}:{port}/{account}");
                vec![literal(start), secret(name, Output::Password), literal(end)]
            };
            outputs(name, output, &postgres_server(postgres, name, place), &account, url)
        }
        ResourceSpec::Redis(redis) => {
            let url = |host: &str, port: u16| {
                let end = format!("@{host}:{port}/0");
                vec![literal("redis://:"), secret(name, Output::Password), literal(end)]
            };
            outputs(name, output, &redis_server(redis, name, place), &account, url)
        }
        ResourceSpec::Kafka(kafka) => {
            let url = |host: &str, port: u16| vec![literal(format!("{host}:{port}"))];
            outputs(name, output, &kafka_server(kafka, name, place), &account, url)
        }
        ResourceSpec::Bucket(bucket) => of_bucket(plan, bucket, resource, output),
        ResourceSpec::Queue(queue) => of_queue(plan, queue, resource, output),
        ResourceSpec::Http(http) => {
            let url = |host: &str, port: u16| vec![literal(format!("http://{host}:{port}"))];
            outputs(name, output, &http_server(http, name), &account, url)
        }
        ResourceSpec::Image(image) => {
            let url = |host: &str, port: u16| vec![literal(format!("http://{host}:{port}"))];
            outputs(name, output, &image_server(image, name), &account, url)
        }
        ResourceSpec::Volume(Volume { mount, .. }) => Some(Template::literal(mount.clone())),
    }
}

fn postgres_server<'a>(postgres: &'a Postgres, name: &ResourceName, place: Place) -> Server<'a> {
    match &postgres.via {
        PostgresVia::Local | PostgresVia::Docker { .. } => {
            Server::Beside(name.dns(), port::POSTGRES)
        }
        // On one host the operator's cluster is a container; in the cluster its primary has a
        // name of its own.
        PostgresVia::CloudnativePg { .. } => match place {
            Place::Compose => Server::Beside(name.dns(), port::POSTGRES),
            Place::Kubernetes => Server::Beside(format!("{}-rw", name.dns()), port::POSTGRES),
        },
        PostgresVia::Url { url } => Server::At(url),
        PostgresVia::AwsRds { .. } | PostgresVia::GcpCloudSql { .. } => Server::Rented,
    }
}

fn redis_server<'a>(redis: &'a Redis, name: &ResourceName, _: Place) -> Server<'a> {
    match &redis.via {
        RedisVia::Local | RedisVia::Docker { .. } | RedisVia::Kubernetes { .. } => {
            Server::Beside(name.dns(), port::REDIS)
        }
        RedisVia::Url { url } => Server::At(url),
        RedisVia::AwsElasticache { .. } | RedisVia::GcpMemorystore { .. } => Server::Rented,
    }
}

fn kafka_server<'a>(kafka: &'a Kafka, name: &ResourceName, place: Place) -> Server<'a> {
    match &kafka.via {
        KafkaVia::Local | KafkaVia::Docker { .. } => Server::Beside(name.dns(), port::KAFKA),
        KafkaVia::Strimzi { .. } => match place {
            Place::Compose => Server::Beside(name.dns(), port::KAFKA),
            Place::Kubernetes => {
                Server::Beside(format!("{}-kafka-bootstrap", name.dns()), port::KAFKA)
            }
        },
        KafkaVia::Url { brokers } => Server::At(brokers),
        KafkaVia::AwsMsk { .. } => Server::Rented,
    }
}

fn http_server<'a>(http: &'a Http, name: &ResourceName) -> Server<'a> {
    match &http.via {
        HttpVia::Url { url } => Server::At(url),
        HttpVia::Mock { port, .. } => Server::Beside(name.dns(), port.get()),
    }
}

fn image_server<'a>(image: &'a Image, name: &ResourceName) -> Server<'a> {
    match &image.via {
        ImageVia::Docker | ImageVia::Kubernetes => Server::Beside(name.dns(), image.port.get()),
        ImageVia::Url { url } => Server::At(url),
    }
}

fn of_bucket(
    plan: &Plan,
    bucket: &Bucket,
    resource: &Resource,
    output: Output,
) -> Option<Template> {
    let name = &resource.name;
    // Bucket names are one space for all customers of a provider.
    let bucket_name = format!("{}-{}-{}", plan.app, plan.environment.name, name).replace('_', "-");
    let region = || plan.environment.cloud.as_ref().map(|cloud| cloud.region.clone());
    let text = |text: String| Some(Template::literal(text));
    match (&bucket.via, output) {
        (BucketVia::Url { url }, Output::Url) => Some(url.clone()),
        (BucketVia::Url { .. }, _) => Some(Template(vec![secret(name, output)])),
        (_, Output::Name) => text(bucket_name),
        (BucketVia::Local | BucketVia::Docker { .. }, Output::Endpoint) => {
            text(format!("http://{}:{}", name.dns(), port::MINIO))
        }
        (BucketVia::Local | BucketVia::Docker { .. }, Output::Url) => {
            text(format!("http://{}:{}/{bucket_name}", name.dns(), port::MINIO))
        }
        (BucketVia::Local | BucketVia::Docker { .. }, Output::Region) => text("us-east-1".into()),
        (BucketVia::AwsS3, Output::Url) => text(format!("s3://{bucket_name}")),
        (BucketVia::AwsS3, Output::Endpoint) => {
            text(format!("https://s3.{}.amazonaws.com", region()?))
        }
        (BucketVia::GcpGcs, Output::Url) => text(format!("gs://{bucket_name}")),
        (BucketVia::GcpGcs, Output::Endpoint) => text("https://storage.googleapis.com".into()),
        (BucketVia::HetznerObjectStorage, Output::Url) => text(format!("s3://{bucket_name}")),
        (BucketVia::HetznerObjectStorage, Output::Endpoint) => {
            text(format!("https://{}.your-objectstorage.com", region()?))
        }
        (
            BucketVia::AwsS3 | BucketVia::GcpGcs | BucketVia::HetznerObjectStorage,
            Output::Region,
        ) => text(region()?),
        (_, other) => Some(Template(vec![secret(name, other)])),
    }
}

fn of_queue(plan: &Plan, queue: &Queue, resource: &Resource, output: Output) -> Option<Template> {
    let name = &resource.name;
    let suffix = if queue.fifo { ".fifo" } else { "" };
    let queue_name = format!("{}-{}{suffix}", plan.app, name);
    let endpoint = format!("http://{}:{}", name.dns(), port::ELASTICMQ);
    let text = |text: String| Some(Template::literal(text));
    match (&queue.via, output) {
        (QueueVia::Docker { .. }, Output::Url) => {
            text(format!("{endpoint}/000000000000/{queue_name}"))
        }
        (QueueVia::Docker { .. }, Output::Endpoint) => text(endpoint),
        (QueueVia::Docker { .. }, Output::Region) => text("elasticmq".into()),
        (QueueVia::Url { url }, Output::Url) => Some(url.clone()),
        (QueueVia::Docker { .. } | QueueVia::AwsSqs | QueueVia::GcpPubsub, Output::Name) => {
            text(queue_name)
        }
        (QueueVia::AwsSqs, Output::Endpoint) => {
            let region = &plan.environment.cloud.as_ref()?.region;
            text(format!("https://sqs.{region}.amazonaws.com"))
        }
        (QueueVia::AwsSqs | QueueVia::GcpPubsub, Output::Region) => {
            text(plan.environment.cloud.as_ref()?.region.clone())
        }
        (
            QueueVia::Docker { .. } | QueueVia::Url { .. } | QueueVia::AwsSqs | QueueVia::GcpPubsub,
            other,
        ) => Some(Template(vec![secret(name, other)])),
    }
}

/// The outputs of a server with an account.
fn outputs(
    name: &ResourceName,
    output: Output,
    server: &Server<'_>,
    account: &str,
    url: impl Fn(&str, u16) -> Vec<Part>,
) -> Option<Template> {
    let parts = match (server, output) {
        (Server::Beside(host, port), Output::Url | Output::Brokers) => url(host, *port),
        (Server::Beside(host, _), Output::Host) => vec![literal(host)],
        (Server::Beside(_, port), Output::Port) => vec![literal(port.to_string())],
        (Server::Beside(..), Output::User | Output::Name) => vec![literal(account)],
        (Server::At(url), Output::Url | Output::Brokers) => url.0.clone(),
        (Server::At(url), Output::Host | Output::Port) => match host_and_port(url) {
            Some((host, _)) if output == Output::Host => vec![literal(host)],
            Some((_, port)) => vec![literal(port.to_string())],
            None => vec![secret(name, output)],
        },
        (Server::Beside(..) | Server::At(_) | Server::Rented, output) => vec![secret(name, output)],
    };
    Some(Template(parts))
}

/// The host and port that a URL names, when neither is a secret.
fn host_and_port(url: &Template) -> Option<(String, u16)> {
    let text = url.as_literal()?;
    let (scheme, rest) = text.split_once("://").unwrap_or(("", &text));
    let authority = rest.split(['/', '?', ',']).next()?;
    let authority = authority.rsplit('@').next()?;
    match authority.rsplit_once(':') {
        Some((host, port)) => Some((host.to_owned(), port.parse().ok()?)),
        None => {
            let port = match scheme {
                "https" => 443,
                "http" => 80,
                "postgres" | "postgresql" => port::POSTGRES,
                "redis" | "rediss" => port::REDIS,
                _ => return None,
            };
            Some((authority.to_owned(), port))
        }
    }
}

/// What clients of a server beside the services log in with, where no URL can hold it.
pub(crate) fn credentials(resource: &Resource, _: Place) -> Vec<(&'static str, Template)> {
    let of = |word: &str| {
        let name = format!("{}_{word}", resource.name.upper());
        let name = name.parse().expect("an upper-case name with a word behind it");
        Template(vec![Part::Secret { name }])
    };
    match &resource.spec {
        ResourceSpec::Bucket(Bucket {
            via: BucketVia::Local | BucketVia::Docker { .. }, ..
        }) => {
            vec![
                ("AWS_ACCESS_KEY_ID", of("ACCESS_KEY_ID")),
                ("AWS_SECRET_ACCESS_KEY", of("SECRET_ACCESS_KEY")),
            ]
        }
        // ElasticMQ takes any key, and its clients insist on having one.
        ResourceSpec::Queue(Queue { via: QueueVia::Docker { .. }, .. }) => vec![
            ("AWS_ACCESS_KEY_ID", Template::literal("elasticmq")),
            ("AWS_SECRET_ACCESS_KEY", Template::literal("elasticmq")),
        ],
        ResourceSpec::Bucket(_)
        | ResourceSpec::Queue(_)
        | ResourceSpec::Postgres(_)
        | ResourceSpec::Redis(_)
        | ResourceSpec::Kafka(_)
        | ResourceSpec::Http(_)
        | ResourceSpec::Volume(_)
        | ResourceSpec::Image(_) => Vec::new(),
    }
}

fn literal(text: impl Into<String>) -> Part {
    Part::Literal(text.into())
}

/// The secret that holds an output of a resource: `DB_PASSWORD`.
pub(crate) fn secret_name(resource: &ResourceName, output: Output) -> SecretName {
    let word = output.as_str().to_ascii_uppercase();
    format!("{}_{word}", resource.upper())
        .parse()
        .expect("an upper-case name with a word behind it is a secret name")
}

fn secret(resource: &ResourceName, output: Output) -> Part {
    Part::Secret { name: secret_name(resource, output) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(resource: &str) -> Plan {
        let text = format!(
            "plimsoll: 1\napp: my-shop\nservices: {{api: {{run: ./api, port: 8080, uses: [it]}}}}\n\
             resources: {{it: {resource}}}\n\
             environments: {{production: {{target: kubernetes, domain: a.example, cloud: {{provider: aws, region: eu-west-1}}}}}}"
        );
        let manifest = manifest::parse(&text).unwrap();
        manifest::resolve(&manifest, "production").unwrap().plan
    }

    fn told(resource: &str, place: Place) -> Vec<String> {
        let plan = plan(resource);
        let it = plan.resources.get("it").unwrap();
        let outputs = it.spec.kind().outputs();
        outputs
            .iter()
            .map(|output| {
                let value = of_resource(&plan, place, it, *output);
                format!("{}={}", output.as_str(), value.map_or("-".into(), |v| v.to_string()))
            })
            .collect()
    }

    #[test]
    fn what_runs_beside_has_an_address_and_what_is_rented_is_a_secret() {
        assert_eq!(
            told("{type: postgres, via: cloudnative-pg}", Place::Kubernetes),
            [
                "url=postgres://my_shop:${secret:IT_PASSWORD}@it-rw:5432/my_shop",
                "host=it-rw",
                "port=5432",
                "user=my_shop",
                "password=${secret:IT_PASSWORD}",
                "name=my_shop"
            ]
        );
        assert_eq!(
            told("{type: postgres, via: aws-rds}", Place::Kubernetes)[..2],
            ["url=${secret:IT_URL}", "host=${secret:IT_HOST}"]
        );
        assert_eq!(
            told("{type: kafka, via: strimzi}", Place::Compose),
            ["brokers=it:9092", "host=it", "port=9092"]
        );
        assert_eq!(
            told("{type: redis, via: url, url: 'rediss://cache.example:6380/1'}", Place::Compose),
            [
                "url=rediss://cache.example:6380/1",
                "host=cache.example",
                "port=6380",
                "password=${secret:IT_PASSWORD}"
            ]
        );
        assert_eq!(
            told("{type: bucket, via: aws-s3}", Place::Kubernetes),
            [
                "name=my-shop-production-it",
                "url=s3://my-shop-production-it",
                "endpoint=https://s3.eu-west-1.amazonaws.com",
                "region=eu-west-1"
            ]
        );
    }
}
