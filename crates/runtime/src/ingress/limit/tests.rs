//! The arithmetic of buckets, with a clock of our own.

use proptest::prelude::*;

use super::*;

fn limiter(text: &str) -> Limiter {
    Limiter::new(text.parse().expect("settings"))
}

struct Client<'a> {
    limiter: &'a Limiter,
    headers: HeaderMap,
    address: IpAddr,
}

impl<'a> Client<'a> {
    fn at(limiter: &'a Limiter, address: &str) -> Self {
        let address = address.parse().expect("an address");
        Self { limiter, headers: HeaderMap::new(), address }
    }

    fn ask(&self, path: &str, now_ms: u64) -> Option<Decision> {
        let asking = Asking {
            client: self.address,
            method: "GET",
            path,
            headers: &self.headers,
            claims: None,
        };
        self.limiter.take(&asking, self.limiter.epoch + Duration::from_millis(now_ms))
    }

    fn is_let_in(&self, now_ms: u64) -> bool {
        self.ask("/", now_ms).expect("a rule").retry_after.is_none()
    }
}

#[test]
fn a_burst_passes_then_one_request_for_each_share_of_the_window() {
    let limiter = limiter("60/m burst 3");
    let client = Client::at(&limiter, "192.0.2.1");
    assert!((0..3).all(|_| client.is_let_in(0)));
    let refused = client.ask("/", 0).expect("a rule");
    assert_eq!(refused.retry_after, Some(Duration::from_secs(1)));
    assert_eq!((refused.remaining, refused.reset), (0, Duration::from_secs(3)));
    assert!(!client.is_let_in(999), "a second has not passed");
    assert!(client.is_let_in(1000));
    assert!(!client.is_let_in(1000));
    assert!((0..3).all(|_| client.is_let_in(60_000)), "full again, and no fuller");
    assert!(!client.is_let_in(60_000));
}

#[test]
fn each_client_has_its_own_bucket_and_a_v6_client_is_its_network() {
    let limiter = limiter("1/h");
    assert!(Client::at(&limiter, "192.0.2.1").is_let_in(0));
    assert!(Client::at(&limiter, "192.0.2.2").is_let_in(0));
    assert!(!Client::at(&limiter, "::ffff:192.0.2.1").is_let_in(0), "the same, in other words");
    assert!(Client::at(&limiter, "2001:db8::1").is_let_in(0));
    assert!(!Client::at(&limiter, "2001:db8::2:1").is_let_in(0), "the same /64");
    assert!(Client::at(&limiter, "2001:db8:0:1::1").is_let_in(0));
}

#[test]
fn routes_have_rules_of_their_own_and_exempt_paths_none() {
    let limiter = limiter(
        r#"{"default": "1/h", "exempt": ["/metrics"],
            "routes": [{"path": "/up/*", "methods": ["get"], "limit": "2/h"}]}"#,
    );
    let client = Client::at(&limiter, "192.0.2.1");
    assert!(client.is_let_in(0) && !client.is_let_in(0));
    assert_eq!(client.ask("/up/a", 0).and_then(|it| it.retry_after), None);
    assert_eq!(client.ask("/UP//a", 0).and_then(|it| it.retry_after), None);
    assert!(client.ask("/%75p/a", 0).and_then(|it| it.retry_after).is_some(), "no way round");
    assert_eq!(client.ask("/metrics", 0), None);
}

#[test]
fn a_header_can_say_who_asks() {
    let limiter = limiter(r#"{"default": "1/h", "key": "header:x-api-key"}"#);
    let mut client = Client::at(&limiter, "192.0.2.1");
    client.headers.insert("x-api-key", "a".parse().expect("a value"));
    assert!(client.is_let_in(0) && !client.is_let_in(0));
    client.headers.insert("x-api-key", "b".parse().expect("a value"));
    assert!(client.is_let_in(0));
    client.headers.clear();
    assert!(client.is_let_in(0) && !client.is_let_in(0), "without it the address counts");
}

#[test]
fn a_million_clients_take_the_room_of_the_bound() {
    let limiter = limiter(r#"{"default": "1/h", "clients_max": 1000}"#);
    for number in 0..1_000_000_u32 {
        let address = IpAddr::from(number.to_be_bytes());
        let headers = HeaderMap::new();
        let asking =
            Asking { client: address, method: "GET", path: "/", headers: &headers, claims: None };
        limiter.take(&asking, limiter.epoch);
        assert!(limiter.n_clients() <= 1000);
    }
    let last = Client::at(&limiter, "0.15.66.63");
    assert!(!last.is_let_in(0), "the last one is still known");
}

#[test]
fn what_is_no_limit_says_how_one_looks() {
    for text in ["", "100", "0/s", "100/w", "100/s burst", "100/s burst 0", "9999999/s", "-1/s"] {
        let error = text.parse::<LimitSettings>().expect_err(text).to_string();
        assert!(error.contains("100/s"), "{text}: {error}");
    }
    for (text, part) in [
        (r#"{"defualt": "1/s"}"#, "unknown field `defualt`, expected one of `default`"),
        (r#"{"default": "1/x"}"#, "`1/x` is not a rate"),
        (r#"{"key": "cookie", "default": "1/s"}"#, "`cookie` does not say who a client is"),
        ("{}", "neither `default` nor `routes`"),
        (r#"{"default": "1/s", "clients_max": 0}"#, "`clients_max` is from 2"),
    ] {
        let error = text.parse::<LimitSettings>().expect_err(text).to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
}

proptest! {
    #[test]
    fn no_client_gets_more_than_its_burst_and_its_rate(
        count in 1_u32..50,
        burst in 1_u32..50,
        waits in prop::collection::vec(0_u64..2000, 1..200),
    ) {
        let limiter = limiter(&format!("{count}/s burst {burst}"));
        let client = Client::at(&limiter, "192.0.2.1");
        let (mut now, mut n_let_in) = (0, 0);
        for wait in waits {
            now += wait;
            n_let_in += u64::from(client.is_let_in(now));
        }
        // The share of one request is cut to whole nanoseconds, in the client's favour.
        let most = u64::from(burst) + now * u64::from(count) / 1000 + 1;
        prop_assert!(n_let_in <= most, "{n_let_in} > {most}");
    }
}
