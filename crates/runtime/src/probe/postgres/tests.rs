//! Claims about the PostgreSQL probe where no server answers; those with a real one are in
//! `crates/plimsoll/tests/it/run_probes_real.rs`.

use super::*;
use crate::probe::settings::Confidential;

fn probe(url: &str) -> Postgres {
    let settings = settings::Postgres {
        url: Confidential(url.to_owned()),
        sql: "select 1 -- all".into(),
        schema_version: None,
    };
    Postgres::new(&settings, Duration::from_secs(1))
}

#[tokio::test]
async fn a_closed_port_says_refused_and_no_credential() {
    let refused = probe("postgres://app:hush@127.0.0.1:1/x").check().await;
    assert_eq!(refused, Err("connect to 127.0.0.1:1: connection refused".into()));
}

#[tokio::test]
async fn every_host_of_the_address_is_tried() {
    let mut probe = probe("postgres://app@127.0.0.1:1,127.0.0.1:2/x?sslmode=disable");
    assert!(probe.check().await.is_err_and(|said| said.contains("127.0.0.1:2")));
}

#[test]
fn a_query_may_end_with_a_comment() {
    let check = probe("postgres://app@db/x").question.check;
    assert!(check.starts_with("begin read only; set local statement_timeout = 1000; "));
    assert!(check.ends_with("-- all\n; commit"), "{check}");
}
