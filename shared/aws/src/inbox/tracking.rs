//! Tracked batches, schedules and their runs, which the poller asks Rightfoot about.
//!
//! ```text
//!  poller    defer: rev+1, polls+1, due_at=later if rev=seen and due ── ask ── record ── finish if rev=seen+1
//!  worker    expedite a schedule: due_at=now, expedited_at=now if due, later than now and not expedited of late
//! ```
//!
//! Expediting leaves `rev` unchanged: a caller with a webhook URL could otherwise make the poller's writes conflict again
//! and again. Advancing a schedule names the `expedited_at` that was read, so that no hint is lost either.
//!
//! An item is deferred before Rightfoot is asked: an item that makes a run crash comes back later and not first, and of two
//! runs at the same item only one asks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes, Put, TransactWriteItem, Update};

use inbox_core::expiry::{parts_expiry, record_expiry};
use inbox_core::poll::PollTiming;
use inbox_core::poll::batch::TrackedBatch;
use inbox_core::poll::problem::PollProblem;
use inbox_core::poll::schedule::{BatchOwner, SchedulePlan, TrackedSchedule};
use inbox_core::table_keys::{batch_pk, schedule_pk};
use inbox_core::time::{UnixMillis, UnixSecs};
use inbox_core::{due_queue::DueQueue, id::Id, subject::Subject, thresholds::Thresholds};

use super::batch_progress::SHOWN_COMPLETE_AT;
use super::poll_problem::POLL_PROBLEM;
use super::transaction::{self, TransactionOutcome};
use super::{INITIAL_REV, Inbox, WriteOutcome, json_blobs, poll_problem};
use crate::conditional::condition_failed;
use crate::item::{self, Item, PayloadLocation, SCHEMA_VERSION, number, text};
use crate::{AwsError, payload};

/// The sort key of a tracked batch or schedule.
pub(crate) const TRACKED_SK: &str = "tracked";
/// The prefix of an alert item's sort key; the authorizer follows.
pub(super) const ALERT_EFFECT_SK_PREFIX: &str = "effect#alert#";
/// Most keys in one `BatchGetItem` (DynamoDB's own limit).
const BATCH_GET_KEYS_MAX: usize = 100;

/// Attribute: when an alert last expedited a schedule.
const EXPEDITED_AT: &str = "expedited_at";

/// The `rev` and times of a tracked item, as read: every write to the item names them.
#[derive(Clone, Debug)]
pub struct TrackingState {
    key: Item,
    rev: u64,
    /// Time of the next poll; `None` if tracking has ended.
    pub due_at: Option<UnixMillis>,
    /// Time at which an alert last expedited it.
    expedited_at: Option<UnixMillis>,
    /// The stored problem of its polls, if any.
    pub problem: Option<PollProblem>,
}

impl TrackingState {
    pub(super) fn from_item(item: &Item) -> Option<Self> {
        Some(Self {
            key: item::key(item::string(item, "pk")?, item::string(item, "sk")?),
            rev: item::parsed_number(item, "rev")?,
            due_at: item
                .contains_key("due")
                .then(|| item::parsed_number(item, "due_at"))
                .flatten()
                .map(UnixMillis),
            expedited_at: item::millis(item, EXPEDITED_AT),
            problem: poll_problem::read(item),
        })
    }

    /// Returns `true` if the item was not written since, except by expediting it.
    pub const fn has_same_rev(&self, later: &Self) -> bool {
        self.rev == later.rev
    }

    pub(super) const fn key(&self) -> &Item {
        &self.key
    }

    pub(super) const fn rev(&self) -> u64 {
        self.rev
    }

    /// Follows an applied write of this process.
    pub(super) const fn increment_rev(&mut self) {
        self.rev += 1;
    }

    /// Returns `true` if it is due: the index may lag behind the item.
    pub fn is_due(&self, now: UnixMillis) -> bool {
        self.due_at.is_some_and(|due_at| due_at <= now)
    }
}

/// A tracked schedule, as read from the table.
#[derive(Clone, Debug)]
pub struct ScheduleProgress {
    /// The schedule and its last known state.
    pub schedule: TrackedSchedule,
    /// Its `rev` and times.
    pub tracking: TrackingState,
    thresholds: Item,
}

