//! `inboxctl submissions conclude`.

use anyhow::bail;
use clap::Args;
use inbox_aws::items::SubmissionItem;
use inbox_aws::stores::WriteOutcome;
use inbox_core::audit::{Operator, OperatorAction};
use inbox_core::subject::Subject;
use inbox_core::time::UnixMillis;
use serde::Serialize;

use crate::audit::AuditArgs;
use crate::aws_error::WithResource;
use crate::confirm::{ConfirmArgs, is_confirmed};
use crate::output::{Render, Timestamp};
use crate::target::Target;

#[derive(Args)]
pub(crate) struct ConcludeSubmissionArgs {
    /// Submission id.
    submission: Subject,
    /// You made sure at Rightfoot that it created nothing; its name becomes free.
    #[arg(long, required = true)]
    none: bool,
    #[command(flatten)]
    audit: AuditArgs,
    #[command(flatten)]
    confirm: ConfirmArgs,
}

/// Result of concluding a submission.
#[derive(Serialize)]
pub(crate) struct ConcludeReport {
    submission_id: String,
    status: &'static str,
}

pub(super) async fn conclude(
    target: &Target,
    args: ConcludeSubmissionArgs,
) -> anyhow::Result<ConcludeReport> {
    let (stores, table) = (target.stores()?, target.inbox_table()?);
    let (id, operator) = (args.submission, args.audit.operator());
    let Some(submission) = stores.submissions.submission(&id).await.with_resource(&table)? else {
        bail!("there is no submission {id} in {table}, or its record has expired");
    };
    if let Some(created_id) = &submission.created_id {
        bail!(
            "submission {id} created {} {}: it is concluded",
            submission.kind.as_str(),
            created_id.as_str()
        );
    }
    if submission.is_name_free() {
        bail!("submission {id} created nothing: its name is free already");
    }
    if !is_confirmed(target, &args.confirm, &plan_text(&id, &submission, &operator, target.now()))? {
        return Ok(ConcludeReport { submission_id: id.to_string(), status: "not_confirmed" });
    }
    let audit_entry = operator.audit_entry(OperatorAction::Conclude, target.now());
    match stores.submissions.release_submission(&submission, &audit_entry).await.with_resource(&table)? {
        WriteOutcome::Applied => Ok(ConcludeReport { submission_id: id.to_string(), status: "released" }),
        WriteOutcome::Conflict => bail!(
            "submission {id} was changed at the same time, by a retry or the poller; nothing was done. Check it \
             (`inboxctl timeline {id}`) and try again"
        ),
    }
}

fn plan_text(id: &Subject, submission: &SubmissionItem, operator: &Operator, now: UnixMillis) -> String {
    let kind = submission.kind.as_str();
    format!(
        "Conclude that submission {id} created nothing, by {}, because: {}\n  a {kind}, written {}, attempts: {}\n\
         Its name becomes free for another submission. If Rightfoot has created a {kind} after all, it is not tracked.",
        operator.name,
        operator.reason,
        Timestamp(submission.written_at).with_age(now),
        submission.attempts
    )
}

impl Render for ConcludeReport {
    fn to_text(&self, _: UnixMillis) -> String {
        match self.status {
            "released" => format!("{}: it created nothing, and its name is free\n", self.submission_id),
            status => format!("{}: {}\n", self.submission_id, status.replace('_', " ")),
        }
    }

    fn is_success(&self) -> bool {
        self.status != "not_confirmed"
    }
}
