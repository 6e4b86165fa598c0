//! The log pipeline: the app's two pipes in, one JSON object per line out.
//!
//! ```text
//! app's pipe --tee--> source -> split -> join -> redact -> enrich -> write -> consume
//! own lines and access lines -> sink (bounded) -------------------- redact -----^
//! ```
//!
//! One thread does all of it with blocking writes, so that a slow reader of our stdout blocks this
//! thread and, through the full pipe, the app, but never the engine that answers HTTP. There is no
//! queue between reading and writing; memory is two line windows and one batch.
//!
//! A byte leaves the app's pipe together with its line (`journal`). An engine that is killed
//! therefore neither loses nor repeats a line: its successor finishes the batch that was begun and
//! finds the others in the pipe. Own lines that were queued die with it.
//!
//! It deliberately does not parse what the app says beyond the fields of `contract::log_fields`.
//!
//! Invariant: the bytes of one line are never mixed with those of another, and the lines of one
//! stream keep their order.

mod alias;
mod dropping;
mod enrich;
mod escape;
mod join;
pub mod journal;
mod lane;
mod level;
mod logfmt;
mod object;
mod pump;
mod redact;
mod settings;
mod sink;
mod source;
mod split;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tokio::sync::oneshot;

pub use enrich::{Context, Line, enrich};
pub use join::{Joiner, Standing};
pub use level::Level;
pub use redact::{
    Counters as RedactionCounters, Extra, Keys, Patterns, RETIRED_FOR, RedactSettings, Redactor,
    Scanner,
};
pub use settings::{LineSettings, Multiline, OnBlock, parse_max_line};
pub use sink::{Sink, Value};
pub use split::{Piece, Splitter};

use crate::board::Identity;

/// What becomes of the app's lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Every line a JSON object on our stdout.
    #[default]
    Json,
    /// Bytes unchanged, stdout to stdout and stderr to stderr; own lines go to stderr.
    Raw,
    /// Nothing is written; the app's pipes are still emptied.
    Off,
}

/// Where a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// The app's stdout.
    Stdout,
    /// The app's stderr.
    Stderr,
    /// Us.
    Plimsoll,
}

impl Stream {
    /// Every stream, in the order of the label's values.
    pub const ALL: [Stream; 3] = [Stream::Stdout, Stream::Stderr, Stream::Plimsoll];

    /// The value of the field and label `stream`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
            Stream::Plimsoll => "plimsoll",
        }
    }
}

/// Called with every whole line of the app as it came, before anything is taken out of it.
pub type LineHook = Arc<dyn Fn(&[u8]) + Send + Sync>;

/// How to run the pipeline.
#[derive(Clone)]
pub struct Settings {
    /// What becomes of the lines.
    pub format: Format,
    /// Who we are, for every line.
    pub identity: Identity,
    /// Longest line that is kept whole, bytes; `contract::log_fields::LINE_BYTES_MAX` by default.
    pub line_bytes_max: usize,
    /// Which lines belong together.
    pub multiline: Multiline,
    /// What happens while nobody reads us.
    pub on_block: OnBlock,
    /// Takes secrets out of every line.
    pub redactor: Redactor,
    /// Who else wants to see every line.
    pub on_line: Option<LineHook>,
}

impl Settings {
    /// The defaults for a first engine.
    #[must_use]
    pub fn new(format: Format, identity: Identity) -> Self {
        let line_bytes_max = contract::log_fields::LINE_BYTES_MAX;
        Self {
            format,
            identity,
            line_bytes_max,
            multiline: Multiline::default(),
            on_block: OnBlock::default(),
            redactor: Redactor::default(),
            on_line: None,
        }
    }
}

/// The read ends of the app's pipes.
#[derive(Debug)]
pub struct Inputs {
    /// From the app's stdout.
    pub stdout: OwnedFd,
    /// From the app's stderr.
    pub stderr: OwnedFd,
    /// Where the engine before left off; without it, its last batch may be written twice.
    pub journal: Option<journal::Kept>,
}

/// Where lines go. Never made non-blocking, as others may share them.
#[derive(Debug)]
pub struct Outputs {
    /// Our stdout.
    pub stdout: OwnedFd,
    /// Our stderr; written in [`Format::Raw`] only.
    pub stderr: OwnedFd,
}

