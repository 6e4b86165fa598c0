//! Tokens made with real keys, and everything that one can try with a forged one.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};

use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

const NOW: Duration = Duration::from_secs(1_800_000_000);

/// Keys of an identity provider.
struct Provider {
    rsa: RsaKeyPair,
    ec: EcdsaKeyPair,
    ed: Ed25519KeyPair,
    directory: tempfile::TempDir,
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn openssl(args: &[&str]) {
    let output = Command::new("openssl").args(args).output().expect("openssl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// One provider for all tests: an RSA key takes a while.
fn provider() -> &'static Provider {
    static PROVIDER: OnceLock<Provider> = OnceLock::new();
    PROVIDER.get_or_init(|| {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
        let (pem, der, public) = (path("rsa.pem"), path("rsa.der"), path("rsa.pub.pem"));
        openssl(&["genrsa", "-out", &pem, "2048"]);
        openssl(&["pkcs8", "-topk8", "-nocrypt", "-in", &pem, "-outform", "der", "-out", &der]);
        openssl(&["rsa", "-in", &pem, "-pubout", "-out", &public]);
        let rsa = RsaKeyPair::from_pkcs8(&std::fs::read(der).expect("a key")).expect("a key");
        let random = SystemRandom::new();
        let ec = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random);
        let ec = ec.expect("a key");
        let ec = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, ec.as_ref(), &random);
        let ed = Ed25519KeyPair::generate_pkcs8(&random).expect("a key");
        let ed = Ed25519KeyPair::from_pkcs8(ed.as_ref()).expect("a key");
        Provider { rsa, ec: ec.expect("a key"), ed, directory }
    })
}

impl Provider {
    fn pem(&self) -> PathBuf {
        self.directory.path().join("rsa.pub.pem")
    }

    /// The published set: all three, and what must be passed over.
    fn jwks(&self) -> Value {
        let rsa = self.rsa.public();
        let ring::rsa::PublicKeyComponents { n, e } =
            ring::rsa::PublicKeyComponents::<Vec<u8>>::from(rsa);
        let point = self.ec.public_key().as_ref();
        json!({ "keys": [
            { "kty": "oct", "kid": "oct", "k": b64("a secret that nobody should publish") },
            { "kty": "RSA", "kid": "enc", "use": "enc", "n": b64(&n), "e": b64(&e) },
            { "kty": "unknown", "kid": "odd" },
            { "kty": "RSA", "kid": "rsa", "use": "sig", "n": b64(n), "e": b64(e) },
            { "kty": "EC", "kid": "ec", "crv": "P-256", "alg": "ES256",
              "x": b64(&point[1..33]), "y": b64(&point[33..]) },
            { "kty": "OKP", "kid": "ed", "crv": "Ed25519", "x": b64(self.ed.public_key()) },
        ]})
    }

    fn sign(&self, head: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", b64(head.to_string()), b64(claims.to_string()));
        let random = SystemRandom::new();
        let signature = match head["alg"].as_str().expect("an algorithm") {
            "RS256" => {
                let mut signature = vec![0; self.rsa.public().modulus_len()];
                let signed =
                    self.rsa.sign(&RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut signature);
                signed.expect("a signature");
                signature
            }
            "ES256" => {
                let signed = self.ec.sign(&random, message.as_bytes());
                signed.expect("a signature").as_ref().to_vec()
            }
            "EdDSA" => self.ed.sign(message.as_bytes()).as_ref().to_vec(),
            _ => Vec::new(),
        };
        format!("{message}.{}", b64(signature))
    }

    fn jwks_file(&self) -> PathBuf {
        static WRITTEN: Mutex<()> = Mutex::new(());
        let _one = WRITTEN.lock().expect("nobody panicked");
        let path = self.directory.path().join("jwks.json");
        if !path.exists() {
            std::fs::write(&path, self.jwks().to_string()).expect("written");
        }
        path
    }
}

