//! Lambda's `Invoke` API of the local AWS endpoint, as `aws lambda invoke` and every SDK call it.

use std::fs;
use std::path::Path;

use local::connector::Fault;
use local::lambda_api::{FUNCTION_NAMES, aws_endpoint};
use local::stack;
use reqwest::{Client, Response};
use serde_json::{Value, json};
use tests::rightfoot_world::RightfootWorld;
use tests::{World, bind_listener, completion_body, extract_body, gateway_event};
use tokio::task::JoinHandle;

const ARN: &str = "arn:aws:lambda:us-east-1:123456789012:function:rightfoot-requests";

/// A local AWS endpoint, and an HTTP client for Lambda's API.
struct LambdaEndpoint {
    url: String,
    http: Client,
    serving: JoinHandle<()>,
}

/// Result of one invocation.
#[derive(Debug, PartialEq, Eq)]
struct InvokeResponse {
    status: u16,
    /// Header `X-Amz-Function-Error`.
    function_error: Option<String>,
    /// Header `X-Amzn-ErrorType`.
    error_type: Option<String>,
    body: Value,
}

impl LambdaEndpoint {
    async fn of(world: &World) -> Self {
        let (listener, url) = bind_listener().await;
        let serving = stack::spawn_server(listener, aws_endpoint(&world.stack, url.clone()));
        Self { url, http: Client::builder().no_proxy().build().unwrap(), serving }
    }

    async fn send(&self, name: &str, kind: Option<&str>, payload: impl Into<reqwest::Body>) -> Response {
        let name = name.replace(':', "%3A").replace('$', "%24");
        let url = format!("{}/2015-03-31/functions/{name}/invocations", self.url);
        let request = self.http.post(url).body(payload);
        let request = kind.into_iter().fold(request, |it, kind| it.header("x-amz-invocation-type", kind));
        request.send().await.unwrap()
    }

    async fn invoke(&self, name: &str, payload: impl Into<reqwest::Body>) -> InvokeResponse {
        parse_response(self.send(name, None, payload).await).await
    }
}

impl Drop for LambdaEndpoint {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn parse_response(response: Response) -> InvokeResponse {
    let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let (function_error, error_type) = (header("x-amz-function-error"), header("x-amzn-errortype"));
    let status = response.status().as_u16();
    let body = response.bytes().await.unwrap();
    let body =
        if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap_or(json!("no JSON")) };
    InvokeResponse { status, function_error, error_type, body }
}

fn succeeded(body: Value) -> InvokeResponse {
    InvokeResponse { status: 200, function_error: None, error_type: None, body }
}

fn failed(error_type: &str, error_message: &str) -> InvokeResponse {
    let body = json!({"errorType": error_type, "errorMessage": error_message});
    InvokeResponse { status: 200, function_error: Some("Unhandled".to_owned()), error_type: None, body }
}

fn rejected(status: u16, error: &str, message: &str) -> InvokeResponse {
    let body = json!({"Type": "User", "Message": message});
    InvokeResponse { status, function_error: None, error_type: Some(error.to_owned()), body }
}

fn mint_request() -> String {
    json!({"action": "webhook_url", "subject": "demo"}).to_string()
}

fn minted_response() -> Value {
    let token = "demo.LBqwep969-60s9I9TeWGIuOL23BzLnsGhQzb4mm0rT0";
    json!({"subject": "demo", "webhook_url": format!("http://127.0.0.1:9000/webhooks/rightfoot/{token}")})
}

