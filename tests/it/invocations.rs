//! What a function is invoked with and what it answers, to the byte: the recorded invocations, and the whole
//! table of replies, each outcome at each provider.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use inbox_core::delivery::Provider;
use local::lambda_api::FUNCTION_NAMES;
use local::stack::{self, RIGHTFOOT_URL_KEY_SECRET};
use local::connector::Fault;
use serde_json::value::to_raw_value;
use serde_json::{Value, json};
use tests::{World, alert, completion, extract, request};

use crate::counters::Counters;

const LIMIT_BYTES: usize = 6 * 1024 * 1024;

/// Invokes the function behind the event's path; its answer as the runtime hands it to the gateway.
async fn invoke(world: &World, event: Value) -> Value {
    let path = event["rawPath"].as_str().unwrap().to_owned();
    let event = to_raw_value(&event).unwrap();
    let functions = &world.system.webhooks;
    let answer = match path.as_str() {
        "/webhooks/fynapse" => functions.fynapse.handle(event).await,
        _ => functions.rightfoot.handle(event).await,
    };
    serde_json::to_value(answer).unwrap()
}

/// The answer with this status and body, complete: one header, and nothing else (P6).
fn answer(status: u16, body: &str) -> Value {
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

/// The names of the files in a folder of fixtures, without `.json`, that an event can have.
fn stems(folder: &Path) -> BTreeSet<String> {
    let entries =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let stems = entries.filter_map(|name| name.strip_suffix(".json").map(str::to_owned));
    stems.filter(|stem| stem != "env").collect()
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// `tests/e2e/test_invocations.py` invokes every function with these events; here are the webhooks.
#[tokio::test]
async fn p1_p3_p4_every_recorded_delivery_is_answered_and_queued_as_is_written_beside_it() {
    let events = stems(&fixtures());
    let webhooks = ["fynapse-webhook-", "rightfoot-webhook-"];
    let deliveries = events.iter().filter(|name| webhooks.iter().any(|webhook| name.starts_with(webhook)));
    let mut replies = BTreeSet::new();
    for name in deliveries {
        let written = fixture(&format!("answers/{name}.json"));
        let world = World::new().await;
        for before in texts(&written["after"]) {
            invoke(&world, fixture(&format!("{before}.json"))).await;
        }
        assert_eq!(invoke(&world, fixture(&format!("{name}.json"))).await, written["answer"], "{name}");
        assert_eq!(world.drain_ids().await, texts(&written["queue"]), "{name}");
        replies.insert(written["answer"]["body"].to_string());
    }
    let known = [RECEIVED, DUPLICATE, FORBIDDEN].map(|body| Value::from(body).to_string());
    assert_eq!(replies, known.into(), "every reply that has an event");
}

#[test]
fn every_event_is_named_after_its_function_and_has_an_answer() {
    let events = stems(&fixtures());
    assert_eq!(events, stems(&fixtures().join("answers")), "events and answers");
    for event in &events {
        let takers = FUNCTION_NAMES.iter().filter(|function| event.starts_with(&format!("{function}-")));
        assert_eq!(takers.count(), 1, "{event}");
    }
    for function in FUNCTION_NAMES {
        assert!(events.iter().any(|event| event.starts_with(&format!("{function}-"))), "{function}");
    }
}

#[tokio::test]
async fn p2_a_tick_of_the_schedule_is_answered_with_the_relays_report() {
    let template = fs::read_to_string(fixtures().join("../../../template.yaml")).unwrap();
    let ticks = ["event-relay-tick.json", "rightfoot-poller-tick.json"].map(fixture);
    let inputs = template.lines().filter_map(|line| line.trim().strip_prefix("Input: "));
    assert_eq!(Vec::from_iter(inputs), ticks.map(|tick| format!("'{tick}'")));
    let world = World::new().await;
    world.system.connector.set_fault_plan(|call| (call.operation == "SendMessage").then_some(Fault::AccessDenied));
    invoke(&world, fixture("fynapse-webhook-good.json")).await;
    world.system.connector.clear_fault_plan();
    world.pass(Duration::from_secs(31));
    let report = world.relay().await.unwrap().unwrap();
    insta::assert_snapshot!(
        report,
        @r#"{"failed":0,"found":1,"left":0,"oldest_due_age_secs":31,"quarantined":0,"sent":1}"#
    );
    assert_eq!(world.drain_ids().await, ["fynapse/event/a3efc743-ac6c-463b-aa19-4dd9c45b5b96"]);
}

/// What is arranged around the delivery.
#[derive(Clone, Copy)]
enum Given {
    Nothing,
    /// The same delivery came before.
    Seen,
    /// It comes 301 seconds after it was signed.
    Late,
    /// Every call of this operation fails so, for good.
    Failing(&'static str, Fault),
    /// Late, and every call of this operation is refused.
    LateAndFailing(&'static str),
    /// The batch was submitted under another subject.
    TrackedForAnother,
    /// The URL's subject was revoked.
    Revoked,
    /// Only another network may call.
    AllowList,
}

/// What is delivered.
enum Sent {
    /// This body, proven.
    Proven(String),
    /// An event, under this signature or token.
    Under(&'static str),
    /// An event under the right signature, with this behind it.
    WithBehind(&'static str),
    /// An event without a signature or token.
    Bare,
    /// A body that is not the base64 that it claims to be.
    BadBase64,
    /// An event, proven, among headers that an HTTP library does not take.
    AmongOddHeaders,
    /// Something that the gateway does not invoke with.
    NoInvocation,
    /// So many blanks, proven.
    Blanks(usize),
    /// So many blanks, proven, in base64.
    EncodedBlanks(usize),
}

/// One line of the table: what it is about, what is arranged, what is sent, and the status and body.
type Line = (&'static str, Given, Sent, u16, &'static str);

async fn play(provider: Provider, table: Vec<Line>) {
    for (what, given, sent, status, body) in table {
        let allowed = if matches!(given, Given::AllowList) { "192.0.2.0/24" } else { "" };
        let mut world = World::with(|options| options.rightfoot_allow_list = allowed.parse().unwrap()).await;
        let event = invocation(&world, provider, &sent);
        arrange(&mut world, given, &event).await;
        assert_eq!(invoke(&world, event).await, answer(status, body), "{what}");
    }
}

async fn arrange(world: &mut World, given: Given, event: &Value) {
    let failing = |operation: &'static str, fault| {
        world.system.connector.set_fault_plan(move |call| (call.operation == operation).then_some(fault));
    };
    match given {
        Given::Nothing | Given::AllowList => {}
        Given::Seen => drop(invoke(world, event.clone()).await),
        Given::Late => world.pass(Duration::from_secs(301)),
        Given::Failing(operation, fault) => failing(operation, fault),
        Given::LateAndFailing(operation) => {
            world.pass(Duration::from_secs(301));
            failing(operation, Fault::AccessDenied);
        }
        Given::TrackedForAnother => {
            let tracked = [("pk", "rightfoot#batch#b-1"), ("sk", "tracked"), ("subject", "other")];
            let text = |value: &str| AttributeValue::S(value.to_owned());
            world.put(tracked.map(|(name, value)| (name.to_owned(), text(value))).into()).await;
        }
        Given::Revoked => world.system.webhooks.rightfoot = revoking(world),
    }
}

/// The function as it is deployed after the subject `demo` was revoked.
fn revoking(world: &World) -> rightfoot_webhook::RightfootWebhook {
    let config = rightfoot_webhook::Config {
        common: stack::common_config(&world.system.events_queue_url),
        url_key_secret_id: RIGHTFOOT_URL_KEY_SECRET.to_owned(),
        allow_list: "".parse().unwrap(),
        revoked_subjects: ["demo".parse().unwrap()].into(),
    };
    rightfoot_webhook::RightfootWebhook::new(&config, &world.system.unrestricted_clients(), world.system.clock.clone())
}

fn invocation(world: &World, provider: Provider, sent: &Sent) -> Value {
    let event_body = match provider {
        Provider::Fynapse => extract("e-1"),
        Provider::Rightfoot => completion("b-1", "u-1"),
    };
    let body = match sent {
        Sent::Proven(body) => body.clone(),
        Sent::Blanks(count) | Sent::EncodedBlanks(count) => " ".repeat(*count),
        Sent::Under(_)
        | Sent::WithBehind(_)
        | Sent::Bare
        | Sent::BadBase64
        | Sent::AmongOddHeaders
        | Sent::NoInvocation => event_body,
    };
    let mut right = match provider {
        Provider::Fynapse => world.sign(&body),
        Provider::Rightfoot => world.system.mint_url_token(&"demo".parse().unwrap()).unwrap(),
    };
    if let Sent::WithBehind(more) = sent {
        right.push_str(more);
    }
    let credential = match sent {
        Sent::Under(credential) => Some(*credential),
        Sent::Bare => None,
        Sent::Proven(_)
        | Sent::WithBehind(_)
        | Sent::BadBase64
        | Sent::AmongOddHeaders
        | Sent::NoInvocation
        | Sent::Blanks(_)
        | Sent::EncodedBlanks(_) => Some(right.as_str()),
    };
    let mut event = match provider {
        Provider::Fynapse => {
            let headers = credential.map_or(json!({}), |signature| json!({"webhook-signature": signature}));
            request("/webhooks/fynapse", headers, body.as_bytes(), None)
        }
        Provider::Rightfoot => {
            let path = format!("/webhooks/rightfoot/{}", credential.unwrap_or_default());
            request(&path, json!({}), body.as_bytes(), credential)
        }
    };
    event["isBase64Encoded"] = matches!(sent, Sent::BadBase64 | Sent::EncodedBlanks(_)).into();
    match sent {
        Sent::EncodedBlanks(_) => event["body"] = STANDARD.encode(&body).into(),
        Sent::AmongOddHeaders => {
            event["headers"]["user-agent"] = "\u{7f}\u{1b}[2J\u{0}".into();
            event["headers"]["not a name"] = "".into();
        }
        Sent::NoInvocation => event["body"] = json!({"event_id": "e-1"}),
        Sent::Proven(_)
        | Sent::Under(_)
        | Sent::WithBehind(_)
        | Sent::Bare
        | Sent::BadBase64
        | Sent::Blanks(_) => {}
    }
    event
}

const RECEIVED: &str = r#"{"status":"received"}"#;
const DUPLICATE: &str = r#"{"status":"duplicate"}"#;
const QUARANTINED: &str = r#"{"status":"quarantined"}"#;
const FORBIDDEN: &str = r#"{"error":"Forbidden"}"#;
const UNAVAILABLE: &str = r#"{"error":"Unavailable"}"#;

fn proven(body: impl Into<String>) -> Sent {
    Sent::Proven(body.into())
}

#[tokio::test]
async fn p6_every_reply_that_fynapse_can_get() {
    use Given::{Failing, Late, LateAndFailing, Nothing, Seen};
    let event = || proven(extract("e-1"));
    let other_type = extract("e-1").replace("balance.extracted", "something.else");
    let long_type = extract("e-1").replace("balance.extracted", &"t".repeat(513));
    let forged = "t=1767323045,v1=0000000000000000000000000000000000000000000000000000000000000000";
    let table: Vec<Line> = vec![
        ("recorded", Nothing, event(), 200, RECEIVED),
        ("among odd headers", Nothing, Sent::AmongOddHeaders, 200, RECEIVED),
        ("beside an unreadable signature", Nothing, Sent::WithBehind(",v1=bad_signature"), 200, RECEIVED),
        ("beside an empty signature", Nothing, Sent::WithBehind(",v1="), 200, RECEIVED),
        ("with a byte order mark", Nothing, proven(format!("\u{feff}{}", extract("e-1"))), 200, RECEIVED),
        ("any type is an event", Nothing, proven(other_type), 200, RECEIVED),
        ("recorded, not sent", Failing("SendMessage", Fault::AccessDenied), event(), 200, RECEIVED),
        ("recorded, not marked", Failing("UpdateItem", Fault::TimeoutAfter), event(), 200, RECEIVED),
        ("seen before", Seen, event(), 200, DUPLICATE),
        ("an over-long id", Nothing, proven(extract(&"i".repeat(513))), 200, QUARANTINED),
        ("an over-long type", Nothing, proven(long_type), 200, QUARANTINED),
        ("no JSON", Nothing, proven("{"), 200, QUARANTINED),
        ("a required field missing", Nothing, proven(r#"{"event_id":"e-1"}"#), 200, QUARANTINED),
        ("a body at the cap", Nothing, Sent::Blanks(LIMIT_BYTES), 200, QUARANTINED),
        ("the same, encoded", Nothing, Sent::EncodedBlanks(LIMIT_BYTES), 200, QUARANTINED),
        ("stale", Late, event(), 403, FORBIDDEN),
        ("no signature", Nothing, Sent::Bare, 403, FORBIDDEN),
        ("a malformed signature", Nothing, Sent::Under("t=1767323045"), 403, FORBIDDEN),
        ("a bad signature", Nothing, Sent::Under(forged), 403, FORBIDDEN),
        (
            "no signature that can be read",
            Nothing,
            Sent::Under("t=1767323045,v1=,v1=bad_signature"),
            403,
            FORBIDDEN,
        ),
        ("bad base64", Nothing, Sent::BadBase64, 403, FORBIDDEN),
        ("no invocation", Nothing, Sent::NoInvocation, 403, FORBIDDEN),
        ("no secret was loaded", Failing("GetSecretValue", Fault::AccessDenied), event(), 503, UNAVAILABLE),
        ("DynamoDB down", Failing("PutItem", Fault::ServerError), event(), 503, UNAVAILABLE),
        ("DynamoDB throttles", Failing("PutItem", Fault::Throttled), event(), 503, UNAVAILABLE),
        ("not permitted", Failing("PutItem", Fault::AccessDenied), event(), 503, UNAVAILABLE),
        ("outcome unknown", Failing("PutItem", Fault::TimeoutAfter), event(), 503, UNAVAILABLE),
        ("unreadable, not kept", Failing("UpdateItem", Fault::ServerError), proven("{"), 503, UNAVAILABLE),
        ("stale, not kept", LateAndFailing("UpdateItem"), event(), 503, UNAVAILABLE),
        ("a body over the cap", Nothing, Sent::Blanks(LIMIT_BYTES + 1), 503, UNAVAILABLE),
        ("the same, encoded", Nothing, Sent::EncodedBlanks(LIMIT_BYTES + 1), 503, UNAVAILABLE),
    ];
    for (what, _, _, status, _) in &table {
        assert!([200, 403, 503].contains(status), "{what}: {status} could kill a delivery for good");
    }
    play(Provider::Fynapse, table).await;
}

#[tokio::test]
async fn p1_p4_p7_every_reply_that_rightfoot_can_get() {
    use Given::{AllowList, Failing, Nothing, Revoked, Seen, TrackedForAnother};
    const CAP_BYTES: usize = 1024 * 1024;
    let event = || proven(completion("b-1", "u-1"));
    let not_json = r#"{"error":"Invalid JSON payload"}"#;
    let no_ids = r#"{"error":"Missing required fields","fields":["event_uuid","batch_id"]}"#;
    let no_alerts = r#"{"error":"Missing required fields","fields":["alerts"]}"#;
    let without_alerts = completion("b-1", "u-1").replace("BATCH_COMPLETED", "THRESHOLD_ALERT");
    let forged = "demo.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let table: Vec<Line> = vec![
        ("a completion recorded", Nothing, event(), 200, RECEIVED),
        (
            "with a byte order mark",
            Nothing,
            proven(format!("\u{feff}{}", completion("b-1", "u-1"))),
            200,
            RECEIVED,
        ),
        ("among odd headers", Nothing, Sent::AmongOddHeaders, 200, RECEIVED),
        ("an alert recorded", Nothing, proven(alert("b-1", "u-1")), 200, RECEIVED),
        ("recorded, not sent", Failing("SendMessage", Fault::AccessDenied), event(), 200, RECEIVED),
        ("recorded, not marked", Failing("UpdateItem", Fault::TimeoutAfter), event(), 200, RECEIVED),
        ("seen before", Seen, event(), 200, DUPLICATE),
        ("a third type", Nothing, proven(r#"{"type":"A_THIRD_TYPE"}"#), 200, QUARANTINED),
        ("an over-long id", Nothing, proven(completion(&"b".repeat(513), "u-1")), 200, QUARANTINED),
        ("the poller's own uuid", Nothing, proven(alert("b-1", "poll")), 200, QUARANTINED),
        ("one like it", Nothing, proven(alert("b-1", "poll-0123")), 200, QUARANTINED),
        ("another subject's batch", TrackedForAnother, event(), 200, QUARANTINED),
        ("no JSON", Nothing, proven("{"), 400, not_json),
        ("a body at the cap", Nothing, Sent::Blanks(CAP_BYTES), 400, not_json),
        ("ids missing", Nothing, proven(r#"{"type":"BALANCE_BATCH_COMPLETED"}"#), 400, no_ids),
        ("alerts missing", Nothing, proven(without_alerts), 400, no_alerts),
        ("no token", Nothing, Sent::Bare, 403, FORBIDDEN),
        ("a malformed token", Nothing, Sent::Under("demo"), 403, FORBIDDEN),
        ("a bad token", Nothing, Sent::Under(forged), 403, FORBIDDEN),
        ("a revoked subject", Revoked, event(), 403, FORBIDDEN),
        ("an address that may not call", AllowList, event(), 403, FORBIDDEN),
        ("bad base64", Nothing, Sent::BadBase64, 403, FORBIDDEN),
        ("no invocation", Nothing, Sent::NoInvocation, 403, FORBIDDEN),
        ("no key was loaded", Failing("GetSecretValue", Fault::AccessDenied), event(), 503, UNAVAILABLE),
        ("DynamoDB down", Failing("GetItem", Fault::ServerError), event(), 503, UNAVAILABLE),
        ("DynamoDB throttles", Failing("PutItem", Fault::Throttled), event(), 503, UNAVAILABLE),
        ("not permitted", Failing("PutItem", Fault::AccessDenied), event(), 503, UNAVAILABLE),
        ("outcome unknown", Failing("PutItem", Fault::TimeoutAfter), event(), 503, UNAVAILABLE),
        ("unreadable, not kept", Failing("UpdateItem", Fault::ServerError), proven("{"), 503, UNAVAILABLE),
        ("a body over the cap", Nothing, Sent::Blanks(CAP_BYTES + 1), 503, UNAVAILABLE),
        ("the same, encoded", Nothing, Sent::EncodedBlanks(CAP_BYTES + 1), 503, UNAVAILABLE),
    ];
    play(Provider::Rightfoot, table).await;
}

/// Nothing is recorded of it, and it is counted like any other delivery that nobody can prove.
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
            assert_eq!(invoke(&world, event.clone()).await, answer(403, FORBIDDEN), "{event}");
        }
        let provider = Provider::ALL.map(Provider::as_str)[1 - nth];
        assert_eq!(counters.count("refused", &format!("{provider} malformed")), 4);
        assert_eq!(counters.count("received", provider), 4);
    }
    assert_eq!(counters.count("refused", ""), 8);
    assert_eq!(world.items().await, []);
}
