//! One thing of a good run is spoiled in each case; exactly the listed violations must be found.

use super::good_run::{
    EVENT, FABRICATED, FORGERY, add_event, alert, alert_event, answer, completion, record, remove_event,
    success, threshold_met,
};
use super::*;

/// A case: the violations that must be found, and what spoils the run.
pub(super) struct Case {
    pub(super) expected: &'static [&'static str],
    pub(super) spoil: fn(&mut Observed),
}

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

// Violations that several cases have.
const OTHER_BYTES: &[&str] = &["on the queue with other bytes than were sent: fynapse/event/act-00"];
const OTHER_AMOUNTS: &[&str] = &["an alert with another balance or threshold than Rightfoot's: b in run"];
const OTHER_BALANCE: &[&str] = &["stored with another balance or status than Rightfoot's: a in found"];
const REPEATED_ALERT: &[&str] =
    &["on the bus more often than steps of unknown outcome explain: alert of a in run"];
const OTHER_COMPLETION: &[&str] = &["on the bus with other contents than expected: completion of delivered"];
const OTHER_ALERT: &[&str] = &["on the bus with other contents than expected: alert of a in run"];
const OTHER_EXTRACT: &[&str] = &["on the bus with other contents than expected: fynapse/event/act-00"];

const DELIVERIES: &[Case] = &[
    case(&["still being delivered when the run ended: fynapse/event/act-00"], |run| {
        run.deliveries[0].reports.clear()
    }),
    case(&["authentic, and not answered 2xx in the end: fynapse/event/act-00"], |run| {
        answer(run, 0, &[503], DeliveryEnd::Exhausted)
    }),
    case(&["permanently failed at Fynapse by its response: fynapse/event/act-00"], |run| {
        answer(run, 0, &[410, 200], DeliveryEnd::Delivered)
    }),
    case(&["answered with a Retry-After: fynapse/event/act-00"], |run| {
        run.deliveries[0].reports[0].attempts[0].response =
            AttemptResponse::Http { status: 200, body: String::new(), retry_after_secs: Some(1) }
    }),
    case(
        &[
            "forged, and not answered 403 in the end: fynapse/event/forged-00",
            "forged, and accepted: fynapse/event/forged-00",
        ],
        |run| answer(run, 1, &[200], DeliveryEnd::Delivered),
    ),
    case(&["unprocessable, and not answered with the expected status: broken/fynapse/event/act-01"], |run| {
        answer(run, 2, &[503], DeliveryEnd::GivenUp)
    }),
];

const QUEUE: &[Case] = &[
    case(&["LOST: authentic, and not on the queue: fynapse/event/act-00"], |run| {
        run.messages.remove(0);
    }),
    case(OTHER_BYTES, |run| run.messages[0].payload = None),
    case(OTHER_BYTES, |run| run.messages[0].payload = Some(b"{}".to_vec())),
    case(
        &[
            "on the queue, and not an authentic event: fynapse/event/forged-00",
            "recorded, and not an authentic event: fynapse/event/forged-00",
        ],
        |run| {
            run.inbox.records.insert(FORGERY.to_owned(), record("webhook"));
            run.messages.push(MessageSnapshot { id: FORGERY.to_owned(), ..run.messages[0].clone() });
        },
    ),
    case(&["on the queue with another origin than recorded: rightfoot/batch/found/completed"], |run| {
        message(run, FOUND).origin = "webhook".to_owned()
    }),
    case(
        &["on the queue more often than steps of unknown outcome explain: fynapse/event/act-00 (2 times)"],
        |run| run.messages.push(run.messages[0].clone()),
    ),
    // One unknown step, two repeats.
    case(
        &["on the queue more often than steps of unknown outcome explain: fynapse/event/act-00 (3 times)"],
        |run| {
            run.messages.extend([run.messages[0].clone(), run.messages[0].clone()]);
            run.calls.push(call("event-relay", "UpdateItem", EVENT, CallOutcome::Pending));
        },
    ),
    // Each requeue sends the event once more.
    case(&[], |run| {
        run.messages.push(run.messages[0].clone());
        event_record(run, EVENT).requeues = 1;
    }),
    case(&["on the dead-letter queue: message 0"], |run| run.dead_letters = 1),
    case(&["authentic, and not recorded: fynapse/event/act-00"], |run| {
        run.inbox.records.remove(EVENT);
    }),
    case(
        &[
            "recorded, and still due: fynapse/event/act-00",
            "recorded, and never fully processed: fynapse/event/act-00",
        ],
        |run| {
            let unsent = RecordSnapshot { is_due: true, is_sent: false, is_done: false, ..record("webhook") };
            run.inbox.records.insert(EVENT.to_owned(), unsent);
        },
    ),
];

