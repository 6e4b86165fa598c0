//! The last stage of a service: distroless, `plimsoll-run` in front, the command of its `run`.

use askama::Template;
use contract::env_vars;
use manifest::plan::{Kind, Language, ResourceSpec, Service, Static, UseTarget};

use super::DEBIAN;
use super::native::Native;
use super::nginx;
use super::recipe::{self, Base, Recipe, exec_form, quoted};
use crate::image::{self, Family};
use crate::platform::Platform;
use crate::text::Mark;
use crate::timing::{HealthTimes, duration};

/// Where `plimsoll-run` stands in an image.
const RUN: &str = "/usr/local/bin/plimsoll-run";

/// Where a site stands in an image.
const SITE: &str = "/site";

/// The newest CUDA of each line that NVIDIA has images of on the Ubuntu below.
const CUDA: &[(&str, &str)] = &[
    ("12.5", "12.5.1"),
    ("12.6", "12.6.3"),
    ("12.8", "12.8.1"),
    ("12.9", "12.9.1"),
    ("13.0", "13.0.1"),
];

/// Programs that do not read `PORT`: the variable that they read instead, if there is one, and the
/// port that they listen on otherwise.
const LISTENERS: &[(&str, Option<&str>, u16)] = &[
    ("uvicorn", Some("UVICORN_PORT"), 8000),
    ("granian", Some("GRANIAN_PORT"), 8000),
    ("flask", Some("FLASK_RUN_PORT"), 5000),
    ("hypercorn", None, 8000),
];

/// One last stage.
#[derive(Template)]
#[template(path = "docker/final.stage", escape = "none")]
pub(super) struct Last {
    comments: Vec<String>,
    base: String,
    stage: String,
    copies: Vec<String>,
    env: String,
    workdir: String,
    user: String,
    port: Option<String>,
    healthcheck: Option<String>,
    entrypoint: String,
    command: Option<String>,
    labels: String,
}

impl Last {
    /// The last stages of a service: its image, and the variant of it with CUDA.
    pub(super) fn all(
        platform: &Platform,
        family: &Family<'_>,
        recipe: &Recipe,
        native: &Native,
        service: &Service,
    ) -> Vec<Last> {
        let parts = Parts { platform, family, recipe, native, service };
        let mut lasts = Vec::new();
        if let Some(cuda) = service.gpu.as_ref().and_then(|gpu| gpu.cuda.as_deref()) {
            let mut last = parts.last(&cuda_image(cuda));
            last.stage = format!("{}.cuda", image::stage(service));
            let gpu = Mark(format!("services.{}.gpu.cuda", service.name));
            last.comments = vec![format!("{gpu}The same on CUDA's libraries.")];
            lasts.push(last);
        }
        let (base, why) = parts.base();
        let mut last = parts.last(&base);
        last.comments.extend(why);
        lasts.push(last);
        lasts
    }
}

/// `12.6` as the tag of NVIDIA's image.
fn cuda_image(version: &str) -> String {
    let newest = CUDA.iter().find(|(line, _)| *line == version).map(|(_, newest)| *newest);
    let whole = match (newest, version.split('.').count()) {
        (Some(newest), _) => newest.to_owned(),
        (None, 2) => format!("{version}.0"),
        (None, _) => version.to_owned(),
    };
    format!("nvidia/cuda:{whole}-runtime-ubuntu24.04")
}

/// The stages that prepare sites for nginx.
pub(super) fn sites(platform: &Platform, family: &Family<'_>, recipe: &Recipe) -> Vec<String> {
    nginx::stages(platform, family, SITE, |service, site| copy_site(family, recipe, service, site))
}

/// The configurations of nginx of a family, by their names in its directory.
pub(super) fn site_configs(family: &Family<'_>) -> Vec<(String, String)> {
    let config = |service: &Service| {
        let text = nginx::config(service, nginx::site(service)?, SITE);
        Some((nginx::config_name(family, service), text))
    };
    family.services.iter().filter_map(|service| config(service)).collect()
}

/// The instruction that copies a site from where it was built, or stands.
fn copy_site(family: &Family<'_>, recipe: &Recipe, service: &Service, site: &Static) -> String {
    let dir = image::clean(site.dir.as_str());
    let mark = Mark(format!("services.{}.static.dir", service.name));
    match family.toolchain() {
        None if dir == "." => format!("{mark}COPY . {SITE}/"),
        None => format!("{mark}COPY {dir}/ {SITE}/"),
        Some(_) if dir == "." => format!("{mark}COPY --from=build {}/ {SITE}/", recipe.workdir),
        Some(_) => format!("{mark}COPY --from=build {}/{dir}/ {SITE}/", recipe.workdir),
    }
}

