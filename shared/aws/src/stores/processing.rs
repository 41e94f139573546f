//! The worker's claim on an event, and the ways in which it ends.
//!
//! ```text
//!  worker    claim if not done and not claimed ── effect ── done if claim=mine
//!                                                   ├ not yet: rev+1, due again, claim dropped, if claim=mine
//!                                                   └ impossible: to quarantine, if claim=mine
//! ```
//!
//! A claim lasts longer than the function that made it can run, so an expired claim means that its worker is gone. A claim
//! leaves `rev` unchanged: a late mark of the webhook function or the relay is valid as long as the event was not requeued.
//!
//! An alert has a second claim, see [`alert_claims`].

mod alert_claims;
mod untracked_slots;

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use uuid::Uuid;

use inbox_core::due_queue::DueQueue;
use inbox_core::effect::{Publication, RequeueDetails};
use inbox_core::event::EventKey;
use inbox_core::expiry::record_expiry;
use inbox_core::limits::PROCESSING_CLAIM_SECS;
use inbox_core::poll::batch::ResultsFound;
use inbox_core::quarantine::QuarantineReason;
use inbox_core::time::{UnixMillis, UnixSecs};

use crate::AwsError;
use crate::items::EventRecord;
use crate::items::event_record::is_event_record;
use crate::resources::{Actions, Resource};
use crate::table::attribute::Attribute;
use crate::table::key::Key;
use crate::table::update::Update;
use crate::table::value::has;
use crate::table::{Table, UPDATE, WriteOutcome};

pub use alert_claims::{AcquiredAlert, AlertClaim};

/// Claims events and alerts for a worker.
#[derive(Clone, Debug)]
pub struct Processing {
    table: Table,
}

/// An event that a worker has claimed: only that worker may process it until the claim expires.
#[derive(Clone, Debug)]
pub struct ClaimedEvent {
    record: EventRecord,
    claim_id: String,
    /// True if it may hold one of its subject's slots for untracked batches.
    may_hold_slot: Arc<AtomicBool>,
}

/// Outcome of a worker's claim.
#[derive(Debug)]
pub enum EventClaim {
    /// The event is claimed, until the claim expires.
    Acquired(Box<ClaimedEvent>),
    /// The event is done or quarantined: there is nothing to do.
    AlreadyDone,
    /// Another worker holds a claim that has not expired.
    HeldByOther,
    /// The table holds no record of the event.
    NotRecorded,
}

impl ClaimedEvent {
    fn new(record: EventRecord, claim_id: String) -> Self {
        // An event that was never requeued holds no slot before it acquires one.
        let may_hold_slot = Arc::new(AtomicBool::new(record.lifecycle.requeues > 0));
        Self { record, claim_id, may_hold_slot }
    }

    /// Number of times that it was requeued before.
    pub fn requeues(&self) -> u64 {
        self.record.lifecycle.requeues
    }

    fn may_hold_slot(&self) -> bool {
        self.may_hold_slot.load(Ordering::Relaxed)
    }

    fn set_may_hold_slot(&self, may_hold_slot: bool) {
        self.may_hold_slot.store(may_hold_slot, Ordering::Relaxed);
    }

    /// The update that ends this claim, if it is still held.
    fn end(&self) -> Update {
        Update::ending_claim(self.record.table_key(), &self.claim_id)
    }

    /// The update that ends this claim and the event's cycle.
    fn end_cycle(&self, end: Attribute, now: UnixMillis, expires_at: UnixSecs) -> Update {
        self.end()
            .set(end, &now)
            .set(Attribute::ExpiresAt, &expires_at)
            // The record may still be due here, because the mark after the send can fail or be late.
            .end_due()
            .remove(&[Attribute::SnapshotDigest, Attribute::SnapshotAt])
    }
}

/// The record of the event, as it was when it was claimed.
impl Deref for ClaimedEvent {
    type Target = EventRecord;

    fn deref(&self) -> &EventRecord {
        &self.record
    }
}

impl Processing {
    /// The actions of this store.
    pub const ACTIONS: Actions = &[(Resource::InboxTable, &["dynamodb:GetItem", "dynamodb:UpdateItem"])];

    /// Creates the store.
    pub fn new(table: Table) -> Self {
        Self { table }
    }

