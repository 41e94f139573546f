//! Polls a batch: one read of its records if its webhook came, otherwise also one API call and its pages.

use inbox_aws::AwsError;
use inbox_aws::stores::{BatchProgress, PollNote, WriteOutcome};
use inbox_aws::telemetry::metrics;
use inbox_core::event::EventKey;
use inbox_core::id::Id;
use inbox_core::poll::PollResult;
use inbox_core::poll::batch::{
    AlertState, BalanceRows, BatchDisposition, BatchStep, PollQuestion, TrackedBatch,
    is_plausible_alert_count, next_step, plan_after_poll,
};
use inbox_core::poll::problem::AWS_ERROR;
use inbox_core::thresholds::Thresholds;
use inbox_core::time::UnixMillis;

use crate::RightfootPoller;
use crate::poll_run::{RunContext, RunError, failure_name, log_overtaken, log_skipped_rows};
use crate::record_polled_event::RecordStatus;

impl RightfootPoller {
    pub(crate) async fn poll_batch(&self, batch_id: &Id, context: &RunContext) -> Result<(), RunError> {
        let Some(mut batch) = self.polls.batch_progress(batch_id).await? else { return Ok(()) };
        let now = self.recorder.clock().now();
        if !batch.tracking.is_due(now) {
            // The index may lag behind the table: the item has changed since.
            return Ok(());
        }
        if batch
            .completion
            .as_ref()
            .is_some_and(|completion| completion.results_published_untracked.is_some())
        {
            // The number of expected results decides whether that publication was complete.
            batch.tracked.failed_authorizers = self.polls.excluded_authorizers(&batch).await?;
        }
        match next_step(&batch.tracked, batch.completed_at(), &self.poll_timing, now) {
            BatchStep::Done => self.apply_disposition(&batch, BatchDisposition::Done, None, context).await,
            BatchStep::WaitUntil(at) => {
                self.apply_disposition(&batch, BatchDisposition::PollAt(at), None, context).await
            }
            BatchStep::Poll(question) => self.defer_and_poll(batch, question, context).await,
        }
    }

    async fn defer_and_poll(
        &self,
        mut batch: BatchProgress,
        question: PollQuestion,
        context: &RunContext,
    ) -> Result<(), RunError> {
        let mut thresholds = Thresholds::default();
        if question == PollQuestion::Alerts {
            thresholds = self.run_thresholds(&batch).await?;
            // Without a threshold no alert is due, so there is nothing to ask.
            if thresholds.is_empty() {
                return self.apply_disposition(&batch, BatchDisposition::Done, None, context).await;
            }
        }
        // Not deferred: the item stays due, and a later run asks.
        if context.is_rate_limited() {
            context.summary().remaining += 1;
            return Ok(());
        }
        let now = self.recorder.clock().now();
        let next_poll_at = self.poll_timing.next_poll_at(now, batch.tracked.polls);
        let polls = batch.tracked.polls.saturating_add(1);
        // Deferred before the rows and alerts are read: others can make those so large that the run is cut
        // off, and then the next run starts with another item.
        if self.polls.defer_before_poll(&mut batch.tracking, polls, next_poll_at).await?
            == WriteOutcome::Conflict
        {
            // Another run has deferred it first, and polls it.
            return Ok(());
        }
        let result = self.poll_deferred(&mut batch, question, thresholds, next_poll_at, context).await;
        if result.is_err() {
            // Best effort: if AWS fails as a whole, this fails, too.
            let _ = self.save_poll_problem(&batch.tracking, Some(AWS_ERROR), polls).await;
        }
        result
    }

