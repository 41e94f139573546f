//! Submissions that made nothing: their name is free for another one.
//!
//! ```text
//!  requests  Rightfoot refused its only attempt: refused_at if rev=seen, call=seen and due
//!  poller    too late to repeat it:              given_up_at if rev=seen, call=seen and due      (its name is not free)
//!  operator  says that it made nothing:          refused_at, trace if rev=seen, call=seen, neither done nor refused
//! ```

use aws_sdk_dynamodb::types::AttributeValue;

use inbox_core::audit::AuditEntry;
use inbox_core::inbox::record_expiry;
use inbox_core::time::UnixMillis;

use super::quarantine::APPEND_AUDIT_ENTRY;
use super::submissions::{StoredSubmission, WRITE_ATTEMPTS_MAX};
use super::{Inbox, WriteOutcome};
use crate::AwsError;
use crate::conditional::condition_failed;
use crate::item::{self, number, text};

/// The attribute that [`TRACE`] adds to.
pub(super) const AUDIT_ENTRIES: &str = "interventions";

/// What became of a name whose submission Rightfoot refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReleaseOutcome {
    /// It is free.
    Released,
    /// Somebody else has set out to post the submission, or knows already what it made.
    Conflict,
    /// It was free before, and another submission stands under it, or none.
    Superseded,
}

impl Inbox {
    /// Frees the name of a submission that Rightfoot refused: it made nothing. If somebody else has set out to post it
    /// meanwhile, it is theirs to say.
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
                // The answer of an attempt that was applied may have been lost.
                Some(existing) if existing.is_same_call(&seen) && existing.is_name_free => {
                    return Ok(ReleaseOutcome::Released);
                }
                // If it was the poller, it has only been put off.
                Some(existing) if existing.is_unresolved_since(&seen) => seen = existing,
                Some(existing) if existing.is_same_call(&seen) => return Ok(ReleaseOutcome::Conflict),
                Some(_) | None => return Ok(ReleaseOutcome::Superseded),
            }
        }
        Ok(ReleaseOutcome::Conflict)
    }

    /// Gives up a submission that Rightfoot has forgotten by now, and of which nobody knows what became.
    pub async fn abandon_submission(
        &self,
        submission: &StoredSubmission,
        now: UnixMillis,
    ) -> Result<WriteOutcome, AwsError> {
        // What it may have made outlives its record.
        self.bind_subject(&submission.submission_id, now).await?;
        self.close_submission(submission, "given_up_at", now).await
    }

    async fn close_submission(
        &self,
        submission: &StoredSubmission,
        attribute: &str,
        now: UnixMillis,
    ) -> Result<WriteOutcome, AwsError> {
        let expression =
            format!("rev = rev + :one, {attribute} = :now, expires_at = :at REMOVE due, due_at, webhook_url");
        let expires_at = record_expiry(now, self.retention_days);
        let values = [(":one", number(1)), (":now", number(now.0)), (":at", number(expires_at.0))];
        self.update_submission(submission, &expression, values).await
    }

    /// Every write to a submission that is due names the call that began it: under a name that was free again another one
    /// begins at the first `rev` again.
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

    /// Frees the name of a submission because an operator says that it made nothing. Refused if it is known what it made, if
    /// its name is free already, and if somebody has written to it since it was seen.
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
            // The answer of an attempt that was applied may have been lost.
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
