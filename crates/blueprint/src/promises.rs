//! What all rendered files promise together, for every example: one user, one set of probes, stops
//! that are waited for, ports that differ, variables that are told.
//!
//! Each claim reads the files as their consumers do; none looks at how they were made.

use std::collections::{BTreeMap, BTreeSet};

use contract::endpoints;
use manifest::Plan;
use manifest::plan::{Kind, Service};
use serde_json::Value;

use crate::artifact::Artifacts;
use crate::detect::{Repository, detect};
use crate::platform::{Pins, Platform};
use crate::target::render;

/// An example: its name, its manifest, and the markers that its sources have, with their texts.
type Example = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const EXAMPLES: &[Example] = &[
    (
        "discovery",
        include_str!("../../../examples/discovery/plimsoll.yaml"),
        &[
            ("Cargo.lock", ""),
            ("Cargo.toml", include_str!("../../../examples/discovery/Cargo.toml")),
            ("backend/Cargo.toml", include_str!("../../../examples/discovery/backend/Cargo.toml")),
        ],
    ),
    ("geo", include_str!("../../../examples/geo/plimsoll.yaml"), &[]),
    (
        "novel",
        include_str!("../../../examples/novel/plimsoll.yaml"),
        &[("frontend/package.json", include_str!("../../../examples/novel/frontend/package.json"))],
    ),
    ("agent", include_str!("../../../examples/agent/plimsoll.yaml"), &[]),
    ("rag", include_str!("../../../examples/rag/plimsoll.yaml"), &[]),
];

/// One example, rendered.
struct Rendered {
    name: &'static str,
    plans: Vec<Plan>,
    artifacts: Artifacts,
}

fn examples() -> Vec<Rendered> {
    EXAMPLES.iter().map(|(name, text, markers)| rendered(name, text, markers)).collect()
}

fn rendered(name: &'static str, text: &str, markers: &[(&str, &str)]) -> Rendered {
    let manifest = manifest::parse(text).unwrap_or_else(|all| panic!("{name}: {all:#?}"));
    let plan = |environment: &String| {
        let resolved = manifest::resolve(&manifest, environment);
        resolved.unwrap_or_else(|all| panic!("{name}: {all:#?}")).plan
    };
    let environments: Vec<String> =
        manifest.environments().iter().map(ToString::to_string).collect();
    let plans: Vec<Plan> = environments.iter().map(plan).collect();
    let owned = |(path, text): &(&str, &str)| ((*path).to_owned(), (*text).to_owned());
    let repository: Repository = markers.iter().map(owned).collect();
    let sources = detect(plans.last().unwrap(), &repository).unwrap();
    let artifacts = render(&Platform::new(plans.clone(), sources, Pins::new()));
    Rendered { name, plans, artifacts }
}

impl Rendered {
    fn files(&self, is_wanted: impl Fn(&str) -> bool) -> Vec<(&str, &str)> {
        let texts = self.artifacts.iter().map(|(path, artifact)| (path, artifact.text.as_str()));
        texts.filter(|(path, _)| is_wanted(path)).collect()
    }

    /// Every Compose file with the plan that it is for.
    fn compose(&self) -> Vec<(&Plan, &str, Value)> {
        let files = self.files(|path| path.starts_with("compose."));
        let parsed = files.into_iter().map(|(path, text)| {
            let file: Value = serde_saphyr::from_str(text).unwrap();
            let name = file["name"].as_str().unwrap();
            let is_for = |plan: &&Plan| name == format!("{}-{}", plan.app, plan.environment.name);
            (self.plans.iter().find(is_for).unwrap(), path, file)
        });
        parsed.collect()
    }

    /// The values of every environment on Kubernetes, with their plans.
    fn values(&self) -> Vec<(&Plan, &str, Value)> {
        let files = self.files(|path| path.contains("/values-"));
        let parsed = files.into_iter().map(|(path, text)| {
            let file: Value = serde_saphyr::from_str(text).unwrap();
            let name = file["environment"].as_str().unwrap();
            let is_for = |plan: &&Plan| plan.environment.name.as_str() == name;
            (self.plans.iter().find(is_for).unwrap(), path, file)
        });
        parsed.collect()
    }

    /// The last stages of all images, by the service that each is for.
    fn last_stages(&self) -> Vec<(&Service, &str)> {
        let files = self.files(|path| path.ends_with("Dockerfile"));
        let stages = files.iter().flat_map(|(_, text)| text.split("\nFROM "));
        let released = self.plans.last().unwrap();
        let of_service = stages.filter_map(|stage| {
            let label = "LABEL org.opencontainers.image.title=";
            let (_, rest) = stage.split_once(label)?;
            let name = rest.split_whitespace().next()?.trim_matches('"');
            Some((released.services.get(name)?, stage))
        });
        of_service.collect()
    }
}

