//! Secrets from a real Vault: versions of KV, logins, what it refuses, sealed, and rotated.

use serde_json::Value;
use testkit::Vault;

use crate::run_harness::{PATIENCE, Service, messages, run_with};

/// A Vault with a KV of each version and a role that may read both.
fn vault() -> Option<Vault> {
    let vault = Vault::start()?;
    vault.write("sys/mounts/kv", r#"{"type": "kv", "options": {"version": "2"}}"#);
    vault.write("sys/mounts/old", r#"{"type": "kv", "options": {"version": "1"}}"#);
    let policy = r#"{"policy": "path \"kv/data/app\" { capabilities = [\"read\"] } path \"old/*\" { capabilities = [\"read\"] }"}"#;
    vault.write("sys/policies/acl/app", policy);
    Some(vault)
}

fn put(vault: &Vault, value: &str) {
    testkit::wait_for("the KV to be ready", PATIENCE, || {
        vault.try_write("kv/data/app", &format!(r#"{{"data": {{"key": "{value}"}}}}"#))
    });
}

fn print(vault: &Vault, flags: &[&str], reference: &str, token: &str) -> (i32, String, String) {
    let mut run = run_with(flags, &["sh", "-c", "echo \"$KEY\" | rev"], |command| {
        command.env("VAULT_ADDR", vault.address()).env("VAULT_TOKEN", token);
        command.env("KEY", reference);
    });
    let ended = run.wait(PATIENCE);
    let printed = messages(&ended.stdout, "stdout").join("\n").chars().rev().collect();
    (ended.code, printed, ended.stdout)
}

#[test]
fn both_versions_of_kv_are_read_and_a_version_can_be_named() {
    let Some(vault) = vault() else { return };
    put(&vault, "first-value-1");
    put(&vault, "second-value-2");
    vault.write("old/app", r#"{"key": "old-value-1"}"#);
    let token = vault.token();
    let read = |reference: &str| print(&vault, &[], reference, token);
    assert_eq!(read("${secret:vault:kv/app#key}").1, "second-value-2");
    assert_eq!(read("${secret:vault:kv/data/app#key}").1, "second-value-2");
    assert_eq!(read("${secret:vault:kv/app#key?version=1}").1, "first-value-1");
    assert_eq!(read("${secret:bao:old/app}").1, "old-value-1");
    let (code, _, stdout) = read("${secret:vault:kv/nothing#key}");
    assert_eq!(code, 77, "{stdout}");
    let (code, _, stdout) = read("${secret:vault:kv/app#no}");
    assert_eq!(code, 77, "{stdout}");
    assert!(stdout.contains("`key`"), "{stdout}");
}

#[test]
fn a_wrong_token_is_77_and_is_not_shown() {
    let Some(vault) = vault() else { return };
    put(&vault, "some-value-1");
    let (code, _, stdout) = print(&vault, &[], "${secret:vault:kv/app#key}", "hvs.wrong-token");
    assert_eq!(code, 77, "{stdout}");
    assert!(stdout.contains("permission denied") && !stdout.contains("wrong-token"), "{stdout}");
}

#[test]
fn an_approle_logs_in_and_reads_what_it_may() {
    let Some(vault) = vault() else { return };
    put(&vault, "role-value-1");
    vault.write("sys/auth/approle", r#"{"type": "approle"}"#);
    vault.write("auth/approle/role/app", r#"{"token_policies": "app", "token_ttl": "60s"}"#);
    let field = |body: &str, name: &str| -> String {
        let body: Value = serde_json::from_str(body).unwrap();
        body["data"][name].as_str().unwrap().to_owned()
    };
    let role_id = field(&vault.read("auth/approle/role/app/role-id"), "role_id");
    let secret_id = field(&vault.write("auth/approle/role/app/secret-id", "{}"), "secret_id");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret-id");
    std::fs::write(&path, format!("{secret_id}\n")).unwrap();
    let settings = format!(
        r#"{{"default": "main", "providers": {{"main": {{"type": "vault", "auth":
            {{"method": "approle", "role_id": "{role_id}", "secret_id_file": "{}"}}}}}},
            "names": {{"key": "main:kv/app#key", "other": "main:kv/other#key"}}}}"#,
        path.display()
    );
    let flags = ["--secrets", &settings];
    assert_eq!(print(&vault, &flags, "${secret:key}", "").1, "role-value-1");
    let (code, _, stdout) = print(&vault, &flags, "${secret:other}", "");
    assert_eq!(code, 77, "{stdout}");
    std::fs::write(&path, "wrong").unwrap();
    let (code, _, stdout) = print(&vault, &flags, "${secret:key}", "");
    assert_eq!(code, 77, "{stdout}");
    assert!(stdout.contains("invalid role or secret ID"), "{stdout}");
}

#[test]
fn the_start_waits_for_a_sealed_vault_and_says_so_and_a_new_value_arrives() {
    let Some(vault) = vault() else { return };
    put(&vault, "first-value-1");
    vault.seal();
    let settings = r#"{"deliver": "file", "poll": "200ms"}"#;
    let script = "exec sleep 60";
    let service = Service::start_with(&["--secrets", settings], &["sh", "-c", script], |command| {
        command.env("VAULT_ADDR", vault.address()).env("VAULT_TOKEN", vault.token());
        command.env("KEY", "${secret:vault:kv/app#key}");
    });
    service.run.line("sealed");
    let ready = service.wait_for_status("/ready", 503).text();
    assert!(ready.contains("resolving") && ready.contains("secret:vault:kv/app#key"), "{ready}");
    vault.unseal();
    service.wait_for_status("/ready", 200);
    put(&vault, "second-value-2");
    service.run.line("\"secret.rotated\"");
}
