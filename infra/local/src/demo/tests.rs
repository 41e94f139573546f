//! The checks find what they are there to find: each test spoils evidence that is in order, in one way.

mod effects;
mod report;
mod submitted;

use std::sync::Arc;
use std::time::Duration;

use inbox_core::keys::Keys;
use inbox_core::time::UnixMillis;

use super::cast::{Cast, Expected, Part};
use super::check::{Evidence, problems};
use super::rightfoot::Truth;
use super::stage::Played;
use super::table::{Report, Row};
use super::workers::Seen;
use crate::inspect::{QuarantineSnapshot, MessageSnapshot, RecordSnapshot, InboxSnapshot};
use crate::senders::{Answer, Attempt, Delivered, End};
use crate::connector::{AwsCall, CallOutcome, Fault};

const EVENT: &str = "fynapse/event/act-00";

/// One authentic event, one forgery, one delivery that nobody can read, and what [`submitted`] adds; all went well.
fn in_order() -> Evidence {
    let cast = cast();
    let event = cast.fynapse("act", 0..1).remove(0);
    let forgery = cast.forgeries().remove(0);
    let unreadable = cast.unusable("act").remove(0);
    let message = message(EVENT, "webhook", &String::from_utf8_lossy(&event.outgoing.body));
    let kept = QuarantineSnapshot {
        provider: "fynapse".to_owned(),
        reason: "unreadable".to_owned(),
        payload: Some(unreadable.outgoing.body.to_vec()),
        event_id: None,
    };
    let mut log = trouble();
    log.extend([
        call("PutItem", EVENT, CallOutcome::Answered(200)),
        call("SendMessage", EVENT, CallOutcome::Answered(200)),
        call("UpdateItem", EVENT, CallOutcome::Answered(200)),
    ]);
    let played =
        [(event, 200, End::Delivered), (forgery, 403, End::GivenUp), (unreadable, 200, End::Delivered)];
    let mut seen = Evidence {
        played: played.into_iter().map(|(part, status, end)| told(part, &[status], end)).collect(),
        submitted: Vec::new(),
        thresholds: [].into(),
        truth: Truth::default(),
        poller_runs: Vec::new(),
        table: InboxSnapshot {
            records: [(EVENT.to_owned(), record("webhook"))].into(),
            tracked: [].into(),
            quarantined: vec![kept],
        },
        messages: vec![message],
        dead_letters: 0,
        log,
        stored: Vec::new(),
        announced: Vec::new(),
        worked: Seen::default(),
        worked_log: Vec::new(),
    };
    submitted::add(&mut seen);
    effects::add(&mut seen);
    seen
}

fn cast() -> Cast {
    Cast { rightfoot_url: String::new(), forged_urls: Vec::new(), forgers_key: Keys::default(), seed: 1 }
}

fn record(origin: &str) -> RecordSnapshot {
    let (origin, received_at) = (origin.to_owned(), submitted::READY_AT);
    RecordSnapshot { is_due: false, is_sent: true, is_done: true, is_quarantined: false, requeues: 0, origin, received_at }
}

fn message(id: &str, origin: &str, payload: &str) -> MessageSnapshot {
    MessageSnapshot { id: id.to_owned(), origin: origin.to_owned(), payload: Some(payload.as_bytes().to_vec()) }
}

fn told(part: Part, statuses: &[u16], end: End) -> Played {
    let delivered = Delivered { id: part.outgoing.id.clone(), attempts: attempts(statuses), end };
    Played { part: Arc::new(part), deliveries: vec![delivered] }
}

fn attempts(statuses: &[u16]) -> Vec<Attempt> {
    let heard = |status| Answer::Heard { status, body: String::new(), retry_after_secs: None };
    let attempt = |status| Attempt { at: UnixMillis(0), took: Duration::ZERO, answer: heard(status) };
    statuses.iter().copied().map(attempt).collect()
}

