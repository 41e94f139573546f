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
//! An alert has a second claim, on its `effect#alert` item: two events may tell of the same authorizer in the same batch.

use std::time::Duration;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::operation::update_item::{UpdateItemError, UpdateItemOutput};
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use uuid::Uuid;

use inbox_core::bus::Effect;
use inbox_core::delivery::Subject;
use inbox_core::effect::look::Earlier;
use inbox_core::event::{EventKey, Id, batch_pk};
use inbox_core::inbox::{Desk, Reason, parked_expiry, parts_expiry, record_expiry};
use inbox_core::limits::WORK_CLAIM_SECS;
use inbox_core::time::UnixMillis;

use super::tracked::EFFECT;
use super::{Inbox, Written, stored_attributes};
use crate::Fault;
use crate::condition::{refused, standing};
use crate::item::{self, Item, Record, number, text};

const UPDATE: &str = "dynamodb:UpdateItem";

/// An event that a worker has claimed: it alone may do its effect until the claim runs out.
#[derive(Clone, Debug)]
pub struct Work {
    record: Record,
    claim: String,
    /// How often it was put back before.
    pub works: u64,
    /// From when on it is worked on: when it reached us, or when an operator had it worked on again.
    pub since: UnixMillis,
    /// What an earlier look at its batch has shown.
    pub earlier: Option<Earlier>,
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

/// What became of a claim on one authorizer's alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertClaim {
    /// It is this event's to publish.
    Ours,
    /// It has been published.
    Published,
    /// Another event's worker is about to publish it.
    Taken,
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

