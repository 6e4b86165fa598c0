//! From pages of raw text to sentences: joins broken lines, keeps paragraphs, cuts sentences.
//!
//! Invariant: a sentence holds no control characters and no double spaces, is not empty, and is
//! at most [`SENTENCE_CHARS_MAX`] characters long.

use unicode_segmentation::UnicodeSegmentation;

/// Longer sentences are cut between words: tables and lists have no full stops.
pub const SENTENCE_CHARS_MAX: usize = 600;
/// The most sentences that one document can have; the rest is not searchable. Writing as many takes
/// about ten seconds, in one transaction.
pub const SENTENCES_MAX: usize = 100_000;

/// One sentence and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentence {
    /// The page, counted from 1.
    pub page: usize,
    /// The paragraph in the document, counted from 0.
    pub block: usize,
    /// The sentence itself.
    pub text: String,
}

/// Cuts pages into sentences, at most [`SENTENCES_MAX`].
pub fn sentences(pages: &[String]) -> Vec<Sentence> {
    let mut found = Vec::new();
    let mut block = 0;
    for (page_index, page) in pages.iter().enumerate() {
        for paragraph in paragraphs(page) {
            for sentence in paragraph.split_sentence_bounds().map(str::trim) {
                for text in cut(sentence) {
                    found.push(Sentence { page: page_index + 1, block, text });
                }
            }
            block += 1;
            if found.len() >= SENTENCES_MAX {
                found.truncate(SENTENCES_MAX);
                return found;
            }
        }
    }
    found
}

/// Paragraphs end at an empty line. Lines are joined, words hyphenated at a line's end healed.
fn paragraphs(page: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut current = String::new();
    let page = page.replace("\r\n", "\n");
    for line in page.split(['\n', '\r', '\u{c}', '\u{2028}', '\u{2029}']) {
        let line = clean(line);
        if line.is_empty() {
            if !current.is_empty() {
                all.push(std::mem::take(&mut current));
            }
            continue;
        }
        let is_hyphenated = line.starts_with(char::is_lowercase)
            && current.strip_suffix('-').is_some_and(|head| head.ends_with(char::is_alphabetic));
        if is_hyphenated {
            current.pop();
        } else if !current.is_empty() {
            current.push(' ');
        }
        current.push_str(&line);
    }
    if !current.is_empty() {
        all.push(current);
    }
    all
}

/// One space between words; no control characters (Postgres refuses NUL), no soft hyphens.
fn clean(line: &str) -> String {
    let visible: String = line
        .chars()
        .filter(|c| !matches!(c, '\u{ad}' | '\u{feff}' | '\u{fffd}'))
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    visible.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn cut(sentence: &str) -> Vec<String> {
    let mut pieces = Vec::new();
    let mut piece = String::new();
    let mut n_chars = 0;
    for part in sentence.split_word_bounds() {
        let n_part = part.chars().count();
        if n_chars + n_part > SENTENCE_CHARS_MAX && n_chars > 0 {
            pieces.push(std::mem::take(&mut piece));
            n_chars = 0;
        }
        // A "word" longer than a whole sentence is noise; its beginning is kept.
        piece.extend(part.chars().take(SENTENCE_CHARS_MAX));
        n_chars += n_part.min(SENTENCE_CHARS_MAX);
    }
    pieces.push(piece);
    pieces.retain_mut(|piece| {
        *piece = piece.trim().to_owned();
        !piece.is_empty()
    });
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(page: &str) -> Vec<(usize, String)> {
        sentences(&[page.to_owned()]).into_iter().map(|s| (s.block, s.text)).collect()
    }

    #[test]
    fn lines_are_joined_and_paragraphs_kept() {
        let found = texts("A keel is long. The mast\r\nis high!\n\n \t\nEnd");
        let wanted = [(0, "A keel is long."), (0, "The mast is high!"), (1, "End")];
        assert_eq!(found, wanted.map(|(block, text)| (block, text.to_owned())));
    }

    #[test]
    fn hyphens_at_the_end_of_a_line_are_healed() {
        assert_eq!(texts("the docu-\nment")[0].1, "the document");
        assert_eq!(texts("Alsace-\nLorraine")[0].1, "Alsace- Lorraine");
    }

    #[test]
    fn control_characters_vanish() {
        assert_eq!(texts("a\0b\u{7}\tc\u{ad}d")[0].1, "a b cd");
    }

    #[test]
    fn endless_sentences_are_cut_between_words() {
        for text in ["word ".repeat(1000), "x".repeat(5000)] {
            let found = texts(&text);
            assert!(!found.is_empty());
            assert!(found.iter().all(|(_, text)| text.chars().count() <= SENTENCE_CHARS_MAX));
        }
    }
}