/// What every run of the demo meets.
fn trouble() -> Vec<(AwsCall, CallOutcome)> {
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

fn call(operation: &str, event: &str, fate: CallOutcome) -> (AwsCall, CallOutcome) {
    (
        AwsCall { index: 0, operation: operation.to_owned(), permissions: Vec::new(), event_ids: vec![event.to_owned()] },
        fate,
    )
}

fn found(spoil: impl Fn(&mut Evidence)) -> Vec<String> {
    let mut evidence = in_order();
    spoil(&mut evidence);
    problems(&evidence).iter().map(ToString::to_string).collect()
}

fn spoil_answers(seen: &mut Evidence, index: usize, statuses: &[u16], end: End) {
    let part = Part::clone(&seen.played[index].part);
    seen.played[index] = told(part, statuses, end);
}

#[test]
fn nothing_is_found_where_all_is_in_order() {
    assert_eq!(found(|_| ()), Vec::<String>::new());
}

#[test]
fn p2_a_lost_event_is_found() {
    let lost = found(|seen| drop(seen.messages.remove(0)));
    assert_eq!(lost, [format!("LOST: authentic, and not on the queue: {EVENT}")]);
    let due = found(|seen| {
        let due = RecordSnapshot { is_due: true, is_sent: false, is_done: false, ..record("webhook") };
        seen.table.records.insert(EVENT.to_owned(), due);
    });
    let unworked = format!("recorded, and never worked on to its end: {EVENT}");
    assert_eq!(due, [format!("recorded, and still due: {EVENT}"), unworked]);
    let unrecorded = found(|seen| drop(seen.table.records.remove(EVENT)));
    assert_eq!(unrecorded, [format!("authentic, and not recorded: {EVENT}")]);
    let dead = found(|seen| seen.dead_letters = 1);
    assert_eq!(dead, ["on the dead-letter queue: message 0"]);
}

#[test]
fn p3_a_repeat_needs_a_step_of_unknown_outcome() {
    let twice = |fates: &[(&str, CallOutcome)]| {
        found(|seen| {
            seen.messages.push(seen.messages[0].clone());
            seen.log.extend(fates.iter().map(|(operation, fate)| call(operation, EVENT, fate.clone())));
        })
    };
    let unexplained = "on the queue more often than steps of unknown outcome explain";
    assert_eq!(twice(&[]), [format!("{unexplained}: {EVENT} (2 times)")]);
    let relay = ("SendMessageBatch", CallOutcome::Answered(200));
    let update = ("UpdateItem", CallOutcome::Answered(200));
    let refused = ("UpdateItem", CallOutcome::Answered(400));
    for not_explained in [
        vec![update.clone(), relay.clone(), update.clone()],
        vec![("SendMessage", CallOutcome::Faulted(Fault::Throttled))],
        vec![("PutItem", CallOutcome::Faulted(Fault::TimeoutAfter))],
        // A duplicate that is sent again finds its mark refused, too.
        vec![("SendMessage", CallOutcome::Answered(200)), refused.clone()],
    ] {
        assert_eq!(twice(&not_explained), [format!("{unexplained}: {EVENT} (2 times)")], "{not_explained:?}");
    }
    for explained in [
        vec![("SendMessage", CallOutcome::Faulted(Fault::TimeoutAfter))],
        vec![("UpdateItem", CallOutcome::Pending)],
        vec![update.clone(), relay.clone(), refused],
        vec![update.clone(), relay.clone(), ("UpdateItem", CallOutcome::Faulted(Fault::Throttled))],
        vec![update, relay],
    ] {
        assert_eq!(twice(&explained), Vec::<String>::new(), "{explained:?}");
    }
    let thrice = found(|seen| {
        seen.messages.extend([seen.messages[0].clone(), seen.messages[0].clone()]);
        seen.log.push(call("UpdateItem", EVENT, CallOutcome::Pending));
    });
    assert_eq!(thrice, [format!("{unexplained}: {EVENT} (3 times)")], "one unknown step, two repeats");
}

#[test]
fn p4_what_is_forged_or_altered_is_found() {
    let accepted = found(|seen| spoil_answers(seen, 1, &[200], End::Delivered));
    assert_eq!(
        accepted,
        [
            "forged, and not answered 403 in the end: fynapse/event/forged-00",
            "forged, and accepted: fynapse/event/forged-00"
        ]
    );
    let foreign = found(|seen| {
        let id = "fynapse/event/forged-00".to_owned();
        seen.table.records.insert(id.clone(), record("webhook"));
        seen.messages.push(MessageSnapshot { payload: None, ..message(&id, "webhook", "") });
    });
    assert_eq!(
        foreign,
        [
            "on the queue, and not an authentic event: fynapse/event/forged-00",
            "recorded, and not an authentic event: fynapse/event/forged-00"
        ]
    );
    for payload in [None, Some(b"{}".to_vec())] {
        let altered = found(|seen| seen.messages[0].payload.clone_from(&payload));
        assert_eq!(altered, [format!("on the queue with other bytes than were sent: {EVENT}")]);
    }
}

#[test]
fn p6_a_killing_answer_is_found_whoever_heard_it() {
    for (index, id) in [(0, EVENT), (1, "fynapse/event/forged-00")] {
        for status in [400, 401, 402, 405, 406, 410, 413] {
            let killed = found(|seen| spoil_answers(seen, index, &[503, status], End::Killed(status)));
            assert!(
                killed.contains(&format!("killed at Fynapse by its answer: {id}")),
                "{status}: {killed:?}"
            );
        }
    }
    let told_when = found(|seen| {
        let answer = Answer::Heard { status: 200, body: String::new(), retry_after_secs: Some(1) };
        seen.played[0].deliveries[0].attempts[0].answer = answer;
    });
    assert_eq!(told_when, [format!("answered with a Retry-After: {EVENT}")]);
    let unfinished = found(|seen| seen.played[0].deliveries.clear());
    assert_eq!(unfinished, [format!("still being delivered when the demo gave up waiting: {EVENT}")]);
    let exhausted = found(|seen| spoil_answers(seen, 0, &[503], End::Exhausted));
    assert_eq!(exhausted, [format!("authentic, and not answered 2xx in the end: {EVENT}")]);
}

#[test]
fn p7_quarantine_holds_what_belongs_there_and_nothing_else() {
    let id = "broken/fynapse/event/act-unusable-0";
    let missing = found(|seen| drop(seen.table.quarantined.remove(0)));
    assert_eq!(missing, [format!("unusable, and not kept byte for byte: {id}")]);
    let reason = found(|seen| seen.table.quarantined[0].reason = "stale".to_owned());
    assert_eq!(reason, [format!("unusable, and kept for another reason: {id}")]);
    let altered = found(|seen| seen.table.quarantined[0].payload = Some(b"{".to_vec()));
    assert_eq!(
        altered,
        [
            format!("unusable, and not kept byte for byte: {id}"),
            "in quarantine, and nothing that belongs there: fynapse (unreadable)".to_owned()
        ]
    );
    let killed = found(|seen| spoil_answers(seen, 2, &[503], End::GivenUp));
    assert_eq!(killed, [format!("unusable, and not answered as its provider is told to: {id}")]);
}

#[test]
fn an_event_that_came_too_late_once_may_be_in_quarantine_as_well() {
    let late = |statuses: &'static [u16]| {
        found(move |seen| {
            spoil_answers(seen, 0, statuses, End::Delivered);
            let payload = Some(seen.played[0].part.outgoing.body.to_vec());
            let (provider, reason) = ("fynapse".to_owned(), "stale".to_owned());
            seen.table.quarantined.push(QuarantineSnapshot { provider, reason, payload, event_id: None });
        })
    };
    assert_eq!(late(&[403, 200]), Vec::<String>::new());
    assert_eq!(late(&[200]).len(), 1);
}

