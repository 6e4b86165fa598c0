//! Reads the metrics that the app itself exposes.
//!
//! It deliberately keeps nothing between two scrapes: what the app cannot tell now is not told.
//! Invariant: a read ends within its time limit and holds no more than its size limit.

use std::time::Duration;

use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::TcpStream;

use super::{Exposition, Form};

/// How long the app may take to tell its metrics.
pub const APP_METRICS_TIMEOUT: Duration = Duration::from_secs(2);
/// Most bytes of the app's metrics that are read.
pub const APP_METRICS_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Why the app's metrics could not be read.
#[derive(Debug, Error)]
pub enum ScrapeError {
    /// The address is none that can be asked.
    #[error("`{0}` is not an address of the form `http://host:port/path`")]
    Address(String),
    /// No answer in time.
    #[error("`{0}` did not answer within {APP_METRICS_TIMEOUT:?}")]
    Timeout(Uri),
    /// Not reachable.
    #[error("cannot connect to `{uri}`: {error}")]
    Connect {
        /// Who was asked.
        uri: Uri,
        /// What the kernel said.
        error: std::io::Error,
    },
    /// The exchange broke off.
    #[error("`{uri}` broke off: {error}")]
    Broken {
        /// Who was asked.
        uri: Uri,
        /// What happened.
        error: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another status than 200.
    #[error("`{uri}` answered {status}")]
    Status {
        /// Who was asked.
        uri: Uri,
        /// What was answered.
        status: StatusCode,
    },
}

/// Where the app exposes its metrics.
#[derive(Clone, Debug)]
pub struct AppMetrics {
    uri: Uri,
    authority: String,
}

impl AppMetrics {
    /// An address of the form `http://host:port/path`.
    ///
    /// # Errors
    /// [`ScrapeError::Address`] for anything else.
    pub fn new(address: &str) -> Result<Self, ScrapeError> {
        let refused = || ScrapeError::Address(address.to_owned());
        let uri: Uri = address.parse().map_err(|_| refused())?;
        let host = uri.host().filter(|_| uri.scheme_str() == Some("http")).ok_or_else(refused)?;
        let authority = format!("{host}:{}", uri.port_u16().unwrap_or(80));
        Ok(Self { uri, authority })
    }

    /// Asks the app.
    ///
    /// # Errors
    /// When it does not answer, in time and with status 200, no more than the limit.
    pub async fn read(&self) -> Result<Exposition, ScrapeError> {
        let answer = tokio::time::timeout(APP_METRICS_TIMEOUT, self.ask()).await;
        answer.unwrap_or_else(|_| Err(ScrapeError::Timeout(self.uri.clone())))
    }

    async fn ask(&self) -> Result<Exposition, ScrapeError> {
        let broken = |error| ScrapeError::Broken { uri: self.uri.clone(), error };
        let stream = TcpStream::connect(&self.authority)
            .await
            .map_err(|error| ScrapeError::Connect { uri: self.uri.clone(), error })?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| broken(error.into()))?;
        let connection = tokio::spawn(connection);
        let path = self.uri.path_and_query().map_or("/metrics", |path| path.as_str());
        let request = Request::get(path)
            .header(header::HOST, &self.authority)
            .header(header::ACCEPT, "text/plain;version=0.0.4;q=1,*/*;q=0.1")
            .header(header::CONNECTION, "close")
            .body(Empty::<Bytes>::new())
            .map_err(|error| broken(error.into()))?;
        let response = sender.send_request(request).await.map_err(|error| broken(error.into()));
        let result = match response {
            Ok(response) => self.exposition(response).await,
            Err(error) => Err(error),
        };
        connection.abort();
        result
    }

    async fn exposition(
        &self,
        response: http::Response<hyper::body::Incoming>,
    ) -> Result<Exposition, ScrapeError> {
        if response.status() != StatusCode::OK {
            let status = response.status();
            return Err(ScrapeError::Status { uri: self.uri.clone(), status });
        }
        let media_type = response.headers().get(header::CONTENT_TYPE);
        let is_open = media_type
            .is_some_and(|value| value.as_bytes().starts_with(b"application/openmetrics-text"));
        let form = if is_open { Form::OpenMetrics } else { Form::Text };
        let body = Limited::new(response.into_body(), APP_METRICS_BYTES_MAX);
        let bytes = body.collect().await;
        let bytes = bytes.map_err(|error| ScrapeError::Broken { uri: self.uri.clone(), error })?;
        Ok(Exposition::parse(&String::from_utf8_lossy(&bytes.to_bytes()), form))
    }
}