const QUARANTINE: &[Case] = &[
    case(&["unprocessable, and not quarantined byte for byte: broken/fynapse/event/act-01"], |run| {
        run.inbox.quarantined.remove(0);
    }),
    case(&["unprocessable, and quarantined for another reason: broken/fynapse/event/act-01"], |run| {
        run.inbox.quarantined[0].reason = "stale".to_owned()
    }),
    case(
        &[
            "unprocessable, and not quarantined byte for byte: broken/fynapse/event/act-01",
            "in quarantine, and not expected there: fynapse (unreadable)",
        ],
        |run| run.inbox.quarantined[0].payload = Some(b"{".to_vec()),
    ),
    // An event that once arrived stale may be in quarantine as well.
    case(&[], |run| {
        quarantine_as_stale(run);
        answer(run, 0, &[403, 200], DeliveryEnd::Delivered);
    }),
    case(&["in quarantine, and not expected there: fynapse (stale)"], quarantine_as_stale),
];

const SUBMISSIONS: &[Case] = &[
    case(
        &[
            "submitted, and never answered: payroll-2",
            "at Rightfoot, and in no response: submitted twice: found",
        ],
        |run| {
            run.submissions[1].responses =
                vec![SubmissionResponse::Crashed, SubmissionResponse::Failed("OutcomeUnknown")]
        },
    ),
    case(&["at Rightfoot, and in no response: submitted twice: run-2"], |run| {
        run.rightfoot.batches[3].schedule_id = None
    }),
    case(&["submitted again, and answered differently: payroll-1"], |run| {
        run.submissions[0].responses.push(success("found", &[]))
    }),
    case(
        &[
            "at Rightfoot, and in no response: submitted twice: found",
            "in the responses to more than one submission: delivered",
        ],
        |run| run.submissions[1].responses = vec![success("delivered", &["invalid"])],
    ),
    case(&["answered, and not at Rightfoot: nothing"], |run| {
        let responses = vec![success("nothing", &[])];
        run.submissions.push(SubmissionLog { responses, ..run.submissions[2].clone() });
    }),
    case(&["answered with other failed authorizers than Rightfoot's: payroll-2"], |run| {
        run.rightfoot.batches[1].failed_authorizers.push("d".to_owned())
    }),
];

const COMPLETIONS: &[Case] = &[
    case(
        &[
            "LOST: authentic, and not on the queue: rightfoot/batch/delivered/completed",
            "authentic, and not recorded: rightfoot/batch/delivered/completed",
            "a batch that did not end in exactly one completion event: delivered",
        ],
        |run| remove_event(run, DELIVERED),
    ),
    case(
        &[
            "LOST: authentic, and not on the queue: rightfoot/batch/found/completed",
            "authentic, and not recorded: rightfoot/batch/found/completed",
            "a batch that did not end in exactly one completion event: found",
            "its webhook was lost, and its completion did not come by poll: BALANCE_BATCH_COMPLETED of found",
        ],
        |run| remove_event(run, FOUND),
    ),
    case(
        &[
            "on the queue, and not an authentic event: rightfoot/batch/delivered/completed/again",
            "recorded, and not an authentic event: rightfoot/batch/delivered/completed/again",
            "a batch that did not end in exactly one completion event: delivered",
        ],
        |run| add_event(run, &format!("{DELIVERED}/again"), "poll", &completion("delivered", false)),
    ),
    case(&["recorded as complete before it was: found"], |run| {
        event_record(run, FOUND).received_at = READY_AT.minus(Duration::from_millis(1))
    }),
    case(&["on the queue with other bytes than were sent: rightfoot/batch/delivered/completed"], |run| {
        message(run, DELIVERED).payload = Some(completion("delivered", false).into())
    }),
    case(&["on the queue with other bytes than were sent: rightfoot/batch/found/completed"], |run| {
        message(run, FOUND).payload = Some(completion("found", true).into())
    }),
    // A lost webhook cannot have arrived.
    case(
        &[
            "its webhook was lost, and its completion did not come by poll: BALANCE_BATCH_COMPLETED of found",
            "on the bus with another origin than recorded: completion of found",
        ],
        |run| add_event(run, FOUND, "webhook", &completion("found", true)),
    ),
    case(
        &["a webhook that was sent, and not answered 2xx in the end: BALANCE_BATCH_COMPLETED of delivered"],
        |run| run.rightfoot.webhooks[0].is_delivered = false,
    ),
];

