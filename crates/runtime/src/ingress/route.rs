//! Which declared route a path belongs to, for metrics.
//!
//! A template is a path with placeholders: `{id}` stands for one segment, a final `{rest...}` or
//! `*` for any number. It deliberately decides nothing but a label: the app routes. Invariant: the
//! first declared route that matches wins, so that an order says what is more special.

/// Declared routes, ready to match.
#[derive(Debug, Default)]
pub(super) struct Routes(Vec<Vec<Segment>>);

#[derive(Debug, PartialEq, Eq)]
enum Segment {
    /// Exactly this.
    Is(Box<str>),
    /// Anything but nothing.
    One,
    /// Whatever is left.
    Rest,
}

impl Routes {
    /// Reads the templates.
    pub(super) fn new(templates: &[String]) -> Self {
        Self(templates.iter().map(|template| parse(template)).collect())
    }

    /// The index of the first template that a path matches.
    pub(super) fn find(&self, path: &str) -> Option<usize> {
        self.0.iter().position(|template| is_match(template, path))
    }
}

fn parse(template: &str) -> Vec<Segment> {
    segments(template)
        .map(|segment| {
            let is_placeholder = segment.starts_with('{') && segment.ends_with('}');
            if segment == "*" || (is_placeholder && segment.ends_with("...}")) {
                Segment::Rest
            } else if is_placeholder || segment.starts_with(':') {
                Segment::One
            } else {
                Segment::Is(segment.into())
            }
        })
        .collect()
}

fn is_match(template: &[Segment], path: &str) -> bool {
    let mut rest = segments(path);
    for segment in template {
        let is_fit = match segment {
            Segment::Rest => return true,
            Segment::One => rest.next().is_some_and(|part| !part.is_empty()),
            Segment::Is(text) => rest.next() == Some(text),
        };
        if !is_fit {
            return false;
        }
    }
    rest.next().is_none()
}

/// Segments of a path; a trailing slash makes no difference.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    let is_root = path.is_empty();
    path.split('/').filter(move |_| !is_root)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_declared_route_that_matches_wins() {
        let declared = ["/", "/v1/items/new", "/v1/items/{id}", "/v1/:kind/x", "/files/{path...}"];
        let routes = Routes::new(&declared.map(str::to_owned));
        for (path, index) in [
            ("/", Some(0)),
            ("/v1/items/new", Some(1)),
            ("/v1/items/42", Some(2)),
            ("/v1/items/42/", Some(2)),
            ("/v1/things/x", Some(3)),
            ("/files", Some(4)),
            ("/files/a/b/c", Some(4)),
            ("/v1/items", None),
            ("/v1/items//", None),
            ("/v1/items/42/more", None),
            ("/filesystem", None),
        ] {
            assert_eq!(routes.find(path), index, "{path}");
        }
    }
}
