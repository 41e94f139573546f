//! What is decided about a batch, by what was answered.

use std::time::Duration;

use super::*;
use crate::event::Origin;
use proptest::prelude::*;

const NOW: UnixMillis = UnixMillis(1_795_356_000_123);
const HOUR: Duration = Duration::from_secs(3_600);

fn id(name: &str) -> Id {
    Id::new(name).unwrap()
}

fn tracked(expected: u64, failed: &[&str]) -> Tracked {
    Tracked {
        batch_id: id("b-1"),
        subject: Some("demo".parse().unwrap()),
        schedule_id: None,
        expected,
        failed: failed.iter().map(|name| id(name)).collect(),
        deadline: NOW.plus(HOUR),
        polls: 0,
    }
}

fn run(expected: u64) -> Tracked {
    Tracked { schedule_id: Some(id("s-1")), ..tracked(expected, &[]) }
}

fn rows(names: &[(&str, Option<&str>)], reached_last_page: bool) -> Rows {
    let row = |(name, amount): &(&str, Option<&str>)| {
        let amount = amount.map(|amount| amount.parse().unwrap());
        let status_code = if amount.is_some() { 0 } else { 3300 };
        (id(name), Balance { authorizer: id(name), amount, status_code, checked_at: None })
    };
    Rows { balances: names.iter().map(row).collect(), reached_last_page, skipped: 0 }
}

fn some(count: usize, reached_last_page: bool) -> Observation<Rows> {
    let names: Vec<_> = (0..count).map(|n| format!("a-{n}")).collect();
    let names: Vec<_> = names.iter().map(|name| (name.as_str(), Some("1.00"))).collect();
    Observation::Answered(rows(&names, reached_last_page))
}

fn asked(tracked: &Tracked, observed: &Observation<Rows>, now: UnixMillis) -> (bool, Then) {
    let planned = now.plus(Duration::from_secs(300));
    let (question, watch) = (Question::Complete, AlertWatch::default());
    let plan = after_asking(tracked, question, &watch, observed, planned, &Cadence::default(), now);
    (plan.record.is_some(), plan.then)
}

#[test]
fn p5_a_batch_is_complete_when_everybody_is_there_and_the_last_page_was_read() {
    let batch = tracked(3, &[]);
    assert_eq!(asked(&batch, &some(3, true), NOW), (true, Then::Done));
    assert_eq!(asked(&batch, &some(4, true), NOW), (true, Then::Done));
    assert_eq!(asked(&batch, &some(2, true), NOW), (false, Then::AsPlanned), "the last page alone");
    assert_eq!(asked(&batch, &some(3, false), NOW), (false, Then::AsPlanned), "everybody alone");
    assert_eq!(asked(&batch, &some(0, true), NOW), (false, Then::AsPlanned));
    assert_eq!(asked(&tracked(0, &[]), &some(0, true), NOW), (false, Then::AsPlanned), "an empty list");
}

#[test]
fn whom_rightfoot_refused_is_not_waited_for_and_does_not_count() {
    let batch = tracked(4, &["a-0", "a-1"]);
    assert!(!asked(&batch, &some(3, true), NOW).0, "a-0, a-1 and a-2");
    assert!(asked(&batch, &some(4, true), NOW).0);
    let others = Observation::Answered(rows(&[("a-2", None), ("a-3", Some("1"))], true));
    assert!(asked(&batch, &others, NOW).0, "a failed check is a result");
}

#[test]
fn p5_a_batch_with_a_row_that_cannot_be_read_is_never_complete() {
    let rows = Rows { skipped: 1, ..rows(&[("a-0", None), ("a-1", None)], true) };
    assert_eq!(asked(&tracked(1, &[]), &Observation::Answered(rows), NOW), (false, Then::AsPlanned));
}

#[test]
fn p9_overdue_takes_an_answer_at_or_after_the_deadline() {
    let batch = tracked(3, &[]);
    let (before, at) = (UnixMillis(batch.deadline.0 - 1), batch.deadline);
    for answer in [some(2, true), some(3, false), Observation::NotReady, Observation::Refused] {
        assert_eq!(asked(&batch, &answer, before), (false, Then::AsPlanned), "{answer:?}");
        assert_eq!(asked(&batch, &answer, at), (false, Then::Overdue), "{answer:?}");
    }
    for silence in
        [Observation::Unauthorized, Observation::Unanswered, Observation::RateLimited { retry_after: None }]
    {
        assert_eq!(asked(&batch, &silence, at.plus(HOUR * 999)), (false, Then::AsPlanned), "{silence:?}");
    }
    assert_eq!(asked(&batch, &some(3, true), at.plus(HOUR)), (true, Then::Done), "late is complete");
}

