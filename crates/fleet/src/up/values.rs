//! What placeholders stand for on this machine: addresses of what runs here, and secrets.
//!
//! Secrets come from the environment of `plimsoll up`, then from `.env`. They go into the
//! environment of the service that asks for them and nowhere else: nothing here prints a value.

use std::collections::BTreeMap;
use std::path::Path;

use manifest::names::SecretName;
use manifest::template::{Part, ServiceOutput, Template};

use super::{Error, Options, Problem};
use crate::resource::Outputs;

/// What is known about a service before it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) port: Option<u16>,
    /// Where people reach it, through the edge.
    pub(super) public_url: Option<String>,
    /// Ports of the listeners that its calls go through, by resource.
    pub(super) calls: BTreeMap<String, u16>,
}

/// All values of one platform.
#[derive(Debug)]
pub(super) struct Values<'a> {
    pub(super) options: &'a Options,
    pub(super) resources: BTreeMap<String, Outputs>,
    pub(super) services: BTreeMap<String, Address>,
}

/// Reads the `.env` file of a directory; one that is not there is empty.
///
/// # Errors
/// When it cannot be read or has a line that is not `NAME=value`.
pub fn read_dotenv(dir: &Path) -> Result<BTreeMap<String, String>, Error> {
    let path = dir.join(".env");
    if !path.exists() {
        return Ok(BTreeMap::new());
    }
    let lines = dotenvy::from_path_iter(&path)
        .map_err(|error| Error::Dotenv { path: path.clone(), problem: problem(&error) })?;
    lines
        .collect::<Result<_, _>>()
        .map_err(|error| Error::Dotenv { path: path.clone(), problem: problem(&error) })
}

/// The words of the library repeat the line, and with it perhaps a secret.
fn problem(error: &dotenvy::Error) -> String {
    match error {
        dotenvy::Error::LineParse(_, at) => format!("a line cannot be understood (column {at})"),
        dotenvy::Error::Io(error) => error.to_string(),
        _ => "its text cannot be understood".into(),
    }
}

impl Values<'_> {
    /// Fills in every open part; `place` and `service` are for the message.
    pub(super) fn fill(&self, service: &str, template: &Template) -> Result<String, Problem> {
        template.fill(|part| self.value_of(service, part))
    }

    /// The value of a secret of a service.
    pub(super) fn secret(&self, service: &str, name: &SecretName) -> Result<String, Problem> {
        secret(self.options, name.as_str())
            .ok_or_else(|| Problem::NoSecret { service: service.to_owned(), key: name.to_string() })
    }

    /// What one open part stands for.
    pub(super) fn value_of(&self, service: &str, part: &Part) -> Result<String, Problem> {
        let value = match part {
            Part::Literal(text) => Some(text.clone()),
            Part::Secret { name } => return self.secret(service, name),
            Part::Resource { resource, output } => {
                self.resources.get(resource.as_str()).and_then(|all| all.get(output).cloned())
            }
            Part::Service { service, output } => {
                self.services.get(service.as_str()).and_then(|it| it.value_of(*output))
            }
        };
        value.ok_or_else(|| Problem::NoValue {
            place: format!("service `{service}`"),
            placeholder: part.to_string(),
        })
    }
}

impl Address {
    fn value_of(&self, output: ServiceOutput) -> Option<String> {
        match output {
            ServiceOutput::Url => self.port.map(|port| format!("http://127.0.0.1:{port}")),
            ServiceOutput::Host => Some("127.0.0.1".into()),
            ServiceOutput::Port => self.port.map(|port| port.to_string()),
            ServiceOutput::PublicUrl => self.public_url.clone(),
        }
    }
}

/// A value from outside; an empty one is none.
pub(super) fn secret(options: &Options, name: &str) -> Option<String> {
    let from = [&options.variables, &options.dotenv];
    from.iter().find_map(|from| from.get(name)).filter(|value| !value.is_empty()).cloned()
}
