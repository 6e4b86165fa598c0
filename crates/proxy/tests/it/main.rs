//! The proxy on real sockets, against applications that are hyper servers or scripts of raw bytes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod drain;
mod fields;
mod forwarding;
mod framing;
mod fuzz;
mod harness;
mod http2;
mod limits;
mod response;
mod retry;
mod routing;
mod site;
mod upgrade;
