//! The providers of secrets, each a file of its own, behind one question: what stands at this path?
//!
//! It deliberately retries nothing and keeps no values: `store` decides both. Invariant: an answer
//! comes within the timeout that it is asked with, and what it says of a failure holds no value.

mod age;
mod aws;
mod exec;
mod file;
mod variable;
mod vault;

use std::time::Duration;

use super::{
    fault::Fault,
    settings::ProviderSettings,
    value::{Fetched, Lease},
};

/// Where something stands, as one provider knows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) path: String,
    pub(super) field: Option<String>,
    pub(super) version: Option<u64>,
}

/// One provider, ready to be asked.
#[derive(Debug)]
pub(super) enum Provider {
    Variable(variable::Variables),
    File(file::Files),
    Exec(exec::Program),
    Age(age::AgeFile),
    Vault(Box<vault::Vault>),
    Aws(Box<aws::Aws>),
}

impl Provider {
    /// Makes one; nothing is asked yet.
    pub(super) fn new(settings: &ProviderSettings, timeout: Duration) -> Result<Self, Fault> {
        Ok(match settings.clone() {
            ProviderSettings::Env { prefix } => Self::Variable(variable::Variables::new(prefix)),
            ProviderSettings::File { directories } => Self::File(file::Files::mounted(directories)),
            ProviderSettings::Dir { path } => Self::File(file::Files::exact(path)),
            ProviderSettings::Exec { command } => Self::Exec(exec::Program::new(command)),
            ProviderSettings::Age { file, identity } => {
                Self::Age(age::AgeFile::new(file, identity))
            }
            ProviderSettings::Vault(vault) => {
                Self::Vault(Box::new(vault::Vault::new(vault, timeout)?))
            }
            ProviderSettings::AwsSm(aws) => {
                Self::Aws(Box::new(aws::Aws::new(aws::Service::SecretsManager, aws, timeout)?))
            }
            ProviderSettings::AwsSsm(aws) => {
                Self::Aws(Box::new(aws::Aws::new(aws::Service::ParameterStore, aws, timeout)?))
            }
        })
    }

    /// What stands there, within `limit`.
    pub(super) async fn fetch(&self, place: &Place, limit: Duration) -> Result<Fetched, Fault> {
        let answer = async {
            match self {
                Self::Variable(variables) => variables.fetch(place),
                Self::File(files) => files.fetch(place).await,
                Self::Exec(program) => program.fetch(place).await,
                Self::Age(file) => file.fetch(place).await,
                Self::Vault(vault) => vault.fetch(place).await,
                Self::Aws(aws) => aws.fetch(place).await,
            }
        };
        let late = || Fault::unreachable(format!("no answer within {} ms", limit.as_millis()));
        tokio::time::timeout(limit, answer).await.unwrap_or_else(|_| Err(late()))
    }

    /// Makes a lease last longer; only a Vault has them.
    pub(super) async fn renew(&self, lease: &Lease, limit: Duration) -> Result<Lease, Fault> {
        let Self::Vault(vault) = self else { return Err(Fault::missing("it has no leases")) };
        let late = || Fault::unreachable(format!("no answer within {} ms", limit.as_millis()));
        tokio::time::timeout(limit, vault.renew(lease)).await.unwrap_or_else(|_| Err(late()))
    }

    /// The type, as in settings and in metrics.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Variable(_) => "env",
            Self::File(files) => files.word(),
            Self::Exec(_) => "exec",
            Self::Age(_) => "age",
            Self::Vault(_) => "vault",
            Self::Aws(aws) => aws.word(),
        }
    }
}
