//! Where the tools are kept that no package brings: outside the repository, shared by checkouts.
//!
//! `cargo xtask tools` fills it. It deliberately looks nothing up on the network.

use std::path::PathBuf;

/// Names the cache's directory, in place of the user's.
const CACHE: &str = "PLIMSOLL_CACHE";

/// Helm, in the cache: its version.
pub const HELM: &str = "helm-3.22.0";

/// The programs that `plimsoll verify` hands artifacts to, in the cache. A changed list gets a new
/// number.
pub const VERIFIERS: &str = "verifiers-1";
/// The programs of a Docker engine, in the cache: the version of Debian that they come from.
pub const DOCKER_ENGINE: &str = "docker-debian13";

/// Stand-ins for base images, in the cache. What is made otherwise gets a new number.
pub const BASE_IMAGES: &str = "images-1";

/// The jars of Kafka's broker, in the cache: its version.
pub const KAFKA_JARS: &str = "kafka-4.1.1";

/// The Python packages of the tests, in the cache. A changed list gets a new number.
pub const PYTHON_PACKAGES: &str = "python-2";

/// The Vault of the tests, in the cache: its version.
pub const VAULT: &str = "vault-1.21.4";

/// The directory of the cache: `PLIMSOLL_CACHE`, or `plimsoll` in the user's cache.
#[must_use]
pub fn tool_cache() -> PathBuf {
    let named = std::env::var_os(CACHE).map(PathBuf::from);
    let of_user = || Some(PathBuf::from(std::env::var_os("XDG_CACHE_HOME")?).join("plimsoll"));
    let of_home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/plimsoll"));
    let cache = named.or_else(of_user).or_else(of_home);
    cache.unwrap_or_else(|| std::env::temp_dir().join("plimsoll-cache"))
}

/// The value of `PYTHONPATH` with which `python3` finds the packages of the tests.
///
/// # Panics
/// When they are not installed; the message says how.
#[must_use]
pub fn python_path() -> PathBuf {
    let path = tool_cache().join(PYTHON_PACKAGES);
    assert!(path.is_dir(), "`{}` is missing: run `cargo xtask tools --for test`", path.display());
    path
}
