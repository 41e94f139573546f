//! Reads the balances of a batch page by page, and decides what an incomplete batch means.

use std::time::Duration;

use inbox_aws::stores::ClaimedEvent;
use inbox_core::effect::batch_snapshot::{
    BatchSnapshot, IncompleteDecision, PreviousSnapshot, decide_incomplete, max_completion_wait,
};
use inbox_core::effect::{EffectOutcome, RequeueDetails};
use inbox_core::id::Id;
use inbox_core::limits::ALERT_SNAPSHOTS_APART_MIN_SECS;
use inbox_core::poll::PollResult;
use inbox_core::poll::batch::TrackedBatch;
use inbox_core::quarantine::QuarantineReason;
use inbox_core::rightfoot_api::Balance;
use inbox_core::time::UnixMillis;
use inbox_rightfoot::{ApiError, BalancePager};

use crate::EventWorker;

/// The result of reading a batch.
pub(crate) struct BatchRead {
    batch_id: Id,
    pub(crate) snapshot: BatchSnapshot,
    /// `Answered` if every page that was requested was received; otherwise the failure.
    poll_result: PollResult<()>,
    incomplete_reason: Option<&'static str>,
    /// True if the list was read to its end and every row was readable; for an untracked batch also only if no page token is
    /// missing, since the number of expected rows is unknown.
    is_full_read: bool,
    /// True if there was a row, readable or not.
    has_rows: bool,
    started_at: UnixMillis,
    finished_at: UnixMillis,
}

impl BatchRead {
    /// Returns `true` if the batch is complete.
    pub(crate) fn is_complete(
        &self,
        tracked: Option<&TrackedBatch>,
        previous: Option<&PreviousSnapshot>,
    ) -> bool {
        self.snapshot.is_complete(self.is_full_read, tracked, previous, self.started_at)
    }

    /// Returns `true` if this read began at least [`ALERT_SNAPSHOTS_APART_MIN_SECS`] after `previous`: balances that are in
    /// neither will not come.
    pub(crate) fn is_long_after(&self, previous: &PreviousSnapshot) -> bool {
        self.started_at.since(previous.at) >= Duration::from_secs(ALERT_SNAPSHOTS_APART_MIN_SECS)
    }

    /// The snapshot of an untracked batch that the next read is compared with; `None` if this read is not usable for that.
    fn to_previous_snapshot(&self) -> Option<PreviousSnapshot> {
        // Before there are results, two equal empty reads prove nothing.
        let is_usable = self.is_full_read && self.snapshot.found > 0;
        // Dated by the end of this read, so that the pause lies between two reads, however long each takes.
        is_usable.then(|| PreviousSnapshot { digest: self.snapshot.digest(), at: self.finished_at })
    }

    fn outcome(&self, next: IncompleteDecision, final_reason: QuarantineReason) -> EffectOutcome {
        match next {
            IncompleteDecision::Quarantine => EffectOutcome::Quarantine(final_reason),
            IncompleteDecision::Recheck { retry_after, seen } => EffectOutcome::Requeue(RequeueDetails {
                reason: self.incomplete_reason.unwrap_or("not_complete"),
                retry_after,
                snapshot: seen,
                // Before the end of the list, the number would be too low.
                results_found: self.is_full_read.then(|| self.snapshot.results()),
            }),
        }
    }
}

/// A read in progress.
pub(crate) struct BalanceReader<'a> {
    worker: &'a EventWorker,
    tracked: Option<&'a TrackedBatch>,
    /// The pager; `None` after a failed call.
    pages: Option<BalancePager>,
    read: BatchRead,
}

