//! `submissions conclude`.

use anyhow::bail;
use inbox_aws::inbox::{StoredSubmission, WriteOutcome};
use inbox_core::delivery::Subject;
use inbox_core::audit::{OperatorAction, Operator};
use inbox_core::time::UnixMillis;
use serde::Serialize;

use crate::cli::ConcludeSubmission;
use crate::consent;
use crate::place::Place;
use crate::trouble::About;
use crate::view::{At, Found};

/// What became of concluding a submission.
#[derive(Serialize)]
pub(crate) struct Concluded {
    submission_id: String,
    status: &'static str,
}

pub(crate) async fn conclude(at: &Place, args: ConcludeSubmission) -> anyhow::Result<Concluded> {
    let (inbox, table) = (at.inbox()?, at.table()?);
    let (id, operator) = (args.submission, args.who.operator());
    let Some(submission) = inbox.submission(&id).await.about(&table)? else {
        bail!("there is no submission {id} in {table}, or its record has expired");
    };
    if let Some(made) = submission.created_id() {
        bail!("submission {id} made {} {}: it is concluded", submission.kind.as_str(), made.as_str());
    }
    if submission.is_name_free {
        bail!("submission {id} made nothing: its name is free already");
    }
    if !consent::is_given(at, &args.consent, &plan(&id, &submission, &operator, at.now()))? {
        return Ok(Concluded { submission_id: id.to_string(), status: "nothing was done" });
    }
    let by = operator.audit_entry(OperatorAction::Conclude, at.now());
    match inbox.release_submission(&submission, &by).await.about(&table)? {
        WriteOutcome::Applied => Ok(Concluded { submission_id: id.to_string(), status: "free" }),
        WriteOutcome::Conflict => bail!(
            "submission {id}: somebody has set out to post it again, or the poller has looked at it, in between; nothing was \
             done. Look at it (`inboxctl trace {id}`), and try again"
        ),
    }
}

fn plan(id: &Subject, submission: &StoredSubmission, operator: &Operator, now: UnixMillis) -> String {
    let kind = submission.kind.as_str();
    format!(
        "Conclude that submission {id} made nothing, by {}, because: {}\n  a {kind}, written {}, attempts: {}\n\
         Its name is free then, for another submission. If Rightfoot made a {kind} of it after all, nobody watches that.",
        operator.by,
        operator.why,
        At(submission.written_at).told(now),
        submission.attempts
    )
}

impl Found for Concluded {
    fn text(&self, _: UnixMillis) -> String {
        match self.status {
            "free" => format!("{}: it made nothing, and its name is free\n", self.submission_id),
            status => format!("{}: {status}\n", self.submission_id),
        }
    }

    fn is_fine(&self) -> bool {
        self.status != "nothing was done"
    }
}
