//! `did you mean`: for names of services and resources, as clap does for flags.

use anyhow::{Error, anyhow};
use fleet::control::ControlError;
use fleet::up::Refused;

/// How alike two names must be, from 0 to 1, for one to be meant by the other.
const LIKENESS_MIN: f64 = 0.75;

/// A refusal with the name that was perhaps meant.
pub(crate) fn refusal(error: ControlError) -> Error {
    match error {
        ControlError::Refused(refused) => meant(refused),
        error => error.into(),
    }
}

/// Help for a name that is unknown: the nearest known one, or where to find them.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let alike = known.map(|known| (strsim::jaro_winkler(name, known), known));
    let nearest = alike.max_by(|(a, _), (b, _)| a.total_cmp(b));
    nearest.filter(|(likeness, _)| *likeness >= LIKENESS_MIN).map(|(_, known)| known)
}

/// The same for a refusal of our own.
pub(crate) fn meant(refused: Refused) -> Error {
    let Refused::Unknown { name, known } = &refused else { return refused.into() };
    match nearest(name, known.iter().map(String::as_str)) {
        Some(known) => {
            anyhow!("no service or resource is called `{name}`\nhelp: did you mean `{known}`?")
        }
        None => refused.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str) -> String {
        let known = vec!["backend".to_owned(), "worker".to_owned()];
        meant(Refused::Unknown { name: name.into(), known }).to_string()
    }

    #[test]
    fn the_nearest_name_is_suggested() {
        assert!(of("wrker").ends_with("help: did you mean `worker`?"));
        assert!(of("Backend").ends_with("help: did you mean `backend`?"));
    }

    #[test]
    fn without_a_near_name_all_are_listed() {
        assert!(of("db").ends_with("help: one of `backend`, `worker`"));
    }
}
