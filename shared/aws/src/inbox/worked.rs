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

use inbox_core::bus::Effect;
use inbox_core::delivery::Subject;
use inbox_core::effect::look::Earlier;
use inbox_core::event::EventKey;
use inbox_core::inbox::{Desk, Reason, parked_expiry, record_expiry};
use inbox_core::limits::WORK_CLAIM_SECS;
use inbox_core::time::UnixMillis;

use super::reviewed::{PUBLISHED_UNTRACKED, REVISION};
use super::{Inbox, Written, stored_attributes};
use crate::Fault;
use crate::condition::{self, refused, standing};
use crate::item::{self, Item, Record, number, text};

pub(super) const UPDATE: &str = "dynamodb:UpdateItem";
/// Why an event was put back last.
pub(super) const RETRY_REASON: &str = "retry_reason";

/// An event that a worker has claimed: it alone may do its effect until the claim runs out.
#[derive(Clone, Debug)]
pub struct Work {
    record: Record,
    claim: String,
    /// How often it was put back before.
    pub works: u64,
    /// From when on it is worked on: when it reached us, or when an operator had it worked on again.
    pub since: UnixMillis,
    /// Whether it is worked on because an operator, or the poller, has made it due again after its end.
    pub by_operator: bool,
    /// What an earlier look at its batch has shown.
    pub earlier: Option<Earlier>,
    /// Whether it may be among its subject's open events.
    is_open: Arc<AtomicBool>,
    revision: u64,
}

/// What became of a worker's claim.
#[derive(Debug)]
pub enum WorkClaim {
    /// It is ours for a while.
    Ours(Box<Work>),
    /// Its effect has happened, or it was given up: there is nothing to do.
    Over,
    /// Another worker has claimed it.
    Taken,
    /// There is no such event.
    NotRecorded,
}

impl Work {
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
    pub(super) fn claim(&self) -> &str {
        &self.claim
    }

    /// What an announcement says of the event.
    pub fn effect(&self) -> Effect<'_> {
        Effect {
            key: &self.record.key,
            event_type: &self.record.event_type,
            origin: self.record.trace.origin,
            received_at: self.record.received_at,
            replay: self.record.replay,
            revision: self.revision,
        }
    }

    pub(super) fn may_be_open(&self) -> bool {
        self.is_open.load(Ordering::Relaxed)
    }

    pub(super) fn set_open(&self, is_open: bool) {
        self.is_open.store(is_open, Ordering::Relaxed);
    }

    fn read(item: &Item, claim: &str) -> Option<Self> {
        let record = Record::read(item)?;
        let works = item::parsed(item, "works").unwrap_or(0);
        let seen_at = item::parsed(item, "seen_at").map(UnixMillis);
        let earlier = item::string(item, "seen_digest").zip(seen_at);
        Some(Self {
            claim: claim.to_owned(),
            works,
            // Of one that was never put back it is known once it is counted.
            is_open: Arc::new(AtomicBool::new(works > 0)),
            by_operator: item.contains_key("since"),
            since: item::parsed(item, "since").map_or(record.received_at, UnixMillis),
            earlier: earlier.map(|(digest, at)| Earlier { digest: digest.to_owned(), at }),
            revision: item::parsed(item, REVISION).unwrap_or(1),
            record,
        })
    }
}

impl Inbox {
    /// Claims an event for a worker, by one conditional write that brings the record back.
    pub async fn claim_work(&self, key: &EventKey, now: UnixMillis) -> Result<WorkClaim, Fault> {
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
            .expression_attribute_values(":until", number(claim_end(now).0))
            .expression_attribute_values(":now", number(now.0))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let error = match update.send().await {
            Ok(answer) => {
                let work = answer.attributes.as_ref().and_then(|item| Work::read(item, &claim));
                return work.map(|work| WorkClaim::Ours(Box::new(work))).ok_or(Fault::item(UPDATE));
            }
            Err(error) => error,
        };
        if !refused(&error) {
            return Err(Fault::of(UPDATE, &error));
        }
        Ok(match standing(&error) {
            Some(item) if item.contains_key("done_at") || item.contains_key("quarantined_at") => {
                WorkClaim::Over
            }
            Some(item) if item.contains_key("delivery_id") => WorkClaim::Taken,
            _ => WorkClaim::NotRecorded,
        })
    }