fn hmac_signed(head: &Value, claims: &Value, secret: &[u8]) -> String {
    let message = format!("{}.{}", b64(head.to_string()), b64(claims.to_string()));
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
    format!("{message}.{}", b64(ring::hmac::sign(&key, message.as_bytes())))
}

fn settings(change: impl FnOnce(&mut Value)) -> Value {
    let mut settings = json!({
        "issuer": "https://id.test", "audience": ["api", "other"],
        "algorithms": ["RS256", "ES256", "EdDSA"],
        "jwks_file": provider().jwks_file(),
    });
    change(&mut settings);
    settings
}

fn verifier(change: impl FnOnce(&mut Value)) -> Verifier {
    verifier_of(change)
}

fn verifier_of(change: impl FnOnce(&mut Value)) -> Verifier {
    let settings = settings(change).to_string().parse().expect("settings");
    Verifier::new(settings).expect("keys")
}

fn claims(change: impl FnOnce(&mut Value)) -> Value {
    let now = NOW.as_secs();
    let mut claims = json!({
        "iss": "https://id.test", "aud": "api", "sub": "ada", "exp": now + 60, "iat": now,
    });
    change(&mut claims);
    claims
}

fn head(algorithm: &str, kid: &str) -> Value {
    json!({ "alg": algorithm, "kid": kid, "typ": "JWT" })
}

async fn judged(verifier: &Verifier, head: &Value, claims: &Value) -> Result<Claims, Rejection> {
    verifier.verify(&provider().sign(head, claims), NOW).await
}

#[tokio::test]
async fn tokens_of_real_keys_are_believed() {
    let verifier = verifier(|_| ());
    for (algorithm, kid) in [("RS256", "rsa"), ("ES256", "ec"), ("EdDSA", "ed")] {
        let said = judged(&verifier, &head(algorithm, kid), &claims(|_| ())).await;
        assert_eq!(said.expect(algorithm)["sub"], "ada");
    }
    let unnamed = judged(&verifier, &json!({ "alg": "ES256" }), &claims(|_| ())).await;
    assert!(unnamed.is_ok(), "a token need not name its key");
    let pem = json!([{ "algorithm": "RS256", "file": provider().pem() }]);
    let by_pem = verifier_of(|settings| {
        settings["keys"] = pem;
        settings["algorithms"] = json!("RS256");
        settings.as_object_mut().expect("an object").remove("jwks_file");
    });
    assert!(judged(&by_pem, &head("RS256", "any"), &claims(|_| ())).await.is_ok());
}

#[tokio::test]
async fn an_algorithm_that_was_not_named_is_none() {
    let verifier = verifier(|_| ());
    let claims = claims(|_| ());
    for algorithm in ["none", "None", "nOnE", "", "HS256", "HS512", "RS384", "PS256", "ES384"] {
        let message =
            format!("{}.{}", b64(head(algorithm, "rsa").to_string()), b64(claims.to_string()));
        for signature in ["", "AA"] {
            let refused = verifier.verify(&format!("{message}.{signature}"), NOW).await;
            let refused = refused.expect_err(algorithm);
            assert!(
                matches!(refused, Rejection::Algorithm | Rejection::Malformed),
                "{algorithm}: {refused}"
            );
        }
    }
    // Signed with the text of the public key, as if it were a shared secret.
    for text in
        [std::fs::read(provider().pem()).expect("a key"), provider().jwks().to_string().into()]
    {
        let forged = hmac_signed(&head("HS256", "rsa"), &claims, &text);
        assert_eq!(verifier.verify(&forged, NOW).await, Err(Rejection::Algorithm));
    }
    // Signed by us, said to be signed otherwise.
    for (truly, said) in [("RS256", "ES256"), ("ES256", "EdDSA"), ("EdDSA", "RS256")] {
        let token = provider().sign(&head(truly, ""), &claims);
        let (_, rest) = token.split_once('.').expect("parts");
        let forged = format!("{}.{rest}", b64(json!({ "alg": said }).to_string()));
        assert_eq!(verifier.verify(&forged, NOW).await, Err(Rejection::Signature), "{said}");
    }
}

