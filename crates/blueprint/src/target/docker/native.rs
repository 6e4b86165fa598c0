//! Native packages, `system:` of a service: installed in Debian, carried into distroless file by
//! file with what they link. Those that end in `-dev` are for building and stay out of images.

use std::collections::BTreeMap;

use askama::Template;
use manifest::plan::Service;

use super::recipe::libraries;
use super::{DEBIAN, written};
use crate::image::Family;
use crate::platform::Platform;
use crate::text::Mark;

/// The name that PDFium is asked for by; no release of Debian has it.
const PDFIUM: &str = "libpdfium";
const PDFIUM_PYTHON: &str = "python:3.13-slim-bookworm";
const PDFIUM_VERSION: &str = "5.15.2";

/// The stages that install native packages.
#[derive(Clone, Debug, Default)]
pub(super) struct Native {
    /// Their text.
    pub(super) text: Vec<String>,
    /// The stages that each service copies `/tree/` from, by its name.
    of: BTreeMap<String, Vec<String>>,
}

impl Native {
    /// The stages that a service copies from.
    pub(super) fn of(&self, service: &Service) -> &[String] {
        self.of.get(service.name.as_str()).map_or(&[], Vec::as_slice)
    }
}

#[derive(Template)]
#[template(path = "docker/native.stage", escape = "none")]
struct Stage {
    debian: String,
    stage: String,
    packages: String,
    libraries: String,
}

#[derive(Template)]
#[template(path = "docker/pdfium.stage", escape = "none")]
struct Pdfium {
    python: String,
    version: &'static str,
}

/// The packages that only building needs, of all services of a family.
pub(super) fn headers<'a>(family: &Family<'a>) -> Vec<&'a str> {
    let all = family.services.iter().flat_map(|service| &service.system);
    let mut packages: Vec<&str> = all.map(String::as_str).filter(|name| is_header(name)).collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

fn is_header(package: &str) -> bool {
    package.ends_with("-dev")
}

/// What a service's image has: what it asks for, and what the one asks for that it is `from`.
fn packages(family: &Family<'_>, service: &Service) -> Vec<String> {
    let asked = family.owner.system.iter().chain(&service.system);
    let mut packages: Vec<String> =
        asked.filter(|name| !is_header(name) && *name != PDFIUM).cloned().collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

/// The stages of a family: one for each set of packages.
pub(super) fn stages(platform: &Platform, family: &Family<'_>) -> Native {
    let mut native = Native::default();
    let mut sets: BTreeMap<Vec<String>, Vec<&Service>> = BTreeMap::new();
    for service in &family.services {
        let asks_pdfium = [family.owner, service]
            .iter()
            .any(|asking| asking.system.iter().any(|name| name == PDFIUM));
        if asks_pdfium {
            native.of.entry(service.name.to_string()).or_default().push("pdfium".to_owned());
        }
        let packages = packages(family, service);
        if !packages.is_empty() {
            sets.entry(packages).or_default().push(service);
        }
    }
    if !native.of.is_empty() {
        let python = platform.pinned(PDFIUM_PYTHON);
        native.text.push(written(&Pdfium { python, version: PDFIUM_VERSION }));
    }
    for (packages, services) in sets {
        let stage = format!("{}.native", services[0].name);
        let marks: String = services
            .iter()
            .map(|service| Mark(format!("services.{}.system", service.name)).to_string())
            .collect();
        native.text.push(written(&Stage {
            debian: platform.pinned(DEBIAN),
            stage: stage.clone(),
            packages: format!("{marks}{}", packages.join(" ")),
            libraries: libraries("/tree"),
        }));
        for service in services {
            native.of.entry(service.name.to_string()).or_default().push(stage.clone());
        }
    }
    native
}
