//! Claims about the Redis probe where no server answers; those with a real one are in
//! `crates/plimsoll/tests/it/run_probes_real.rs`.

use super::*;
use crate::probe::settings::Confidential;

fn probe(url: &str) -> Redis {
    Redis::new(&settings::Redis { url: Confidential(url.to_owned()), llen: None, warn: None })
}

#[tokio::test]
async fn a_closed_port_says_refused_and_no_credential() {
    let found = probe("redis://:hush@127.0.0.1:1/0").check().await;
    assert_eq!(found.result, Err("connect to 127.0.0.1:1: connection refused".into()));
}

#[test]
fn an_address_is_checked_without_being_shown() {
    for url in ["http://u:hush@x", "redis://u:hush@x:hush", "hush"] {
        let said = address(url).expect_err("invalid");
        assert!(!said.contains("hush"), "{said}");
    }
    assert!(address("rediss://u:p@cache:6380/3").is_ok());
}
