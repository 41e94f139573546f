//! Small JSON documents of ours in an item, stored as payloads are: inline, or in parts if they are large.

use std::collections::{BTreeMap, BTreeSet};

use inbox_core::event::{Id, payload_hash};
use inbox_core::poll::batch::Thresholds;
use inbox_core::rightfoot::Amount;
use inbox_core::time::UnixSecs;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Inbox, stored_attributes};
use crate::Fault;
use crate::item::{self, Item, Stored};
use crate::payload;

const ITEM: Fault = Fault::item("dynamodb:GetItem");

/// Whether an item holds a document.
pub(super) fn is_in(item: &Item) -> bool {
    item.contains_key("payload_hash")
}

#[derive(Serialize, Deserialize)]
struct StoredThresholds {
    default: Option<Box<RawValue>>,
    authorizers: BTreeMap<String, Box<RawValue>>,
}

impl Inbox {
    /// Stores a document; the attributes that lead to it go into the item.
    pub(super) async fn store_document(
        &self,
        document: &impl Serialize,
        expire_at: UnixSecs,
    ) -> Result<Item, Fault> {
        let json = serde_json::to_vec(document).map_err(|_| ITEM)?;
        let stored = payload::store(&self.db, &self.table, &json, expire_at).await?;
        Ok(stored_attributes(&stored, &payload_hash(&json), json.len()))
    }

    /// The document that an item's attributes lead to, as JSON.
    pub(super) async fn load_document(&self, item: &Item) -> Result<Vec<u8>, Fault> {
        let (stored, hash, bytes) = Stored::read(item)
            .zip(item::string(item, "payload_hash"))
            .zip(item::parsed(item, "payload_bytes"))
            .map(|((stored, hash), bytes)| (stored, hash, bytes))
            .ok_or(ITEM)?;
        payload::load(&self.db, &self.table, &stored, hash, bytes).await
    }

    pub(super) async fn store_ids(&self, ids: &BTreeSet<Id>, expire_at: UnixSecs) -> Result<Item, Fault> {
        let ids: Vec<_> = ids.iter().map(Id::as_str).collect();
        self.store_document(&ids, expire_at).await
    }

    pub(super) async fn load_ids(&self, item: &Item) -> Result<BTreeSet<Id>, Fault> {
        let ids: Vec<String> = serde_json::from_slice(&self.load_document(item).await?).map_err(|_| ITEM)?;
        ids.into_iter().map(Id::new).collect::<Option<_>>().ok_or(ITEM)
    }

    pub(super) async fn store_thresholds(
        &self,
        thresholds: &Thresholds,
        expire_at: UnixSecs,
    ) -> Result<Item, Fault> {
        let own =
            thresholds.authorizers.iter().map(|(id, amount)| (id.as_str().to_owned(), amount.to_json()));
        let stored =
            StoredThresholds { default: thresholds.default.map(Amount::to_json), authorizers: own.collect() };
        self.store_document(&stored, expire_at).await
    }

    pub(super) async fn load_thresholds(&self, item: &Item) -> Result<Thresholds, Fault> {
        let json = self.load_document(item).await?;
        let stored: StoredThresholds = serde_json::from_slice(&json).map_err(|_| ITEM)?;
        let amount = |raw: &RawValue| Amount::from_json(raw).map_err(|_| ITEM);
        let own = stored.authorizers.iter().map(|(id, raw)| Ok((Id::new(id).ok_or(ITEM)?, amount(raw)?)));
        Ok(Thresholds {
            default: stored.default.as_deref().map(amount).transpose()?,
            authorizers: own.collect::<Result<_, Fault>>()?,
        })
    }
}
