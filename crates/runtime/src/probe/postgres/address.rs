//! What a PostgreSQL address says, as libpq understands it.
//!
//! Parameters that mean something to other clients only (pool sizes, a schema) are left out, so
//! that the address that the application uses can be given as it is. Invariant: no error shows a
//! part of the address but the name of a parameter.

use std::{fmt, path::PathBuf};

use percent_encoding::percent_decode_str;
use tokio_postgres::config::{self, SslMode};

use crate::probe::tls::Trust;

/// Where a server listens when the address does not say.
const PORT_DEFAULT: u16 = 5432;
/// Where the socket is when the address names no host.
const SOCKET_DIRECTORY: &str = "/var/run/postgresql";

/// A database, and how to get there.
#[derive(Clone, Debug)]
pub(in crate::probe) struct Address {
    pub(super) config: tokio_postgres::Config,
    pub(super) hosts: Vec<Host>,
    pub(super) tls: Tls,
    pub(super) role: Role,
}

/// One server of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    Tcp { name: String, port: u16 },
    Unix { socket: PathBuf },
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Tcp { name, port } if name.contains(':') => write!(f, "[{name}]:{port}"),
            Host::Tcp { name, port } => write!(f, "{name}:{port}"),
            Host::Unix { socket } => write!(f, "{}", socket.display()),
        }
    }
}

/// Whether to speak TLS, if the server does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tls {
    Off,
    On { trust: Trust, roots: Option<PathBuf> },
}

/// What the server must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Any,
    Writable,
    ReadOnly,
}

/// Understands an address.
pub(in crate::probe) fn address(url: &str) -> Result<Address, String> {
    let (scheme, rest) = url.split_once("://").ok_or("it is not a URL")?;
    // SQLAlchemy names its driver: `postgresql+asyncpg`.
    if !matches!(scheme.split('+').next(), Some("postgres" | "postgresql")) {
        return Err("it must begin with `postgres://` or `postgresql://`".into());
    }
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let parameters = Parameters::read(query)?;
    let query = if parameters.kept.is_empty() {
        String::new()
    } else {
        format!("?{}", parameters.kept.join("&"))
    };
    let mut config: tokio_postgres::Config = format!("postgresql://{place}{query}")
        .parse()
        .map_err(|error: tokio_postgres::Error| problem(&error))?;
    if config.get_user().is_none_or(str::is_empty) {
        return Err("it names no user".into());
    }
    let hosts = hosts(&config)?;
    let (mode, tls) = parameters.tls()?;
    config.ssl_mode(mode);
    Ok(Address { config, hosts, tls, role: parameters.role })
}

/// What the driver says, without its preface.
fn problem(error: &tokio_postgres::Error) -> String {
    let source = std::error::Error::source(error);
    source.map_or_else(|| error.to_string(), ToString::to_string)
}

/// The parameters of an address: those for the driver, and those that we understand ourselves.
struct Parameters {
    kept: Vec<String>,
    ssl_mode: String,
    roots: Option<PathBuf>,
    role: Role,
}

impl Parameters {
    fn read(query: &str) -> Result<Self, String> {
        let mut found =
            Self { kept: Vec::new(), ssl_mode: "prefer".into(), roots: None, role: Role::Any };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let text = percent_decode_str(value).decode_utf8_lossy().into_owned();
            match key {
                "user" | "password" | "dbname" | "options" | "host" | "hostaddr" | "port"
                | "channel_binding" => found.kept.push(pair.to_owned()),
                // asyncpg and others write `ssl`.
                "sslmode" | "ssl" => found.ssl_mode = text,
                "sslrootcert" if text != "system" => found.roots = Some(text.into()),
                "target_session_attrs" => {
                    found.role = match text.as_str() {
                        "any" | "prefer-standby" => Role::Any,
                        "read-write" | "primary" => Role::Writable,
                        "read-only" | "standby" => Role::ReadOnly,
                        _ => return Err("`target_session_attrs` has an unknown value".into()),
                    };
                }
                _ => {}
            }
        }
        Ok(found)
    }

    fn tls(&self) -> Result<(SslMode, Tls), String> {
        let on = |trust| Tls::On { trust, roots: self.roots.clone() };
        // As libpq does: with root certificates, `require` checks the chain.
        let encrypted = if self.roots.is_some() { Trust::Chain } else { Trust::Anyone };
        Ok(match self.ssl_mode.as_str() {
            "disable" | "false" => (SslMode::Disable, Tls::Off),
            "allow" | "prefer" | "no-verify" => (SslMode::Prefer, on(Trust::Anyone)),
            "require" | "true" => (SslMode::Require, on(encrypted)),
            "verify-ca" => (SslMode::Require, on(Trust::Chain)),
            "verify-full" => (SslMode::Require, on(Trust::Name)),
            _ => {
                return Err(
                    "`sslmode` is none of disable, allow, prefer, require, verify-ca, verify-full"
                        .into(),
                );
            }
        })
    }
}