#[tokio::test]
async fn a_published_secret_and_a_key_for_encryption_are_passed_over() {
    let verifier = verifier(|_| ());
    for (algorithm, kid) in [("RS256", "enc"), ("RS256", "oct"), ("RS256", "ec"), ("ES256", "odd")]
    {
        let refused = judged(&verifier, &head(algorithm, kid), &claims(|_| ())).await;
        assert_eq!(refused, Err(Rejection::UnknownKey), "{kid}");
    }
}

#[tokio::test]
async fn claims_that_are_not_right_are_refused() {
    let verifier = verifier(|settings| settings["required_claims"] = json!(["sub"]));
    let now = NOW.as_secs();
    let missing = |claim: &str| Rejection::Claim { claim: claim.to_owned() };
    let cases: Vec<(&str, Value, Rejection)> = vec![
        ("exp", json!(now - 31), Rejection::Expired),
        ("exp", json!(0), Rejection::Expired),
        ("exp", json!(-1), Rejection::Expired),
        ("exp", json!("never"), missing("exp")),
        ("exp", Value::Null, missing("exp")),
        ("nbf", json!(now + 31), Rejection::NotYet),
        ("nbf", json!("later"), missing("nbf")),
        ("iat", json!(now + 31), Rejection::NotYet),
        ("iss", json!("https://id.test.evil"), Rejection::Issuer),
        ("iss", json!(["https://id.test"]), missing("iss")),
        ("iss", Value::Null, missing("iss")),
        ("aud", json!("apis"), Rejection::Audience),
        ("aud", json!([]), Rejection::Audience),
        ("aud", json!({ "api": 1 }), Rejection::Audience),
        ("sub", Value::Null, missing("sub")),
    ];
    for (name, value, rejection) in cases {
        let claims = claims(|claims| claims[name] = value.clone());
        let refused = judged(&verifier, &head("EdDSA", "ed"), &claims).await;
        assert_eq!(refused, Err(rejection), "{name}: {value}");
    }
    for name in ["exp", "iss", "aud", "sub"] {
        let claims = claims(|claims| drop(claims.as_object_mut().expect("claims").remove(name)));
        let refused = judged(&verifier, &head("EdDSA", "ed"), &claims).await;
        assert_eq!(refused, Err(missing(name)));
    }
    for (name, value) in [
        ("exp", json!(now - 29)),
        ("nbf", json!(now + 29)),
        ("exp", json!(now as f64 + 0.5)),
        ("aud", json!(["x", "other"])),
    ] {
        let claims = claims(|claims| claims[name] = value.clone());
        assert!(judged(&verifier, &head("EdDSA", "ed"), &claims).await.is_ok(), "{name}: {value}");
    }
}

#[tokio::test]
async fn what_is_no_token_is_refused_without_harm() {
    let verifier = verifier(|_| ());
    let good = provider().sign(&head("EdDSA", "ed"), &claims(|_| ()));
    let parts: Vec<&str> = good.split('.').collect();
    let long = "a".repeat(TOKEN_BYTES_MAX + 1);
    for token in [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        &good[..good.len() - 1],
        &format!("{good}."),
        &format!("{good}.a.b"),
        &format!("{}.{}", parts[0], parts[1]),
        &long,
        &format!("{}=.{}.{}", parts[0], parts[1], parts[2]),
        &format!("{}.{}.{}", parts[0], parts[1], parts[2].replace(['-', '_'], "+")),
        &format!(" {good}"),
    ] {
        // A signature may happen to have no letter that differs between the two alphabets.
        if token != good {
            assert!(verifier.verify(token, NOW).await.is_err(), "{token}");
        }
    }
    for extra in ["crit", "b64"] {
        let mut head = head("EdDSA", "ed");
        head[extra] = json!(["exp"]);
        let refused = judged(&verifier, &head, &claims(|_| ())).await;
        assert_eq!(refused, Err(Rejection::Critical));
    }
    let twice = "{\"iss\":\"https://id.test\",\"aud\":\"api\",\"exp\":1,\"exp\":9999999999}";
    let message = format!("{}.{}", b64(head("EdDSA", "ed").to_string()), b64(twice));
    let signature = provider().ed.sign(message.as_bytes());
    let refused = verifier.verify(&format!("{message}.{}", b64(signature)), NOW).await;
    assert_eq!(refused, Err(Rejection::Malformed), "a claim stands twice");
}

