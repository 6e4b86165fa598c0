//! Cuts a window of bytes into lines.
//!
//! It deliberately holds no bytes: the caller keeps the window and drops what was taken. Invariant:
//! the pieces taken, with the line ends between them, are the input, in order, without a gap.

use memchr::memchr;

/// One line, or a part of one that was too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// The bytes, without their line end.
    pub bytes: &'a [u8],
    /// How many bytes of the window it takes, line end included.
    pub taken: usize,
    /// It is a part of a line that is longer than the limit.
    pub is_cut: bool,
    /// It is the first part of such a line.
    pub is_first_cut: bool,
    /// Nothing but the end of a line that was already passed on when it was idle.
    pub is_leftover: bool,
}

/// What must be remembered between two windows.
#[derive(Clone, Debug)]
pub struct Splitter {
    line_bytes_max: usize,
    is_in_cut: bool,
    is_after_flush: bool,
}

impl Splitter {
    /// How many bits a state has.
    pub const STATE_BITS: u32 = 2;

    /// Cuts lines longer than `line_bytes_max` (at least 4, so that a character fits).
    #[must_use]
    pub fn new(line_bytes_max: usize) -> Self {
        Self { line_bytes_max: line_bytes_max.max(4), is_in_cut: false, is_after_flush: false }
    }

    /// What a successor must know to go on with the same line; [`Splitter::STATE_BITS`] long.
    #[must_use]
    pub fn state(&self) -> u64 {
        u64::from(self.is_in_cut) | u64::from(self.is_after_flush) << 1
    }

    /// Goes on where another left off with this [`Splitter::state`].
    #[must_use]
    pub fn resumed(mut self, state: u64) -> Self {
        self.is_in_cut = state & 1 != 0;
        self.is_after_flush = state & 2 != 0;
        self
    }

