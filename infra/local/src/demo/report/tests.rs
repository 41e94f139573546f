//! The counts and the printed report.

use super::*;
use crate::connector::Fault;
use crate::invariants::tests::{alert_event, call, good_run};

/// A report with plausible counts.
fn report() -> DemoReport {
    let row = |provider, sent| ProviderRow {
        provider,
        sent,
        received: 119,
        duplicate: 45,
        answered_quarantined: 9,
        rejected: 6,
        inconclusive: sent - 179,
        recorded: 123,
        quarantined: 7,
        queued: 123,
        relayed: 8,
        repeated: 2,
    };
    let origin_row = |kind, expected, by_poll, events| OriginRow {
        kind,
        expected,
        by_webhook: expected - by_poll,
        by_poll,
        events,
        repeated: 1,
        webhooks: 21,
        lost: 13,
    };
    let effect_row = |kind, expected, repeated| EffectRow { kind, expected, present: expected, repeated };
    DemoReport {
        rows: vec![row("rightfoot", 381), row("fynapse", 1_748)],
        submitted: vec![origin_row("completions", 27, 10, 27), origin_row("alerts", 60, 37, 11)],
        effects: vec![
            effect_row("completed", 90, 0),
            effect_row("threshold", 273, 48),
            effect_row("extracted", 241, 47),
            effect_row("balances", 5_006, 0),
        ],
        runs: 3,
        late_webhooks: 2,
        submissions: 25,
        submission_calls: 137,
        submission_crashes: 7,
        twice: 280,
        worker_crashes: 5,
        requeued: 147,
        unconfirmed: 5,
        inconclusive: 204,
        failed_calls: 364,
        forgeries: 40,
        violations: Vec::new(),
        duration: Duration::from_millis(48_300),
    }
}

#[test]
fn the_report_is_four_tables_under_their_titles_and_four_lines() {
    let mut report = report();
    let table = "Deliveries of the simulated senders: requests by response.
               sent  received  duplicate  quarantined  rejected  5xx or no answer
rightfoot       381       119         45            9         6               202
fynapse        1748       119         45            9         6              1569

Their records in the inbox, and their messages on the queue.
             recorded  quarantined  queued  relayed  repeated
rightfoot         123            7     123        8         2
fynapse           123            7     123        8         2

Batches and schedule runs submitted to Rightfoot: expected completions and alerts, by origin. One event carries all alerts of a webhook or poll.
             expected  by webhook  by poll  events  repeated  webhooks    lost
completions        27          17       10      27         1        21      13
alerts             60          23       37      11         1        21      13

Effects: events on the bus, and rows in the balances table.
             expected  present  repeated
completed          90       90         0
threshold         273      273        48
extracted         241      241        47
balances         5006     5006         0

364 AWS calls failed or crashed; 204 requests were answered 5xx or not at all, and were retried.
25 submissions took 137 calls, of which 7 crashed; webhooks that arrived after the poller had found the completion: 2.
280 events were delivered to two workers at once; workers crashed 5 times and requeued events 147 times; 5 alert events were not confirmed by Rightfoot's API.
";
    let summary = "Passed in 48 s: all 284 authentic events are on the queue, byte for byte; 6 messages were \
                   repeated, each where an outcome was unknown or a worker had requeued the event; 24 batches \
                   and 3 runs of a schedule ended in one completion each, and each of 60 expected alerts is in \
                   exactly one event, although 26 of 42 webhooks were lost; 604 events are on the bus and 5006 \
                   balances in their table, each once, except 95 repeated under the same id where an outcome \
                   was unknown; none of 40 forged deliveries was recorded, and no fabricated alert is on the \
                   bus; 9 unprocessable deliveries are quarantined; no delivery ended in a permanent failure.\n";
    assert_eq!(report.to_string(), format!("{table}{summary}"));
    assert!(report.is_success());
    let ids = (0..22).map(|n| format!("e{n}")).collect();
    report.violations = vec![Violation { promise: "P2", description: "LOST", ids }];
    let shown = report.to_string();
    assert!(!report.is_success() && shown.starts_with(table));
    assert!(shown.contains("FAILED after 48 s. Violations:\n  LOST: e0, e1, "), "{shown}");
    assert!(shown.ends_with(", e19 and 2 more\n"), "{shown}");
}

#[test]
fn provider_rows_are_counted_from_requests_records_and_messages() {
    let mut run = good_run();
    run.messages.push(run.messages[0].clone());
    let event = run.deliveries[0].id.clone();
    for id in [event.as_str(), "rightfoot/batch/later/completed"] {
        run.calls.push(call("event-relay", "SendMessageBatch", id, CallOutcome::Answered(200)));
    }
    for outcome in [CallOutcome::Faulted(Fault::Throttled), CallOutcome::AppliedLate(200)] {
        run.calls.push(call("event-worker", "UpdateItem", &event, outcome));
    }
    let http = |status: u16, body: &str| AttemptResponse::Http {
        status,
        body: format!(r#"{{"status":"{body}"}}"#),
        retry_after_secs: None,
    };
    // The first attempt was recorded and its response lost, so no response says `received`.
    let first = &mut run.deliveries[0].reports[0].attempts;
    first.extend([first[0].clone(), first[0].clone()]);
    first[0].response = AttemptResponse::TransportError("reset".to_owned());
    first[1].response = http(200, "duplicate");
    first[2].response = http(200, "duplicate");
    run.deliveries[2].reports[0].attempts[0].response = http(200, "quarantined");
    let report = DemoReport::new(&run, &WorkerEvidence::default(), Duration::ZERO);
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
    assert_eq!(
        report.rows[0].recorded, 1,
        "what was submitted has rows of its own; a sender delivered an alert"
    );
    assert_eq!((report.failed_calls, report.forgeries, report.inconclusive), (2, 1, 1));
}

#[test]
fn completions_and_alerts_are_counted_by_origin() {
    let mut run = good_run();
    let completion = run.messages.iter().find(|message| message.id.ends_with("/completed")).unwrap().clone();
    run.messages.push(completion);
    // It had been found before its webhook came.
    (run.rightfoot.webhooks[3].is_lost, run.rightfoot.webhooks[3].is_delivered) = (false, true);
    let report = DemoReport::new(&run, &WorkerEvidence::default(), Duration::ZERO);
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
}

#[test]
fn effects_are_counted_by_kind() {
    let mut run = good_run();
    let alert = run.bus_events.iter().find(|event| event.event_id == alert_event("webhook")).unwrap().clone();
    run.bus_events.push(alert);
    let event = run.deliveries[0].id.clone();
    run.bus_events.retain(|published| published.event_id != event);
    run.balances.pop();
    run.inbox.records.values_mut().next().unwrap().requeues = 2;
    let twice = [event].into();
    let workers = WorkerEvidence { crashes: 1, twice, ..WorkerEvidence::default() };
    let report = DemoReport::new(&run, &workers, Duration::ZERO);
    let of = |kind, expected, present, repeated| EffectRow { kind, expected, present, repeated };
    assert_eq!(
        report.effects,
        [
            of("completed", 4, 4, 0),
            of("threshold", 2, 2, 1),
            of("extracted", 1, 0, 0),
            of("balances", 12, 11, 0)
        ]
    );
    assert_eq!((report.twice, report.worker_crashes, report.requeued, report.unconfirmed), (1, 1, 2, 1));
}
