//! Invocation events and responses, to the byte: recorded invocations, and the table of every outcome's reply at each
//! provider.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use inbox_aws::webhook_function::{Verifier, WebhookConfig, WebhookFunction};
use inbox_core::delivery::Provider;
use local::connector::Fault;
use local::lambda_api::FUNCTION_NAMES;
use local::stack::{self, RIGHTFOOT_URL_KEY_SECRET};
use serde_json::value::to_raw_value;
use serde_json::{Value, json};
use tests::{World, alert_body, completion_body, event_body, extract_body, provider_of};

use crate::metrics_recorder::Counters;

const LIMIT_BYTES: usize = 6 * 1024 * 1024;

/// Invokes the function behind the event's path; returns its response as the runtime serializes it for the gateway.
async fn invoke(world: &World, event: Value) -> Value {
    let path = event["rawPath"].as_str().unwrap().to_owned();
    let event = to_raw_value(&event).unwrap();
    let answer = world.stack.webhooks[&provider_of(&path)].handle(event).await;
    serde_json::to_value(answer).unwrap()
}

/// The complete response with this status and body: one header, and nothing else (P6).
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

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/events")
}

fn fixture(name: &str) -> Value {
    serde_json::from_slice(&fs::read(fixtures().join(name)).unwrap()).unwrap()
}

