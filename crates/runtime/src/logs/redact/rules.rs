//! Table: what a credential looks like that nobody told us of.
//!
//! One rule is one row: the words that make it worth looking, a pattern that is tried where such a
//! word stands, and an example of each kind. The ids are those of gitleaks where it has the rule.
//! Patterns are anchored at the word, so that a line without one costs a single pass of one
//! automaton; the engine behind them needs linear time on any input. It deliberately knows no
//! entropy: a rule matches what has a shape of its own.
//!
//! Invariant: what a rule takes has no quote and no backslash, so a JSON string stays one.

use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use contract::redactions as ids;
use regex::bytes::{Regex, RegexBuilder};

/// One row.
#[derive(Debug)]
pub(super) struct Rule {
    /// One of `contract::redactions`.
    pub(super) id: &'static str,
    /// Words, in lower case, of which one is in every match, at its beginning.
    pub(super) keywords: &'static [&'static str],
    /// Tried at the word; its first group, or else all of it, is taken.
    pub(super) pattern: &'static str,
    /// What more must hold of what is taken.
    pub(super) holds: fn(&[u8]) -> bool,
    /// A byte of every match: a pattern is not tried where none follows.
    pub(super) byte: Option<u8>,
    /// Whether the word may follow a letter or a digit.
    pub(super) is_inside_words: bool,
    /// A text that it changes.
    #[cfg_attr(not(test), expect(dead_code, reason = "documentation that tests check"))]
    pub(super) example: &'static str,
    /// A text that it leaves alone.
    #[cfg_attr(not(test), expect(dead_code, reason = "documentation that tests check"))]
    pub(super) counterexample: &'static str,
}

const fn rule(
    id: &'static str,
    keywords: &'static [&'static str],
    pattern: &'static str,
    example: &'static str,
    counterexample: &'static str,
) -> Rule {
    Rule {
        id,
        keywords,
        pattern,
        holds: always,
        byte: None,
        is_inside_words: false,
        example,
        counterexample,
    }
}

fn always(_: &[u8]) -> bool {
    true
}

/// Whether it is `user:password` in base64; `basic` alone is an ordinary word.
fn is_user_and_password(text: &[u8]) -> bool {
    STANDARD.decode(text).is_ok_and(|decoded| decoded.contains(&b':'))
}

