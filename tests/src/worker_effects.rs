//! What events bring about: balances in the table, and events on the bus.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use inbox_aws::inbox::Created;
use inbox_core::bus::detail::schemas;
use inbox_core::event::{EventKey, Id};
use inbox_core::poll::batch::TrackedBatch;
use jsonschema::Validator;
use local::connector::until_crash;
use local::inspect;
use local::sqs_trigger::{SqsTrigger, TriggerOutcome};
use local::stack::{BALANCES_TABLE, BUS_QUEUE};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::rightfoot_world::{MINUTE, RightfootWorld};
use crate::{Item, SUBJECT, World, text};

/// An event that a rule of the bus has matched.
#[derive(Clone, Debug, PartialEq)]
pub struct ReceivedBusEvent {
    /// Its `detail-type`.
    pub detail_type: String,
    /// Its detail.
    pub detail: Value,
    /// The same, as it was published.
    pub json: String,
}

impl ReceivedBusEvent {
    /// What it tells: two of the same id tell the same.
    pub fn id(&self) -> &str {
        self.detail["id"].as_str().unwrap()
    }
}

static SCHEMAS: LazyLock<BTreeMap<&str, Validator>> = LazyLock::new(|| {
    schemas()
        .into_iter()
        .map(|(name, schema)| (name, jsonschema::validator_for(&schema.to_value()).unwrap()))
        .collect()
});

impl RightfootWorld {
    /// A world whose Rightfoot knows a complete batch that we did not submit, with these balances.
    pub async fn with_batch(batch_id: &str, balances: &[(&str, &str)]) -> Self {
        let it = Self::new().await;
        it.rightfoot.add_completed_batch(batch_id, &balance_pairs(balances));
        it
    }

    /// The same, where the batch is known to be a run of the schedule `s-1`, which alerts from 100 dollars on.
    pub async fn with_run(batch_id: &str, balances: &[(&str, &str)]) -> Self {
        let it = Self::with_batch(batch_id, balances).await;
        it.track_schedule("s-1", "a").await;
        it.world.track_run(batch_id, balances.len()).await;
        it
    }
}

/// Balances, as the simulator takes them.
pub fn balance_pairs(balances: &[(&str, &str)]) -> Vec<(String, String)> {
    balances.iter().map(|(authorizer, balance)| ((*authorizer).to_owned(), (*balance).to_owned())).collect()
}

impl World {
    /// From now on a batch is known to be a run of the schedule `s-1` of so many authorizers, as the poller finds it.
    pub async fn track_run(&self, batch_id: &str, expected: usize) {
        let run = TrackedBatch {
            batch_id: Id::new(batch_id).unwrap(),
            subject: Some(SUBJECT.parse().unwrap()),
            schedule_id: Id::new("s-1"),
            expected: u64::try_from(expected).unwrap(),
            failed_authorizers: [].into(),
            deadline: self.now().plus(MINUTE * 60 * 24),
            polls: 0,
        };
        self.stack.inbox.track(Created::Batch(&run), self.now().plus(MINUTE * 10), self.now()).await.unwrap();
    }

    /// One invocation of the worker with what is on the queue, ten messages at most.
    pub async fn run_worker_once(&self) -> TriggerOutcome {
        let worker = &self.stack.worker;
        SqsTrigger::new(&self.stack)
            .run_once(async |event| until_crash(worker.handle(event)).await)
            .await
            .unwrap()
    }

    /// The worker is invoked until nothing is on the queue that is not hidden.
    pub async fn run_worker(&self) -> TriggerOutcome {
        let mut all = TriggerOutcome::default();
        loop {
            let worked = self.run_worker_once().await;
            if worked.received == 0 {
                return all;
            }
            all.received += worked.received;
            all.deleted += worked.deleted;
            all.failed += worked.failed;
        }
    }

    /// Puts an event on the queue once more, as a relay does whose mark was lost.
    pub async fn resend_event(&self, event_id: &str) {
        self.send_message(event_message(event_id)).await;
    }

    /// Puts anything on the queue.
    pub async fn send_message(&self, body: impl Into<String>) {
        let sqs = &self.stack.inspector.sqs;
        sqs.send_message().queue_url(&self.stack.events_queue_url).message_body(body).send().await.unwrap();
    }

    /// The record of an event.
    pub async fn event_record(&self, event_id: &str) -> Item {
        let key = EventKey::from_event_id(event_id).unwrap();
        self.item(&key.pk(), &key.sk()).await.unwrap()
    }

    /// Takes all that the bus has told, in order of its ids. Each is what its schema says.
    pub async fn drain_bus(&self) -> Vec<ReceivedBusEvent> {
        let bodies = inspect::receive_all(&self.stack, BUS_QUEUE).await.unwrap();
        let mut events: Vec<_> = bodies.iter().map(|body| parse_published(body)).collect();
        events.sort_by(|one, other| (one.id(), &one.json).cmp(&(other.id(), &other.json)));
        events
    }

    /// The ids of all that the bus has told, sorted; takes it.
    pub async fn drain_bus_ids(&self) -> Vec<String> {
        self.drain_bus().await.iter().map(|event| event.id().to_owned()).collect()
    }

    /// What stands in the table `balances`, by key.
    pub async fn stored_balances(&self) -> Vec<Item> {
        let scan = self.stack.inspector.dynamodb.scan().table_name(BALANCES_TABLE).consistent_read(true);
        let mut items: Vec<Item> =
            scan.into_paginator().items().send().collect::<Result<_, _>>().await.unwrap();
        items.sort_by_key(|item| (text(item, "pk").to_owned(), text(item, "sk").to_owned()));
        items
    }
}

/// A message about an event, as short as it can be.
pub fn event_message(event_id: &str) -> String {
    let provider = event_id.split('/').next().unwrap();
    json!({"specversion": "1.0", "id": event_id, "source": format!("/{provider}/webhook")}).to_string()
}

fn parse_published(body: &str) -> ReceivedBusEvent {
    let fields: BTreeMap<&str, &RawValue> = serde_json::from_str(body).unwrap();
    let detail_type: String = serde_json::from_str(fields["detail-type"].get()).unwrap();
    let json = fields["detail"].get().to_owned();
    let detail: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(fields["source"].get(), r#""balance-inbox""#);
    let errors: Vec<_> =
        SCHEMAS[detail_type.as_str()].iter_errors(&detail).map(|it| it.to_string()).collect();
    assert!(errors.is_empty(), "{detail_type}: {errors:?}");
    ReceivedBusEvent { detail_type, detail, json }
}
