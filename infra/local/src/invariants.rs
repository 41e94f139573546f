//! The promises (P1 to P10, shared/README.md) as invariants: what must be true at the end of a run.
//!
//! An [`Invariant`] finds what violates it in an [`Observed`] run. Expectations come from the deliveries that were sent,
//! the answers to submissions, and the state of the simulated Rightfoot; never from the system under test. The demo
//! checks [`ALL`]; `load`, in which no worker runs, checks [`DELIVERIES`], [`QUEUE`] and [`RECORDS`]. A test checks the
//! groups that fit its story:
//!
//! ```text
//! let mut run = Observed::read(&world.stack).await.unwrap();
//! run.deliveries.push(SentDelivery::expecting(Provider::Fynapse, "fynapse/event/e-1", body, ExpectedOutcome::Enqueued));
//! // Calls of further processes explain repeats, too.
//! run.calls.extend(other.stack.connector.call_log());
//! // With a simulated Rightfoot: its batches and webhooks decide which effects are expected.
//! run.rightfoot = rightfoot.snapshot();
//! invariants::assert_hold(&run, &[invariants::QUEUE, invariants::RECORDS]);
//! ```
//!
//! `Observed::read` receives the messages of the queues, so it comes last. A message that a worker has deleted is not
//! among them: add it, or leave [`QUEUE`] out.

use std::collections::BTreeSet;
use std::fmt;

use inbox_core::delivery::Provider;

use crate::inspect::PublishedEvent;
use crate::rightfoot_simulator::COMPLETED_TYPE;

mod comparison;
mod effects;
mod observed;
mod payloads;
mod quarantine;
mod repeats;
mod submissions;
mod tallies;
#[cfg(test)]
pub(crate) mod tests;

pub use effects::ExpectedEffect;
pub use observed::{ExpectedOutcome, Observed, PollerRun, SentDelivery, SubmissionLog, SubmissionResponse};
pub use payloads::{POLL_ORIGIN, QueuedAlert, WEBHOOK_ORIGIN, completion_id};
pub use tallies::Tally;

/// A condition that holds at the end of every run.
#[derive(Clone, Copy, Debug)]
pub struct Invariant {
    /// Promise that it keeps (shared/README.md, "Promises").
    pub promise: &'static str,
    /// Its name: what is wrong with the items that violate it.
    pub violation: &'static str,
    find: fn(&Observed) -> Vec<String>,
}

/// A violated invariant and the items that violate it. `Display` shows at most 20 of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Promise that is broken; empty for a situation that a run must contain.
    pub promise: &'static str,
    /// The violation, in words.
    pub description: &'static str,
    /// What violates it: mostly event ids, else batches, submissions, runs or calls.
    pub ids: Vec<String>,
}

/// Every group.
pub const ALL: &[&[Invariant]] = &[
    DELIVERIES,
    QUEUE,
    RECORDS,
    QUARANTINE,
    SUBMISSIONS,
    COMPLETIONS,
    ALERTS,
    TRACKING,
    PROCESSING,
    BALANCES,
    BUS,
];

/// Every delivery ends with the answer that its provider's rules and its content ask for.
pub const DELIVERIES: &[Invariant] = &[
    invariant("P6", "still being delivered when the run ended", |run| {
        run.deliveries_where(|it| it.reports.is_empty())
    }),
    invariant("P1", "authentic, and not answered 2xx in the end", |run| {
        run.deliveries_where(|it| it.expected == ExpectedOutcome::Enqueued && !it.is_delivered())
    }),
    invariant("P6", "permanently failed at Fynapse by its response", |run| {
        run.deliveries_where(|it| it.provider == Provider::Fynapse && it.has_permanent_failure())
    }),
    invariant("P6", "answered with a Retry-After", |run| {
        run.deliveries_where(|it| it.attempts().any(|attempt| attempt.response.retry_after_secs().is_some()))
    }),
    invariant("P4", "forged, and not answered 403 in the end", |run| {
        run.deliveries_where(|it| it.expected == ExpectedOutcome::Rejected && !it.all_end_with(403))
    }),
    invariant("P4", "forged, and accepted", |run| {
        run.deliveries_where(|it| {
            it.expected == ExpectedOutcome::Rejected
                && it.attempts().any(|attempt| attempt.response.is_success())
        })
    }),
    invariant("P7", "unprocessable, and not answered with the expected status", |run| {
        run.deliveries_where(|it| {
            matches!(it.expected, ExpectedOutcome::Quarantined { status, .. } if !it.all_end_with(status))
        })
    }),
];

