//! No text makes the language panic: parse, every environment's plan, its explanation, and the
//! rendering of whatever was wrong.
//!
//! `cargo +nightly fuzz run manifest fuzz/corpus/manifest fuzz/seeds/manifest`

#![no_main]

use libfuzzer_sys::fuzz_target;
use manifest::{explain, parse, resolve};

fuzz_target!(|text: &[u8]| {
    let shown = String::from_utf8_lossy(text);
    match parse(text) {
        Err(problems) => assert!(!problems.render("m", &shown, false).is_empty()),
        Ok(manifest) => {
            let names: Vec<String> =
                manifest.environments().into_iter().map(ToString::to_string).collect();
            for name in names.iter().map(String::as_str).chain([manifest.local_environment()]) {
                match resolve(&manifest, name) {
                    Err(problems) => assert!(problems.has_errors()),
                    Ok(resolution) => {
                        let explained = explain(&resolution, "services");
                        assert!(explained.is_ok(), "a plan has services");
                    }
                }
            }
        }
    }
});
