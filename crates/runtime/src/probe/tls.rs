//! How much a probe trusts the server that it speaks TLS with.
//!
//! Databases say so in their addresses (`sslmode`), and a probe that trusted less than the
//! application does would call a database down that works. It deliberately has no client
//! certificates. Invariant: without a word to the contrary the server's name and chain are checked.

use std::{io, path::Path, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};

use super::tcp;
use crate::outbound;

/// What of the server's certificate is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// Its chain and its name.
    Name,
    /// Its chain alone, as `sslmode=verify-ca`.
    Chain,
    /// Nothing: encrypted, but by whomever, as `sslmode=require`.
    Anyone,
}

/// The settings of a client that trusts so much, with these roots in place of the machine's.
pub(super) fn config(trust: Trust, roots: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    if (trust, roots) == (Trust::Name, None) {
        return Ok(outbound::tls());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = match roots {
        Some(file) => Arc::new(read_roots(file)?),
        None => Arc::new(outbound::roots()),
    };
    let inner = match trust {
        Trust::Anyone => None,
        Trust::Name | Trust::Chain => {
            let builder = WebPkiServerVerifier::builder_with_provider(roots, provider.clone());
            Some(builder.build().map_err(|error| format!("no usable root certificate: {error}"))?)
        }
    };
    let verifier = Lenient { inner, provider: provider.clone(), trust };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring speaks TLS 1.2 and 1.3");
    let verifier = Arc::new(verifier);
    Ok(Arc::new(
        builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth(),
    ))
}

/// Why a handshake failed, in words that say what to mend.
pub(super) fn reason(error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    let said = match inner {
        Some(Error::InvalidCertificate(problem)) => match problem {
            CertificateError::UnknownIssuer => {
                "is signed by nobody whom we trust; `SSL_CERT_FILE` names the trusted"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "is for another name"
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired",
            _ => return tcp::reason(error),
        },
        _ => return tcp::reason(error),
    };
    format!("the server's certificate {said}")
}

fn read_roots(file: &Path) -> Result<RootCertStore, String> {
    let certificates = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| {
            format!("cannot read the root certificates `{}`: {error}", file.display())
        })?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates);
    if roots.is_empty() {
        return Err(format!("`{}` holds no root certificate", file.display()));
    }
    Ok(roots)
}

/// Checks what it was told to and no more.
#[derive(Debug)]
struct Lenient {
    inner: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
    trust: Trust,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(inner) = &self.inner else { return Ok(ServerCertVerified::assertion()) };
        let checked =
            inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match checked {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.trust == Trust::Chain => Ok(ServerCertVerified::assertion()),
            checked => checked,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
