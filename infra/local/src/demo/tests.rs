//! The checks find each violation: every test spoils valid evidence in one way.

mod effects;
mod report;
mod submissions;

use std::sync::Arc;
use std::time::Duration;

use inbox_core::keys::Keys;
use inbox_core::time::UnixMillis;

use super::harness::PerformedDelivery;
use super::invariants::{Evidence, violations};
use super::report::{DemoReport, ProviderRow};
use super::simulated_rightfoot::GroundTruth;
use super::traffic::{ExpectedOutcome, PlannedDelivery, Traffic};
use super::workers::WorkerEvidence;
use crate::connector::{AwsCall, CallOutcome, Fault};
use crate::inspect::{InboxSnapshot, MessageSnapshot, QuarantineSnapshot, RecordSnapshot};
use crate::senders::{AttemptResponse, DeliveryAttempt, DeliveryEnd, DeliveryReport};

const EVENT: &str = "fynapse/event/act-00";

/// Evidence without violations: one authentic event, one forgery, one unreadable delivery, and what [`submissions::add`]
/// and [`effects::add`] add.
fn valid_evidence() -> Evidence {
    let traffic = traffic();
    let event = traffic.fynapse("act", 0..1).remove(0);
    let forgery = traffic.forgeries().remove(0);
    let unreadable = traffic.unprocessable("act").remove(0);
    let message = message(EVENT, "webhook", &String::from_utf8_lossy(&event.outgoing.body));
    let quarantined = QuarantineSnapshot {
        provider: "fynapse".to_owned(),
        reason: "unreadable".to_owned(),
        payload: Some(unreadable.outgoing.body.to_vec()),
        event_id: None,
    };
    let mut log = planned_faults();
    log.extend([
        call("PutItem", EVENT, CallOutcome::Answered(200)),
        call("SendMessage", EVENT, CallOutcome::Answered(200)),
        call("UpdateItem", EVENT, CallOutcome::Answered(200)),
    ]);
    let deliveries = [
        (event, 200, DeliveryEnd::Delivered),
        (forgery, 403, DeliveryEnd::GivenUp),
        (unreadable, 200, DeliveryEnd::Delivered),
    ];
    let mut evidence = Evidence {
        deliveries: deliveries
            .into_iter()
            .map(|(planned, status, end)| performed(planned, &[status], end))
            .collect(),
        submissions: Vec::new(),
        thresholds: [].into(),
        truth: GroundTruth::default(),
        poller_runs: Vec::new(),
        table: InboxSnapshot {
            records: [(EVENT.to_owned(), record("webhook"))].into(),
            tracked: [].into(),
            quarantined: vec![quarantined],
        },
        messages: vec![message],
        dead_letters: 0,
        log,
        stored_balances: Vec::new(),
        published: Vec::new(),
        workers: WorkerEvidence::default(),
        worker_log: Vec::new(),
    };
    submissions::add(&mut evidence);
    effects::add(&mut evidence);
    evidence
}

fn traffic() -> Traffic {
    Traffic { rightfoot_url: String::new(), forged_urls: Vec::new(), untrusted_key: Keys::default(), seed: 1 }
}

fn record(origin: &str) -> RecordSnapshot {
    let (origin, received_at) = (origin.to_owned(), submissions::READY_AT);
    RecordSnapshot {
        is_due: false,
        is_sent: true,
        is_done: true,
        is_quarantined: false,
        requeues: 0,
        origin,
        received_at,
    }
}

fn message(id: &str, origin: &str, payload: &str) -> MessageSnapshot {
    MessageSnapshot {
        id: id.to_owned(),
        origin: origin.to_owned(),
        payload: Some(payload.as_bytes().to_vec()),
    }
}

fn performed(planned: PlannedDelivery, statuses: &[u16], end: DeliveryEnd) -> PerformedDelivery {
    let delivered = DeliveryReport { id: planned.outgoing.id.clone(), attempts: attempts(statuses), end };
    PerformedDelivery { planned: Arc::new(planned), reports: vec![delivered] }
}

fn attempts(statuses: &[u16]) -> Vec<DeliveryAttempt> {
    let response = |status| AttemptResponse::Http { status, body: String::new(), retry_after_secs: None };
    let attempt = |status| DeliveryAttempt {
        at: UnixMillis(0),
        response_time: Duration::ZERO,
        response: response(status),
    };
    statuses.iter().copied().map(attempt).collect()
}

/// The faults that must occur in every run of the demo.
fn planned_faults() -> Vec<(AwsCall, CallOutcome)> {
    [
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
    ]
    .map(|(operation, fault)| call(operation, "another", CallOutcome::Faulted(fault)))
    .into()
}

fn call(operation: &str, event: &str, outcome: CallOutcome) -> (AwsCall, CallOutcome) {
    (
        AwsCall {
            index: 0,
            operation: operation.to_owned(),
            permissions: Vec::new(),
            event_ids: vec![event.to_owned()],
        },
        outcome,
    )
}

