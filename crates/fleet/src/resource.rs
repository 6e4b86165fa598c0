//! What services use, on this machine: servers from installed binaries in private directories,
//! directories, or something that runs elsewhere and is given by its URL.
//!
//! [`provide`] decides and remembers (ports, passwords), it starts nothing: everything that is
//! missing is known before the first process runs. It deliberately downloads nothing and
//! starts no containers.
//!
//! *Invariant: a resource keeps its port (unless somebody took it), its password and its data from
//! one start to the next.*

mod account;
mod external;
mod kept;
mod postgres;
mod postgres_setup;
mod programs;
mod redis;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use contract::env_vars::resource_url as variable_of;
use manifest::plan::{
    BucketVia, HttpVia, ImageVia, KafkaVia, PostgresVia, QueueVia, RedisVia, Resource,
    ResourceSpec, VolumeVia,
};
use manifest::template::{Output, Template};

use crate::driver::{Check, Launch};

pub use postgres_setup::Cluster;

/// What a resource tells those who use it.
pub type Outputs = BTreeMap<Output, String>;

/// A resource, ready to be started.
#[derive(Debug, Clone)]
pub struct Provided {
    /// What stands behind it.
    pub launch: Launch,
    /// What it tells those who use it.
    pub outputs: Outputs,
    /// Its port on 127.0.0.1, if it has one.
    pub port: Option<u16>,
    /// Something the user should know, such as a directory in an unexpected place.
    pub note: Option<String>,
}

/// Where resources are provided.
pub struct Place<'a> {
    /// The application's name.
    pub app: &'a str,
    /// Where data of resources is kept: one directory for each.
    pub data: &'a Path,
    /// The environment of `plimsoll up` and its `.env` file.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// Fills in what is still open in a URL.
    pub fill: &'a dyn Fn(&Template) -> Result<String, String>,
}

/// Why a resource cannot be provided.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// No server of that kind is installed.
    #[error(
        "resource `{name}` needs {what}, and `{program}` is not installed\n\
         help: install it:        {install}\n\
         help: or use another:    {variable}=<url> plimsoll up\n\
         help: or in the manifest: `resources: {{{name}: {{via: url, url: \"...\"}}}}` for this environment"
    )]
    NotInstalled {
        /// The resource.
        name: String,
        /// What kind of server.
        what: &'static str,
        /// The program that was looked for.
        program: &'static str,
        /// How to install it here.
        install: String,
        /// The variable that takes a URL.
        variable: String,
    },
    /// `plimsoll up` cannot run this kind of resource.
    #[error(
        "resource `{name}` ({kind}, via `{via}`) is not run by `plimsoll up`\n\
         help: run one yourself ({hint}) and say where: {variable}=<{form}> plimsoll up\n\
         help: or in the manifest: `resources: {{{name}: {{via: url, ...}}}}` for this environment\n\
         help: or remove `{name}` from `uses` for this environment"
    )]
    NotRunHere {
        /// The resource.
        name: String,
        /// Its type.
        kind: &'static str,
        /// Who provides it elsewhere.
        via: &'static str,
        /// A command that runs one.
        hint: String,
        /// The variable that takes a URL.
        variable: String,
        /// What the variable must look like.
        form: &'static str,
    },
    /// A URL cannot be understood.
    #[error(
        "the address of resource `{name}` cannot be used: {problem}\nhelp: it looks like `{form}`"
    )]
    BadUrl {
        /// The resource.
        name: String,
        /// What is wrong with it; never the URL itself, which may hold a password.
        problem: String,
        /// What it should look like.
        form: &'static str,
    },
    /// The data on disk was made by another major version.
    #[error(
        "resource `{name}` has data of Postgres {found} in `{directory}`, and Postgres {installed} is installed\n\
         help: install Postgres {found} beside it\n\
         help: or throw the data away: rm -r '{directory}'\n\
         help: or carry it over: `pg_dump` with {found}, remove the directory, `psql` with {installed}"
    )]
    OtherVersion {
        /// The resource.
        name: String,
        /// The major version of the data.
        found: String,
        /// The major versions that are installed.
        installed: String,
        /// Where the data is.
        directory: String,
    },
    /// Something cannot be read or written.
    #[error("resource `{name}` cannot use `{path}`: {problem}")]
    Disk {
        /// The resource.
        name: String,
        /// The file or directory.
        path: String,
        /// What the system says.
        problem: String,
    },
    /// Postgres refuses to run as root, and there is no other account.
    #[error(
        "resource `{name}` needs an account other than root, and neither `postgres` nor `nobody` exists\n\
         help: run `plimsoll up` as an ordinary user"
    )]
    NoAccount {
        /// The resource.
        name: String,
    },
}

