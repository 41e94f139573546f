//! Upgrades: data written by an earlier version is read and processed by this one.
//!
//! `tests/fixtures/stored_items/v<n>.json` is the data that a version left behind, items and messages. The first one was frozen
//! before any release, when records got the count of their duplicates. From then on these files are never edited: another form of
//! data is another file.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use inbox_aws::quarantine_replay::QuarantineReplayOutcome;
use inbox_core::quarantine::QuarantineId;
use local::connector::Fault;
use local::rightfoot_simulator::WebhookLoss;
use serde_json::{Map, Value, json};
use tests::operator::test_operator;
use tests::rightfoot_world::{RightfootWorld, daily_schedule_request, submit_batch_request};
use tests::worker_effects::balance_pairs;
use tests::{Item, MINUTE, alert_body, completion_body, completion_event_id, extract_body, random_hex, text};

/// Data of the first version.
const WRITTEN_BY_V1: &str = include_str!("../fixtures/stored_items/v1.json");
/// Data of the second version: a quarantined delivery has its idempotency key.
const WRITTEN_BY_V2: &str = include_str!("../fixtures/stored_items/v2.json");
/// Batch that the old versions had submitted.
const PAYROLL_BATCH_ID: &str = "cbfa129c-e665-4ce6-b491-ac9fa28eb0a4";

/// Items of the inbox, and messages of the queue.
struct StoredData {
    items: Vec<Item>,
    messages: Vec<String>,
}

