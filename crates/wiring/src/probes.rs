//! What `run` asks to find out whether the dependencies of a service are there.

use manifest::Plan;
use manifest::plan::{Heartbeat, HeartbeatVia, Resource, ResourceSpec, Service, Use, UseTarget};
use manifest::template::{Output, Part, ServiceOutput, Template};
use serde_json::{Map, Value, json};

use crate::Fill;

/// The value of `PLIMSOLL_PROBES`: one probe for each `uses`, and the heartbeat. How often they
/// are made is left to `run`.
pub fn probes(plan: &Plan, service: &Service, fill: &mut Fill<'_>) -> Map<String, Value> {
    let mut probes = Map::new();
    for (name, used) in &service.uses {
        if let Some(probe) = probe(plan, used, fill) {
            probes.insert(name.clone(), probe.into());
        }
    }
    if let Some(heartbeat) = &service.heartbeat {
        probes.insert("heartbeat".to_owned(), heartbeat_probe(heartbeat));
    }
    probes
}

fn probe(plan: &Plan, used: &Use, fill: &mut Fill<'_>) -> Option<Map<String, Value>> {
    let (kind, target) = match &used.target {
        UseTarget::Resource(resource) => resource_probe(plan.resources.get(resource)?, fill)?,
        UseTarget::Service(service) => {
            let output = ServiceOutput::Url;
            let part = Part::Service { service: service.clone(), output };
            ("http", format!("{}/ready", fill(&Template(vec![part]))?))
        }
    };
    let mut probe = Map::new();
    probe.insert(kind.to_owned(), target.into());
    probe.insert("severity".to_owned(), used.severity.as_str().into());
    let gates: Vec<&str> = used.gate.iter().map(|gate| gate.as_str()).collect();
    probe.insert("gate".to_owned(), gates.into());
    Some(probe)
}

/// The real thing where `run` knows its protocol; else whether the port takes connections.
fn resource_probe(resource: &Resource, fill: &mut Fill<'_>) -> Option<(&'static str, String)> {
    let mut output = |output| {
        let resource = resource.name.clone();
        fill(&Template(vec![Part::Resource { resource, output }]))
    };
    match &resource.spec {
        ResourceSpec::Postgres(_) => Some(("postgres", output(Output::Url)?)),
        ResourceSpec::Redis(_) => Some(("redis", output(Output::Url)?)),
        ResourceSpec::Kafka(_) => Some(("kafka", output(Output::Brokers)?)),
        ResourceSpec::Http(http) => {
            let path = http.health.as_ref().map_or("/", |path| path.as_str());
            Some(("http", format!("{}{path}", output(Output::Url)?.trim_end_matches('/'))))
        }
        ResourceSpec::Image(_) => {
            Some(("tcp", format!("{}:{}", output(Output::Host)?, output(Output::Port)?)))
        }
        // A provider's API answers for all of its customers: it says nothing about this one, and
        // a directory is there or the process does not start.
        ResourceSpec::Bucket(_) | ResourceSpec::Queue(_) | ResourceSpec::Volume(_) => None,
    }
}

/// The signs of life that a worker gives.
fn heartbeat_probe(heartbeat: &Heartbeat) -> Value {
    let max_age_ms = heartbeat.max_age.0;
    let sign = match &heartbeat.via {
        HeartbeatVia::File(file) => json!({"file": file, "max_age_ms": max_age_ms}),
        HeartbeatVia::Http => json!({"max_age_ms": max_age_ms}),
        HeartbeatVia::Notify => json!({"via": "notify", "max_age_ms": max_age_ms}),
        HeartbeatVia::Log(text) => json!({"log": as_pattern(text), "max_age_ms": max_age_ms}),
    };
    json!({"heartbeat": sign})
}

/// A pattern that matches exactly this text: `run` takes a regular expression, the manifest a text.
fn as_pattern(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for letter in text.chars() {
        if r"\.+*?()|[]{}^$#&-~".contains(letter) {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn every_edge_of_a_known_protocol_is_probed_with_its_own() {
        let text = "
plimsoll: 1
app: shop
services:
  api: {run: ./api, port: 8080, uses: [db, cache: {severity: soft}, files, pay, mail]}
  mail: {run: ./mail, port: 8081, heartbeat: {log: 'sent.', max_age: 60s}}
resources:
  db: {type: postgres}
  cache: {type: redis}
  files: {type: volume}
  pay: {type: http, url: 'https://pay.example/v1', health: /ok}
";
        let manifest = manifest::parse(text).unwrap();
        let resolution = manifest::resolve(&manifest, "local").unwrap();
        let plan = resolution.plan;
        let mut fill = |template: &Template| Some(template.to_string());
        let all: Map<String, Value> = plan
            .services
            .values()
            .map(|s| (s.name.to_string(), probes(&plan, s, &mut fill).into()))
            .collect();
        expect![[r#"
            {
              "api": {
                "cache": {
                  "gate": [],
                  "redis": "${resources.cache.url}",
                  "severity": "soft"
                },
                "db": {
                  "gate": [
                    "start",
                    "ready"
                  ],
                  "postgres": "${resources.db.url}",
                  "severity": "hard"
                },
                "mail": {
                  "gate": [
                    "start",
                    "ready"
                  ],
                  "http": "${services.mail.url}/ready",
                  "severity": "hard"
                },
                "pay": {
                  "gate": [
                    "start",
                    "ready"
                  ],
                  "http": "${resources.pay.url}/ok",
                  "severity": "hard"
                }
              },
              "mail": {
                "heartbeat": {
                  "heartbeat": {
                    "log": "sent\\.",
                    "max_age_ms": 60000
                  }
                }
              }
            }"#]]
        .assert_eq(&serde_json::to_string_pretty(&all).unwrap());
    }
}
