//! Secrets from AWS: signatures and policies are checked, and every source of a role is tried.

use testkit::Aws;

use crate::run_harness::{PATIENCE, messages, run_with};

/// Runs a command that shows `KEY` backwards, with these variables and no others of AWS.
fn print(aws: &Aws, reference: &str, variables: &[(&str, &str)]) -> (i32, String, String) {
    let mut run = run_with(&[], &["sh", "-c", "echo \"$KEY\" | rev"], |command| {
        command.env("KEY", reference).env("AWS_REGION", "eu-west-1");
        command.env("AWS_ENDPOINT_URL", aws.said("endpoint")).env("HOME", "/nonexistent");
        command.env("AWS_EC2_METADATA_DISABLED", "true").envs(variables.iter().copied());
    });
    let ended = run.wait(PATIENCE);
    let printed = messages(&ended.stdout, "stdout").join("\n").chars().rev().collect();
    (ended.code, printed, ended.stdout)
}

#[test]
fn a_signed_question_is_answered_and_another_is_77() {
    let aws = Aws::start();
    let keys =
        [("AWS_ACCESS_KEY_ID", aws.said("key_id")), ("AWS_SECRET_ACCESS_KEY", aws.said("key"))];
    let read = |reference: &str| print(&aws, reference, &keys);
    assert_eq!(read("${secret:aws-sm:prod/db#password}").1, "sm-value-1");
    let by_arn = format!("${{secret:aws-sm:{}#password}}", aws.said("arn"));
    assert_eq!(read(&by_arn).1, "sm-value-1");
    assert_eq!(read("${secret:aws-sm:binary}").1, "binary-value-1");
    assert_eq!(read("${secret:aws-ssm:/prod/key}").1, "ssm-value-2");
    assert_eq!(read("${secret:aws-ssm:/prod/key?version=1}").1, "ssm-value-1");
    for missing in ["${secret:aws-sm:prod/none}", "${secret:aws-ssm:/prod/none}"] {
        let (code, _, stdout) = read(missing);
        assert_eq!(code, 77, "{stdout}");
        assert!(stdout.contains("there is no such secret in AWS"), "{stdout}");
    }

    let wrong = [("AWS_ACCESS_KEY_ID", aws.said("key_id")), ("AWS_SECRET_ACCESS_KEY", "wrong-key")];
    let (code, _, stdout) = print(&aws, "${secret:aws-sm:prod/db#password}", &wrong);
    assert_eq!(code, 77, "{stdout}");
    assert!(stdout.contains("AWS says no") && !stdout.contains("wrong-key"), "{stdout}");
    let nobody = [
        ("AWS_ACCESS_KEY_ID", aws.said("denied_id")),
        ("AWS_SECRET_ACCESS_KEY", aws.said("denied_key")),
    ];
    let (code, _, stdout) = print(&aws, "${secret:aws-ssm:/prod/key}", &nobody);
    assert_eq!(code, 77, "{stdout}");
    assert!(stdout.contains("AWS says no: 403"), "{stdout}");
}

#[test]
fn a_role_comes_from_ec2_ecs_or_a_web_identity_and_without_one_it_is_77() {
    let aws = Aws::start();
    let reference = "${secret:aws-sm:prod/db#password}";
    let (code, _, stdout) = print(&aws, reference, &[]);
    assert_eq!(code, 77, "{stdout}");
    assert!(stdout.contains("no AWS credentials were found"), "{stdout}");
    let identity = aws.said("identity").to_owned();

    let ec2 =
        [("AWS_EC2_METADATA_DISABLED", "false"), ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &identity)];
    let (code, printed, stdout) = print(&aws, reference, &ec2);
    assert_eq!((code, printed.as_str()), (0, "sm-value-1"), "{stdout}");
    assert!(aws.asked().contains("/security-credentials/app-role"), "{}", aws.asked());

    let uri = format!("{identity}/ecs");
    let ecs = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri.as_str()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "ecs-token"),
    ];
    let (code, printed, stdout) = print(&aws, reference, &ecs);
    assert_eq!((code, printed.as_str()), (0, "sm-value-1"), "{stdout}");
    assert!(aws.asked().contains("\"/ecs\""), "{}", aws.asked());

    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    std::fs::write(&token, "a.web.identity").unwrap();
    let authority = aws.authority();
    let irsa = [
        ("AWS_ROLE_ARN", aws.said("role")),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.to_str().unwrap()),
        ("AWS_STS_REGIONAL_ENDPOINTS", "regional"),
        ("HTTPS_PROXY", identity.as_str()),
        ("SSL_CERT_FILE", authority.to_str().unwrap()),
    ];
    let (code, printed, stdout) = print(&aws, reference, &irsa);
    assert_eq!((code, printed.as_str()), (0, "sm-value-1"), "{stdout}");
    assert!(aws.asked().contains("sts.eu-west-1.amazonaws.com:443"), "{}", aws.asked());
}