/// The containers of a Compose file that are services of ours, with their services.
fn containers<'a>(plan: &'a Plan, file: &'a Value) -> Vec<(&'a Service, &'a Value)> {
    let all = file["services"].as_object().unwrap().values();
    let ours = all.filter_map(|container| {
        let name = container["environment"]["PLIMSOLL_SERVICE"].as_str()?;
        Some((plan.services.get(name)?, container))
    });
    ours.collect()
}

/// A time such as `5s`, `1m` or `34000ms`, in milliseconds.
fn ms(text: &str) -> u64 {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().unwrap_or_else(|_| panic!("{text} is no time"));
    match &text[digits.len()..] {
        "ms" => number,
        "s" => number * 1000,
        "m" => number * 60_000,
        unit => panic!("{unit} is no unit"),
    }
}

#[test]
fn an_image_runs_as_the_user_that_everything_else_expects() {
    for it in examples() {
        for (service, stage) in it.last_stages() {
            let user = service.security.user;
            assert!(stage.contains(&format!("\nUSER {user}:{user}\n")), "{}", service.name);
            let mut owned = stage.lines().filter(|line| line.contains("--chown="));
            assert!(owned.all(|line| line.contains(&format!("--chown={user}:{user} "))));
        }
        for (plan, path, file) in it.compose() {
            for (service, container) in containers(plan, &file) {
                let user = service.security.user;
                if plan.environment.target == manifest::plan::Target::Local {
                    continue;
                }
                assert_eq!(container["user"], format!("{user}:{user}"), "{path}");
                let ours = container["tmpfs"][0].as_str().unwrap();
                assert!(ours.contains(&format!("uid={user},gid={user}")), "{path}: {ours}");
            }
        }
        for (plan, path, values) in it.values() {
            for (name, service) in &plan.services {
                let security = &values["services"][name.as_str()]["security"];
                assert_eq!(security["user"], service.security.user, "{path}: {name}");
            }
        }
        for (_, pod) in it.files(|path| path.ends_with("/_pod.tpl")) {
            for key in ["runAsUser", "runAsGroup", "fsGroup"] {
                assert!(pod.contains(&format!("{key}: {{{{ .user }}}}")), "{}: {key}", it.name);
            }
        }
    }
}

