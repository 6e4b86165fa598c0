//! Waiting for what must become true, instead of sleeping and hoping.

use std::{
    net::TcpListener,
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
