//! Events that are made due again because an operator asked, and the audit entry of it.
//!
//! ```text
//!  quarantined  requeue: due now, rev+1 if rev=seen and quarantined ── relay ── …
//!  done         replay:  due now, rev+1, replay+1 if rev=seen and done ── relay ── …
//!  sent         lost:    due now, rev+1 if rev=seen, sent, not done, not claimed ── relay ── …
//! ```
//!
//! Of two operators who read the same state, one is applied.

use aws_sdk_dynamodb::types::AttributeValue;

use inbox_core::audit::{AuditEntry, message_expiry};
use inbox_core::due_queue::{DueQueue, first_due_at};
use inbox_core::event::EventKey;
use inbox_core::expiry::record_expiry;
use inbox_core::lifecycle::EventState;
use inbox_core::time::UnixMillis;

use super::quarantine::APPEND_AUDIT_ENTRY;
use super::{Inbox, past_cycles};
use crate::AwsError;
use crate::conditional::condition_failed;
use crate::item::{self, number, text};

/// Outcome of making an event due again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplayOutcome {
    /// The event is due: the relay enqueues it.
    Due {
        /// Number of times that it was replayed on purpose, this time included.
        replay: u64,
    },
    /// The event is in another state than it can be made due again from.
    WrongState(EventState),
    /// The queues may still hold its message.
    MayStillBeQueued {
        /// The time until which they may hold it.
        until: UnixMillis,
    },
    /// The record was changed meanwhile; nothing was done.
    Conflict,
    /// There is no such event, or its record has expired.
    NotFound,
}

/// The state that an event is made due again from.
#[derive(Clone, Copy, Debug)]
enum ReplayFrom {
    Quarantined,
    Done,
    /// Sent, according to its record, but its message is gone.
    Lost {
        was_purged: bool,
    },
}

impl ReplayFrom {
    const fn state(self) -> EventState {
        match self {
            Self::Quarantined => EventState::Quarantined,
            Self::Done => EventState::Done,
            Self::Lost { .. } => EventState::Sent,
        }
    }

    /// The condition of the write, besides `rev`.
    const fn condition(self) -> &'static str {
        match self {
            Self::Quarantined => "attribute_exists(quarantined_at)",
            Self::Done => "attribute_exists(done_at)",
            // A claim leaves `rev` unchanged: a message that turns up after all may be in process.
            Self::Lost { .. } => {
                "attribute_exists(sent_at) AND attribute_not_exists(done_at) \
                 AND attribute_not_exists(quarantined_at) \
                 AND (attribute_not_exists(claim_until) OR claim_until < :now)"
            }
        }
    }
}

/// The update clause that starts a new cycle of a record.
pub(super) const RESTART_SET: &str = "rev = rev + :one, due = :shard, due_at = :now, enqueue_after = :now, works = :zero, \
    attempts = :zero, refusals = :zero, since = :now, past_cycles = :cycles";
/// The attributes of the ended cycle, which are removed.
pub(super) const RESTART_REMOVE: &str = "REMOVE quarantined_at, done_at, sent_at, claim_until, claim_by, expires_at, seen_digest, seen_at, retry_reason";

impl Inbox {
    /// Requeues a quarantined event. Effects that were published before are not published again.
    pub async fn replay_quarantined(
        &self,
        key: &EventKey,
        by: &AuditEntry,
    ) -> Result<ReplayOutcome, AwsError> {
        self.replay_from(key, ReplayFrom::Quarantined, by).await
    }

    /// Replays a done event: its effects happen again, and carry the number of the replay.
    pub async fn replay_done(&self, key: &EventKey, by: &AuditEntry) -> Result<ReplayOutcome, AwsError> {
        self.replay_from(key, ReplayFrom::Done, by).await
    }

    /// Requeues an event whose message is gone: its record says that it was sent, and it was never done.
    ///
    /// While the queues may still hold the message, this needs `was_purged`. The replay number does not change:
    /// if the message turns up after all, the effect still happens once.
    pub async fn replay_lost(
        &self,
        key: &EventKey,
        was_purged: bool,
        by: &AuditEntry,
    ) -> Result<ReplayOutcome, AwsError> {
        self.replay_from(key, ReplayFrom::Lost { was_purged }, by).await
    }

