//! The checks of the events' effects.

use std::time::Duration;

use super::{EVENT, call, message, performed, record, traffic, valid_evidence, violations_after};
use crate::connector::{AwsCall, CallOutcome, Fault};
use crate::demo::invariants::Evidence;
use crate::demo::report::{DemoReport, EffectRow};
use crate::inspect::{PublishedDetail, PublishedEvent, QuarantineSnapshot, RecordSnapshot, StoredBalance};
use crate::rightfoot_simulator::{SimulatedBalance, SimulatedBatch};
use crate::senders::DeliveryEnd;

const WEBHOOK_COMPLETION: &str = "rightfoot/batch/delivered/completed";
const THRESHOLD_MET: &str = "rightfoot/batch/run/threshold-met/a";
const WEBHOOK_ALERT: &str = "rightfoot/batch/run/alert/u-alert";
/// An alert that a sender fabricated.
const FABRICATED_ALERT: &str = "rightfoot/batch/fabricated-0/alert/u";

/// Adds all effects of the events in the evidence, and a fabricated alert that is quarantined.
pub(super) fn add(evidence: &mut Evidence) {
    for planned in traffic().fabricated_alerts().drain(..1) {
        let body = planned.outgoing.body.clone();
        let rows = vec![balance_row("user-0", Some("99.99"), 0), balance_row("user-1", None, 3300)];
        let batch_id = "fabricated-0".to_owned();
        evidence.truth.other_batches.push(SimulatedBatch {
            batch_id,
            rows,
            ..evidence.truth.batches[0].clone()
        });
        evidence.messages.push(message(FABRICATED_ALERT, "webhook", &String::from_utf8_lossy(&body)));
        evidence.table.records.insert(
            FABRICATED_ALERT.to_owned(),
            RecordSnapshot { is_done: false, is_quarantined: true, ..record("webhook") },
        );
        evidence.table.quarantined.push(QuarantineSnapshot {
            provider: "rightfoot".to_owned(),
            reason: "unconfirmed".to_owned(),
            payload: Some(body.to_vec()),
            event_id: Some(FABRICATED_ALERT.to_owned()),
        });
        evidence.deliveries.push(performed(planned, &[200], DeliveryEnd::Delivered));
    }
    for batch in &evidence.truth.batches {
        evidence.stored_balances.extend(batch.rows.iter().map(|row| stored(batch, row)));
        let id = format!("rightfoot/batch/{}/completed", batch.batch_id);
        evidence.published.push(PublishedEvent {
            event_id: id.clone(),
            origin: evidence.table.records[&id].origin.clone(),
            id,
            detail: PublishedDetail::BatchCompleted {
                batch_id: batch.batch_id.clone(),
                expected: Some(3),
                found: 3,
                by_status_code: [("0".to_owned(), 3)].into(),
            },
        });
    }
    evidence.published.push(met(WEBHOOK_ALERT, "webhook", "a", "150.00", "100.50"));
    evidence.published.push(met(
        "rightfoot/batch/run/alert/poll-5c53585edd9ec296f5537f01ff9e47e2",
        "poll",
        "b",
        "2500.00",
        "2500",
    ));
    let payload = evidence.messages[0].payload.clone();
    let (id, event_id, origin) = (EVENT.to_owned(), EVENT.to_owned(), "webhook".to_owned());
    let what = PublishedDetail::BalanceExtracted { data: payload.clone(), referenced: payload };
    evidence.published.push(PublishedEvent { id, event_id, origin, detail: what });
    evidence.workers.twice.insert(EVENT.to_owned());
    evidence.workers.crashes = 1;
    evidence.worker_log = planned_worker_faults();
}

/// The faults that the workers must meet in every run of the demo.
fn planned_worker_faults() -> Vec<(AwsCall, CallOutcome)> {
    [
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
    ]
    .map(|(operation, fault)| call(operation, "another", CallOutcome::Faulted(fault)))
    .into()
}

fn balance_row(authorizer: &str, balance: Option<&str>, status_code: u32) -> SimulatedBalance {
    SimulatedBalance { authorizer: authorizer.to_owned(), balance: balance.map(str::to_owned), status_code }
}

/// The stored form of a row, with its balance as DynamoDB writes numbers.
fn stored(batch: &SimulatedBatch, row: &SimulatedBalance) -> StoredBalance {
    StoredBalance {
        batch_id: batch.batch_id.clone(),
        authorizer: row.authorizer.clone(),
        balance: row.balance.as_ref().map(|balance| balance.trim_end_matches(".00").to_owned()),
        status_code: row.status_code.to_string(),
    }
}

