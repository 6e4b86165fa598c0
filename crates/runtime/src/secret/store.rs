//! The values that were fetched, by where they stand, and how references find them.
//!
//! It deliberately asks no provider and knows no time but what it is told. Invariant: a value that
//! was once there stays until another takes its place: a provider that is down takes nothing away.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use secrecy::{ExposeSecret, SecretString};

use super::{
    fault::{Fault, FaultKind},
    provider::Place,
    settings::SecretSettings,
    syntax::{Piece, Reference, Template},
    value::{Document, Fetched, Lease},
};

/// Where something stands: a provider, and a place of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) provider: String,
    pub(super) place: Place,
}

/// What stands there.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) document: Document,
    pub(super) lease: Option<Lease>,
    /// When it was last known to hold.
    pub(super) at: Instant,
    /// The provider failed to confirm it since.
    pub(super) fault: Option<Fault>,
}

/// Everything that is known.
#[derive(Debug, Default)]
pub(super) struct Store {
    pub(super) entries: BTreeMap<Key, Entry>,
    /// What somebody has asked for, and so is kept fresh.
    pub(super) wanted: BTreeSet<Reference>,
}

impl Store {
    /// Takes an answer; says whether the value is another one than before.
    pub(super) fn put(&mut self, key: Key, fetched: Fetched, at: Instant) -> bool {
        let entry = Entry { document: fetched.document, lease: fetched.lease, at, fault: None };
        let before = self.entries.insert(key, entry.clone());
        before.is_some_and(|before| !is_same(&before.document, &entry.document))
    }

    /// When a lease has to be seen to, with its key.
    pub(super) fn next_lease(&self) -> Option<(Key, Instant)> {
        let due = |(key, entry): (&Key, &Entry)| {
            let lease = entry.lease.as_ref()?;
            Some((key.clone(), entry.at + lease.duration * 2 / 3))
        };
        self.entries.iter().filter_map(due).min_by_key(|(_, at)| *at)
    }

    /// The age of the oldest value, and of each by reference.
    pub(super) fn ages(&self, settings: &SecretSettings, now: Instant) -> Vec<(String, Age)> {
        let age = |reference: &Reference| {
            let entry = self.entry(settings, reference)?;
            let lease = entry.lease.as_ref();
            let age = Age {
                age: now.saturating_duration_since(entry.at),
                lease: lease
                    .map(|lease| (entry.at + lease.duration).saturating_duration_since(now)),
                fault: entry.fault.clone(),
            };
            Some((reference.to_string(), age))
        };
        self.wanted.iter().filter_map(age).collect()
    }

    fn entry(&self, settings: &SecretSettings, reference: &Reference) -> Option<&Entry> {
        let targets = targets(settings, reference).ok()?;
        targets.iter().find_map(|key| self.entries.get(key))
    }

    /// What stands where the reference says, whatever holds without it.
    pub(super) fn pick(
        &self,
        settings: &SecretSettings,
        reference: &Reference,
    ) -> Result<SecretString, Fault> {
        let targets = targets(settings, reference)?;
        let field = field_of(settings, reference);
        match targets.iter().find_map(|key| self.entries.get(key)) {
            Some(entry) => entry.document.pick(field.as_deref()),
            None => Err(Fault::missing("it has not been fetched")),
        }
    }

    /// The value of a reference: `None` when it is optional and not there.
    pub(super) fn value(
        &self,
        settings: &SecretSettings,
        reference: &Reference,
    ) -> Result<Option<SecretString>, Fault> {
        match self.pick(settings, reference) {
            Err(fault) if fault.kind == FaultKind::Missing && !settings.strict => {
                match &reference.default {
                    Some(default) => Ok(Some(default.clone().into())),
                    None if reference.is_optional => Ok(None),
                    None => Err(fault),
                }
            }
            picked => picked.map(Some),
        }
    }

    /// A text with its values; `None` when it is nothing but an optional one that is not there.
    pub(super) fn fill(
        &self,
        settings: &SecretSettings,
        template: &Template,
    ) -> Result<Option<SecretString>, Box<(Reference, Fault)>> {
        let mut filled = zeroize::Zeroizing::new(String::new());
        let mut is_absent = !template.pieces.is_empty();
        for piece in &template.pieces {
            match piece {
                Piece::Text(text) => {
                    is_absent = false;
                    filled.push_str(text);
                }
                Piece::Reference(reference) => {
                    let value = self.value(settings, reference);
                    if let Some(value) =
                        value.map_err(|fault| Box::new((reference.clone(), fault)))?
                    {
                        is_absent = false;
                        filled.push_str(value.expose_secret());
                    }
                }
            }
        }
        Ok((!is_absent).then(|| SecretString::from(filled.as_str())))
    }
}

/// How old a value is.
#[derive(Clone, Debug)]
pub(super) struct Age {
    pub(super) age: Duration,
    /// What is left of its lease.
    pub(super) lease: Option<Duration>,
    /// Why it could not be confirmed.
    pub(super) fault: Option<Fault>,
}

