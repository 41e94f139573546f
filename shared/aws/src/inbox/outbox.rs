//! The outbox: the relay's reads and writes of records that are not enqueued.

use std::time::Duration;

use aws_sdk_dynamodb::types::KeysAndAttributes;

use inbox_core::due_queue::next_due_at;
use inbox_core::event::EventKey;
use inbox_core::expiry::{parts_expiry, quarantined_record_expiry, record_expiry};
use inbox_core::limits::CLAIM_MARGIN_MS;
use inbox_core::message::{MessageMeta, QueueMessage, build_message, fits_inline};
use inbox_core::quarantine::QuarantineReason;
use inbox_core::time::{UnixMillis, UnixSecs};

use super::due_index::DueKey;
use super::{Inbox, WriteOutcome, payload_attributes};
use crate::item::{self, EventRecord, PayloadLocation, number, text};
use crate::payload;
use crate::{AwsError, AwsErrorKind};

/// A record that the relay has claimed: only this run may send it until it is due again.
#[derive(Clone, Debug)]
pub struct ClaimedRecord {
    record: EventRecord,
}

/// Outcome of claiming a due record.
#[derive(Debug)]
pub enum RelayClaim {
    /// The record is claimed until it is due again.
    Acquired(Box<ClaimedRecord>),
    /// The record is claimed, but the stored parts of its payload have expired: it cannot be sent.
    AcquiredWithoutPayload(Box<ClaimedRecord>),
    /// The index lagged: the record is enqueued, claimed by another run, or gone.
    NotDue,
}

impl Inbox {
    /// Reads records by strongly consistent reads, because the index may lag: at most
    /// [`inbox_core::limits::DUE_PAGE_ITEMS`] at a time.
    pub async fn read_due_records(&self, due_keys: &[DueKey]) -> Result<DueRecords, AwsError> {
        let mut due_records = DueRecords::default();
        let mut keys: Vec<_> = due_keys.iter().map(|item| item::key(&item.pk, &item.sk)).collect();
        // Unprocessed keys are requested once more; the rest is left to the next run.
        for _ in 0..2 {
            if keys.is_empty() {
                break;
            }
            let request = KeysAndAttributes::builder()
                .set_keys(Some(std::mem::take(&mut keys)))
                .consistent_read(true)
                .build()
                .map_err(|_| AwsError::unreadable_item("dynamodb:BatchGetItem"))?;
            let read = self.db.batch_get_item().request_items(&self.table, request).send().await;
            let answer = read.map_err(|error| AwsError::from_sdk_error("dynamodb:BatchGetItem", &error))?;
            for item in answer.responses().and_then(|tables| tables.get(&self.table)).into_iter().flatten() {
                match EventRecord::from_item(item) {
                    Some(record) => due_records.records.push(DueRecord(record)),
                    None => due_records.unreadable += 1,
                }
            }
            let unprocessed = answer.unprocessed_keys().and_then(|tables| tables.get(&self.table));
            keys = unprocessed.map(|left| left.keys().to_vec()).unwrap_or_default();
        }
        due_records.unprocessed = keys.len();
        Ok(due_records)
    }

    /// Claims a due record. It stays in the index, at a later time, so that a crash of this run loses nothing.
    pub async fn claim_record(&self, due: DueRecord, now: UnixMillis) -> Result<RelayClaim, AwsError> {
        let mut record = due.0;
        let expires_at = record_expiry(now, self.retention_days);
        // Before the claim, because the parts must outlive the expiry that the mark gives the record.
        let has_payload = self.extend_parts_expiry_if_present(&mut record, expires_at, now).await?;
        let later = next_due_at(now, record.attempts);
        let written = self
            .update_at_rev(
                record.table_key(),
                record.rev,
                "rev = rev + :one, attempts = :n, due_at = :later",
                [
                    (":one", number(1)),
                    (":n", number(record.attempts.saturating_add(1))),
                    (":later", number(later.0)),
                ],
            )
            .await?;
        Ok(match written {
            WriteOutcome::Applied => {
                record.rev += 1;
                record.attempts += 1;
                record.due_at = Some(later);
                let claimed = Box::new(ClaimedRecord { record });
                if has_payload {
                    RelayClaim::Acquired(claimed)
                } else {
                    RelayClaim::AcquiredWithoutPayload(claimed)
                }
            }
            WriteOutcome::Conflict => RelayClaim::NotDue,
        })
    }

    /// Builds the message of a claimed record. The payload is loaded only if it fits into the message.
    pub async fn build_message(&self, claimed: &ClaimedRecord) -> Result<QueueMessage, AwsError> {
        let record = &claimed.record;
        let payload =
            if fits_inline(record.payload_bytes) { Some(self.payload_of(record).await?) } else { None };
        let meta = MessageMeta {
            key: &record.key,
            event_type: &record.event_type,
            origin: record.identity.origin,
            received_at: record.received_at,
            replay: record.replay,
        };
        Ok(build_message(meta, payload.as_deref()))
    }

    /// Marks a claimed record as sent.
    pub async fn mark_claimed_sent(
        &self,
        claimed: &ClaimedRecord,
        now: UnixMillis,
    ) -> Result<WriteOutcome, AwsError> {
        self.mark_sent(&claimed.record.key, claimed.record.rev, now).await
    }

