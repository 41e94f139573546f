//! P8 for the functions that call Rightfoot: social security, account and card numbers and names are in the request
//! to Rightfoot and nowhere else, not even as an unkeyed hash; the API key and the webhook URLs appear nowhere
//! either.

use std::fmt::Debug;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use inbox_core::id::Id;
use inbox_core::requests;
use inbox_rightfoot::{ApiKey, ClientConfig, RightfootClient};
use lambda_runtime::Diagnostic;
use local::connector::Fault;
use local::stack;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tests::lambda_process::{AwsEndpoint, RuntimeResult};
use tests::{MINUTE, World};

use crate::echo_api::EchoApi;
use crate::personal_data::{
    Canaries, SUBJECTS, assert_clean_table, assert_none_of, authorizer_with_canaries, batch_request,
    every_request_path, schedule_request,
};
use crate::{URL_KEY, flushed_output, shared_capture, start_at_trace};

const API_KEY: &str = "CANARY-api-key";

fn is_webhook_url_request(request: &Value) -> bool {
    request["action"] == "webhook_url"
}

/// A world whose Rightfoot is the [`EchoApi`].
async fn world(api_url: &str) -> World {
    let mut config = ClientConfig::new(api_url, None).unwrap();
    config.backoff_base = Duration::from_millis(1);
    World::with_options(|options| {
        options.rightfoot_client = RightfootClient::new(config).unwrap();
        options.rightfoot_api_key = API_KEY.to_owned();
        options.rightfoot_url_key = URL_KEY.to_owned();
    })
    .await
}

/// Text of all that a caller or a programmer can see of a request: its `Debug`, and the answer or error.
fn rendered(request: &Value, result: &Result<Value, rightfoot_requests::RequestError>) -> String {
    let raw = RawValue::from_string(request.to_string()).unwrap();
    let mut text = format!("{:?}\n", requests::parse(&raw));
    match result {
        Ok(answer) if is_webhook_url_request(request) => assert!(answer["webhook_url"].is_string()),
        Ok(answer) => text.push_str(&answer.to_string()),
        Err(error) => {
            let diagnostic = Diagnostic::from(error.clone());
            text.push_str(&format!("{error} {error:?} {diagnostic:?}"));
        }
    }
    text
}