impl Inbox {
    /// Reads a tracked batch with its failed authorizers; `None` if it is not tracked. Strongly consistent.
    pub async fn tracked_batch(&self, batch_id: &Id) -> Result<Option<TrackedBatch>, AwsError> {
        let Some(item) = self.get_item(item::key(&batch_pk(batch_id), TRACKED_SK)).await? else {
            return Ok(None);
        };
        let mut tracked = read_batch(batch_id, &item).ok_or(AwsError::unreadable_item("dynamodb:GetItem"))?;
        if json_blobs::has_blob(&item) {
            tracked.failed_authorizers = self.load_ids(&item).await?;
        }
        Ok(Some(tracked))
    }

    /// Reads a tracked schedule; `None` if it is not tracked. One strongly consistent read.
    pub async fn schedule_progress(&self, schedule_id: &Id) -> Result<Option<ScheduleProgress>, AwsError> {
        let Some(item) = self.get_item(item::key(&schedule_pk(schedule_id), TRACKED_SK)).await? else {
            return Ok(None);
        };
        let (schedule, tracking) = read_schedule(schedule_id, &item)
            .zip(TrackingState::from_item(&item))
            .ok_or(AwsError::unreadable_item("dynamodb:GetItem"))?;
        Ok(Some(ScheduleProgress { schedule, tracking, thresholds: item }))
    }

    /// Loads the thresholds of a schedule.
    pub async fn thresholds(&self, schedule: &ScheduleProgress) -> Result<Thresholds, AwsError> {
        self.load_thresholds(&schedule.thresholds).await
    }

    /// The owners of those of these batches that are tracked. Claims of webhooks do not count.
    pub async fn owners_of(&self, batches: &BTreeSet<Id>) -> Result<BTreeMap<Id, BatchOwner>, AwsError> {
        let mut owners = BTreeMap::new();
        let batches: Vec<_> = batches.iter().collect();
        for chunk in batches.chunks(BATCH_GET_KEYS_MAX) {
            let keys = chunk.iter().map(|batch| item::key(&batch_pk(batch), TRACKED_SK));
            for item in self.batch_get(keys.collect()).await? {
                let batch_id = item::string(&item, "pk").and_then(|pk| pk.strip_prefix("rightfoot#batch#"));
                let Some(batch_id) = batch_id.and_then(Id::new) else { continue };
                let schedule_id = item::string(&item, "schedule_id").and_then(Id::new);
                owners.insert(batch_id, schedule_id.map_or(BatchOwner::OnDemand, BatchOwner::Schedule));
            }
        }
        Ok(owners)
    }

    pub(super) async fn batch_get(&self, mut keys: Vec<Item>) -> Result<Vec<Item>, AwsError> {
        const GET: &str = "dynamodb:BatchGetItem";
        let mut found = Vec::new();
        // Unprocessed keys are requested again a few times, with growing pauses.
        for pause_ms in [0, 50, 100, 200, 400] {
            if keys.is_empty() {
                return Ok(found);
            }
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            let request = KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(true).build();
            let read = self
                .db
                .batch_get_item()
                .request_items(&self.table, request.map_err(|_| AwsError::unreadable_item(GET))?);
            let mut answer = read.send().await.map_err(|error| AwsError::from_sdk_error(GET, &error))?;
            found.extend(
                answer.responses.take().and_then(|mut all| all.remove(&self.table)).unwrap_or_default(),
            );
            let unprocessed = answer.unprocessed_keys().and_then(|tables| tables.get(&self.table));
            keys = unprocessed.map(|left| left.keys().to_vec()).unwrap_or_default();
        }
        Err(AwsError { action: GET, kind: crate::AwsErrorKind::UnreadableResponse })
    }

    /// Sets the due time and the poll count of an item, before Rightfoot is asked; updates `tracking`.
    pub async fn defer_before_poll(
        &self,
        tracking: &mut TrackingState,
        polls: u64,
        until: UnixMillis,
    ) -> Result<WriteOutcome, AwsError> {
        let written = self
            .update_at_rev(
                tracking.key.clone(),
                tracking.rev,
                "rev = rev + :one, polls = :polls, due_at = :later",
                [(":one", number(1)), (":polls", number(polls)), (":later", number(until.0))],
            )
            .await?;
        if written == WriteOutcome::Applied {
            tracking.increment_rev();
            tracking.due_at = Some(until);
        }
        Ok(written)
    }

