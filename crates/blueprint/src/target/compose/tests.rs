//! What each provider brings, and the promises that hold for whole files.

use std::collections::BTreeSet;

use expect_test::{Expect, expect};
use serde_json::Value;

use crate::platform::{Pins, Platform};
use crate::target::{Edge, TARGETS};
use crate::{Artifacts, Repository, detect, render};

/// A platform of a manifest, without a look at any sources.
fn platform(text: &str, pins: Pins) -> Platform {
    let manifest = manifest::parse(text).unwrap();
    let names: Vec<String> = manifest.environments().iter().map(ToString::to_string).collect();
    let plans: Vec<_> = names
        .iter()
        .map(|name| manifest::resolve(&manifest, name).unwrap_or_else(|e| panic!("{e:#?}")).plan)
        .collect();
    let sources = detect(plans.last().unwrap(), &Repository::new()).unwrap();
    Platform::new(plans, sources, pins)
}

fn rendered(text: &str) -> Artifacts {
    render(&platform(text, Pins::new()))
}

/// One service that uses one resource, on a developer's machine and on a host at AWS.
fn using(resource: &str) -> String {
    format!(
        "plimsoll: 1\napp: shop\nimage: ghcr.io/acme/shop\n\
         services: {{api: {{language: python, run: serve, port: 8080, route: '@', uses: [it]}}}}\n\
         resources: {{it: {resource}}}\n\
         environments: {{dev: {{target: local}}, production: {{target: host, hosts: [a], \
         domain: shop.example, cloud: {{provider: aws, region: eu-west-1}}}}}}"
    )
}

/// What a resource brings to `compose.prod.yaml`: its containers, and the lines of its client.
#[expect(clippy::needless_pass_by_value, reason = "a snapshot is written where it is checked")]
fn check(resource: &str, expect: Expect) {
    let artifacts = rendered(&using(resource));
    let file = artifacts.get("compose.prod.yaml").unwrap();
    let mut shown = String::new();
    for block in file.text.split("\n\n").filter(|block| block.starts_with("  it")) {
        let shared = ["    logging:", "    deploy:"];
        let end = shared.iter().filter_map(|key| block.find(key)).min().unwrap_or(block.len());
        shown.push_str(block[..end].trim_end());
        shown.push('\n');
    }
    let lines: Vec<&str> = file.text.lines().collect();
    let because = file.traces.iter().filter(|t| t.because == "services.api.uses.it");
    let numbers: BTreeSet<u32> = because.map(|trace| trace.line).collect();
    for number in numbers {
        shown.push_str(&format!("api: {}\n", lines[number as usize - 1].trim()));
    }
    expect.assert_eq(&shown);
}

