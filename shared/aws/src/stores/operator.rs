//! What operators do: read events, timelines and lists, make events due again, and close quarantined items.

mod batch_events;
mod bulk_replay;
mod lists;
mod missed_deliveries;
mod quarantined;
mod replay;
mod schedules;
mod stuck_items;
mod timeline;

use crate::table::Table;

pub use batch_events::BatchSelector;
pub use bulk_replay::BulkReplayPlan;
pub use lists::{
    AuditFilter, BatchFilter, EventFilter, LISTED_ATTRIBUTES, MissedFilter, QuarantineFilter, ScheduleFilter,
    SubmissionFilter, TimeRange,
};
pub use replay::ReplayOutcome;
pub use schedules::ScheduleChange;
pub use stuck_items::TrackedWithProblem;
pub use timeline::Timeline;

use super::DueIndex;

/// Reads and changes the inbox for an operator. It runs with the operator's own credentials.
#[derive(Clone, Debug)]
pub struct OperatorStore {
    table: Table,
    due_index: DueIndex,
}

impl OperatorStore {
    /// Creates the store.
    pub fn new(table: Table) -> Self {
        Self { due_index: DueIndex::new(table.clone()), table }
    }
}
