//! Values as Compose reads them back: the rules are those of the reader in compose-go.

use super::quoted;

/// The value that Compose has from what stands behind `=`.
fn read(text: &str) -> String {
    let Some(quote) = text.chars().next().filter(|c| matches!(c, '\'' | '"')) else {
        let value = text.split(" #").next().unwrap();
        assert!(!value.contains('$'), "{text}: it would be filled in");
        return value.trim_end().to_owned();
    };
    let inner = literal(text, quote);
    if quote == '\'' { inner } else { filled(&unescaped(&inner)) }
}

/// What stands between the quotes, with no escape before one of them.
fn literal(text: &str, quote: char) -> String {
    let mut value = String::new();
    let mut is_escaped = false;
    let mut rest = text[1..].chars();
    while let Some(c) = rest.next() {
        match c {
            _ if is_escaped && c == quote => value.push(c),
            _ if is_escaped => value.extend(['\\', c]),
            '\\' => {
                is_escaped = true;
                continue;
            }
            _ if c == quote => {
                assert_eq!(rest.as_str(), "", "{text}: it ends before its end");
                return value;
            }
            c => value.push(c),
        }
        is_escaped = false;
    }
    panic!("{text}: no closing quote");
}

/// The escapes in double quotes; `\$` is the `$$` of what is filled in afterwards.
fn unescaped(text: &str) -> String {
    let mut value = String::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match (c, rest.clone().next()) {
            ('\\', Some(next @ ('n' | 'r' | '$' | '"' | '\\'))) => {
                rest.next();
                match next {
                    'n' => value.push('\n'),
                    'r' => value.push('\r'),
                    '$' => value.push_str("$$"),
                    next => value.push(next),
                }
            }
            ('\\', Some('0' | 'a' | 'b' | 'c' | 'f' | 't' | 'v')) => panic!("{text}: an escape"),
            _ => value.push(c),
        }
    }
    value
}

/// `$$` is a dollar, and every other one a variable, which ours have none of.
fn filled(text: &str) -> String {
    let without = text.replace("$$", "\0");
    assert!(!without.contains('$'), "{text}: it would be filled in");
    without.replace('\0', "$")
}

#[test]
fn compose_reads_back_the_value_that_was_written() {
    for value in [
        "",
        "plain",
        "two words",
        "it's",
        "'quoted'",
        "\"double\"",
        "it's \"both\"",
        "${secret:NAME}",
        "it's ${secret:NAME} and $HOME and $$",
        "two\nlines",
        "windows\r\nlines",
        "a trailing newline\n",
        "back\\slash",
        "ends in a backslash\\",
        "it's C:\\new\\temp",
        "\\\"",
        "\\$x'",
        "\\n is no newline",
        " # no comment",
        "a #b",
        "# it's",
        "{\"json\": [1, \"it's\"]}",
        "\u{fc}ml\u{e4}ut's",
        "tab\there",
        "tab's\there",
        "`date`",
        "!x",
        " spaces around ",
    ] {
        let text = quoted(value);
        assert_eq!(read(&text), value, "written as {text}");
        assert!(!text.contains('\n'), "{text}: one line for each variable");
    }
}
