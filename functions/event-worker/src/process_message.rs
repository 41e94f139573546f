//! Processing of one message: claims its event, applies the effect, and saves the outcome.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use inbox_aws::stores::{ClaimedEvent, EventClaim, WriteOutcome};
use inbox_aws::telemetry::metrics;
use inbox_aws::{AwsError, AwsErrorKind};
use inbox_core::effect::{EffectOutcome, RequeueDetails, next_attempt_at};
use inbox_core::event::EventKey;
use inbox_core::limits::PROCESSING_BUDGET_SECS;
use inbox_core::message::parse_event_key;
use inbox_core::quarantine::QuarantineReason;

use crate::EventWorker;

/// What to do with the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MessageOutcome {
    /// Delete it: its event is done, requeued or quarantined.
    Delete,
    /// Let SQS deliver it again, until it becomes a dead letter.
    ReturnToQueue,
}

impl EventWorker {
    pub(crate) async fn process(&self, body: &str) -> MessageOutcome {
        let key = match parse_event_key(body) {
            Ok(key) => key,
            // Without a key there is no record to quarantine. As a dead letter, an operator can look at it.
            Err(error) => return return_to_queue(None, error.as_str(), None),
        };
        match self.processing.claim_event(&key, self.clock.now()).await {
            Ok(EventClaim::Acquired(event)) => self.process_claimed(*event).await,
            Ok(EventClaim::AlreadyDone) => delete_message(&key, "already_done"),
            // Not deleted: if the holder crashes, this message comes again after its claim has ended.
            Ok(EventClaim::HeldByOther) => return_to_queue(Some(&key), "held_by_other", None),
            Ok(EventClaim::NotRecorded) => return_to_queue(Some(&key), "not_recorded", None),
            Err(error) => return_to_queue(Some(&key), "aws_error", Some(&error)),
        }
    }

    async fn process_claimed(&self, event: ClaimedEvent) -> MessageOutcome {
        let started = Instant::now();
        let budget = Duration::from_secs(PROCESSING_BUDGET_SECS);
        // A cut-off is like a crash of the process, except that the event is requeued at once.
        let effect_outcome = match timeout(budget, Box::pin(self.apply_effect(&event))).await {
            Ok(Ok(outcome)) => outcome,
            // A stored item that this version cannot read stays unreadable:
            // retries do not help, so let it become a dead letter.
            Ok(Err(error)) if error.kind == AwsErrorKind::UnreadableItem => {
                return return_to_queue(Some(&event.key), "unreadable_item", Some(&error));
            }
            Ok(Err(error)) if error.kind == AwsErrorKind::PayloadGone => {
                EffectOutcome::Quarantine(QuarantineReason::PayloadGone)
            }
            Ok(Err(error)) => {
                tracing::warn!(target: "worker", event_id = event.key.event_id(), %error, "processing failed");
                EffectOutcome::Requeue(RequeueDetails::with_reason("aws_error"))
            }
            Err(_) => EffectOutcome::Requeue(RequeueDetails::with_reason("timed_out")),
        };
        let written = self.save_outcome(&event, &effect_outcome).await;
        let (outcome, reason) = effect_outcome.name_and_reason();
        let event_id = event.key.event_id();
        let requeues = Some(event.requeues()).filter(|count| *count > 0);
        let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        match written {
            Ok(WriteOutcome::Applied) => {
                tracing::info!(target: "worker", event_id, outcome, reason, requeues, took_ms);
                self.record_metrics(&event, &effect_outcome);
                // Released last: no call that can fail may come between the effect and its record as done.
                self.release_untracked_slot(&event, &effect_outcome).await;
                MessageOutcome::Delete
            }
            // The claim expired and another worker has the event,
            // perhaps by this message: SQS may deliver one twice.
            Ok(WriteOutcome::Conflict) => {
                metrics::CLAIM_LOST.add(1);
                tracing::warn!(target: "worker", event_id, outcome, reason, requeues, took_ms, "claim lost");
                MessageOutcome::ReturnToQueue
            }
            // The write may have been applied all the same. The next receive of the message finds out.
            Err(error) => return_to_queue(Some(&event.key), "aws_error", Some(&error)),
        }
    }

    async fn save_outcome(
        &self,
        event: &ClaimedEvent,
        outcome: &EffectOutcome,
    ) -> Result<WriteOutcome, AwsError> {
        let now = self.clock.now();
        match outcome {
            EffectOutcome::Done(publication) => self.processing.mark_done(event, publication, now).await,
            EffectOutcome::Requeue(later) => {
                let retry_at = next_attempt_at(now, event.requeues(), later.retry_after);
                self.processing.requeue(event, retry_at, later, now).await
            }
            EffectOutcome::Quarantine(reason) => self.processing.quarantine_event(event, *reason, now).await,
        }
    }

    /// Releases the slot of an event that has ended among the open untracked events of its subject.
    async fn release_untracked_slot(&self, event: &ClaimedEvent, outcome: &EffectOutcome) {
        let closed = match outcome {
            EffectOutcome::Done(_) | EffectOutcome::Quarantine(_) => {
                self.processing.release_untracked_slot(event).await
            }
            // The event is still open, so it keeps its slot.
            EffectOutcome::Requeue(_) => Ok(()),
        };
        // The effect has happened, so the event must not be retried. The slot expires with its day.
        if let Err(error) = closed {
            tracing::warn!(target: "worker", event_id = event.key.event_id(), %error, "untracked slot not released");
        }
    }

    fn record_metrics(&self, event: &ClaimedEvent, outcome: &EffectOutcome) {
        let provider = event.key.provider();
        match outcome {
            EffectOutcome::Done(_) => {
                metrics::PROCESSED.add(provider, 1);
                let age = self.clock.now().since(event.processing_since());
                metrics::PROCESSING_AGE.record(provider, age.as_secs());
            }
            EffectOutcome::Requeue(later) => {
                metrics::REQUEUED.add(later.reason, 1);
                if self.clock.now() >= event.processing_since().plus(self.poll_deadline) {
                    metrics::PROCESSING_OVERDUE.add(1);
                }
            }
            EffectOutcome::Quarantine(reason) => {
                metrics::QUARANTINED.add(provider, reason.as_str(), 1);
            }
        }
    }
}

fn delete_message(key: &EventKey, reason: &'static str) -> MessageOutcome {
    tracing::info!(target: "worker", event_id = key.event_id(), outcome = "acknowledged", reason);
    MessageOutcome::Delete
}

fn return_to_queue(key: Option<&EventKey>, reason: &'static str, error: Option<&AwsError>) -> MessageOutcome {
    metrics::RETURNED.add(reason, 1);
    let (event_id, error) = (key.map(EventKey::event_id), error.map(tracing::field::display));
    tracing::warn!(target: "worker", event_id, outcome = "returned", reason, error);
    MessageOutcome::ReturnToQueue
}
