//! Text that a person reads: what a template gave, with the lines that the manifest brought.
//!
//! A template says where a line comes from with a [`Mark`]; it leaves no trace in the file.

use std::fmt;

use crate::artifact::Trace;

/// Begins a mark. From the private area of Unicode, which no artifact uses.
const OPEN: char = '\u{E0F0}';
/// Ends a mark.
const CLOSE: char = '\u{E0F1}';

/// Says in a template that this line exists because of a place in the manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark(pub(crate) String);

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{OPEN}{}{CLOSE}", self.0)
    }
}

/// Takes the marks out, and the white space that templates leave at the ends of lines; there is
/// one line feed at the end.
pub(crate) fn finish(marked: &str) -> (String, Vec<Trace>) {
    let mut text = String::with_capacity(marked.len());
    let mut traces = Vec::new();
    for (line, number) in marked.trim_end().lines().zip(1..) {
        let mut rest = line;
        let start = text.len();
        while let Some((before, path, after)) = next_mark(rest) {
            text.push_str(before);
            traces.push(Trace { line: number, because: path.to_owned() });
            rest = after;
        }
        text.push_str(rest);
        let end = start + text[start..].trim_end().len();
        text.truncate(end);
        text.push('\n');
    }
    (text, traces)
}

/// What is before the next mark, its path, and what is after it.
fn next_mark(text: &str) -> Option<(&str, &str, &str)> {
    let (before, marked) = text.split_once(OPEN)?;
    let (path, after) = marked.split_once(CLOSE)?;
    Some((before, path, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_become_lines_and_leave_nothing_behind() {
        let mark = Mark("services.api.port".to_owned());
        let (text, traces) = finish(&format!("FROM base  \n{mark}EXPOSE 8080\n\n"));
        assert_eq!(text, "FROM base\nEXPOSE 8080\n");
        assert_eq!(traces, [Trace { line: 2, because: "services.api.port".to_owned() }]);
    }
}
