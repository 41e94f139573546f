//! Replays quarantined items: parse, record, enqueue, close; or make the event due again, and close.
//!
//! An interrupted replay is completed by running it again: what was recorded is a duplicate then, and the item
//! is closed as one.

use std::time::Duration;

use tokio::time::Instant;

use inbox_core::audit::{AuditEntry, Operator, OperatorAction};
use inbox_core::duplicates::RecordOutcome;
use inbox_core::event::EventKey;
use inbox_core::lifecycle::EventState;
use inbox_core::quarantine::{QuarantineId, QuarantineReason, Resolution, record_may_have_expired};
use inbox_core::reparse::{Reparsed, reparse};
use inbox_core::time::UnixSecs;

use crate::AwsError;
use crate::event_recorder::EventRecorder;
use crate::items::QuarantinedItem;
use crate::stores::{OperatorStore, ReplayOutcome, WriteOutcome};

/// Time limit for recording and enqueueing one item.
const RECORD_TIMEOUT: Duration = Duration::from_secs(20);

/// Replays quarantined items.
#[derive(Clone, Debug)]
pub struct QuarantineReplayer {
    store: OperatorStore,
    recorder: EventRecorder,
    force: bool,
}

/// Outcome of replaying a quarantined item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuarantineReplayOutcome {
    /// The item is closed.
    Closed {
        /// The way in which the item was resolved.
        resolution: Resolution,
        /// The event that was recorded or made due again.
        key: EventKey,
        /// True if the same bytes came again meanwhile, which opened the item again.
        is_reopened: bool,
        /// The AWS call that failed after the event was recorded, if any: the relay enqueues it.
        enqueue_error: Option<AwsError>,
    },
    /// The item still cannot be processed, for this reason; it stays open.
    StillUnusable(QuarantineReason),
    /// The item does not say how its bytes were verified: they must not be recorded.
    Unverified,
    /// The item was closed before.
    AlreadyClosed(Resolution),
    /// Another writer is at work on it; nothing was done.
    Conflict,
    /// The signature is so old that the record of its event may have expired; the item stays open unless
    /// forced.
    TooOld {
        /// Time of the signature.
        signed_at: UnixSecs,
    },
    /// The record of the event that the item was made from has expired.
    EventExpired(EventKey),
    /// The table holds no such item.
    NotFound,
}

impl QuarantineReplayer {
    /// Creates a replayer of the items in `store`, which records through `recorder`.
    pub fn new(store: OperatorStore, recorder: EventRecorder) -> Self {
        Self { store, recorder, force: false }
    }

    /// Also replays items whose event record may have expired: such an event may be recorded as new, and be
    /// published again.
    pub fn force(self) -> Self {
        Self { force: true, ..self }
    }

    /// Replays one item. After an error it may be partly done; replay it again to complete it.
    pub async fn replay(
        &self,
        id: &QuarantineId,
        operator: &Operator,
    ) -> Result<QuarantineReplayOutcome, AwsError> {
        let Some(item) = self.store.quarantined_item(id).await? else {
            return Ok(QuarantineReplayOutcome::NotFound);
        };
        if let Some((_, resolution)) = item.resolution {
            return Ok(QuarantineReplayOutcome::AlreadyClosed(resolution));
        }
        // On the heap: with the SDK's futures inside, these are too large to move.
        match item.event.clone() {
            Some(key) => Box::pin(self.replay_event(&item, key, operator)).await,
            None => Box::pin(self.reparse_and_record(&item, operator)).await,
        }
    }

    /// Makes the event of the item due again, if it is still quarantined.
    async fn replay_event(
        &self,
        item: &QuarantinedItem,
        key: EventKey,
        operator: &Operator,
    ) -> Result<QuarantineReplayOutcome, AwsError> {
        let by = operator.audit_entry(OperatorAction::Requeue, self.recorder.clock().now());
        match self.store.replay_quarantined(&key, &by).await? {
            ReplayOutcome::NotFound => Ok(QuarantineReplayOutcome::EventExpired(key)),
            // The last two have nothing to do with quarantine.
            ReplayOutcome::Conflict
            | ReplayOutcome::MayStillBeQueued { .. }
            | ReplayOutcome::AlreadyReplayed => Ok(QuarantineReplayOutcome::Conflict),
            // Done: an earlier replay was interrupted before it closed the item.
            ReplayOutcome::Due { .. } | ReplayOutcome::WrongState(EventState::Done) => {
                self.close_item(item, Resolution::Requeued, key, &by, None).await
            }
            // Being processed, perhaps by an earlier replay; or just being quarantined once more.
            ReplayOutcome::WrongState(
                EventState::Recorded
                | EventState::Sent
                | EventState::Claimed
                | EventState::Waiting
                | EventState::Quarantined,
            ) => Ok(QuarantineReplayOutcome::Conflict),
        }
    }

    /// Parses the bytes with the present code, and records the event if they are one now.
    async fn reparse_and_record(
        &self,
        item: &QuarantinedItem,
        operator: &Operator,
    ) -> Result<QuarantineReplayOutcome, AwsError> {
        let by = operator.audit_entry(OperatorAction::Replay, self.recorder.clock().now());
        let body = self.store.quarantined_payload(item).await?;
        let event = match reparse(item.clone().with_body(body)) {
            Reparsed::Event(event) => event,
            Reparsed::StillUnusable(reason) => return Ok(QuarantineReplayOutcome::StillUnusable(reason)),
            Reparsed::Unverified => return Ok(QuarantineReplayOutcome::Unverified),
        };
        let too_old = item.signed_at.filter(|at| !self.force && record_may_have_expired(*at, by.at));
        // If the event is recorded, the replay is only a duplicate, however old the signature is.
        if let Some(signed_at) = too_old
            && !self.recorder.events().is_recorded(event.key()).await?
        {
            return Ok(QuarantineReplayOutcome::TooOld { signed_at });
        }
        // The batch may have been tracked under another subject since the delivery came.
        if self.recorder.has_subject_mismatch(&event).await? {
            return Ok(QuarantineReplayOutcome::StillUnusable(QuarantineReason::SubjectMismatch));
        }
        // Longer than for a delivery, because no provider waits for the answer.
        let deadline = Instant::now() + RECORD_TIMEOUT;
        let (resolution, enqueue_error) = match self.recorder.record_replayed(&event, &by, deadline).await? {
            RecordOutcome::New => (Resolution::Recorded, self.recorder.enqueue(&event, deadline).await),
            RecordOutcome::Duplicate { .. } => (Resolution::Duplicate, None),
        };
        // Closed last, so an interrupted replay can be run again.
        self.close_item(item, resolution, event.key().clone(), &by, enqueue_error).await
    }

    async fn close_item(
        &self,
        item: &QuarantinedItem,
        resolution: Resolution,
        key: EventKey,
        by: &AuditEntry,
        enqueue_error: Option<AwsError>,
    ) -> Result<QuarantineReplayOutcome, AwsError> {
        let is_reopened = match self.store.close_quarantined(item, resolution, by).await? {
            WriteOutcome::Applied => false,
            // Closed by another writer, or the same bytes came again.
            WriteOutcome::Conflict => {
                let existing = self.store.quarantined_item(&item.id).await?;
                existing.is_some_and(|existing| existing.resolution.is_none())
            }
        };
        Ok(QuarantineReplayOutcome::Closed { resolution, key, is_reopened, enqueue_error })
    }
}
