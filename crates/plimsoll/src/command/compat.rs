//! Under the name of `tini` or `dumb-init` this program is that program, flag by flag.
//!
//! So it drops into an image whose entry point names one of them. It then has nothing of ours: no
//! endpoints, no log lines, no sweep. It deliberately prints its own licence and, behind the
//! version that it stands for, its own.

mod dumb_init;
mod options;
mod tini;

use std::ffi::{OsStr, OsString};
use std::path::Path;

/// What this program is called, if that is the name of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// `tini`, also as `tini-static`.
    Tini,
    /// `dumb-init`.
    DumbInit,
}

impl Name {
    /// The name in the first argument.
    pub fn of(program: &OsStr) -> Option<Self> {
        match Path::new(program).file_name()?.to_str()? {
            "tini" | "tini-static" => Some(Self::Tini),
            "dumb-init" => Some(Self::DumbInit),
            _ => None,
        }
    }
}

/// Runs as the program of this name; returns its exit code.
pub fn run(name: Name, arguments: &[OsString]) -> u8 {
    match name {
        Name::Tini => tini::run(arguments),
        Name::DumbInit => dumb_init::run(arguments),
    }
}

/// An error in the kernel's words alone.
fn words(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}
