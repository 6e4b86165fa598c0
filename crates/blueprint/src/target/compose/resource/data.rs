//! Servers that keep data: Postgres, Redis, and an S3 API.

use manifest::plan::{Bucket, Postgres, Redis, Resource};
use manifest::template::{Output, Template};
use manifest::units::Millis;

use super::server::{Server, check, script};
use super::{Fragment, named_volume};
use crate::address::{self, Place, port};
use crate::node::Node;
use crate::target::compose::hardening::Share;
use crate::target::compose::secret;
use crate::target::compose::stack::{Stack, companion};

/// The port of the object store's web pages.
pub(super) const MINIO_CONSOLE: u16 = 9001;

/// The first major version whose image keeps data one directory higher.
const POSTGRES_MOVED: u32 = 18;

/// Redis refuses writes above this, below its limit: a copy for the disk needs room as well.
const REDIS_MAXMEMORY: &str = "384mb";

pub(super) fn postgres(stack: &Stack<'_>, resource: &Resource, postgres: &Postgres) -> Fragment {
    let name = &resource.name;
    let of = |output| {
        let template = address::of_resource(stack.plan, Place::Compose, resource, output);
        template.as_ref().and_then(Template::as_literal).map(Into::into).unwrap_or_default()
    };
    let (user, database): (String, String) = (of(Output::User), of(Output::Name));
    let password = address::secret_name(name, Output::Password);
    let major: u32 = postgres.version.split('.').next().and_then(|v| v.parse().ok()).unwrap_or(0);
    let data = if major >= POSTGRES_MOVED { "" } else { "/data" };
    let mut server = Server::new(&postgres.image(), Share::new(2000, 1024, 256));
    // Asked over TCP: while the image prepares a new directory, only the socket answers.
    server.health =
        Some(check(&["pg_isready", "-q", "-h", "127.0.0.1", "-U", &user, "-d", &database]));
    server.environment = vec![
        ("POSTGRES_USER".to_owned(), user.into()),
        ("POSTGRES_DB".to_owned(), database.into()),
        ("POSTGRES_PASSWORD_FILE".to_owned(), secret::path(&password).into()),
    ];
    server.secrets = vec![password];
    server.mounts = vec![format!("{}:/var/lib/postgresql{data}", name.dns())];
    server.shm_size = Some("256m");
    server.user = Some("postgres");
    server.tmpfs = vec!["/tmp", "/var/run/postgresql"];
    let mut fragment = server.fragment(stack, resource);
    fragment.volumes.push(named_volume(resource));
    fragment
}

/// The password goes from its file to the server over a file in memory: arguments and environment
/// of a process can be read by others.
pub(super) fn redis(stack: &Stack<'_>, resource: &Resource, redis: &Redis) -> Fragment {
    let password = address::secret_name(&resource.name, Output::Password);
    let file = secret::path(&password);
    let mut server = Server::new(&redis.image(), Share::new(1000, 512, 64));
    let keep = if redis.persistent { "--appendonly yes --dir /data" } else { "--save ''" };
    let start = format!(
        "umask 077\n\
         printf 'requirepass %s\\n' \"$(cat {file})\" >/tmp/redis.conf\n\
         exec redis-server /tmp/redis.conf --maxmemory {REDIS_MAXMEMORY} \
         --maxmemory-policy noeviction {keep}"
    );
    server.command = vec!["sh".to_owned(), "-ceu".to_owned(), start];
    server.health =
        Some(script(&format!("REDISCLI_AUTH=\"$(cat {file})\" redis-cli ping | grep -q PONG")));
    server.secrets = vec![password];
    server.user = Some("redis");
    server.tmpfs = vec!["/tmp"];
    if redis.persistent {
        server.mounts = vec![format!("{}:/data", resource.name.dns())];
    }
    let mut fragment = server.fragment(stack, resource);
    if redis.persistent {
        fragment.volumes.push(named_volume(resource));
    }
    fragment
}

pub(super) fn bucket(stack: &Stack<'_>, resource: &Resource, bucket: &Bucket) -> Fragment {
    let name = &resource.name;
    let keys = address::credentials(resource, Place::Compose);
    let keys: Vec<_> = keys.iter().flat_map(|(_, template)| template.secrets()).cloned().collect();
    let file = |index: usize| keys.get(index).map(secret::path).unwrap_or_default();
    let (id, key) = (file(0), file(1));
    let mut server = Server::new(bucket.image(), Share::new(1000, 1024, 256));
    server.command = ["server", "/data", "--address", ":9000", "--console-address", ":9001"]
        .map(str::to_owned)
        .to_vec();
    server.environment = vec![
        ("MINIO_ROOT_USER_FILE".to_owned(), Node::from(id.clone())),
        ("MINIO_ROOT_PASSWORD_FILE".to_owned(), Node::from(key.clone())),
    ];
    server.secrets.clone_from(&keys);
    server.mounts = vec![format!("{}:/data", name.dns())];
    server.health = Some(check(&["mc", "ready", "local"]));
    let mut fragment = server.fragment(stack, resource);
    fragment.volumes.push(named_volume(resource));

    let mut setup = Server::new(bucket.image(), Share::new(500, 256, 64));
    setup.entrypoint = vec!["sh".to_owned(), "-ceu".to_owned()];
    let host = format!("http://$(cat {id}):$(cat {key})@{}:{}", name.dns(), port::MINIO);
    let bucket_name = address::of_resource(stack.plan, Place::Compose, resource, Output::Name);
    let bucket_name = bucket_name.as_ref().and_then(Template::as_literal).unwrap_or_default();
    setup.command = vec![setup_script(&host, &bucket_name, bucket)];
    setup.secrets = keys;
    setup.environment = vec![("MC_CONFIG_DIR".to_owned(), "/tmp/mc".into())];
    setup.tmpfs = vec!["/tmp"];
    let setup_name = companion(stack.plan, &name.dns(), "bucket");
    fragment.containers.push((setup_name.clone(), setup.once(stack, resource)));
    fragment.waits.push((setup_name, "service_completed_successfully"));
    fragment
}

/// Makes the bucket with its rules; safe to repeat.
fn setup_script(host: &str, name: &str, bucket: &Bucket) -> String {
    let mut lines =
        vec![format!("export MC_HOST_it=\"{host}\""), format!("mc mb --ignore-existing it/{name}")];
    if bucket.versioned {
        lines.push(format!("mc version enable it/{name}"));
    }
    if let Some(age) = bucket.delete_after {
        let days = days(age);
        let rule = format!(
            r#"{{"Rules":[{{"ID":"delete","Status":"Enabled","Expiration":{{"Days":{days}}}}}]}}"#
        );
        lines.push(format!("echo '{rule}' | mc ilm rule import it/{name}"));
    }
    lines.join("\n")
}

/// Whole days, at least one.
fn days(age: Millis) -> u64 {
    age.0.div_ceil(24 * 3600 * 1000).max(1)
}
