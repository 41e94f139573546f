//! `inboxctl schedules untrack`.

use anyhow::bail;
use clap::Args;
use inbox_aws::stores::WriteOutcome;
use inbox_core::audit::OperatorAction;
use inbox_core::id::Id;

use super::schedule_to_change;
use super::update::ScheduleReport;
use crate::audit::AuditArgs;
use crate::aws_error::WithResource;
use crate::commands::timeline::report::ScheduleOutput;
use crate::confirm::{ConfirmArgs, is_confirmed};
use crate::target::Target;
use crate::value_parsers::parse_id;

#[derive(Args)]
pub(crate) struct UntrackScheduleArgs {
    /// The schedule's id, or a short one of the last `schedules list`.
    #[arg(value_parser = parse_id)]
    schedule: Id,
    #[command(flatten)]
    audit: AuditArgs,
    #[command(flatten)]
    confirm: ConfirmArgs,
}

pub(super) async fn untrack(target: &Target, args: UntrackScheduleArgs) -> anyhow::Result<ScheduleReport> {
    let (stores, table, now) = (target.stores()?, target.inbox_table()?, target.now());
    let seen = schedule_to_change(target, &stores, &table, &args.schedule).await?;
    let schedule_id = seen.schedule.schedule_id.as_str().to_owned();
    if seen.tracking.due_at.is_none() {
        return Ok(ScheduleReport { schedule_id, status: "already_ended" });
    }
    let operator = args.audit.operator();
    let plan = format!(
        "Untrack schedule {schedule_id}, by {}, because: {}\n  {}\nThe poller no longer looks for its runs, so alerts and \
         completions of later runs are found only by their webhooks. Runs that are tracked stay so.",
        operator.name,
        operator.reason,
        ScheduleOutput::new(&seen, now).status
    );
    if !is_confirmed(target, &args.confirm, &plan)? {
        return Ok(ScheduleReport { schedule_id, status: "not_confirmed" });
    }
    let entry = operator.audit_entry(OperatorAction::Untrack, now);
    match stores.operator.untrack_schedule(&seen, &entry).await.with_resource(&table)? {
        WriteOutcome::Applied => Ok(ScheduleReport { schedule_id, status: "untracked" }),
        WriteOutcome::Conflict => bail!(
            "schedule {schedule_id} was changed at the same time, by the poller or another operator; nothing was done: try again"
        ),
    }
}
