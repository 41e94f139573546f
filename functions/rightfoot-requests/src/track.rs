//! Watching what was submitted by other means.

use std::time::Duration;

use serde_json::{Value, json};

use inbox_aws::inbox::{Concluded, Made, Submission, Watch};
use inbox_core::delivery::Subject;
use inbox_core::event::Id;
use inbox_core::poll::batch::Tracked;
use inbox_core::poll::schedule::Watched;
use inbox_core::requests::submission::Kind;
use inbox_core::requests::{Binding, LIFE_MAX, TrackBatch, TrackSchedule};
use inbox_core::time::UnixMillis;

use crate::{Refusal, Requests};

/// The longest that Rightfoot lets a schedule rest: for one that does not say.
pub(crate) fn longest_interval() -> Duration {
    Duration::from_secs(30 * 86_400)
}

impl Requests {
    pub(crate) async fn track_batch(&self, track: &TrackBatch) -> Result<Value, Refusal> {
        let now = self.clock.now();
        let tracked = Tracked {
            batch_id: track.batch_id.clone(),
            subject: track.binding.subject().cloned(),
            schedule_id: None,
            expected: track.expected,
            failed: track.failed.iter().cloned().collect(),
            deadline: now.plus(self.cadence.deadline),
            polls: 0,
        };
        let failed: Vec<_> =
            track.failed.iter().map(|id| json!({"authorizer_unique_id": id.as_str()})).collect();
        let answer = json!({
            "batch_id": track.batch_id.as_str(),
            "submitted_at": now.rfc3339(),
            "failed_authorizers": failed,
            "warnings": [],
        });
        let made = Made::Batch(&tracked);
        let status = self.watch(made, &track.binding, &answer, now.plus(self.cadence.first)).await?;
        Ok(json!({"batch_id": track.batch_id.as_str(), "status": status}))
    }

    pub(crate) async fn track_schedule(&self, track: &TrackSchedule) -> Result<Value, Refusal> {
        let now = self.clock.now();
        // It may have run since it was submitted.
        let since = match &track.binding {
            Binding::Submission(id) => self.pending(id, Kind::Schedule).await?.written_at,
            Binding::None | Binding::Subject(_) => now,
        };
        let watched = Watched {
            schedule_id: track.schedule_id.clone(),
            subject: track.binding.subject().cloned(),
            probes: track.probes.clone(),
            since,
            last_run_seen: None,
            interval: track.interval.unwrap_or_else(longest_interval),
            expires_at: track.expires_at.unwrap_or_else(|| now.plus(LIFE_MAX)),
            polls: 0,
        };
        let answer = json!({
            "schedule_id": track.schedule_id.as_str(),
            "expires_at": watched.expires_at.rfc3339(),
            "next_run_at": null,
            "probe_authorizers": watched.probes.iter().map(Id::as_str).collect::<Vec<_>>(),
        });
        // Asked for at once: Rightfoot tells when it runs next.
        let made = Made::Schedule(&watched, &track.thresholds);
        let status = self.watch(made, &track.binding, &answer, now).await?;
        Ok(json!({"schedule_id": track.schedule_id.as_str(), "status": status}))
    }

    /// Watches it, and ends the submission that made it, if it is one.
    async fn watch(
        &self,
        made: Made<'_>,
        binding: &Binding,
        answer: &Value,
        due_at: UnixMillis,
    ) -> Result<&'static str, Refusal> {
        let now = self.clock.now();
        let Binding::Submission(submission_id) = binding else {
            return match self.inbox.watch(made, due_at, now).await? {
                Watch::Begun => Ok("tracked"),
                Watch::Already => Ok("already_tracked"),
                Watch::Differs(what) => Err(Refusal::TrackedOtherwise(what)),
            };
        };
        let kind = match &made {
            Made::Batch(_) => Kind::Batch,
            Made::Schedule(..) => Kind::Schedule,
        };
        let seen = self.pending(submission_id, kind).await?;
        match self.inbox.conclude(&seen, made, answer, due_at, now).await? {
            Concluded::Stands(_) if seen.is_concluded => Ok("already_tracked"),
            Concluded::Stands(_) => Ok("tracked"),
            Concluded::Otherwise => Err(Refusal::TrackedOtherwise("submission_id")),
            Concluded::Overtaken => Err(Refusal::NameFreed),
        }
    }

    /// The submission of this name, which must be of this kind.
    async fn pending(&self, submission_id: &Subject, kind: Kind) -> Result<Submission, Refusal> {
        let submission = self.inbox.submission(submission_id).await?.ok_or(Refusal::NoSuchSubmission)?;
        if submission.kind == kind { Ok(submission) } else { Err(Refusal::OtherSubmission(submission.kind)) }
    }
}
