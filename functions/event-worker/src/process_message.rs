//! One message: its event is claimed, its effect happens, and what became of it is written down.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use inbox_aws::inbox::{ClaimedEvent, EventClaim, WriteOutcome};
use inbox_aws::telemetry::count_with_reason;
use inbox_aws::{AwsError, AwsErrorKind};
use inbox_core::effect::batch_snapshot::PreviousSnapshot;
use inbox_core::effect::next_attempt_at;
use inbox_core::event::EventKey;
use inbox_core::inbox::QuarantineReason;
use inbox_core::limits::PROCESSING_BUDGET_SECS;
use inbox_core::message::parse_event_key;

use crate::EventWorker;

/// What becomes of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MessageOutcome {
    /// It is taken off the queue: its event is done, due again, in quarantine, or somebody else's.
    Delete,
    /// It comes again, until it is a dead letter.
    ReturnToQueue,
}

/// What becomes of a claimed event.
#[derive(Debug)]
pub(crate) enum EffectOutcome {
    /// Its effect has happened.
    Done,
    /// A batch that nobody tracks is published, with so many results.
    DoneUntracked(u64),
    /// Its effect cannot happen yet.
    Requeue(RequeueDetails),
    /// Its effect cannot happen as it is.
    Quarantine(QuarantineReason),
}

/// Why an effect cannot happen yet.
#[derive(Debug, Default)]
pub(crate) struct RequeueDetails {
    /// Why, for logs and metrics.
    pub(crate) reason: &'static str,
    /// When Rightfoot may be asked again, if it has said so.
    pub(crate) retry_after: Option<Duration>,
    /// What the look at an untracked batch has shown.
    pub(crate) snapshot: Option<PreviousSnapshot>,
}

impl RequeueDetails {
    pub(crate) fn with_reason(reason: &'static str) -> Self {
        Self { reason, ..Self::default() }
    }
}

impl EventWorker {
    /// Works on one message.
    pub(crate) async fn process(&self, body: &str) -> MessageOutcome {
        let key = match parse_event_key(body) {
            Ok(key) => key,
            Err(error) => return return_to_queue(None, error.as_str(), None),
        };
        match self.inbox.claim_event(&key, self.clock.now()).await {
            Ok(EventClaim::Acquired(event)) => self.process_claimed(*event).await,
            Ok(EventClaim::AlreadyDone) => delete_message(&key, "over"),
            Ok(EventClaim::HeldByOther) => return_to_queue(Some(&key), "taken", None),
            Ok(EventClaim::NotRecorded) => return_to_queue(Some(&key), "not_recorded", None),
            Err(fault) => return_to_queue(Some(&key), "fault", Some(&fault)),
        }
    }

    async fn process_claimed(&self, event: ClaimedEvent) -> MessageOutcome {
        let started = Instant::now();
        let budget = Duration::from_secs(PROCESSING_BUDGET_SECS);
        // What is cut off here is as if the process had died, but for that it is due again at once.
        let effect_outcome = match timeout(budget, Box::pin(self.apply_effect(&event))).await {
            Ok(Ok(outcome)) => outcome,
            // What stands in the table is not of our form: no time mends that.
            Ok(Err(fault)) if fault.kind == AwsErrorKind::UnreadableItem => {
                return return_to_queue(Some(event.key()), "unreadable_item", Some(&fault));
            }
            Ok(Err(fault)) if fault.kind == AwsErrorKind::PayloadGone => {
                EffectOutcome::Quarantine(QuarantineReason::PayloadGone)
            }
            Ok(Err(fault)) => {
                tracing::warn!(target: "work", event_id = event.key().event_id(), %fault, "failed");
                EffectOutcome::Requeue(RequeueDetails::with_reason("fault"))
            }
            Err(_) => EffectOutcome::Requeue(RequeueDetails::with_reason("timed_out")),
        };
        let written = self.save_outcome(&event, &effect_outcome).await;
        let (outcome, reason) = effect_outcome.name_and_reason();
        let (event_id, requeues) = (event.key().event_id(), event.requeues);
        let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        match written {
            Ok(WriteOutcome::Applied) => {
                tracing::info!(target: "work", event_id, outcome, reason, requeues, took_ms);
                self.record_metrics(&event, &effect_outcome);
                self.release_untracked_slot(&event, &effect_outcome).await;
                MessageOutcome::Delete
            }
            // The claim ran out, and somebody else has the event: perhaps by this very message, which SQS may give to two.
            Ok(WriteOutcome::Conflict) => {
                metrics::counter!("claim_lost").increment(1);
                tracing::warn!(target: "work", event_id, outcome, reason, requeues, took_ms, "claim lost");
                MessageOutcome::ReturnToQueue
            }
            Err(fault) => return_to_queue(Some(event.key()), "fault", Some(&fault)),
        }
    }

