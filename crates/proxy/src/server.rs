//! Accepts connections, and ends them well.
//!
//! ```text
//! Serve -> Announce -> Refuse
//! ```
//!
//! `Announce`: requests are served, HTTP/1 answers say `Connection: close`, HTTP/2 gets GOAWAY:
//! clients move away before anything is refused. `Refuse`: local endpoints still answer, any other
//! request gets 503 with `Connection: close`, idle connections are closed, running exchanges end by
//! themselves. A phase is never left backwards. The server deliberately has no deadline of its own:
//! whoever drains decides how long [`Server::closed`] may take.
//!
//! Invariant: once [`Server::closed`] returns in phase `Refuse`, every byte of every answer was
//! handed to the kernel.

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::task::Poll;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};

use crate::connection;
use crate::limits::{ACCEPT_RETRY, Limits};
use crate::router::Router;
use crate::trust::TrustedProxies;
use crate::watch::Hooks;

/// How a server behaves, fixed for its life.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What clients are granted.
    pub limits: Arc<Limits>,
    /// Whose `x-forwarded-*` are believed and continued; others' are replaced.
    pub trusted_proxies: TrustedProxies,
    /// Which shard of the upstreams' pools it uses: one per event loop.
    pub shard: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            limits: Arc::new(Limits::default()),
            trusted_proxies: TrustedProxies::loopback(),
            shard: 0,
        }
    }
}

/// Phases of a server, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Drain {
    /// Not draining.
    Serve = 0,
    /// Serves, and asks clients to go elsewhere.
    Announce = 1,
    /// Refuses new requests and closes what is idle.
    Refuse = 2,
}

/// A forwarding HTTP server. Cloning gives another handle to the same one.
pub struct Server<H> {
    shared: Arc<Shared<H>>,
}

/// What the connections of a server share.
pub(crate) struct Shared<H> {
    pub(crate) settings: Settings,
    pub(crate) hooks: H,
    pub(crate) router: ArcSwap<Router>,
    phase: AtomicU8,
    /// One for each phase that can be waited for.
    phase_reached: [Notify; 2],
    in_flight: AtomicUsize,
    connections: AtomicUsize,
    went_quiet: Notify,
}

impl<H: Hooks> Server<H> {
    /// A server that does not listen yet.
    pub fn new(settings: Settings, router: Router, hooks: H) -> Self {
        Self {
            shared: Arc::new(Shared {
                settings,
                hooks,
                router: ArcSwap::from_pointee(router),
                phase: AtomicU8::new(Drain::Serve as u8),
                phase_reached: [Notify::new(), Notify::new()],
                in_flight: AtomicUsize::new(0),
                connections: AtomicUsize::new(0),
                went_quiet: Notify::new(),
            }),
        }
    }

    /// Accepts connections until the future is dropped; may run for several listeners at once.
    /// In phase `Refuse` it still accepts, so that no client is left waiting in the backlog.
    ///
    /// Dropping it closes the listener and nothing else: accepted connections go on.
    pub async fn serve(&self, listener: TcpListener) {
        let slots = Arc::new(Semaphore::new(self.shared.settings.limits.connections_max));
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((socket, address)) => {
                    let shared = Arc::clone(&self.shared);
                    // Counted from here on: whoever waits for the last one to close sees it.
                    let open = shared.open();
                    tokio::spawn(async move {
                        connection::serve(shared, socket, address).await;
                        drop((open, slot));
                    });
                }
                // Out of file descriptors, or a client that left the backlog: neither is for ever.
                Err(_) => tokio::time::sleep(ACCEPT_RETRY).await,
            }
        }
    }

    /// The owner's hooks.
    pub fn hooks(&self) -> &H {
        &self.shared.hooks
    }

    /// The routes in force.
    pub fn router(&self) -> Arc<Router> {
        self.shared.router.load_full()
    }

    /// Replaces the routes. Requests that have found their target keep it.
    pub fn set_router(&self, router: Router) {
        self.shared.router.store(Arc::new(router));
    }

    /// Enters a phase of the drain; an earlier one than the present is ignored.
    pub fn begin_drain(&self, phase: Drain) {
        self.shared.phase.fetch_max(phase as u8, Ordering::AcqRel);
        for reached in &self.shared.phase_reached[..phase as usize] {
            reached.notify_waiters();
        }
    }

    /// The present phase.
    pub fn phase(&self) -> Drain {
        self.shared.phase()
    }

    /// Exchanges whose response body has not ended, tunnels included.
    pub fn in_flight(&self) -> usize {
        self.shared.in_flight.load(Ordering::Acquire)
    }

    /// Open client connections, without those that became tunnels.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Acquire)
    }

    /// Waits until no exchange is in flight. Bytes may still be on their way to a client.
    pub async fn drained(&self) {
        self.shared.quiet(|| self.in_flight() == 0).await;
    }

    /// Waits until no connection and no tunnel is open; a client that keeps its connection alive
    /// only lets it end in phase [`Drain::Refuse`].
    pub async fn closed(&self) {
        self.shared.quiet(|| self.connections() == 0 && self.in_flight() == 0).await;
    }
}

