//! Probe: a TCP connection can be opened.
//!
//! It sends nothing and closes at once. It deliberately opens a new connection each time: an old
//! one says nothing about who comes next. Invariant: name resolution never blocks the engine.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use tokio::net::TcpStream;

use super::detached::Detached;

/// Probes `host:port`.
#[derive(Debug)]
pub(super) struct Tcp {
    target: String,
    is_resolved: bool,
    lookup: Detached<io::Result<Vec<SocketAddr>>>,
}

impl Tcp {
    pub(super) fn new(target: String) -> Self {
        Self { target, is_resolved: false, lookup: Detached::new() }
    }

    pub(super) async fn check(&mut self) -> Result<(), String> {
        self.connect().await.map(drop)
    }

    /// Opens a connection to the first address that takes one.
    pub(super) async fn connect(&mut self) -> Result<TcpStream, String> {
        self.is_resolved = false;
        let addresses = self.addresses().await?;
        self.is_resolved = true;
        let mut refusal = format!("`{}` has no address", self.target);
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => refusal = format!("connect to {address}: {}", reason(&error)),
            }
        }
        Err(refusal)
    }

    pub(super) fn waited_for(&self) -> String {
        let step = if self.is_resolved { "connect to" } else { "look up" };
        format!("{step} `{}`", self.target)
    }

    async fn addresses(&mut self) -> Result<Vec<SocketAddr>, String> {
        if let Ok(address) = self.target.parse() {
            return Ok(vec![address]);
        }
        let target = self.target.clone();
        let found = self.lookup.run(move || target.to_socket_addrs().map(Iterator::collect)).await;
        let found = found.unwrap_or_else(|| Err(io::ErrorKind::Other.into()));
        found.map_err(|error| format!("look up `{}`: {}", self.target, reason(&error)))
    }
}

/// An error without the number that Rust adds.
pub(super) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let end = text.find(" (os error").unwrap_or(text.len());
    text[..end].to_lowercase()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_listener_passes() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let target = listener.local_addr().expect("bound").to_string();
        assert_eq!(Tcp::new(target).check().await, Ok(()));
    }

    #[tokio::test]
    async fn a_closed_port_says_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let target = listener.local_addr().expect("bound").to_string();
        drop(listener);
        let refused = Tcp::new(target.clone()).check().await;
        assert_eq!(refused, Err(format!("connect to {target}: connection refused")));
    }

    #[tokio::test]
    async fn names_are_resolved() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        assert_eq!(Tcp::new(format!("localhost:{port}")).check().await, Ok(()));
    }
}
