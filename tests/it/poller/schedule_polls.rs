//! Schedules: their runs are found in the histories of a few authorizers, and a schedule that does not run raises an
//! alarm.
//!
//! Where a schedule's day lasts an hour, the first run begins in minute 60 and is complete in minute 65.

mod probes;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::Request;
use axum::middleware::{Next, from_fn, map_response};
use axum::response::{IntoResponse, Response};
use inbox_core::time::UnixMillis;
use local::rightfoot_simulator::{Behaviour, CannedResponse, ScriptedResponse, WebhookLoss};
use serde_json::{Map, Value, json};
use tests::rightfoot_world::{RightfootWorld, daily_schedule_request};
use tests::{DAY, HOUR, MINUTE, SUBJECT, number, polled_alerts_event_id, text};

use super::{completion_event_id, minute, set_balances, submit_batch};
use crate::metrics_recorder::Counters;

async fn world_without_webhooks(change: impl FnOnce(&mut Behaviour)) -> RightfootWorld {
    RightfootWorld::with_behaviour(|rightfoot| {
        rightfoot.webhook_loss = WebhookLoss::All;
        rightfoot.schedule_day = HOUR;
        set_balances(rightfoot, &[("a", "150.00"), ("b", "99.99"), ("c", "1.00")]);
        change(rightfoot);
    })
    .await
}

/// One authorizer above the threshold, hourly days, and no webhooks.
fn one_authorizer_hourly(rightfoot: &mut Behaviour) {
    rightfoot.webhook_loss = WebhookLoss::All;
    rightfoot.schedule_day = HOUR;
    set_balances(rightfoot, &[("a", "150.00")]);
}

/// Ids of both events of each run.
fn completions_and_alerts(runs: &[String]) -> Vec<String> {
    let mut both: Vec<_> =
        runs.iter().flat_map(|run| [completion_event_id(run), polled_alerts_event_id(run, &["a"])]).collect();
    both.sort();
    both
}

fn run_batch_ids(it: &RightfootWorld) -> Vec<String> {
    it.rightfoot.schedules()[0].runs.iter().map(|run| run.batch_id.clone()).collect()
}

/// Runs the poller and the relay in steps; returns the number of alarms.
async fn count_alarms(it: &RightfootWorld, step: Duration, span: Duration) -> u64 {
    let mut alarms = 0;
    let end = it.world.now().plus(span);
    while it.world.now() < end {
        it.advance(step).await;
        alarms += it.run_poller().await.unwrap()["schedule_alarms"].as_u64().unwrap();
        it.world.run_relay().await.unwrap().unwrap();
    }
    alarms
}

async fn schedule_due_in_minute(it: &RightfootWorld) -> Option<u64> {
    let due = it.world.due_polls().await;
    let of_schedule = due.iter().find(|(pk, _)| pk.starts_with("rightfoot#schedule#"));
    of_schedule.map(|(_, due_at)| minute(*due_at))
}

#[tokio::test]
async fn p5_a_daily_run_whose_webhooks_were_lost_is_found_with_its_alerts() {
    let it = RightfootWorld::with_behaviour(|rightfoot| {
        rightfoot.webhook_loss = WebhookLoss::All;
        set_balances(rightfoot, &[("a", "150.00"), ("b", "99.99"), ("c", "null")]);
    })
    .await;
    let schedule = it.request(daily_schedule_request("watch", &["a", "b", "c"])).await;
    assert_eq!(schedule["probe_authorizers"], json!(["a", "b", "c"]));
    let (first, next) = (it.rightfoot.schedules()[0].next_run_at.unwrap(), it.world.now());
    assert_eq!(schedule_due_in_minute(&it).await, Some(minute(first) + 10));
    it.run_in_steps(MINUTE * 10, first.since(next) + HOUR).await;
    assert_eq!(run_batch_ids(&it).len(), 1);
    assert_eq!(it.world.drain_event_ids().await, completions_and_alerts(&run_batch_ids(&it)));
    let second = it.rightfoot.schedules()[0].next_run_at.unwrap();
    assert_eq!(schedule_due_in_minute(&it).await, Some(minute(second) + 10), "once a day is enough");
}

