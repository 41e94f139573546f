//! Snapshots of the tables and queues, for checks and reports.
//!
//! Reads with the stack's inspector clients, on which no faults are injected. Table items are parsed here, independently
//! of the code that wrote them.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;

use anyhow::Context;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_sqs::types::QueueAttributeName;
use flate2::read::DeflateDecoder;
use inbox_core::event::EventKey;
use inbox_core::time::UnixMillis;
use serde_json::value::RawValue;

use crate::stack::{INBOX_TABLE, Stack};

mod balances_and_bus;

pub use balances_and_bus::{
    PublishedDetail, PublishedEvent, StoredBalance, read_balances, receive_bus_events,
};

/// Messages in one response of SQS: its limit.
const RECEIVE_MAX: i32 = 10;

/// Content of the inbox table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InboxSnapshot {
    /// Event records, by event id.
    pub records: BTreeMap<String, RecordSnapshot>,
    /// Batches, schedules and submissions that the poller handles, by partition key; the value is true if the item is due,
    /// now or later.
    pub tracked: BTreeMap<String, bool>,
    /// Quarantined deliveries.
    pub quarantined: Vec<QuarantineSnapshot>,
}

/// State of an event record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordSnapshot {
    /// True if it is still to be enqueued.
    pub is_due: bool,
    /// True if it is marked as enqueued.
    pub is_sent: bool,
    /// True if the worker has finished it.
    pub is_done: bool,
    /// True if the event was quarantined.
    pub is_quarantined: bool,
    /// Number of times that a worker requeued it.
    pub requeues: usize,
    /// Origin: `webhook`, `poll` or `replay`.
    pub origin: String,
    /// Time at which it was received, or found by a poll.
    pub received_at: UnixMillis,
}

/// A quarantined delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuarantineSnapshot {
    /// Provider that sent it.
    pub provider: String,
    /// Reason of the quarantine.
    pub reason: String,
    /// Bytes as received; `None` if they cannot be read back.
    pub payload: Option<Vec<u8>>,
    /// Id of the event, if the delivery had become one.
    pub event_id: Option<String>,
}

/// A message as a consumer of the queue reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageSnapshot {
    /// Id of the event.
    pub id: String,
    /// Origin of the event: `webhook`, `poll` or `replay`.
    pub origin: String,
    /// Payload in the message, or behind its `dataref`; `None` if there is neither.
    pub payload: Option<Vec<u8>>,
}

type TableItem = HashMap<String, AttributeValue>;

/// Reads the whole inbox table.
pub async fn read_inbox(stack: &Stack) -> anyhow::Result<InboxSnapshot> {
    let scan = stack.inspector.dynamodb.scan().table_name(INBOX_TABLE).consistent_read(true);
    let mut pages = scan.into_paginator().items().send();
    let (mut inbox, mut quarantined, mut pieces) = (InboxSnapshot::default(), Vec::new(), BTreeMap::new());
    while let Some(item) = pages.try_next().await.context("scan the table")? {
        let (pk, sk) = (
            string_attribute(&item, "pk").unwrap_or_default(),
            string_attribute(&item, "sk").unwrap_or_default(),
        );
        if let Some(name) = pk.strip_prefix("payload#") {
            let piece = item.get("piece").and_then(|piece| piece.as_b().ok());
            let piece = piece.map(|blob| blob.clone().into_inner()).unwrap_or_default();
            pieces.insert(name.to_owned(), piece);
        } else if pk.starts_with("quarantine#") {
            quarantined.push(item);
        } else if let Some(key) = EventKey::from_table_key(pk, sk) {
            inbox.records.insert(key.event_id(), read_record(&item));
        } else if sk == "tracked" || sk == "submitted" {
            inbox.tracked.insert(pk.to_owned(), item.contains_key("due"));
        }
    }
    // Only after the scan, which may return an item before its parts.
    inbox.quarantined = quarantined.iter().map(|item| read_quarantined(item, &pieces)).collect();
    Ok(inbox)
}

/// Counts the items that are due for the relay or the poller, now or later.
pub async fn count_due(stack: &Stack) -> anyhow::Result<usize> {
    Ok(due_partition_keys(stack).await?.len())
}

/// Partition keys of the items that are due for the relay or the poller, now or later.
pub async fn due_partition_keys(stack: &Stack) -> anyhow::Result<Vec<String>> {
    let scan = stack.inspector.dynamodb.scan().table_name(INBOX_TABLE).index_name("due");
    let due: Vec<TableItem> =
        scan.into_paginator().items().send().try_collect().await.context("scan the index due")?;
    // The index also lists quarantined deliveries and events, for operators.
    let polled_or_relayed = due
        .iter()
        .filter(|item| !string_attribute(item, "due").unwrap_or_default().starts_with("quarantine#"));
    Ok(polled_or_relayed.filter_map(|item| string_attribute(item, "pk")).map(str::to_owned).collect())
}

/// Returns `true` if a batch is or was tracked.
pub async fn is_tracked(stack: &Stack, batch_id: &str) -> anyhow::Result<bool> {
    let string = |value: String| AttributeValue::S(value);
    let request = stack.inspector.dynamodb.get_item().table_name(INBOX_TABLE).consistent_read(true);
    let request = request
        .key("pk", string(format!("rightfoot#batch#{batch_id}")))
        .key("sk", string("tracked".to_owned()));
    Ok(request.send().await.context("read the tracking item")?.item.is_some())
}