/// Runs every path through both functions while every call of this operation fails. Returns the posted bodies.
async fn run_every_path(operation: &'static str, fault: Option<Fault>) -> Vec<String> {
    let api = EchoApi::default();
    let (url, serving) = api.serve().await;
    let world = world(&url).await;
    world.stack.connector.set_fault_plan(move |call| fault.filter(|_| call.operation == operation));
    let mut visible = String::new();
    for request in every_request_path() {
        let result = world.request(request.clone()).await.unwrap();
        visible.push_str(&format!("{}\n", rendered(&request, &result)));
    }
    for span in [MINUTE * 11, MINUTE * 6, MINUTE * 16] {
        world.advance(span);
        visible.push_str(&format!("{:?}\n", world.run_poller().await.unwrap()));
        visible.push_str(&format!("{:?}\n", world.run_relay().await.unwrap()));
    }
    for subject in SUBJECTS {
        let submission = world.stack.stores.submissions.submission(&subject.parse().unwrap()).await.unwrap();
        visible.push_str(&format!("{submission:?}\n"));
    }
    let canaries = Canaries::new(&world, &api.posted_bodies());
    canaries.assert_absent("what is seen", &visible);
    assert_clean_table(&world.items().await, &canaries);
    for message in world.drain_queue().await {
        canaries.assert_absent("a message", &message.body);
    }
    serving.abort();
    api.posted_bodies()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p8_nothing_of_the_people_comes_out_but_to_rightfoot() {
    let (output, metrics) = shared_capture();
    let faults = [
        Fault::Throttled,
        Fault::ServerError,
        Fault::ResetBefore,
        Fault::TimeoutAfter,
        Fault::AccessDenied,
        Fault::MalformedResponse,
    ];
    let operations = [
        "GetSecretValue",
        "PutItem",
        "UpdateItem",
        "GetItem",
        "TransactWriteItems",
        "Query",
        "BatchGetItem",
        "SendMessage",
    ];
    let bodies = run_every_path("", None).await;
    let cells: Vec<_> = operations.into_iter().flat_map(|one| faults.map(|fault| (one, fault))).collect();
    assert_eq!(cells.len(), 48);
    stream::iter(cells)
        .for_each_concurrent(12, async |(operation, fault)| {
            let cell = tokio::spawn(run_every_path(operation, Some(fault))).await;
            assert!(cell.is_ok(), "{operation} {fault:?}");
        })
        .await;
    let output = flushed_output(output, metrics);
    for expected in [
        "\"outcome\":\"done\"",
        "\"outcome\":\"RightfootDeclined\"",
        "\"outcome\":\"OutcomeUnknown\"",
        "\"outcome\":\"InvalidRequest\"",
        "\"outcome\":\"AwsCallFailed\"",
        "\"outcome\":\"UrlKeyUnavailable\"",
        "\"outcome\":\"RightfootUnauthorized\"",
        "\"outcome\":\"SubmissionIdConflict\"",
        "\"requested\":",
        "\"request_failed\":",
        "\"found_by_poll\":",
        "\"poll_failed\":",
    ] {
        assert!(output.contains(expected), "the capture is blind: no {expected}");
    }
    // All worlds have the same keys, so the URLs and the posted bodies are the same in each.
    let canaries = Canaries::new(&world("http://127.0.0.1:9").await, &bodies);
    canaries.assert_absent("logs and metrics", &output);
    assert_none_of(&["/webhooks/".to_owned(), "Bearer".to_owned()], "logs and metrics", &output);
}

/// Rightfoot's messages about authorizers are kept, without the personal data that they quote.
#[tokio::test]
async fn p8_what_rightfoot_says_of_people_is_answered_without_their_data() {
    let api = EchoApi::default();
    let (url, serving) = api.serve().await;
    let world = world(&url).await;
    let made = world.request(batch_request("partly", &["partly-1", "partly-2"])).await.unwrap().unwrap();
    assert!(api.posted_bodies()[0].contains("078-05-1120"), "Rightfoot gets what it needs");
    let failed = made["failed_authorizers"].as_array().unwrap();
    let of = |at: usize| (failed[at]["authorizer_unique_id"].clone(), failed[at]["error"].as_str().unwrap());
    assert_eq!(failed.len(), 6);
    let (id, error) = of(0);
    assert_eq!((id, &error[.."… is not …'s: ".len()]), (json!("partly-2"), "… is not …'s: "));
    assert_eq!(failed[0]["account_type"], "of \"…\"");
    assert_eq!(of(2), (Value::Null, "…"));
    assert_eq!(of(3), (Value::Null, "…"));
    assert_eq!(of(4), (Value::Null, "\"…\" \"…\""));
    assert_eq!(made["warnings"][0], "\"http://…/webhooks/rightfoot/…\" cannot be reached");
    let again = world
        .another_process()
        .request(batch_request("partly", &["partly-1", "partly-2"]))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(again, made);
    serving.abort();
}

fn debug(it: &impl Debug) -> String {
    format!("{it:?}\n{it:#?}\n")
}

/// The `Debug` output of requests, answers and submissions has no personal data either.
#[tokio::test]
async fn p8_no_debug_shows_anybody_a_key_or_a_url() {
    let api = EchoApi::default();
    let (url, serving) = api.serve().await;
    let world = world(&url).await;
    let client = RightfootClient::new(ClientConfig::new(&url, None).unwrap()).unwrap();
    let key = ApiKey::new(API_KEY).unwrap();
    let mut text =
        debug(&client) + &debug(&key) + &debug(&world.stack.requests) + &debug(&world.stack.poller);
    for mode in ["fine", "partly", "refuse", "denied", "taken", "garbage"] {
        let body = json!({"authorizers": [authorizer_with_canaries(&format!("{mode}-1")), authorizer_with_canaries("x")], "webhook_url": URL_KEY});
        text += &debug(&client.submit_batch(&key, body.to_string()).await);
        text += &debug(&client.create_schedule(&key, body.to_string()).await);
    }
    let id = Id::new("batch-0").unwrap();
    for _ in 0..12 {
        text += &debug(&client.balances(&key, &id).await);
        text += &debug(&client.schedule(&key, &id).await);
        text += &debug(&client.history(&key, &id, tests::START).await);
    }
    let subject: inbox_core::subject::Subject = "fine".parse().unwrap();
    let new = inbox_aws::items::SubmissionItem::new(
        subject.clone(),
        inbox_core::requests::submission::SubmissionKind::Batch,
        format!("https://h.example/{}", world.stack.mint_url_token(&subject).unwrap()),
        inbox_core::requests::submission::Fingerprint { mac: "m".to_owned(), key_tag: "k".to_owned() },
        "c".to_owned(),
        world.now(),
    );
    text += &debug(&new);
    text += &debug(&world.stack.stores.submissions.begin_submission(&new).await);
    Canaries::new(&world, &api.posted_bodies()).assert_absent("Debug", &text);
    serving.abort();
}

/// The real binaries at the highest log level, run as Lambda runs them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p8_the_binaries_that_ask_rightfoot_let_no_canary_out() {
    let api = EchoApi::default();
    let (api_url, serving) = api.serve().await;
    let world = world(&api_url).await;
    let aws = AwsEndpoint::serve(&world).await;
    let env = [
        ("RIGHTFOOT_API_URL", api_url.as_str()),
        ("RIGHTFOOT_API_KEY_SECRET_ID", stack::RIGHTFOOT_API_KEY_SECRET),
        ("RIGHTFOOT_URL_KEY_SECRET_ID", stack::RIGHTFOOT_URL_KEY_SECRET),
        ("WEBHOOK_BASE_URL", "https://h.example"),
    ];
    // The world's clock is long before the binaries' own, so whatever is due in it is due for them.
    world.request(batch_request("fine", &["fine-0"])).await.unwrap().unwrap();
    world.request(schedule_request("weekly", "fine-0")).await.unwrap().unwrap();
    let mut function = start_at_trace(&aws, "rightfoot-requests", &env).await;
    let mut replies = String::new();
    let mut done = 0;
    for request in every_request_path() {
        match function.invoke(request.clone()).await {
            RuntimeResult::Response(answer) if is_webhook_url_request(&request) => {
                let token = world.stack.mint_url_token(&"demo".parse().unwrap()).unwrap();
                assert_eq!(answer["webhook_url"], format!("https://h.example/webhooks/rightfoot/{token}"));
            }
            RuntimeResult::Response(answer) => {
                replies.push_str(&format!("{answer}\n"));
                done += 1;
            }
            RuntimeResult::Error(error) => replies.push_str(&format!("{error}\n")),
        }
    }
    assert_eq!(done, 4, "partly twice, many, and what became of garbage");
    let mut poller = start_at_trace(&aws, "rightfoot-poller", &env).await;
    for payload in
        [json!({"trigger": "schedule"}), json!({"CANARY": "078-05-1120"}), json!("CANARY"), json!([1])]
    {
        replies.push_str(&format!("{:?}\n", poller.invoke(payload).await));
    }
    let canaries = Canaries::new(&world, &api.posted_bodies());
    canaries.assert_absent("replies", &replies);
    for (name, function) in [("rightfoot-requests", function), ("rightfoot-poller", poller)] {
        let output = function.stop().await;
        assert!(output.contains("CloudWatchMetrics"), "the capture of {name} is blind: {output}");
        canaries.assert_absent(name, &output);
        assert_none_of(&["/webhooks/".to_owned(), "Bearer".to_owned()], name, &output);
    }
    assert_clean_table(&world.items().await, &canaries);
    serving.abort();
}
