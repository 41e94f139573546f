//! A run without violations, and what the cases need to spoil it.

use super::*;
use crate::rightfoot_simulator::{
    ALERT_TYPE, COMPLETED_TYPE, LoggedRequest, SimulatedBalance, SimulatedBatch, SimulatedRun,
    SimulatedSchedule, SimulatedWebhook, SimulatorSnapshot, WebhookAttempt,
};
use crate::senders::payloads::{balance_extracted, threshold_alert, truncated};

/// The time at which every batch is complete and every event was recorded.
pub(crate) const READY_AT: UnixMillis = UnixMillis(90_000);

pub(super) const EVENT: &str = "fynapse/event/act-00";
pub(super) const FORGERY: &str = "fynapse/event/forged-00";
/// An alert event of a sender that knows the URL; Rightfoot confirms neither of its alerts.
pub(super) const FABRICATED: &str = "rightfoot/batch/fabricated/alert/u";

/// Id of the alert event of the first run, by its origin. The poller's digest is that of "b":
/// `printf '\0\0\0\0\0\0\0\1b' | sha256sum | cut -c -32`
pub(crate) fn alert_event(origin: &str) -> String {
    let by = if origin == "poll" { "poll-5c53585edd9ec296f5537f01ff9e47e2" } else { "u-alert" };
    format!("rightfoot/batch/run/alert/{by}")
}

/// A run without violations: an authentic event, a forgery, an unreadable delivery and a fabricated alert; a batch whose
/// webhook arrived, one whose webhook was lost, and two runs of a schedule. Of the first run, one alert webhook arrived
/// and another was lost.
pub(crate) fn good_run() -> Observed {
    let mut run = Observed {
        rightfoot: rightfoot(),
        thresholds: [("a", "100.50"), ("b", "2500"), ("c", "2500")]
            .map(|(authorizer, threshold)| (authorizer.to_owned(), threshold.to_owned()))
            .into(),
        poller_runs: vec![
            PollerRun { is_fault_free: true, error: None },
            PollerRun { is_fault_free: false, error: Some("AwsCallFailed: refused".to_owned()) },
        ],
        ..Observed::default()
    };
    add_deliveries(&mut run);
    for (id, origin, payload) in [
        (completion_id("delivered"), "webhook", completion("delivered", true)),
        (completion_id("found"), "poll", completion("found", false)),
        (completion_id("run"), "webhook", completion("run", true)),
        (completion_id("run-2"), "poll", completion("run-2", false)),
        (alert_event("webhook"), "webhook", alert(&[("a", "150.00", "100.50")])),
        (alert_event("poll"), "poll", alert(&[("b", "2500.00", "2500")])),
    ] {
        add_event(&mut run, &id, origin, &payload);
    }
    for (submission_id, responses) in [
        ("payroll-1", vec![SubmissionResponse::Crashed, success("delivered", &["invalid"])]),
        ("payroll-2", vec![success("found", &[]), success("found", &[])]),
        ("daily-schedule", vec![SubmissionResponse::Failed("AwsCallFailed"), success("s", &[])]),
    ] {
        run.submissions.push(SubmissionLog { submission_id: submission_id.to_owned(), responses });
    }
    for pk in run.expected_tracked().collect::<Vec<_>>() {
        let is_due = pk.contains("schedule#");
        run.inbox.tracked.insert(pk, is_due);
    }
    add_effects(&mut run);
    run
}

fn add_deliveries(run: &mut Observed) {
    let event = balance_extracted("act-00");
    add_event(run, EVENT, "webhook", &String::from_utf8_lossy(&event.body));
    let unreadable = truncated(&balance_extracted("act-01"));
    let fabricated = threshold_alert("fabricated", "u", 2);
    add_event(run, FABRICATED, "webhook", &String::from_utf8_lossy(&fabricated.body));
    let record = record("webhook");
    let quarantined = RecordSnapshot { is_done: false, is_quarantined: true, ..record };
    run.inbox.records.insert(FABRICATED.to_owned(), quarantined);
    for (provider, reason, body, event_id) in [
        ("fynapse", "unreadable", &unreadable.body, None),
        ("rightfoot", "unconfirmed", &fabricated.body, Some(FABRICATED)),
    ] {
        run.inbox.quarantined.push(QuarantineSnapshot {
            provider: provider.to_owned(),
            reason: reason.to_owned(),
            payload: Some(body.to_vec()),
            event_id: event_id.map(str::to_owned),
        });
    }
    let unprocessable = ExpectedOutcome::Quarantined { reason: "unreadable", status: 200 };
    for (provider, outgoing, expected, status) in [
        (Provider::Fynapse, event, ExpectedOutcome::Enqueued, 200),
        (Provider::Fynapse, balance_extracted("forged-00"), ExpectedOutcome::Rejected, 403),
        (Provider::Fynapse, unreadable, unprocessable, 200),
        (Provider::Rightfoot, fabricated, ExpectedOutcome::Enqueued, 200),
    ] {
        let end = if status == 200 { DeliveryEnd::Delivered } else { DeliveryEnd::GivenUp };
        run.deliveries.push(SentDelivery::expecting(provider, outgoing.id, outgoing.body, expected));
        answer(run, run.deliveries.len() - 1, &[status], end);
    }
}

