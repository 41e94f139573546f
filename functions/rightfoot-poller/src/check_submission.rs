//! Looking after a submission of which it is not known what became of it: only its caller can repeat it.

use std::time::Duration;

use inbox_core::delivery::Subject;
use inbox_core::limits::SUBMISSION_DUE_SECS;
use inbox_core::requests::submission::is_repeatable;

use crate::RightfootPoller;
use crate::poll_run::{RunContext, RunError, log_overtaken};

impl RightfootPoller {
    pub(crate) async fn check_submission(
        &self,
        submission_id: &Subject,
        context: &RunContext,
    ) -> Result<(), RunError> {
        let inbox = self.recorder.inbox();
        let Some(mut submission) = inbox.submission(submission_id).await? else { return Ok(()) };
        let now = self.recorder.clock().now();
        if !submission.tracking.is_due(now) {
            return Ok(()); // the index lagged
        }
        let may_repeat = is_repeatable(submission.written_at, now);
        // Said before it is written: said twice is better than never.
        context.summary().submissions_unknown += 1;
        metrics::counter!("submission_unknown").increment(1);
        let advice = if may_repeat { "repeat it" } else { "too late to repeat it" };
        tracing::warn!(target: "poll", submission_id = submission_id.as_str(), advice, "outcome unknown");
        if may_repeat {
            let polls = submission.polls.saturating_add(1);
            let later = now.plus(Duration::from_secs(SUBMISSION_DUE_SECS));
            let written = inbox.defer_before_poll(&mut submission.tracking, polls, later).await?;
            log_overtaken(written, submission_id.as_str(), "put_off");
        } else {
            let written = inbox.abandon_submission(&submission, now).await?;
            log_overtaken(written, submission_id.as_str(), "give_up");
        }
        Ok(())
    }
}
