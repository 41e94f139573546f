//! `inboxctl batches list|track`.

use std::collections::BTreeSet;

use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};
use inbox_aws::config::poll_timing;
use inbox_aws::items::BatchItem;
use inbox_aws::stores::{Created, TrackOutcome};
use inbox_core::id::Id;
use inbox_core::poll::batch::TrackedBatch;
use inbox_core::subject::Subject;
use inbox_core::time::UnixMillis;
use inbox_core::timeline_status::BatchStatus;
use serde::Serialize;

use crate::aws_error::WithResource;
use crate::confirm::{ConfirmArgs, is_confirmed};
use crate::output::poll_problem_text::{PollProblemOutput, batch_problem_text};
use crate::output::{Render, Rendered, Timestamp, pluralize, render_table, time_text, timestamp};
use crate::paging::{PageArgs, next_page_hint, scan_token};
use crate::stack_parameters;
use crate::target::Target;
use crate::value_parsers::parse_id;

#[derive(Subcommand)]
pub(crate) enum BatchesCommand {
    /// List batches that are or were tracked, in no order. Scans the table.
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
    /// Only batches in this state.
    #[arg(long, value_enum)]
    state: Option<BatchState>,
    /// Only runs of this schedule.
    #[arg(long, value_name = "ID")]
    schedule: Option<String>,
    #[command(flatten)]
    page: PageArgs,
}

/// State of a tracked batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum BatchState {
    /// Not settled yet; the poller still asks for it.
    Tracked,
    /// All results are known.
    Settled,
    /// Its deadline has passed.
    Overdue,
}

impl From<BatchState> for BatchStatus {
    fn from(state: BatchState) -> Self {
        match state {
            BatchState::Tracked => Self::Tracked,
            BatchState::Settled => Self::Settled,
            BatchState::Overdue => Self::Overdue,
        }
    }
}

/// A page of batches that are or were tracked.
#[derive(Serialize)]
struct BatchList {
    batches: Vec<BatchOutput>,
    /// Token for `--page`; `None` on the last page.
    next: Option<String>,
}

/// A batch that is or was tracked.
#[derive(Serialize)]
pub(crate) struct BatchOutput {
    pub(crate) batch_id: String,
    state: &'static str,
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
    #[serde(skip)]
    pub(crate) status: String,
}

impl BatchOutput {
    pub(crate) fn new(batch: &BatchItem, now: UnixMillis) -> Self {
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
            status: status_text(batch, status, now),
        }
    }
}

/// Describes the status of a batch, with its next poll and the problem of the last ones.
fn status_text(batch: &BatchItem, status: BatchStatus, now: UnixMillis) -> String {
    let state_since = |label, at| format!("{label} {}", time_text(at, now));
    match status {
        BatchStatus::Overdue => state_since("overdue since", batch.overdue_at),
        BatchStatus::Settled => state_since("settled", batch.done_at),
        BatchStatus::Tracked if batch.tracking.due_at.is_none() => "tracked".to_owned(),
        BatchStatus::Tracked => {
            let problem = batch.tracking.problem.as_ref().map(|it| batch_problem_text(batch, it, now));
            // A next poll alone would look healthy.
            let problem = problem.map(|problem| format!("; {problem}")).unwrap_or_default();
            state_since("polled next", batch.tracking.due_at) + &problem
        }
    }
}

async fn list(target: &Target, args: ListBatchesArgs) -> anyhow::Result<BatchList> {
    let cursor = args.page.scan_cursor()?;
    let is_match = |batch: &BatchItem| {
        args.state
            .is_none_or(|state| BatchStatus::from(state) == BatchStatus::of(batch.done_at, batch.overdue_at))
            && args.schedule.as_ref().is_none_or(|schedule| {
                batch.tracked.schedule_id.as_ref().is_some_and(|id| id.as_str() == schedule)
            })
    };
    let page = target
        .stores()?
        .operator
        .list_batches(cursor, args.page.limit.get(), is_match)
        .await
        .with_resource(&target.inbox_table()?)?;
    Ok(BatchList {
        batches: page.items.iter().map(|batch| BatchOutput::new(batch, target.now())).collect(),
        next: scan_token(page.next),
    })
}

impl Render for BatchList {
    fn to_text(&self, _: UnixMillis) -> String {
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let rows = self.batches.iter().map(|it| {
            [
                it.batch_id.clone(),
                it.state.to_owned(),
                it.expected.to_string(),
                it.polls.to_string(),
                or_dash(&it.subject),
                or_dash(&it.schedule_id),
                it.status.clone(),
            ]
        });
        let headers = ["BATCH", "STATE", "EXPECTED", "POLLS", "SUBJECT", "SCHEDULE", "STATUS"];
        render_table(headers, rows.collect(), "no such batch") + &next_page_hint(self.next.as_ref())
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
    let plan = format!(
        "Track batch {batch_id}: {}, {} of them excluded; first poll in {} min",
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
    let outcome = stores.submissions.track(Created::Batch(&tracked), now.plus(timing.first), now).await;
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
