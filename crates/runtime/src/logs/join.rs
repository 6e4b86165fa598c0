//! Says which lines are one: traces of Python, Java, Node, Go and Rust, or whatever is indented.
//!
//! ```text
//!   None --a line that may begin a trace--> (head) --a line that only a trace has--> (frames)
//!     ^------------------- any line that does not belong ---------------------------------|
//! ```
//!
//! A line belongs for sure, or only if a later one does: the error of a Java trace is an ordinary
//! line until `at` follows. It deliberately joins no line before a trace to it, as that may be
//! another thread's, and holds no bytes: the caller does, and gives up waiting by itself.
//!
//! Invariant: a line that is a JSON object is never joined to anything.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::Multiline;

/// Most lines before the error line of an uncaught error of Node.
const SOURCE_LINES_MAX: u8 = 6;

/// How a line stands to those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is one of its own.
    Alone,
    /// It is one of its own, unless the next belongs to it.
    Begins,
    /// It belongs to the one before.
    Belongs,
    /// It belongs to the one before if the next one does.
    MayBelong,
}

/// Looks at one line after the other.
#[derive(Clone, Debug)]
pub struct Joiner {
    mode: Multiline,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    None,
    Indent,
    Python(Python),
    /// An error line of Java or Node, and whether frames came.
    Thrown {
        has_frames: bool,
    },
    /// An empty line after frames.
    ThrownBlank,
    /// The place of an uncaught error of Node, and how many lines followed.
    NodePlace(u8),
    GoHead,
    GoFrames,
    RustMessage,
    RustFrames,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Python {
    Frames,
    /// The error was named.
    Named,
    /// An empty line after that.
    Blank,
    /// Another traceback must follow.
    Between,
}

impl Joiner {
    /// Joins as `mode` says.
    #[must_use]
    pub fn new(mode: Multiline) -> Self {
        Self { mode, state: State::None }
    }

    /// Takes the next line.
    pub fn on(&mut self, line: &[u8]) -> Standing {
        if self.mode == Multiline::Off || is_json(line) {
            self.state = State::None;
            return Standing::Alone;
        }
        if self.state != State::None
            && let Some((state, standing)) = self.goes_on(line)
        {
            self.state = state;
            return standing;
        }
        self.state = self.begin(line);
        if self.state == State::None { Standing::Alone } else { Standing::Begins }
    }

    /// What came so far is passed on; the next line begins anew.
    pub fn reset(&mut self) {
        self.state = State::None;
    }

    fn has(&self, mode: Multiline) -> bool {
        self.mode == Multiline::Auto || self.mode == mode
    }

    fn begin(&self, line: &[u8]) -> State {
        if self.mode == Multiline::Indent {
            return State::Indent;
        }
        if self.has(Multiline::Python) && is_traceback(line) {
            return State::Python(Python::Frames);
        }
        if self.has(Multiline::Go) && (line.starts_with(b"panic: ") || is_go_head(line)) {
            return State::GoHead;
        }
        let is_rust = line.starts_with(b"thread '") && PANICKED.find(line).is_some();
        if self.has(Multiline::Rust) && is_rust {
            return State::RustMessage;
        }
        if self.has(Multiline::Node) && is_node_place(line) {
            return State::NodePlace(0);
        }
        if (self.has(Multiline::Java) || self.has(Multiline::Node)) && is_thrown(line) {
            return State::Thrown { has_frames: false };
        }
        State::None
    }

