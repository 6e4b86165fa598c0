//! `cargo xtask dist`: the release binaries, linked statically, so that they run in an empty image.
//!
//! They are built as everything else but for the C library, which is linked in: glibc 2.34 and
//! later brings its own `files` and `dns`, so names are found by `/etc/hosts` and
//! `/etc/resolv.conf` without any library at run time. It deliberately publishes nothing.
//!
//! Invariant: what is in `target/dist` needs no other file to run, and `SHA256SUMS` is of it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::{Verdict, tree};

/// What we ship.
const PROGRAMS: [&str; 2] = ["plimsoll", "plimsoll-run"];
/// Named, so that build scripts and macros, which cannot be static, are built apart.
pub(crate) const TARGET: &str = "x86_64-unknown-linux-gnu";
/// At a fixed address, as programs in Go are: one that is relocated writes to 700 KiB of its pages
/// at each start, in the guard and in the engine. Stack, heap and mappings stay random.
const RUSTFLAGS: &str =
    "-C target-feature=+crt-static -C relocation-model=static -C force-unwind-tables=no";
/// For librdkafka and OpenSSL, whose hot loops are assembly or wait for the network.
const CFLAGS: &str = "-Os -ffunction-sections -fdata-sections -fno-asynchronous-unwind-tables";
/// For `sha256sum --check`.
const SUMS: &str = "SHA256SUMS";

/// A program header that names the loader of shared libraries (`PT_INTERP`).
const INTERPRETER: u32 = 3;
/// Most program headers that are looked at; an executable has about ten.
const HEADERS_MAX: usize = 256;

/// Builds, checks and copies them.
pub(crate) fn command() -> Result<Verdict> {
    let root = tree::root();
    let built = build(&root, "plimsoll", &PROGRAMS)?;
    let directory = target(&root).join("dist");
    std::fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make `{}`", directory.display()))?;
    let mut verdict = Verdict::Yes;
    for program in PROGRAMS {
        let bytes = std::fs::read(built.join(program))
            .with_context(|| format!("cannot read `{program}`"))?;
        if !is_static(&bytes)? {
            eprintln!("dist: `{program}` needs a loader of shared libraries");
            verdict = Verdict::No;
        }
        check_words(&built.join(program), program)?;
        let mib = f64::from(u32::try_from(bytes.len())?) / f64::from(1 << 20);
        println!("{program:<14} {mib:>6.1} MiB");
        std::fs::copy(built.join(program), directory.join(program))
            .with_context(|| format!("cannot copy `{program}`"))?;
    }
    let sums = Command::new("sha256sum").args(PROGRAMS).current_dir(&directory).output();
    let sums = sums.context("cannot start sha256sum")?;
    ensure!(sums.status.success(), "sha256sum failed: {}", String::from_utf8_lossy(&sums.stderr));
    std::fs::write(directory.join(SUMS), &sums.stdout)?;
    print!("{}", String::from_utf8_lossy(&sums.stdout));
    println!("dist: wrote {}", directory.display());
    Ok(verdict)
}

/// Whether a program says what is wrong and ends with its own code where back-traces are wanted:
/// C's unwinder ends a program, in silence, that was linked without the tables that it reads.
fn check_words(program: &Path, name: &str) -> Result<()> {
    let mut command = Command::new(program);
    command.args((name == "plimsoll").then_some("run")).args(["--", "/nonexistent/program"]);
    command.env("RUST_BACKTRACE", "full").env("PLIMSOLL_LISTEN", "127.0.0.1:0");
    let output = command.output().with_context(|| format!("cannot start `{name}`"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let code = output.status.code();
    ensure!(
        code == Some(127) && said.contains("/nonexistent/program"),
        "`{name}` ends with {code:?} and not 127, and says:\n{said}"
    );
    Ok(())
}

/// Builds programs of a package as they are shipped; says in which directory they are.
pub(crate) fn build(root: &Path, package: &str, programs: &[&str]) -> Result<PathBuf> {
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--target", TARGET, "--package", package]);
    for program in programs {
        cargo.args(["--bin", program]);
    }
    cargo.env("RUSTFLAGS", RUSTFLAGS).env("CFLAGS", CFLAGS).current_dir(root);
    eprintln!("dist: {cargo:?}");
    ensure!(cargo.status().context("cannot start cargo")?.success(), "`{package}` does not build");
    Ok(target(root).join(TARGET).join("release"))
}

fn target(root: &Path) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR");
    target.map_or_else(|| root.join("target"), PathBuf::from)
}

/// Whether a 64-bit little-endian ELF executable runs without a loader.
fn is_static(elf: &[u8]) -> Result<bool> {
    ensure!(elf.starts_with(b"\x7fELF\x02\x01"), "not an ELF executable of 64 bits");
    let number = |at: usize, n_bytes: usize| -> Result<usize> {
        let Some(bytes) = at.checked_add(n_bytes).and_then(|end| elf.get(at..end)) else {
            bail!("the executable is cut short at byte {at}");
        };
        let number = bytes.iter().rev().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        Ok(usize::try_from(number)?)
    };
    let (first, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    ensure!(count > 0 && count <= HEADERS_MAX, "the executable has {count} program headers");
    for index in 0..count {
        if u32::try_from(number(first.saturating_add(index * size), 4)?)? == INTERPRETER {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_with_a_loader_is_not_static() {
        let this = std::fs::read("/proc/self/exe").unwrap();
        assert!(!is_static(&this).unwrap(), "tests are linked dynamically");
    }

    #[test]
    fn a_program_without_a_loader_is_static() {
        let mut elf = vec![0; 64 + 56];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        (elf[32], elf[54], elf[56]) = (64, 56, 1);
        elf[64] = 1;
        assert!(is_static(&elf).unwrap());
        elf[64] = 3;
        assert!(!is_static(&elf).unwrap());
    }

    #[test]
    fn what_is_no_executable_is_an_error() {
        for bytes in [&b"#!/bin/sh\n"[..], b"\x7fELF\x02\x01", b""] {
            assert!(is_static(bytes).is_err());
        }
    }
}
