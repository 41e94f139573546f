//! The way of what is replayed out of quarantine: read → record → send → close, or due again → close.
//!
//! What dies in between is mended by doing it again: what was recorded is a duplicate then, and closed as one.

use std::time::Duration;

use tokio::time::Instant;

use inbox_core::audit::{AuditEntry, Operator, OperatorAction};
use inbox_core::event::EventKey;
use inbox_core::inbox::{QuarantineReason, RecordOutcome};
use inbox_core::lifecycle::EventState;
use inbox_core::quarantine::{QuarantineId, Reparsed, Resolution, record_may_have_expired, reparse};
use inbox_core::time::UnixSecs;

use crate::AwsError;
use crate::inbox::{QuarantinedItem, ReplayOutcome, WriteOutcome};
use crate::ingest::Ingestor;

/// How long recording one item, and sending it, may take.
const RECORD_TIMEOUT: Duration = Duration::from_secs(20);

/// Replays what is in quarantine.
#[derive(Clone, Debug)]
pub struct QuarantineReplayer {
    ingestor: Ingestor,
    force: bool,
}

/// What became of a quarantined item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuarantineReplayOutcome {
    /// It is dealt with, in this way.
    Closed {
        /// The way.
        resolution: Resolution,
        /// The event that it is.
        key: EventKey,
        /// Its bytes came again meanwhile, and so it is open all the same.
        is_reopened: bool,
        /// The AWS call that failed after the event was recorded, if one did: the relay sends it.
        enqueue_error: Option<AwsError>,
    },
    /// It cannot be used yet, for this reason, and stays.
    StillUnusable(QuarantineReason),
    /// It does not say how its bytes were proven: nothing may become of them.
    Unverified,
    /// It was dealt with before.
    AlreadyClosed(Resolution),
    /// Somebody else is at it; nothing was done.
    Conflict,
    /// It was signed so long ago that the record of its event may have expired: it stays, unless it is replayed by force.
    TooOld {
        /// When it was signed.
        signed_at: UnixSecs,
    },
    /// The record of the event that it was made of has expired.
    EventExpired(EventKey),
    /// There is no such item.
    NotFound,
}

impl QuarantineReplayer {
    /// Records into this recorder's inbox.
    pub fn new(ingestor: Ingestor) -> Self {
        Self { ingestor, force: false }
    }

    /// Also replays what was signed so long ago that its event may be taken for a new one, and published again.
    pub fn force(self) -> Self {
        Self { force: true, ..self }
    }

    /// Replays one item. On a fault some of it may be done; doing it again mends it.
    pub async fn replay(
        &self,
        id: &QuarantineId,
        operator: &Operator,
    ) -> Result<QuarantineReplayOutcome, AwsError> {
        let Some(item) = self.ingestor.inbox().quarantined_item(id).await? else {
            return Ok(QuarantineReplayOutcome::NotFound);
        };
        if let Some((_, how)) = item.resolution {
            return Ok(QuarantineReplayOutcome::AlreadyClosed(how));
        }
        // On the heap: with the SDK's calls inside they are too large to be moved about.
        match item.event.clone() {
            Some(key) => Box::pin(self.replay_event(&item, key, operator)).await,
            None => Box::pin(self.reparse_and_record(&item, operator)).await,
        }
    }

    /// The event that the item was made of is due again, if it is still given up.
    async fn replay_event(
        &self,
        item: &QuarantinedItem,
        key: EventKey,
        operator: &Operator,
    ) -> Result<QuarantineReplayOutcome, AwsError> {
        let by = operator.audit_entry(OperatorAction::Requeue, self.ingestor.clock().now());
        match self.ingestor.inbox().replay_quarantined(&key, &by).await? {
            ReplayOutcome::NotFound => Ok(QuarantineReplayOutcome::EventExpired(key)),
            ReplayOutcome::Conflict | ReplayOutcome::MayStillBeQueued { .. } => {
                Ok(QuarantineReplayOutcome::Conflict)
            }
            // Done: an earlier replay died before it closed the item.
            ReplayOutcome::Due { .. } | ReplayOutcome::WrongState(EventState::Done) => {
                self.close_item(item, Resolution::Requeued, key, &by, None).await
            }
            // On its way, perhaps by an earlier replay; perhaps it is just being given up once more.
            ReplayOutcome::WrongState(
                EventState::Recorded
                | EventState::Sent
                | EventState::Claimed
                | EventState::Waiting
                | EventState::Quarantined,
            ) => Ok(QuarantineReplayOutcome::Conflict),
        }
    }

    /// The item's bytes are read by the present code, and recorded if they are an event by now.
    async fn reparse_and_record(
        &self,
        item: &QuarantinedItem,
        operator: &Operator,
    ) -> Result<QuarantineReplayOutcome, AwsError> {
        let by = operator.audit_entry(OperatorAction::Replay, self.ingestor.clock().now());
        let body = self.ingestor.inbox().quarantined_payload(item).await?;
        let event = match reparse(item.clone().with_body(body)) {
            Reparsed::Event(event) => event,
            Reparsed::StillUnusable(reason) => return Ok(QuarantineReplayOutcome::StillUnusable(reason)),
            Reparsed::Unverified => return Ok(QuarantineReplayOutcome::Unverified),
        };
        let too_old = item.signed_at.filter(|at| !self.force && record_may_have_expired(*at, by.at));
        if let Some(signed_at) = too_old
            && !self.ingestor.inbox().is_recorded(event.key()).await?
        {
            return Ok(QuarantineReplayOutcome::TooOld { signed_at });
        }
        if self.ingestor.has_subject_mismatch(&event).await? {
            return Ok(QuarantineReplayOutcome::StillUnusable(QuarantineReason::SubjectMismatch));
        }
        let deadline = Instant::now() + RECORD_TIMEOUT;
        let (resolution, enqueue_error) = match self.ingestor.record_replayed(&event, &by, deadline).await? {
            RecordOutcome::New => (Resolution::Recorded, self.ingestor.enqueue(&event, deadline).await),
            RecordOutcome::Duplicate { .. } => (Resolution::Duplicate, None),
        };
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
        let is_reopened = match self.ingestor.inbox().close_quarantined(item, resolution, by).await? {
            WriteOutcome::Applied => false,
            // Somebody else has closed it, or its bytes came again.
            WriteOutcome::Conflict => {
                let existing = self.ingestor.inbox().quarantined_item(&item.id).await?;
                existing.is_some_and(|existing| existing.resolution.is_none())
            }
        };
        Ok(QuarantineReplayOutcome::Closed { resolution, key, is_reopened, enqueue_error })
    }
}