/// Counters of one stream.
#[derive(Clone, Debug, Default)]
pub struct StreamCounters {
    /// Lines written.
    pub lines: Counter,
    /// Bytes read from the app, or formatted by us.
    pub bytes: Counter,
    /// Lines that nobody took: a full queue of own lines, or a closed output.
    pub dropped: Counter,
    /// Lines longer than the limit.
    pub truncated: Counter,
    /// Lines with bytes that are not UTF-8.
    pub not_utf8: Counter,
}

impl StreamCounters {
    /// Counts lines as written, or as dropped because nobody took them.
    fn wrote(&self, lines: u64, written: &io::Result<()>) {
        let counter = if written.is_ok() { &self.lines } else { &self.dropped };
        counter.inc_by(lines);
    }
}

/// Counters by stream, in the order of [`Stream::ALL`].
#[derive(Clone, Debug, Default)]
pub struct Counters(pub [StreamCounters; 3]);

impl Counters {
    /// The counters of a stream.
    #[must_use]
    pub fn of(&self, stream: Stream) -> &StreamCounters {
        &self.0[stream as usize]
    }
}

/// The running pipeline. Dropping it leaves the thread running: the app must never block.
#[derive(Debug)]
pub struct Pipeline {
    sink: Sink,
    done: oneshot::Receiver<()>,
}

/// Starts the pipeline's thread.
///
/// # Errors
/// When the kernel refuses an epoll instance, an eventfd or a thread.
pub fn start(
    settings: &Settings,
    inputs: Inputs,
    outputs: Outputs,
    counters: Counters,
) -> io::Result<(Sink, Pipeline)> {
    let (sink, queue) = sink::pair(settings, counters.of(Stream::Plimsoll).clone())?;
    let (finished, done) = oneshot::channel();
    let pump = pump::Pump::new(settings, inputs, outputs, counters, queue)?;
    pump.spawn(finished)?;
    Ok((sink.clone(), Pipeline { sink, done }))
}

impl Pipeline {
    /// Writes what the pipes and the queue hold now, the last partial lines included, and ends.
    /// To be called once the app and its descendants are gone; what comes later is not waited for.
    ///
    /// Returns false if that took longer than `limit`, because nobody reads our stdout or someone
    /// goes on writing.
    pub async fn finish(self, limit: Duration) -> bool {
        self.sink.finish();
        tokio::time::timeout(limit, self.done).await.is_ok_and(|ended| ended.is_ok())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{BufRead, BufReader, Read, Write};
    use std::sync::Arc;

    use serde_json::Value as Json;

    use super::*;

    /// A pipeline with the far ends of its pipes.
    struct Rig {
        stdout: File,
        stderr: File,
        lines: BufReader<File>,
        raw_stderr: File,
        sink: Sink,
        pipeline: Pipeline,
        counters: Counters,
    }

    fn pipe() -> (OwnedFd, OwnedFd) {
        nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).expect("a pipe")
    }

    fn rig(change: impl FnOnce(&mut Settings)) -> Rig {
        let identity = Identity { service: "api".into(), ..Identity::default() };
        let mut settings = Settings::new(Format::Json, identity);
        change(&mut settings);
        let (stdout, app_stdout) = pipe();
        let (stderr, app_stderr) = pipe();
        let (reader, our_stdout) = pipe();
        let (raw_stderr, our_stderr) = pipe();
        let inputs = Inputs { stdout, stderr, journal: None };
        let outputs = Outputs { stdout: our_stdout, stderr: our_stderr };
        let counters = Counters::default();
        let (sink, pipeline) =
            start(&settings, inputs, outputs, counters.clone()).expect("a pipeline");
        Rig {
            stdout: app_stdout.into(),
            stderr: app_stderr.into(),
            lines: BufReader::new(reader.into()),
            raw_stderr: raw_stderr.into(),
            sink,
            pipeline,
            counters,
        }
    }

    impl Rig {
        fn line(&mut self) -> Json {
            let mut line = String::new();
            self.lines.read_line(&mut line).expect("a line");
            serde_json::from_str(&line).expect("one JSON object")
        }
    }

