//! Waiting for what must become true, instead of sleeping and hoping.

use std::{
    net::TcpListener,
    sync::atomic::{AtomicU16, Ordering},
    thread,
    time::{Duration, Instant},
};

/// Between two looks at a condition.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Waits until `condition` holds.
///
/// # Panics
/// When it does not hold within `limit`; `what` says what was waited for.
#[track_caller]
pub fn wait_for(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    wait_for_some(what, limit, || condition().then_some(()));
}

/// Waits until there is something.
///
/// # Panics
/// When there is nothing within `limit`; `what` says what was waited for.
#[track_caller]
#[expect(clippy::panic, reason = "that is how a test fails")]
pub fn wait_for_some<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return found;
        }
        if Instant::now() >= deadline {
            panic!("waited {limit:?} in vain for {what}");
        }
        thread::sleep(LOOK_AGAIN);
    }
}

/// A port of loopback that nobody has now.
///
/// # Panics
/// When there is none.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has free ports");
    listener.local_addr().expect("a bound listener has an address").port()
}

/// A port of loopback that nobody has now, and that no outgoing connection will be given.
///
/// For a server that is stopped and started again. Meanwhile clients call its port, and the kernel
/// may connect such a client with itself if the port is one of those it gives out.
///
/// # Panics
/// When there is none.
pub fn lasting_port() -> u16 {
    // The kernel's default range for outgoing connections begins at 32768.
    const FIRST: u16 = 10_000;
    const COUNT: u16 = 22_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test programs that run at the same time begin at different places.
    let start = std::process::id().wrapping_mul(97) % u32::from(COUNT);
    let start = u16::try_from(start).expect("it is below the count");
    let free = (0..COUNT).find_map(|_| {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        let port = FIRST + (start + step) % COUNT;
        TcpListener::bind(("127.0.0.1", port)).ok().map(|_| port)
    });
    free.expect("loopback has free ports")
}