    /// Moves the due time of an item.
    pub async fn reschedule(
        &self,
        tracking: &TrackingState,
        until: UnixMillis,
    ) -> Result<WriteOutcome, AwsError> {
        let values = [(":one", number(1)), (":later", number(until.0))];
        self.update_at_rev(tracking.key.clone(), tracking.rev, "rev = rev + :one, due_at = :later", values)
            .await
    }

    /// Moves the due time of a batch, and records that the API has shown it complete.
    pub async fn mark_shown_complete(
        &self,
        tracking: &TrackingState,
        until: UnixMillis,
        now: UnixMillis,
    ) -> Result<WriteOutcome, AwsError> {
        let values = [(":one", number(1)), (":later", number(until.0)), (":now", number(now.0))];
        let set =
            format!("rev = rev + :one, due_at = :later, {SHOWN_COMPLETE_AT} = :now REMOVE {POLL_PROBLEM}");
        self.update_at_rev(tracking.key.clone(), tracking.rev, &set, values).await
    }

    /// Makes a schedule due now; does nothing if it is due already or was expedited within `every`.
    pub async fn expedite_schedule(
        &self,
        schedule_id: &Id,
        every: Duration,
        now: UnixMillis,
    ) -> Result<(), AwsError> {
        let update = self
            .db
            .update_item()
            .table_name(&self.table)
            .set_key(Some(item::key(&schedule_pk(schedule_id), TRACKED_SK)))
            .update_expression(format!("SET due_at = :now, {EXPEDITED_AT} = :now"))
            .condition_expression(format!(
                "attribute_exists(due) AND due_at > :now \
                 AND (attribute_not_exists({EXPEDITED_AT}) OR {EXPEDITED_AT} <= :before)"
            ))
            .expression_attribute_values(":now", number(now.0))
            .expression_attribute_values(":before", number(now.minus(every).0));
        match update.send().await {
            Ok(_) => Ok(()),
            Err(error) if condition_failed(&error) => Ok(()),
            Err(error) => Err(AwsError::from_sdk_error("dynamodb:UpdateItem", &error)),
        }
    }

    /// Ends the tracking of an item: everything is known about it.
    pub async fn finish_tracking(
        &self,
        tracking: &TrackingState,
        now: UnixMillis,
    ) -> Result<WriteOutcome, AwsError> {
        self.end_tracking(tracking, "done_at = :now", now).await
    }

    /// Ends the tracking of an item as overdue: nothing more can be known about it (P9).
    pub async fn mark_overdue(
        &self,
        tracking: &TrackingState,
        now: UnixMillis,
    ) -> Result<WriteOutcome, AwsError> {
        self.end_tracking(tracking, "overdue_at = :now", now).await
    }

    async fn end_tracking(
        &self,
        tracking: &TrackingState,
        ending: &str,
        now: UnixMillis,
    ) -> Result<WriteOutcome, AwsError> {
        let expression =
            format!("rev = rev + :one, {ending}, expires_at = :at REMOVE due, due_at, {POLL_PROBLEM}");
        let expires_at = record_expiry(now, self.retention_days);
        let values = [(":one", number(1)), (":now", number(now.0)), (":at", number(expires_at.0))];
        self.update_at_rev(tracking.key.clone(), tracking.rev, &expression, values).await
    }

