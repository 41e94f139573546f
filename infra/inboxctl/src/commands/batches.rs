//! `inboxctl batches list|track`.

use std::collections::BTreeSet;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use inbox_aws::AwsError;
use inbox_aws::config::poll_timing;
use inbox_aws::items::BatchItem;
use inbox_aws::stores::{BatchFilter, Stores, TrackOutcome};
use inbox_console::tracked_text::batch_status;
use inbox_core::audit::OperatorAction;
use inbox_core::batch_results::BatchResults;
use inbox_core::id::Id;
use inbox_core::list_kind::ListKind;
use inbox_core::poll::batch::TrackedBatch;
use inbox_core::subject::Subject;
use inbox_core::time::UnixMillis;
use inbox_core::timeline_status::BatchStatus;
use serde::Serialize;

use crate::audit::AuditArgs;
use crate::aws_error::WithResource;
use crate::confirm::{ConfirmArgs, is_confirmed};
use crate::output::poll_problem::PollProblemOutput;
use crate::output::{Render, Rendered, Timestamp, pluralize, render_table, timestamp};
use crate::paging::{PageArgs, PageInfo};
use crate::stack_parameters;
use crate::target::Target;
use crate::value_parsers::{TimeRangeArgs, batch_status_parser, parse_id};

#[derive(Subcommand)]
pub(crate) enum BatchesCommand {
    /// List batches that are or were tracked, newest first.
    List(ListBatchesArgs),
    /// Track a batch that was not submitted through rightfoot-requests.
    Track(TrackBatchArgs),
}

impl BatchesCommand {
    pub(crate) async fn run(self, target: &Target) -> anyhow::Result<Rendered> {
        match self {
            Self::List(args) => target.render(&list(target, args).await?),
            Self::Track(args) => target.render(&track(target, args).await?),
        }
    }
}

#[derive(Args)]
pub(crate) struct ListBatchesArgs {
    /// Only batches with this status: tracked (the poller still asks for it), settled (polled no more: complete, as
    /// its webhook or Rightfoot's API says), or overdue (incomplete when the API answered past its deadline).
    #[arg(long, value_name = "STATUS", value_parser = batch_status_parser())]
    state: Option<BatchStatus>,
    /// Only runs of this schedule.
    #[arg(long, value_name = "ID", value_parser = parse_id)]
    schedule: Option<Id>,
    /// Only batches of this subject.
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<Subject>,
    #[command(flatten)]
    tracked: TimeRangeArgs,
    #[command(flatten)]
    page: PageArgs,
}

/// A page of batches that are or were tracked.
#[derive(Serialize)]
struct BatchList {
    batches: Vec<BatchOutput>,
    #[serde(flatten)]
    page: PageInfo,
    #[serde(skip)]
    printed: Vec<PrintedCells>,
}

/// The cells of a batch whose form depends on `--wide`.
struct PrintedCells {
    id: String,
    schedule: String,
    status: String,
}

/// A batch that is or was tracked.
#[derive(Serialize)]
pub(crate) struct BatchOutput {
    pub(crate) batch_id: String,
    pub(crate) state: &'static str,
    subject: Option<String>,
    schedule_id: Option<String>,
    pub(crate) expected: u64,
    has_excluded: bool,
    polls: u64,
    pub(crate) tracked_at: Option<Timestamp>,
    deadline_at: Option<Timestamp>,
    due_at: Option<Timestamp>,
    pub(crate) settled_at: Option<Timestamp>,
    pub(crate) overdue_at: Option<Timestamp>,
    /// Problem of its polls, if the last one failed.
    problem: Option<PollProblemOutput>,
    results: ResultsOutput,
    #[serde(skip)]
    pub(crate) status: String,
    /// Number found and number expected.
    #[serde(skip)]
    pub(crate) results_text: String,
}

/// The results of a batch: found by `poll` or `worker`, and published by the event of its completion.
#[derive(Serialize)]
struct ResultsOutput {
    expected: Option<u64>,
    found: Option<u64>,
    found_by: Option<&'static str>,
    found_since: Option<Timestamp>,
    published: Option<u64>,
    /// Origin of the completion.
    published_by: Option<&'static str>,
    published_at: Option<Timestamp>,
}

