//! Whose word about a client is believed.
//!
//! `forwarded` and `x-forwarded-*` are claims. From a trusted proxy they are continued, from anyone
//! else they are replaced by what this hop saw itself. It deliberately looks only at the address
//! of the peer: a name in a header proves nothing.
//!
//! Invariant: an address in [`Peer::client`] was seen by us or claimed by a trusted proxy.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Mutex;

use http::header::HeaderValue;

/// Networks whose proxies are believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedProxies(Vec<Network>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    prefix: u8,
}

/// A network that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an address or a network\nhelp: write it as `10.0.0.0/8` or `::1`")]
pub struct TrustError {
    /// What was written.
    pub text: String,
}

impl TrustedProxies {
    /// Nobody.
    pub fn none() -> Self {
        Self(Vec::new())
    }

    /// This machine.
    pub fn loopback() -> Self {
        Self(vec![
            Network { address: IpAddr::from([127, 0, 0, 0]), prefix: 8 },
            Network { address: IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]), prefix: 128 },
        ])
    }

    /// Whether a peer at this address is believed.
    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(address))
    }
}

impl FromStr for TrustedProxies {
    type Err = TrustError;

    /// Reads a list such as `127.0.0.0/8, ::1`; empty is nobody.
    fn from_str(text: &str) -> Result<Self, TrustError> {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        items.map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for TrustedProxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, network) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{}/{}", network.address, network.prefix)?;
        }
        Ok(())
    }
}

impl Network {
    fn contains(self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let shift = 32 - u32::from(self.prefix);
                let of = |bits: u32| bits.checked_shr(shift).unwrap_or(0);
                of(network.to_bits()) == of(address.to_bits())
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let shift = 128 - u32::from(self.prefix);
                let of = |bits: u128| bits.checked_shr(shift).unwrap_or(0);
                of(network.to_bits()) == of(address.to_bits())
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = TrustError;

    fn from_str(text: &str) -> Result<Self, TrustError> {
        let error = || TrustError { text: text.to_owned() };
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| error())?;
        let widest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) => prefix.parse().ok().filter(|prefix| *prefix <= widest),
            None => Some(widest),
        };
        Ok(Self { address, prefix: prefix.ok_or_else(error)? })
    }
}

/// The other end of a client connection.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Its address.
    pub(crate) address: IpAddr,
    /// Whether it is believed.
    pub(crate) is_trusted: bool,
    /// Its address, as `x-forwarded-for` has it.
    pub(crate) forwarded_for: HeaderValue,
    /// The last `host` and the `forwarded` element made of it: nearly always the next one too.
    forwarded: Mutex<Option<(HeaderValue, HeaderValue)>>,
}

impl Peer {
    /// The peer at `address`.
    pub(crate) fn new(address: SocketAddr, trusted: &TrustedProxies) -> Self {
        let address = address.ip().to_canonical();
        Self {
            address,
            is_trusted: trusted.trusts(address),
            forwarded_for: text_value(address.to_string()),
            forwarded: Mutex::new(None),
        }
    }

    /// The `forwarded` element of this hop (RFC 7239) for a request with this `host`.
    pub(crate) fn forwarded(&self, host: Option<&HeaderValue>) -> HeaderValue {
        let Some(host) = host else { return self.element(None) };
        let Ok(mut last) = self.forwarded.lock() else { return self.element(Some(host)) };
        if let Some((seen, element)) = last.as_ref()
            && seen == host
        {
            return element.clone();
        }
        let element = self.element(Some(host));
        *last = Some((host.clone(), element.clone()));
        element
    }

    fn element(&self, host: Option<&HeaderValue>) -> HeaderValue {
        let node = match self.address {
            IpAddr::V4(address) => format!("for={address}"),
            IpAddr::V6(address) => format!("for=\"[{address}]\""),
        };
        let host = host.and_then(|host| host.to_str().ok()).filter(|host| {
            // Anything else would have to be escaped, and is no host.
            !host.bytes().any(|byte| matches!(byte, b'"' | b'\\'))
        });
        text_value(match host {
            Some(host) => format!("{node};host=\"{host}\";proto=http"),
            None => format!("{node};proto=http"),
        })
    }
}

fn text_value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_matched_by_prefix() {
        let trusted: TrustedProxies = "10.0.0.0/8, 192.168.1.7, fd00::/8".parse().unwrap();
        for yes in ["10.255.0.1", "192.168.1.7", "fd12::1", "::ffff:10.1.1.1"] {
            assert!(trusted.trusts(yes.parse().unwrap()), "{yes}");
        }
        for no in ["11.0.0.1", "192.168.1.8", "fe80::1", "127.0.0.1"] {
            assert!(!trusted.trusts(no.parse().unwrap()), "{no}");
        }
        assert!("0.0.0.0/0".parse::<TrustedProxies>().unwrap().trusts([8, 8, 8, 8].into()));
    }

    #[test]
    fn what_is_no_network_is_an_error_that_names_it() {
        for wrong in ["localhost", "10.0.0.0/33", "::1/129", "10.0.0.0/x"] {
            let error = wrong.parse::<TrustedProxies>().unwrap_err();
            assert_eq!(error.text, wrong);
        }
    }
}
