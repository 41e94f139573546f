//! One batch: whether it is complete, and, if it is a schedule's run, whose threshold it met.
//!
//! ```text
//!  first_step                        after_asking
//!   completed, nothing to settle ──▶ Done
//!   completed, grace not over ─────▶ Later
//!   not completed ─────────────────▶ Ask: complete? ──▶ record the completion
//!   completed, grace over ─────────▶ Ask: alerts?   ──▶ record the alerts that no webhook told
//! ```

use std::collections::{BTreeMap, BTreeSet};

use super::{PollResult, PollTiming, polled_events};
use crate::delivery::Subject;
use crate::event::{Event, Id};
use crate::limits::{ALERT_DELIVERY_TRIES_MAX, ALERT_RECORDS_MAX};
use crate::rightfoot_api::{Amount, Balance};
use crate::time::UnixMillis;

/// A batch that is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackedBatch {
    /// The batch.
    pub batch_id: Id,
    /// Whose URL its webhooks come by, if that is known.
    pub subject: Option<Subject>,
    /// The schedule whose run it is; `None` for a batch that was submitted by itself.
    pub schedule_id: Option<Id>,
    /// How many authorizers were submitted.
    pub expected: u64,
    /// Those of them that Rightfoot refused: no result will come for them.
    pub failed_authorizers: BTreeSet<Id>,
    /// From when on an answer that it is not complete makes it overdue.
    pub deadline: UnixMillis,
    /// How often it was asked for.
    pub polls: u64,
}

impl TrackedBatch {
    /// Whether an answer that it is not complete makes it overdue.
    pub fn is_past_deadline(&self, now: UnixMillis) -> bool {
        now >= self.deadline
    }

    /// How many results there must be of authorizers whom Rightfoot has not refused: one at the least.
    pub fn expected_results(&self) -> u64 {
        let failed = u64::try_from(self.failed_authorizers.len()).unwrap_or(u64::MAX);
        self.expected.saturating_sub(failed).max(1)
    }
}

/// What to ask Rightfoot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PollQuestion {
    /// Whether the batch is complete.
    Completion,
    /// Whose threshold was met.
    Alerts,
}

/// What to do first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchStep {
    /// Nothing, for good: all that was to be known is known.
    Done,
    /// Nothing until then.
    WaitUntil(UnixMillis),
    /// Ask.
    Poll(PollQuestion),
}

/// What becomes of the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchDisposition {
    /// All that was to be known is known.
    Done,
    /// It is past its deadline, and Rightfoot has answered (P9).
    Overdue,
    /// It is asked for again at the time that was set before asking.
    PollAsPlanned,
    /// It is asked for again at this time.
    PollAt(UnixMillis),
    /// The API has shown it complete: whose alerts are missing is asked at this time.
    CheckAlertsAt(UnixMillis),
}

/// What to do after asking: first record, then the rest. A record that stands already is as good.
#[derive(Debug)]
pub struct BatchPlan {
    /// The event that was found.
    pub record: Option<Event>,
    /// What becomes of the batch.
    pub disposition: BatchDisposition,
}

/// All the rows that could be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BalanceRows {
    /// The rows, by authorizer.
    pub balances: BTreeMap<Id, Balance>,
    /// Whether the last page was reached, without a page that repeats.
    pub reached_last_page: bool,
    /// How many more rows there are that cannot be read.
    pub unreadable_rows: u64,
}

/// The thresholds of a schedule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Thresholds {
    /// For whom has none of its own.
    pub default: Option<Amount>,
    /// Each authorizer's own, which beats the default (shared/providers/rightfoot.md, "Create a schedule", the newer rule).
    pub authorizers: BTreeMap<Id, Amount>,
}

impl Thresholds {
    /// The threshold of an authorizer.
    pub fn of(&self, authorizer: &Id) -> Option<Amount> {
        self.authorizers.get(authorizer).copied().or(self.default)
    }

    /// Whether there is none at all, and so never an alert.
    pub fn is_empty(&self) -> bool {
        self.default.is_none() && self.authorizers.is_empty()
    }
}

/// What is known of the alerts of a run. Nothing of it concerns a batch that was submitted by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlertState {
    /// From which balances on it alerts.
    pub thresholds: Thresholds,
    /// Whose alert was told by a webhook, or has had its effect already.
    pub alerted_authorizers: BTreeSet<Id>,
}

