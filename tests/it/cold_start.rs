//! Cold start: a function opens its connections before the first delivery, and no failure of that keeps it from
//! starting.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use inbox_aws::ca_bundle::CaBundle;
use inbox_aws::config::Env;
use inbox_core::delivery::Provider;
use inbox_core::id::Id;
use inbox_rightfoot::{AccountConfig, ApiError, ApiKey};
use local::connector::Fault;
use serde_json::json;
use tests::lambda_process::{AwsEndpoint, LambdaProcess, RuntimeResult};
use tests::rightfoot_world::{API_KEY, RightfootWorld};
use tests::tls_proxy::TlsProxy;
use tests::{World, bind_listener, extract_body, gateway_event};

#[tokio::test]
async fn every_connection_is_warmed_with_calls_that_the_role_allows() {
    let system = World::new().await.stack;
    system
        .unrestricted_clients()
        .warm_up("inbox", &system.events_queue_url, system.webhooks[&Provider::Fynapse].load_secret())
        .await;
    let mut calls: Vec<_> = system.connector.call_log().into_iter().map(|(call, _)| call.operation).collect();
    calls.sort();
    assert_eq!(calls, ["GetItem", "GetQueueAttributes", "GetSecretValue"]);
}

#[tokio::test]
async fn a_sweep_finds_as_many_connections_as_it_uses_at_the_same_time() {
    let system = World::new().await.stack;
    system.unrestricted_clients().warm_up_due_scan("inbox", &system.events_queue_url, async {}).await;
    let calls: Vec<_> = system.connector.call_log().into_iter().map(|(call, _)| call.operation).collect();
    assert_eq!(calls.iter().filter(|operation| *operation == "GetItem").count(), 10);
    assert_eq!(calls.iter().filter(|operation| *operation == "GetQueueAttributes").count(), 1);
}

#[tokio::test]
async fn errors_are_ignored_and_two_seconds_are_the_end_of_it() {
    let system = World::new().await.stack;
    for fault in [Fault::AccessDenied, Fault::ResetBefore, Fault::CrashBefore] {
        // Outside of `until_crash`, a crash hangs: a connection that never answers.
        system.connector.set_fault_plan(move |_| Some(fault));
        let started = Instant::now();
        system
            .unrestricted_clients()
            .warm_up("inbox", &system.events_queue_url, system.webhooks[&Provider::Rightfoot].load_secret())
            .await;
        assert!(started.elapsed() < Duration::from_millis(2_900), "{fault:?} took {:?}", started.elapsed());
    }
}

/// Without any endpoint the binary still starts; it answers 503 to whatever it cannot decide.
#[tokio::test]
async fn a_function_starts_without_aws() {
    let (_silent, url) = bind_listener().await;
    let env = [
        ("AWS_ENDPOINT_URL", url.as_str()),
        ("INBOX_TABLE", "inbox"),
        ("EVENTS_QUEUE_URL", &url),
        ("FYNAPSE_SIGNING_SECRET_ID", "fynapse-signing"),
    ];
    let mut function = LambdaProcess::start("fynapse-webhook", &env).await;
    let event = gateway_event("/webhooks/fynapse", json!({"webhook-signature": "t=1,v1="}), b"{}", None);
    let RuntimeResult::Response(response) = function.invoke(event).await else { panic!("no answer") };
    assert_eq!(response["statusCode"], 503);
}

/// As the SAM CLI sets it in its containers, unless it is given a value for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_aws_endpoint_is_none() {
    let world = World::new().await;
    let aws = AwsEndpoint::serve(&world).await;
    let env = [
        ("AWS_ENDPOINT_URL", ""),
        // Without these the function would call AWS.
        ("AWS_ENDPOINT_URL_DYNAMODB", aws.url.as_str()),
        ("AWS_ENDPOINT_URL_SQS", aws.url.as_str()),
    ];
    let mut relay = aws.start("event-relay", &env).await;
    let RuntimeResult::Response(report) = relay.invoke(json!({})).await else { panic!("no report") };
    assert_eq!(report["due"], 0);
}

/// The certificates of `AWS_CA_BUNDLE` are trusted; another authority's endpoint is reported as untrusted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_trusts_the_certificates_of_aws_ca_bundle() {
    let world = World::new().await;
    let aws = AwsEndpoint::serve(&world).await;
    let secured = TlsProxy::in_front_of(&aws.url).await;
    let queue_url = format!("{}/123456789012/events", secured.url);
    let run = async |bundle: &PathBuf| {
        let env = [
            ("AWS_ENDPOINT_URL", secured.url.as_str()),
            ("AWS_CA_BUNDLE", bundle.to_str().unwrap()),
            ("EVENTS_QUEUE_URL", &queue_url),
        ];
        aws.start("event-relay", &env).await.invoke(json!({})).await
    };
    let RuntimeResult::Response(report) = run(&secured.ca_bundle).await else { panic!("no report") };
    assert_eq!(report["due"], 0);
    let RuntimeResult::Error(error) = run(&secured.untrusted_ca_bundle).await else { panic!("no error") };
    assert_eq!(error["errorMessage"], "dynamodb:Query: certificate not trusted");
}

