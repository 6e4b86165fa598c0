//! Where a call goes: the declared origin and path, and nothing else.
//!
//! The application gives a path and a query; scheme, host and port are the declaration's, whatever
//! the path says. It deliberately refuses what could leave the declared path, instead of mending
//! it. Invariant: every address made here begins with the declared one.

use reqwest::Url;

/// The address of a call: `path` and `query` below `base`. None when the path leads out of it.
pub(super) fn url(base: &Url, path: &str, query: Option<&str>) -> Option<Url> {
    if leads_out(path) {
        return None;
    }
    let prefix = base.path().trim_end_matches('/');
    let mut url = base.clone();
    let path = path.trim_start_matches('/');
    if path.is_empty() {
        // `/out/name` is the declared address itself.
        url.set_path(base.path());
    } else {
        url.set_path(&format!("{prefix}/{path}"));
    }
    url.set_query(query);
    let is_below = url.path().starts_with(prefix)
        && (url.path().len() == prefix.len() || url.path().as_bytes()[prefix.len()] == b'/');
    let is_same = url.scheme() == base.scheme()
        && url.host_str() == base.host_str()
        && url.port_or_known_default() == base.port_or_known_default();
    (is_below && is_same).then_some(url)
}

/// Whether a part of the path is `.` or `..`, however it is written, or holds what some servers
/// take for a slash.
fn leads_out(path: &str) -> bool {
    let plain = path.to_ascii_lowercase().replace("%2e", ".");
    let plain = plain.replace("%2f", "/").replace("%5c", "/").replace('\\', "/");
    plain.split('/').any(|part| part == "." || part == "..")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(base: &str, path: &str, query: Option<&str>) -> Option<String> {
        url(&Url::parse(base).unwrap(), path, query).map(|url| url.to_string())
    }

    #[test]
    fn path_and_query_go_below_the_declared_address() {
        let base = "https://api.example.com/v1/";
        assert_eq!(
            of(base, "/users", Some("a=b")).unwrap(),
            "https://api.example.com/v1/users?a=b"
        );
        assert_eq!(of(base, "", None).unwrap(), "https://api.example.com/v1/");
        assert_eq!(of("http://a", "//b/c", None).unwrap(), "http://a/b/c");
        assert_eq!(of("http://a", "http://evil/", None).unwrap(), "http://a/http://evil/");
    }

    #[test]
    fn what_leads_out_is_refused() {
        for path in ["/../admin", "/a/../../b", "/%2e%2E/b", "/..%2fb", "/.%5c", "/a\\..\\b", "/."]
        {
            assert_eq!(of("http://a/v1", path, None), None, "{path}");
        }
    }

    proptest! {
        #[test]
        fn no_path_reaches_another_origin(path in "[/\\\\.%a-fA-F0-9@:?#\u{e9} -]{0,40}") {
            let base = Url::parse("https://api.example.com:8443/v1").unwrap();
            if let Some(url) = url(&base, &path, None) {
                let text = url.to_string();
                let begins = text == "https://api.example.com:8443/v1"
                    || text.starts_with("https://api.example.com:8443/v1/");
                prop_assert!(begins, "{}", text);
            }
        }
    }
}
