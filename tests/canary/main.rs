//! P8: secrets and personal data go through every path, at TRACE level, and none of them appears in a log line, a
//! metric, an error or a reply.
//!
//! A separate binary, because a process has one log and one metrics recorder: these capture all that the process
//! writes, and other tests log the very words that must be absent here.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test's own code")]

mod echo_api;
mod personal_data;
mod submission_requests;
mod worker;

use std::io::Write;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use inbox_aws::telemetry;
use inbox_core::providers::fynapse::signature;
use inbox_core::secret_keys::{KeyCodec, Keys};
use inbox_core::time::UnixSecs;
use local::connector::Fault;
use local::stack::StackOptions;
use metrics_cloudwatch_embedded::Collector;
use serde_json::{Value, json};
use tests::lambda_process::{AwsEndpoint, LambdaProcess, RuntimeResult};
use tests::{Item, World, gateway_event, random_hex};
use tracing::Level;

const SECRET: &str = "CANARY-fynapse-secret";
const URL_KEY: &str = "CANARY-url-key";
const PERSONAL_DATA: &str = "CANARY-Jane-Doe-078-05-1120";
const HEADER_VALUE: &str = "CANARY-header-value";
const ADDRESS: &str = "198.51.100.77";

/// Every string that must not be in the output.
fn forbidden_strings(token: &str) -> Vec<String> {
    let mac = token.split('.').next_back().unwrap();
    ["CANARY", "Jane-Doe", "078-05-1120", ADDRESS, "/webhooks/", mac, token].map(str::to_owned).to_vec()
}

fn assert_clean(what: &str, output: &str, token: &str) {
    for canary in forbidden_strings(token) {
        let line = output.lines().find(|line| line.contains(&canary));
        assert!(line.is_none(), "P8: {canary} in {what}: {}", line.unwrap_or_default());
    }
}

#[derive(Clone, Default)]
struct LogBuffer(Arc<Mutex<Vec<u8>>>);

impl Write for LogBuffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The log, at TRACE, and the metrics of this process. All tests share them.
fn shared_capture() -> (&'static LogBuffer, &'static Collector) {
    static CAPTURE: LazyLock<(LogBuffer, &'static Collector)> = LazyLock::new(|| {
        let output = LogBuffer::default();
        let log = output.clone();
        telemetry::init_logging(Level::TRACE, move || log.clone());
        (output, telemetry::init_metrics("Canary".to_owned()).unwrap())
    });
    (&CAPTURE.0, CAPTURE.1)
}

/// Flushes the metrics, and returns all output so far.
fn flushed_output(output: &LogBuffer, metrics: &Collector) -> String {
    let mut all = output.0.lock().unwrap();
    all.extend(telemetry::flush_metrics(metrics).bytes());
    String::from_utf8(all.clone()).unwrap()
}