fn hosts(config: &tokio_postgres::Config) -> Result<Vec<Host>, String> {
    let ports = config.get_ports();
    let port = |index: usize| {
        let port = if ports.len() > 1 { ports.get(index) } else { ports.first() };
        port.copied().unwrap_or(PORT_DEFAULT)
    };
    let names = config.get_hosts();
    if ports.len() > 1 && ports.len() != names.len() {
        return Err("it has more ports than hosts, or fewer".into());
    }
    if names.is_empty() {
        let addresses = config.get_hostaddrs().iter().enumerate();
        let hosts: Vec<_> = addresses
            .map(|(index, address)| Host::Tcp { name: address.to_string(), port: port(index) })
            .collect();
        return Ok(if hosts.is_empty() { vec![socket(SOCKET_DIRECTORY, port(0))] } else { hosts });
    }
    let hosts = names.iter().enumerate().map(|(index, host)| match host {
        config::Host::Tcp(name) => {
            let name = name.trim_start_matches('[').trim_end_matches(']').to_owned();
            Host::Tcp { name, port: port(index) }
        }
        config::Host::Unix(directory) => socket(&directory.to_string_lossy(), port(index)),
    });
    Ok(hosts.collect())
}

fn socket(directory: &str, port: u16) -> Host {
    Host::Unix { socket: PathBuf::from(directory).join(format!(".s.PGSQL.{port}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str) -> String {
        let address = address(url).expect("valid");
        let hosts: Vec<_> = address.hosts.iter().map(ToString::to_string).collect();
        let config = &address.config;
        format!(
            "{}@{}/{} {:?}",
            config.get_user().unwrap_or_default(),
            hosts.join(","),
            config.get_dbname().unwrap_or_default(),
            address.tls
        )
    }

    #[test]
    fn what_applications_write_is_understood() {
        let anyone = "On { trust: Anyone, roots: None }";
        for (url, expected) in [
            ("postgres://app:p%40ss@db/shop", format!("app@db:5432/shop {anyone}")),
            (
                "postgresql+asyncpg://app@db:6432/shop?ssl=require",
                format!("app@db:6432/shop {anyone}"),
            ),
            ("postgresql://app@a:1,b:2/x?sslmode=disable", "app@a:1,b:2/x Off".into()),
            (
                "postgresql:///x?host=/run/pg&user=app&port=7",
                format!("app@/run/pg/.s.PGSQL.7/x {anyone}"),
            ),
            (
                "postgres://app@%2Frun%2Fpg/x?schema=public&connection_limit=5",
                format!("app@/run/pg/.s.PGSQL.5432/x {anyone}"),
            ),
            ("postgres://app@[::1]:5/x", format!("app@[::1]:5/x {anyone}")),
            (
                "postgres://app@db/x?sslmode=verify-full",
                "app@db:5432/x On { trust: Name, roots: None }".into(),
            ),
            (
                "postgres://app@db/x?sslmode=require&sslrootcert=%2Fca.pem",
                "app@db:5432/x On { trust: Chain, roots: Some(\"/ca.pem\") }".into(),
            ),
        ] {
            assert_eq!(shown(url), expected, "{url}");
        }
        let config = address("postgres://app:p%40ss@db/shop").expect("valid").config;
        assert_eq!(config.get_password(), Some(&b"p@ss"[..]));
    }

    #[test]
    fn what_is_wrong_is_said_without_the_address() {
        for (url, problem) in [
            ("hush", "it is not a URL"),
            ("mysql://u:hush@db/x", "it must begin with `postgres://`"),
            ("postgres://:hush@db/x", "it names no user"),
            ("postgres://u:hush@db/x?sslmode=never", "`sslmode` is none of"),
            ("postgres://u:hush@db:hush/x", "port"),
        ] {
            let said = address(url).expect_err("invalid");
            assert!(said.contains(problem) && !said.contains("hush"), "{url}: {said}");
        }
    }
}
