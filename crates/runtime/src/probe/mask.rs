//! Hides credentials in addresses before a text is shown.
//!
//! It deliberately knows only `scheme://user:password@host`; the redactor of log lines is another
//! part. Invariant: nothing between `://` and the last `@` of a word is left.

/// The text with `***` in place of what stands before the `@` of each address.
pub(super) fn mask(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let is_end = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>');
        let word = &after[..after.find(is_end).unwrap_or(after.len())];
        rest = match word.rfind('@') {
            Some(end) => {
                out.push_str("***");
                &after[end..]
            }
            None => after,
        };
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_in_addresses_are_hidden() {
        assert_eq!(
            mask("cannot reach postgres://app:s3cr/e@t@db:5432/x, then `redis://:pw@cache`"),
            "cannot reach postgres://***@db:5432/x, then `redis://***@cache`"
        );
    }

    #[test]
    fn other_text_stays() {
        for text in ["http://host/a?b#c", "user@host", "a :// b@c", "é://", ""] {
            assert_eq!(mask(text), text);
        }
    }
}
