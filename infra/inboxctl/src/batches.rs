//! `batches list|track`.

use anyhow::{Context, bail};
use inbox_aws::config::poll_timing;
use inbox_aws::inbox::{BatchView, Created, TrackOutcome};
use inbox_core::poll::batch::TrackedBatch;
use inbox_core::time::UnixMillis;
use serde::Serialize;

use crate::cli::{BatchState, ListBatches, TrackBatch};
use crate::consent;
use crate::events::spot;
use crate::parameters;
use crate::place::Place;
use crate::poll_problem::Problem;
use crate::trouble::About;
use crate::view::{At, Found, at as at_time, counted, more, table, token};

/// A part of the batches that are watched, or were.
#[derive(Serialize)]
pub(crate) struct Listed {
    batches: Vec<Batch>,
    /// For `--page`.
    next: Option<String>,
}

/// A batch that is watched, or was.
#[derive(Serialize)]
pub(crate) struct Batch {
    pub(crate) batch_id: String,
    pub(crate) state: &'static str,
    pub(crate) subject: Option<String>,
    pub(crate) schedule_id: Option<String>,
    pub(crate) expected: u64,
    pub(crate) some_refused: bool,
    pub(crate) polls: u64,
    pub(crate) tracked_at: Option<At>,
    pub(crate) deadline_at: Option<At>,
    pub(crate) due_at: Option<At>,
    pub(crate) settled_at: Option<At>,
    pub(crate) overdue_at: Option<At>,
    /// What is wrong with its polls.
    pub(crate) problem: Option<Problem>,
}

impl From<&BatchView> for Batch {
    fn from(told: &BatchView) -> Self {
        let state = match state_of(told) {
            BatchState::Watched => "watched",
            BatchState::Settled => "settled",
            BatchState::Overdue => "overdue",
        };
        Self {
            batch_id: told.batch_id.clone(),
            state,
            subject: told.subject.clone(),
            schedule_id: told.schedule_id.clone(),
            expected: told.expected,
            some_refused: told.has_excluded,
            polls: told.polls,
            tracked_at: at_time(told.tracked_at),
            deadline_at: at_time(told.deadline_at),
            due_at: at_time(told.due_at),
            settled_at: at_time(told.done_at),
            overdue_at: at_time(told.overdue_at),
            problem: Problem::of(told.problem.as_ref(), told.polls),
        }
    }
}

fn state_of(told: &BatchView) -> BatchState {
    match (told.overdue_at, told.done_at) {
        (Some(_), _) => BatchState::Overdue,
        (None, Some(_)) => BatchState::Settled,
        (None, None) => BatchState::Watched,
    }
}

pub(crate) async fn list(at: &Place, args: ListBatches) -> anyhow::Result<Listed> {
    let after = args.page.page.as_deref().map(spot).transpose()?;
    let wanted = |told: &BatchView| {
        args.state.is_none_or(|state| state_of(told) == state)
            && args.schedule.as_ref().is_none_or(|schedule| told.schedule_id.as_ref() == Some(schedule))
    };
    let page = at.inbox()?.list_batches(after, args.page.limit.get(), wanted).await.about(&at.table()?)?;
    Ok(Listed {
        batches: page.items.iter().map(Batch::from).collect(),
        next: page.next.map(|spot| token(&[&spot.pk, &spot.sk])),
    })
}

impl Batch {
    /// Where it stands, in words.
    pub(crate) fn stands(&self, now: UnixMillis) -> String {
        let told = |what: &str, at: Option<At>| at.map(|at| format!("{what} {}", at.told(now)));
        told("overdue since", self.overdue_at)
            .or_else(|| told("settled", self.settled_at))
            .or_else(|| told("polled next", self.due_at).map(|next| self.with_trouble(next, now)))
            .unwrap_or_else(|| "watched".to_owned())
    }

    /// That it is polled next does not say that its polls come to anything.
    fn with_trouble(&self, next: String, now: UnixMillis) -> String {
        self.trouble(now).map_or(next.clone(), |trouble| format!("{next}; {trouble}"))
    }

    /// What is wrong with its polls, in words.
    pub(crate) fn trouble(&self, now: UnixMillis) -> Option<String> {
        let problem = self.problem.as_ref()?.text(now);
        Some(match self.unanswered_since(now) {
            Some(at) => format!("its deadline passed {} without an answer; {problem}", at.told(now)),
            None => problem,
        })
    }

    /// Its deadline, if that has passed and the last poll was not answered.
    pub(crate) fn unanswered_since(&self, now: UnixMillis) -> Option<At> {
        self.deadline_at.filter(|deadline| self.problem.is_some() && deadline.0 <= now)
    }
}

impl Found for Listed {
    fn text(&self, now: UnixMillis) -> String {
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let rows = self.batches.iter().map(|it| {
            [
                it.batch_id.clone(),
                it.state.to_owned(),
                it.expected.to_string(),
                it.polls.to_string(),
                or_none(&it.subject),
                or_none(&it.schedule_id),
                it.stands(now),
            ]
        });
        let names = ["BATCH", "STATE", "EXPECTED", "POLLS", "SUBJECT", "SCHEDULE", "STANDS"];
        table(names, rows.collect(), "no such batch") + &more(self.next.as_ref())
    }
}

/// A batch that is watched from now on.
#[derive(Serialize)]
pub(crate) struct Watched {
    batch_id: String,
    status: &'static str,
}

pub(crate) async fn track(at: &Place, args: TrackBatch) -> anyhow::Result<Watched> {
    let (now, batch_id) = (at.now(), args.batch.as_str().to_owned());
    let cadence = poll_timing(&parameters::env(at)).context("the stack's parameters")?;
    let failed: std::collections::BTreeSet<_> = args.failed.into_iter().collect();
    if args.expected == 0 || u64::try_from(failed.len()).is_ok_and(|failed| failed > args.expected) {
        bail!("--expected must be at least 1, and not less than the authorizers that failed");
    }
    let plan = format!(
        "Watch batch {batch_id}: {}, {} of them refused; asked for first in {} min",
        counted(args.expected, "authorizer", "authorizers"),
        failed.len(),
        cadence.first.as_secs() / 60
    );
    let (inbox, table) = (at.inbox()?, at.table()?);
    // Its time is to be known before anything is written.
    inbox.tracked_subject(&args.batch).await.about(&table)?;
    if !consent::is_given(at, &args.consent, &plan)? {
        return Ok(Watched { batch_id, status: "nothing was done" });
    }
    let tracked = TrackedBatch {
        batch_id: args.batch,
        subject: args.subject,
        schedule_id: None,
        expected: args.expected,
        failed_authorizers: failed,
        deadline: now.plus(cadence.deadline),
        polls: 0,
    };
    let watch = inbox.track(Created::Batch(&tracked), now.plus(cadence.first), now).await;
    match watch.about(&table)? {
        TrackOutcome::Started => Ok(Watched { batch_id, status: "tracked" }),
        TrackOutcome::AlreadyTracked => Ok(Watched { batch_id, status: "already_tracked" }),
        TrackOutcome::Mismatch(field) => bail!("batch {batch_id} is watched already, with another {field}"),
    }
}

impl Found for Watched {
    fn text(&self, _: UnixMillis) -> String {
        format!("{}: {}", self.batch_id, self.status.replace('_', " "))
    }

    fn is_fine(&self) -> bool {
        self.status != "nothing was done"
    }
}
