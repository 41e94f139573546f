//! The situations that a run of the demo must contain; otherwise it would show less than it claims.

use std::time::Duration;

use super::workers::WorkerEvidence;
use crate::connector::{CallOutcome, Fault};
use crate::invariants::{Observed, POLL_ORIGIN, Violation, WEBHOOK_ORIGIN, completion_id};
use crate::rightfoot_simulator::{ALERT_TYPE, COMPLETED_TYPE};

/// An alert webhook is late if it arrives this long after its run's completion. A poller without a grace period would
/// have found the alert before.
const LATE_WEBHOOK_DELAY: Duration = Duration::from_secs(3 * 60);

/// Faults that the functions other than the worker must meet.
pub(super) const PLANNED_FAULTS: [(&str, Fault); 10] = [
    ("SendMessage", Fault::ServerError),
    ("SendMessage", Fault::TimeoutAfter),
    ("PutItem", Fault::ServerError),
    ("PutItem", Fault::CrashAfter),
    ("SendMessage", Fault::CrashBefore),
    ("SendMessage", Fault::CrashAfter),
    ("UpdateItem", Fault::CrashBefore),
    ("SendMessageBatch", Fault::CrashAfter),
    ("TransactWriteItems", Fault::CrashBefore),
    ("TransactWriteItems", Fault::CrashAfter),
];
/// Faults that the workers must meet.
pub(super) const PLANNED_WORKER_FAULTS: [(&str, Fault); 10] = [
    ("UpdateItem", Fault::ServerError),
    ("UpdateItem", Fault::CrashAfter),
    ("UpdateItem", Fault::CrashBefore),
    ("BatchWriteItem", Fault::FirstUnprocessed),
    ("BatchWriteItem", Fault::CrashAfter),
    ("PutEvents", Fault::FirstEntryFailed),
    ("PutEvents", Fault::TimeoutAfter),
    ("PutEvents", Fault::MalformedResponse),
    ("PutEvents", Fault::CrashBefore),
    ("PutEvents", Fault::CrashAfter),
];

/// The planned faults and situations that did not occur, as violations.
pub(super) fn missed(run: &Observed, workers: &WorkerEvidence) -> Vec<Violation> {
    let missed = |description, ids: Vec<String>| Violation { promise: "", description, ids };
    let situations = situations(run, workers).into_iter().filter(|(_, occurred)| !occurred);
    let all = [
        missed("planned fault that never occurred", missed_faults(run, &PLANNED_FAULTS, false)),
        missed("planned worker fault that never occurred", missed_faults(run, &PLANNED_WORKER_FAULTS, true)),
        missed("planned, and never occurred", situations.map(|(what, _)| what.to_owned()).collect()),
    ];
    all.into_iter().filter(|violation| !violation.ids.is_empty()).collect()
}

fn missed_faults(run: &Observed, planned: &[(&str, Fault)], of_workers: bool) -> Vec<String> {
    let occurred = |operation: &str, fault: Fault| {
        run.calls.iter().any(|(call, outcome)| {
            (call.function == Some("event-worker")) == of_workers
                && call.operation == operation
                && *outcome == CallOutcome::Faulted(fault)
        })
    };
    let missed = planned.iter().filter(|(operation, fault)| !occurred(operation, *fault));
    missed.map(|(operation, fault)| format!("{operation} {fault:?}")).collect()
}

