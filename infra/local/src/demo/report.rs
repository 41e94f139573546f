//! The demo's report: its counts, and the violations.

use std::collections::BTreeSet;
use std::time::Duration;

use inbox_core::delivery::Provider;

use super::coverage;
use super::workers::WorkerEvidence;
use crate::connector::CallOutcome;
use crate::inspect::PublishedDetail;
use crate::invariants::{
    self, ExpectedEffect, ExpectedOutcome, Observed, POLL_ORIGIN, SentDelivery, SubmissionResponse,
    Violation, WEBHOOK_ORIGIN, completion_id,
};
use crate::rightfoot_simulator::{ALERT_TYPE, COMPLETED_TYPE};
use crate::senders::{AttemptResponse, DeliveryAttempt};

mod tables;
mod verdict;

pub use tables::ReportDetails;
pub use verdict::PromiseRow;

/// The demo's result. Its `Display` prints the promises with their counts, and the verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DemoReport {
    /// One row for each provider: the deliveries of its senders.
    pub rows: Vec<ProviderRow>,
    /// Events about what was submitted to Rightfoot: one row for the completions, one for the alerts.
    pub submitted: Vec<OriginRow>,
    /// Effects of the events, one row for each kind.
    pub effects: Vec<EffectRow>,
    /// Checked runs of schedules. The completions row counts these and the batches that were submitted one by one.
    pub runs: usize,
    /// Completion webhooks that arrived after the poller had recorded the completion.
    pub late_webhooks: usize,
    /// Submissions, each with a submission id of its own.
    pub submissions: usize,
    /// Function calls that these submissions took.
    pub submission_calls: usize,
    /// Calls among these in which the function crashed.
    pub submission_crashes: usize,
    /// Events whose message was delivered to two workers at once.
    pub twice: usize,
    /// Worker crashes.
    pub worker_crashes: usize,
    /// Times that a worker requeued an event.
    pub requeued: usize,
    /// Alert events that Rightfoot's API did not confirm; they are quarantined.
    pub unconfirmed: usize,
    /// HTTP requests that were answered 5xx or not at all, and were retried.
    pub inconclusive: usize,
    /// AWS calls that failed, timed out or ended in a crash.
    pub failed_calls: usize,
    /// Different forged deliveries.
    pub forgeries: usize,
    /// The promises, and how far they were kept.
    pub promises: Vec<PromiseRow>,
    /// Violated promises; empty if the demo passed.
    pub violations: Vec<Violation>,
    /// Real time that the demo took.
    pub duration: Duration,
}

/// Counts of one provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderRow {
    /// The provider's name.
    pub provider: &'static str,
    /// HTTP requests that its senders made: the sum of the next five counts.
    pub sent: usize,
    /// Responses with the status `received`.
    pub received: usize,
    /// Responses with the status `duplicate`.
    pub duplicate: usize,
    /// Responses with the status `quarantined`, and 400s: verified, unprocessable, and quarantined.
    pub answered_quarantined: usize,
    /// 403 responses.
    pub rejected: usize,
    /// 5xx responses, and requests without a response.
    pub inconclusive: usize,
    /// Event records in the table.
    pub recorded: usize,
    /// Quarantined deliveries in the table.
    pub quarantined: usize,
    /// Different events received from the queue.
    pub queued: usize,
    /// Different events that the relay sent.
    pub relayed: usize,
    /// Messages received beyond the first of their event.
    pub repeated: usize,
}

/// Counts of one kind of event about what was submitted to Rightfoot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginRow {
    /// `completions` or `alerts`.
    pub kind: &'static str,
    /// Expected number: of batches and runs, or of authorizers that met their threshold in a run.
    pub expected: usize,
    /// Those of them in events that came by webhook.
    pub by_webhook: usize,
    /// Those of them in events that the poller found.
    pub by_poll: usize,
    /// Different events received from the queue.
    pub events: usize,
    /// Messages received beyond the first of their event.
    pub repeated: usize,
    /// Webhooks of the simulated Rightfoot, sent and lost.
    pub webhooks: usize,
    /// Webhooks that were lost: never attempted.
    pub lost: usize,
}

/// Counts of one kind of effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectRow {
    /// `completed`, `threshold` or `extracted` on the bus; `balances` in the table.
    pub kind: &'static str,
    /// Expected number.
    pub expected: usize,
    /// Number of different ones that are present.
    pub present: usize,
    /// Copies beyond the first of each.
    pub repeated: usize,
}

/// The kind of effect that is not an event on the bus.
const BALANCES_KIND: &str = "balances";

