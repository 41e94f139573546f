//! The protocol of a submission: whoever dies at whatever point, the same request again ends with the
//! same batch, tracked once.
//!
//! ```text
//!  write the submission (once, with its URL) ── POST ── track what it made and end the submission (one transaction)
//! ```

use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use inbox_aws::Fault;
use inbox_aws::inbox::{Begun, Concluded, Made, NewSubmission, Released, Submission};
use inbox_core::delivery::Subject;
use inbox_core::event::Id;
use inbox_core::keys::Keys;
use inbox_core::limits::AUTHORIZERS_MAX;
use inbox_core::poll::batch::Tracked;
use inbox_core::poll::schedule::{Watched, look_after};
use inbox_core::requests::submission::{Kind, Same, fingerprint, is_repeatable, is_same};
use inbox_core::requests::{CreateSchedule, LIFE_MAX, SubmitBatch};
use inbox_core::time::UnixMillis;
use inbox_rightfoot::{ApiError, ScheduleCreated, Submitted};

use crate::track::longest_interval;
use crate::words::Words;
use crate::{Refusal, Requests};

/// Attempts at a beginning that others get in the way of.
const ATTEMPTS: usize = 4;

/// How a submission goes on.
enum Next {
    /// It has to be posted, with this URL.
    Post { submission: Box<Submission>, webhook_url: String },
    /// It was done before, and this was answered.
    Answer(Value),
}

impl Requests {
    pub(crate) async fn submit_batch(&self, batch: &SubmitBatch) -> Result<Value, Refusal> {
        let id = &batch.submission_id;
        let (submission, webhook_url) = match self.begin(id, Kind::Batch, &batch.body("")).await? {
            Next::Answer(answer) => return Ok(answer),
            Next::Post { submission, webhook_url } => (submission, webhook_url),
        };
        let (words, body) = (Words::about(&batch.authorizers, &webhook_url), batch.body(&webhook_url));
        let posted = self
            .account
            .ask(|client, key| {
                let body = body.clone();
                async move { client.submit(&key, body).await }
            })
            .await;
        let submitted = match posted {
            Ok(submitted) => submitted,
            Err(error) => return Err(self.not_made(&submission, error, &words).await?),
        };
        let now = self.clock.now();
        let tracked = Tracked {
            batch_id: submitted.batch_id.clone(),
            subject: Some(id.clone()),
            schedule_id: None,
            expected: words.expected(&submitted.failed),
            failed: words.refused(&submitted.failed),
            deadline: now.plus(self.cadence.deadline),
            polls: 0,
        };
        let due_at = now.plus(self.cadence.first);
        let answer = batch_answer(&words, &submitted, now);
        let made = Made::Batch(&tracked);
        match self.inbox.conclude(&submission, made.clone(), &answer, due_at, now).await? {
            Concluded::Stands(stands) => Ok(self.inbox.answer_of(&stands).await?),
            Concluded::Otherwise | Concluded::Overtaken => {
                Err(self.watch_all_the_same(Kind::Batch, &tracked.batch_id, made, due_at, now).await)
            }
        }
    }

