//! The poller's reads and writes of tracked batches, schedules and their runs.
//!
//! ```text
//!  poller    defer: rev+1, polls+1, due_at=later if rev=seen and due ── ask ── record ── finish if rev=seen+1
//!                                                                        └ problem or results changed: noted if rev=seen and due
//! ```
//!
//! An item is deferred before Rightfoot is asked: an item that makes a run crash comes back later and not first, and of two
//! runs at the same item only one asks.

mod batch_progress;
mod corrections;

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::TransactWriteItem;

use inbox_core::expiry::{parts_expiry, record_expiry};
use inbox_core::id::Id;
use inbox_core::poll::PollTiming;
use inbox_core::poll::batch::{ResultsFound, TrackedBatch};
use inbox_core::poll::problem::PollProblem;
use inbox_core::poll::schedule::{BatchOwner, SchedulePlan, TrackedSchedule};
use inbox_core::time::{UnixMillis, UnixSecs};

use crate::AwsError;
use crate::items::{BatchItem, ScheduleItem, TrackingState};
use crate::resources::{Actions, Resource};
use crate::table::attribute::Attribute;
use crate::table::key::Key;
use crate::table::update::Update;
use crate::table::value::read;
use crate::table::{BATCH_GET_KEYS_MAX, Table, WriteOutcome};

pub use batch_progress::{AlertedAuthorizers, BatchProgress};

/// What the last poll of an item has shown, as its item keeps it for operators.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PollNote {
    /// The problem of its polls; `None` ends it.
    pub problem: Option<PollProblem>,
    /// The number of results of a batch; `None` keeps the stored one.
    pub results_found: Option<ResultsFound>,
}

impl PollNote {
    fn apply_to(&self, update: Update) -> Update {
        let update = update.set_some(Attribute::ResultsFound, self.results_found.as_ref());
        match &self.problem {
            Some(problem) => update.set(Attribute::PollProblem, problem),
            None => update.remove(&[Attribute::PollProblem]),
        }
    }
}

/// Reads and writes what the poller polls.
#[derive(Clone, Debug)]
pub struct PollStore {
    table: Table,
}

impl PollStore {
    /// The actions of this store.
    pub const ACTIONS: Actions = &[(
        Resource::InboxTable,
        &[
            "dynamodb:BatchGetItem",
            "dynamodb:GetItem",
            "dynamodb:PutItem",
            "dynamodb:Query",
            "dynamodb:UpdateItem",
        ],
    )];

    /// Creates the store.
    pub fn new(table: Table) -> Self {
        Self { table }
    }

    /// The owners of those of these batches that are tracked. Claims of webhooks do not count.
    pub async fn owners_of(&self, batches: &BTreeSet<Id>) -> Result<BTreeMap<Id, BatchOwner>, AwsError> {
        let mut owners = BTreeMap::new();
        let batches: Vec<_> = batches.iter().collect();
        for chunk in batches.chunks(BATCH_GET_KEYS_MAX) {
            let keys = chunk.iter().map(|batch_id| Key::batch(batch_id));
            for item in self.table.get_all(keys.collect()).await? {
                // Only these two: a batch that this version cannot read is tracked all the same.
                let batch_id = Key::of_item(&item).and_then(|key| key.batch_id());
                let schedule_id = read(&item, Attribute::ScheduleId);
                owners.extend(
                    batch_id.zip(Some(schedule_id.map_or(BatchOwner::OnDemand, BatchOwner::Schedule))),
                );
            }
        }
        Ok(owners)
    }

    /// Sets the due time and the poll count of an item, before Rightfoot is asked; updates `tracking`.
    pub async fn defer_before_poll(
        &self,
        tracking: &mut TrackingState,
        polls: u64,
        until: UnixMillis,
    ) -> Result<WriteOutcome, AwsError> {
        let update = tracking
            .update()
            .increment(Attribute::Rev)
            .set(Attribute::Polls, &polls)
            .set(Attribute::DueAt, &until);
        let written = self.table.update_once(update).await?;
        if written == WriteOutcome::Applied {
            tracking.increment_rev();
            tracking.due_at = Some(until);
        }
        Ok(written)
    }

    /// Moves the due time of an item. If it was polled, `note` is what that has shown.
    pub async fn reschedule(
        &self,
        tracking: &TrackingState,
        until: UnixMillis,
        note: Option<&PollNote>,
    ) -> Result<WriteOutcome, AwsError> {
        let update = tracking.update().increment(Attribute::Rev).set(Attribute::DueAt, &until);
        let update = match note {
            Some(note) => note.apply_to(update),
            None => update,
        };
        self.table.update_once(update).await
    }

    /// Moves the due time of a batch, and records that the API has shown it complete, with these results.
    pub async fn mark_shown_complete(
        &self,
        tracking: &TrackingState,
        until: UnixMillis,
        results: Option<ResultsFound>,
        now: UnixMillis,
    ) -> Result<WriteOutcome, AwsError> {
        let update = tracking
            .update()
            .increment(Attribute::Rev)
            .set(Attribute::DueAt, &until)
            .set(Attribute::ShownCompleteAt, &now)
            .set_some(Attribute::ResultsFound, results.as_ref())
            .remove(&[Attribute::PollProblem]);
        self.table.update_once(update).await
    }