/// Adds the effects of all events, with balances as DynamoDB writes numbers.
fn add_effects(run: &mut Observed) {
    for batch in run.rightfoot.submitted_batches() {
        run.balances.extend(batch.rows.iter().map(|row| StoredBalance {
            batch_id: batch.batch_id.clone(),
            authorizer: row.authorizer.clone(),
            balance: row.balance.as_ref().map(|balance| balance.trim_end_matches(".00").to_owned()),
            status_code: row.status_code.to_string(),
        }));
        let id = completion_id(&batch.batch_id);
        let detail = PublishedDetail::BatchCompleted {
            batch_id: batch.batch_id.clone(),
            expected: Some(3),
            found: 3,
            by_status_code: [("0".to_owned(), 3)].into(),
        };
        let origin = run.inbox.records[&id].origin.clone();
        run.bus_events.push(PublishedEvent { event_id: id.clone(), origin, id, detail });
    }
    for (origin, authorizer, balance, threshold) in
        [("webhook", "a", "150.00", "100.50"), ("poll", "b", "2500.00", "2500")]
    {
        run.bus_events.push(PublishedEvent {
            id: format!("rightfoot/batch/run/threshold-met/{authorizer}"),
            event_id: alert_event(origin),
            origin: origin.to_owned(),
            detail: threshold_met("run", authorizer, balance, threshold),
        });
    }
    let payload = run.messages[0].payload.clone();
    run.bus_events.push(PublishedEvent {
        id: EVENT.to_owned(),
        event_id: EVENT.to_owned(),
        origin: "webhook".to_owned(),
        detail: PublishedDetail::BalanceExtracted { data: payload.clone(), referenced: payload },
    });
}

pub(super) fn threshold_met(
    batch_id: &str,
    authorizer: &str,
    balance: &str,
    threshold: &str,
) -> PublishedDetail {
    PublishedDetail::ThresholdMet {
        batch_id: batch_id.to_owned(),
        authorizer: authorizer.to_owned(),
        balance: balance.to_owned(),
        threshold: threshold.to_owned(),
        confirmed: true,
    }
}

fn rightfoot() -> SimulatorSnapshot {
    let batch = |batch_id: &str, schedule_id: Option<&str>| SimulatedBatch {
        batch_id: batch_id.to_owned(),
        schedule_id: schedule_id.map(str::to_owned),
        is_submitted: true,
        authorizers: ["a", "b", "c"].map(str::to_owned).into(),
        failed_authorizers: Vec::new(),
        started_at: UnixMillis(0),
        completes_at: READY_AT,
        rows: vec![row("a", Some("150.00"), 0), row("b", Some("2500.00"), 0), row("c", None, 0)],
    };
    let run = |batch_id: &str| SimulatedRun { run_at: UnixMillis(0), batch_id: batch_id.to_owned() };
    SimulatorSnapshot {
        batches: vec![
            SimulatedBatch { failed_authorizers: vec!["invalid".to_owned()], ..batch("delivered", None) },
            batch("found", None),
            batch("run", Some("s")),
            batch("run-2", Some("s")),
            SimulatedBatch {
                is_submitted: false,
                rows: vec![row("user-0", Some("99.99"), 0), row("user-1", None, 3300)],
                ..batch("fabricated", None)
            },
        ],
        schedules: vec![SimulatedSchedule {
            schedule_id: "s".to_owned(),
            name: "Demo".to_owned(),
            runs: vec![run("run"), run("run-2")],
            next_run_at: None,
        }],
        webhooks: vec![
            webhook("delivered", COMPLETED_TYPE, "u", &completion("delivered", true), false),
            webhook("found", COMPLETED_TYPE, "u", &completion("found", true), true),
            webhook("run", COMPLETED_TYPE, "u", &completion("run", true), false),
            webhook("run-2", COMPLETED_TYPE, "u", &completion("run-2", true), true),
            webhook("run", ALERT_TYPE, "u-alert", &alert(&[("a", "150.00", "100.50")]), false),
            webhook("run", ALERT_TYPE, "u-lost", &alert(&[("b", "2500.00", "2500")]), true),
        ],
        expected_alerts: ["a", "b"].map(|authorizer| ("run".to_owned(), authorizer.to_owned())).into(),
        requests: vec![LoggedRequest {
            at: UnixMillis(30_000),
            method: "GET".to_owned(),
            path: "/v1/balances".to_owned(),
            query: "batchId=found&limit=100".to_owned(),
            status: Some(200),
        }],
    }
}

