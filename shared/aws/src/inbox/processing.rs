//! What the worker does with an event that came by the queue.
//!
//! ```text
//!  worker    claim if not done and not claimed ── effect ── done if claim=mine
//!                                                   ├ not yet: rev+1, due again, claim dropped, if claim=mine
//!                                                   └ cannot be: to quarantine, if claim=mine
//! ```
//!
//! A claim outlives the function that made it, so who finds it run out knows that its maker is gone. It leaves `rev`
//! alone: a late mark of the handler or the relay is good as long as nobody has put the event back.
//!
//! An alert has a second claim, see [`super::alert_effects`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use uuid::Uuid;

use inbox_core::bus::EventMeta;
use inbox_core::delivery::Subject;
use inbox_core::effect::batch_snapshot::PreviousSnapshot;
use inbox_core::event::EventKey;
use inbox_core::inbox::{DueQueue, QuarantineReason, quarantined_record_expiry, record_expiry};
use inbox_core::limits::PROCESSING_CLAIM_SECS;
use inbox_core::time::UnixMillis;

use super::poller_requeue::{PUBLISHED_UNTRACKED, REVISION};
use super::{Inbox, WriteOutcome, payload_attributes};
use crate::AwsError;
use crate::conditional::{self, condition_failed, existing_item};
use crate::item::{self, EventRecord, Item, number, text};

pub(super) const UPDATE: &str = "dynamodb:UpdateItem";
/// Why an event was put back last.
pub(super) const RETRY_REASON: &str = "retry_reason";

/// An event that a worker has claimed: it alone may do its effect until the claim runs out.
#[derive(Clone, Debug)]
pub struct ClaimedEvent {
    record: EventRecord,
    claim_id: String,
    /// How often it was put back before.
    pub requeues: u64,
    /// From when on it is worked on: when it reached us, or when an operator had it worked on again.
    pub processing_since: UnixMillis,
    /// Whether it is worked on because an operator, or the poller, has made it due again after its end.
    pub is_reprocessed: bool,
    /// What an earlier look at its batch has shown.
    pub previous_snapshot: Option<PreviousSnapshot>,
    /// Whether it may be among its subject's open events.
    may_hold_slot: Arc<AtomicBool>,
    revision: u64,
}

/// What became of a worker's claim.
#[derive(Debug)]
pub enum EventClaim {
    /// It is ours for a while.
    Acquired(Box<ClaimedEvent>),
    /// Its effect has happened, or it was given up: there is nothing to do.
    AlreadyDone,
    /// Another worker has claimed it.
    HeldByOther,
    /// There is no such event.
    NotRecorded,
}

impl ClaimedEvent {
    /// The event.
    pub fn key(&self) -> &EventKey {
        &self.record.key
    }

    /// Whose URL it came by, if it came by one.
    pub fn subject(&self) -> Option<&Subject> {
        self.record.subject.as_ref()
    }

    /// How often it was replayed on purpose; 0 for never.
    pub fn replay(&self) -> u64 {
        self.record.replay
    }

    /// The random id of the claim.
    pub(super) fn claim_id(&self) -> &str {
        &self.claim_id
    }

    /// What an announcement says of the event.
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
        let works = item::parsed_number(item, "works").unwrap_or(0);
        let seen_at = item::parsed_number(item, "seen_at").map(UnixMillis);
        let earlier = item::string(item, "seen_digest").zip(seen_at);
        Some(Self {
            claim_id: claim.to_owned(),
            requeues: works,
            // Of one that was never put back it is known once it is counted.
            may_hold_slot: Arc::new(AtomicBool::new(works > 0)),
            is_reprocessed: item.contains_key("since"),
            processing_since: item::parsed_number(item, "since").map_or(record.received_at, UnixMillis),
            previous_snapshot: earlier.map(|(digest, at)| PreviousSnapshot { digest: digest.to_owned(), at }),
            revision: item::parsed_number(item, REVISION).unwrap_or(1),
            record,
        })
    }
}

impl Inbox {
    /// Claims an event for a worker, by one conditional write that brings the record back.
    pub async fn claim_event(&self, key: &EventKey, now: UnixMillis) -> Result<EventClaim, AwsError> {
        let claim = Uuid::new_v4().simple().to_string();
        let update = self
            .db
            .update_item()
            .table_name(&self.table)
            .set_key(Some(item::key(&key.pk(), &key.sk())))
            .update_expression("SET claim_by = :mine, claim_until = :until")
            .condition_expression(
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

    /// The payload of a claimed event.
    pub async fn claimed_payload(&self, event: &ClaimedEvent) -> Result<Vec<u8>, AwsError> {
        self.payload_of(&event.record).await
    }

    /// Writes down that an event's effect has happened.
    pub async fn mark_done(&self, event: &ClaimedEvent, now: UnixMillis) -> Result<WriteOutcome, AwsError> {
        let update = "done_at = :now, expires_at = :at \
                      REMOVE claim_by, claim_until, due, due_at, seen_digest, seen_at";
        let expires_at = record_expiry(now, self.retention_days);
        self.update_if_claimed(event, update, vec![(":now", number(now.0)), (":at", number(expires_at.0))])
            .await
    }

    /// The same for a batch that was published while nobody tracked it, with so many results: if there are more, it is
    /// published once more.
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

    /// Makes an event due again: its effect cannot happen yet, for this reason. `seen` is what the look at its batch has
    /// shown.
    pub async fn requeue(
        &self,
        event: &ClaimedEvent,
        until: UnixMillis,
        reason: &'static str,
        snapshot: Option<&PreviousSnapshot>,
    ) -> Result<WriteOutcome, AwsError> {
        let set_snapshot =
            if snapshot.is_some() { ", seen_digest = :digest, seen_at = :seen_at" } else { "" };
        let update = format!(
            "rev = rev + :one, due = :shard, due_at = :later, wanted_at = :later, works = :works, attempts = :zero, \
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

    /// Gives an event up and keeps its bytes in quarantine: its effect cannot happen as it is.
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
        // A request of the claim itself may still be on its way: it must not claim the event once more.
        conditional::update(update, &format!("ended_by = :mine, {set}")).await
    }
}

pub(super) fn claim_expiry(now: UnixMillis) -> UnixMillis {
    now.plus(Duration::from_secs(PROCESSING_CLAIM_SECS))
}
