//! A site that nginx sends: its configuration, the stage that compresses the files, and what its
//! last stage copies. `plimsoll run` stands in front of it, as of any other process: probes, drain
//! and metrics are those of every service.

use askama::Template;
use manifest::plan::{Service, SiteServer, Static};

use super::{DEBIAN, written};
use crate::image::{self, Family};
use crate::platform::Platform;
use crate::text::Mark;

/// The image: nginx as a user without rights, without its optional modules.
pub(super) const BASE: &str = "nginxinc/nginx-unprivileged:1.28-alpine-slim";

/// The port behind `plimsoll run`.
pub(super) const PORT: u16 = 8081;

/// Most worker processes: one does for most sites, and cores of a large host are not ours.
const WORKERS_MAX: u64 = 4;

/// What no site misses, unless the manifest says otherwise; the same as that of `run --static`.
const CSP: &str = "frame-ancestors 'self'; base-uri 'self'; object-src 'none'";

#[derive(Template)]
#[template(path = "docker/nginx.conf", escape = "none")]
struct Config<'a> {
    service: &'a str,
    workers: u64,
    port: u16,
    root: &'a str,
    mark: Mark,
    csp: &'a str,
    spa: bool,
}

#[derive(Template)]
#[template(path = "docker/nginx.stage", escape = "none")]
struct Stage<'a> {
    debian: String,
    stage: String,
    copy: &'a str,
    clean: String,
    root: &'a str,
}

/// The site of a service that nginx sends.
pub(super) fn site(service: &Service) -> Option<&Static> {
    service.site.as_ref().filter(|site| site.server == SiteServer::Nginx)
}

/// The name of its configuration in the directory that the image is built from.
pub(super) fn config_name(family: &Family<'_>, service: &Service) -> String {
    let is_only = family.dockerfile == "Dockerfile" && service.name == family.owner.name;
    if is_only { "nginx.conf".to_owned() } else { format!("nginx.{}.conf", service.name) }
}

/// Its configuration.
pub(super) fn config(service: &Service, site: &Static, root: &str) -> String {
    let csp = site.csp.as_deref().unwrap_or(CSP);
    written(&Config {
        service: service.name.as_str(),
        workers: u64::from(service.limits.cpu.0).div_ceil(1000).clamp(1, WORKERS_MAX),
        port: PORT,
        root,
        mark: Mark(format!("services.{}.static", service.name)),
        // A quote or a backslash would end the text; no policy has one.
        csp: &csp.replace(['"', '\\', '$'], ""),
        spa: site.spa,
    })
}

/// The stage that its files come from.
pub(super) fn stage_name(service: &Service) -> String {
    format!("{}.site", image::stage(service))
}

/// The stages of a family whose files are compressed.
pub(super) fn stages(
    platform: &Platform,
    family: &Family<'_>,
    root: &str,
    copy: impl Fn(&Service, &Static) -> String,
) -> Vec<String> {
    let stage = |service: &Service| {
        let site = site(service)?;
        // Where nothing is built, the sources are the site, and this file is among them.
        let clean = match family.toolchain() {
            Some(_) => String::new(),
            None => format!("rm -f {root}/{} && \\\n    ", config_name(family, service)),
        };
        let copy = copy(service, site);
        let debian = platform.pinned(DEBIAN);
        let stage = stage_name(service);
        Some(written(&Stage { debian, stage, copy: &copy, clean, root }))
    };
    family.services.iter().filter_map(|service| stage(service)).collect()
}
