//! Records events, each once.

use inbox_core::audit::AuditEntry;
use inbox_core::duplicates::{DeliveryIdentity, RecordOutcome, classify_existing};
use inbox_core::event::{Event, EventKey};
use inbox_core::expiry::{parts_expiry, record_expiry};
use inbox_core::id::Id;
use inbox_core::message::parse_dataref;
use inbox_core::time::UnixMillis;

use crate::AwsError;
use crate::items::EventRecord;
use crate::items::tracking_state::INITIAL_REV;
use crate::resources::{Actions, Resource};
use crate::table::attribute::Attribute;
use crate::table::key::Key;
use crate::table::update::Update;
use crate::table::value::read;
use crate::table::{Table, WriteOutcome, Written};

/// Records events, and marks them as sent.
#[derive(Clone, Debug)]
pub struct EventStore {
    table: Table,
}

impl EventStore {
    /// The actions of this store.
    pub const ACTIONS: Actions =
        &[(Resource::InboxTable, &["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"])];

    /// Creates the store.
    pub fn new(table: Table) -> Self {
        Self { table }
    }

    /// Records an event: payload parts first, then one conditional put, which is the commit point. After an
    /// error the outcome is unknown.
    pub async fn record(&self, event: &Event, delivery_id: &str) -> Result<RecordOutcome, AwsError> {
        self.record_with_audit(event, delivery_id, None).await
    }

    /// Records an event from quarantine, like [`EventStore::record`]; `by` becomes its first audit entry.
    pub async fn record_replayed(
        &self,
        event: &Event,
        delivery_id: &str,
        by: &AuditEntry,
    ) -> Result<RecordOutcome, AwsError> {
        self.record_with_audit(event, delivery_id, Some(by)).await
    }

    async fn record_with_audit(
        &self,
        event: &Event,
        delivery_id: &str,
        by: Option<&AuditEntry>,
    ) -> Result<RecordOutcome, AwsError> {
        // An event from quarantine was received long ago: its parts are kept from the replay on.
        let kept_from = by.map_or(event.verified().received_at(), |by| by.at);
        let expire_at = parts_expiry(kept_from, self.table.retention_days);
        let payload = self.table.store_payload(event.verified().body(), expire_at).await?;
        let record = EventRecord::new(event, delivery_id, payload, by);
        // The first put wins. The existing item comes back, to compare the duplicate with it.
        match self.table.put(record.to_item(), &Attribute::Pk.is_missing()).await? {
            Written::Applied => Ok(RecordOutcome::New),
            Written::ConditionFailed(existing) => {
                let existing = existing.as_ref().and_then(EventRecord::from_item);
                let existing: Option<DeliveryIdentity> = existing.map(|record| record.identity());
                // Without the old item there is nothing to compare; the event is recorded in any case.
                Ok(existing.map_or(RecordOutcome::EXACT_DUPLICATE, |existing| {
                    classify_existing(&existing, &record.identity())
                }))
            }
        }
    }

    /// Counts a duplicate in the record of its event. Does nothing if the record has expired meanwhile.
    ///
    /// It leaves `rev` and `write_id` unchanged, so no other write conflicts with it or takes it for its own. If the
    /// response is lost, the SDK's next attempt counts the duplicate once more.
    pub async fn count_duplicate(
        &self,
        key: &EventKey,
        payload_differs: bool,
        received_at: UnixMillis,
    ) -> Result<(), AwsError> {
        let mut update = Update::without_rev(Key::event(key))
            // Without this condition, the update would create an item for an expired event.
            .only_if(Attribute::DeliveryId.exists())
            .increment(Attribute::Duplicates)
            .set(Attribute::LastDuplicateAt, &received_at);
        if payload_differs {
            update = update.increment(Attribute::DifferingDuplicates);
        }
        self.table.update_if(update).await.map(drop)
    }

    /// Marks a new event as sent by the webhook function. Conflicts if the relay has claimed the record.
    pub async fn mark_new_sent(&self, key: &EventKey, now: UnixMillis) -> Result<WriteOutcome, AwsError> {
        self.table.mark_sent(key, INITIAL_REV, now).await
    }

    /// Returns `true` if the event is recorded. One strongly consistent read.
    pub(crate) async fn is_recorded(&self, key: &EventKey) -> Result<bool, AwsError> {
        Ok(self.table.get(&Key::event(key)).await?.is_some())
    }

    /// Reads an event. One strongly consistent read.
    pub async fn event(&self, key: &EventKey) -> Result<Option<EventRecord>, AwsError> {
        self.table.event(key).await
    }

    /// Loads the payload of an event.
    pub async fn event_payload(&self, event: &EventRecord) -> Result<Vec<u8>, AwsError> {
        self.table.load_payload(&event.payload).await
    }

    /// The payload that a message's `dataref` points to: exactly the verified bytes.
    ///
    /// `None` if the reference is not one of this inbox's, or the event is not recorded.
    pub async fn resolve_dataref(&self, dataref: &str) -> Result<Option<Vec<u8>>, AwsError> {
        let Some(key) = parse_dataref(dataref) else { return Ok(None) };
        match self.event(&key).await? {
            Some(record) => self.event_payload(&record).await.map(Some),
            None => Ok(None),
        }
    }

    /// The subject that a batch was submitted under, if it is tracked. One strongly consistent read.
    pub async fn tracked_subject(&self, batch_id: &Id) -> Result<Option<String>, AwsError> {
        let batch = self.table.get(&Key::batch(batch_id)).await?;
        // Only this attribute: a webhook must not fail because of another one.
        Ok(batch.and_then(|batch| read(&batch, Attribute::Subject)))
    }
}

impl Table {
    /// Reads an event. One strongly consistent read.
    pub(super) async fn event(&self, key: &EventKey) -> Result<Option<EventRecord>, AwsError> {
        self.get_as(&Key::event(key), EventRecord::from_item).await
    }

    /// Marks an event as sent, if its `rev` is still the one seen.
    pub(super) async fn mark_sent(
        &self,
        key: &EventKey,
        rev: u64,
        now: UnixMillis,
    ) -> Result<WriteOutcome, AwsError> {
        let update = Update::of_due_item(Key::event(key), rev)
            .set(Attribute::SentAt, &now)
            // The expiry is set here and not only by the worker, because a deployment may have no worker.
            .set(Attribute::ExpiresAt, &record_expiry(now, self.retention_days))
            .end_due();
        self.update_once(update).await
    }
}