/// Decides how a resource is provided on this machine.
///
/// # Errors
/// When it cannot be, with the ways out.
pub fn provide(resource: &Resource, place: &Place<'_>) -> Result<Provided, Unavailable> {
    let name = resource.name.as_str();
    let given = (place.variable)(&variable_of(name));
    let url = match given {
        Some(url) => Some(url),
        None => url_in_plan(&resource.spec)
            .map(|template| (place.fill)(template))
            .transpose()
            .map_err(|problem| external::bad_url(resource, problem))?,
    };
    if let Some(url) = url {
        return external::provide(resource, &url);
    }
    match &resource.spec {
        ResourceSpec::Postgres(postgres) if postgres.via == PostgresVia::Local => {
            postgres::provide(name, postgres, place)
        }
        ResourceSpec::Redis(redis) if redis.via == RedisVia::Local => {
            redis::provide(name, redis, place)
        }
        ResourceSpec::Volume(_) => {
            Ok(directory(place.data.join(name), |path| Outputs::from([(Output::Path, path)])))
        }
        ResourceSpec::Bucket(bucket) if bucket.via == BucketVia::Local => {
            Ok(directory(place.data.join(name), |path| {
                let url = format!("file://{path}");
                Outputs::from([(Output::Name, name.to_owned()), (Output::Url, url)])
            }))
        }
        ResourceSpec::Postgres(_)
        | ResourceSpec::Redis(_)
        | ResourceSpec::Kafka(_)
        | ResourceSpec::Bucket(_)
        | ResourceSpec::Queue(_)
        | ResourceSpec::Http(_)
        | ResourceSpec::Image(_) => Err(not_run_here(resource)),
    }
}

fn url_in_plan(spec: &ResourceSpec) -> Option<&Template> {
    match spec {
        ResourceSpec::Postgres(it) => match &it.via {
            PostgresVia::Url { url } => Some(url),
            _ => None,
        },
        ResourceSpec::Redis(it) => match &it.via {
            RedisVia::Url { url } => Some(url),
            _ => None,
        },
        ResourceSpec::Kafka(it) => match &it.via {
            KafkaVia::Url { brokers } => Some(brokers),
            _ => None,
        },
        ResourceSpec::Bucket(it) => match &it.via {
            BucketVia::Url { url } => Some(url),
            _ => None,
        },
        ResourceSpec::Queue(it) => match &it.via {
            QueueVia::Url { url } => Some(url),
            _ => None,
        },
        ResourceSpec::Http(it) => match &it.via {
            HttpVia::Url { url } => Some(url),
            HttpVia::Mock { .. } => None,
        },
        ResourceSpec::Image(it) => match &it.via {
            ImageVia::Url { url } => Some(url),
            _ => None,
        },
        ResourceSpec::Volume(it) => match &it.via {
            VolumeVia::Local
            | VolumeVia::Docker
            | VolumeVia::Kubernetes { .. }
            | VolumeVia::AwsEfs
            | VolumeVia::HetznerVolume => None,
        },
    }
}

fn directory(path: PathBuf, outputs: impl FnOnce(String) -> Outputs) -> Provided {
    let outputs = outputs(path.display().to_string());
    Provided { launch: Launch::Directory(path), outputs, port: None, note: None }
}

fn not_run_here(resource: &Resource) -> Unavailable {
    let name = resource.name.to_string();
    let hint = match &resource.spec {
        ResourceSpec::Kafka(_) => "for instance `docker run -p 9092:9092 apache/kafka`".to_owned(),
        ResourceSpec::Bucket(_) => {
            "for instance `docker run -p 9000:9000 minio/minio server /data`".to_owned()
        }
        ResourceSpec::Queue(_) => {
            "for instance `docker run -p 9324:9324 softwaremill/elasticmq-native`".to_owned()
        }
        ResourceSpec::Image(image) => {
            format!("for instance `docker run -p {0}:{0} {1}`", image.port, image.image)
        }
        ResourceSpec::Http(http) => match &http.via {
            HttpVia::Mock { image, port } => {
                format!("for instance `docker run -p {port}:{port} {image}`")
            }
            HttpVia::Url { .. } => "or use the real one".to_owned(),
        },
        ResourceSpec::Postgres(postgres) => {
            format!("for instance `docker run -p 5432:5432 postgres:{}`", postgres.version)
        }
        ResourceSpec::Redis(redis) => {
            format!("for instance `docker run -p 6379:6379 redis:{}`", redis.version)
        }
        ResourceSpec::Volume(_) => "on this machine".to_owned(),
    };
    Unavailable::NotRunHere {
        variable: variable_of(&name),
        kind: resource.spec.kind().as_str(),
        via: resource.spec.via(),
        form: external::form(resource.spec.kind()),
        name,
        hint,
    }
}

/// A server of ours on loopback.
fn address(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

/// The check of something that runs elsewhere.
fn elsewhere(check: Check, outputs: Outputs, port: Option<u16>) -> Provided {
    Provided { launch: Launch::Elsewhere(check), outputs, port, note: None }
}
