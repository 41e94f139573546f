//! The effect of an event, by its kind.

mod batch_completed;
mod threshold_alerts;

use inbox_aws::AwsError;
use inbox_aws::bus::PublishOutcome;
use inbox_aws::stores::ClaimedEvent;
use inbox_aws::telemetry::metrics;
use inbox_core::bus::{BusEvent, balance_extracted};
use inbox_core::effect::{EffectOutcome, Publication, RequeueDetails};
use inbox_core::event::EventKey;
use inbox_core::quarantine::QuarantineReason;

use crate::EventWorker;

impl EventWorker {
    /// Applies the effect of a claimed event.
    pub(crate) async fn apply_effect(&self, event: &ClaimedEvent) -> Result<EffectOutcome, AwsError> {
        match &event.key {
            EventKey::RightfootCompletion { batch_id } => self.process_completion(event, batch_id).await,
            EventKey::RightfootAlert { batch_id, .. } | EventKey::RightfootPolledAlert { batch_id, .. } => {
                self.process_alerts(event, batch_id).await
            }
            EventKey::Signed { .. } => self.publish_extracted(event).await,
        }
    }

    async fn publish_extracted(&self, event: &ClaimedEvent) -> Result<EffectOutcome, AwsError> {
        let payload = self.processing.claimed_payload(event).await?;
        let with_payload = balance_extracted(&event.event_meta(), &payload, false);
        match self.publish_event(&with_payload).await {
            // EventBridge is stricter than its documentation. Without the
            // payload inside, the event has nothing that it can reject.
            EffectOutcome::Quarantine(_) => {
                Ok(self.publish_event(&balance_extracted(&event.event_meta(), &payload, true)).await)
            }
            outcome @ (EffectOutcome::Done(_) | EffectOutcome::Requeue(_)) => Ok(outcome),
        }
    }

    /// Publishes the one bus event of an event.
    async fn publish_event(&self, announcement: &BusEvent) -> EffectOutcome {
        let published = self.bus.publish(std::slice::from_ref(announcement)).await.pop();
        match published {
            Some(PublishOutcome::Published) => {
                metrics::PUBLISHED.add(announcement.detail_type, 1);
                EffectOutcome::Done(Publication::default())
            }
            Some(PublishOutcome::Undeliverable(error)) => {
                log_not_published(announcement, &error);
                EffectOutcome::Quarantine(QuarantineReason::BusRefused)
            }
            Some(PublishOutcome::Failed(error)) => {
                log_not_published(announcement, &error);
                EffectOutcome::Requeue(RequeueDetails::with_reason("bus_failed"))
            }
            None => EffectOutcome::Requeue(RequeueDetails::with_reason("bus_failed")),
        }
    }
}

fn log_not_published(announcement: &BusEvent, error: &AwsError) {
    let detail_type = announcement.detail_type;
    tracing::warn!(target: "worker", detail_type, %error, "not published");
}
