//! A batch is complete: its balances are stored, and it is told.

use inbox_aws::AwsError;
use inbox_aws::balances::BalanceSource;
use inbox_aws::inbox::ClaimedEvent;
use inbox_core::bus::{BatchRef, batch_completed};
use inbox_core::event::Id;
use inbox_core::inbox::QuarantineReason;
use inbox_core::poll::batch::TrackedBatch;

use crate::EventWorker;
use crate::process_message::EffectOutcome;

impl EventWorker {
    /// Stores the balances page by page, as they are read: also those of a batch that turns out not to be complete yet.
    /// They are what the API shows, and the next look writes over them.
    pub(super) async fn process_completion(
        &self,
        event: &ClaimedEvent,
        batch_id: &Id,
    ) -> Result<EffectOutcome, AwsError> {
        let tracked = self.inbox.tracked_batch(batch_id).await?;
        let tracked = tracked.as_ref();
        if let Some(reason) = self.check_admission(event, tracked).await? {
            return Ok(EffectOutcome::Quarantine(reason));
        }
        let batch = BatchRef {
            batch_id,
            schedule_id: tracked.and_then(|tracked| tracked.schedule_id.as_ref()),
            subject: tracked.map_or(event.subject(), |tracked| tracked.subject.as_ref()),
        };
        let received_at = event.event_meta().received_at;
        let origin = BalanceSource { batch_id, schedule_id: batch.schedule_id, received_at };
        let mut reader = self.balance_reader(batch_id, tracked);
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
            // If there are more, the poller sees it once the batch is tracked.
            EffectOutcome::Done if tracked.is_none() => EffectOutcome::DoneUntracked(read.snapshot.found),
            outcome @ (EffectOutcome::Done
            | EffectOutcome::DoneUntracked(_)
            | EffectOutcome::Requeue(_)
            | EffectOutcome::Quarantine(_)) => outcome,
        })
    }
}
