//! Submissions of unknown outcome: reports them until their caller sends the same request again, which only the caller can.

use std::time::Duration;

use inbox_aws::telemetry::metrics;
use inbox_core::limits::SUBMISSION_DUE_SECS;
use inbox_core::requests::submission::is_repeatable;
use inbox_core::subject::Subject;

use crate::RightfootPoller;
use crate::poll_run::{RunContext, RunError, log_overtaken};

impl RightfootPoller {
    pub(crate) async fn check_submission(
        &self,
        submission_id: &Subject,
        context: &RunContext,
    ) -> Result<(), RunError> {
        let Some(mut submission) = self.submissions.submission(submission_id).await? else { return Ok(()) };
        let now = self.recorder.clock().now();
        if !submission.tracking.is_due(now) {
            // The index may lag behind the table: the item has changed since.
            return Ok(());
        }
        let may_repeat = is_repeatable(submission.written_at, now);
        // Reported before it is written: after a crash it is better to report twice than never.
        context.summary().submissions_unknown += 1;
        metrics::SUBMISSION_UNKNOWN.add(1);
        let advice = if may_repeat { "repeat it" } else { "too late to repeat it" };
        tracing::warn!(target: "poller", submission_id = submission_id.as_str(), advice, "outcome unknown");
        if may_repeat {
            let polls = submission.polls.saturating_add(1);
            // Due again although nothing has changed: the alarm must last until somebody acts.
            let later = now.plus(Duration::from_secs(SUBMISSION_DUE_SECS));
            let written = self.polls.defer_before_poll(&mut submission.tracking, polls, later).await?;
            log_overtaken(written, submission_id.as_str(), "defer_before_poll");
        } else {
            // Rightfoot remembers a request for 24 hours only. Later, it could create a second batch.
            let written = self.submissions.abandon_submission(&submission, now).await?;
            log_overtaken(written, submission_id.as_str(), "abandon_submission");
        }
        Ok(())
    }
}
