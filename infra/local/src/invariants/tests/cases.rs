//! One thing of a good run is spoiled in each case; exactly the listed violations must be found.

use super::good_run::{
    EVENT, FABRICATED, FORGERY, add_event, alert, alert_event, answer, completion, record, remove_event,
    success, threshold_met,
};
use super::*;

pub(super) type Case = (fn(&mut Observed), &'static [&'static str]);

pub(super) const ALL: &[&[Case]] =
    &[DELIVERIES, QUEUE, QUARANTINE, SUBMISSIONS, COMPLETIONS, ALERTS, TRACKING, PROCESSING, BALANCES, BUS];

const DELIVERED: &str = "rightfoot/batch/delivered/completed";
const FOUND: &str = "rightfoot/batch/found/completed";
/// Indices of bus events in a good run.
const BUS_COMPLETION: usize = 0;
const BUS_ALERT: usize = 4;
const BUS_EXTRACTED: usize = 6;
/// Index of the balance of "a" in the batch "found".
const FOUND_A: usize = 3;

const DELIVERIES: &[Case] = &[
    (
        |run| run.deliveries[0].reports.clear(),
        &["still being delivered when the run ended: fynapse/event/act-00"],
    ),
    (
        |run| answer(run, 0, &[503], DeliveryEnd::Exhausted),
        &["authentic, and not answered 2xx in the end: fynapse/event/act-00"],
    ),
    (
        |run| answer(run, 0, &[410, 200], DeliveryEnd::Delivered),
        &["permanently failed at Fynapse by its response: fynapse/event/act-00"],
    ),
    (
        |run| {
            run.deliveries[0].reports[0].attempts[0].response =
                AttemptResponse::Http { status: 200, body: String::new(), retry_after_secs: Some(1) }
        },
        &["answered with a Retry-After: fynapse/event/act-00"],
    ),
    (
        |run| answer(run, 1, &[200], DeliveryEnd::Delivered),
        &[
            "forged, and not answered 403 in the end: fynapse/event/forged-00",
            "forged, and accepted: fynapse/event/forged-00",
        ],
    ),
    (
        |run| answer(run, 2, &[503], DeliveryEnd::GivenUp),
        &["unprocessable, and not answered with the expected status: broken/fynapse/event/act-01"],
    ),
];

const QUEUE: &[Case] = &[
    (|run| drop(run.messages.remove(0)), &["LOST: authentic, and not on the queue: fynapse/event/act-00"]),
    (
        |run| run.messages[0].payload = None,
        &["on the queue with other bytes than were sent: fynapse/event/act-00"],
    ),
    (
        |run| run.messages[0].payload = Some(b"{}".to_vec()),
        &["on the queue with other bytes than were sent: fynapse/event/act-00"],
    ),
    (
        |run| {
            run.inbox.records.insert(FORGERY.to_owned(), record("webhook"));
            run.messages.push(MessageSnapshot { id: FORGERY.to_owned(), ..run.messages[0].clone() });
        },
        &[
            "on the queue, and not an authentic event: fynapse/event/forged-00",
            "recorded, and not an authentic event: fynapse/event/forged-00",
        ],
    ),
    (
        |run| message(run, FOUND).origin = "webhook".to_owned(),
        &["on the queue with another origin than recorded: rightfoot/batch/found/completed"],
    ),
    (
        |run| run.messages.push(run.messages[0].clone()),
        &["on the queue more often than steps of unknown outcome explain: fynapse/event/act-00 (2 times)"],
    ),
    (
        // One unknown step, two repeats.
        |run| {
            run.messages.extend([run.messages[0].clone(), run.messages[0].clone()]);
            run.calls.push(call("event-relay", "UpdateItem", EVENT, CallOutcome::Pending));
        },
        &["on the queue more often than steps of unknown outcome explain: fynapse/event/act-00 (3 times)"],
    ),
    (
        // Each requeue sends the event once more.
        |run| {
            run.messages.push(run.messages[0].clone());
            event_record(run, EVENT).requeues = 1;
        },
        &[],
    ),
    (|run| run.dead_letters = 1, &["on the dead-letter queue: message 0"]),
    (|run| drop(run.inbox.records.remove(EVENT)), &["authentic, and not recorded: fynapse/event/act-00"]),
    (
        |run| {
            let unsent = RecordSnapshot { is_due: true, is_sent: false, is_done: false, ..record("webhook") };
            run.inbox.records.insert(EVENT.to_owned(), unsent);
        },
        &[
            "recorded, and still due: fynapse/event/act-00",
            "recorded, and never fully processed: fynapse/event/act-00",
        ],
    ),
];

