//! The ids of what was accepted lately, by which a repeated publish is recognised.
//!
//! Ids are kept as a hash of 128 bits: two ids that share one would cost a message, and at this
//! length they do not. It deliberately keeps no text. Invariant: at most [`IDS_MAX`] are kept, the
//! youngest.

use std::{
    collections::{HashMap, VecDeque},
    hash::{DefaultHasher, Hasher},
};

/// Most ids in memory: 6 MiB.
pub(super) const IDS_MAX: usize = 128 * 1024;
/// Ids that are still known when their record is long gone.
pub(super) const RETIRED_IDS_MAX: usize = 10_000;

/// The hash of an id.
pub(super) type IdHash = u128;

/// Hashes an id. A new compiler may change it; then ids of records already gone are forgotten once.
#[must_use]
pub(super) fn hash(id: &str) -> IdHash {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        hasher.write_u8(salt);
        hasher.write(id.as_bytes());
        u128::from(hasher.finish())
    };
    half(1) << 64 | half(2)
}

/// The youngest ids and what they were accepted as.
#[derive(Debug, Default)]
pub(super) struct KnownIds {
    seqs: HashMap<IdHash, u64>,
    /// In the order of acceptance.
    order: VecDeque<(IdHash, u64)>,
}

impl KnownIds {
    /// The number under which an id was accepted.
    #[must_use]
    pub(super) fn get(&self, hash: IdHash) -> Option<u64> {
        self.seqs.get(&hash).copied()
    }

    /// Adds an id; the oldest goes when there are too many.
    pub(super) fn insert(&mut self, hash: IdHash, seq: u64) {
        self.seqs.insert(hash, seq);
        self.order.push_back((hash, seq));
        if self.order.len() > IDS_MAX
            && let Some((oldest, seq)) = self.order.pop_front()
            && self.seqs.get(&oldest) == Some(&seq)
        {
            self.seqs.remove(&oldest);
        }
    }

    /// An id may be accepted again.
    pub(super) fn forget(&mut self, hash: IdHash) {
        self.seqs.remove(&hash);
    }

    /// Records are lost: their ids may be accepted again.
    pub(super) fn forget_lost(&mut self, is_lost: impl Fn(u64) -> bool) {
        self.seqs.retain(|_, seq| !is_lost(*seq));
    }

    /// The youngest [`RETIRED_IDS_MAX`] up to a number, without those up to `after`.
    pub(super) fn retiring(&self, after: u64, up_to: u64) -> impl Iterator<Item = (IdHash, u64)> {
        let is_known = |(hash, seq): &(IdHash, u64)| self.seqs.get(hash) == Some(seq);
        let ids = self.order.iter().rev().copied().filter(is_known);
        let ids = ids.filter(move |(_, seq)| *seq <= up_to);
        ids.take(RETIRED_IDS_MAX).filter(move |(_, seq)| *seq > after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_youngest_are_kept() {
        let mut ids = KnownIds::default();
        let count = IDS_MAX as u64 + 10;
        for seq in 1..=count {
            ids.insert(hash(&seq.to_string()), seq);
        }
        assert_eq!(ids.get(hash("10")), None);
        assert_eq!(ids.get(hash("11")), Some(11));
        assert_eq!(ids.retiring(0, count).count(), RETIRED_IDS_MAX);
        assert_eq!(ids.retiring(count - 3, count - 1).count(), 2);
    }
}