#[test]
fn everyone_asks_the_same_endpoint_as_often_and_as_patiently() {
    for it in examples() {
        let is_asked =
            |service: &Service| matches!(service.kind, Kind::Web | Kind::Static | Kind::Worker);
        for (service, stage) in it.last_stages().into_iter().filter(|(one, _)| is_asked(one)) {
            let (_, check) = stage.split_once("HEALTHCHECK ").unwrap();
            let option = |name: &str| {
                let (_, rest) = check.split_once(&format!("--{name}=")).unwrap();
                rest.split_whitespace().next().unwrap()
            };
            assert!(check.contains(r#"CMD ["/usr/local/bin/plimsoll-run", "probe", "ready"]"#));
            let health = &service.health;
            assert_eq!(ms(option("interval")), health.interval.0);
            assert!(ms(option("timeout")) > health.timeout.0);
            assert_eq!(option("retries"), health.fall.to_string());
            assert_eq!(ms(option("start-period")), health.start_timeout.0);
        }
        for (plan, path, file) in it.compose() {
            let is_dev = plan.environment.target == manifest::plan::Target::Local;
            for (service, container) in containers(plan, &file) {
                assert_admin(&container["environment"], path);
                let Some(check) = container.get("healthcheck") else { continue };
                let health = &service.health;
                let told = container["environment"]["PLIMSOLL_START_TIMEOUT"].as_str().unwrap();
                assert_eq!(ms(told), health.start_timeout.0, "{path}");
                assert_eq!(check["test"][2], "probe", "{path}");
                assert_eq!(check["test"][3], "ready", "{path}");
                assert_eq!(ms(check["interval"].as_str().unwrap()), health.interval.0, "{path}");
                assert_eq!(check["retries"], health.fall, "{path}");
                let start = ms(check["start_period"].as_str().unwrap());
                assert!(start >= health.start_timeout.0, "{path}");
                assert!(is_dev || start == health.start_timeout.0, "{path}");
            }
        }
        for (plan, path, values) in it.values() {
            for (name, service) in &plan.services {
                let one = &values["services"][name.as_str()];
                assert_admin(&one["env"], path);
                let Some(probes) = one.get("probes") else { continue };
                let number = |probe: &str, key: &str| probes[probe][key].as_u64().unwrap();
                let health = &service.health;
                let timeout_s = health.timeout.0.div_ceil(1000);
                assert_eq!(
                    number("readiness", "periodSeconds") * 1000,
                    health.interval.0,
                    "{path}"
                );
                assert_eq!(number("readiness", "timeoutSeconds"), timeout_s, "{path}");
                let start_ms = number("startup", "periodSeconds")
                    * number("startup", "failureThreshold")
                    * 1000;
                assert!(start_ms > health.start_timeout.0, "{path}: {name} is killed at its start");
            }
        }
        for (path, text) in it.files(|path| path.ends_with("/values.yaml")) {
            let values: Value = serde_saphyr::from_str(text).unwrap();
            let admin = &values["admin"];
            for (key, endpoint) in [
                ("live", endpoints::LIVE),
                ("ready", endpoints::READY),
                ("started", endpoints::STARTED),
                ("metrics", endpoints::METRICS),
            ] {
                assert_eq!(admin[key], endpoint.path, "{path}");
            }
            assert_eq!(admin["port"], u64::from(crate::address::port::ADMIN), "{path}");
        }
    }
}

fn assert_admin(environment: &Value, path: &str) {
    let listen = format!("0.0.0.0:{}", crate::address::port::ADMIN);
    assert_eq!(environment["PLIMSOLL_LISTEN"], listen, "{path}");
}

#[test]
fn nobody_is_killed_before_it_has_drained_and_stopped() {
    let assert_waits = |environment: &Value, kill_after_ms: u64, place: &str| {
        let told = |name: &str| ms(environment[name].as_str().unwrap());
        let budget = told("PLIMSOLL_STOP_BUDGET");
        assert!(budget > told("PLIMSOLL_DRAIN") + told("PLIMSOLL_STOP_GRACE"), "{place}");
        assert!(kill_after_ms > budget, "{place}: killed after {kill_after_ms} ms of {budget}");
    };
    for it in examples() {
        for (plan, path, file) in it.compose() {
            for (_, container) in containers(plan, &file) {
                // What runs to an end of its own is stopped by nobody in the course of things.
                let Some(patience) = container["stop_grace_period"].as_str() else { continue };
                assert_waits(&container["environment"], ms(patience), path);
            }
        }
        for (plan, path, values) in it.values() {
            for (name, service) in &plan.services {
                let one = &values["services"][name.as_str()];
                let grace_s = one["terminationGracePeriodSeconds"].as_u64().unwrap();
                assert_waits(&one["env"], grace_s * 1000, path);
                let stop = one["env"]["PLIMSOLL_STOP_GRACE"].as_str().unwrap();
                assert!(ms(stop) >= service.stop.grace.0, "{path}: {name}");
            }
        }
    }
}

#[test]
fn no_two_containers_publish_one_port() {
    for it in examples() {
        for (_, path, file) in it.compose() {
            let mut seen = BTreeSet::new();
            let containers = file["services"].as_object().unwrap().iter();
            for (name, container) in containers {
                for port in container["ports"].as_array().into_iter().flatten() {
                    let port = port.as_str().unwrap();
                    let (host, _) = port.rsplit_once(':').unwrap();
                    let protocol = port.ends_with("/udp");
                    assert!(seen.insert((host.to_owned(), protocol)), "{path}: {name}: {port}");
                }
            }
        }
    }
}

#[test]
fn every_variable_of_every_service_is_told_and_no_other() {
    for it in examples() {
        let example = &it.artifacts.get(".env.example").unwrap().text;
        let told: BTreeSet<&str> = example
            .lines()
            .filter_map(|line| line.trim_start_matches("# ").split_once('='))
            .map(|(name, _)| name)
            .filter(|name| {
                name.bytes().all(|b| b.is_ascii_uppercase() || b"_0123456789".contains(&b))
            })
            .collect();
        let mut given: BTreeMap<String, &str> = BTreeMap::new();
        for (plan, path, file) in it.compose() {
            for (_, container) in containers(plan, &file) {
                let names = container["environment"].as_object().unwrap().keys();
                given.extend(names.map(|name| (name.clone(), path)));
            }
            let text = &it.artifacts.get(path).unwrap().text;
            given.extend(asked_of_the_shell(text).map(|name| (name.to_owned(), path)));
        }
        for (_, path, values) in it.values() {
            let services = values["services"].as_object().unwrap().values();
            let names = services.flat_map(|one| one["env"].as_object().unwrap().keys());
            given.extend(names.map(|name| (name.clone(), path)));
        }
        for (name, path) in &given {
            assert!(told.contains(name.as_str()), "{}: {path}: {name} is not told", it.name);
        }
        for name in told {
            assert!(given.contains_key(name), "{}: {name} is told, and nobody reads it", it.name);
        }
    }
}

/// The variables that a Compose file takes from the shell or from `.env`.
fn asked_of_the_shell(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("${").filter_map(|(at, _)| {
        let is_escaped = text[..at].ends_with('$');
        let name =
            text[at + 2..].split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).next()?;
        (!is_escaped).then_some(name)
    })
}
