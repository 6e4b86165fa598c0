//! The plain command line of `run`, read straight from the table of variables.
//!
//! `run` is on the way of every start of every container, and building a parser with all its help
//! takes longer than everything else the guard does before it starts something. It deliberately
//! understands only what leaves no question; help and every mistake are the parser's.
//!
//! Invariant: what it understands, the parser understands in the same way.

use std::collections::btree_map::Entry;
use std::ffi::{OsStr, OsString};

use super::{RunArgs, id, is_switch, vars};

/// What was given, if it is plain: flags with their values, `--`, and a command.
pub(crate) fn read(arguments: &[OsString]) -> Option<RunArgs> {
    let end = arguments.iter().position(|argument| argument == "--")?;
    let (flags, command) = (&arguments[..end], &arguments[end + 1..]);
    if command.first().is_none_or(|program| program.is_empty()) {
        return None;
    }
    let mut args = RunArgs { command: command.to_vec(), ..RunArgs::default() };
    let mut flags = flags.iter().map(OsString::as_os_str).peekable();
    while let Some(flag) = flags.next() {
        let flag = flag.to_str()?.strip_prefix("--")?;
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(OsStr::new(value))),
            None => (flag, None),
        };
        let var = vars().find(|var| id(var) == name)?;
        let next = || flags.next_if(|next| !next.as_encoded_bytes().starts_with(b"-"));
        let value = value.or_else(next).or_else(|| is_switch(var).then_some(OsStr::new("on")))?;
        let is_first = args.given.insert(var.name, value.to_owned()).is_none();
        if value.is_empty() || !is_first {
            return None;
        }
    }
    for var in vars() {
        if let (Entry::Vacant(place), Some(value)) =
            (args.given.entry(var.name), std::env::var_os(var.name))
        {
            place.insert(value);
        }
    }
    Some(args)
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches;
    use proptest::prelude::*;

    use super::*;

    /// The words of a line as the parser has them.
    fn parsed(words: &[OsString]) -> Option<RunArgs> {
        let line = std::iter::once(OsString::from("plimsoll-run")).chain(words.iter().cloned());
        let matches = crate::run_only_command().try_get_matches_from(line).ok()?;
        RunArgs::from_arg_matches(&matches).ok()
    }

    fn word() -> impl Strategy<Value = OsString> {
        let flags: Vec<&'static str> = vars().map(|var| var.flag).collect();
        prop_oneof![
            4 => prop::sample::select(flags.clone()).prop_map(OsString::from),
            1 => prop::sample::select(flags).prop_map(|flag| format!("{flag}=on").into()),
            4 => prop::sample::select(vec![
                "on", "off", "x", "a=b", "", "-", "-x", "--spa", "--spa=", "--nothing", "--help",
                "probe", "ü",
            ])
            .prop_map(OsString::from),
            1 => Just(OsString::from("--")),
        ]
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_the_parser_reads(
            before in prop::collection::vec(word(), 0..6),
            command in prop::collection::vec(word(), 0..3),
        ) {
            let words = [before, vec!["--".into()], command].concat();
            if let Some(read) = read(&words) {
                let parsed = parsed(&words);
                prop_assert!(parsed.is_some(), "only one of the two takes {words:?}");
                let parsed = parsed.unwrap_or_default();
                prop_assert_eq!(read.given, parsed.given);
                prop_assert_eq!(read.command, parsed.command);
            }
        }
    }

    #[test]
    fn a_plain_line_is_read() {
        let words = ["--listen=off", "--spa", "--logs", "raw", "--", "x", "--help"];
        let read = read(&words.map(OsString::from)).expect("it is plain");
        let given: Vec<_> = read.given.iter().map(|(name, value)| (*name, &**value)).collect();
        for expected in [("PLIMSOLL_LISTEN", "off"), ("PLIMSOLL_SPA", "on")] {
            assert!(given.contains(&(expected.0, OsStr::new(expected.1))), "{given:?}");
        }
        assert_eq!(read.command, ["x", "--help"]);
    }

    #[test]
    fn whatever_is_not_plain_is_left_to_the_parser() {
        for words in [&["--help", "--", "x"][..], &["x"], &["--logs", "--", "x"], &["--logs=x"]] {
            let words: Vec<_> = words.iter().map(OsString::from).collect();
            assert!(read(&words).is_none(), "{words:?}");
        }
    }
}