/// Where a reference may stand, in the order in which it is looked for.
pub(super) fn targets(settings: &SecretSettings, reference: &Reference) -> Result<Vec<Key>, Fault> {
    let key = |provider: &str, reference: &Reference| Key {
        provider: provider.to_owned(),
        place: Place {
            path: reference.path.clone(),
            field: reference.field.clone().filter(|_| is_exec(settings, provider)),
            version: reference.version,
        },
    };
    if let Some(provider) = &reference.provider {
        if !settings.knows(provider) {
            return Err(settings.unknown_provider(provider));
        }
        return Ok(vec![key(provider, reference)]);
    }
    if let Some(alias) = settings.alias(&reference.path) {
        let alias = alias?;
        let provider = alias.provider.clone().unwrap_or_default();
        return Ok(vec![key(&provider, &alias)]);
    }
    if let Some(provider) = &settings.default {
        return Ok(vec![key(provider, reference)]);
    }
    if !settings.names.is_empty() {
        let known: Vec<_> = settings.names.keys().map(String::as_str).collect();
        return Err(Fault::config(format!(
            "there is no such name\nhelp: add it to `names` of `--secrets`, which has {}",
            known.join(", ")
        )));
    }
    Ok(vec![key("file", reference), key("env", reference)])
}

/// The field that is meant: the reference's own, or that of its alias.
fn field_of(settings: &SecretSettings, reference: &Reference) -> Option<String> {
    let of_alias = || match (&reference.provider, settings.alias(&reference.path)) {
        (None, Some(Ok(alias))) => alias.field,
        _ => None,
    };
    reference.field.clone().or_else(of_alias)
}

/// A program is asked for one field at a time.
fn is_exec(settings: &SecretSettings, provider: &str) -> bool {
    use super::settings::ProviderSettings;
    matches!(settings.providers.get(provider), Some(ProviderSettings::Exec { .. }))
}

fn is_same(one: &Document, other: &Document) -> bool {
    match (one, other) {
        (Document::Text(one), Document::Text(other)) => {
            one.expose_secret() == other.expose_secret()
        }
        (Document::Fields(one), Document::Fields(other)) => {
            let same = |((name, value), (name2, value2)): (
                (&String, &SecretString),
                (_, &SecretString),
            )| {
                name == name2 && value.expose_secret() == value2.expose_secret()
            };
            one.len() == other.len() && one.iter().zip(other).all(same)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::{settings, syntax};

    fn store(settings: &SecretSettings, values: &[(&str, &str)]) -> Store {
        let mut store = Store::default();
        for (body, text) in values {
            let reference = syntax::parse_body(body).expect("it is valid");
            let key = targets(settings, &reference).expect("it is known").remove(0);
            let document = Document::Text(SecretString::from(*text));
            store.put(key, Fetched { document, lease: None }, Instant::now());
        }
        store
    }

    fn fill(store: &Store, settings: &SecretSettings, text: &str) -> Result<Option<String>, Fault> {
        let template = syntax::parse(text).expect("it is valid");
        let filled = store.fill(settings, &template).map_err(|failed| failed.1)?;
        Ok(filled.map(|text| text.expose_secret().to_owned()))
    }

    #[test]
    fn a_value_that_looks_like_a_reference_is_a_value() {
        let settings = SecretSettings::default();
        let store = store(&settings, &[("a", "${secret:b}"), ("b", "no")]);
        let filled = fill(&store, &settings, "x${secret:a}").expect("it is there");
        assert_eq!(filled.as_deref(), Some("x${secret:b}"));
    }

    #[test]
    fn what_is_missing_is_said_unless_it_may_be() {
        let mut settings = SecretSettings::default();
        let store = store(&settings, &[]);
        assert_eq!(
            fill(&store, &settings, "${secret:a}").expect_err("no").kind,
            FaultKind::Missing
        );
        assert_eq!(fill(&store, &settings, "${secret:a?optional}").expect("it may be"), None);
        let default = fill(&store, &settings, "${secret:a?default=x}").expect("it may be");
        assert_eq!(default.as_deref(), Some("x"));
        settings.strict = true;
        assert!(fill(&store, &settings, "${secret:a?optional}").is_err());
        assert!(fill(&store, &settings, "${secret:a?default=x}").is_err());
    }

    #[test]
    fn an_alias_leads_to_its_field_and_no_other_name_is_known() {
        let settings = settings::parse(r#"{"names": {"db": "vault:kv/db#password"}}"#);
        let settings = settings.expect("it is valid");
        let store = store(&settings, &[("db", r#"{"password": "pw", "user": "u"}"#)]);
        assert_eq!(fill(&store, &settings, "${secret:db}").expect("it is").as_deref(), Some("pw"));
        let unknown = fill(&store, &settings, "${secret:dbb}").expect_err("it is unknown");
        assert_eq!(unknown.kind, FaultKind::Config);
        assert!(fill(&store, &settings, "${secret:valt:x}").is_err());
    }

    #[test]
    fn a_lease_is_due_after_two_thirds() {
        let mut store = Store::default();
        let key = Key {
            provider: "v".into(),
            place: Place { path: "p".into(), field: None, version: None },
        };
        let lease = Lease { id: "l".into(), duration: Duration::from_secs(30), is_renewable: true };
        let now = Instant::now();
        let document = Document::Text("x".into());
        store.put(key, Fetched { document, lease: Some(lease) }, now);
        assert_eq!(store.next_lease().expect("there is one").1, now + Duration::from_secs(20));
    }
}
