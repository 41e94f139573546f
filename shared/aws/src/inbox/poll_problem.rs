//! The problem of a batch's or schedule's polls, stored on its item, so that it shows not only in the logs.
//!
//! ```text
//!  poller    defer ── ask ── problem begins, changes or ends: set or removed if rev=seen and due
//! ```
//!
//! It leaves `rev` and `write_id` unchanged, so it makes no other write conflict; where the item is written anyway, it is
//! part of that write.

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};

use inbox_core::poll::problem::PollProblem;
use inbox_core::time::UnixMillis;

use super::queries::{BatchView, ScheduleView};
use super::table_scan::{ScanFilter, ScanPage};
use super::tracking::{TRACKED_SK, TrackingState};
use super::{Inbox, WriteOutcome};
use crate::AwsError;
use crate::conditional::condition_failed;
use crate::item::{self, Item, number, text};

/// The attribute that holds the problem.
pub(super) const POLL_PROBLEM: &str = "poll_problem";

/// A tracked batch or schedule whose polls have a problem.
#[derive(Clone, Debug)]
pub enum TrackedWithProblem {
    /// A batch.
    Batch(BatchView),
    /// A schedule.
    Schedule(ScheduleView),
}

pub(super) fn read(item: &Item) -> Option<PollProblem> {
    let fields = item.get(POLL_PROBLEM)?.as_m().ok()?;
    Some(PollProblem {
        reason: item::string(fields, "reason")?.to_owned(),
        since: UnixMillis(item::parsed_number(fields, "since")?),
        first_poll: item::parsed_number(fields, "first_poll")?,
    })
}

pub(super) fn to_attribute(problem: &PollProblem) -> AttributeValue {
    let fields = [
        ("reason", text(&problem.reason)),
        ("since", number(problem.since.0)),
        ("first_poll", number(problem.first_poll)),
    ];
    AttributeValue::M(fields.map(|(name, value)| (name.to_owned(), value)).into())
}

impl Inbox {
    /// Stores or removes the problem of an item's polls, if it has changed since the item was read.
    pub async fn set_poll_problem(
        &self,
        tracking: &TrackingState,
        problem: Option<&PollProblem>,
    ) -> Result<WriteOutcome, AwsError> {
        // Most polls change nothing, and this saves their write.
        if tracking.problem.as_ref() == problem {
            return Ok(WriteOutcome::Applied);
        }
        // Not `conditional::update`: a new `write_id` would hide that another write, whose response was
        // lost, was applied.
        let update = self
            .db
            .update_item()
            .table_name(&self.table)
            .set_key(Some(tracking.key().clone()))
            .condition_expression("rev = :seen AND attribute_exists(due)")
            .expression_attribute_values(":seen", number(tracking.rev()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::None);
        let update = match problem {
            Some(problem) => update
                .update_expression(format!("SET {POLL_PROBLEM} = :problem"))
                .expression_attribute_values(":problem", to_attribute(problem)),
            None => update.update_expression(format!("REMOVE {POLL_PROBLEM}")),
        };
        match update.send().await {
            Ok(_) => Ok(WriteOutcome::Applied),
            Err(error) if condition_failed(&error) => Ok(WriteOutcome::Conflict),
            Err(error) => Err(AwsError::from_sdk_error("dynamodb:UpdateItem", &error)),
        }
    }

    /// Lists tracked batches and schedules whose polls have a problem, in no order. Reads the table, as
    /// [`Self::list_events`] does.
    pub async fn list_poll_problems(&self, limit: usize) -> Result<ScanPage<TrackedWithProblem>, AwsError> {
        let mut filter = ScanFilter::new(&format!(
            "sk = :tracked AND attribute_exists(due) AND attribute_exists({POLL_PROBLEM})"
        ));
        filter.values.insert(":tracked".to_owned(), text(TRACKED_SK));
        let read = |item: &Item| {
            let batch = BatchView::read(item).map(TrackedWithProblem::Batch);
            batch.or_else(|| ScheduleView::read(item).map(TrackedWithProblem::Schedule))
        };
        self.scan(filter, None, limit, read).await
    }
}