impl DemoReport {
    pub(super) fn new(run: &Observed, workers: &WorkerEvidence, duration: Duration) -> Self {
        let failed = |outcome: &CallOutcome| {
            matches!(outcome, CallOutcome::Faulted(_) | CallOutcome::Delayed | CallOutcome::AppliedLate(_))
        };
        let is_inconclusive = |attempt: &&DeliveryAttempt| !attempt.response.is_conclusive();
        let responses = || run.submissions.iter().flat_map(|submitted| &submitted.responses);
        let runs = run.rightfoot.submitted_batches().filter(|batch| batch.schedule_id.is_some());
        let late_webhooks = run.rightfoot.webhooks_of(COMPLETED_TYPE).filter(|webhook| {
            webhook.is_delivered && run.origin_of(&completion_id(&webhook.batch_id)) == Some(POLL_ORIGIN)
        });
        Self {
            rows: Provider::ALL.iter().map(|&provider| ProviderRow::from_run(provider, run)).collect(),
            submitted: vec![OriginRow::completions(run), OriginRow::alerts(run)],
            effects: EffectRow::all(run),
            runs: runs.count(),
            late_webhooks: late_webhooks.count(),
            submissions: run.submissions.len(),
            submission_calls: responses().count(),
            submission_crashes: responses()
                .filter(|response| **response == SubmissionResponse::Crashed)
                .count(),
            twice: workers.twice.len(),
            worker_crashes: workers.crashes,
            requeued: run.inbox.records.values().map(|record| record.requeues).sum(),
            unconfirmed: run.inbox.records.values().filter(|record| record.is_quarantined).count(),
            inconclusive: all_attempts(run, None).filter(is_inconclusive).count(),
            failed_calls: run.calls.iter().filter(|(_, outcome)| failed(outcome)).count(),
            forgeries: run.deliveries.iter().filter(|it| it.expected == ExpectedOutcome::Rejected).count(),
            promises: PromiseRow::all(run),
            violations: [invariants::violations(run, invariants::ALL), coverage::missed(run, workers)]
                .concat(),
            duration,
        }
    }

    /// Returns `true` if no promise was violated.
    pub fn is_success(&self) -> bool {
        self.violations.is_empty()
    }

    /// What was sent and answered, recorded, found and published, in four tables.
    pub fn details(&self) -> ReportDetails<'_> {
        ReportDetails(self)
    }
}

impl ProviderRow {
    fn from_run(provider: Provider, run: &Observed) -> Self {
        let name = provider.as_str();
        let is_of_provider =
            |id: &str| id.split('/').next() == Some(name) && !run.concerns_submitted_batch(id);
        let answers = |is_counted: &dyn Fn(&AttemptResponse) -> bool| {
            all_attempts(run, Some(provider)).filter(|attempt| is_counted(&attempt.response)).count()
        };
        let copies: Vec<usize> = run
            .message_counts()
            .into_iter()
            .filter(|(id, _)| is_of_provider(id))
            .map(|(_, copies)| copies)
            .collect();
        let relayed: BTreeSet<&String> = run
            .calls
            .iter()
            .filter(|(call, outcome)| call.operation == "SendMessageBatch" && may_have_been_applied(outcome))
            .flat_map(|(call, _)| &call.event_ids)
            // The log also has runs that began too late to be checked; their records are left out of the run.
            .filter(|id| is_of_provider(id) && run.inbox.records.contains_key(*id))
            .collect();
        Self {
            provider: name,
            sent: all_attempts(run, Some(provider)).count(),
            received: answers(&|response| has_status(response, "received")),
            duplicate: answers(&|response| has_status(response, "duplicate")),
            answered_quarantined: answers(&|response| {
                has_status(response, "quarantined") || response.status() == Some(400)
            }),
            rejected: answers(&|response| response.status() == Some(403)),
            inconclusive: answers(&|response| !response.is_conclusive()),
            recorded: run.inbox.records.keys().filter(|id| is_of_provider(id)).count(),
            quarantined: run
                .inbox
                .quarantined
                .iter()
                .filter(|quarantined| quarantined.provider == name)
                .count(),
            queued: copies.len(),
            relayed: relayed.len(),
            repeated: copies.iter().map(|copies| copies - 1).sum(),
        }
    }

    fn answer_cells(&self) -> [usize; 6] {
        [
            self.sent,
            self.received,
            self.duplicate,
            self.answered_quarantined,
            self.rejected,
            self.inconclusive,
        ]
    }

    fn record_cells(&self) -> [usize; 5] {
        [self.recorded, self.quarantined, self.queued, self.relayed, self.repeated]
    }
}

impl OriginRow {
    fn completions(run: &Observed) -> Self {
        let ids: Vec<_> =
            run.rightfoot.submitted_batches().map(|batch| completion_id(&batch.batch_id)).collect();
        let by = |origin| ids.iter().filter(|id| run.origin_of(id) == Some(origin)).count();
        let (by_webhook, by_poll) = (by(WEBHOOK_ORIGIN), by(POLL_ORIGIN));
        Self {
            expected: ids.len(),
            by_webhook,
            by_poll,
            ..Self::from_messages("completions", COMPLETED_TYPE, "/completed", run)
        }
    }