impl From<&BatchResults> for ResultsOutput {
    fn from(it: &BatchResults) -> Self {
        let (found, published) = (it.found, it.published);
        Self {
            expected: it.expected,
            found: found.map(|found| found.count),
            found_by: found.map(|found| found.by.as_str()),
            found_since: timestamp(found.map(|found| found.since)),
            published: published.map(|published| published.count),
            published_by: published.map(|published| published.origin.as_str()),
            published_at: timestamp(published.map(|published| published.at)),
        }
    }
}

impl BatchOutput {
    pub(crate) fn new(batch: &BatchItem, results: &BatchResults, now: UnixMillis) -> Self {
        let status = BatchStatus::of(batch.done_at, batch.overdue_at);
        Self {
            batch_id: batch.tracked.batch_id.as_str().to_owned(),
            state: status.as_str(),
            subject: batch.tracked.subject.as_ref().map(ToString::to_string),
            schedule_id: batch.tracked.schedule_id.as_ref().map(|id| id.as_str().to_owned()),
            expected: batch.tracked.expected,
            has_excluded: batch.excluded.is_some(),
            polls: batch.tracked.polls,
            tracked_at: timestamp(batch.tracked_at),
            deadline_at: timestamp(Some(batch.tracked.deadline)),
            due_at: timestamp(batch.tracking.due_at),
            settled_at: timestamp(batch.done_at),
            overdue_at: timestamp(batch.overdue_at),
            problem: PollProblemOutput::from_record(batch.tracking.problem.as_ref(), batch.tracked.polls),
            status: batch_status(batch, now),
            results_text: results.to_short_text(),
            results: ResultsOutput::from(results),
        }
    }
}

impl BatchOutput {
    /// The status in a few words: the next poll, or the end, and whether the polls have a problem.
    fn short_status(&self, now: UnixMillis) -> String {
        let problem = if self.problem.is_some() { ", has a problem" } else { "" };
        let ages = [("overdue", self.overdue_at), ("settled", self.settled_at), ("next poll", self.due_at)];
        let found = ages.into_iter().find_map(|(label, at)| Some(format!("{label} {}", at?.age(now))));
        found.unwrap_or_default() + problem
    }
}

/// Reads the completions of these batches, and returns the batches with their results.
pub(crate) async fn with_results(
    stores: &Stores,
    batches: &[BatchItem],
    now: UnixMillis,
) -> Result<Vec<BatchOutput>, AwsError> {
    let ids = batches.iter().map(|batch| &batch.tracked.batch_id);
    let completions = stores.operator.completions_of(ids).await?;
    let results = |batch: &BatchItem| batch.results(completions.get(&batch.tracked.batch_id));
    Ok(batches.iter().map(|batch| BatchOutput::new(batch, &results(batch), now)).collect())
}

async fn list(target: &Target, args: ListBatchesArgs) -> anyhow::Result<BatchList> {
    let now = target.now();
    let filter = BatchFilter {
        tracked: args.tracked.resolve(now)?,
        schedule_id: args.schedule,
        subject: args.subject,
        status: args.state,
    };
    let (stores, table) = (target.stores()?, target.inbox_table()?);
    let listed = stores.operator.list_batches(&filter, &args.page.start(), args.page.limit()).await;
    let page = listed.with_resource(&table)?;
    let batches = with_results(&stores, &page.items, now).await.with_resource(&table)?;
    let ids: Vec<_> = batches.iter().map(|it| it.batch_id.clone()).collect();
    let printed_cells = |(it, id): (&BatchOutput, String)| PrintedCells {
        id,
        schedule: it.schedule_id.as_ref().map_or("-".to_owned(), |id| args.page.printed_id(id)),
        status: if args.page.is_wide() { it.status.clone() } else { it.short_status(now) },
    };
    let printed =
        batches.iter().zip(args.page.printed_ids(target, ListKind::Batch, &ids)).map(printed_cells).collect();
    Ok(BatchList { batches, page: PageInfo::new(&page, &args.page), printed })
}

