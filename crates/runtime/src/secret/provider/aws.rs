//! Secrets in AWS Secrets Manager and in the Parameter Store of Systems Manager.
//!
//! One call each, signed by `reqsign`, which also finds credentials where AWS's own programs do:
//! variables, shared files, web identity (IRSA), the endpoint of ECS and EKS, and IMDSv2. The SDK
//! of AWS would bring some 160 crates and a second TLS stack. It deliberately assumes no roles of
//! its own: a profile can name one. Invariant: neither credentials nor values are in what is said
//! of a failure.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use reqsign_aws_v4::{Credential, DefaultCredentialProvider, RequestSigner};
use reqsign_core::{Context, HttpSend, OsEnv, Signer};
use reqsign_file_read_tokio::TokioFileRead;
use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::Place;
use crate::{
    outbound,
    secret::{
        fault::Fault,
        settings::AwsSettings,
        value::{self, Document, Fetched},
    },
};

/// How long one question for credentials may take: outside of AWS nobody answers it.
const CREDENTIALS_LIMIT: Duration = Duration::from_secs(2);
/// Most characters that are shown of what it says of an error.
const ERROR_CHARS_SHOWN: usize = 200;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::secret) enum Service {
    SecretsManager,
    ParameterStore,
}

/// One of the two, in the region that each path says or the settings do.
#[derive(Debug)]
pub(in crate::secret) struct Aws {
    service: Service,
    settings: AwsSettings,
    client: reqwest::Client,
    context: Context,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer {
    #[serde(rename = "SecretString")]
    text: Option<String>,
    #[serde(rename = "SecretBinary")]
    binary: Option<String>,
    #[serde(rename = "Parameter")]
    parameter: Option<Parameter>,
}

#[derive(Deserialize)]
struct Parameter {
    #[serde(rename = "Value")]
    value: String,
}

impl Aws {
    pub(super) fn new(
        service: Service,
        settings: AwsSettings,
        limit: Duration,
    ) -> Result<Self, Fault> {
        let client = outbound::client(limit).map_err(Fault::config)?;
        let credentials = outbound::client(CREDENTIALS_LIMIT).map_err(Fault::config)?;
        let context = Context::new()
            .with_file_read(TokioFileRead)
            .with_http_send(Sender(credentials))
            .with_env(OsEnv);
        Ok(Self { service, settings, client, context })
    }

    pub(super) fn word(&self) -> &'static str {
        match self.service {
            Service::SecretsManager => "aws-sm",
            Service::ParameterStore => "aws-ssm",
        }
    }

    pub(super) async fn fetch(&self, place: &Place) -> Result<Fetched, Fault> {
        let region = self.region(&place.path)?;
        let (target, body) = self.question(place)?;
        let endpoint = self.endpoint(&region);
        let body = body.to_string();
        let digest = ring::digest::digest(&ring::digest::SHA256, body.as_bytes());
        let digest: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let request = http::Request::post(&endpoint)
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", target)
            .header("x-amz-content-sha256", digest)
            .body(())
            .map_err(|_| Fault::config("its endpoint is not a URL\nhelp: for example `https://secretsmanager.eu-west-1.amazonaws.com`"))?;
        let (mut head, ()) = request.into_parts();
        self.signer(&region).sign(&mut head, None).await.map_err(|error| unsigned(&error))?;
        let unreachable = |error: outbound::OutboundError| {
            Fault::unreachable(format!("AWS in `{region}` does not answer: {error}"))
        };
        let call = self.client.post(&endpoint).headers(head.headers).body(body);
        let answer = call.send().await.map_err(|error| unreachable(error.into()))?;
        let status = answer.status();
        let kind = answer.headers().get("x-amzn-errortype").cloned();
        let bytes = Zeroizing::new(outbound::read(answer).await.map_err(unreachable)?);
        if !status.is_success() {
            let kind = kind.as_ref().and_then(|kind| kind.to_str().ok());
            return Err(refused(status, kind, &bytes));
        }
        Self::value(serde_json::from_slice(&bytes).unwrap_or_default())
    }