    /// Claims an event for a worker, by one conditional write that also returns the record.
    pub async fn claim_event(&self, key: &EventKey, now: UnixMillis) -> Result<EventClaim, AwsError> {
        let claim_id = Uuid::new_v4().simple().to_string();
        let is_free = Attribute::ClaimUntil
            .is_missing()
            .or(Attribute::ClaimUntil.is_below(&now))
            // The SDK may repeat this request after its response was lost.
            .or(Attribute::ClaimBy.equals(&claim_id));
        let update = Update::without_rev(Key::event(key))
            // Without this condition, the update would create an item for an unknown event.
            .only_if(Attribute::DeliveryId.exists())
            .only_if(Attribute::DoneAt.is_missing())
            .only_if(Attribute::QuarantinedAt.is_missing())
            .only_if(is_free)
            .only_if(Attribute::EndedBy.is_missing().or(Attribute::EndedBy.differs_from(&claim_id)))
            .set(Attribute::ClaimBy, &claim_id)
            .set(Attribute::ClaimUntil, &claim_expiry(now));
        match self.table.update_returning(update).await? {
            Ok(item) => {
                let record = EventRecord::from_item(&item).ok_or(AwsError::unreadable_item(UPDATE))?;
                Ok(EventClaim::Acquired(Box::new(ClaimedEvent::new(record, claim_id))))
            }
            Err(Some(item)) if has(&item, Attribute::DoneAt) || has(&item, Attribute::QuarantinedAt) => {
                Ok(EventClaim::AlreadyDone)
            }
            Err(Some(item)) if is_event_record(&item) => Ok(EventClaim::HeldByOther),
            Err(_) => Ok(EventClaim::NotRecorded),
        }
    }

    /// Loads the payload of a claimed event.
    pub async fn claimed_payload(&self, event: &ClaimedEvent) -> Result<Vec<u8>, AwsError> {
        self.table.load_payload(&event.payload).await
    }

    /// Marks an event as done: its effect has happened. Conflicts unless the claim is still this worker's own.
    ///
    /// Of an untracked batch, the number of results is stored once more: if the API shows more after the batch is
    /// tracked, it is published again.
    pub async fn mark_done(
        &self,
        event: &ClaimedEvent,
        publication: &Publication,
        now: UnixMillis,
    ) -> Result<WriteOutcome, AwsError> {
        let expires_at = record_expiry(now, self.table.retention_days);
        let untracked = publication.count.filter(|_| publication.is_of_untracked_batch);
        let update = event
            .end_cycle(Attribute::DoneAt, now, expires_at)
            .set_some(Attribute::PublishedCount, publication.count.as_ref())
            .set_some(Attribute::PublishedUntracked, untracked.as_ref());
        self.table.update_once(update).await
    }

    /// Requeues an event whose effect cannot happen yet: it is due again at `until`.
    pub async fn requeue(
        &self,
        event: &ClaimedEvent,
        until: UnixMillis,
        details: &RequeueDetails,
        now: UnixMillis,
    ) -> Result<WriteOutcome, AwsError> {
        let snapshot = details.snapshot.as_ref();
        let results_found = ResultsFound::updated(event.results_found, details.results_found, now);
        let update = event
            .end()
            .increment(Attribute::Rev)
            .make_due(DueQueue::Outbox, until)
            .set(Attribute::EnqueueAfter, &until)
            .set(Attribute::Requeues, &event.requeues().saturating_add(1))
            // It begins anew, because the relay's pauses grow with it.
            .set(Attribute::Attempts, &0_u64)
            .set(Attribute::RetryReason, details.reason)
            .set_some(Attribute::ResultsFound, results_found.as_ref())
            .set_some(Attribute::SnapshotDigest, snapshot.map(|snapshot| &snapshot.digest))
            .set_some(Attribute::SnapshotAt, snapshot.map(|snapshot| &snapshot.at))
            // A due record must not expire.
            .remove(&[Attribute::SentAt, Attribute::ExpiresAt]);
        self.table.update_once(update).await
    }

    /// Quarantines an event whose effect cannot happen, and its bytes with it.
    pub async fn quarantine_event(
        &self,
        event: &ClaimedEvent,
        reason: QuarantineReason,
        now: UnixMillis,
    ) -> Result<WriteOutcome, AwsError> {
        let expires_at = self.table.quarantine_event_bytes(&event.record, reason, now).await?;
        self.table.update_once(event.end_cycle(Attribute::QuarantinedAt, now, expires_at)).await
    }
}

fn claim_expiry(now: UnixMillis) -> UnixMillis {
    now.plus(Duration::from_secs(PROCESSING_CLAIM_SECS))
}