    /// Ends the tracking of an item: everything is known about it. If the end of a batch follows from a poll, that has
    /// shown these results.
    pub async fn finish_tracking(
        &self,
        tracking: &TrackingState,
        results: Option<ResultsFound>,
        now: UnixMillis,
    ) -> Result<WriteOutcome, AwsError> {
        self.end_tracking(tracking, Attribute::DoneAt, results, now).await
    }

    /// Ends the tracking of a batch as overdue: nothing more can be known about it than these results (P9).
    pub async fn mark_overdue(
        &self,
        tracking: &TrackingState,
        results: Option<ResultsFound>,
        now: UnixMillis,
    ) -> Result<WriteOutcome, AwsError> {
        self.end_tracking(tracking, Attribute::OverdueAt, results, now).await
    }

    async fn end_tracking(
        &self,
        tracking: &TrackingState,
        end: Attribute,
        results: Option<ResultsFound>,
        now: UnixMillis,
    ) -> Result<WriteOutcome, AwsError> {
        let update = tracking
            .update()
            .increment(Attribute::Rev)
            .set(end, &now)
            .set_some(Attribute::ResultsFound, results.as_ref())
            .set(Attribute::ExpiresAt, &record_expiry(now, self.table.retention_days))
            .end_due()
            .remove(&[Attribute::PollProblem]);
        self.table.update_once(update).await
    }

    /// Stores what a poll of an item has shown, if it has changed since the item was read.
    ///
    /// It leaves `rev` unchanged, so it makes no other write conflict; where the item is written anyway, it is part of that
    /// write.
    pub async fn note_poll(
        &self,
        tracking: &TrackingState,
        note: &PollNote,
    ) -> Result<WriteOutcome, AwsError> {
        // Most polls change nothing, and this saves their write.
        if tracking.problem == note.problem && tracking.results_found == note.results_found {
            return Ok(WriteOutcome::Applied);
        }
        // Not `update_once`: a new `write_id` would hide that another write, whose response was lost, was applied.
        self.table.update_if(note.apply_to(tracking.update())).await
    }

    /// Advances a schedule to its next poll: stores its state, the problem of its polls and the new runs to
    /// track, in one transaction.
    pub async fn advance_schedule(
        &self,
        schedule: &ScheduleItem,
        plan: &SchedulePlan,
        problem: Option<&PollProblem>,
        next: UnixMillis,
        timing: &PollTiming,
        now: UnixMillis,
    ) -> Result<WriteOutcome, AwsError> {
        let parts_expire_at = self.extend_thresholds_expiry(schedule, plan).await?;
        let mut writes = vec![self.schedule_write(schedule, plan, problem, next, parts_expire_at)?];
        for run in &plan.new_runs {
            let batch = TrackedBatch {
                batch_id: run.batch_id.clone(),
                subject: schedule.schedule.subject.clone(),
                schedule_id: Some(schedule.schedule.schedule_id.clone()),
                expected: run.expected,
                failed_authorizers: BTreeSet::new(),
                deadline: now.plus(timing.deadline),
                polls: 0,
            };
            // Due at once, because the run may be complete already.
            let item = BatchItem { run_at: Some(run.run_at), ..BatchItem::new(batch, now, now) };
            writes.push(self.table.transact_put(item.to_item(), &Attribute::Pk.is_missing())?);
        }
        self.table.transact(writes).await
    }

    /// Extends the expiry of the thresholds, which are read until the last run has ended: a schedule may be
    /// extended at Rightfoot. Returns the new expiry of their parts, if it has moved.
    async fn extend_thresholds_expiry(
        &self,
        schedule: &ScheduleItem,
        plan: &SchedulePlan,
    ) -> Result<Option<UnixSecs>, AwsError> {
        let extended = TrackedSchedule { expires_at: plan.expires_at, ..schedule.schedule.clone() };
        let later = parts_expiry(extended.ends_at(), self.table.retention_days);
        let is_moved = self.table.extend_payload_expiry(&mut schedule.thresholds.clone(), later).await?;
        Ok(is_moved.then_some(later))
    }

    fn schedule_write(
        &self,
        schedule: &ScheduleItem,
        plan: &SchedulePlan,
        problem: Option<&PollProblem>,
        next: UnixMillis,
        parts_expire_at: Option<UnixSecs>,
    ) -> Result<TransactWriteItem, AwsError> {
        // A schedule that was expedited meanwhile must be polled first, not moved to a later time.
        let is_not_expedited_since = match schedule.tracking.expedited_at {
            None => Attribute::ExpeditedAt.is_missing(),
            Some(seen) => Attribute::ExpeditedAt.equals(&seen),
        };
        let new_expiry = Some(plan.expires_at).filter(|at| *at != schedule.schedule.expires_at);
        let update = schedule
            .tracking
            .update()
            .only_if(is_not_expedited_since)
            .increment(Attribute::Rev)
            .set(Attribute::DueAt, &next)
            .set_some(Attribute::LastRunSeen, plan.last_run_seen.as_ref())
            .set_some(Attribute::ScheduleExpiresAt, new_expiry.as_ref())
            .set_some(Attribute::PartsExpireAt, parts_expire_at.as_ref())
            .set_some(Attribute::Polls, plan.resets_poll_count.then_some(0_u64).as_ref());
        let update = match problem {
            Some(problem) => update.set(Attribute::PollProblem, problem),
            None => update.remove(&[Attribute::PollProblem]),
        };
        self.table.transact_update(update)
    }
}
