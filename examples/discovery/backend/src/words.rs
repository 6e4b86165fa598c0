//! What a word is: the one analysis that the index, the query and the highlighting share.
//!
//! Both databases get words that were already cut and folded here, so that they find the same
//! sentences, and so that what is marked is exactly what was found. No stemming: a query word
//! matches as a prefix instead (see [`crate::search`]).
//!
//! Invariant: a folded word consists of lower-case letters and digits only, is not empty and is
//! at most [`WORD_CHARS_MAX`] characters long. It needs no quoting in any query language.

use std::ops::Range;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Longer words are cut: nobody types them, and indexes refuse very long ones.
pub const WORD_CHARS_MAX: usize = 64;

/// One word of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// Lower case, without accents: what is compared.
    pub folded: String,
    /// Where the word stands in the text, counted in characters (Unicode scalar values).
    pub chars: Range<usize>,
}

/// Cuts a text into words.
pub fn words(text: &str) -> Vec<Word> {
    let mut found = Vec::new();
    let mut start = None;
    let mut word = String::new();
    let mut n_chars = 0;
    for (index, c) in text.chars().enumerate() {
        n_chars = index + 1;
        let is_alone = is_ideographic(c);
        let is_inside = c.is_alphanumeric() || (is_combining_mark(c) && start.is_some());
        if (is_alone || !is_inside)
            && let Some(start) = start.take()
        {
            push(&mut found, &mut word, start..index);
        }
        if is_alone {
            word.push(c);
            push(&mut found, &mut word, index..index + 1);
        } else if is_inside {
            start.get_or_insert(index);
            word.push(c);
        }
    }
    if let Some(start) = start {
        push(&mut found, &mut word, start..n_chars);
    }
    found
}

fn push(found: &mut Vec<Word>, word: &mut String, chars: Range<usize>) {
    let folded: String = fold(word).take(WORD_CHARS_MAX).collect();
    word.clear();
    if !folded.is_empty() {
        found.push(Word { folded, chars });
    }
}

/// `Élan` and `ÉLAN` become `elan`; the ligature `ﬁ` becomes `fi`.
fn fold(word: &str) -> impl Iterator<Item = char> + '_ {
    word.nfkd()
        .flat_map(char::to_lowercase)
        .filter(|c| c.is_alphanumeric() && !is_combining_mark(*c))
}

/// Scripts that put no spaces between words: each character is a word of its own, and a query
/// of several becomes a phrase.
fn is_ideographic(c: char) -> bool {
    matches!(u32::from(c), 0x2E80..=0x2FDF | 0x3040..=0x30FF | 0x3400..=0x4DBF | 0x4E00..=0x9FFF
        | 0xF900..=0xFAFF | 0x20000..=0x3FFFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(text: &str) -> Vec<String> {
        words(text).into_iter().map(|word| word.folded).collect()
    }

    #[test]
    fn accents_case_and_ligatures_do_not_matter() {
        assert_eq!(
            folded("Élan ÉLAN e\u{301}lan of\u{FB01}ce"),
            ["elan", "elan", "elan", "office"]
        );
    }

    #[test]
    fn punctuation_separates_words() {
        assert_eq!(folded("don't: 'a.b' -- c"), ["don", "t", "a", "b", "c"]);
    }

    #[test]
    fn ideographs_are_words_of_their_own() {
        assert_eq!(folded("文書ab検"), ["文", "書", "ab", "検"]);
    }

    #[test]
    fn positions_count_characters() {
        let all = words("é, über");
        assert_eq!(all[1].chars, 3..7);
    }

    #[test]
    fn a_long_word_is_cut_and_keeps_its_range() {
        let text = "x".repeat(500);
        let all = words(&text);
        assert_eq!((all[0].folded.len(), all[0].chars.clone()), (WORD_CHARS_MAX, 0..500));
    }

    #[test]
    fn folded_words_never_hold_query_syntax() {
        let hostile = "\"a\" OR b* NEAR(c) 'd' & !e | f:* \\ \0 \u{301} ٪ ½ ⅷ";
        for word in words(hostile) {
            assert!(!word.folded.is_empty());
            assert!(word.folded.chars().all(char::is_alphanumeric), "{word:?}");
        }
    }
}
