//! One application behind the proxy: its addresses, its idle connections, its requests in flight.
//!
//! Connections are kept in shards, one per event loop, because a socket belongs to the loop that
//! opened it; within a shard the most recently used goes first, so that a quiet pool shrinks.
//! An idle connection is looked at when it is taken and by a sweep while the pool has any. It
//! deliberately has no health checks: readiness is told by whoever runs the service.
//!
//! Invariant: a connection in the pool has no response outstanding.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Notify;

use crate::link::Link;

/// Where an application listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// TCP.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

/// How an application is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamSettings {
    /// Time for one connection attempt.
    pub connect_timeout: Duration,
    /// Time a request waits while the application refuses connections, as during a restart;
    /// zero answers 503 at once.
    pub hold: Duration,
    /// Requests that may wait so at once; above: 503 at once.
    pub hold_requests_max: usize,
    /// Time from the last byte of the request to the response head; above: 504.
    pub head_timeout: Duration,
    /// Silence inside a response body after which it is cut.
    pub body_idle_timeout: Duration,
    /// Idle connections kept, per event loop.
    pub idle_max: usize,
    /// Time an idle connection is kept.
    pub idle_timeout: Duration,
}

impl Default for UpstreamSettings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            hold: Duration::ZERO,
            hold_requests_max: 256,
            head_timeout: Duration::from_secs(300),
            body_idle_timeout: Duration::from_secs(3600),
            idle_max: 256,
            idle_timeout: Duration::from_secs(30),
        }
    }
}

/// Shards of a pool; event loops beyond share one, which costs a lock and nothing else.
const SHARDS: usize = 16;

/// Time between two looks at the idle connections.
const SWEEP: Duration = Duration::from_secs(1);

/// One application behind the proxy.
#[derive(Debug)]
pub struct Upstream {
    name: String,
    addresses: Vec<Address>,
    settings: UpstreamSettings,
    next: AtomicUsize,
    in_flight: AtomicUsize,
    held: AtomicUsize,
    quiet: Notify,
    shards: [Shard; SHARDS],
}

#[derive(Debug, Default)]
struct Shard {
    idle: Mutex<Vec<Idle>>,
    is_swept: AtomicBool,
}

#[derive(Debug)]
struct Idle {
    link: Box<Link>,
    address: usize,
    since: Instant,
}

impl Upstream {
    /// An application reached at any of `addresses`, by turns.
    pub fn new(name: &str, addresses: Vec<Address>, settings: UpstreamSettings) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            addresses,
            settings,
            next: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
            quiet: Notify::new(),
            shards: Default::default(),
        })
    }

    /// An application at one TCP address, with the default settings.
    pub fn tcp(name: &str, address: SocketAddr) -> Arc<Self> {
        Self::new(name, vec![Address::Tcp(address)], UpstreamSettings::default())
    }

    /// Name of the service, for pages, logs and metrics.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it is reached.
    pub fn settings(&self) -> &UpstreamSettings {
        &self.settings
    }

    /// Exchanges whose response body has not ended, tunnels included.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }

    /// Waits until no exchange is in flight. Bounded by the caller.
    pub async fn drained(&self) {
        loop {
            let quiet = self.quiet.notified();
            if self.in_flight() == 0 {
                return;
            }
            quiet.await;
        }
    }

    /// Closes the idle connections, as before the application is told to stop.
    pub fn close_idle(&self) {
        for shard in &self.shards {
            shard.lock().clear();
        }
    }

    /// Idle connections in all shards.
    pub fn idle(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    /// Counts an exchange until the guard is dropped.
    pub(crate) fn enter(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        InFlight(Arc::clone(self))
    }

    /// Counts a request that waits for the application; `None` when too many do.
    pub(crate) fn hold(&self) -> Option<Held<'_>> {
        let held = Held(self);
        (self.held.fetch_add(1, Ordering::AcqRel) < self.settings.hold_requests_max).then_some(held)
    }

    /// Addresses an exchange tries in order, as positions.
    pub(crate) fn turns(&self) -> impl Iterator<Item = usize> + use<> {
        let n_addresses = self.addresses.len().max(1);
        let first = match n_addresses {
            1 => 0,
            _ => self.next.fetch_add(1, Ordering::Relaxed) % n_addresses,
        };
        (0..n_addresses).map(move |turn| (first + turn) % n_addresses)
    }

    /// Takes an idle connection to one of the addresses that is still alive.
    pub(crate) fn take(&self, shard: usize, address: usize) -> Option<Box<Link>> {
        let shard = &self.shards[shard % SHARDS];
        loop {
            let mut link = {
                let mut idle = shard.lock();
                let index = idle.iter().rposition(|idle| idle.address == address)?;
                idle.remove(index).link
            };
            if link.is_alive() {
                return Some(link);
            }
        }
    }

    /// Puts a connection back whose exchange has ended.
    pub(crate) fn put(self: &Arc<Self>, shard: usize, address: usize, link: Box<Link>) {
        let shard_index = shard % SHARDS;
        let shard = &self.shards[shard_index];
        let mut idle = shard.lock();
        if idle.len() < self.settings.idle_max {
            idle.push(Idle { link, address, since: Instant::now() });
        }
        drop(idle);
        if !shard.is_swept.swap(true, Ordering::AcqRel) {
            tokio::spawn(sweep(Arc::downgrade(self), shard_index));
        }
    }

    /// Opens a connection to one of the addresses.
    pub(crate) async fn connect(&self, address: usize) -> io::Result<Box<Link>> {
        let Some(address) = self.addresses.get(address) else {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        };
        let connect = async {
            match address {
                Address::Tcp(address) => {
                    let stream = TcpStream::connect(address).await?;
                    stream.set_nodelay(true)?;
                    Ok(Stream::Tcp(stream))
                }
                Address::Unix(path) => UnixStream::connect(path).await.map(Stream::Unix),
            }
        };
        let stream = tokio::time::timeout(self.settings.connect_timeout, connect)
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        Ok(Box::new(Link::new(stream)))
    }
}

/// Looks at the idle connections of one shard until it has none.
async fn sweep(upstream: std::sync::Weak<Upstream>, shard: usize) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let Some(upstream) = upstream.upgrade() else { return };
        let shard = &upstream.shards[shard];
        let mut idle = shard.lock();
        idle.retain_mut(|idle| {
            idle.since.elapsed() < upstream.settings.idle_timeout && idle.link.is_alive()
        });
        if idle.is_empty() {
            shard.is_swept.store(false, Ordering::Release);
            return;
        }
    }
}

impl Shard {
    fn lock(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts one exchange of an upstream while it lives.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Upstream>);

impl InFlight {
    /// Name of the upstream.
    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.0.in_flight.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.quiet.notify_waiters();
        }
    }
}

/// Counts one waiting request of an upstream while it lives.
#[derive(Debug)]
pub(crate) struct Held<'a>(&'a Upstream);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A socket to an application.
#[derive(Debug)]
pub(crate) enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
