//! References to secrets in text: `${secret:NAME}` and `${secret:PROVIDER:PATH#FIELD?OPTIONS}`.
//!
//! Options are `version=N`, `optional` and `default=TEXT` (with `%XX` for what would end it). The
//! text `${secret:` itself is written `$${secret:`. It deliberately reads nothing else between
//! dollar and brace, so that text which never heard of us stays as it is, and resolves nothing: a
//! value that looks like a reference is a value.
//!
//! Invariant: any text is a template or an error with its place, and an error repeats no text
//! around the reference, as a password may stand there.

use std::{fmt, ops::Range};

/// How a reference begins.
pub const OPENING: &str = "${secret:";
/// What stands for [`OPENING`] itself.
const ESCAPED: &str = "$${secret:";
/// The longest reference, in bytes.
pub const REFERENCE_BYTES_MAX: usize = 2048;

/// A text in which references stand for values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Its pieces, in order.
    pub pieces: Vec<Piece>,
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Text that stays.
    Text(String),
    /// What a value takes the place of.
    Reference(Reference),
}

/// Where a value is found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// The provider; without one the path is an alias, or a name that the default provider knows.
    pub provider: Option<String>,
    /// Where the provider keeps it.
    pub path: String,
    /// Which field of what is kept there.
    pub field: Option<String>,
    /// Which version.
    pub version: Option<u64>,
    /// Whether it may be missing.
    pub is_optional: bool,
    /// What holds when it is missing.
    pub default: Option<String>,
}

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} (at byte {})", span.start)]
pub struct SyntaxError {
    /// Where, in bytes of the text.
    pub span: Range<usize>,
    /// What.
    pub kind: SyntaxProblem,
}

/// The kinds of [`SyntaxError`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SyntaxProblem {
    /// No closing brace.
    #[error(
        "the reference has no end\nhelp: close it with `}}`, or write `$${{secret:` for the text itself"
    )]
    Open,
    /// Nothing is named.
    #[error("the reference names nothing\nhelp: write `${{secret:NAME}}`")]
    Empty,
    /// A reference within a reference.
    #[error(
        "a reference stands within another\nhelp: values are not resolved again; name each one"
    )]
    Nested,
    /// A letter that no name has.
    #[error(
        "the name has a character that it may not\nhelp: use letters, digits, `_`, `-`, `.` and `/`"
    )]
    Name,
    /// An option that is not known.
    #[error("an option is not known\nhelp: `optional`, `default=TEXT` and `version=N` are")]
    Option,
    /// A version that is no number.
    #[error("the version is not a number\nhelp: write for example `?version=3`")]
    Version,
    /// Longer than [`REFERENCE_BYTES_MAX`].
    #[error("the reference is longer than {REFERENCE_BYTES_MAX} bytes")]
    TooLong,
    /// A provider of another program that we do not have.
    #[error(
        "`{0}` is not supported yet\nhelp: ask its command line tool with a provider of type `exec`"
    )]
    Unsupported(&'static str),
}

/// Whether a text has to do with references at all. Everything else is never touched.
pub fn mentions(text: &str) -> bool {
    text.contains(OPENING)
}

/// Takes a text apart.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn parse(text: &str) -> Result<Template, SyntaxError> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut at = 0;
    while let Some(found) = text[at..].find(OPENING) {
        let start = at + found;
        if text[..start].ends_with('$') && text[start - 1..].starts_with(ESCAPED) {
            literal.push_str(&text[at..start - 1]);
            literal.push_str(OPENING);
            at = start + OPENING.len();
            continue;
        }
        literal.push_str(&text[at..start]);
        let inside = start + OPENING.len();
        let fail = |end: usize, kind| SyntaxError { span: start..end, kind };
        let Some(length) = text[inside..].find('}') else {
            return Err(fail(text.len(), SyntaxProblem::Open));
        };
        let end = inside + length;
        let body = &text[inside..end];
        let reference = parse_body(body).map_err(|kind| fail(end + 1, kind))?;
        if !literal.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut literal)));
        }
        pieces.push(Piece::Reference(reference));
        at = end + 1;
    }
    literal.push_str(&text[at..]);
    if !literal.is_empty() {
        pieces.push(Piece::Text(literal));
    }
    Ok(Template { pieces })
}

