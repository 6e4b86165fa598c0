//! Input that wants to do harm, or is merely broken.

use std::path::Path;

use crate::on_both;
use crate::platform::{Platform, sample};

on_both! {
    no_query_is_an_error
    nul_and_control_characters_are_text_without_them
}

/// Query syntax of FTS5, `tsquery`, SQL and the shell; nothing of it means anything here.
const QUERIES: [&str; 22] = [
    "\"",
    "\"\"\"",
    "*",
    "a*b*",
    "AND",
    "OR NOT",
    "NEAR(keel mast, 2)",
    "words:keel",
    "-keel",
    "keel -",
    "^keel",
    "(",
    "keel)",
    "'",
    "' OR 1=1 --",
    "keel & | ! <->",
    ":*",
    "\\",
    "\0keel\0",
    "\u{202e}keel",
    "%",
    "𝔘 ﷽ ½ ⅷ ٣",
];

fn no_query_is_an_error(platform: &Platform) {
    let _worker = platform.worker();
    let id = platform.upload("keel.txt", b"The keel and the mast of 1=1.");
    platform.settled(&id);
    for query in QUERIES {
        let found = platform.search(query);
        assert!(found["total"].is_number(), "`{query}`: {found}");
    }
    assert_eq!(platform.names("-keel'"), ["keel.txt"]);
    let words: String = (0..190).map(|n| format!("w{n} ")).collect();
    platform.search(&words);
}

fn nul_and_control_characters_are_text_without_them(platform: &Platform) {
    let _worker = platform.worker();
    let mut bytes = b"A long beginning. ".repeat(600);
    bytes.extend(b"The an\x01chor\0 is \x1b[31mred.");
    let id = platform.upload("na\0me\n.txt", &bytes);
    assert_eq!(platform.settled(&id)["status"], "ready");
    assert_eq!(platform.document(&id)["name"], "name.txt");
    assert_eq!(platform.names("chor"), ["name.txt"]);
}

#[test]
fn hostile_documents_end_in_a_clear_state_and_harm_no_other() {
    let platform = Platform::sqlite();
    let worker = platform.worker();
    let survey = sample("load-line-survey.pdf");
    let hostile = |name: &str| {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/hostile");
        std::fs::read(directory.join(name)).unwrap()
    };
    let documents = [
        ("truncated.pdf", survey[..survey.len() / 2].to_vec()),
        ("head-only.pdf", b"%PDF-1.7\n".to_vec()),
        ("noise.pdf", [b"%PDF-1.4\n".to_vec(), noise(50_000)].concat()),
        ("no-pages.pdf", hostile("no-pages.pdf")),
        ("nested.pdf", hostile("nested.pdf")),
        ("cycle.pdf", hostile("cycle.pdf")),
        ("huge.pdf", hostile("huge.pdf")),
        ("bomb.pdf", hostile("bomb.pdf")),
        ("truncated.png", sample("harbour-notice.png")[..9_000].to_vec()),
        ("noise.jpg", [b"\xff\xd8\xff\xe0".to_vec(), noise(9_000)].concat()),
    ];
    let ids: Vec<(&str, String)> =
        documents.iter().map(|(name, bytes)| (*name, platform.upload(name, bytes))).collect();
    let last = platform.upload("last.pdf", &survey);
    for (name, id) in &ids {
        let document = platform.settled(id);
        let status = document["status"].as_str().unwrap();
        let has_reason = !document["note"].as_str().unwrap().is_empty();
        assert!(status == "ready" || has_reason, "{name}: {document}");
        if matches!(*name, "head-only.pdf" | "noise.pdf" | "no-pages.pdf" | "noise.jpg") {
            assert_eq!(status, "failed", "{document}");
        }
    }
    assert_eq!(platform.settled(&last)["status"], "ready");
    assert_eq!(platform.names("freeboard"), ["last.pdf"]);
    // One worker read them all: none brought it down, none was tried twice.
    let results = ["ready", "needs_ocr", "failed", "retried"]
        .map(|result| worker.metric(&format!("discovery_jobs_total{{result=\"{result}\"}}")));
    assert_eq!(results.iter().sum::<f64>(), 11.0);
}

/// The same bytes every time, and no pattern in them.
fn noise(n_bytes: usize) -> Vec<u8> {
    let mut state: u32 = 1;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(n_bytes).collect()
}
