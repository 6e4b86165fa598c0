//! One request and its whole answer, over bytes that hide nothing.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

/// How long one answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// More than this is no answer to a test, bytes.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Its status code.
    pub status: u16,
    /// Status line and header fields, as they came.
    pub head: String,
    /// Its body, without chunks.
    pub body: Vec<u8>,
}

impl Response {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The value of a header field, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        let mut matching = fields.filter(|(field, _)| field.eq_ignore_ascii_case(name));
        matching.next().map(|(_, value)| value.trim())
    }
}

/// Asks `127.0.0.1:port` for a path.
///
/// # Errors
/// When nobody listens, nobody answers in time, or the answer is not HTTP.
pub fn get(port: u16, path: &str) -> io::Result<Response> {
    request(port, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
}

/// Sends the bytes of a request to `127.0.0.1:port`; it must ask for `Connection: close`.
///
/// # Errors
/// As for [`get`].
pub fn request(port: u16, request: &str) -> io::Result<Response> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    exchange(stream, request)
}

/// Asks a Unix socket for a path.
///
/// # Errors
/// As for [`get`].
pub fn get_unix(sock: &Path, path: &str) -> io::Result<Response> {
    let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    request_unix(sock, &head)
}

/// Sends the bytes of a request to a Unix socket; it must ask for `Connection: close`.
///
/// # Errors
/// As for [`get`].
pub fn request_unix(sock: &Path, request: &str) -> io::Result<Response> {
    let stream = UnixStream::connect(sock)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    exchange(stream, request)
}

fn exchange(mut stream: impl Read + Write, request: &str) -> io::Result<Response> {
    stream.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes)?;
    parse(&bytes).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, String::from_utf8_lossy(&bytes).into_owned())
    })
}

fn parse(bytes: &[u8]) -> Option<Response> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let mut response = Response { status, head, body: bytes[end + 4..].to_vec() };
    if response.header("transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
        response.body = without_chunks(&response.body)?;
    } else if let Some(length) = response.header("content-length") {
        // A body that was cut is no answer.
        let length: usize = length.parse().ok()?;
        if response.body.len() < length {
            return None;
        }
    }
    Some(response)
}

fn without_chunks(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = bytes.windows(2).position(|window| window == b"\r\n")?;
        let size = std::str::from_utf8(&bytes[..end]).ok()?.split(';').next()?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        bytes = &bytes[end + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(bytes.get(..size)?);
        bytes = bytes.get(size + 2..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_joined() {
        let bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        assert_eq!(parse(bytes).unwrap().body, b"abcde");
    }

    #[test]
    fn a_cut_body_is_no_answer() {
        assert!(parse(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc").is_none());
    }
}