#[tokio::test]
async fn p5_runs_between_two_polls_are_all_found() {
    let it = world_without_webhooks(|_| {}).await;
    it.request(daily_schedule_request(SUBJECT, &["a", "b", "c"])).await;
    it.advance(MINUTE * 190).await;
    assert_eq!(it.run_poller().await.unwrap()["runs_found"], 3);
    assert_eq!(it.run_poller().await.unwrap()["recorded"], 3);
    it.advance(MINUTE * 20).await;
    assert_eq!(it.run_poller().await.unwrap()["recorded"], 3);
    assert_eq!(it.world.drain_event_ids().await, completions_and_alerts(&run_batch_ids(&it)));
    let schedule = it.rightfoot.schedules()[0].clone();
    let item =
        it.world.item(&format!("rightfoot#schedule#{}", schedule.schedule_id), "tracked").await.unwrap();
    assert_eq!(number(&item, "last_run_seen"), Some(schedule.runs[2].run_at.0));
}

#[tokio::test]
async fn p5_more_runs_than_one_transaction_takes_are_found_one_after_the_other() {
    let it = world_without_webhooks(|_| {}).await;
    it.request(daily_schedule_request(SUBJECT, &["a"])).await;
    it.advance(HOUR * 25 + MINUTE * 10).await;
    let mut found = Vec::new();
    for _ in 0..3 {
        found.push(it.run_poller().await.unwrap()["runs_found"].as_u64().unwrap());
    }
    assert_eq!(found, [20, 5, 0]);
    it.run_in_steps(MINUTE * 20, MINUTE * 40).await;
    assert_eq!(it.world.drain_event_ids().await, completions_and_alerts(&run_batch_ids(&it)[..25]));
}

#[tokio::test]
async fn p5_runs_whose_history_comes_hours_later_are_not_lost() {
    let it = world_without_webhooks(|rightfoot| {
        rightfoot.schedule_day = HOUR * 4;
        rightfoot.history_lag = HOUR * 6;
    })
    .await;
    it.request(daily_schedule_request(SUBJECT, &["a"])).await;
    // Runs begin in the hours 4, 8, 12, 16 and 20; the histories are read in 10, 14, 18 and 22.
    it.run_in_steps(MINUTE * 15, HOUR * 10).await;
    assert_eq!((run_batch_ids(&it).len(), it.world.drain_event_ids().await), (2, vec![]));
    assert_eq!(count_alarms(&it, MINUTE * 15, HOUR * 13).await, 0, "late is not lost");
    assert_eq!(run_batch_ids(&it).len(), 5);
    assert_eq!(it.world.drain_event_ids().await, completions_and_alerts(&run_batch_ids(&it)[..4]));
}

/// A schedule whose histories hide the batch that is put into the returned cell.
async fn schedule_with_hidden_run() -> (RightfootWorld, Arc<Mutex<String>>) {
    let hidden = Arc::new(Mutex::new("none".to_owned()));
    let shared = hidden.clone();
    let filter_history = move |answer: Response| {
        let hidden = shared.lock().unwrap().clone();
        async move {
            let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
            let mut answer: Value = serde_json::from_slice(&body).unwrap();
            if let Some(history) = answer["history"].as_array_mut() {
                history.retain(|entry| entry["batch_id"] != json!(hidden));
            }
            answer.to_string()
        }
    };
    let it = RightfootWorld::with_transport(
        one_authorizer_hourly,
        |_| {},
        |_, routes| routes.layer(map_response(filter_history)),
    )
    .await;
    it.request(daily_schedule_request(SUBJECT, &["a"])).await;
    (it, hidden)
}

#[tokio::test]
async fn p5_a_run_that_the_history_shows_after_the_next_ones_is_found_all_the_same() {
    let (it, hidden) = schedule_with_hidden_run().await;
    it.advance(MINUTE * 65).await;
    *hidden.lock().unwrap() = run_batch_ids(&it)[0].clone();
    it.run_in_steps(MINUTE * 5, MINUTE * 155).await;
    assert_eq!(
        it.world.drain_event_ids().await,
        completions_and_alerts(&run_batch_ids(&it)[1..=2]),
        "minute 220"
    );
    *hidden.lock().unwrap() = "none".to_owned();
    it.run_in_steps(MINUTE * 5, HOUR).await;
    let late = [&run_batch_ids(&it)[..1], &run_batch_ids(&it)[3..=3]].concat();
    assert_eq!(it.world.drain_event_ids().await, completions_and_alerts(&late), "minute 280");
}