impl BalanceReader<'_> {
    /// Reads the next page, with one row for each authorizer. Returns `None` at the end of the list, or if the call failed.
    pub(crate) async fn next_page(&mut self) -> Option<Vec<Balance>> {
        let pages = self.pages.as_mut()?;
        let page = &pages.next_request()?;
        let answer = self
            .worker
            .account
            .call(|client, key| async move { client.fetch_balance_page(&key, page).await });
        match answer.await {
            Ok(answer) => {
                for (field, rows) in answer.skipped().by_field() {
                    let batch_id = self.read.batch_id.as_str();
                    tracing::warn!(target: "worker", batch_id, list = "balances", field, rows, "rows skipped");
                    self.read.incomplete_reason = Some("row_skipped");
                }
                let rows = pages.add_page(answer);
                self.read.is_full_read = pages.reached_last_page()
                    && pages.skipped().rows() == 0
                    && (self.tracked.is_some() || !pages.is_missing_token());
                self.read.has_rows |= !rows.is_empty() || pages.skipped().rows() > 0;
                rows.iter().for_each(|row| self.read.snapshot.add(row, self.tracked));
                Some(rows)
            }
            Err(error) => {
                self.stop_on_error(&error);
                None
            }
        }
    }

    /// Returns the result of the pages that were read.
    pub(crate) fn finish(self) -> BatchRead {
        BatchRead { finished_at: self.worker.clock.now(), ..self.read }
    }

    fn stop_on_error(&mut self, error: &ApiError) {
        self.pages = None;
        self.read.poll_result = error.to_poll_result();
        self.read.incomplete_reason = Some(error.name());
        // Not ready is normal while Rightfoot processes the batch, and not worth a warning.
        if self.read.poll_result != PollResult::NotReady {
            let (batch_id, reason) = (self.read.batch_id.as_str(), error.name());
            tracing::warn!(target: "worker", batch_id, reason, %error, "no response");
        }
    }
}

impl EventWorker {
    /// Creates a reader of the balances of a batch. Makes no calls.
    pub(crate) fn balance_reader<'a>(
        &'a self,
        batch_id: &Id,
        tracked: Option<&'a TrackedBatch>,
    ) -> BalanceReader<'a> {
        let now = self.clock.now();
        let read = BatchRead {
            batch_id: batch_id.clone(),
            snapshot: BatchSnapshot::default(),
            poll_result: PollResult::Answered(()),
            incomplete_reason: None,
            is_full_read: false,
            has_rows: false,
            started_at: now,
            finished_at: now,
        };
        let mut reader = BalanceReader { worker: self, tracked, pages: None, read };
        match self.account.balance_pager(batch_id) {
            Ok(pages) => reader.pages = Some(pages),
            Err(error) => reader.stop_on_error(&error),
        }
        reader
    }

    /// The outcome of an event whose batch is not complete: requeued, until an answer at or after the deadline still shows it
    /// incomplete. Without an answer the event is requeued even after the deadline.
    pub(crate) fn incomplete_outcome(
        &self,
        event: &ClaimedEvent,
        tracked: Option<&TrackedBatch>,
        read: &BatchRead,
        final_reason: QuarantineReason,
    ) -> EffectOutcome {
        let previous = event.previous_snapshot.as_ref();
        let deadline = event.processing_since().plus(max_completion_wait(
            self.poll_deadline,
            tracked,
            &read.snapshot,
            previous,
        ));
        // A batch may be tracked after its event came. The event must not end before the batch is overdue.
        let deadline = tracked.map_or(deadline, |batch| batch.deadline.max(deadline));
        let is_past_deadline = read.finished_at >= deadline;
        // A tracked batch is compared with the number of its results, not with an earlier read.
        let current_snapshot = if tracked.is_none() { read.to_previous_snapshot() } else { None };
        let next = decide_incomplete(&read.poll_result, is_past_deadline, current_snapshot, previous);
        read.outcome(next, final_reason)
    }

    /// The outcome of an alert that has waited in vain for its batch to be tracked: quarantined after one answer of the API; with
    /// `only_if_absent`, only if that answer has no row of the batch. Otherwise requeued.
    pub(crate) async fn final_check(&self, batch_id: &Id, only_if_absent: bool) -> EffectOutcome {
        let mut reader = self.balance_reader(batch_id, None);
        // One page is enough for an answer.
        reader.next_page().await;
        let read = reader.finish();
        // Rightfoot may know the batch although it is not tracked yet: the poller can still find the run.
        let is_final = !only_if_absent || !read.has_rows;
        read.outcome(
            decide_incomplete(&read.poll_result, is_final, None, None),
            QuarantineReason::Unconfirmed,
        )
    }
}