fn fynapse_body(id: &str) -> String {
    format!(r#"{{"event_id":"{id}","event_type":"balance.extracted","data":{{"holder":"{PERSONAL_DATA}"}}}}"#)
}

fn completion_body(batch: &str) -> String {
    format!(
        r#"{{"event_uuid":"u-1","type":"BALANCE_BATCH_COMPLETED","batch_id":"{batch}","holder":"{PERSONAL_DATA}"}}"#
    )
}

/// An invocation event with canaries in every header and address.
fn webhook_event(path: &str, signature: Option<String>, body: &str, token: Option<&str>) -> Value {
    let mut headers = json!({
        "content-type": "application/json",
        "authorization": format!("Bearer {HEADER_VALUE}"),
        "cookie": HEADER_VALUE,
        "idempotency-key": HEADER_VALUE,
        "user-agent": HEADER_VALUE,
        "x-forwarded-for": ADDRESS,
    });
    if let Some(signature) = signature {
        headers["webhook-signature"] = signature.into();
    }
    let mut event = gateway_event(path, headers, body.as_bytes(), token);
    event["requestContext"]["http"]["sourceIp"] = ADDRESS.into();
    event
}

/// One invocation for every path through the webhook handlers.
fn every_webhook_path(now: UnixSecs, token: &str) -> Vec<Value> {
    let keys = Keys::parse(SECRET, KeyCodec::Utf8).unwrap();
    let signed = |t: UnixSecs, body: &str| Some(signature::sign(t, body.as_bytes(), &keys));
    let fynapse = |body: &str| webhook_event("/webhooks/fynapse", signed(now, body), body, None);
    let rightfoot = |token: &str, body: &str| {
        webhook_event(&format!("/webhooks/rightfoot/{token}"), None, body, Some(token))
    };
    let large =
        fynapse_body("e-large").replace(PERSONAL_DATA, &format!("{PERSONAL_DATA}{}", random_hex(500_000, 1)));
    let mut not_base64 = fynapse(PERSONAL_DATA);
    not_base64["isBase64Encoded"] = true.into();
    vec![
        fynapse(&fynapse_body("e-1")),
        fynapse(&fynapse_body("e-1")),
        fynapse(&fynapse_body("e-1").replace("Jane", "John-CANARY")),
        fynapse(&large),
        fynapse(&format!("{{\"holder\":\"{PERSONAL_DATA}\"}}")),
        fynapse(&format!("{PERSONAL_DATA} is not JSON")),
        fynapse(&fynapse_body(&format!("{PERSONAL_DATA}{}", "x".repeat(600)))),
        not_base64,
        webhook_event(
            "/webhooks/fynapse",
            signed(UnixSecs(now.0 - 9_999), &fynapse_body("e-2")),
            &fynapse_body("e-2"),
            None,
        ),
        webhook_event(
            "/webhooks/fynapse",
            Some(format!("t=1,v1={HEADER_VALUE}")),
            &fynapse_body("e-3"),
            None,
        ),
        webhook_event("/webhooks/fynapse", signed(now, "another body"), &fynapse_body("e-3"), None),
        webhook_event("/webhooks/fynapse", None, &fynapse_body("e-3"), None),
        rightfoot(token, &completion_body("b-1")),
        rightfoot(token, &completion_body("b-1")),
        rightfoot(token, &completion_body("b-anothers")),
        rightfoot(token, &format!("{{\"type\":\"{PERSONAL_DATA}\"}}")),
        rightfoot(token, &format!("{{\"holder\":\"{PERSONAL_DATA}\"}}")),
        rightfoot(token, PERSONAL_DATA),
        rightfoot(&format!("CANARY{token}"), &completion_body("b-2")),
        rightfoot("CANARY", &completion_body("b-2")),
    ]
}

async fn world() -> World {
    let world = World::with_options(|options: &mut StackOptions| {
        options.fynapse_secrets = vec![SECRET.to_owned()];
        options.rightfoot_url_key = URL_KEY.to_owned();
    })
    .await;
    let text = |value: &str| aws_sdk_dynamodb::types::AttributeValue::S(value.to_owned());
    let tracked = [("pk", "rightfoot#batch#b-anothers"), ("sk", "tracked"), ("subject", "somebody-else")];
    let tracked: Item = tracked.into_iter().map(|(name, value)| (name.to_owned(), text(value))).collect();
    world.put_item(tracked).await;
    world
}

/// Every path through the handlers and the relay, without faults and with every AWS call failing in every way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p8_no_path_lets_a_canary_out() {
    let (output, metrics) = shared_capture();
    // A panic's message can quote the input.
    let _ = std::thread::spawn(|| panic!("{PERSONAL_DATA}")).join();
    let _ = std::panic::take_hook();
    let mut replies = String::new();
    let faults = [
        None,
        Some(Fault::Throttled),
        Some(Fault::ServerError),
        Some(Fault::ResetBefore),
        Some(Fault::TimeoutAfter),
        Some(Fault::AccessDenied),
        Some(Fault::MalformedResponse),
        Some(Fault::InvalidMessage),
    ];
    let mut token = String::new();
    for operation in
        ["GetSecretValue", "GetItem", "PutItem", "SendMessage", "UpdateItem", "BatchGetItem", "Query"]
    {
        for fault in faults {
            if fault.is_none() && operation != "Query" {
                continue; // once undisturbed is enough
            }
            let world = world().await;
            token = world.stack.mint_url_token(&"demo".parse().unwrap()).unwrap();
            world
                .stack
                .connector
                .set_fault_plan(move |call| fault.filter(|_| call.operation.starts_with(operation)));
            for event in every_webhook_path(world.now().secs(), &token) {
                let response = world.invoke_webhook(event).await;
                replies.push_str(&format!("{} {} {:?}\n", response.status, response.body, response.headers));
            }
            for _ in 0..2 {
                // Past `RELAY_AGE_MS`: the record is due for the relay.
                world.advance(Duration::from_secs(31));
                replies.push_str(&format!("{:?}\n", world.run_relay().await));
            }
        }
    }
    let output = flushed_output(output, metrics);
    for expected in [
        "\"outcome\":\"recorded\"",
        "\"outcome\":\"quarantined\"",
        "\"outcome\":\"unavailable\"",
        "\"recorded\":",
        "CloudWatchMetrics",
        "\"error\":\"dynamodb:PutItem: AccessDeniedException\"",
        "panicked",
        "{\"Name\":\"oldest_due_age\",\"Unit\":\"Seconds\"}",
    ] {
        assert!(output.contains(expected), "the capture is blind: no {expected}");
    }
    assert_clean("logs and metrics", &output, &token);
    assert_clean("replies", &replies, &token);
}

