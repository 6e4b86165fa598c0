//! Looks at every reference once, for `plimsoll secret check`: is it there, and who says what?
//!
//! It deliberately never shows a value, nor its length. Invariant: every reference of the texts is
//! in the report, in the order of the places.

use serde::Serialize;

use super::{Handle, fault::FaultKind, store::targets};

/// What is known of one reference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// The variable or flag that it stands in.
    pub place: String,
    /// The reference, without options.
    pub reference: String,
    /// The provider that has it, or should.
    pub provider: String,
    /// `ok`, or the kind of fault.
    pub state: &'static str,
    /// What the provider says when it is not `ok`.
    pub problem: Option<String>,
    /// Seconds until its lease ends, if it has one.
    pub lease_seconds: Option<u64>,
    /// Whether the app can do without.
    pub is_optional: bool,
}

/// Asks for everything in the texts; each text has the name of its place.
pub async fn check(handle: &Handle, texts: &[(String, String)]) -> Vec<Checked> {
    let mut report = Vec::new();
    for (place, text) in texts {
        match handle.template(place, text) {
            Err(problem) => report.push(Checked {
                place: place.clone(),
                reference: String::new(),
                provider: String::new(),
                state: FaultKind::Config.word(),
                problem: Some(problem.fault.text),
                lease_seconds: None,
                is_optional: false,
            }),
            Ok(template) => {
                for reference in template.references() {
                    // One by one, so that each has an answer of its own; what is known already
                    // is not asked for again.
                    let mut faults =
                        handle.fetch_references(std::iter::once(reference), None).await;
                    let fault = faults.remove(reference);
                    let fault = fault.or_else(|| handle.pick(reference).err());
                    let keys = targets(&handle.0.settings, reference).unwrap_or_default();
                    let store = handle.store();
                    let found = keys.iter().find_map(|key| Some((key, store.entries.get(key)?)));
                    let provider = found.map(|(key, _)| key).or(keys.first());
                    let lease = found.and_then(|(_, entry)| entry.lease.as_ref());
                    report.push(Checked {
                        place: place.clone(),
                        reference: reference.to_string(),
                        provider: provider.map(|key| key.provider.clone()).unwrap_or_default(),
                        state: fault.as_ref().map_or("ok", |fault| fault.kind.word()),
                        problem: fault.map(|fault| fault.text),
                        lease_seconds: lease.map(|lease| lease.duration.as_secs()),
                        is_optional: reference.is_optional || reference.default.is_some(),
                    });
                }
            }
        }
    }
    report
}
