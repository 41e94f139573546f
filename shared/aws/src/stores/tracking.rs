//! Tracked batches and schedules, as the worker and the poller read them.
//!
//! ```text
//!  worker    expedite a schedule: due_at=now, expedited_at=now if due, later than now and not expedited of late
//! ```
//!
//! Expediting leaves `rev` unchanged: a caller with a webhook URL could otherwise make the poller's writes conflict again
//! and again. Advancing a schedule names the `expedited_at` that was read, so that no hint is lost either.

use std::time::Duration;

use inbox_core::id::Id;
use inbox_core::poll::batch::TrackedBatch;
use inbox_core::subject::Subject;
use inbox_core::thresholds::Thresholds;
use inbox_core::time::UnixMillis;

use crate::AwsError;
use crate::items::{BatchItem, ScheduleItem};
use crate::resources::{Actions, Resource};
use crate::table::Table;
use crate::table::attribute::Attribute;
use crate::table::key::Key;
use crate::table::update::Update;

/// Reads what is tracked, and makes a schedule due early.
#[derive(Clone, Debug)]
pub struct Tracking {
    table: Table,
}

impl Tracking {
    /// The actions of this store.
    pub const ACTIONS: Actions = &[(Resource::InboxTable, &["dynamodb:GetItem", "dynamodb:UpdateItem"])];

    /// Creates the store.
    pub fn new(table: Table) -> Self {
        Self { table }
    }

    /// Reads a tracked batch with its failed authorizers; `None` if it is not tracked. Strongly consistent.
    pub async fn tracked_batch(&self, batch_id: &Id) -> Result<Option<TrackedBatch>, AwsError> {
        let Some(batch) = self.table.get_as(&Key::batch(batch_id), BatchItem::from_item).await? else {
            return Ok(None);
        };
        let failed_authorizers = self.table.load_ids(batch.excluded.as_ref()).await?;
        Ok(Some(TrackedBatch { failed_authorizers, ..batch.tracked }))
    }

    /// Reads a tracked schedule; `None` if it is not tracked. One strongly consistent read.
    pub async fn tracked_schedule(&self, schedule_id: &Id) -> Result<Option<ScheduleItem>, AwsError> {
        self.table.get_as(&Key::schedule(schedule_id), ScheduleItem::from_item).await
    }

    /// Loads the thresholds of a schedule.
    pub async fn thresholds(&self, schedule: &ScheduleItem) -> Result<Thresholds, AwsError> {
        self.table.load_thresholds(&schedule.thresholds).await
    }

    /// Makes a schedule due now; does nothing if it is due already or was expedited within `every`.
    pub async fn expedite_schedule(
        &self,
        schedule_id: &Id,
        every: Duration,
        now: UnixMillis,
    ) -> Result<(), AwsError> {
        let was_not_expedited =
            Attribute::ExpeditedAt.is_missing().or(Attribute::ExpeditedAt.is_at_most(&now.minus(every)));
        let update = Update::without_rev(Key::schedule(schedule_id))
            .only_if(Attribute::Due.exists())
            .only_if(Attribute::DueAt.is_above(&now))
            .only_if(was_not_expedited)
            .set(Attribute::DueAt, &now)
            .set(Attribute::ExpeditedAt, &now);
        self.table.update_if(update).await.map(drop)
    }

    /// Returns `true` if something was submitted or is tracked under this subject. Strongly consistent reads.
    pub async fn is_subject_bound(&self, subject: &Subject) -> Result<bool, AwsError> {
        self.table.is_subject_bound(subject).await
    }
}
