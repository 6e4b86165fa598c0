//! Asks the admin endpoints of another process: the health check of an image without a shell.
//!
//! Plain blocking calls of the standard library, because starting an async runtime would take
//! longer than the question. It deliberately understands only what our own server answers.
//! Invariant: it returns within the timeout, and holds no more than [`ANSWER_BYTES_MAX`].

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use contract::endpoints;
use socket2::{Domain, SockAddr, Socket, Type};
use thiserror::Error;

/// Most bytes of an answer that are read.
pub const ANSWER_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Whom to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The TCP listener. An unspecified address (`0.0.0.0`) is asked on loopback.
    Tcp(SocketAddr),
    /// The Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Tcp(address) => address.fmt(f),
            Target::Unix(path) => path.display().fmt(f),
        }
    }
}

/// What to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Is it alive?
    Live,
    /// May traffic come?
    Ready,
    /// Is all well?
    Health,
    /// Has it started?
    Started,
}

impl Question {
    /// The path that answers it.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Question::Live => endpoints::LIVE.path,
            Question::Ready => endpoints::READY.path,
            Question::Health => endpoints::HEALTH.path,
            Question::Started => endpoints::STARTED.path,
        }
    }
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Yes (200) or no (503).
    pub is_yes: bool,
    /// The body, JSON.
    pub body: String,
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody listens there.
    #[error(
        "cannot connect to `{target}`: {error}\n\
         help: is `plimsoll run` running there? `PLIMSOLL_LISTEN` and `PLIMSOLL_SOCK` say where it listens"
    )]
    Connect {
        /// Who was asked.
        target: Target,
        /// What the kernel said.
        error: io::Error,
    },
    /// The time is over.
    #[error("`{target}` did not answer within {} ms\nhelp: raise `--timeout`", timeout.as_millis())]
    Timeout {
        /// Who was asked.
        target: Target,
        /// How long.
        timeout: Duration,
    },
    /// The connection broke.
    #[error("`{target}` broke off: {error}")]
    Broken {
        /// Who was asked.
        target: Target,
        /// What happened.
        error: io::Error,
    },
    /// Someone else answered.
    #[error(
        "`{target}` does not answer like `plimsoll run`: {found}\n\
         help: is that the admin address, and not the service's own port?"
    )]
    Strange {
        /// Who was asked.
        target: Target,
        /// What was seen.
        found: String,
    },
}

/// Asks one question.
///
/// # Errors
/// When no answer could be had, which is not a no.
pub fn probe(
    target: &Target,
    question: Question,
    timeout: Duration,
) -> Result<Answer, ClientError> {
    let (status, body) = get(target, question.path(), timeout)?;
    match status {
        200 => Ok(Answer { is_yes: true, body }),
        503 => Ok(Answer { is_yes: false, body }),
        _ => {
            Err(ClientError::Strange { target: target.clone(), found: format!("status {status}") })
        }
    }
}

/// Gets any path; returns the status and the body.
///
/// # Errors
/// As [`probe`].
pub fn get(target: &Target, path: &str, timeout: Duration) -> Result<(u16, String), ClientError> {
    call(target, "GET", path, timeout)
}

/// Asks any path without a body; returns the status and the body.
///
/// # Errors
/// As [`probe`].
pub fn call(
    target: &Target,
    method: &str,
    path: &str,
    timeout: Duration,
) -> Result<(u16, String), ClientError> {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: plimsoll\r\nConnection: close\r\n");
    let length = if method == "GET" { "" } else { "Content-Length: 0\r\n" };
    ask(target, format!("{request}{length}\r\n").as_bytes(), timeout)
}

/// Posts a body. No header may hold a line break: the caller has checked them.
///
/// # Errors
/// As [`probe`].
pub fn post(
    target: &Target,
    path: &str,
    headers: &[(String, String)],
    body: &[u8],
    timeout: Duration,
) -> Result<(u16, String), ClientError> {
    let length = body.len();
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nHost: plimsoll\r\nConnection: close\r\nContent-Length: {length}\r\n"
    );
    for (name, value) in headers {
        request.extend([name.as_str(), ": ", value.as_str(), "\r\n"]);
    }
    request.push_str("\r\n");
    let mut request = request.into_bytes();
    request.extend_from_slice(body);
    ask(target, &request, timeout)
}

fn ask(target: &Target, request: &[u8], timeout: Duration) -> Result<(u16, String), ClientError> {
    let deadline = Instant::now() + timeout;
    let mut socket =
        connect(target, timeout).map_err(|error| failed(target, timeout, error, true))?;
    let answer = exchange(&mut socket, request, deadline);
    let answer = answer.map_err(|error| failed(target, timeout, error, false))?;
    parse(&answer).ok_or_else(|| {
        let start = String::from_utf8_lossy(&answer[..answer.len().min(40)]).into_owned();
        let found =
            if start.is_empty() { "nothing".into() } else { format!("`{}`", start.escape_debug()) };
        ClientError::Strange { target: target.clone(), found }
    })
}

fn connect(target: &Target, timeout: Duration) -> io::Result<Socket> {
    let (domain, address) = match target {
        Target::Tcp(address) => {
            let mut address = *address;
            match address {
                SocketAddr::V4(v4) if v4.ip().is_unspecified() => {
                    address.set_ip(Ipv4Addr::LOCALHOST.into());
                }
                SocketAddr::V6(v6) if v6.ip().is_unspecified() => {
                    address.set_ip(Ipv6Addr::LOCALHOST.into());
                }
                _ => {}
            }
            (Domain::for_address(address), SockAddr::from(address))
        }
        Target::Unix(path) => (Domain::UNIX, SockAddr::unix(path)?),
    };
    let socket = Socket::new(domain, Type::STREAM, None)?;
    socket.connect_timeout(&address, timeout)?;
    Ok(socket)
}

fn exchange(socket: &mut Socket, request: &[u8], deadline: Instant) -> io::Result<Vec<u8>> {
    let left = || match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::Error::from(io::ErrorKind::TimedOut)),
        left => Ok(left),
    };
    socket.set_write_timeout(Some(left()?))?;
    match socket.write_all(request) {
        // Who refuses a long body answers before its end, and hangs up.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        written => written?,
    }
    let mut answer = Vec::new();
    let mut chunk = [0; 16 * 1024];
    while answer.len() < ANSWER_BYTES_MAX {
        socket.set_read_timeout(Some(left()?))?;
        match socket.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(answer)
}

fn failed(target: &Target, timeout: Duration, error: io::Error, is_connect: bool) -> ClientError {
    let target = target.clone();
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
            ClientError::Timeout { target, timeout }
        }
        _ if is_connect => ClientError::Connect { target, error },
        _ => ClientError::Broken { target, error },
    }
}

/// The status and the body of an answer whose length is known or that ends with the connection.
fn parse(answer: &[u8]) -> Option<(u16, String)> {
    let end = memchr::memmem::find(answer, b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>())
    });
    let body = &answer[end + 4..];
    let body = match length {
        Some(length) => body.get(..length.ok()?)?,
        None => body,
    };
    Some((status, String::from_utf8_lossy(body).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_apart() {
        let answer = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\n{}extra";
        assert_eq!(parse(answer), Some((503, "{}".into())));
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}"), None);
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}"), None);
        assert_eq!(parse(b"HTTP/2 200\r\n\r\n"), None);
        assert_eq!(parse(b"HTTP/1.1 2\xff0\r\n\r\n"), None);
        assert_eq!(parse(b""), None);
    }
}
