//! The same for what was submitted to Rightfoot.

use std::time::Duration;

use inbox_core::time::UnixMillis;

use super::{call, found, in_order, message, record};
use crate::demo::check::Evidence;
use crate::demo::rightfoot::{ALERT, COMPLETED, PollerRun};
use crate::demo::submissions::{Heard, Submitted};
use crate::demo::table::{Report, Told};
use crate::rightfoot::{AttemptSeen, BatchSeen, Request, RowSeen, RunSeen, ScheduleSeen, WebhookSeen};
use crate::connector::CallOutcome;

/// When every batch is complete, and every record was made.
pub(super) const READY_AT: UnixMillis = UnixMillis(90_000);

const TOLD: &str = "rightfoot/batch/told/completed";
const FOUND: &str = "rightfoot/batch/found/completed";
const ALERTED: &str = "rightfoot/batch/run/alert/u-alert";
/// Of "b": printf '\0\0\0\0\0\0\0\1b' | sha256sum | cut -c -32
const POLLED: &str = "rightfoot/batch/run/alert/poll-5c53585edd9ec296f5537f01ff9e47e2";

/// A batch whose webhook came, one whose webhook got lost, and two runs of a schedule. Of the first run, one alert's
/// webhook came and another's got lost.
pub(super) fn add(seen: &mut Evidence) {
    let truth = &mut seen.truth;
    truth.batches =
        vec![batch("told", None), batch("found", None), batch("run", Some("s")), batch("run-2", Some("s"))];
    truth.batches[0].failed.push("refused".to_owned());
    let run = |batch_id: &str| RunSeen { run_at: UnixMillis(0), batch_id: batch_id.to_owned() };
    truth.schedules = vec![ScheduleSeen {
        schedule_id: "s".to_owned(),
        name: "Demo".to_owned(),
        runs: vec![run("run"), run("run-2")],
        next_run_at: None,
    }];
    truth.due_alerts = ["a", "b"].map(|authorizer| ("run".to_owned(), authorizer.to_owned())).into();
    truth.requests = vec![Request {
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
        webhook("told", COMPLETED, "u", &completion("told"), false),
        webhook("found", COMPLETED, "u", &completion("found"), true),
        webhook("run", COMPLETED, "u", &completion("run"), false),
        webhook("run-2", COMPLETED, "u", &completion("run-2"), true),
        webhook("run", ALERT, "u-alert", &alert(&[("a", "150.00", "100.50")]), false),
        webhook("run", ALERT, "u-lost", &alert(&[("b", "2500.00", "2500")]), true),
    ];
    let polled = |batch_id: &str| format!(r#"{{"type":"BALANCE_BATCH_COMPLETED","batch_id":"{batch_id}"}}"#);
    for (id, origin, payload) in [
        (TOLD, "webhook", completion("told")),
        (FOUND, "poll", polled("found")),
        ("rightfoot/batch/run/completed", "webhook", completion("run")),
        ("rightfoot/batch/run-2/completed", "poll", polled("run-2")),
        (ALERTED, "webhook", alert(&[("a", "150.00", "100.50")])),
        (POLLED, "poll", alert(&[("b", "2500.00", "2500")])),
    ] {
        seen.table.records.insert(id.to_owned(), record(origin));
        seen.messages.push(message(id, origin, &payload));
        for operation in ["PutItem", "SendMessage", "UpdateItem"] {
            seen.log.push(call(operation, id, CallOutcome::Answered(200)));
        }
    }
    seen.thresholds = [("a".to_owned(), "100.50"), ("b".to_owned(), "2500"), ("c".to_owned(), "2500")].into();
    seen.submitted = vec![
        submitted("payroll-1", &[Heard::Death, answer("told", &["refused"]), answer("told", &["refused"])]),
        submitted("payroll-2", &[answer("found", &[])]),
        submitted("watch", &[Heard::Refusal("AwsCallFailed"), answer("s", &[])]),
    ];
    for (pk, due) in [
        ("batch#told", false),
        ("batch#found", false),
        ("batch#run", false),
        ("batch#run-2", false),
        ("schedule#s", true),
        ("submission#payroll-1", false),
        ("submission#payroll-2", false),
        ("submission#watch", false),
    ] {
        seen.table.tracked.insert(format!("rightfoot#{pk}"), due);
    }
    let in_trouble = PollerRun { in_calm: false, failed: Some("AwsCallFailed: refused".to_owned()) };
    seen.poller_runs = vec![PollerRun { in_calm: true, failed: None }, in_trouble];
}

fn batch(batch_id: &str, schedule_id: Option<&str>) -> BatchSeen {
    let rows = [("a", Some("150.00")), ("b", Some("2500.00")), ("c", None)];
    let row = |(authorizer, balance): (&str, Option<&str>)| RowSeen {
        authorizer: authorizer.to_owned(),
        balance: balance.map(str::to_owned),
        status_code: 0,
    };
    BatchSeen {
        batch_id: batch_id.to_owned(),
        schedule_id: schedule_id.map(str::to_owned),
        authorizers: rows.map(|(authorizer, _)| authorizer.to_owned()).into(),
        failed: Vec::new(),
        begun_at: UnixMillis(0),
        ready_at: READY_AT,
        rows: rows.map(row).into(),
    }
}

fn webhook(batch_id: &str, event_type: &str, event_uuid: &str, body: &str, lost: bool) -> WebhookSeen {
    WebhookSeen {
        batch_id: batch_id.to_owned(),
        event_type: event_type.to_owned(),
        url: String::new(),
        event_uuids: vec![event_uuid.to_owned()],
        lost,
        attempts: vec![AttemptSeen { at: READY_AT.plus(Duration::from_secs(420)), status: Some(200) }],
        delivered: !lost,
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

fn submitted(submission_id: &str, heard: &[Heard]) -> Submitted {
    Submitted { submission_id: submission_id.to_owned(), heard: heard.to_vec() }
}

fn answer(made: &str, failed: &[&str]) -> Heard {
    Heard::Answer { made: made.to_owned(), failed: failed.iter().map(|id| (*id).to_owned()).collect() }
}

/// Another event of the poller's or a webhook's is recorded and sent.
fn tell(seen: &mut Evidence, id: &str, origin: &str, payload: &str) {
    seen.messages.retain(|message| message.id != id);
    seen.messages.push(message(id, origin, payload));
    seen.table.records.insert(id.to_owned(), record(origin));
}

fn lose(seen: &mut Evidence, id: &str) {
    seen.messages.retain(|message| message.id != id);
    seen.table.records.remove(id);
}

#[test]
fn p5_a_completion_that_is_missing_is_found_and_one_too_many() {
    for (id, batch) in [(TOLD, "told"), (FOUND, "found")] {
        let missing = found(|seen| lose(seen, id));
        assert!(
            missing.contains(&format!("a batch that did not end in exactly one completion event: {batch}")),
            "{missing:?}"
        );
        assert!(missing.contains(&format!("LOST: authentic, and not on the queue: {id}")));
    }
    let another = "rightfoot/batch/told/completed/again";
    let twice =
        found(|seen| tell(seen, another, "poll", r#"{"type":"BALANCE_BATCH_COMPLETED","batch_id":"told"}"#));
    assert_eq!(
        twice,
        [
            format!("on the queue, and not an authentic event: {another}"),
            format!("recorded, and not an authentic event: {another}"),
            "a batch that did not end in exactly one completion event: told".to_owned()
        ]
    );
}

#[test]
fn p5_a_completion_that_is_told_before_it_is_true_is_found() {
    let early = found(|seen| {
        let record = seen.table.records.get_mut(FOUND).unwrap();
        record.received_at = READY_AT.minus(Duration::from_millis(1));
    });
    assert_eq!(early, ["told to be complete before it was: found"]);
}

#[test]
fn a_completion_has_the_bytes_of_its_webhook_or_the_pollers_own() {
    let altered = |id: &'static str, origin: &'static str, payload: &'static str| {
        found(move |seen| {
            let at = seen.messages.iter().position(|message| message.id == id).unwrap();
            seen.messages[at] = message(id, origin, payload);
        })
    };
    let polled = r#"{"type":"BALANCE_BATCH_COMPLETED","batch_id":"told"}"#;
    assert_eq!(
        altered(TOLD, "webhook", polled),
        [format!("on the queue with other bytes than were sent: {TOLD}")]
    );
    let with_uuid = r#"{"event_uuid":"u","type":"BALANCE_BATCH_COMPLETED","batch_id":"found"}"#;
    assert_eq!(
        altered(FOUND, "poll", with_uuid),
        [format!("on the queue with other bytes than were sent: {FOUND}")]
    );
    let plain = r#"{"type":"BALANCE_BATCH_COMPLETED","batch_id":"found"}"#;
    assert_eq!(
        altered(FOUND, "webhook", plain),
        [format!("on the queue with another origin than recorded: {FOUND}")]
    );
}

#[test]
fn a_webhook_that_got_lost_cannot_have_come() {
    let came = found(|seen| {
        let body = seen.truth.webhooks[1].body.clone();
        tell(seen, FOUND, "webhook", &body);
    });
    assert_eq!(
        came,
        [
            "its webhook got lost, and its completion did not come by poll: BALANCE_BATCH_COMPLETED of found",
            "on the bus with another origin than recorded: completion of found"
        ]
    );
    let undelivered = found(|seen| seen.truth.webhooks[0].delivered = false);
    assert_eq!(
        undelivered,
        ["a webhook that was sent, and not answered 2xx in the end: BALANCE_BATCH_COMPLETED of told"]
    );
}

#[test]
fn p5_an_alert_that_nobody_tells_is_found() {
    for (id, authorizer) in [(ALERTED, "a"), (POLLED, "b")] {
        let untold = found(|seen| lose(seen, id));
        let expected = format!("an alert that is due, and told by no event: {authorizer} in run");
        assert!(untold.contains(&expected), "{untold:?}");
        assert!(untold.contains(&format!("LOST: authentic, and not on the queue: {id}")));
    }
}

#[test]
fn p5_an_alert_that_is_told_twice_or_not_due_is_found() {
    let both = [("a", "150.00", "100.50"), ("b", "2500.00", "2500")];
    let twice = found(|seen| tell(seen, POLLED, "poll", &alert(&both)));
    assert_eq!(twice, ["an alert that is told by more than one event: a in run"]);
    let undue = found(|seen| {
        seen.truth.due_alerts.remove(&("run".to_owned(), "b".to_owned()));
    });
    let told = "an alert that is told, and not due: b in run";
    assert_eq!(undue, [told, "on the bus, and nobody's effect: alert of b in run"]);
    for rows in [[("b", "2500.01", "2500")], [("b", "2500.00", "100.50")], [("b", "2500", "2500")]] {
        let altered = found(|seen| tell(seen, POLLED, "poll", &alert(&rows)));
        assert_eq!(altered, ["an alert with another balance or threshold than Rightfoot's: b in run"]);
    }
}

#[test]
fn a_submission_that_was_done_twice_or_never_is_found() {
    let never = found(|seen| seen.submitted[1].heard = vec![Heard::Death, Heard::Refusal("OutcomeUnknown")]);
    assert_eq!(
        never,
        [
            "submitted, and never answered: payroll-2",
            "at Rightfoot, and nobody's answer: submitted twice: found"
        ]
    );
    let twice = found(|seen| {
        let again = BatchSeen { schedule_id: None, ..seen.truth.batches.remove(3) };
        seen.truth.batches.push(again);
    });
    assert_eq!(twice, ["at Rightfoot, and nobody's answer: submitted twice: run-2"]);
    let differently = found(|seen| seen.submitted[0].heard.push(answer("found", &[])));
    assert_eq!(differently, ["submitted again, and answered differently: payroll-1"]);
    let shared = found(|seen| seen.submitted[1].heard = vec![answer("told", &["refused"])]);
    assert_eq!(
        shared,
        [
            "at Rightfoot, and nobody's answer: submitted twice: found",
            "the answer to more than one submission: told"
        ]
    );
    let absent = found(|seen| seen.submitted.push(submitted("watch", &[answer("nothing", &[])])));
    assert_eq!(absent, ["answered, and not at Rightfoot: nothing"]);
    let refused = found(|seen| seen.truth.batches[1].failed.push("d".to_owned()));
    assert_eq!(refused, ["answered with other refused authorizers than Rightfoot's: payroll-2"]);
}

#[test]
fn p9_what_is_not_watched_or_never_ends_is_found() {
    for (pk, what) in [
        ("rightfoot#batch#run", "batch"),
        ("rightfoot#schedule#s", "schedule"),
        ("rightfoot#submission#watch", "s"),
    ] {
        let unwatched = found(|seen| seen.table.tracked.retain(|place, _| place != pk));
        assert_eq!(unwatched, [format!("at Rightfoot, and never watched: {pk}")], "{what}");
    }
    for pk in ["rightfoot#batch#run", "rightfoot#submission#watch"] {
        let due = found(|seen| seen.table.tracked.extend([(pk.to_owned(), true)]));
        assert_eq!(due, [format!("watched, and still due: {pk}")]);
    }
    let failed = found(|seen| seen.poller_runs[1].in_calm = true);
    assert_eq!(
        failed,
        ["a run of the poller that failed, although nothing was broken: run 1 (AwsCallFailed: refused)"]
    );
}

#[test]
fn what_the_demo_stands_for_and_did_not_happen_is_a_problem() {
    let planned = |what: &str| vec![format!("planned, and never happened: {what}")];
    assert_eq!(
        found(|seen| seen.truth.requests.clear()),
        planned("a question about a batch that was not complete")
    );
    assert_eq!(
        found(|seen| seen.truth.requests[0].at = READY_AT),
        planned("a question about a batch that was not complete")
    );
    assert_eq!(found(|seen| drop(seen.truth.schedules[0].runs.pop())), planned("a second run of a schedule"));
    assert_eq!(
        found(|seen| seen.truth.webhooks[4].attempts[0].at = READY_AT),
        planned("an alert's webhook that came long after the completion")
    );
    let no_polled_alert = found(|seen| {
        lose(seen, POLLED);
        seen.truth.webhooks.pop();
        seen.truth.due_alerts.remove(&("run".to_owned(), "b".to_owned()));
        seen.announced.retain(|announced| announced.origin != "poll" || announced.id.ends_with("/completed"));
    });
    assert_eq!(no_polled_alert, planned("an alert by poll, an alert's webhook that got lost"));
}

#[test]
fn what_came_by_webhook_and_what_by_poll_is_counted() {
    let mut seen = in_order();
    seen.messages.push(seen.messages[1].clone());
    // It had been found before its webhook came.
    seen.truth.webhooks[3] = WebhookSeen { lost: false, delivered: true, ..seen.truth.webhooks[3].clone() };
    let report = Report::of(&seen, Duration::ZERO);
    let told = |what, owed, by_webhook, events, repeated, webhooks, lost| Told {
        what,
        owed,
        by_webhook,
        by_poll: owed - by_webhook,
        events,
        repeated,
        webhooks,
        lost,
    };
    assert_eq!(report.told, [told("completions", 4, 2, 4, 1, 4, 1), told("alerts", 2, 1, 2, 0, 2, 1)]);
    assert_eq!((report.runs, report.late), (2, 1));
    assert_eq!((report.submissions, report.calls, report.deaths), (3, 6, 1));
    assert_eq!(
        report.rows[0].recorded, 1,
        "what was submitted has a table of its own; the cast has an alert"
    );
}
