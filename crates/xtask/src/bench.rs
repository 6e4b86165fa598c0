//! `cargo xtask bench`: placeholder until the next commit.
use crate::Verdict;
use anyhow::Result;
pub(crate) mod upstream {
    use super::*;
    pub(crate) fn serve(_: Option<u16>) -> Result<Verdict> {
        Ok(Verdict::Yes)
    }
}
#[derive(clap::Subcommand)]
pub(crate) enum Bench {
    /// Measure
    Run,
}
pub(crate) fn command(_: &Bench) -> Result<Verdict> {
    Ok(Verdict::No)
}