    fn question(&self, place: &Place) -> Result<(&'static str, Value), Fault> {
        match (self.service, place.version) {
            (Service::SecretsManager, None) => {
                Ok(("secretsmanager.GetSecretValue", json!({ "SecretId": place.path })))
            }
            (Service::SecretsManager, Some(_)) => {
                Err(Fault::config("Secrets Manager has no numbered versions"))
            }
            (Service::ParameterStore, version) => {
                let version = version.map(|version| format!(":{version}")).unwrap_or_default();
                let name = format!("{}{version}", place.path);
                Ok(("AmazonSSM.GetParameter", json!({ "Name": name, "WithDecryption": true })))
            }
        }
    }

    fn value(answer: Answer) -> Result<Fetched, Fault> {
        if let Some(parameter) = answer.parameter {
            return Fetched::text(&Zeroizing::new(parameter.value.into_bytes()));
        }
        if let Some(binary) = answer.binary {
            let bytes = STANDARD
                .decode(binary)
                .map_err(|_| Fault::unreachable("its answer is not base64"))?;
            return Fetched::text(&Zeroizing::new(bytes));
        }
        let text = answer.text.ok_or_else(|| Fault::unreachable("what answers is not AWS"))?;
        let text = value::text(&Zeroizing::new(text.into_bytes()))?;
        Ok(Fetched { document: Document::Text(text), lease: None })
    }

    fn signer(&self, region: &str) -> Signer<Credential> {
        let mut chain = DefaultCredentialProvider::builder();
        if let Some(profile) = &self.settings.profile {
            chain = chain.with_profile(profile);
        }
        let signer = RequestSigner::new(self.service.id(), region);
        Signer::new(self.context.clone(), chain.build(), signer)
    }

    /// An ARN knows its region best.
    fn region(&self, path: &str) -> Result<String, Fault> {
        let of_arn = path.strip_prefix("arn:").and_then(|rest| rest.split(':').nth(2));
        let variable = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        of_arn
            .map(str::to_owned)
            .filter(|region| !region.is_empty())
            .or_else(|| self.settings.region.clone())
            .or_else(|| variable("AWS_REGION"))
            .or_else(|| variable("AWS_DEFAULT_REGION"))
            .ok_or_else(|| Fault::config("nothing says in which region\nhelp: set `AWS_REGION`"))
    }

    fn endpoint(&self, region: &str) -> String {
        let variable = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        let given = self.settings.endpoint.clone();
        let given = given.or_else(|| variable(self.service.endpoint_variable()));
        let given = given.or_else(|| variable("AWS_ENDPOINT_URL"));
        let given = given.map(|url| format!("{}/", url.trim_end_matches('/')));
        given.unwrap_or_else(|| {
            let id = self.service.id();
            let china = if region.starts_with("cn-") { ".cn" } else { "" };
            format!("https://{id}.{region}.amazonaws.com{china}/")
        })
    }
}

impl Service {
    fn id(self) -> &'static str {
        match self {
            Self::SecretsManager => "secretsmanager",
            Self::ParameterStore => "ssm",
        }
    }

    fn endpoint_variable(self) -> &'static str {
        match self {
            Self::SecretsManager => "AWS_ENDPOINT_URL_SECRETS_MANAGER",
            Self::ParameterStore => "AWS_ENDPOINT_URL_SSM",
        }
    }
}

fn unsigned(error: &reqsign_core::Error) -> Fault {
    // Its text may go into details of a profile; the kind says enough.
    let kind = error.kind();
    Fault::denied(format!(
        "no AWS credentials were found ({kind:?})\nhelp: set `AWS_ACCESS_KEY_ID`, give a profile, or run with a role"
    ))
}

