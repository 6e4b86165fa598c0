//! Table: the rules by which log lines and endpoints are redacted.
//!
//! What a rule takes is replaced by its [`marker`], which has no quote and no backslash, so that
//! JSON stays JSON. The ids are those of gitleaks where it has the rule. It deliberately holds no
//! pattern: `runtime` does, beside their tests.
//!
//! Invariant: an id is a value of the label `rule` of `redactions_total`.

/// The exact value of a resolved secret, in any of its encodings.
pub const SECRET: &str = "secret";
/// The value of a key such as `password` in JSON, or of a header.
pub const KEY: &str = "key";
/// `password=...` and the like in text.
pub const ASSIGNMENT: &str = "assignment";
/// Id of an AWS access key.
pub const AWS_ACCESS_TOKEN: &str = "aws-access-token";
/// GitHub personal access token.
pub const GITHUB_PAT: &str = "github-pat";
/// GitHub OAuth token.
pub const GITHUB_OAUTH: &str = "github-oauth";
/// GitHub app token.
pub const GITHUB_APP_TOKEN: &str = "github-app-token";
/// GitHub refresh token.
pub const GITHUB_REFRESH_TOKEN: &str = "github-refresh-token";
/// GitHub fine-grained personal access token.
pub const GITHUB_FINE_GRAINED_PAT: &str = "github-fine-grained-pat";
/// GitLab personal access token.
pub const GITLAB_PAT: &str = "gitlab-pat";
/// Slack token.
pub const SLACK_TOKEN: &str = "slack-token";
/// Path of a Slack webhook.
pub const SLACK_WEBHOOK_URL: &str = "slack-webhook-url";
/// Stripe key.
pub const STRIPE_ACCESS_TOKEN: &str = "stripe-access-token";
/// JSON web token.
pub const JWT: &str = "jwt";
/// What follows `Bearer`.
pub const BEARER: &str = "bearer";
/// User and password in base64 that follow `Basic`.
pub const BASIC_AUTH: &str = "basic-auth";
/// PEM block of a private key, also over several lines.
pub const PRIVATE_KEY: &str = "private-key";
/// Google API key.
pub const GCP_API_KEY: &str = "gcp-api-key";
/// Anthropic API key.
pub const ANTHROPIC_API_KEY: &str = "anthropic-api-key";
/// OpenAI API key.
pub const OPENAI_API_KEY: &str = "openai-api-key";
/// Npm token.
pub const NPM_ACCESS_TOKEN: &str = "npm-access-token";
/// PyPI token.
pub const PYPI_UPLOAD_TOKEN: &str = "pypi-upload-token";
/// SendGrid key.
pub const SENDGRID_API_TOKEN: &str = "sendgrid-api-token";
/// Hugging Face token.
pub const HUGGINGFACE_ACCESS_TOKEN: &str = "huggingface-access-token";
/// DigitalOcean token.
pub const DIGITALOCEAN_PAT: &str = "digitalocean-pat";
/// Vault or OpenBao token.
pub const VAULT_TOKEN: &str = "vault-token";
/// Password in `scheme://user:password@host`.
pub const URL_USERINFO: &str = "url-userinfo";
/// A pattern that `--redact` adds.
pub const EXTRA: &str = "extra";

/// Every id, in the order in which rules are tried.
pub const ALL: &[&str] = &[
    SECRET,
    KEY,
    ASSIGNMENT,
    AWS_ACCESS_TOKEN,
    GITHUB_PAT,
    GITHUB_OAUTH,
    GITHUB_APP_TOKEN,
    GITHUB_REFRESH_TOKEN,
    GITHUB_FINE_GRAINED_PAT,
    GITLAB_PAT,
    SLACK_TOKEN,
    SLACK_WEBHOOK_URL,
    STRIPE_ACCESS_TOKEN,
    JWT,
    BEARER,
    BASIC_AUTH,
    PRIVATE_KEY,
    GCP_API_KEY,
    ANTHROPIC_API_KEY,
    OPENAI_API_KEY,
    NPM_ACCESS_TOKEN,
    PYPI_UPLOAD_TOKEN,
    SENDGRID_API_TOKEN,
    HUGGINGFACE_ACCESS_TOKEN,
    DIGITALOCEAN_PAT,
    VAULT_TOKEN,
    URL_USERINFO,
    EXTRA,
];

/// What each rule takes, without a full stop.
pub const MEANINGS: &[&str] = &[
    "the exact value of a resolved secret, in any of its encodings",
    "the value of a key such as `password` in JSON, or of a header",
    "`password=...` and the like in text",
    "id of an AWS access key",
    "GitHub personal access token",
    "GitHub OAuth token",
    "GitHub app token",
    "GitHub refresh token",
    "GitHub fine-grained personal access token",
    "GitLab personal access token",
    "Slack token",
    "path of a Slack webhook",
    "Stripe key",
    "JSON web token",
    "what follows `Bearer`",
    "user and password in base64 that follow `Basic`",
    "PEM block of a private key, also over several lines",
    "Google API key",
    "Anthropic API key",
    "OpenAI API key",
    "npm token",
    "PyPI token",
    "SendGrid key",
    "Hugging Face token",
    "DigitalOcean token",
    "Vault or OpenBao token",
    "password in `scheme://user:password@host`",
    "a pattern that `--redact` adds",
];

/// Most ids, since each is a series.
pub const IDS_MAX: usize = 40;

/// Shortest value of a secret that is searched for, bytes: a shorter one is in too many words.
pub const VALUE_BYTES_MIN: usize = 8;

/// What stands in a text in place of what a rule took.
pub fn marker(id: &str) -> String {
    format!("[REDACTED:{id}]")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn an_id_is_listed_once_with_its_meaning() {
        let ids: BTreeSet<_> = ALL.iter().collect();
        assert_eq!(ids.len(), ALL.len());
        assert_eq!(ALL.len(), MEANINGS.len());
        assert!(ALL.len() <= IDS_MAX);
    }

    #[test]
    fn a_marker_can_stand_in_a_json_string() {
        let is_plain = |c: char| c.is_ascii_lowercase() || c == '-';
        assert!(ALL.iter().all(|id| id.chars().all(is_plain)));
    }
}
