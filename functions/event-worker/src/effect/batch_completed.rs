//! Completion of a batch: stores its balances and publishes it.

use inbox_aws::AwsError;
use inbox_aws::balances::BalanceSource;
use inbox_aws::stores::ClaimedEvent;
use inbox_core::bus::{BatchRef, batch_completed};
use inbox_core::effect::{EffectOutcome, Publication};
use inbox_core::id::Id;
use inbox_core::poll::batch::TrackedBatch;
use inbox_core::quarantine::QuarantineReason;

use crate::EventWorker;

impl EventWorker {
    /// Stores the balances page by page as they are read, and publishes the batch if it is complete. The
    /// balances of an incomplete batch are stored, too.
    pub(super) async fn process_completion(
        &self,
        event: &ClaimedEvent,
        batch_id: &Id,
    ) -> Result<EffectOutcome, AwsError> {
        let tracked = self.tracking.tracked_batch(batch_id).await?;
        let tracked = tracked.as_ref();
        if let Some(reason) = self.check_admission(event, tracked).await? {
            return Ok(EffectOutcome::Quarantine(reason));
        }
        let batch = BatchRef {
            batch_id,
            schedule_id: tracked.and_then(|tracked| tracked.schedule_id.as_ref()),
            subject: tracked.map_or(event.subject.as_ref(), |tracked| tracked.subject.as_ref()),
        };
        let received_at = event.event_meta().received_at;
        let origin = BalanceSource { batch_id, schedule_id: batch.schedule_id, received_at };
        let mut reader = self.balance_reader(batch_id, tracked);
        // Stored even if the batch is incomplete: the API shows them so, and the next read overwrites them.
        while let Some(rows) = reader.next_page().await {
            self.balances.store(&rows, &origin).await?;
        }
        let read = reader.finish();
        if !read.is_complete(tracked, event.previous_snapshot.as_ref()) {
            return Ok(self.incomplete_outcome(event, tracked, &read, QuarantineReason::Incomplete));
        }
        let expected = tracked.map(TrackedBatch::expected_results);
        let outcome =
            self.publish_event(&batch_completed(&event.event_meta(), &batch, &read.snapshot, expected)).await;
        Ok(match outcome {
            EffectOutcome::Done(_) => EffectOutcome::Done(Publication {
                count: Some(read.snapshot.results()),
                is_of_untracked_batch: tracked.is_none(),
            }),
            outcome @ (EffectOutcome::Requeue(_) | EffectOutcome::Quarantine(_)) => outcome,
        })
    }
}