    async fn replay_from(
        &self,
        key: &EventKey,
        source: ReplayFrom,
        by: &AuditEntry,
    ) -> Result<ReplayOutcome, AwsError> {
        let Some(event) = self.event(key).await? else { return Ok(ReplayOutcome::NotFound) };
        // This very request was applied before: not a second replay.
        if event.audit_entries.contains(by) {
            return Ok(ReplayOutcome::Due { replay: event.replay });
        }
        let state = event.lifecycle.state(by.at);
        if state != source.state() {
            return Ok(ReplayOutcome::WrongState(state));
        }
        // A new number makes published effects happen again: only a done event is replayed for that.
        let (count_update, replay) = match source {
            ReplayFrom::Done => (", replay = if_not_exists(replay, :zero) + :one", event.replay + 1),
            ReplayFrom::Quarantined | ReplayFrom::Lost { .. } => ("", event.replay),
        };
        // A purged queue holds no message, so there is nothing to wait for.
        if let (ReplayFrom::Lost { was_purged: false }, Some(sent_at)) = (source, event.lifecycle.sent_at) {
            let until = message_expiry(sent_at, &event.audit_entries);
            if by.at < until {
                return Ok(ReplayOutcome::MayStillBeQueued { until });
            }
        }
        let update = self
            .db
            .update_item()
            .table_name(&self.table)
            .set_key(Some(item::key(&key.pk(), &key.sk())))
            .update_expression(format!(
                "SET {RESTART_SET}{count_update}, {APPEND_AUDIT_ENTRY} {RESTART_REMOVE}"
            ))
            .condition_expression(format!("rev = :seen AND {}", source.condition()))
            .expression_attribute_values(":seen", number(event.rev))
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":zero", number(0))
            .expression_attribute_values(":shard", text(DueQueue::Outbox.shard(&key.pk())))
            .expression_attribute_values(":now", number(by.at.0))
            .expression_attribute_values(":cycles", past_cycles::with_current_cycle(&event))
            .expression_attribute_values(":none", AttributeValue::L(Vec::new()))
            .expression_attribute_values(":trace", AttributeValue::L(vec![item::audit_entry_value(by)]));
        match update.send().await {
            Ok(_) => Ok(ReplayOutcome::Due { replay }),
            // The response of an applied attempt may have been lost.
            Err(error) if condition_failed(&error) => {
                let existing = self.event(key).await?;
                let applied = existing.filter(|event| event.audit_entries.contains(by));
                Ok(applied
                    .map_or(ReplayOutcome::Conflict, |event| ReplayOutcome::Due { replay: event.replay }))
            }
            Err(error) => Err(AwsError::from_sdk_error("dynamodb:UpdateItem", &error)),
        }
    }

    /// Appends an audit entry to an event's record, and extends the record's expiry, if it has one. Returns
    /// `false` if there is no record.
    ///
    /// The expiry never moves to an earlier time: the operator's tool may be configured with a shorter
    /// retention than the functions.
    pub async fn append_audit_entry(&self, key: &EventKey, by: &AuditEntry) -> Result<bool, AwsError> {
        // An update cannot set the later of two times, so a second write leaves the expiry as it is.
        let later = number(record_expiry(by.at, self.retention_days).0);
        let expires = "expires_at < :at AND attribute_not_exists(quarantined_at)";
        Ok(self.append_audit_entry_if(key, by, ", expires_at = :at", expires, Some(later)).await?
            || self.append_audit_entry_if(key, by, "", "attribute_exists(delivery_id)", None).await?)
    }

    async fn append_audit_entry_if(
        &self,
        key: &EventKey,
        by: &AuditEntry,
        set: &str,
        condition: &str,
        expires_at: Option<AttributeValue>,
    ) -> Result<bool, AwsError> {
        let mut update = self
            .db
            .update_item()
            .table_name(&self.table)
            .set_key(Some(item::key(&key.pk(), &key.sk())))
            .update_expression(format!("SET {APPEND_AUDIT_ENTRY}{set}"))
            .condition_expression(condition)
            .expression_attribute_values(":none", AttributeValue::L(Vec::new()))
            .expression_attribute_values(":trace", AttributeValue::L(vec![item::audit_entry_value(by)]));
        if let Some(expires_at) = expires_at {
            update = update.expression_attribute_values(":at", expires_at);
        }
        match update.send().await {
            Ok(_) => Ok(true),
            Err(error) if condition_failed(&error) => Ok(false),
            Err(error) => Err(AwsError::from_sdk_error("dynamodb:UpdateItem", &error)),
        }
    }
}

/// The additional attributes of a record that is made from a quarantined item: it is to be enqueued, and
/// processed, from now on and not since its bytes were received.
pub(super) fn replay_attributes(by: &AuditEntry) -> [(String, AttributeValue); 4] {
    [
        ("interventions".to_owned(), AttributeValue::L(vec![item::audit_entry_value(by)])),
        ("enqueue_after".to_owned(), number(by.at.0)),
        ("since".to_owned(), number(by.at.0)),
        ("due_at".to_owned(), number(first_due_at(by.at).0)),
    ]
}