    /// Counts that SQS rejected the message of a claimed record. Returns the count so far; `None` if the claim
    /// was lost.
    pub async fn count_undeliverable(&self, claimed: &ClaimedRecord) -> Result<Option<u64>, AwsError> {
        let count = claimed.record.undeliverable_count.saturating_add(1);
        let (key, rev) = (claimed.record.table_key(), claimed.record.rev);
        let written = self.update_at_rev(key, rev, "refusals = :n", [(":n", number(count))]).await?;
        Ok((written == WriteOutcome::Applied).then_some(count))
    }

    /// Quarantines a claimed record that cannot be sent, and takes it out of the index. Conflicts if a worker
    /// has claimed the event: then it was sent after all.
    pub async fn quarantine_claimed(
        &self,
        claimed: &ClaimedRecord,
        reason: QuarantineReason,
        now: UnixMillis,
    ) -> Result<WriteOutcome, AwsError> {
        let record = &mut claimed.record.clone();
        let expires_at = quarantined_record_expiry(now, self.retention_days);
        self.extend_parts_expiry_if_present(record, expires_at, now).await?;
        let hash = &record.identity.payload_hash;
        let mut attributes = payload_attributes(&record.payload_location, hash, record.payload_bytes);
        attributes.insert("event_id".to_owned(), text(record.key.event_id()));
        let delivery = (record.key.provider(), record.subject.as_ref(), hash.as_str());
        // The bytes first: after a crash in between, the record is still due, and the item only counts one more
        // delivery.
        self.put_quarantined(delivery, attributes, reason, now).await?;
        let no_claim = "(attribute_not_exists(claim_until) OR claim_until < :now)";
        self.update_at_rev_if(
            record.table_key(),
            record.rev,
            Some((no_claim, (":now", number(now.0)))),
            // A slow worker whose claim has expired must not requeue the event: the record would expire before
            // its quarantined item.
            "quarantined_at = :now, expires_at = :at REMOVE due, due_at, claim_by, claim_until",
            [(":at", number(expires_at.0))],
        )
        .await
    }

    /// Extends the expiry of a payload's parts to that of their record. Returns `false` if parts are gone: an
    /// operator may replay a record whose parts have expired.
    pub(super) async fn extend_parts_expiry_if_present(
        &self,
        record: &mut EventRecord,
        record_expires_at: UnixSecs,
        now: UnixMillis,
    ) -> Result<bool, AwsError> {
        match self.extend_parts_expiry(record, record_expires_at, now).await {
            Ok(()) => Ok(true),
            Err(error) if error.kind == AwsErrorKind::PayloadGone => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Parts must outlive their record, even one that could not be enqueued for months.
    async fn extend_parts_expiry(
        &self,
        record: &mut EventRecord,
        record_expires_at: UnixSecs,
        now: UnixMillis,
    ) -> Result<(), AwsError> {
        let PayloadLocation::Parts { names, expire_at } = &mut record.payload_location else { return Ok(()) };
        if *expire_at > record_expires_at {
            return Ok(());
        }
        let later = parts_expiry(now, self.retention_days);
        // First the parts: the attribute must not say that they exist longer than they do.
        payload::extend_expiry(&self.db, &self.table, names, later).await?;
        *expire_at = later;
        let set = "parts_expire_at = :at";
        // A conflict is harmless: with the old value, the parts are moved once more later.
        self.update_at_rev(record.table_key(), record.rev, set, [(":at", number(later.0))]).await?;
        Ok(())
    }
}

impl ClaimedRecord {
    /// The key of the event.
    pub fn key(&self) -> &EventKey {
        &self.record.key
    }

    /// Number of times that the relay claimed it, this claim included.
    pub fn attempts(&self) -> u64 {
        self.record.attempts
    }

    /// Returns `true` if the claim lasts long enough to send and mark; after it, another run may claim the
    /// record.
    pub fn has_time_to_send(&self, now: UnixMillis) -> bool {
        self.record.due_at.is_some_and(|until| now.plus(Duration::from_millis(CLAIM_MARGIN_MS)) < until)
    }
}

/// Result of reading due records.
#[derive(Debug, Default)]
pub struct DueRecords {
    /// The records.
    pub records: Vec<DueRecord>,
    /// Number of items that are not records of a known form.
    pub unreadable: usize,
    /// Number of keys that DynamoDB left unprocessed.
    pub unprocessed: usize,
}

/// A record that the index listed as due, as read from the table.
#[derive(Clone, Debug)]
pub struct DueRecord(EventRecord);

impl DueRecord {
    /// Returns `true` if it is due: the index may lag behind the record.
    pub fn is_due(&self, now: UnixMillis) -> bool {
        self.0.due_at.is_some_and(|due_at| due_at <= now)
    }

    /// Returns `true` if it still has to be enqueued, now or later.
    pub fn is_awaiting_enqueue(&self) -> bool {
        self.0.due_at.is_some()
    }

    /// The time at which it should be on the queue.
    pub fn enqueue_after(&self) -> UnixMillis {
        self.0.enqueue_after
    }
}
