//! One run of the poller over all due items.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::stream::{self, StreamExt};
use lambda_runtime::Diagnostic;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use inbox_aws::AwsError;
use inbox_aws::items::TrackingState;
use inbox_aws::stores::{DueKey, DueScan, PollNote, WriteOutcome};
use inbox_aws::telemetry::metrics;
use inbox_core::due_queue::DueQueue;
use inbox_core::id::Id;
use inbox_core::limits::POLL_CONCURRENCY;
use inbox_core::poll::PollResult;
use inbox_core::poll::batch::ResultsFound;
use inbox_core::poll::problem::PollProblem;
use inbox_core::time::UnixMillis;
use inbox_rightfoot::{ApiError, RightfootAccount, SkippedRows};

use crate::RightfootPoller;

/// The counts of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PollSummary {
    /// Due items that were processed.
    pub due: usize,
    /// Batches and schedules that were polled.
    pub polled: usize,
    /// Events whose webhooks were missed, and that were recorded.
    pub recorded: usize,
    /// Events that were quarantined, or published with results missing, and were requeued.
    pub reopened: usize,
    /// New runs of schedules.
    pub runs_found: usize,
    /// Batches whose tracking is finished.
    pub settled: usize,
    /// Batches that became overdue.
    pub overdue: usize,
    /// Polls past a deadline that were not answered: their batches stay due (P9).
    pub overdue_unanswered: usize,
    /// Submissions of unknown outcome.
    pub submissions_unknown: usize,
    /// Alarms of schedules that do not run as they should.
    pub schedule_alarms: usize,
    /// Items that could not be processed; they stay due.
    pub failed: usize,
    /// Due items that the run did not reach: out of time, or rate limited by Rightfoot. A lower bound.
    pub remaining: usize,
    /// Delay in seconds of the item that is due for longest.
    pub oldest_delay_secs: u64,
    /// The first error that an operator has to fix, if any.
    pub error: Option<RunError>,
}

/// An error that fails the run, so that its operator is alarmed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// An AWS call failed.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// Rightfoot rejects the API key, or there is none.
    #[error("{0}")]
    Unauthorized(ApiError),
    /// The run took longer than its budget and was cut off.
    #[error("the run took longer than its budget")]
    CutOff,
}

/// The state of a run in progress.
pub(crate) struct RunContext {
    summary: Mutex<PollSummary>,
    account: RightfootAccount,
    stop_at: UnixMillis,
    stopped: AtomicBool,
}

impl RightfootPoller {
    /// Polls due items until nothing is due, `budget` is used up, or Rightfoot limits the rate. Each round reads one page of
    /// every shard, and polls the longest due first. Polls in progress at the end of the budget may take `linger` longer, in
    /// real time.
    pub async fn run(&self, budget: Duration, linger: Duration) -> PollSummary {
        let context = RunContext {
            summary: Mutex::default(),
            account: self.account.clone(),
            stop_at: self.recorder.clock().now().plus(budget),
            stopped: AtomicBool::new(false),
        };
        let cut_off_at = Instant::now() + budget + linger;
        // A cut-off is like a crash of the process: its items become due again, and nothing is lost.
        if timeout_at(cut_off_at, Box::pin(self.poll_due(&context))).await.is_err() {
            metrics::POLL_FAILED.add("cut_off", 1);
            context.note_error(RunError::CutOff);
        }
        let run = context.summary().clone();
        run.report();
        run
    }

    async fn poll_due(&self, context: &RunContext) {
        let mut scan = DueScan::new(DueQueue::Poll);
        while !scan.is_exhausted() {
            let now = self.recorder.clock().now();
            let page = scan.next_page(&self.due_index, now).await;
            page.errors.into_iter().for_each(|error| context.note_error(error.into()));
            let oldest = page.due.first().map_or(0, |oldest| now.since(oldest.due_at).as_secs());
            let oldest_so_far = context.summary().oldest_delay_secs;
            context.summary().oldest_delay_secs = oldest_so_far.max(oldest);
            stream::iter(page.due)
                .for_each_concurrent(POLL_CONCURRENCY, |key| Box::pin(self.poll_item(key, context)))
                .await;
            if context.is_stopped() {
                // Counts one more page of each shard only: reading them
                // all would take the time that the run no longer has.
                let rest = scan.next_page(&self.due_index, self.recorder.clock().now()).await.due.len();
                context.summary().remaining += rest;
                return;
            }
        }
    }

    async fn poll_item(&self, key: DueKey, context: &RunContext) {
        if context.is_stopped() || self.recorder.clock().now() >= context.stop_at {
            context.stop();
            context.summary().remaining += 1;
            return;
        }
        context.summary().due += 1;
        let id = |prefix: &str| key.pk.strip_prefix(prefix);
        let result = if let Some(batch_id) = id("rightfoot#batch#").and_then(Id::new) {
            self.poll_batch(&batch_id, context).await
        } else if let Some(schedule_id) = id("rightfoot#schedule#").and_then(Id::new) {
            self.poll_schedule(&schedule_id, context).await
        } else if let Some(submission_id) = id("rightfoot#submission#").and_then(|id| id.parse().ok()) {
            self.check_submission(&submission_id, context).await
        } else {
            // An error, because an item that is only skipped would stay due without anybody's notice.
            Err(AwsError::unreadable_item("dynamodb:Query").into())
        };
        if let Err(error) = result {
            tracing::warn!(target: "poller", pk = key.pk, %error, "poll failed");
            context.summary().failed += 1;
            metrics::POLL_FAILED.add("aws_error", 1);
            context.note_error(error);
        }
    }
}

