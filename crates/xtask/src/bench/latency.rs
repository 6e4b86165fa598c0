//! Time of one request after another, on one connection to each server.
//!
//! No two requests are in flight, so nothing queues and what a proxy adds is what is seen. The
//! servers take turns in blocks, so that the machine's other work falls on all alike.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::servers::Target;
use super::stats::percentile;

/// Requests to one server before it is the next one's turn.
const BLOCK: usize = 100;

/// Requests to each server before any is counted.
const WARM_UP: usize = 500;

/// How long one answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Most bytes of a line of an answer's head, and of its body.
const LINE_BYTES_MAX: u64 = 8 * 1024;
const BODY_BYTES_MAX: usize = 64 * 1024;

/// Figures of one server, microseconds.
pub(super) struct Latency {
    pub name: &'static str,
    pub p50_us: f64,
    pub p90_us: f64,
    pub p99_us: f64,
}

/// Sends so many requests to each server.
pub(super) fn measure(targets: &[Target], n_requests: usize) -> Result<Vec<Latency>> {
    let mut clients = targets
        .iter()
        .map(|target| Client::connect(target.name, target.address, "/"))
        .collect::<Result<Vec<_>>>()?;
    for client in &mut clients {
        (0..WARM_UP).try_for_each(|_| client.request().map(drop))?;
    }
    let mut times_us = vec![Vec::with_capacity(n_requests); clients.len()];
    for _ in 0..n_requests.div_ceil(BLOCK) {
        for (client, times_us) in clients.iter_mut().zip(&mut times_us) {
            for _ in 0..BLOCK {
                times_us.push(client.request()?.as_secs_f64() * 1e6);
            }
        }
    }
    let figures = targets.iter().zip(times_us).map(|(target, mut times_us)| {
        times_us.sort_by(f64::total_cmp);
        Latency {
            name: target.name,
            p50_us: percentile(&times_us, 0.5),
            p90_us: percentile(&times_us, 0.9),
            p99_us: percentile(&times_us, 0.99),
        }
    });
    Ok(figures.collect())
}

/// One connection that is kept.
pub(super) struct Client {
    name: &'static str,
    request: Vec<u8>,
    stream: BufReader<TcpStream>,
    body: Vec<u8>,
}

impl Client {
    /// A connection on which `path` will be asked for.
    pub(super) fn connect(name: &'static str, address: SocketAddr, path: &str) -> Result<Self> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n");
        Self::sending(name, address, request.into_bytes())
    }

    /// A connection on which this request will be sent.
    pub(super) fn sending(
        name: &'static str,
        address: SocketAddr,
        request: Vec<u8>,
    ) -> Result<Self> {
        let stream =
            TcpStream::connect(address).with_context(|| format!("cannot connect to {name}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        let stream = BufReader::new(stream);
        Ok(Self { name, request, stream, body: vec![0; BODY_BYTES_MAX] })
    }

    /// Time from the first byte sent until the last byte of a 200 received.
    pub(super) fn request(&mut self) -> Result<Duration> {
        let began = Instant::now();
        let status = self.status()?;
        ensure!(status == 200, "{} says {status}", self.name);
        Ok(began.elapsed())
    }

    /// The status of one answer.
    pub(super) fn status(&mut self) -> Result<u16> {
        self.stream.get_mut().write_all(&self.request)?;
        let (status, length) =
            self.head().with_context(|| format!("no answer from {}", self.name))?;
        ensure!(length <= BODY_BYTES_MAX, "the answer of {} has {length} bytes", self.name);
        self.stream.read_exact(&mut self.body[..length])?;
        Ok(status)
    }

    /// Reads the head of an answer; its status and the length of its body.
    fn head(&mut self) -> Result<(u16, usize)> {
        let mut length = None;
        let mut status = None;
        let mut line = String::new();
        for index in 0.. {
            line.clear();
            (&mut self.stream).take(LINE_BYTES_MAX).read_line(&mut line)?;
            let text = line.trim_end();
            if index == 0 {
                status = text.split(' ').nth(1).and_then(|word| word.parse().ok());
            } else if text.is_empty() {
                break;
            } else if let Some((name, value)) = text.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = Some(value.trim().parse().context("a length that is no number")?);
            }
        }
        Ok((status.context("no status")?, length.context("the answer has no length")?))
    }
}
