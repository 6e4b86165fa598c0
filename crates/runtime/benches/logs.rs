//! How fast the log pipeline is: split, join, redact, enrich, without the system calls.
//!
//! `cargo bench -p runtime --bench logs` passes a realistic mix of lines (access lines, JSON of
//! common loggers, text, traces, some with credentials) through all of it again and again, with all
//! rules and 51 secrets, and prints the CPU time of this thread, which is the figure to trust on a
//! busy machine. `... -- parts` says what each part costs.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement that cannot go on")]

use std::fmt::Write as _;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use runtime::board::Identity;
use runtime::logs::{Context, Joiner, Line, Multiline, Redactor, Splitter, Stream, enrich};

const ROUNDS: usize = 7;
const CORPUS_BYTES: usize = 8 * 1024 * 1024;
const SECRETS: usize = 51;

fn main() {
    let corpus = corpus();
    let lines = corpus.iter().filter(|byte| **byte == b'\n').count();
    let redactor = Redactor::default();
    let secrets: Vec<_> = (0..SECRETS).map(|n| (format!("s{n}"), secret(n))).collect();
    redactor.set_secrets(secrets.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let all = measure(&corpus, |window, out| {
        pipeline(&redactor, window, out);
    });
    let mut out = Vec::new();
    pipeline(&redactor, &corpus, &mut out);
    let text = String::from_utf8_lossy(&out);
    let leaks = secrets.iter().filter(|(_, value)| text.contains(value)).count();
    println!(
        "all: {:.0} MiB/s, {:.2} M lines/s per core; {leaks} leaks, {:.1} % of lines redacted",
        mib(corpus.len(), all),
        lines as f64 / all.as_secs_f64() / 1e6,
        100.0 * text.matches("[REDACTED").count() as f64 / lines as f64,
    );
    if std::env::args().any(|argument| argument == "parts") {
        parts(&corpus, &redactor);
    }
}

fn parts(corpus: &[u8], redactor: &Redactor) {
    let show = |name: &str, took| println!("{name}: {:.0} MiB/s", mib(corpus.len(), took));
    let none = Redactor::default();
    let redact = |redactor: &Redactor| {
        let mut scanner = redactor.scanner();
        measure(corpus, |window, out| {
            let mut clean = Vec::new();
            for line in window.split(|byte| *byte == b'\n') {
                if scanner.redact(line, &mut clean) {
                    out.push(b'x');
                }
            }
        })
    };
    show("redact without secrets", redact(&none));
    show("redact", redact(redactor));
    let context = Context::new(&Identity::default(), Stream::Stdout);
    let enriching = measure(corpus, |window, out| {
        for line in window.split(|byte| *byte == b'\n') {
            enrich(Line::whole(line), "2026-11-21T09:14:02.123456Z", &context, out);
        }
    });
    show("enrich", enriching);
    let mut joiner = Joiner::new(Multiline::Auto);
    let joining = measure(corpus, |window, out| {
        for line in window.split(|byte| *byte == b'\n') {
            out.push(joiner.on(line) as u8);
        }
    });
    show("join", joining);
}

fn pipeline(redactor: &Redactor, corpus: &[u8], out: &mut Vec<u8>) {
    let identity =
        Identity { service: "gateway".into(), env: "prod".into(), ..Identity::default() };
    let context = Context::new(&identity, Stream::Stdout);
    let (mut splitter, mut joiner) = (Splitter::new(256 * 1024), Joiner::new(Multiline::Auto));
    let (mut scanner, mut clean) = (redactor.scanner(), Vec::new());
    let (mut at, mut batch_from) = (0, out.len());
    while let Some(piece) = splitter.next(&corpus[at..]) {
        at += piece.taken;
        std::hint::black_box(joiner.on(piece.bytes));
        let is_changed = scanner.redact(piece.bytes, &mut clean);
        let line = Line::whole(if is_changed { &clean } else { piece.bytes });
        enrich(line, "2026-11-21T09:14:02.123456Z", &context, out);
        out.push(b'\n');
        if out.len() - batch_from > 64 * 1024 {
            batch_from = out.len();
        }
    }
}

/// The least CPU time of several rounds.
fn measure(corpus: &[u8], mut work: impl FnMut(&[u8], &mut Vec<u8>)) -> Duration {
    let mut out = Vec::with_capacity(4 * corpus.len());
    let mut round = || {
        out.clear();
        let before = Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap());
        work(corpus, &mut out);
        Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap()) - before
    };
    (0..ROUNDS).map(|_| round()).min().unwrap()
}

fn mib(bytes: usize, took: Duration) -> f64 {
    bytes as f64 / 1024.0 / 1024.0 / took.as_secs_f64()
}

/// Looks like what a password generator makes.
fn secret(number: usize) -> String {
    let letters = b"abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
    let mut state = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(number as u64 + 1);
    let mut letter = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(letters[(state >> 33) as usize % letters.len()])
    };
    (0..16 + number % 33).map(|_| letter()).collect()
}

fn corpus() -> Vec<u8> {
    let mut text = String::with_capacity(CORPUS_BYTES + 4096);
    let mut n = 0;
    while text.len() < CORPUS_BYTES {
        n += 1;
        let ms = n % 977;
        let _ = match n % 20 {
            0..=4 => writeln!(
                text,
                "10.1.{}.{} - - [21/Nov/2026:09:14:02 +0000] \"GET /v1/items/{n}?page={ms} HTTP/1.1\" 200 {} \"https://shop.example.com/\" \"Mozilla/5.0 (X11; Linux x86_64)\"",
                n % 256,
                ms % 256,
                n * 7 % 99_999
            ),
            5..=9 => writeln!(
                text,
                "{{\"time\":\"2026-11-21T09:14:02.{ms:03}Z\",\"level\":\"info\",\"msg\":\"request handled\",\"method\":\"GET\",\"path\":\"/v1/items/{n}\",\"status\":200,\"duration_ms\":{ms}.5,\"user\":{{\"id\":{n},\"plan\":\"free\"}},\"trace_id\":\"4bf92f3577b34da6a3ce929d0e0e4736\"}}"
            ),
            10..=13 => writeln!(
                text,
                "2026-11-21 09:14:02,{ms:03} INFO app.worker: job {n} of queue default finished in {ms} ms, 3 retries left, next at 09:15"
            ),
            14 | 15 => writeln!(
                text,
                "{{\"severity\":\"WARNING\",\"message\":\"slow query: \\\"select * from items where id = {n}\\\" took {ms} ms\",\"logger\":\"db\",\"thread\":\"pool-1\"}}"
            ),
            16 => writeln!(
                text,
                "level=debug ts=2026-11-21T09:14:02Z caller=cache.go:{ms} msg=\"cache miss\" key=item:{n} ttl=30s"
            ),
            17 => writeln!(
                text,
                "2026-11-21 09:14:02 ERROR app: cannot reach postgres://app:{}@db:5432/app after {ms} ms",
                secret(n % SECRETS)
            ),
            18 => writeln!(
                text,
                "Traceback (most recent call last):\n  File \"/srv/app/views.py\", line {ms}, in get\n    return self.items[{n}]\nKeyError: {n}"
            ),
            _ => writeln!(
                text,
                "{{\"level\":\"info\",\"msg\":\"login\",\"user\":\"u{n}\",\"token\":\"{}\",\"ok\":true}}",
                secret(n % SECRETS)
            ),
        };
    }
    text.into_bytes()
}