    fn goes_on(&self, line: &[u8]) -> Option<(State, Standing)> {
        use Standing::{Belongs, MayBelong};
        match self.state {
            State::None => None,
            State::Indent => is_indented(line).then_some((State::Indent, Belongs)),
            State::Python(at) => python(at, line),
            State::Thrown { has_frames } => thrown(has_frames, line),
            State::ThrownBlank => line
                .starts_with(b"Node.js v")
                .then_some((State::Thrown { has_frames: true }, Belongs)),
            State::NodePlace(_) if is_thrown(line) => {
                Some((State::Thrown { has_frames: false }, MayBelong))
            }
            State::NodePlace(n_lines) if n_lines < SOURCE_LINES_MAX => {
                Some((State::NodePlace(n_lines + 1), MayBelong))
            }
            State::NodePlace(_) => None,
            State::GoHead | State::GoFrames => go(self.state, line),
            State::RustMessage if line == b"stack backtrace:" => Some((State::RustFrames, Belongs)),
            State::RustMessage => Some((State::RustFrames, Belongs)),
            State::RustFrames => {
                let is_ours = line == b"stack backtrace:" || line.starts_with(b"note: ");
                (is_ours || is_indented(line)).then_some((State::RustFrames, Belongs))
            }
        }
    }
}

fn python(at: Python, line: &[u8]) -> Option<(State, Standing)> {
    let is_next = line.starts_with(b"During handling of the above exception")
        || line.starts_with(b"The above exception was the direct cause");
    let (next, standing) = match at {
        Python::Frames if is_indented(line) => (at, Standing::Belongs),
        Python::Frames if is_name(line) => (Python::Named, Standing::Belongs),
        Python::Named if is_indented(line) => (at, Standing::Belongs),
        Python::Named if line.is_empty() => (Python::Blank, Standing::MayBelong),
        Python::Named | Python::Blank if is_next => (Python::Between, Standing::Belongs),
        Python::Between if line.is_empty() => (at, Standing::Belongs),
        Python::Between if is_traceback(line) => (Python::Frames, Standing::Belongs),
        _ => return None,
    };
    Some((State::Python(next), standing))
}

fn thrown(has_frames: bool, line: &[u8]) -> Option<(State, Standing)> {
    let frames = State::Thrown { has_frames: true };
    let is_frame = is_indented(line) && {
        let line = line.trim_ascii_start();
        line.starts_with(b"at ") || line.starts_with(b"... ") || line.starts_with(b"Suppressed: ")
    };
    if is_frame || (has_frames && is_indented(line)) {
        return Some((frames, Standing::Belongs));
    }
    if !has_frames {
        return None;
    }
    if line.starts_with(b"Caused by: ") || line == b"}" {
        return Some((frames, Standing::Belongs));
    }
    line.is_empty().then_some((State::ThrownBlank, Standing::MayBelong))
}

fn go(at: State, line: &[u8]) -> Option<(State, Standing)> {
    let is_goroutine = line.starts_with(b"goroutine ");
    if is_goroutine || line.starts_with(b"[signal ") || line.starts_with(b"runtime stack:") {
        return Some((State::GoFrames, Standing::Belongs));
    }
    if at == State::GoHead {
        let is_more = line.is_empty() || line.starts_with(b"\tpanic: ") || line.starts_with(b"\t");
        return is_more.then_some((at, Standing::MayBelong));
    }
    let is_call = line.ends_with(b")") && memchr::memchr(b'(', line).is_some();
    let is_other = line.starts_with(b"created by ")
        || line.starts_with(b"exit status ")
        || line.starts_with(b"...additional frames");
    if is_call || is_other || line.starts_with(b"\t") {
        return Some((at, Standing::Belongs));
    }
    line.is_empty().then_some((at, Standing::MayBelong))
}

fn is_json(line: &[u8]) -> bool {
    line.starts_with(b"{") && line.trim_ascii_end().ends_with(b"}")
}

fn is_indented(line: &[u8]) -> bool {
    matches!(line.first(), Some(b' ' | b'\t'))
}

/// `Traceback (most recent call last):`, in a group of exceptions behind a frame of its own.
fn is_traceback(line: &[u8]) -> bool {
    let skipped = line.iter().take_while(|byte| b" |+".contains(byte)).count();
    let line = &line[skipped..];
    line.starts_with(b"Traceback (most recent call last)")
        || (skipped > 0 && line.starts_with(b"Exception Group Traceback"))
}

/// The name of an error and what it says: `a.b.Error: text`.
fn is_name(line: &[u8]) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.<>".contains(byte);
    let length = line.iter().take_while(|byte| is_part(byte)).count();
    length > 0 && matches!(line.get(length), None | Some(b':'))
}

fn is_go_head(line: &[u8]) -> bool {
    line.starts_with(b"fatal error: ")
        || (line.starts_with(b"goroutine ") && line.ends_with(b":"))
        || (line.first().is_some_and(u8::is_ascii_digit) && SERVING.find(line).is_some())
}

/// `/srv/app.js:12`.
fn is_node_place(line: &[u8]) -> bool {
    let is_path = [&b"/"[..], b"file:///", b"node:"].iter().any(|start| line.starts_with(start));
    let digits = line.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    is_path && digits > 0 && line[..line.len() - digits].ends_with(b":") && !line.contains(&b' ')
}

/// Whether the name of an error ends the line or stands before a colon.
fn is_thrown(line: &[u8]) -> bool {
    let is_name = |text: &[u8]| THROWN.iter().any(|word| text.ends_with(word));
    line.starts_with(b"Exception in thread ")
        || is_name(line)
        || memchr::memchr_iter(b':', line).any(|colon| is_name(&line[..colon]))
}

const THROWN: [&[u8]; 3] = [b"Exception", b"Error", b"Throwable"];
static PANICKED: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("panicked at"));
static SERVING: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("http: panic serving"));

#[cfg(test)]
mod tests {
    use super::*;