/// Counts the messages on a queue: visible, in flight and delayed.
pub async fn count_messages(stack: &Stack, queue: &str) -> anyhow::Result<usize> {
    let url = stack.queue_url(queue).await.context("get the URL of the queue")?;
    let names = [
        QueueAttributeName::ApproximateNumberOfMessages,
        QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        QueueAttributeName::ApproximateNumberOfMessagesDelayed,
    ];
    let request = stack.inspector.sqs.get_queue_attributes().queue_url(url);
    let counts = request.set_attribute_names(Some(names.to_vec())).send().await.context("count messages")?;
    let counts = counts.attributes.unwrap_or_default();
    let count = |name: &QueueAttributeName| counts.get(name).and_then(|count| count.parse::<usize>().ok());
    names.iter().map(count).sum::<Option<usize>>().context("the queue has no message counts")
}

/// Receives the bodies of all visible messages. They are not deleted, but hidden for the queue's visibility timeout.
pub async fn receive_all(stack: &Stack, queue: &str) -> anyhow::Result<Vec<String>> {
    let url = stack.queue_url(queue).await.context("get the URL of the queue")?;
    let mut bodies = Vec::new();
    // A received message is hidden, so the loop ends once each message was received.
    loop {
        let receive = stack.inspector.sqs.receive_message().queue_url(&url);
        let response =
            receive.max_number_of_messages(RECEIVE_MAX).send().await.context("receive messages")?;
        let messages = response.messages.unwrap_or_default();
        if messages.is_empty() {
            return Ok(bodies);
        }
        bodies.extend(messages.into_iter().map(|message| message.body.unwrap_or_default()));
    }
}

/// Parses the id of the event out of a message body.
pub fn parse_event_id(body: &str) -> Option<String> {
    let fields: HashMap<&str, &RawValue> = serde_json::from_str(body).ok()?;
    serde_json::from_str(fields.get("id")?.get()).ok()
}

/// Parses a message body, and fetches the payload if the message has only a reference to it.
pub async fn read_message(stack: &Stack, body: &str) -> anyhow::Result<MessageSnapshot> {
    // Raw, so that the payload keeps its bytes.
    let fields: HashMap<&str, &RawValue> = serde_json::from_str(body).unwrap_or_default();
    let dataref: Option<String> =
        fields.get("dataref").and_then(|dataref| serde_json::from_str(dataref.get()).ok());
    let payload = match (fields.get("data"), dataref) {
        (Some(data), None) => Some(data.get().as_bytes().to_vec()),
        (None, Some(dataref)) => {
            stack.stores.events.resolve_dataref(&dataref).await.context("resolve a dataref")?
        }
        (Some(_), Some(_)) | (None, None) => None,
    };
    let id = parse_event_id(body).unwrap_or_else(|| "(a message without an id)".to_owned());
    let origin = fields.get("origin").and_then(|origin| serde_json::from_str(origin.get()).ok());
    Ok(MessageSnapshot { id, origin: origin.unwrap_or_default(), payload })
}

fn read_record(item: &TableItem) -> RecordSnapshot {
    let number = |name: &str| item.get(name).and_then(|value| value.as_n().ok());
    let received_at = number("received_at").and_then(|at| at.parse().ok());
    RecordSnapshot {
        is_due: item.contains_key("due"),
        is_sent: item.contains_key("sent_at"),
        is_done: item.contains_key("done_at"),
        is_quarantined: item.contains_key("quarantined_at"),
        requeues: number("requeues").and_then(|works| works.parse().ok()).unwrap_or_default(),
        origin: string_attribute(item, "origin").unwrap_or_default().to_owned(),
        received_at: UnixMillis(received_at.unwrap_or_default()),
    }
}

fn read_quarantined(item: &TableItem, pieces: &BTreeMap<String, Vec<u8>>) -> QuarantineSnapshot {
    let provider = string_attribute(item, "pk").and_then(|pk| pk.split('#').nth(1)).unwrap_or_default();
    let payload = match item.get("payload") {
        Some(inline) => inline.as_b().ok().map(|blob| blob.clone().into_inner()),
        None => join_payload_pieces(item, pieces),
    };
    let reason = string_attribute(item, "reason").unwrap_or_default().to_owned();
    let event_id = string_attribute(item, "event_id").map(str::to_owned);
    QuarantineSnapshot { provider: provider.to_owned(), reason, payload, event_id }
}

fn join_payload_pieces(item: &TableItem, pieces: &BTreeMap<String, Vec<u8>>) -> Option<Vec<u8>> {
    let names = item.get("parts")?.as_l().ok()?;
    let find_piece = |name: &AttributeValue| pieces.get(name.as_s().ok()?);
    // Large payloads are deflated before they are split into pieces.
    let deflated = names.iter().map(find_piece).collect::<Option<Vec<_>>>()?.into_iter().flatten().copied();
    let mut payload = Vec::new();
    DeflateDecoder::new(deflated.collect::<Vec<_>>().as_slice()).read_to_end(&mut payload).ok()?;
    Some(payload)
}

fn string_attribute<'a>(item: &'a TableItem, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}