    /// Polls a batch that was deferred until `next_poll_at`.
    async fn poll_deferred(
        &self,
        batch: &mut BatchProgress,
        question: PollQuestion,
        mut thresholds: Thresholds,
        next_poll_at: UnixMillis,
        context: &RunContext,
    ) -> Result<(), RunError> {
        batch.tracked.failed_authorizers = self.polls.excluded_authorizers(batch).await?;
        context.summary().polled += 1;
        let (poll_result, failure) = self.fetch_balances(&batch.tracked.batch_id, context).await;
        // Read after the answer: only an answer past the deadline makes a batch overdue (P9).
        let now = self.recorder.clock().now();
        let is_past_deadline = batch.tracked.is_past_deadline(now);
        if is_past_deadline && !poll_result.is_answer() {
            context.summary().overdue_unanswered += 1;
            metrics::OVERDUE_UNANSWERED.add(1);
        }
        // An overdue batch is not polled again, so the alerts that it shows are recorded now.
        if is_past_deadline && question == PollQuestion::Completion {
            thresholds = self.run_thresholds(batch).await?;
        }
        // Read after the poll, since a webhook may have come meanwhile.
        let alert_state = self.read_alert_state(batch, thresholds).await?;
        let plan = plan_after_poll(
            &batch.tracked,
            question,
            &alert_state,
            &poll_result,
            next_poll_at,
            &self.poll_timing,
            now,
        );
        let results = result_count(&poll_result);
        let mut disposition = plan.disposition;
        // Record the event first, then write the state of the
        // batch: after a crash in between, the event is not lost.
        if let Some(event) = &plan.record
            && self.record_event(event, results, context).await? == RecordStatus::BeingProcessed
            && question == PollQuestion::Completion
            && !matches!(disposition, BatchDisposition::Overdue)
        {
            // The worker may publish what it read before tracking began. The next poll reviews that.
            disposition = BatchDisposition::PollAsPlanned;
        }
        // This is the last poll of the batch, and results may have come since its completion was published.
        if question == PollQuestion::Alerts && disposition == BatchDisposition::Done {
            self.review_completion(batch, results, context).await?;
        }
        let found = accepted_result_count(&poll_result, &batch.tracked);
        let note = self.poll_note(&batch.tracking, failure, found, batch.tracked.polls.saturating_add(1));
        self.apply_disposition(batch, disposition, Some(&note), context).await
    }

    /// Reads which authorizers have an alert event by now.
    async fn read_alert_state(
        &self,
        batch: &BatchProgress,
        thresholds: Thresholds,
    ) -> Result<AlertState, AwsError> {
        if thresholds.is_empty() {
            return Ok(AlertState::default());
        }
        let tracked = &batch.tracked;
        let alerted = self.polls.already_alerted(tracked).await?;
        if !is_plausible_alert_count(tracked.expected, alerted.event_count) {
            metrics::ALERT_FLOOD.add(1);
            let (batch_id, events, expected) =
                (tracked.batch_id.as_str(), alerted.event_count, tracked.expected);
            tracing::warn!(target: "poller", batch_id, events, expected, "more alert events than authorizers in the batch");
        }
        let mismatched = alerted.thresholds.iter().filter(|(of, by)| thresholds.of(of) != Some(**by)).count();
        if mismatched > 0 {
            metrics::THRESHOLD_DIFFERS.add(u64::try_from(mismatched).unwrap_or(u64::MAX));
            let batch_id = tracked.batch_id.as_str();
            tracing::warn!(target: "poller", batch_id, alerts = mismatched, "published with another threshold than the schedule's");
        }
        Ok(AlertState { alerted_authorizers: alerted.authorizers, thresholds })
    }

    /// Republishes a completion that was published with fewer results than the API shows now.
    async fn review_completion(
        &self,
        batch: &BatchProgress,
        results: u64,
        context: &RunContext,
    ) -> Result<(), RunError> {
        if batch.completion.as_ref().is_some_and(|completion| completion.has_fewer_results_than(results)) {
            let key = EventKey::RightfootCompletion { batch_id: batch.tracked.batch_id.clone() };
            self.review_record(&key, None, results, context).await?;
        }
        Ok(())
    }

