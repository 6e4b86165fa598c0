//! Whatever bytes arrive: no panic, an end in bounded time, and nothing counted that is gone.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{Front, echo, short, within};

/// Pieces that requests are made of, whole and broken.
const PIECES: &[&str] = &[
    "GET / HTTP/1.1\r\n",
    "POST /a HTTP/1.1\r\n",
    "Host: a\r\n",
    "Content-Length: 3\r\n",
    "Content-Length: 0\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Connection: close\r\n",
    "Connection: upgrade\r\n",
    "Upgrade: websocket\r\n",
    "Expect: 100-continue\r\n",
    "TE: trailers\r\n",
    "\r\n",
    "\n",
    "\r",
    " ",
    ":",
    "abc",
    "3\r\nabc\r\n",
    "0\r\n\r\n",
    "0\r\nX: y\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "\0\0\0\x04\0\0\0\0\0",
    "\0\0\x06\x01\x05\0\0\0\x01\u{2}",
];

fn input() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => prop::sample::select(PIECES).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..40),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

#[test]
fn arbitrary_bytes_never_panic_and_always_end() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let has_panicked = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&has_panicked);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        // Other tests of this binary may fail meanwhile: only the proxy's own panics count.
        let is_ours = info.location().is_some_and(|at| !at.file().contains("tests/"));
        seen.fetch_or(is_ours, Ordering::SeqCst);
        hook(info);
    }));
    let front = runtime.block_on(async { Front::limited(short(), echo().await).await });
    let mut runner = TestRunner::new(Config { cases: 300, ..Config::default() });
    let ran = runner.run(&(input(), any::<bool>()), |(bytes, in_pieces)| {
        runtime.block_on(async {
            let mut client = front.connect().await;
            let (mut read, mut write) = client.split();
            let send = async {
                for piece in bytes.chunks(if in_pieces { 7 } else { usize::MAX }) {
                    if write.write_all(piece).await.is_err() {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
                let _gone = write.shutdown().await;
            };
            let mut answer = Vec::new();
            let ended = async { tokio::join!(send, read.read_to_end(&mut answer)) };
            let _ended = within(ended).await;
            drop(client);
            within(front.server.closed()).await;
        });
        prop_assert_eq!(front.server.in_flight(), 0);
        prop_assert!(!has_panicked.load(Ordering::SeqCst));
        Ok(())
    });
    let _hook = std::panic::catch_unwind(AssertUnwindSafe(std::panic::take_hook));
    ran.unwrap();
}
