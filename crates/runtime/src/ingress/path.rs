//! Which path a rule is about, when much depends on it.
//!
//! An application may decode `%61`, fold `//` and `..`, strip `;x` and ignore case; a rule that
//! reads a path otherwise than the application is a hole. So there are two ways to match. What
//! *loosens* a rule (a public path) is matched as it is written, and never when the path can be
//! read in two ways. What *tightens* it (a scope, a limit) is matched after everything that an
//! application may do to a path was done. It deliberately rewrites no request.
//!
//! Invariant: a path that any usual server takes for `/admin` is matched loosely by `/admin`.

use serde::Deserialize;

/// A path with placeholders: `{id}` stands for one segment, a final `*` for any number.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Pattern(Vec<Segment>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Is(String),
    One,
    Rest,
}

/// A pattern that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a path to match: it begins with `/`, and `*` is its last segment")]
pub struct PatternError {
    text: String,
}

impl TryFrom<String> for Pattern {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, PatternError> {
        let rest = text.strip_prefix('/').filter(|rest| is_plain(rest) || rest.contains('*'));
        let Some(rest) = rest else { return Err(PatternError { text }) };
        let n_segments = rest.split('/').count();
        let mut segments = Vec::with_capacity(n_segments);
        for (index, segment) in rest.split('/').enumerate() {
            let is_last = index + 1 == n_segments;
            segments.push(match segment {
                "*" if is_last => Segment::Rest,
                other if other.contains('*') => return Err(PatternError { text }),
                other if other.starts_with('{') && other.ends_with('}') => Segment::One,
                other => Segment::Is(other.to_owned()),
            });
        }
        Ok(Self(segments))
    }
}

impl Pattern {
    /// Whether it means exactly this path, which can be read in one way only.
    pub fn matches(&self, path: &str) -> bool {
        let Some(rest) = path.strip_prefix('/').filter(|rest| is_plain(rest)) else { return false };
        self.is_match(rest.split('/'), |segment, part| segment == part)
    }

    /// Whether it means what an application could take this path for.
    pub fn matches_loosely(&self, path: &str) -> bool {
        let parts = folded(path);
        let fit = |segment: &str, part: &str| segment.eq_ignore_ascii_case(part);
        if self.is_match(parts.iter().map(String::as_str), fit) {
            return true;
        }
        // `/admin/` is `/admin` to many; `/admin` is of `/admin/*` to some.
        let slashed = parts.iter().map(String::as_str).chain([""]);
        self.is_match(slashed, fit)
    }

    fn is_match<'a>(
        &self,
        mut parts: impl Iterator<Item = &'a str>,
        fits: impl Fn(&str, &str) -> bool,
    ) -> bool {
        for segment in &self.0 {
            let is_fit = match segment {
                Segment::Rest => return parts.next().is_some(),
                Segment::One => parts.next().is_some_and(|part| !part.is_empty()),
                Segment::Is(text) => parts.next().is_some_and(|part| fits(text, part)),
            };
            if !is_fit {
                return false;
            }
        }
        parts.next().is_none()
    }
}

/// Whether a path (without its first slash) can be read in one way only.
fn is_plain(path: &str) -> bool {
    let n_segments = path.split('/').count();
    path.split('/').enumerate().all(|(index, segment)| {
        let is_last = index + 1 == n_segments;
        (is_last || !segment.is_empty())
            && !matches!(segment, "." | "..")
            && !segment.contains(['%', ';', '\\'])
    })
}

/// The segments of a path after everything that an application may do to it.
pub fn folded(path: &str) -> Vec<String> {
    // Twice, because some decode once before and once after they split.
    let text = decoded(&decoded(path)).replace('\\', "/");
    let mut parts: Vec<String> = Vec::new();
    for part in text.split('/') {
        match part.split(';').next().unwrap_or_default() {
            "" | "." => (),
            ".." => {
                parts.pop();
            }
            part => parts.push(part.to_owned()),
        }
    }
    parts
}

fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digit = |offset: usize| {
            bytes.get(at + offset).and_then(|digit| char::from(*digit).to_digit(16))
        };
        match (bytes[at], digit(1), digit(2)) {
            (b'%', Some(high), Some(low)) => {
                plain.push(u8::try_from(high * 16 + low).unwrap_or(b'%'));
                at += 3;
            }
            (byte, ..) => {
                plain.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::try_from(text.to_owned()).expect(text)
    }

    #[test]
    fn what_loosens_is_matched_as_it_is_written() {
        let public = pattern("/assets/*");
        assert!(public.matches("/assets/a/b.js"));
        for path in [
            "/assets/../admin",
            "/assets/%2e%2e/admin",
            "/assets/..;/admin",
            "/assets/%2fadmin",
            "/assets\\..\\admin",
            "/Assets/a",
            "//assets/a",
            "/assets",
            "assets/a",
        ] {
            assert!(!public.matches(path), "{path}");
        }
        assert!(pattern("/").matches("/") && !pattern("/").matches("/a"));
        assert!(pattern("/a/{id}").matches("/a/1") && !pattern("/a/{id}").matches("/a/"));
    }

    #[test]
    fn what_tightens_is_matched_in_whatever_words() {
        let guarded = pattern("/admin/*");
        for path in [
            "/admin/users",
            "/ADMIN/users",
            "//admin/users",
            "/%61dmin/users",
            "/%2561dmin/users",
            "/public/../admin/users",
            "/public/%2e%2e/admin/users",
            "/public/..;/admin/users",
            "/admin;x=1/users",
            "/./admin/users",
            "\\admin\\users",
            "/admin",
            "/admin/",
        ] {
            assert!(guarded.matches_loosely(path), "{path}");
        }
        assert!(!guarded.matches_loosely("/administrator"));
        assert!(pattern("/admin").matches_loosely("/admin/"));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in ["", "admin", "/a/*/b", "/a*", "/%61", "/a/../b", "//a"] {
            assert!(Pattern::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
