//! Every kind of profile that the AWS CLI supports. `tests/e2e/test_profiles.py` tests the installed tool: here, cargo has
//! unified its features with those of other packages.

use crate::CliHarness;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_profile_is_tried() {
    let harness = CliHarness::new().await;
    let config = std::env::temp_dir().join(format!("inboxctl-{}.ini", uuid::Uuid::new_v4()));
    std::fs::write(
        &config,
        r#"
[profile process]
credential_process = printf '{"Version": 1, "AccessKeyId": "k", "SecretAccessKey": "s"}'
[profile sso]
sso_session = ours
sso_account_id = 123456789012
sso_role_name = operator
[sso-session ours]
sso_region = eu-west-1
sso_start_url = https://ours.awsapps.com/start
[profile login]
login_session = arn:aws:iam::123456789012:user/ada
[profile web]
role_arn = arn:aws:iam::123456789012:role/operator
web_identity_token_file = /nowhere/token
[profile role]
role_arn = arn:aws:iam::123456789012:role/operator
source_profile = nosuch
[profile odd]
credential_process = false
"#,
    )
    .unwrap();
    let home = std::env::temp_dir();
    let env = [
        ("AWS_CONFIG_FILE", config.to_str().unwrap()),
        ("AWS_ENDPOINT_URL", harness.aws_url.as_str()),
        ("AWS_REGION", "eu-west-1"),
        ("HOME", home.to_str().unwrap()),
        ("PATH", "/usr/bin:/bin"),
    ];
    let process = harness.run_with_env("--profile process due", &env).await;
    assert_eq!((process.exit_code, process.stderr.as_str()), (0, ""), "{}", process.transcript());
    for (profile, reason) in [
        ("sso", "token"),
        ("login", "login"),
        ("web", "No such file"),
        ("role", "nosuch"),
        ("odd", "process"),
    ] {
        let ran = harness.run_with_env(&format!("--profile {profile} due"), &env).await;
        let expected = format!("error: no AWS credentials from profile {profile} (--profile): ");
        assert!(ran.exit_code == 1 && ran.stderr.starts_with(&expected), "{}", ran.transcript());
        assert!(ran.stderr.contains(reason) && !ran.stderr.contains("feature"), "{}", ran.transcript());
    }
    std::fs::remove_file(config).unwrap();
}
