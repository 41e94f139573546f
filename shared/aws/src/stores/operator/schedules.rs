//! Changes of tracked schedules by an operator: what was changed at Rightfoot, or is no longer to be polled.
//!
//! ```text
//!  operator  untrack: done_at, no longer due, expires  if rev=seen and due
//!  operator  update:  rev+1, due now                   if rev=seen
//! ```

use std::time::Duration;

use inbox_core::audit::{AuditEntry, AuditSubject};
use inbox_core::due_queue::DueQueue;
use inbox_core::expiry::parts_expiry;
use inbox_core::id::Id;
use inbox_core::thresholds::Thresholds;
use inbox_core::time::UnixMillis;

use super::OperatorStore;
use crate::AwsError;
use crate::items::ScheduleItem;
use crate::table::WriteOutcome;
use crate::table::attribute::Attribute;
use crate::table::update::Update;

/// What an operator changes of a schedule, as it was changed at Rightfoot; `None` leaves a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScheduleChange {
    /// The thresholds, all of them.
    pub thresholds: Option<Thresholds>,
    /// The time between two runs.
    pub interval: Option<Duration>,
    /// The time after which there are no more runs.
    pub expires_at: Option<UnixMillis>,
    /// The authorizers whose histories are read, all of them.
    pub probes: Option<Vec<Id>>,
}

impl OperatorStore {
    /// Ends the tracking of a schedule, as it was read: the poller does not look for its runs any more. Batches that are
    /// tracked already stay tracked. Conflicts if the schedule was changed meanwhile, or is not polled any more.
    pub async fn untrack_schedule(
        &self,
        seen: &ScheduleItem,
        by: &AuditEntry,
    ) -> Result<WriteOutcome, AwsError> {
        let update = seen
            .tracking
            .update()
            .increment(Attribute::Rev)
            .set(Attribute::DoneAt, &by.at)
            // Later than the records of its last runs: their alerts need its thresholds.
            .set(Attribute::ExpiresAt, &parts_expiry(by.at, self.table.retention_days))
            .remove(&[Attribute::PollProblem])
            .end_due();
        self.update_schedule_item(seen, update, by).await
    }

    /// Changes a schedule, as it was read, and makes it due: also one that is not polled any more. Conflicts if it was changed
    /// meanwhile.
    pub async fn update_schedule(
        &self,
        seen: &ScheduleItem,
        change: &ScheduleChange,
        by: &AuditEntry,
    ) -> Result<WriteOutcome, AwsError> {
        let mut changed = seen.schedule.clone();
        changed.interval = change.interval.unwrap_or(changed.interval);
        changed.expires_at = change.expires_at.unwrap_or(changed.expires_at);
        // Stored anew even if they stay: they must be readable until the last run has ended.
        let thresholds = match &change.thresholds {
            Some(thresholds) => thresholds.clone(),
            None => self.table.load_thresholds(&seen.thresholds).await?,
        };
        let expire_at = parts_expiry(changed.ends_at(), self.table.retention_days);
        let thresholds = self.table.store_thresholds(&thresholds, expire_at).await?.attributes();
        // The new thresholds may be stored in the item where the old ones were in parts, or the other way round.
        let mut outdated = vec![Attribute::Payload, Attribute::Parts, Attribute::PartsExpireAt];
        outdated.retain(|old| thresholds.iter().all(|(new, _)| new != old));
        outdated.extend([Attribute::DoneAt, Attribute::ExpiresAt]);
        let update = Update::at_rev(seen.tracking.key().clone(), seen.tracking.rev())
            .increment(Attribute::Rev)
            .set(Attribute::IntervalSecs, &changed.interval.as_secs())
            .set(Attribute::ScheduleExpiresAt, &changed.expires_at)
            .set_some(Attribute::Probes, change.probes.as_ref())
            .remove(&outdated)
            .set_all(thresholds)
            .make_due(DueQueue::Poll, by.at);
        self.update_schedule_item(seen, update, by).await
    }

    async fn update_schedule_item(
        &self,
        seen: &ScheduleItem,
        update: Update,
        by: &AuditEntry,
    ) -> Result<WriteOutcome, AwsError> {
        let subject = AuditSubject::Schedule(seen.schedule.schedule_id.clone());
        let is_own = |item: &_| ScheduleItem::from_item(item).is_some_and(|it| it.audit_entries.contains(by));
        self.table.update_audited(update, &subject, by, is_own).await
    }
}