    /// Advances a schedule to its next poll: stores its state, the problem of its polls and the new runs to
    /// track, in one transaction.
    pub async fn advance_schedule(
        &self,
        schedule: &ScheduleProgress,
        plan: &SchedulePlan,
        problem: Option<&PollProblem>,
        next: UnixMillis,
        timing: &PollTiming,
        now: UnixMillis,
    ) -> Result<WriteOutcome, AwsError> {
        // An earlier version did not bind the subject when tracking began.
        if let Some(subject) = &schedule.schedule.subject {
            self.bind_subject(subject, now).await?;
        }
        let parts_expire_at = self.extend_thresholds_expiry(schedule, plan).await?;
        let mut writes = vec![self.schedule_update(schedule, plan, problem, next, parts_expire_at)?];
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
            let mut item = new_batch_item(&batch, now, now);
            item.insert("run_at".to_owned(), number(run.run_at.0));
            writes.push(self.put_if_absent(item)?);
        }
        match transaction::write(&self.db, writes).await? {
            TransactionOutcome::Applied => Ok(WriteOutcome::Applied),
            TransactionOutcome::ConditionFailed => Ok(WriteOutcome::Conflict),
        }
    }

    /// Extends the expiry of the thresholds, which are read until the last run has ended: a schedule may be
    /// extended at Rightfoot. Returns the new expiry of their parts, if it has moved.
    async fn extend_thresholds_expiry(
        &self,
        schedule: &ScheduleProgress,
        plan: &SchedulePlan,
    ) -> Result<Option<UnixSecs>, AwsError> {
        let extended = TrackedSchedule { expires_at: plan.expires_at, ..schedule.schedule.clone() };
        let later = parts_expiry(extended.ends_at(), self.retention_days);
        match PayloadLocation::from_item(&schedule.thresholds) {
            Some(PayloadLocation::Parts { names, expire_at }) if expire_at < later => {
                payload::extend_expiry(&self.db, &self.table, &names, later).await?;
                Ok(Some(later))
            }
            Some(_) | None => Ok(None),
        }
    }

    fn schedule_update(
        &self,
        schedule: &ScheduleProgress,
        plan: &SchedulePlan,
        problem: Option<&PollProblem>,
        next: UnixMillis,
        parts_expire_at: Option<UnixSecs>,
    ) -> Result<TransactWriteItem, AwsError> {
        let mut sets = vec!["rev = rev + :one", "due_at = :next"];
        let mut update = Update::builder()
            .table_name(&self.table)
            .set_key(Some(schedule.tracking.key.clone()))
            .expression_attribute_values(":seen", number(schedule.tracking.rev))
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":next", number(next.0));
        if let Some(last) = plan.last_run_seen {
            sets.push("last_run_seen = :last");
            update = update.expression_attribute_values(":last", number(last.0));
        }
        if plan.expires_at != schedule.schedule.expires_at {
            sets.push("schedule_expires_at = :expires");
            update = update.expression_attribute_values(":expires", number(plan.expires_at.0));
        }
        if let Some(later) = parts_expire_at {
            sets.push("parts_expire_at = :parts");
            update = update.expression_attribute_values(":parts", number(later.0));
        }
        if plan.resets_poll_count {
            sets.push("polls = :zero");
            update = update.expression_attribute_values(":zero", number(0));
        }
        let mut remove = String::new();
        match problem {
            Some(problem) => {
                sets.push("poll_problem = :problem");
                update = update.expression_attribute_values(":problem", poll_problem::to_attribute(problem));
            }
            None => remove = format!(" REMOVE {POLL_PROBLEM}"),
        }
        // A schedule that was expedited meanwhile must be polled first, not moved to a later time.
        let mut condition = "rev = :seen AND attribute_exists(due)".to_owned();
        match schedule.tracking.expedited_at {
            None => condition.push_str(&format!(" AND attribute_not_exists({EXPEDITED_AT})")),
            Some(seen) => {
                condition.push_str(&format!(" AND {EXPEDITED_AT} = :expedited"));
                update = update.expression_attribute_values(":expedited", number(seen.0));
            }
        }
        update = update.condition_expression(condition);
        let update = update.update_expression(format!("SET {}{remove}", sets.join(", "))).build();
        Ok(TransactWriteItem::builder()
            .update(update.map_err(|_| AwsError::unreadable_item(transaction::WRITE))?)
            .build())
    }

    pub(super) fn put_if_absent(&self, item: Item) -> Result<TransactWriteItem, AwsError> {
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(pk)")
            .build();
        Ok(TransactWriteItem::builder()
            .put(put.map_err(|_| AwsError::unreadable_item(transaction::WRITE))?)
            .build())
    }

    /// The item of a batch whose tracking begins.
    pub(super) async fn batch_item(
        &self,
        batch: &TrackedBatch,
        due_at: UnixMillis,
        now: UnixMillis,
    ) -> Result<Item, AwsError> {
        let mut item = new_batch_item(batch, due_at, now);
        if !batch.failed_authorizers.is_empty() {
            let expire_at = parts_expiry(now, self.retention_days);
            item.extend(self.store_ids(&batch.failed_authorizers, expire_at).await?);
        }
        Ok(item)
    }

    /// The item of a schedule whose tracking begins.
    pub(super) async fn schedule_item(
        &self,
        schedule: &TrackedSchedule,
        thresholds: &Thresholds,
        due_at: UnixMillis,
    ) -> Result<Item, AwsError> {
        let mut item = new_schedule_item(schedule, due_at);
        // The thresholds are read until the last run has ended.
        let expire_at = parts_expiry(schedule.ends_at(), self.retention_days);
        item.extend(self.store_thresholds(thresholds, expire_at).await?);
        Ok(item)
    }
}

