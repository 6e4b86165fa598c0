//! Secrets that stand in a manifest as they are: told by the name before them, or by the shape of
//! a URL.
//!
//! Issued credentials are told by their beginnings, in `names`. It errs towards plain values: a
//! wrong yes refuses a good manifest.

/// Endings of variables whose value is a secret. Ends count, so that `TOKEN_LIMIT` and
/// `PASSWORD_MIN_LENGTH` are plain.
const SECRET_ENDINGS: [&str; 11] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "api_key",
    "apikey",
    "private_key",
    "secret_key",
    "access_key",
    "signing_key",
];

/// Values that say whether, and not what.
const PLAIN_VALUES: [&str; 9] = ["", "true", "false", "yes", "no", "on", "off", "none", "null"];

/// Whether a variable of this name with this value holds a secret in the open.
pub(crate) fn is_secret(variable: &str, value: &str) -> bool {
    let (variable, value) = (variable.to_lowercase(), value.trim().to_lowercase());
    SECRET_ENDINGS.iter().any(|ending| variable.ends_with(ending))
        && !PLAIN_VALUES.contains(&value.as_str())
        && !value.contains("${")
}

/// Whether a text holds a URL with a password that is no placeholder.
pub(crate) fn has_password(text: &str) -> bool {
    next_password(text, 0).is_some()
}

/// The text with asterisks in place of the passwords of its URLs.
#[must_use]
pub fn without_passwords(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut end = 0;
    while let Some(password) = next_password(text, end) {
        out.push_str(&text[end..password.start]);
        out.push_str("***");
        end = password.end;
    }
    out.push_str(&text[end..]);
    out
}

/// Where the next password of a URL is, from a byte on.
fn next_password(text: &str, from: usize) -> Option<std::ops::Range<usize>> {
    text[from..].match_indices("://").find_map(|(at, sign)| {
        let start = from + at + sign.len();
        let is_end = |c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '"' | '\'');
        let length = text[start..].find(is_end).unwrap_or(text.len() - start);
        let (login, _) = text[start..start + length].rsplit_once('@')?;
        let (user, password) = login.split_once(':')?;
        let start = start + user.len() + 1;
        let is_told = !password.is_empty() && !password.contains("${");
        is_told.then_some(start..start + password.len())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_that_ends_like_a_secret_holds_one() {
        for (variable, value) in [
            ("PASSWORD", "hunter2hunter2"),
            ("SECRET_KEY", "changethis"),
            ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI"),
            ("dbPassword", "x"),
            ("GITHUB_TOKEN", "12"),
        ] {
            assert!(is_secret(variable, value), "{variable}");
        }
        for (variable, value) in [
            ("TOKEN_LIMIT", "4096"),
            ("MAX_TOKENS", "4096"),
            ("TOKEN_URL", "https://id.example/token"),
            ("SECRET_NAME", "db"),
            ("REQUIRE_PASSWORD", "true"),
            ("PASSWORD", ""),
            ("API_KEY", "${secret:openai}"),
            ("PRIMARY_KEY", "id"),
        ] {
            assert!(!is_secret(variable, value), "{variable}");
        }
    }

    #[test]
    fn passwords_of_urls_are_found_and_taken_out() {
        let text = "a --db=postgres://u:p4ss:w@rd@h/d --to 'redis://:x@h' http://h:80/a@b";
        let clean = "a --db=postgres://u:***@h/d --to 'redis://:***@h' http://h:80/a@b";
        assert!(has_password(text));
        assert_eq!(without_passwords(text), clean);
        for plain in ["postgres://u@h/d", "pg://u:${secret:P}@h", "mailto:a@b", "http://h:1/", "é"]
        {
            assert!(!has_password(plain), "{plain}");
            assert_eq!(without_passwords(plain), plain);
        }
    }
}
