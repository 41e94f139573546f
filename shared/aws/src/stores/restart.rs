//! The start of another cycle of an event that has ended: by an operator, or by the poller.

use inbox_core::due_queue::DueQueue;
use inbox_core::time::UnixMillis;

use crate::items::EventRecord;
use crate::table::attribute::Attribute;
use crate::table::update::Update;

impl EventRecord {
    /// The update that makes the event due at `now`, if its `rev` is still the one read. The times of the ended cycle are kept
    /// beside those of the new one.
    pub(super) fn restart(&self, now: UnixMillis) -> Update {
        Update::at_rev(self.table_key(), self.rev)
            .increment(Attribute::Rev)
            .make_due(DueQueue::Outbox, now)
            .set(Attribute::EnqueueAfter, &now)
            .set(Attribute::RestartedAt, &now)
            .set(Attribute::Requeues, &0_u64)
            .set(Attribute::Attempts, &0_u64)
            .set(Attribute::UndeliverableCount, &0_u64)
            .set(Attribute::PastCycles, &self.with_current_cycle())
            .drop_claim()
            .remove(&[
                Attribute::SentAt,
                Attribute::DoneAt,
                Attribute::QuarantinedAt,
                Attribute::ExpiresAt,
                Attribute::SnapshotDigest,
                Attribute::SnapshotAt,
                Attribute::RetryReason,
            ])
    }
}
