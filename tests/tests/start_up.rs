//! The cold start: the connections that a function needs are opened before the first delivery, and nothing
//! that goes wrong there keeps the function from starting.

use std::time::{Duration, Instant};

use local::system;
use local::wire::Fault;
use serde_json::json;
use tests::bootstrap::{Answer, Function};
use tests::{World, extract, request};
use tokio::net::TcpListener;

#[tokio::test]
async fn every_connection_is_warmed_with_calls_that_the_role_allows() {
    let system = World::new().await.system;
    system.clients().warm_up("inbox", &system.events_url, system.functions.fynapse.load_secret()).await;
    let mut calls: Vec<_> = system.wire.log().into_iter().map(|(call, _)| call.operation).collect();
    calls.sort();
    assert_eq!(calls, ["GetItem", "GetQueueAttributes", "GetSecretValue"]);
}

#[tokio::test]
async fn a_sweep_finds_as_many_connections_as_it_uses_at_the_same_time() {
    let system = World::new().await.system;
    system.clients().warm_up_sweep("inbox", &system.events_url, async {}).await;
    let calls: Vec<_> = system.wire.log().into_iter().map(|(call, _)| call.operation).collect();
    assert_eq!(calls.iter().filter(|operation| *operation == "GetItem").count(), 10);
    assert_eq!(calls.iter().filter(|operation| *operation == "GetQueueAttributes").count(), 1);
}

#[tokio::test]
async fn errors_are_ignored_and_two_seconds_are_the_end_of_it() {
    let system = World::new().await.system;
    for fault in [Fault::AccessDenied, Fault::ResetBefore, Fault::CrashBefore] {
        // Outside of a mortal process a crash hangs: a connection that never answers.
        system.wire.plan(move |_| Some(fault));
        let started = Instant::now();
        system.clients().warm_up("inbox", &system.events_url, system.functions.rightfoot.load_secret()).await;
        assert!(started.elapsed() < Duration::from_millis(2_900), "{fault:?} took {:?}", started.elapsed());
    }
}

/// With nothing to connect to, the binary starts all the same, and says 503 to what it cannot decide.
#[tokio::test]
async fn a_function_starts_without_aws() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let env = [
        ("AWS_ENDPOINT_URL", url.as_str()),
        ("INBOX_TABLE", "inbox"),
        ("EVENTS_QUEUE_URL", &url),
        ("FYNAPSE_SIGNING_SECRET_ID", "fynapse-signing"),
    ];
    let mut function = Function::start("fynapse-webhook", &env).await;
    let event = request("/webhooks/fynapse", json!({"webhook-signature": "t=1,v1="}), b"{}", None);
    let Answer::Response(response) = function.invoke(event).await else { panic!("no answer") };
    assert_eq!(response["statusCode"], 503);
}

/// The relay's own failures have a name that alarms can rely on.
#[tokio::test]
async fn a_failed_relay_run_is_an_invocation_error_of_a_stable_name() {
    let world = World::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let aws = system::serve(listener, world.system.wire.engine().endpoint(url.clone()));
    let mut env = vec![
        ("AWS_ENDPOINT_URL", url.as_str()),
        ("INBOX_TABLE", "no-such-table"),
        ("EVENTS_QUEUE_URL", "http://q"),
    ];
    let mut relay = Function::start("event-relay", &env).await;
    let Answer::Error(error) = relay.invoke(json!({"trigger": "schedule"})).await else { panic!("no error") };
    assert_eq!(error["errorType"], "AwsCallFailed");
    assert_eq!(error["errorMessage"], "dynamodb:Query: ResourceNotFoundException");

    world.system.wire.plan(|call| (call.operation == "SendMessage").then_some(Fault::AccessDenied));
    world.fynapse(extract("e-1")).await;
    let queue_url = format!("{url}/123456789012/events");
    env[1] = ("INBOX_TABLE", "inbox");
    env[2] = ("EVENTS_QUEUE_URL", &queue_url);
    let mut relay = Function::start("event-relay", &env).await;
    let Answer::Response(report) = relay.invoke(json!({})).await else { panic!("no report") };
    // The world's clock stands long before the binary's own.
    assert_eq!(
        (report["found"].as_u64(), report["sent"].as_u64(), report["left"].as_u64()),
        (Some(1), Some(1), Some(0))
    );
    assert_eq!(world.drain_ids().await, ["fynapse/event/e-1"]);
    aws.abort();
}
