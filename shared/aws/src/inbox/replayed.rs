//! Events that are made due again because an operator asked, and the trace of it.
//!
//! ```text
//!  given up  requeue: due now, rev+1 if rev=seen and quarantined ── relay ── …
//!  done      replay:  due now, rev+1, replay+1 if rev=seen and done ── relay ── …
//!  sent      lost:    due now, rev+1 if rev=seen, sent, not done, not claimed ── relay ── …
//! ```
//!
//! Of two operators who saw the same, one is applied.

use aws_sdk_dynamodb::types::AttributeValue;

use inbox_core::event::EventKey;
use inbox_core::inbox::{Desk, first_due, record_expiry};
use inbox_core::intervention::{Intervention, message_expiry};
use inbox_core::state::State;
use inbox_core::time::UnixMillis;

use super::quarantined::TRACE;
use super::{Inbox, past_cycles};
use crate::Fault;
use crate::condition::refused;
use crate::item::{self, number, text};

/// What became of making an event due again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// It is due: the relay sends it. It was replayed so often so far.
    Due {
        /// How often it was sent again on purpose, this time included.
        replay: u64,
    },
    /// It is not where it could be made due from.
    NotThere(State),
    /// The queues may still hold its message.
    MayStillCome {
        /// Until when they keep it.
        until: UnixMillis,
    },
    /// Somebody else has changed it meanwhile; nothing was done.
    Overtaken,
    /// There is no such event, or its record has expired.
    Unknown,
}

/// The state that an event is made due again from.
#[derive(Clone, Copy, Debug)]
enum ReplayFrom {
    GivenUp,
    Done,
    /// On the queue, as far as its record says.
    Lost {
        was_purged: bool,
    },
}

impl ReplayFrom {
    const fn state(self) -> State {
        match self {
            Self::GivenUp => State::Quarantined,
            Self::Done => State::Done,
            Self::Lost { .. } => State::Sent,
        }
    }

    /// What the write asks of the record, beside its `rev`.
    const fn condition(self) -> &'static str {
        match self {
            Self::GivenUp => "attribute_exists(quarantined_at)",
            Self::Done => "attribute_exists(done_at)",
            // A claim leaves `rev` alone: a message that turns up after all may be at work.
            Self::Lost { .. } => {
                "attribute_exists(sent_at) AND attribute_not_exists(done_at) \
                 AND attribute_not_exists(quarantined_at) \
                 AND (attribute_not_exists(claim_until) OR claim_until < :now)"
            }
        }
    }
}

/// What starts a record's way anew.
pub(super) const AGAIN: &str = "rev = rev + :one, due = :shard, due_at = :now, wanted_at = :now, works = :zero, \
    attempts = :zero, refusals = :zero, since = :now, past_cycles = :cycles";
/// What it leaves behind.
pub(super) const BEFORE: &str = "REMOVE quarantined_at, done_at, sent_at, claim_until, claim_by, expires_at, seen_digest, seen_at, retry_reason";

impl Inbox {
    /// Puts an event that was given up on its way again. What of it was published before is not published again.
    pub async fn requeue(&self, key: &EventKey, by: &Intervention) -> Result<Replayed, Fault> {
        self.again(key, ReplayFrom::GivenUp, by).await
    }

    /// Sends a done event again, on purpose: its effects happen again, and carry the number.
    pub async fn replay(&self, key: &EventKey, by: &Intervention) -> Result<Replayed, Fault> {
        self.again(key, ReplayFrom::Done, by).await
    }

    /// Sends an event again whose message is gone: its record says that it was sent, and it was never done. While the
    /// queues may still hold the message, only if they were purged. Its number stays: if the message turns up after
    /// all, the effect happens once.
    pub async fn replay_lost(
        &self,
        key: &EventKey,
        was_purged: bool,
        by: &Intervention,
    ) -> Result<Replayed, Fault> {
        self.again(key, ReplayFrom::Lost { was_purged }, by).await
    }

