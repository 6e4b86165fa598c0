//! The `plimsoll-run` binary: the runtime alone, as it goes into images.
//!
//! It refers to nothing of `fleet` and `manifest`, so the linker leaves them out.

use std::process::ExitCode;

fn main() -> ExitCode {
    plimsoll::run_only_main()
}
