//! `inboxctl schedules update`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use inbox_aws::stores::{ScheduleChange, WriteOutcome};
use inbox_core::audit::{Operator, OperatorAction};
use inbox_core::id::Id;
use inbox_core::limits::PROBES_MAX;
use inbox_core::requests::parse_thresholds;
use inbox_core::time::UnixMillis;
use serde::Serialize;

use super::schedule_to_change;
use crate::audit::AuditArgs;
use crate::aws_error::WithResource;
use crate::confirm::{ConfirmArgs, is_confirmed};
use crate::output::{Render, Timestamp};
use crate::target::Target;
use crate::value_parsers::parse_id;

#[derive(Args)]
#[group(id = "change", multiple = true)]
pub(crate) struct UpdateScheduleArgs {
    /// The schedule's id, or a short one of the last `schedules list`.
    #[arg(value_parser = parse_id)]
    schedule: Id,
    /// File with all thresholds, as in a `track_schedule` request: `{"default": 100, "authorizers": {"user-7": 250.50}}`.
    #[arg(long, value_name = "FILE")]
    thresholds: Option<PathBuf>,
    /// Days between two runs.
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u64).range(1..=30))]
    interval_days: Option<u64>,
    /// Time after which there are no more runs: RFC 3339.
    #[arg(long, value_name = "TIME", value_parser = parse_rfc3339)]
    expires_at: Option<UnixMillis>,
    /// Authorizer in whose history the runs are found; give all of them, ten at most.
    #[arg(long = "probe", value_name = "AUTHORIZER", value_parser = parse_id)]
    probes: Vec<Id>,
    #[command(flatten)]
    audit: AuditArgs,
    #[command(flatten)]
    confirm: ConfirmArgs,
}

/// Result of changing or untracking a schedule.
#[derive(Serialize)]
pub(crate) struct ScheduleReport {
    pub(super) schedule_id: String,
    pub(super) status: &'static str,
}

pub(super) async fn update(target: &Target, args: UpdateScheduleArgs) -> anyhow::Result<ScheduleReport> {
    let (stores, table, now) = (target.stores()?, target.inbox_table()?, target.now());
    let change = args.change()?;
    let seen = schedule_to_change(target, &stores, &table, &args.schedule).await?;
    let schedule_id = seen.schedule.schedule_id.as_str().to_owned();
    let operator = args.audit.operator();
    let mut plan = plan_text(&schedule_id, &change, &operator, now);
    if seen.tracking.due_at.is_none() {
        plan += " It is no longer polled: from now on it is again.";
    }
    if !is_confirmed(target, &args.confirm, &plan)? {
        return Ok(ScheduleReport { schedule_id, status: "not_confirmed" });
    }
    let entry = operator.audit_entry(OperatorAction::Update, now);
    match stores.operator.update_schedule(&seen, &change, &entry).await.with_resource(&table)? {
        WriteOutcome::Applied => Ok(ScheduleReport { schedule_id, status: "updated" }),
        WriteOutcome::Conflict => bail!(
            "schedule {schedule_id} was changed at the same time, by the poller or another operator; nothing was done: try again"
        ),
    }
}

impl UpdateScheduleArgs {
    fn change(&self) -> anyhow::Result<ScheduleChange> {
        let thresholds = match &self.thresholds {
            Some(path) => {
                let json = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
                Some(parse_thresholds(&json).with_context(|| path.display().to_string())?)
            }
            None => None,
        };
        let interval = self.interval_days.map(|days| Duration::from_secs(days * 86_400));
        if self.probes.len() > PROBES_MAX {
            bail!("a schedule has at most {PROBES_MAX} probes");
        }
        let probes = Some(self.probes.clone()).filter(|probes| !probes.is_empty());
        let change = ScheduleChange { thresholds, interval, expires_at: self.expires_at, probes };
        if change == ScheduleChange::default() {
            bail!("nothing to change: give --thresholds, --interval-days, --expires-at or --probe");
        }
        Ok(change)
    }
}

fn plan_text(schedule_id: &str, change: &ScheduleChange, operator: &Operator, now: UnixMillis) -> String {
    let mut plan =
        format!("Change schedule {schedule_id}, by {}, because: {}\n", operator.name, operator.reason);
    if let Some(thresholds) = &change.thresholds {
        let default = thresholds.default.map_or("none".to_owned(), |amount| amount.to_string());
        plan += &format!("  thresholds: default {default}, {} of their own\n", thresholds.authorizers.len());
    }
    if let Some(interval) = change.interval {
        plan += &format!("  interval: {} days\n", interval.as_secs() / 86_400);
    }
    if let Some(expires_at) = change.expires_at {
        plan += &format!("  expires: {}\n", Timestamp(expires_at).with_age(now));
    }
    if let Some(probes) = &change.probes {
        plan += &format!("  probes: {}\n", probes.len());
    }
    plan + "Only what is tracked changes, not the schedule at Rightfoot. The poller asks for it at once."
}

fn parse_rfc3339(text: &str) -> Result<UnixMillis, String> {
    UnixMillis::from_rfc3339(text).ok_or_else(|| "a time is RFC 3339: 2026-01-02T03:04:05Z".to_owned())
}

impl Render for ScheduleReport {
    fn to_text(&self, _: UnixMillis) -> String {
        format!("{}: {}\n", self.schedule_id, self.status.replace('_', " "))
    }

    fn is_success(&self) -> bool {
        self.status != "not_confirmed"
    }
}
