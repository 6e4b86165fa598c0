//! A manifest that was read: every key known, every value of its type.
//!
//! What the values mean together is not known yet; `resolve` finds that out per environment.

use crate::{
    decode::{Decode, Reader},
    diagnostics::{Code, Level, Problem, Problems},
    merge::{Field, Row, Table},
    names::{AppName, EnvName, ServiceName, shortened},
    plan::Target,
    raw::environment::{RawEnvironment, RawManifest},
    span::{LineIndex, Span, Spanned},
    syntax,
};

/// The version of the language that this program reads.
pub const VERSION: &str = "1";

/// Name of the environment that exists when none has `target: local`.
pub const BUILT_IN_ENVIRONMENT: &str = "local";

/// A manifest as it was written, with the place of every value.
#[derive(Clone, Debug)]
pub struct Manifest {
    pub(crate) raw: RawManifest,
    pub(crate) text: String,
    pub(crate) lines: LineIndex,
}

/// Reads a manifest.
///
/// # Errors
/// All problems of the text: it is not YAML, or keys are unknown, missing, repeated, or have
/// values of another type. What values mean together is the business of `resolve`.
pub fn parse(text: impl AsRef<[u8]>) -> Result<Manifest, Problems> {
    let bytes = text.as_ref();
    // What is too large to read is too large to count the lines of.
    let counted = if bytes.len() > syntax::TEXT_BYTES_MAX { &[] } else { bytes };
    let lines = LineIndex::new(counted);
    let node = syntax::read(bytes).map_err(|problem| Problems::new(vec![problem], &lines))?;
    let mut reader = Reader::default();
    let raw = RawManifest::decode(&node, &mut reader).unwrap_or_default();
    let mut problems = reader.problems;
    if matches!(node.shape, syntax::Shape::Map(_)) {
        match check_version(&raw, node.span) {
            Some(problem) if problem.code == Code::WrongVersion => problems = vec![problem],
            version => {
                problems.extend(version);
                problems.extend(check_required(&raw, &problems, node.span));
                problems.extend(check_empty("service", &raw.services));
                problems.extend(check_empty("resource", &raw.resources));
                problems.extend(check_empty("environment", &raw.environments));
            }
        }
    }
    if problems.iter().any(|problem| problem.level == Level::Error) {
        return Err(Problems::new(problems, &lines));
    }
    let text = String::from_utf8_lossy(bytes).into_owned();
    Ok(Manifest { raw, text, lines })
}

impl Manifest {
    /// The platform's name.
    #[must_use]
    pub fn app(&self) -> Option<&AppName> {
        self.raw.app.value()
    }

    /// The environments in the order of promotion, as written. The built-in one is not among them.
    #[must_use]
    pub fn environments(&self) -> Vec<&EnvName> {
        self.environments_in_order().into_iter().map(|(name, _, _)| name).collect()
    }

    /// The services in the order of their names.
    pub fn services(&self) -> impl Iterator<Item = &ServiceName> {
        self.raw.services.value().into_iter().flat_map(|table| table.iter().map(|(name, ..)| name))
    }

    /// The environment that `plimsoll up` starts: the first whose target is `local`, else the
    /// built-in one.
    #[must_use]
    pub fn local_environment(&self) -> &str {
        let is_local = |environment: &RawEnvironment| {
            environment.target.value().is_some_and(|target| *target == Target::Local)
        };
        self.environments_in_order()
            .into_iter()
            .find(|(_, _, environment)| is_local(&environment.value))
            .map_or(BUILT_IN_ENVIRONMENT, |(name, _, _)| name.as_str())
    }

    pub(crate) fn environments_in_order(&self) -> Vec<(&EnvName, Span, &Spanned<RawEnvironment>)> {
        let table: Option<&Table<_, _>> = self.raw.environments.value();
        let mut all: Vec<_> = table.into_iter().flat_map(Table::iter).collect();
        all.sort_by_key(|(_, key, _)| key.start);
        all
    }
}

fn check_version(raw: &RawManifest, whole: Span) -> Option<Problem> {
    let Some(version) = raw.version.get() else {
        let problem = Problem::error(Code::MissingKey, "the manifest does not say `plimsoll: 1`");
        return Some(problem.at(start_of(whole), "").help("write `plimsoll: 1` as the first line"));
    };
    (version.value.0 != VERSION).then(|| {
        let found = shortened(&version.value.0);
        Problem::error(Code::WrongVersion, format!("the manifest has version `{found}`"))
            .at(version.span, "")
            .help(format!("this program reads `plimsoll: {VERSION}`"))
    })
}

fn check_required(raw: &RawManifest, found: &[Problem], whole: Span) -> Vec<Problem> {
    // A key that is there but malformed has been told already, and would seem to be missing.
    let is_first_look = found.iter().all(|problem| problem.code == Code::MissingKey);
    let mut problems = Vec::new();
    if !raw.app.is_set() && is_first_look {
        let problem = Problem::error(Code::MissingKey, "the manifest has no `app`");
        problems.push(problem.at(start_of(whole), "").help("name the platform: `app: shop`"));
    }
    let n_services = raw.services.value().map_or(0, |table| table.iter().count());
    if n_services == 0 && is_first_look {
        let problem = Problem::error(Code::MissingKey, "the manifest has no `services`");
        let help = "name at least one: `services: {api: {run: …, port: 8080}}`";
        problems.push(problem.at(start_of(whole), "").help(help));
    }
    problems
}

/// `worker:` with nothing behind it is forgotten, not deleted: only overlays delete.
fn check_empty<K: std::fmt::Display, V>(what: &str, table: &Field<Table<K, V>>) -> Vec<Problem> {
    let rows = table.value().into_iter().flat_map(|table| &table.0);
    let empty = rows.filter(|(_, row)| matches!(row.field, Field::Null(_)));
    let tell = |(name, row): (&K, &Row<V>)| {
        Problem::error(Code::WrongShape, format!("{what} `{name}` is empty"))
            .at(row.key, "")
            .help("write its keys below it, or `{}` for none")
    };
    empty.map(tell).collect()
}

fn start_of(span: Span) -> Span {
    Span { start: span.start, end: span.start + 1 }
}
