//! How bad a line is, guessed from its text.
//!
//! The first level word near the start of the line wins: in capitals anywhere (`2026-11-21 WARN
//! x`), in other letters only where a level stands (`[error] x`, `level=warn`, `error: x`). It
//! deliberately does not guess from words of the message, nor from the stream: programs write
//! progress to stderr. Invariant: no word, no alarm: the default is `info`.

use std::ops::RangeInclusive;

/// How far into a line a level is looked for, bytes.
const SCAN_BYTES_MAX: usize = 200;

/// How long the words are that name a level.
const WORD_BYTES: RangeInclusive<usize> = 3..=8;

/// How bad a line is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Finer than debug.
    Trace,
    /// For developers.
    Debug,
    /// What happens.
    #[default]
    Info,
    /// Worth a look.
    Warn,
    /// Something failed.
    Error,
    /// The process cannot go on.
    Fatal,
}

impl Level {
    /// The value of the field `level`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
            Level::Fatal => "fatal",
        }
    }

    /// The level that a word names.
    #[must_use]
    pub fn named(word: &[u8]) -> Option<Level> {
        named(word)
    }

    /// The level that a line of text names.
    #[must_use]
    pub fn find(line: &[u8]) -> Option<Level> {
        let head = &line[..line.len().min(SCAN_BYTES_MAX)];
        if head.starts_with(b"Traceback (most recent call last)") {
            return Some(Level::Error);
        }
        let mut at = 0;
        while at < head.len() {
            let byte = head[at];
            let kind = KINDS[usize::from(byte)];
            if kind & LETTER != 0 {
                let end = word_end(head, at);
                let may_be_one = kind & FIRST != 0 && WORD_BYTES.contains(&(end - at));
                if let Some(level) = may_be_one.then(|| level_of(head, at, end)).flatten() {
                    return Some(level);
                }
                at = end;
            } else if byte == 0x1b {
                at = after_ansi(head, at);
            } else {
                at += 1;
            }
        }
        None
    }
}

/// The index behind the colour sequence that starts at `from`.
fn after_ansi(head: &[u8], from: usize) -> usize {
    if head.get(from + 1) != Some(&b'[') {
        return from + 1;
    }
    let body = &head[from + 2..];
    let length = body.iter().position(|byte| (0x40..=0x7e).contains(byte));
    length.map_or(head.len(), |length| from + 2 + length + 1)
}

fn word_end(head: &[u8], from: usize) -> usize {
    let rest = &head[from..];
    let end = rest.iter().position(|byte| KINDS[usize::from(*byte)] & WORD == 0);
    end.map_or(head.len(), |length| from + length)
}

/// A letter that a level begins with.
const FIRST: u8 = 1;
/// A letter.
const LETTER: u8 = 2;
/// A letter, a digit or `_`.
const WORD: u8 = 4;

/// What a byte may be.
const KINDS: [u8; 256] = {
    let mut kinds = [0; 256];
    let mut letter = 0_u8;
    while letter < 128 {
        let byte = letter as usize;
        if letter.is_ascii_alphanumeric() || letter == b'_' {
            kinds[byte] |= WORD;
        }
        if letter.is_ascii_alphabetic() {
            kinds[byte] |= LETTER;
        }
        if matches!(
            letter.to_ascii_lowercase(),
            b't' | b'd' | b'i' | b'n' | b'w' | b'e' | b's' | b'f' | b'c' | b'p'
        ) {
            kinds[byte] |= FIRST;
        }
        letter += 1;
    }
    kinds
};

fn level_of(head: &[u8], start: usize, end: usize) -> Option<Level> {
    let level = Level::named(&head[start..end])?;
    let word = &head[start..end];
    let is_capital = word.iter().all(u8::is_ascii_uppercase);
    let before = &head[..start];
    let after = head.get(end).copied();
    let is_bracketed = matches!(
        (before.last(), after),
        (Some(b'['), Some(b']')) | (Some(b'<'), Some(b'>')) | (Some(b'|'), Some(b'|'))
    );
    let is_value = [&b"level="[..], b"level=\"", b"lvl=", b"severity="]
        .iter()
        .any(|key| before.ends_with(key));
    let is_prefix = before.iter().all(u8::is_ascii_whitespace) && after == Some(b':');
    (is_capital || is_bracketed || is_value || is_prefix).then_some(level)
}

fn named(word: &[u8]) -> Option<Level> {
    if !WORD_BYTES.contains(&word.len()) {
        return None;
    }
    let mut lower = [0; 8];
    let lower = &mut lower[..word.len()];
    lower.copy_from_slice(word);
    lower.make_ascii_lowercase();
    Some(match &*lower {
        b"trace" => Level::Trace,
        b"debug" | b"dbg" => Level::Debug,
        b"info" | b"inf" | b"notice" => Level::Info,
        b"warn" | b"warning" | b"wrn" => Level::Warn,
        b"error" | b"err" | b"severe" => Level::Error,
        b"fatal" | b"critical" | b"crit" | b"panic" | b"emerg" => Level::Fatal,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, level: Level) {
        assert_eq!(Level::find(line.as_bytes()).unwrap_or_default(), level, "{line}");
    }

    #[test]
    fn the_first_level_word_wins() {
        check("2026-11-21 09:14:02,123 WARNING app: slow", Level::Warn);
        check("INFO:     127.0.0.1 - \"GET /ERROR\" 200", Level::Info);
        check("ERROR:root:boom", Level::Error);
        check("10:00AM FTL nope ERR x", Level::Error);
    }

    #[test]
    fn small_letters_count_only_where_a_level_stands() {
        check("error: could not compile", Level::Error);
        check("Error: boom", Level::Error);
        check("[error] 12#12: open() failed", Level::Error);
        check("time=x level=warn msg=y", Level::Warn);
        check("no error found", Level::Info);
        check("panic: runtime error", Level::Fatal);
    }

    #[test]
    fn colours_do_not_hide_a_level() {
        check("\u{1b}[33mWARN\u{1b}[0m slow", Level::Warn);
        check("\u{1b}", Level::Info);
        check("\u{1b}[", Level::Info);
    }

    #[test]
    fn a_part_of_a_word_is_no_level() {
        check("TERRORIZED INFORMATION MY_ERROR_CODE", Level::Info);
    }

    #[test]
    fn the_table_knows_the_first_letter_of_every_level() {
        for letter in b'A'..=b'z' {
            let named = ["race", "ebug", "bg", "nfo", "nf", "otice", "arn", "arning", "rn", "rror"]
                .iter()
                .chain(&["rr", "evere", "atal", "ritical", "rit", "anic", "merg"])
                .any(|rest| named(&[&[letter], rest.as_bytes()].concat()).is_some());
            assert_eq!(KINDS[usize::from(letter)] & FIRST != 0, named, "{}", char::from(letter));
        }
    }

    #[test]
    fn a_python_traceback_is_an_error() {
        check("Traceback (most recent call last):", Level::Error);
    }
}