    fn alerts(run: &Observed) -> Self {
        let queued = run.queued_alerts();
        let by = |origin| queued.iter().filter(|alert| alert.origin == origin).count();
        let (expected, by_webhook, by_poll) =
            (run.rightfoot.expected_alerts.len(), by(WEBHOOK_ORIGIN), by(POLL_ORIGIN));
        Self { expected, by_webhook, by_poll, ..Self::from_messages("alerts", ALERT_TYPE, "/alert/", run) }
    }

    /// Counts messages and webhooks; `expected` and the origins stay 0. The ids of the events contain `id_part`.
    fn from_messages(kind: &'static str, event_type: &str, id_part: &str, run: &Observed) -> Self {
        let message_counts = run.message_counts();
        let copies: Vec<_> = message_counts
            .iter()
            .filter(|(id, _)| id.contains(id_part) && run.concerns_submitted_batch(id))
            .collect();
        Self {
            kind,
            expected: 0,
            by_webhook: 0,
            by_poll: 0,
            events: copies.len(),
            repeated: copies.iter().map(|(_, copies)| **copies - 1).sum(),
            webhooks: run.rightfoot.webhooks_of(event_type).count(),
            lost: run.rightfoot.webhooks_of(event_type).filter(|webhook| webhook.is_lost).count(),
        }
    }

    fn cells(&self) -> [usize; 7] {
        [self.expected, self.by_webhook, self.by_poll, self.events, self.repeated, self.webhooks, self.lost]
    }
}

impl EffectRow {
    fn all(run: &Observed) -> Vec<Self> {
        let effects: Vec<_> = run.expected_effects().into_values().collect();
        let expected =
            |is_one: fn(&ExpectedEffect<'_>) -> bool| effects.iter().filter(|it| is_one(it)).count();
        let on_bus = |kind, expected, is_one: fn(&PublishedDetail) -> bool| {
            let ids = run.bus_events.iter().filter(|published| is_one(&published.detail)).map(|it| &it.id);
            let present = ids.clone().collect::<BTreeSet<_>>().len();
            Self { kind, expected, present, repeated: ids.count() - present }
        };
        let rows: BTreeSet<_> = run.balances.iter().map(|it| (&it.batch_id, &it.authorizer)).collect();
        let shown_rows = |effect: &ExpectedEffect<'_>| match effect {
            ExpectedEffect::Completed(batch) => batch.rows.len(),
            ExpectedEffect::ThresholdMet { .. } | ExpectedEffect::Extracted(_) => 0,
        };
        vec![
            on_bus("completed", expected(|it| matches!(it, ExpectedEffect::Completed(_))), |it| {
                matches!(it, PublishedDetail::BatchCompleted { .. })
            }),
            on_bus("threshold", expected(|it| matches!(it, ExpectedEffect::ThresholdMet { .. })), |it| {
                matches!(it, PublishedDetail::ThresholdMet { .. })
            }),
            on_bus("extracted", expected(|it| matches!(it, ExpectedEffect::Extracted(_))), |it| {
                matches!(it, PublishedDetail::BalanceExtracted { .. })
            }),
            Self {
                kind: BALANCES_KIND,
                expected: effects.iter().map(shown_rows).sum(),
                present: rows.len(),
                repeated: run.balances.len() - rows.len(),
            },
        ]
    }

    fn cells(&self) -> [usize; 3] {
        [self.expected, self.present, self.repeated]
    }
}

/// The requests that the senders of one provider made; of all providers for `None`.
fn all_attempts(run: &Observed, of: Option<Provider>) -> impl Iterator<Item = &DeliveryAttempt> {
    let of_provider = move |sent: &&SentDelivery| of.is_none_or(|provider| sent.provider == provider);
    run.deliveries.iter().filter(of_provider).flat_map(SentDelivery::attempts)
}

fn has_status(response: &AttemptResponse, status: &str) -> bool {
    matches!(response, AttemptResponse::Http { status: 200, body, .. } if *body == format!(r#"{{"status":"{status}"}}"#))
}

fn may_have_been_applied(outcome: &CallOutcome) -> bool {
    use crate::connector::Fault::{CrashAfter, MalformedResponse, TimeoutAfter};
    matches!(
        outcome,
        CallOutcome::Pending
            | CallOutcome::Answered(200)
            | CallOutcome::Delayed
            | CallOutcome::AppliedLate(200)
            | CallOutcome::Faulted(CrashAfter | MalformedResponse | TimeoutAfter)
    )
}

#[cfg(test)]
mod tests;
