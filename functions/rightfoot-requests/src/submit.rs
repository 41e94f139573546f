//! The protocol of a submission. After a crash at any point, sending the same request again leads to the same batch,
//! tracked once.
//!
//! ```text
//!  write the submission (once, with its URL) ── POST ── track the resource and complete the submission (one transaction)
//! ```

use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use inbox_aws::AwsError;
use inbox_aws::items::SubmissionItem;
use inbox_aws::stores::{BeginOutcome, CompleteOutcome, Created, ReleaseOutcome};
use inbox_core::id::Id;
use inbox_core::limits::AUTHORIZERS_MAX;
use inbox_core::poll::batch::TrackedBatch;
use inbox_core::poll::schedule::{TrackedSchedule, next_check_at};
use inbox_core::requests::submission::{
    FingerprintMatch, SubmissionKind, fingerprint, is_repeatable, match_fingerprint,
};
use inbox_core::requests::{CreateSchedule, SCHEDULE_LIFETIME_MAX, SubmitBatch};
use inbox_core::secret_keys::Keys;
use inbox_core::subject::Subject;
use inbox_core::time::UnixMillis;
use inbox_rightfoot::{ApiError, CreatedSchedule, SubmittedBatch};

use crate::redaction::Redactor;
use crate::track::max_interval;
use crate::{RequestError, RightfootRequests};

/// Attempts to begin or resume a submission while other callers write to it.
const BEGIN_ATTEMPTS_MAX: usize = 4;

/// The next step of a submission.
enum SubmitStep {
    /// Send the `POST` with this URL.
    Post { submission: Box<SubmissionItem>, webhook_url: String },
    /// Return this response: the submission was completed before.
    AlreadyDone(Value),
}

impl RightfootRequests {
    pub(crate) async fn submit_batch(&self, batch: &SubmitBatch) -> Result<Value, RequestError> {
        let id = &batch.submission_id;
        // The fingerprint leaves the URL out: a repeated submission keeps the one that it was sent with.
        let (submission, webhook_url) =
            match self.begin_or_resume(id, SubmissionKind::Batch, &batch.body("")).await? {
                SubmitStep::AlreadyDone(answer) => return Ok(answer),
                SubmitStep::Post { submission, webhook_url } => (submission, webhook_url),
            };
        let (redactor, body) = (Redactor::new(&batch.authorizers, &webhook_url), batch.body(&webhook_url));
        let posted = self
            .account
            .call(|client, key| {
                let body = body.clone();
                async move { client.submit_batch(&key, body).await }
            })
            .await;
        let submitted = match posted {
            Ok(submitted) => submitted,
            Err(error) => return Err(self.handle_post_error(&submission, error, &redactor).await?),
        };
        let now = self.clock.now();
        let tracked = TrackedBatch {
            batch_id: submitted.batch_id.clone(),
            subject: Some(id.clone()),
            schedule_id: None,
            expected: redactor.expected_results(&submitted.failed_authorizers),
            failed_authorizers: redactor.excluded_authorizers(&submitted.failed_authorizers),
            deadline: now.plus(self.poll_timing.deadline),
            polls: 0,
        };
        let due_at = now.plus(self.poll_timing.first);
        let answer = batch_response(&redactor, &submitted, now);
        let tracked_resource = Created::Batch(&tracked);
        match self
            .submissions
            .complete_submission(&submission, tracked_resource.clone(), &answer, due_at, now)
            .await?
        {
            // The stored response, not this one: a concurrent caller may have completed the submission first.
            CompleteOutcome::Completed(completed) => Ok(self.submissions.response_of(&completed).await?),
            CompleteOutcome::Mismatch | CompleteOutcome::Superseded => Err(self
                .track_orphan(SubmissionKind::Batch, &tracked.batch_id, tracked_resource, due_at, now)
                .await),
        }
    }

