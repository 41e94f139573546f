//! Unreachable AWS endpoints and untrusted certificates: one early error that names the endpoint.

use std::time::{Duration, Instant};

use tests::tls_proxy::TlsProxy;
use tokio::net::TcpListener;

use crate::{CliHarness, CliOutput, bind_listener};

fn url_of(listener: &TcpListener) -> String {
    format!("http://{}", listener.local_addr().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_says_once_that_nobody_answers() {
    let harness = CliHarness::new().await;
    let started = Instant::now();
    let refused = harness.run_with_env("doctor", &[("AWS_ENDPOINT_URL", "http://127.0.0.1:9")]).await;
    let expected = "error: dynamodb:DescribeTable on table inbox: connection failed — nothing answers at \
                    http://127.0.0.1:9 (AWS_ENDPOINT_URL)\n";
    assert_eq!((refused.exit_code, refused.stdout.as_str(), refused.stderr.as_str()), (2, "", expected));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_does_not_wait_long_for_who_never_answers_and_says_on_whom_it_waits() {
    let harness = CliHarness::new().await;
    // It accepts connections and never responds.
    let silent = bind_listener().await;
    let url = url_of(&silent);
    let started = Instant::now();
    let ran = harness.run_with_env(&format!("--endpoint-url {url} doctor"), &[]).await;
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    assert!(
        ran.progress.starts_with(&format!("waiting for {url} (--endpoint-url), 1 s so far\n")),
        "{}",
        ran.progress
    );
    let expected = format!(
        "error: dynamodb:DescribeTable on table inbox: timed out — no answer in time from {url} (--endpoint-url)\n"
    );
    assert_eq!((ran.exit_code, ran.stdout.as_str(), ran.stderr.as_str()), (2, "", expected.as_str()));

    let ran = harness.run_with_env("--json doctor", &[("AWS_ENDPOINT_URL", &url)]).await;
    assert_eq!(ran.progress, "", "with --json, stderr is for the error alone");
    let error: serde_json::Value = serde_json::from_str(&ran.stderr).unwrap();
    let expected = "dynamodb:DescribeTable on table inbox: timed out — no answer in time from ";
    assert!(error["error"].as_str().unwrap().starts_with(expected), "{}", ran.transcript());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_certificates_of_aws_ca_bundle_are_trusted_and_an_untrusted_one_is_called_so() {
    let harness = CliHarness::new().await;
    let secured = TlsProxy::in_front_of(&harness.aws_url).await;
    let (url, bundle) = (secured.url.as_str(), secured.ca_bundle.to_str().unwrap());
    let other = secured.untrusted_ca_bundle.to_str().unwrap();
    let endpoint = ("AWS_ENDPOINT_URL", url);
    let fine =
        |ran: CliOutput| assert_eq!((ran.exit_code, ran.stderr.as_str()), (0, ""), "{}", ran.transcript());
    fine(harness.run_with_env("due", &[endpoint, ("AWS_CA_BUNDLE", bundle)]).await);
    fine(harness.run_with_env("doctor", &[endpoint, ("AWS_CA_BUNDLE", bundle)]).await);

    let config = std::env::temp_dir().join(format!("inboxctl-{}.ini", uuid::Uuid::new_v4()));
    let profile = format!(
        "[profile own]\nca_bundle = {bundle}\naws_access_key_id = k\naws_secret_access_key = s\nregion = eu-west-1\n"
    );
    std::fs::write(&config, profile).unwrap();
    let files = ("AWS_CONFIG_FILE", config.to_str().unwrap());
    fine(harness.run_with_env("--profile own due", &[endpoint, files]).await);
    let beaten =
        harness.run_with_env("--profile own due", &[endpoint, files, ("AWS_CA_BUNDLE", other)]).await;
    assert_eq!(beaten.exit_code, 1, "the variable beats the profile");
    std::fs::remove_file(&config).unwrap();

    let failed = "dynamodb:Query on table inbox: certificate not trusted — ";
    let untrusted = harness.run_with_env("due", &[endpoint, ("AWS_CA_BUNDLE", other)]).await;
    assert_eq!(
        untrusted.stderr,
        format!(
            "error: {failed}{url} (AWS_ENDPOINT_URL) shows a certificate that no authority of {other} (AWS_CA_BUNDLE) \
             has signed\n"
        )
    );
    let unknown = harness.run_with_env("due", &[endpoint]).await;
    assert_eq!(
        unknown.stderr,
        format!(
            "error: {failed}{url} (AWS_ENDPOINT_URL) shows a certificate that no authority of this system has signed: name \
             a file with the right one in AWS_CA_BUNDLE\n"
        )
    );
    let doctor = harness.run_with_env("doctor", &[endpoint]).await;
    assert!(
        doctor.stderr.starts_with("error: dynamodb:DescribeTable on table inbox: certificate not trusted — ")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_that_cannot_be_read_is_an_error_that_names_it() {
    let harness = CliHarness::new().await;
    let endpoint = ("AWS_ENDPOINT_URL", harness.aws_url.as_str());
    let missing = harness.run_with_env("due", &[endpoint, ("AWS_CA_BUNDLE", "/nowhere/ca.pem")]).await;
    let expected =
        "error: /nowhere/ca.pem (AWS_CA_BUNDLE): the file cannot be read: No such file or directory";
    assert!(missing.stderr.starts_with(expected), "{}", missing.transcript());
    let none = harness.run_with_env("due", &[endpoint, ("AWS_CA_BUNDLE", "/dev/null")]).await;
    assert_eq!(none.stderr, "error: /dev/null (AWS_CA_BUNDLE): the file holds no PEM certificate\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_test_delivery_trusts_the_same_certificates() {
    let harness = CliHarness::with_system_clock().await;
    let secured = TlsProxy::in_front_of(&harness.aws_url).await;
    let send = format!("send fynapse --url {}/", secured.url);
    let endpoint = ("AWS_ENDPOINT_URL", harness.aws_url.as_str());
    let untrusted = harness.run_with_env(&send, &[endpoint]).await;
    let expected = format!("error: certificate not trusted: {}: ", secured.url);
    assert!(untrusted.stderr.starts_with(&expected), "{}", untrusted.transcript());
    let trusted = harness
        .run_with_env(&send, &[endpoint, ("AWS_CA_BUNDLE", secured.ca_bundle.to_str().unwrap())])
        .await;
    assert!(
        trusted.stderr.is_empty() && trusted.stdout.contains("NOT as it should be"),
        "{}",
        trusted.transcript()
    );
}
