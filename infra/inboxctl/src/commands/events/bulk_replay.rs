//! `inboxctl events replay --since …`: replays the events of a time range, each once.

use std::collections::BTreeMap;

use anyhow::bail;
use clap::Args;
use futures::StreamExt as _;
use futures::stream;
use inbox_aws::stores::{BulkReplayPlan, ReplayOutcome, Stores};
use inbox_core::audit::{Operator, OperatorAction};
use inbox_core::limits::{BULK_REPLAY_MAX, CONCURRENT_CALLS};
use inbox_core::time::UnixMillis;
use serde::Serialize;

use super::list::{EventFilterArgs, TOO_MUCH};
use crate::aws_error::{ResourceRef, WithResource, explain};
use crate::confirm::{ConfirmArgs, is_confirmed};
use crate::output::{Render, Timestamp, pluralize, render_table};
use crate::target::Target;
use crate::terminal;

/// Events between two lines of progress.
const PROGRESS_EVERY: usize = 500;
/// Events whose ids a plan names.
const NAMED_MAX: usize = 5;

/// What consumers see of a replay.
pub(super) const REPUBLISHED: &str = "Each is published again, with the same id and the number of its replay. Consumers that \
     have processed the id ignore it, unless they look at the number, too.";

#[derive(Args)]
pub(crate) struct BulkReplayArgs {
    #[command(flatten)]
    filter: EventFilterArgs,
    /// With --since: maximum number of events, the oldest ones first, up to 10,000.
    #[arg(long, default_value = "1000", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    limit: u16,
    /// With --since: show what would be replayed, and change nothing.
    #[arg(long, requires = "since")]
    dry_run: bool,
    /// With --since: go on with a bulk replay that was interrupted. Events that it has replayed are left out.
    #[arg(long, value_name = "ID", requires = "since", conflicts_with = "dry_run", value_parser = parse_bulk_id)]
    resume: Option<String>,
}

impl BulkReplayArgs {
    /// Returns `true` if a time range is given.
    pub(super) const fn is_given(&self) -> bool {
        self.filter.received.since.is_some()
    }

    /// Returns `true` if only events of some batches are wanted.
    pub(super) const fn selects_batches(&self) -> bool {
        self.filter.selects_batches()
    }
}

fn parse_bulk_id(text: &str) -> Result<String, String> {
    let is_id = text.len() == 12 && text.bytes().all(|it| it.is_ascii_hexdigit());
    is_id
        .then(|| text.to_owned())
        .ok_or_else(|| "the id of a bulk replay has 12 hexadecimal digits".to_owned())
}

/// Result of a bulk replay.
#[derive(Serialize)]
pub(super) struct BulkReplayReport {
    /// Id of the bulk replay; `None` after a dry run, or without a confirmation.
    bulk_id: Option<String>,
    planned: usize,
    replayed: usize,
    already_replayed: usize,
    skipped: BTreeMap<&'static str, usize>,
    failed: Vec<FailedReplay>,
    is_truncated: bool,
    is_dry_run: bool,
    #[serde(skip)]
    plan: String,
}

#[derive(Serialize)]
struct FailedReplay {
    event: String,
    message: String,
}

pub(super) async fn replay(
    target: &Target,
    args: BulkReplayArgs,
    operator: &Operator,
    confirm: &ConfirmArgs,
) -> anyhow::Result<BulkReplayReport> {
    let (stores, table, now) = (target.stores()?, target.inbox_table()?, target.now());
    let limit = usize::from(args.limit).min(BULK_REPLAY_MAX);
    // New events do not come into the range while it is read.
    let mut filter = args.filter.resolve(target, Vec::new(), now).await?;
    filter.received.until = Some(filter.received.until.unwrap_or(now));
    let bulk_id = args.resume.unwrap_or_else(new_bulk_id);
    let planned = stores.operator.plan_bulk_replay(&bulk_id, &filter, limit, now).await;
    let plan = planned.with_resource(&table)?;
    // A replay of a part would look like a replay of all, and --resume would not find the rest.
    if plan.is_incomplete {
        bail!(
            "these filters select too much for a bulk replay: {TOO_MUCH}; use one --batch, or the time range alone"
        );
    }
    let mut report = BulkReplayReport {
        bulk_id: None,
        planned: plan.events.len(),
        replayed: 0,
        already_replayed: plan.already_replayed,
        skipped: plan.skipped.clone(),
        failed: Vec::new(),
        is_truncated: plan.is_truncated,
        is_dry_run: args.dry_run,
        plan: plan_text(&plan, now),
    };
    if args.dry_run || plan.events.is_empty() {
        return Ok(report);
    }
    let question = format!(
        "Replay {} as one bulk replay, by {}, because: {}\n{}All become replay {}. {REPUBLISHED} \
         An authorizer's alert is published once, however many of them name it.",
        pluralize(plan.events.len() as u64, "event", "events"),
        operator.name,
        operator.reason,
        report.plan,
        plan.bulk.replay
    );
    if !is_confirmed(target, confirm, &question)? {
        return Ok(report);
    }
    if !target.is_json {
        terminal::print_notice(&format!(
            "bulk replay {bulk_id}; if it is interrupted, repeat the command with --resume {bulk_id}\n"
        ));
    }
    report.bulk_id = Some(bulk_id.clone());
    replay_all(target, &stores, &table, &plan, operator, &mut report).await;
    Ok(report)
}