/// Reads what stands between `${secret:` and `}`.
///
/// # Errors
/// What is wrong with it.
pub fn parse_body(body: &str) -> Result<Reference, SyntaxProblem> {
    if body.len() > REFERENCE_BYTES_MAX {
        return Err(SyntaxProblem::TooLong);
    }
    if body.contains("${") {
        return Err(SyntaxProblem::Nested);
    }
    let (place, options) = match body.split_once('?') {
        Some((place, options)) => (place, Some(options)),
        None => (body, None),
    };
    let (place, field) = match place.split_once('#') {
        Some((_, "")) => return Err(SyntaxProblem::Empty),
        Some((place, field)) => (place, Some(field.to_owned())),
        None => (place, None),
    };
    let (provider, path) = match place.split_once(':') {
        Some((provider, path)) => (Some(provider), path),
        None => (None, place),
    };
    if path.is_empty() || provider == Some("") {
        return Err(SyntaxProblem::Empty);
    }
    let is_name =
        |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
    if !provider.is_none_or(is_name) || (provider.is_none() && !is_name(path)) {
        return Err(SyntaxProblem::Name);
    }
    if path.chars().chain(field.iter().flat_map(|field| field.chars())).any(char::is_control) {
        return Err(SyntaxProblem::Name);
    }
    let mut reference = Reference {
        provider: provider.map(str::to_owned),
        path: path.to_owned(),
        field,
        version: None,
        is_optional: false,
        default: None,
    };
    for option in options.into_iter().flat_map(|options| options.split('&')) {
        match option.split_once('=') {
            None if option == "optional" => reference.is_optional = true,
            Some(("version", number)) => {
                let number = number.parse().map_err(|_| SyntaxProblem::Version)?;
                reference.version = Some(number);
            }
            Some(("default", text)) => reference.default = Some(percent_decoded(text)),
            _ => return Err(SyntaxProblem::Option),
        }
    }
    Ok(reference)
}

/// Reads a whole value that names a secret in the way of other programs (`vault:PATH#FIELD`, an
/// ARN); `None` when it is an ordinary value.
///
/// # Errors
/// When it names a provider that we do not have.
pub fn parse_bare(value: &str) -> Result<Option<Reference>, SyntaxError> {
    let whole = |kind| SyntaxError { span: 0..value.len(), kind };
    for scheme in ["gcp:secretmanager:", "azure:keyvault:", "op://"] {
        if value.starts_with(scheme) {
            return Err(whole(SyntaxProblem::Unsupported(scheme)));
        }
    }
    let body = if value.starts_with("arn:aws:secretsmanager:") {
        format!("aws-sm:{value}")
    } else if value.starts_with("arn:aws:ssm:") {
        format!("aws-ssm:{value}")
    } else if ["vault:", "bao:", "file:"].iter().any(|scheme| value.starts_with(scheme)) {
        value.to_owned()
    } else {
        return Ok(None);
    };
    parse_body(&body).map(Some).map_err(whole)
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let code = tail.get(..2).filter(|_| first == b'%');
        let code = code.and_then(|hex| std::str::from_utf8(hex).ok());
        match code.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Template {
    /// The references in it, in order.
    pub fn references(&self) -> impl Iterator<Item = &Reference> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Reference(reference) => Some(reference),
            Piece::Text(_) => None,
        })
    }
}

impl Reference {
    /// A bare name.
    pub fn named(name: &str) -> Self {
        Self {
            provider: None,
            path: name.to_owned(),
            field: None,
            version: None,
            is_optional: false,
            default: None,
        }
    }
}

