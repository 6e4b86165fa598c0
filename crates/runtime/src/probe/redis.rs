//! Probe: Redis answers `PING`, and a list is not longer than it should be.
//!
//! One connection is kept and asked again and again; a broken one is replaced at the next probe.
//! The driver is given a socket of ours, since its own would look names up without a bound.
//! Invariant: no failure's text holds a credential.

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo,
    RedisError,
};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;

use super::tcp::{Tcp, reason};
use super::tls::{self, Trust};
use super::{Found, settings};
use crate::board::Depth;

/// Probes a server.
#[derive(Debug)]
pub(super) struct Redis {
    address: Result<ConnectionInfo, String>,
    tcp: Option<Tcp>,
    llen: Option<String>,
    warn: Option<u64>,
    session: Option<Session>,
    step: Step,
}

/// What is being waited for.
#[derive(Clone, Copy, Debug)]
enum Step {
    Connect,
    Login,
    Ping,
}

/// A login; dropping it closes the connection, whatever it is doing.
struct Session {
    connection: MultiplexedConnection,
    driver: AbortHandle,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Session")
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Understands an address.
pub(super) fn address(url: &str) -> Result<ConnectionInfo, String> {
    if redis::parse_redis_url(url).is_none() {
        return Err("it must begin with `redis://`, `rediss://` or `unix://`".into());
    }
    // The driver says what is wrong without showing the address.
    url.into_connection_info().map_err(|error| error.to_string())
}

impl Redis {
    pub(super) fn new(settings: &settings::Redis) -> Self {
        let address = address(&settings.url.0);
        let tcp = address.as_ref().ok().and_then(|address| match address.addr() {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                Some(Tcp::new(host_port(host, *port)))
            }
            _ => None,
        });
        let (llen, warn) = (settings.llen.clone(), settings.warn);
        Self { address, tcp, llen, warn, session: None, step: Step::Connect }
    }

    /// Asks once. May be dropped at any point; the connection is then closed.
    pub(super) async fn check(&mut self) -> Found {
        if let Some(session) = self.session.take() {
            self.step = Step::Ping;
            match self.ask(session).await {
                // The server closed it between two probes, as servers and proxies do.
                Err(error) if error.is_connection_dropped() || error.is_io_error() => {}
                Err(error) => return Err(said(&error)).into(),
                Ok(found) => return found,
            }
        }
        let session = match self.login().await {
            Ok(session) => session,
            Err(refused) => return Err(refused).into(),
        };
        self.step = Step::Ping;
        match self.ask(session).await {
            Ok(found) => found,
            Err(error) => Err(said(&error)).into(),
        }
    }

    pub(super) fn waited_for(&self) -> String {
        let name = || match self.address.as_ref().map(ConnectionInfo::addr) {
            Ok(address) => address.to_string(),
            Err(_) => String::new(),
        };
        match (self.step, &self.tcp) {
            (Step::Connect, Some(tcp)) => tcp.waited_for(),
            (Step::Connect, None) => format!("connect to `{}`", name()),
            (Step::Login, _) => format!("log in at `{}`", name()),
            (Step::Ping, _) => "PING".into(),
        }
    }

    async fn ask(&mut self, mut session: Session) -> Result<Found, RedisError> {
        let connection = &mut session.connection;
        redis::cmd("PING").query_async::<()>(connection).await?;
        let mut found = Found::from(Ok(()));
        if let Some(key) = &self.llen {
            let length: u64 = redis::cmd("LLEN").arg(key).query_async(connection).await?;
            found.depth = Some(Depth { what: "length", value: length, warn: self.warn });
        }
        self.session = Some(session);
        Ok(found)
    }

    async fn login(&mut self) -> Result<Session, String> {
        self.step = Step::Connect;
        let address = self.address.clone()?;
        if let (ConnectionAddr::Unix(path), _) = (address.addr(), ()) {
            let stream = UnixStream::connect(path)
                .await
                .map_err(|error| format!("connect to `{}`: {}", path.display(), reason(&error)))?;
            return self.open(&address, stream).await;
        }
        let tcp = self.tcp.as_mut().ok_or("the address cannot be connected to")?;
        let stream = tcp.connect().await?;
        // Without it an answer may wait for an acknowledgement.
        let _ = stream.set_nodelay(true);
        let ConnectionAddr::TcpTls { host, insecure, .. } = address.addr() else {
            return self.open(&address, stream).await;
        };
        self.step = Step::Login;
        let trust = if *insecure { Trust::Anyone } else { Trust::Name };
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
            .map_err(|_| format!("TLS: `{host}` is not a server's name"))?;
        let stream = TlsConnector::from(tls::config(trust, None)?)
            .connect(name, stream)
            .await
            .map_err(|error| format!("TLS: {}", tls::reason(&error)))?;
        self.open(&address, stream).await
    }

    async fn open<S>(&mut self, address: &ConnectionInfo, stream: S) -> Result<Session, String>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.step = Step::Login;
        // The probe as a whole has a limit.
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let login = address.redis_settings();
        let opened = MultiplexedConnection::new_with_config(login, stream, config).await;
        let (connection, driver) = opened.map_err(|error| format!("login: {}", said(&error)))?;
        Ok(Session { connection, driver: tokio::spawn(driver).abort_handle() })
    }
}

fn host_port(host: &str, port: u16) -> String {
    let is_bare_v6 = host.contains(':') && !host.starts_with('[');
    if is_bare_v6 { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// An answer of the server in words; what a person does about each is different.
fn said(error: &RedisError) -> String {
    let detail = error.detail().unwrap_or_default();
    if error.kind() == ErrorKind::AuthenticationFailed {
        return "WRONGPASS: user or password is wrong".into();
    }
    match error.code().unwrap_or_default() {
        "LOADING" => "LOADING: the server still loads its data".into(),
        "NOAUTH" => "NOAUTH: the server asks for a password and the address has none".into(),
        "WRONGPASS" => "WRONGPASS: user or password is wrong".into(),
        "NOPERM" => format!("NOPERM: {detail}"),
        "READONLY" => "READONLY: the server is a replica and takes no writes".into(),
        "MASTERDOWN" => "MASTERDOWN: the replica has lost its master".into(),
        "MISCONF" => "MISCONF: the server cannot save to disk and takes no writes".into(),
        "" => {
            let text = error.to_string();
            text[..text.find(" (os error").unwrap_or(text.len())].to_owned()
        }
        code => format!("{code}: {detail}"),
    }
}

#[cfg(test)]
mod tests;
