//! Calls of our own to the world outside: one TLS stack and one HTTP client for probes, secret
//! providers, key sets and telemetry.
//!
//! The roots are those of the machine (`SSL_CERT_FILE`, `SSL_CERT_DIR` or the distribution's), and
//! Mozilla's where there are none, as in an image built from scratch. Proxy variables
//! (`HTTPS_PROXY`, `NO_PROXY`) are honoured. It deliberately retries nothing: who calls decides.
//!
//! Invariant: every answer is bounded in time and in bytes.

mod hidden;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

pub use hidden::Hidden;
use rustls::{
    ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier,
    pki_types::{CertificateDer, pem::PemObject},
};

/// Most bytes of an answer that [`read`] takes.
pub const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A call that failed. Its text never holds the address's query or credentials.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// The peer could not be asked, or did not answer in time.
    #[error("{0}")]
    Http(String),
    /// The answer is longer than [`ANSWER_BYTES_MAX`].
    #[error("the answer is longer than {limit} bytes")]
    TooLong {
        /// The limit in force.
        limit: usize,
    },
}

impl From<reqwest::Error> for OutboundError {
    fn from(error: reqwest::Error) -> Self {
        // The address may hold a token.
        let error = error.without_url();
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        Self::Http(text)
    }
}

/// The TLS settings of every client of ours. Loads the roots on the first call.
pub fn tls() -> Arc<ClientConfig> {
    static TLS: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    TLS.get_or_init(|| Arc::new(config())).clone()
}

fn config() -> ClientConfig {
    tls_builder().with_root_certificates(roots()).with_no_client_auth()
}

/// The certificates that we trust when nothing else is said.
pub fn roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

/// The begin of TLS settings of their own, for a peer with certificates of its own.
pub fn tls_builder() -> ConfigBuilder<ClientConfig, WantsVerifier> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring speaks TLS 1.2 and 1.3")
}

/// A client whose calls end within `timeout`. Redirects are not followed: the peers that we ask
/// have one address, and a token must not travel to another.
///
/// # Errors
/// When the environment names a proxy that is none.
pub fn client(timeout: Duration) -> Result<reqwest::Client, OutboundError> {
    client_with((*tls()).clone(), timeout)
}

/// The same with TLS settings of its own.
///
/// # Errors
/// As for [`client`].
pub fn client_with(tls: ClientConfig, timeout: Duration) -> Result<reqwest::Client, OutboundError> {
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .timeout(timeout)
        .redirect(reqwest::redirect::Policy::none())
        .build()?;
    Ok(client)
}

/// A client as [`client`], for peers that only the authorities in `pem` vouch for.
///
/// # Errors
/// When `pem` holds no certificate.
pub fn client_trusting(timeout: Duration, pem: &[u8]) -> Result<reqwest::Client, OutboundError> {
    let certificates = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok);
    let mut roots = RootCertStore::empty();
    if roots.add_parsable_certificates(certificates).0 == 0 {
        return Err(OutboundError::Http("the CA file holds no certificate in PEM".into()));
    }
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(
            tls_builder().with_root_certificates(roots).with_no_client_auth(),
        )
        .timeout(timeout)
        .redirect(reqwest::redirect::Policy::none())
        .build()?;
    Ok(client)
}

/// The body of an answer.
///
/// # Errors
/// When it breaks off, or is longer than [`ANSWER_BYTES_MAX`].
pub async fn read(mut answer: reqwest::Response) -> Result<Vec<u8>, OutboundError> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(OutboundError::TooLong { limit: ANSWER_BYTES_MAX });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failure_does_not_show_the_address() {
        let client = client(Duration::from_secs(5)).expect("a client");
        let asked = client.get("http://127.0.0.1:1/?token=hunter2").send().await;
        let error = OutboundError::from(asked.expect_err("nobody listens on port 1"));
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn there_is_one_tls_stack() {
        assert!(Arc::ptr_eq(&tls(), &tls()));
    }
}