fn met(event_id: &str, origin: &str, authorizer: &str, balance: &str, threshold: &str) -> PublishedEvent {
    PublishedEvent {
        id: format!("rightfoot/batch/run/threshold-met/{authorizer}"),
        event_id: event_id.to_owned(),
        origin: origin.to_owned(),
        detail: PublishedDetail::ThresholdMet {
            batch_id: "run".to_owned(),
            authorizer: authorizer.to_owned(),
            balance: balance.to_owned(),
            threshold: threshold.to_owned(),
            confirmed: true,
        },
    }
}

/// Index of the bus event with this id.
fn at(evidence: &Evidence, id: &str) -> usize {
    evidence.published.iter().position(|published| published.id == id).unwrap()
}

#[test]
fn p10_an_event_that_was_not_fully_processed_is_found() {
    let unfinished = violations_after(|evidence| {
        evidence.table.records.get_mut(WEBHOOK_COMPLETION).unwrap().is_done = false
    });
    assert_eq!(unfinished, [format!("recorded, and never fully processed: {WEBHOOK_COMPLETION}")]);
    let quarantined = violations_after(|evidence| {
        let record = evidence.table.records.get_mut(WEBHOOK_COMPLETION).unwrap();
        (record.is_done, record.is_quarantined) = (false, true);
    });
    assert_eq!(quarantined, [format!("quarantined, although Rightfoot confirms it: {WEBHOOK_COMPLETION}")]);
    let unconfirmed = violations_after(|evidence| {
        let record = evidence.table.records.get_mut(FABRICATED_ALERT).unwrap();
        (record.is_done, record.is_quarantined) = (true, false);
    });
    assert_eq!(unconfirmed, [format!("done, although Rightfoot does not confirm it: {FABRICATED_ALERT}")]);
    for spoil in [
        |quarantined: &mut QuarantineSnapshot| quarantined.reason = "unreadable".to_owned(),
        |quarantined: &mut QuarantineSnapshot| quarantined.event_id = Some(WEBHOOK_COMPLETION.to_owned()),
    ] {
        let misfiled = violations_after(|evidence| spoil(evidence.table.quarantined.last_mut().unwrap()));
        assert!(
            misfiled.contains(&format!("quarantined, and not as unconfirmed: {FABRICATED_ALERT}")),
            "{misfiled:?}"
        );
    }
}

#[test]
fn p10_stored_balances_are_compared_row_by_row_with_rightfoot() {
    let first =
        |evidence: &Evidence| evidence.stored_balances.iter().position(|it| it.batch_id == "found").unwrap();
    let missing = violations_after(|evidence| drop(evidence.stored_balances.remove(first(evidence))));
    assert_eq!(missing, ["a balance that Rightfoot shows, and that is not stored: a in found"]);
    let twice = violations_after(|evidence| {
        evidence.stored_balances.push(evidence.stored_balances[first(evidence)].clone())
    });
    assert_eq!(twice, ["stored more than once: a in found"]);
    for (batch_id, authorizer) in [("found", "d"), ("fabricated-0", "user-0")] {
        let foreign = violations_after(|evidence| {
            let (batch_id, authorizer) = (batch_id.to_owned(), authorizer.to_owned());
            evidence.stored_balances.push(StoredBalance {
                batch_id,
                authorizer,
                ..evidence.stored_balances[0].clone()
            });
        });
        assert_eq!(
            foreign,
            [format!(
                "a balance that is stored, and that Rightfoot does not show: {authorizer} in {batch_id}"
            )]
        );
    }
    for (balance, status_code) in [(Some("150.01"), "0"), (None, "0"), (Some("150"), "3300"), (Some(""), "0")]
    {
        let altered = violations_after(|evidence| {
            let at = first(evidence);
            (evidence.stored_balances[at].balance, evidence.stored_balances[at].status_code) =
                (balance.map(str::to_owned), status_code.to_owned());
        });
        assert_eq!(
            altered,
            ["stored with another balance or status than Rightfoot's: a in found"],
            "{balance:?}"
        );
    }
    let invented = violations_after(|evidence| {
        let last = first(evidence) + 2;
        evidence.stored_balances[last].balance = Some("0".to_owned());
    });
    assert_eq!(
        invented,
        ["stored with another balance or status than Rightfoot's: c in found"],
        "null is no 0"
    );
}

