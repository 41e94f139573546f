//! Tracks batches and schedules that were submitted by other means, or whose submission has an unknown outcome.

use std::time::Duration;

use serde_json::{Value, json};

use inbox_aws::items::SubmissionItem;
use inbox_aws::stores::{CompleteOutcome, Created, TrackOutcome};
use inbox_core::id::Id;
use inbox_core::poll::batch::TrackedBatch;
use inbox_core::poll::schedule::TrackedSchedule;
use inbox_core::requests::submission::SubmissionKind;
use inbox_core::requests::{SCHEDULE_LIFETIME_MAX, SubjectBinding, TrackBatch, TrackSchedule};
use inbox_core::subject::Subject;
use inbox_core::time::UnixMillis;

use crate::{RequestError, RightfootRequests};

/// The longest interval that Rightfoot allows; assumed for a schedule of unknown interval.
pub(crate) fn max_interval() -> Duration {
    Duration::from_secs(30 * 86_400)
}

impl RightfootRequests {
    pub(crate) async fn track_batch(&self, track: &TrackBatch) -> Result<Value, RequestError> {
        let now = self.clock.now();
        let tracked = TrackedBatch {
            batch_id: track.batch_id.clone(),
            subject: track.binding.subject().cloned(),
            schedule_id: None,
            expected: track.expected,
            failed_authorizers: track.failed.iter().cloned().collect(),
            deadline: now.plus(self.poll_timing.deadline),
            polls: 0,
        };
        let failed: Vec<_> =
            track.failed.iter().map(|id| json!({"authorizer_unique_id": id.as_str()})).collect();
        // It may be stored as a submission's response, so it has the form of the one of `submit_batch`.
        let answer = json!({
            "batch_id": track.batch_id.as_str(),
            "submitted_at": now.rfc3339(),
            "failed_authorizers": failed,
            "warnings": [],
        });
        let created = Created::Batch(&tracked);
        let status = self.track(created, &track.binding, &answer, now.plus(self.poll_timing.first)).await?;
        Ok(json!({"batch_id": track.batch_id.as_str(), "status": status}))
    }

    pub(crate) async fn track_schedule(&self, track: &TrackSchedule) -> Result<Value, RequestError> {
        let now = self.clock.now();
        // Its first runs may have been any time since it was submitted.
        let since = match &track.binding {
            SubjectBinding::Submission(id) => {
                self.submission_of_kind(id, SubmissionKind::Schedule).await?.written_at
            }
            SubjectBinding::None | SubjectBinding::Subject(_) => now,
        };
        let schedule = TrackedSchedule {
            schedule_id: track.schedule_id.clone(),
            subject: track.binding.subject().cloned(),
            probes: track.probes.clone(),
            since,
            last_run_seen: None,
            interval: track.interval.unwrap_or_else(max_interval),
            expires_at: track.expires_at.unwrap_or_else(|| now.plus(SCHEDULE_LIFETIME_MAX)),
            polls: 0,
        };
        let answer = json!({
            "schedule_id": track.schedule_id.as_str(),
            "expires_at": schedule.expires_at.rfc3339(),
            "next_run_at": null,
            "probe_authorizers": schedule.probes.iter().map(Id::as_str).collect::<Vec<_>>(),
        });
        // Poll it at once, to learn from Rightfoot when it runs next.
        let created = Created::Schedule(&schedule, &track.thresholds);
        let status = self.track(created, &track.binding, &answer, now).await?;
        Ok(json!({"schedule_id": track.schedule_id.as_str(), "status": status}))
    }

    /// Tracks a resource and, if `binding` names a submission, completes that. Returns the status for the response.
    async fn track(
        &self,
        created: Created<'_>,
        binding: &SubjectBinding,
        answer: &Value,
        due_at: UnixMillis,
    ) -> Result<&'static str, RequestError> {
        let now = self.clock.now();
        let SubjectBinding::Submission(submission_id) = binding else {
            return match self.submissions.track(created, due_at, now).await? {
                TrackOutcome::Started => Ok("tracked"),
                TrackOutcome::AlreadyTracked => Ok("already_tracked"),
                TrackOutcome::Mismatch(what) => Err(RequestError::TrackingConflict(what)),
            };
        };
        let kind = match &created {
            Created::Batch(_) => SubmissionKind::Batch,
            Created::Schedule(..) => SubmissionKind::Schedule,
        };
        let submission = self.submission_of_kind(submission_id, kind).await?;
        match self.submissions.complete_submission(&submission, created, answer, due_at, now).await? {
            CompleteOutcome::Completed(_) if submission.is_completed() => Ok("already_tracked"),
            CompleteOutcome::Completed(_) => Ok("tracked"),
            CompleteOutcome::Mismatch => Err(RequestError::TrackingConflict("submission_id")),
            CompleteOutcome::Superseded => Err(RequestError::SubmissionReleased),
        }
    }

    /// Reads a submission, and checks its kind.
    async fn submission_of_kind(
        &self,
        submission_id: &Subject,
        kind: SubmissionKind,
    ) -> Result<SubmissionItem, RequestError> {
        let submission =
            self.submissions.submission(submission_id).await?.ok_or(RequestError::NoSuchSubmission)?;
        if submission.kind == kind {
            Ok(submission)
        } else {
            Err(RequestError::SubmissionIdConflict(submission.kind))
        }
    }
}
