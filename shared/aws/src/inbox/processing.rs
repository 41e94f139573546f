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
//! An alert has a second claim, see [`super::alert_claims`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use uuid::Uuid;

use inbox_core::bus::EventMeta;
use inbox_core::due_queue::DueQueue;
use inbox_core::effect::batch_snapshot::PreviousSnapshot;
use inbox_core::event::EventKey;
use inbox_core::expiry::{quarantined_record_expiry, record_expiry};
use inbox_core::limits::PROCESSING_CLAIM_SECS;
use inbox_core::quarantine::QuarantineReason;
use inbox_core::subject::Subject;
use inbox_core::time::UnixMillis;

use super::poller_requeue::{PUBLISHED_UNTRACKED, REVISION};
use super::{Inbox, WriteOutcome, payload_attributes};
use crate::AwsError;
use crate::conditional::{self, condition_failed, existing_item};
use crate::item::{self, EventRecord, Item, number, text};

pub(super) const UPDATE: &str = "dynamodb:UpdateItem";
/// Attribute: why a worker last requeued the event.
pub(super) const RETRY_REASON: &str = "retry_reason";

/// An event that a worker has claimed: only that worker may process it until the claim expires.
#[derive(Clone, Debug)]
pub struct ClaimedEvent {
    record: EventRecord,
    claim_id: String,
    /// Number of times that it was requeued before.
    pub requeues: u64,
    /// Start of its processing: when it was received, or when it was last made due again after its end.
    pub processing_since: UnixMillis,
    /// True if an operator or the poller made it due again after its end.
    pub is_reprocessed: bool,
    /// The result of the previous read of its batch, if it was requeued after one.
    pub previous_snapshot: Option<PreviousSnapshot>,
    /// True if it may hold one of its subject's slots for untracked batches.
    may_hold_slot: Arc<AtomicBool>,
    revision: u64,
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
    /// The key of the event.
    pub fn key(&self) -> &EventKey {
        &self.record.key
    }

    /// The subject of the webhook URL that it came by, if it came by one.
    pub fn subject(&self) -> Option<&Subject> {
        self.record.subject.as_ref()
    }

    /// Number of times that it was replayed on purpose.
    pub fn replay(&self) -> u64 {
        self.record.replay
    }

    pub(super) fn claim_id(&self) -> &str {
        &self.claim_id
    }

    /// The metadata of the event, for the events that are published on the bus.
    pub fn event_meta(&self) -> EventMeta<'_> {
        EventMeta {
            key: &self.record.key,
            event_type: &self.record.event_type,
            origin: self.record.identity.origin,
            received_at: self.record.received_at,
            replay: self.record.replay,
            revision: self.revision,
        }
    }

    pub(super) fn may_hold_slot(&self) -> bool {
        self.may_hold_slot.load(Ordering::Relaxed)
    }

    pub(super) fn set_may_hold_slot(&self, may_hold_slot: bool) {
        self.may_hold_slot.store(may_hold_slot, Ordering::Relaxed);
    }

    fn from_item(item: &Item, claim: &str) -> Option<Self> {
        let record = EventRecord::from_item(item)?;
        let requeues = item::parsed_number(item, "works").unwrap_or(0);
        let seen_at = item::parsed_number(item, "seen_at").map(UnixMillis);
        let earlier = item::string(item, "seen_digest").zip(seen_at);
        Some(Self {
            claim_id: claim.to_owned(),
            requeues,
            // An event that was never requeued holds no slot before it acquires one.
            may_hold_slot: Arc::new(AtomicBool::new(requeues > 0)),
            is_reprocessed: item.contains_key("since"),
            processing_since: item::parsed_number(item, "since").map_or(record.received_at, UnixMillis),
            previous_snapshot: earlier.map(|(digest, at)| PreviousSnapshot { digest: digest.to_owned(), at }),
            revision: item::parsed_number(item, REVISION).unwrap_or(1),
            record,
        })
    }
}

impl Inbox {
    /// Claims an event for a worker, by one conditional write that also returns the record.
    pub async fn claim_event(&self, key: &EventKey, now: UnixMillis) -> Result<EventClaim, AwsError> {
        let claim = Uuid::new_v4().simple().to_string();
        let update = self
            .db
            .update_item()
            .table_name(&self.table)
            .set_key(Some(item::key(&key.pk(), &key.sk())))
            // `claim_by = :mine` in the condition: the SDK may repeat this request after its response was lost.
            .update_expression("SET claim_by = :mine, claim_until = :until")
            .condition_expression(
                // Without the first condition, the update would create an item for an unknown event.
                "attribute_exists(delivery_id) AND attribute_not_exists(done_at) AND attribute_not_exists(quarantined_at) \
                 AND (attribute_not_exists(claim_until) OR claim_until < :now OR claim_by = :mine) \
                 AND (attribute_not_exists(ended_by) OR ended_by <> :mine)",
            )
            .expression_attribute_values(":mine", text(&claim))
            .expression_attribute_values(":until", number(claim_expiry(now).0))
            .expression_attribute_values(":now", number(now.0))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let error = match update.send().await {
            Ok(answer) => {
                let event = answer.attributes.as_ref().and_then(|item| ClaimedEvent::from_item(item, &claim));
                return event
                    .map(|event| EventClaim::Acquired(Box::new(event)))
                    .ok_or(AwsError::unreadable_item(UPDATE));
            }
            Err(error) => error,
        };
        if !condition_failed(&error) {
            return Err(AwsError::from_sdk_error(UPDATE, &error));
        }
        Ok(match existing_item(&error) {
            Some(item) if item.contains_key("done_at") || item.contains_key("quarantined_at") => {
                EventClaim::AlreadyDone
            }
            Some(item) if item.contains_key("delivery_id") => EventClaim::HeldByOther,
            _ => EventClaim::NotRecorded,
        })
    }

