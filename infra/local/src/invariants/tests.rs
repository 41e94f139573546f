//! Each invariant is seen to fail: every case spoils one thing of a good run, and exactly these violations are found.

use std::collections::BTreeSet;
use std::time::Duration;

use inbox_core::delivery::Provider;
use inbox_core::time::UnixMillis;

use super::*;
use crate::connector::{AwsCall, CallOutcome, Fault};
use crate::inspect::{
    MessageSnapshot, PublishedDetail, PublishedEvent, QuarantineSnapshot, RecordSnapshot, StoredBalance,
};
use crate::senders::{AttemptResponse, DeliveryAttempt, DeliveryEnd, DeliveryReport};

mod cases;
mod good_run;

use good_run::{EVENT, FORGERY};
pub(crate) use good_run::{READY_AT, alert_event, call, good_run, remove_event};

fn found_after(spoil: impl FnOnce(&mut Observed)) -> Vec<String> {
    let mut run = good_run();
    spoil(&mut run);
    violations(&run, ALL).iter().map(ToString::to_string).collect()
}

#[test]
fn a_good_run_violates_nothing() {
    assert_eq!(found_after(|_| ()), Vec::<String>::new());
}

#[test]
fn each_spoiled_run_has_exactly_its_violations() {
    for (n, case) in cases::ALL.iter().copied().flatten().enumerate() {
        assert_eq!(found_after(case.spoil), case.expected, "case {n}");
    }
}

#[test]
fn each_invariant_is_seen_to_fail() {
    let found = cases::ALL.iter().copied().flatten().flat_map(|case| case.expected);
    let seen: BTreeSet<_> = found.map(|it| it.rsplit_once(": ").map_or(*it, |(what, _)| what)).collect();
    let is_seen = |it: &&Invariant| seen.iter().any(|seen| seen.starts_with(it.violation));
    let unseen: Vec<_> =
        ALL.iter().copied().flatten().filter(|it| !is_seen(it)).map(|it| it.violation).collect();
    assert_eq!(unseen, Vec::<&str>::new());
}

#[test]
fn each_permanent_failure_status_is_found() {
    for (index, id) in [(0, EVENT), (1, FORGERY)] {
        for status in [400, 401, 402, 405, 406, 410, 413] {
            let failed = found_after(|run| {
                good_run::answer(run, index, &[503, status], DeliveryEnd::PermanentFailure(status))
            });
            let expected = format!("permanently failed at Fynapse by its response: {id}");
            assert!(failed.contains(&expected), "{status}: {failed:?}");
        }
    }
}

/// P3: a second message of an event needs a call of unknown outcome, or a missing mark of an event that the relay sent.
#[test]
fn a_repeated_message_needs_a_call_that_explains_it() {
    const OK: CallOutcome = CallOutcome::Answered(200);
    let twice = |calls: &[(&str, CallOutcome)]| {
        found_after(|run| {
            run.messages.push(run.messages[0].clone());
            run.calls.extend(
                calls
                    .iter()
                    .map(|(operation, outcome)| call("fynapse-webhook", operation, EVENT, outcome.clone())),
            );
        })
    };
    let faulted = |operation, fault| (operation, CallOutcome::Faulted(fault));
    let (update, relay) = (("UpdateItem", OK), ("SendMessageBatch", OK));
    let condition_failed = ("UpdateItem", CallOutcome::Answered(400));
    let unexplained =
        [format!("on the queue more often than steps of unknown outcome explain: {EVENT} (2 times)")];
    for calls in [
        vec![],
        vec![update.clone(), relay.clone(), update.clone()],
        vec![faulted("SendMessage", Fault::Throttled)],
        vec![faulted("PutItem", Fault::TimeoutAfter)],
        // The mark of a duplicate that is sent again also fails its condition.
        vec![("SendMessage", OK), condition_failed.clone()],
    ] {
        assert_eq!(twice(&calls), unexplained, "{calls:?}");
    }
    for calls in [
        vec![faulted("SendMessage", Fault::TimeoutAfter)],
        vec![("UpdateItem", CallOutcome::Pending)],
        vec![update.clone(), relay.clone(), condition_failed],
        vec![update.clone(), relay.clone(), faulted("UpdateItem", Fault::Throttled)],
        vec![update, relay],
    ] {
        assert_eq!(twice(&calls), Vec::<String>::new(), "{calls:?}");
    }
}

/// P10: a second copy of an effect needs a call of the worker after which it could not know, or could not record, that
/// it had published the effect.
#[test]
fn a_repeated_effect_needs_a_call_that_explains_it() {
    const ALERT: &str = "rightfoot/batch/run/alert/u-alert";
    const MET: &str = "rightfoot/batch/run/threshold-met/a";
    const COMPLETION: &str = "rightfoot/batch/delivered/completed";
    let twice = |function, operation, about, outcome: CallOutcome| {
        found_after(|run| {
            let copy = run.bus_events.iter().find(|event| event.id == MET).unwrap().clone();
            run.bus_events.push(copy);
            run.calls.push(call(function, operation, about, outcome));
        })
    };
    for (operation, about, outcome) in [
        ("PutEvents", ALERT, CallOutcome::Faulted(Fault::TimeoutAfter)),
        ("PutEvents", ALERT, CallOutcome::Pending),
        ("UpdateItem", ALERT, CallOutcome::Pending),
        ("UpdateItem", MET, CallOutcome::Faulted(Fault::AccessDenied)),
    ] {
        let found = twice("event-worker", operation, about, outcome.clone());
        assert_eq!(found, Vec::<String>::new(), "{operation} {about} {outcome:?}");
    }
    for (function, operation, about, outcome) in [
        ("event-worker", "PutEvents", ALERT, CallOutcome::Answered(200)),
        ("event-worker", "PutEvents", ALERT, CallOutcome::Faulted(Fault::FirstEntryFailed)),
        ("event-worker", "PutEvents", COMPLETION, CallOutcome::Faulted(Fault::TimeoutAfter)),
        ("event-worker", "UpdateItem", ALERT, CallOutcome::Answered(400)),
        ("event-worker", "Query", ALERT, CallOutcome::Pending),
        ("event-relay", "UpdateItem", ALERT, CallOutcome::Pending),
    ] {
        let found = twice(function, operation, about, outcome.clone());
        let unexplained = ["on the bus more often than steps of unknown outcome explain: alert of a in run"];
        assert_eq!(found, unexplained, "{function} {operation} {about} {outcome:?}");
    }
}

#[test]
fn a_batch_that_is_left_out_leaves_nothing() {
    let mut run = good_run();
    run.leave_out_batches(&["run-2".to_owned()].into());
    assert_eq!(violations(&run, ALL), []);
    assert_eq!(run.rightfoot.schedules[0].runs.len(), 1);
    assert!(!run.messages.iter().any(|message| message.id.contains("run-2")));
}