#[test]
fn retry_after_is_honoured_where_it_is_later_than_planned() {
    let limited = |secs| Observation::RateLimited { retry_after: Some(Duration::from_secs(secs)) };
    assert_eq!(asked(&tracked(1, &[]), &limited(299), NOW).1, Then::AsPlanned);
    let later = NOW.plus(Duration::from_secs(301));
    assert_eq!(asked(&tracked(1, &[]), &limited(301), NOW).1, Then::Later(later));
}

#[test]
fn p4_what_the_poll_found_is_written_as_the_webhook_would_have_told_it() {
    let (question, watch, cadence) = (Question::Complete, AlertWatch::default(), Cadence::default());
    let plan = after_asking(&tracked(1, &[]), question, &watch, &some(1, true), NOW, &cadence, NOW);
    let event = plan.record.unwrap();
    assert_eq!(event.proven().body(), br#"{"type":"BALANCE_BATCH_COMPLETED","batch_id":"b-1"}"#);
    assert_eq!(event.key().event_id(), "rightfoot/batch/b-1/completed");
    assert_eq!((event.origin(), event.event_type()), (Origin::Poll, "BALANCE_BATCH_COMPLETED"));
    assert_eq!(event.proven().received_at(), NOW);
}

#[test]
fn a_batch_of_its_own_is_done_with_its_completion_and_a_run_waits_for_its_alerts() {
    let cadence = Cadence::default();
    let step = |tracked: &Tracked, completed_at, now| first_step(tracked, completed_at, &cadence, now);
    assert_eq!(step(&tracked(1, &[]), None, NOW), Step::Ask(Question::Complete));
    assert_eq!(step(&tracked(1, &[]), Some(NOW), NOW), Step::Done);
    let settled_at = NOW.plus(cadence.grace);
    assert_eq!(step(&run(1), Some(NOW), NOW), Step::Later(settled_at));
    assert_eq!(step(&run(1), Some(NOW), UnixMillis(settled_at.0 - 1)), Step::Later(settled_at));
    assert_eq!(step(&run(1), Some(NOW), settled_at), Step::Ask(Question::Alerts));
    assert_eq!(asked(&run(1), &some(1, true), NOW), (true, Then::AlertsAt(settled_at)));
}

fn thresholds(default: Option<&str>, own: &[(&str, &str)]) -> Thresholds {
    let own = own.iter().map(|(name, amount)| (id(name), amount.parse().unwrap()));
    Thresholds { default: default.map(|amount| amount.parse().unwrap()), authorizers: own.collect() }
}

fn alerts_of(
    tracked: &Tracked,
    alerted: &[&str],
    thresholds: &Thresholds,
    rows: Rows,
    now: UnixMillis,
) -> (Option<String>, Then) {
    let alerted = alerted.iter().map(|name| id(name)).collect();
    let watch = AlertWatch { thresholds: thresholds.clone(), alerted };
    let (observed, planned) = (Observation::Answered(rows), NOW.plus(HOUR));
    let plan = after_asking(tracked, Question::Alerts, &watch, &observed, planned, &Cadence::default(), now);
    let body = plan.record.map(|event| {
        assert!(event.key().event_id().starts_with("rightfoot/batch/b-1/alert/poll-"));
        String::from_utf8(event.proven().body().to_vec()).unwrap()
    });
    (body, plan.then)
}

#[test]
fn an_alert_is_a_balance_that_meets_or_exceeds_the_authorizers_own_threshold_or_the_default() {
    let all = rows(
        &[
            ("above", Some("100.01")),
            ("at", Some("100.0")),
            ("below", Some("99.99")),
            ("failed", None),
            ("own-high", Some("150.00")),
            ("own-low", Some("-1.50")),
        ],
        true,
    );
    let thresholds = thresholds(Some("100.00"), &[("own-high", "200"), ("own-low", "-2")]);
    let (body, then) = alerts_of(&run(6), &[], &thresholds, all, NOW);
    assert_eq!(
        body.as_deref(),
        Some(concat!(
            r#"{"type":"BALANCE_THRESHOLD_ALERT","schedule_id":"s-1","batch_id":"b-1","alerts":["#,
            r#"{"authorizer_unique_id":"above","balance":100.01,"threshold_amount":100.00},"#,
            r#"{"authorizer_unique_id":"at","balance":100.0,"threshold_amount":100.00},"#,
            r#"{"authorizer_unique_id":"own-low","balance":-1.50,"threshold_amount":-2}"#,
            r#"],"timestamp":"2026-11-22T14:00:00.123Z"}"#
        ))
    );
    assert_eq!(then, Then::Done);
}

#[test]
fn p5_what_a_webhook_told_is_not_told_again() {
    let both = rows(&[("a", Some("5")), ("b", Some("5"))], true);
    let told =
        |alerted: &[&str], default| alerts_of(&run(2), alerted, &thresholds(default, &[]), both.clone(), NOW);
    let (body, _) = told(&["a"], Some("1"));
    assert!(body.is_some_and(|body| body.contains("\"b\"") && !body.contains("\"a\"")));
    assert_eq!(told(&["a", "b"], Some("1")), (None, Then::Done));
    assert_eq!(told(&[], None), (None, Then::Done));
}

#[test]
fn alerts_wait_until_everybody_is_there_and_at_the_deadline_no_longer() {
    let (run, thresholds) = (run(2), thresholds(Some("1"), &[]));
    let one = rows(&[("a", Some("5"))], true);
    assert_eq!(alerts_of(&run, &[], &thresholds, one.clone(), NOW), (None, Then::AsPlanned));
    let (body, then) = alerts_of(&run, &[], &thresholds, one, run.deadline);
    assert!(body.is_some() && then == Then::Overdue);
}

#[test]
fn a_run_that_is_overdue_tells_the_alerts_that_it_shows() {
    let thresholds = thresholds(Some("1"), &[]);
    let watch = AlertWatch { thresholds, alerted: BTreeSet::new() };
    let one = Observation::Answered(rows(&[("a", Some("5"))], true));
    let (run, cadence) = (run(2), Cadence::default());
    let asked = |now| after_asking(&run, Question::Complete, &watch, &one, NOW.plus(HOUR), &cadence, now);
    assert!(asked(NOW).record.is_none());
    let plan = asked(run.deadline);
    let event = plan.record.unwrap();
    // SHA-256 of the length of "a" in eight bytes, and "a".
    assert_eq!(
        (event.key().event_id().as_str(), plan.then),
        ("rightfoot/batch/b-1/alert/poll-3b196fd4907bedf51c3090e9835f2f7c", Then::Overdue)
    );
}

fn observation() -> impl Strategy<Value = Observation<Rows>> {
    prop_oneof![
        (0usize..6, any::<bool>()).prop_map(|(count, last)| some(count, last)),
        Just(Observation::NotReady),
        Just(Observation::Refused),
        Just(Observation::Unauthorized),
        Just(Observation::Unanswered),
        proptest::option::of(0u64..100_000)
            .prop_map(|secs| Observation::RateLimited { retry_after: secs.map(Duration::from_secs) }),
    ]
}

#[test]
fn a_flood_is_more_alert_events_than_the_authorizers_explain_or_than_are_read() {
    assert!(explains(3, 18) && !explains(3, 19));
    assert!(explains(1_000, 1_000) && !explains(1_000, 1_001) && !explains(200, 1_001));
}

proptest! {
    #[test]
    fn p5_p9_what_is_decided_follows_from_what_was_answered(
        expected in 0u64..6, failed in 0usize..6, observed in observation(), late_ms in -5i64..5
    ) {
        let failed: Vec<_> = (0..failed).map(|n| format!("a-{n}")).collect();
        let batch = tracked(expected, &failed.iter().map(String::as_str).collect::<Vec<_>>());
        let now = UnixMillis(batch.deadline.0 + late_ms);
        let (recorded, then) = asked(&batch, &observed, now);
        if recorded {
            let Observation::Answered(rows) = &observed else { panic!("completed without an answer") };
            let others = rows.balances.keys().filter(|id| !batch.failed.contains(*id)).count() as u64;
            prop_assert!(rows.reached_last_page && others >= 1);
            prop_assert!(others + batch.failed.len() as u64 >= expected);
        }
        prop_assert_eq!(then == Then::Overdue, !recorded && observed.is_answer() && late_ms >= 0);
        prop_assert_eq!(then == Then::Done, recorded);
    }

    #[test]
    fn p9_a_batch_that_is_polled_ends_as_soon_as_it_is_answered_after_its_deadline(
        answers in proptest::collection::vec(observation(), 1..40)
    ) {
        let cadence = Cadence::default();
        let mut batch = tracked(5, &[]);
        let mut now = NOW;
        let mut ended = false;
        for observed in answers.iter().chain(std::iter::repeat_n(&Observation::NotReady, 10)) {
            let planned = cadence.again(now, batch.polls);
            batch.polls += 1;
            let (question, watch) = (Question::Complete, AlertWatch::default());
            match after_asking(&batch, question, &watch, observed, planned, &cadence, now).then {
                Then::Done | Then::Overdue => {
                    ended = true;
                    break;
                }
                Then::AsPlanned => now = planned,
                Then::Later(at) => {
                    prop_assert!(at > planned);
                    now = at;
                }
                Then::AlertsAt(_) => panic!("it is no run"),
            }
        }
        prop_assert!(ended);
    }
}
