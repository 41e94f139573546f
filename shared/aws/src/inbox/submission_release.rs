//! Ends of submissions that created nothing, which frees their name, or whose outcome stays unknown.
//!
//! ```text
//!  requests  Rightfoot declined its only attempt: refused_at if rev=seen, call=seen and due
//!  poller    too late to retry it:                given_up_at if rev=seen, call=seen and due      (its name is not free)
//!  operator  says that it created nothing:        refused_at, audit entry if rev=seen, call=seen, neither done nor declined
//! ```

use aws_sdk_dynamodb::types::AttributeValue;

use inbox_core::audit::AuditEntry;
use inbox_core::expiry::record_expiry;
use inbox_core::time::UnixMillis;

use super::quarantine::APPEND_AUDIT_ENTRY;
use super::submissions::{StoredSubmission, WRITE_ATTEMPTS_MAX};
use super::{Inbox, WriteOutcome};
use crate::AwsError;
use crate::conditional::condition_failed;
use crate::item::{self, number, text};

/// The attribute that [`APPEND_AUDIT_ENTRY`] adds to.
pub(super) const AUDIT_ENTRIES: &str = "interventions";

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

impl Inbox {
    /// Releases the name of a submission that Rightfoot declined: it created nothing. If another caller has
    /// begun to post it meanwhile, the outcome is that caller's to record.
    pub async fn decline_submission(
        &self,
        submission: &StoredSubmission,
        now: UnixMillis,
    ) -> Result<ReleaseOutcome, AwsError> {
        let mut seen = submission.clone();
        for _ in 0..WRITE_ATTEMPTS_MAX {
            if self.close_submission(&seen, "refused_at", now).await? == WriteOutcome::Applied {
                return Ok(ReleaseOutcome::Released);
            }
            match self.submission(&seen.submission_id).await? {
                // The response of an applied attempt may have been lost.
                Some(existing) if existing.is_same_call(&seen) && existing.is_name_free => {
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
        submission: &StoredSubmission,
        now: UnixMillis,
    ) -> Result<WriteOutcome, AwsError> {
        // A batch that it may have created can outlive this record.
        self.bind_subject(&submission.submission_id, now).await?;
        self.close_submission(submission, "given_up_at", now).await
    }

    async fn close_submission(
        &self,
        submission: &StoredSubmission,
        attribute: &str,
        now: UnixMillis,
    ) -> Result<WriteOutcome, AwsError> {
        // The URL goes, because it is a credential and no retry needs it any more.
        let expression =
            format!("rev = rev + :one, {attribute} = :now, expires_at = :at REMOVE due, due_at, webhook_url");
        let expires_at = record_expiry(now, self.retention_days);
        let values = [(":one", number(1)), (":now", number(now.0)), (":at", number(expires_at.0))];
        self.update_submission(submission, &expression, values).await
    }

    /// Updates a due submission, on the condition that it still has the same `call_id`: under a released name
    /// another submission begins at the first `rev` again.
    pub(super) async fn update_submission<const N: usize>(
        &self,
        submission: &StoredSubmission,
        expression: &str,
        values: [(&str, AttributeValue); N],
    ) -> Result<WriteOutcome, AwsError> {
        let (key, rev) = (submission.tracking.key().clone(), submission.tracking.rev());
        let same_call = ("call_id = :call", (":call", text(&submission.call_id)));
        self.update_at_rev_if(key, rev, Some(same_call), expression, values).await
    }

    /// Releases the name of a submission because an operator says that it created nothing. Conflicts if it is
    /// known what it created, if the name is free already, or if it was written to since it was read.
    pub async fn release_submission(
        &self,
        seen: &StoredSubmission,
        by: &AuditEntry,
    ) -> Result<WriteOutcome, AwsError> {
        let open = "attribute_not_exists(done_at) AND attribute_not_exists(refused_at)";
        let update = self
            .db
            .update_item()
            .table_name(&self.table)
            .set_key(Some(seen.tracking.key().clone()))
            .update_expression(format!(
                "SET rev = rev + :one, refused_at = :now, expires_at = :at, {APPEND_AUDIT_ENTRY} \
                 REMOVE due, due_at, webhook_url"
            ))
            .condition_expression(format!("rev = :seen AND call_id = :call AND {open}"))
            .expression_attribute_values(":seen", number(seen.tracking.rev()))
            .expression_attribute_values(":call", text(&seen.call_id))
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":now", number(by.at.0))
            .expression_attribute_values(":at", number(record_expiry(by.at, self.retention_days).0))
            .expression_attribute_values(":none", AttributeValue::L(Vec::new()))
            .expression_attribute_values(":trace", AttributeValue::L(vec![item::audit_entry_value(by)]));
        match update.send().await {
            Ok(_) => Ok(WriteOutcome::Applied),
            // The response of an applied attempt may have been lost.
            Err(error) if condition_failed(&error) => {
                let existing = self.submission(&seen.submission_id).await?;
                let is_applied =
                    existing.is_some_and(|it| it.is_same_call(seen) && it.audit_entries().contains(by));
                Ok(if is_applied { WriteOutcome::Applied } else { WriteOutcome::Conflict })
            }
            Err(error) => Err(AwsError::from_sdk_error("dynamodb:UpdateItem", &error)),
        }
    }
}
