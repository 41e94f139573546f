//! `inboxctl batches list|track`.

use anyhow::{Context, bail};
use inbox_aws::config::poll_timing;
use inbox_aws::inbox::{BatchView, Created, TrackOutcome};
use inbox_core::poll::batch::TrackedBatch;
use inbox_core::time::UnixMillis;
use serde::Serialize;

use crate::aws_error::WithResource;
use crate::cli::{BatchState, ListBatchesArgs, TrackBatchArgs};
use crate::confirm;
use crate::events::parse_cursor;
use crate::output::{Render, Timestamp, encode_cursor, next_page_hint, pluralize, render_table, timestamp};
use crate::poll_problem::PollProblemOutput;
use crate::stack_parameters;
use crate::target::Target;

/// A page of batches that are or were tracked.
#[derive(Serialize)]
pub(crate) struct BatchList {
    batches: Vec<BatchOutput>,
    /// Token for `--page`; `None` on the last page.
    next: Option<String>,
}

/// A batch that is or was tracked.
#[derive(Serialize)]
pub(crate) struct BatchOutput {
    pub(crate) batch_id: String,
    pub(crate) state: &'static str,
    pub(crate) subject: Option<String>,
    pub(crate) schedule_id: Option<String>,
    pub(crate) expected: u64,
    pub(crate) has_excluded: bool,
    pub(crate) polls: u64,
    pub(crate) tracked_at: Option<Timestamp>,
    pub(crate) deadline_at: Option<Timestamp>,
    pub(crate) due_at: Option<Timestamp>,
    pub(crate) settled_at: Option<Timestamp>,
    pub(crate) overdue_at: Option<Timestamp>,
    /// Problem of its polls, if the last one failed.
    pub(crate) problem: Option<PollProblemOutput>,
}

impl From<&BatchView> for BatchOutput {
    fn from(batch: &BatchView) -> Self {
        let state = match batch_state(batch) {
            BatchState::Tracked => "tracked",
            BatchState::Settled => "settled",
            BatchState::Overdue => "overdue",
        };
        Self {
            batch_id: batch.batch_id.clone(),
            state,
            subject: batch.subject.clone(),
            schedule_id: batch.schedule_id.clone(),
            expected: batch.expected,
            has_excluded: batch.has_excluded,
            polls: batch.polls,
            tracked_at: timestamp(batch.tracked_at),
            deadline_at: timestamp(batch.deadline_at),
            due_at: timestamp(batch.due_at),
            settled_at: timestamp(batch.done_at),
            overdue_at: timestamp(batch.overdue_at),
            problem: PollProblemOutput::from_record(batch.problem.as_ref(), batch.polls),
        }
    }
}

fn batch_state(batch: &BatchView) -> BatchState {
    match (batch.overdue_at, batch.done_at) {
        (Some(_), _) => BatchState::Overdue,
        (None, Some(_)) => BatchState::Settled,
        (None, None) => BatchState::Tracked,
    }
}

pub(crate) async fn list(target: &Target, args: ListBatchesArgs) -> anyhow::Result<BatchList> {
    let cursor = args.page.page.as_deref().map(parse_cursor).transpose()?;
    let is_match = |batch: &BatchView| {
        args.state.is_none_or(|state| batch_state(batch) == state)
            && args.schedule.as_ref().is_none_or(|schedule| batch.schedule_id.as_ref() == Some(schedule))
    };
    let page = target
        .inbox()?
        .list_batches(cursor, args.page.limit.get(), is_match)
        .await
        .with_resource(&target.inbox_table()?)?;
    Ok(BatchList {
        batches: page.items.iter().map(BatchOutput::from).collect(),
        next: page.next.map(|cursor| encode_cursor(&[&cursor.pk, &cursor.sk])),
    })
}

impl BatchOutput {
    /// Description of its state, next poll and problem.
    pub(crate) fn status_text(&self, now: UnixMillis) -> String {
        let state_since =
            |label: &str, at: Option<Timestamp>| at.map(|at| format!("{label} {}", at.with_age(now)));
        state_since("overdue since", self.overdue_at)
            .or_else(|| state_since("settled", self.settled_at))
            .or_else(|| state_since("polled next", self.due_at).map(|next| self.with_problem(next, now)))
            .unwrap_or_else(|| "tracked".to_owned())
    }

    /// Appends the problem of its polls.
    fn with_problem(&self, next: String, now: UnixMillis) -> String {
        // A next poll alone would look healthy.
        self.problem_text(now).map_or(next.clone(), |problem| format!("{next}; {problem}"))
    }

    /// Description of the problem of its polls, with a missed deadline.
    pub(crate) fn problem_text(&self, now: UnixMillis) -> Option<String> {
        let problem = self.problem.as_ref()?.text(now);
        Some(match self.missed_deadline(now) {
            Some(at) => format!("its deadline passed {} without an answer; {problem}", at.with_age(now)),
            None => problem,
        })
    }

    /// Its deadline, if it has passed and the last poll failed.
    pub(crate) fn missed_deadline(&self, now: UnixMillis) -> Option<Timestamp> {
        self.deadline_at.filter(|deadline| self.problem.is_some() && deadline.0 <= now)
    }
}

impl Render for BatchList {
    fn to_text(&self, now: UnixMillis) -> String {
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let rows = self.batches.iter().map(|it| {
            [
                it.batch_id.clone(),
                it.state.to_owned(),
                it.expected.to_string(),
                it.polls.to_string(),
                or_dash(&it.subject),
                or_dash(&it.schedule_id),
                it.status_text(now),
            ]
        });
        let headers = ["BATCH", "STATE", "EXPECTED", "POLLS", "SUBJECT", "SCHEDULE", "STATUS"];
        render_table(headers, rows.collect(), "no such batch") + &next_page_hint(self.next.as_ref())
    }
}

/// Result of tracking a batch.
#[derive(Serialize)]
pub(crate) struct TrackBatchReport {
    batch_id: String,
    status: &'static str,
}

pub(crate) async fn track(target: &Target, args: TrackBatchArgs) -> anyhow::Result<TrackBatchReport> {
    let (now, batch_id) = (target.now(), args.batch.as_str().to_owned());
    // The functions read the same parameters, so the batch is polled like one that they have submitted.
    let timing = poll_timing(&stack_parameters::function_env(target)).context("the stack's parameters")?;
    let failed: std::collections::BTreeSet<_> = args.failed.into_iter().collect();
    if args.expected == 0 || u64::try_from(failed.len()).is_ok_and(|failed| failed > args.expected) {
        bail!("--expected must be at least 1 and at least the number of --failed");
    }
    let plan = format!(
        "Track batch {batch_id}: {}, {} of them excluded; first poll in {} min",
        pluralize(args.expected, "authorizer", "authorizers"),
        failed.len(),
        timing.first.as_secs() / 60
    );
    let (inbox, table) = (target.inbox()?, target.inbox_table()?);
    // Reads from AWS before the confirmation, which compares AWS's clock with this machine's.
    inbox.tracked_subject(&args.batch).await.with_resource(&table)?;
    if !confirm::is_confirmed(target, &args.confirm, &plan)? {
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
    let outcome = inbox.track(Created::Batch(&tracked), now.plus(timing.first), now).await;
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
