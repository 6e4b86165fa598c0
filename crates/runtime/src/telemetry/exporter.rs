//! Makes the SDK's OTLP exporter from our settings: our TLS, our HTTP client, our header fields.
//!
//! The exporter would read the same variables again by itself, without the secrets resolved; the
//! guard therefore starts the engine without them. It deliberately connects to nothing: the first
//! export does.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use http::{HeaderMap, HeaderName, HeaderValue};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry_otlp::tonic_types::metadata::MetadataMap;
use opentelemetry_otlp::{
    Compression, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanExporter as _;
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tonic::transport::Endpoint;

use super::settings::{Export, Protocol};
use crate::outbound::{self, Hidden};

/// Why nothing can be exported.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExporterError {
    /// A PEM file that cannot be used.
    #[error("`{}` cannot be used: {problem}", path.display())]
    Pem { path: PathBuf, problem: String },
    /// A header field that HTTP does not allow.
    #[error("the header field `{name}` has a value that HTTP does not allow")]
    Header { name: String },
    /// TLS or the exporter refuses the settings.
    #[error("{0}")]
    Refused(String),
}

/// The exporter of these settings.
pub(super) fn build(export: &Export, resource: &Resource) -> Result<SpanExporter, ExporterError> {
    let mut exporter = match export.protocol {
        Protocol::Http => over_http(export)?,
        Protocol::Grpc => over_grpc(export)?,
    };
    exporter.set_resource(resource);
    Ok(exporter)
}

fn over_http(export: &Export) -> Result<SpanExporter, ExporterError> {
    let client = outbound::client_with(tls(export)?, export.timeout);
    let client = client.map_err(|error| ExporterError::Refused(error.to_string()))?;
    let headers: HashMap<_, _> = fields(&export.headers)?
        .iter()
        .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())))
        .collect();
    let mut builder = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_endpoint(export.endpoint.reveal())
        .with_timeout(export.timeout)
        .with_headers(headers);
    if export.is_compressed {
        builder = builder.with_compression(Compression::Gzip);
    }
    builder.build().map_err(|error| ExporterError::Refused(error.to_string()))
}

fn over_grpc(export: &Export) -> Result<SpanExporter, ExporterError> {
    let refused = |error: &dyn std::fmt::Display| ExporterError::Refused(error.to_string());
    // The address may hold credentials: the error of its reader is not shown.
    let endpoint = Endpoint::from_shared(export.endpoint.reveal().to_owned())
        .map_err(|_| ExporterError::Refused("the endpoint is not an address".to_owned()))?;
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(export.timeout));
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls(export)?)
        .https_or_http()
        .enable_http2()
        .wrap_connector(tcp);
    let channel = endpoint.timeout(export.timeout).connect_with_connector_lazy(connector);
    let metadata = MetadataMap::from_headers(fields(&export.headers)?);
    let mut builder = SpanExporter::builder()
        .with_tonic()
        .with_channel(channel)
        .with_timeout(export.timeout)
        .with_metadata(metadata);
    if export.is_compressed {
        builder = builder.with_compression(Compression::Gzip);
    }
    builder.build().map_err(|error| refused(&error))
}

fn fields(
    headers: &std::collections::BTreeMap<String, Hidden>,
) -> Result<HeaderMap, ExporterError> {
    let mut fields = HeaderMap::new();
    for (name, value) in headers {
        let wrong = || ExporterError::Header { name: name.clone() };
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        let mut value = HeaderValue::from_str(value.reveal()).map_err(|_| wrong())?;
        value.set_sensitive(true);
        fields.insert(key, value);
    }
    Ok(fields)
}

/// The TLS settings of everybody, unless the variables name certificates of their own.
fn tls(export: &Export) -> Result<ClientConfig, ExporterError> {
    if export.certificate.is_none() && export.client.is_none() {
        return Ok((*outbound::tls()).clone());
    }
    let refused = |error: rustls::Error| ExporterError::Refused(error.to_string());
    let builder = match &export.certificate {
        None => outbound::tls_builder().with_root_certificates(outbound::roots()),
        Some(path) => {
            let mut roots = rustls::RootCertStore::empty();
            roots.add_parsable_certificates(certificates(path)?);
            outbound::tls_builder().with_root_certificates(roots)
        }
    };
    match &export.client {
        None => Ok(builder.with_no_client_auth()),
        Some((certificate, key)) => {
            let pem = read(key)?;
            let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| ExporterError::Pem {
                path: key.clone(),
                problem: error.to_string(),
            })?;
            builder.with_client_auth_cert(certificates(certificate)?, key).map_err(refused)
        }
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ExporterError> {
    let wrong = |problem: String| ExporterError::Pem { path: path.to_owned(), problem };
    let pem = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = found.map_err(|error| wrong(error.to_string()))?;
    if found.is_empty() {
        return Err(wrong("it holds no certificate".to_owned()));
    }
    Ok(found)
}

fn read(path: &Path) -> Result<Vec<u8>, ExporterError> {
    fs::read(path)
        .map_err(|error| ExporterError::Pem { path: path.to_owned(), problem: error.to_string() })
}
