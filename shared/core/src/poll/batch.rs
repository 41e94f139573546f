//! The polls of one batch: is it complete, and, for a schedule's run, which balances met their threshold.
//!
//! ```text
//!  next_step                                      plan_after_poll
//!   completed, no run of a schedule ──▶ Done
//!   completed, within the grace time ─▶ WaitUntil
//!   not completed ────────────────────▶ Poll(Completion) ──▶ record the completion
//!   completed, grace time is over ────▶ Poll(Alerts) ──────▶ record the alerts that no webhook announced
//! ```

use std::collections::{BTreeMap, BTreeSet};

use super::{PollResult, PollTiming, polled_events};
use crate::event::Event;
use crate::id::Id;
use crate::limits::{ALERT_DELIVERY_TRIES_MAX, ALERT_RECORDS_MAX};
use crate::rightfoot_api::Balance;
use crate::subject::Subject;
use crate::thresholds::Thresholds;
use crate::time::UnixMillis;

/// A batch that is polled until it is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackedBatch {
    /// The batch.
    pub batch_id: Id,
    /// The subject whose URL its webhooks come by, if known.
    pub subject: Option<Subject>,
    /// The schedule whose run it is; `None` for a batch that was submitted on its own.
    pub schedule_id: Option<Id>,
    /// The number of authorizers that were submitted.
    pub expected: u64,
    /// The authorizers that Rightfoot did not accept: there will be no result for them.
    pub failed_authorizers: BTreeSet<Id>,
    /// The time from which an answer that the batch is not complete makes it overdue.
    pub deadline: UnixMillis,
    /// The number of polls so far.
    pub polls: u64,
}

impl TrackedBatch {
    /// Returns `true` if an answer at `now` that the batch is not complete makes it overdue.
    pub fn is_past_deadline(&self, now: UnixMillis) -> bool {
        now >= self.deadline
    }

    /// The number of results that there must be, of authorizers that Rightfoot accepted; at least one.
    pub fn expected_results(&self) -> u64 {
        let failed = u64::try_from(self.failed_authorizers.len()).unwrap_or(u64::MAX);
        // At least one, because an empty list never proves that a batch is complete.
        self.expected.saturating_sub(failed).max(1)
    }
}

/// The question to ask Rightfoot about a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PollQuestion {
    /// Is the batch complete?
    Completion,
    /// Which balances met their threshold?
    Alerts,
}

/// The next step for a batch that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchStep {
    /// Stop polling: everything is known.
    Done,
    /// Wait until this time.
    WaitUntil(UnixMillis),
    /// Ask Rightfoot.
    Poll(PollQuestion),
}

/// The future of a batch after a poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchDisposition {
    /// Stop polling: everything is known.
    Done,
    /// Stop polling: Rightfoot has answered past the deadline, and the batch is not complete (P9).
    Overdue,
    /// Poll again at the time that was set before asking.
    PollAsPlanned,
    /// Poll again at this time.
    PollAt(UnixMillis),
    /// The API has shown the batch complete; ask for missing alerts at this time.
    CheckAlertsAt(UnixMillis),
}

/// The plan after a poll. The event is recorded first; a duplicate counts as recorded.
#[derive(Debug)]
pub struct BatchPlan {
    /// The event that the poll found.
    pub record: Option<Event>,
    /// The future of the batch.
    pub disposition: BatchDisposition,
}

/// All rows of a batch that could be parsed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BalanceRows {
    /// The rows, by authorizer.
    pub balances: BTreeMap<Id, Balance>,
    /// True if the last page was reached, and no page was a repetition.
    pub reached_last_page: bool,
    /// The number of rows that could not be parsed.
    pub unreadable_rows: u64,
}

impl BalanceRows {
    /// The number of results: rows of authorizers that Rightfoot accepted.
    pub fn results(&self, tracked: &TrackedBatch) -> u64 {
        let results = self.balances.keys().filter(|id| !tracked.failed_authorizers.contains(*id)).count();
        u64::try_from(results).unwrap_or(u64::MAX)
    }
}

/// The number of results of a batch that its last answered read showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResultsFound {
    /// The number of results.
    pub count: u64,
    /// The time of the first read that showed this number.
    pub since: UnixMillis,
}

impl ResultsFound {
    /// The number after a read that showed `count` results, or that was not answered.
    pub fn updated(previous: Option<Self>, count: Option<u64>, now: UnixMillis) -> Option<Self> {
        match (previous, count) {
            (previous, None) => previous,
            (Some(previous), Some(count)) if previous.count == count => Some(previous),
            (_, Some(count)) => Some(Self { count, since: now }),
        }
    }
}

/// The known alerts of a schedule's run. Empty for a batch that was submitted on its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlertState {
    /// The schedule's thresholds.
    pub thresholds: Thresholds,
    /// The authorizers whose alert was announced by a webhook or already published.
    pub alerted_authorizers: BTreeSet<Id>,
}

/// The next step for a batch that is due, before anything is asked. `completed_at` is the time at which its
/// completion became known: by a record that [confirms
/// it](super::completion::CompletionRecord::confirms_completion), or by an answer of the API.
pub fn next_step(
    tracked: &TrackedBatch,
    completed_at: Option<UnixMillis>,
    timing: &PollTiming,
    now: UnixMillis,
) -> BatchStep {
    match completed_at {
        None => BatchStep::Poll(PollQuestion::Completion),
        // Rightfoot sends alerts for schedules only.
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

/// The plan for a poll's `result`. `planned_at` is the time at which the batch is due again if the result
/// changes nothing.
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
                    // Only a run has thresholds; its alert webhooks may still come until the grace time ends.
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
            // No better answer will come: record the alerts that it shows; `Overdue` raises the alarm.
            (false, _) if tracked.is_past_deadline(now) => {
                return BatchPlan {
                    record: missing_alerts(tracked, alerts, rows, now),
                    disposition: BatchDisposition::Overdue,
                };
            }
            // A row that cannot be parsed must not delay the alerts of the other authorizers.
            (false, PollQuestion::Alerts) if rows.unreadable_rows > 0 => {
                return BatchPlan {
                    record: missing_alerts(tracked, alerts, rows, now),
                    disposition: BatchDisposition::PollAsPlanned,
                };
            }
            (false, _) => {}
        }
    }
    // Without an answer the batch stays due, however late it is (P9).
    let disposition = if result.is_answer() && tracked.is_past_deadline(now) {
        BatchDisposition::Overdue
    } else {
        result.retry_at(now, planned_at).map_or(BatchDisposition::PollAsPlanned, BatchDisposition::PollAt)
    };
    BatchPlan { record: None, disposition }
}

/// Returns `true` if every page was read, every row could be parsed (an unreadable row is somebody's result),
/// and there is a row for every authorizer that Rightfoot accepted. The last page alone proves nothing: the
/// list before completion is not documented.
pub fn is_complete(tracked: &TrackedBatch, rows: &BalanceRows) -> bool {
    rows.reached_last_page && rows.unreadable_rows == 0 && rows.results(tracked) >= tracked.expected_results()
}

/// Returns `true` if a batch of `expected` authorizers can explain so many alert events: alerts may be split
/// down to one per event, and each event may be delivered again under another `event_uuid`. More than
/// [`ALERT_RECORDS_MAX`] are never plausible.
pub fn is_plausible_alert_count(expected: u64, alert_events: usize) -> bool {
    alert_events <= ALERT_RECORDS_MAX
        && u64::try_from(alert_events)
            .is_ok_and(|events| events <= expected.saturating_mul(ALERT_DELIVERY_TRIES_MAX))
}

/// The event for alerts that no webhook announced; `None` if there are none.
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
