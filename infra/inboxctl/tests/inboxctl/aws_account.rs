//! Account, region and endpoint: an option overrides the environment, which overrides the profile.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use local::lambda_api::aws_endpoint;
use local::stack;

use crate::{CliHarness, CliOutput, bind_listener};

/// AWS endpoint that records access key and region of its callers.
struct RecordingAws {
    harness: CliHarness,
    url: String,
    /// Access key and region of each request.
    callers: Arc<Mutex<Vec<(String, String)>>>,
    config: PathBuf,
}

impl RecordingAws {
    async fn new() -> Self {
        let harness = CliHarness::new().await;
        let listener = bind_listener().await;
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
        let callers = seen.clone();
        let record_caller = move |request: Request, next: Next| {
            let signed = request.headers()["authorization"].to_str().unwrap().to_owned();
            let scope: Vec<_> = signed.split_once("Credential=").unwrap().1.split('/').collect();
            callers.lock().unwrap().push((scope[0].to_owned(), scope[2].to_owned()));
            next.run(request)
        };
        let routes = aws_endpoint(&harness.world.stack, url.clone()).layer(from_fn(record_caller));
        stack::spawn_server(listener, routes);
        let config = std::env::temp_dir().join(format!("inboxctl-{}.ini", uuid::Uuid::new_v4()));
        Self { harness, url, callers: seen, config }
    }

    fn profiles(self, text: &str) -> Self {
        std::fs::write(&self.config, text).unwrap();
        self
    }

    /// Runs it with these profiles and, unless the environment says otherwise, with this endpoint and exported keys.
    async fn run(&self, words: &str, env: &[(&str, &str)]) -> CliOutput {
        let mut all = vec![
            ("AWS_CONFIG_FILE", self.config.to_str().unwrap()),
            ("AWS_SHARED_CREDENTIALS_FILE", "/nowhere"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("AWS_ENDPOINT_URL", self.url.as_str()),
            ("AWS_ACCESS_KEY_ID", "exported"),
        ];
        all.extend(env);
        self.harness.run_with_env(words, &all).await
    }

    /// The access key and the region that a command asks with.
    async fn caller(&self, words: &str, env: &[(&str, &str)]) -> (String, String) {
        let ran = self.run(words, env).await;
        assert_eq!(ran.exit_code, 0, "{}", ran.transcript());
        let mut callers = std::mem::take(&mut *self.callers.lock().unwrap());
        callers.dedup();
        assert_eq!(callers.len(), 1, "{words}: {callers:?}");
        callers.remove(0)
    }

    /// Error of a command that fails before it calls AWS.
    async fn run_failing(&self, words: &str, env: &[(&str, &str)]) -> String {
        let ran = self.run(words, env).await;
        assert_eq!((ran.exit_code != 0, ran.stdout.as_str()), (true, ""), "{}", ran.transcript());
        assert_eq!(*self.callers.lock().unwrap(), [], "{words}");
        ran.stderr
    }
}

impl Drop for RecordingAws {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.config);
    }
}

fn caller(key: &str, region: &str) -> (String, String) {
    (key.to_owned(), region.to_owned())
}