/// Each planned situation, and whether it occurred.
fn situations(run: &Observed, workers: &WorkerEvidence) -> [(&'static str, bool); 11] {
    let rightfoot = &run.rightfoot;
    let alerts = run.queued_alerts();
    let completion = |origin: &str| {
        let mut ids = rightfoot.submitted_batches().map(|batch| completion_id(&batch.batch_id));
        ids.any(|id| run.origin_of(&id) == Some(origin))
    };
    let alert = |origin: &str| alerts.iter().any(|alert| alert.origin == origin);
    let lost = |event_type: &str| rightfoot.webhooks_of(event_type).any(|webhook| webhook.is_lost);
    let early_poll = rightfoot.submitted_batches().any(|batch| {
        let batch_query = format!("batchId={}", batch.batch_id);
        let mut requests = rightfoot.requests.iter().filter(|request| request.at < batch.completes_at);
        requests.any(|request| request.query.contains(&batch_query))
    });
    let late_alert = rightfoot.webhooks_of(ALERT_TYPE).any(|webhook| {
        let record = run.inbox.records.get(&completion_id(&webhook.batch_id));
        let last = webhook.attempts.last().filter(|_| webhook.is_delivered);
        last.zip(record).is_some_and(|(last, record)| last.at.since(record.received_at) >= LATE_WEBHOOK_DELAY)
    });
    [
        ("a message to two workers at once", !workers.twice.is_empty()),
        ("a completion by webhook", completion(WEBHOOK_ORIGIN)),
        ("a completion by poll", completion(POLL_ORIGIN)),
        ("an alert by webhook", alert(WEBHOOK_ORIGIN)),
        ("an alert by poll", alert(POLL_ORIGIN)),
        ("a completion's webhook that was lost", lost(COMPLETED_TYPE)),
        ("an alert's webhook that was lost", lost(ALERT_TYPE)),
        ("an alert's webhook that came long after the completion", late_alert),
        ("a poll of a batch that was not complete", early_poll),
        ("a second run of a schedule", rightfoot.schedules.iter().any(|schedule| schedule.runs.len() > 1)),
        (
            "a failed authorizer",
            rightfoot.submitted_batches().any(|batch| !batch.failed_authorizers.is_empty()),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::tests::{READY_AT, alert_event, call, good_run, remove_event};

    type Spoil = fn(&mut Observed, &mut WorkerEvidence);

    /// A run in which every situation occurs.
    fn covered_run() -> (Observed, WorkerEvidence) {
        let mut run = good_run();
        let faults = PLANNED_FAULTS.map(|fault| ("rightfoot-webhook", fault));
        let of_workers = PLANNED_WORKER_FAULTS.map(|fault| ("event-worker", fault));
        for (function, (operation, fault)) in faults.into_iter().chain(of_workers) {
            run.calls.push(call(function, operation, "another", CallOutcome::Faulted(fault)));
        }
        (run, WorkerEvidence { twice: ["an event".to_owned()].into(), ..WorkerEvidence::default() })
    }

    #[test]
    fn a_situation_that_never_occurred_is_found() {
        const CASES: [(Spoil, &[&str]); 8] = [
            (|_, _| (), &[]),
            (
                |run, _| run.calls.retain(|(call, _)| call.operation != "SendMessageBatch"),
                &["planned fault that never occurred: SendMessageBatch CrashAfter"],
            ),
            (
                |run, _| run.calls.retain(|(call, _)| call.operation != "BatchWriteItem"),
                &[
                    "planned worker fault that never occurred: BatchWriteItem FirstUnprocessed, BatchWriteItem CrashAfter",
                ],
            ),
            (
                |_, workers| workers.twice.clear(),
                &["planned, and never occurred: a message to two workers at once"],
            ),
            (
                |run, _| run.rightfoot.requests.clear(),
                &["planned, and never occurred: a poll of a batch that was not complete"],
            ),
            (
                |run, _| run.rightfoot.requests[0].at = READY_AT,
                &["planned, and never occurred: a poll of a batch that was not complete"],
            ),
            (
                |run, _| drop(run.rightfoot.schedules[0].runs.pop()),
                &["planned, and never occurred: a second run of a schedule"],
            ),
            (
                |run, _| run.rightfoot.webhooks[4].attempts[0].at = READY_AT,
                &["planned, and never occurred: an alert's webhook that came long after the completion"],
            ),
        ];
        for (spoil, expected) in CASES {
            let (mut run, mut workers) = covered_run();
            spoil(&mut run, &mut workers);
            let found: Vec<_> = missed(&run, &workers).iter().map(ToString::to_string).collect();
            assert_eq!(found, expected);
        }
        let (mut run, workers) = covered_run();
        remove_event(&mut run, &alert_event("poll"));
        run.rightfoot.webhooks.pop();
        let found: Vec<_> = missed(&run, &workers).iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            ["planned, and never occurred: an alert by poll, an alert's webhook that was lost"]
        );
    }
}