    async fn save_outcome(
        &self,
        event: &ClaimedEvent,
        outcome: &EffectOutcome,
    ) -> Result<WriteOutcome, AwsError> {
        let now = self.clock.now();
        match outcome {
            EffectOutcome::Done => self.inbox.mark_done(event, now).await,
            EffectOutcome::DoneUntracked(results) => {
                self.inbox.mark_done_untracked(event, *results, now).await
            }
            EffectOutcome::Requeue(later) => {
                let retry_at = next_attempt_at(now, event.requeues, later.retry_after);
                self.inbox.requeue(event, retry_at, later.reason, later.snapshot.as_ref()).await
            }
            EffectOutcome::Quarantine(reason) => self.inbox.quarantine_event(event, *reason, now).await,
        }
    }

    /// An event that has ended is none of its subject's open ones any more. If that cannot be written, its place is taken
    /// until the day's count expires: the event has had its effect, and must not come again on that account.
    async fn release_untracked_slot(&self, event: &ClaimedEvent, outcome: &EffectOutcome) {
        let closed = match outcome {
            EffectOutcome::Done | EffectOutcome::DoneUntracked(_) | EffectOutcome::Quarantine(_) => {
                self.inbox.release_untracked_slot(event).await
            }
            EffectOutcome::Requeue(_) => Ok(()),
        };
        if let Err(fault) = closed {
            tracing::warn!(target: "work", event_id = event.key().event_id(), %fault, "still counted as open");
        }
    }

    fn record_metrics(&self, event: &ClaimedEvent, outcome: &EffectOutcome) {
        let provider = event.key().provider().as_str();
        match outcome {
            EffectOutcome::Done | EffectOutcome::DoneUntracked(_) => {
                metrics::counter!("worked", "provider" => provider).increment(1);
                let age_secs = self.clock.now().since(event.processing_since).as_secs();
                metrics::histogram!("work_age", "provider" => provider)
                    .record(u32::try_from(age_secs).unwrap_or(u32::MAX));
            }
            EffectOutcome::Requeue(later) => {
                count_with_reason("put_back", None, later.reason);
                if self.clock.now() >= event.processing_since.plus(self.poll_deadline) {
                    metrics::counter!("work_overdue").increment(1);
                }
            }
            EffectOutcome::Quarantine(reason) => {
                count_with_reason("quarantined", Some(event.key().provider()), reason.as_str());
            }
        }
    }
}

impl EffectOutcome {
    const fn name_and_reason(&self) -> (&'static str, &'static str) {
        match self {
            Self::Done | Self::DoneUntracked(_) => ("done", ""),
            Self::Requeue(later) => ("put_back", later.reason),
            Self::Quarantine(reason) => ("quarantined", reason.as_str()),
        }
    }
}

fn delete_message(key: &EventKey, reason: &'static str) -> MessageOutcome {
    tracing::info!(target: "work", event_id = key.event_id(), outcome = "acknowledged", reason);
    MessageOutcome::Delete
}

fn return_to_queue(key: Option<&EventKey>, reason: &'static str, fault: Option<&AwsError>) -> MessageOutcome {
    count_with_reason("returned", None, reason);
    let (event_id, fault) = (key.map(EventKey::event_id), fault.map(tracing::field::display));
    tracing::warn!(target: "work", event_id, outcome = "returned", reason, fault);
    MessageOutcome::ReturnToQueue
}
