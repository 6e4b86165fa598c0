//! What plans hold.

use expect_test::expect;
use manifest::{
    explain,
    names::{EnvVar, ServiceName},
    plan::{Item, Kind},
};

use super::{DISCOVERY, EVERY_KIND, resolved};

fn service(name: &str) -> ServiceName {
    name.parse().expect("tests name services well")
}

#[test]
fn the_design_example_resolves_for_every_environment() {
    for environment in ["dev", "staging", "production"] {
        let plan = resolved(DISCOVERY, environment).plan;
        assert_eq!(plan.services.len(), 3, "{environment}");
        assert_eq!(plan.resources.len(), 3, "{environment}");
    }
}

#[test]
fn every_kind_and_type_resolves() {
    for environment in ["dev", "vps"] {
        let resolution = resolved(EVERY_KIND, environment);
        assert!(resolution.warnings.is_empty());
        assert_eq!(resolution.plan.resources.len(), 8, "{environment}");
    }
    let api = resolved(EVERY_KIND, "vps").plan.services[&service("api")].clone();
    let env: Vec<String> = api.env.iter().map(|(k, v)| format!("{k}={v}")).collect();
    expect![[r#"
        ANALYTICS_URL=${resources.warehouse.url}
        DB_URL=${resources.db.url}
        FILES_DIR=${resources.files.path}
        KEY=${secret:openai}
        LLM_URL=${resources.llm.url}
        LOG_LEVEL=info
        SITE=https://rag.example/$$vps
        VECTORS_URL=${resources.vectors.url}"#]]
    .assert_eq(&env.join("\n"));
}

#[test]
fn uses_becomes_variables_and_a_start_order() {
    let plan = resolved(DISCOVERY, "dev").plan;
    let backend = &plan.services[&service("backend")];
    let env: Vec<String> = backend.env.iter().map(|(k, v)| format!("{k}={v}")).collect();
    expect![[r#"
        [
            "DATABASE_URL=${resources.db.url}",
            "KAFKA_BROKERS=${resources.events.brokers}",
            "REDIS_URL=${resources.cache.url}",
        ]
    "#]]
    .assert_debug_eq(&env);
    let order: Vec<&str> = plan.start_order.iter().map(Item::name).collect();
    assert_eq!(order, ["cache", "db", "events", "backend", "frontend", "worker"]);
}

#[test]
fn providers_follow_from_the_place() {
    let via = |environment: &str| {
        let plan = resolved(DISCOVERY, environment).plan;
        plan.resources.values().map(|r| format!("{} {}", r.name, r.spec.via())).collect::<Vec<_>>()
    };
    assert_eq!(via("dev"), ["cache local", "db local", "events local"]);
    assert_eq!(via("staging"), ["cache docker", "db docker", "events docker"]);
    assert_eq!(via("production"), ["cache aws-elasticache", "db aws-rds", "events aws-msk"]);
}

#[test]
fn routes_are_relative_to_the_domain_and_the_longest_comes_first() {
    let routes = |environment: &str| {
        let plan = resolved(DISCOVERY, environment).plan;
        plan.routes().iter().map(|(r, s)| format!("{r} -> {s}")).collect::<Vec<_>>()
    };
    assert_eq!(routes("dev"), ["api.localhost -> backend", "localhost -> frontend"]);
    assert_eq!(
        routes("production"),
        ["api.discovery.example -> backend", "discovery.example -> frontend"]
    );
    let text = "plimsoll: 1\napp: a\nservices:\n  x: {route: [\"@/api\", \"@/api/v2/\"]}\n  \
                y: {route: [\"@\", docs.example.org/x]}\n";
    let plan = resolved(text, "local").plan;
    let routes: Vec<_> = plan.routes().iter().map(|(r, s)| format!("{r} -> {s}")).collect();
    assert_eq!(
        routes,
        [
            "docs.example.org/x -> y",
            "localhost/api/v2 -> x",
            "localhost/api -> x",
            "localhost -> y"
        ]
    );
}

#[test]
fn an_overlay_merges_maps_and_keeps_the_rest() {
    let scale = |environment: &str| {
        resolved(DISCOVERY, environment).plan.services[&service("backend")].scale.clone()
    };
    assert_eq!((scale("dev").min, scale("dev").max), (2, 10));
    assert_eq!((scale("production").min, scale("production").max), (3, 10));
}

#[test]
fn a_short_form_replaces_a_long_one() {
    let text = "plimsoll: 1\napp: a\nservices: {x: {run: x, scale: {min: 2, max: 9, cpu: 50}}}\n\
                environments:\n  prod: {target: host, hosts: [h], services: {x: {scale: 3}}}\n";
    let scale = resolved(text, "prod").plan.services[&service("x")].scale.clone();
    assert_eq!((scale.min, scale.max, scale.cpu), (3, 3, None));
}

#[test]
fn null_in_an_overlay_deletes() {
    let text = "plimsoll: 1\napp: a\nservices:\n  x: {port: 80, env: {A: 1, B: 2}, uses: [db]}\n  \
                mock: {port: 81}\nresources: {db: {type: postgres}}\nenvironments:\n  p:\n    \
                target: host\n    hosts: [h]\n    services: {mock: null, x: {env: {A: ~}}}\n";
    let plan = resolved(text, "p").plan;
    assert_eq!(plan.services.len(), 1);
    let env: Vec<&str> = plan.services[&service("x")].env.keys().map(EnvVar::as_str).collect();
    assert_eq!(env, ["B", "DATABASE_URL"]);
}

#[test]
fn from_shares_the_image_but_not_the_edges() {
    let plan = resolved(DISCOVERY, "dev").plan;
    let (backend, worker) =
        (&plan.services[&service("backend")], &plan.services[&service("worker")]);
    assert_eq!(worker.path, backend.path);
    assert_eq!(worker.system, backend.system);
    assert_eq!(worker.secrets, backend.secrets);
    assert_eq!(worker.kind, Kind::Worker);
    assert!(worker.route.is_empty() && worker.port.is_none() && worker.migrate.is_none());
}

#[test]
fn kinds_follow_from_keys() {
    let text = "plimsoll: 1\napp: a\nservices:\n  w: {port: 1000}\n  r: {route: r}\n  \
                s: {static: dist}\n  c: {schedule: \"0 3 * * *\"}\n  j: {once: true}\n  b: {run: b}\n";
    let plan = resolved(text, "local").plan;
    let kinds: Vec<String> =
        plan.services.values().map(|s| format!("{} {}", s.name, s.kind)).collect();
    assert_eq!(kinds, ["b worker", "c cron", "j job", "r web", "s static", "w web"]);
    assert_eq!(plan.services[&service("r")].port.unwrap().get(), 8080);
    assert_eq!(plan.services[&service("s")].port.unwrap().get(), 4173);
}

#[test]
fn two_of_a_type_are_told_apart_by_name_and_can_be_renamed() {
    let text = "plimsoll: 1\napp: a\nservices:\n  x:\n    uses: [db, warehouse: ANALYTICS_URL, y, \
                {llm: {severity: soft}}, files]\n  y: {port: 1}\nresources:\n  db: {type: postgres}\n  \
                warehouse: {type: postgres}\n  llm: {type: http, url: \"https://api.example\"}\n  \
                files: {type: volume}\n";
    let plan = resolved(text, "local").plan;
    let x = &plan.services[&service("x")];
    let env: Vec<String> = x.env.iter().map(|(k, v)| format!("{k}={v}")).collect();
    expect![[r#"
        [
            "ANALYTICS_URL=${resources.warehouse.url}",
            "DB_URL=${resources.db.url}",
            "FILES_DIR=${resources.files.path}",
            "LLM_URL=${resources.llm.url}",
            "Y_URL=${services.y.url}",
        ]
    "#]]
    .assert_debug_eq(&env);
    assert!(x.uses["llm"].gate.is_empty());
}

#[test]
fn words_that_look_like_other_types_stay_what_they_are() {
    let text = "plimsoll: 1\napp: a\nservices:\n  x: {env: {A: no, B: 1.10, C: 0x1F, D: \"\", \
                E: 1e3, F: 007}}\n";
    let plan = resolved(text, "local").plan;
    let env: Vec<String> =
        plan.services[&service("x")].env.values().map(ToString::to_string).collect();
    assert_eq!(env, ["no", "1.10", "0x1F", "", "1e3", "007"]);
}

#[test]
fn placeholders_are_filled_in_or_kept_as_parts() {
    let text = "plimsoll: 1\napp: a\nservices:\n  x:\n    route: x\n    uses: [db]\n    env:\n      \
                A: \"${env.name}-${env.domain}-$$x-$5\"\n      B: postgres://${resources.db.host}:\
                ${resources.db.port}/${secret:NAME}\n      C: ${services.x.public_url}\n    \
                run: x --db ${resources.db.url} 'a b'\nresources: {db: {type: postgres}}\n";
    let plan = resolved(text, "local").plan;
    let x = &plan.services[&service("x")];
    let shown: Vec<String> = x.env.iter().map(|(k, v)| format!("{k}={v}")).collect();
    expect![[r#"
        [
            "A=local-localhost-$$x-$$5",
            "B=postgres://${resources.db.host}:${resources.db.port}/${secret:NAME}",
            "C=${services.x.public_url}",
            "DATABASE_URL=${resources.db.url}",
        ]
    "#]]
    .assert_debug_eq(&shown);
    assert_eq!(x.env["A"].as_literal().unwrap(), "local-localhost-$x-$5");
    assert_eq!(x.run.as_ref().unwrap().line(), "x --db ${resources.db.url} 'a b'");
}

#[test]
fn explain_shows_value_and_origin() {
    let resolution = resolved(DISCOVERY, "production");
    let shown = |path: &str| {
        let explanation = explain(&resolution, path).unwrap();
        format!("{path} = {} ({})", explanation.value, explanation.origin)
    };
    let lines = [
        shown("services.backend.limits.memory"),
        shown("services.backend.scale.min"),
        shown("services.backend.scale.max"),
        shown("services.backend.env.DATABASE_URL"),
        shown("services.backend.smoke"),
        shown("services.worker.path"),
        shown("services.worker.stop"),
        shown("services.frontend.scale.min"),
        shown("resources.db.via"),
        shown("resources.db.version"),
        shown("policies.keep_releases"),
        shown("observability.logs.delete"),
        shown("environment.cloud.region"),
    ];
    expect![[r#"
        services.backend.limits.memory = "512Mi" (default)
        services.backend.scale.min = 3 (overlay of production, line 45)
        services.backend.scale.max = 10 (line 16)
        services.backend.env.DATABASE_URL = "${resources.db.url}" (from uses: db)
        services.backend.smoke = [{"contains":null,"path":"/ready","status":200},{"contains":null,"path":"/v1/documents","status":200}] (line 14)
        services.worker.path = "backend" (line 8)
        services.worker.stop = {"grace":"20s","signal":"TERM"} (default)
        services.frontend.scale.min = 2 (default)
        resources.db.via = "aws-rds" (overlay of production, line 44)
        resources.db.version = "16" (line 31)
        policies.keep_releases = 5 (default)
        observability.logs.delete = "365d" (default)
        environment.cloud.region = "eu-west-1" (line 43)"#]].assert_eq(&lines.join("\n"));
}

#[test]
fn explain_of_an_unknown_path_says_what_there_is() {
    let resolution = resolved(DISCOVERY, "dev");
    let unknown = |path: &str| {
        let unknown = explain(&resolution, path).unwrap_err();
        format!("{unknown}; {}", unknown.help)
    };
    expect!["there is nothing at `services.backnd`; did you mean `backend`?"]
        .assert_eq(&unknown("services.backnd.limits"));
    expect!["there is nothing at `services.backend.limits.disk`; known: `cpu`, `cpu_request`, `memory`, `memory_request`, `pids`"].assert_eq(&unknown("services.backend.limits.disk"));
}

#[test]
fn a_plan_is_the_same_bytes_every_time() {
    let json = |text: &str| serde_json::to_string(&resolved(text, "production").plan).unwrap();
    assert_eq!(json(DISCOVERY), json(DISCOVERY));
    assert_eq!(json(DISCOVERY), json(&DISCOVERY.replace('\n', "\r\n")));
}

#[test]
fn using_a_service_without_a_port_sets_the_order_and_no_variable() {
    let text = "plimsoll: 1\napp: a\nservices:\n  a: {uses: [b], run: x}\n  b: {run: x}\n";
    let plan = resolved(text, "local").plan;
    assert!(plan.services[&service("a")].env.is_empty());
    assert_eq!(plan.start_order, [Item::Service(service("b")), Item::Service(service("a"))]);
}

#[test]
fn an_environment_may_have_images_of_its_own_and_a_site_a_server() {
    let text = "
plimsoll: 1
app: shop
image: ghcr.io/acme/shop
services: {page: {static: {dir: dist, server: nginx}, port: 4173}, docs: {static: dist, port: 4174}}
environments:
  staging: {target: host, hosts: [a], domain: stg.shop.example}
  production: {target: host, hosts: [b], domain: shop.example, image: registry.example/live}
";
    let plan = |name| resolved(text, name).plan;
    assert_eq!(plan("staging").image.as_deref(), Some("ghcr.io/acme/shop"));
    assert_eq!(plan("production").image.as_deref(), Some("registry.example/live"));
    let servers: Vec<_> = plan("staging")
        .services
        .values()
        .map(|service| service.site.as_ref().map_or("none", |site| site.server.as_str()))
        .collect();
    assert_eq!(servers, ["plimsoll", "nginx"]);
}
