//! Tests of the decisions about a batch.

use std::time::Duration;

use super::*;
use crate::origin::Origin;
use proptest::prelude::*;

const NOW: UnixMillis = UnixMillis(1_795_356_000_123);
const HOUR: Duration = Duration::from_secs(3_600);

fn id(name: &str) -> Id {
    Id::new(name).unwrap()
}

fn tracked(expected: u64, failed: &[&str]) -> TrackedBatch {
    TrackedBatch {
        batch_id: id("b-1"),
        subject: Some("demo".parse().unwrap()),
        schedule_id: None,
        expected,
        failed_authorizers: failed.iter().map(|name| id(name)).collect(),
        deadline: NOW.plus(HOUR),
        polls: 0,
    }
}

fn run(expected: u64) -> TrackedBatch {
    TrackedBatch { schedule_id: Some(id("s-1")), ..tracked(expected, &[]) }
}

fn rows(names: &[(&str, Option<&str>)], reached_last_page: bool) -> BalanceRows {
    let row = |(name, amount): &(&str, Option<&str>)| {
        let amount = amount.map(|amount| amount.parse().unwrap());
        let status_code = if amount.is_some() { 0 } else { 3300 };
        (id(name), Balance { authorizer: id(name), amount, status_code, checked_at: None })
    };
    BalanceRows { balances: names.iter().map(row).collect(), reached_last_page, unreadable_rows: 0 }
}

fn answered(count: usize, reached_last_page: bool) -> PollResult<BalanceRows> {
    let names: Vec<_> = (0..count).map(|n| format!("a-{n}")).collect();
    let names: Vec<_> = names.iter().map(|name| (name.as_str(), Some("1.00"))).collect();
    PollResult::Answered(rows(&names, reached_last_page))
}

fn poll_for_completion(
    tracked: &TrackedBatch,
    result: &PollResult<BalanceRows>,
    now: UnixMillis,
) -> (bool, BatchDisposition) {
    let planned = now.plus(Duration::from_secs(300));
    let (question, alerts) = (PollQuestion::Completion, AlertState::default());
    let plan = plan_after_poll(tracked, question, &alerts, result, planned, &PollTiming::default(), now);
    (plan.record.is_some(), plan.disposition)
}

#[test]
fn p5_a_batch_is_complete_with_every_result_and_the_last_page() {
    let batch = tracked(3, &[]);
    assert_eq!(poll_for_completion(&batch, &answered(3, true), NOW), (true, BatchDisposition::Done));
    assert_eq!(poll_for_completion(&batch, &answered(4, true), NOW), (true, BatchDisposition::Done));
    assert_eq!(
        poll_for_completion(&batch, &answered(2, true), NOW),
        (false, BatchDisposition::PollAsPlanned),
        "the last page alone"
    );
    assert_eq!(
        poll_for_completion(&batch, &answered(3, false), NOW),
        (false, BatchDisposition::PollAsPlanned),
        "everybody alone"
    );
    assert_eq!(
        poll_for_completion(&batch, &answered(0, true), NOW),
        (false, BatchDisposition::PollAsPlanned)
    );
    assert_eq!(
        poll_for_completion(&tracked(0, &[]), &answered(0, true), NOW),
        (false, BatchDisposition::PollAsPlanned),
        "an empty list"
    );
}

#[test]
fn failed_authorizers_are_not_awaited_and_do_not_count() {
    let batch = tracked(4, &["a-0", "a-1"]);
    assert!(!poll_for_completion(&batch, &answered(3, true), NOW).0, "a-0, a-1 and a-2");
    assert!(poll_for_completion(&batch, &answered(4, true), NOW).0);
    let others = PollResult::Answered(rows(&[("a-2", None), ("a-3", Some("1"))], true));
    assert!(poll_for_completion(&batch, &others, NOW).0, "a failed check is a result");
}

#[test]
fn p5_a_batch_with_a_row_that_cannot_be_read_is_never_complete() {
    let rows = BalanceRows { unreadable_rows: 1, ..rows(&[("a-0", None), ("a-1", None)], true) };
    assert_eq!(
        poll_for_completion(&tracked(1, &[]), &PollResult::Answered(rows), NOW),
        (false, BatchDisposition::PollAsPlanned)
    );
}