    pub(crate) async fn create_schedule(&self, schedule: &CreateSchedule) -> Result<Value, RequestError> {
        let id = &schedule.submission_id;
        let (submission, webhook_url) =
            match self.begin_or_resume(id, SubmissionKind::Schedule, &schedule.body("")).await? {
                SubmitStep::AlreadyDone(answer) => return Ok(answer),
                SubmitStep::Post { submission, webhook_url } => (submission, webhook_url),
            };
        let (redactor, body) =
            (Redactor::new(&schedule.authorizers, &webhook_url), schedule.body(&webhook_url));
        let posted = self
            .account
            .call(|client, key| {
                let body = body.clone();
                async move { client.create_schedule(&key, body).await }
            })
            .await;
        let created = match posted {
            Ok(created) => created,
            Err(error) => return Err(self.handle_post_error(&submission, error, &redactor).await?),
        };
        let now = self.clock.now();
        // Its first run may have been at any time since the submission was written.
        let tracked = tracked_schedule(schedule, &created, submission.written_at, now);
        let due_at = next_check_at(created.next_run_at.unwrap_or(now), &self.poll_timing, now);
        let answer = schedule_response(&created, &tracked);
        let tracked_resource = Created::Schedule(&tracked, &schedule.thresholds);
        match self
            .submissions
            .complete_submission(&submission, tracked_resource.clone(), &answer, due_at, now)
            .await
        {
            Ok(CompleteOutcome::Completed(completed)) => Ok(self.submissions.response_of(&completed).await?),
            Ok(CompleteOutcome::Mismatch | CompleteOutcome::Superseded) => Err(self
                .track_orphan(SubmissionKind::Schedule, &tracked.schedule_id, tracked_resource, due_at, now)
                .await),
            // The error contains the id, because the caller cannot get it
            // again: Rightfoot answers a retry that the name is taken.
            Err(error) => Err(RequestError::ScheduleNotTracked { schedule_id: created.schedule_id, error }),
        }
    }

    /// Converts a failed `POST` into the error for the caller. Frees the id if nothing can have been created: Rightfoot declined
    /// the only attempt that there was. If there was another attempt, its outcome stays unknown.
    async fn handle_post_error(
        &self,
        submission: &SubmissionItem,
        error: ApiError,
        redactor: &Redactor<'_>,
    ) -> Result<RequestError, AwsError> {
        let kind = submission.kind;
        // Only then is the id freed: an earlier attempt may have been accepted, with its answer lost.
        let is_only_attempt = submission.attempts == 1;
        let after_attempts = |status, failed: &[_]| RequestError::DeclinedAfterAttempts {
            kind,
            status,
            authorizer_errors: redactor.redacted_summary(failed),
        };
        Ok(match error {
            ApiError::Declined { status, failed } if is_only_attempt => {
                let is_id_free =
                    match self.submissions.decline_submission(submission, self.clock.now()).await? {
                        // Another attempt has begun since, so this was not the only one.
                        ReleaseOutcome::Conflict => return Ok(after_attempts(status, &failed)),
                        ReleaseOutcome::Released => true,
                        ReleaseOutcome::Superseded => false,
                    };
                RequestError::Declined {
                    status,
                    authorizer_errors: redactor.redacted_summary(&failed),
                    is_id_free,
                }
            }
            ApiError::Declined { status, failed } | ApiError::DeclinedOnRetry { status, failed } => {
                after_attempts(status, &failed)
            }
            ApiError::Conflict if kind == SubmissionKind::Schedule => {
                // Another schedule has the name, so the only attempt created nothing: its id is free.
                if is_only_attempt {
                    self.submissions.decline_submission(submission, self.clock.now()).await?;
                }
                RequestError::ScheduleNameTaken
            }
            // For everything else the caller sends the same request
            // again: Rightfoot returns the same batch for the same bytes.
            error @ (ApiError::KeyUnavailable
            | ApiError::Unauthorized
            | ApiError::Forbidden
            | ApiError::NotReady
            | ApiError::RateLimited { .. }
            | ApiError::Unavailable(_)
            | ApiError::Conflict
            | ApiError::InvalidResponse(_)) => classify_post_error(error, kind),
        })
    }

    /// Tracks a resource that Rightfoot created although its submission id names something else by now.
    async fn track_orphan(
        &self,
        kind: SubmissionKind,
        id: &Id,
        created: Created<'_>,
        due_at: UnixMillis,
        now: UnixMillis,
    ) -> RequestError {
        // Untracked, it would be lost.
        let error = self.submissions.track(created, due_at, now).await.err();
        RequestError::SubmissionOvertaken { kind, id: id.clone(), error }
    }

    /// Writes a new submission, or resumes the existing one with the URL that it was sent with.
    async fn begin_or_resume(
        &self,
        id: &Subject,
        kind: SubmissionKind,
        request: &[u8],
    ) -> Result<SubmitStep, RequestError> {
        let keys = self.url_keys().await?;
        let now = self.clock.now();
        let webhook_url = self.webhook_url(id, &keys)?;
        let fingerprint = fingerprint(request, &keys).ok_or(RequestError::UrlKeyUnavailable)?;
        // Distinguishes this submission from a later one under the same id, once that was freed.
        let call_id = Uuid::new_v4().simple().to_string();
        let new = SubmissionItem::new(id.clone(), kind, webhook_url.clone(), fingerprint, call_id, now);
        for _ in 0..BEGIN_ATTEMPTS_MAX {
            match self.submissions.begin_submission(&new).await? {
                BeginOutcome::New(submission) => {
                    return Ok(SubmitStep::Post { submission: submission.into(), webhook_url });
                }
                BeginOutcome::Existing(submission) => {
                    if let Some(next) = self.resume(submission, kind, request, &keys, now).await? {
                        return Ok(next);
                    }
                }
            }
        }
        Err(AwsError::write_conflict("dynamodb:UpdateItem").into())
    }