    /// The first line of `window`, or none when its end is not there yet.
    pub fn next<'a>(&mut self, window: &'a [u8]) -> Option<Piece<'a>> {
        self.next_with(window, 0, |_, limit| limit)
    }

    /// The same; an over-long line is cut at or before the limit where `seam` says, which sees
    /// `reach` bytes of the line behind the limit that it gets.
    pub fn next_with<'a>(
        &mut self,
        window: &'a [u8],
        reach: usize,
        seam: impl FnOnce(&[u8], usize) -> usize,
    ) -> Option<Piece<'a>> {
        let max = self.line_bytes_max;
        let Some(length) = memchr(b'\n', &window[..window.len().min(max + 1)]) else {
            // The limit leaves room for the reach, so that the window need not grow for it.
            let limit = max - reach.min(max / 2);
            let n_seen = max.max(limit + reach);
            let has_end = || memchr(b'\n', &window[max..]).is_some();
            if window.len() <= max || (window.len() <= n_seen && !has_end()) {
                return None;
            }
            let end = memchr(b'\n', window).unwrap_or(window.len());
            let limit = seam(&window[..end], limit).clamp(1, end);
            return Some(self.cut(window, limit));
        };
        let line = &window[..length];
        let bytes = line.strip_suffix(b"\r").unwrap_or(line);
        let is_continued = self.is_in_cut || self.is_after_flush;
        let piece = Piece {
            bytes,
            taken: length + 1,
            is_cut: self.is_in_cut,
            is_first_cut: false,
            is_leftover: is_continued && bytes.is_empty(),
        };
        self.is_in_cut = false;
        self.is_after_flush = false;
        Some(piece)
    }

    /// All that is left in `window`, though its end is missing: it was idle, or the stream ended.
    pub fn flush<'a>(&mut self, window: &'a [u8]) -> Option<Piece<'a>> {
        if window.is_empty() {
            return None;
        }
        let piece = Piece {
            bytes: window,
            taken: window.len(),
            is_cut: self.is_in_cut,
            is_first_cut: false,
            is_leftover: false,
        };
        self.is_after_flush = true;
        Some(piece)
    }

    /// As much of an over-long line as may pass, cut between two characters.
    fn cut<'a>(&mut self, window: &'a [u8], limit: usize) -> Piece<'a> {
        let is_continuation =
            |index: usize| window.get(index).is_some_and(|byte| byte & 0xc0 == 0x80);
        let end = (limit.saturating_sub(3).max(1)..=limit).rev();
        let end = end.into_iter().find(|index| !is_continuation(*index));
        let taken = end.unwrap_or(limit);
        let is_first_cut = !self.is_in_cut;
        self.is_in_cut = true;
        self.is_after_flush = false;
        Piece { bytes: &window[..taken], taken, is_cut: true, is_first_cut, is_leftover: false }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds chunks as a pump does, and returns the pieces and all bytes taken.
    fn run(chunks: &[Vec<u8>], max: usize) -> (Vec<(Vec<u8>, bool)>, Vec<u8>) {
        let mut splitter = Splitter::new(max);
        let (mut window, mut pieces, mut taken) = (Vec::new(), Vec::new(), Vec::new());
        let mut take = |window: &mut Vec<u8>, piece: (Vec<u8>, usize, bool)| {
            pieces.push((piece.0, piece.2));
            taken.extend(window.drain(..piece.1));
        };
        for chunk in chunks {
            window.extend_from_slice(chunk);
            while let Some(piece) = splitter.next(&window) {
                let piece = (piece.bytes.to_vec(), piece.taken, piece.is_cut);
                take(&mut window, piece);
            }
        }
        if let Some(piece) = splitter.flush(&window) {
            let piece = (piece.bytes.to_vec(), piece.taken, piece.is_cut);
            take(&mut window, piece);
        }
        (pieces, taken)
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![
            3 => any::<u8>(), 2 => Just(b'\n'), 1 => Just(b'\r'), 4 => Just(b'a'),
        ];
        prop::collection::vec(byte, 0..200)
    }

    proptest! {
        #[test]
        fn no_byte_is_lost_or_moved(
            chunks in prop::collection::vec(bytes(), 0..8), max in 4..40usize
        ) {
            let (pieces, taken) = run(&chunks, max);
            prop_assert_eq!(&taken, &chunks.concat());
            prop_assert!(pieces.iter().all(|(bytes, _)| bytes.len() <= max));
        }

        #[test]
        fn how_bytes_arrive_does_not_matter(input in bytes(), at in any::<prop::sample::Index>()) {
            let at = at.index(input.len() + 1);
            let (whole, _) = run(std::slice::from_ref(&input), 16);
            let (parts, _) = run(&[input[..at].to_vec(), input[at..].to_vec()], 16);
            prop_assert_eq!(whole, parts);
        }

        #[test]
        fn a_cut_never_falls_into_a_character(text in "[aé€😀]{0,60}", max in 4..20usize) {
            let (pieces, _) = run(&[text.clone().into_bytes()], max);
            let joined: Vec<String> = pieces
                .into_iter()
                .map(|(bytes, _)| String::from_utf8(bytes).expect("cut between characters"))
                .collect();
            prop_assert_eq!(joined.concat(), text);
        }
    }

    #[test]
    fn lines_end_at_line_feeds_and_lose_one_carriage_return() {
        let (pieces, _) = run(&[b"a\r\n\nb\rc\r\r\nd\r".to_vec()], 100);
        let lines: Vec<_> = pieces.iter().map(|(bytes, _)| bytes.as_slice()).collect();
        assert_eq!(lines, [&b"a"[..], b"", b"b\rc\r", b"d\r"]);
    }

    #[test]
    fn every_part_of_an_overlong_line_says_so() {
        let (pieces, _) = run(&[b"aaaabbbbcc\nshort\n".to_vec()], 5);
        assert_eq!(pieces[0], (b"aaaab".to_vec(), true));
        assert_eq!(pieces[1], (b"bbbcc".to_vec(), true));
        assert_eq!(pieces[2], (b"short".to_vec(), false));
    }

    #[test]
    fn the_end_of_an_idle_line_is_not_a_line_of_its_own() {
        let mut splitter = Splitter::new(100);
        assert_eq!(splitter.flush(b"password: ").expect("flushed").bytes, b"password: ");
        assert!(splitter.next(b"\n").expect("a line end").is_leftover);
        assert!(!splitter.next(b"\n").expect("an empty line").is_leftover);
    }
}
