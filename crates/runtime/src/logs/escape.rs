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

/// Appends `text`, escaped, without quotes around it.
pub(super) fn push_escaped(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let mut clean_from = 0;
    for (index, byte) in bytes.iter().enumerate() {
        let escape = ESCAPES[*byte as usize];
        if escape == 0 {
            continue;
        }
        out.extend_from_slice(&bytes[clean_from..index]);
        clean_from = index + 1;
        out.extend_from_slice(&[b'\\', escape]);
        if escape == b'u' {
            let (high, low) = (byte >> 4, byte & 0xf);
            out.extend_from_slice(&[b'0', b'0', HEX[high as usize], HEX[low as usize]]);
        }
    }
    out.extend_from_slice(&bytes[clean_from..]);
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

    #[test]
    fn control_characters_never_reach_a_terminal() {
        let mut out = Vec::new();
        push_string(&mut out, "\0\u{1b}[31mred\u{7f}\r\n");
        assert_eq!(out, br#""\u0000\u001b[31mred\u007f\r\n""#);
    }
}
