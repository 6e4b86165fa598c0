//! Whatever an app writes, in whatever portions: each line is one JSON object, no line is lost, and
//! no secret leaves in any encoding that is covered.
//!
//! The first byte says how long lines may be, the second in which portions bytes arrive.
//!
//! `cargo +nightly fuzz run logs fuzz/corpus/logs fuzz/seeds/logs`

#![no_main]

use libfuzzer_sys::fuzz_target;
use runtime::board::Identity;
use runtime::logs::{Context, Joiner, Line, Multiline, Redactor, Splitter, Standing, Stream, enrich};

const SECRETS: [(&str, &str); 2] = [("db", "hunter2\"hünter3"), ("key", "aaaa-bbbb-cccc")];

fuzz_target!(|input: &[u8]| {
    let [max, portion, bytes @ ..] = input else { return };
    let redactor = Redactor::default();
    redactor.set_secrets(SECRETS);
    let mut scanner = redactor.scanner();
    let context = Context::new(&Identity::default(), Stream::Stdout);
    let mut splitter = Splitter::new(4 + usize::from(*max) * 8);
    let mut joiner = Joiner::new(Multiline::Auto);
    let (mut window, mut clean, mut out, mut taken) = (Vec::new(), Vec::new(), Vec::new(), 0);
    let mut pass = |line: &[u8], is_cut: bool| {
        let is_changed = scanner.redact(line, &mut clean);
        let line = if is_changed { &clean[..] } else { line };
        enrich(Line { is_cut, ..Line::whole(line) }, "2026-11-21T09:14:02.123456Z", &context, &mut out);
        out.push(b'\n');
    };
    for chunk in bytes.chunks(usize::from(*portion) + 1) {
        window.extend_from_slice(chunk);
        while let Some(piece) = splitter.next(&window) {
            // How a line stands to others must never fail, whatever it is.
            let _: Standing = joiner.on(piece.bytes);
            pass(piece.bytes, piece.is_cut);
            taken += piece.taken;
            let count = piece.taken;
            window.drain(..count);
        }
    }
    if let Some(piece) = splitter.flush(&window) {
        pass(piece.bytes, piece.is_cut);
        taken += piece.taken;
    }
    assert_eq!(taken, bytes.len());
    for line in out.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let value: serde_json::Value = serde_json::from_slice(line).expect("one JSON value");
        assert!(value.is_object());
        for (_, secret) in SECRETS {
            assert!(!value.to_string().contains(secret));
        }
    }
});
