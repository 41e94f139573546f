//! Tracked batches.

use std::collections::BTreeSet;

use inbox_core::batch_results::BatchResults;
use inbox_core::list_kind::ListKind;
use inbox_core::poll::batch::TrackedBatch;
use inbox_core::time::UnixMillis;

use super::{EventRecord, StoredPayload, TrackingState};
use crate::table::attribute::Attribute;
use crate::table::key::Key;
use crate::table::value::{Item, has, read, read_count};

/// A tracked batch, as stored.
#[derive(Clone, Debug)]
pub struct BatchItem {
    /// The batch. Its failed authorizers are stored apart: see `excluded`.
    pub tracked: TrackedBatch,
    /// Its `rev` and times.
    pub tracking: TrackingState,
    /// Time at which tracking began.
    pub tracked_at: Option<UnixMillis>,
    /// Time of the run of a schedule.
    pub run_at: Option<UnixMillis>,
    /// Time at which tracking ended because everything was known.
    pub done_at: Option<UnixMillis>,
    /// Time at which it became overdue.
    pub overdue_at: Option<UnixMillis>,
    /// Time at which the API showed it complete.
    pub shown_complete_at: Option<UnixMillis>,
    /// Number of authorizers that Rightfoot excluded.
    pub excluded_count: u64,
    /// Location of the authorizers that Rightfoot excluded when the batch was submitted; `None` if there are none.
    pub excluded: Option<StoredPayload>,
}

impl BatchItem {
    /// A batch whose tracking begins at `now`.
    pub(crate) fn new(tracked: TrackedBatch, due_at: UnixMillis, now: UnixMillis) -> Self {
        Self {
            tracking: TrackingState::new(Key::batch(&tracked.batch_id), due_at),
            excluded_count: u64::try_from(tracked.failed_authorizers.len()).unwrap_or(u64::MAX),
            tracked,
            tracked_at: Some(now),
            run_at: None,
            done_at: None,
            overdue_at: None,
            shown_complete_at: None,
            excluded: None,
        }
    }

    /// The attributes of a batch whose tracking begins.
    pub(crate) fn to_item(&self) -> Item {
        let new_item = self.tracking.to_new_item();
        let new_item = match self.tracked_at {
            Some(at) => new_item.listed(ListKind::Batch, self.tracking.key(), at),
            None => new_item,
        };
        new_item
            .set_some(Attribute::Subject, self.tracked.subject.as_ref())
            .set_some(Attribute::ScheduleId, self.tracked.schedule_id.as_ref())
            .set(Attribute::Expected, &self.tracked.expected)
            .set_some(Attribute::ExcludedCount, Some(&self.excluded_count).filter(|count| **count > 0))
            .set(Attribute::DeadlineAt, &self.tracked.deadline)
            .set(Attribute::Polls, &self.tracked.polls)
            .set_some(Attribute::TrackedAt, self.tracked_at.as_ref())
            .set_some(Attribute::RunAt, self.run_at.as_ref())
            .extend(self.excluded.iter().flat_map(StoredPayload::attributes))
            .build()
    }

    /// The number of results that there must be, of authorizers that Rightfoot accepted; at least one.
    pub fn expected_results(&self) -> u64 {
        // As of `TrackedBatch`, without loading the authorizers.
        self.tracked.expected.saturating_sub(self.excluded_count).max(1)
    }

    /// Its results, with those of its completion if that is recorded.
    pub fn results(&self, completion: Option<&EventRecord>) -> BatchResults {
        let completion = completion.map(EventRecord::completion_results).unwrap_or_default();
        BatchResults::of(Some(self.expected_results()), self.tracking.results_found, completion)
    }

    /// Reads a batch; `None` if the item is not one.
    pub(crate) fn from_item(item: &Item) -> Option<Self> {
        let tracking = TrackingState::from_item(item)?;
        let batch_id = tracking.key().batch_id()?;
        Some(Self {
            tracked: TrackedBatch {
                batch_id,
                subject: read(item, Attribute::Subject),
                schedule_id: read(item, Attribute::ScheduleId),
                expected: read(item, Attribute::Expected)?,
                failed_authorizers: BTreeSet::new(),
                deadline: read(item, Attribute::DeadlineAt)?,
                polls: read(item, Attribute::Polls)?,
            },
            tracking,
            tracked_at: read(item, Attribute::TrackedAt),
            run_at: read(item, Attribute::RunAt),
            done_at: read(item, Attribute::DoneAt),
            overdue_at: read(item, Attribute::OverdueAt),
            shown_complete_at: read(item, Attribute::ShownCompleteAt),
            excluded_count: read_count(item, Attribute::ExcludedCount),
            excluded: match has(item, Attribute::PayloadHash) {
                true => Some(StoredPayload::from_item(item)?),
                false => None,
            },
        })
    }
}