const PROFILES: &str = "\
[default]
aws_access_key_id = of-default
aws_secret_access_key = s
region = us-west-1
[profile prod]
aws_access_key_id = of-prod
aws_secret_access_key = s
region = eu-west-1
[profile bare]
region = eu-west-3
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_credentials_of_a_named_profile_beat_exported_keys() {
    let aws = RecordingAws::new().await.profiles(PROFILES);
    let none = [("AWS_ACCESS_KEY_ID", "")];
    assert_eq!(aws.caller("due", &[]).await, caller("exported", "us-west-1"));
    assert_eq!(aws.caller("--profile prod due", &[]).await, caller("of-prod", "eu-west-1"));
    assert_eq!(aws.caller("due --profile=default", &[]).await, caller("of-default", "us-west-1"));
    assert_eq!(
        aws.caller("--profile prod due", &[("AWS_PROFILE", "bare")]).await,
        caller("of-prod", "eu-west-1")
    );
    // As in the AWS CLI: of a profile that a variable names, exported keys are the nearer ones.
    for variable in ["AWS_PROFILE", "AWS_DEFAULT_PROFILE"] {
        assert_eq!(aws.caller("due", &[(variable, "prod")]).await, caller("exported", "eu-west-1"));
        assert_eq!(aws.caller("due", &[(variable, "prod"), none[0]]).await, caller("of-prod", "eu-west-1"));
    }
    let error = aws.run_failing("--profile bare due", &[]).await;
    assert!(error.starts_with("error: no AWS credentials from profile bare (--profile): "), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_profile_that_is_not_there_is_an_error_before_anything_is_asked() {
    let aws = RecordingAws::new().await.profiles(PROFILES);
    let known = "known are bare, default, prod\n";
    assert_eq!(
        aws.run_failing("--profile nosuch due", &[]).await,
        format!("error: there is no AWS profile nosuch (--profile): {known}")
    );
    assert_eq!(
        aws.run_failing("events replay fynapse/event/e-1 --by a --why b --yes", &[("AWS_PROFILE", "nosuch")])
            .await,
        format!("error: there is no AWS profile nosuch (AWS_PROFILE): {known}")
    );
    let nothing = RecordingAws::new().await;
    assert_eq!(
        nothing.run_failing("--profile default due", &[]).await,
        "error: there is no AWS profile default (--profile): known are none\n"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_region_is_named_by_option_then_environment_then_profile() {
    let aws = RecordingAws::new().await.profiles(PROFILES);
    let (region, usual) = (("AWS_REGION", "eu-north-1"), ("AWS_DEFAULT_REGION", "eu-central-1"));
    let region_of = async |words: &str, env: &[(&str, &str)]| aws.caller(words, env).await.1;
    assert_eq!(region_of("--region ap-east-1 --profile prod due", &[region, usual]).await, "ap-east-1");
    assert_eq!(region_of("--profile prod due", &[region, usual]).await, "eu-north-1");
    assert_eq!(region_of("--profile prod due", &[usual]).await, "eu-central-1");
    assert_eq!(region_of("--profile prod due", &[]).await, "eu-west-1");
    let elsewhere = aws.run("--region ap-east-1 --table nowhere due", &[]).await.stderr;
    assert_eq!(
        elsewhere,
        format!(
            "error: dynamodb:Query on table nowhere: ResourceNotFoundException — it does not exist: are account and \
             region right? --table names another one — asked: {} (AWS_ENDPOINT_URL) in region ap-east-1 (--region), with the \
             credentials of AWS_ACCESS_KEY_ID\n",
            aws.url
        )
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_is_named_by_option_then_environment_then_profile() {
    let aws = RecordingAws::new().await;
    let endpoint = aws.url.clone();
    let aws = aws.profiles(&format!("[profile local]\nendpoint_url = {endpoint}\n"));
    let (none, nobody) = (("AWS_ENDPOINT_URL", ""), "http://127.0.0.1:9");
    let usual = ("AWS_ENDPOINT_URL", nobody);
    let own = ("AWS_ENDPOINT_URL_DYNAMODB", nobody);
    let is_found = async |words: &str, env: &[(&str, &str)]| {
        assert_eq!(aws.run(words, env).await.exit_code, 0, "{words}")
    };
    is_found(&format!("--endpoint-url {endpoint} due"), &[usual, own]).await;
    is_found("due", &[usual, ("AWS_ENDPOINT_URL_DYNAMODB", &endpoint)]).await;
    is_found("due", &[none, ("AWS_PROFILE", "local")]).await;
    for (words, env, named) in [
        (format!("--endpoint-url {nobody} due"), vec![], "http://127.0.0.1:9 (--endpoint-url)"),
        ("due".to_owned(), vec![usual], "http://127.0.0.1:9 (AWS_ENDPOINT_URL)"),
        ("due".to_owned(), vec![own], "http://127.0.0.1:9 (AWS_ENDPOINT_URL_DYNAMODB)"),
    ] {
        let error = aws.run(&words, &env).await.stderr;
        let expected =
            format!("error: dynamodb:Query on table inbox: connection failed — nothing answers at {named}\n");
        assert_eq!(error, expected, "{words}");
    }
    let profile = RecordingAws::new().await.profiles(&format!("[profile down]\nendpoint_url = {nobody}\n"));
    let error = profile.run("due", &[none, ("AWS_PROFILE", "down")]).await.stderr;
    assert!(
        error.ends_with("nothing answers at http://127.0.0.1:9 (endpoint_url of profile down)\n"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_option_beats_every_variable_that_names_something_else() {
    let harness = CliHarness::new().await;
    let aws = ("AWS_ENDPOINT_URL", harness.aws_url.as_str());
    for (option, variable) in [("--table inbox", "INBOX_TABLE"), ("--retention-days 30", "RETENTION_DAYS")] {
        assert_eq!(
            harness.run_with_env(&format!("{option} due"), &[aws, (variable, "9999999")]).await.exit_code,
            0,
            "{option}"
        );
    }
    let elsewhere = ("WEBHOOK_BASE_URL", "https://elsewhere.example");
    let minted = harness.run_with_env("--base-url https://here.example url mint x", &[aws, elsewhere]).await;
    assert!(minted.stdout.starts_with("https://here.example/"), "{}", minted.transcript());
    let minted = harness.run_with_env("url mint x", &[aws, elsewhere]).await;
    assert!(minted.stdout.starts_with("https://elsewhere.example/"), "{}", minted.transcript());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_variable_is_an_unset_one() {
    let aws = RecordingAws::new().await.profiles(PROFILES);
    for variable in [
        "INBOXCTL_STACK",
        "INBOX_TABLE",
        "BALANCES_TABLE",
        "EVENTS_QUEUE_URL",
        "DEAD_LETTER_QUEUE_URL",
        "EVENT_BUS_NAME",
        "FYNAPSE_SIGNING_SECRET_ID",
        "RIGHTFOOT_URL_KEY_SECRET_ID",
        "RIGHTFOOT_API_KEY_SECRET_ID",
        "WEBHOOK_BASE_URL",
        "RETENTION_DAYS",
        "AWS_PROFILE",
        "AWS_DEFAULT_PROFILE",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_CA_BUNDLE",
        "AWS_ENDPOINT_URL_DYNAMODB",
        "AWS_ENDPOINT_URL_SQS",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
        "AWS_SESSION_TOKEN",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_ROLE_ARN",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_MAX_ATTEMPTS",
        "AWS_RETRY_MODE",
        "AWS_USE_FIPS_ENDPOINT",
    ] {
        let none = aws.run("doctor", &[(variable, "")]).await;
        assert_eq!((none.exit_code, none.stderr.as_str()), (0, ""), "{variable}: {}", none.transcript());
        assert_eq!(
            aws.callers.lock().unwrap().drain(..).next(),
            Some(caller("exported", "us-west-1")),
            "{variable}"
        );
    }
    let error = aws.run_failing("url mint x", &[("WEBHOOK_BASE_URL", "")]).await;
    assert!(error.starts_with("error: missing --base-url (WEBHOOK_BASE_URL) or --stack: "), "{error}");
    let keys = [("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", "")];
    assert_eq!(aws.caller("due", &keys).await, caller("of-default", "us-west-1"));
    // Of two variables, and of a variable and the profile, the one that is set.
    let env = [("AWS_REGION", ""), ("AWS_DEFAULT_REGION", "eu-central-1")];
    assert_eq!(aws.caller("due", &env).await, caller("exported", "eu-central-1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_option_without_a_value_is_refused() {
    let aws = RecordingAws::new().await.profiles(PROFILES);
    for option in ["--stack", "--table", "--queue-url", "--bus", "--fynapse-secret", "--region", "--profile"]
    {
        let error = aws.run_failing(&format!("{option} '' due"), &[]).await;
        assert!(error.starts_with(&format!("error: a value is required for '{option} <")), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_url_has_a_scheme_or_the_error_names_variable_and_value() {
    let aws = RecordingAws::new().await.profiles("[profile odd]\nendpoint_url = ftp://x\n");
    let why = "a URL begins with https:// or http:// and a host, and has no user name, query or fragment\n";
    let host = "inbox.example.com";
    for (words, env, expected) in [
        (
            format!("--base-url {host} url mint x"),
            ("AWS_REGION", "us-east-1"),
            format!("error: invalid value '{host}' for '--base-url <URL>': {why}"),
        ),
        (
            "url mint x".to_owned(),
            ("WEBHOOK_BASE_URL", host),
            format!("error: invalid value '{host}' for 'WEBHOOK_BASE_URL (--base-url)': {why}"),
        ),
        (
            "--endpoint-url localhost:9001 due".to_owned(),
            ("AWS_REGION", "us-east-1"),
            format!("error: invalid value 'localhost:9001' for '--endpoint-url <URL>': {why}"),
        ),
        (
            "due".to_owned(),
            ("AWS_ENDPOINT_URL", "localhost:9001"),
            format!("error: AWS_ENDPOINT_URL is \"localhost:9001\": {why}"),
        ),
        (
            "due".to_owned(),
            ("AWS_ENDPOINT_URL_SQS", "localhost"),
            format!("error: AWS_ENDPOINT_URL_SQS is \"localhost\": {why}"),
        ),
        (
            "due".to_owned(),
            ("RETENTION_DAYS", "a month"),
            "error: invalid value 'a month' for 'RETENTION_DAYS (--retention-days)': invalid digit found in string\n".to_owned(),
        ),
    ] {
        let error = aws.run_failing(&words, &[env]).await;
        assert!(error.starts_with(&expected), "{error}");
    }
    let error = aws.run_failing("--profile odd due", &[("AWS_ENDPOINT_URL", "")]).await;
    assert!(error.starts_with("error: endpoint_url of profile odd is \"ftp://x\": "), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loopback_endpoint_needs_neither_credentials_nor_a_region() {
    let aws = RecordingAws::new().await;
    let nothing = [("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", "")];
    assert_eq!(aws.caller("due", &nothing).await, caller("local", "us-east-1"));
    // Anywhere else, nobody's credentials are an error.
    let elsewhere = aws.url.replace("127.0.0.1", "0.0.0.0");
    let error = aws.run_failing(&format!("--endpoint-url {elsewhere} due"), &nothing).await;
    assert!(error.starts_with("error: no AWS credentials"), "{error}");
    // What is configured is used.
    let aws = aws.profiles(PROFILES);
    assert_eq!(aws.caller("due", &nothing).await, caller("of-default", "us-west-1"));
    assert_eq!(aws.caller("due", &[("AWS_PROFILE", "bare"), nothing[0]]).await, caller("local", "eu-west-3"));
}