#[test]
fn trouble_that_never_came_is_a_problem() {
    let calm = found(|seen| seen.log.retain(|(call, _)| call.operation != "SendMessageBatch"));
    assert_eq!(calm, ["planned trouble that never came: SendMessageBatch CrashAfter"]);
}

#[test]
fn numbers_are_counted_from_what_was_seen() {
    let mut seen = in_order();
    seen.messages.push(seen.messages[0].clone());
    seen.log.push(call("SendMessageBatch", EVENT, CallOutcome::Answered(200)));
    seen.log.push(call("SendMessageBatch", "rightfoot/batch/later/completed", CallOutcome::Answered(200)));
    spoil_answers(&mut seen, 0, &[503, 200, 200], End::Delivered);
    seen.played[0].deliveries[0].attempts[0].answer = Answer::Nothing("reset".to_owned());
    // The first attempt was recorded, and its answer lost: nobody ever heard that it was received.
    for (played, attempt, status) in [(0, 1, "duplicate"), (0, 2, "duplicate"), (2, 0, "quarantined")] {
        let body = format!(r#"{{"status":"{status}"}}"#);
        let answer = Answer::Heard { status: 200, body, retry_after_secs: None };
        seen.played[played].deliveries[0].attempts[attempt].answer = answer;
    }
    let report = Report::of(&seen, Duration::ZERO);
    let fynapse = Row {
        provider: "fynapse",
        sent: 5,
        received: 0,
        duplicate: 2,
        kept: 1,
        refused: 1,
        undecided: 1,
        recorded: 1,
        quarantined: 1,
        on_the_queue: 1,
        relayed: 1,
        repeated: 1,
    };
    assert_eq!(report.rows[1], fynapse);
    assert_eq!(report.rows[0].relayed, 0, "of a run that is not looked at");
    assert_eq!((report.failed_calls, report.forgeries, report.undecided), (20, 1, 1));
    assert!(seen.events().all(|part| part.expected == Expected::OnQueue));
}
