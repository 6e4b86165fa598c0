//! Two sockets joined after an upgrade: bytes both ways until both ends are closed.
//!
//! It deliberately understands nothing of what passes (WebSocket frames included).
//!
//! Invariant: what either side had sent before the tunnel stood is delivered first, and no write
//! waits longer than [`TUNNEL_IDLE_MAX`].

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::limits::TUNNEL_IDLE_MAX;
use crate::upstream::Stream;

/// Bytes of one direction that are held between its two sockets.
const TUNNEL_BUFFER_BYTES: usize = 16 * 1024;

/// Joins a client and an application, each with what was already read from it. Returns the bytes
/// that passed in and out.
pub(crate) async fn join(client: (TcpStream, Bytes), upstream: (Stream, Bytes)) -> (u64, u64) {
    let (mut client, early_in) = client;
    let (mut upstream, early_out) = upstream;
    let mut counts = (0, 0);
    let (mut client_read, mut client_write) = client.split();
    let (mut upstream_read, mut upstream_write) = tokio::io::split(&mut upstream);
    let moved = Moved::default();
    // The end of one direction leaves the other open; a broken one takes it along.
    let _ended = tokio::try_join!(
        pump(early_in, &mut client_read, &mut upstream_write, &mut counts.0, &moved),
        pump(early_out, &mut upstream_read, &mut client_write, &mut counts.1, &moved),
    );
    counts
}

/// Counts what passed in either direction, so that one can see that the other is busy.
#[derive(Debug, Default)]
struct Moved(AtomicU64);

/// Copies one direction to its end, what came `early` first, and passes the end on.
async fn pump(
    early: Bytes,
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    count: &mut u64,
    moved: &Moved,
) -> io::Result<()> {
    timeout(TUNNEL_IDLE_MAX, to.write_all(&early)).await??;
    *count += early.len() as u64;
    drop(early);
    let mut buffer = vec![0; TUNNEL_BUFFER_BYTES];
    loop {
        let seen = moved.0.load(Ordering::Relaxed);
        let n_bytes = match timeout(TUNNEL_IDLE_MAX, from.read(&mut buffer)).await {
            Ok(n_bytes) => n_bytes?,
            // The other direction was busy meanwhile.
            Err(_) if moved.0.load(Ordering::Relaxed) != seen => continue,
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        };
        if n_bytes == 0 {
            return to.shutdown().await;
        }
        timeout(TUNNEL_IDLE_MAX, to.write_all(&buffer[..n_bytes])).await??;
        *count += n_bytes as u64;
        moved.0.fetch_add(1, Ordering::Relaxed);
    }
}