#[tokio::test]
async fn last_run_at_may_be_the_runs_beginning_or_its_end() {
    for is_completion in [false, true] {
        let it =
            world_without_webhooks(|rightfoot| rightfoot.last_run_at_is_completion = is_completion).await;
        it.request(daily_schedule_request(SUBJECT, &["a"])).await;
        assert_eq!(count_alarms(&it, MINUTE * 5, MINUTE * 170).await, 0, "{is_completion}");
        assert_eq!(run_batch_ids(&it).len(), 2);
        assert_eq!(
            it.world.drain_event_ids().await,
            completions_and_alerts(&run_batch_ids(&it)),
            "{is_completion}"
        );
    }
}

#[tokio::test]
async fn p5_a_run_that_is_incomplete_at_the_first_poll_is_found_as_soon_as_it_is_complete() {
    for is_completion in [false, true] {
        let it = RightfootWorld::with_behaviour(|rightfoot| {
            rightfoot.webhook_loss = WebhookLoss::All;
            rightfoot.last_run_at_is_completion = is_completion;
            rightfoot.processing_time = MINUTE * 12;
        })
        .await;
        it.request(daily_schedule_request(SUBJECT, &["a"])).await;
        for run in 0..2 {
            let begins = it.rightfoot.schedules()[0].next_run_at.unwrap();
            it.run_in_steps(HOUR, begins.since(it.world.now())).await;
            assert_eq!(run_batch_ids(&it).len(), run + 1);
            let mut found = it.world.drain_event_ids().await;
            found.retain(|id| *id == completion_event_id(&run_batch_ids(&it)[run]));
            it.run_in_steps(MINUTE * 5, MINUTE * 15).await;
            assert_eq!(
                (found.len(), it.run_poller().await.unwrap()["recorded"].as_u64()),
                (0, Some(1)),
                "{is_completion}"
            );
        }
    }
}

#[tokio::test]
async fn p9_a_schedule_ends_one_interval_after_its_expiry_with_all_its_runs_found() {
    let it = world_without_webhooks(|_| {}).await;
    let mut request = daily_schedule_request(SUBJECT, &["a"]);
    request["expires_in_days"] = json!(3);
    it.request(request).await;
    // Runs begin in the minutes 60, 120 and 180, the last one on the day of the expiry. The request's interval is a
    // calendar day, so the end is 27 hours away.
    assert_eq!(count_alarms(&it, MINUTE * 10, HOUR * 4).await, 0);
    assert_eq!(it.world.drain_event_ids().await, completions_and_alerts(&run_batch_ids(&it)));
    assert_eq!((run_batch_ids(&it).len(), it.world.due_polls().await.len()), (3, 1));
    assert_eq!(count_alarms(&it, MINUTE * 30, HOUR * 23 - MINUTE * 30).await, 0);
    assert_eq!(it.world.due_polls().await.len(), 1);
    assert_eq!(count_alarms(&it, MINUTE * 30, MINUTE * 30).await, 0);
    assert_eq!(it.world.due_polls().await, []);
    let items = it.world.items().await;
    let schedule = items.iter().find(|item| text(item, "pk").starts_with("rightfoot#schedule#")).unwrap();
    assert!(schedule.contains_key("done_at") && schedule.contains_key("expires_at"));
}

/// A schedule about which Rightfoot gives the response in the returned cell.
async fn schedule_with_fake_state() -> (RightfootWorld, Arc<Mutex<Option<Value>>>) {
    let answer_slot = Arc::new(Mutex::new(None::<Value>));
    let answer = answer_slot.clone();
    let it = RightfootWorld::with_transport(
        one_authorizer_hourly,
        |_| {},
        |_, routes| {
            routes.layer(from_fn(move |request: Request, next: Next| {
                let answer = answer.lock().unwrap().clone();
                async move {
                    match answer.filter(|_| request.uri().path().contains("/schedules/")) {
                        Some(answer) => answer.to_string().into_response(),
                        None => next.run(request).await,
                    }
                }
            }))
        },
    )
    .await;
    it.request(daily_schedule_request(SUBJECT, &["a"])).await;
    it.run_in_steps(MINUTE * 10, MINUTE * 110).await;
    it.world.drain_queue().await;
    (it, answer_slot)
}