fn row(authorizer: &str, balance: Option<&str>, status_code: u32) -> SimulatedBalance {
    SimulatedBalance { authorizer: authorizer.to_owned(), balance: balance.map(str::to_owned), status_code }
}

fn webhook(
    batch_id: &str,
    event_type: &str,
    event_uuid: &str,
    body: &str,
    is_lost: bool,
) -> SimulatedWebhook {
    SimulatedWebhook {
        batch_id: batch_id.to_owned(),
        event_type: event_type.to_owned(),
        url: String::new(),
        event_uuids: vec![event_uuid.to_owned()],
        is_lost,
        attempts: vec![WebhookAttempt { at: READY_AT.plus(Duration::from_secs(420)), status: Some(200) }],
        is_delivered: !is_lost,
        body: body.to_owned(),
    }
}

/// Body of a completion: that of a webhook, or the one that the poller writes.
pub(super) fn completion(batch_id: &str, by_webhook: bool) -> String {
    let event_uuid = if by_webhook { r#""event_uuid":"u","# } else { "" };
    format!(r#"{{{event_uuid}"type":"{COMPLETED_TYPE}","batch_id":"{batch_id}"}}"#)
}

/// Body of an alert of the first run, of these authorizers with balance and threshold.
pub(super) fn alert(rows: &[(&str, &str, &str)]) -> String {
    let rows = rows.iter().map(|(authorizer, balance, threshold)| {
        format!(
            r#"{{"authorizer_unique_id":"{authorizer}","balance":{balance},"threshold_amount":{threshold}}}"#
        )
    });
    let rows = rows.collect::<Vec<_>>().join(",");
    format!(r#"{{"type":"{ALERT_TYPE}","batch_id":"run","alerts":[{rows}]}}"#)
}

pub(super) fn success(id: &str, failed_authorizers: &[&str]) -> SubmissionResponse {
    SubmissionResponse::Succeeded {
        id: id.to_owned(),
        failed_authorizers: failed_authorizers.iter().map(|id| (*id).to_owned()).collect(),
    }
}

pub(super) fn record(origin: &str) -> RecordSnapshot {
    RecordSnapshot {
        is_due: false,
        is_sent: true,
        is_done: true,
        is_quarantined: false,
        requeues: 0,
        origin: origin.to_owned(),
        received_at: READY_AT,
    }
}

/// Adds an event as recorded, enqueued and marked; replaces its messages.
pub(super) fn add_event(run: &mut Observed, id: &str, origin: &str, payload: &str) {
    run.messages.retain(|message| message.id != id);
    let payload = Some(payload.as_bytes().to_vec());
    run.messages.push(MessageSnapshot { id: id.to_owned(), origin: origin.to_owned(), payload });
    run.inbox.records.insert(id.to_owned(), record(origin));
    for operation in ["PutItem", "SendMessage", "UpdateItem"] {
        run.calls.push(call("fynapse-webhook", operation, id, CallOutcome::Answered(200)));
    }
}

pub(crate) fn remove_event(run: &mut Observed, id: &str) {
    run.messages.retain(|message| message.id != id);
    run.inbox.records.remove(id);
}

/// Has a delivery answered with these statuses.
pub(super) fn answer(run: &mut Observed, index: usize, statuses: &[u16], end: DeliveryEnd) {
    let attempt = |status: &u16| DeliveryAttempt {
        at: UnixMillis(0),
        response_time: Duration::ZERO,
        response: AttemptResponse::Http { status: *status, body: String::new(), retry_after_secs: None },
    };
    let delivery = &mut run.deliveries[index];
    let attempts = statuses.iter().map(attempt).collect();
    delivery.reports = vec![DeliveryReport { id: delivery.id.clone(), attempts, end }];
}

pub(crate) fn call(
    function: &'static str,
    operation: &str,
    event: &str,
    outcome: CallOutcome,
) -> (AwsCall, CallOutcome) {
    let call = AwsCall {
        index: 0,
        operation: operation.to_owned(),
        function: Some(function),
        permissions: Vec::new(),
        event_ids: vec![event.to_owned()],
    };
    (call, outcome)
}
