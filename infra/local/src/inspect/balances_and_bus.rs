//! Snapshots of the effects of events: stored balances and events published on the bus.

use std::collections::BTreeMap;

use anyhow::Context;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{TableItem, receive_all, string_attribute};
use crate::stack::{BALANCES_TABLE, BUS_QUEUE, Stack};

/// A stored balance.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoredBalance {
    /// Batch that it comes from.
    pub batch_id: String,
    /// `authorizer_unique_id` of the balance's owner.
    pub authorizer: String,
    /// Balance in the notation of DynamoDB numbers; `None` for null.
    pub balance: Option<String>,
    /// Rightfoot's status code of the result.
    pub status_code: String,
}

/// An event on the bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedEvent {
    /// Idempotency key: `detail.id`.
    pub id: String,
    /// Id of the inbox event that it was published for.
    pub event_id: String,
    /// Origin of that inbox event.
    pub origin: String,
    /// Content, by type.
    pub detail: PublishedDetail,
}

/// Content of an event on the bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublishedDetail {
    /// `BalanceBatchCompleted`.
    BatchCompleted {
        /// Id of the batch.
        batch_id: String,
        /// Number of balances that were expected, if known.
        expected: Option<usize>,
        /// Number of balances that were found.
        found: usize,
        /// Number of balances by status code.
        by_status_code: BTreeMap<String, usize>,
    },
    /// `BalanceThresholdMet`.
    ThresholdMet {
        /// Id of the batch.
        batch_id: String,
        /// `authorizer_unique_id` of the balance's owner.
        authorizer: String,
        /// Balance, as a decimal.
        balance: String,
        /// Threshold, as a decimal.
        threshold: String,
        /// True if Rightfoot's API confirmed the balance.
        confirmed: bool,
    },
    /// `BalanceExtracted`, of a Fynapse event.
    BalanceExtracted {
        /// Payload, if the event carries it.
        data: Option<Vec<u8>>,
        /// Payload behind `dataref`; `None` if it cannot be resolved.
        referenced: Option<Vec<u8>>,
    },
    /// Any other type, by its `detail-type`.
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
    // Raw, so that the payload is compared byte for byte: `150.00` must stay `150.00`.
    data: Option<Box<RawValue>>,
}

/// Reads the whole table of balances.
pub async fn read_balances(stack: &Stack) -> anyhow::Result<Vec<StoredBalance>> {
    let scan = stack.inspector.dynamodb.scan().table_name(BALANCES_TABLE).consistent_read(true);
    let mut pages = scan.into_paginator().items().send();
    let mut balances = Vec::new();
    while let Some(item) = pages.try_next().await.context("scan the balances")? {
        balances.push(read_balance(&item).context("an item that is not a balance")?);
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

/// Receives the events of the bus from [`BUS_QUEUE`].
pub async fn receive_bus_events(stack: &Stack) -> anyhow::Result<Vec<PublishedEvent>> {
    let mut events = Vec::new();
    for body in receive_all(stack, BUS_QUEUE).await? {
        events.push(parse_bus_event(stack, &body).await.context("an event on the bus")?);
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
                referenced: stack
                    .stores
                    .events
                    .resolve_dataref(&dataref)
                    .await
                    .context("resolve a dataref")?,
            }
        }
        other => PublishedDetail::Other(other.to_owned()),
    };
    let DetailMeta { id, event_id, origin } = serde_json::from_str(detail)?;
    Ok(PublishedEvent { id, event_id, origin, detail: detail_fields })
}
