//! What must hold across the values of every platform. The templates themselves are tried by helm.

use std::collections::{BTreeMap, BTreeSet};

use expect_test::expect;
use manifest::plan::{ResourceSpec, UseTarget};
use serde_json::Value;

use super::*;
use crate::artifact::Artifacts;
use crate::timing::StopTimes;

const SHOP: &str = "
plimsoll: 1
app: shop
image: ghcr.io/acme/shop
owners: {team: shop}
services:
  api:
    run: ./api
    port: 8080
    route: api
    uses: [db, pay, mail, files]
    secrets: [TOKEN]
    env: {SHELL_TEXT: 'a $$(b)', JANITOR_ENABLED: 'true'}
    migrate: ./api migrate
    scale: {min: 2, max: 6, cpu: 70, latency: 250ms}
    slo: {availability: 99.9, latency: {p95: 250ms}}
    smoke: {/v1: 200}
  mail:
    run: ./mail
    port: 8081
    heartbeat: 30s
    stop: 70s
  nightly: {run: ./nightly, schedule: '0 3 * * *', uses: [db]}
resources:
  db: {type: postgres}
  files: {type: volume}
  pay: {type: http, url: 'https://pay.example/v1'}
environments:
  dev: {target: local}
  production: {target: kubernetes, domain: shop.example, approve: [boss], tag: 'v*'}
";

const EXAMPLES: &[&str] = &[
    SHOP,
    include_str!("../../../../../examples/discovery/plimsoll.yaml"),
    include_str!("../../../../../examples/geo/plimsoll.yaml"),
    include_str!("../../../../../examples/novel/plimsoll.yaml"),
    include_str!("../../../../../examples/agent/plimsoll.yaml"),
    include_str!("../../../../../examples/rag/plimsoll.yaml"),
];

fn platform(text: &str) -> Platform {
    let manifest = manifest::parse(text).unwrap();
    let plan = |name| manifest::resolve(&manifest, name).unwrap().plan;
    let names = manifest.environments().into_iter();
    let plans = names.map(|name| plan(name.as_str())).collect();
    Platform::new(plans, BTreeMap::new(), BTreeMap::new())
}

fn rendered(platform: &Platform) -> Artifacts {
    let mut artifacts = Artifacts::default();
    render(platform, &mut Files::new(&mut artifacts, "helm"));
    artifacts
}

