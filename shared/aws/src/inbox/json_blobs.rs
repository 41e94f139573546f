//! Small JSON documents in an item. They are stored as payloads are: inline, or in parts if they are large.

use std::collections::{BTreeMap, BTreeSet};

use inbox_core::event::payload_hash;
use inbox_core::id::Id;
use inbox_core::rightfoot_api::Amount;
use inbox_core::thresholds::Thresholds;
use inbox_core::time::UnixSecs;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Inbox, payload_attributes};
use crate::AwsError;
use crate::item::{self, Item, PayloadLocation};
use crate::payload;

const UNREADABLE_ITEM: AwsError = AwsError::unreadable_item("dynamodb:GetItem");

pub(super) fn has_blob(item: &Item) -> bool {
    item.contains_key("payload_hash")
}

#[derive(Serialize, Deserialize)]
struct StoredThresholds {
    // Raw JSON numbers keep every digit of an amount.
    default: Option<Box<RawValue>>,
    authorizers: BTreeMap<String, Box<RawValue>>,
}

impl Inbox {
    /// Stores a document. The returned attributes refer to it, and belong into the item.
    pub(super) async fn store_blob(
        &self,
        value: &impl Serialize,
        expire_at: UnixSecs,
    ) -> Result<Item, AwsError> {
        let json = serde_json::to_vec(value).map_err(|_| UNREADABLE_ITEM)?;
        let stored = payload::store(&self.db, &self.table, &json, expire_at).await?;
        Ok(payload_attributes(&stored, &payload_hash(&json), json.len()))
    }

    /// Loads the document that an item's attributes refer to, as JSON.
    pub(super) async fn load_blob(&self, item: &Item) -> Result<Vec<u8>, AwsError> {
        let (stored, hash, bytes) = PayloadLocation::from_item(item)
            .zip(item::string(item, "payload_hash"))
            .zip(item::parsed_number(item, "payload_bytes"))
            .map(|((stored, hash), bytes)| (stored, hash, bytes))
            .ok_or(UNREADABLE_ITEM)?;
        payload::load(&self.db, &self.table, &stored, hash, bytes).await
    }

    pub(super) async fn store_ids(&self, ids: &BTreeSet<Id>, expire_at: UnixSecs) -> Result<Item, AwsError> {
        // Sorted, so equal sets have equal hashes, by which repeated requests are recognised.
        let ids: Vec<_> = ids.iter().map(Id::as_str).collect();
        self.store_blob(&ids, expire_at).await
    }

    pub(super) async fn load_ids(&self, item: &Item) -> Result<BTreeSet<Id>, AwsError> {
        let ids: Vec<String> =
            serde_json::from_slice(&self.load_blob(item).await?).map_err(|_| UNREADABLE_ITEM)?;
        ids.into_iter().map(Id::new).collect::<Option<_>>().ok_or(UNREADABLE_ITEM)
    }

    pub(super) async fn store_thresholds(
        &self,
        thresholds: &Thresholds,
        expire_at: UnixSecs,
    ) -> Result<Item, AwsError> {
        let own =
            thresholds.authorizers.iter().map(|(id, amount)| (id.as_str().to_owned(), amount.to_json()));
        let stored =
            StoredThresholds { default: thresholds.default.map(Amount::to_json), authorizers: own.collect() };
        self.store_blob(&stored, expire_at).await
    }

    pub(super) async fn load_thresholds(&self, item: &Item) -> Result<Thresholds, AwsError> {
        let json = self.load_blob(item).await?;
        let stored: StoredThresholds = serde_json::from_slice(&json).map_err(|_| UNREADABLE_ITEM)?;
        let amount = |raw: &RawValue| Amount::from_json(raw).map_err(|_| UNREADABLE_ITEM);
        let own = stored
            .authorizers
            .iter()
            .map(|(id, raw)| Ok((Id::new(id).ok_or(UNREADABLE_ITEM)?, amount(raw)?)));
        Ok(Thresholds {
            default: stored.default.as_deref().map(amount).transpose()?,
            authorizers: own.collect::<Result<_, AwsError>>()?,
        })
    }
}
