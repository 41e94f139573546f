//! A batch is complete: its balances are stored, and it is told.

use inbox_aws::Fault;
use inbox_aws::balances::Origin;
use inbox_aws::inbox::Work;
use inbox_core::bus::{Batch, batch_completed};
use inbox_core::event::Id;
use inbox_core::inbox::Reason;
use inbox_core::poll::batch::Tracked;

use crate::EventWorker;
use crate::work::Verdict;

impl EventWorker {
    /// Stores the balances page by page, as they are read: also those of a batch that turns out not to be complete yet.
    /// They are what the API shows, and the next look writes over them.
    pub(super) async fn completed(&self, work: &Work, batch_id: &Id) -> Result<Verdict, Fault> {
        let tracked = self.inbox.tracked_batch(batch_id).await?;
        let tracked = tracked.as_ref();
        if let Some(reason) = self.turned_away(work, tracked).await? {
            return Ok(Verdict::Never(reason));
        }
        let batch = Batch {
            batch_id,
            schedule_id: tracked.and_then(|tracked| tracked.schedule_id.as_ref()),
            subject: tracked.map_or(work.subject(), |tracked| tracked.subject.as_ref()),
        };
        let received_at = work.effect().received_at;
        let origin = Origin { batch_id, schedule_id: batch.schedule_id, received_at };
        let mut looking = self.look(batch_id, tracked);
        while let Some(rows) = looking.next().await {
            self.balances.store(&rows, &origin).await?;
        }
        let looked = looking.end();
        if !looked.is_complete(tracked, work.earlier.as_ref()) {
            return Ok(self.not_yet(work, tracked, &looked, Reason::Incomplete));
        }
        let expected = tracked.map(Tracked::awaited);
        let told = self.announce(&batch_completed(&work.effect(), &batch, &looked.look, expected)).await;
        Ok(match told {
            // If there are more, the poller sees it once the batch is tracked.
            Verdict::Done if tracked.is_none() => Verdict::DoneUntracked(looked.look.found),
            told @ (Verdict::Done | Verdict::DoneUntracked(_) | Verdict::Later(_) | Verdict::Never(_)) => {
                told
            }
        })
    }
}
