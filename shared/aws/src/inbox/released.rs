//! Submissions that made nothing: their name is free for another one.
//!
//! ```text
//!  requests  Rightfoot refused its only attempt: refused_at if rev=seen, call=seen and due
//!  poller    too late to repeat it:              given_up_at if rev=seen, call=seen and due      (its name is not free)
//!  operator  says that it made nothing:          refused_at, trace if rev=seen, call=seen, neither done nor refused
//! ```

use aws_sdk_dynamodb::types::AttributeValue;

use inbox_core::inbox::record_expiry;
use inbox_core::intervention::Intervention;
use inbox_core::time::UnixMillis;

use super::quarantined::TRACE;
use super::submitted::{ATTEMPTS, Submission};
use super::{Inbox, Written};
use crate::Fault;
use crate::condition::refused;
use crate::item::{self, number, text};

/// The attribute that [`TRACE`] adds to.
pub(super) const INTERVENTIONS: &str = "interventions";

/// What became of a name whose submission Rightfoot refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Released {
    /// It is free.
    Free,
    /// Somebody else has set out to post the submission, or knows already what it made.
    Contested,
    /// It was free before, and another submission stands under it, or none.
    Gone,
}

impl Inbox {
    /// Frees the name of a submission that Rightfoot refused: it made nothing. If somebody else has set out to post it
    /// meanwhile, it is theirs to say.
    pub async fn refuse(&self, submission: &Submission, now: UnixMillis) -> Result<Released, Fault> {
        let mut seen = submission.clone();
        for _ in 0..ATTEMPTS {
            if self.close(&seen, "refused_at", now).await? == Written::Applied {
                return Ok(Released::Free);
            }
            match self.submission(&seen.submission_id).await? {
                // The answer of an attempt that was applied may have been lost.
                Some(stands) if stands.is_of(&seen) && stands.is_free => return Ok(Released::Free),
                // If it was the poller, it has only been put off.
                Some(stands) if stands.is_open_since(&seen) => seen = stands,
                Some(stands) if stands.is_of(&seen) => return Ok(Released::Contested),
                Some(_) | None => return Ok(Released::Gone),
            }
        }
        Ok(Released::Contested)
    }

    /// Gives up a submission that Rightfoot has forgotten by now, and of which nobody knows what became.
    pub async fn give_up_submission(
        &self,
        submission: &Submission,
        now: UnixMillis,
    ) -> Result<Written, Fault> {
        // What it may have made outlives its record.
        self.bind(&submission.submission_id, now).await?;
        self.close(submission, "given_up_at", now).await
    }

    async fn close(&self, submission: &Submission, how: &str, now: UnixMillis) -> Result<Written, Fault> {
        let expression =
            format!("rev = rev + :one, {how} = :now, expires_at = :at REMOVE due, due_at, webhook_url");
        let expires_at = record_expiry(now, self.retention_days);
        let values = [(":one", number(1)), (":now", number(now.0)), (":at", number(expires_at.0))];
        self.write_to(submission, &expression, values).await
    }

    /// Every write to a submission that is due names the call that began it: under a name that was free again another one
    /// begins at the first `rev` again.
    pub(super) async fn write_to<const N: usize>(
        &self,
        submission: &Submission,
        expression: &str,
        values: [(&str, AttributeValue); N],
    ) -> Result<Written, Fault> {
        let (place, rev) = (submission.tracking.place().clone(), submission.tracking.rev());
        let ours = ("call_id = :call", (":call", text(&submission.call_id)));
        self.update_if(place, rev, Some(ours), expression, values).await
    }

    /// Frees the name of a submission because an operator says that it made nothing. Refused if it is known what it made, if
    /// its name is free already, and if somebody has written to it since it was seen.
    pub async fn release_submission(&self, seen: &Submission, by: &Intervention) -> Result<Written, Fault> {
        let open = "attribute_not_exists(done_at) AND attribute_not_exists(refused_at)";
        let update = self
            .db
            .update_item()
            .table_name(&self.table)
            .set_key(Some(seen.tracking.place().clone()))
            .update_expression(format!(
                "SET rev = rev + :one, refused_at = :now, expires_at = :at, {TRACE} \
                 REMOVE due, due_at, webhook_url"
            ))
            .condition_expression(format!("rev = :seen AND call_id = :call AND {open}"))
            .expression_attribute_values(":seen", number(seen.tracking.rev()))
            .expression_attribute_values(":call", text(&seen.call_id))
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":now", number(by.at.0))
            .expression_attribute_values(":at", number(record_expiry(by.at, self.retention_days).0))
            .expression_attribute_values(":none", AttributeValue::L(Vec::new()))
            .expression_attribute_values(":trace", AttributeValue::L(vec![item::intervention(by)]));
        match update.send().await {
            Ok(_) => Ok(Written::Applied),
            // The answer of an attempt that was applied may have been lost.
            Err(error) if refused(&error) => {
                let stands = self.submission(&seen.submission_id).await?;
                let ours = stands.is_some_and(|it| it.is_of(seen) && it.interventions().contains(by));
                Ok(if ours { Written::Applied } else { Written::Overtaken })
            }
            Err(error) => Err(Fault::of("dynamodb:UpdateItem", &error)),
        }
    }
}