fn new_batch_item(batch: &TrackedBatch, due_at: UnixMillis, now: UnixMillis) -> Item {
    let mut item = new_tracked_item(&batch_pk(&batch.batch_id), batch.subject.as_ref(), due_at, batch.polls);
    let mut set = |name: &str, value| item.insert(name.to_owned(), value);
    set("expected", number(batch.expected));
    set("deadline_at", number(batch.deadline.0));
    set("tracked_at", number(now.0));
    if let Some(schedule_id) = &batch.schedule_id {
        set("schedule_id", text(schedule_id.as_str()));
    }
    item
}

fn new_schedule_item(schedule: &TrackedSchedule, due_at: UnixMillis) -> Item {
    let mut item = new_tracked_item(
        &schedule_pk(&schedule.schedule_id),
        schedule.subject.as_ref(),
        due_at,
        schedule.polls,
    );
    let mut set = |name: &str, value| item.insert(name.to_owned(), value);
    set("probes", AttributeValue::L(schedule.probes.iter().map(|probe| text(probe.as_str())).collect()));
    set("since", number(schedule.since.0));
    set("interval_secs", number(schedule.interval.as_secs()));
    set("schedule_expires_at", number(schedule.expires_at.0));
    item
}

fn new_tracked_item(pk: &str, subject: Option<&Subject>, due_at: UnixMillis, polls: u64) -> Item {
    let mut item = item::key(pk, TRACKED_SK);
    let mut set = |name: &str, value| item.insert(name.to_owned(), value);
    set("v", number(SCHEMA_VERSION));
    set("rev", number(INITIAL_REV));
    set("polls", number(polls));
    set("due", text(DueQueue::Poll.shard(pk)));
    set("due_at", number(due_at.0));
    if let Some(subject) = subject {
        set("subject", text(subject.as_str()));
    }
    item
}

pub(super) fn read_batch(batch_id: &Id, item: &Item) -> Option<TrackedBatch> {
    Some(TrackedBatch {
        batch_id: batch_id.clone(),
        subject: subject_of(item),
        schedule_id: item::string(item, "schedule_id").and_then(Id::new),
        expected: item::parsed_number(item, "expected")?,
        failed_authorizers: BTreeSet::new(),
        deadline: UnixMillis(item::parsed_number(item, "deadline_at")?),
        polls: item::parsed_number(item, "polls")?,
    })
}

fn read_schedule(schedule_id: &Id, item: &Item) -> Option<TrackedSchedule> {
    Some(TrackedSchedule {
        schedule_id: schedule_id.clone(),
        subject: subject_of(item),
        probes: item::strings(item, "probes")?.into_iter().map(Id::new).collect::<Option<_>>()?,
        since: UnixMillis(item::parsed_number(item, "since")?),
        last_run_seen: item::parsed_number(item, "last_run_seen").map(UnixMillis),
        interval: Duration::from_secs(item::parsed_number(item, "interval_secs")?),
        expires_at: UnixMillis(item::parsed_number(item, "schedule_expires_at")?),
        polls: item::parsed_number(item, "polls")?,
    })
}

pub(super) fn subject_of(item: &Item) -> Option<Subject> {
    item::string(item, "subject")?.parse().ok()
}
