//! What events have brought about: stored balances, and what was announced on the bus.

use std::collections::BTreeMap;

use anyhow::Context;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Item, receive_all, text};
use crate::system::{BALANCES, BUS_QUEUE, System};

/// A stored balance.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stored {
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
pub struct Announced {
    /// What it is told by.
    pub id: String,
    /// The event whose effect it is.
    pub event_id: String,
    /// How that came to be recorded.
    pub origin: String,
    /// What it tells.
    pub what: What,
}

/// What something on the bus tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
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
    Extracted {
        /// The payload that it carries, if it does.
        data: Option<Vec<u8>>,
        /// The payload that it refers to; `None` if the reference leads nowhere.
        referenced: Option<Vec<u8>>,
    },
    /// Something else: the name of its type.
    Else(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Envelope {
    detail_type: String,
    detail: Box<RawValue>,
}

#[derive(Deserialize)]
struct Head {
    id: String,
    event_id: String,
    origin: String,
}

#[derive(Deserialize)]
struct BatchCompleted {
    batch_id: String,
    expected: Option<usize>,
    found: usize,
    by_status_code: BTreeMap<String, usize>,
}

#[derive(Deserialize)]
struct ThresholdMet {
    batch_id: String,
    authorizer_unique_id: String,
    balance: String,
    threshold: String,
    confirmed: bool,
}

#[derive(Deserialize)]
struct Extracted {
    dataref: String,
    data: Option<Box<RawValue>>,
}

/// Reads the whole table of balances.
pub async fn stored(system: &System) -> anyhow::Result<Vec<Stored>> {
    let scan = system.onlooker.dynamodb.scan().table_name(BALANCES).consistent_read(true);
    let mut pages = scan.into_paginator().items().send();
    let mut stored = Vec::new();
    while let Some(item) = pages.try_next().await.context("scan the balances")? {
        stored.push(read_stored(&item).context("a balance that is none")?);
    }
    Ok(stored)
}

fn read_stored(item: &Item) -> Option<Stored> {
    let balance = item.get("balance")?;
    Some(Stored {
        batch_id: text(item, "batch_id")?.to_owned(),
        authorizer: text(item, "pk")?.to_owned(),
        balance: if balance.is_null() { None } else { Some(balance.as_n().ok()?.clone()) },
        status_code: item.get("status_code")?.as_n().ok()?.clone(),
    })
}

/// Takes all that was announced off the queue behind the bus.
pub async fn announced(system: &System) -> anyhow::Result<Vec<Announced>> {
    let mut announced = Vec::new();
    for body in receive_all(system, BUS_QUEUE).await? {
        announced.push(read_announced(system, &body).await.context("something on the bus")?);
    }
    Ok(announced)
}

async fn read_announced(system: &System, body: &str) -> anyhow::Result<Announced> {
    let envelope: Envelope = serde_json::from_str(body)?;
    let detail = envelope.detail.get();
    let what = match envelope.detail_type.as_str() {
        "BalanceBatchCompleted" => {
            let BatchCompleted { batch_id, expected, found, by_status_code } = serde_json::from_str(detail)?;
            What::BatchCompleted { batch_id, expected, found, by_status_code }
        }
        "BalanceThresholdMet" => {
            let met: ThresholdMet = serde_json::from_str(detail)?;
            What::ThresholdMet {
                batch_id: met.batch_id,
                authorizer: met.authorizer_unique_id,
                balance: met.balance,
                threshold: met.threshold,
                confirmed: met.confirmed,
            }
        }
        "BalanceExtracted" => {
            let Extracted { dataref, data } = serde_json::from_str(detail)?;
            What::Extracted {
                data: data.map(|data| data.get().as_bytes().to_vec()),
                referenced: system.inbox.resolve(&dataref).await.context("resolve a dataref")?,
            }
        }
        other => What::Else(other.to_owned()),
    };
    let Head { id, event_id, origin } = serde_json::from_str(detail)?;
    Ok(Announced { id, event_id, origin, what })
}