const QUARANTINE: &[Case] = &[
    (
        |run| drop(run.inbox.quarantined.remove(0)),
        &["unprocessable, and not quarantined byte for byte: broken/fynapse/event/act-01"],
    ),
    (
        |run| run.inbox.quarantined[0].reason = "stale".to_owned(),
        &["unprocessable, and quarantined for another reason: broken/fynapse/event/act-01"],
    ),
    (
        |run| run.inbox.quarantined[0].payload = Some(b"{".to_vec()),
        &[
            "unprocessable, and not quarantined byte for byte: broken/fynapse/event/act-01",
            "in quarantine, and not expected there: fynapse (unreadable)",
        ],
    ),
    (
        // An event that once arrived stale may be in quarantine as well.
        |run| {
            quarantine_as_stale(run);
            answer(run, 0, &[403, 200], DeliveryEnd::Delivered);
        },
        &[],
    ),
    (quarantine_as_stale, &["in quarantine, and not expected there: fynapse (stale)"]),
];

const SUBMISSIONS: &[Case] = &[
    (
        |run| {
            run.submissions[1].responses =
                vec![SubmissionResponse::Crashed, SubmissionResponse::Failed("OutcomeUnknown")]
        },
        &[
            "submitted, and never answered: payroll-2",
            "at Rightfoot, and in no response: submitted twice: found",
        ],
    ),
    (
        |run| run.rightfoot.batches[3].schedule_id = None,
        &["at Rightfoot, and in no response: submitted twice: run-2"],
    ),
    (
        |run| run.submissions[0].responses.push(success("found", &[])),
        &["submitted again, and answered differently: payroll-1"],
    ),
    (
        |run| run.submissions[1].responses = vec![success("delivered", &["invalid"])],
        &[
            "at Rightfoot, and in no response: submitted twice: found",
            "in the responses to more than one submission: delivered",
        ],
    ),
    (
        |run| {
            let responses = vec![success("nothing", &[])];
            run.submissions.push(SubmissionLog { responses, ..run.submissions[2].clone() });
        },
        &["answered, and not at Rightfoot: nothing"],
    ),
    (
        |run| run.rightfoot.batches[1].failed_authorizers.push("d".to_owned()),
        &["answered with other failed authorizers than Rightfoot's: payroll-2"],
    ),
];

const COMPLETIONS: &[Case] = &[
    (
        |run| remove_event(run, DELIVERED),
        &[
            "LOST: authentic, and not on the queue: rightfoot/batch/delivered/completed",
            "authentic, and not recorded: rightfoot/batch/delivered/completed",
            "a batch that did not end in exactly one completion event: delivered",
        ],
    ),
    (
        |run| remove_event(run, FOUND),
        &[
            "LOST: authentic, and not on the queue: rightfoot/batch/found/completed",
            "authentic, and not recorded: rightfoot/batch/found/completed",
            "a batch that did not end in exactly one completion event: found",
            "its webhook was lost, and its completion did not come by poll: BALANCE_BATCH_COMPLETED of found",
        ],
    ),
    (
        |run| add_event(run, &format!("{DELIVERED}/again"), "poll", &completion("delivered", false)),
        &[
            "on the queue, and not an authentic event: rightfoot/batch/delivered/completed/again",
            "recorded, and not an authentic event: rightfoot/batch/delivered/completed/again",
            "a batch that did not end in exactly one completion event: delivered",
        ],
    ),
    (
        |run| event_record(run, FOUND).received_at = READY_AT.minus(Duration::from_millis(1)),
        &["recorded as complete before it was: found"],
    ),
    (
        |run| message(run, DELIVERED).payload = Some(completion("delivered", false).into()),
        &["on the queue with other bytes than were sent: rightfoot/batch/delivered/completed"],
    ),
    (
        |run| message(run, FOUND).payload = Some(completion("found", true).into()),
        &["on the queue with other bytes than were sent: rightfoot/batch/found/completed"],
    ),
    (
        // A lost webhook cannot have arrived.
        |run| add_event(run, FOUND, "webhook", &completion("found", true)),
        &[
            "its webhook was lost, and its completion did not come by poll: BALANCE_BATCH_COMPLETED of found",
            "on the bus with another origin than recorded: completion of found",
        ],
    ),
    (
        |run| run.rightfoot.webhooks[0].is_delivered = false,
        &["a webhook that was sent, and not answered 2xx in the end: BALANCE_BATCH_COMPLETED of delivered"],
    ),
];

