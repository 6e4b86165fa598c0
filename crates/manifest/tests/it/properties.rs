//! No text makes it panic; overlays are RFC 7386 merges.

use manifest::{explain, parse, resolve};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::DISCOVERY;

/// Everything that may be done with a text; nothing of it may panic.
fn exercise(text: &[u8]) {
    match parse(text) {
        Err(problems) => {
            assert!(!problems.render("m", &String::from_utf8_lossy(text), true).is_empty());
        }
        Ok(manifest) => {
            let names: Vec<_> =
                manifest.environments().into_iter().map(ToString::to_string).collect();
            for name in names.iter().map(String::as_str).chain(["local", "nowhere"]) {
                match resolve(&manifest, name) {
                    Ok(resolution) => {
                        let json = serde_json::to_string(&resolution.plan);
                        assert!(json.is_ok(), "a plan is JSON");
                        assert!(explain(&resolution, "services").is_ok(), "plans have services");
                    }
                    Err(problems) => {
                        assert!(problems.has_errors(), "a plan is refused for an error");
                        let shown = problems.render("m", &String::from_utf8_lossy(text), false);
                        assert!(!shown.is_empty(), "an error is shown");
                    }
                }
            }
        }
    }
}

/// RFC 7386, word for word.
fn merge_patch(target: Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else { return patch.clone() };
    let mut target = match target {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    for (name, value) in patch {
        if value.is_null() {
            target.remove(name);
        } else {
            let old = target.remove(name).unwrap_or(Value::Null);
            target.insert(name.clone(), merge_patch(old, value));
        }
    }
    Value::Object(target)
}

/// One of some values, `null`, or nothing at all.
fn maybe(values: Vec<Value>) -> impl Strategy<Value = Option<Value>> {
    prop_oneof![
        2 => Just(None),
        1 => Just(Some(Value::Null)),
        4 => proptest::sample::select(values).prop_map(Some),
    ]
}

/// A map with some of its keys.
fn map(keys: Vec<(&'static str, BoxedStrategy<Option<Value>>)>) -> BoxedStrategy<Option<Value>> {
    let (names, values): (Vec<_>, Vec<_>) = keys.into_iter().unzip();
    values
        .prop_map(move |values| {
            let pairs = names.iter().zip(values);
            let set = pairs.filter_map(|(name, value)| Some(((*name).to_owned(), value?)));
            Some(Value::Object(set.collect()))
        })
        .boxed()
}

/// A key in its short or its long form.
fn either(short: Vec<Value>, long: BoxedStrategy<Option<Value>>) -> BoxedStrategy<Option<Value>> {
    prop_oneof![maybe(short), long].boxed()
}

fn some_service() -> BoxedStrategy<Option<Value>> {
    let number = || maybe(vec![json!(1), json!(3), json!(7)]).boxed();
    let time = || maybe(vec![json!("5s"), json!("1m")]).boxed();
    map(vec![
        ("run", maybe(vec![json!("a b"), json!(["c"]), json!({"shell": "d"})]).boxed()),
        ("port", maybe(vec![json!(80), json!(81)]).boxed()),
        ("uses", maybe(vec![json!(["db"]), json!(["cache"]), json!([])]).boxed()),
        ("env", map(vec![("A", number()), ("B", number()), ("C", number())])),
        (
            "scale",
            either(
                vec![json!(2)],
                map(vec![("min", number()), ("max", number()), ("cpu", number())]),
            ),
        ),
        ("stop", either(vec![json!("9s")], map(vec![("grace", time())]))),
        ("drain", either(vec![json!("9s")], map(vec![("limit", time()), ("delay", time())]))),
        ("limits", map(vec![("cpu", number()), ("pids", number())])),
        (
            "smoke",
            map(vec![
                ("/a", either(vec![json!(200)], map(vec![("contains", number())]))),
                ("/b", either(vec![json!(204)], map(vec![("contains", number())]))),
            ]),
        ),
        (
            "slo",
            map(vec![
                ("availability", either(vec![json!(99)], map(vec![("objective", number())]))),
                ("latency", map(vec![("p95", time()), ("p99", time())])),
            ]),
        ),
        ("metrics", either(vec![json!("/m"), json!(99)], map(vec![("port", number())]))),
        (
            "migrate",
            either(vec![json!("m"), json!({"shell": "m"})], map(vec![("timeout", time())])),
        ),
    ])
}

/// A manifest with one service and, in its environment, one overlay.
fn manifest(service: &Value, overlay: Option<&Value>) -> String {
    let mut environment = json!({"target": "host", "hosts": ["h"]});
    if let (Some(overlay), Some(map)) = (overlay, environment.as_object_mut()) {
        map.insert("services".to_owned(), json!({"api": overlay}));
    }
    json!({
        "plimsoll": 1,
        "app": "a",
        "services": {"api": service, "other": {"run": "o"}},
        "resources": {"db": {"type": "postgres"}, "cache": {"type": "redis"}},
        "environments": {"e": environment},
    })
    .to_string()
}

/// The plan as data, or how many problems there were.
fn outcome(text: &str) -> Result<Value, Vec<String>> {
    let problems = |problems: manifest::Problems| {
        problems.iter().map(|problem| problem.message.clone()).collect::<Vec<_>>()
    };
    let manifest = parse(text).map_err(problems)?;
    let resolution = resolve(&manifest, "e").map_err(problems)?;
    Ok(serde_json::to_value(&resolution.plan).expect("a plan is JSON"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn an_overlay_is_an_rfc_7386_merge(
        base in some_service(),
        overlay in some_service(),
    ) {
        let (base, overlay) = (base.unwrap_or_default(), overlay.unwrap_or_default());
        let merged = merge_patch(base.clone(), &overlay);
        let by_us = outcome(&manifest(&base, Some(&overlay)));
        let by_the_rfc = outcome(&manifest(&merged, None));
        match (by_us, by_the_rfc) {
            (Ok(us), Ok(rfc)) => prop_assert_eq!(us, rfc),
            (Err(mut us), Err(mut rfc)) => {
                us.sort();
                rfc.sort();
                prop_assert_eq!(us, rfc);
            }
            (us, rfc) => prop_assert!(false, "by us {us:?}\nby the RFC {rfc:?}"),
        }
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        exercise(&bytes);
    }

    #[test]
    fn no_text_of_yaml_characters_panics(text in "[ \\n\\t:{}\\[\\],&*!|>'\"%#?$a-e0-9~<.\u{e9}-]{0,120}") {
        exercise(text.as_bytes());
    }

    #[test]
    fn no_value_anywhere_panics(
        line in 0usize..48,
        value in "[ :{}\\[\\],&*'\"$a-e0-9~./@=-]{0,24}|\\$\\{[a-z.:]{0,12}\\}|[0-9]{1,20}[a-zA-Z%]{0,2}",
    ) {
        let mut lines: Vec<String> = DISCOVERY.lines().map(str::to_owned).collect();
        let line = line % lines.len();
        if let Some(colon) = lines[line].find(':') {
            lines[line].truncate(colon + 1);
            lines[line].push(' ');
            lines[line].push_str(&value);
        }
        exercise(lines.join("\n").as_bytes());
    }

    #[test]
    fn no_mutation_of_a_manifest_panics(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), 0usize..40, ".{0,10}"), 1..6),
    ) {
        let mut text = DISCOVERY.to_owned();
        for (at, length, insertion) in edits {
            let border = |byte: usize| {
                (0..=byte.min(text.len())).rev().find(|byte| text.is_char_boundary(*byte))
            };
            let start = border(at.index(text.len().max(1))).unwrap_or(0);
            let end = border(start + length).unwrap_or(start).max(start);
            text.replace_range(start..end, &insertion);
        }
        exercise(text.as_bytes());
    }
}
