//! The start of tracking.

use aws_sdk_dynamodb::types::TransactWriteItem;

use inbox_core::audit::{AuditEntry, AuditSubject};
use inbox_core::expiry::parts_expiry;
use inbox_core::id::Id;
use inbox_core::poll::batch::TrackedBatch;
use inbox_core::poll::schedule::TrackedSchedule;
use inbox_core::requests::submission::SubmissionKind;
use inbox_core::subject::Subject;
use inbox_core::thresholds::Thresholds;
use inbox_core::time::UnixMillis;

use super::{Submissions, WRITE_ATTEMPTS_MAX};
use crate::AwsError;
use crate::items::{BatchItem, ScheduleItem};
use crate::table::attribute::Attribute;
use crate::table::key::Key;
use crate::table::value::{Item, has, read};
use crate::table::{GET, TRANSACT, WriteOutcome};

/// Outcome of starting to track a batch or schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrackOutcome {
    /// It is tracked from now on.
    Started,
    /// It was tracked before, with the same values.
    AlreadyTracked,
    /// It was tracked before, with another value of this field of the request.
    Mismatch(&'static str),
}

/// A batch or schedule that was created and is to be tracked.
#[derive(Clone, Debug)]
pub enum Created<'a> {
    /// A batch.
    Batch(&'a TrackedBatch),
    /// A schedule.
    Schedule(&'a TrackedSchedule, &'a Thresholds),
}

impl Created<'_> {
    pub(super) const fn id(&self) -> &Id {
        match self {
            Self::Batch(tracked) => &tracked.batch_id,
            Self::Schedule(schedule, _) => &schedule.schedule_id,
        }
    }

    pub(super) const fn kind(&self) -> SubmissionKind {
        match self {
            Self::Batch(_) => SubmissionKind::Batch,
            Self::Schedule(..) => SubmissionKind::Schedule,
        }
    }

    fn key(&self) -> Key {
        match self {
            Self::Batch(tracked) => Key::batch(&tracked.batch_id),
            Self::Schedule(schedule, _) => Key::schedule(&schedule.schedule_id),
        }
    }

    const fn subject(&self) -> Option<&Subject> {
        match self {
            Self::Batch(tracked) => tracked.subject.as_ref(),
            Self::Schedule(schedule, _) => schedule.subject.as_ref(),
        }
    }
}

impl Submissions {
    /// Starts to track a batch or schedule that was not submitted here.
    pub async fn track(
        &self,
        created: Created<'_>,
        due_at: UnixMillis,
        now: UnixMillis,
    ) -> Result<TrackOutcome, AwsError> {
        self.start_tracking(created, due_at, now, None).await
    }

    /// Starts to track a batch for an operator, as [`track`](Self::track) does. The audit entry is written in the same
    /// transaction, so there is one exactly if this starts the tracking.
    pub async fn track_audited(
        &self,
        batch: &TrackedBatch,
        due_at: UnixMillis,
        by: &AuditEntry,
    ) -> Result<TrackOutcome, AwsError> {
        self.start_tracking(Created::Batch(batch), due_at, by.at, Some(by)).await
    }

    async fn start_tracking(
        &self,
        created: Created<'_>,
        due_at: UnixMillis,
        now: UnixMillis,
        by: Option<&AuditEntry>,
    ) -> Result<TrackOutcome, AwsError> {
        let item = self.tracked_item(&created, due_at, now).await?;
        for _ in 0..WRITE_ATTEMPTS_MAX {
            let existing = self.existing(&created).await?;
            let Some(write) = self.track_write(&item, existing.as_ref())? else {
                return Ok(existing.map_or(TrackOutcome::AlreadyTracked, |it| compare(&it, &item)));
            };
            if let Some(subject) = created.subject() {
                self.table.bind_subject(subject, now).await?;
            }
            let mut writes = vec![write];
            if let Some(by) = by {
                let subject = AuditSubject::Batch(created.id().clone());
                writes.push(self.table.audit_write(&subject, by)?);
            }
            if self.table.transact(writes).await? == WriteOutcome::Applied {
                return Ok(TrackOutcome::Started);
            }
        }
        Err(AwsError::write_conflict(TRANSACT))
    }

    /// The item of what is tracked under this id, if anything is.
    pub(super) async fn existing(&self, created: &Created<'_>) -> Result<Option<Item>, AwsError> {
        self.table.get(&created.key()).await
    }

    /// The item of a batch or schedule whose tracking begins. What it refers to is stored here.
    pub(super) async fn tracked_item(
        &self,
        created: &Created<'_>,
        due_at: UnixMillis,
        now: UnixMillis,
    ) -> Result<Item, AwsError> {
        let retention_days = self.table.retention_days;
        match created {
            Created::Batch(tracked) => {
                let mut batch = BatchItem::new((*tracked).clone(), due_at, now);
                if !tracked.failed_authorizers.is_empty() {
                    let expire_at = parts_expiry(now, retention_days);
                    batch.excluded =
                        Some(self.table.store_ids(&tracked.failed_authorizers, expire_at).await?);
                }
                Ok(batch.to_item())
            }
            Created::Schedule(schedule, thresholds) => {
                // The thresholds are read until the last run has ended.
                let expire_at = parts_expiry(schedule.ends_at(), retention_days);
                let thresholds = self.table.store_thresholds(thresholds, expire_at).await?;
                Ok(ScheduleItem::new((*schedule).clone(), thresholds, due_at).to_item())
            }
        }
    }

    /// The write that starts tracking; `None` if it is tracked. A batch that the poller took for a schedule's
    /// run, before it was known to be submitted by itself, is corrected.
    pub(super) fn track_write(
        &self,
        item: &Item,
        existing: Option<&Item>,
    ) -> Result<Option<TransactWriteItem>, AwsError> {
        let Some(existing) = existing else {
            return self.table.transact_put(item.clone(), &Attribute::Pk.is_missing()).map(Some);
        };
        let is_mistaken_run = has(existing, Attribute::ScheduleId) && !has(item, Attribute::ScheduleId);
        if !is_mistaken_run {
            return Ok(None);
        }
        let mut batch = BatchItem::from_item(item).ok_or(AwsError::unreadable_item(GET))?;
        let seen: u64 = read(existing, Attribute::Rev).ok_or(AwsError::unreadable_item(GET))?;
        // `rev` only grows, also when the whole item is replaced.
        batch.tracking.set_rev(seen.saturating_add(1));
        self.table.transact_put(batch.to_item(), &Attribute::Rev.equals(&seen)).map(Some)
    }
}

/// Compares what is tracked with what was requested, as far as the request says; names the first field that
/// differs.
fn compare(existing: &Item, requested: &Item) -> TrackOutcome {
    let document = if has(requested, Attribute::Probes) { "thresholds" } else { "failed_authorizer_ids" };
    let fields = [
        (Attribute::Expected, "expected"),
        (Attribute::Subject, "subject"),
        (Attribute::Probes, "probe_authorizers"),
        (Attribute::PayloadHash, document),
    ];
    for (attribute, field) in fields {
        let requested = requested.get(attribute.name());
        if requested.is_some_and(|value| existing.get(attribute.name()) != Some(value)) {
            return TrackOutcome::Mismatch(field);
        }
    }
    TrackOutcome::AlreadyTracked
}
