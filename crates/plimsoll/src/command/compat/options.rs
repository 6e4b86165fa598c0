//! Reads options as `getopt_long` does: up to the first word that is none.
//!
//! Short options may be run together, a long one may be cut as long as it stays unique. It
//! deliberately knows no option by itself. Invariant: its complaints are those of the C library.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// One option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) short: u8,
    pub(super) long: Option<&'static str>,
    pub(super) takes_value: bool,
}

/// What was given, in order, and where the command begins.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) options: Vec<(u8, OsString)>,
    pub(super) command: Vec<OsString>,
}

/// Reads `arguments` behind the program's name. An error comes with what was read before it.
pub(super) fn read(known: &[Known], arguments: &[OsString]) -> (Given, Option<String>) {
    let mut given = Given { options: Vec::new(), command: Vec::new() };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let bytes = argument.as_bytes();
        let read = match bytes {
            b"--" => break,
            [b'-', b'-', long @ ..] if known.iter().any(|option| option.long.is_some()) => {
                read_long(known, long, &mut rest).map(|option| given.options.push(option))
            }
            [b'-', shorts @ ..] if !shorts.is_empty() => {
                read_shorts(known, shorts, &mut rest, &mut given.options)
            }
            _ => {
                given.command.push(argument.clone());
                break;
            }
        };
        if let Err(complaint) = read {
            return (given, Some(complaint));
        }
    }
    given.command.extend(rest.cloned());
    (given, None)
}

fn read_shorts<'a>(
    known: &[Known],
    shorts: &[u8],
    rest: &mut impl Iterator<Item = &'a OsString>,
    options: &mut Vec<(u8, OsString)>,
) -> Result<(), String> {
    for (index, short) in shorts.iter().enumerate() {
        let letter = char::from(*short);
        let option = known.iter().find(|option| option.short == *short);
        let option = option.ok_or_else(|| format!("invalid option -- '{letter}'"))?;
        if !option.takes_value {
            options.push((*short, OsString::new()));
            continue;
        }
        let joined = &shorts[index + 1..];
        let value = match joined {
            [] => rest.next().cloned(),
            _ => Some(OsString::from_vec(joined.to_vec())),
        };
        let value = value.ok_or_else(|| format!("option requires an argument -- '{letter}'"))?;
        options.push((*short, value));
        break;
    }
    Ok(())
}

fn read_long<'a>(
    known: &[Known],
    long: &[u8],
    rest: &mut impl Iterator<Item = &'a OsString>,
) -> Result<(u8, OsString), String> {
    let text = String::from_utf8_lossy(long);
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(OsString::from(value))),
        None => (text.as_ref(), None),
    };
    let named = |option: &&Known| option.long.is_some_and(|long| long.starts_with(name));
    let found: Vec<_> = known.iter().filter(named).collect();
    let exact = found.iter().find(|option| option.long == Some(name));
    let option = match (exact, found.as_slice()) {
        (Some(option), _) | (None, [option]) => option,
        (None, []) => return Err(format!("unrecognized option '--{name}'")),
        (None, several) => {
            let names = several.iter().filter_map(|option| option.long);
            let names: Vec<_> = names.map(|long| format!("'--{long}'")).collect();
            let names = names.join(" ");
            return Err(format!("option '--{name}' is ambiguous; possibilities: {names}"));
        }
    };
    let long = option.long.unwrap_or_default();
    let value = match (option.takes_value, value) {
        (false, Some(_)) => return Err(format!("option '--{long}' doesn't allow an argument")),
        (false, None) => OsString::new(),
        (true, Some(value)) => value,
        (true, None) => {
            rest.next().cloned().ok_or_else(|| format!("option '--{long}' requires an argument"))?
        }
    };
    Ok((option.short, value))
}
