//! Who may write what when: one store for each role.
//!
//! ```text
//!  webhook   put(rev 1, due +30s) ── send ── mark if rev=1                                              EventStore
//!  relay                    claim: rev+1, due_at+=backoff if rev=seen ── send ── mark if rev=claimed    Outbox
//!  worker                                                 claim event ── effect ── done if claim=mine   Processing
//!                                                            └ not yet: rev+1, due again, claim dropped
//!  poller    defer: rev+1, due_at=later if rev=seen ── ask ── record the event ── finish if rev=seen+1  PollStore
//!                                                                  └ recorded, but quarantined or published short: due again, once
//!  operator  due again, rev+1 if rev=seen and (done, quarantined, or declared lost)                     OperatorStore
//!            erase the payload, rev+1 if rev=seen and over                                              PersonalData
//!  auditor   read the list ── put what was missed, if not there ── state of the check if rev=seen       DeliveryChecks
//! ```
//!
//! `rev` only grows, and every write that changes the state of an event, a batch or a schedule names the `rev`, or the
//! claim, that it has read (`table/update.rs`): a late mark can neither undo a claim nor hide one. (Expediting a schedule
//! is the exception: it changes only a time.) A record is in the index `due` only while it has work left, and it has an
//! `expires_at` only while it has none.
//!
//! A function holds the stores that it uses, and its role permits what these do, and nothing else: each store's `ACTIONS`
//! are in [`crate::iam::ROLES`].

mod audited_update;
mod bound_subjects;
mod delivery_checks;
mod due_index;
mod event_store;
mod json_payloads;
mod list_cursor;
mod list_page;
mod operator;
mod outbox;
mod personal_data;
mod poll_store;
mod processing;
mod quarantine;
mod restart_event;
mod selected_batches;
mod sharded_index;
mod stored_balances;
mod submissions;
mod tracking;

pub use crate::table::{Table, WriteOutcome};
pub use delivery_checks::DeliveryChecks;
pub use due_index::{DueIndex, DueKey, DuePage, DueScan};
pub use event_store::EventStore;
pub use list_cursor::{InvalidListCursor, ListCursor};
pub use list_page::{ListPage, PageStart};
pub use operator::{
    AuditFilter, BatchFilter, BatchSelector, BulkReplayPlan, EventFilter, LISTED_ATTRIBUTES, MissedFilter,
    OperatorStore, QuarantineFilter, ReplayOutcome, ScheduleChange, ScheduleFilter, SubmissionFilter,
    TimeRange, Timeline, TrackedWithProblem,
};
pub use outbox::{ClaimedRecord, DueRecord, DueRecords, Outbox, RelayClaim};
pub use personal_data::{Erasure, FoundItem, FoundPersonalData, PersonalData, PersonalDataKind, WhyLeft};
pub use poll_store::{AlertedAuthorizers, BatchProgress, PollNote, PollStore};
pub use processing::{AcquiredAlert, AlertClaim, ClaimedEvent, EventClaim, Processing};
pub use quarantine::Quarantine;
pub use selected_batches::SelectedBatches;
pub use stored_balances::StoredBalances;
pub use submissions::{BeginOutcome, CompleteOutcome, Created, ReleaseOutcome, Submissions, TrackOutcome};
pub use tracking::Tracking;

/// All stores of one table, for tools that act in every role: `inboxctl`, `local` and tests.
#[derive(Clone, Debug)]
pub struct Stores {
    /// Records events.
    pub events: EventStore,
    /// Quarantines deliveries.
    pub quarantine: Quarantine,
    /// Lists what is due.
    pub due_index: DueIndex,
    /// The relay's.
    pub outbox: Outbox,
    /// The worker's.
    pub processing: Processing,
    /// Reads what is tracked.
    pub tracking: Tracking,
    /// The poller's.
    pub polls: PollStore,
    /// Submits and starts to track.
    pub submissions: Submissions,
    /// The auditor's.
    pub delivery_checks: DeliveryChecks,
    /// The operators'.
    pub operator: OperatorStore,
}

impl Stores {
    /// Creates all stores.
    pub fn new(table: Table) -> Self {
        Self {
            events: EventStore::new(table.clone()),
            quarantine: Quarantine::new(table.clone()),
            due_index: DueIndex::new(table.clone()),
            outbox: Outbox::new(table.clone()),
            processing: Processing::new(table.clone()),
            tracking: Tracking::new(table.clone()),
            polls: PollStore::new(table.clone()),
            submissions: Submissions::new(table.clone()),
            delivery_checks: DeliveryChecks::new(table.clone()),
            operator: OperatorStore::new(table),
        }
    }
}
