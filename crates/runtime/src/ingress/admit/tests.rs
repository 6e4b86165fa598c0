//! What guards read from a request and write into it.

use super::*;

fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let field = |(name, value): &(&'static str, &'static str)| {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    let mut headers = HeaderMap::new();
    for (name, value) in fields.iter().map(field) {
        headers.append(name, value);
    }
    headers
}

#[test]
fn a_request_has_one_bearer_token_or_none() {
    assert_eq!(bearer(&headers(&[("authorization", "Bearer a.b.c")])), Ok("a.b.c"));
    assert_eq!(bearer(&headers(&[("authorization", "bearer a.b.c")])), Ok("a.b.c"));
    assert_eq!(bearer(&headers(&[])), Err(Rejection::Missing));
    assert_eq!(bearer(&headers(&[("authorization", "Basic YTpi")])), Err(Rejection::Missing));
    let two = headers(&[("authorization", "Bearer a"), ("authorization", "Bearer b")]);
    assert_eq!(bearer(&two), Err(Rejection::Ambiguous));
}

#[test]
fn what_a_client_says_in_our_name_is_removed() {
    let mut fields = headers(&[("x-jwt-sub", "root"), ("x_jwt_sub", "root"), ("x-other", "1")]);
    strip(&mut fields);
    let claims = serde_json::json!({ "sub": "ada", "roles": ["a"], "evil": "a\r\nb: c" });
    let claims = claims.as_object().cloned().unwrap_or_default();
    let names = ["sub", "roles", "evil", "missing"].map(str::to_owned);
    forward(&names, &claims, &mut fields);
    let said: Vec<_> =
        fields.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    assert_eq!(said.len(), 3, "{said:?}");
    assert_eq!(fields["x-jwt-sub"], "ada");
    assert_eq!(fields["x-jwt-roles"], "[\"a\"]");
}

#[test]
fn every_problem_of_the_settings_is_said() {
    let settings = GuardSettings {
        trusted_proxies: Some("home".into()),
        rate_limit: Some("lots".into()),
        jwt: Some("{}".into()),
        policy: Some("/nonexistent.rego".into()),
    };
    let said: Vec<_> = settings.check().iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 4, "{said:?}");
    for (said, part) in said.iter().zip(["home", "lots", "issuer", "nonexistent"]) {
        assert!(said.contains(part) && said.contains("help: "), "{said}");
    }
    assert!(GuardSettings::default().check().is_empty());
}