    async fn again(&self, key: &EventKey, from: ReplayFrom, by: &Intervention) -> Result<Replayed, Fault> {
        let Some(event) = self.event(key).await? else { return Ok(Replayed::Unknown) };
        if event.interventions.contains(by) {
            return Ok(Replayed::Due { replay: event.replay });
        }
        let state = event.facts.state(by.at);
        if state != from.state() {
            return Ok(Replayed::NotThere(state));
        }
        let (counted, replay) = match from {
            ReplayFrom::Done => (", replay = if_not_exists(replay, :zero) + :one", event.replay + 1),
            ReplayFrom::GivenUp | ReplayFrom::Lost { .. } => ("", event.replay),
        };
        if let (ReplayFrom::Lost { was_purged: false }, Some(sent_at)) = (from, event.facts.sent_at) {
            let until = message_expiry(sent_at, &event.interventions);
            if by.at < until {
                return Ok(Replayed::MayStillCome { until });
            }
        }
        let update = self
            .db
            .update_item()
            .table_name(&self.table)
            .set_key(Some(item::key(&key.pk(), &key.sk())))
            .update_expression(format!("SET {AGAIN}{counted}, {TRACE} {BEFORE}"))
            .condition_expression(format!("rev = :seen AND {}", from.condition()))
            .expression_attribute_values(":seen", number(event.rev))
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":zero", number(0))
            .expression_attribute_values(":shard", text(Desk::Outbox.shard(&key.pk())))
            .expression_attribute_values(":now", number(by.at.0))
            .expression_attribute_values(":cycles", past_cycles::with_ended(&event))
            .expression_attribute_values(":none", AttributeValue::L(Vec::new()))
            .expression_attribute_values(":trace", AttributeValue::L(vec![item::intervention(by)]));
        match update.send().await {
            Ok(_) => Ok(Replayed::Due { replay }),
            // The answer of an attempt that was applied may have been lost.
            Err(error) if refused(&error) => {
                let stands = self.event(key).await?;
                let ours = stands.filter(|event| event.interventions.contains(by));
                Ok(ours.map_or(Replayed::Overtaken, |event| Replayed::Due { replay: event.replay }))
            }
            Err(error) => Err(Fault::of("dynamodb:UpdateItem", &error)),
        }
    }

    /// Leaves a trace on an event's record, whose expiry it moves on if it has one: never to an earlier time, because
    /// the operator's tool may know of a shorter retention than the functions. Says whether there is such a record.
    pub async fn trace(&self, key: &EventKey, by: &Intervention) -> Result<bool, Fault> {
        let later = number(record_expiry(by.at, self.retention_days).0);
        let expires = "expires_at < :at AND attribute_not_exists(quarantined_at)";
        Ok(self.leave_trace(key, by, ", expires_at = :at", expires, Some(later)).await?
            || self.leave_trace(key, by, "", "attribute_exists(delivery_id)", None).await?)
    }

    async fn leave_trace(
        &self,
        key: &EventKey,
        by: &Intervention,
        set: &str,
        condition: &str,
        expires_at: Option<AttributeValue>,
    ) -> Result<bool, Fault> {
        let mut update = self
            .db
            .update_item()
            .table_name(&self.table)
            .set_key(Some(item::key(&key.pk(), &key.sk())))
            .update_expression(format!("SET {TRACE}{set}"))
            .condition_expression(condition)
            .expression_attribute_values(":none", AttributeValue::L(Vec::new()))
            .expression_attribute_values(":trace", AttributeValue::L(vec![item::intervention(by)]));
        if let Some(expires_at) = expires_at {
            update = update.expression_attribute_values(":at", expires_at);
        }
        match update.send().await {
            Ok(_) => Ok(true),
            Err(error) if refused(&error) => Ok(false),
            Err(error) => Err(Fault::of("dynamodb:UpdateItem", &error)),
        }
    }
}

/// What the record of an event out of quarantine holds beside what every record holds: it is wanted on the queue, and
/// worked on, from now on and not since its bytes came.
pub(super) fn traces(by: &Intervention) -> [(String, AttributeValue); 4] {
    [
        ("interventions".to_owned(), AttributeValue::L(vec![item::intervention(by)])),
        ("wanted_at".to_owned(), number(by.at.0)),
        ("since".to_owned(), number(by.at.0)),
        ("due_at".to_owned(), number(first_due(by.at).0)),
    ]
}