#[tokio::test]
async fn a_type_that_is_wanted_must_be_there() {
    let verifier = verifier(|settings| settings["typ"] = json!("at+jwt"));
    for (typ, is_right) in [("at+jwt", true), ("application/AT+JWT", true), ("JWT", false)] {
        let mut head = head("EdDSA", "ed");
        head["typ"] = json!(typ);
        assert_eq!(judged(&verifier, &head, &claims(|_| ())).await.is_ok(), is_right, "{typ}");
    }
}

#[tokio::test]
async fn a_shared_secret_signs_for_itself_only() {
    let secret = "0123456789abcdef0123456789abcdef";
    let verifier = verifier(|settings| {
        settings["algorithms"] = json!(["HS256"]);
        settings["hmac"] = json!(secret);
        settings.as_object_mut().expect("an object").remove("jwks_file");
    });
    let head = head("HS256", "any");
    let token = hmac_signed(&head, &claims(|_| ()), secret.as_bytes());
    assert!(verifier.verify(&token, NOW).await.is_ok());
    let token = hmac_signed(&head, &claims(|_| ()), b"another one, of thirty-two bytes");
    assert_eq!(verifier.verify(&token, NOW).await, Err(Rejection::Signature));
    assert!(!format!("{verifier:?}").contains(secret));
}

/// Remembers news of keys.
fn ears() -> (std::sync::Arc<Mutex<Vec<String>>>, Tell) {
    let heard = std::sync::Arc::new(Mutex::new(Vec::new()));
    let ears = heard.clone();
    let tell: Tell = std::sync::Arc::new(move |news| {
        let mut heard = ears.lock().expect("nobody panicked");
        heard.push(format!("{news:?}"));
    });
    (heard, tell)
}

