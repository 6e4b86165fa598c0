//! Asks one process, once, whether it is ready. It deliberately logs in nowhere: that a login and a
//! query work is the probe of whoever uses the database, inside `plimsoll run`.
//!
//! *Invariant: an answer takes at most [`ASK_LIMIT`], and reads at most [`ANSWER_BYTES_MAX`].*

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use contract::bodies::{Ready, ReadyStatus, Status};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::up::Check as ReadyCheck;

/// How long one answer may take.
pub(super) const ASK_LIMIT: Duration = Duration::from_secs(1);
/// How much of an answer is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// How it is found out that something is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// It is, as soon as it exists.
    Nothing,
    /// `/ready` on the Unix socket of `plimsoll run`.
    Admin(PathBuf),
    /// A connection to `host:port` is accepted.
    Tcp(String),
    /// A Postgres at `host:port` answers the first message of the protocol.
    Postgres(String),
    /// A Redis answers `PING`.
    Redis {
        /// `host:port`.
        address: String,
        /// What `AUTH` needs, if anything.
        password: Option<String>,
    },
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// What is lacking; `None` is ready.
    pub(super) lacks: Option<String>,
    /// The checks behind it, where there are any.
    pub(super) checks: BTreeMap<String, ReadyCheck>,
}

/// Asks once.
pub(super) async fn ask(check: &Check) -> Answer {
    let asking = async {
        match check {
            Check::Nothing => Ok(None),
            Check::Admin(sock) => return admin(sock).await,
            Check::Tcp(address) => TcpStream::connect(address).await.map(|_| None),
            Check::Postgres(address) => postgres(address).await,
            Check::Redis { address, password } => redis(address, password.as_deref()).await,
        }
        .map(|lacks| Answer { lacks, checks: BTreeMap::new() })
    };
    match tokio::time::timeout(ASK_LIMIT, asking).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => Answer::lacking(words(check, &error)),
        Err(_) => Answer::lacking(format!("no answer within {} s", ASK_LIMIT.as_secs())),
    }
}

impl Answer {
    fn lacking(what: String) -> Self {
        Self { lacks: Some(what), checks: BTreeMap::new() }
    }
}

fn words(check: &Check, error: &io::Error) -> String {
    match (check, error.kind()) {
        (Check::Admin(_), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            "its admin socket is not there yet".into()
        }
        (Check::Tcp(at) | Check::Postgres(at) | Check::Redis { address: at, .. }, _) => {
            format!("{at}: {error}")
        }
        _ => error.to_string(),
    }
}

async fn admin(sock: &Path) -> io::Result<Answer> {
    let stream = UnixStream::connect(sock).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    let request = hyper::Request::get(contract::endpoints::READY.path)
        .header("host", "localhost")
        .header("connection", "close")
        .body(Empty::<bytes::Bytes>::new())
        .map_err(io::Error::other)?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
        Ok::<_, io::Error>(body.collect().await.map_err(io::Error::other)?.to_bytes())
    };
    tokio::pin!(connection);
    tokio::pin!(exchange);
    let body = tokio::select! {
        body = &mut exchange => body?,
        // The connection may end before its last bytes were taken from it.
        _ = &mut connection => exchange.await?,
    };
    let ready: Ready = serde_json::from_slice(&body).map_err(io::Error::other)?;
    Ok(answer_of(ready))
}

fn answer_of(ready: Ready) -> Answer {
    let lacks = (ready.status == ReadyStatus::Unready).then(|| match ready.reasons.is_empty() {
        true => "gives no reason".to_owned(),
        false => ready.reasons.join(", "),
    });
    let check = |(name, status): (String, Status)| {
        let is_passing = status != Status::Fail;
        let output = if status == Status::Pass { String::new() } else { format!("{status:?}") };
        (name, ReadyCheck { is_passing, output: output.to_lowercase() })
    };
    Answer { lacks, checks: ready.checks.into_iter().map(check).collect() }
}

/// Sends a startup message and looks at the first byte of the answer: a request for a password, or
/// a refusal of this very login, comes only from a server that takes logins.
async fn postgres(address: &str) -> io::Result<Option<String>> {
    const STARTING_UP: &[u8] = b"C57P03\0";
    let mut message = vec![0, 0, 0, 0, 0, 3, 0, 0];
    message
        .extend_from_slice(b"user\0plimsoll\0database\0postgres\0application_name\0plimsoll\0\0");
    let length = u32::try_from(message.len()).map_err(io::Error::other)?;
    message[..4].copy_from_slice(&length.to_be_bytes());
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(&message).await?;
    let mut answer = [0; 1024];
    let n_read = stream.read(&mut answer).await?;
    let answer = &answer[..n_read];
    Ok(match answer.first() {
        Some(b'R') => None,
        Some(b'E') if answer.windows(STARTING_UP.len()).any(|at| at == STARTING_UP) => {
            Some("starting up".into())
        }
        Some(b'E') => None,
        Some(_) => Some(format!("what answers at {address} is not a Postgres")),
        None => Some("closed the connection".into()),
    })
}

async fn redis(address: &str, password: Option<&str>) -> io::Result<Option<String>> {
    let mut stream = TcpStream::connect(address).await?;
    if let Some(password) = password {
        stream.write_all(&resp(&["AUTH", password])).await?;
        let answer = line(&mut stream).await?;
        if !answer.starts_with('+') && !answer.contains("no password is set") {
            return Ok(Some(answer));
        }
    }
    stream.write_all(&resp(&["PING"])).await?;
    let answer = line(&mut stream).await?;
    Ok((!answer.starts_with("+PONG")).then_some(answer))
}

fn resp(words: &[&str]) -> Vec<u8> {
    let mut command = format!("*{}\r\n", words.len());
    for word in words {
        command.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    command.into_bytes()
}

async fn line(stream: &mut TcpStream) -> io::Result<String> {
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n") && answer.len() < 256 {
        match stream.read_u8().await {
            Ok(byte) => answer.push(byte),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error),
        }
    }
    Ok(String::from_utf8_lossy(&answer).trim_end().to_owned())
}