fn violations_after(spoil: impl Fn(&mut Evidence)) -> Vec<String> {
    let mut evidence = valid_evidence();
    spoil(&mut evidence);
    violations(&evidence).iter().map(ToString::to_string).collect()
}

fn set_responses(evidence: &mut Evidence, index: usize, statuses: &[u16], end: DeliveryEnd) {
    let planned = PlannedDelivery::clone(&evidence.deliveries[index].planned);
    evidence.deliveries[index] = performed(planned, statuses, end);
}

#[test]
fn valid_evidence_has_no_violations() {
    assert_eq!(violations_after(|_| ()), Vec::<String>::new());
}

#[test]
fn p2_a_lost_event_is_found() {
    let lost = violations_after(|evidence| drop(evidence.messages.remove(0)));
    assert_eq!(lost, [format!("LOST: authentic, and not on the queue: {EVENT}")]);
    let due = violations_after(|evidence| {
        let due = RecordSnapshot { is_due: true, is_sent: false, is_done: false, ..record("webhook") };
        evidence.table.records.insert(EVENT.to_owned(), due);
    });
    let unprocessed = format!("recorded, and never fully processed: {EVENT}");
    assert_eq!(due, [format!("recorded, and still due: {EVENT}"), unprocessed]);
    let unrecorded = violations_after(|evidence| drop(evidence.table.records.remove(EVENT)));
    assert_eq!(unrecorded, [format!("authentic, and not recorded: {EVENT}")]);
    let dead = violations_after(|evidence| evidence.dead_letters = 1);
    assert_eq!(dead, ["on the dead-letter queue: message 0"]);
}

#[test]
fn p3_a_repeated_message_needs_a_call_of_unknown_outcome() {
    let twice = |calls: &[(&str, CallOutcome)]| {
        violations_after(|evidence| {
            evidence.messages.push(evidence.messages[0].clone());
            evidence
                .log
                .extend(calls.iter().map(|(operation, outcome)| call(operation, EVENT, outcome.clone())));
        })
    };
    let unexplained = "on the queue more often than steps of unknown outcome explain";
    assert_eq!(twice(&[]), [format!("{unexplained}: {EVENT} (2 times)")]);
    let relay = ("SendMessageBatch", CallOutcome::Answered(200));
    let update = ("UpdateItem", CallOutcome::Answered(200));
    let condition_failed = ("UpdateItem", CallOutcome::Answered(400));
    for not_explained in [
        vec![update.clone(), relay.clone(), update.clone()],
        vec![("SendMessage", CallOutcome::Faulted(Fault::Throttled))],
        vec![("PutItem", CallOutcome::Faulted(Fault::TimeoutAfter))],
        // The mark of a duplicate that is sent again also fails its condition.
        vec![("SendMessage", CallOutcome::Answered(200)), condition_failed.clone()],
    ] {
        assert_eq!(twice(&not_explained), [format!("{unexplained}: {EVENT} (2 times)")], "{not_explained:?}");
    }
    for explained in [
        vec![("SendMessage", CallOutcome::Faulted(Fault::TimeoutAfter))],
        vec![("UpdateItem", CallOutcome::Pending)],
        vec![update.clone(), relay.clone(), condition_failed],
        vec![update.clone(), relay.clone(), ("UpdateItem", CallOutcome::Faulted(Fault::Throttled))],
        vec![update, relay],
    ] {
        assert_eq!(twice(&explained), Vec::<String>::new(), "{explained:?}");
    }
    let thrice = violations_after(|evidence| {
        evidence.messages.extend([evidence.messages[0].clone(), evidence.messages[0].clone()]);
        evidence.log.push(call("UpdateItem", EVENT, CallOutcome::Pending));
    });
    assert_eq!(thrice, [format!("{unexplained}: {EVENT} (3 times)")], "one unknown step, two repeats");
}

#[test]
fn p4_what_is_forged_or_altered_is_found() {
    let accepted = violations_after(|evidence| set_responses(evidence, 1, &[200], DeliveryEnd::Delivered));
    assert_eq!(
        accepted,
        [
            "forged, and not answered 403 in the end: fynapse/event/forged-00",
            "forged, and accepted: fynapse/event/forged-00"
        ]
    );
    let foreign = violations_after(|evidence| {
        let id = "fynapse/event/forged-00".to_owned();
        evidence.table.records.insert(id.clone(), record("webhook"));
        evidence.messages.push(MessageSnapshot { payload: None, ..message(&id, "webhook", "") });
    });
    assert_eq!(
        foreign,
        [
            "on the queue, and not an authentic event: fynapse/event/forged-00",
            "recorded, and not an authentic event: fynapse/event/forged-00"
        ]
    );
    for payload in [None, Some(b"{}".to_vec())] {
        let altered = violations_after(|evidence| evidence.messages[0].payload.clone_from(&payload));
        assert_eq!(altered, [format!("on the queue with other bytes than were sent: {EVENT}")]);
    }
}