impl<H> Clone for Server<H> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<H> fmt::Debug for Server<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}

impl<H> fmt::Debug for Shared<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("phase", &self.phase())
            .field("in_flight", &self.in_flight)
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}

impl<H> Shared<H> {
    /// The present phase.
    pub(crate) fn phase(&self) -> Drain {
        match self.phase.load(Ordering::Acquire) {
            0 => Drain::Serve,
            1 => Drain::Announce,
            _ => Drain::Refuse,
        }
    }

    /// Waits for a phase. Polled on every turn of a connection, so after it has registered its
    /// waker it only looks at one atomic. That is enough because whoever is woken for this phase
    /// finds it reached: each phase wakes its own waiters, and it is stored before they are woken.
    pub(crate) fn reached(&self, phase: Drain) -> impl Future<Output = ()> {
        let place = (phase as usize).saturating_sub(1);
        let mut reached = Box::pin(self.phase_reached[place].notified());
        let mut is_waiting = false;
        std::future::poll_fn(move |cx| {
            if self.phase() >= phase {
                return Poll::Ready(());
            }
            if is_waiting {
                return Poll::Pending;
            }
            is_waiting = true;
            reached.as_mut().poll(cx)
        })
    }

    /// Counts a connection while the guard lives.
    pub(crate) fn open(self: &Arc<Self>) -> Counted<H> {
        Counted::new(self, |shared| &shared.connections)
    }

    /// Counts an exchange while the guard lives.
    pub(crate) fn enter(self: &Arc<Self>) -> Counted<H> {
        Counted::new(self, |shared| &shared.in_flight)
    }

    async fn quiet(&self, is_quiet: impl Fn() -> bool) {
        loop {
            let mut quiet = pin!(self.went_quiet.notified());
            quiet.as_mut().enable();
            if is_quiet() {
                return;
            }
            quiet.await;
        }
    }
}

/// Counts one thing of a server while it lives.
pub(crate) struct Counted<H> {
    shared: Arc<Shared<H>>,
    count: fn(&Shared<H>) -> &AtomicUsize,
}

impl<H> Counted<H> {
    fn new(shared: &Arc<Shared<H>>, count: fn(&Shared<H>) -> &AtomicUsize) -> Self {
        count(shared).fetch_add(1, Ordering::AcqRel);
        Self { shared: Arc::clone(shared), count }
    }
}

impl<H> Drop for Counted<H> {
    fn drop(&mut self) {
        if (self.count)(&self.shared).fetch_sub(1, Ordering::AcqRel) == 1 {
            self.shared.went_quiet.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::{Context, Wake, Waker};

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn who_waits_for_the_second_phase_is_woken_by_it_though_it_looked_amid_the_first() {
        let server = Server::new(Settings::default(), Router::default(), ());
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        let mut reached = pin!(server.shared.reached(Drain::Refuse));
        assert!(reached.as_mut().poll(&mut cx).is_pending());
        // Another thread has stored the first phase and not yet told anybody.
        server.shared.phase.store(Drain::Announce as u8, Ordering::SeqCst);
        assert!(reached.as_mut().poll(&mut cx).is_pending());
        server.begin_drain(Drain::Announce);
        assert!(reached.as_mut().poll(&mut cx).is_pending());
        let n_before = woken.0.load(Ordering::SeqCst);
        server.begin_drain(Drain::Refuse);
        assert!(woken.0.load(Ordering::SeqCst) > n_before, "nobody woke it");
        assert!(reached.as_mut().poll(&mut cx).is_ready());
    }
}
