//! The `plimsoll` binary: everything.

use std::process::ExitCode;

fn main() -> ExitCode {
    plimsoll::main()
}
