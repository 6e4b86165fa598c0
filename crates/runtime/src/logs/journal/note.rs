//! What the journal says of the last deed, as it stands in the guard's memory file.
//!
//! It deliberately decides nothing of what is to be done about it. Invariant: what was encoded is
//! decoded as it was, and anything else is a note that nothing is owed.

use super::LANES;

const WORD_BYTES: usize = size_of::<u64>();
const NOTE_WORDS: usize = 6 + 2 * LANES;
/// Length of a note.
pub(super) const NOTE_BYTES: usize = NOTE_WORDS * WORD_BYTES;

/// What was meant by the last deed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) stage: Stage,
    pub(super) output: usize,
    pub(super) lane: usize,
    /// Position of the journal when nothing was taken yet.
    pub(super) base: u64,
    pub(super) n_taken: usize,
    pub(super) n_written: usize,
    pub(super) before: [u64; LANES],
    pub(super) after: [u64; LANES],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing is owed.
    #[default]
    Idle,
    /// The staging pipe is being filled.
    Staging,
    /// It has been filled.
    Staged,
    /// A plain write has begun.
    Writing,
    /// It has ended.
    Written,
    /// It has ended in the middle of a line, the rest of which is owed by the engine's memory.
    Torn,
}

impl Stage {
    /// Every stage, in the order of their numbers.
    const ALL: [Stage; 6] =
        [Stage::Idle, Stage::Staging, Stage::Staged, Stage::Writing, Stage::Written, Stage::Torn];
}

impl Note {
    pub(super) fn encode(&self) -> [u8; NOTE_BYTES] {
        let mut bytes = [0; NOTE_BYTES];
        let counts = [self.output, self.lane, self.n_taken, self.n_written];
        let words = [self.stage as u64, self.base].into_iter();
        let words = words.chain(counts.map(|count| count as u64));
        let words = words.chain(self.before).chain(self.after);
        for (place, word) in bytes.chunks_exact_mut(WORD_BYTES).zip(words) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    pub(super) fn decode(bytes: &[u8; NOTE_BYTES]) -> Self {
        let mut words = [0; NOTE_WORDS];
        let (chunks, _) = bytes.as_chunks::<WORD_BYTES>();
        for (word, chunk) in words.iter_mut().zip(chunks) {
            *word = u64::from_ne_bytes(*chunk);
        }
        let count = |word: u64| usize::try_from(word).unwrap_or(usize::MAX);
        let [stage, base, output, lane, n_taken, n_written, before_0, before_1, after_0, after_1] =
            words;
        Self {
            stage: Stage::ALL.get(count(stage)).copied().unwrap_or_default(),
            output: count(output),
            lane: count(lane),
            base,
            n_taken: count(n_taken),
            n_written: count(n_written),
            before: [before_0, before_1],
            after: [after_0, after_1],
        }
    }
}