    /// The payload of a claimed event.
    pub async fn work_payload(&self, work: &Work) -> Result<Vec<u8>, Fault> {
        self.payload_of(&work.record).await
    }

    /// Writes down that an event's effect has happened.
    pub async fn done(&self, work: &Work, now: UnixMillis) -> Result<Written, Fault> {
        let update = "done_at = :now, expires_at = :at \
                      REMOVE claim_by, claim_until, due, due_at, seen_digest, seen_at";
        let expires_at = record_expiry(now, self.retention_days);
        self.if_claimed(work, update, vec![(":now", number(now.0)), (":at", number(expires_at.0))]).await
    }

    /// The same for a batch that was published while nobody tracked it, with so many results: if there are more, it is
    /// published once more.
    pub async fn done_untracked(&self, work: &Work, results: u64, now: UnixMillis) -> Result<Written, Fault> {
        let update = format!(
            "done_at = :now, expires_at = :at, {PUBLISHED_UNTRACKED} = :results \
             REMOVE claim_by, claim_until, due, due_at, seen_digest, seen_at"
        );
        let expires_at = record_expiry(now, self.retention_days);
        let values =
            vec![(":now", number(now.0)), (":at", number(expires_at.0)), (":results", number(results))];
        self.if_claimed(work, &update, values).await
    }

    /// Makes an event due again: its effect cannot happen yet, for this reason. `seen` is what the look at its batch has
    /// shown.
    pub async fn put_back(
        &self,
        work: &Work,
        until: UnixMillis,
        reason: &'static str,
        seen: Option<&Earlier>,
    ) -> Result<Written, Fault> {
        let set_seen = if seen.is_some() { ", seen_digest = :digest, seen_at = :seen_at" } else { "" };
        let update = format!(
            "rev = rev + :one, due = :shard, due_at = :later, wanted_at = :later, works = :works, attempts = :zero, \
             {RETRY_REASON} = :reason{set_seen} \
             REMOVE claim_by, claim_until, sent_at, expires_at"
        );
        let mut values = vec![
            (":one", number(1)),
            (":zero", number(0)),
            (":works", number(work.works.saturating_add(1))),
            (":shard", text(Desk::Outbox.shard(&work.record.key.pk()))),
            (":later", number(until.0)),
            (":reason", text(reason)),
        ];
        if let Some(seen) = seen {
            values.extend([(":digest", text(&seen.digest)), (":seen_at", number(seen.at.0))]);
        }
        self.if_claimed(work, &update, values).await
    }

    /// Gives an event up and keeps its bytes in quarantine: its effect cannot happen as it is.
    pub async fn quarantine_work(
        &self,
        work: &Work,
        reason: Reason,
        now: UnixMillis,
    ) -> Result<Written, Fault> {
        let record = &mut work.record.clone();
        let expires_at = parked_expiry(now, self.retention_days);
        self.keep_parts_that_stand(record, expires_at, now).await?;
        let hash = &record.trace.payload_hash;
        let mut kept = stored_attributes(&record.stored, hash, record.payload_bytes);
        kept.insert("event_id".to_owned(), text(record.key.event_id()));
        let whose = (record.key.provider(), record.subject.as_ref(), hash.as_str());
        self.keep(whose, kept, reason, now).await?;
        let update = "quarantined_at = :now, expires_at = :at \
                      REMOVE claim_by, claim_until, due, due_at, seen_digest, seen_at";
        self.if_claimed(work, update, vec![(":now", number(now.0)), (":at", number(expires_at.0))]).await
    }

    async fn if_claimed(
        &self,
        work: &Work,
        set: &str,
        values: Vec<(&str, AttributeValue)>,
    ) -> Result<Written, Fault> {
        let mut update = self
            .db
            .update_item()
            .table_name(&self.table)
            .set_key(Some(work.record.place()))
            .condition_expression("claim_by = :mine")
            .expression_attribute_values(":mine", text(&work.claim));
        for (name, value) in values {
            update = update.expression_attribute_values(name, value);
        }
        // A request of the claim itself may still be on its way: it must not claim the event once more.
        condition::update(update, &format!("ended_by = :mine, {set}")).await
    }
}

pub(super) fn claim_end(now: UnixMillis) -> UnixMillis {
    now.plus(Duration::from_secs(WORK_CLAIM_SECS))
}