fn schedule_state(last: UnixMillis, next: Option<UnixMillis>) -> Value {
    json!({"last_run_at": last.rfc3339(), "next_run_at": next.map(UnixMillis::rfc3339), "total_authorizers": 1})
}

#[tokio::test]
async fn a_schedule_that_stops_running_alarms_until_it_runs_again() {
    let counters = Counters::default();
    let _counting = metrics::set_default_local_recorder(&counters);
    let (it, says) = schedule_with_fake_state().await;
    let last = it.rightfoot.schedules()[0].runs[0].run_at;

    // Disabled: its state says so, and the poller asks in minute 130 and later every quarter of an hour.
    *says.lock().unwrap() = Some(schedule_state(last, None));
    assert_eq!(count_alarms(&it, MINUTE * 10, MINUTE * 10).await, 0, "it is asked when it should have run");
    assert_eq!(count_alarms(&it, MINUTE * 10, MINUTE * 10).await, 1, "minute 130");
    assert_eq!(count_alarms(&it, MINUTE * 5, HOUR).await, 5, "minutes 135, 145, 160, 175 and 190");

    // Late: the run of minute 120 has not happened one interval later.
    *says.lock().unwrap() = Some(schedule_state(last, Some(last.plus(HOUR))));
    let before = counters.count("schedule_alarm", "stopped");
    assert_eq!(before, 6);
    assert_eq!(count_alarms(&it, MINUTE * 15, MINUTE * 30).await, 2);

    // From minute 220 on the state is correct: the runs in between are found, and the one of minute 240.
    *says.lock().unwrap() = None;
    assert_eq!(count_alarms(&it, MINUTE * 10, HOUR).await, 0);
    assert_eq!(counters.count("schedule_alarm", "stopped"), 8);
    let mut expected = completions_and_alerts(&run_batch_ids(&it)[1..3]);
    expected.push(completion_event_id(&run_batch_ids(&it)[3]));
    expected.sort();
    assert_eq!(it.world.drain_event_ids().await, expected, "minute 280");
}