fn received_response() -> Value {
    gateway_response(200, r#"{"status":"received"}"#)
}

/// A webhook function's response to the gateway.
fn gateway_response(status: u16, body: &str) -> Value {
    json!({
        "statusCode": status,
        "headers": {"content-type": "application/json"},
        "multiValueHeaders": {},
        "body": body,
        "isBase64Encoded": false,
        "cookies": [],
    })
}

#[tokio::test]
async fn every_function_there_is_answers_by_its_name() {
    let mut there: Vec<_> = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../functions"))
        .unwrap()
        .map(Result::unwrap)
        .filter(|entry| entry.path().join("Cargo.toml").is_file())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    there.sort();
    assert_eq!(there, *FUNCTION_NAMES);

    let world = World::new().await;
    let endpoint = LambdaEndpoint::of(&world).await;
    let body = extract_body("e-1");
    let fynapse = gateway_event(
        "/webhooks/fynapse",
        json!({"webhook-signature": world.sign(&body)}),
        body.as_bytes(),
        None,
    );
    let token = world.stack.mint_url_token(&"demo".parse().unwrap()).unwrap();
    let path = format!("/webhooks/rightfoot/{token}");
    let rightfoot = gateway_event(&path, json!({}), completion_body("b-1", "u-1").as_bytes(), Some(&token));
    let relayed =
        json!({"due": 0, "failed": 0, "oldest_due_age_secs": 0, "quarantined": 0, "remaining": 0, "sent": 0});
    for (name, payload, expected) in [
        ("event-relay", "{}".to_owned(), relayed.clone()),
        ("fynapse-webhook", fynapse.to_string(), received_response()),
        ("rightfoot-requests", mint_request(), minted_response()),
        ("rightfoot-webhook", rightfoot.to_string(), received_response()),
    ] {
        assert_eq!(endpoint.invoke(name, payload).await, succeeded(expected), "{name}");
    }
    let polled = endpoint.invoke("rightfoot-poller", "{}").await;
    assert_eq!((polled.status, &polled.function_error, &polled.body["due"]), (200, &None, &json!(0)));
    // Nothing listens at the address of its API.
    let audited = endpoint.invoke("fynapse-auditor", "{}").await;
    assert_eq!((&audited.function_error, &audited.body["problem"]), (&None, &json!("unavailable")));
    assert_eq!(world.drain_event_ids().await, ["fynapse/event/e-1", "rightfoot/batch/b-1/completed"]);
    // `aws lambda invoke` without `--payload` sends an empty body.
    assert_eq!(endpoint.invoke("event-relay", "").await, succeeded(relayed));
}

#[tokio::test]
async fn a_function_is_known_by_every_form_of_its_name() {
    let endpoint = LambdaEndpoint::of(&World::new().await).await;
    for name in [
        ARN.to_owned(),
        format!("{ARN}:7"),
        format!("{ARN}:$LATEST"),
        "123456789012:function:rightfoot-requests".to_owned(),
        "rightfoot-requests:live".to_owned(),
    ] {
        assert_eq!(endpoint.invoke(&name, mint_request()).await, succeeded(minted_response()), "{name}");
    }
    // Some clients do not escape the colons of a path.
    let url = format!("{}/2015-03-31/functions/{ARN}/invocations", endpoint.url);
    let answer = endpoint.http.post(url).body(mint_request()).send().await.unwrap();
    assert_eq!(parse_response(answer).await, succeeded(minted_response()));
}

#[tokio::test]
async fn an_unknown_function_is_not_found_and_the_known_ones_are_named() {
    let endpoint = LambdaEndpoint::of(&World::new().await).await;
    let message = "Function not found: requests; available: event-relay, event-worker, fynapse-auditor, \
                   fynapse-webhook, rightfoot-poller, rightfoot-requests, rightfoot-webhook";
    let expected = rejected(404, "ResourceNotFoundException", message);
    for name in ["requests", "arn:aws:lambda:us-east-1:123456789012:function:requests"] {
        assert_eq!(endpoint.invoke(name, "{}").await, expected, "{name}");
    }
    assert_eq!(parse_response(endpoint.send("requests", Some("DryRun"), "{}").await).await, expected);
}

#[tokio::test]
async fn a_failure_is_200_with_a_header_that_says_so_and_its_stable_name() {
    let it = RightfootWorld::new().await;
    let connector = &it.world.stack.connector;
    let endpoint = LambdaEndpoint::of(&it.world).await;
    for (payload, message) in [
        ("{}", "action: is missing"),
        ("[1]", "the request: is not a JSON object"),
        ("\"x\"", "the request: is not a JSON object"),
        ("null", "the request: is not a JSON object"),
        (r#"{"action":"track_batch","batch_id":"b"}"#, "expected: is missing"),
    ] {
        let response = endpoint.invoke("rightfoot-requests", payload).await;
        assert_eq!(response, failed("InvalidRequest", message), "{payload}");
    }
    // A bad webhook is a normal response; it never fails the invocation.
    let forbidden = succeeded(gateway_response(403, r#"{"error":"Forbidden"}"#));
    for name in ["fynapse-webhook", "rightfoot-webhook"] {
        assert_eq!(endpoint.invoke(name, r#"{"headers":7}"#).await, forbidden, "{name}");
    }
    let no_event = failed("InvalidEvent", "not an SQS event");
    assert_eq!(endpoint.invoke("event-worker", r#"{"Records":7}"#).await, no_event);
    it.world.inject_fault("Query", Fault::AccessDenied);
    for name in ["event-relay", "rightfoot-poller"] {
        let denied = failed("AwsCallFailed", "dynamodb:Query: AccessDeniedException");
        assert_eq!(endpoint.invoke(name, "{}").await, denied, "{name}");
    }
    connector.set_fault_plan(|_| Some(Fault::CrashBefore));
    let died = failed("Runtime.ExitError", "the process crashed");
    for (name, payload) in [("rightfoot-requests", mint_request()), ("rightfoot-poller", "{}".to_owned())] {
        assert_eq!(endpoint.invoke(name, payload).await, died, "{name}");
    }
    connector.clear_fault_plan();
    assert_eq!(endpoint.invoke("event-relay", "{}").await.function_error, None, "the next one lives");
}

#[tokio::test]
async fn what_is_no_json_is_refused_before_anything_runs() {
    let world = World::new().await;
    let endpoint = LambdaEndpoint::of(&world).await;
    let expected = rejected(400, "InvalidRequestContentException", "Could not parse request body into json");
    for payload in ["{", "{} {}", "{\"action\":}", "\u{feff}{}", "demo"] {
        for kind in [None, Some("RequestResponse"), Some("Event"), Some("DryRun")] {
            let response = parse_response(endpoint.send("rightfoot-requests", kind, payload).await).await;
            assert_eq!(response, expected, "{payload} {kind:?}");
        }
    }
    let response = endpoint.invoke("rightfoot-requests", vec![b' '; 6 * 1024 * 1024 + 1]).await;
    assert_eq!(response.status, 413, "more than a synchronous invocation carries");
    assert_eq!(world.stack.connector.call_log(), []);
}

#[tokio::test]
async fn an_event_is_accepted_at_once_and_carried_out_after_the_answer() {
    let world = World::new().await;
    let mut gate = world.stack.connector.hold_calls(|call| call.operation == "TransactWriteItems");
    let endpoint = LambdaEndpoint::of(&world).await;
    let track = json!({"action": "track_batch", "batch_id": "b-1", "expected": 1}).to_string();
    let accepted = parse_response(endpoint.send("rightfoot-requests", Some("Event"), track).await).await;
    assert_eq!(
        accepted,
        InvokeResponse { status: 202, function_error: None, error_type: None, body: Value::Null }
    );
    assert_eq!(world.items().await, [], "not yet");
    assert_eq!(gate.step().await.unwrap().operation, "TransactWriteItems");
    assert_eq!(world.items().await.len(), 1);
    // An asynchronous invocation does not report how it failed.
    let accepted = parse_response(endpoint.send("rightfoot-requests", Some("Event"), "{}").await).await;
    assert_eq!((accepted.status, accepted.function_error), (202, None));
}

#[tokio::test]
async fn a_dry_run_does_nothing() {
    let world = World::new().await;
    let endpoint = LambdaEndpoint::of(&world).await;
    let track = json!({"action": "track_batch", "batch_id": "b-1", "expected": 1}).to_string();
    let response = parse_response(endpoint.send("rightfoot-requests", Some("DryRun"), track).await).await;
    assert_eq!(
        response,
        InvokeResponse { status: 204, function_error: None, error_type: None, body: Value::Null }
    );
    assert_eq!(world.stack.connector.call_log(), []);
    assert_eq!(world.items().await, []);
}

#[tokio::test]
async fn a_synchronous_invocation_may_say_so_and_the_other_services_answer_beside_it() {
    let endpoint = LambdaEndpoint::of(&World::new().await).await;
    let response =
        parse_response(endpoint.send("rightfoot-requests", Some("RequestResponse"), mint_request()).await)
            .await;
    assert_eq!(response, succeeded(minted_response()));
    let asked = endpoint.http.post(&endpoint.url).header("x-amz-target", "AmazonSQS.GetQueueUrl");
    let asked = asked.header("content-type", "application/x-amz-json-1.0").body(r#"{"QueueName":"events"}"#);
    let queue_url = format!("{}/123456789012/events", endpoint.url);
    assert_eq!(parse_response(asked.send().await.unwrap()).await.body, json!({"QueueUrl": queue_url}));
}