#[test]
fn p10_a_missing_effect_is_found() {
    for (id, name) in [
        (WEBHOOK_COMPLETION, "completion of delivered"),
        (THRESHOLD_MET, "alert of a in run"),
        (EVENT, EVENT),
    ] {
        let lost = violations_after(|evidence| drop(evidence.published.remove(at(evidence, id))));
        assert_eq!(lost, [format!("LOST: an effect that is expected, and not on the bus: {name}")]);
    }
}

#[test]
fn p10_a_repeated_effect_needs_a_call_of_unknown_outcome() {
    let twice = |id: &'static str, spoil: &dyn Fn(&mut Evidence)| {
        violations_after(|evidence| {
            evidence.published.push(evidence.published[at(evidence, id)].clone());
            spoil(evidence);
        })
    };
    let unexplained = "on the bus more often than steps of unknown outcome explain";
    for (id, name) in [
        (WEBHOOK_COMPLETION, "completion of delivered"),
        (THRESHOLD_MET, "alert of a in run"),
        (EVENT, EVENT),
    ] {
        assert_eq!(twice(id, &|_| ()), [format!("{unexplained}: {name}")]);
    }
    let logged = |operation, about, outcome: CallOutcome| {
        twice(THRESHOLD_MET, &move |evidence| {
            evidence.worker_log.push(call(operation, about, outcome.clone()))
        })
    };
    for (operation, about, outcome) in [
        ("PutEvents", WEBHOOK_ALERT, CallOutcome::Faulted(Fault::TimeoutAfter)),
        ("PutEvents", WEBHOOK_ALERT, CallOutcome::Pending),
        ("UpdateItem", WEBHOOK_ALERT, CallOutcome::Pending),
        ("UpdateItem", THRESHOLD_MET, CallOutcome::Faulted(Fault::AccessDenied)),
    ] {
        assert_eq!(
            logged(operation, about, outcome.clone()),
            Vec::<String>::new(),
            "{operation} {about} {outcome:?}"
        );
    }
    for (operation, about, outcome) in [
        ("PutEvents", WEBHOOK_ALERT, CallOutcome::Answered(200)),
        ("PutEvents", WEBHOOK_ALERT, CallOutcome::Faulted(Fault::FirstEntryFailed)),
        ("PutEvents", WEBHOOK_COMPLETION, CallOutcome::Faulted(Fault::TimeoutAfter)),
        ("UpdateItem", WEBHOOK_ALERT, CallOutcome::Answered(400)),
        ("Query", WEBHOOK_ALERT, CallOutcome::Pending),
    ] {
        let violations = logged(operation, about, outcome.clone());
        assert_eq!(
            violations,
            [format!("{unexplained}: alert of a in run")],
            "{operation} {about} {outcome:?}"
        );
    }
    let crashed = |id: &'static str| {
        twice(THRESHOLD_MET, &move |evidence| evidence.workers.interruptions.extend([(id.to_owned(), 1)]))
    };
    assert_eq!(crashed(WEBHOOK_ALERT), Vec::<String>::new());
    assert_eq!(crashed(WEBHOOK_COMPLETION), [format!("{unexplained}: alert of a in run")]);
}

#[test]
fn p10_a_repeat_comes_under_the_same_id() {
    let renamed = violations_after(|evidence| {
        let copy = PublishedEvent {
            id: "another".to_owned(),
            ..evidence.published[at(evidence, THRESHOLD_MET)].clone()
        };
        evidence.published.push(copy);
        evidence.worker_log.push(call("PutEvents", WEBHOOK_ALERT, CallOutcome::Pending));
    });
    assert_eq!(renamed, ["on the bus under several ids: alert of a in run"]);
}