/// Replays the events of a plan, some at the same time, and reports the progress.
async fn replay_all(
    target: &Target,
    stores: &Stores,
    table: &ResourceRef,
    plan: &BulkReplayPlan,
    operator: &Operator,
    report: &mut BulkReplayReport,
) {
    let replays = plan.events.iter().map(|key| async move {
        let entry = operator.audit_entry(OperatorAction::Replay, target.now());
        (key, Box::pin(stores.operator.replay_in_bulk(key, &plan.bulk, &entry)).await)
    });
    let mut outcomes = stream::iter(replays).buffered(CONCURRENT_CALLS).enumerate();
    while let Some((count, (key, outcome))) = outcomes.next().await {
        let failed = |message: String| FailedReplay { event: key.event_id(), message };
        match outcome {
            Ok(ReplayOutcome::Due { .. }) => report.replayed += 1,
            Ok(ReplayOutcome::AlreadyReplayed) => report.already_replayed += 1,
            Ok(ReplayOutcome::WrongState(state)) => *report.skipped.entry(state.as_str()).or_default() += 1,
            Ok(ReplayOutcome::NotFound) => report.failed.push(failed("its record has expired".to_owned())),
            Ok(ReplayOutcome::Conflict | ReplayOutcome::MayStillBeQueued { .. }) => {
                report.failed.push(failed("it was changed at the same time".to_owned()));
            }
            Err(fault) => report.failed.push(failed(explain(&fault, table))),
        }
        if (count + 1) % PROGRESS_EVERY == 0 && !target.is_json {
            terminal::print_notice(&format!("{} of {} events\n", count + 1, plan.events.len()));
        }
    }
}

/// 12 hexadecimal digits: few enough to be typed.
fn new_bulk_id() -> String {
    let id = uuid::Uuid::new_v4().simple().to_string();
    id.get(..12).unwrap_or(&id).to_owned()
}

/// Describes a plan, a line for each fact.
fn plan_text(plan: &BulkReplayPlan, now: UnixMillis) -> String {
    let mut text = String::new();
    for (event_type, count) in &plan.by_type {
        text += &format!("  {count} {event_type}\n");
    }
    if let Some((first, last)) = plan.received {
        let (first, last) = (Timestamp(first).with_age(now), Timestamp(last).with_age(now));
        text += &format!("  received from {first} to {last}\n");
    }
    for key in plan.events.iter().take(NAMED_MAX) {
        text += &format!("  {key}\n");
    }
    if plan.events.len() > NAMED_MAX {
        text += &format!("  and {} more\n", plan.events.len() - NAMED_MAX);
    }
    if plan.already_replayed > 0 {
        text += &format!("  left out: {} that this bulk replay has replayed\n", plan.already_replayed);
    }
    for (state, count) in &plan.skipped {
        text += &format!("  left out: {count} in state {state}; only done events are replayed\n");
    }
    if plan.is_truncated {
        text +=
            "  the range has more events: --limit takes up to 10,000, or replay the rest as another range\n";
    }
    text
}

impl Render for BulkReplayReport {
    fn to_text(&self, _: UnixMillis) -> String {
        if self.planned == 0 {
            return format!("no done event in this range\n{}", self.plan);
        }
        if self.is_dry_run {
            return format!("would be replayed: {}\n{}", self.planned, self.plan);
        }
        let Some(bulk_id) = &self.bulk_id else { return "nothing was done\n".to_owned() };
        let mut text = format!(
            "bulk replay {bulk_id}: {} due, the relay sends them\n",
            pluralize(self.replayed as u64, "event", "events")
        );
        if !self.failed.is_empty() {
            let rows = self.failed.iter().map(|it| [it.event.clone(), it.message.clone()]);
            text += &render_table(["NOT REPLAYED", "REASON"], rows.collect(), "");
            text += &format!("To try these again, repeat the command with --resume {bulk_id}.\n");
        }
        text
    }

    fn is_success(&self) -> bool {
        self.failed.is_empty() && (self.is_dry_run || self.planned == 0 || self.bulk_id.is_some())
    }
}