const ALERTS: &[Case] = &[
    (
        |run| remove_event(run, &alert_event("webhook")),
        &[
            "LOST: authentic, and not on the queue: rightfoot/batch/run/alert/u-alert",
            "authentic, and not recorded: rightfoot/batch/run/alert/u-alert",
            "an alert that is expected, and in no event: a in run",
        ],
    ),
    (
        |run| remove_event(run, &alert_event("poll")),
        &[
            "LOST: authentic, and not on the queue: rightfoot/batch/run/alert/poll-5c53585edd9ec296f5537f01ff9e47e2",
            "authentic, and not recorded: rightfoot/batch/run/alert/poll-5c53585edd9ec296f5537f01ff9e47e2",
            "an alert that is expected, and in no event: b in run",
        ],
    ),
    (
        |run| polled_alert(run, &[("a", "150.00", "100.50"), ("b", "2500.00", "2500")]),
        &["an alert that is in more than one event: a in run"],
    ),
    (
        |run| drop(run.rightfoot.expected_alerts.pop_last()),
        &[
            "an alert that is on the queue, and not expected: b in run",
            "on the bus, and unexpected: alert of b in run",
        ],
    ),
    (
        |run| polled_alert(run, &[("b", "2500.01", "2500")]),
        &["an alert with another balance or threshold than Rightfoot's: b in run"],
    ),
    (
        |run| polled_alert(run, &[("b", "2500.00", "100.50")]),
        &["an alert with another balance or threshold than Rightfoot's: b in run"],
    ),
    (
        |run| polled_alert(run, &[("b", "2500", "2500")]),
        &["an alert with another balance or threshold than Rightfoot's: b in run"],
    ),
];

const TRACKING: &[Case] = &[
    (|run| untrack(run, "rightfoot#batch#run"), &["at Rightfoot, and never tracked: rightfoot#batch#run"]),
    (|run| untrack(run, "rightfoot#schedule#s"), &["at Rightfoot, and never tracked: rightfoot#schedule#s"]),
    (
        |run| untrack(run, "rightfoot#submission#daily-schedule"),
        &["at Rightfoot, and never tracked: rightfoot#submission#daily-schedule"],
    ),
    (|run| make_due(run, "rightfoot#batch#run"), &["tracked, and still due: rightfoot#batch#run"]),
    (
        |run| make_due(run, "rightfoot#submission#daily-schedule"),
        &["tracked, and still due: rightfoot#submission#daily-schedule"],
    ),
    (
        |run| run.poller_runs[1].is_fault_free = true,
        &["a poller run that failed while no fault was injected: run 1 (AwsCallFailed: refused)"],
    ),
];

const PROCESSING: &[Case] = &[
    (
        |run| event_record(run, DELIVERED).is_done = false,
        &["recorded, and never fully processed: rightfoot/batch/delivered/completed"],
    ),
    (
        |run| {
            let record = event_record(run, DELIVERED);
            (record.is_done, record.is_quarantined) = (false, true);
        },
        &["quarantined, although Rightfoot confirms it: rightfoot/batch/delivered/completed"],
    ),
    (
        |run| {
            let record = event_record(run, FABRICATED);
            (record.is_done, record.is_quarantined) = (true, false);
        },
        &["done, although Rightfoot does not confirm it: rightfoot/batch/fabricated/alert/u"],
    ),
    (
        |run| run.inbox.quarantined[1].reason = "unreadable".to_owned(),
        &["quarantined, and not as unconfirmed: rightfoot/batch/fabricated/alert/u"],
    ),
    (
        |run| run.inbox.quarantined[1].event_id = Some(DELIVERED.to_owned()),
        &[
            "in quarantine, and not expected there: rightfoot (unconfirmed)",
            "quarantined, and not as unconfirmed: rightfoot/batch/fabricated/alert/u",
        ],
    ),
];

