//! The way of what is replayed out of quarantine: read → record → send → close, or due again → close.
//!
//! What dies in between is mended by doing it again: what was recorded is a duplicate then, and closed as one.

use std::time::Duration;

use tokio::time::Instant;

use inbox_core::event::EventKey;
use inbox_core::inbox::{Reason, Recorded};
use inbox_core::intervention::{Did, Intervention, Operator};
use inbox_core::quarantine::{Closed, KeptId, Reread, may_have_expired, reread};
use inbox_core::state::State;
use inbox_core::time::UnixSecs;

use crate::Fault;
use crate::inbox::{Quarantined, Replayed, Written};
use crate::recorder::Recorder;

/// How long recording one item, and sending it, may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Replays what is in quarantine.
#[derive(Clone, Debug)]
pub struct Replayer {
    recorder: Recorder,
    by_force: bool,
}

/// What became of a quarantined item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is dealt with, in this way.
    Closed {
        /// The way.
        how: Closed,
        /// The event that it is.
        key: EventKey,
        /// Its bytes came again meanwhile, and so it is open all the same.
        is_open_again: bool,
        /// The AWS call that failed after the event was recorded, if one did: the relay sends it.
        left_to_relay: Option<Fault>,
    },
    /// It cannot be used yet, for this reason, and stays.
    Stays(Reason),
    /// It does not say how its bytes were proven: nothing may become of them.
    Unproven,
    /// It was dealt with before.
    WasClosed(Closed),
    /// Somebody else is at it; nothing was done.
    Overtaken,
    /// It was signed so long ago that the record of its event may have expired: it stays, unless it is replayed by force.
    TooOld {
        /// When it was signed.
        signed_at: UnixSecs,
    },
    /// The record of the event that it was made of has expired.
    EventGone(EventKey),
    /// There is no such item.
    Unknown,
}

impl Replayer {
    /// Records into this recorder's inbox.
    pub fn new(recorder: Recorder) -> Self {
        Self { recorder, by_force: false }
    }

    /// Also replays what was signed so long ago that its event may be taken for a new one, and published again.
    pub fn by_force(self) -> Self {
        Self { by_force: true, ..self }
    }

    /// Replays one item. On a fault some of it may be done; doing it again mends it.
    pub async fn replay(&self, id: &KeptId, operator: &Operator) -> Result<Outcome, Fault> {
        let Some(kept) = self.recorder.inbox().quarantined(id).await? else { return Ok(Outcome::Unknown) };
        if let Some((_, how)) = kept.closed {
            return Ok(Outcome::WasClosed(how));
        }
        // On the heap: with the SDK's calls inside they are too large to be moved about.
        match kept.event.clone() {
            Some(key) => Box::pin(self.requeue(&kept, key, operator)).await,
            None => Box::pin(self.read_again(&kept, operator)).await,
        }
    }

    /// The event that the item was made of is due again, if it is still given up.
    async fn requeue(
        &self,
        kept: &Quarantined,
        key: EventKey,
        operator: &Operator,
    ) -> Result<Outcome, Fault> {
        let by = operator.did(Did::Requeue, self.recorder.clock().now());
        match self.recorder.inbox().requeue(&key, &by).await? {
            Replayed::Unknown => Ok(Outcome::EventGone(key)),
            Replayed::Overtaken | Replayed::MayStillCome { .. } => Ok(Outcome::Overtaken),
            // Done: an earlier replay died before it closed the item.
            Replayed::Due { .. } | Replayed::NotThere(State::Done) => {
                self.close(kept, Closed::Requeued, key, &by, None).await
            }
            // On its way, perhaps by an earlier replay; perhaps it is just being given up once more.
            Replayed::NotThere(
                State::Recorded | State::Sent | State::Claimed | State::Waiting | State::Quarantined,
            ) => Ok(Outcome::Overtaken),
        }
    }

    /// The item's bytes are read by the present code, and recorded if they are an event by now.
    async fn read_again(&self, kept: &Quarantined, operator: &Operator) -> Result<Outcome, Fault> {
        let by = operator.did(Did::Replay, self.recorder.clock().now());
        let body = self.recorder.inbox().quarantined_bytes(kept).await?;
        let event = match reread(kept.clone().with(body)) {
            Reread::Event(event) => event,
            Reread::Still(reason) => return Ok(Outcome::Stays(reason)),
            Reread::Unproven => return Ok(Outcome::Unproven),
        };
        let too_old = kept.signed_at.filter(|at| !self.by_force && may_have_expired(*at, by.at));
        if let Some(signed_at) = too_old
            && !self.recorder.inbox().is_recorded(event.key()).await?
        {
            return Ok(Outcome::TooOld { signed_at });
        }
        if self.recorder.is_anothers(&event).await? {
            return Ok(Outcome::Stays(Reason::SubjectMismatch));
        }
        let deadline = Instant::now() + PATIENCE;
        let (how, left_to_relay) = match self.recorder.record_replayed(&event, &by, deadline).await? {
            Recorded::New => (Closed::Recorded, self.recorder.enqueue(&event, deadline).await),
            Recorded::Duplicate { .. } => (Closed::Duplicate, None),
        };
        self.close(kept, how, event.key().clone(), &by, left_to_relay).await
    }

    async fn close(
        &self,
        kept: &Quarantined,
        how: Closed,
        key: EventKey,
        by: &Intervention,
        left_to_relay: Option<Fault>,
    ) -> Result<Outcome, Fault> {
        let is_open_again = match self.recorder.inbox().close_quarantined(kept, how, by).await? {
            Written::Applied => false,
            // Somebody else has closed it, or its bytes came again.
            Written::Overtaken => {
                let stands = self.recorder.inbox().quarantined(&kept.id).await?;
                stands.is_some_and(|stands| stands.closed.is_none())
            }
        };
        Ok(Outcome::Closed { how, key, is_open_again, left_to_relay })
    }
}
