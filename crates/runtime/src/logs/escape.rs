//! Writes bytes as the inside of a JSON string.
//!
//! It deliberately leaves everything outside ASCII as it is. Invariant: the output between two
//! quotes is one JSON string, and its value is the input.

/// What stands for a byte in a JSON string: itself (0), a short escape, or `\u00XX`.
const ESCAPES: [u8; 256] = {
    let mut table = [0; 256];
    let mut control = 0;
    while control < 0x20 {
        table[control] = b'u';
        control += 1;
    }
    table[0x7f] = b'u';
    table[b'\n' as usize] = b'n';
    table[b'\r' as usize] = b'r';
    table[b'\t' as usize] = b't';
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table
};

const HEX: &[u8; 16] = b"0123456789abcdef";

/// How many bytes at the beginning of `text` stand for themselves: up to the first control
/// character, quote or backslash. Eight are looked at together.
pub(super) fn plain_bytes(text: &[u8]) -> usize {
    let (words, rest) = text.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let special = special(u64::from_le_bytes(*word));
        if special != 0 {
            // The lowest mark is exact; those above it may not be.
            return index * 8 + special.trailing_zeros() as usize / 8;
        }
    }
    let is_special = |byte: &u8| ESCAPES[*byte as usize] != 0;
    text.len() - rest.len() + rest.iter().position(is_special).unwrap_or(rest.len())
}

/// The highest bit of every byte that is escaped; above the lowest of them also of others.
fn special(word: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let is_zero = |word: u64| word.wrapping_sub(EACH) & !word;
    let is_control = word.wrapping_sub(EACH * 0x20) & !word;
    let is = |byte: u8| is_zero(word ^ (EACH * u64::from(byte)));
    (is_control | is(b'"') | is(b'\\') | is(0x7f)) & (EACH * 0x80)
}

/// Appends `text`, escaped, without quotes around it.
pub(super) fn push_escaped(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    loop {
        let (plain, special) = rest.split_at(plain_bytes(rest));
        out.extend_from_slice(plain);
        let Some((byte, after)) = special.split_first() else { return };
        let escape = ESCAPES[*byte as usize];
        out.extend_from_slice(&[b'\\', escape]);
        if escape == b'u' {
            let (high, low) = (byte >> 4, byte & 0xf);
            out.extend_from_slice(&[b'0', b'0', HEX[high as usize], HEX[low as usize]]);
        }
        rest = after;
    }
}

/// Appends `"text"`.
pub(super) fn push_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    push_escaped(out, text);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_survives_as_a_json_string(text in ".*") {
            let mut out = Vec::new();
            push_string(&mut out, &text);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }

    proptest! {
        #[test]
        fn eight_bytes_together_are_as_good_as_one_by_one(
            text in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'a')], 0..40)
        ) {
            let one_by_one = text.iter().position(|byte| ESCAPES[usize::from(*byte)] != 0);
            prop_assert_eq!(plain_bytes(&text), one_by_one.unwrap_or(text.len()));
        }
    }

    #[test]
    fn control_characters_never_reach_a_terminal() {
        let mut out = Vec::new();
        push_string(&mut out, "\0\u{1b}[31mred\u{7f}\r\n");
        assert_eq!(out, br#""\u0000\u001b[31mred\u007f\r\n""#);
    }
}
