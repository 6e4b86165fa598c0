//! From the path of a request to the name of a file, and what the name alone tells.
//!
//! It deliberately touches no disk: what a name leads to is the matter of `beneath`.
//!
//! Invariant: a name that is returned has no empty part, no `.` and no `..`, and none that is
//! hidden (but a leading `.well-known`).

use std::borrow::Cow;

/// Directories in which bundlers put nothing but hashed names.
const ASSET_DIRECTORIES: &[&str] = &["assets", "_next", "_app", "_astro", "static", "build"];

/// The page of a directory.
pub(super) const INDEX: &str = "index.html";

/// The name below the directory that a path asks for; `None` when there can be no such file.
pub(super) fn below(path: &str) -> Option<Cow<'_, str>> {
    let decoded = if path.contains('%') {
        percent_encoding::percent_decode_str(path).decode_utf8().ok()?
    } else {
        Cow::Borrowed(path)
    };
    let is_plain = decoded.starts_with('/') && !decoded.contains("//") && !decoded.contains("/.");
    match decoded {
        _ if path == "/" => Some(Cow::Borrowed(INDEX)),
        Cow::Borrowed(plain) if is_plain && !plain.ends_with('/') => Some(plain[1..].into()),
        decoded => tidied(&decoded).map(Cow::Owned),
    }
}

fn tidied(decoded: &str) -> Option<String> {
    let mut name = String::with_capacity(decoded.len() + INDEX.len());
    for part in decoded.split('/').filter(|part| !matches!(*part, "" | ".")) {
        let is_well_known = name.is_empty() && part == ".well-known";
        if part.starts_with('.') && !is_well_known {
            return None;
        }
        name.push_str(part);
        name.push('/');
    }
    if decoded.ends_with('/') || name.is_empty() {
        name.push_str(INDEX);
    } else {
        name.pop();
    }
    Some(name)
}

/// Whether a part of a path is hidden, decoded or not.
pub(super) fn is_hidden(path: &str) -> bool {
    path.split('/').any(|part| part.starts_with('.') || part.starts_with("%2e"))
}

/// What a file of this name holds.
pub(super) fn content_type(name: &str) -> &'static str {
    mime_guess::from_path(name).first_raw().unwrap_or("application/octet-stream")
}

/// Whether a bundler named the file after its content, as `index-BdKx3f9Q.js` or
/// `main.8e0d62a1.js`.
pub(super) fn is_hashed(path: &str) -> bool {
    let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
    let Some((stem, _extension)) = name.rsplit_once('.') else { return false };
    // `app.8e0d62a1.js.map`: the hash may stand before two extensions.
    let stem = stem.rsplit_once('.').map_or(stem, |(before, last)| {
        if matches!(last, "js" | "css" | "mjs") { before } else { stem }
    });
    let Some(index) = stem.rfind(['-', '.']) else { return false };
    let hash = &stem.as_bytes()[index + 1..];
    if hash.len() < 8 || !hash.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_') {
        return false;
    }
    let has = |is: fn(&u8) -> bool| hash.iter().any(is);
    let (upper, lower) = (has(u8::is_ascii_uppercase), has(u8::is_ascii_lowercase));
    let is_hex = hash.iter().all(u8::is_ascii_hexdigit);
    let is_in_assets = directory.split('/').any(|part| ASSET_DIRECTORIES.contains(&part));
    if has(u8::is_ascii_digit) {
        upper || lower && (is_hex || is_in_assets)
    } else {
        upper && lower && is_in_assets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_bundlers_made_are_immutable_and_no_others() {
        for yes in [
            "/assets/index-DiwrgTda.js",
            "/assets/index-BdKx3f9Q.css",
            "/static/js/main.8e0d62a1.js",
            "/main.8e0d62a1.js.map",
            "/_app/immutable/start.DYvEkbo_.js",
            "/index-2EYHF3QS.js",
        ] {
            assert!(is_hashed(yes), "{yes}");
        }
        for no in [
            "/index.html",
            "/app.js",
            "/some-component.js",
            "/release-notes2024.js",
            "/index-MyComponent.js",
            "/logo-20240101.png",
            "/robots.txt",
        ] {
            assert!(!is_hashed(no), "{no}");
        }
    }

    #[test]
    fn a_path_becomes_one_name_or_none() {
        for (path, name) in [
            ("/", Some("index.html")),
            ("/about/", Some("about/index.html")),
            ("/app.js", Some("app.js")),
            ("//deep///app.js", Some("deep/app.js")),
            ("/./deep/./app.js", Some("deep/app.js")),
            ("/a%20b.txt", Some("a b.txt")),
            ("/a%2Fb.txt", Some("a/b.txt")),
            ("/.well-known/security.txt", Some(".well-known/security.txt")),
            ("/deep/.well-known/x", None),
            ("/.env", None),
            ("/%2eenv", None),
            ("/a/../b", None),
            ("/a/%2e%2e/b", None),
            ("/..", None),
            ("/%ff", None),
        ] {
            assert_eq!(below(path).as_deref(), name, "{path}");
        }
    }
}