const ALERTS: &[Case] = &[
    case(
        &[
            "LOST: authentic, and not on the queue: rightfoot/batch/run/alert/u-alert",
            "authentic, and not recorded: rightfoot/batch/run/alert/u-alert",
            "an alert that is expected, and in no event: a in run",
        ],
        |run| remove_event(run, &alert_event("webhook")),
    ),
    case(
        &[
            "LOST: authentic, and not on the queue: rightfoot/batch/run/alert/poll-5c53585edd9ec296f5537f01ff9e47e2",
            "authentic, and not recorded: rightfoot/batch/run/alert/poll-5c53585edd9ec296f5537f01ff9e47e2",
            "an alert that is expected, and in no event: b in run",
        ],
        |run| remove_event(run, &alert_event("poll")),
    ),
    case(&["an alert that is in more than one event: a in run"], |run| {
        polled_alert(run, &[("a", "150.00", "100.50"), ("b", "2500.00", "2500")])
    }),
    case(
        &[
            "an alert that is on the queue, and not expected: b in run",
            "on the bus, and unexpected: alert of b in run",
        ],
        |run| {
            run.rightfoot.expected_alerts.pop_last();
        },
    ),
    case(OTHER_AMOUNTS, |run| polled_alert(run, &[("b", "2500.01", "2500")])),
    case(OTHER_AMOUNTS, |run| polled_alert(run, &[("b", "2500.00", "100.50")])),
    case(OTHER_AMOUNTS, |run| polled_alert(run, &[("b", "2500", "2500")])),
];

const TRACKING: &[Case] = &[
    case(&["at Rightfoot, and never tracked: rightfoot#batch#run"], |run| {
        run.inbox.tracked.remove("rightfoot#batch#run");
    }),
    case(&["at Rightfoot, and never tracked: rightfoot#schedule#s"], |run| {
        run.inbox.tracked.remove("rightfoot#schedule#s");
    }),
    case(&["at Rightfoot, and never tracked: rightfoot#submission#daily-schedule"], |run| {
        run.inbox.tracked.remove("rightfoot#submission#daily-schedule");
    }),
    case(&["tracked, and still due: rightfoot#batch#run"], |run| make_due(run, "rightfoot#batch#run")),
    case(&["tracked, and still due: rightfoot#submission#daily-schedule"], |run| {
        make_due(run, "rightfoot#submission#daily-schedule")
    }),
    case(&["a poller run that failed while no fault was injected: run 1 (AwsCallFailed: refused)"], |run| {
        run.poller_runs[1].is_fault_free = true
    }),
];

const PROCESSING: &[Case] = &[
    case(&["recorded, and never fully processed: rightfoot/batch/delivered/completed"], |run| {
        event_record(run, DELIVERED).is_done = false
    }),
    case(&["quarantined, although Rightfoot confirms it: rightfoot/batch/delivered/completed"], |run| {
        let record = event_record(run, DELIVERED);
        (record.is_done, record.is_quarantined) = (false, true);
    }),
    case(&["done, although Rightfoot does not confirm it: rightfoot/batch/fabricated/alert/u"], |run| {
        let record = event_record(run, FABRICATED);
        (record.is_done, record.is_quarantined) = (true, false);
    }),
    case(&["quarantined, and not as unconfirmed: rightfoot/batch/fabricated/alert/u"], |run| {
        run.inbox.quarantined[1].reason = "unreadable".to_owned()
    }),
    case(
        &[
            "in quarantine, and not expected there: rightfoot (unconfirmed)",
            "quarantined, and not as unconfirmed: rightfoot/batch/fabricated/alert/u",
        ],
        |run| run.inbox.quarantined[1].event_id = Some(DELIVERED.to_owned()),
    ),
];

