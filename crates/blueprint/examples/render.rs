//! Renders the manifest on standard input for all its environments, says what it made, and stays
//! until its input ends, so that whoever measures it can look at its memory.
//!
//! For `cargo xtask bench render`. The first line of the input is the length of the manifest in
//! bytes. Deliberately without files: what is measured is the work, not the disk.

#![expect(clippy::print_stdout, reason = "whoever measures reads one line")]

use std::io::{self, BufRead, Read};

use blueprint::{Platform, Repository, detect, render};
use manifest::Plan;

/// Longest manifest that is taken, in bytes.
const MANIFEST_BYTES_MAX: usize = 16 << 20;

fn main() -> io::Result<()> {
    let mut input = io::stdin().lock();
    let mut length = String::new();
    input.read_line(&mut length)?;
    let length: usize = length.trim().parse().map_err(|_| broken("no length"))?;
    if length > MANIFEST_BYTES_MAX {
        return Err(broken("the manifest is too long"));
    }
    let mut text = vec![0; length];
    input.read_exact(&mut text)?;
    let manifest = manifest::parse(&text).map_err(|all| broken(&format!("{all:?}")))?;
    let resolve = |name: &&manifest::names::EnvName| {
        let resolved = manifest::resolve(&manifest, name.as_str());
        resolved.map(|it| it.plan).map_err(|all| broken(&format!("{all:?}")))
    };
    let plans: Vec<Plan> = manifest.environments().iter().map(resolve).collect::<Result<_, _>>()?;
    let released = plans.last().ok_or_else(|| broken("there is no environment"))?;
    let sources = detect(released, &Repository::new());
    let sources = sources.map_err(|all| broken(&format!("{all:?}")))?;
    let artifacts = render(&Platform::new(plans, sources, Default::default()));
    let n_bytes: usize = artifacts.iter().map(|(_, artifact)| artifact.text.len()).sum();
    println!("{} {n_bytes}", artifacts.len());
    io::copy(&mut input, &mut io::sink())?;
    Ok(())
}

fn broken(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}
