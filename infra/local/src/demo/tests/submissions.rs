//! The checks of what was submitted to Rightfoot.

use std::time::Duration;

use inbox_core::time::UnixMillis;

use super::{call, message, record, valid_evidence, violations_after};
use crate::connector::CallOutcome;
use crate::demo::invariants::Evidence;
use crate::demo::poller_runs::PollerRun;
use crate::demo::report::{DemoReport, OriginRow};
use crate::demo::simulated_rightfoot::{ALERT_TYPE, COMPLETED_TYPE};
use crate::demo::submissions::{SubmissionLog, SubmissionResponse};
use crate::rightfoot_simulator::{
    LoggedRequest, SimulatedBalance, SimulatedBatch, SimulatedRun, SimulatedSchedule, SimulatedWebhook,
    WebhookAttempt,
};

/// The time at which every batch is complete and every event was recorded.
pub(super) const READY_AT: UnixMillis = UnixMillis(90_000);

const WEBHOOK_COMPLETION: &str = "rightfoot/batch/delivered/completed";
const POLL_COMPLETION: &str = "rightfoot/batch/found/completed";
const WEBHOOK_ALERT: &str = "rightfoot/batch/run/alert/u-alert";
/// The digest is that of "b": printf '\0\0\0\0\0\0\0\1b' | sha256sum | cut -c -32
const POLL_ALERT: &str = "rightfoot/batch/run/alert/poll-5c53585edd9ec296f5537f01ff9e47e2";

/// Partition keys of the tracked items, without the provider, and true for those that are still due.
const TRACKED: [(&str, bool); 8] = [
    ("batch#delivered", false),
    ("batch#found", false),
    ("batch#run", false),
    ("batch#run-2", false),
    ("schedule#s", true),
    ("submission#payroll-1", false),
    ("submission#payroll-2", false),
    ("submission#daily-schedule", false),
];