/// The kind of an error stands in a header or in the body, by the mood of the service.
fn refused(status: reqwest::StatusCode, header: Option<&str>, body: &[u8]) -> Fault {
    let body = serde_json::from_slice::<Value>(body).unwrap_or_default();
    let text = |key: &str| body.get(key).and_then(Value::as_str);
    let kind = header.or_else(|| text("__type")).or_else(|| text("code")).unwrap_or_default();
    let kind = kind.rsplit('#').next().unwrap_or_default();
    let kind = kind.split(':').next().unwrap_or_default();
    let said = text("message").or_else(|| text("Message")).unwrap_or_default();
    let said: String = said.chars().take(ERROR_CHARS_SHOWN).collect();
    match kind {
        "ResourceNotFoundException" | "ParameterNotFound" | "ParameterVersionNotFound" => {
            Fault::missing("there is no such secret in AWS")
        }
        "InvalidRequestException" => Fault::missing(format!("AWS cannot give it: {said}")),
        "ThrottlingException"
        | "TooManyUpdates"
        | "InternalServiceError"
        | "InternalServerError"
        | "ServiceUnavailable" => Fault::unreachable(format!("AWS failed: {kind}")),
        "" if status.is_server_error() => Fault::unreachable(format!("AWS failed: {status}")),
        _ if status.is_server_error() => Fault::unreachable(format!("AWS failed: {kind}")),
        "" => Fault::denied(format!("AWS says no: {status}")),
        _ => Fault::denied(format!(
            "AWS says no: {kind}: {said}\nhelp: check the role's policy and the region"
        )),
    }
}

/// How `reqsign` asks for credentials: by our client, with our bounds.
#[derive(Debug)]
struct Sender(reqwest::Client);

impl HttpSend for Sender {
    async fn http_send(
        &self,
        request: http::Request<Bytes>,
    ) -> reqsign_core::Result<http::Response<Bytes>> {
        let failed =
            |error: outbound::OutboundError| reqsign_core::Error::unexpected(error.to_string());
        let request = reqwest::Request::try_from(request).map_err(|error| failed(error.into()))?;
        let answer = self.0.execute(request).await.map_err(|error| failed(error.into()))?;
        let mut response = http::Response::builder().status(answer.status());
        if let Some(headers) = response.headers_mut() {
            headers.clone_from(answer.headers());
        }
        let body = outbound::read(answer).await.map_err(failed)?;
        Ok(response.body(Bytes::from(body))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::fault::FaultKind;

    #[test]
    fn what_aws_says_no_to_is_told_apart() {
        let of = |status: u16, header: Option<&str>, body: &str| {
            let status = reqwest::StatusCode::from_u16(status).expect("a status");
            refused(status, header, body.as_bytes()).kind
        };
        let by_body = r#"{"__type":"com.amazonaws#ResourceNotFoundException","Message":"no"}"#;
        assert_eq!(of(400, None, by_body), FaultKind::Missing);
        assert_eq!(of(400, Some("ParameterNotFound:http://x"), ""), FaultKind::Missing);
        let denied = r#"{"__type":"AccessDeniedException","message":"a","Message":"b"}"#;
        assert_eq!(of(400, None, denied), FaultKind::Denied);
        assert_eq!(of(400, Some("ThrottlingException"), ""), FaultKind::Unreachable);
        assert_eq!(of(503, None, "<html>"), FaultKind::Unreachable);
        assert_eq!(of(403, None, ""), FaultKind::Denied);
    }

    #[test]
    fn an_arn_knows_its_region() {
        let settings = AwsSettings { region: Some("us-east-1".into()), ..AwsSettings::default() };
        let aws = Aws::new(Service::SecretsManager, settings, CREDENTIALS_LIMIT).expect("it is");
        let region = |path| aws.region(path).expect("it is known");
        assert_eq!(region("prod/db"), "us-east-1");
        assert_eq!(region("arn:aws:secretsmanager:eu-west-1:1:secret:db-x"), "eu-west-1");
    }
}
