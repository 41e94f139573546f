//! The worker's effects: balances in the table, and events on the bus.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use inbox_aws::balances::{BalanceSource, BalancesTable};
use inbox_aws::stores::{Created, StoredBalances};
use inbox_core::bus::detail::schemas;
use inbox_core::event::EventKey;
use inbox_core::id::Id;
use inbox_core::poll::batch::TrackedBatch;
use inbox_core::rightfoot_api::Balance;
use jsonschema::Validator;
use local::connector::until_crash;
use local::inspect;
use local::sqs_trigger::TriggerOutcome;
use local::stack::{BALANCES_TABLE, BUS_QUEUE};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::rightfoot_world::RightfootWorld;
use crate::{DAY, Item, MINUTE, SUBJECT, World, text};

/// An event that a rule of the bus has matched.
#[derive(Clone, Debug, PartialEq)]
pub struct ReceivedBusEvent {
    /// The event's `detail-type`.
    pub detail_type: String,
    /// Parsed `detail`.
    pub detail: Value,
    /// `detail` as it was published.
    pub json: String,
}

impl ReceivedBusEvent {
    /// Idempotency key: events of the same id say the same.
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
    /// Starts a world whose Rightfoot has completed a batch with these balances that we did not submit.
    pub async fn with_batch(batch_id: &str, balances: &[(&str, &str)]) -> Self {
        let it = Self::new().await;
        it.rightfoot.add_completed_batch(batch_id, &balance_pairs(balances));
        it
    }

    /// Like [`Self::with_batch`], with the batch tracked as a run of the schedule `s-1`, whose threshold is 100
    /// dollars.
    pub async fn with_run(batch_id: &str, balances: &[(&str, &str)]) -> Self {
        let it = Self::with_batch(batch_id, balances).await;
        it.track_schedule("s-1", "a").await;
        it.world.track_run(batch_id, balances.len()).await;
        it
    }
}

/// Balances in the simulator's form.
pub fn balance_pairs(balances: &[(&str, &str)]) -> Vec<(String, String)> {
    balances.iter().map(|(authorizer, balance)| ((*authorizer).to_owned(), (*balance).to_owned())).collect()
}

impl World {
    /// Tracks a batch as a run of the schedule `s-1` with so many authorizers, as the poller does when it finds one.
    pub async fn track_run(&self, batch_id: &str, expected: usize) {
        let run = TrackedBatch {
            batch_id: Id::new(batch_id).unwrap(),
            subject: Some(SUBJECT.parse().unwrap()),
            schedule_id: Id::new("s-1"),
            expected: u64::try_from(expected).unwrap(),
            failed_authorizers: [].into(),
            deadline: self.now().plus(DAY),
            polls: 0,
        };
        self.stack
            .stores
            .submissions
            .track(Created::Batch(&run), self.now().plus(MINUTE * 10), self.now())
            .await
            .unwrap();
    }

    /// Invokes the worker once with up to ten messages.
    pub async fn run_worker_once(&self) -> TriggerOutcome {
        let worker = &self.stack.worker;
        self.stack
            .sqs_trigger()
            .run_once(async |event| until_crash(worker.handle(event)).await)
            .await
            .unwrap()
    }

    /// Invokes the worker until no visible message is left.
    pub async fn run_worker(&self) -> TriggerOutcome {
        let mut all = TriggerOutcome::default();
        loop {
            let outcome = self.run_worker_once().await;
            if outcome.received == 0 {
                return all;
            }
            all.received += outcome.received;
            all.deleted += outcome.deleted;
            all.failed += outcome.failed;
        }
    }

    /// Sends an event once more, as a relay does whose mark was lost.
    pub async fn resend_event(&self, event_id: &str) {
        self.send_message(event_message(event_id)).await;
    }

    /// Sends any message body.
    pub async fn send_message(&self, body: impl Into<String>) {
        let sqs = &self.stack.inspector.sqs;
        sqs.send_message().queue_url(&self.stack.events_queue_url).message_body(body).send().await.unwrap();
    }

    /// The record of an event. Panics if there is none.
    pub async fn event_record(&self, event_id: &str) -> Item {
        let key = EventKey::from_event_id(event_id).unwrap();
        self.item(&key.pk(), &key.sk()).await.unwrap()
    }

    /// Receives all published events, in order of their ids, and validates each by its schema.
    pub async fn drain_bus(&self) -> Vec<ReceivedBusEvent> {
        let bodies = inspect::receive_all(&self.stack, BUS_QUEUE).await.unwrap();
        let mut events: Vec<_> = bodies.iter().map(|body| parse_published(body)).collect();
        events.sort_by(|one, other| (one.id(), &one.json).cmp(&(other.id(), &other.json)));
        events
    }

    /// Receives all published events, and returns their ids, sorted.
    pub async fn drain_bus_ids(&self) -> Vec<String> {
        self.drain_bus().await.iter().map(|event| event.id().to_owned()).collect()
    }

    /// Stores balances of a batch, checked now, as the worker does; a check without an amount has failed with 3300.
    pub async fn store_balances(
        &self,
        batch_id: &str,
        schedule_id: Option<&str>,
        rows: &[(&str, Option<&str>)],
    ) {
        let row = |(authorizer, amount): &(&str, Option<&str>)| Balance {
            authorizer: Id::new(*authorizer).unwrap(),
            amount: amount.map(|amount| amount.parse().unwrap()),
            status_code: if amount.is_some() { 0 } else { 3_300 },
            checked_at: Some(self.now()),
        };
        let (batch_id, schedule_id) = (Id::new(batch_id).unwrap(), schedule_id.and_then(Id::new));
        let source =
            BalanceSource { batch_id: &batch_id, schedule_id: schedule_id.as_ref(), received_at: self.now() };
        let table = BalancesTable::new(self.stack.unrestricted_clients().dynamodb, BALANCES_TABLE, 0);
        table.store(&rows.iter().map(row).collect::<Vec<_>>(), &source).await.unwrap();
    }

    /// Reader of the table `balances`, whose calls the connector logs.
    pub fn balances(&self) -> StoredBalances {
        StoredBalances::new(self.stack.unrestricted_clients().dynamodb, BALANCES_TABLE)
    }

    /// Items of the table `balances`, in order of their keys.
    pub async fn stored_balances(&self) -> Vec<Item> {
        let scan = self.stack.inspector.dynamodb.scan().table_name(BALANCES_TABLE).consistent_read(true);
        let mut items: Vec<Item> =
            scan.into_paginator().items().send().collect::<Result<_, _>>().await.unwrap();
        items.sort_by_key(|item| (text(item, "pk").to_owned(), text(item, "sk").to_owned()));
        items
    }
}

/// Smallest valid message about an event.
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
