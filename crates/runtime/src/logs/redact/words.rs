//! Finds the words that rules and keys begin with, in letters of either case.
//!
//! A search for the first letters of all words looks at sixteen bytes or more at once; only where
//! some stand are whole words compared. Where there are too many words for it, or the processor
//! cannot do it, one automaton finds them byte by byte. It deliberately knows nothing of what a
//! word means.
//!
//! Invariant: every occurrence of every word is found, overlapping ones too, in the order of their
//! first bytes.

use std::collections::BTreeMap;

use aho_corasick::packed::{self, Searcher};
use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind, Span};

/// How many first letters are told apart: fewer if there are few enough words, as that makes
/// fewer places where only they stand.
const START_BYTES: [usize; 6] = [8, 7, 6, 5, 4, 3];
/// Most beginnings that are searched for together.
const STARTS_MAX: usize = 64;
/// A text that is shorter is searched byte by byte; it gets zeros behind it.
const PADDING: [u8; 64] = [0; 64];

/// An occurrence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Hit {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Index of the word.
    pub(super) word: usize,
}

/// Finds words.
#[derive(Debug)]
pub(super) struct Finder {
    way: Way,
}

#[derive(Debug)]
enum Way {
    /// Words by the index of their beginning.
    Starts {
        searcher: Searcher,
        words: Vec<Vec<(usize, Vec<u8>)>>,
    },
    Automaton(AhoCorasick),
}

/// Memory for a search.
#[derive(Debug, Default)]
pub(super) struct Room {
    lower: Vec<u8>,
    pub(super) hits: Vec<Hit>,
}

impl Finder {
    /// Prepares for words, which are in lower case and have three bytes at least.
    pub(super) fn new(words: &[String]) -> Self {
        Self { way: Way::starts(words).unwrap_or_else(|| Way::automaton(words)) }
    }

    /// Puts all occurrences in `text` into the room.
    pub(super) fn find(&self, text: &[u8], Room { lower, hits }: &mut Room) {
        hits.clear();
        match &self.way {
            Way::Starts { searcher, words } => {
                lower.clear();
                lower.extend_from_slice(text);
                lower.make_ascii_lowercase();
                lower.extend_from_slice(&PADDING);
                let mut start = 0;
                let rest = |start| Span { start, end: lower.len() };
                while let Some(found) = searcher.find_in(&*lower, rest(start)) {
                    start = found.start();
                    for (word, letters) in &words[found.pattern().as_usize()] {
                        let end = start + letters.len();
                        if end <= text.len() && lower[start..].starts_with(letters) {
                            hits.push(Hit { start, end, word: *word });
                        }
                    }
                    start += 1;
                }
            }
            Way::Automaton(automaton) => {
                hits.extend(automaton.find_overlapping_iter(text).map(|hit| Hit {
                    start: hit.start(),
                    end: hit.end(),
                    word: hit.pattern().as_usize(),
                }));
                hits.sort_unstable();
            }
        }
    }
}

impl Way {
    fn starts(words: &[String]) -> Option<Self> {
        let by_start = START_BYTES.iter().map(|length| by_start(words, *length));
        let by_start = by_start.into_iter().find(|starts| starts.len() <= STARTS_MAX)?;
        let searcher = packed::Config::new().builder().extend(by_start.keys()).build()?;
        let with_letters = |word: usize| (word, words[word].clone().into_bytes());
        let words = by_start.into_values();
        let words = words.map(|words| words.into_iter().map(with_letters).collect()).collect();
        Some(Self::Starts { searcher, words })
    }

    fn automaton(words: &[String]) -> Self {
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::DFA))
            .build(words);
        Self::Automaton(automaton.expect("the settings bound the words"))
    }
}

/// The words that begin with the same bytes, at most so many; no key begins with another.
fn by_start(words: &[String], n_bytes: usize) -> BTreeMap<&[u8], Vec<usize>> {
    let mut starts: BTreeMap<&[u8], Vec<usize>> = BTreeMap::new();
    let mut in_order: Vec<_> = words.iter().map(String::as_bytes).enumerate().collect();
    in_order.sort_by_key(|(index, word)| (word.len(), *index));
    for (index, word) in in_order {
        let known =
            (1..=n_bytes.min(word.len())).find(|length| starts.contains_key(&word[..*length]));
        let length = known.unwrap_or(n_bytes.min(word.len()));
        starts.entry(&word[..length]).or_default().push(index);
    }
    starts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hits(way: Way, text: &str) -> Vec<Hit> {
        let mut room = Room::default();
        Finder { way }.find(text.as_bytes(), &mut room);
        room.hits.sort_unstable();
        room.hits
    }

    #[test]
    fn words_in_words_are_found_in_the_order_of_their_first_bytes() {
        let words = ["secret", "client_secret_key", "ret"].map(str::to_owned);
        let mut room = Room::default();
        Finder::new(&words).find(b"a CLIENT_secret_Key", &mut room);
        let found: Vec<_> = room.hits.iter().map(|hit| (hit.start, hit.end, hit.word)).collect();
        assert_eq!(found, [(2, 19, 1), (9, 15, 0), (12, 15, 2)]);
    }

    #[test]
    fn a_word_with_another_at_its_beginning_shares_its_start() {
        let words = ["sk-ant-", "sk-", "sk_live_"].map(str::to_owned);
        let starts = by_start(&words, 8);
        let starts: Vec<_> = starts.iter().map(|(start, words)| (*start, words.clone())).collect();
        assert_eq!(starts, [(&b"sk-"[..], vec![1, 0]), (b"sk_live_", vec![2])]);
    }

    proptest! {
        #[test]
        fn both_ways_find_the_same(
            words in prop::collection::btree_set("[ab_:]{3,9}", 1..90),
            text in "[abAB_:é\u{0}]{0,200}",
        ) {
            let words: Vec<_> = words.into_iter().collect();
            let automaton = hits(Way::automaton(&words), &text);
            if let Some(starts) = Way::starts(&words) {
                prop_assert_eq!(hits(starts, &text), automaton);
            }
        }
    }
}