/// Writes data of every kind, hardly any of it processed; Rightfoot sends no webhooks of its own.
async fn write_every_kind() -> (RightfootWorld, StoredData) {
    let it = RightfootWorld::with_behaviour(|rightfoot| rightfoot.webhook_loss = WebhookLoss::All).await;
    it.rightfoot.add_completed_batch("b-1", &balance_pairs(&[("a", "150.00"), ("b", "-0.10")]));
    it.rightfoot.add_completed_batch("r-1", &balance_pairs(&[("user-123", "150.00")]));
    let world = &it.world;

    assert!(world.deliver_fynapse(extract_body("done")).await.is_success());
    world.run_worker().await;
    assert!(world.deliver_fynapse(extract_body("done").replace("150.00", "1.00")).await.is_success());
    it.track_schedule("s-1", "user-123").await;
    world.track_run("r-1", 1).await;
    it.submit_batch("payroll", &["a", "b"]).await;
    it.request(daily_schedule_request("watch", &["a"])).await;
    // The worker requeues it, because this batch is unknown.
    assert!(world.deliver_rightfoot(completion_body("late", "u-3")).await.is_success());
    world.run_worker().await;
    // Quarantined.
    assert_eq!(world.deliver_rightfoot(r#"{"type":"A_THIRD_TYPE"}"#).await.status, 200);
    let (stale, signature) = (extract_body("stale"), world.sign(extract_body("stale")));
    // Past the signature's tolerance of 300 s.
    world.advance(Duration::from_secs(301));
    assert_eq!(world.deliver_fynapse_with(&stale, &signature, Some("key-1")).await.status, 403);
    // Recorded and not sent; the second one in parts.
    world
        .stack
        .connector
        .set_fault_plan(|call| call.operation.starts_with("SendMessage").then_some(Fault::AccessDenied));
    for body in [extract_body("due"), large()] {
        assert!(world.deliver_fynapse(body).await.is_success());
    }
    world.stack.connector.clear_fault_plan();
    // Sent.
    assert!(world.deliver_fynapse(extract_body("sent")).await.is_success());
    for body in [completion_body("b-1", "u-1"), alert_body("r-1", "u-2")] {
        assert!(world.deliver_rightfoot(body).await.is_success());
    }
    let messages = world.drain_queue().await.into_iter().map(|message| message.body).collect();
    let written = StoredData { items: world.items().await, messages };
    (it, written)
}

fn large() -> String {
    extract_body("large").replace("150.00", &format!("\"{}\"", random_hex(12_000, 1)))
}

#[tokio::test]
async fn p2_p7_p9_data_of_the_first_version_is_read_and_processed() {
    assert_processed(WRITTEN_BY_V1).await;
}

#[tokio::test]
async fn p2_p7_p9_data_of_the_second_version_is_read_and_processed() {
    assert_processed(WRITTEN_BY_V2).await;
}

async fn assert_processed(written: &str) {
    let written = StoredData::from_json(written);
    let (it, _) = write_every_kind().await;
    let world = &it.world;
    world.expire_items("").await;
    world.drain_bus().await;
    for item in written.items {
        world.put_item(item).await;
    }
    for message in written.messages {
        world.send_message(message).await;
    }
    it.rightfoot.add_completed_batch("late", &balance_pairs(&[("c", "1.00")]));
    it.rightfoot.add_completed_batch(PAYROLL_BATCH_ID, &balance_pairs(&[("a", "1.00"), ("b", "1.00")]));

    // Events on record are duplicates.
    for event in ["done", "due", "sent"] {
        assert_eq!(
            world.deliver_fynapse(extract_body(event)).await.body,
            r#"{"status":"duplicate"}"#,
            "{event}"
        );
    }
    assert_eq!(
        world.deliver_rightfoot(completion_body("b-1", "another")).await.body,
        r#"{"status":"duplicate"}"#
    );
    let payroll = it.request(submit_batch_request("payroll", &["a", "b"])).await;
    assert_eq!(payroll["batch_id"], PAYROLL_BATCH_ID, "not submitted again");

    // Whatever is due is processed.
    for _ in 0..90 {
        it.advance(MINUTE).await;
        it.run_poller().await.unwrap();
        world.run_relay().await.unwrap().unwrap();
        world.run_worker().await;
    }
    let alerted = "rightfoot/batch/r-1/threshold-met/user-123".to_owned();
    let mut expected = BTreeSet::from(["due", "large", "sent"].map(|event| format!("fynapse/event/{event}")));
    expected.extend(["b-1", "late", "r-1", PAYROLL_BATCH_ID].map(completion_event_id));
    expected.insert(alerted);
    assert_eq!(world.drain_bus_ids().await, Vec::from_iter(expected));
    let resolved =
        world.stores().events.resolve_dataref("inbox:///fynapse/event/large").await.unwrap().unwrap();
    assert_eq!(resolved, large().into_bytes());

    // A quarantined delivery can be replayed.
    let items = world.items().await;
    let quarantined = items.iter().find(|item| text(item, "reason") == "stale").unwrap();
    let quarantine_id = QuarantineId::from_pk(text(quarantined, "pk")).unwrap();
    let outcome = world.replayer().replay(&quarantine_id, &test_operator()).await.unwrap();
    assert!(matches!(outcome, QuarantineReplayOutcome::Closed { .. }), "{outcome:?}");
    world.run_worker().await;
    assert_eq!(world.drain_bus_ids().await, ["fynapse/event/stale"]);
}

/// If this fails: leave the files alone, store the output of `WRITE_ITEMS=1` as another file beside them, and extend
/// the test above to it.
#[tokio::test]
async fn what_is_written_today_has_the_form_of_what_the_last_version_wrote() {
    let (_, today) = write_every_kind().await;
    if std::env::var_os("WRITE_ITEMS").is_some() {
        let json = serde_json::to_string_pretty(&today.to_json()).unwrap();
        std::fs::write("fixtures/stored_items/today.json", json + "\n").unwrap();
    }
    assert_eq!(today.shape(), StoredData::from_json(WRITTEN_BY_V2).shape());
}

impl StoredData {
    /// Names and types of the attributes of each item and message, without their values.
    fn shape(&self) -> BTreeSet<String> {
        let of_item = |item: &Item| {
            let attributes = item.iter().map(|(name, value)| (name.clone(), type_name(value)));
            // The parts of a payload are named by its hash, batches and schedules by Rightfoot.
            let pk: Vec<_> = text(item, "pk").split('#').take(2).collect();
            format!("{} {}: {:?}", pk.join("#"), text(item, "sk"), attributes.collect::<BTreeMap<_, _>>())
        };
        let of_message = |body: &String| {
            let event: Map<String, Value> = serde_json::from_str(body).unwrap();
            format!("{}: {:?}", event["type"], event.keys().collect::<BTreeSet<_>>())
        };
        self.items.iter().map(of_item).chain(self.messages.iter().map(of_message)).collect()
    }

    fn from_json(written: &str) -> Self {
        let written: Value = serde_json::from_str(written).unwrap();
        let item = |item: &Value| {
            item.as_object()
                .unwrap()
                .iter()
                .map(|(name, value)| (name.clone(), from_dynamodb_json(value)))
                .collect()
        };
        let items = written["items"].as_array().unwrap().iter().map(item).collect();
        let messages = written["messages"].as_array().unwrap().iter();
        Self { items, messages: messages.map(|body| body.as_str().unwrap().to_owned()).collect() }
    }

    fn to_json(&self) -> Value {
        let item = |item: &Item| {
            item.iter().map(|(name, value)| (name.clone(), to_dynamodb_json(value))).collect::<Map<_, _>>()
        };
        json!({"items": self.items.iter().map(item).collect::<Vec<_>>(), "messages": self.messages})
    }
}

/// DynamoDB's JSON form of an attribute.
fn to_dynamodb_json(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::S(text) => json!({"S": text}),
        AttributeValue::N(number) => json!({"N": number}),
        AttributeValue::Bool(yes) => json!({"BOOL": yes}),
        AttributeValue::B(bytes) => json!({"B": BASE64_STANDARD.encode(bytes)}),
        AttributeValue::Ss(texts) => json!({"SS": texts}),
        AttributeValue::L(list) => json!({"L": list.iter().map(to_dynamodb_json).collect::<Vec<_>>()}),
        AttributeValue::M(map) => {
            json!({"M": map.iter().map(|(name, value)| (name.clone(), to_dynamodb_json(value))).collect::<Map<_, _>>()})
        }
        AttributeValue::Bs(_) | AttributeValue::Ns(_) | AttributeValue::Null(_) | _ => {
            panic!("nothing is written as {value:?}")
        }
    }
}

/// Inverse of [`to_dynamodb_json`].
fn from_dynamodb_json(written: &Value) -> AttributeValue {
    let (kind, value) = written.as_object().unwrap().iter().next().unwrap();
    let text = || value.as_str().unwrap().to_owned();
    match kind.as_str() {
        "S" => AttributeValue::S(text()),
        "N" => AttributeValue::N(text()),
        "SS" => AttributeValue::Ss(
            value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect(),
        ),
        "BOOL" => AttributeValue::Bool(value.as_bool().unwrap()),
        "B" => AttributeValue::B(Blob::new(BASE64_STANDARD.decode(text()).unwrap())),
        "L" => AttributeValue::L(value.as_array().unwrap().iter().map(from_dynamodb_json).collect()),
        "M" => {
            let members = value.as_object().unwrap().iter();
            AttributeValue::M(
                members.map(|(name, value)| (name.clone(), from_dynamodb_json(value))).collect(),
            )
        }
        other => panic!("nothing is written as {other}"),
    }
}

/// DynamoDB's type letter, with the names in a map.
fn type_name(value: &AttributeValue) -> String {
    match value.as_m() {
        Ok(members) => format!("M of {:?}", members.keys().collect::<BTreeSet<_>>()),
        Err(_) => to_dynamodb_json(value).as_object().unwrap().keys().next().unwrap().clone(),
    }
}
