//! A resource that runs elsewhere: its outputs are read from its URL, and it is only asked whether
//! it answers. It deliberately changes nothing there: no database is made, no topic.

use http::Uri;
use manifest::plan::{Resource, ResourceType};
use manifest::template::Output;
use percent_encoding::percent_decode_str;

use super::{Outputs, Provided, Unavailable, elsewhere};
use crate::driver::Check;

/// What the address of such a resource looks like.
pub(super) fn form(kind: ResourceType) -> &'static str {
    match kind {
        ResourceType::Postgres => "postgres://user:password@host:5432/database",
        ResourceType::Redis => "redis://:password@host:6379/0",
        ResourceType::Kafka => "host:9092,host:9092",
        ResourceType::Bucket => "https://s3.example.com/bucket",
        ResourceType::Queue => "https://sqs.example.com/queue",
        ResourceType::Http | ResourceType::Image => "http://host:port",
        ResourceType::Volume => "/a/directory",
    }
}

pub(super) fn bad_url(resource: &Resource, problem: impl Into<String>) -> Unavailable {
    Unavailable::BadUrl {
        name: resource.name.to_string(),
        problem: problem.into(),
        form: form(resource.spec.kind()),
    }
}

pub(super) fn provide(resource: &Resource, url: &str) -> Result<Provided, Unavailable> {
    let kind = resource.spec.kind();
    match kind {
        ResourceType::Kafka => kafka(resource, url),
        ResourceType::Volume => {
            Ok(super::directory(url.into(), |path| Outputs::from([(Output::Path, path)])))
        }
        ResourceType::Bucket if url.starts_with("s3://") => {
            let name = url.trim_start_matches("s3://").trim_end_matches('/').to_owned();
            let outputs = [(Output::Url, url.to_owned()), (Output::Name, name)];
            Ok(elsewhere(Check::Nothing, outputs.into(), None))
        }
        _ => by_url(resource, url),
    }
}

fn by_url(resource: &Resource, url: &str) -> Result<Provided, Unavailable> {
    let kind = resource.spec.kind();
    let uri: Uri = url.parse().map_err(|_| bad_url(resource, "it is not a URL"))?;
    let scheme = uri.scheme_str().ok_or_else(|| bad_url(resource, "it has no scheme"))?;
    let authority = uri.authority().ok_or_else(|| bad_url(resource, "it has no host"))?;
    let host = authority.host();
    let port = authority
        .port_u16()
        .or_else(|| port_of(scheme))
        .ok_or_else(|| bad_url(resource, "it has no port"))?;
    let (user, password) = login(authority.as_str());
    let address = format!("{host}:{port}");
    let name = uri.path().trim_matches('/');
    let mut outputs = Outputs::from([
        (Output::Url, url.to_owned()),
        (Output::Host, host.to_owned()),
        (Output::Port, port.to_string()),
    ]);
    let mut put = |output, value: &str| outputs.insert(output, value.to_owned());
    let check = match kind {
        ResourceType::Postgres => {
            put(Output::User, user.as_deref().unwrap_or_default());
            put(Output::Password, password.as_deref().unwrap_or_default());
            put(Output::Name, &decode(name));
            Check::Postgres(address)
        }
        ResourceType::Redis => {
            put(Output::Password, password.as_deref().unwrap_or_default());
            match (scheme, &user) {
                // With TLS or a named user only the port is tried; `run` probes the rest.
                ("redis", None) => Check::Redis { address, password },
                _ => Check::Tcp(address),
            }
        }
        ResourceType::Bucket | ResourceType::Queue => {
            put(Output::Name, name.rsplit('/').next().unwrap_or_default());
            put(Output::Endpoint, &format!("{scheme}://{host}:{port}"));
            Check::Tcp(address)
        }
        // Somebody else's outage must not keep a developer from starting.
        _ => Check::Nothing,
    };
    Ok(elsewhere(check, outputs, Some(port)))
}

fn kafka(resource: &Resource, brokers: &str) -> Result<Provided, Unavailable> {
    let first = brokers.split(',').next().unwrap_or_default().trim();
    let (host, port) = first
        .rsplit_once(':')
        .and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)))
        .ok_or_else(|| bad_url(resource, "it is not a list of `host:port`"))?;
    let outputs = Outputs::from([
        (Output::Brokers, brokers.to_owned()),
        (Output::Host, host.to_owned()),
        (Output::Port, port.to_string()),
    ]);
    Ok(elsewhere(Check::Tcp(first.to_owned()), outputs, Some(port)))
}

fn port_of(scheme: &str) -> Option<u16> {
    Some(match scheme {
        "postgres" | "postgresql" => 5432,
        "redis" | "rediss" => 6379,
        "http" => 80,
        "https" => 443,
        _ => return None,
    })
}

/// User and password before the `@`, decoded; an empty user is none.
fn login(authority: &str) -> (Option<String>, Option<String>) {
    let Some((login, _)) = authority.rsplit_once('@') else { return (None, None) };
    let (user, password) = match login.split_once(':') {
        Some((user, password)) => (user, Some(decode(password))),
        None => (login, None),
    };
    (Some(decode(user)).filter(|user| !user.is_empty()), password)
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}
