//! The start of another cycle of an event that has ended: by an operator, or by the poller.

use inbox_core::due_queue::DueQueue;
use inbox_core::limits::PAST_CYCLES_MAX;
use inbox_core::time::UnixMillis;

use crate::items::{EventRecord, PastCycle};
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
                Attribute::PublishedCount,
                Attribute::ResultsFound,
            ])
    }

    /// The cycles of the event with the current one, which has ended, added: the first one and the latest ones,
    /// [`PAST_CYCLES_MAX`] at most.
    ///
    /// The attribute is written as a whole, so the write must name the `rev` that the record was read at.
    fn with_current_cycle(&self) -> Vec<PastCycle> {
        let mut cycles = self.past_cycles.clone();
        cycles.push(self.current_cycle());
        let surplus = cycles.len().saturating_sub(PAST_CYCLES_MAX);
        // The first cycle stays. Without a surplus, the range `1..=0` is empty.
        cycles.drain(1..=surplus);
        cycles
    }
}
