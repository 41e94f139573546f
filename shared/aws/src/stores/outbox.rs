//! The outbox: the relay's reads and writes of records that are not enqueued.

use std::time::Duration;

use inbox_core::due_queue::next_due_at;
use inbox_core::event::EventKey;
use inbox_core::expiry::record_expiry;
use inbox_core::limits::CLAIM_MARGIN_MS;
use inbox_core::message::{QueueMessage, build_message, fits_inline};
use inbox_core::quarantine::QuarantineReason;
use inbox_core::time::UnixMillis;

use super::due_index::DueKey;
use crate::AwsError;
use crate::items::EventRecord;
use crate::resources::{Actions, Resource};
use crate::table::attribute::Attribute;
use crate::table::key::Key;
use crate::table::update::Update;
use crate::table::{Table, WriteOutcome};

/// Claims records that are not enqueued, and marks them as sent.
#[derive(Clone, Debug)]
pub struct Outbox {
    table: Table,
}

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

impl Outbox {
    /// The actions of this store. `GetItem` reads the parts of large payloads; the records are read in batches.
    pub const ACTIONS: Actions =
        &[(Resource::InboxTable, &["dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:UpdateItem"])];

    /// Creates the store.
    pub fn new(table: Table) -> Self {
        Self { table }
    }

    /// Reads records by strongly consistent reads, because the index may lag: at most
    /// [`inbox_core::limits::DUE_PAGE_ITEMS`] at a time.
    pub async fn read_due_records(&self, due_keys: &[DueKey]) -> Result<DueRecords, AwsError> {
        let mut due_records = DueRecords::default();
        let mut keys: Vec<_> = due_keys.iter().map(|due| Key::new(&due.pk, &due.sk).to_item()).collect();
        // Unprocessed keys are requested once more; the rest is left to the next run.
        for _ in 0..2 {
            if keys.is_empty() {
                break;
            }
            let (items, unprocessed) = self.table.get_some(keys).await?;
            for item in &items {
                match EventRecord::from_item(item) {
                    Some(record) => due_records.records.push(DueRecord(record)),
                    None => due_records.unreadable += 1,
                }
            }
            keys = unprocessed;
        }
        due_records.unprocessed = keys.len();
        Ok(due_records)
    }

    /// Claims a due record. It stays in the index, at a later time, so that a crash of this run loses nothing.
    pub async fn claim_record(&self, due: DueRecord, now: UnixMillis) -> Result<RelayClaim, AwsError> {
        let mut record = due.0;
        let expires_at = record_expiry(now, self.table.retention_days);
        let mut payload = record.payload.clone();
        // Before the claim, because the parts must outlive the expiry that the mark gives the record.
        let has_payload =
            self.table.outlive_record_if_present(&record, &mut payload, expires_at, now).await?;
        record.payload = payload;
        let later = next_due_at(now, record.attempts);
        let attempts = record.attempts.saturating_add(1);
        let update = Update::of_due_item(record.table_key(), record.rev)
            .increment(Attribute::Rev)
            .set(Attribute::Attempts, &attempts)
            .set(Attribute::DueAt, &later);
        if self.table.update_once(update).await? == WriteOutcome::Conflict {
            return Ok(RelayClaim::NotDue);
        }
        record.rev += 1;
        record.attempts = attempts;
        record.lifecycle.due_at = Some(later);
        let claimed = Box::new(ClaimedRecord { record });
        Ok(if has_payload {
            RelayClaim::Acquired(claimed)
        } else {
            RelayClaim::AcquiredWithoutPayload(claimed)
        })
    }

    /// Builds the message of a claimed record. The payload is loaded only if it fits into the message.
    pub async fn build_message(&self, claimed: &ClaimedRecord) -> Result<QueueMessage, AwsError> {
        let record = &claimed.record;
        let payload = if fits_inline(record.payload.bytes) {
            Some(self.table.load_payload(&record.payload).await?)
        } else {
            None
        };
        Ok(build_message(record.message_meta(), payload.as_deref()))
    }

    /// Marks a claimed record as sent.
    pub async fn mark_claimed_sent(
        &self,
        claimed: &ClaimedRecord,
        now: UnixMillis,
    ) -> Result<WriteOutcome, AwsError> {
        self.table.mark_sent(&claimed.record.key, claimed.record.rev, now).await
    }

    /// Counts that SQS rejected the message of a claimed record. Returns the count so far; `None` if the claim
    /// was lost.
    pub async fn count_undeliverable(&self, claimed: &ClaimedRecord) -> Result<Option<u64>, AwsError> {
        let count = claimed.record.undeliverable_count.saturating_add(1);
        let update = claimed.update().set(Attribute::UndeliverableCount, &count);
        Ok((self.table.update_once(update).await? == WriteOutcome::Applied).then_some(count))
    }

    /// Quarantines a claimed record that cannot be sent, and takes it out of the index. Conflicts if a worker
    /// has claimed the event: then it was sent after all.
    pub async fn quarantine_claimed(
        &self,
        claimed: &ClaimedRecord,
        reason: QuarantineReason,
        now: UnixMillis,
    ) -> Result<WriteOutcome, AwsError> {
        let expires_at = self.table.quarantine_event_bytes(&claimed.record, reason, now).await?;
        let has_no_claim = Attribute::ClaimUntil.is_missing().or(Attribute::ClaimUntil.is_below(&now));
        let update = claimed
            .update()
            .only_if(has_no_claim)
            .set(Attribute::QuarantinedAt, &now)
            .set(Attribute::ExpiresAt, &expires_at)
            .end_due()
            // A slow worker whose claim has expired must not requeue the event: the record would expire before
            // its quarantined item.
            .drop_claim();
        self.table.update_once(update).await
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
        let until = self.record.lifecycle.due_at;
        until.is_some_and(|until| now.plus(Duration::from_millis(CLAIM_MARGIN_MS)) < until)
    }

    fn update(&self) -> Update {
        Update::of_due_item(self.record.table_key(), self.record.rev)
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
        self.0.lifecycle.due_at.is_some_and(|due_at| due_at <= now)
    }

    /// Returns `true` if it still has to be enqueued, now or later.
    pub fn is_awaiting_enqueue(&self) -> bool {
        self.0.lifecycle.due_at.is_some()
    }

    /// The time at which it should be on the queue: its receipt, requeue or replay.
    pub fn enqueue_after(&self) -> UnixMillis {
        self.0.enqueue_after.unwrap_or(self.0.received_at)
    }
}