#[test]
fn p9_overdue_takes_an_answer_at_or_after_the_deadline() {
    let batch = tracked(3, &[]);
    let (before, at) = (UnixMillis(batch.deadline.0 - 1), batch.deadline);
    for answer in [answered(2, true), answered(3, false), PollResult::NotReady, PollResult::Denied] {
        assert_eq!(
            poll_for_completion(&batch, &answer, before),
            (false, BatchDisposition::PollAsPlanned),
            "{answer:?}"
        );
        assert_eq!(
            poll_for_completion(&batch, &answer, at),
            (false, BatchDisposition::Overdue),
            "{answer:?}"
        );
    }
    for silence in
        [PollResult::Unauthorized, PollResult::Unanswered, PollResult::RateLimited { retry_after: None }]
    {
        assert_eq!(
            poll_for_completion(&batch, &silence, at.plus(HOUR * 999)),
            (false, BatchDisposition::PollAsPlanned),
            "{silence:?}"
        );
    }
    assert_eq!(
        poll_for_completion(&batch, &answered(3, true), at.plus(HOUR)),
        (true, BatchDisposition::Done),
        "late is complete"
    );
}

#[test]
fn retry_after_is_honoured_where_it_is_later_than_planned() {
    let limited = |secs| PollResult::RateLimited { retry_after: Some(Duration::from_secs(secs)) };
    assert_eq!(poll_for_completion(&tracked(1, &[]), &limited(299), NOW).1, BatchDisposition::PollAsPlanned);
    let later = NOW.plus(Duration::from_secs(301));
    assert_eq!(poll_for_completion(&tracked(1, &[]), &limited(301), NOW).1, BatchDisposition::PollAt(later));
}