#[test]
fn a_postgres_reads_its_password_from_a_file() {
    check(
        "{type: postgres, version: 16}",
        expect![[r#"
          it:
            image: postgres:16
            environment:
              POSTGRES_USER: shop
              POSTGRES_DB: shop
              POSTGRES_PASSWORD_FILE: /run/secrets/IT_PASSWORD
            secrets:
              - IT_PASSWORD
            volumes:
              - it:/var/lib/postgresql/data
            shm_size: 256m
            healthcheck:
              test: ["CMD", "pg_isready", "-q", "-h", "127.0.0.1", "-U", "shop", "-d", "shop"]
              interval: 10s
              timeout: 5s
              retries: 6
              start_period: 60s
            networks: ["it"]
            user: postgres
            read_only: true
            tmpfs: ["/tmp", "/var/run/postgresql"]
            cap_drop: ["ALL"]
            security_opt: ["no-new-privileges:true"]
        api: DATABASE_URL: "postgres://shop:$${secret:IT_PASSWORD}@it:5432/shop"
        api: - IT_PASSWORD
        api: it: {}
        api: it:
    "#]],
    );
    check(
        "{type: postgres, version: 18, extensions: [postgis], via: docker}",
        expect![[r#"
          it:
            image: postgis/postgis:18-3.5
            environment:
              POSTGRES_USER: shop
              POSTGRES_DB: shop
              POSTGRES_PASSWORD_FILE: /run/secrets/IT_PASSWORD
            secrets:
              - IT_PASSWORD
            volumes:
              - it:/var/lib/postgresql
            shm_size: 256m
            healthcheck:
              test: ["CMD", "pg_isready", "-q", "-h", "127.0.0.1", "-U", "shop", "-d", "shop"]
              interval: 10s
              timeout: 5s
              retries: 6
              start_period: 60s
            networks: ["it"]
            user: postgres
            read_only: true
            tmpfs: ["/tmp", "/var/run/postgresql"]
            cap_drop: ["ALL"]
            security_opt: ["no-new-privileges:true"]
        api: DATABASE_URL: "postgres://shop:$${secret:IT_PASSWORD}@it:5432/shop"
        api: - IT_PASSWORD
        api: it: {}
        api: it:
    "#]],
    );
    check(
        "{type: postgres, via: aws-rds}",
        expect![[r#"
            api: DATABASE_URL: "$${secret:IT_URL}"
            api: - IT_URL
            api: outside: {}
            api: IT_URL:
        "#]],
    );
    check(
        "{type: postgres, url: '${secret:WAREHOUSE}'}",
        expect![[r#"
            api: DATABASE_URL: "$${secret:WAREHOUSE}"
            api: - WAREHOUSE
            api: outside: {}
            api: WAREHOUSE:
        "#]],
    );
}

#[test]
fn a_redis_password_is_no_argument() {
    check(
        "{type: redis, version: 7}",
        expect![[r#"
          it:
            image: redis:7-alpine
            command:
              - sh
              - "-ceu"
              - |-
                umask 077
                printf 'requirepass %s\n' "$$(cat /run/secrets/IT_PASSWORD)" >/tmp/redis.conf
                exec redis-server /tmp/redis.conf --maxmemory 384mb --maxmemory-policy noeviction --save ''
            secrets:
              - IT_PASSWORD
            healthcheck:
              test: ["CMD-SHELL", "REDISCLI_AUTH=\"$$(cat /run/secrets/IT_PASSWORD)\" redis-cli ping | grep -q PONG"]
              interval: 10s
              timeout: 5s
              retries: 6
              start_period: 60s
            networks: ["it"]
            user: redis
            read_only: true
            tmpfs: ["/tmp"]
            cap_drop: ["ALL"]
            security_opt: ["no-new-privileges:true"]
        api: REDIS_URL: "redis://:$${secret:IT_PASSWORD}@it:6379/0"
        api: it: {}
        api: it:
    "#]],
    );
    check(
        "{type: redis, persistent: true, via: docker}",
        expect![[r#"
          it:
            image: redis:7-alpine
            command:
              - sh
              - "-ceu"
              - |-
                umask 077
                printf 'requirepass %s\n' "$$(cat /run/secrets/IT_PASSWORD)" >/tmp/redis.conf
                exec redis-server /tmp/redis.conf --maxmemory 384mb --maxmemory-policy noeviction --appendonly yes --dir /data
            secrets:
              - IT_PASSWORD
            volumes:
              - it:/data
            healthcheck:
              test: ["CMD-SHELL", "REDISCLI_AUTH=\"$$(cat /run/secrets/IT_PASSWORD)\" redis-cli ping | grep -q PONG"]
              interval: 10s
              timeout: 5s
              retries: 6
              start_period: 60s
            networks: ["it"]
            user: redis
            read_only: true
            tmpfs: ["/tmp"]
            cap_drop: ["ALL"]
            security_opt: ["no-new-privileges:true"]
        api: REDIS_URL: "redis://:$${secret:IT_PASSWORD}@it:6379/0"
        api: it: {}
        api: it:
    "#]],
    );
    check(
        "{type: redis, via: aws-elasticache}",
        expect![[r#"
            api: REDIS_URL: "$${secret:IT_URL}"
            api: outside: {}
        "#]],
    );
    check(
        "{type: redis, url: 'rediss://cache.example:6380/1'}",
        expect![[r#"
            api: REDIS_URL: rediss://cache.example:6380/1
            api: outside: {}
        "#]],
    );
}

#[test]
fn kafka_topics_exist_before_their_clients_start() {
    check(
        "{type: kafka, topics: {orders: {partitions: 3, compact: true}}}",
        expect![[r#"
          it:
            image: apache/kafka:3.9.0
            environment:
              KAFKA_NODE_ID: "1"
              KAFKA_PROCESS_ROLES: broker,controller
              KAFKA_LISTENERS: INSIDE://:9092,CONTROLLER://:9093
              KAFKA_ADVERTISED_LISTENERS: INSIDE://it:9092
              KAFKA_LISTENER_SECURITY_PROTOCOL_MAP: INSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT
              KAFKA_INTER_BROKER_LISTENER_NAME: INSIDE
              KAFKA_CONTROLLER_LISTENER_NAMES: CONTROLLER
              KAFKA_CONTROLLER_QUORUM_VOTERS: 1@localhost:9093
              KAFKA_LOG_DIRS: /var/lib/kafka/data
              KAFKA_DEFAULT_REPLICATION_FACTOR: "1"
              KAFKA_MIN_INSYNC_REPLICAS: "1"
              KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR: "1"
              KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR: "1"
              KAFKA_TRANSACTION_STATE_LOG_MIN_ISR: "1"
              KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS: "0"
              KAFKA_AUTO_CREATE_TOPICS_ENABLE: "false"
              KAFKA_HEAP_OPTS: "-Xms1g -Xmx1g"
            volumes:
              - it:/var/lib/kafka/data
            healthcheck:
              test: ["CMD", "/opt/kafka/bin/kafka-broker-api-versions.sh", "--bootstrap-server", "it:9092"]
              interval: 30s
              timeout: 20s
              retries: 6
              start_period: 60s
            networks: ["it"]
            cap_drop: ["ALL"]
            security_opt: ["no-new-privileges:true"]
          it-topics:
            image: apache/kafka:3.9.0
            entrypoint: ["sh", "-ceu"]
            command:
              - |-
                /opt/kafka/bin/kafka-topics.sh --bootstrap-server it:9092 --create --if-not-exists --topic orders --partitions 3 --replication-factor 1
                /opt/kafka/bin/kafka-configs.sh --bootstrap-server it:9092 --alter --entity-type topics --entity-name orders --add-config retention.ms=604800000,cleanup.policy=compact
            environment:
              KAFKA_HEAP_OPTS: "-Xmx256m"
            networks: ["it"]
            cap_drop: ["ALL"]
            security_opt: ["no-new-privileges:true"]
        api: KAFKA_BROKERS: it:9092
        api: it: {}
        api: it:
        api: it-topics:
    "#]],
    );
    check(
        "{type: kafka, via: aws-msk}",
        expect![[r#"
            api: KAFKA_BROKERS: "$${secret:IT_BROKERS}"
            api: - IT_BROKERS
            api: outside: {}
            api: IT_BROKERS:
        "#]],
    );
    check(
        "{type: kafka, url: 'b-1.example:9092'}",
        expect![[r#"
            api: KAFKA_BROKERS: b-1.example:9092
            api: outside: {}
        "#]],
    );
}

#[test]
fn a_bucket_exists_with_its_rules_before_its_clients_start() {
    check(
        "{type: bucket, versioned: true, delete_after: 90d, via: docker}",
        expect![[r#"
          it:
            image: minio/minio:RELEASE.2025-04-22T22-12-26Z
            command: ["server", "/data", "--address", ":9000", "--console-address", ":9001"]
            environment:
              MINIO_ROOT_USER_FILE: /run/secrets/IT_ACCESS_KEY_ID
              MINIO_ROOT_PASSWORD_FILE: /run/secrets/IT_SECRET_ACCESS_KEY
            secrets:
              - IT_ACCESS_KEY_ID
              - IT_SECRET_ACCESS_KEY
            volumes:
              - it:/data
            healthcheck:
              test: ["CMD", "mc", "ready", "local"]
              interval: 10s
              timeout: 5s
              retries: 6
              start_period: 60s
            networks: ["it"]
            cap_drop: ["ALL"]
            security_opt: ["no-new-privileges:true"]
          it-bucket:
            image: minio/minio:RELEASE.2025-04-22T22-12-26Z
            entrypoint: ["sh", "-ceu"]
            command:
              - |-
                export MC_HOST_it="http://$$(cat /run/secrets/IT_ACCESS_KEY_ID):$$(cat /run/secrets/IT_SECRET_ACCESS_KEY)@it:9000"
                mc mb --ignore-existing it/shop-production-it
                mc version enable it/shop-production-it
                echo '{"Rules":[{"ID":"delete","Status":"Enabled","Expiration":{"Days":90}}]}' | mc ilm rule import it/shop-production-it
            environment:
              MC_CONFIG_DIR: /tmp/mc
            secrets:
              - IT_ACCESS_KEY_ID
              - IT_SECRET_ACCESS_KEY
            networks: ["it"]
            read_only: true
            tmpfs: ["/tmp"]
            cap_drop: ["ALL"]
            security_opt: ["no-new-privileges:true"]
        api: AWS_ACCESS_KEY_ID: "$${secret:IT_ACCESS_KEY_ID}"
        api: AWS_SECRET_ACCESS_KEY: "$${secret:IT_SECRET_ACCESS_KEY}"
        api: S3_BUCKET: shop-production-it
        api: - IT_ACCESS_KEY_ID
        api: - IT_SECRET_ACCESS_KEY
        api: it: {}
        api: it:
        api: it-bucket:
    "#]],
    );
    check(
        "{type: bucket}",
        expect![[r#"
            api: S3_BUCKET: shop-production-it
            api: outside: {}
        "#]],
    );
    check(
        "{type: bucket, via: gcp-gcs}",
        expect![[r#"
            api: S3_BUCKET: shop-production-it
            api: outside: {}
        "#]],
    );
    check(
        "{type: bucket, via: hetzner-object-storage}",
        expect![[r#"
            api: S3_BUCKET: shop-production-it
            api: outside: {}
        "#]],
    );
    check(
        "{type: bucket, url: 's3://there'}",
        expect![[r#"
            api: S3_BUCKET: "$${secret:IT_NAME}"
            api: - IT_NAME
            api: outside: {}
            api: IT_NAME:
        "#]],
    );
}

#[test]
fn a_queue_beside_has_its_dead_letters() {
    check(
        "{type: queue, fifo: true, via: docker}",
        expect![[r#"
          it:
            image: softwaremill/elasticmq-native:1.6.12
            configs:
              - source: it
                target: /opt/elasticmq.conf
            healthcheck:
              test: ["CMD-SHELL", "if command -v wget >/dev/null; then wget -q -O /dev/null http://127.0.0.1:9324/?Action=ListQueues; elif command -v curl >/dev/null; then curl -fsS -o /dev/null http://127.0.0.1:9324/?Action=ListQueues; elif command -v bash >/dev/null; then bash -c ': </dev/tcp/127.0.0.1/9324'; fi"]
              interval: 10s
              timeout: 5s
              retries: 6
              start_period: 60s
            networks: ["it"]
            cap_drop: ["ALL"]
            security_opt: ["no-new-privileges:true"]
        api: AWS_ACCESS_KEY_ID: elasticmq
        api: AWS_SECRET_ACCESS_KEY: elasticmq
        api: QUEUE_URL: http://it:9324/000000000000/shop-it.fifo
        api: it: {}
        api: it:
    "#]],
    );
    check(
        "{type: queue}",
        expect![[r#"
            api: QUEUE_URL: "$${secret:IT_URL}"
            api: - IT_URL
            api: outside: {}
            api: IT_URL:
        "#]],
    );
    check(
        "{type: queue, via: gcp-pubsub}",
        expect![[r#"
            api: QUEUE_URL: "$${secret:IT_URL}"
            api: - IT_URL
            api: outside: {}
            api: IT_URL:
        "#]],
    );
    check(
        "{type: queue, url: 'https://sqs.example/1/q'}",
        expect![[r#"
            api: QUEUE_URL: https://sqs.example/1/q
            api: outside: {}
        "#]],
    );
}

#[test]
fn a_mock_answers_where_the_manifest_says_so() {
    check(
        "{type: http, via: mock, port: 8089}",
        expect![[r#"
              it:
                image: wiremock/wiremock:3.13.1
                command: ["--port", "8089"]
                volumes:
                  - ./mocks/it:/home/wiremock/mappings:ro
                healthcheck:
                  test: ["CMD-SHELL", "if command -v wget >/dev/null; then wget -q -O /dev/null http://127.0.0.1:8089/__admin/health; elif command -v curl >/dev/null; then curl -fsS -o /dev/null http://127.0.0.1:8089/__admin/health; elif command -v bash >/dev/null; then bash -c ': </dev/tcp/127.0.0.1/8089'; fi"]
                  interval: 10s
                  timeout: 5s
                  retries: 6
                  start_period: 60s
                networks: ["it"]
                cap_drop: ["ALL"]
                security_opt: ["no-new-privileges:true"]
            api: IT_URL: http://127.0.0.1:9480
            api: it: {}
            api: it:
        "#]],
    );
    check(
        "{type: http, url: 'https://pay.example/v1'}",
        expect![[r#"
            api: IT_URL: http://127.0.0.1:9480
            api: outside: {}
        "#]],
    );
}

#[test]
fn a_volume_is_mounted_where_it_says() {
    check(
        "{type: volume, mount: /files}",
        expect![[r#"
        api: IT_DIR: /files
        api: - it:/files
    "#]],
    );
    check(
        "{type: volume, via: hetzner-volume}",
        expect![[r#"
        api: IT_DIR: /data/it
        api: - it:/data/it
    "#]],
    );
    check(
        "{type: volume, via: aws-efs}",
        expect![[r#"
        api: IT_DIR: /data/it
        api: - it:/data/it
    "#]],
    );
}

#[test]
fn a_foreign_image_may_become_a_user_and_nothing_else() {
    let image = "image: 'chromadb/chroma:0.5.20', port: 8000";
    check(
        &format!("{{type: image, {image}, data: /data, env: {{A: '$$1'}}}}"),
        expect![[r#"
          it:
            image: chromadb/chroma:0.5.20
            environment:
              A: $$1
            volumes:
              - it:/data
            healthcheck:
              test: ["CMD-SHELL", "if command -v wget >/dev/null; then wget -q -O /dev/null http://127.0.0.1:8000/; elif command -v curl >/dev/null; then curl -fsS -o /dev/null http://127.0.0.1:8000/; elif command -v bash >/dev/null; then bash -c ': </dev/tcp/127.0.0.1/8000'; fi"]
              interval: 10s
              timeout: 5s
              retries: 6
              start_period: 60s
            networks: ["it"]
            cap_drop: ["ALL"]
            cap_add: ["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"]
            security_opt: ["no-new-privileges:true"]
        api: IT_URL: http://it:8000
        api: it: {}
        api: it:
    "#]],
    );
    check(
        &format!("{{type: image, {image}, via: url, url: 'http://there:1'}}"),
        expect![[r#"
            api: IT_URL: http://there:1
            api: outside: {}
        "#]],
    );
}

/// Every provider of every type, in the environment that can have it.
const PROVIDERS: &[&str] = &[
    "{type: postgres, via: docker}",
    "{type: postgres, via: local}",
    "{type: postgres, via: aws-rds}",
    "{type: postgres, via: gcp-cloud-sql}",
    "{type: postgres, url: 'postgres://a.example/b'}",
    "{type: redis, via: docker}",
    "{type: redis, via: local}",
    "{type: redis, via: aws-elasticache}",
    "{type: redis, via: gcp-memorystore}",
    "{type: redis, url: 'redis://a.example'}",
    "{type: kafka, via: docker}",
    "{type: kafka, via: local}",
    "{type: kafka, via: aws-msk}",
    "{type: kafka, url: 'a.example:9092'}",
    "{type: bucket, via: docker}",
    "{type: bucket, via: local}",
    "{type: bucket, via: aws-s3}",
    "{type: bucket, via: gcp-gcs}",
    "{type: bucket, via: hetzner-object-storage}",
    "{type: bucket, url: 's3://b'}",
    "{type: queue, via: docker}",
    "{type: queue, via: aws-sqs}",
    "{type: queue, via: gcp-pubsub}",
    "{type: queue, url: 'https://q.example/1'}",
    "{type: http, url: 'https://a.example'}",
    "{type: http, via: mock}",
    "{type: volume, via: local}",
    "{type: volume, via: docker}",
    "{type: volume, via: aws-efs}",
    "{type: volume, via: hetzner-volume}",
    "{type: image, image: 'a:1', port: 80}",
    "{type: image, image: 'a:1', port: 80, url: 'http://a.example'}",
];

#[test]
fn what_says_that_it_is_written_has_a_line_and_the_rest_a_reason() {
    for resource in PROVIDERS {
        let platform = platform(&using(resource), Pins::new());
        let artifacts = render(&platform);
        let it = platform.released().resources.values().next().unwrap();
        let written: BTreeSet<&str> = artifacts
            .because("services.api.uses.it")
            .into_iter()
            .map(|(_, artifact, _)| artifact.target)
            .collect();
        for target in TARGETS
            .iter()
            .filter(|target| matches!(target.name, "compose" | "dotenv" | "makefile" | "hooks"))
        {
            match target.edge(&it.spec) {
                Edge::Written => {
                    // The port table is of the developer's machine, which may have another.
                    let is_there = written.contains(target.name) || target.name == "makefile";
                    assert!(is_there, "{}: {resource}", target.name);
                }
                Edge::NotApplicable(why) => assert!(why.len() > 10, "{}: {resource}", target.name),
            }
        }
    }
}

/// A platform with something of everything.
const WHOLE: &str = "
plimsoll: 1
app: shop
image: ghcr.io/acme/shop
services:
  api:
    language: python
    run: serve
    port: 8080
    uses: [db, cache, events, files, jobs, blobs, pay, {mail: {severity: soft}}]
    secrets: [TOKEN]
    env: {PRICE: 'costs $$5'}
    migrate: migrate up
    seed: {shell: 'seed $HOME'}
    lint: ruff check .
    route: [api, '@/v1']
    scale: 2
    limits: {cpu: 1.5, memory: 300Mi, pids: 99}
    stop: 45s
    verbs: {eval: score it, test: other}
  mail: {from: api, run: mail, port: 8081, uses: [db], security: {capabilities: [NET_ADMIN]}}
  beat: {from: api, run: beat, uses: [cache], heartbeat: {log: beat, max_age: 60s}}
  night: {from: api, run: night, uses: [db], schedule: '0 3 * * *'}
  load: {from: api, run: load, once: true, uses: [db]}
  site: {static: dist, port: 4173, route: '@'}
resources:
  db: {type: postgres}
  cache: {type: redis, persistent: true}
  events: {type: kafka, topics: [orders]}
  files: {type: volume}
  jobs: {type: queue}
  blobs: {type: bucket}
  pay: {type: http, url: 'https://pay.example/v1'}
environments:
  dev: {target: local}
  staging: {target: host, hosts: [a], domain: stg.shop.example}
  production: {target: host, hosts: [b], domain: shop.example}
";

fn read(artifacts: &Artifacts, path: &str) -> Value {
    serde_saphyr::from_str(&artifacts.get(path).unwrap().text).unwrap()
}

fn containers(file: &Value) -> impl Iterator<Item = (&str, &Value)> {
    file["services"].as_object().unwrap().iter().map(|(name, one)| (name.as_str(), one))
}

#[test]
fn each_environment_has_its_file_under_the_name_that_people_look_for() {
    let artifacts = rendered(WHOLE);
    let files: Vec<&str> = artifacts
        .iter()
        .map(|(path, _)| path)
        .filter(|path| path.starts_with("compose."))
        .collect();
    assert_eq!(files, ["compose.dev.yaml", "compose.prod.yaml", "compose.staging.yaml"]);
    let both = WHOLE.replace("  staging:", "  prod:").replace("  dev:", "  laptop:");
    let artifacts = rendered(&both);
    for path in ["compose.dev.yaml", "compose.prod.yaml", "compose.production.yaml"] {
        assert!(artifacts.get(path).is_some(), "{path}");
    }
}

#[test]
fn what_serves_users_is_held_to_limits_and_rights() {
    let artifacts = rendered(WHOLE);
    for path in ["compose.prod.yaml", "compose.staging.yaml"] {
        let file = read(&artifacts, path);
        for (name, container) in containers(&file) {
            let limits = &container["deploy"]["resources"]["limits"];
            assert!(limits["cpus"].is_string() && limits["memory"].is_string(), "{name}");
            assert!(limits["pids"].is_u64(), "{name}");
            assert_eq!(container["cap_drop"][0], "ALL", "{name}");
            assert_eq!(container["security_opt"][0], "no-new-privileges:true", "{name}");
            assert_eq!(container["logging"]["options"]["max-file"], "5", "{name}");
            assert!(container["restart"].is_string(), "{name}");
            let networks = &container["networks"];
            assert!(networks.is_array() || networks.is_object(), "{name}");
            assert_eq!(container["ports"].is_array(), name == "edge", "{name}");
        }
    }
}

/// Docker looks a bare name up first in the network that leads out, where nobody reaches another.
#[test]
fn nobody_is_called_by_a_name_that_the_network_that_leads_out_knows() {
    let artifacts = rendered(WHOLE);
    for (compose, caddy) in [
        ("compose.prod.yaml", "caddy/production.Caddyfile"),
        ("compose.staging.yaml", "caddy/staging.Caddyfile"),
    ] {
        let file = read(&artifacts, compose);
        for (name, container) in containers(&file).filter(|(_, c)| c["networks"].is_object()) {
            assert_eq!(container["networks"][name]["aliases"][0], format!("{name}.internal"));
        }
        let edge = &artifacts.get(caddy).unwrap().text;
        let upstreams = edge.lines().filter(|line| line.contains("dynamic a"));
        assert!(upstreams.clone().count() > 0, "{edge}");
        for upstream in upstreams {
            assert!(upstream.contains(".internal "), "{upstream}");
        }
    }
}

#[test]
fn a_service_of_ours_has_a_user_a_read_only_root_and_enough_time_to_stop() {
    let platform = platform(WHOLE, Pins::new());
    let artifacts = render(&platform);
    let file = read(&artifacts, "compose.prod.yaml");
    for service in platform.released().services.values() {
        let container = &file["services"][service.name.as_str()];
        let name = &service.name;
        assert_eq!(container["user"], "65532:65532", "{name}");
        assert_eq!(container["read_only"], true, "{name}");
        let state = container["tmpfs"][0].as_str().unwrap();
        assert!(state.contains("uid=65532,gid=65532"), "{name}");
        let environment = &container["environment"];
        let millis = |key: &str| -> u64 {
            environment[key].as_str().unwrap().trim_end_matches("ms").parse().unwrap()
        };
        let kill = container["stop_grace_period"].as_str().unwrap().trim_end_matches('s');
        let kill: u64 = kill.parse().unwrap();
        assert!(kill * 1000 > millis("PLIMSOLL_DRAIN") + millis("PLIMSOLL_STOP_GRACE"), "{name}");
        if let Some(test) = container["healthcheck"]["test"].as_array() {
            assert_eq!(test[1], "/usr/local/bin/plimsoll-run", "{name}");
            assert_eq!(test[2..], ["probe", "ready"], "{name}");
        }
    }
}

#[test]
fn secrets_are_files_that_are_declared_and_mounted_and_never_values() {
    let artifacts = rendered(WHOLE);
    for (path, environment) in [("compose.dev.yaml", "dev"), ("compose.staging.yaml", "staging")] {
        let file = read(&artifacts, path);
        let declared = file["secrets"].as_object().unwrap();
        for (name, secret) in declared {
            assert_eq!(secret["file"], format!("./secrets/{environment}/{name}"));
        }
        for (name, container) in containers(&file) {
            let mounted = container["secrets"].as_array().cloned().unwrap_or_default();
            let mounted: BTreeSet<&str> = mounted.iter().filter_map(Value::as_str).collect();
            assert!(mounted.iter().all(|secret| declared.contains_key(*secret)), "{name}");
            for (key, value) in container["environment"].as_object().into_iter().flatten() {
                for part in value.as_str().unwrap().split("$${secret:").skip(1) {
                    let secret = part.split('}').next().unwrap();
                    assert!(mounted.contains(secret), "{name}: {key} asks for {secret}");
                }
            }
        }
    }
    let ignored = &artifacts.get("secrets/.gitignore").unwrap().text;
    assert!(ignored.contains("\n*\n"));
}

#[test]
fn a_dollar_of_the_manifest_reaches_the_process() {
    let artifacts = rendered(WHOLE);
    let file = read(&artifacts, "compose.prod.yaml");
    assert_eq!(file["services"]["api"]["environment"]["PRICE"], "costs $$5");
    let makefile = &artifacts.get("Makefile").unwrap().text;
    assert!(makefile.contains("api sh -c 'seed $$HOME'"), "{makefile}");
}

#[test]
fn a_developer_sees_every_port_on_loopback_once() {
    let artifacts = rendered(WHOLE);
    let file = read(&artifacts, "compose.dev.yaml");
    let mut seen = BTreeSet::new();
    for (name, container) in containers(&file) {
        for port in container["ports"].as_array().into_iter().flatten() {
            let port = port.as_str().unwrap();
            let host = port.strip_prefix("127.0.0.1:").unwrap().split(':').next().unwrap();
            assert!(seen.insert(host.to_owned()), "{name}: {port}");
            assert!(artifacts.get("docs/PORTS.md").unwrap().text.contains(&format!("| {host} |")));
        }
    }
    assert!(seen.len() > 10);
}

#[test]
fn the_mock_of_an_api_is_there_only_for_who_asks() {
    let artifacts = rendered(WHOLE);
    let file = read(&artifacts, "compose.dev.yaml");
    assert_eq!(file["services"]["pay-mock"]["profiles"][0], "mocks");
    let environment = &file["services"]["api"]["environment"];
    assert_eq!(environment["PAY_URL"], "http://127.0.0.1:9480");
    let calls = environment["PLIMSOLL_EGRESS"].as_str().unwrap();
    assert!(calls.contains(r#""url":"${PAY_URL:-https://pay.example/v1}""#), "{calls}");
    let file = read(&artifacts, "compose.prod.yaml");
    assert!(file["services"].get("pay-mock").is_none());
    let calls = file["services"]["api"]["environment"]["PLIMSOLL_EGRESS"].as_str().unwrap();
    assert!(calls.contains(r#""url":"https://pay.example/v1""#), "{calls}");
}

#[test]
fn whoever_needs_a_schema_waits_for_its_migration_and_nobody_waits_in_a_circle() {
    let artifacts = rendered(WHOLE);
    let file = read(&artifacts, "compose.prod.yaml");
    for name in ["api", "mail", "night", "load"] {
        let wait = &file["services"][name]["depends_on"]["api-migrate"]["condition"];
        assert_eq!(wait, "service_completed_successfully", "{name}");
    }
    assert!(file["services"]["beat"]["depends_on"].get("api-migrate").is_none());
    let migration = &file["services"]["api-migrate"];
    assert!(!migration["environment"]["PLIMSOLL_PROBES"].as_str().unwrap().contains("mail"));
    assert!(migration["environment"].get("PLIMSOLL_INGRESS").is_none());
}

#[test]
fn environments_share_no_release_data_or_secret() {
    let artifacts = rendered(WHOLE);
    let of = |path| artifacts.get(path).unwrap().text.as_str();
    let (staging, production) = (of("compose.staging.yaml"), of("compose.prod.yaml"));
    assert!(staging.contains("${STAGING_VERSION:?") && !staging.contains("PRODUCTION_VERSION"));
    assert!(production.contains("${PRODUCTION_VERSION:?"));
    assert!(staging.contains("name: shop-staging") && production.contains("name: shop-production"));
    assert!(!staging.contains("secrets/production/"));
}

#[test]
fn a_pinned_image_is_named_by_its_digest() {
    let pins = Pins::from([("postgres:16".to_owned(), "sha256:abc".to_owned())]);
    let artifacts = render(&platform(WHOLE, pins));
    let file = read(&artifacts, "compose.prod.yaml");
    assert_eq!(file["services"]["db"]["image"], "postgres:16@sha256:abc");
}

#[test]
fn every_variable_of_every_container_is_documented() {
    let artifacts = rendered(WHOLE);
    let example = &artifacts.get(".env.example").unwrap().text;
    for path in ["compose.dev.yaml", "compose.staging.yaml", "compose.prod.yaml"] {
        let file = read(&artifacts, path);
        for (name, container) in containers(&file).filter(|(_, one)| one["image"] != "") {
            let is_ours = container["environment"].get("PLIMSOLL_SERVICE").is_some();
            let variables = container["environment"].as_object().into_iter().flatten();
            for (key, _) in variables.filter(|_| is_ours) {
                let is_told = example
                    .lines()
                    .any(|line| line.trim_start_matches("# ").starts_with(&format!("{key}=")));
                assert!(is_told, "{name}: {key}");
            }
        }
    }
}

#[test]
fn no_two_rules_of_the_makefile_have_one_name() {
    let artifacts = rendered(WHOLE);
    let makefile = &artifacts.get("Makefile").unwrap().text;
    let rules = makefile.lines().filter(|line| line.contains(" ## ") && !line.starts_with('\t'));
    let mut seen = BTreeSet::new();
    for rule in rules {
        assert!(seen.insert(rule.split(':').next().unwrap()), "{rule}");
    }
    // `test` is everybody's; the service's own verb has its service in front.
    assert!(seen.contains("eval") && seen.contains("api-test") && seen.contains("test"));
}
