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

use super::{Cadence, Observation, found};
use crate::delivery::Subject;
use crate::event::{Event, Id};
use crate::limits::{ALERT_RECORDS_MAX, ALERT_TRIES_MAX};
use crate::rightfoot::{Amount, Balance};
use crate::time::UnixMillis;

/// A batch that is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracked {
    /// The batch.
    pub batch_id: Id,
    /// Whose URL its webhooks come by, if that is known.
    pub subject: Option<Subject>,
    /// The schedule whose run it is; `None` for a batch that was submitted by itself.
    pub schedule_id: Option<Id>,
    /// How many authorizers were submitted.
    pub expected: u64,
    /// Those of them that Rightfoot refused: no result will come for them.
    pub failed: BTreeSet<Id>,
    /// From when on an answer that it is not complete makes it overdue.
    pub deadline: UnixMillis,
    /// How often it was asked for.
    pub polls: u64,
}

impl Tracked {
    /// Whether an answer that it is not complete makes it overdue.
    pub fn is_past_deadline(&self, now: UnixMillis) -> bool {
        now >= self.deadline
    }

    /// How many results there must be of authorizers whom Rightfoot has not refused: one at the least.
    pub fn awaited(&self) -> u64 {
        let failed = u64::try_from(self.failed.len()).unwrap_or(u64::MAX);
        self.expected.saturating_sub(failed).max(1)
    }
}

/// What to ask Rightfoot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Whether the batch is complete.
    Complete,
    /// Whose threshold was met.
    Alerts,
}

/// What to do first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing, for good: all that was to be known is known.
    Done,
    /// Nothing until then.
    Later(UnixMillis),
    /// Ask.
    Ask(Question),
}

/// What becomes of the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// All that was to be known is known.
    Done,
    /// It is past its deadline, and Rightfoot has answered (P9).
    Overdue,
    /// It is asked for again at the time that was set before asking.
    AsPlanned,
    /// It is asked for again at this time.
    Later(UnixMillis),
    /// The API has shown it complete: whose alerts are missing is asked at this time.
    AlertsAt(UnixMillis),
}

/// What to do after asking: first record, then the rest. A record that stands already is as good.
#[derive(Debug)]
pub struct Plan {
    /// The event that was found.
    pub record: Option<Event>,
    /// What becomes of the batch.
    pub then: Then,
}

/// All the rows that could be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// The rows, by authorizer.
    pub balances: BTreeMap<Id, Balance>,
    /// Whether the last page was reached, without a page that repeats.
    pub reached_last_page: bool,
    /// How many more rows there are that cannot be read.
    pub skipped: u64,
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
pub struct AlertWatch {
    /// From which balances on it alerts.
    pub thresholds: Thresholds,
    /// Whose alert was told by a webhook, or has had its effect already.
    pub alerted: BTreeSet<Id>,
}

/// What to do about a batch that is due, before anything is asked. `completed_at` is when it became known to be complete:
/// by a record that [counts](super::completion::Completion::counts), or by an answer of the API.
pub fn first_step(
    tracked: &Tracked,
    completed_at: Option<UnixMillis>,
    cadence: &Cadence,
    now: UnixMillis,
) -> Step {
    match completed_at {
        None => Step::Ask(Question::Complete),
        Some(_) if tracked.schedule_id.is_none() => Step::Done,
        Some(completed_at) => {
            let settled_at = completed_at.plus(cadence.grace);
            if now < settled_at { Step::Later(settled_at) } else { Step::Ask(Question::Alerts) }
        }
    }
}

/// What an answer means. `planned` is when the batch is due again if nothing comes of it.
pub fn after_asking(
    tracked: &Tracked,
    question: Question,
    watch: &AlertWatch,
    observed: &Observation<Rows>,
    planned: UnixMillis,
    cadence: &Cadence,
    now: UnixMillis,
) -> Plan {
    if let Observation::Answered(rows) = observed {
        let is_run = tracked.schedule_id.is_some();
        match (is_complete(tracked, rows), question) {
            (true, Question::Complete) => {
                return Plan {
                    record: Some(found::completion(&tracked.batch_id, now)),
                    then: if is_run { Then::AlertsAt(now.plus(cadence.grace)) } else { Then::Done },
                };
            }
            (true, Question::Alerts) => {
                return Plan { record: untold(tracked, watch, rows, now), then: Then::Done };
            }
            // There will be no better answer: what it shows is told, and that it is not whole alarms.
            (false, _) if tracked.is_past_deadline(now) => {
                return Plan { record: untold(tracked, watch, rows, now), then: Then::Overdue };
            }
            // Who cannot be read holds up no alert of the others.
            (false, Question::Alerts) if rows.skipped > 0 => {
                return Plan { record: untold(tracked, watch, rows, now), then: Then::AsPlanned };
            }
            (false, _) => {}
        }
    }
    let then = if observed.is_answer() && tracked.is_past_deadline(now) {
        Then::Overdue
    } else {
        observed.postponed(now, planned).map_or(Then::AsPlanned, Then::Later)
    };
    Plan { record: None, then }
}

/// Complete is what was read to its last page, with every row of it (one that cannot be read is somebody's), and holds a row
/// for everybody who was not refused. A last page alone is no proof: what comes before completion is not documented.
pub fn is_complete(tracked: &Tracked, rows: &Rows) -> bool {
    let there = rows.balances.keys().filter(|id| !tracked.failed.contains(*id)).count();
    rows.reached_last_page
        && rows.skipped == 0
        && u64::try_from(there).is_ok_and(|there| there >= tracked.awaited())
}

/// Whether a batch of so many authorizers explains so many alert events: each may come split as far as one by one, and each
/// of those may be delivered again under another `event_uuid`. More than are read are never explained.
pub fn explains(expected: u64, alert_events: usize) -> bool {
    alert_events <= ALERT_RECORDS_MAX
        && u64::try_from(alert_events).is_ok_and(|events| events <= expected.saturating_mul(ALERT_TRIES_MAX))
}

/// The alerts that nobody has told.
fn untold(tracked: &Tracked, watch: &AlertWatch, rows: &Rows, now: UnixMillis) -> Option<Event> {
    let met = rows.balances.values().filter(|row| !watch.alerted.contains(&row.authorizer));
    let met = met.filter_map(|row| {
        let (balance, threshold) = (row.amount?, watch.thresholds.of(&row.authorizer)?);
        (row.status_code == 0 && balance >= threshold).then_some((&row.authorizer, balance, threshold))
    });
    let met: Vec<_> = met.collect();
    (!met.is_empty()).then(|| found::alerts(&tracked.batch_id, tracked.schedule_id.as_ref(), &met, now))
}

#[cfg(test)]
mod tests;