#[test]
fn p6_a_permanent_failure_response_is_found() {
    for (index, id) in [(0, EVENT), (1, "fynapse/event/forged-00")] {
        for status in [400, 401, 402, 405, 406, 410, 413] {
            let failed = violations_after(|evidence| {
                set_responses(evidence, index, &[503, status], DeliveryEnd::PermanentFailure(status))
            });
            assert!(
                failed.contains(&format!("permanently failed at Fynapse by its response: {id}")),
                "{status}: {failed:?}"
            );
        }
    }
    let with_retry_after = violations_after(|evidence| {
        let answer = AttemptResponse::Http { status: 200, body: String::new(), retry_after_secs: Some(1) };
        evidence.deliveries[0].reports[0].attempts[0].response = answer;
    });
    assert_eq!(with_retry_after, [format!("answered with a Retry-After: {EVENT}")]);
    let unfinished = violations_after(|evidence| evidence.deliveries[0].reports.clear());
    assert_eq!(unfinished, [format!("still being delivered when the demo gave up waiting: {EVENT}")]);
    let exhausted = violations_after(|evidence| set_responses(evidence, 0, &[503], DeliveryEnd::Exhausted));
    assert_eq!(exhausted, [format!("authentic, and not answered 2xx in the end: {EVENT}")]);
}

#[test]
fn p7_quarantine_holds_what_belongs_there_and_nothing_else() {
    let id = "broken/fynapse/event/act-unprocessable-0";
    let missing = violations_after(|evidence| drop(evidence.table.quarantined.remove(0)));
    assert_eq!(missing, [format!("unprocessable, and not quarantined byte for byte: {id}")]);
    let reason = violations_after(|evidence| evidence.table.quarantined[0].reason = "stale".to_owned());
    assert_eq!(reason, [format!("unprocessable, and quarantined for another reason: {id}")]);
    let altered = violations_after(|evidence| evidence.table.quarantined[0].payload = Some(b"{".to_vec()));
    assert_eq!(
        altered,
        [
            format!("unprocessable, and not quarantined byte for byte: {id}"),
            "in quarantine, and not expected there: fynapse (unreadable)".to_owned()
        ]
    );
    let unanswered = violations_after(|evidence| set_responses(evidence, 2, &[503], DeliveryEnd::GivenUp));
    assert_eq!(unanswered, [format!("unprocessable, and not answered with the expected status: {id}")]);
}

#[test]
fn an_event_that_once_arrived_stale_may_also_be_in_quarantine() {
    let late = |statuses: &'static [u16]| {
        violations_after(move |evidence| {
            set_responses(evidence, 0, statuses, DeliveryEnd::Delivered);
            let payload = Some(evidence.deliveries[0].planned.outgoing.body.to_vec());
            let (provider, reason) = ("fynapse".to_owned(), "stale".to_owned());
            evidence.table.quarantined.push(QuarantineSnapshot { provider, reason, payload, event_id: None });
        })
    };
    assert_eq!(late(&[403, 200]), Vec::<String>::new());
    assert_eq!(late(&[200]).len(), 1);
}

#[test]
fn a_planned_fault_that_never_occurred_is_a_violation() {
    let calm =
        violations_after(|evidence| evidence.log.retain(|(call, _)| call.operation != "SendMessageBatch"));
    assert_eq!(calm, ["planned fault that never occurred: SendMessageBatch CrashAfter"]);
}

#[test]
fn report_rows_are_counted_from_the_evidence() {
    let mut evidence = valid_evidence();
    evidence.messages.push(evidence.messages[0].clone());
    evidence.log.push(call("SendMessageBatch", EVENT, CallOutcome::Answered(200)));
    evidence.log.push(call(
        "SendMessageBatch",
        "rightfoot/batch/later/completed",
        CallOutcome::Answered(200),
    ));
    set_responses(&mut evidence, 0, &[503, 200, 200], DeliveryEnd::Delivered);
    evidence.deliveries[0].reports[0].attempts[0].response =
        AttemptResponse::TransportError("reset".to_owned());
    // The first attempt was recorded and its response lost, so no response says `received`.
    for (delivery, attempt, status) in [(0, 1, "duplicate"), (0, 2, "duplicate"), (2, 0, "quarantined")] {
        let body = format!(r#"{{"status":"{status}"}}"#);
        let answer = AttemptResponse::Http { status: 200, body, retry_after_secs: None };
        evidence.deliveries[delivery].reports[0].attempts[attempt].response = answer;
    }
    let report = DemoReport::from_evidence(&evidence, Duration::ZERO);
    let fynapse = ProviderRow {
        provider: "fynapse",
        sent: 5,
        received: 0,
        duplicate: 2,
        answered_quarantined: 1,
        rejected: 1,
        inconclusive: 1,
        recorded: 1,
        quarantined: 1,
        queued: 1,
        relayed: 1,
        repeated: 1,
    };
    assert_eq!(report.rows[1], fynapse);
    assert_eq!(report.rows[0].relayed, 0, "of a run that is not checked");
    assert_eq!((report.failed_calls, report.forgeries, report.inconclusive), (20, 1, 1));
    assert!(evidence.expected_events().all(|planned| planned.expected == ExpectedOutcome::Enqueued));
}
