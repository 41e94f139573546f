//! What events have brought about: stored balances, and what was announced on the bus.

use std::collections::BTreeMap;

use anyhow::Context;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{TableItem, receive_all, string_attribute};
use crate::stack::{BALANCES_TABLE, BUS_QUEUE, Stack};

/// A stored balance.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoredBalance {
    /// The batch that it comes from.
    pub batch_id: String,
    /// Whose it is.
    pub authorizer: String,
    /// The balance as DynamoDB writes a number; `None` is null.
    pub balance: Option<String>,
    /// Rightfoot's status code.
    pub status_code: String,
}

/// Something on the bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedEvent {
    /// What it is told by.
    pub id: String,
    /// The event whose effect it is.
    pub event_id: String,
    /// How that came to be recorded.
    pub origin: String,
    /// What it tells.
    pub detail: PublishedDetail,
}

/// What something on the bus tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublishedDetail {
    /// A batch is complete.
    BatchCompleted {
        /// The batch.
        batch_id: String,
        /// How many balances there had to be, if that is known.
        expected: Option<usize>,
        /// How many there are.
        found: usize,
        /// How many have which status code.
        by_status_code: BTreeMap<String, usize>,
    },
    /// A balance met its threshold.
    ThresholdMet {
        /// The batch.
        batch_id: String,
        /// Whose balance it is.
        authorizer: String,
        /// The balance.
        balance: String,
        /// The threshold.
        threshold: String,
        /// Whether it was verified.
        confirmed: bool,
    },
    /// A Fynapse event.
    BalanceExtracted {
        /// The payload that it carries, if it does.
        data: Option<Vec<u8>>,
        /// The payload that it refers to; `None` if the reference leads nowhere.
        referenced: Option<Vec<u8>>,
    },
    /// Something else: the name of its type.
    Other(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct EventBridgeMessage {
    detail_type: String,
    detail: Box<RawValue>,
}

#[derive(Deserialize)]
struct DetailMeta {
    id: String,
    event_id: String,
    origin: String,
}

#[derive(Deserialize)]
struct BatchCompletedDetail {
    batch_id: String,
    expected: Option<usize>,
    found: usize,
    by_status_code: BTreeMap<String, usize>,
}

#[derive(Deserialize)]
struct ThresholdMetDetail {
    batch_id: String,
    authorizer_unique_id: String,
    balance: String,
    threshold: String,
    confirmed: bool,
}

#[derive(Deserialize)]
struct BalanceExtractedDetail {
    dataref: String,
    data: Option<Box<RawValue>>,
}

/// Reads the whole table of balances.
pub async fn read_balances(stack: &Stack) -> anyhow::Result<Vec<StoredBalance>> {
    let scan = stack.inspector.dynamodb.scan().table_name(BALANCES_TABLE).consistent_read(true);
    let mut pages = scan.into_paginator().items().send();
    let mut balances = Vec::new();
    while let Some(item) = pages.try_next().await.context("scan the balances")? {
        balances.push(read_balance(&item).context("a balance that is none")?);
    }
    Ok(balances)
}

fn read_balance(item: &TableItem) -> Option<StoredBalance> {
    let balance = item.get("balance")?;
    Some(StoredBalance {
        batch_id: string_attribute(item, "batch_id")?.to_owned(),
        authorizer: string_attribute(item, "pk")?.to_owned(),
        balance: if balance.is_null() { None } else { Some(balance.as_n().ok()?.clone()) },
        status_code: item.get("status_code")?.as_n().ok()?.clone(),
    })
}

/// Takes all that was announced off the queue behind the bus.
pub async fn receive_bus_events(stack: &Stack) -> anyhow::Result<Vec<PublishedEvent>> {
    let mut events = Vec::new();
    for body in receive_all(stack, BUS_QUEUE).await? {
        events.push(parse_bus_event(stack, &body).await.context("something on the bus")?);
    }
    Ok(events)
}

async fn parse_bus_event(stack: &Stack, body: &str) -> anyhow::Result<PublishedEvent> {
    let envelope: EventBridgeMessage = serde_json::from_str(body)?;
    let detail = envelope.detail.get();
    let detail_fields = match envelope.detail_type.as_str() {
        "BalanceBatchCompleted" => {
            let BatchCompletedDetail { batch_id, expected, found, by_status_code } =
                serde_json::from_str(detail)?;
            PublishedDetail::BatchCompleted { batch_id, expected, found, by_status_code }
        }
        "BalanceThresholdMet" => {
            let fields: ThresholdMetDetail = serde_json::from_str(detail)?;
            PublishedDetail::ThresholdMet {
                batch_id: fields.batch_id,
                authorizer: fields.authorizer_unique_id,
                balance: fields.balance,
                threshold: fields.threshold,
                confirmed: fields.confirmed,
            }
        }
        "BalanceExtracted" => {
            let BalanceExtractedDetail { dataref, data } = serde_json::from_str(detail)?;
            PublishedDetail::BalanceExtracted {
                data: data.map(|data| data.get().as_bytes().to_vec()),
                referenced: stack.inbox.resolve_dataref(&dataref).await.context("resolve a dataref")?,
            }
        }
        other => PublishedDetail::Other(other.to_owned()),
    };
    let DetailMeta { id, event_id, origin } = serde_json::from_str(detail)?;
    Ok(PublishedEvent { id, event_id, origin, detail: detail_fields })
}