const BALANCES: &[Case] = &[
    (
        |run| drop(run.balances.remove(FOUND_A)),
        &["a balance that Rightfoot shows, and that is not stored: a in found"],
    ),
    (|run| run.balances.push(run.balances[FOUND_A].clone()), &["stored more than once: a in found"]),
    (
        |run| add_balance(run, "found", "d"),
        &["a balance that is stored, and that Rightfoot does not show: d in found"],
    ),
    (
        |run| add_balance(run, "fabricated", "user-0"),
        &["a balance that is stored, and that Rightfoot does not show: user-0 in fabricated"],
    ),
    (
        |run| run.balances[FOUND_A].balance = Some("150.01".to_owned()),
        &["stored with another balance or status than Rightfoot's: a in found"],
    ),
    (
        |run| run.balances[FOUND_A].balance = None,
        &["stored with another balance or status than Rightfoot's: a in found"],
    ),
    (
        |run| run.balances[FOUND_A].balance = Some(String::new()),
        &["stored with another balance or status than Rightfoot's: a in found"],
    ),
    (
        |run| run.balances[FOUND_A].status_code = "3300".to_owned(),
        &["stored with another balance or status than Rightfoot's: a in found"],
    ),
    (
        // Null is no 0.
        |run| run.balances[FOUND_A + 2].balance = Some("0".to_owned()),
        &["stored with another balance or status than Rightfoot's: c in found"],
    ),
];

const BUS: &[Case] = &[
    (
        |run| drop(run.bus_events.remove(BUS_COMPLETION)),
        &["LOST: an effect that is expected, and not on the bus: completion of delivered"],
    ),
    (
        |run| drop(run.bus_events.remove(BUS_ALERT)),
        &["LOST: an effect that is expected, and not on the bus: alert of a in run"],
    ),
    (
        |run| drop(run.bus_events.remove(BUS_EXTRACTED)),
        &["LOST: an effect that is expected, and not on the bus: fynapse/event/act-00"],
    ),
    (
        |run| publish(run, threshold_met("fabricated", "user-0", "99.99", "100.00")),
        &["on the bus, and unexpected: alert of user-0 in fabricated"],
    ),
    (
        |run| publish(run, PublishedDetail::BalanceExtracted { data: None, referenced: None }),
        &["on the bus, and unexpected: rightfoot/batch/fabricated/alert/u"],
    ),
    (
        |run| publish(run, PublishedDetail::Other("BalanceSeen".to_owned())),
        &["on the bus, and unexpected: BalanceSeen"],
    ),
    (
        // A repeat comes under the same id.
        |run| {
            let copy = PublishedEvent { id: "another".to_owned(), ..run.bus_events[BUS_ALERT].clone() };
            run.bus_events.push(copy);
            run.calls.push(call("event-worker", "PutEvents", &alert_event("webhook"), CallOutcome::Pending));
        },
        &["on the bus under several ids: alert of a in run"],
    ),
    (
        |run| repeat(run, BUS_COMPLETION),
        &["on the bus more often than steps of unknown outcome explain: completion of delivered"],
    ),
    (
        |run| repeat(run, BUS_ALERT),
        &["on the bus more often than steps of unknown outcome explain: alert of a in run"],
    ),
    (
        |run| repeat(run, BUS_EXTRACTED),
        &["on the bus more often than steps of unknown outcome explain: fynapse/event/act-00"],
    ),
    (
        |run| {
            repeat(run, BUS_ALERT);
            run.interruptions.insert(alert_event("webhook"), 1);
        },
        &[],
    ),
    (
        |run| {
            repeat(run, BUS_ALERT);
            run.interruptions.insert(DELIVERED.to_owned(), 1);
        },
        &["on the bus more often than steps of unknown outcome explain: alert of a in run"],
    ),
    (
        |run| alter_completion(run, Some(4), 3, "0"),
        &["on the bus with other contents than expected: completion of delivered"],
    ),
    (
        |run| alter_completion(run, Some(3), 2, "0"),
        &["on the bus with other contents than expected: completion of delivered"],
    ),
    (
        |run| alter_completion(run, Some(3), 3, "3300"),
        &["on the bus with other contents than expected: completion of delivered"],
    ),
    (
        |run| run.bus_events[BUS_ALERT].detail = threshold_met("run", "a", "150.01", "100.50"),
        &["on the bus with other contents than expected: alert of a in run"],
    ),
    (
        |run| run.bus_events[BUS_ALERT].detail = threshold_met("run", "a", "150.00", "100.51"),
        &["on the bus with other contents than expected: alert of a in run"],
    ),
    (
        |run| {
            if let PublishedDetail::ThresholdMet { confirmed, .. } = &mut run.bus_events[BUS_ALERT].detail {
                *confirmed = false;
            }
        },
        &["on the bus with other contents than expected: alert of a in run"],
    ),
    (
        |run| alter_extracted(run, |_, referenced| *referenced = None),
        &["on the bus with other contents than expected: fynapse/event/act-00"],
    ),
    (
        |run| alter_extracted(run, |data, _| *data = Some(b"{}".to_vec())),
        &["on the bus with other contents than expected: fynapse/event/act-00"],
    ),
    // The reference is enough.
    (|run| alter_extracted(run, |data, _| *data = None), &[]),
    (
        |run| run.bus_events[BUS_ALERT].origin = "poll".to_owned(),
        &["on the bus with another origin than recorded: alert of a in run"],
    ),
];

