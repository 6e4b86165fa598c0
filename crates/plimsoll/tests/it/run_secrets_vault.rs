//! Secrets from a real Vault: versions of KV, logins, what it refuses, sealed, and rotated.

use std::process::Command;

use serde_json::{Value, json};
use testkit::{Run, Vault};

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

/// Signs a token with an RSA key, which it makes, and prints it after the public half.
const ISSUER: &str = r#"
import base64, json, os, subprocess, sys, time
def openssl(*args, data=None):
    return subprocess.run(['openssl', *args], input=data, check=True, capture_output=True).stdout
key = os.path.join(sys.argv[1], 'issuer.pem')
openssl('genrsa', '-out', key, '2048')
encode = lambda data: base64.urlsafe_b64encode(data).rstrip(b'=')
claims = {'iss': 'https://issuer', 'sub': 'app', 'aud': ['vault'], 'iat': int(time.time()),
          'exp': int(time.time()) + 600, 'kubernetes.io': {'namespace': 'shop',
          'serviceaccount': {'name': 'app', 'uid': 'uid-1'}}}
text = b'.'.join(encode(json.dumps(part).encode()) for part in [{'alg': 'RS256'}, claims])
signature = openssl('dgst', '-sha256', '-sign', key, data=text)
public = openssl('rsa', '-in', key, '-pubout').decode()
print(json.dumps({'public': public, 'token': (text + b'.' + encode(signature)).decode()}))
"#;

/// A public key and a token that was signed with its private half.
fn issue(directory: &std::path::Path) -> (String, String) {
    let output = Command::new("python3").args(["-c", ISSUER]).arg(directory).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let issued: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |name: &str| issued[name].as_str().unwrap().to_owned();
    (text("public"), text("token"))
}

/// Settings with a login by this method, with the token of a file.
fn settings(method: &str, token: &std::path::Path) -> String {
    let auth = json!({"method": method, "role": "app", "token_file": token});
    let main = json!({"type": "vault", "auth": auth});
    json!({"default": "main", "providers": {"main": main}, "names": {"key": "main:kv/app#key"}})
        .to_string()
}

#[test]
fn a_signed_token_logs_in_and_another_is_77() {
    let Some(vault) = vault() else { return };
    put(&vault, "jwt-value-1");
    let directory = tempfile::tempdir().unwrap();
    let (public, token) = issue(directory.path());
    vault.write("sys/auth/jwt", r#"{"type": "jwt"}"#);
    vault.write("auth/jwt/config", &json!({"jwt_validation_pubkeys": [public]}).to_string());
    let role = json!({"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"],
                      "bound_issuer": "https://issuer", "token_policies": ["app"]});
    vault.write("auth/jwt/role/app", &role.to_string());
    let path = directory.path().join("token");
    std::fs::write(&path, format!("{token}\n")).unwrap();
    let settings = settings("jwt", &path);
    let flags = ["--secrets", settings.as_str()];
    let (code, printed, stdout) = print(&vault, &flags, "${secret:key}", "");
    assert_eq!((code, printed.as_str()), (0, "jwt-value-1"), "{stdout}");

    let (_, stranger) = issue(directory.path());
    std::fs::write(&path, &stranger).unwrap();
    let (code, _, stdout) = print(&vault, &flags, "${secret:key}", "");
    assert_eq!(code, 77, "{stdout}");
    assert!(stdout.contains("login by `jwt`") && !stdout.contains(&stranger), "{stdout}");
}

/// The one endpoint of Kubernetes that Vault asks: whose token it is.
const TOKEN_REVIEW: &str = r#"
import http.server, json, sys
class Api(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers['content-length'])))
        is_known = (self.path == '/apis/authentication.k8s.io/v1/tokenreviews'
                    and self.headers['authorization'] == 'Bearer reviewer'
                    and asked['spec']['token'] == sys.argv[1])
        user = {'username': 'system:serviceaccount:shop:app', 'uid': 'uid-1', 'groups': []}
        status = {'authenticated': is_known, 'user': user if is_known else {},
                  'audiences': asked['spec'].get('audiences', [])}
        review = {'apiVersion': 'authentication.k8s.io/v1', 'kind': 'TokenReview', 'status': status}
        body = json.dumps(review).encode()
        self.send_response(201)
        self.send_header('content-type', 'application/json')
        self.send_header('content-length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Api)
print('port', server.server_port, flush=True)
server.serve_forever()
"#;

#[test]
fn a_pod_logs_in_with_the_token_of_its_service_account() {
    let Some(vault) = vault() else { return };
    put(&vault, "pod-value-1");
    let directory = tempfile::tempdir().unwrap();
    let (_, token) = issue(directory.path());
    let env = std::path::Path::new("/usr/bin/env");
    let kubernetes = Run::start(env, ["python3", "-c", TOKEN_REVIEW, &token]);
    let line = kubernetes.line("port ");
    let port = line.trim_start_matches("port ").trim();
    vault.write("sys/auth/kubernetes", r#"{"type": "kubernetes"}"#);
    let config = json!({"kubernetes_host": format!("http://127.0.0.1:{port}"),
                        "token_reviewer_jwt": "reviewer", "disable_local_ca_jwt": true,
                        "disable_iss_validation": true});
    vault.write("auth/kubernetes/config", &config.to_string());
    let role = json!({"bound_service_account_names": ["app"], "token_policies": ["app"],
                      "bound_service_account_namespaces": ["shop"]});
    vault.write("auth/kubernetes/role/app", &role.to_string());
    let path = directory.path().join("token");
    std::fs::write(&path, &token).unwrap();
    let settings = settings("kubernetes", &path);
    let flags = ["--secrets", settings.as_str()];
    let (code, printed, stdout) = print(&vault, &flags, "${secret:key}", "");
    assert_eq!((code, printed.as_str()), (0, "pod-value-1"), "{stdout}");

    let (_, stranger) = issue(directory.path());
    std::fs::write(&path, &stranger).unwrap();
    let (code, _, stdout) = print(&vault, &flags, "${secret:key}", "");
    assert_eq!(code, 77, "{stdout}");
    assert!(!stdout.contains(&stranger), "{stdout}");
}
