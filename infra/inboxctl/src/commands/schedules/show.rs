//! `inboxctl schedules show`.

use std::time::Duration;

use clap::Args;
use inbox_aws::stores::{BatchFilter, PageStart};
use inbox_core::id::Id;
use inbox_core::time::UnixMillis;
use serde::Serialize;

use super::find_schedule;
use crate::audit::AuditLine;
use crate::aws_error::WithResource;
use crate::commands::batches::{BatchOutput, with_results};
use crate::commands::timeline::report::ScheduleOutput;
use crate::output::{Render, format_duration, line, render_fields, render_table};
use crate::short_id::shorten;
use crate::target::Target;
use crate::value_parsers::parse_id;

/// Number of runs that are shown.
const RUNS_SHOWN: usize = 10;

#[derive(Args)]
pub(crate) struct ShowScheduleArgs {
    /// The schedule's id, or its beginning.
    #[arg(value_parser = parse_id)]
    schedule: Id,
}

/// A schedule and its latest runs.
#[derive(Serialize)]
pub(crate) struct ScheduleDetails {
    #[serde(flatten)]
    schedule: ScheduleOutput,
    interval_secs: u64,
    /// Number of authorizers with a threshold of their own.
    own_thresholds: usize,
    /// The threshold of all others.
    default_threshold: Option<String>,
    audit_entries: Vec<AuditLine>,
    runs: Vec<BatchOutput>,
}

pub(super) async fn show(target: &Target, args: ShowScheduleArgs) -> anyhow::Result<ScheduleDetails> {
    let (stores, table, now) = (target.stores()?, target.inbox_table()?, target.now());
    let schedule = find_schedule(&stores, &table, &args.schedule).await?;
    let thresholds = stores.tracking.thresholds(&schedule).await.with_resource(&table)?;
    let filter =
        BatchFilter { schedule_id: Some(schedule.schedule.schedule_id.clone()), ..BatchFilter::default() };
    let runs = stores.operator.list_batches(&filter, &PageStart::Newest, RUNS_SHOWN).await;
    let runs = with_results(&stores, &runs.with_resource(&table)?.items, now).await;
    Ok(ScheduleDetails {
        interval_secs: schedule.schedule.interval.as_secs(),
        own_thresholds: thresholds.authorizers.len(),
        default_threshold: thresholds.default.map(|amount| amount.to_string()),
        audit_entries: AuditLine::from_entries(&schedule.audit_entries),
        runs: runs.with_resource(&table)?,
        schedule: ScheduleOutput::new(&schedule, now),
    })
}

impl Render for ScheduleDetails {
    fn to_text(&self, now: UnixMillis) -> String {
        let schedule = &self.schedule;
        let own = (self.own_thresholds > 0).then(|| format!("; {} of their own", self.own_thresholds));
        let default = self.default_threshold.clone().unwrap_or_else(|| "none".to_owned());
        let mut text = render_fields([
            ("schedule", Some(schedule.schedule_id.clone())),
            ("status", Some(schedule.status.clone())),
            ("subject", schedule.subject.clone()),
            ("tracked since", schedule.since.map(|at| at.with_age(now))),
            ("last run seen", schedule.last_run_seen.map(|at| at.with_age(now))),
            ("expires", schedule.expires_at.map(|at| at.with_age(now))),
            ("interval", Some(format_duration(Duration::from_secs(self.interval_secs)))),
            ("threshold", Some(default + &own.unwrap_or_default())),
            ("probed authorizers", Some(schedule.probes.len().to_string())),
        ]);
        text.extend(self.audit_entries.iter().map(|it| format!("operator: {}\n", line(&it.to_text(now)))));
        let ids: Vec<_> = self.runs.iter().map(|run| run.batch_id.clone()).collect();
        let rows = self.runs.iter().zip(shorten(&ids)).map(|(run, short_id)| {
            [short_id, run.state.to_owned(), run.results_text.clone(), run.status.clone()]
        });
        let headers = ["RUN", "STATE", "RESULTS", "STATUS"];
        text + "\n" + &render_table(headers, rows.collect(), "no run was found yet")
    }
}
