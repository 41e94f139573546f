//! One run over everything that is due.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::stream::{self, StreamExt};
use lambda_runtime::Diagnostic;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use inbox_aws::AwsError;
use inbox_aws::inbox::{DueKey, DueScan, TrackingState, WriteOutcome};
use inbox_aws::telemetry::count_with_reason;
use inbox_core::event::Id;
use inbox_core::inbox::DueQueue;
use inbox_core::limits::POLL_CONCURRENCY;
use inbox_core::poll::PollResult;
use inbox_core::poll::problem::PollProblem;
use inbox_core::time::UnixMillis;
use inbox_rightfoot::{ApiError, RightfootAccount, SkippedRows};

use crate::RightfootPoller;

/// What one run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PollSummary {
    /// Due items that it looked at.
    pub due: usize,
    /// Batches and schedules that it asked Rightfoot about.
    pub polled: usize,
    /// Events that it found and recorded.
    pub recorded: usize,
    /// Events that were given up, or published with results missing, and that it has made due again.
    pub reopened: usize,
    /// Runs of schedules that it found.
    pub runs_found: usize,
    /// Batches of which all is known now.
    pub settled: usize,
    /// Batches that are past their deadline.
    pub overdue: usize,
    /// Questions past a deadline that were not answered: the batch stays due (P9).
    pub overdue_unanswered: usize,
    /// Submissions of which it is not known what became of them.
    pub submissions_unknown: usize,
    /// Schedules that do not run as they should.
    pub schedule_alarms: usize,
    /// Items that it could not deal with; they stay due.
    pub failed: usize,
    /// Due items that it did not get to: out of time, or Rightfoot lets us ask no more.
    pub remaining: usize,
    /// How long the item that is due for longest has waited, in seconds.
    pub oldest_delay_secs: u64,
    /// The first thing that went wrong and is ours to mend.
    pub error: Option<RunError>,
}

/// What went wrong and is ours to mend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// An AWS call failed.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// Rightfoot does not accept our key, or there is none.
    #[error("{0}")]
    Unauthorized(ApiError),
    /// The run was cut off.
    #[error("the run took longer than its budget")]
    CutOff,
}

/// A run, while it is under way.
pub(crate) struct RunContext {
    summary: Mutex<PollSummary>,
    account: RightfootAccount,
    stop_at: UnixMillis,
    stopped: AtomicBool,
}

impl RightfootPoller {
    /// One run, that which is due for longest first within a round of pages, until nothing is due, `budget` is
    /// used up, or Rightfoot lets us ask no more. What is under way then may last for `linger`, in real time.
    pub async fn run(&self, budget: Duration, linger: Duration) -> PollSummary {
        let context = RunContext {
            summary: Mutex::default(),
            account: self.account.clone(),
            stop_at: self.recorder.clock().now().plus(budget),
            stopped: AtomicBool::new(false),
        };
        let cut_off_at = Instant::now() + budget + linger;
        // What is cut off here is as if the process had died: it is due again, and nothing is lost.
        if timeout_at(cut_off_at, Box::pin(self.poll_due(&context))).await.is_err() {
            count_with_reason("poll_failed", None, "cut_off");
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
            let page = scan.next_page(self.recorder.inbox(), now).await;
            page.errors.into_iter().for_each(|fault| context.note_error(fault.into()));
            let oldest = page.due.first().map_or(0, |oldest| now.since(oldest.due_at).as_secs());
            let oldest_so_far = context.summary().oldest_delay_secs;
            context.summary().oldest_delay_secs = oldest_so_far.max(oldest);
            stream::iter(page.due)
                .for_each_concurrent(POLL_CONCURRENCY, |key| Box::pin(self.poll_item(key, context)))
                .await;
            if context.is_stopped() {
                // As far as one more page of each shard tells.
                let rest = scan.next_page(self.recorder.inbox(), self.recorder.clock().now()).await.due.len();
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
            Err(AwsError::unreadable_item("dynamodb:Query").into())
        };
        if let Err(error) = result {
            tracing::warn!(target: "poll", pk = key.pk, %error, "failed");
            context.summary().failed += 1;
            count_with_reason("poll_failed", None, "fault");
            context.note_error(error);
        }
    }
}

impl RightfootPoller {
    /// Writes down what the nth poll of an item came to, if that is not what its item says.
    pub(crate) async fn save_poll_problem(
        &self,
        tracking: &TrackingState,
        reason: Option<&'static str>,
        nth: u64,
    ) -> Result<(), AwsError> {
        let now = self.recorder.clock().now();
        let problem = PollProblem::updated(tracking.problem.as_ref(), reason, nth, now);
        // Whoever has written to the item meanwhile knows more.
        self.recorder.inbox().set_poll_problem(tracking, problem.as_ref()).await.map(drop)
    }
}

impl RunContext {
    pub(crate) fn summary(&self) -> MutexGuard<'_, PollSummary> {
        self.summary.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn note_error(&self, error: RunError) {
        self.summary().error.get_or_insert(error);
    }

