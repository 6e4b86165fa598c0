//! Any text is a template or an error with its place, and what it says of settings is an error too.

#![no_main]

use libfuzzer_sys::fuzz_target;
use runtime::secret::{settings, syntax};

fuzz_target!(|text: &str| {
    match syntax::parse(text) {
        Ok(template) => {
            assert!(template.references().count() <= text.matches(syntax::OPENING).count());
        }
        Err(error) => assert!(error.span.end <= text.len()),
    }
    let _ = syntax::parse_bare(text);
    let _ = settings::parse(text);
});
