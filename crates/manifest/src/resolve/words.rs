//! A command line into words, as a shell would split it, without being one.
//!
//! What only a shell understands is refused with the way to get one, since passed on as a word it
//! would do something else than what was meant.

use super::Resolver;
use crate::{
    diagnostics::{Code, Problem},
    plan::Command,
    raw::command::RawCommand,
    resolve::uses::Edges,
    span::Spanned,
};

/// Why a line is not a list of words.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotWords {
    /// Something that only a shell understands.
    NeedsShell(String),
    /// A quote that never ends.
    OpenQuote(char),
    /// No word at all.
    Nothing,
}

/// Splits a line. Quotes and backslashes work as in a POSIX shell; `${` begins a placeholder.
pub(super) fn split(line: &str) -> Result<Vec<String>, NotWords> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_whitespace() => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        None => return Err(NotWords::OpenQuote('\'')),
                        Some('\'') => break,
                        Some(c) => word.push(c),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        None => return Err(NotWords::OpenQuote('"')),
                        Some('"') => break,
                        Some('\\') => match chars.next() {
                            Some(c @ ('"' | '\\' | '`')) => word.push(c),
                            Some(c) => word.extend(['\\', c]),
                            None => return Err(NotWords::OpenQuote('"')),
                        },
                        Some(c) => word.push(c),
                    }
                }
            }
            '\\' => word.get_or_insert_default().extend(chars.next()),
            '|' | '&' | ';' | '<' | '>' | '`' => return Err(NotWords::NeedsShell(c.to_string())),
            '$' if chars.peek().is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '(')) => {
                let rest = chars.take_while(|c| c.is_alphanumeric() || *c == '_');
                return Err(NotWords::NeedsShell(format!("${}", rest.collect::<String>())));
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    match words.first() {
        None => Err(NotWords::Nothing),
        Some(first) if is_assignment(first) => Err(NotWords::NeedsShell(first.clone())),
        Some(_) => Ok(words),
    }
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}

impl Resolver<'_> {
    /// A command as it is executed; `None` when the problem was told.
    pub(super) fn command(
        &mut self,
        raw: &Spanned<RawCommand>,
        edges: &Edges<'_>,
    ) -> Option<Command> {
        let words: Vec<Spanned<String>> = match &raw.value {
            RawCommand::Shell(shell) => return Some(Command::Shell { shell: shell.clone() }),
            RawCommand::Words(words) => words.clone(),
            RawCommand::Line(line) => match split(&line.value) {
                Ok(words) => words.into_iter().map(|w| Spanned::new(w, line.span)).collect(),
                Err(error) => {
                    self.tell_not_words(line, &error);
                    return None;
                }
            },
        };
        Some(Command::Exec(words.iter().map(|word| self.template(word, edges)).collect()))
    }

    fn tell_not_words(&mut self, line: &Spanned<String>, error: &NotWords) {
        let (message, help) = match error {
            NotWords::NeedsShell(what) => (
                format!("`{}` is the shell's, and there is none", crate::names::shortened(what)),
                "write `{shell: …}` with the same line to get one, or set variables in `env`",
            ),
            NotWords::OpenQuote(quote) => {
                (format!("a `{quote}` in this command has no end"), "close the quote")
            }
            NotWords::Nothing => ("the command is empty".to_owned(), "name a program"),
        };
        self.tell(Problem::error(Code::InvalidValue, message).at(line.span, "").help(help));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_split_as_a_shell_would() {
        let words = |line: &str| split(line).unwrap();
        assert_eq!(words("python -m app"), ["python", "-m", "app"]);
        assert_eq!(words(r#"a 'b c' "d \"e\"" f\ g ''"#), ["a", "b c", "d \"e\"", "f g", ""]);
        assert_eq!(words("a --to=${resources.db.url}"), ["a", "--to=${resources.db.url}"]);
        assert_eq!(words("prefect worker start --pool ocr").len(), 5);
    }

    #[test]
    fn what_only_a_shell_understands_is_refused() {
        for line in ["a | b", "a && b", "a > f", "echo $PORT", "a $(b)", "X=1 a", "a; b"] {
            assert!(matches!(split(line), Err(NotWords::NeedsShell(_))), "{line}");
        }
        assert_eq!(split("a 'b"), Err(NotWords::OpenQuote('\'')));
        assert_eq!(split("  "), Err(NotWords::Nothing));
    }
}