impl RightfootPoller {
    /// What the `nth` poll of an item has shown: the reason of its failure, and the number of results of a batch.
    pub(crate) fn poll_note(
        &self,
        tracking: &TrackingState,
        reason: Option<&'static str>,
        results: Option<u64>,
        nth: u64,
    ) -> PollNote {
        let now = self.recorder.clock().now();
        PollNote {
            problem: PollProblem::updated(tracking.problem.as_ref(), reason, nth, now),
            results_found: ResultsFound::updated(tracking.results_found, results, now),
        }
    }

    /// Saves or clears the problem of the `nth` poll of an item, if that changes its item.
    pub(crate) async fn save_poll_problem(
        &self,
        tracking: &TrackingState,
        reason: Option<&'static str>,
        nth: u64,
    ) -> Result<(), AwsError> {
        // A conflict is fine: the other writer has newer information.
        self.polls.note_poll(tracking, &self.poll_note(tracking, reason, None, nth)).await.map(drop)
    }
}

impl RunContext {
    pub(crate) fn summary(&self) -> MutexGuard<'_, PollSummary> {
        self.summary.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn note_error(&self, error: RunError) {
        self.summary().error.get_or_insert(error);
    }

    /// Returns `true` while Rightfoot limits the rate, in this run or since an earlier one: nothing is polled then, and due
    /// items stay due.
    pub(crate) fn is_rate_limited(&self) -> bool {
        self.account.is_rate_limited()
    }

    fn is_stopped(&self) -> bool {
        // Relaxed: at worst, one more poll is started.
        self.stopped.load(Ordering::Relaxed)
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Converts Rightfoot's answer to a poll, and counts a failure. A failure that concerns the account and not the polled item
    /// stops the run.
    pub(crate) fn handle_answer<T>(&self, id: &Id, answer: Result<T, ApiError>) -> PollResult<T> {
        let error = match answer {
            Ok(answer) => return PollResult::Answered(answer),
            Err(error) => error,
        };
        let poll_result = error.to_poll_result();
        match &poll_result {
            // Normal until Rightfoot has processed the batch, so not a failure.
            PollResult::NotReady => return poll_result,
            // Every other poll would fail likewise.
            PollResult::Unauthorized => {
                self.stop();
                self.note_error(RunError::Unauthorized(error.clone()));
            }
            // The limit concerns all requests, so a later run continues.
            PollResult::RateLimited { .. } => self.stop(),
            // A denial concerns this item alone, and an outage may be over for the next one.
            PollResult::Answered(_) | PollResult::Denied | PollResult::Unanswered => {}
        }
        self.summary().failed += 1;
        metrics::POLL_FAILED.add(error.name(), 1);
        tracing::warn!(target: "poller", id = id.as_str(), reason = error.name(), %error, "no response");
        poll_result
    }
}

impl PollSummary {
    fn report(&self) {
        metrics::POLLED.add(self.polled as u64);
        metrics::POLL_REMAINING.add(self.remaining as u64);
        metrics::OLDEST_POLL_DELAY.record(self.oldest_delay_secs);
        let Self { due, polled, recorded, reopened, runs_found, settled, overdue, failed, remaining, .. } =
            *self;
        let error = self.error.as_ref().map(tracing::field::display);
        // Most runs have nothing to do: their line is for debugging, and the metrics are the heartbeat.
        if due == 0 && error.is_none() {
            tracing::debug!(target: "poller", due, remaining);
        } else {
            tracing::info!(
                target: "poller", due, polled, recorded, reopened, runs_found, settled, overdue, failed, remaining, error
            );
        }
    }

    /// Converts the counts into the JSON response of the function, or its first error into a failed invocation.
    pub fn into_response(self) -> Result<Value, Diagnostic> {
        match self.error {
            Some(error) => Err(error.into()),
            None => Ok(json!({
                "due": self.due,
                "polled": self.polled,
                "recorded": self.recorded,
                "reopened": self.reopened,
                "runs_found": self.runs_found,
                "settled": self.settled,
                "overdue": self.overdue,
                "overdue_unanswered": self.overdue_unanswered,
                "submissions_unknown": self.submissions_unknown,
                "schedule_alarms": self.schedule_alarms,
                "failed": self.failed,
                "remaining": self.remaining,
                "oldest_delay_secs": self.oldest_delay_secs,
            })),
        }
    }
}

/// The stable name of the failure of a poll; `None` if it was answered, even if negatively.
pub(crate) fn failure_name<T>(answer: &Result<T, ApiError>) -> Option<&'static str> {
    let error = answer.as_ref().err()?;
    (!error.to_poll_result::<T>().is_answer()).then(|| error.name())
}

/// Logs a write that lost to another one: the item was written since it was deferred, and the other write decides what happens
/// next.
pub(crate) fn log_overtaken(written: WriteOutcome, id: &str, write: &'static str) {
    if written == WriteOutcome::Conflict {
        tracing::warn!(target: "poller", id, write, "write conflict");
    }
}

/// Logs the unreadable rows of a list. `id` is that of the polled batch or schedule.
pub(crate) fn log_skipped_rows(list: &'static str, id: &Id, skipped: &SkippedRows) {
    for (field, rows) in skipped.by_field() {
        tracing::warn!(target: "poller", id = id.as_str(), list, field, rows, "rows skipped");
    }
}

/// The `errorType` of a failed run in Lambda's report: stable names, which alarm descriptions quote.
impl From<RunError> for Diagnostic {
    fn from(error: RunError) -> Self {
        let error_type = match &error {
            RunError::Aws(_) => "AwsCallFailed",
            RunError::Unauthorized(_) => "RightfootUnauthorized",
            RunError::CutOff => "CutOff",
        };
        Self { error_type: error_type.to_owned(), error_message: error.to_string() }
    }
}