    /// What an announcement says of the event.
    pub fn effect(&self) -> Effect<'_> {
        Effect {
            key: &self.record.key,
            event_type: &self.record.event_type,
            origin: self.record.trace.origin,
            received_at: self.record.received_at,
            replay: self.record.replay,
        }
    }

    fn read(item: &Item, claim: &str) -> Option<Self> {
        let record = Record::read(item)?;
        let seen_at = item::parsed(item, "seen_at").map(UnixMillis);
        let earlier = item::string(item, "seen_digest").zip(seen_at);
        Some(Self {
            claim: claim.to_owned(),
            works: item::parsed(item, "works").unwrap_or(0),
            since: item::parsed(item, "since").map_or(record.received_at, UnixMillis),
            earlier: earlier.map(|(digest, at)| Earlier { digest: digest.to_owned(), at }),
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
                 AND (attribute_not_exists(claim_until) OR claim_until < :now OR claim_by = :mine)",
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
        let update = "SET done_at = :now, expires_at = :at \
                      REMOVE claim_by, claim_until, due, due_at, seen_digest, seen_at";
        let expires_at = record_expiry(now, self.retention_days);
        self.if_claimed(work, update, vec![(":now", number(now.0)), (":at", number(expires_at.0))]).await
    }

    /// Makes an event due again: its effect cannot happen yet. `seen` is what the look at its batch has shown.
    pub async fn put_back(
        &self,
        work: &Work,
        until: UnixMillis,
        seen: Option<&Earlier>,
    ) -> Result<Written, Fault> {
        let set_seen = if seen.is_some() { ", seen_digest = :digest, seen_at = :seen_at" } else { "" };
        let update = format!(
            "SET rev = rev + :one, due = :shard, due_at = :later, wanted_at = :later, works = :works, attempts = :zero{set_seen} \
             REMOVE claim_by, claim_until, sent_at, expires_at"
        );
        let mut values = vec![
            (":one", number(1)),
            (":zero", number(0)),
            (":works", number(work.works.saturating_add(1))),
            (":shard", text(Desk::Outbox.shard(&work.record.key.pk()))),
            (":later", number(until.0)),
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
        self.keep_parts(record, expires_at, now).await?;
        let hash = &record.trace.payload_hash;
        let mut kept = stored_attributes(&record.stored, hash, record.payload_bytes);
        kept.insert("event_id".to_owned(), text(record.key.event_id()));
        self.keep(record.key.provider().as_str(), hash, kept, reason, now).await?;
        let update = "SET quarantined_at = :now, expires_at = :at \
                      REMOVE claim_by, claim_until, due, due_at, seen_digest, seen_at";
        self.if_claimed(work, update, vec![(":now", number(now.0)), (":at", number(expires_at.0))]).await
    }

    /// Claims the alert of one authorizer in one batch for this event. A claim of its own that has run out, or was made
    /// before by the same event, is as good as none: who holds the event's claim is alone with it.
    pub async fn claim_alert(
        &self,
        work: &Work,
        authorizer: &Id,
        now: UnixMillis,
    ) -> Result<AlertClaim, Fault> {
        // Of two events that were replayed each has its effect again: the numbers are each event's own.
        let another = if work.record.replay > 0 { " OR event_id <> :event" } else { "" };
        let update = self
            .update_alert(work, authorizer)?
            .update_expression(
                "SET event_id = :event, claim_by = :mine, claim_until = :until, replay = :replay, expires_at = :at",
            )
            .condition_expression(format!(
                "attribute_not_exists(pk) OR (attribute_not_exists(claim_by) AND (replay < :replay{another})) \
                 OR (attribute_exists(claim_by) AND (claim_until < :now OR event_id = :event OR claim_by = :mine))",
            ))
            // It outlives whatever may name it again: also an event that an operator takes out of quarantine.
            .expression_attribute_values(":at", number(parts_expiry(now, self.retention_days).0))
            .expression_attribute_values(":until", number(claim_end(now).0))
            .expression_attribute_values(":now", number(now.0))
            .expression_attribute_values(":event", text(work.record.key.event_id()))
            .expression_attribute_values(":replay", number(work.record.replay))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match update.send().await {
            Ok(_) => Ok(AlertClaim::Ours),
            Err(error) if !refused(&error) => Err(Fault::of(UPDATE, &error)),
            Err(error) => match standing(&error) {
                Some(item) if !item.contains_key("claim_by") => Ok(AlertClaim::Published),
                _ => Ok(AlertClaim::Taken),
            },
        }
    }

    /// Writes down that an authorizer's alert is on the bus.
    pub async fn alert_published(
        &self,
        work: &Work,
        authorizer: &Id,
        now: UnixMillis,
    ) -> Result<Written, Fault> {
        let update = self
            .update_alert(work, authorizer)?
            .update_expression("SET published_at = :now REMOVE claim_by, claim_until")
            .condition_expression("claim_by = :mine")
            .expression_attribute_values(":now", number(now.0));
        written(update.send().await)
    }

    fn update_alert(&self, work: &Work, authorizer: &Id) -> Result<UpdateItemFluentBuilder, Fault> {
        let batch_id = work.record.key.batch_id().ok_or(Fault::item(UPDATE))?;
        let place = item::key(&batch_pk(batch_id), &format!("{EFFECT}{}", authorizer.as_str()));
        let update = self.db.update_item().table_name(&self.table).set_key(Some(place));
        Ok(update.expression_attribute_values(":mine", text(&work.claim)))
    }

    async fn if_claimed(
        &self,
        work: &Work,
        expression: &str,
        values: Vec<(&str, AttributeValue)>,
    ) -> Result<Written, Fault> {
        let mut update = self
            .db
            .update_item()
            .table_name(&self.table)
            .set_key(Some(work.record.place()))
            .update_expression(expression)
            .condition_expression("claim_by = :mine")
            .expression_attribute_values(":mine", text(&work.claim));
        for (name, value) in values {
            update = update.expression_attribute_values(name, value);
        }
        written(update.send().await)
    }
}

fn claim_end(now: UnixMillis) -> UnixMillis {
    now.plus(Duration::from_secs(WORK_CLAIM_SECS))
}

type Answer<R> = Result<UpdateItemOutput, SdkError<UpdateItemError, R>>;

fn written<R>(answer: Answer<R>) -> Result<Written, Fault> {
    match answer {
        Ok(_) => Ok(Written::Applied),
        Err(error) if refused(&error) => Ok(Written::Overtaken),
        Err(error) => Err(Fault::of(UPDATE, &error)),
    }
}