/// What to do about a batch that is due, before anything is asked. `completed_at` is when it became known to be complete:
/// by a record that [counts](super::completion::Completion::counts), or by an answer of the API.
pub fn next_step(
    tracked: &TrackedBatch,
    completed_at: Option<UnixMillis>,
    timing: &PollTiming,
    now: UnixMillis,
) -> BatchStep {
    match completed_at {
        None => BatchStep::Poll(PollQuestion::Completion),
        Some(_) if tracked.schedule_id.is_none() => BatchStep::Done,
        Some(completed_at) => {
            let settled_at = completed_at.plus(timing.grace);
            if now < settled_at {
                BatchStep::WaitUntil(settled_at)
            } else {
                BatchStep::Poll(PollQuestion::Alerts)
            }
        }
    }
}

/// What an answer means. `planned` is when the batch is due again if nothing comes of it.
pub fn plan_after_poll(
    tracked: &TrackedBatch,
    question: PollQuestion,
    alerts: &AlertState,
    result: &PollResult<BalanceRows>,
    planned_at: UnixMillis,
    timing: &PollTiming,
    now: UnixMillis,
) -> BatchPlan {
    if let PollResult::Answered(rows) = result {
        let is_run = tracked.schedule_id.is_some();
        match (is_complete(tracked, rows), question) {
            (true, PollQuestion::Completion) => {
                return BatchPlan {
                    record: Some(polled_events::completion(&tracked.batch_id, now)),
                    disposition: if is_run {
                        BatchDisposition::CheckAlertsAt(now.plus(timing.grace))
                    } else {
                        BatchDisposition::Done
                    },
                };
            }
            (true, PollQuestion::Alerts) => {
                return BatchPlan {
                    record: missing_alerts(tracked, alerts, rows, now),
                    disposition: BatchDisposition::Done,
                };
            }
            // There will be no better answer: what it shows is told, and that it is not whole alarms.
            (false, _) if tracked.is_past_deadline(now) => {
                return BatchPlan {
                    record: missing_alerts(tracked, alerts, rows, now),
                    disposition: BatchDisposition::Overdue,
                };
            }
            // Who cannot be read holds up no alert of the others.
            (false, PollQuestion::Alerts) if rows.unreadable_rows > 0 => {
                return BatchPlan {
                    record: missing_alerts(tracked, alerts, rows, now),
                    disposition: BatchDisposition::PollAsPlanned,
                };
            }
            (false, _) => {}
        }
    }
    let then = if result.is_answer() && tracked.is_past_deadline(now) {
        BatchDisposition::Overdue
    } else {
        result.retry_at(now, planned_at).map_or(BatchDisposition::PollAsPlanned, BatchDisposition::PollAt)
    };
    BatchPlan { record: None, disposition: then }
}

/// Complete is what was read to its last page, with every row of it (one that cannot be read is somebody's), and holds a row
/// for everybody who was not refused. A last page alone is no proof: what comes before completion is not documented.
pub fn is_complete(tracked: &TrackedBatch, rows: &BalanceRows) -> bool {
    let results = rows.balances.keys().filter(|id| !tracked.failed_authorizers.contains(*id)).count();
    rows.reached_last_page
        && rows.unreadable_rows == 0
        && u64::try_from(results).is_ok_and(|results| results >= tracked.expected_results())
}

/// Whether a batch of so many authorizers explains so many alert events: each may come split as far as one by one, and each
/// of those may be delivered again under another `event_uuid`. More than are read are never explained.
pub fn is_plausible_alert_count(expected: u64, alert_events: usize) -> bool {
    alert_events <= ALERT_RECORDS_MAX
        && u64::try_from(alert_events)
            .is_ok_and(|events| events <= expected.saturating_mul(ALERT_DELIVERY_TRIES_MAX))
}

/// The alerts that nobody has told.
fn missing_alerts(
    tracked: &TrackedBatch,
    alerts: &AlertState,
    rows: &BalanceRows,
    now: UnixMillis,
) -> Option<Event> {
    let unalerted_rows =
        rows.balances.values().filter(|row| !alerts.alerted_authorizers.contains(&row.authorizer));
    let crossings = unalerted_rows.filter_map(|row| {
        let (balance, threshold) = (row.amount?, alerts.thresholds.of(&row.authorizer)?);
        (row.status_code == 0 && balance >= threshold).then_some((&row.authorizer, balance, threshold))
    });
    let crossings: Vec<_> = crossings.collect();
    (!crossings.is_empty())
        .then(|| polled_events::alerts(&tracked.batch_id, tracked.schedule_id.as_ref(), &crossings, now))
}

#[cfg(test)]
mod tests;
