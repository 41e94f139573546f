//! The same for what events brought about.

use std::time::Duration;

use super::{EVENT, call, cast, found, in_order, message, record, told};
use crate::demo::check::Evidence;
use crate::demo::table::{Effects, Report};
use crate::inspect::{PublishedEvent, QuarantineSnapshot, RecordSnapshot, StoredBalance, PublishedDetail};
use crate::rightfoot::{BatchSeen, RowSeen};
use crate::senders::End;
use crate::connector::{AwsCall, CallOutcome, Fault};

const TOLD: &str = "rightfoot/batch/told/completed";
const MET: &str = "rightfoot/batch/run/threshold-met/a";
const ALERTED: &str = "rightfoot/batch/run/alert/u-alert";
/// An alert of the cast's, and the batch that it is about.
const MADE_UP: &str = "rightfoot/batch/made-up-0/alert/u";

/// Everything that the events of [`in_order`] have to bring about is there, and an alert that somebody made up is in
/// quarantine.
pub(super) fn add(seen: &mut Evidence) {
    for part in cast().made_up().drain(..1) {
        let body = part.outgoing.body.clone();
        let rows = vec![shown("user-0", Some("99.99"), 0), shown("user-1", None, 3300)];
        let batch_id = "made-up-0".to_owned();
        seen.truth.others.push(BatchSeen { batch_id, rows, ..seen.truth.batches[0].clone() });
        seen.messages.push(message(MADE_UP, "webhook", &String::from_utf8_lossy(&body)));
        seen.table
            .records
            .insert(MADE_UP.to_owned(), RecordSnapshot { is_done: false, is_quarantined: true, ..record("webhook") });
        seen.table.quarantined.push(QuarantineSnapshot {
            provider: "rightfoot".to_owned(),
            reason: "unconfirmed".to_owned(),
            payload: Some(body.to_vec()),
            event_id: Some(MADE_UP.to_owned()),
        });
        seen.played.push(told(part, &[200], End::Delivered));
    }
    for batch in &seen.truth.batches {
        seen.stored.extend(batch.rows.iter().map(|row| stored(batch, row)));
        let id = format!("rightfoot/batch/{}/completed", batch.batch_id);
        seen.announced.push(PublishedEvent {
            event_id: id.clone(),
            origin: seen.table.records[&id].origin.clone(),
            id,
            detail: PublishedDetail::BatchCompleted {
                batch_id: batch.batch_id.clone(),
                expected: Some(3),
                found: 3,
                by_status_code: [("0".to_owned(), 3)].into(),
            },
        });
    }
    seen.announced.push(met(ALERTED, "webhook", "a", "150.00", "100.50"));
    seen.announced.push(met(
        "rightfoot/batch/run/alert/poll-5c53585edd9ec296f5537f01ff9e47e2",
        "poll",
        "b",
        "2500.00",
        "2500",
    ));
    let payload = seen.messages[0].payload.clone();
    let (id, event_id, origin) = (EVENT.to_owned(), EVENT.to_owned(), "webhook".to_owned());
    let what = PublishedDetail::BalanceExtracted { data: payload.clone(), referenced: payload };
    seen.announced.push(PublishedEvent { id, event_id, origin, detail: what });
    seen.worked.twice.insert(EVENT.to_owned());
    seen.worked.deaths = 1;
    seen.worked_log = trouble();
}