    pub(crate) async fn create_schedule(&self, schedule: &CreateSchedule) -> Result<Value, Refusal> {
        let id = &schedule.submission_id;
        let (submission, webhook_url) = match self.begin(id, Kind::Schedule, &schedule.body("")).await? {
            Next::Answer(answer) => return Ok(answer),
            Next::Post { submission, webhook_url } => (submission, webhook_url),
        };
        let (words, body) = (Words::about(&schedule.authorizers, &webhook_url), schedule.body(&webhook_url));
        let posted = self
            .account
            .ask(|client, key| {
                let body = body.clone();
                async move { client.create_schedule(&key, body).await }
            })
            .await;
        let created = match posted {
            Ok(created) => created,
            Err(error) => return Err(self.not_made(&submission, error, &words).await?),
        };
        let now = self.clock.now();
        let watched = watched(schedule, &created, submission.written_at, now);
        let due_at = look_after(created.next_run_at.unwrap_or(now), &self.cadence, now);
        let answer = schedule_answer(&created, &watched);
        let made = Made::Schedule(&watched, &schedule.thresholds);
        match self.inbox.conclude(&submission, made.clone(), &answer, due_at, now).await {
            Ok(Concluded::Stands(stands)) => Ok(self.inbox.answer_of(&stands).await?),
            Ok(Concluded::Otherwise | Concluded::Overtaken) => {
                Err(self.watch_all_the_same(Kind::Schedule, &watched.schedule_id, made, due_at, now).await)
            }
            // Its caller cannot get the id again: Rightfoot answers a repetition that the name is taken.
            Err(fault) => Err(Refusal::NotWritten { schedule_id: created.schedule_id, fault }),
        }
    }

    /// What a caller hears whose `POST` failed. Frees the name if nothing can have been made: Rightfoot refused the only
    /// attempt that there ever was. After another one, or beside one, no refusal tells what became of that.
    async fn not_made(
        &self,
        submission: &Submission,
        error: ApiError,
        words: &Words<'_>,
    ) -> Result<Refusal, Fault> {
        let kind = submission.kind;
        let is_only_attempt = submission.attempts == 1;
        let after_attempts =
            |status, about: &[_]| Refusal::RefusedAfterAttempts { kind, status, about: words.list(about) };
        Ok(match error {
            ApiError::Refused { status, failed } if is_only_attempt => {
                let is_free = match self.inbox.refuse(submission, self.clock.now()).await? {
                    Released::Contested => return Ok(after_attempts(status, &failed)),
                    Released::Free => true,
                    Released::Gone => false,
                };
                Refusal::Refused { status, about: words.list(&failed), is_free }
            }
            ApiError::Refused { status, failed } | ApiError::RefusedOnRetry { status, failed } => {
                after_attempts(status, &failed)
            }
            ApiError::Conflict if kind == Kind::Schedule => {
                if is_only_attempt {
                    self.inbox.refuse(submission, self.clock.now()).await?;
                }
                Refusal::NameTaken
            }
            // Everything else is answered by repeating: the same bytes give the same batch.
            error @ (ApiError::NoKey
            | ApiError::Unauthorized
            | ApiError::Forbidden
            | ApiError::NotReady
            | ApiError::RateLimited { .. }
            | ApiError::Unavailable(_)
            | ApiError::Conflict
            | ApiError::Broken(_)) => unknown_or_not_done(error, kind),
        })
    }

    /// Watches what Rightfoot made although its submission stands for something else by now: unwatched, it would be lost.
    async fn watch_all_the_same(
        &self,
        kind: Kind,
        id: &Id,
        made: Made<'_>,
        due_at: UnixMillis,
        now: UnixMillis,
    ) -> Refusal {
        let fault = self.inbox.watch(made, due_at, now).await.err();
        Refusal::Overtaken { kind, id: id.clone(), fault }
    }

    /// Writes the submission, or finds the one that stands: with the URL that it was sent with.
    async fn begin(&self, id: &Subject, kind: Kind, request: &[u8]) -> Result<Next, Refusal> {
        let keys = self.keys().await?;
        let now = self.clock.now();
        let new = NewSubmission {
            submission_id: id.clone(),
            kind,
            webhook_url: self.webhook_url(id, &keys)?,
            fingerprint: fingerprint(request, &keys).ok_or(Refusal::NoUrlKey)?,
            call_id: Uuid::new_v4().simple().to_string(),
        };
        for _ in 0..ATTEMPTS {
            match self.inbox.begin(&new, now).await? {
                Begun::New(submission) => {
                    return Ok(Next::Post { submission: submission.into(), webhook_url: new.webhook_url });
                }
                Begun::Standing(submission) => {
                    if let Some(next) = self.repeat(submission, kind, request, &keys, now).await? {
                        return Ok(next);
                    }
                }
            }
        }
        Err(Fault::overtaken("dynamodb:UpdateItem").into())
    }