fn parsed(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

/// Every plan in a cluster with its values.
fn every() -> Vec<(Plan, Value)> {
    let mut all = Vec::new();
    for text in EXAMPLES {
        let platform = platform(text);
        let artifacts = rendered(&platform);
        for plan in in_cluster(&platform) {
            let path = format!("{}/values-{}.yaml", directory(plan), plan.environment.name);
            all.push((plan.clone(), parsed(&artifacts.get(&path).unwrap().text)));
        }
    }
    assert!(all.len() >= 5, "the examples have environments in clusters");
    all
}

#[test]
fn a_platform_without_a_cluster_gets_no_chart() {
    let novel = platform(EXAMPLES[3]);
    assert!(rendered(&novel).is_empty());
}

#[test]
fn the_admin_listener_of_the_chart_is_that_of_the_contract() {
    let values = parsed(include_str!("../../../assets/helm/values.yaml"));
    let admin = &values["admin"];
    assert_eq!(admin["port"], crate::address::port::ADMIN);
    for (key, endpoint) in [
        ("live", &contract::endpoints::LIVE),
        ("ready", &contract::endpoints::READY),
        ("started", &contract::endpoints::STARTED),
        ("metrics", &contract::endpoints::METRICS),
    ] {
        assert_eq!(admin[key], endpoint.path);
    }
    for (plan, values) in every() {
        for name in plan.services.keys() {
            let listen = &values["services"][name.as_str()]["env"]["PLIMSOLL_LISTEN"];
            assert_eq!(listen, &format!("0.0.0.0:{}", admin["port"]));
        }
    }
}

#[test]
fn metrics_that_templates_ask_for_are_those_that_we_export() {
    for metric in [
        &contract::metrics::HTTP_SERVER_REQUEST_DURATION_SECONDS,
        &contract::metrics::SERVICE_READY,
        &contract::metrics::WORKER_LAST_HEARTBEAT_TIMESTAMP_SECONDS,
    ] {
        let asks = VERBATIM.iter().any(|(_, text)| text.contains(metric.name));
        assert!(asks, "{}", metric.name);
    }
}

#[test]
fn user_and_times_are_those_of_the_plan() {
    for (plan, values) in every() {
        for (name, service) in &plan.services {
            let it = &values["services"][name.as_str()];
            assert_eq!(it["security"]["user"], service.security.user);
            let times = StopTimes::of(service);
            let kill_ms = it["terminationGracePeriodSeconds"].as_u64().unwrap() * 1000;
            assert!(kill_ms > times.drain.0 + service.stop.grace.0, "{name}");
            assert!(kill_ms > times.drain.0 + times.grace.0, "{name}");
            if !service.route.is_empty() {
                assert!(it["requestTimeoutSeconds"].as_u64().unwrap() * 1000 <= kill_ms, "{name}");
            }
            if let Some(startup) = it["probes"]["startup"].as_object() {
                let window = startup["periodSeconds"].as_u64().unwrap()
                    * startup["failureThreshold"].as_u64().unwrap();
                assert!(window * 1000 > service.health.start_timeout.0, "{name}");
            }
        }
    }
}

#[test]
fn every_edge_with_an_address_has_exactly_one_peer() {
    for (plan, values) in every() {
        for (name, service) in &plan.services {
            let it = &values["services"][name.as_str()];
            let peers = it["uses"].as_object().cloned().unwrap_or_default();
            for (used, edge) in &service.uses {
                let (kind, has_address) = match &edge.target {
                    UseTarget::Service(peer) => ("service", plan.services[peer].port.is_some()),
                    UseTarget::Resource(peer) => {
                        let spec = &plan.resources[peer].spec;
                        ("resource", !matches!(spec, ResourceSpec::Volume(_)))
                    }
                };
                let told = peers.get(used).and_then(Value::as_str);
                assert_eq!(told, has_address.then_some(kind), "{name} uses {used}");
                if told == Some("resource") {
                    let resource = &values["resources"][used.as_str()];
                    assert!(!resource["ports"].as_array().unwrap().is_empty());
                    let is_inside = ["cloudnative-pg", "strimzi", "kubernetes"]
                        .contains(&resource["via"].as_str().unwrap());
                    assert_eq!(resource["cidrs"].is_null(), is_inside, "{used}");
                }
            }
            assert!(peers.keys().all(|peer| service.uses.contains_key(peer)));
        }
    }
}

#[test]
fn every_secret_is_mounted_and_none_is_there() {
    for (_, values) in every() {
        for (name, it) in values["services"].as_object().unwrap() {
            let empty = Vec::new();
            let named = it["secrets"].as_array().unwrap_or(&empty);
            let mut mounted: BTreeSet<String> =
                named.iter().map(|it| it.as_str().unwrap().to_owned()).collect();
            if let Some(made) = it["secretsFrom"].as_object() {
                mounted.extend(made.keys().cloned());
            }
            let mut asked = BTreeSet::new();
            for value in it["env"].as_object().unwrap().values() {
                for part in value.as_str().unwrap().split("${secret:").skip(1) {
                    asked.insert(part.split('}').next().unwrap().to_owned());
                }
            }
            assert_eq!(mounted, asked, "{name}");
        }
    }
    let shop = platform(SHOP);
    for (path, artifact) in rendered(&shop).iter() {
        for kind in ["kind: Secret\n", "stringData:"] {
            assert!(!artifact.text.contains(kind), "{path} has {kind}");
        }
    }
}

#[test]
fn every_line_of_an_edge_can_be_explained() {
    let artifacts = rendered(&platform(SHOP));
    let lines = artifacts.because("services.api.uses.db");
    let shown: Vec<&str> = lines
        .iter()
        .map(|(_, artifact, line)| artifact.text.lines().nth(*line as usize - 1).unwrap().trim())
        .map(|line| line.split(':').next().unwrap())
        .collect();
    assert_eq!(shown, ["db", "DATABASE_URL", "DB_PASSWORD"]);
}

#[test]
fn an_edge_is_written_wherever_a_cluster_can_have_it() {
    for (plan, _) in every() {
        for resource in plan.resources.values() {
            assert_eq!(edge(&resource.spec), Edge::Written, "{}", resource.name);
        }
    }
}

#[test]
fn the_values_of_a_small_platform() {
    let artifacts = rendered(&platform(SHOP));
    let values = &artifacts.get("deploy/helm/shop/values-production.yaml").unwrap().text;
    expect![[r##"
        # shop in production. By hand:
        # helm upgrade --install shop deploy/helm/shop --namespace shop-production --create-namespace \
        #   --values deploy/helm/shop/values-production.yaml --set image.tag=<semver>-<git sha>
        environment: production
        namespace:
          name: shop-production
          podSecurity: restricted
        image:
          repository: ghcr.io/acme/shop
        externalSecrets:
          provider: vault
          path: shop/production
        telemetry:
          otlpEndpoint: http://otel-collector.monitoring:4318
        monitoring:
          interval: 30s

        services:
          api:
            kind: web
            image:
              name: api
            port: 8080
            routes:
              - host: api.shop.example
                path: /
            requestTimeoutSeconds: 30
            smoke:
              - path: /v1
                status: 200
            uses:
              db: resource
              mail: service
              pay: resource
            env:
              DATABASE_URL: "postgres://shop:${secret:DB_PASSWORD}@db-rw:5432/shop"
              FILES_DIR: /data/files
              JANITOR_ENABLED: "true"
              MAIL_URL: http://mail:8081
              PAY_URL: http://127.0.0.1:9480
              PLIMSOLL_DRAIN: 5000ms
              PLIMSOLL_EGRESS: '{"pay":{"breaker":{"failure_ratio":0.5,"open":"30000ms"},"bulkhead":{"max":100,"queue":100},"listen":"127.0.0.1:9480","retries":{"backoff":"200ms","backoff_max":"2000ms","max":2},"timeout":"34000ms","try_timeout":"10000ms","url":"https://pay.example/v1"}}'
              PLIMSOLL_ENV: production
              PLIMSOLL_INGRESS: "0.0.0.0:8080"
              PLIMSOLL_LISTEN: "0.0.0.0:9460"
              PLIMSOLL_PROBES: '{"db":{"gate":["start","ready"],"postgres":"postgres://shop:${secret:DB_PASSWORD}@db-rw:5432/shop","severity":"hard"},"mail":{"gate":["start","ready"],"http":"http://mail:8081/ready","severity":"hard"},"pay":{"gate":["start","ready"],"http":"https://pay.example/v1/","severity":"hard"}}'
              PLIMSOLL_SERVICE: api
              PLIMSOLL_START_TIMEOUT: 60000ms
              PLIMSOLL_STATE: /run/plimsoll
              PLIMSOLL_STOP_BUDGET: 39000ms
              PLIMSOLL_STOP_GRACE: 30000ms
              PLIMSOLL_STOP_SIGNAL: TERM
              SHELL_TEXT: a $(b)
              TOKEN: "${secret:TOKEN}"
            secrets:
              - TOKEN
            secretsFrom:
              DB_PASSWORD:
                name: db-app
                key: password
            volumes:
              files: /data/files
            writable:
              - /run/plimsoll
              - /tmp
            scale:
              min: 2
              max: 6
              cpu: 70
              latency: 250m
            analysis:
              errorRatioMax: "0.01"
              latency:
                histogram: http_server_request_duration_seconds
                quantile: "0.95"
                secondsMax: "0.25"
              ready: true
            probes:
              startup:
                periodSeconds: 5
                timeoutSeconds: 2
                failureThreshold: 18
              liveness:
                periodSeconds: 10
                timeoutSeconds: 2
                failureThreshold: 3
              readiness:
                periodSeconds: 5
                timeoutSeconds: 2
                failureThreshold: 2
            resources:
              requests:
                cpu: 250m
                memory: 256Mi
              limits:
                cpu: "1"
                memory: 512Mi
            security:
              user: 65532
              readOnlyRootFilesystem: true
            strategy: RollingUpdate
            terminationGracePeriodSeconds: 41
            migration:
              args:
                - ./api
                - migrate
              timeoutSeconds: 600
              env:
                PLIMSOLL_DRAIN: 0ms
                PLIMSOLL_PROBES: '{"db":{"gate":["start","ready"],"postgres":"postgres://shop:${secret:DB_PASSWORD}@db-rw:5432/shop","severity":"hard"},"pay":{"gate":["start","ready"],"http":"https://pay.example/v1/","severity":"hard"}}'
                PLIMSOLL_STOP_BUDGET: 24000ms
                PLIMSOLL_STOP_GRACE: 20000ms
              without:
                - PLIMSOLL_INGRESS
          mail:
            kind: web
            image:
              name: mail
            port: 8081
            env:
              PLIMSOLL_DRAIN: 5000ms
              PLIMSOLL_ENV: production
              PLIMSOLL_INGRESS: "0.0.0.0:8081"
              PLIMSOLL_LISTEN: "0.0.0.0:9460"
              PLIMSOLL_PROBES: '{"heartbeat":{"heartbeat":{"max_age_ms":30000,"via":"notify"}}}'
              PLIMSOLL_SERVICE: mail
              PLIMSOLL_START_TIMEOUT: 60000ms
              PLIMSOLL_STATE: /run/plimsoll
              PLIMSOLL_STOP_BUDGET: 79000ms
              PLIMSOLL_STOP_GRACE: 70000ms
              PLIMSOLL_STOP_SIGNAL: TERM
            writable:
              - /run/plimsoll
              - /tmp
            scale:
              min: 2
              max: 2
            analysis:
              heartbeatAgeSecondsMax: 30
              ready: true
            probes:
              startup:
                periodSeconds: 5
                timeoutSeconds: 2
                failureThreshold: 18
              liveness:
                periodSeconds: 10
                timeoutSeconds: 2
                failureThreshold: 3
              readiness:
                periodSeconds: 5
                timeoutSeconds: 2
                failureThreshold: 2
            resources:
              requests:
                cpu: 250m
                memory: 256Mi
              limits:
                cpu: "1"
                memory: 512Mi
            security:
              user: 65532
              readOnlyRootFilesystem: true
            strategy: RollingUpdate
            terminationGracePeriodSeconds: 81
          nightly:
            kind: cron
            image:
              name: nightly
            uses:
              db: resource
            env:
              DATABASE_URL: "postgres://shop:${secret:DB_PASSWORD}@db-rw:5432/shop"
              PLIMSOLL_DRAIN: 0ms
              PLIMSOLL_ENV: production
              PLIMSOLL_LISTEN: "0.0.0.0:9460"
              PLIMSOLL_PROBES: '{"db":{"gate":["start","ready"],"postgres":"postgres://shop:${secret:DB_PASSWORD}@db-rw:5432/shop","severity":"hard"}}'
              PLIMSOLL_SERVICE: nightly
              PLIMSOLL_START_TIMEOUT: 60000ms
              PLIMSOLL_STATE: /run/plimsoll
              PLIMSOLL_STOP_BUDGET: 24000ms
              PLIMSOLL_STOP_GRACE: 20000ms
              PLIMSOLL_STOP_SIGNAL: TERM
            secretsFrom:
              DB_PASSWORD:
                name: db-app
                key: password
            writable:
              - /run/plimsoll
              - /tmp
            scale:
              min: 1
              max: 1
            resources:
              requests:
                cpu: 250m
                memory: 256Mi
              limits:
                cpu: "1"
                memory: 512Mi
            security:
              user: 65532
              readOnlyRootFilesystem: true
            strategy: RollingUpdate
            terminationGracePeriodSeconds: 26
            restartPolicy: OnFailure
            schedule:
              cron: 0 3 * * *
              timezone: UTC
              timeoutSeconds: 3600
              startingDeadlineSeconds: 300
              backoffLimit: 2

        resources:
          db:
            type: postgres
            via: cloudnative-pg
            ports: [5432]
            postgres:
              image: ghcr.io/cloudnative-pg/postgresql:16
              instances: 1
              database: shop
              owner: shop
              storage: 20Gi
              spreadOver: topology.kubernetes.io/zone
              resources:
                requests:
                  cpu: 500m
                  memory: 2Gi
                limits:
                  cpu: "2"
                  memory: 2Gi
              backup:
                schedule: 0 0 3 * * *
          files:
            type: volume
            via: kubernetes
            volume:
              storage: 10Gi
              # More than one pod writes to it: name a `storageClass` that several nodes can mount.
              accessMode: ReadWriteMany
          pay:
            type: http
            via: url
            ports: [443]
            cidrs: ["0.0.0.0/0"]
            except: ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"]
    "##]].assert_eq(values);
}