/// As it is shown: without options, whose default may be nobody's business.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(provider) = &self.provider {
            write!(f, "{provider}:")?;
        }
        f.write_str(&self.path)?;
        if let Some(field) = &self.field {
            write!(f, "#{field}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn only(text: &str) -> Reference {
        let template = parse(text).expect("it is valid");
        template.references().next().expect("it has a reference").clone()
    }

    #[test]
    fn a_name_stands_between_other_text() {
        let template = parse("postgres://app:${secret:db}@db/app").expect("it is valid");
        assert_eq!(
            template.pieces,
            [
                Piece::Text("postgres://app:".into()),
                Piece::Reference(Reference::named("db")),
                Piece::Text("@db/app".into()),
            ]
        );
    }

    #[test]
    fn a_provider_has_path_field_and_options() {
        let all = only("${secret:vault:kv/app#password?version=3&optional&default=a%7Db}");
        assert_eq!(all.provider.as_deref(), Some("vault"));
        assert_eq!(all.path, "kv/app");
        assert_eq!(all.field.as_deref(), Some("password"));
        assert_eq!((all.version, all.is_optional), (Some(3), true));
        assert_eq!(all.default.as_deref(), Some("a}b"));
        assert_eq!(all.to_string(), "vault:kv/app#password");
    }

    #[test]
    fn an_escape_is_the_text_itself() {
        let template = parse("a $${secret:x} b ${secret:y}").expect("it is valid");
        assert_eq!(template.pieces[0], Piece::Text("a ${secret:x} b ".into()));
        assert_eq!(template.references().count(), 1);
    }

    #[test]
    fn text_that_never_heard_of_us_stays_as_it_is() {
        for text in ["", "$${HOME}", "${env:X}", "$${", "100%", "${secret}"] {
            assert!(!mentions(text));
            let expected: Vec<_> = Some(text)
                .filter(|text| !text.is_empty())
                .map(|t| Piece::Text(t.into()))
                .into_iter()
                .collect();
            assert_eq!(parse(text).expect("it is valid").pieces, expected);
        }
    }

    #[test]
    fn what_is_wrong_has_a_place_and_repeats_nothing() {
        let cases = [
            ("pw hunter2 ${secret:db", SyntaxProblem::Open),
            ("pw hunter2 ${secret:}", SyntaxProblem::Empty),
            ("pw hunter2 ${secret:vault:}", SyntaxProblem::Empty),
            ("pw hunter2 ${secret:a#}", SyntaxProblem::Empty),
            ("pw hunter2 ${secret:${secret:a}}", SyntaxProblem::Nested),
            ("pw hunter2 ${secret:a b}", SyntaxProblem::Name),
            ("pw hunter2 ${secret:a?maybe}", SyntaxProblem::Option),
            ("pw hunter2 ${secret:a?version=x}", SyntaxProblem::Version),
        ];
        for (text, kind) in cases {
            let error = parse(text).expect_err(text);
            assert_eq!((error.span.start, &error.kind), (11, &kind), "{text}");
            assert!(!error.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn bare_values_of_other_programs_are_understood() {
        let arn = "arn:aws:secretsmanager:eu-west-1:1:secret:db-x#password";
        let reference = parse_bare(arn).expect("it is valid").expect("it is a reference");
        assert_eq!(reference.provider.as_deref(), Some("aws-sm"));
        assert_eq!(reference.path, "arn:aws:secretsmanager:eu-west-1:1:secret:db-x");
        assert!(parse_bare("vault:kv/a#b").expect("it is valid").is_some());
        assert!(parse_bare("https://example.com").expect("it is valid").is_none());
        let error = parse_bare("op://vault/item").expect_err("it is not supported");
        assert!(error.to_string().contains("exec"), "{error}");
    }

    proptest! {
        #[test]
        fn any_text_is_a_template_or_an_error(text in "(\\$|\\{|\\}|secret:|[a-z:#?&=%é]){0,40}") {
            if let Ok(template) = parse(&text) {
                prop_assert!(template.references().count() <= text.matches(OPENING).count());
            }
            let _ = parse_bare(&text);
        }
    }
}
