//! The protocol of a submission (design, 7): whoever dies at whatever point, the same request again ends with the
//! same batch, tracked once.
//!
//! ```text
//!  write the submission (once, with its URL) ── POST ── track what it made and end the submission (one transaction)
//! ```

use std::collections::BTreeSet;

use serde_json::{Value, json};
use uuid::Uuid;

use inbox_aws::inbox::{Begun, Made, NewSubmission, Submission};
use inbox_core::delivery::Subject;
use inbox_core::event::Id;
use inbox_core::keys::Keys;
use inbox_core::limits::ID_MAX_BYTES;
use inbox_core::poll::batch::Tracked;
use inbox_core::poll::schedule::Watched;
use inbox_core::requests::submission::{Kind, Same, fingerprint, is_repeatable, is_same};
use inbox_core::requests::{Authorizers, CreateSchedule, LIFE_MAX, SubmitBatch};
use inbox_core::time::UnixMillis;
use inbox_rightfoot::{ApiError, FailedAuthorizer, ScheduleCreated, Submitted};

use crate::track::longest_interval;
use crate::{Refusal, Requests};

/// How a submission goes on.
enum Course {
    /// It has to be posted, with this URL.
    Post { submission: Box<Submission>, webhook_url: String, is_first: bool },
    /// It was done before.
    Done(Value),
}

impl Requests {
    pub(crate) async fn submit_batch(&self, batch: &SubmitBatch) -> Result<Value, Refusal> {
        let id = &batch.submission_id;
        let (submission, webhook_url) = match self.begin(id, Kind::Batch, &batch.body("")).await? {
            Course::Done(answer) => return Ok(answer),
            Course::Post { submission, webhook_url, .. } => (submission, webhook_url),
        };
        let body = batch.body(&webhook_url);
        let posted = self
            .account
            .ask(|client, key| {
                let body = body.clone();
                async move { client.submit(&key, body).await }
            })
            .await;
        let submitted = match posted {
            Ok(submitted) => submitted,
            Err(ApiError::Refused { status, failed }) => {
                self.inbox.refuse(&submission, self.clock.now()).await?;
                return Err(Refusal::Refused { status, about: about(&batch.authorizers, &failed) });
            }
            Err(error) => return Err(unknown_or_not_done(error)),
        };
        let now = self.clock.now();
        let tracked = Tracked {
            batch_id: submitted.batch_id.clone(),
            subject: Some(id.clone()),
            schedule_id: None,
            expected: expected_of(&batch.authorizers, &submitted.failed),
            failed: refused_of(&batch.authorizers, &submitted.failed),
            deadline: now.plus(self.cadence.deadline),
            polls: 0,
        };
        let due_at = now.plus(self.cadence.first);
        let answer = batch_answer(&batch.authorizers, &submitted, now);
        let stands = self.inbox.conclude(id, Made::Batch(&tracked), &answer, due_at, now).await?;
        Ok(self.inbox.answer_of(&stands).await?)
    }

    pub(crate) async fn create_schedule(&self, schedule: &CreateSchedule) -> Result<Value, Refusal> {
        let id = &schedule.submission_id;
        let (submission, webhook_url, is_first) =
            match self.begin(id, Kind::Schedule, &schedule.body("")).await? {
                Course::Done(answer) => return Ok(answer),
                Course::Post { submission, webhook_url, is_first } => (submission, webhook_url, is_first),
            };
        let body = schedule.body(&webhook_url);
        let posted = self
            .account
            .ask(|client, key| {
                let body = body.clone();
                async move { client.create_schedule(&key, body).await }
            })
            .await;
        let created = match posted {
            Ok(created) => created,
            Err(ApiError::Refused { status, failed }) => {
                self.inbox.refuse(&submission, self.clock.now()).await?;
                return Err(Refusal::Refused { status, about: about(&schedule.authorizers, &failed) });
            }
            Err(ApiError::Conflict) => {
                // After an earlier attempt the name may be this very schedule's.
                if is_first {
                    self.inbox.refuse(&submission, self.clock.now()).await?;
                }
                return Err(Refusal::NameTaken);
            }
            Err(error) if error.outcome_unknown() => return Err(Refusal::ScheduleUnknown(error)),
            Err(error) => return Err(Refusal::NotDone(error)),
        };
        let now = self.clock.now();
        let watched = watched(schedule, &created, submission.written_at, now);
        let next = created.next_run_at.filter(|next| *next > now).unwrap_or(now);
        let answer = schedule_answer(&created, &watched);
        let made = Made::Schedule(&watched, &schedule.thresholds);
        let stands = self.inbox.conclude(id, made, &answer, next.plus(self.cadence.first), now).await?;
        Ok(self.inbox.answer_of(&stands).await?)
    }

