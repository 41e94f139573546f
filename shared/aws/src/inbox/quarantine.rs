//! Reads, lists and closes quarantined items.
//!
//! ```text
//!  quarantine  due=quarantine, deliveries+1, closed_at gone ── (inspected, replayed) ── close if deliveries=seen and open
//! ```
//!
//! An open item is in the index `due`, at the time of its first delivery. The same bytes again open it again. Closing names
//! the number of deliveries that was read, so that none that came meanwhile is closed with it.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;

use inbox_core::audit::AuditEntry;
use inbox_core::due_queue::DueQueue;
use inbox_core::event::EventKey;
use inbox_core::limits::DUE_PAGE_ITEMS;
use inbox_core::quarantine::{QuarantineId, QuarantineReason, QuarantinedDelivery, Resolution};
use inbox_core::subject::Subject;
use inbox_core::time::{UnixMillis, UnixSecs};

use super::due_index::{DueKey, DueOrder};
use super::{EventView, Inbox, WriteOutcome};
use crate::AwsError;
use crate::conditional::condition_failed;
use crate::item::{self, Item, PayloadLocation, millis, number, text};
use crate::payload;

/// The sort key of a quarantined item.
pub(super) const DELIVERY_SK: &str = "delivery";
const HEADER_PREFIX: &str = "header_";

/// A quarantined item, without its bytes.
#[derive(Clone, Debug)]
pub struct QuarantinedItem {
    /// Its id, as operators name it.
    pub id: QuarantineId,
    /// Reason for the quarantine.
    pub reason: QuarantineReason,
    /// Time at which its bytes were first received.
    pub first_received_at: UnixMillis,
    /// Time at which they were last received.
    pub last_received_at: UnixMillis,
    /// Number of times that they were received, or that their event was quarantined.
    pub deliveries: u64,
    /// Size of its bytes.
    pub payload_bytes: usize,
    /// The subject of the webhook URL that they came by.
    pub subject: Option<Subject>,
    /// Time of their signature, if they were signed.
    pub signed_at: Option<UnixSecs>,
    /// The stored headers of the delivery.
    pub headers: BTreeMap<String, String>,
    /// The event that was made from them, if it was recorded before it was quarantined.
    pub event: Option<EventKey>,
    /// Time and kind of its resolution; `None` while it is open.
    pub resolution: Option<(UnixMillis, Resolution)>,
    /// The audit entries of operators.
    pub audit_entries: Vec<AuditEntry>,
    payload_location: PayloadLocation,
    payload_hash: String,
}

impl QuarantinedItem {
    pub(super) fn from_item(item: &Item) -> Option<Self> {
        let headers = item.iter().filter_map(|(name, value)| {
            Some((name.strip_prefix(HEADER_PREFIX)?.to_owned(), value.as_s().ok()?.clone()))
        });
        Some(Self {
            id: QuarantineId::from_pk(item::string(item, "pk")?)?,
            reason: QuarantineReason::from_name(item::string(item, "reason")?)?,
            first_received_at: millis(item, "first_received_at")?,
            last_received_at: millis(item, "last_received_at")?,
            deliveries: item::parsed_number(item, "deliveries")?,
            payload_bytes: item::parsed_number(item, "payload_bytes")?,
            subject: item::string(item, "subject").and_then(|subject| subject.parse().ok()),
            signed_at: item::parsed_number(item, "signed_at").map(UnixSecs),
            headers: headers.collect(),
            event: item::string(item, "event_id").and_then(EventKey::from_event_id),
            resolution: millis(item, "closed_at")
                .zip(item::string(item, "closed_as").and_then(Resolution::from_name)),
            audit_entries: item::audit_entries(item),
            payload_location: PayloadLocation::from_item(item)?,
            payload_hash: item::string(item, "payload_hash")?.to_owned(),
        })
    }

    /// Joins the item and its bytes, to be parsed again.
    pub fn with_body(self, body: Vec<u8>) -> QuarantinedDelivery {
        QuarantinedDelivery {
            provider: self.id.provider,
            reason: self.reason,
            body,
            headers: self.headers,
            first_received_at: self.first_received_at,
            subject: self.subject,
            signed_at: self.signed_at,
        }
    }
}

impl Inbox {
    /// Reads a quarantined item. One strongly consistent read.
    pub async fn quarantined_item(&self, id: &QuarantineId) -> Result<Option<QuarantinedItem>, AwsError> {
        let item = self.get_item(item::key(&id.pk(), DELIVERY_SK)).await?;
        item.map(|item| {
            QuarantinedItem::from_item(&item).ok_or(AwsError::unreadable_item("dynamodb:GetItem"))
        })
        .transpose()
    }

