//! Which of the files beside a file a client takes.
//!
//! Nothing is compressed here: `app.js.br` and `app.js.gz` are sent for `app.js` when they are
//! there. It deliberately reads `*` as nothing in particular: whoever names no encoding gets none.
//!
//! Invariant: the plain file is always the last resort.

use std::borrow::Cow;

use http::header::{ACCEPT_ENCODING, HeaderMap};

/// How the bytes of a file are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// As they are.
    Plain,
    /// `gzip`.
    Gzip,
    /// `br`.
    Brotli,
}

/// What a client takes, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Encodings([Option<Encoding>; Encoding::ALL.len()]);

impl Encoding {
    /// All of them, in the order of their numbers.
    pub(super) const ALL: [Self; 3] = [Self::Plain, Self::Gzip, Self::Brotli];

    /// The word in `Content-Encoding`.
    pub(super) const fn word(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Gzip => Some("gzip"),
            Self::Brotli => Some("br"),
        }
    }

    /// The name of the file that holds it.
    pub(super) fn name_of(self, name: &str) -> Cow<'_, str> {
        match self {
            Self::Plain => Cow::Borrowed(name),
            Self::Gzip => Cow::Owned(format!("{name}.gz")),
            Self::Brotli => Cow::Owned(format!("{name}.br")),
        }
    }
}

impl Encodings {
    /// Those that a request accepts.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut weights = [None; Encoding::ALL.len()];
        for value in headers.get_all(ACCEPT_ENCODING) {
            for item in value.as_bytes().split(|byte| *byte == b',') {
                let mut parts = item.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
                let word = parts.next().unwrap_or_default();
                let encoding = match word {
                    _ if word.eq_ignore_ascii_case(b"br") => Encoding::Brotli,
                    _ if word.eq_ignore_ascii_case(b"gzip") => Encoding::Gzip,
                    _ if word.eq_ignore_ascii_case(b"identity") => Encoding::Plain,
                    _ => continue,
                };
                weights[encoding as usize] = Some(parts.find_map(weight).unwrap_or(1000));
            }
        }
        let plain = weights[Encoding::Plain as usize].unwrap_or_default();
        let [_, gzip, brotli] = weights.map(|weight| weight.filter(|it| *it > 0 && *it >= plain));
        let [first, second] = match (brotli, gzip) {
            (Some(brotli), Some(gzip)) if gzip > brotli => [Encoding::Gzip, Encoding::Brotli],
            _ => [Encoding::Brotli, Encoding::Gzip],
        };
        let taken = |encoding: Encoding| match encoding {
            Encoding::Brotli => brotli.map(|_| encoding),
            _ => gzip.map(|_| encoding),
        };
        Self([taken(first), taken(second), Some(Encoding::Plain)])
    }

    /// Best first; the plain file is the last.
    pub(super) fn iter(&self) -> impl Iterator<Item = Encoding> + use<> {
        self.0.into_iter().flatten()
    }
}

/// The weight of `q=0.5` in thousandths; what is no weight is nothing.
fn weight(part: &[u8]) -> Option<u16> {
    let value = part.strip_prefix(b"q=").or_else(|| part.strip_prefix(b"Q="))?;
    let value: f32 = std::str::from_utf8(value).ok()?.parse().ok()?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and 1000 after the clamp"
    )]
    (0.0..=1.0).contains(&value).then_some((value * 1000.0) as u16)
}

#[cfg(test)]
mod tests {
    use super::Encoding::{Brotli, Gzip, Plain};
    use super::*;

    #[test]
    fn the_best_that_is_accepted_comes_first_and_the_plain_file_last() {
        let cases: [(&str, &[Encoding]); 9] = [
            ("", &[Plain]),
            ("gzip, deflate, br, zstd", &[Brotli, Gzip, Plain]),
            ("gzip", &[Gzip, Plain]),
            ("gzip;q=1.0, br;q=0.5", &[Gzip, Brotli, Plain]),
            ("br;q=0, gzip", &[Gzip, Plain]),
            ("BR ; q=0.1", &[Brotli, Plain]),
            ("identity, br;q=0.5", &[Plain]),
            ("*", &[Plain]),
            ("br;q=nonsense", &[Brotli, Plain]),
        ];
        for (accepts, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, accepts.parse().unwrap());
            let found: Vec<_> = Encodings::of(&headers).iter().collect();
            assert_eq!(found, expected, "{accepts}");
        }
    }
}
