//! What is wrong with the polls of a batch or schedule: kept on its item, so that not only a log line tells.
//!
//! ```text
//!  poller    put off ── ask ── problem begins, changes or ends: set or removed if rev=seen and due
//! ```
//!
//! It leaves `rev` and `write_id` alone, so it voids nobody's write; where the item is written anyhow, it is part of that write.

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

/// The attribute that holds it.
pub(super) const POLL_PROBLEM: &str = "poll_problem";

/// Something that is tracked, and whose polls have a problem.
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
    /// Writes down what is wrong with the polls of an item, or that nothing is, if that has changed since it was read.
    pub async fn set_poll_problem(
        &self,
        tracking: &TrackingState,
        problem: Option<&PollProblem>,
    ) -> Result<WriteOutcome, AwsError> {
        if tracking.problem.as_ref() == problem {
            return Ok(WriteOutcome::Applied);
        }
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

    /// A part of what is tracked and whose polls have a problem, in no order. Reads the table, as [`Self::events`] does.
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