    fn finish(pipeline: Pipeline, limit: Duration) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(pipeline.finish(limit))
    }

    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn each_line_of_each_stream_becomes_one_object() {
        let mut rig = rig(|_| {});
        rig.stdout.write_all(b"hello\n").expect("room");
        let line = rig.line();
        assert_eq!((&line["msg"], &line["stream"]), (&"hello".into(), &"stdout".into()));
        rig.stderr.write_all(b"{\"msg\":\"x\"}\n").expect("room");
        assert_eq!(rig.line()["stream"], "stderr");
        rig.sink.event(Level::Info, "ready", &[]);
        assert_eq!(rig.line()["stream"], "plimsoll");
        assert!(finish(rig.pipeline, LONG));
        assert_eq!(rig.counters.0.each_ref().map(|stream| stream.lines.get()), [1, 1, 1]);
        assert_eq!(rig.counters.0[0].bytes.get(), 6);
    }

    #[test]
    fn a_line_written_in_parts_is_one_line() {
        let mut rig = rig(|_| {});
        for part in ["one ", "line ", "in parts\nnext\n"] {
            rig.stdout.write_all(part.as_bytes()).expect("room");
            std::thread::yield_now();
        }
        assert_eq!(rig.line()["msg"], "one line in parts");
        assert_eq!(rig.line()["msg"], "next");
    }

    #[test]
    fn a_prompt_without_an_end_is_shown_after_a_while() {
        let mut rig = rig(|_| {});
        rig.stdout.write_all(b"password: ").expect("room");
        assert_eq!(rig.line()["msg"], "password: ");
        rig.stdout.write_all(b"\nthanks\n").expect("room");
        assert_eq!(rig.line()["msg"], "thanks");
    }

    #[test]
    fn finishing_writes_the_last_partial_line_of_a_pipe_that_stays_open() {
        let mut rig = rig(|_| {});
        rig.stdout.write_all(b"one\ntwo").expect("room");
        assert!(finish(rig.pipeline, LONG));
        let mut all = String::new();
        rig.lines.read_to_string(&mut all).expect("read");
        assert_eq!(all.lines().count(), 2, "{all}");
        assert!(all.contains("\"msg\":\"two\""));
    }

    #[test]
    fn an_overlong_line_is_passed_on_in_parts_and_counted_once() {
        let mut rig = rig(|settings| settings.line_bytes_max = 1000);
        let text = "x".repeat(2500);
        rig.stdout.write_all(format!("{text}\nnext\n").as_bytes()).expect("room");
        let parts = [rig.line(), rig.line(), rig.line()];
        assert!(parts.iter().all(|part| part["truncated"] == true));
        let joined: String = parts.iter().filter_map(|part| part["msg"].as_str()).collect();
        assert_eq!(joined, text);
        assert!(rig.line().get("truncated").is_none());
        assert_eq!(rig.counters.0[0].truncated.get(), 1);
    }

    #[test]
    fn a_writer_that_blocks_in_the_middle_of_a_line_goes_on() {
        const LINES: usize = 4_000;
        let rig = rig(|_| {});
        let Rig { mut stdout, mut lines, sink: _sink, pipeline: _pipeline, .. } = rig;
        // One write of far more than the pipe holds: it blocks again and again, most times while
        // the pipe holds back the beginning of a line.
        let line = format!("{}\n", "x".repeat(9_999));
        let app = std::thread::spawn(move || {
            stdout.write_all(line.repeat(LINES).as_bytes()).expect("an open pipe");
            stdout
        });
        let (mut line, mut passed, mut parts) = (String::new(), 0, 0);
        while passed < LINES * 9_999 {
            line.clear();
            lines.read_line(&mut line).expect("a line");
            let json: Json = serde_json::from_str(&line).expect("one JSON object");
            passed += json["msg"].as_str().expect("text").len();
            parts += 1;
        }
        drop(app.join().expect("all was written"));
        // A line that was passed on in parts means that the pipeline slept beside a full pipe. On a
        // machine that is short of time the writer may be late now and then.
        assert!(parts <= LINES + 3, "{} lines were torn", parts - LINES);
    }

    #[test]
    fn a_reader_that_never_reads_blocks_the_app_and_nobody_else() {
        let rig = rig(|_| {});
        nix::fcntl::fcntl(
            &rig.stdout,
            nix::fcntl::FcntlArg::F_SETFL(
                nix::fcntl::OFlag::O_NONBLOCK | nix::fcntl::OFlag::O_WRONLY,
            ),
        )
        .expect("non-blocking");
        let line = [b'x'; 1023].iter().chain(b"\n").copied().collect::<Vec<u8>>();
        let mut app = &rig.stdout;
        let mut accepted = 0u32;
        let mut refusals = 0;
        // The app is refused for good once our stdout's pipe, one batch and its own pipe are full.
        while refusals < 1000 {
            match app.write(&line) {
                Ok(_) => (accepted, refusals) = (accepted + 1, 0),
                Err(_) => {
                    refusals += 1;
                    std::thread::yield_now();
                }
            }
            assert!(accepted < 4096, "memory grows without a bound");
        }
        // Own lines are queued up to a limit, then dropped; the caller never waits. These are five
        // times the limit: the pump may take a queue along before it blocks.
        for _ in 0..32_768 {
            rig.sink.event(
                Level::Info,
                "x",
                &[("pad", Value::from("yyyyyyyyyyyyyyyyyyyyyyyyyyy"))],
            );
        }
        assert!(rig.counters.of(Stream::Plimsoll).dropped.get() > 0);
        assert!(!finish(rig.pipeline, Duration::from_millis(20)), "it cannot end");
    }

    #[test]
    fn a_closed_reader_does_not_stop_the_app() {
        let mut rig = rig(|_| {});
        drop(rig.lines);
        let line = [b'x'; 1023].iter().chain(b"\n").copied().collect::<Vec<u8>>();
        for _ in 0..1024 {
            rig.stdout.write_all(&line).expect("the pipe is emptied");
        }
        assert!(finish(rig.pipeline, LONG));
        assert_eq!(rig.counters.0[0].dropped.get(), 1024);
    }

    #[test]
    fn raw_bytes_pass_unchanged_to_their_own_stream() {
        let mut rig = rig(|settings| settings.format = Format::Raw);
        rig.stdout.write_all(b"\xff\0\r\npartial").expect("room");
        rig.stderr.write_all(b"warn\n").expect("room");
        assert!(finish(rig.pipeline, LONG));
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        rig.lines.read_to_end(&mut stdout).expect("read");
        rig.raw_stderr.read_to_end(&mut stderr).expect("read");
        assert_eq!(stdout, b"\xff\0\r\npartial");
        assert_eq!(stderr, b"warn\n");
    }

    #[test]
    fn a_traceback_is_one_error_and_nothing_else_is_joined_to_it() {
        let mut rig = rig(|_| {});
        let trace =
            "Traceback (most recent call last):\n  File \"a.py\", line 1\n    f()\nKeyError: 'x'";
        rig.stderr.write_all(format!("before\n{trace}\n").as_bytes()).expect("room");
        assert_eq!(rig.line()["msg"], "before");
        let line = rig.line();
        assert_eq!((&line["msg"], &line["level"]), (&trace.into(), &"error".into()));
        rig.stderr.write_all(b"ValueError: alone\n\nafter\n").expect("room");
        assert_eq!(
            [rig.line(), rig.line(), rig.line()].map(|line| line["msg"].to_string()),
            ["\"ValueError: alone\"", "\"\"", "\"after\""]
        );
        assert!(finish(rig.pipeline, LONG));
        assert_eq!(rig.counters.0[1].lines.get(), 5);
    }

    #[test]
    fn what_waits_for_others_is_written_at_the_end() {
        let mut rig = rig(|settings| settings.multiline = Multiline::Indent);
        rig.stdout.write_all(b"a\n b\nc\n d").expect("room");
        assert!(finish(rig.pipeline, LONG));
        let mut all = String::new();
        rig.lines.read_to_string(&mut all).expect("text");
        let of = |line: &str| serde_json::from_str::<Json>(line).expect("JSON")["msg"].clone();
        let lines: Vec<_> = all.lines().map(of).collect();
        assert_eq!(lines, ["a\n b", "c", " d"]);
    }

    #[test]
    fn a_secret_is_taken_out_wherever_the_writes_and_the_cuts_fall() {
        for at in 1..15 {
            for format in [Format::Json, Format::Raw] {
                let mut rig = rig(|settings| {
                    settings.format = format;
                    settings.line_bytes_max = 400;
                    settings.redactor.set_secrets([("db", "hunter2-hunter3")]);
                });
                let line = format!("{}hunter2-hunter3{}\n", "x ".repeat(190 + at), "y".repeat(300));
                let (one, two) = line.split_at(380 + 2 * at + at);
                rig.stdout.write_all(one.as_bytes()).expect("room");
                std::thread::yield_now();
                rig.stdout.write_all(two.as_bytes()).expect("room");
                assert!(finish(rig.pipeline, LONG));
                let mut all = String::new();
                rig.lines.read_to_string(&mut all).expect("text");
                let is_torn = ["hunter", "unter3", "nter2-"].iter().any(|part| all.contains(part));
                assert!(!is_torn && all.contains("[REDACTED:secret]"), "{at}: {all}");
                assert_eq!(all.matches('y').count(), 300);
            }
        }
    }

    #[test]
    fn own_lines_lose_their_secrets_as_well() {
        let mut rig = rig(|settings| {
            settings.redactor.set_secrets([("db", "hunter\"2-hunter3")]);
        });
        rig.sink.event(Level::Info, "x", &[("url", "a://b:hunter\"2-hunter3@c".into())]);
        assert_eq!(rig.line()["url"], "a://b:[REDACTED:secret]@c");
        assert_eq!(rig.sink.redactor().counts()["secret"], 1);
    }

    #[test]
    fn the_last_lines_are_remembered_without_secrets() {
        let mut rig = rig(|_| {});
        rig.stdout
            .write_all(b"one\ntwo\n{\"message\":\"three\",\"token\":\"abc\"}\n")
            .expect("room");
        rig.stderr.write_all(b"password=hunter2\n").expect("room");
        for _ in 0..4 {
            rig.line();
        }
        let mut last = rig.sink.last_lines();
        last.sort_unstable();
        assert_eq!(last, ["password=[REDACTED:assignment]", "three", "two"]);
        assert!(finish(rig.pipeline, LONG));
    }

    #[test]
    fn a_reader_that_stalls_costs_whole_lines_that_are_counted_and_never_the_app() {
        const LINES: u64 = 4_096;
        let mut rig = rig(|settings| settings.on_block = OnBlock::Drop);
        for number in 0..LINES {
            let line = format!("{{\"n\":{number},\"pad\":\"{}\"}}\n", "x".repeat(1_000));
            rig.stdout.write_all(line.as_bytes()).expect("the app never waits for long");
        }
        let mut seen = Vec::new();
        let dropped = loop {
            let line = rig.line();
            match line["n"].as_u64() {
                Some(number) => seen.push(number),
                None => break line["dropped"].as_u64().expect("a count"),
            }
        };
        assert!(dropped > 0 && seen.is_sorted());
        assert!(finish(rig.pipeline, LONG));
        let mut rest = String::new();
        rig.lines.read_to_string(&mut rest).expect("text");
        let counters = &rig.counters.0[0];
        assert_eq!(counters.lines.get() + counters.dropped.get(), LINES);
        let n_seen = seen.len() + rest.matches("\"n\":").count();
        assert_eq!(counters.lines.get(), n_seen as u64);
    }

    #[test]
    fn off_writes_nothing_and_empties_the_pipe() {
        let mut rig = rig(|settings| settings.format = Format::Off);
        rig.stdout.write_all(&vec![b'x'; 1024 * 1024]).expect("the pipe is emptied");
        rig.sink.event(Level::Info, "x", &[]);
        assert!(finish(rig.pipeline, LONG));
        let mut all = Vec::new();
        rig.lines.read_to_end(&mut all).expect("read");
        assert_eq!(all, b"");
    }

    const HELPER: &str = "PLIMSOLL_TEST_LOGS_ENGINE";
    /// The helper's descriptors: journal, both ends of its pipe, our stdout.
    const HELPER_FDS: [i32; 4] = [9, 10, 11, 12];

    /// Not a test of its own: the engine that the next test kills. Its stdin is the app's stdout.
    #[test]
    fn engine_to_be_killed() {
        if std::env::var_os(HELPER).is_none() {
            return;
        }
        use std::os::fd::AsFd;
        let [journal, staged, staging, output] =
            HELPER_FDS.map(|number| crate::sys::take_inherited(number).expect("open"));
        let inputs = Inputs {
            stdout: io::stdin().as_fd().try_clone_to_owned().expect("a pipe"),
            stderr: pipe().0,
            journal: Some(journal::Kept { journal, staged, staging }),
        };
        let outputs = Outputs { stdout: output, stderr: pipe().1 };
        let settings = Settings::new(Format::Json, Identity::default());
        let (_sink, _pipeline) =
            start(&settings, inputs, outputs, Counters::default()).expect("a pipeline");
        loop {
            std::thread::park();
        }
    }

    /// An engine on this app, journal and output.
    fn engine_process(
        app: &OwnedFd,
        kept: &journal::Kept,
        output: &OwnedFd,
    ) -> std::process::Child {
        use command_fds::{CommandFdExt, FdMapping};
        let journal::Kept { journal, staged, staging } = kept.try_clone().expect("duplicates");
        let ends = [journal, staged, staging, output.try_clone().expect("a duplicate")];
        let mapping = |(parent_fd, child_fd)| FdMapping { parent_fd, child_fd };
        let mut command =
            std::process::Command::new(std::env::current_exe().expect("this program"));
        command.args(["--exact", "logs::tests::engine_to_be_killed"]).env(HELPER, "1");
        command.stdin(app.try_clone().expect("a duplicate")).stdout(std::process::Stdio::null());
        let mappings = ends.into_iter().zip(HELPER_FDS).map(mapping).collect();
        command.fd_mappings(mappings).expect("no clash");
        command.spawn().expect("an engine")
    }

    #[test]
    fn an_engine_that_is_killed_neither_loses_nor_repeats_a_line() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        const LINES: usize = 60_000;
        let (app_reader, app_writer) = pipe();
        let (reader, output) = pipe();
        let kept = journal::Kept::create().expect("a journal");
        let n_read = Arc::new(AtomicUsize::new(0));
        let collected = std::thread::spawn({
            let n_read = n_read.clone();
            move || {
                let lines = BufReader::new(File::from(reader)).lines();
                lines
                    .map(|line| line.expect("text"))
                    .inspect(|line| {
                        n_read.fetch_add(line.len(), Ordering::Relaxed);
                    })
                    .collect::<Vec<_>>()
            }
        });
        let app = std::thread::spawn(move || {
            let mut app = File::from(app_writer);
            for number in 0..LINES {
                // Now and then in two writes, so that engines die in the middle of a line.
                let line = format!("{{\"n\":{number},\"pad\":\"{}\"}}\n", "x".repeat(number % 97));
                let (one, two) = line.split_at(number % line.len());
                app.write_all(one.as_bytes()).expect("an open pipe");
                app.write_all(two.as_bytes()).expect("an open pipe");
            }
        });
        let mut kills = 0;
        while !app.is_finished() {
            let mut engine = engine_process(&app_reader, &kept, &output);
            // Let it make some progress, of another length each time.
            let enough = n_read.load(Ordering::Relaxed) + 1 + 40_000 * (kills % 7);
            while n_read.load(Ordering::Relaxed) < enough && !app.is_finished() {
                std::thread::yield_now();
            }
            engine.kill().expect("SIGKILL");
            engine.wait().expect("reaped");
            kills += 1;
        }
        app.join().expect("the app wrote all");
        let mut last = engine_process(&app_reader, &kept, &output);
        while crate::sys::bytes_waiting(&app_reader).expect("a pipe") > 0 {
            std::thread::yield_now();
        }
        last.kill().expect("SIGKILL");
        last.wait().expect("reaped");
        // What the last one had begun is finished by whoever comes next.
        let (mut stdout, mut stderr) =
            (journal::Output::new(output, 0), journal::Output::new(pipe().1, 1));
        let app = File::from(app_reader);
        journal::Journal::resume(kept, [&app, &app], [&mut stdout, &mut stderr]).expect("resumed");
        drop(stdout);
        let lines = collected.join().expect("all lines");
        assert!(kills > 3, "the engine was killed {kills} times only");
        assert_eq!(lines.len(), LINES, "after {kills} kills");
        for (number, line) in lines.iter().enumerate() {
            let line: Json = serde_json::from_str(line).expect("one JSON object");
            assert_eq!(line["n"], number, "after {kills} kills");
        }
    }
}