/// Names of the files in a folder of fixtures, without `.json`.
fn event_names(folder: &Path) -> BTreeSet<String> {
    let entries =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let stems = entries.filter_map(|name| name.strip_suffix(".json").map(str::to_owned));
    stems.filter(|stem| stem != "env").collect()
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// The webhooks' half; `tests/e2e/test_invocations.py` invokes every function with these events.
#[tokio::test]
async fn p1_p3_p4_every_recorded_delivery_is_answered_and_queued_as_is_written_beside_it() {
    let events = event_names(&fixtures());
    let webhooks = ["fynapse-webhook-", "rightfoot-webhook-"];
    let deliveries = events.iter().filter(|name| webhooks.iter().any(|webhook| name.starts_with(webhook)));
    let mut replies = BTreeSet::new();
    for name in deliveries {
        let written = fixture(&format!("answers/{name}.json"));
        let world = World::new().await;
        for before in strings(&written["after"]) {
            invoke(&world, fixture(&format!("{before}.json"))).await;
        }
        assert_eq!(invoke(&world, fixture(&format!("{name}.json"))).await, written["answer"], "{name}");
        assert_eq!(world.drain_event_ids().await, strings(&written["queue"]), "{name}");
        replies.insert(written["answer"]["body"].to_string());
    }
    let known = [RECEIVED, DUPLICATE, FORBIDDEN].map(|body| Value::from(body).to_string());
    assert_eq!(replies, known.into(), "every reply that has an event");
}

#[test]
fn every_event_is_named_after_its_function_and_has_an_answer() {
    let events = event_names(&fixtures());
    assert_eq!(events, event_names(&fixtures().join("answers")), "events and answers");
    for event in &events {
        let takers = FUNCTION_NAMES.iter().filter(|function| event.starts_with(&format!("{function}-")));
        assert_eq!(takers.count(), 1, "{event}");
    }
    for function in FUNCTION_NAMES.iter() {
        assert!(events.iter().any(|event| event.starts_with(&format!("{function}-"))), "{function}");
    }
}

#[tokio::test]
async fn p2_a_tick_of_the_schedule_is_answered_with_the_relays_report() {
    let template = fs::read_to_string(fixtures().join("../../../template.yaml")).unwrap();
    let ticks =
        ["event-relay-tick.json", "fynapse-auditor-tick.json", "rightfoot-poller-tick.json"].map(fixture);
    let inputs = template.lines().filter_map(|line| line.trim().strip_prefix("Input: "));
    assert_eq!(Vec::from_iter(inputs), ticks.map(|tick| format!("'{tick}'")));
    let world = World::new().await;
    world.inject_fault("SendMessage", Fault::AccessDenied);
    invoke(&world, fixture("fynapse-webhook-good.json")).await;
    world.stack.connector.clear_fault_plan();
    // Past `RELAY_AGE_MS`: the record is due for the relay.
    world.advance(Duration::from_secs(31));
    let report = world.run_relay().await.unwrap().unwrap();
    insta::assert_snapshot!(
        report,
        @r#"{"due":1,"failed":0,"oldest_due_age_secs":31,"quarantined":0,"remaining":0,"sent":1}"#
    );
    assert_eq!(world.drain_event_ids().await, ["fynapse/event/a3efc743-ac6c-463b-aa19-4dd9c45b5b96"]);
}

/// Condition under which the delivery arrives.
#[derive(Clone, Copy)]
enum Precondition {
    Nothing,
    /// The same delivery came before.
    Duplicate,
    /// It arrives 301 seconds after it was signed.
    Stale,
    /// Every call of this operation fails in this way.
    Failing(&'static str, Fault),
    /// It arrives 301 seconds late, and every call of this operation fails with `AccessDenied`.
    StaleAndFailing(&'static str),
    /// The batch was submitted under another subject.
    TrackedForAnother,
    /// The URL's subject is revoked.
    Revoked,
    /// The allow list holds only another network.
    AllowList,
}

/// The delivery.
enum DeliveryVariant {
    /// This body, verified.
    Verified(String),
    /// An event with this signature or token.
    WithCredential(&'static str),
    /// An event with the right signature, followed by this text.
    WithSuffix(&'static str),
    /// An event without a signature or token.
    WithoutCredential,
    /// A body that is marked as base64 and is not.
    BadBase64,
    /// A verified event among headers that an HTTP library rejects.
    AmongOddHeaders,
    /// An invocation event that the gateway never sends.
    NoInvocation,
    /// So many blanks, verified.
    Blanks(usize),
    /// So many blanks, verified, in base64.
    EncodedBlanks(usize),
}

/// A row of the table: its name, the condition, the delivery, and the reply's status and body.
type ReplyCase = (&'static str, Precondition, DeliveryVariant, u16, &'static str);

async fn check_replies(provider: Provider, table: Vec<ReplyCase>) {
    for (what, given, sent, status, body) in table {
        let allowed = if matches!(given, Precondition::AllowList) { "192.0.2.0/24" } else { "" };
        let mut world = World::with_options(|options| {
            drop(options.allow_lists.insert(provider, allowed.parse().unwrap()))
        })
        .await;
        let event = delivery_event(&world, provider, &sent);
        set_up(&mut world, given, &event).await;
        assert_eq!(invoke(&world, event).await, gateway_response(status, body), "{what}");
    }
}

async fn set_up(world: &mut World, given: Precondition, event: &Value) {
    let failing = |operation: &'static str, fault| {
        world.inject_fault(operation, fault);
    };
    match given {
        Precondition::Nothing | Precondition::AllowList => {}
        Precondition::Duplicate => drop(invoke(world, event.clone()).await),
        Precondition::Stale => world.advance(Duration::from_secs(301)),
        Precondition::Failing(operation, fault) => failing(operation, fault),
        Precondition::StaleAndFailing(operation) => {
            world.advance(Duration::from_secs(301));
            failing(operation, Fault::AccessDenied);
        }
        Precondition::TrackedForAnother => {
            let tracked = [("pk", "rightfoot#batch#b-1"), ("sk", "tracked"), ("subject", "other")];
            let text = |value: &str| AttributeValue::S(value.to_owned());
            world.put_item(tracked.map(|(name, value)| (name.to_owned(), text(value))).into()).await;
        }
        Precondition::Revoked => {
            world.stack.webhooks.insert(Provider::Rightfoot, webhook_with_revoked_subject(world));
        }
    }
}

/// The function as deployed after the subject `demo` was revoked.
fn webhook_with_revoked_subject(world: &World) -> WebhookFunction {
    let config = WebhookConfig {
        common: stack::common_config(&world.stack.events_queue_url),
        secret_id: RIGHTFOOT_URL_KEY_SECRET.to_owned(),
        allow_list: "".parse().unwrap(),
        verifier: Verifier::UrlToken { revoked_subjects: ["demo".parse().unwrap()].into() },
    };
    WebhookFunction::new(
        Provider::Rightfoot,
        &config,
        &world.stack.unrestricted_clients(),
        world.stack.clock.clone(),
    )
}

fn delivery_event(world: &World, provider: Provider, sent: &DeliveryVariant) -> Value {
    let event_body = event_body(provider, if provider == Provider::Rightfoot { "b-1" } else { "e-1" });
    let body = match sent {
        DeliveryVariant::Verified(body) => body.clone(),
        DeliveryVariant::Blanks(count) | DeliveryVariant::EncodedBlanks(count) => " ".repeat(*count),
        DeliveryVariant::WithCredential(_)
        | DeliveryVariant::WithSuffix(_)
        | DeliveryVariant::WithoutCredential
        | DeliveryVariant::BadBase64
        | DeliveryVariant::AmongOddHeaders
        | DeliveryVariant::NoInvocation => event_body,
    };
    let mut right = world.credential(provider, &body);
    if let DeliveryVariant::WithSuffix(more) = sent {
        right.push_str(more);
    }
    let credential = match sent {
        DeliveryVariant::WithCredential(credential) => Some(*credential),
        DeliveryVariant::WithoutCredential => None,
        DeliveryVariant::Verified(_)
        | DeliveryVariant::WithSuffix(_)
        | DeliveryVariant::BadBase64
        | DeliveryVariant::AmongOddHeaders
        | DeliveryVariant::NoInvocation
        | DeliveryVariant::Blanks(_)
        | DeliveryVariant::EncodedBlanks(_) => Some(right.as_str()),
    };
    let mut event = tests::delivery_event(provider, credential, body.as_bytes());
    event["isBase64Encoded"] =
        matches!(sent, DeliveryVariant::BadBase64 | DeliveryVariant::EncodedBlanks(_)).into();
    match sent {
        DeliveryVariant::EncodedBlanks(_) => event["body"] = STANDARD.encode(&body).into(),
        DeliveryVariant::AmongOddHeaders => {
            event["headers"]["user-agent"] = "\u{7f}\u{1b}[2J\u{0}".into();
            event["headers"]["not a name"] = "".into();
        }
        DeliveryVariant::NoInvocation => event["body"] = json!({"event_id": "e-1"}),
        DeliveryVariant::Verified(_)
        | DeliveryVariant::WithCredential(_)
        | DeliveryVariant::WithSuffix(_)
        | DeliveryVariant::WithoutCredential
        | DeliveryVariant::BadBase64
        | DeliveryVariant::Blanks(_) => {}
    }
    event
}

const RECEIVED: &str = r#"{"status":"received"}"#;
const DUPLICATE: &str = r#"{"status":"duplicate"}"#;
const QUARANTINED: &str = r#"{"status":"quarantined"}"#;
const FORBIDDEN: &str = r#"{"error":"Forbidden"}"#;
const UNAVAILABLE: &str = r#"{"error":"Unavailable"}"#;

fn verified(body: impl Into<String>) -> DeliveryVariant {
    DeliveryVariant::Verified(body.into())
}

#[tokio::test]
async fn p6_every_reply_that_fynapse_can_get() {
    use Precondition::{AllowList, Duplicate, Failing, Nothing, Stale, StaleAndFailing};
    let event = || verified(extract_body("e-1"));
    let other_type = extract_body("e-1").replace("balance.extracted", "something.else");
    let long_type = extract_body("e-1").replace("balance.extracted", &"t".repeat(513));
    let forged = "t=1767323045,v1=0000000000000000000000000000000000000000000000000000000000000000";
    let table: Vec<ReplyCase> = vec![
        ("recorded", Nothing, event(), 200, RECEIVED),
        ("among odd headers", Nothing, DeliveryVariant::AmongOddHeaders, 200, RECEIVED),
        (
            "beside an unreadable signature",
            Nothing,
            DeliveryVariant::WithSuffix(",v1=bad_signature"),
            200,
            RECEIVED,
        ),
        ("beside an empty signature", Nothing, DeliveryVariant::WithSuffix(",v1="), 200, RECEIVED),
        (
            "with a byte order mark",
            Nothing,
            verified(format!("\u{feff}{}", extract_body("e-1"))),
            200,
            RECEIVED,
        ),
        ("any type is an event", Nothing, verified(other_type), 200, RECEIVED),
        ("recorded, not sent", Failing("SendMessage", Fault::AccessDenied), event(), 200, RECEIVED),
        ("recorded, not marked", Failing("UpdateItem", Fault::TimeoutAfter), event(), 200, RECEIVED),
        ("seen before", Duplicate, event(), 200, DUPLICATE),
        ("an over-long id", Nothing, verified(extract_body(&"i".repeat(513))), 200, QUARANTINED),
        ("an over-long type", Nothing, verified(long_type), 200, QUARANTINED),
        ("no JSON", Nothing, verified("{"), 200, QUARANTINED),
        ("a required field missing", Nothing, verified(r#"{"event_id":"e-1"}"#), 200, QUARANTINED),
        ("a body at the cap", Nothing, DeliveryVariant::Blanks(LIMIT_BYTES), 200, QUARANTINED),
        ("the same, encoded", Nothing, DeliveryVariant::EncodedBlanks(LIMIT_BYTES), 200, QUARANTINED),
        ("stale", Stale, event(), 403, FORBIDDEN),
        ("an address that may not call", AllowList, event(), 403, FORBIDDEN),
        ("no signature", Nothing, DeliveryVariant::WithoutCredential, 403, FORBIDDEN),
        ("a malformed signature", Nothing, DeliveryVariant::WithCredential("t=1767323045"), 403, FORBIDDEN),
        ("a bad signature", Nothing, DeliveryVariant::WithCredential(forged), 403, FORBIDDEN),
        (
            "no signature that can be read",
            Nothing,
            DeliveryVariant::WithCredential("t=1767323045,v1=,v1=bad_signature"),
            403,
            FORBIDDEN,
        ),
        ("bad base64", Nothing, DeliveryVariant::BadBase64, 403, FORBIDDEN),
        ("no invocation", Nothing, DeliveryVariant::NoInvocation, 403, FORBIDDEN),
        ("no secret was loaded", Failing("GetSecretValue", Fault::AccessDenied), event(), 503, UNAVAILABLE),
        ("DynamoDB down", Failing("PutItem", Fault::ServerError), event(), 503, UNAVAILABLE),
        ("DynamoDB throttles", Failing("PutItem", Fault::Throttled), event(), 503, UNAVAILABLE),
        ("not permitted", Failing("PutItem", Fault::AccessDenied), event(), 503, UNAVAILABLE),
        ("outcome unknown", Failing("PutItem", Fault::TimeoutAfter), event(), 503, UNAVAILABLE),
        ("unreadable, not kept", Failing("UpdateItem", Fault::ServerError), verified("{"), 503, UNAVAILABLE),
        ("stale, not kept", StaleAndFailing("UpdateItem"), event(), 503, UNAVAILABLE),
        ("a body over the cap", Nothing, DeliveryVariant::Blanks(LIMIT_BYTES + 1), 503, UNAVAILABLE),
        ("the same, encoded", Nothing, DeliveryVariant::EncodedBlanks(LIMIT_BYTES + 1), 503, UNAVAILABLE),
    ];
    for (what, _, _, status, _) in &table {
        assert!([200, 403, 503].contains(status), "{what}: {status} could kill a delivery for good");
    }
    check_replies(Provider::Fynapse, table).await;
}

#[tokio::test]
async fn p1_p4_p7_every_reply_that_rightfoot_can_get() {
    use Precondition::{AllowList, Duplicate, Failing, Nothing, Revoked, TrackedForAnother};
    const CAP_BYTES: usize = 1024 * 1024;
    let event = || verified(completion_body("b-1", "u-1"));
    let not_json = r#"{"error":"Invalid JSON payload"}"#;
    let no_ids = r#"{"error":"Missing required fields","fields":["event_uuid","batch_id"]}"#;
    let no_alerts = r#"{"error":"Missing required fields","fields":["alerts"]}"#;
    let without_alerts = completion_body("b-1", "u-1").replace("BATCH_COMPLETED", "THRESHOLD_ALERT");
    let forged = "demo.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let table: Vec<ReplyCase> = vec![
        ("a completion recorded", Nothing, event(), 200, RECEIVED),
        (
            "with a byte order mark",
            Nothing,
            verified(format!("\u{feff}{}", completion_body("b-1", "u-1"))),
            200,
            RECEIVED,
        ),
        ("among odd headers", Nothing, DeliveryVariant::AmongOddHeaders, 200, RECEIVED),
        ("an alert recorded", Nothing, verified(alert_body("b-1", "u-1")), 200, RECEIVED),
        ("recorded, not sent", Failing("SendMessage", Fault::AccessDenied), event(), 200, RECEIVED),
        ("recorded, not marked", Failing("UpdateItem", Fault::TimeoutAfter), event(), 200, RECEIVED),
        ("seen before", Duplicate, event(), 200, DUPLICATE),
        ("a third type", Nothing, verified(r#"{"type":"A_THIRD_TYPE"}"#), 200, QUARANTINED),
        ("an over-long id", Nothing, verified(completion_body(&"b".repeat(513), "u-1")), 200, QUARANTINED),
        (
            "the poller's own uuid",
            Nothing,
            verified(alert_body("b-1", "poll-b1946ac92492d2347c6235b4d2611184")),
            200,
            QUARANTINED,
        ),
        ("one like it", Nothing, verified(alert_body("b-1", "poll-0123")), 200, QUARANTINED),
        ("another subject's batch", TrackedForAnother, event(), 200, QUARANTINED),
        ("no JSON", Nothing, verified("{"), 400, not_json),
        ("a body at the cap", Nothing, DeliveryVariant::Blanks(CAP_BYTES), 400, not_json),
        ("ids missing", Nothing, verified(r#"{"type":"BALANCE_BATCH_COMPLETED"}"#), 400, no_ids),
        ("alerts missing", Nothing, verified(without_alerts), 400, no_alerts),
        ("no token", Nothing, DeliveryVariant::WithoutCredential, 403, FORBIDDEN),
        ("a malformed token", Nothing, DeliveryVariant::WithCredential("demo"), 403, FORBIDDEN),
        ("a bad token", Nothing, DeliveryVariant::WithCredential(forged), 403, FORBIDDEN),
        ("a revoked subject", Revoked, event(), 403, FORBIDDEN),
        ("an address that may not call", AllowList, event(), 403, FORBIDDEN),
        ("bad base64", Nothing, DeliveryVariant::BadBase64, 403, FORBIDDEN),
        ("no invocation", Nothing, DeliveryVariant::NoInvocation, 403, FORBIDDEN),
        ("no key was loaded", Failing("GetSecretValue", Fault::AccessDenied), event(), 503, UNAVAILABLE),
        ("DynamoDB down", Failing("GetItem", Fault::ServerError), event(), 503, UNAVAILABLE),
        ("DynamoDB throttles", Failing("PutItem", Fault::Throttled), event(), 503, UNAVAILABLE),
        ("not permitted", Failing("PutItem", Fault::AccessDenied), event(), 503, UNAVAILABLE),
        ("outcome unknown", Failing("PutItem", Fault::TimeoutAfter), event(), 503, UNAVAILABLE),
        ("unreadable, not kept", Failing("UpdateItem", Fault::ServerError), verified("{"), 503, UNAVAILABLE),
        ("a body over the cap", Nothing, DeliveryVariant::Blanks(CAP_BYTES + 1), 503, UNAVAILABLE),
        ("the same, encoded", Nothing, DeliveryVariant::EncodedBlanks(CAP_BYTES + 1), 503, UNAVAILABLE),
    ];
    check_replies(Provider::Rightfoot, table).await;
}

/// Nothing is recorded, and it is counted like any other delivery that cannot be verified.
#[tokio::test]
async fn p4_p6_what_is_no_invocation_is_refused_as_malformed_and_counted() {
    let counters = Counters::default();
    let _counting = metrics::set_default_local_recorder(&counters);
    let world = World::new().await;
    for (nth, path) in ["/webhooks/fynapse", "/webhooks/rightfoot/demo"].into_iter().enumerate() {
        for event in [
            json!({"rawPath": path, "headers": 7}),
            json!({"rawPath": path, "headers": {"webhook-signature": {"t": 1}}}),
            json!({"rawPath": path, "body": ["{}"]}),
            json!({"rawPath": path, "requestContext": "none"}),
        ] {
            assert_eq!(invoke(&world, event.clone()).await, gateway_response(403, FORBIDDEN), "{event}");
        }
        let provider = Provider::ALL[1 - nth].as_str();
        assert_eq!(counters.count("rejected", &format!("{provider} malformed")), 4);
        assert_eq!(counters.count("received", provider), 4);
    }
    assert_eq!(counters.count("rejected", ""), 8);
    assert_eq!(world.items().await, []);
}