impl Render for BatchList {
    fn to_text(&self, _: UnixMillis) -> String {
        let rows = self.batches.iter().zip(&self.printed).map(|(it, printed)| {
            [
                printed.id.clone(),
                it.state.to_owned(),
                it.results_text.clone(),
                it.polls.to_string(),
                it.subject.clone().unwrap_or_else(|| "-".to_owned()),
                printed.schedule.clone(),
                printed.status.clone(),
            ]
        });
        let headers = ["BATCH", "STATE", "RESULTS", "POLLS", "SUBJECT", "SCHEDULE", "STATUS"];
        render_table(headers, rows.collect(), "no batch matches") + &self.page.to_text()
    }
}

#[derive(Args)]
pub(crate) struct TrackBatchArgs {
    /// Batch id.
    #[arg(value_parser = parse_id)]
    batch: Id,
    /// Number of distinct authorizers that were submitted.
    #[arg(long, value_name = "N")]
    expected: u64,
    /// Authorizer that Rightfoot excluded at once; repeat for several.
    #[arg(long = "failed", value_name = "AUTHORIZER", value_parser = parse_id)]
    failed: Vec<Id>,
    /// Subject of the URL that it was submitted with; webhooks by another URL are quarantined.
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<Subject>,
    #[command(flatten)]
    audit: AuditArgs,
    #[command(flatten)]
    confirm: ConfirmArgs,
}

/// Result of tracking a batch.
#[derive(Serialize)]
struct TrackBatchReport {
    batch_id: String,
    status: &'static str,
}

async fn track(target: &Target, args: TrackBatchArgs) -> anyhow::Result<TrackBatchReport> {
    let (now, batch_id) = (target.now(), args.batch.as_str().to_owned());
    // The functions read the same parameters, so the batch is polled like one that they have submitted.
    let timing = poll_timing(&stack_parameters::function_env(target)).context("the stack's parameters")?;
    let failed: BTreeSet<_> = args.failed.into_iter().collect();
    if args.expected == 0 || u64::try_from(failed.len()).is_ok_and(|failed| failed > args.expected) {
        bail!("--expected must be at least 1 and at least the number of --failed");
    }
    let operator = args.audit.operator();
    let plan = format!(
        "Track batch {batch_id}, by {}, because: {}\n  {}, {} of them excluded; first poll in {} min",
        operator.name,
        operator.reason,
        pluralize(args.expected, "authorizer", "authorizers"),
        failed.len(),
        timing.first.as_secs() / 60
    );
    let (stores, table) = (target.stores()?, target.inbox_table()?);
    // Reads from AWS before the confirmation, which compares AWS's clock with this machine's.
    stores.events.tracked_subject(&args.batch).await.with_resource(&table)?;
    if !is_confirmed(target, &args.confirm, &plan)? {
        return Ok(TrackBatchReport { batch_id, status: "not_confirmed" });
    }
    let tracked = TrackedBatch {
        batch_id: args.batch,
        subject: args.subject,
        schedule_id: None,
        expected: args.expected,
        failed_authorizers: failed,
        deadline: now.plus(timing.deadline),
        polls: 0,
    };
    let entry = operator.audit_entry(OperatorAction::Track, now);
    let outcome = stores.submissions.track_audited(&tracked, now.plus(timing.first), &entry).await;
    match outcome.with_resource(&table)? {
        TrackOutcome::Started => Ok(TrackBatchReport { batch_id, status: "tracked" }),
        TrackOutcome::AlreadyTracked => Ok(TrackBatchReport { batch_id, status: "already_tracked" }),
        TrackOutcome::Mismatch(field) => bail!("batch {batch_id} is tracked already, with another {field}"),
    }
}

impl Render for TrackBatchReport {
    fn to_text(&self, _: UnixMillis) -> String {
        format!("{}: {}", self.batch_id, self.status.replace('_', " "))
    }

    fn is_success(&self) -> bool {
        self.status != "not_confirmed"
    }
}
