//! Everything that is rendered: a plan per environment, what the sources say, what is pinned.
//!
//! Invariant: there is at least one plan, all are of one app, and every service that has an image
//! of its own has a [`Source`].

use std::collections::BTreeMap;

use manifest::Plan;
use manifest::names::ServiceName;
use manifest::plan::{Service, Target};

use crate::detect::Source;
use crate::image;

/// Digests by image reference: `python:3.12-slim-bookworm` is `sha256:…`.
pub type Pins = BTreeMap<String, String>;

/// What `render` is a function of.
#[derive(Clone, Debug)]
pub struct Platform {
    plans: Vec<Plan>,
    sources: BTreeMap<ServiceName, Source>,
    dockerfiles: BTreeMap<ServiceName, (String, String)>,
    pins: Pins,
}

impl Platform {
    /// A platform in the environments of its plans, which stand in the order of promotion.
    ///
    /// # Panics
    /// Without a plan: every manifest has at least the built-in environment.
    #[must_use]
    pub fn new(plans: Vec<Plan>, sources: BTreeMap<ServiceName, Source>, pins: Pins) -> Platform {
        let released = plans.last().expect("a manifest has at least one environment");
        let dockerfiles = image::dockerfiles(released, &sources);
        Platform { plans, sources, dockerfiles, pins }
    }

    /// The plans in the order of promotion.
    #[must_use]
    pub fn plans(&self) -> &[Plan] {
        &self.plans
    }

    /// The plan of what users get: the last that a release is promoted to. Images and everything
    /// else that all environments share are made from it.
    #[must_use]
    pub fn released(&self) -> &Plan {
        self.plans.last().expect("there is at least one plan")
    }

    /// The plan of a developer's machine, if there is one.
    #[must_use]
    pub fn local(&self) -> Option<&Plan> {
        self.plans.iter().find(|plan| plan.environment.target == Target::Local)
    }

    /// What the sources of a service say; a service that is `from` another shares that one's.
    #[must_use]
    pub fn source(&self, service: &Service) -> Option<&Source> {
        self.sources.get(service.from.as_ref().unwrap_or(&service.name))
    }

    /// Where the images of a service's sources are made: the context, and the Dockerfile in it.
    pub(crate) fn dockerfile(&self, owner: &ServiceName) -> Option<(&str, &str)> {
        let (context, dockerfile) = self.dockerfiles.get(owner)?;
        Some((context, dockerfile))
    }

    /// An image reference with its digest, if that is pinned.
    #[must_use]
    pub fn pinned(&self, image: &str) -> String {
        match self.pins.get(image) {
            Some(digest) => format!("{image}@{digest}"),
            None => image.to_owned(),
        }
    }
}
