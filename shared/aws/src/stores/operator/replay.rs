//! Events that are made due again because an operator asked, and the audit entry of it.
//!
//! ```text
//!  quarantined  requeue: due now, rev+1 if rev=seen and quarantined ── relay ── …
//!  done         replay:  due now, rev+1, replay+1 if rev=seen and done ── relay ── …
//!  sent         lost:    due now, rev+1 if rev=seen, sent, not done, not claimed ── relay ── …
//! ```
//!
//! Of two operators who read the same state, one is applied.

use inbox_core::audit::{AuditEntry, AuditSubject, message_expiry};
use inbox_core::event::EventKey;
use inbox_core::expiry::record_expiry;
use inbox_core::lifecycle::EventState;
use inbox_core::time::UnixMillis;

use super::OperatorStore;
use crate::AwsError;
use crate::items::{BulkReplay, EventRecord};
use crate::table::WriteOutcome;
use crate::table::attribute::Attribute;
use crate::table::key::Key;
use crate::table::update::Update;

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
    /// It was replayed by this bulk replay before.
    AlreadyReplayed,
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
enum ReplayFrom<'a> {
    Quarantined,
    /// Done; in this bulk replay, if it is part of one.
    Done {
        bulk: Option<&'a BulkReplay>,
    },
    /// Sent, according to its record, but its message is gone.
    Lost {
        was_purged: bool,
    },
}

impl ReplayFrom<'_> {
    const fn state(self) -> EventState {
        match self {
            Self::Quarantined => EventState::Quarantined,
            Self::Done { .. } => EventState::Done,
            Self::Lost { .. } => EventState::Sent,
        }
    }

    /// The outcome at `now` for an event that is not made due again; `None` if it is.
    fn refusal(self, event: &EventRecord, now: UnixMillis) -> Option<ReplayOutcome> {
        let state = event.lifecycle.state(now);
        if state != self.state() {
            return Some(ReplayOutcome::WrongState(state));
        }
        // A purged queue holds no message, so there is nothing to wait for.
        let Self::Lost { was_purged: false } = self else { return None };
        let until = message_expiry(event.lifecycle.sent_at?, &event.audit_entries);
        (now < until).then_some(ReplayOutcome::MayStillBeQueued { until })
    }

    /// Adds what this state means to the update's condition, besides `rev`.
    fn restrict(self, update: Update, now: UnixMillis) -> Update {
        match self {
            Self::Quarantined => update.only_if(Attribute::QuarantinedAt.exists()),
            // A new number makes published effects happen again: only a done event is replayed for that.
            Self::Done { .. } => update.only_if(Attribute::DoneAt.exists()),
            Self::Lost { .. } => update
                .only_if(Attribute::SentAt.exists())
                .only_if(Attribute::DoneAt.is_missing())
                .only_if(Attribute::QuarantinedAt.is_missing())
                // A claim leaves `rev` unchanged: a message that turns up after all may be in process.
                .only_if(Attribute::ClaimUntil.is_missing().or(Attribute::ClaimUntil.is_below(&now))),
        }
    }
}

impl OperatorStore {
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
        self.replay_done_in(None, key, by).await
    }

    /// The outcome of [`replay_done`](Self::replay_done) at `now` for an event as it was read, if nothing would be done.
    pub fn refusal_to_replay_done(event: &EventRecord, now: UnixMillis) -> Option<ReplayOutcome> {
        ReplayFrom::Done { bulk: None }.refusal(event, now)
    }

    /// The outcome of [`replay_lost`](Self::replay_lost) at `now` for an event as it was read, if nothing would be done.
    pub fn refusal_to_replay_lost(
        event: &EventRecord,
        was_purged: bool,
        now: UnixMillis,
    ) -> Option<ReplayOutcome> {
        ReplayFrom::Lost { was_purged }.refusal(event, now)
    }

    pub(super) async fn replay_done_in(
        &self,
        bulk: Option<&BulkReplay>,
        key: &EventKey,
        by: &AuditEntry,
    ) -> Result<ReplayOutcome, AwsError> {
        self.replay_from(key, ReplayFrom::Done { bulk }, by).await
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
        source: ReplayFrom<'_>,
        by: &AuditEntry,
    ) -> Result<ReplayOutcome, AwsError> {
        let Some(event) = self.event(key).await? else { return Ok(ReplayOutcome::NotFound) };
        // This very request was applied before: not a second replay.
        if event.audit_entries.contains(by) {
            return Ok(ReplayOutcome::Due { replay: event.replay });
        }
        if let ReplayFrom::Done { bulk: Some(bulk) } = source
            && event.bulk_replay.as_ref().is_some_and(|last| last.id == bulk.id)
        {
            return Ok(ReplayOutcome::AlreadyReplayed);
        }
        if let Some(refusal) = source.refusal(&event, by.at) {
            return Ok(refusal);
        }
        let (replay, bulk_replay) = match source {
            ReplayFrom::Done { bulk } => {
                // The number only grows, also if the event was replayed after its bulk replay was planned.
                let replay = bulk.map_or(0, |bulk| bulk.replay).max(event.replay + 1);
                (replay, bulk.map(|bulk| BulkReplay { id: bulk.id.clone(), replay }))
            }
            ReplayFrom::Quarantined | ReplayFrom::Lost { .. } => (event.replay, None),
        };
        let update = source
            .restrict(event.restart(by.at), by.at)
            .set_some(Attribute::Replay, (replay != event.replay).then_some(replay).as_ref())
            .set_some(Attribute::BulkReplay, bulk_replay.as_ref());
        Ok(match self.update_event(key, update, by).await? {
            WriteOutcome::Applied => ReplayOutcome::Due { replay },
            WriteOutcome::Conflict => ReplayOutcome::Conflict,
        })
    }

    /// Appends an audit entry to an event's record, and extends the record's expiry, if it has one. Returns
    /// `false` if there is no record.
    ///
    /// The expiry never moves to an earlier time: the operator's tool may be configured with a shorter
    /// retention than the functions.
    pub async fn append_audit_entry(&self, key: &EventKey, by: &AuditEntry) -> Result<bool, AwsError> {
        let later = record_expiry(by.at, self.table.retention_days);
        let extending = Update::without_rev(Key::event(key))
            .only_if(Attribute::ExpiresAt.is_below(&later))
            .only_if(Attribute::QuarantinedAt.is_missing())
            .set(Attribute::ExpiresAt, &later);
        if self.update_event(key, extending, by).await? == WriteOutcome::Applied {
            return Ok(true);
        }
        // An update cannot set the later of two times, so the second write leaves the expiry as it is.
        let unchanged = Update::without_rev(Key::event(key)).only_if(Attribute::DeliveryId.exists());
        Ok(self.update_event(key, unchanged, by).await? == WriteOutcome::Applied)
    }

    async fn update_event(
        &self,
        key: &EventKey,
        update: Update,
        by: &AuditEntry,
    ) -> Result<WriteOutcome, AwsError> {
        let is_own = |item: &_| EventRecord::from_item(item).is_some_and(|it| it.audit_entries.contains(by));
        self.table.update_audited(update, &AuditSubject::Event(key.clone()), by, is_own).await
    }
}