const BALANCES: &[Case] = &[
    case(&["a balance that Rightfoot shows, and that is not stored: a in found"], |run| {
        run.balances.remove(FOUND_A);
    }),
    case(&["stored more than once: a in found"], |run| run.balances.push(run.balances[FOUND_A].clone())),
    case(&["a balance that is stored, and that Rightfoot does not show: d in found"], |run| {
        add_balance(run, "found", "d")
    }),
    case(&["a balance that is stored, and that Rightfoot does not show: user-0 in fabricated"], |run| {
        add_balance(run, "fabricated", "user-0")
    }),
    case(OTHER_BALANCE, |run| run.balances[FOUND_A].balance = Some("150.01".to_owned())),
    case(OTHER_BALANCE, |run| run.balances[FOUND_A].balance = None),
    case(OTHER_BALANCE, |run| run.balances[FOUND_A].balance = Some(String::new())),
    case(OTHER_BALANCE, |run| run.balances[FOUND_A].status_code = "3300".to_owned()),
    // Null is no 0.
    case(&["stored with another balance or status than Rightfoot's: c in found"], |run| {
        run.balances[FOUND_A + 2].balance = Some("0".to_owned())
    }),
];

const BUS: &[Case] = &[
    case(&["LOST: an effect that is expected, and not on the bus: completion of delivered"], |run| {
        run.bus_events.remove(BUS_COMPLETION);
    }),
    case(&["LOST: an effect that is expected, and not on the bus: alert of a in run"], |run| {
        run.bus_events.remove(BUS_ALERT);
    }),
    case(&["LOST: an effect that is expected, and not on the bus: fynapse/event/act-00"], |run| {
        run.bus_events.remove(BUS_EXTRACTED);
    }),
    case(&["on the bus, and unexpected: alert of user-0 in fabricated"], |run| {
        publish(run, threshold_met("fabricated", "user-0", "99.99", "100.00"))
    }),
    case(&["on the bus, and unexpected: rightfoot/batch/fabricated/alert/u"], |run| {
        publish(run, PublishedDetail::BalanceExtracted { data: None, referenced: None })
    }),
    case(&["on the bus, and unexpected: BalanceSeen"], |run| {
        publish(run, PublishedDetail::Other("BalanceSeen".to_owned()))
    }),
    // A repeat comes under the same id.
    case(&["on the bus under several ids: alert of a in run"], |run| {
        let copy = PublishedEvent { id: "another".to_owned(), ..run.bus_events[BUS_ALERT].clone() };
        run.bus_events.push(copy);
        run.calls.push(call("event-worker", "PutEvents", &alert_event("webhook"), CallOutcome::Pending));
    }),
    case(&["on the bus more often than steps of unknown outcome explain: completion of delivered"], |run| {
        repeat(run, BUS_COMPLETION)
    }),
    case(REPEATED_ALERT, |run| repeat(run, BUS_ALERT)),
    case(&["on the bus more often than steps of unknown outcome explain: fynapse/event/act-00"], |run| {
        repeat(run, BUS_EXTRACTED)
    }),
    case(&[], |run| {
        repeat(run, BUS_ALERT);
        run.interruptions.insert(alert_event("webhook"), 1);
    }),
    case(REPEATED_ALERT, |run| {
        repeat(run, BUS_ALERT);
        run.interruptions.insert(DELIVERED.to_owned(), 1);
    }),
    case(OTHER_COMPLETION, |run| alter_completion(run, Some(4), 3, "0")),
    case(OTHER_COMPLETION, |run| alter_completion(run, Some(3), 2, "0")),
    case(OTHER_COMPLETION, |run| alter_completion(run, Some(3), 3, "3300")),
    case(OTHER_ALERT, |run| run.bus_events[BUS_ALERT].detail = threshold_met("run", "a", "150.01", "100.50")),
    case(OTHER_ALERT, |run| run.bus_events[BUS_ALERT].detail = threshold_met("run", "a", "150.00", "100.51")),
    case(OTHER_ALERT, |run| {
        if let PublishedDetail::ThresholdMet { confirmed, .. } = &mut run.bus_events[BUS_ALERT].detail {
            *confirmed = false;
        }
    }),
    case(OTHER_EXTRACT, |run| alter_extracted(run, |_, referenced| *referenced = None)),
    case(OTHER_EXTRACT, |run| alter_extracted(run, |data, _| *data = Some(b"{}".to_vec()))),
    // The reference is enough.
    case(&[], |run| alter_extracted(run, |data, _| *data = None)),
    case(&["on the bus with another origin than recorded: alert of a in run"], |run| {
        run.bus_events[BUS_ALERT].origin = "poll".to_owned()
    }),
];

const fn case(expected: &'static [&'static str], spoil: fn(&mut Observed)) -> Case {
    Case { expected, spoil }
}

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
