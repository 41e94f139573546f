//! Quarantines deliveries and events.
//!
//! ```text
//!  quarantine  due=quarantine, deliveries+1, closed_at gone ── (inspected, replayed) ── close if deliveries=seen and open
//! ```
//!
//! An open item is in the index `due`, at the time of its first delivery. The same bytes again open it again. Closing names
//! the number of deliveries that was read, so that none that came meanwhile is closed with it.

use aws_sdk_dynamodb::types::AttributeValue;

use inbox_core::delivery::{Provider, Verified, VerifiedBy};
use inbox_core::due_queue::DueQueue;
use inbox_core::expiry::{parts_expiry, quarantine_expiry, quarantined_record_expiry};
use inbox_core::limits::ID_MAX_BYTES;
use inbox_core::list_kind::ListKind;
use inbox_core::providers::fynapse::IDEMPOTENCY_HEADER;
use inbox_core::quarantine::QuarantineId;
use inbox_core::quarantine::QuarantineReason;
use inbox_core::subject::Subject;
use inbox_core::time::{UnixMillis, UnixSecs};

use crate::AwsError;
use crate::items::payload::is_payload_gone;
use crate::items::{EventRecord, StoredPayload};
use crate::resources::{Actions, Resource};
use crate::table::attribute::Attribute;
use crate::table::key::Key;
use crate::table::update::Update;
use crate::table::value::{FORMAT_VERSION, ToAttribute};
use crate::table::{Table, UPDATE};

/// Quarantines deliveries that were verified and cannot be processed.
#[derive(Clone, Debug)]
pub struct Quarantine {
    table: Table,
}

impl Quarantine {
    /// The actions of this store.
    pub const ACTIONS: Actions = &[(Resource::InboxTable, &["dynamodb:PutItem", "dynamodb:UpdateItem"])];

    /// Creates the store.
    pub fn new(table: Table) -> Self {
        Self { table }
    }

    /// Quarantines verified bytes that cannot be processed (P7). The same bytes again are counted, not stored
    /// twice, and open a closed item again; its headers are then those of the last delivery.
    pub async fn quarantine_delivery(
        &self,
        verified: &Verified,
        reason: QuarantineReason,
    ) -> Result<(), AwsError> {
        let now = verified.received_at();
        let expire_at = parts_expiry(now, self.table.retention_days);
        let payload = self.table.store_payload(verified.body(), expire_at).await?;
        let mut details = Vec::new();
        // Whether a stale delivery may be replayed depends on the age of its signature.
        if let VerifiedBy::Signature { signed_at } = verified.verified_by() {
            details.push((Attribute::SignedAt, signed_at.to_attribute()));
        }
        // In the index, where the auditor finds it.
        if let Some(key) =
            verified.header(IDEMPOTENCY_HEADER).filter(|key| (1..=ID_MAX_BYTES).contains(&key.len()))
        {
            details.push((Attribute::IdempotencyKey, key.to_attribute()));
        }
        let headers =
            verified.storable_headers().map(|(name, value)| (name.to_owned(), value.to_attribute()));
        details.push((Attribute::Headers, AttributeValue::M(headers.collect())));
        let delivery = (verified.provider(), verified.subject());
        self.table.put_quarantined(delivery, &payload, details, reason, now).await
    }
}

impl Table {
    /// Quarantines the bytes of a recorded event. Returns the time at which its record may expire, which must be written to the
    /// record next: after a crash in between, the event is still due, and the item only counts one more delivery.
    pub(super) async fn quarantine_event_bytes(
        &self,
        record: &EventRecord,
        reason: QuarantineReason,
        now: UnixMillis,
    ) -> Result<UnixSecs, AwsError> {
        let expires_at = quarantined_record_expiry(now, self.retention_days);
        let mut payload = record.payload.clone();
        self.outlive_record_if_present(record, &mut payload, expires_at, now).await?;
        let event_id = vec![(Attribute::EventId, record.key.event_id().to_attribute())];
        let delivery = (record.key.provider(), record.subject.as_ref());
        self.put_quarantined(delivery, &payload, event_id, reason, now).await?;
        Ok(expires_at)
    }

    /// Makes sure that a record's payload outlives the record, and stores the new expiry of its parts. Returns `false` if parts
    /// are gone: an operator may replay a record whose parts have expired.
    pub(super) async fn outlive_record_if_present(
        &self,
        record: &EventRecord,
        payload: &mut StoredPayload,
        record_expires_at: UnixSecs,
        now: UnixMillis,
    ) -> Result<bool, AwsError> {
        // First the parts: the attribute must not say that they exist longer than they do.
        match self.outlive_record(payload, record_expires_at, now).await {
            Ok(None) => Ok(true),
            Ok(Some(later)) => {
                let update =
                    Update::of_due_item(record.table_key(), record.rev).set(Attribute::PartsExpireAt, &later);
                // A conflict is harmless: with the old value, the parts are moved once more later.
                self.update_once(update).await?;
                Ok(true)
            }
            Err(error) if is_payload_gone(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Creates or reopens the quarantined item of this provider, subject and payload hash.
    async fn put_quarantined(
        &self,
        (provider, subject): (Provider, Option<&Subject>),
        payload: &StoredPayload,
        details: Vec<(Attribute, AttributeValue)>,
        reason: QuarantineReason,
        now: UnixMillis,
    ) -> Result<(), AwsError> {
        let id =
            QuarantineId::new(provider, subject, &payload.hash).ok_or(AwsError::unreadable_item(UPDATE))?;
        // The same bytes may have been erased here before.
        let outdated: &[Attribute] =
            if payload.erased_at().is_some() { &[] } else { &[Attribute::PayloadErasedAt] };
        // No condition: every delivery counts, and a repeated request only counts one too many.
        let update = Update::without_rev(Key::quarantined(&id))
            .set(Attribute::V, &FORMAT_VERSION)
            .set(Attribute::Due, DueQueue::Quarantine.shard(&id.pk()).as_str())
            .set(Attribute::Listed, ListKind::Quarantine.shard(&id.pk()).as_str())
            // The place in the indexes does not change when the same bytes come again.
            .set_first(Attribute::FirstReceivedAt, Attribute::FirstReceivedAt, &now)
            .set_first(Attribute::DueAt, Attribute::FirstReceivedAt, &now)
            .set_first(Attribute::ListedAt, Attribute::FirstReceivedAt, &now)
            .set(Attribute::LastReceivedAt, &now)
            .set(Attribute::Reason, &reason)
            // The only items that are due and expire: one that nobody closes goes after 90 days.
            .set(Attribute::ExpiresAt, &quarantine_expiry(now))
            .set_some(Attribute::Subject, subject)
            .set_all(payload.attributes())
            .set_all(details)
            .increment(Attribute::Deliveries)
            .remove(&[Attribute::ClosedAt, Attribute::Resolution])
            .remove(outdated);
        self.update_if(update).await.map(drop)
    }
}
