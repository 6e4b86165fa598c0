//! Every bound of the proxy, with its unit and default, in one place.
//!
//! A value that a user may want to change is a field of [`Limits`]; one that follows from
//! another, or that nobody tunes, is a constant.
//!
//! Invariant: no wait, queue or buffer in this crate is without a bound named here.

use std::time::Duration;

/// What one listener grants its clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections open at once; more wait in the kernel's backlog.
    pub connections_max: usize,
    /// Bytes of one request head, request line included; above: 431.
    pub head_bytes_max: usize,
    /// Bytes of the request target; above: 414.
    pub target_bytes_max: usize,
    /// Time from the first byte of a request head to its last.
    pub head_timeout: Duration,
    /// Time a keep-alive connection may stay without a request.
    pub idle_timeout: Duration,
    /// Time without a single byte while we wait for a client's body, or for it to read ours.
    pub stall_timeout: Duration,
    /// Requests open at once on one HTTP/2 connection.
    pub h2_streams_max: u32,
    /// Bytes of a decoded HTTP/2 header list.
    pub h2_head_bytes_max: u32,
    /// Bytes a client may send ahead on one HTTP/2 stream; bounds what is buffered per stream.
    pub h2_window_bytes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 16_384,
            head_bytes_max: 64 * 1024,
            target_bytes_max: 16 * 1024,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            stall_timeout: Duration::from_secs(60),
            h2_streams_max: 128,
            h2_head_bytes_max: 64 * 1024,
            h2_window_bytes: 256 * 1024,
        }
    }
}

/// Bytes that one direction of a connection holds in user space before it stops reading.
pub const BUFFER_BYTES_MAX: usize = 128 * 1024;

/// Bytes of an answer, head and all, above which its head is written by itself.
pub const HEAD_ALONE_BYTES_MIN: usize = 64 * 1024;

/// Header fields of one message; above: 431. Hyper's own default, which keeps its table inline.
pub const HEADERS_MAX: usize = 100;

/// Bytes of one response head of an application; above: 502.
pub const RESPONSE_HEAD_BYTES_MAX: usize = 64 * 1024;

/// Informational responses before the one that counts; above: 502.
pub const INFORMATIONAL_MAX: u32 = 32;

/// Streams a client may reset before we answered them; above: GOAWAY (rapid reset).
pub const H2_RESETS_MAX: usize = 64;

/// Bytes of chunk extensions, and of trailers, of one request body.
pub const CHUNK_EXTRA_BYTES_MAX: usize = 8 * 1024;

/// Wait for the application's `100 Continue` before the body is sent without it.
pub const EXPECT_WAIT: Duration = Duration::from_secs(1);

/// Wait after the last answer of a refused connection for the client to read it.
pub const LINGER: Duration = Duration::from_secs(2);

/// Bytes thrown away during [`LINGER`].
pub const LINGER_BYTES_MAX: usize = 1024 * 1024;

/// Wait after `accept` failed, as without free file descriptors.
pub const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Silence in both directions after which a tunnel (WebSocket) is cut.
pub const TUNNEL_IDLE_MAX: Duration = Duration::from_secs(60 * 60);

/// Bytes of an incoming `x-request-id` that is kept.
pub const REQUEST_ID_BYTES_MAX: usize = 128;

/// Times one request is offered to an upstream's connections that turn out dead.
pub const ATTEMPTS_MAX: u32 = 3;

/// Bytes of a site's file that is kept in memory; larger ones are read for each request.
pub const SHELF_FILE_BYTES_MAX: usize = 256 * 1024;

/// Bytes of a site's files that are kept in memory, together.
pub const SHELF_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Names under which a site's files are kept in memory.
pub const SHELF_PAGES_MAX: usize = 1024;
