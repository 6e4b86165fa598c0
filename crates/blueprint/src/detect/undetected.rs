//! Why the sources of a service say too little, and what to write so that they need not.

use manifest::names::ServiceName;
use manifest::plan::{Language, PackageManager};

/// Why the sources of a service say too little.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undetected {
    /// No marker file.
    #[error("nothing in `{path}` says which language service `{service}` is written in")]
    Nothing {
        /// The service.
        service: ServiceName,
        /// Its directory.
        path: String,
    },
    /// Lock files of several package managers.
    #[error("service `{service}` has lock files of {}", quoted(found))]
    Several {
        /// The service.
        service: ServiceName,
        /// The package managers.
        found: Vec<PackageManager>,
    },
    /// A language, and nothing that says what installs its packages.
    #[error(
        "service `{service}` is written in {language}, and neither `{path}` nor a directory above \
         has a lock file of {}",
        managers(*language).join(", ")
    )]
    NoLock {
        /// The service.
        service: ServiceName,
        /// Its language.
        language: Language,
        /// Its directory.
        path: String,
    },
    /// A lock file of Bun.
    #[error("service `{service}` has the lock file `{lock}`: bun is not supported yet")]
    Bun {
        /// The service.
        service: ServiceName,
        /// The lock file.
        lock: String,
    },
    /// Nothing to start: its image would be without a command.
    #[error("`services.{service}.run` is missing, and its sources do not say what starts it")]
    NoCommand {
        /// The service.
        service: ServiceName,
    },
}

impl Undetected {
    /// What to do about it.
    #[must_use]
    pub fn help(&self) -> String {
        match self {
            Undetected::Nothing { service, .. } => format!(
                "write `services.{service}.language: python` and `package_manager: poetry`, or \
                 whatever it is; or commit its lock file"
            ),
            Undetected::Several { service, found } => {
                let first = found.first().map_or("", |manager| manager.as_str());
                format!("write `services.{service}.package_manager: {first}`")
            }
            Undetected::NoLock { service, language, .. } => {
                let first = super::usual(*language);
                format!(
                    "commit its lock file; or write `services.{service}.package_manager: {first}`, \
                     if it is made before the image is; or, if it is written in something else, \
                     `services.{service}.language`"
                )
            }
            Undetected::Bun { service, lock } => {
                let directory = lock.rsplit_once('/').map_or(".", |(directory, _)| directory);
                let dockerfile = super::join(directory, "Dockerfile");
                format!(
                    "commit a lock file of npm, pnpm or yarn beside it (`npm install \
                     --package-lock-only`); or write `services.{service}.package_manager: npm`, \
                     and after the render take its Dockerfile over with `plimsoll eject \
                     {dockerfile}` and let bun install in it"
                )
            }
            Undetected::NoCommand { service } => {
                format!("write `run: ...` below `services.{service}`, or `static: ...` for a site")
            }
        }
    }
}

/// What may install the packages of a language.
fn managers(language: Language) -> Vec<String> {
    let all = PackageManager::ALL.iter().filter(|manager| manager.language() == language);
    all.map(|manager| format!("`{manager}`")).collect()
}

fn quoted(managers: &[PackageManager]) -> String {
    let words: Vec<String> = managers.iter().map(|manager| format!("`{manager}`")).collect();
    words.join(" and ")
}
