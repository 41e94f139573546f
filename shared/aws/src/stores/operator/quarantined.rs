//! Reads, lists and closes quarantined items.

use std::collections::BTreeMap;

use inbox_core::audit::{AuditEntry, AuditSubject};
use inbox_core::due_queue::DueQueue;
use inbox_core::limits::DUE_PAGE_ITEMS;
use inbox_core::quarantine::QuarantineReason;
use inbox_core::quarantine::{QuarantineId, Resolution};

use super::OperatorStore;
use crate::AwsError;
use crate::items::{EventRecord, QuarantinedItem};
use crate::stores::due_index::DueKey;
use crate::table::WriteOutcome;
use crate::table::attribute::Attribute;
use crate::table::key::Key;
use crate::table::update::Update;

impl OperatorStore {
    /// Reads a quarantined item. One strongly consistent read.
    pub async fn quarantined_item(&self, id: &QuarantineId) -> Result<Option<QuarantinedItem>, AwsError> {
        self.table.get_as(&Key::quarantined(id), QuarantinedItem::from_item).await
    }

    /// The item that holds the bytes of a quarantined event.
    pub async fn quarantined_item_of(
        &self,
        event: &EventRecord,
    ) -> Result<Option<QuarantinedItem>, AwsError> {
        let id = QuarantineId::new(event.key.provider(), event.subject.as_ref(), &event.payload.hash);
        let Some(id) = id else { return Ok(None) };
        self.quarantined_item(&id).await
    }

    /// Loads the bytes of a quarantined item.
    pub async fn quarantined_payload(&self, item: &QuarantinedItem) -> Result<Vec<u8>, AwsError> {
        self.table.load_payload(&item.payload).await
    }

    /// Lists open items, the oldest first: at most `limit` of this reason, after `after`. Also returns where
    /// the next page starts, if there are more.
    pub async fn list_quarantine(
        &self,
        reason: Option<QuarantineReason>,
        after: Option<DueKey>,
        limit: usize,
    ) -> Result<(Vec<QuarantinedItem>, Option<DueKey>), AwsError> {
        self.list_quarantine_where(has_reason(reason), after, limit).await
    }

    /// Lists open items that `matches` selects, the oldest first.
    pub async fn list_quarantine_where(
        &self,
        matches: impl Fn(&QuarantinedItem) -> bool,
        mut after: Option<DueKey>,
        limit: usize,
    ) -> Result<(Vec<QuarantinedItem>, Option<DueKey>), AwsError> {
        let mut found = Vec::new();
        loop {
            let (due_keys, more) =
                self.due_index.list_due_keys(DueQueue::Quarantine, after.as_ref(), DUE_PAGE_ITEMS).await?;
            let mut items = self.read_open(&due_keys).await?;
            for due_key in due_keys {
                // Checked before an item is taken, so that `after` never passes one that is not returned.
                if found.len() == limit {
                    return Ok((found, after));
                }
                // An item that is not found any more was closed: the index lags.
                let item = items.remove(&due_key.pk);
                found.extend(item.filter(&matches));
                after = Some(due_key);
            }
            if !more {
                return Ok((found, None));
            }
        }
    }

    async fn read_open(&self, due_keys: &[DueKey]) -> Result<BTreeMap<String, QuarantinedItem>, AwsError> {
        let keys = due_keys.iter().map(|due_key| Key::new(&due_key.pk, &due_key.sk)).collect();
        let items = self.table.get_all(keys).await?;
        let open =
            items.iter().filter_map(QuarantinedItem::from_item).filter(|item| item.resolution.is_none());
        Ok(open.map(|item| (item.id.pk(), item)).collect())
    }

    /// Closes an item, as it was read. Conflicts if the same bytes came again meanwhile, or if it was closed
    /// already.
    pub async fn close_quarantined(
        &self,
        seen: &QuarantinedItem,
        resolution: Resolution,
        by: &AuditEntry,
    ) -> Result<WriteOutcome, AwsError> {
        // The number of deliveries takes the place of a `rev` here: it grows with each of them.
        let update = Update::without_rev(Key::quarantined(&seen.id))
            .only_if(Attribute::Deliveries.equals(&seen.deliveries))
            .only_if(Attribute::ClosedAt.is_missing())
            .set(Attribute::ClosedAt, &by.at)
            .set(Attribute::Resolution, &resolution)
            .end_due();
        let is_own = |item: &_| {
            QuarantinedItem::from_item(item)
                .is_some_and(|it| it.resolution.is_some() && it.audit_entries.contains(by))
        };
        self.table.update_audited(update, &AuditSubject::Quarantined(seen.id.clone()), by, is_own).await
    }
}

/// The filter for items with this reason; `None` for any.
fn has_reason(reason: Option<QuarantineReason>) -> impl Fn(&QuarantinedItem) -> bool {
    move |item| reason.is_none_or(|reason| item.reason == reason)
}
