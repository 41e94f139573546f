//! JSON documents of an item, such as thresholds: stored as payloads are, inline or in parts if they are large.

use std::collections::{BTreeMap, BTreeSet};

use inbox_core::id::Id;
use inbox_core::rightfoot_api::Amount;
use inbox_core::thresholds::Thresholds;
use inbox_core::time::UnixSecs;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::AwsError;
use crate::items::StoredPayload;
use crate::table::{GET, Table};

const UNREADABLE_ITEM: AwsError = AwsError::unreadable_item(GET);

#[derive(Serialize, Deserialize)]
struct StoredThresholds {
    // Raw JSON numbers keep every digit of an amount.
    default: Option<Box<RawValue>>,
    authorizers: BTreeMap<String, Box<RawValue>>,
}

impl Table {
    /// Stores a document. The item that refers to it is written next.
    pub(super) async fn store_json(
        &self,
        value: &impl Serialize,
        expire_at: UnixSecs,
    ) -> Result<StoredPayload, AwsError> {
        let json = serde_json::to_vec(value).map_err(|_| UNREADABLE_ITEM)?;
        self.store_payload(&json, expire_at).await
    }

    pub(super) async fn load_json(&self, stored: &StoredPayload) -> Result<Value, AwsError> {
        serde_json::from_slice(&self.load_payload(stored).await?).map_err(|_| UNREADABLE_ITEM)
    }

    pub(super) async fn store_ids(
        &self,
        ids: &BTreeSet<Id>,
        expire_at: UnixSecs,
    ) -> Result<StoredPayload, AwsError> {
        // Sorted, so equal sets have equal hashes, by which repeated requests are recognised.
        let ids: Vec<_> = ids.iter().map(Id::as_str).collect();
        self.store_json(&ids, expire_at).await
    }

    /// Loads a set of ids; an empty one if nothing is stored.
    pub(super) async fn load_ids(&self, stored: Option<&StoredPayload>) -> Result<BTreeSet<Id>, AwsError> {
        let Some(stored) = stored else { return Ok(BTreeSet::new()) };
        let ids: Vec<String> =
            serde_json::from_slice(&self.load_payload(stored).await?).map_err(|_| UNREADABLE_ITEM)?;
        ids.into_iter().map(Id::new).collect::<Option<_>>().ok_or(UNREADABLE_ITEM)
    }

    pub(super) async fn store_thresholds(
        &self,
        thresholds: &Thresholds,
        expire_at: UnixSecs,
    ) -> Result<StoredPayload, AwsError> {
        let own =
            thresholds.authorizers.iter().map(|(id, amount)| (id.as_str().to_owned(), amount.to_json()));
        let stored =
            StoredThresholds { default: thresholds.default.map(Amount::to_json), authorizers: own.collect() };
        self.store_json(&stored, expire_at).await
    }

    pub(super) async fn load_thresholds(&self, stored: &StoredPayload) -> Result<Thresholds, AwsError> {
        let json = self.load_payload(stored).await?;
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
