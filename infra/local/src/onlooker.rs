//! What stands in the table and on the queues, seen from outside: by the SDK, on a wire on which nothing fails.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;

use anyhow::Context;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_sqs::types::QueueAttributeName;
use flate2::read::DeflateDecoder;
use inbox_core::event::EventKey;
use inbox_core::time::UnixMillis;
use serde_json::value::RawValue;

use crate::system::{System, TABLE};

mod effects;

pub use effects::{Announced, Stored, What, announced, stored};

/// Messages in one answer of SQS.
const RECEIVE_MAX: i32 = 10;

/// What the table holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// The event records, by event id.
    pub records: BTreeMap<String, Record>,
    /// What the poller looks after — batches, schedules, submissions — by partition key, and whether it is due, at
    /// whatever time.
    pub watched: BTreeMap<String, bool>,
    /// The quarantined deliveries.
    pub quarantined: Vec<Kept>,
}

/// An event record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Whether it is still to be put on the queue.
    pub due: bool,
    /// Whether it was marked as put on the queue.
    pub sent: bool,
    /// Whether its effect has happened.
    pub done: bool,
    /// Whether it was given up.
    pub quarantined: bool,
    /// How often a worker has put it back.
    pub works: usize,
    /// How it came to be recorded.
    pub origin: String,
    /// When it was received, or found.
    pub received_at: UnixMillis,
}

/// A quarantined delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Who sent it.
    pub provider: String,
    /// Why it is kept.
    pub reason: String,
    /// What was sent; `None` if it cannot be read back.
    pub payload: Option<Vec<u8>>,
    /// The event that it is, if it had become one.
    pub event_id: Option<String>,
}

/// A message, as a consumer of the queue reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The event's id.
    pub id: String,
    /// How it says that the event came to be recorded.
    pub origin: String,
    /// The payload that it carries or refers to; `None` if there is none.
    pub payload: Option<Vec<u8>>,
}

type Item = HashMap<String, AttributeValue>;

/// Reads the whole table.
pub async fn table(system: &System) -> anyhow::Result<Table> {
    let scan = system.onlooker.dynamodb.scan().table_name(TABLE).consistent_read(true);
    let mut pages = scan.into_paginator().items().send();
    let (mut table, mut kept, mut pieces) = (Table::default(), Vec::new(), BTreeMap::new());
    while let Some(item) = pages.try_next().await.context("scan the table")? {
        let (pk, sk) = (text(&item, "pk").unwrap_or_default(), text(&item, "sk").unwrap_or_default());
        if let Some(name) = pk.strip_prefix("payload#") {
            let piece = item.get("piece").and_then(|piece| piece.as_b().ok());
            let piece = piece.map(|blob| blob.clone().into_inner()).unwrap_or_default();
            pieces.insert(name.to_owned(), piece);
        } else if pk.starts_with("quarantine#") {
            kept.push(item);
        } else if let Some(key) = EventKey::from_table_key(pk, sk) {
            table.records.insert(key.event_id(), read_record(&item));
        } else if sk == "tracked" || sk == "submitted" {
            table.watched.insert(pk.to_owned(), item.contains_key("due"));
        }
    }
    table.quarantined = kept.iter().map(|item| read_kept(item, &pieces)).collect();
    Ok(table)
}

/// How many items are due, at whatever time, for the relay or the poller.
pub async fn count_due(system: &System) -> anyhow::Result<usize> {
    Ok(due(system).await?.len())
}

/// The partition keys of the items that are due, at whatever time, for the relay or the poller.
pub async fn due(system: &System) -> anyhow::Result<Vec<String>> {
    let scan = system.onlooker.dynamodb.scan().table_name(TABLE).index_name("due");
    let due: Vec<Item> =
        scan.into_paginator().items().send().try_collect().await.context("scan what is due")?;
    let ours = due.iter().filter(|item| !text(item, "due").unwrap_or_default().starts_with("quarantine#"));
    Ok(ours.filter_map(|item| text(item, "pk")).map(str::to_owned).collect())
}

/// Whether the poller looks after a batch, or has done so.
pub async fn is_watched(system: &System, batch_id: &str) -> anyhow::Result<bool> {
    let place = |value: String| AttributeValue::S(value);
    let read = system.onlooker.dynamodb.get_item().table_name(TABLE).consistent_read(true);
    let read =
        read.key("pk", place(format!("rightfoot#batch#{batch_id}"))).key("sk", place("tracked".to_owned()));
    Ok(read.send().await.context("read what is watched")?.item.is_some())
}