/// What a last stage is made of.
struct Parts<'a> {
    platform: &'a Platform,
    family: &'a Family<'a>,
    recipe: &'a Recipe,
    native: &'a Native,
    service: &'a Service,
}

impl Parts<'_> {
    fn last(&self, base: &str) -> Last {
        let service = self.service;
        let user = service.security.user;
        let at = format!("services.{}", service.name);
        let exec = [RUN.to_owned(), "--".to_owned()];
        let site = service.site.as_ref().filter(|_| nginx::site(service).is_none());
        let is_server = matches!(service.kind, Kind::Web | Kind::Static | Kind::Worker);
        let command = self.command();
        let without = site.is_none() && command.is_none();
        let about = without.then(|| self.why_no_command());
        let command = command.map(|words| {
            let key = if service.site.is_some() { "static" } else { "run" };
            let mark = Mark(format!("{at}.{key}"));
            format!("{mark}{}", exec_form(&words))
        });
        Last {
            comments: about.into_iter().collect(),
            labels: self.labels(base),
            base: self.platform.pinned(base),
            stage: image::stage(service),
            copies: self.copies(),
            env: self.env(),
            workdir: self.workdir(),
            user: format!("{}USER {user}:{user}", Mark(format!("{at}.security.user"))),
            port: service.port.map(|port| format!("{}EXPOSE {port}", Mark(format!("{at}.port")))),
            healthcheck: is_server.then(|| self.healthcheck()),
            entrypoint: exec_form(if site.is_some() { &exec[..1] } else { &exec }),
            command,
        }
    }

    fn workdir(&self) -> String {
        if self.service.site.is_some() { SITE.to_owned() } else { self.recipe.workdir.clone() }
    }

    fn why_no_command(&self) -> String {
        match &self.service.run {
            Some(_) => "Its command has addresses in it: whoever starts it gives them.".to_owned(),
            None => "Neither the manifest nor the sources say what starts it: write \
                     `run` in plimsoll.yaml."
                .to_owned(),
        }
    }

    /// The words of its command, if they are the same everywhere.
    fn command(&self) -> Option<Vec<String>> {
        if nginx::site(self.service).is_some() {
            return Some(vec!["nginx".to_owned()]);
        }
        let words = image::run(self.platform, self.service)?;
        words.iter().map(|word| word.as_literal().map(std::borrow::Cow::into_owned)).collect()
    }

    /// What it stands on, and why if that is not distroless.
    fn base(&self) -> (String, Option<String>) {
        if nginx::site(self.service).is_some() {
            return (nginx::BASE.to_owned(), None);
        }
        let is_site = self.service.site.is_some();
        if !is_site && self.recipe.base == Base::Node {
            let why = "Its command is for npm and a shell, so this image keeps both: name a program \
                       in `run` to lose them.";
            return (self.recipe.toolchain.clone(), Some(why.to_owned()));
        }
        if image::needs_shell(self.platform, self.service) {
            let why = "A command of its is for a shell, so this image has one, which distroless has \
                       not.";
            let base = match self.recipe.base {
                Base::Java(version) => format!("eclipse-temurin:{version}-jre"),
                Base::Nothing | Base::Libraries | Base::Node => DEBIAN.to_owned(),
            };
            return (base, Some(why.to_owned()));
        }
        let has_native = !self.native.of(self.service).is_empty();
        let base = match self.recipe.base {
            _ if is_site => "gcr.io/distroless/static-debian12:nonroot".to_owned(),
            Base::Nothing if !has_native => "gcr.io/distroless/static-debian12:nonroot".to_owned(),
            Base::Nothing | Base::Libraries | Base::Node => {
                "gcr.io/distroless/cc-debian12:nonroot".to_owned()
            }
            Base::Java(version @ (17 | 21)) => {
                format!("gcr.io/distroless/java{version}-debian12:nonroot")
            }
            Base::Java(version) => format!("gcr.io/distroless/java{version}-debian13:nonroot"),
        };
        (base, None)
    }

    fn copies(&self) -> Vec<String> {
        if nginx::site(self.service).is_some() {
            let stage = nginx::stage_name(self.service);
            let config = nginx::config_name(self.family, self.service);
            return vec![
                format!("COPY --from={stage} {SITE}/ {SITE}/"),
                format!("COPY {config} /etc/nginx/nginx.conf"),
            ];
        }
        if let Some(site) = &self.service.site {
            return vec![copy_site(self.family, self.recipe, self.service, site)];
        }
        let native = self.native.of(self.service).iter();
        let mut copies: Vec<String> =
            native.map(|stage| format!("COPY --from={stage} /tree/ /")).collect();
        copies.extend(self.recipe.copies.iter().cloned());
        let user = self.service.security.user;
        for (used, edge) in &self.service.uses {
            let UseTarget::Resource(name) = &edge.target else { continue };
            let resource = self.platform.released().resources.get(name);
            if let Some(ResourceSpec::Volume(volume)) = resource.map(|resource| &resource.spec) {
                let mark = Mark(format!("services.{}.uses.{used}", self.service.name));
                let mount = volume.mount.trim_end_matches('/');
                copies
                    .push(format!("{mark}COPY --from=tree --chown={user}:{user} /empty/ {mount}/"));
            }
        }
        copies
    }

    fn env(&self) -> String {
        let service = self.service;
        let mut variables = match service.site {
            Some(_) => Vec::new(),
            None => self.recipe.env.clone(),
        };
        variables.extend(self.listener());
        let mut put = |var: &env_vars::Var, value: String| variables.push((var.name, value));
        put(&env_vars::SERVICE, service.name.to_string());
        if let Some(port) = service.port.filter(|_| service.kind != Kind::Worker) {
            put(&env_vars::INGRESS, format!("0.0.0.0:{port}"));
        }
        if nginx::site(service).is_some() {
            put(&env_vars::APP_PORT, nginx::PORT.to_string());
            // It ends at once by TERM, and after the last answer by QUIT.
            put(&env_vars::SIGNAL_REWRITE, "TERM:QUIT".to_owned());
        } else if let Some(site) = &service.site {
            put(&env_vars::STATIC, SITE.to_owned());
            if site.spa {
                put(&env_vars::SPA, "on".to_owned());
            }
            if let Some(csp) = &site.csp {
                put(&env_vars::CSP, csp.clone());
            }
        }
        recipe::env(&variables)
    }

    /// The port of a program that does not read `PORT`.
    fn listener(&self) -> Vec<(&'static str, String)> {
        let is_python =
            self.family.toolchain().is_some_and(|toolchain| toolchain.language == Language::Python);
        let words = self.command().unwrap_or_default();
        let program = match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["python" | "python3", "-m", module, ..] => (*module).to_owned(),
            [program, ..] => (*program).to_owned(),
            [] => return Vec::new(),
        };
        let known = LISTENERS.iter().find(|(name, _, _)| *name == program);
        let Some((_, variable, usual)) = known.filter(|_| is_python) else { return Vec::new() };
        let Some(outer) = self.service.port.filter(|_| self.service.kind == Kind::Web) else {
            return Vec::new();
        };
        let outer = outer.to_string();
        let said = words.windows(2).find(|pair| matches!(pair[0].as_str(), "--port" | "-p"));
        let mut set = Vec::new();
        if program == "uvicorn" {
            // It ends a clean stop by the signal that asked for it.
            set.push((env_vars::SUCCESS_EXIT_CODES.name, "0,143".to_owned()));
        }
        let inner = if usual.to_string() == outer { usual + 1 } else { *usual };
        match said {
            Some(said) => set.push((env_vars::APP_PORT.name, said[1].clone())),
            None => {
                set.extend(variable.map(|variable| (variable, inner.to_string())));
                set.push((env_vars::APP_PORT.name, inner.to_string()));
            }
        }
        set
    }

    fn healthcheck(&self) -> String {
        let times = HealthTimes::of(self.service);
        let mark = Mark(format!("services.{}.health", self.service.name));
        let probe = [RUN, "probe", "ready"].map(str::to_owned);
        format!(
            "{mark}HEALTHCHECK --interval={} --timeout={} --start-period={} --retries={} \\\n    \
             CMD {}",
            duration(times.interval),
            duration(times.timeout),
            duration(times.start_period),
            times.retries,
            exec_form(&probe)
        )
    }

    fn labels(&self, base: &str) -> String {
        let team = self.service.owners.team.as_deref();
        let labels = [
            ("title", Some(quoted(self.service.name.as_str()))),
            ("vendor", team.map(quoted)),
            ("version", Some("\"${VERSION}\"".to_owned())),
            ("revision", Some("\"${REVISION}\"".to_owned())),
            ("source", Some("\"${SOURCE}\"".to_owned())),
            ("base.name", Some(quoted(base))),
        ];
        let lines = labels.into_iter().filter_map(|(name, value)| {
            Some(format!("org.opencontainers.image.{name}={}", value?))
        });
        lines.collect::<Vec<_>>().join(" \\\n      ")
    }
}