    /// The records that a joiner makes of a text, each by its number of lines.
    fn records(mode: Multiline, text: &str) -> Vec<usize> {
        let mut joiner = Joiner::new(mode);
        let (mut records, mut waiting): (Vec<usize>, usize) = (Vec::new(), 0);
        for line in text.lines() {
            match joiner.on(line.as_bytes()) {
                Standing::Belongs => {
                    *records.last_mut().expect("one before") += waiting + 1;
                    waiting = 0;
                }
                Standing::MayBelong => waiting += 1,
                Standing::Alone | Standing::Begins => {
                    records.extend(std::iter::repeat_n(1, waiting));
                    waiting = 0;
                    records.push(1);
                }
            }
        }
        records.extend(std::iter::repeat_n(1, waiting));
        records
    }

    const PYTHON: &str = "Traceback (most recent call last):\n  File \"a.py\", line 1, in <module>\n    f()\n    ~^^\n  File \"a.py\", line 2, in f\n    raise KeyError('x')\nKeyError: 'x'\n\nDuring handling of the above exception, another exception occurred:\n\nTraceback (most recent call last):\n  File \"a.py\", line 4, in <module>\n    raise app.errors.Boom\napp.errors.Boom";
    const GROUP: &str = "  + Exception Group Traceback (most recent call last):\n  |   File \"a.py\", line 1, in <module>\n  | ExceptionGroup: two (2 sub-exceptions)\n  +-+---------------- 1 ----------------\n    | ValueError: a\n    +---------------- 2 ----------------\n    | TypeError: b\n    +------------------------------------";
    const JAVA: &str = "2026-11-21 ERROR app - boom: java.lang.IllegalStateException: boom\n\tat app.Main.run(Main.java:7)\n\tSuppressed: java.io.IOException: x\n\t\tat app.Main.close(Main.java:9)\nCaused by: java.lang.NullPointerException\n\tat app.Main.inner(Main.java:5)\n\t... 2 more";
    const NODE: &str = "/srv/app.js:3\n    throw new TypeError(\"boom\", { cause });\n    ^\n\nTypeError: boom\n    at f (/srv/app.js:3:11)\n    at Object.<anonymous> (/srv/app.js:5:1) {\n  [cause]: Error: inner\n      at Object.<anonymous> (/srv/app.js:1:15)\n}\n\nNode.js v20.1.0";
    const GO: &str = "panic: boom\n\ngoroutine 1 [running]:\nmain.f(...)\n\t/srv/main.go:4\nmain.main()\n\t/srv/main.go:8 +0x1d\n\ngoroutine 6 [sleep]:\ntime.Sleep(0x3b9aca00)\n\t/go/time.go:1 +0x2\ncreated by main.main in goroutine 1\n\t/srv/main.go:6 +0x2a\nexit status 2";
    const RUST: &str = "thread 'main' panicked at src/main.rs:2:5:\nboom\nstack backtrace:\n   0: std::panicking::begin_panic\n             at /rustc/x.rs:1:1\nnote: Some details are omitted";

    #[test]
    fn a_trace_is_one_record_between_its_neighbours() {
        for trace in [PYTHON, GROUP, JAVA, NODE, GO, RUST] {
            let n_lines = trace.lines().count();
            let text = format!("INFO before\n{trace}\nINFO after\n{{\"msg\":\"x\"}}");
            assert_eq!(records(Multiline::Auto, &text), [1, n_lines, 1, 1], "{trace}");
        }
    }

    #[test]
    fn one_language_joins_only_its_own() {
        let cases = [
            (Multiline::Python, PYTHON),
            (Multiline::Java, JAVA),
            (Multiline::Node, NODE),
            (Multiline::Go, GO),
            (Multiline::Rust, RUST),
        ];
        for (mode, own) in cases {
            assert_eq!(records(mode, own).len(), 1, "{mode}");
        }
        assert_eq!(records(Multiline::Go, PYTHON).len(), PYTHON.lines().count());
        assert_eq!(records(Multiline::Off, JAVA).len(), JAVA.lines().count());
    }

    #[test]
    fn two_traces_in_a_row_are_two_records() {
        let n_lines = PYTHON.lines().count();
        let twice = format!("{PYTHON}\n{PYTHON}");
        assert_eq!(records(Multiline::Auto, &twice), [n_lines, n_lines]);
    }

    #[test]
    fn what_only_looks_like_a_trace_stays_apart() {
        let text = "ValueError: no trace follows\nhello\n/srv/app.js:3\nsource\n\nhello\npanic: at the disco\nhello";
        assert_eq!(records(Multiline::Auto, text), [1; 8]);
    }

    #[test]
    fn an_object_ends_every_join() {
        let text =
            "Traceback (most recent call last):\n  File \"a.py\"\n{\"a\":1}\n  File \"b.py\"\n";
        assert_eq!(records(Multiline::Auto, text), [2, 1, 1]);
        assert_eq!(records(Multiline::Indent, "a\n b\n{}\n\tc\nd"), [2, 1, 1, 1]);
    }
}