#[tokio::test]
async fn a_schedule_that_rightfoot_does_not_know_or_show_alarms_and_one_that_it_says_nothing_of_does_not() {
    for (answer, alarm) in [(404, 1), (403, 1), (500, 0), (429, 0)] {
        let it = world_without_webhooks(|_| {}).await;
        it.request(daily_schedule_request(SUBJECT, &["a"])).await;
        let answer = CannedResponse::Status(answer);
        let scripted = ScriptedResponse {
            path_contains: "/schedules/".to_owned(),
            response: answer,
            remaining_uses: Some(usize::MAX),
        };
        it.rightfoot.configure(|rightfoot| rightfoot.scripted_responses = vec![scripted]);
        assert_eq!(count_alarms(&it, MINUTE * 10, MINUTE * 70).await, alarm, "{answer:?}");
        assert_eq!(schedule_due_in_minute(&it).await, Some(75));
        it.rightfoot.configure(|rightfoot| rightfoot.scripted_responses.clear());
        it.run_in_steps(MINUTE * 5, MINUTE * 35).await;
        assert_eq!(
            it.world.drain_event_ids().await,
            completions_and_alerts(&run_batch_ids(&it)),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn p9_a_schedule_that_rightfoot_does_not_answer_about_alarms_after_a_day_and_loses_no_run() {
    let counters = Counters::default();
    let _counting = metrics::set_default_local_recorder(&counters);
    let it = world_without_webhooks(|rightfoot| rightfoot.schedule_day = HOUR * 20).await;
    it.request(daily_schedule_request(SUBJECT, &["a"])).await;
    let down = ScriptedResponse {
        path_contains: "/v1/".to_owned(),
        response: CannedResponse::Status(500),
        remaining_uses: None,
    };
    it.rightfoot.configure(|rightfoot| rightfoot.scripted_responses = vec![down]);
    // Polled 10, 15, 25, 40 … minutes after its run; the 97th poll is a day later.
    it.advance(HOUR * 20).await;
    assert_eq!(count_alarms(&it, MINUTE * 5, MINUTE * 25).await, 0);
    assert_eq!(count_alarms(&it, MINUTE * 15, MINUTE * 15 * 93).await, 0);
    assert_eq!(count_alarms(&it, MINUTE * 15, MINUTE * 30).await, 2);
    assert_eq!(counters.count("schedule_alarm", "unanswered"), 2);
    it.rightfoot.configure(|rightfoot| rightfoot.scripted_responses.clear());
    it.run_in_steps(MINUTE * 15, HOUR).await;
    assert_eq!(
        (run_batch_ids(&it).len(), it.world.drain_event_ids().await),
        (2, completions_and_alerts(&run_batch_ids(&it)))
    );
}

#[tokio::test]
async fn a_run_that_no_history_ever_shows_alarms_after_a_day() {
    let counters = Counters::default();
    let _counting = metrics::set_default_local_recorder(&counters);
    let it = world_without_webhooks(|rightfoot| {
        rightfoot.schedule_day = HOUR * 48;
        rightfoot.history_lag = HOUR * 9_999;
    })
    .await;
    it.request(daily_schedule_request(SUBJECT, &["a"])).await;
    it.advance(HOUR * 48).await;
    assert_eq!(count_alarms(&it, MINUTE * 30, DAY - MINUTE * 30).await, 0);
    assert_eq!(count_alarms(&it, MINUTE * 30, MINUTE * 30).await, 1);
    assert_eq!(counters.count("schedule_alarm", "run_not_found"), 1);
    assert_eq!(schedule_due_in_minute(&it).await, Some(96 * 60), "it is looked for no longer");
}

/// The history shows a batch whose items have expired.
#[tokio::test]
async fn p5_a_batch_whose_items_have_expired_is_taken_for_no_run() {
    let it = world_without_webhooks(|rightfoot| {
        rightfoot.schedule_day = DAY * 60;
        rightfoot.history_includes_on_demand = true;
    })
    .await;
    it.request(daily_schedule_request(SUBJECT, &["a"])).await;
    let batch = submit_batch(&it, "payroll-1", &["a"]).await;
    it.run_in_steps(MINUTE * 5, MINUTE * 15).await;
    assert_eq!(it.world.drain_event_ids().await, [completion_event_id(&batch)]);
    it.world.advance(DAY * 31);
    it.world.expire_items("rightfoot#batch#").await;
    it.rightfoot.clear_requests();
    it.run_in_steps(MINUTE * 5, MINUTE * 30).await;
    let asked = it.rightfoot.requests();
    assert!(asked.iter().any(|request| request.path.contains("/authorizers/a/history")), "{asked:?}");
    assert_eq!(it.world.drain_event_ids().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_schedule_that_was_extended_at_rightfoot_is_not_over_at_its_first_end() {
    let (it, says) = schedule_with_fake_state().await;
    let pk = format!("rightfoot#schedule#{}", it.rightfoot.schedules()[0].schedule_id);
    let expires_at = async || number(&it.world.item(&pk, "tracked").await.unwrap(), "schedule_expires_at");
    let (last, first_end) = (it.rightfoot.schedules()[0].runs[0].run_at, expires_at().await.unwrap());
    let next = UnixMillis(first_end).plus(DAY * 9);
    *says.lock().unwrap() = Some(schedule_state(last, Some(next)));
    it.run_in_steps(MINUTE * 10, MINUTE * 30).await;
    assert_eq!(expires_at().await, Some(next.0));
    let not_found = ScriptedResponse {
        path_contains: "/schedules/".to_owned(),
        response: CannedResponse::Status(404),
        remaining_uses: None,
    };
    it.rightfoot.configure(|rightfoot| rightfoot.scripted_responses = vec![not_found]);
    *says.lock().unwrap() = None;
    it.world.advance(UnixMillis(first_end).plus(DAY * 5).since(it.world.now()));
    assert_eq!(it.run_poller().await.unwrap()["schedule_alarms"], 1, "it was to run on");
    assert!(schedule_due_in_minute(&it).await.is_some());
}

/// Expiry of the parts that hold thresholds too many for one item.
async fn parts_expire_at(it: &RightfootWorld) -> Vec<i64> {
    let items = it.world.items().await;
    let parts = items.iter().filter(|item| text(item, "pk").starts_with("payload#"));
    parts.map(|item| number(item, "expires_at").unwrap()).collect()
}

/// Request to track a schedule of a thousand authorizers with thresholds of their own, until `expires_at`.
fn with_many_thresholds(schedule_id: &str, expires_at: &str) -> Value {
    let own: Map<_, _> = (0..1_000).map(|n| (format!("user-{n}"), json!(n))).collect();
    json!({
        "action": "track_schedule", "schedule_id": schedule_id, "probe_authorizers": ["user-1"], "interval_days": 1,
        "thresholds": {"authorizers": own}, "expires_at": expires_at, "subject": SUBJECT,
    })
}

#[tokio::test]
async fn p5_thresholds_live_as_long_as_the_longest_schedule_that_has_them() {
    let it = RightfootWorld::new().await;
    it.request(with_many_thresholds("long", "2026-12-31")).await;
    let last = parts_expire_at(&it).await;
    // The end of the last day, a day more, and the time by which parts outlive an item: 90 days of quarantine and a
    // margin of 30.
    assert_eq!(last, [1_798_761_600 + 86_400 + (90 + 30) * 86_400]);
    it.request(with_many_thresholds("short", "2026-02-01")).await;
    it.request(with_many_thresholds("long", "2026-02-01")).await;
    assert_eq!(parts_expire_at(&it).await, last);
}

#[tokio::test]
async fn p5_thresholds_live_on_when_their_schedule_is_extended_at_rightfoot() {
    let (it, says) = schedule_with_fake_state().await;
    it.request(with_many_thresholds("extended", "2026-01-05")).await;
    let (last, next) = (it.rightfoot.schedules()[0].runs[0].run_at, UnixMillis(1_772_323_200_000)); // 2026-03-01
    *says.lock().unwrap() = Some(schedule_state(last, Some(next)));
    it.run_in_steps(MINUTE * 10, MINUTE * 30).await;
    let later = 1_772_323_200 + 86_400 + (90 + 30) * 86_400;
    assert_eq!(parts_expire_at(&it).await, [later]);
    let item = it.world.item("rightfoot#schedule#extended", "tracked").await.unwrap();
    assert_eq!(number(&item, "parts_expire_at"), Some(later));
}

#[tokio::test]
async fn what_a_schedule_or_a_history_is_answered_with_for_want_of_a_key_or_time_puts_it_off() {
    for path in ["/schedules/", "/history"] {
        for (answer, due) in [
            (CannedResponse::RetryAfter { status: 429, secs: 1_800 }, 100),
            (CannedResponse::Status(401), 75),
        ] {
            let it = world_without_webhooks(|_| {}).await;
            it.request(daily_schedule_request(SUBJECT, &["a", "b"])).await;
            let scripted =
                ScriptedResponse { path_contains: path.to_owned(), response: answer, remaining_uses: None };
            it.rightfoot.configure(|rightfoot| rightfoot.scripted_responses = vec![scripted]);
            it.advance(MINUTE * 70).await;
            let failed = it.run_poller().await.err().map(|failed| failed.error_type);
            let refused = (answer == CannedResponse::Status(401)).then(|| "RightfootUnauthorized".to_owned());
            assert_eq!(failed, refused, "{path} {answer:?}");
            assert_eq!(schedule_due_in_minute(&it).await, Some(due), "{path} {answer:?}");
            it.rightfoot.configure(|rightfoot| rightfoot.scripted_responses.clear());
            it.run_in_steps(MINUTE * 5, HOUR).await;
            assert_eq!(
                it.world.drain_event_ids().await,
                completions_and_alerts(&run_batch_ids(&it)[..1]),
                "{path} {answer:?}"
            );
        }
    }
}