#[test]
fn p4_polled_events_have_the_webhooks_payload_format() {
    let (question, alerts, timing) = (PollQuestion::Completion, AlertState::default(), PollTiming::default());
    let plan = plan_after_poll(&tracked(1, &[]), question, &alerts, &answered(1, true), NOW, &timing, NOW);
    let event = plan.record.unwrap();
    assert_eq!(event.verified().body(), br#"{"type":"BALANCE_BATCH_COMPLETED","batch_id":"b-1"}"#);
    assert_eq!(event.key().event_id(), "rightfoot/batch/b-1/completed");
    assert_eq!((event.origin(), event.event_type()), (Origin::Poll, "BALANCE_BATCH_COMPLETED"));
    assert_eq!(event.verified().received_at(), NOW);
}

#[test]
fn a_batch_submitted_on_its_own_is_done_with_its_completion_and_a_run_waits_for_its_alerts() {
    let timing = PollTiming::default();
    let step = |tracked: &TrackedBatch, completed_at, now| next_step(tracked, completed_at, &timing, now);
    assert_eq!(step(&tracked(1, &[]), None, NOW), BatchStep::Poll(PollQuestion::Completion));
    assert_eq!(step(&tracked(1, &[]), Some(NOW), NOW), BatchStep::Done);
    let settled_at = NOW.plus(timing.grace);
    assert_eq!(step(&run(1), Some(NOW), NOW), BatchStep::WaitUntil(settled_at));
    assert_eq!(step(&run(1), Some(NOW), UnixMillis(settled_at.0 - 1)), BatchStep::WaitUntil(settled_at));
    assert_eq!(step(&run(1), Some(NOW), settled_at), BatchStep::Poll(PollQuestion::Alerts));
    assert_eq!(
        poll_for_completion(&run(1), &answered(1, true), NOW),
        (true, BatchDisposition::CheckAlertsAt(settled_at))
    );
}

fn thresholds(default: Option<&str>, own: &[(&str, &str)]) -> Thresholds {
    let own = own.iter().map(|(name, amount)| (id(name), amount.parse().unwrap()));
    Thresholds { default: default.map(|amount| amount.parse().unwrap()), authorizers: own.collect() }
}

fn alerts_of(
    tracked: &TrackedBatch,
    alerted: &[&str],
    thresholds: &Thresholds,
    rows: BalanceRows,
    now: UnixMillis,
) -> (Option<String>, BatchDisposition) {
    let alerted = alerted.iter().map(|name| id(name)).collect();
    let alerts = AlertState { thresholds: thresholds.clone(), alerted_authorizers: alerted };
    let (result, planned) = (PollResult::Answered(rows), NOW.plus(HOUR));
    let plan = plan_after_poll(
        tracked,
        PollQuestion::Alerts,
        &alerts,
        &result,
        planned,
        &PollTiming::default(),
        now,
    );
    let body = plan.record.map(|event| {
        assert!(event.key().event_id().starts_with("rightfoot/batch/b-1/alert/poll-"));
        String::from_utf8(event.verified().body().to_vec()).unwrap()
    });
    (body, plan.disposition)
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
    assert_eq!(then, BatchDisposition::Done);
}

#[test]
fn p5_alerts_from_webhooks_are_not_repeated() {
    let both = rows(&[("a", Some("5")), ("b", Some("5"))], true);
    let missing_alerts_of =
        |alerted: &[&str], default| alerts_of(&run(2), alerted, &thresholds(default, &[]), both.clone(), NOW);
    let (body, _) = missing_alerts_of(&["a"], Some("1"));
    assert!(body.is_some_and(|body| body.contains("\"b\"") && !body.contains("\"a\"")));
    assert_eq!(missing_alerts_of(&["a", "b"], Some("1")), (None, BatchDisposition::Done));
    assert_eq!(missing_alerts_of(&[], None), (None, BatchDisposition::Done));
}

#[test]
fn alerts_wait_for_all_results_until_the_deadline() {
    let (run, thresholds) = (run(2), thresholds(Some("1"), &[]));
    let one = rows(&[("a", Some("5"))], true);
    assert_eq!(alerts_of(&run, &[], &thresholds, one.clone(), NOW), (None, BatchDisposition::PollAsPlanned));
    let (body, then) = alerts_of(&run, &[], &thresholds, one, run.deadline);
    assert!(body.is_some() && then == BatchDisposition::Overdue);
}

#[test]
fn an_overdue_run_yields_the_alerts_of_its_results() {
    let thresholds = thresholds(Some("1"), &[]);
    let alerts = AlertState { thresholds, alerted_authorizers: BTreeSet::new() };
    let one = PollResult::Answered(rows(&[("a", Some("5"))], true));
    let (run, timing) = (run(2), PollTiming::default());
    let asked =
        |now| plan_after_poll(&run, PollQuestion::Completion, &alerts, &one, NOW.plus(HOUR), &timing, now);
    assert!(asked(NOW).record.is_none());
    let plan = asked(run.deadline);
    let event = plan.record.unwrap();
    // SHA-256 of the length of "a" in eight bytes, and "a".
    assert_eq!(
        (event.key().event_id().as_str(), plan.disposition),
        ("rightfoot/batch/b-1/alert/poll-3b196fd4907bedf51c3090e9835f2f7c", BatchDisposition::Overdue)
    );
}

fn poll_result() -> impl Strategy<Value = PollResult<BalanceRows>> {
    prop_oneof![
        (0usize..6, any::<bool>()).prop_map(|(count, last)| answered(count, last)),
        Just(PollResult::NotReady),
        Just(PollResult::Denied),
        Just(PollResult::Unauthorized),
        Just(PollResult::Unanswered),
        proptest::option::of(0u64..100_000)
            .prop_map(|secs| PollResult::RateLimited { retry_after: secs.map(Duration::from_secs) }),
    ]
}

#[test]
fn more_alert_events_than_the_authorizers_can_cause_are_implausible() {
    assert!(is_plausible_alert_count(3, 18) && !is_plausible_alert_count(3, 19));
    assert!(
        is_plausible_alert_count(1_000, 1_000)
            && !is_plausible_alert_count(1_000, 1_001)
            && !is_plausible_alert_count(200, 1_001)
    );
}

proptest! {
    #[test]
    fn p5_p9_the_disposition_follows_from_the_answer(
        expected in 0u64..6, failed in 0usize..6, result in poll_result(), late_ms in -5i64..5
    ) {
        let failed: Vec<_> = (0..failed).map(|n| format!("a-{n}")).collect();
        let batch = tracked(expected, &failed.iter().map(String::as_str).collect::<Vec<_>>());
        let now = UnixMillis(batch.deadline.0 + late_ms);
        let (recorded, disposition) = poll_for_completion(&batch, &result, now);
        if recorded {
            let PollResult::Answered(rows) = &result else { panic!("completed without an answer") };
            let others = rows.balances.keys().filter(|id| !batch.failed_authorizers.contains(*id)).count() as u64;
            prop_assert!(rows.reached_last_page && others >= 1);
            prop_assert!(others + batch.failed_authorizers.len() as u64 >= expected);
        }
        prop_assert_eq!(disposition == BatchDisposition::Overdue, !recorded && result.is_answer() && late_ms >= 0);
        prop_assert_eq!(disposition == BatchDisposition::Done, recorded);
    }

    #[test]
    fn p9_a_batch_that_is_polled_ends_as_soon_as_it_is_answered_after_its_deadline(
        answers in proptest::collection::vec(poll_result(), 1..40)
    ) {
        let timing = PollTiming::default();
        let mut batch = tracked(5, &[]);
        let mut now = NOW;
        let mut ended = false;
        for result in answers.iter().chain(std::iter::repeat_n(&PollResult::NotReady, 10)) {
            let planned = timing.next_poll_at(now, batch.polls);
            batch.polls += 1;
            let (question, alerts) = (PollQuestion::Completion, AlertState::default());
            match plan_after_poll(&batch, question, &alerts, result, planned, &timing, now).disposition {
                BatchDisposition::Done | BatchDisposition::Overdue => {
                    ended = true;
                    break;
                }
                BatchDisposition::PollAsPlanned => now = planned,
                BatchDisposition::PollAt(at) => {
                    prop_assert!(at > planned);
                    now = at;
                }
                BatchDisposition::CheckAlertsAt(_) => panic!("the batch is not a schedule's run"),
            }
        }
        prop_assert!(ended);
    }
}