/// What the workers meet in every run of the demo.
fn trouble() -> Vec<(AwsCall, CallOutcome)> {
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

fn shown(authorizer: &str, balance: Option<&str>, status_code: u32) -> RowSeen {
    RowSeen { authorizer: authorizer.to_owned(), balance: balance.map(str::to_owned), status_code }
}

/// As DynamoDB writes numbers.
fn stored(batch: &BatchSeen, row: &RowSeen) -> StoredBalance {
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

/// Where the announcement of this id is.
fn at(seen: &Evidence, id: &str) -> usize {
    seen.announced.iter().position(|announced| announced.id == id).unwrap()
}

#[test]
fn p10_an_event_that_was_not_worked_to_its_end_is_found() {
    let forgotten = found(|seen| seen.table.records.get_mut(TOLD).unwrap().is_done = false);
    assert_eq!(forgotten, [format!("recorded, and never worked on to its end: {TOLD}")]);
    let given_up = found(|seen| {
        let record = seen.table.records.get_mut(TOLD).unwrap();
        (record.is_done, record.is_quarantined) = (false, true);
    });
    assert_eq!(given_up, [format!("given up, although Rightfoot shows what it tells: {TOLD}")]);
    let believed = found(|seen| {
        let record = seen.table.records.get_mut(MADE_UP).unwrap();
        (record.is_done, record.is_quarantined) = (true, false);
    });
    assert_eq!(believed, [format!("done, although Rightfoot does not show what it tells: {MADE_UP}")]);
    for spoil in [
        |kept: &mut QuarantineSnapshot| kept.reason = "unreadable".to_owned(),
        |kept: &mut QuarantineSnapshot| kept.event_id = Some(TOLD.to_owned()),
    ] {
        let unkept = found(|seen| spoil(seen.table.quarantined.last_mut().unwrap()));
        assert!(
            unkept.contains(&format!("given up, and not in quarantine as unconfirmed: {MADE_UP}")),
            "{unkept:?}"
        );
    }
}

#[test]
fn p10_balances_are_held_row_by_row_against_rightfoots() {
    let first = |seen: &Evidence| seen.stored.iter().position(|it| it.batch_id == "found").unwrap();
    let missing = found(|seen| drop(seen.stored.remove(first(seen))));
    assert_eq!(missing, ["a balance that Rightfoot shows, and that is not stored: a in found"]);
    let twice = found(|seen| seen.stored.push(seen.stored[first(seen)].clone()));
    assert_eq!(twice, ["stored more than once: a in found"]);
    for (batch_id, authorizer) in [("found", "d"), ("made-up-0", "user-0")] {
        let foreign = found(|seen| {
            let (batch_id, authorizer) = (batch_id.to_owned(), authorizer.to_owned());
            seen.stored.push(StoredBalance { batch_id, authorizer, ..seen.stored[0].clone() });
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
        let altered = found(|seen| {
            let at = first(seen);
            (seen.stored[at].balance, seen.stored[at].status_code) =
                (balance.map(str::to_owned), status_code.to_owned());
        });
        assert_eq!(
            altered,
            ["stored with another balance or status than Rightfoot's: a in found"],
            "{balance:?}"
        );
    }
    let invented = found(|seen| {
        let last = first(seen) + 2;
        seen.stored[last].balance = Some("0".to_owned());
    });
    assert_eq!(
        invented,
        ["stored with another balance or status than Rightfoot's: c in found"],
        "null is no 0"
    );
}

#[test]
fn p10_an_effect_that_never_happened_is_found() {
    for (id, name) in [(TOLD, "completion of told"), (MET, "alert of a in run"), (EVENT, EVENT)] {
        let lost = found(|seen| drop(seen.announced.remove(at(seen, id))));
        assert_eq!(lost, [format!("LOST: an effect that is owed, and not on the bus: {name}")]);
    }
}

#[test]
fn p10_an_effect_that_happened_twice_needs_a_step_of_unknown_outcome() {
    let twice = |id: &'static str, spoil: &dyn Fn(&mut Evidence)| {
        found(|seen| {
            seen.announced.push(seen.announced[at(seen, id)].clone());
            spoil(seen);
        })
    };
    let unexplained = "on the bus more often than steps of unknown outcome explain";
    for (id, name) in [(TOLD, "completion of told"), (MET, "alert of a in run"), (EVENT, EVENT)] {
        assert_eq!(twice(id, &|_| ()), [format!("{unexplained}: {name}")]);
    }
    let logged = |operation, about, fate: CallOutcome| {
        twice(MET, &move |seen| seen.worked_log.push(call(operation, about, fate.clone())))
    };
    for (operation, about, fate) in [
        ("PutEvents", ALERTED, CallOutcome::Faulted(Fault::TimeoutAfter)),
        ("PutEvents", ALERTED, CallOutcome::Pending),
        ("UpdateItem", ALERTED, CallOutcome::Pending),
        ("UpdateItem", MET, CallOutcome::Faulted(Fault::AccessDenied)),
    ] {
        assert_eq!(
            logged(operation, about, fate.clone()),
            Vec::<String>::new(),
            "{operation} {about} {fate:?}"
        );
    }
    for (operation, about, fate) in [
        ("PutEvents", ALERTED, CallOutcome::Answered(200)),
        ("PutEvents", ALERTED, CallOutcome::Faulted(Fault::FirstEntryFailed)),
        ("PutEvents", TOLD, CallOutcome::Faulted(Fault::TimeoutAfter)),
        ("UpdateItem", ALERTED, CallOutcome::Answered(400)),
        ("Query", ALERTED, CallOutcome::Pending),
    ] {
        let said = logged(operation, about, fate.clone());
        assert_eq!(said, [format!("{unexplained}: alert of a in run")], "{operation} {about} {fate:?}");
    }
    let died = |id: &'static str| twice(MET, &move |seen| seen.worked.cut_off.extend([(id.to_owned(), 1)]));
    assert_eq!(died(ALERTED), Vec::<String>::new());
    assert_eq!(died(TOLD), [format!("{unexplained}: alert of a in run")]);
}

#[test]
fn p10_a_repeat_comes_under_the_same_id() {
    let renamed = found(|seen| {
        let copy = PublishedEvent { id: "another".to_owned(), ..seen.announced[at(seen, MET)].clone() };
        seen.announced.push(copy);
        seen.worked_log.push(call("PutEvents", ALERTED, CallOutcome::Pending));
    });
    assert_eq!(renamed, ["on the bus under several ids: alert of a in run"]);
}

#[test]
fn p4_p10_what_nobody_may_hear_of_is_found_on_the_bus() {
    let of = |what: PublishedDetail| {
        found(move |seen| {
            let (id, event_id, origin) = ("x".to_owned(), MADE_UP.to_owned(), "webhook".to_owned());
            seen.announced.push(PublishedEvent { id, event_id, origin, detail: what.clone() });
        })
    };
    let made_up = PublishedDetail::ThresholdMet {
        batch_id: "made-up-0".to_owned(),
        authorizer: "user-0".to_owned(),
        balance: "99.99".to_owned(),
        threshold: "100.00".to_owned(),
        confirmed: true,
    };
    assert_eq!(of(made_up), ["on the bus, and nobody's effect: alert of user-0 in made-up-0"]);
    let (data, referenced) = (None, None);
    assert_eq!(
        of(PublishedDetail::BalanceExtracted { data, referenced }),
        [format!("on the bus, and nobody's effect: {MADE_UP}")]
    );
    let unknown = of(PublishedDetail::Other("BalanceSeen".to_owned()));
    assert_eq!(unknown, ["on the bus, and nobody's effect: BalanceSeen"]);
}

#[test]
fn p10_an_effect_tells_what_rightfoot_shows_or_what_was_delivered() {
    let altered = |id: &'static str, name: &str, spoil: &dyn Fn(&mut PublishedDetail)| {
        let said = found(|seen| {
            let at = at(seen, id);
            spoil(&mut seen.announced[at].detail);
        });
        assert_eq!(said, [format!("on the bus with other contents than it should: {name}")]);
    };
    let of_batch = |expected, found, code: &str| {
        let by_status_code = [(code.to_owned(), 3)].into();
        PublishedDetail::BatchCompleted { batch_id: "told".to_owned(), expected, found, by_status_code }
    };
    for what in [of_batch(Some(4), 3, "0"), of_batch(Some(3), 2, "0"), of_batch(Some(3), 3, "3300")] {
        altered(TOLD, "completion of told", &|it| it.clone_from(&what));
    }
    for (balance, threshold, confirmed) in
        [("150.01", "100.50", true), ("150.00", "100.51", true), ("150.00", "100.50", false)]
    {
        let PublishedEvent { detail: what, .. } = met(ALERTED, "webhook", "a", balance, threshold);
        altered(MET, "alert of a in run", &|it| {
            it.clone_from(&what);
            if let PublishedDetail::ThresholdMet { confirmed: said, .. } = it {
                *said = confirmed;
            }
        });
    }
    altered(EVENT, EVENT, &|it| *it = PublishedDetail::BalanceExtracted { data: None, referenced: None });
    altered(EVENT, EVENT, &|it| {
        if let PublishedDetail::BalanceExtracted { data, .. } = it {
            *data = Some(b"{}".to_vec());
        }
    });
    let by_reference = found(|seen| {
        let at = at(seen, EVENT);
        if let PublishedDetail::BalanceExtracted { data, .. } = &mut seen.announced[at].detail {
            *data = None;
        }
    });
    assert_eq!(by_reference, Vec::<String>::new(), "the reference is enough");
    let origin = found(|seen| {
        let at = at(seen, MET);
        seen.announced[at].origin = "poll".to_owned();
    });
    assert_eq!(origin, ["on the bus with another origin than recorded: alert of a in run"]);
}

#[test]
fn trouble_of_the_workers_that_never_came_is_a_problem() {
    let calm = found(|seen| seen.worked_log.retain(|(call, _)| call.operation != "BatchWriteItem"));
    assert_eq!(
        calm,
        [
            "planned trouble of the workers that never came: BatchWriteItem FirstUnprocessed, BatchWriteItem CrashAfter"
        ]
    );
    let alone = found(|seen| seen.worked.twice.clear());
    assert_eq!(alone, ["planned, and never happened: a message to two workers at once"]);
}

#[test]
fn a_message_more_for_each_time_that_a_worker_put_its_event_back() {
    let sent_again = |works| {
        found(move |seen| {
            seen.messages.push(seen.messages[0].clone());
            seen.table.records.get_mut(EVENT).unwrap().requeues = works;
        })
    };
    assert_eq!(sent_again(1), Vec::<String>::new());
    assert_eq!(sent_again(0).len(), 1);
}

#[test]
fn effects_are_counted_kind_by_kind() {
    let mut seen = in_order();
    seen.announced.push(seen.announced[at(&seen, MET)].clone());
    seen.announced.remove(at(&seen, EVENT));
    seen.stored.pop();
    seen.table.records.get_mut(TOLD).unwrap().requeues = 2;
    let report = Report::of(&seen, Duration::ZERO);
    let of = |what, owed, there, repeated| Effects { what, owed, there, repeated };
    assert_eq!(
        report.effects,
        [
            of("completed", 4, 4, 0),
            of("threshold", 2, 2, 1),
            of("extracted", 1, 0, 0),
            of("balances", 12, 11, 0)
        ]
    );
    assert_eq!((report.twice, report.worker_deaths, report.put_back, report.unconfirmed), (1, 1, 2, 1));
}