/// How many messages are on a queue: visible, in flight or delayed.
pub async fn count_messages(system: &System, queue: &str) -> anyhow::Result<usize> {
    let url = system.queue_url(queue).await.context("ask for the queue")?;
    let names = [
        QueueAttributeName::ApproximateNumberOfMessages,
        QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        QueueAttributeName::ApproximateNumberOfMessagesDelayed,
    ];
    let look = system.onlooker.sqs.get_queue_attributes().queue_url(url);
    let counts = look.set_attribute_names(Some(names.to_vec())).send().await.context("count messages")?;
    let counts = counts.attributes.unwrap_or_default();
    let count = |name: &QueueAttributeName| counts.get(name).and_then(|count| count.parse::<usize>().ok());
    names.iter().map(count).sum::<Option<usize>>().context("a queue without numbers")
}

/// Receives all that is on a queue: message bodies. They are not deleted, but hidden for a while.
pub async fn receive_all(system: &System, queue: &str) -> anyhow::Result<Vec<String>> {
    let url = system.queue_url(queue).await.context("ask for the queue")?;
    let mut bodies = Vec::new();
    loop {
        let receive = system.onlooker.sqs.receive_message().queue_url(&url);
        let answer = receive.max_number_of_messages(RECEIVE_MAX).send().await.context("receive messages")?;
        let messages = answer.messages.unwrap_or_default();
        if messages.is_empty() {
            return Ok(bodies);
        }
        bodies.extend(messages.into_iter().map(|message| message.body.unwrap_or_default()));
    }
}

/// The id of the event in a message body.
pub fn event_id(body: &str) -> Option<String> {
    let fields: HashMap<&str, &RawValue> = serde_json::from_str(body).ok()?;
    serde_json::from_str(fields.get("id")?.get()).ok()
}

/// Reads a message body, and fetches the payload if the message only refers to it.
pub async fn read_message(system: &System, body: &str) -> anyhow::Result<Message> {
    let fields: HashMap<&str, &RawValue> = serde_json::from_str(body).unwrap_or_default();
    let dataref: Option<String> =
        fields.get("dataref").and_then(|dataref| serde_json::from_str(dataref.get()).ok());
    let payload = match (fields.get("data"), dataref) {
        (Some(data), None) => Some(data.get().as_bytes().to_vec()),
        (None, Some(dataref)) => system.inbox.resolve(&dataref).await.context("resolve a dataref")?,
        (Some(_), Some(_)) | (None, None) => None,
    };
    let id = event_id(body).unwrap_or_else(|| "(a message without an id)".to_owned());
    let origin = fields.get("origin").and_then(|origin| serde_json::from_str(origin.get()).ok());
    Ok(Message { id, origin: origin.unwrap_or_default(), payload })
}

fn read_record(item: &Item) -> Record {
    let number = |name: &str| item.get(name).and_then(|value| value.as_n().ok());
    let received_at = number("received_at").and_then(|at| at.parse().ok());
    Record {
        due: item.contains_key("due"),
        sent: item.contains_key("sent_at"),
        done: item.contains_key("done_at"),
        quarantined: item.contains_key("quarantined_at"),
        works: number("works").and_then(|works| works.parse().ok()).unwrap_or_default(),
        origin: text(item, "origin").unwrap_or_default().to_owned(),
        received_at: UnixMillis(received_at.unwrap_or_default()),
    }
}

fn read_kept(item: &Item, pieces: &BTreeMap<String, Vec<u8>>) -> Kept {
    let provider = text(item, "pk").and_then(|pk| pk.split('#').nth(1)).unwrap_or_default();
    let payload = match item.get("payload") {
        Some(inline) => inline.as_b().ok().map(|blob| blob.clone().into_inner()),
        None => in_parts(item, pieces),
    };
    let reason = text(item, "reason").unwrap_or_default().to_owned();
    let event_id = text(item, "event_id").map(str::to_owned);
    Kept { provider: provider.to_owned(), reason, payload, event_id }
}

fn in_parts(item: &Item, pieces: &BTreeMap<String, Vec<u8>>) -> Option<Vec<u8>> {
    let names = item.get("parts")?.as_l().ok()?;
    let part = |name: &AttributeValue| pieces.get(name.as_s().ok()?);
    let deflated = names.iter().map(part).collect::<Option<Vec<_>>>()?.into_iter().flatten().copied();
    let mut payload = Vec::new();
    DeflateDecoder::new(deflated.collect::<Vec<_>>().as_slice()).read_to_end(&mut payload).ok()?;
    Some(payload)
}

fn text<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}
