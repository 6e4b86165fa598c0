//! Makes the text of somebody else's program safe to show on a terminal.
//!
//! Colours (SGR) may stay; everything that moves the cursor, changes the title, writes to the
//! clipboard or asks the terminal a question is dropped. `anstyle-parse` knows the grammar, which
//! is too full of corners for a pattern. Invariant: without `keep_colours` the result has no
//! control character but tab.

use std::fmt::Write;

use anstyle_parse::{DefaultCharAccumulator, Params, Parser, Perform};

/// Ends every colour.
const RESET: &str = "\x1b[0m";

/// Appends `text` to `out`, without line breaks and without control sequences.
pub(super) fn push_safe(out: &mut String, text: &str, keep_colours: bool) {
    if !text.chars().any(char::is_control) {
        out.push_str(text);
        return;
    }
    let mut kept = Kept { out, keep_colours, is_coloured: false };
    let mut parser = Parser::<DefaultCharAccumulator>::new();
    for byte in text.bytes() {
        parser.advance(&mut kept, byte);
    }
    if kept.is_coloured {
        out.push_str(RESET);
    }
}

struct Kept<'a> {
    out: &'a mut String,
    keep_colours: bool,
    is_coloured: bool,
}

impl Perform for Kept<'_> {
    fn print(&mut self, letter: char) {
        if !letter.is_control() {
            self.out.push(letter);
        }
    }

    fn execute(&mut self, byte: u8) {
        if byte == b'\t' {
            self.out.push('\t');
        }
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], ignore: bool, action: u8) {
        if action != b'm' || !intermediates.is_empty() || ignore || !self.keep_colours {
            return;
        }
        self.out.push_str("\x1b[");
        for (param_index, param) in params.iter().enumerate() {
            if param_index > 0 {
                self.out.push(';');
            }
            for (part_index, part) in param.iter().enumerate() {
                let colon = if part_index > 0 { ":" } else { "" };
                // Writing to a `String` cannot fail.
                let _ = write!(self.out, "{colon}{part}");
            }
        }
        self.out.push('m');
        self.is_coloured = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn safe(text: &str, keep_colours: bool) -> String {
        let mut out = String::new();
        push_safe(&mut out, text, keep_colours);
        out
    }

    #[test]
    fn colours_stay_and_are_ended() {
        assert_eq!(safe("\x1b[1;31mred", true), "\x1b[1;31mred\x1b[0m");
        assert_eq!(safe("\x1b[38:2::1:2:3mred", true), "\x1b[38:2:0:1:2:3mred\x1b[0m");
        assert_eq!(safe("\x1b[1;31mred\x1b[0m", false), "red");
    }

    #[test]
    fn a_program_cannot_move_the_cursor_or_set_the_title() {
        for attack in [
            "\x1b[2J",
            "\x1b[10;10H",
            "\x1b]0;title\x07",
            "\x1b]52;c;ZXZpbA==\x1b\\",
            "\x1b[6n",
            "\x1bc",
            "\x1bP+q544e\x1b\\",
            "\r",
            "\x08\x08",
            "\u{9b}2J",
            "\x00",
        ] {
            assert!(
                !safe(&format!("a{attack}b"), true).chars().any(char::is_control),
                "{attack:?} -> {:?}",
                safe(&format!("a{attack}b"), true)
            );
        }
    }

    #[test]
    fn words_in_any_language_stay() {
        for text in ["naïve", "日本語", "a\tb", "🙂", ""] {
            assert_eq!(safe(text, false), text);
        }
    }
}