/// Every rule. Of two that take the same text the earlier one gives its name.
pub(super) const RULES: &[Rule] = &[
    rule(
        ids::AWS_ACCESS_TOKEN,
        &["akia", "asia", "abia", "acca"],
        r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}",
        "key AKIAQYLPMN5HHHFPZAM2 in use",
        "the ASIA region",
    ),
    rule(
        ids::GITHUB_PAT,
        &["ghp_"],
        "ghp_[0-9A-Za-z]{36,}",
        "ghp_aB3dE5fG7hI9jK1lM3nO5pQ7rS9tU1vW3xY5",
        "ghp_short",
    ),
    rule(
        ids::GITHUB_OAUTH,
        &["gho_"],
        "gho_[0-9A-Za-z]{36,}",
        "gho_aB3dE5fG7hI9jK1lM3nO5pQ7rS9tU1vW3xY5",
        "gho_short",
    ),
    rule(
        ids::GITHUB_APP_TOKEN,
        &["ghu_", "ghs_"],
        "gh[us]_[0-9A-Za-z]{36,}",
        "ghs_aB3dE5fG7hI9jK1lM3nO5pQ7rS9tU1vW3xY5",
        "weighs_36",
    ),
    rule(
        ids::GITHUB_REFRESH_TOKEN,
        &["ghr_"],
        "ghr_[0-9A-Za-z]{36,}",
        "ghr_aB3dE5fG7hI9jK1lM3nO5pQ7rS9tU1vW3xY5",
        "ghr_short",
    ),
    rule(
        ids::GITHUB_FINE_GRAINED_PAT,
        &["github_pat_"],
        "github_pat_[0-9A-Za-z_]{82,}",
        "github_pat_11AAAAAAA0aaaaaaaaaaaa_bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
        "github_pat_name",
    ),
    rule(
        ids::GITLAB_PAT,
        &["glpat-"],
        "glpat-[0-9A-Za-z_-]{20,}",
        "glpat-aB3dE5fG7hI9jK1lM3nO",
        "glpat-short",
    ),
    rule(
        ids::SLACK_TOKEN,
        &["xoxa-", "xoxb-", "xoxe-", "xoxo-", "xoxp-", "xoxr-", "xoxs-", "xapp-"],
        "(?:xox[abeoprs]|xapp)-[0-9A-Za-z-]{10,}",
        "xoxb-123456789012-abcdefABCDEF",
        "xoxb-none",
    ),
    rule(
        ids::SLACK_WEBHOOK_URL,
        &["hooks.slack.com/"],
        r"hooks\.slack\.com/(?:services|workflows|triggers)/([0-9A-Za-z+/]{20,})",
        "https://hooks.slack.com/services/T00000000/B00000000/abcdefghijklmnopqrstuvwx",
        "see https://hooks.slack.com/services",
    ),
    rule(
        ids::STRIPE_ACCESS_TOKEN,
        &["sk_live_", "sk_test_", "sk_prod_", "rk_live_", "rk_test_", "rk_prod_"],
        "[sr]k_(?:live|test|prod)_[0-9A-Za-z]{10,}",
        "sk_live_aB3dE5fG7hI9jK1lM3nO5pQ7",
        "sk_live_mode",
    ),
    rule(
        ids::JWT,
        &["eyj"],
        r"eyJ[0-9A-Za-z_-]{10,}(?:\.[0-9A-Za-z_-]*){2,4}",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N",
        "eyJhbGciOiJIUzI1NiJ9 alone",
    ),
    rule(
        ids::BEARER,
        &["bearer "],
        r"(?i:bearer) +([0-9A-Za-z._~+/-]{8,}=*)",
        "authorization: Bearer mF_9.B5f-4.1JqM",
        "the bearer of news",
    ),
    Rule {
        holds: is_user_and_password,
        ..rule(
            ids::BASIC_AUTH,
            &["basic "],
            "(?i:basic) +([0-9A-Za-z+/]{4,}={0,2})",
            "Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
            "basic authentication",
        )
    },
    rule(
        ids::PRIVATE_KEY,
        &["-----begin "],
        concat!(
            "-----BEGIN [0-9A-Z_ ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?:",
            r#"(?:\\+[nrt]|[^"'<>{}\\])*?-----END [0-9A-Z_ ]{0,60}-----"#,
            r#"|(?:\\+[nrt]|[^"'<>{}\\])*)"#
        ),
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY----- after",
        "-----BEGIN CERTIFICATE-----",
    ),
    rule(
        ids::GCP_API_KEY,
        &["aiza"],
        "AIza[0-9A-Za-z_-]{35}",
        "AIzaSyaB3dE5fG7hI9jK1lM3nO5pQ7rS9tU1vW3",
        "AIza",
    ),
    rule(
        ids::ANTHROPIC_API_KEY,
        &["sk-ant-"],
        "sk-ant-[0-9A-Za-z_-]{20,}",
        "sk-ant-api03-aB3dE5fG7hI9jK1lM3nO5pQ7",
        "sk-ant-colony",
    ),
    rule(
        ids::OPENAI_API_KEY,
        &["sk-"],
        "sk-(?:proj-|svcacct-|admin-)?[0-9A-Za-z_-]{20,}",
        "sk-proj-aB3dE5fG7hI9jK1lM3nO5pQ7",
        "task-aB3dE5fG7hI9jK1lM3nO5pQ7 and sk-1",
    ),
    rule(
        ids::NPM_ACCESS_TOKEN,
        &["npm_"],
        "npm_[0-9A-Za-z]{36,}",
        "npm_aB3dE5fG7hI9jK1lM3nO5pQ7rS9tU1vW3xY5",
        "npm_config_cache",
    ),
    rule(
        ids::PYPI_UPLOAD_TOKEN,
        &["pypi-age"],
        "pypi-AgE[0-9A-Za-z_-]{16,}",
        "pypi-AgEIcHlwaS5vcmcCJGFiY2RlZmdo",
        "pypi-agent",
    ),
    rule(
        ids::SENDGRID_API_TOKEN,
        &["sg."],
        r"SG\.[0-9A-Za-z_-]{16,}\.[0-9A-Za-z_-]{16,}",
        "SG.aB3dE5fG7hI9jK1lM3nO5p.aB3dE5fG7hI9jK1lM3nO5pQ7rS9tU1vW3xY5zA7bC9d",
        "SG.json",
    ),
    rule(
        ids::HUGGINGFACE_ACCESS_TOKEN,
        &["hf_"],
        "hf_[0-9A-Za-z]{34,}",
        "hf_aBcDeFgHiJkLmNoPqRsTuVwXyZaBcDeFgH",
        "hf_hub_download",
    ),
    rule(
        ids::DIGITALOCEAN_PAT,
        &["dop_v1_", "doo_v1_", "dor_v1_"],
        "do[opr]_v1_[0-9a-f]{64}",
        "dop_v1_0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        "dop_v1_",
    ),
    rule(
        ids::VAULT_TOKEN,
        &["hvs.", "hvb.", "hvr."],
        r"hv[sbr]\.[0-9A-Za-z_-]{24,}",
        "hvs.CAESIJ1lM3nO5pQ7rS9tU1vW3xY5zA7bC9d",
        "hvs.local",
    ),
    Rule {
        byte: Some(b'@'),
        is_inside_words: true,
        ..rule(
            ids::URL_USERINFO,
            &["://"],
            r#"://[^\s/?#@:"'\\<>]*:([^\s/?#"'\\<>]*[^\s/?#@"'\\<>])@"#,
            "postgres://app:hunter2@db:5432/app",
            "http://host:8080/a@b",
        )
    },
];

/// The pattern of a rule, built when its word is first met.
pub(super) fn pattern(index: usize) -> &'static Regex {
    static BUILT: [OnceLock<Regex>; RULES.len()] = [const { OnceLock::new() }; RULES.len()];
    BUILT[index].get_or_init(|| build(RULES[index].pattern).expect("every row is tested"))
}

/// A pattern that is tried at one place, on bytes.
pub(super) fn build(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(&format!("^(?:{pattern})"))
        .unicode(false)
        .size_limit(PATTERN_BYTES_MAX)
        .build()
}

/// Most bytes that one pattern may take in memory.
const PATTERN_BYTES_MAX: usize = 1024 * 1024;
