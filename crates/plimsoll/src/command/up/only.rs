//! `--only`: a plan without the services that were not asked for.
//!
//! Invariant: what stays uses nothing that goes.

use std::collections::BTreeSet;

use fleet::up::Refused;
use manifest::Plan;

use crate::suggest;

/// Keeps these services and everything that they use, directly or through others.
pub(super) fn keep(plan: &mut Plan, only: &[String]) -> anyhow::Result<()> {
    let mut kept: BTreeSet<String> = BTreeSet::new();
    let mut pending: Vec<String> = only.to_vec();
    while let Some(name) = pending.pop() {
        let service = plan.services.get(name.as_str());
        if service.is_none() && !plan.resources.contains_key(name.as_str()) {
            let names = plan.start_order.iter().map(|item| item.name().to_owned());
            let known: BTreeSet<String> = names.collect();
            let known = known.into_iter().collect();
            return Err(suggest::meant(Refused::Unknown { name, known }));
        }
        if kept.insert(name) {
            pending.extend(service.into_iter().flat_map(|service| service.uses.keys().cloned()));
        }
    }
    plan.services.retain(|name, _| kept.contains(name.as_str()));
    plan.resources.retain(|name, _| kept.contains(name.as_str()));
    plan.start_order.retain(|item| kept.contains(item.name()));
    Ok(())
}