    /// Whether Rightfoot has asked for a pause, in this run or an earlier one: then nothing is asked, and what is due
    /// stays due.
    pub(crate) fn is_rate_limited(&self) -> bool {
        self.account.is_rate_limited()
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// What an answer of Rightfoot's means. One that is about our account and not about what was asked ends the
    /// run: the others would hear the same.
    pub(crate) fn handle_answer<T>(&self, about: &Id, answer: Result<T, ApiError>) -> PollResult<T> {
        let error = match answer {
            Ok(answer) => return PollResult::Answered(answer),
            Err(error) => error,
        };
        let poll_result = error.to_poll_result();
        match &poll_result {
            PollResult::NotReady => return poll_result,
            PollResult::Unauthorized => {
                self.stop();
                self.note_error(RunError::Unauthorized(error.clone()));
            }
            PollResult::RateLimited { .. } => self.stop(),
            PollResult::Answered(_) | PollResult::Denied | PollResult::Unanswered => {}
        }
        self.summary().failed += 1;
        count_with_reason("poll_failed", None, error.name());
        tracing::warn!(target: "poll", about = about.as_str(), reason = error.name(), %error, "no answer");
        poll_result
    }
}

impl PollSummary {
    fn report(&self) {
        metrics::counter!("polled").increment(self.polled as u64);
        metrics::counter!("poll_left").increment(self.remaining as u64);
        let delay_secs = u32::try_from(self.oldest_delay_secs).unwrap_or(u32::MAX);
        metrics::histogram!("oldest_poll_delay").record(delay_secs);
        let Self { due, polled, recorded, reopened, runs_found, settled, overdue, failed, remaining, .. } =
            *self;
        let error = self.error.as_ref().map(tracing::field::display);
        // A run with nothing to do is the rule: its line is for who looks closely, its metrics for everyone.
        if due == 0 && error.is_none() {
            tracing::debug!(target: "poll", due, remaining);
        } else {
            tracing::info!(
                target: "poll", due, polled, recorded, reopened, runs_found, settled, overdue, failed, remaining, error
            );
        }
    }

    /// As the function answers.
    pub fn into_response(self) -> Result<Value, Diagnostic> {
        match self.error {
            Some(error) => Err(error.into()),
            None => Ok(json!({
                "due": self.due,
                "asked": self.polled,
                "found": self.recorded,
                "mended": self.reopened,
                "runs_found": self.runs_found,
                "settled": self.settled,
                "overdue": self.overdue,
                "overdue_unanswered": self.overdue_unanswered,
                "submissions_unknown": self.submissions_unknown,
                "schedule_alarms": self.schedule_alarms,
                "failed": self.failed,
                "left": self.remaining,
                "oldest_delay_secs": self.oldest_delay_secs,
            })),
        }
    }
}

/// Why a question was not answered, by a stable name; `None` if it was, be it to our liking or not.
pub(crate) fn failure_name<T>(answer: &Result<T, ApiError>) -> Option<&'static str> {
    let error = answer.as_ref().err()?;
    (!error.to_poll_result::<T>().is_answer()).then(|| error.name())
}

/// Says that a write came too late: somebody else has written to the item since it was put off, and has said what is
/// to become of it.
pub(crate) fn log_overtaken(written: WriteOutcome, id: &str, write: &'static str) {
    if written == WriteOutcome::Conflict {
        tracing::warn!(target: "poll", id, write, "overtaken");
    }
}

/// Logs the rows of a list that cannot be read. `about` is the batch or schedule that was asked for.
pub(crate) fn log_skipped_rows(list: &'static str, about: &Id, skipped: &SkippedRows) {
    for (field, rows) in skipped.by_field() {
        tracing::warn!(target: "poll", about = about.as_str(), list, field, rows, "rows skipped");
    }
}

/// What a failed run is called in Lambda's own report: names that alarms can rely on.
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