/// Starts the real binary of a function as Lambda does, at the highest log level.
async fn start_at_trace(aws: &AwsEndpoint, name: &str, env: &[(&str, &str)]) -> LambdaProcess {
    aws.start(name, &[&[("LOG_LEVEL", "trace"), ("RUST_LOG", "trace")], env].concat()).await
}

/// The real binaries at the highest log level, run as Lambda runs them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p8_the_deployed_binaries_let_no_canary_out() {
    let world = world().await;
    let aws = AwsEndpoint::serve(&world).await;
    let env = [
        ("FYNAPSE_SIGNING_SECRET_ID", "fynapse-signing"),
        ("RIGHTFOOT_URL_KEY_SECRET_ID", "rightfoot-url-key"),
    ];
    let token = world.stack.mint_url_token(&"demo".parse().unwrap()).unwrap();
    let now = UnixSecs(
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs()
            .try_into()
            .unwrap(),
    );
    let mut fynapse = start_at_trace(&aws, "fynapse-webhook", &env).await;
    let mut rightfoot = start_at_trace(&aws, "rightfoot-webhook", &env).await;
    let mut statuses = Vec::new();
    for event in every_webhook_path(now, &token) {
        let function = if event["rawPath"] == "/webhooks/fynapse" { &mut fynapse } else { &mut rightfoot };
        let RuntimeResult::Response(response) = function.invoke(event).await else {
            panic!("the function failed")
        };
        assert_clean("replies", &response.to_string(), &token);
        statuses.push(response["statusCode"].as_u64().unwrap());
    }
    assert_eq!(
        statuses,
        [200, 200, 200, 200, 200, 200, 200, 403, 403, 403, 403, 403, 200, 200, 200, 200, 400, 400, 403, 403]
    );
    // Input that is no invocation event is quoted by the runtime's own error.
    for function in [&mut fynapse, &mut rightfoot] {
        function.invoke(json!({"headers": PERSONAL_DATA, "body": [HEADER_VALUE]})).await;
    }
    let mut relay = start_at_trace(&aws, "event-relay", &env).await;
    let RuntimeResult::Response(report) = relay.invoke(json!({"trigger": "schedule"})).await else {
        panic!("relay")
    };
    assert_eq!(report["failed"], 0);
    for (name, function) in
        [("fynapse-webhook", fynapse), ("rightfoot-webhook", rightfoot), ("event-relay", relay)]
    {
        let output = function.stop().await;
        assert!(output.contains("CloudWatchMetrics"), "the capture of {name} is blind: {output}");
        assert_clean(name, &output, &token);
    }
}

/// Without configuration, a function names the variable that it misses.
#[tokio::test]
async fn a_missing_variable_is_named() {
    let mut function = LambdaProcess::start("fynapse-webhook", &[("INBOX_TABLE", "inbox")]).await;
    assert_eq!(function.wait_for_exit().await, Some(1));
    assert!(function.stop().await.contains("EVENTS_QUEUE_URL"));
}
