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
    let promise_row = |promise, words, owed, repeated| PromiseRow {
        promise,
        words,
        owed_and_there: Some((owed, owed)),
        repeated,
    };
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
        promises: vec![
            promise_row("P1", "events, recorded before they are answered", 284, None),
            promise_row("P2", "events on the queue", 284, None),
            PromiseRow {
                owed_and_there: None,
                ..promise_row("P3", "messages, repeated only where explained", 0, Some(6))
            },
            promise_row("P4", "forgeries, rejected", 40, None),
            PromiseRow {
                owed_and_there: None,
                ..promise_row("P8", "no secret in a log: shown by the tests", 0, None)
            },
            promise_row("P10", "events on the bus", 604, Some(95)),
            promise_row("P10", "balances in their table", 5_006, Some(0)),
        ],
        violations: Vec::new(),
        duration: Duration::from_millis(48_300),
    }
}

/// The printed report, without its colours.
fn plain(report: &DemoReport) -> String {
    anstream::adapter::strip_str(&report.to_string()).to_string()
}

#[test]
fn the_report_marks_each_promise_and_the_numbers_of_its_verdict_are_in_the_table() {
    let mut report = report();
    let head = "
364 AWS calls failed or crashed, 7 submissions and 5 workers crashed, 26 of 42
webhooks were lost, and 204 requests got 5xx or no answer, and were sent again.

                                                       owed   there  repeated
";
    let kept = "✓  P1   events, recorded before they are answered       284     284
✓  P2   events on the queue                             284     284
✓  P3   messages, repeated only where explained                             6
✓  P4   forgeries, rejected                              40      40
–  P8   no secret in a log: shown by the tests
✓  P10  events on the bus                               604     604        95
        balances in their table                        5006    5006         0

owed      what was sent, and the simulated Rightfoot, say must exist
there     as much of it as the run has left
repeated  further copies under the same id, each after an unknown outcome

Passed in 48 s: all 284 events are recorded and on the queue, 604 are on the
bus, 5006 balances are stored, 40 forgeries were rejected, and each of the 101
repeats has the id of its first copy.
";
    assert_eq!(plain(&report), format!("{head}{kept}"));
    assert!(report.is_success());
    report.promises[6].owed_and_there = Some((5_006, 5_005));
    let ids = (0..22).map(|n| format!("e{n}")).collect();
    report.violations = vec![
        Violation { promise: "P2", description: "LOST", ids },
        Violation {
            promise: "",
            description: "planned, and never occurred",
            ids: vec!["a crash".to_owned()],
        },
    ];
    let shown = plain(&report);
    assert!(!report.is_success());
    let marked = |mark: char| -> Vec<&str> {
        shown.lines().filter_map(|line| line.strip_prefix(mark)).map(|line| line[2..7].trim()).collect()
    };
    assert_eq!(marked('✓'), ["P1", "P3", "P4"]);
    assert_eq!(marked('✗'), ["P2", "P10", ""], "{shown}");
    assert!(shown.contains("\nFAILED after 48 s. Violations:\n  P2 LOST: e0, e1, "), "{shown}");
    assert!(shown.ends_with(", e19 and 2 more\n  planned, and never occurred: a crash\n"), "{shown}");
}

#[test]
fn every_promise_that_the_demo_can_show_has_a_row() {
    let report = DemoReport::new(&good_run(), &WorkerEvidence::default(), Duration::ZERO);
    let rows: Vec<_> =
        report.promises.iter().map(|row| (row.promise, row.owed_and_there, row.repeated)).collect();
    let all = |count| Some((count, count));
    assert_eq!(
        rows,
        [
            ("P1", all(8), None),
            ("P2", all(8), None),
            ("P3", None, Some(0)),
            ("P4", all(1), None),
            ("P5", all(4), None),
            ("P5", all(2), None),
            ("P6", all(3), None),
            ("P7", all(2), None),
            ("P8", None, None),
            ("P9", all(4), None),
            ("P10", all(7), Some(0)),
            ("P10", all(12), Some(0)),
        ]
    );
}

#[test]
fn the_details_are_four_tables_under_their_titles() {
    let details = "Deliveries of the simulated senders: requests by response.
               sent  received  duplicate  quarantined  rejected  5xx or no answer
rightfoot       381       119         45            9         6               202
fynapse        1748       119         45            9         6              1569

Their records in the inbox, and their messages on the queue.
             recorded  quarantined  queued  relayed  repeated
rightfoot         123            7     123        8         2
fynapse           123            7     123        8         2

Batches and schedule runs submitted to Rightfoot: their completions and alerts, by
origin. One event carries all alerts of a webhook or poll.
             expected  by webhook  by poll  events  repeated  webhooks    lost
completions        27          17       10      27         1        21      13
alerts             60          23       37      11         1        21      13

Effects: events on the bus, and rows in the balances table.
             expected  present  repeated
completed          90       90         0
threshold         273      273        48
extracted         241      241        47
balances         5006     5006         0

25 submissions took 137 calls. 2 webhooks arrived after the poller had found
the completion. 280 events were delivered to two workers at once, and events
were requeued 147 times. Rightfoot's API did not confirm 5 alert events.

";
    assert_eq!(report().details().to_string(), details);
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