/// Every authentic event is on the queue with its bytes, and nothing else is.
pub const QUEUE: &[Invariant] = &[
    invariant("P2", "LOST: authentic, and not on the queue", |run| run.compared_messages().missing()),
    invariant("P4", "on the queue with other bytes than were sent", |run| {
        // The bytes of alerts that the poller found are not known; `ALERTS` checks them.
        run.compared_messages().altered(|sent, it| sent.is_none() || it.payload.as_deref() == sent.as_deref())
    }),
    invariant("P4", "on the queue, and not an authentic event", |run| run.compared_messages().unexpected()),
    invariant("P4", "on the queue with another origin than recorded", |run| {
        run.messages_where(|it| run.origin_of(&it.id).is_some_and(|origin| origin != it.origin))
    }),
    invariant(
        "P3",
        "on the queue more often than steps of unknown outcome explain",
        Observed::unexplained_messages,
    ),
    invariant("P2", "on the dead-letter queue", |run| {
        (0..run.dead_letters).map(|n| format!("message {n}")).collect()
    }),
];

/// Every authentic event is recorded, nothing else is, and nothing is left for the relay.
pub const RECORDS: &[Invariant] = &[
    invariant("P1", "authentic, and not recorded", |run| run.compared_records().missing()),
    invariant("P4", "recorded, and not an authentic event", |run| run.compared_records().unexpected()),
    invariant("P2", "recorded, and still due", |run| {
        run.records_where(|_, it| it.is_due || !(it.is_sent || it.is_done || it.is_quarantined))
    }),
];

/// Every authentic delivery that cannot be processed is quarantined byte for byte, and nothing else is.
pub const QUARANTINE: &[Invariant] = &[
    invariant("P7", "unprocessable, and not quarantined byte for byte", |run| {
        run.unprocessable_where(|_, found| found.is_none())
    }),
    invariant("P7", "unprocessable, and quarantined for another reason", |run| {
        run.unprocessable_where(|reason, found| found.is_some_and(|found| found != reason))
    }),
    invariant("P7", "in quarantine, and not expected there", Observed::unexpected_in_quarantine),
];

/// Every submission makes one batch or schedule at Rightfoot, however often it is repeated.
pub const SUBMISSIONS: &[Invariant] = &[
    invariant("P5", "submitted, and never answered", |run| {
        run.submissions_where(|it| it.successes().next().is_none())
    }),
    invariant("P5", "submitted again, and answered differently", |run| {
        run.submissions_where(|it| it.successes().collect::<BTreeSet<_>>().len() > 1)
    }),
    invariant("P5", "answered with other failed authorizers than Rightfoot's", |run| {
        run.submissions_where(|it| {
            it.successes().any(|(id, failed)| *failed != run.rightfoot.failed_authorizers(id))
        })
    }),
    invariant("P5", "at Rightfoot, and in no response: submitted twice", |run| {
        run.compared_submissions().missing()
    }),
    invariant("P5", "answered, and not at Rightfoot", |run| run.compared_submissions().unexpected()),
    invariant("P5", "in the responses to more than one submission", |run| {
        run.compared_submissions().repeated()
    }),
];

/// Every batch and run ends in one completion event, which is not recorded before the batch is complete.
pub const COMPLETIONS: &[Invariant] = &[
    invariant("P5", "a batch that did not end in exactly one completion event", |run| {
        run.compared_completions().names_where(|_, events| events.len() != 1)
    }),
    invariant("P5", "recorded as complete before it was", |run| {
        let record = |batch_id: &str| run.inbox.records.get(&completion_id(batch_id));
        run.batches_where(|it| {
            record(&it.batch_id).is_some_and(|record| record.received_at < it.completes_at)
        })
    }),
    invariant("P9", "its webhook was lost, and its completion did not come by poll", |run| {
        run.webhooks_where(|it| {
            it.is_lost
                && it.event_type == COMPLETED_TYPE
                && run.origin_of(&completion_id(&it.batch_id)) != Some(POLL_ORIGIN)
        })
    }),
    invariant("P1", "a webhook that was sent, and not answered 2xx in the end", |run| {
        run.webhooks_where(|it| !it.is_lost && !it.is_delivered)
    }),
];

/// Every expected alert is in one event, with Rightfoot's balance and the threshold of its schedule.
pub const ALERTS: &[Invariant] = &[
    invariant("P5", "an alert that is expected, and in no event", |run| run.compared_alerts().missing()),
    invariant("P5", "an alert that is on the queue, and not expected", |run| {
        run.compared_alerts().unexpected()
    }),
    invariant("P5", "an alert that is in more than one event", |run| {
        run.compared_alerts()
            .names_where(|_, alerts| count_different(alerts.iter().map(|it| it.event_id)) > 1)
    }),
    invariant("P5", "an alert with another balance or threshold than Rightfoot's", |run| {
        run.compared_alerts().names_where(|_, alerts| !alerts.iter().all(|it| run.has_expected_amounts(it)))
    }),
];

