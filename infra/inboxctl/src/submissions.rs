//! `submissions conclude`.

use anyhow::bail;
use inbox_aws::inbox::{StoredSubmission, WriteOutcome};
use inbox_core::audit::{Operator, OperatorAction};
use inbox_core::delivery::Subject;
use inbox_core::time::UnixMillis;
use serde::Serialize;

use crate::aws_error::WithResource;
use crate::cli::ConcludeSubmissionArgs;
use crate::confirm;
use crate::output::{Render, Timestamp};
use crate::target::Target;

/// What became of concluding a submission.
#[derive(Serialize)]
pub(crate) struct ConcludeReport {
    submission_id: String,
    status: &'static str,
}

pub(crate) async fn conclude(
    target: &Target,
    args: ConcludeSubmissionArgs,
) -> anyhow::Result<ConcludeReport> {
    let (inbox, table) = (target.inbox()?, target.inbox_table()?);
    let (id, operator) = (args.submission, args.audit.operator());
    let Some(submission) = inbox.submission(&id).await.with_resource(&table)? else {
        bail!("there is no submission {id} in {table}, or its record has expired");
    };
    if let Some(created_id) = submission.created_id() {
        bail!("submission {id} made {} {}: it is concluded", submission.kind.as_str(), created_id.as_str());
    }
    if submission.is_name_free {
        bail!("submission {id} made nothing: its name is free already");
    }
    if !confirm::is_confirmed(target, &args.confirm, &plan_text(&id, &submission, &operator, target.now()))? {
        return Ok(ConcludeReport { submission_id: id.to_string(), status: "nothing was done" });
    }
    let audit_entry = operator.audit_entry(OperatorAction::Conclude, target.now());
    match inbox.release_submission(&submission, &audit_entry).await.with_resource(&table)? {
        WriteOutcome::Applied => Ok(ConcludeReport { submission_id: id.to_string(), status: "free" }),
        WriteOutcome::Conflict => bail!(
            "submission {id}: somebody has set out to post it again, or the poller has looked at it, in between; nothing was \
             done. Look at it (`inboxctl trace {id}`), and try again"
        ),
    }
}

fn plan_text(id: &Subject, submission: &StoredSubmission, operator: &Operator, now: UnixMillis) -> String {
    let kind = submission.kind.as_str();
    format!(
        "Conclude that submission {id} made nothing, by {}, because: {}\n  a {kind}, written {}, attempts: {}\n\
         Its name is free then, for another submission. If Rightfoot made a {kind} of it after all, nobody watches that.",
        operator.name,
        operator.reason,
        Timestamp(submission.written_at).with_age(now),
        submission.attempts
    )
}

impl Render for ConcludeReport {
    fn to_text(&self, _: UnixMillis) -> String {
        match self.status {
            "free" => format!("{}: it made nothing, and its name is free\n", self.submission_id),
            status => format!("{}: {status}\n", self.submission_id),
        }
    }

    fn is_success(&self) -> bool {
        self.status != "nothing was done"
    }
}
