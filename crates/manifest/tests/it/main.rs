//! The language at its border: text in, plans or rendered problems out.

mod bad_input;
mod plans;
mod properties;
mod schema;

use manifest::{Problems, Resolution, parse, resolve};

/// The example of the design page.
const DISCOVERY: &str = include_str!("fixtures/discovery.yaml");

/// Every kind of service and type of resource, and most keys.
const EVERY_KIND: &str = include_str!("fixtures/every_kind.yaml");

/// The resolution of a manifest that has no problem.
fn resolved(text: &str, environment: &str) -> Resolution {
    let shown = |problems: Problems| problems.render("plimsoll.yaml", text, false);
    let manifest = parse(text).map_err(shown).expect("the manifest has the right shape");
    resolve(&manifest, environment).map_err(shown).expect("the manifest makes sense")
}

/// The problems of a manifest as people see them; warnings too when there is a plan.
fn problems(text: &str, environment: &str) -> String {
    let found = match parse(text) {
        Err(problems) => problems,
        Ok(manifest) => match resolve(&manifest, environment) {
            Err(problems) => problems,
            Ok(resolution) => resolution.warnings,
        },
    };
    found.render("plimsoll.yaml", text, false)
}

/// A manifest around some services and resources, resolved for `local`.
fn problems_of(body: &str) -> String {
    problems(&format!("plimsoll: 1\napp: shop\n{body}"), "local")
}