    /// What becomes of a submission that stands. `None` if somebody else has written in between.
    async fn repeat(
        &self,
        submission: Submission,
        kind: Kind,
        request: &[u8],
        keys: &Arc<Keys>,
        now: UnixMillis,
    ) -> Result<Option<Next>, Refusal> {
        if submission.kind != kind {
            return Err(Refusal::OtherSubmission(submission.kind));
        }
        match self.is_same(request, &submission, keys).await {
            Same::Yes => {}
            Same::No => return Err(Refusal::OtherSubmission(kind)),
            Same::CannotTell => return Err(Refusal::KeyGone),
        }
        if submission.is_concluded {
            return Ok(Some(Next::Answer(self.inbox.answer_of(&submission).await?)));
        }
        match submission.webhook_url.clone() {
            Some(webhook_url) if is_repeatable(submission.written_at, now) => {
                let ours = self.inbox.set_out_again(submission).await?;
                Ok(ours.map(|submission| Next::Post { submission: submission.into(), webhook_url }))
            }
            Some(_) | None => Err(Refusal::TooLate { kind }),
        }
    }

    /// Whether it is the same submission. If it was made with a key that we do not know, the key may be younger
    /// than our copy of the secret.
    async fn is_same(&self, request: &[u8], submission: &Submission, keys: &Arc<Keys>) -> Same {
        match is_same(request, &submission.fingerprint, keys) {
            Same::CannotTell => match self.url_key.fresher_than(keys).await {
                Some(fresh) => is_same(request, &submission.fingerprint, &fresh),
                None => Same::CannotTell,
            },
            told @ (Same::Yes | Same::No) => told,
        }
    }
}

fn unknown_or_not_done(error: ApiError, kind: Kind) -> Refusal {
    match kind {
        _ if !error.outcome_unknown() => Refusal::NotDone(error),
        Kind::Batch => Refusal::OutcomeUnknown(error),
        Kind::Schedule => Refusal::ScheduleUnknown(error),
    }
}

fn batch_answer(words: &Words<'_>, submitted: &Submitted, now: UnixMillis) -> Value {
    let failed = submitted.failed.iter().take(AUTHORIZERS_MAX);
    let remarks = submitted.warnings.iter().take(AUTHORIZERS_MAX);
    json!({
        "batch_id": submitted.batch_id.as_str(),
        "submitted_at": submitted.submitted_at.unwrap_or(now).rfc3339(),
        "failed_authorizers": failed.map(|one| words.entry(one)).collect::<Vec<_>>(),
        "warnings": remarks.map(|remark| words.remark(remark)).collect::<Vec<_>>(),
    })
}

fn schedule_answer(created: &ScheduleCreated, watched: &Watched) -> Value {
    json!({
        "schedule_id": created.schedule_id.as_str(),
        "expires_at": watched.expires_at.rfc3339(),
        "next_run_at": created.next_run_at.map(UnixMillis::rfc3339),
        "probe_authorizers": watched.probes.iter().map(Id::as_str).collect::<Vec<_>>(),
    })
}

fn watched(
    schedule: &CreateSchedule,
    created: &ScheduleCreated,
    since: UnixMillis,
    now: UnixMillis,
) -> Watched {
    Watched {
        schedule_id: created.schedule_id.clone(),
        subject: Some(schedule.submission_id.clone()),
        probes: schedule.probes.clone(),
        since,
        last_run_seen: None,
        interval: schedule.interval.unwrap_or_else(longest_interval),
        expires_at: created.expires_at.or(schedule.expires_at).unwrap_or_else(|| now.plus(LIFE_MAX)),
        polls: 0,
    }
}