    /// Writes the submission, or finds the one that stands: with the URL that it was sent with.
    async fn begin(&self, id: &Subject, kind: Kind, request: &[u8]) -> Result<Course, Refusal> {
        let keys = self.keys().await?;
        let now = self.clock.now();
        let new = NewSubmission {
            submission_id: id.clone(),
            kind,
            webhook_url: self.webhook_url(id, &keys)?,
            fingerprint: fingerprint(request, &keys).ok_or(Refusal::NoUrlKey)?,
            call_id: Uuid::new_v4().simple().to_string(),
        };
        match self.inbox.begin(&new, now).await? {
            Begun::New(submission) => Ok(Course::Post {
                submission: submission.into(),
                webhook_url: new.webhook_url,
                is_first: true,
            }),
            Begun::Standing(submission) => self.repeat(submission, kind, request, &keys, now).await,
        }
    }

    async fn repeat(
        &self,
        submission: Submission,
        kind: Kind,
        request: &[u8],
        keys: &Keys,
        now: UnixMillis,
    ) -> Result<Course, Refusal> {
        if submission.kind != kind {
            return Err(Refusal::OtherSubmission(submission.kind));
        }
        match is_same(request, &submission.fingerprint, keys) {
            Same::Yes => {}
            Same::No => return Err(Refusal::OtherSubmission(kind)),
            Same::CannotTell => return Err(Refusal::KeyGone),
        }
        if submission.is_concluded {
            return Ok(Course::Done(self.inbox.answer_of(&submission).await?));
        }
        match submission.webhook_url.clone() {
            Some(webhook_url) if is_repeatable(submission.written_at, now) => {
                Ok(Course::Post { submission: submission.into(), webhook_url, is_first: false })
            }
            Some(_) | None => Err(Refusal::TooLate {
                action: match kind {
                    Kind::Batch => "track_batch",
                    Kind::Schedule => "track_schedule",
                },
            }),
        }
    }
}

/// Everything but a definite refusal is answered by repeating: the same bytes give the same batch.
fn unknown_or_not_done(error: ApiError) -> Refusal {
    if error.outcome_unknown() { Refusal::OutcomeUnknown(error) } else { Refusal::NotDone(error) }
}

/// How many results may come: somebody who was refused without being named is not waited for either.
fn expected_of(authorizers: &Authorizers, failed: &[FailedAuthorizer]) -> u64 {
    let nameless = failed.iter().filter(|one| one.authorizer.is_none()).count();
    u64::try_from(authorizers.len().saturating_sub(nameless)).unwrap_or(u64::MAX)
}

/// Whom Rightfoot refused, of those who were submitted.
fn refused_of(authorizers: &Authorizers, failed: &[FailedAuthorizer]) -> BTreeSet<Id> {
    let submitted: BTreeSet<_> = authorizers.ids().collect();
    failed.iter().filter_map(|one| one.authorizer.clone()).filter(|id| submitted.contains(id)).collect()
}

fn batch_answer(authorizers: &Authorizers, submitted: &Submitted, now: UnixMillis) -> Value {
    let redact = |failed: &FailedAuthorizer| {
        json!({
            "authorizer_unique_id": failed.authorizer.as_ref().map(Id::as_str),
            "error": authorizers.redact(failed.authorizer.as_ref(), &failed.error),
            "account_type": failed.account_type,
            "row_number": failed.row_number,
        })
    };
    json!({
        "batch_id": submitted.batch_id.as_str(),
        "submitted_at": submitted.submitted_at.unwrap_or(now).rfc3339(),
        "failed_authorizers": submitted.failed.iter().map(redact).collect::<Vec<_>>(),
        "warnings": submitted.warnings.iter().map(|words| authorizers.redact(None, words)).collect::<Vec<_>>(),
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

/// The first few of whom a refusal is about.
fn about(authorizers: &Authorizers, failed: &[FailedAuthorizer]) -> String {
    const SHOWN: usize = 5;
    let mut about = String::new();
    for one in failed.iter().take(SHOWN) {
        let who = one.authorizer.as_ref().map_or("?", |id| id.as_str());
        let who: String = who.chars().take(ID_MAX_BYTES).collect();
        about.push_str(&format!("; {who}: {}", authorizers.redact(one.authorizer.as_ref(), &one.error)));
    }
    match failed.len().saturating_sub(SHOWN) {
        0 => about,
        more => format!("{about}; and {more} more"),
    }
}
