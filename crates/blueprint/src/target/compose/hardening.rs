//! What every container that serves users is held to: limits, rights and the size of its logs.
//!
//! Invariant: nothing runs with more than it was given here, whoever made its image.

use manifest::Plan;
use manifest::units::{Bytes, MilliCpu};

use crate::node::{Map, Node};

/// What a container may take from the host.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    pub(super) cpu: MilliCpu,
    pub(super) memory: Bytes,
    pub(super) pids: u32,
}

impl Share {
    /// A share in thousandths of a core, MiB, and processes.
    pub(super) const fn new(milli: u32, mib: u64, pids: u32) -> Share {
        Share { cpu: MilliCpu(milli), memory: Bytes::from_mib(mib), pids }
    }

    /// `limits` below `deploy.resources`.
    pub(super) fn limits(self) -> Map {
        Map::new()
            .with("cpus", cores(self.cpu))
            .with("memory", size(self.memory))
            .with("pids", self.pids)
    }

    /// `deploy` of a single container that no manifest line sizes.
    pub(super) fn deploy(self) -> Map {
        Map::new().with("resources", Map::new().with("limits", self.limits()))
    }
}

/// Cores as Compose writes them: a decimal in quotes.
fn cores(cpu: MilliCpu) -> String {
    let (whole, rest) = (cpu.0 / 1000, cpu.0 % 1000);
    let decimals = format!("{rest:03}");
    let decimals = decimals.trim_end_matches('0');
    format!("{whole}.{}", if decimals.is_empty() { "0" } else { decimals })
}

/// A size as Compose writes it: units are powers of 1024.
pub(super) fn size(bytes: Bytes) -> String {
    for (unit, factor) in [("g", 1u64 << 30), ("m", 1 << 20), ("k", 1 << 10)] {
        if bytes.0 >= factor && bytes.0.is_multiple_of(factor) {
            return format!("{}{unit}", bytes.0 / factor);
        }
    }
    format!("{}b", bytes.0)
}

/// Capabilities that images of others need to set up their data directory and to become a user
/// that is not root.
pub(super) const TO_BECOME_A_USER: &[&str] =
    &["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"];

/// Drops every capability but these, and forbids to gain any.
pub(super) fn confine(container: Map, kept: &[&str]) -> Map {
    container
        .with("cap_drop", Node::row(["ALL"]))
        .with_any("cap_add", Node::row(kept.iter().copied()))
        .with("security_opt", Node::row(["no-new-privileges:true"]))
}

/// `logging`: files that the engine rotates.
pub(super) fn logging(plan: &Plan) -> Node {
    let rotate = &plan.observability.logs.rotate;
    let options =
        Map::new().with("max-size", size(rotate.size)).with("max-file", rotate.keep.to_string());
    let logging = Map::new().with("driver", "json-file").with("options", options);
    Node::from(logging).because("observability.logs.rotate")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_written_exactly() {
        let cpus = [250, 1000, 1500, 2001].map(|milli| cores(MilliCpu(milli)));
        assert_eq!(cpus, ["0.25", "1.0", "1.5", "2.001"]);
        let sizes = [1 << 30, 512 << 20, 1536, 10_000_000].map(|bytes| size(Bytes(bytes)));
        assert_eq!(sizes, ["1g", "512m", "1536b", "10000000b"]);
    }
}
