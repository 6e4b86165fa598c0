//! Policies as files: what they decide, what they may not, how they change.

use std::sync::mpsc::channel;

use serde_json::json;

use super::*;

const POLICY: &str = r#"
package plimsoll

default allow := false

allow if input.method == "GET"

allow if {
    input.path[0] == "admin"
    "admin" in input.claims.roles
}
"#;

struct Rig {
    directory: tempfile::TempDir,
}

impl Rig {
    fn new(text: &str) -> Self {
        let rig = Self { directory: tempfile::tempdir().expect("a directory") };
        rig.write("policy.rego", text);
        rig
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.directory.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(path, text).expect("written");
    }

    fn settings(&self) -> PolicySettings {
        self.directory.path().to_string_lossy().parse().expect("settings")
    }

    fn policy(&self) -> Policy {
        Policy::new(self.settings(), |_| ()).expect("a policy")
    }
}

async fn decided(policy: &Policy, input: serde_json::Value) -> Decision {
    policy.decide(input).await.0
}

#[tokio::test]
async fn a_policy_decides_by_what_it_sees() {
    let policy = Rig::new(POLICY).policy();
    assert!(decided(&policy, json!({ "method": "GET" })).await.is_allowed);
    let post = json!({ "method": "POST", "path": ["admin"], "claims": { "roles": ["admin"] } });
    assert!(decided(&policy, post).await.is_allowed);
    let refused = decided(&policy, json!({ "method": "POST", "path": ["admin"] })).await;
    assert_eq!((refused.is_allowed, refused.reason.as_str()), (false, "not allowed"));
    assert_eq!(refused.error, None);
}

/// What stands in fences of this language in the page for users, in order.
fn fenced<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let opening = format!("\n```{language}\n");
    let blocks = page.split(opening.as_str()).skip(1);
    blocks.map(|block| block.split("\n```").next().unwrap_or_default()).collect()
}

#[tokio::test]
async fn every_example_of_the_page_decides_as_the_page_says() {
    let page = include_str!("../../../../../docs/ingress.md");
    let (policies, decisions) = (fenced(page, "rego"), fenced(page, "decisions"));
    assert!(policies.len() >= 3 && policies.len() == decisions.len());
    for (text, decisions) in policies.iter().zip(decisions) {
        let rig = Rig::new(text);
        rig.write("teams/data.json", r#"{"ada": "harbour"}"#);
        let policy = rig.policy();
        for line in decisions.lines() {
            let (input, expected) = line.split_once(" => ").expect("a line `INPUT => DECISION`");
            let input = serde_json::from_str(input).expect("JSON");
            let decision = decided(&policy, input).await;
            let said = match decision.is_allowed {
                true => "allowed".to_owned(),
                false => format!("denied: {}", decision.reason),
            };
            assert_eq!(said, expected, "{line}\n{text}\n{:?}", decision.error);
        }
    }
}

#[tokio::test]
async fn what_is_not_true_is_no() {
    for rule in [
        "",
        "allow := \"true\"",
        "allow := 1",
        "allow contains true",
        "allow := {\"allow\": \"true\"}",
        "allow := {\"reason\": \"none\"}",
        "allow := true if input.nothing",
        "allow := to_number(\"x\") == 1",
        "allow := false\nallow := true if true",
    ] {
        let rig = Rig::new(&format!("package plimsoll\nother := 1\n{rule}\n"));
        // One that cannot be compiled is refused at the start: no is no.
        let Ok(policy) = Policy::new(rig.settings(), |_| ()) else { continue };
        let decision = decided(&policy, json!({ "method": "GET" })).await;
        assert!(!decision.is_allowed, "{rule}");
    }
}

#[tokio::test]
async fn an_object_gives_its_reason() {
    let rig = Rig::new(
        "package plimsoll\nallow := {\"allow\": false, \"reason\": \"closed on sundays\"}\n",
    );
    let decision = decided(&rig.policy(), json!({})).await;
    assert_eq!((decision.is_allowed, decision.reason.as_str()), (false, "closed on sundays"));
    let rig = Rig::new("package plimsoll\nallow := {\"allow\": true}\n");
    assert!(decided(&rig.policy(), json!({})).await.is_allowed);
}

#[tokio::test]
async fn data_lies_where_its_directory_says() {
    let rig = Rig::new("package plimsoll\nallow if data.teams.core.members[input.who]\n");
    rig.write("teams/core/data.json", r#"{"members": {"ada": true}}"#);
    rig.write(".hidden.rego", "not rego");
    rig.write("policy_test.rego", "not rego either");
    let policy = rig.policy();
    assert!(decided(&policy, json!({ "who": "ada" })).await.is_allowed);
    assert!(!decided(&policy, json!({ "who": "bob" })).await.is_allowed);
}

#[tokio::test]
async fn a_policy_that_does_not_end_is_ended_and_denies() {
    let rig = Rig::new(
        "package plimsoll\nallow if count([1 | some a in numbers.range(1, 3000); \
         some b in numbers.range(1, 3000); a * b == 0]) == 0\n",
    );
    let policy = rig.policy();
    let began = Instant::now();
    let decision = decided(&policy, json!({})).await;
    assert!(!decision.is_allowed && decision.error.is_some(), "{decision:?}");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    assert!(policy.last_us.load(Ordering::Relaxed) > 500, "the next one leaves the event loop");
    assert!(!decided(&policy, json!({})).await.is_allowed, "there, too");
}

#[tokio::test]
async fn a_change_is_read_and_a_wrong_one_leaves_the_last_good_in_force() {
    let rig = Rig::new("package plimsoll\nallow := false\n");
    let (told_in, told) = channel();
    let policy = Policy::new(rig.settings(), move |result| {
        told_in.send(result.map_err(|error| error.to_string())).expect("the test is there");
    })
    .expect("a policy");
    let next = |told: std::sync::mpsc::Receiver<Result<(), String>>| async {
        let waiting = tokio::task::spawn_blocking(move || (told.recv(), told));
        let (result, told) = waiting.await.expect("a thread");
        (result.expect("a change is noticed"), told)
    };
    assert!(!decided(&policy, json!({})).await.is_allowed);
    rig.write("policy.rego", "package plimsoll\n\nallow := true\n");
    let (result, told) = next(told).await;
    assert_eq!(result, Ok(()));
    assert!(decided(&policy, json!({})).await.is_allowed);
    rig.write("policy.rego", "package plimsoll\nallow if {\n");
    let (result, _told) = next(told).await;
    assert!(result.expect_err("no policy").contains("does not compile"));
    assert!(decided(&policy, json!({})).await.is_allowed, "the last good one");
}

#[test]
fn what_cannot_be_a_policy_is_said_at_the_start() {
    let rig = Rig::new("package plimsoll\nallow if {\n");
    let error = check(&rig.settings()).expect_err("no policy").to_string();
    assert!(error.contains("policy.rego"), "{error}");
    let empty = tempfile::tempdir().expect("a directory");
    let settings = empty.path().to_string_lossy().parse().expect("settings");
    assert!(matches!(check(&settings), Err(PolicyError::Empty { .. })));
    let settings = "/nonexistent".parse().expect("settings");
    assert!(matches!(check(&settings), Err(PolicyError::File { .. })));
    let error = "{\"pth\": 1}".parse::<PolicySettings>().expect_err("a typo").to_string();
    assert!(error.contains("unknown field `pth`"), "{error}");
}
