//! Probe: PostgreSQL lets us log in, answers a query, and has the schema that the service needs.
//!
//! One connection is kept and asked again and again; a broken one is replaced at the next probe.
//! Each question is one read-only transaction with a limit of the server's own, in one message, so
//! that nothing is left behind in a pooler, and nothing is written whatever the query says. It
//! deliberately takes no driver's pool. Invariant: no failure's text holds a credential, and a
//! name server or a server that hangs costs no more than the timeout.

mod address;

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio_postgres::{AsyncMessage, Client, NoTls, SimpleQueryMessage, tls::MakeTlsConnect};
use tokio_postgres_rustls::MakeRustlsConnect;

pub(super) use address::address;

use self::address::{Address, Host, Role, Tls};
use super::settings;
use super::tcp::{Tcp, reason};
use super::tls;

/// Shown in `pg_stat_activity`.
const APPLICATION_NAME: &str = "plimsoll";

/// Probes a database.
#[derive(Debug)]
pub(super) struct Postgres {
    address: Result<Address, String>,
    hosts: Vec<Tcp>,
    question: Question,
    session: Option<Session>,
    step: Step,
}

/// What is asked, ready to be sent.
#[derive(Debug)]
struct Question {
    check: String,
    schema: Option<(String, String)>,
}

/// What is being waited for.
#[derive(Clone, Copy, Debug)]
enum Step {
    Connect(usize),
    Login(usize),
    Query,
}

/// A login; dropping it closes the connection, whatever it is doing.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) client: Client,
    connection: AbortHandle,
    /// Told of each notification of a channel that it listens to.
    pub(crate) told: Arc<Notify>,
}

/// Logs in as a probe does, for whoever needs more than a probe.
///
/// # Errors
/// What was in the way, without credentials.
pub(crate) async fn login(url: &str, limit: Duration) -> Result<Session, String> {
    let settings = settings::Postgres {
        url: super::Confidential(url.to_owned()),
        sql: String::new(),
        schema_version: None,
    };
    let mut postgres = Postgres::new(&settings, limit);
    let session = tokio::time::timeout(limit, postgres.login()).await;
    session.unwrap_or_else(|_| Err(postgres.waited_for()))
}

impl Drop for Session {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Postgres {
    pub(super) fn new(settings: &settings::Postgres, timeout: Duration) -> Self {
        let address = address(&settings.url.0);
        let hosts = address.as_ref().map_or(&[][..], |address| &address.hosts);
        let hosts = hosts.iter().map(|host| Tcp::new(host.to_string())).collect();
        let ask = |sql: &str| {
            let ms = timeout.as_millis();
            // The line ends in case the query does so with a comment.
            format!("begin read only; set local statement_timeout = {ms}; {sql}\n; commit")
        };
        let schema = settings.schema_version.as_ref();
        let question = Question {
            check: ask(&settings.sql),
            schema: schema.map(|schema| (ask(&schema.sql), schema.equals.clone())),
        };
        Self { address, hosts, question, session: None, step: Step::Connect(0) }
    }

    /// Asks once. May be dropped at any point; the connection is then closed.
    pub(super) async fn check(&mut self) -> Result<(), String> {
        let kept = self.session.take().filter(|session| !session.client.is_closed());
        if let Some(session) = kept {
            self.step = Step::Query;
            match self.question.ask(&session.client).await {
                // The server closed it between two probes, as servers and poolers do.
                Err(Failure::Broken(_)) => {}
                answer => return self.keep(session, answer),
            }
        }
        let session = self.login().await?;
        self.step = Step::Query;
        let answer = self.question.ask(&session.client).await;
        self.keep(session, answer)
    }

    /// Keeps the connection if it can be asked again.
    fn keep(&mut self, session: Session, answer: Result<(), Failure>) -> Result<(), String> {
        match answer {
            Ok(()) => self.session = Some(session),
            Err(Failure::Answer(said)) => {
                self.session = Some(session);
                return Err(said);
            }
            Err(Failure::Refused(said) | Failure::Broken(said)) => return Err(said),
        }
        Ok(())
    }

    pub(super) fn waited_for(&self) -> String {
        let name = |index: usize| {
            let hosts = self.address.as_ref().ok().map(|address| &address.hosts);
            hosts.and_then(|hosts| hosts.get(index)).map(ToString::to_string).unwrap_or_default()
        };
        match self.step {
            Step::Connect(index) => match self.hosts.get(index) {
                Some(tcp) => tcp.waited_for(),
                None => format!("connect to `{}`", name(index)),
            },
            Step::Login(index) => format!("log in at `{}`", name(index)),
            Step::Query => "query".into(),
        }
    }