/// Waits until the last news begin like this.
async fn until_heard(heard: &Mutex<Vec<String>>, news: &str) -> String {
    let waiting = async {
        loop {
            let last = heard.lock().expect("nobody panicked").last().cloned();
            match last {
                Some(last) if last.starts_with(news) => return last,
                _ => tokio::task::yield_now().await,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("news")
}

#[tokio::test]
async fn a_shared_secret_that_changes_takes_the_place_of_the_last_at_once() {
    let [old, new] = ["0123456789abcdef", "fedcba9876543210"].map(|half| half.repeat(2));
    let settings = settings(|settings| {
        settings["algorithms"] = json!(["HS256"]);
        settings["hmac"] = json!(old);
        settings.as_object_mut().expect("an object").remove("jwks_file");
    });
    let settings = settings.to_string().parse().expect("settings");
    let (fresh, hmac) = tokio::sync::watch::channel(Secret(old.clone()));
    let (heard, tell) = ears();
    let verifier = Verifier::following(settings, Some(hmac), tell).expect("a key");
    let of = |secret: &str| hmac_signed(&head("HS256", "any"), &claims(|_| ()), secret.as_bytes());
    assert!(verifier.verify(&of(&old), NOW).await.is_ok());
    fresh.send_replace(Secret(new.clone()));
    until_heard(&heard, "SecretChanged").await;
    assert!(verifier.verify(&of(&new), NOW).await.is_ok());
    assert_eq!(verifier.verify(&of(&old), NOW).await, Err(Rejection::Signature));
    fresh.send_replace(Secret("short".to_owned()));
    let refused = until_heard(&heard, "SecretRefused").await;
    assert!(!refused.contains("short\""), "{refused}");
    assert!(verifier.verify(&of(&new), NOW).await.is_ok(), "the last one stays");
}

#[tokio::test]
async fn keys_that_cannot_be_fetched_are_told_with_their_age_and_end_with_their_bound() {
    let published = published(http("200 OK", &provider().jwks().to_string())).await;
    let settings = settings(|settings| {
        settings["jwks"] = json!({ "url": published.url, "refresh": "1s", "stale": "1s" });
        settings.as_object_mut().expect("an object").remove("jwks_file");
    });
    let (heard, tell) = ears();
    let settings = settings.to_string().parse().expect("settings");
    let verifier = Verifier::following(settings, None, tell).expect("keys");
    let token = provider().sign(&head("EdDSA", "ed"), &claims(|_| ()));
    assert!(verifier.verify(&token, NOW).await.is_ok());
    assert!(until_heard(&heard, "Fetched").await.contains("(3)"));
    published.say(http("500 Oh", "{}"));
    let failed = until_heard(&heard, "Failed").await;
    assert!(
        failed.contains("why: \"the answer is 500") && failed.contains("age: Some"),
        "{failed}"
    );
    // Nobody could withdraw them for longer than `stale`.
    while !until_heard(&heard, "Failed").await.contains("is_expired: true") {
        tokio::task::yield_now().await;
    }
    assert_eq!(verifier.verify(&token, NOW).await, Err(Rejection::NoKeys));
    published.say(http("200 OK", &provider().jwks().to_string()));
    until_heard(&heard, "Fetched").await;
    assert!(verifier.verify(&token, NOW).await.is_ok());
}

#[test]
fn settings_that_let_anybody_in_are_refused() {
    type Change = Box<dyn Fn(&mut Value)>;
    let without = |name: &'static str| {
        move |settings: &mut Value| drop(settings.as_object_mut().expect("one").remove(name))
    };
    let set = |name: &'static str, value: Value| {
        move |settings: &mut Value| settings[name] = value.clone()
    };
    let cases: Vec<(Change, &str)> = vec![
        (Box::new(without("issuer")), "missing field `issuer`"),
        (Box::new(without("audience")), "missing field `audience`"),
        (Box::new(without("algorithms")), "missing field `algorithms`"),
        (Box::new(without("jwks_file")), "it names no keys"),
        (Box::new(set("issuer", json!([]))), "`issuer` is empty"),
        (Box::new(set("algorithms", json!(["none"]))), "`none` is not an algorithm"),
        (Box::new(set("algorithms", json!(["HS256"]))), "HS algorithms take `hmac` and no keys"),
        (Box::new(set("algorithms", json!(["RS256", "HS256"]))), "mixes a shared secret"),
        (Box::new(set("hmac", json!("x"))), "`hmac` is for HS algorithms only"),
        (Box::new(set("jwks", json!({ "url": "http://id.test" }))), "not an `https` address"),
        (Box::new(set("leeway", json!("1h"))), "`leeway` is at most 300 s"),
        (Box::new(set("forward", json!(["a b"]))), "cannot be part of a header's name"),
        (Box::new(set("audiance", json!("x"))), "unknown field `audiance`"),
        (Box::new(set("public", json!(["login"]))), "`login` is not a path to match"),
    ];
    for (change, problem) in cases {
        let error = settings(change).to_string().parse::<JwtSettings>().expect_err(problem);
        assert!(error.to_string().contains(problem), "{problem}: {error}");
    }
}

/// A place where keys are published, which can say anything.
struct Published {
    url: String,
    answer: std::sync::Arc<Mutex<String>>,
    n_asked: std::sync::Arc<std::sync::atomic::AtomicUsize>,
}

fn http(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

async fn published(answer: String) -> Published {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/jwks.json", listener.local_addr().expect("an address"));
    let answer = std::sync::Arc::new(Mutex::new(answer));
    let n_asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let (text, count) = (answer.clone(), n_asked.clone());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let _request = socket.read(&mut [0; 4096]).await;
            count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let text = text.lock().expect("nobody panicked").clone();
            let _answered = socket.write_all(text.as_bytes()).await;
        }
    });
    Published { url, answer, n_asked }
}

impl Published {
    fn say(&self, answer: String) {
        *self.answer.lock().expect("nobody panicked") = answer;
    }