#[test]
fn p4_p10_an_unexpected_bus_event_is_found() {
    let of = |what: PublishedDetail| {
        violations_after(move |evidence| {
            let (id, event_id, origin) = ("x".to_owned(), FABRICATED_ALERT.to_owned(), "webhook".to_owned());
            evidence.published.push(PublishedEvent { id, event_id, origin, detail: what.clone() });
        })
    };
    let fabricated = PublishedDetail::ThresholdMet {
        batch_id: "fabricated-0".to_owned(),
        authorizer: "user-0".to_owned(),
        balance: "99.99".to_owned(),
        threshold: "100.00".to_owned(),
        confirmed: true,
    };
    assert_eq!(of(fabricated), ["on the bus, and unexpected: alert of user-0 in fabricated-0"]);
    let (data, referenced) = (None, None);
    assert_eq!(
        of(PublishedDetail::BalanceExtracted { data, referenced }),
        [format!("on the bus, and unexpected: {FABRICATED_ALERT}")]
    );
    let unknown = of(PublishedDetail::Other("BalanceSeen".to_owned()));
    assert_eq!(unknown, ["on the bus, and unexpected: BalanceSeen"]);
}

#[test]
fn p10_bus_event_contents_match_rightfoot_or_the_delivery() {
    let altered = |id: &'static str, name: &str, spoil: &dyn Fn(&mut PublishedDetail)| {
        let found = violations_after(|evidence| {
            let at = at(evidence, id);
            spoil(&mut evidence.published[at].detail);
        });
        assert_eq!(found, [format!("on the bus with other contents than expected: {name}")]);
    };
    let of_batch = |expected, found, code: &str| {
        let by_status_code = [(code.to_owned(), 3)].into();
        PublishedDetail::BatchCompleted { batch_id: "delivered".to_owned(), expected, found, by_status_code }
    };
    for what in [of_batch(Some(4), 3, "0"), of_batch(Some(3), 2, "0"), of_batch(Some(3), 3, "3300")] {
        altered(WEBHOOK_COMPLETION, "completion of delivered", &|it| it.clone_from(&what));
    }
    for (balance, threshold, confirmed) in
        [("150.01", "100.50", true), ("150.00", "100.51", true), ("150.00", "100.50", false)]
    {
        let PublishedEvent { detail: what, .. } = met(WEBHOOK_ALERT, "webhook", "a", balance, threshold);
        altered(THRESHOLD_MET, "alert of a in run", &|it| {
            it.clone_from(&what);
            if let PublishedDetail::ThresholdMet { confirmed: flag, .. } = it {
                *flag = confirmed;
            }
        });
    }
    altered(EVENT, EVENT, &|it| *it = PublishedDetail::BalanceExtracted { data: None, referenced: None });
    altered(EVENT, EVENT, &|it| {
        if let PublishedDetail::BalanceExtracted { data, .. } = it {
            *data = Some(b"{}".to_vec());
        }
    });
    let by_reference = violations_after(|evidence| {
        let at = at(evidence, EVENT);
        if let PublishedDetail::BalanceExtracted { data, .. } = &mut evidence.published[at].detail {
            *data = None;
        }
    });
    assert_eq!(by_reference, Vec::<String>::new(), "the reference is enough");
    let origin = violations_after(|evidence| {
        let at = at(evidence, THRESHOLD_MET);
        evidence.published[at].origin = "poll".to_owned();
    });
    assert_eq!(origin, ["on the bus with another origin than recorded: alert of a in run"]);
}

#[test]
fn a_planned_worker_fault_that_never_occurred_is_a_violation() {
    let calm = violations_after(|evidence| {
        evidence.worker_log.retain(|(call, _)| call.operation != "BatchWriteItem")
    });
    assert_eq!(
        calm,
        [
            "planned worker fault that never occurred: BatchWriteItem FirstUnprocessed, BatchWriteItem CrashAfter"
        ]
    );
    let alone = violations_after(|evidence| evidence.workers.twice.clear());
    assert_eq!(alone, ["planned, and never occurred: a message to two workers at once"]);
}

#[test]
fn each_requeue_allows_one_more_message() {
    let sent_again = |requeues| {
        violations_after(move |evidence| {
            evidence.messages.push(evidence.messages[0].clone());
            evidence.table.records.get_mut(EVENT).unwrap().requeues = requeues;
        })
    };
    assert_eq!(sent_again(1), Vec::<String>::new());
    assert_eq!(sent_again(0).len(), 1);
}

#[test]
fn effects_are_counted_by_kind() {
    let mut evidence = valid_evidence();
    evidence.published.push(evidence.published[at(&evidence, THRESHOLD_MET)].clone());
    evidence.published.remove(at(&evidence, EVENT));
    evidence.stored_balances.pop();
    evidence.table.records.get_mut(WEBHOOK_COMPLETION).unwrap().requeues = 2;
    let report = DemoReport::from_evidence(&evidence, Duration::ZERO);
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