    /// The next step of an existing submission; `None` if it was written by somebody else meanwhile.
    async fn resume(
        &self,
        submission: SubmissionItem,
        kind: SubmissionKind,
        request: &[u8],
        keys: &Arc<Keys>,
        now: UnixMillis,
    ) -> Result<Option<SubmitStep>, RequestError> {
        if submission.kind != kind {
            return Err(RequestError::SubmissionIdConflict(submission.kind));
        }
        match self.match_fingerprint(request, &submission, keys).await {
            FingerprintMatch::Yes => {}
            FingerprintMatch::No => return Err(RequestError::SubmissionIdConflict(kind)),
            FingerprintMatch::UnknownKey => return Err(RequestError::UrlKeyUnknown),
        }
        if submission.is_completed() {
            return Ok(Some(SubmitStep::AlreadyDone(self.submissions.response_of(&submission).await?)));
        }
        match submission.webhook_url.clone() {
            // Later, Rightfoot may have forgotten the request and create a second batch.
            Some(webhook_url) if is_repeatable(submission.written_at, now) => {
                // Recorded before it is sent: an earlier caller that is declined must know of this attempt.
                let resumed = self.submissions.begin_retry(submission).await?;
                Ok(resumed.map(|submission| SubmitStep::Post { submission: submission.into(), webhook_url }))
            }
            Some(_) | None => Err(RequestError::TooLateToRepeat { kind }),
        }
    }

    /// Compares the request with that of the submission. If the submission was made with an unknown key, fetches the secret
    /// again first.
    async fn match_fingerprint(
        &self,
        request: &[u8],
        submission: &SubmissionItem,
        keys: &Arc<Keys>,
    ) -> FingerprintMatch {
        match match_fingerprint(request, &submission.fingerprint, keys) {
            // The key may be newer than the cached copy of the secret.
            FingerprintMatch::UnknownKey => match self.url_key.refetch(keys).await {
                Some(fresh) => match_fingerprint(request, &submission.fingerprint, &fresh),
                None => FingerprintMatch::UnknownKey,
            },
            known @ (FingerprintMatch::Yes | FingerprintMatch::No) => known,
        }
    }
}

fn classify_post_error(error: ApiError, kind: SubmissionKind) -> RequestError {
    match kind {
        _ if !error.is_outcome_unknown() => RequestError::NotSubmitted(error),
        SubmissionKind::Batch => RequestError::OutcomeUnknown(error),
        SubmissionKind::Schedule => RequestError::ScheduleOutcomeUnknown(error),
    }
}

fn batch_response(redactor: &Redactor<'_>, submitted: &SubmittedBatch, now: UnixMillis) -> Value {
    // No submission has more authorizers than that, whatever Rightfoot's answer lists.
    let failed = submitted.failed_authorizers.iter().take(AUTHORIZERS_MAX);
    let warnings = submitted.warnings.iter().take(AUTHORIZERS_MAX);
    json!({
        "batch_id": submitted.batch_id.as_str(),
        "submitted_at": submitted.submitted_at.unwrap_or(now).rfc3339(),
        "failed_authorizers": failed.map(|one| redactor.redacted_entry(one)).collect::<Vec<_>>(),
        "warnings": warnings.map(|warning| redactor.redact_warning(warning)).collect::<Vec<_>>(),
    })
}

fn schedule_response(created: &CreatedSchedule, tracked: &TrackedSchedule) -> Value {
    json!({
        "schedule_id": created.schedule_id.as_str(),
        "expires_at": tracked.expires_at.rfc3339(),
        "next_run_at": created.next_run_at.map(UnixMillis::rfc3339),
        "probe_authorizers": tracked.probes.iter().map(Id::as_str).collect::<Vec<_>>(),
    })
}

fn tracked_schedule(
    schedule: &CreateSchedule,
    created: &CreatedSchedule,
    since: UnixMillis,
    now: UnixMillis,
) -> TrackedSchedule {
    TrackedSchedule {
        schedule_id: created.schedule_id.clone(),
        subject: Some(schedule.submission_id.clone()),
        probes: schedule.probes.clone(),
        since,
        last_run_seen: None,
        interval: schedule.interval.unwrap_or_else(max_interval),
        // Rightfoot's own date comes first: the request may leave it to Rightfoot.
        expires_at: created
            .expires_at
            .or(schedule.expires_at)
            .unwrap_or_else(|| now.plus(SCHEDULE_LIFETIME_MAX)),
        polls: 0,
    }
}
