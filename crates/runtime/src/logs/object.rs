//! Reads the members of a plain JSON object in one pass, without a copy and without memory.
//!
//! Loggers write plain objects: few keys, no `\u`, no exponents, little depth. Those are read here,
//! several times as fast as by a general reader; whatever is not plain is left to that one. It
//! deliberately refuses nothing: what it does not take may still be good.
//!
//! Invariant: what is taken is an object for every strict reader, and its members are those that a
//! general reader finds.

use super::escape::plain_bytes;

/// How many lists and objects may stand in each other; their kinds are bits of a word.
const DEPTH_MAX: u32 = 60;
/// A longer number may be too large for a reader.
const NUMBER_BYTES_MAX: usize = 64;

/// Calls `member` with every key of `object` and the text of its value, until it says no; whether
/// it never did and all of `object` is one plain object. Keys are as they are written, and have no
/// escapes.
pub(super) fn members<'a>(object: &'a str, member: impl FnMut(&'a str, &'a str) -> bool) -> bool {
    Reader { text: object, bytes: object.as_bytes(), at: 0 }.members(member).is_some()
}

/// None stands for anything that is not plain.
struct Reader<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn members(&mut self, mut member: impl FnMut(&'a str, &'a str) -> bool) -> Option<()> {
        self.expect(b'{')?;
        self.blanks();
        if self.peek()? == b'}' {
            self.at += 1;
        } else {
            loop {
                let key = self.key()?;
                let start = self.at;
                self.value()?;
                if !member(key, &self.text[start..self.at]) {
                    return None;
                }
                self.blanks();
                match self.next()? {
                    b',' => self.blanks(),
                    b'}' => break,
                    _ => return None,
                }
            }
        }
        (self.at == self.bytes.len()).then_some(())
    }

    /// A key without escapes, and the colon.
    fn key(&mut self) -> Option<&'a str> {
        self.expect(b'"')?;
        let start = self.at;
        self.at += plain_bytes(&self.bytes[start..]);
        let key = &self.text[start..self.at];
        self.expect(b'"')?;
        self.colon()?;
        Some(key)
    }

    fn colon(&mut self) -> Option<()> {
        self.blanks();
        self.expect(b':')?;
        self.blanks();
        Some(())
    }

    /// Passes one value.
    fn value(&mut self) -> Option<()> {
        // What is open, from the innermost: 1 for an object and 0 for a list.
        let (mut kinds, mut depth) = (0_u64, 0);
        loop {
            let opened = self.begin()?;
            if let Some(is_object) = opened {
                self.blanks();
                if self.peek()? != closing(is_object) {
                    (kinds, depth) = (kinds << 1 | u64::from(is_object), depth + 1);
                    if depth > DEPTH_MAX {
                        return None;
                    }
                    self.name(is_object)?;
                    continue;
                }
                self.at += 1;
            }
            loop {
                if depth == 0 {
                    return Some(());
                }
                let is_object = kinds & 1 == 1;
                self.blanks();
                match self.next()? {
                    b',' => {
                        self.blanks();
                        self.name(is_object)?;
                        break;
                    }
                    byte if byte == closing(is_object) => {
                        (kinds, depth) = (kinds >> 1, depth - 1);
                    }
                    _ => return None,
                }
            }
        }
    }

    /// Passes a scalar, or the bracket of a list or an object; which of the two.
    fn begin(&mut self) -> Option<Option<bool>> {
        match self.peek()? {
            b'"' => {
                self.at += 1;
                self.string()?;
            }
            b'{' => {
                self.at += 1;
                return Some(Some(true));
            }
            b'[' => {
                self.at += 1;
                return Some(Some(false));
            }
            b't' => self.word(b"true")?,
            b'f' => self.word(b"false")?,
            b'n' => self.word(b"null")?,
            _ => self.number()?,
        }
        Some(None)
    }

    /// Passes what stands before a value: in an object its key.
    fn name(&mut self, is_object: bool) -> Option<()> {
        if is_object {
            self.expect(b'"')?;
            self.string()?;
            self.colon()?;
        }
        Some(())
    }

    /// Passes the rest of a string.
    fn string(&mut self) -> Option<()> {
        loop {
            self.at += plain_bytes(&self.bytes[self.at..]);
            match self.next()? {
                b'"' => return Some(()),
                b'\\' if b"\"\\/bfnrt".contains(&self.next()?) => {}
                0x7f => {}
                _ => return None,
            }
        }
    }

    /// Passes a number without an exponent.
    fn number(&mut self) -> Option<()> {
        let start = self.at;
        self.at += usize::from(self.peek()? == b'-');
        let whole = self.digits();
        let has_zero_before = whole > 1 && self.bytes[self.at - whole] == b'0';
        if whole == 0 || has_zero_before {
            return None;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return None;
            }
        }
        let is_exponent = matches!(self.peek(), Some(b'e' | b'E'));
        (!is_exponent && self.at - start <= NUMBER_BYTES_MAX).then_some(())
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        self.at - start
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        let is_here = self.bytes[self.at..].starts_with(word);
        self.at += word.len();
        is_here.then_some(())
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }
}

