//! Ends of submissions that created nothing, which frees their name, or whose outcome stays unknown.
//!
//! ```text
//!  requests  Rightfoot declined its only attempt: declined_at if rev=seen, call=seen and due
//!  poller    too late to retry it:                abandoned_at if rev=seen, call=seen and due     (its name is not free)
//!  operator  says that it created nothing:        declined_at, audit entry if rev=seen, call=seen, neither done nor declined
//! ```

use inbox_core::audit::{AuditEntry, AuditSubject};
use inbox_core::expiry::record_expiry;
use inbox_core::time::UnixMillis;

use super::{Submissions, WRITE_ATTEMPTS_MAX};
use crate::AwsError;
use crate::items::SubmissionItem;
use crate::table::WriteOutcome;
use crate::table::attribute::Attribute;
use crate::table::update::Update;

/// Outcome of releasing the name of a submission that Rightfoot declined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReleaseOutcome {
    /// The name is free.
    Released,
    /// Another caller has begun to post the submission again, or has recorded what it created.
    Conflict,
    /// The name was free before, and another submission uses it by now, or none.
    Superseded,
}

impl Submissions {
    /// Releases the name of a submission that Rightfoot declined: it created nothing. If another caller has
    /// begun to post it meanwhile, the outcome is that caller's to record.
    pub async fn decline_submission(
        &self,
        submission: &SubmissionItem,
        now: UnixMillis,
    ) -> Result<ReleaseOutcome, AwsError> {
        let mut seen = submission.clone();
        for _ in 0..WRITE_ATTEMPTS_MAX {
            let update = self.close(seen.update(), Attribute::DeclinedAt, now);
            if self.table.update_once(update).await? == WriteOutcome::Applied {
                return Ok(ReleaseOutcome::Released);
            }
            match self.submission(&seen.submission_id).await? {
                // The response of an applied attempt may have been lost.
                Some(existing) if existing.is_same_call(&seen) && existing.is_name_free() => {
                    return Ok(ReleaseOutcome::Released);
                }
                // If the other writer was the poller, it only moved the due time: try again.
                Some(existing) if existing.is_unresolved_since(&seen) => seen = existing,
                Some(existing) if existing.is_same_call(&seen) => return Ok(ReleaseOutcome::Conflict),
                Some(_) | None => return Ok(ReleaseOutcome::Superseded),
            }
        }
        Ok(ReleaseOutcome::Conflict)
    }

    /// Abandons a submission whose outcome is unknown, and which Rightfoot has forgotten by now, so that a
    /// retry could create a second one.
    pub async fn abandon_submission(
        &self,
        submission: &SubmissionItem,
        now: UnixMillis,
    ) -> Result<WriteOutcome, AwsError> {
        // A batch that it may have created can outlive this record.
        self.table.bind_subject(&submission.submission_id, now).await?;
        self.table.update_once(self.close(submission.update(), Attribute::AbandonedAt, now)).await
    }

    /// Releases the name of a submission because an operator says that it created nothing. Conflicts if it is
    /// known what it created, if the name is free already, or if it was written to since it was read.
    pub async fn release_submission(
        &self,
        seen: &SubmissionItem,
        by: &AuditEntry,
    ) -> Result<WriteOutcome, AwsError> {
        // Not only while it is due: an abandoned submission can be released, too.
        let update = Update::at_rev(seen.tracking.key().clone(), seen.tracking.rev())
            .only_if(Attribute::CallId.equals(&seen.call_id))
            .only_if(Attribute::DoneAt.is_missing())
            .only_if(Attribute::DeclinedAt.is_missing())
            .increment(Attribute::Rev);
        let subject = AuditSubject::Submission(seen.submission_id.clone());
        let update = self.close(update, Attribute::DeclinedAt, by.at);
        let is_own = |item: &_| {
            SubmissionItem::from_item(item)
                .is_some_and(|it| it.is_same_call(seen) && it.audit_entries.contains(by))
        };
        self.table.update_audited(update, &subject, by, is_own).await
    }

    /// Adds the end of a submission to an update of it.
    fn close(&self, update: Update, end: Attribute, now: UnixMillis) -> Update {
        update
            .set(end, &now)
            .set(Attribute::ExpiresAt, &record_expiry(now, self.table.retention_days))
            .end_due()
            // The URL goes, because it is a credential and no retry needs it any more.
            .remove(&[Attribute::WebhookUrl])
    }
}