    /// Loads the payload of a claimed event.
    pub async fn claimed_payload(&self, event: &ClaimedEvent) -> Result<Vec<u8>, AwsError> {
        self.payload_of(&event.record).await
    }

    /// Marks an event as done: its effect has happened. Conflicts if the claim was lost.
    pub async fn mark_done(&self, event: &ClaimedEvent, now: UnixMillis) -> Result<WriteOutcome, AwsError> {
        // The record may still be due here, because the mark after the send can fail or be late.
        let update = "done_at = :now, expires_at = :at \
                      REMOVE claim_by, claim_until, due, due_at, seen_digest, seen_at";
        let expires_at = record_expiry(now, self.retention_days);
        self.update_if_claimed(event, update, vec![(":now", number(now.0)), (":at", number(expires_at.0))])
            .await
    }

    /// Marks the event of an untracked batch as done, which was published with `results` results. If the API
    /// shows more later, the batch is published once more.
    pub async fn mark_done_untracked(
        &self,
        event: &ClaimedEvent,
        results: u64,
        now: UnixMillis,
    ) -> Result<WriteOutcome, AwsError> {
        let update = format!(
            "done_at = :now, expires_at = :at, {PUBLISHED_UNTRACKED} = :results \
             REMOVE claim_by, claim_until, due, due_at, seen_digest, seen_at"
        );
        let expires_at = record_expiry(now, self.retention_days);
        let values =
            vec![(":now", number(now.0)), (":at", number(expires_at.0)), (":results", number(results))];
        self.update_if_claimed(event, &update, values).await
    }

    /// Requeues an event whose effect cannot happen yet: it is due again at `until`.
    ///
    /// `reason` is stored for operators; `snapshot` is the result of the latest read of its batch, if it was
    /// read.
    pub async fn requeue(
        &self,
        event: &ClaimedEvent,
        until: UnixMillis,
        reason: &'static str,
        snapshot: Option<&PreviousSnapshot>,
    ) -> Result<WriteOutcome, AwsError> {
        let set_snapshot =
            if snapshot.is_some() { ", seen_digest = :digest, seen_at = :seen_at" } else { "" };
        // A due record must not expire. `attempts` begins anew, because the relay's pauses grow with it.
        let update = format!(
            "rev = rev + :one, due = :shard, due_at = :later, enqueue_after = :later, works = :works, attempts = :zero, \
             {RETRY_REASON} = :reason{set_snapshot} \
             REMOVE claim_by, claim_until, sent_at, expires_at"
        );
        let mut values = vec![
            (":one", number(1)),
            (":zero", number(0)),
            (":works", number(event.requeues.saturating_add(1))),
            (":shard", text(DueQueue::Outbox.shard(&event.record.key.pk()))),
            (":later", number(until.0)),
            (":reason", text(reason)),
        ];
        if let Some(snapshot) = snapshot {
            values.extend([(":digest", text(&snapshot.digest)), (":seen_at", number(snapshot.at.0))]);
        }
        self.update_if_claimed(event, &update, values).await
    }

    /// Quarantines an event whose effect cannot happen, and its bytes with it.
    pub async fn quarantine_event(
        &self,
        event: &ClaimedEvent,
        reason: QuarantineReason,
        now: UnixMillis,
    ) -> Result<WriteOutcome, AwsError> {
        let record = &mut event.record.clone();
        let expires_at = quarantined_record_expiry(now, self.retention_days);
        self.extend_parts_expiry_if_present(record, expires_at, now).await?;
        let hash = &record.identity.payload_hash;
        let mut attributes = payload_attributes(&record.payload_location, hash, record.payload_bytes);
        attributes.insert("event_id".to_owned(), text(record.key.event_id()));
        let delivery = (record.key.provider(), record.subject.as_ref(), hash.as_str());
        // The bytes first: after a crash in between, the event is still due, and the item only counts one more
        // delivery.
        self.put_quarantined(delivery, attributes, reason, now).await?;
        let update = "quarantined_at = :now, expires_at = :at \
                      REMOVE claim_by, claim_until, due, due_at, seen_digest, seen_at";
        self.update_if_claimed(event, update, vec![(":now", number(now.0)), (":at", number(expires_at.0))])
            .await
    }

    async fn update_if_claimed(
        &self,
        event: &ClaimedEvent,
        set: &str,
        values: Vec<(&str, AttributeValue)>,
    ) -> Result<WriteOutcome, AwsError> {
        let mut update = self
            .db
            .update_item()
            .table_name(&self.table)
            .set_key(Some(event.record.table_key()))
            .condition_expression("claim_by = :mine")
            .expression_attribute_values(":mine", text(&event.claim_id));
        for (name, value) in values {
            update = update.expression_attribute_values(name, value);
        }
        // A delayed retry of the claim request must not claim the event again: `ended_by` stops it.
        conditional::update(update, &format!("ended_by = :mine, {set}")).await
    }
}

pub(super) fn claim_expiry(now: UnixMillis) -> UnixMillis {
    now.plus(Duration::from_secs(PROCESSING_CLAIM_SECS))
}