    fn verifier(&self) -> Verifier {
        verifier(|settings| {
            settings["jwks"] = json!({ "url": self.url });
            settings.as_object_mut().expect("an object").remove("jwks_file");
        })
    }
}

#[tokio::test]
async fn published_keys_are_fetched_rotated_and_outlive_their_server() {
    let published = published(http("200 OK", &provider().jwks().to_string())).await;
    let verifier = published.verifier();
    let token = head("EdDSA", "ed");
    assert!(judged(&verifier, &token, &claims(|_| ())).await.is_ok(), "the first waits for keys");
    // A new key, in place of the old one, found because a token names it.
    let random = SystemRandom::new();
    let young = Ed25519KeyPair::generate_pkcs8(&random).expect("a key");
    let young = Ed25519KeyPair::from_pkcs8(young.as_ref()).expect("a key");
    let set = json!({ "keys": [
        { "kty": "OKP", "kid": "young", "crv": "Ed25519", "x": b64(young.public_key()) },
    ]});
    published.say(http("200 OK", &set.to_string()));
    let message =
        format!("{}.{}", b64(head("EdDSA", "young").to_string()), b64(claims(|_| ()).to_string()));
    let young = format!("{message}.{}", b64(young.sign(message.as_bytes())));
    assert!(verifier.verify(&young, NOW).await.is_ok());
    let refused = judged(&verifier, &token, &claims(|_| ())).await;
    assert_eq!(refused, Err(Rejection::UnknownKey), "withdrawn");
    // Garbage, errors, an endless set: the last good keys stay.
    let endless = format!("{{\"keys\": [{}]}}", vec!["{}"; 1000].join(","));
    for answer in
        [http("200 OK", "not JSON"), http("500 Oh", "{}"), http("200 OK", &endless), "???".into()]
    {
        let n_before = published.n_asked.load(std::sync::atomic::Ordering::SeqCst);
        published.say(answer);
        while published.n_asked.load(std::sync::atomic::Ordering::SeqCst) == n_before {
            // Names a key that nobody has, and so asks for a fetch.
            let _refused = judged(&verifier, &head("EdDSA", "no"), &claims(|_| ())).await;
        }
        assert!(verifier.verify(&young, NOW).await.is_ok());
    }
}

#[tokio::test]
async fn tokens_of_unknown_keys_do_not_make_us_ask_without_end() {
    let published = published(http("200 OK", &provider().jwks().to_string())).await;
    let verifier = published.verifier();
    let asking = (0..200).map(|number| {
        let token = provider().sign(&head("EdDSA", &format!("no-{number}")), &claims(|_| ()));
        let verifier = &verifier;
        async move { verifier.verify(&token, NOW).await }
    });
    let began = std::time::Instant::now();
    for refused in join_all(asking).await {
        assert_eq!(refused, Err(Rejection::UnknownKey));
    }
    let n_most = 2 + began.elapsed().as_secs() / keys::REFETCH_PAUSE.as_secs();
    let n_asked = published.n_asked.load(std::sync::atomic::Ordering::SeqCst) as u64;
    assert!(n_asked <= n_most, "{n_asked} fetches");
}

/// All at once, on this task.
async fn join_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|cx| {
        let mut is_done = true;
        for (future, output) in &mut futures {
            if output.is_none() {
                match future.as_mut().poll(cx) {
                    std::task::Poll::Ready(value) => *output = Some(value),
                    std::task::Poll::Pending => is_done = false,
                }
            }
        }
        if is_done { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    futures.into_iter().filter_map(|(_, output)| output).collect()
}

#[test]
fn a_file_that_is_no_key_is_named() {
    let path = Path::new("/nonexistent/key.pem");
    let change = |settings: &mut Value| {
        settings["keys"] = json!([{ "algorithm": "RS256", "file": path }]);
    };
    let settings = settings(change).to_string().parse().expect("settings");
    let error = Verifier::new(settings).expect_err("no such file").to_string();
    assert!(error.contains("`/nonexistent/key.pem`"), "{error}");
}