/// Everything at Rightfoot is tracked and has ended, and the poller fails only while faults are injected.
pub const TRACKING: &[Invariant] = &[
    invariant("P9", "at Rightfoot, and never tracked", |run| {
        run.expected_tracked().filter(|pk| !run.inbox.tracked.contains_key(pk)).collect()
    }),
    invariant("P9", "tracked, and still due", |run| {
        // A schedule may run again, so it stays due.
        let may_be_due = |pk: &str| pk.starts_with("rightfoot#schedule#");
        let tracked = run.inbox.tracked.iter();
        tracked.filter(|(pk, is_due)| **is_due && !may_be_due(pk)).map(|(pk, _)| pk.clone()).collect()
    }),
    invariant("P9", "a poller run that failed while no fault was injected", |run| {
        let runs = run.poller_runs.iter().enumerate().filter(|(_, it)| it.is_fault_free);
        runs.filter_map(|(n, it)| Some(format!("run {n} ({})", it.error.as_ref()?))).collect()
    }),
];

/// Every event is processed, or quarantined as unconfirmed if Rightfoot does not confirm its alerts.
pub const PROCESSING: &[Invariant] = &[
    invariant("P10", "recorded, and never fully processed", |run| {
        run.records_where(|_, it| !it.is_done && !it.is_quarantined)
    }),
    invariant("P10", "quarantined, although Rightfoot confirms it", |run| {
        let unconfirmed = run.unconfirmed_events();
        run.records_where(|id, it| it.is_quarantined && !unconfirmed.contains(id))
    }),
    invariant("P10", "done, although Rightfoot does not confirm it", |run| {
        let unconfirmed = run.unconfirmed_events();
        run.records_where(|id, it| it.is_done && unconfirmed.contains(id))
    }),
    invariant("P7", "quarantined, and not as unconfirmed", |run| {
        let unconfirmed = run.unconfirmed_events();
        run.records_where(|id, it| {
            it.is_quarantined && unconfirmed.contains(id) && !run.is_quarantined_as_unconfirmed(id)
        })
    }),
];

/// The stored balances are those of Rightfoot, row by row.
pub const BALANCES: &[Invariant] = &[
    invariant("P10", "a balance that Rightfoot shows, and that is not stored", |run| {
        run.compared_balances().missing()
    }),
    invariant("P4", "a balance that is stored, and that Rightfoot does not show", |run| {
        run.compared_balances().unexpected()
    }),
    invariant("P10", "stored more than once", |run| run.compared_balances().repeated()),
    invariant("P10", "stored with another balance or status than Rightfoot's", |run| {
        run.compared_balances().altered(|row, stored| effects::matches_stored(row, stored))
    }),
];

/// Every effect is on the bus, under one id, once.
pub const BUS: &[Invariant] = &[
    invariant("P10", "LOST: an effect that is expected, and not on the bus", |run| {
        run.compared_effects().missing()
    }),
    invariant("P4", "on the bus, and unexpected", |run| run.compared_effects().unexpected()),
    invariant("P10", "on the bus under several ids", |run| {
        run.compared_effects().names_where(|_, copies| count_different(copies.iter().map(|it| &*it.id)) > 1)
    }),
    invariant("P10", "on the bus more often than steps of unknown outcome explain", |run| {
        run.compared_effects().names_where(|_, copies| copies.len() > 1 + run.possible_bus_repeats(copies))
    }),
    invariant("P10", "on the bus with other contents than expected", |run| {
        run.compared_effects().altered(|effect, it| effects::matches_published(effect, it))
    }),
    invariant("P10", "on the bus with another origin than recorded", |run| {
        let differs =
            |it: &&PublishedEvent| run.origin_of(&it.event_id).is_some_and(|origin| origin != it.origin);
        run.compared_effects().names_where(|_, copies| copies.iter().any(differs))
    }),
];

fn count_different<'a>(ids: impl Iterator<Item = &'a str>) -> usize {
    ids.collect::<BTreeSet<_>>().len()
}

const fn invariant(
    promise: &'static str,
    violation: &'static str,
    find: fn(&Observed) -> Vec<String>,
) -> Invariant {
    Invariant { promise, violation, find }
}

/// All violations of these groups.
pub fn violations(run: &Observed, groups: &[&[Invariant]]) -> Vec<Violation> {
    let invariants = groups.iter().copied().flatten();
    let found = invariants.map(|it| Violation {
        promise: it.promise,
        description: it.violation,
        ids: (it.find)(run),
    });
    found.filter(|violation| !violation.ids.is_empty()).collect()
}

/// Panics with every violation of these groups: for tests.
#[expect(clippy::panic, reason = "an assertion")]
pub fn assert_hold(run: &Observed, groups: &[&[Invariant]]) {
    let found: Vec<_> = violations(run, groups).iter().map(|it| format!("{}: {it}", it.promise)).collect();
    if !found.is_empty() {
        panic!("violated:\n{}", found.join("\n"));
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 20;
        let shown = self.ids.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
        write!(f, "{}: {shown}", self.description)?;
        match self.ids.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}