#[test]
fn a_base_url_without_a_scheme_is_refused_with_its_variable_and_value() {
    let read = |url: &str| {
        let env = Env(|name: &str| match name {
            "WEBHOOK_BASE_URL" => Some(url.to_owned()),
            "INBOX_TABLE" | "EVENTS_QUEUE_URL" => Some("x".to_owned()),
            "RIGHTFOOT_API_KEY_SECRET_ID" | "RIGHTFOOT_URL_KEY_SECRET_ID" => Some("x".to_owned()),
            _ => None,
        });
        let config = rightfoot_requests::Config::read(&env);
        config.map(|config| config.webhook_base_url).map_err(|error| error.to_string())
    };
    assert_eq!(read("https://inbox.example.com/"), Ok("https://inbox.example.com".to_owned()));
    assert_eq!(read(""), Err("environment variable WEBHOOK_BASE_URL is not set".to_owned()));
    let expected = "environment variable WEBHOOK_BASE_URL is not valid: \"inbox.example.com\": a URL begins with https:// or \
                    http:// and a host, and has no user name, query or fragment";
    assert_eq!(read("inbox.example.com"), Err(expected.to_owned()));
}

#[test]
fn a_bundle_that_cannot_be_read_names_the_variable_and_the_file() {
    let of = |value: &str| {
        let env = Env(|name: &str| (name == "AWS_CA_BUNDLE").then(|| value.to_owned()));
        CaBundle::from_env(&env).map(|bundle| bundle.is_some()).map_err(|error| error.to_string())
    };
    assert_eq!(of(""), Ok(false));
    let expected = "environment variable AWS_CA_BUNDLE is not valid: \"/nowhere/ca.pem\": the file cannot be read: \
                    No such file or directory (os error 2)";
    assert_eq!(of("/nowhere/ca.pem"), Err(expected.to_owned()));
}

/// Rightfoot's API behind a proxy with a certificate of a private authority.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rightfoots_client_trusts_the_certificates_of_aws_ca_bundle_too() {
    let it = RightfootWorld::new().await;
    let secured = TlsProxy::in_front_of(&it.api_url).await;
    let ask = async |bundle: Option<&PathBuf>| {
        let env = Env(|name: &str| match name {
            "RIGHTFOOT_API_URL" => Some(secured.url.clone()),
            "RIGHTFOOT_API_KEY_SECRET_ID" => Some("k".to_owned()),
            "AWS_CA_BUNDLE" => bundle.map(|file| file.to_str().unwrap().to_owned()),
            _ => None,
        });
        let client = AccountConfig::from_env(&env).unwrap().client;
        let (key, nosuch) = (ApiKey::new(API_KEY).unwrap(), Id::new("b-1").unwrap());
        client.balances(&key, &nosuch).await.unwrap_err()
    };
    assert!(matches!(ask(Some(&secured.ca_bundle)).await, ApiError::NotReady), "it answers");
    assert!(matches!(ask(None).await, ApiError::Unavailable(_)));
    assert!(matches!(ask(Some(&secured.untrusted_ca_bundle)).await, ApiError::Unavailable(_)));
}

/// The relay's errors have type names on which alarms can rely.
#[tokio::test]
async fn a_failed_relay_run_is_an_invocation_error_of_a_stable_name() {
    let world = World::new().await;
    let aws = AwsEndpoint::serve(&world).await;
    let env = [("INBOX_TABLE", "no-such-table"), ("EVENTS_QUEUE_URL", "http://q")];
    let mut relay = aws.start("event-relay", &env).await;
    let RuntimeResult::Error(error) = relay.invoke(json!({"trigger": "schedule"})).await else {
        panic!("no error")
    };
    assert_eq!(error["errorType"], "AwsCallFailed");
    assert_eq!(error["errorMessage"], "dynamodb:Query: ResourceNotFoundException");

    world.inject_fault("SendMessage", Fault::AccessDenied);
    world.deliver_fynapse(extract_body("e-1")).await;
    let mut relay = aws.start("event-relay", &[]).await;
    let RuntimeResult::Response(report) = relay.invoke(json!({})).await else { panic!("no report") };
    // The world's clock is long before the binary's own.
    assert_eq!(
        (report["due"].as_u64(), report["sent"].as_u64(), report["remaining"].as_u64()),
        (Some(1), Some(1), Some(0))
    );
    assert_eq!(world.drain_event_ids().await, ["fynapse/event/e-1"]);
}