fn message<'a>(run: &'a mut Observed, id: &str) -> &'a mut MessageSnapshot {
    run.messages.iter_mut().find(|message| message.id == id).unwrap()
}

fn event_record<'a>(run: &'a mut Observed, id: &str) -> &'a mut RecordSnapshot {
    run.inbox.records.get_mut(id).unwrap()
}

fn quarantine_as_stale(run: &mut Observed) {
    let payload = Some(run.deliveries[0].body.to_vec());
    let (provider, reason) = ("fynapse".to_owned(), "stale".to_owned());
    run.inbox.quarantined.push(QuarantineSnapshot { provider, reason, payload, event_id: None });
}

fn untrack(run: &mut Observed, pk: &str) {
    run.inbox.tracked.remove(pk);
}

fn make_due(run: &mut Observed, pk: &str) {
    run.inbox.tracked.insert(pk.to_owned(), true);
}

fn polled_alert(run: &mut Observed, rows: &[(&str, &str, &str)]) {
    add_event(run, &alert_event("poll"), "poll", &alert(rows));
}

fn add_balance(run: &mut Observed, batch_id: &str, authorizer: &str) {
    let (batch_id, authorizer) = (batch_id.to_owned(), authorizer.to_owned());
    run.balances.push(StoredBalance { batch_id, authorizer, ..run.balances[0].clone() });
}

/// Publishes another effect of the fabricated alert.
fn publish(run: &mut Observed, detail: PublishedDetail) {
    let (id, event_id, origin) = ("x".to_owned(), FABRICATED.to_owned(), "webhook".to_owned());
    run.bus_events.push(PublishedEvent { id, event_id, origin, detail });
}

fn repeat(run: &mut Observed, index: usize) {
    run.bus_events.push(run.bus_events[index].clone());
}

fn alter_completion(run: &mut Observed, expected: Option<usize>, found: usize, status_code: &str) {
    run.bus_events[BUS_COMPLETION].detail = PublishedDetail::BatchCompleted {
        batch_id: "delivered".to_owned(),
        expected,
        found,
        by_status_code: [(status_code.to_owned(), 3)].into(),
    };
}

fn alter_extracted(run: &mut Observed, alter: fn(&mut Option<Vec<u8>>, &mut Option<Vec<u8>>)) {
    if let PublishedDetail::BalanceExtracted { data, referenced } = &mut run.bus_events[BUS_EXTRACTED].detail
    {
        alter(data, referenced);
    }
}