    /// The id of the item that holds the bytes of a quarantined event.
    pub async fn quarantine_id_of(&self, event: &EventView) -> Result<Option<QuarantineId>, AwsError> {
        let subject = event.subject.as_ref().and_then(|subject| subject.parse().ok());
        let Some(id) = QuarantineId::new(event.key.provider(), subject.as_ref(), &event.payload_hash) else {
            return Ok(None);
        };
        Ok(self.quarantined_item(&id).await?.map(|_| id))
    }

    /// Loads the bytes of a quarantined item.
    pub async fn quarantined_payload(&self, item: &QuarantinedItem) -> Result<Vec<u8>, AwsError> {
        payload::load(&self.db, &self.table, &item.payload_location, &item.payload_hash, item.payload_bytes)
            .await
    }

    /// Lists open items, the oldest first: at most `limit` of this reason, after `after`. Also returns where
    /// the next page starts, if there are more.
    pub async fn list_quarantine(
        &self,
        reason: Option<QuarantineReason>,
        after: Option<DueKey>,
        limit: usize,
    ) -> Result<(Vec<QuarantinedItem>, Option<DueKey>), AwsError> {
        let matches = |item: &QuarantinedItem| reason.is_none_or(|reason| item.reason == reason);
        self.list_quarantine_where(matches, after, limit).await
    }

    /// Lists open items like [`Inbox::list_quarantine`], the newest first.
    pub async fn list_quarantine_newest_first(
        &self,
        reason: Option<QuarantineReason>,
        after: Option<DueKey>,
        limit: usize,
    ) -> Result<(Vec<QuarantinedItem>, Option<DueKey>), AwsError> {
        let matches = |item: &QuarantinedItem| reason.is_none_or(|reason| item.reason == reason);
        self.list_quarantine_by(DueOrder::NewestFirst, matches, after, limit).await
    }

    /// Lists open items that `matches` selects, the oldest first.
    pub async fn list_quarantine_where(
        &self,
        matches: impl Fn(&QuarantinedItem) -> bool,
        after: Option<DueKey>,
        limit: usize,
    ) -> Result<(Vec<QuarantinedItem>, Option<DueKey>), AwsError> {
        self.list_quarantine_by(DueOrder::OldestFirst, matches, after, limit).await
    }

    async fn list_quarantine_by(
        &self,
        order: DueOrder,
        matches: impl Fn(&QuarantinedItem) -> bool,
        mut after: Option<DueKey>,
        limit: usize,
    ) -> Result<(Vec<QuarantinedItem>, Option<DueKey>), AwsError> {
        let mut found = Vec::new();
        loop {
            let (due_keys, more) =
                self.list_due_keys_by(order, DueQueue::Quarantine, after.as_ref(), DUE_PAGE_ITEMS).await?;
            let mut items = self.read_quarantined(&due_keys).await?;
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

    async fn read_quarantined(
        &self,
        due_keys: &[DueKey],
    ) -> Result<BTreeMap<String, QuarantinedItem>, AwsError> {
        let keys = due_keys.iter().map(|due_key| item::key(&due_key.pk, &due_key.sk)).collect();
        let items = self.batch_get(keys).await?;
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
        let update = self
            .db
            .update_item()
            .table_name(&self.table)
            .set_key(Some(item::key(&seen.id.pk(), DELIVERY_SK)))
            .update_expression(format!(
                "SET closed_at = :now, closed_as = :how, {APPEND_AUDIT_ENTRY} REMOVE due, due_at"
            ))
            .condition_expression("deliveries = :seen AND attribute_not_exists(closed_at)")
            .expression_attribute_values(":seen", number(seen.deliveries))
            .expression_attribute_values(":now", number(by.at.0))
            .expression_attribute_values(":how", text(resolution.as_str()))
            .expression_attribute_values(":none", AttributeValue::L(Vec::new()))
            .expression_attribute_values(":trace", AttributeValue::L(vec![item::audit_entry_value(by)]));
        match update.send().await {
            Ok(_) => Ok(WriteOutcome::Applied),
            // The response of an applied attempt may have been lost.
            Err(error) if condition_failed(&error) => {
                let existing = self.quarantined_item(&seen.id).await?;
                let is_applied =
                    existing.is_some_and(|it| it.resolution.is_some() && it.audit_entries.contains(by));
                Ok(if is_applied { WriteOutcome::Applied } else { WriteOutcome::Conflict })
            }
            Err(error) => Err(AwsError::from_sdk_error("dynamodb:UpdateItem", &error)),
        }
    }
}

/// The update clause that appends an audit entry; its values are `:none`, an empty list, and `:trace`.
pub(super) const APPEND_AUDIT_ENTRY: &str =
    "interventions = list_append(if_not_exists(interventions, :none), :trace)";
