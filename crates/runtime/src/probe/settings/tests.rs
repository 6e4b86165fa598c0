//! Claims about what `PLIMSOLL_PROBES` may say.

use super::*;

fn one(text: &str) -> ProbeSettings {
    parse(&format!("{{\"p\": {text}}}")).expect("valid")["p"].clone()
}

fn message(text: &str) -> String {
    let errors = parse(&format!("{{\"p\": {text}}}")).expect_err("invalid");
    assert_eq!(errors.len(), 1);
    errors[0].to_string()
}

#[test]
fn the_defaults_are_those_of_the_contract() {
    let probe = one(r#"{"tcp": "db:5432"}"#);
    assert_eq!(probe.kind, Kind::Tcp("db:5432".into()));
    assert_eq!(probe.severity, Severity::Hard);
    assert_eq!(probe.gates, Gates { start: false, ready: true, live: false });
    assert_eq!((probe.interval, probe.timeout), (INTERVAL_DEFAULT, TIMEOUT_DEFAULT));
    assert_eq!((probe.fall, probe.rise), (3, 1));
}

#[test]
fn everything_can_be_said() {
    let probe =
        one(r#"{"http": "http://[::1]:80/x?y", "severity": "soft", "gate": ["start", "ready"],
            "interval_ms": 200, "timeout_ms": 100, "fall": 1, "rise": 2}"#);
    assert_eq!(probe.gates, Gates { start: true, ready: true, live: false });
    assert_eq!((probe.fall, probe.rise), (1, 2));
    assert_eq!(one(r#"{"exec": ["true"], "gate": []}"#).gates, Gates::default());
    assert!(one(r#"{"exec": ["true"], "gate": ["live"]}"#).asks_app());
    let beat = one(r#"{"heartbeat": {"file": "/run/beat", "max_age_ms": 2000}}"#);
    assert!(beat.gates.live && !beat.gates.ready);
    assert_eq!(beat.fall, 1);
    assert_eq!(one(r#"{"tcp": "a:1", "interval_ms": 500}"#).timeout, Duration::from_millis(500));
}

const STARTS_AND_LIVES: &str = r#"{"exec": ["true"], "gate": ["start", "live"]}"#;

#[test]
fn mistakes_are_named_with_their_probe() {
    assert!(message(r#"{"tcp": "a:1", "colour": 1}"#).contains("unknown field `colour`"));
    assert!(message(r#"{"tcp": 5}"#).starts_with("probe `p`: invalid type"));
    assert!(message(r#"{"tcp": "a:1", "exec": ["x"]}"#).contains("has 2 of the keys"));
    assert!(message("{}").contains("has 0 of the keys"));
    for target in ["db", ":1", "db:0", "db:x", "::1:5", "tcp://db:1", "a b:1"] {
        let text = message(&format!("{{\"tcp\": \"{target}\"}}"));
        assert!(text.contains("is not `host:port`"), "{text}");
    }
    assert!(message(r#"{"http": "/ready"}"#).contains("it must begin with"));
    assert!(message(r#"{"http": "http://u:hush@x/"}"#).contains("holds credentials"));
    assert!(message(r#"{"exec": []}"#).contains("names no program"));
    assert!(message(r#"{"tcp": "a:1", "gate": ["live"]}"#).contains("only a `heartbeat`"));
    for probe in [r#"{"http": "http://a/", "gate": ["live"]}"#, STARTS_AND_LIVES] {
        assert!(message(probe).contains("only a `heartbeat`, or an `exec`"), "{probe}");
    }
    assert!(message(r#"{"tcp": "a:1", "gate": ["stop"]}"#).contains("unknown variant `stop`"));
    assert!(message(r#"{"tcp": "a:1", "fall": 0}"#).contains("`fall` is 0, not from 1 to 100"));
    assert!(message(r#"{"tcp": "a:1", "interval_ms": 5}"#).contains("not from 100 to 3600000"));
    assert!(message(r#"{"tcp": "a:1", "timeout_ms": 9000}"#).contains("not from 1 to 5000"));
}

#[test]
fn no_message_shows_a_credential() {
    for text in [r#"{"http": "http://u:hush@x/"}"#, r#"{"tcp": "tcp://u:hush@x:1/"}"#] {
        assert!(!message(text).contains("hush"));
    }
}

#[test]
fn all_problems_come_at_once() {
    let errors = parse(r#"{"a": {}, "b b": {}, "c": {"tcp": "x"}}"#).expect_err("invalid");
    assert_eq!(errors.len(), 3);
    assert!(matches!(parse("[]").expect_err("a list")[..], [ProbeError::NotAnObject(_)]));
    let many: BTreeMap<_, _> =
        (0..40).map(|index| (format!("p{index}"), serde_json::json!({"tcp": "a:1"}))).collect();
    assert_eq!(parse_values(&many), Err(vec![ProbeError::TooMany(40)]));
}

#[test]
fn each_kind_says_what_it_asks() {
    let postgres = one(r#"{"postgres": "postgres://app:hush@db/shop",
            "check": {"schema_version": {"sql": "select v from version", "equals": 7}}}"#);
    let Kind::Postgres(postgres) = postgres.kind else { panic!("not postgres") };
    assert_eq!(postgres.sql, "select 1");
    assert_eq!(postgres.schema_version.as_ref().expect("given").equals, "7");
    let redis = one(r#"{"redis": "rediss://:hush@cache/1", "llen": "celery", "warn": 100}"#);
    let Kind::Redis(redis) = redis.kind else { panic!("not redis") };
    assert_eq!((redis.llen.as_deref(), redis.warn), (Some("celery"), Some(100)));
    let kafka = one(
        r#"{"kafka": "a:9092,b:9092", "topics": ["orders"], "lag": {"group": "billing", "warn": 9},
            "properties": {"security.protocol": "ssl"}}"#,
    );
    let Kind::Kafka(kafka) = kafka.kind else { panic!("not kafka") };
    assert_eq!(kafka.lag, Some(Lag { group: "billing".into(), warn: Some(9) }));
    let http = one(r#"{"http": "https://x/y", "expect": [204, "3xx"], "contains": "up",
            "headers": {"authorization": "Bearer hush"}}"#);
    let Kind::Http(http) = http.kind else { panic!("not http") };
    let statuses = [Statuses { first: 204, last: 204 }, Statuses { first: 300, last: 399 }];
    assert_eq!(http.expect, statuses);
    assert!(!format!("{postgres:?}{redis:?}{http:?}").contains("hush"));
}

#[test]
fn a_heartbeat_comes_in_one_way() {
    let via = |text: &str| match one(&format!("{{\"heartbeat\": {text}}}")).kind {
        Kind::Heartbeat(heartbeat) => heartbeat.via,
        kind => panic!("{kind:?}"),
    };
    assert_eq!(via("{}"), Via::Http);
    assert_eq!(via(r#"{"via": "notify"}"#), Via::Notify);
    assert_eq!(via(r#"{"log": "tick"}"#), Via::Log("tick".into()));
    assert!(message(r#"{"heartbeat": {"via": "http", "file": "/x"}}"#).contains("several of"));
    assert!(message(r#"{"heartbeat": {"log": "("}}"#).contains("is a pattern that cannot be"));
}

#[test]
fn a_key_of_another_kind_is_refused() {
    let foreign = message(r#"{"tcp": "a:1", "llen": "x"}"#);
    assert!(foreign.contains("`llen` has no meaning for `tcp`"), "{foreign}");
    assert!(message(r#"{"redis": "redis://a", "topics": []}"#).contains("belongs to `kafka`"));
    assert!(message(r#"{"redis": "redis://a", "warn": 1}"#).contains("no list is named"));
    assert!(message(r#"{"kafka": "a:1", "lag": {"group": "x"}}"#).contains("no topics are named"));
    assert!(message(r#"{"kafka": "a"}"#).contains("each is `host:port`"));
    let forbidden = r#"{"kafka": "a:1", "properties": {"group.id": "x"}}"#;
    assert!(message(forbidden).contains("`group.id`, which a probe decides itself"));
    assert!(message(r#"{"http": "http://x", "expect": ["2"]}"#).contains("is not a status"));
    assert!(message(r#"{"postgres": "mysql://x:hush@y/"}"#).contains("must begin with `postgres"));
}

#[test]
fn a_secret_that_is_not_known_yet_is_no_mistake() {
    let open = r#"{"p": {"postgres": "${secret:db}"}, "q": {"http": "${secret:u}"},
        "r": {"redis": "${secret:r}"}, "s": {"tcp": "${secret:host}:1"}}"#;
    assert_eq!(parse(open).expect("valid").len(), 4);
    let values = serde_json::from_str(r#"{"p": {"exec": ["a", "${secret:x}"], "fall": 2}}"#);
    let filled =
        fill(&values.expect("JSON"), |text| Ok::<_, ()>(text.replace("${secret:x}", "known")));
    let expected = serde_json::json!({"exec": ["a", "known"], "fall": 2});
    assert_eq!(filled.expect("filled")["p"], expected);
}

#[test]
fn our_own_names_cannot_be_taken() {
    let taken = parse(r#"{"app.ready": {"tcp": "a:1"}}"#).expect_err("taken");
    assert_eq!(taken, [ProbeError::Reserved("app.ready".into())]);
}