    /// Logs in at the first host that takes us and is what the address asks for.
    async fn login(&mut self) -> Result<Session, String> {
        let address = self.address.clone()?;
        let mut refusal = "the address names no host".to_owned();
        for (index, host) in address.hosts.iter().enumerate() {
            self.step = Step::Connect(index);
            match self.login_at(&address, index, host).await {
                Ok(session) => return Ok(session),
                Err(refused) => refusal = refused,
            }
        }
        Err(refusal)
    }

    async fn login_at(
        &mut self,
        address: &Address,
        index: usize,
        host: &Host,
    ) -> Result<Session, String> {
        let mut config = address.config.clone();
        config.application_name(APPLICATION_NAME);
        let session = match host {
            Host::Unix { socket, .. } => {
                let stream = UnixStream::connect(socket).await.map_err(|error| {
                    format!("connect to `{}`: {}", socket.display(), reason(&error))
                })?;
                self.step = Step::Login(index);
                Session::open(config.connect_raw(stream, NoTls).await)
            }
            Host::Tcp { name, .. } => {
                let stream = self.hosts[index].connect().await?;
                // Without it an answer may wait for an acknowledgement.
                let _ = stream.set_nodelay(true);
                self.step = Step::Login(index);
                match &address.tls {
                    Tls::Off => Session::open(config.connect_raw(stream, NoTls).await),
                    Tls::On { trust, roots } => {
                        let client = tls::config(*trust, roots.as_deref())?;
                        let mut maker = MakeRustlsConnect::new((*client).clone());
                        let Ok(connector) =
                            MakeTlsConnect::<TcpStream>::make_tls_connect(&mut maker, name);
                        Session::open(config.connect_raw(stream, connector).await)
                    }
                }
            }
        };
        let session = session.map_err(|error| format!("login: {}", said(&error)))?;
        address.role.check(&session.client).await?;
        Ok(session)
    }
}

impl Session {
    fn open<S, T>(
        opened: Result<(Client, tokio_postgres::Connection<S, T>), tokio_postgres::Error>,
    ) -> Result<Self, tokio_postgres::Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (client, mut connection) = opened?;
        let told = Arc::new(Notify::new());
        let tell = told.clone();
        let driven = tokio::spawn(async move {
            while let Some(Ok(message)) =
                std::future::poll_fn(|context| connection.poll_message(context)).await
            {
                if let AsyncMessage::Notification(_) = message {
                    tell.notify_one();
                }
            }
            // Whoever waits shall see that it is closed.
            drop(connection);
            tell.notify_one();
        });
        Ok(Self { client, connection: driven.abort_handle(), told })
    }
}

/// Why a question failed.
enum Failure {
    /// The server answered, and the answer is no.
    Answer(String),
    /// The server refused the question; the transaction is in pieces.
    Refused(String),
    /// The connection is gone.
    Broken(String),
}

impl Question {
    async fn ask(&self, client: &Client) -> Result<(), Failure> {
        let failed = |error: &tokio_postgres::Error, about: &str| {
            let text = format!("{about}: {}", said(error));
            if error.as_db_error().is_some() && !client.is_closed() {
                Failure::Refused(text)
            } else {
                Failure::Broken(text)
            }
        };
        client.simple_query(&self.check).await.map_err(|error| failed(&error, "query"))?;
        let Some((sql, expected)) = &self.schema else { return Ok(()) };
        let rows =
            client.simple_query(sql).await.map_err(|error| failed(&error, "schema version"))?;
        let row = rows.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let Some(row) = row else {
            return Err(Failure::Answer("schema version: the query gave no row".into()));
        };
        match row.try_get(0).ok().flatten() {
            Some(version) if version == expected => Ok(()),
            Some(version) => {
                Err(Failure::Answer(format!("schema is at `{version}`, expected `{expected}`")))
            }
            None => Err(Failure::Answer(format!("schema has no version, expected `{expected}`"))),
        }
    }
}

impl Role {
    async fn check(self, client: &Client) -> Result<(), String> {
        let wanted = match self {
            Role::Any => return Ok(()),
            Role::Writable => "off",
            Role::ReadOnly => "on",
        };
        let rows = client.simple_query("show transaction_read_only").await;
        let rows = rows.map_err(|error| format!("query: {}", said(&error)))?;
        let is = rows.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        if is == Some(wanted) {
            return Ok(());
        }
        let is_not = if self == Role::Writable { "takes no writes" } else { "is no replica" };
        Err(format!("login: the server {is_not}, which `target_session_attrs` asks for"))
    }
}

/// An error of the driver in words: the server's own where it spoke.
fn said(error: &tokio_postgres::Error) -> String {
    if let Some(error) = error.as_db_error() {
        return format!("{} ({})", error.message(), error.code().code());
    }
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests;