    /// Fetches the balances of a batch. The second value is the stable name of the failure, if the poll was not answered.
    async fn fetch_balances(
        &self,
        batch_id: &Id,
        context: &RunContext,
    ) -> (PollResult<BalanceRows>, Option<&'static str>) {
        let answer =
            self.account.call(|client, key| async move { client.balances(&key, batch_id).await }).await;
        if let Ok(read) = &answer {
            log_skipped_rows("balances", batch_id, &read.skipped);
        }
        let rows = answer.map(|read| BalanceRows {
            balances: read.rows.into_iter().map(|row| (row.authorizer.clone(), row)).collect(),
            reached_last_page: read.reached_last_page,
            unreadable_rows: read.skipped.rows(),
        });
        let failure = failure_name(&rows);
        (context.handle_answer(batch_id, rows), failure)
    }

    /// The thresholds of a run; empty for a batch without a schedule. They are needed only when its alerts are due: once it is
    /// complete, or at its deadline.
    async fn run_thresholds(&self, batch: &BatchProgress) -> Result<Thresholds, AwsError> {
        let Some(schedule_id) = &batch.tracked.schedule_id else { return Ok(Thresholds::default()) };
        match self.tracking.tracked_schedule(schedule_id).await? {
            Some(schedule) => self.tracking.thresholds(&schedule).await,
            // A schedule's item outlives those of its runs. Without
            // its thresholds the missed alerts cannot be determined.
            None => Err(AwsError::unreadable_item("dynamodb:GetItem")),
        }
    }

    /// Writes the future of a batch, and `note`, which is what its poll has shown if it was polled.
    async fn apply_disposition(
        &self,
        batch: &BatchProgress,
        disposition: BatchDisposition,
        note: Option<&PollNote>,
        context: &RunContext,
    ) -> Result<(), RunError> {
        let tracking = &batch.tracking;
        let (now, batch_id) = (self.recorder.clock().now(), batch.tracked.batch_id.as_str());
        let results = note.and_then(|note| note.results_found);
        let (written, write) = match disposition {
            // It was deferred to that time before Rightfoot was asked.
            BatchDisposition::PollAsPlanned => {
                if let Some(note) = note {
                    // A conflict is fine: the other writer has newer information.
                    self.polls.note_poll(tracking, note).await?;
                }
                return Ok(());
            }
            BatchDisposition::PollAt(at) => (self.polls.reschedule(tracking, at, note).await?, "reschedule"),
            BatchDisposition::CheckAlertsAt(at) => {
                (self.polls.mark_shown_complete(tracking, at, results, now).await?, "mark_shown_complete")
            }
            BatchDisposition::Done => {
                let written = self.polls.finish_tracking(tracking, results, now).await?;
                context.summary().settled += usize::from(written == WriteOutcome::Applied);
                (written, "finish_tracking")
            }
            BatchDisposition::Overdue => {
                // Reported before it is written: after a crash it is better to report twice than never.
                context.summary().overdue += 1;
                metrics::OVERDUE.add(1);
                tracing::warn!(target: "poller", batch_id, polls = batch.tracked.polls, "overdue");
                (self.polls.mark_overdue(tracking, results, now).await?, "mark_overdue")
            }
        };
        log_overtaken(written, batch_id, write);
        Ok(())
    }
}

/// The number of results that the API shows of authorizers that it accepted; `None` if it has answered without a list.
fn accepted_result_count(poll_result: &PollResult<BalanceRows>, tracked: &TrackedBatch) -> Option<u64> {
    match poll_result {
        PollResult::Answered(rows) => Some(rows.results(tracked)),
        PollResult::NotReady
        | PollResult::Denied
        | PollResult::Unauthorized
        | PollResult::RateLimited { .. }
        | PollResult::Unanswered => None,
    }
}

/// The number of results that the API shows; 0 without an answer.
fn result_count(poll_result: &PollResult<BalanceRows>) -> u64 {
    match poll_result {
        PollResult::Answered(rows) => u64::try_from(rows.balances.len()).unwrap_or(u64::MAX),
        PollResult::NotReady
        | PollResult::Denied
        | PollResult::Unauthorized
        | PollResult::RateLimited { .. }
        | PollResult::Unanswered => 0,
    }
}