fn closing(is_object: bool) -> u8 {
    if is_object { b'}' } else { b']' }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;

    fn read(object: &str) -> Option<Vec<(String, String)>> {
        let mut read = Vec::new();
        let is_whole = members(object, |key, value| {
            read.push((key.to_owned(), value.to_owned()));
            true
        });
        is_whole.then_some(read)
    }

    /// The members that a general reader finds, those of one key all kept.
    struct All(Vec<(String, String)>);

    impl<'de> serde::Deserialize<'de> for All {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Members;
            impl<'de> serde::de::Visitor<'de> for Members {
                type Value = All;

                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("an object")
                }

                fn visit_map<A: serde::de::MapAccess<'de>>(
                    self,
                    mut map: A,
                ) -> Result<All, A::Error> {
                    let mut all = Vec::new();
                    while let Some((key, value)) = map.next_entry::<String, &RawValue>()? {
                        all.push((key, value.get().to_owned()));
                    }
                    Ok(All(all))
                }
            }
            deserializer.deserialize_map(Members)
        }
    }

    #[track_caller]
    fn check(text: &str) {
        let Some(read) = read(text) else { return };
        let all: All = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(read, all.0, "{text}");
        let value: Result<serde_json::Value, _> = serde_json::from_str(text);
        assert!(value.is_ok(), "{text}");
    }

    #[test]
    fn a_plain_object_is_taken() {
        let text = r#"{ "a" : -1.50 , "b":[true,{"c":null},[]],"c":"x\\\"\n","d":{}}"#;
        let expected =
            [("a", "-1.50"), ("b", r#"[true,{"c":null},[]]"#), ("c", r#""x\\\"\n""#), ("d", "{}")];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(read(text).unwrap(), expected);
        assert_eq!(read("{}").unwrap(), []);
    }

    #[test]
    fn what_is_not_plain_is_left_to_others() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(61), "]".repeat(61));
        let long = format!("{{\"a\":{}}}", "1".repeat(65));
        let more = [deep.as_str(), &long];
        for text in ["", "{", "{\"a\":1", "[1]", "{}x", "{\"a\":01}", "{\"a\":1.}", "{\"a\":-}"]
            .into_iter()
            .chain(["{\"a\":1e5}", "{\"\\u0061\":1}", "{\"a\":\"\\ud800\"}", "{\"a\":\"\t\"}"])
            .chain(["{\"a\":tru}", "{\"a\":[1}}", "{\"a\":{1]}", "{\"a\":1,}", "{\"a\":[1,]}"])
            .chain(["{\"a\":[,]}", "{\"a\" 1}", "{a:1}", "{\"a\":\"\\x\"}", "{\"a\":{\"b\"}}"])
            .chain(more)
        {
            assert_eq!(read(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_taken_is_what_a_general_reader_finds(
            text in r#"\{("a":|"\\"b":|1|0|-|\.5|"x"|"é\\n"|,|\{|\}|\[|\]| |true|null|\\|"){0,14}\}"#
        ) {
            check(&text);
        }

        #[test]
        fn a_good_object_with_one_byte_changed_is_not_taken_for_another(
            at in any::<prop::sample::Index>(), byte in 0x09_u8..0x80,
        ) {
            let text = r#"{"a":"x\n","b":[1,-2.5,{"c":true}],"d":{"e":null,"f":[]},"g":0}"#;
            let mut bytes = text.as_bytes().to_vec();
            bytes[at.index(text.len())] = byte;
            check(std::str::from_utf8(&bytes).expect("ASCII"));
        }
    }
}