/// Adds a batch whose webhook arrived, one whose webhook was lost, and two runs of a schedule. Of the first run, one
/// alert webhook arrived and another was lost.
pub(super) fn add(evidence: &mut Evidence) {
    let truth = &mut evidence.truth;
    truth.batches = vec![
        batch("delivered", None),
        batch("found", None),
        batch("run", Some("s")),
        batch("run-2", Some("s")),
    ];
    truth.batches[0].failed_authorizers.push("invalid".to_owned());
    let run = |batch_id: &str| SimulatedRun { run_at: UnixMillis(0), batch_id: batch_id.to_owned() };
    truth.schedules = vec![SimulatedSchedule {
        schedule_id: "s".to_owned(),
        name: "Demo".to_owned(),
        runs: vec![run("run"), run("run-2")],
        next_run_at: None,
    }];
    truth.expected_alerts = ["a", "b"].map(|authorizer| ("run".to_owned(), authorizer.to_owned())).into();
    truth.requests = vec![LoggedRequest {
        at: UnixMillis(30_000),
        method: "GET".to_owned(),
        path: "/v1/balances".to_owned(),
        query: "batchId=found&limit=100".to_owned(),
        status: Some(200),
    }];
    let completion = |batch_id: &str| {
        format!(r#"{{"event_uuid":"u","type":"BALANCE_BATCH_COMPLETED","batch_id":"{batch_id}"}}"#)
    };
    truth.webhooks = vec![
        webhook("delivered", COMPLETED_TYPE, "u", &completion("delivered"), false),
        webhook("found", COMPLETED_TYPE, "u", &completion("found"), true),
        webhook("run", COMPLETED_TYPE, "u", &completion("run"), false),
        webhook("run-2", COMPLETED_TYPE, "u", &completion("run-2"), true),
        webhook("run", ALERT_TYPE, "u-alert", &alert(&[("a", "150.00", "100.50")]), false),
        webhook("run", ALERT_TYPE, "u-lost", &alert(&[("b", "2500.00", "2500")]), true),
    ];
    let polled = |batch_id: &str| format!(r#"{{"type":"BALANCE_BATCH_COMPLETED","batch_id":"{batch_id}"}}"#);
    for (id, origin, payload) in [
        (WEBHOOK_COMPLETION, "webhook", completion("delivered")),
        (POLL_COMPLETION, "poll", polled("found")),
        ("rightfoot/batch/run/completed", "webhook", completion("run")),
        ("rightfoot/batch/run-2/completed", "poll", polled("run-2")),
        (WEBHOOK_ALERT, "webhook", alert(&[("a", "150.00", "100.50")])),
        (POLL_ALERT, "poll", alert(&[("b", "2500.00", "2500")])),
    ] {
        evidence.table.records.insert(id.to_owned(), record(origin));
        evidence.messages.push(message(id, origin, &payload));
        for operation in ["PutItem", "SendMessage", "UpdateItem"] {
            evidence.log.push(call(operation, id, CallOutcome::Answered(200)));
        }
    }
    evidence.thresholds =
        [("a".to_owned(), "100.50"), ("b".to_owned(), "2500"), ("c".to_owned(), "2500")].into();
    evidence.submissions = vec![
        submitted(
            "payroll-1",
            &[
                SubmissionResponse::Crashed,
                answer("delivered", &["invalid"]),
                answer("delivered", &["invalid"]),
            ],
        ),
        submitted("payroll-2", &[answer("found", &[])]),
        submitted("daily-schedule", &[SubmissionResponse::Failed("AwsCallFailed"), answer("s", &[])]),
    ];
    for (pk, due) in TRACKED {
        evidence.table.tracked.insert(format!("rightfoot#{pk}"), due);
    }
    let during_faults = PollerRun { is_fault_free: false, error: Some("AwsCallFailed: refused".to_owned()) };
    evidence.poller_runs = vec![PollerRun { is_fault_free: true, error: None }, during_faults];
}

fn batch(batch_id: &str, schedule_id: Option<&str>) -> SimulatedBatch {
    let rows = [("a", Some("150.00")), ("b", Some("2500.00")), ("c", None)];
    let row = |(authorizer, balance): (&str, Option<&str>)| SimulatedBalance {
        authorizer: authorizer.to_owned(),
        balance: balance.map(str::to_owned),
        status_code: 0,
    };
    SimulatedBatch {
        batch_id: batch_id.to_owned(),
        schedule_id: schedule_id.map(str::to_owned),
        authorizers: rows.map(|(authorizer, _)| authorizer.to_owned()).into(),
        failed_authorizers: Vec::new(),
        started_at: UnixMillis(0),
        completes_at: READY_AT,
        rows: rows.map(row).into(),
    }
}

fn webhook(batch_id: &str, event_type: &str, event_uuid: &str, body: &str, lost: bool) -> SimulatedWebhook {
    SimulatedWebhook {
        batch_id: batch_id.to_owned(),
        event_type: event_type.to_owned(),
        url: String::new(),
        event_uuids: vec![event_uuid.to_owned()],
        is_lost: lost,
        attempts: vec![WebhookAttempt { at: READY_AT.plus(Duration::from_secs(420)), status: Some(200) }],
        is_delivered: !lost,
        body: body.to_owned(),
    }
}

fn alert(rows: &[(&str, &str, &str)]) -> String {
    let rows: Vec<_> = rows
        .iter()
        .map(|(authorizer, balance, threshold)| {
            format!(r#"{{"authorizer_unique_id":"{authorizer}","balance":{balance},"threshold_amount":{threshold}}}"#)
        })
        .collect();
    format!(r#"{{"type":"BALANCE_THRESHOLD_ALERT","batch_id":"run","alerts":[{}]}}"#, rows.join(","))
}

fn submitted(submission_id: &str, responses: &[SubmissionResponse]) -> SubmissionLog {
    SubmissionLog { submission_id: submission_id.to_owned(), responses: responses.to_vec() }
}

fn answer(id: &str, failed_authorizers: &[&str]) -> SubmissionResponse {
    SubmissionResponse::Succeeded {
        id: id.to_owned(),
        failed_authorizers: failed_authorizers.iter().map(|id| (*id).to_owned()).collect(),
    }
}

/// Adds an event as recorded and enqueued; replaces its messages.
fn add_event(evidence: &mut Evidence, id: &str, origin: &str, payload: &str) {
    evidence.messages.retain(|message| message.id != id);
    evidence.messages.push(message(id, origin, payload));
    evidence.table.records.insert(id.to_owned(), record(origin));
}

fn remove_event(evidence: &mut Evidence, id: &str) {
    evidence.messages.retain(|message| message.id != id);
    evidence.table.records.remove(id);
}

#[test]
fn p5_a_completion_that_is_missing_is_found_and_one_too_many() {
    for (id, batch) in [(WEBHOOK_COMPLETION, "delivered"), (POLL_COMPLETION, "found")] {
        let missing = violations_after(|evidence| remove_event(evidence, id));
        assert!(
            missing.contains(&format!("a batch that did not end in exactly one completion event: {batch}")),
            "{missing:?}"
        );
        assert!(missing.contains(&format!("LOST: authentic, and not on the queue: {id}")));
    }
    let another = "rightfoot/batch/delivered/completed/again";
    let twice = violations_after(|evidence| {
        add_event(evidence, another, "poll", r#"{"type":"BALANCE_BATCH_COMPLETED","batch_id":"delivered"}"#)
    });
    assert_eq!(
        twice,
        [
            format!("on the queue, and not an authentic event: {another}"),
            format!("recorded, and not an authentic event: {another}"),
            "a batch that did not end in exactly one completion event: delivered".to_owned()
        ]
    );
}

#[test]
fn p5_a_completion_before_its_batch_is_complete_is_found() {
    let early = violations_after(|evidence| {
        let record = evidence.table.records.get_mut(POLL_COMPLETION).unwrap();
        record.received_at = READY_AT.minus(Duration::from_millis(1));
    });
    assert_eq!(early, ["recorded as complete before it was: found"]);
}

#[test]
fn a_completion_has_the_bytes_of_its_webhook_or_the_pollers_own() {
    let altered = |id: &'static str, origin: &'static str, payload: &'static str| {
        violations_after(move |evidence| {
            let at = evidence.messages.iter().position(|message| message.id == id).unwrap();
            evidence.messages[at] = message(id, origin, payload);
        })
    };
    let polled = r#"{"type":"BALANCE_BATCH_COMPLETED","batch_id":"delivered"}"#;
    assert_eq!(
        altered(WEBHOOK_COMPLETION, "webhook", polled),
        [format!("on the queue with other bytes than were sent: {WEBHOOK_COMPLETION}")]
    );
    let with_uuid = r#"{"event_uuid":"u","type":"BALANCE_BATCH_COMPLETED","batch_id":"found"}"#;
    assert_eq!(
        altered(POLL_COMPLETION, "poll", with_uuid),
        [format!("on the queue with other bytes than were sent: {POLL_COMPLETION}")]
    );
    let plain = r#"{"type":"BALANCE_BATCH_COMPLETED","batch_id":"found"}"#;
    assert_eq!(
        altered(POLL_COMPLETION, "webhook", plain),
        [format!("on the queue with another origin than recorded: {POLL_COMPLETION}")]
    );
}

#[test]
fn a_lost_webhook_cannot_have_arrived() {
    let came = violations_after(|evidence| {
        let body = evidence.truth.webhooks[1].body.clone();
        add_event(evidence, POLL_COMPLETION, "webhook", &body);
    });
    assert_eq!(
        came,
        [
            "its webhook was lost, and its completion did not come by poll: BALANCE_BATCH_COMPLETED of found",
            "on the bus with another origin than recorded: completion of found"
        ]
    );
    let undelivered = violations_after(|evidence| evidence.truth.webhooks[0].is_delivered = false);
    assert_eq!(
        undelivered,
        ["a webhook that was sent, and not answered 2xx in the end: BALANCE_BATCH_COMPLETED of delivered"]
    );
}

#[test]
fn p5_a_missing_alert_is_found() {
    for (id, authorizer) in [(WEBHOOK_ALERT, "a"), (POLL_ALERT, "b")] {
        let missing = violations_after(|evidence| remove_event(evidence, id));
        let expected = format!("an alert that is expected, and in no event: {authorizer} in run");
        assert!(missing.contains(&expected), "{missing:?}");
        assert!(missing.contains(&format!("LOST: authentic, and not on the queue: {id}")));
    }
}

#[test]
fn p5_a_repeated_or_unexpected_alert_is_found() {
    let both = [("a", "150.00", "100.50"), ("b", "2500.00", "2500")];
    let twice = violations_after(|evidence| add_event(evidence, POLL_ALERT, "poll", &alert(&both)));
    assert_eq!(twice, ["an alert that is in more than one event: a in run"]);
    let extra = violations_after(|evidence| {
        evidence.truth.expected_alerts.remove(&("run".to_owned(), "b".to_owned()));
    });
    let unexpected = "an alert that is on the queue, and not expected: b in run";
    assert_eq!(extra, [unexpected, "on the bus, and unexpected: alert of b in run"]);
    for rows in [[("b", "2500.01", "2500")], [("b", "2500.00", "100.50")], [("b", "2500", "2500")]] {
        let altered = violations_after(|evidence| add_event(evidence, POLL_ALERT, "poll", &alert(&rows)));
        assert_eq!(altered, ["an alert with another balance or threshold than Rightfoot's: b in run"]);
    }
}

#[test]
fn a_submission_that_was_done_twice_or_never_is_found() {
    let never = violations_after(|evidence| {
        evidence.submissions[1].responses =
            vec![SubmissionResponse::Crashed, SubmissionResponse::Failed("OutcomeUnknown")]
    });
    assert_eq!(
        never,
        [
            "submitted, and never answered: payroll-2",
            "at Rightfoot, and in no response: submitted twice: found"
        ]
    );
    let twice = violations_after(|evidence| {
        let again = SimulatedBatch { schedule_id: None, ..evidence.truth.batches.remove(3) };
        evidence.truth.batches.push(again);
    });
    assert_eq!(twice, ["at Rightfoot, and in no response: submitted twice: run-2"]);
    let differently =
        violations_after(|evidence| evidence.submissions[0].responses.push(answer("found", &[])));
    assert_eq!(differently, ["submitted again, and answered differently: payroll-1"]);
    let shared = violations_after(|evidence| {
        evidence.submissions[1].responses = vec![answer("delivered", &["invalid"])]
    });
    assert_eq!(
        shared,
        [
            "at Rightfoot, and in no response: submitted twice: found",
            "in the responses to more than one submission: delivered"
        ]
    );
    let absent = violations_after(|evidence| {
        evidence.submissions.push(submitted("daily-schedule", &[answer("nothing", &[])]))
    });
    assert_eq!(absent, ["answered, and not at Rightfoot: nothing"]);
    let failed =
        violations_after(|evidence| evidence.truth.batches[1].failed_authorizers.push("d".to_owned()));
    assert_eq!(failed, ["answered with other failed authorizers than Rightfoot's: payroll-2"]);
}

#[test]
fn p9_an_untracked_or_unfinished_item_is_found() {
    for (pk, what) in [
        ("rightfoot#batch#run", "batch"),
        ("rightfoot#schedule#s", "schedule"),
        ("rightfoot#submission#daily-schedule", "s"),
    ] {
        let untracked = violations_after(|evidence| evidence.table.tracked.retain(|key, _| key != pk));
        assert_eq!(untracked, [format!("at Rightfoot, and never tracked: {pk}")], "{what}");
    }
    for pk in ["rightfoot#batch#run", "rightfoot#submission#daily-schedule"] {
        let due = violations_after(|evidence| evidence.table.tracked.extend([(pk.to_owned(), true)]));
        assert_eq!(due, [format!("tracked, and still due: {pk}")]);
    }
    let failed = violations_after(|evidence| evidence.poller_runs[1].is_fault_free = true);
    assert_eq!(
        failed,
        ["a poller run that failed while no fault was injected: run 1 (AwsCallFailed: refused)"]
    );
}

#[test]
fn a_planned_situation_that_never_occurred_is_a_violation() {
    let planned = |what: &str| vec![format!("planned, and never occurred: {what}")];
    assert_eq!(
        violations_after(|evidence| evidence.truth.requests.clear()),
        planned("a poll of a batch that was not complete")
    );
    assert_eq!(
        violations_after(|evidence| evidence.truth.requests[0].at = READY_AT),
        planned("a poll of a batch that was not complete")
    );
    assert_eq!(
        violations_after(|evidence| drop(evidence.truth.schedules[0].runs.pop())),
        planned("a second run of a schedule")
    );
    assert_eq!(
        violations_after(|evidence| evidence.truth.webhooks[4].attempts[0].at = READY_AT),
        planned("an alert's webhook that came long after the completion")
    );
    let no_polled_alert = violations_after(|evidence| {
        remove_event(evidence, POLL_ALERT);
        evidence.truth.webhooks.pop();
        evidence.truth.expected_alerts.remove(&("run".to_owned(), "b".to_owned()));
        evidence
            .published
            .retain(|published| published.origin != "poll" || published.id.ends_with("/completed"));
    });
    assert_eq!(no_polled_alert, planned("an alert by poll, an alert's webhook that was lost"));
}

#[test]
fn completions_and_alerts_are_counted_by_origin() {
    let mut evidence = valid_evidence();
    evidence.messages.push(evidence.messages[1].clone());
    // It had been found before its webhook came.
    evidence.truth.webhooks[3] =
        SimulatedWebhook { is_lost: false, is_delivered: true, ..evidence.truth.webhooks[3].clone() };
    let report = DemoReport::from_evidence(&evidence, Duration::ZERO);
    let row = |kind, expected, by_webhook, events, repeated, webhooks, lost| OriginRow {
        kind,
        expected,
        by_webhook,
        by_poll: expected - by_webhook,
        events,
        repeated,
        webhooks,
        lost,
    };
    assert_eq!(report.submitted, [row("completions", 4, 2, 4, 1, 4, 1), row("alerts", 2, 1, 2, 0, 2, 1)]);
    assert_eq!((report.runs, report.late_webhooks), (2, 1));
    assert_eq!((report.submissions, report.submission_calls, report.submission_crashes), (3, 6, 1));
    assert_eq!(
        report.rows[0].recorded, 1,
        "submissions have a table of their own; the senders delivered an alert"
    );
}
