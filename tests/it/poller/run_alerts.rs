//! Alerts of a schedule's run that the poller finds: for whom, and when.
//!
//! A schedule's day lasts an hour here: the first run begins in minute 60 and is complete in minute 65.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use inbox_core::time::UnixMillis;
use inbox_rightfoot::{ApiKey, ClientConfig, RightfootClient};
use local::rightfoot_simulator::{Behaviour, PageTokenParam, WebhookLoss};
use serde_json::{Value, json};
use tests::rightfoot_world::{API_KEY, RightfootWorld, authorizer_json, daily_schedule_request};
use tests::{HOUR, MINUTE, SUBJECT, World, completion_body, is_polled_alert, number, polled_alerts_event_id};

use super::{
    alert_event_id, alerted_authorizers, as_strs, authorizer_ids, completion_event_id, set_balances,
    submit_batch, submit_without_inbox, tracked_item,
};

/// A schedule of these authorizers and balances with a default threshold of 100 dollars.
async fn world_with_schedule(people: &[(&str, &str)], change: impl FnOnce(&mut Behaviour)) -> RightfootWorld {
    let ids: Vec<_> = people.iter().map(|(id, _)| *id).collect();
    world_with_schedule_request(daily_schedule_request(SUBJECT, &ids), people, change).await
}

async fn world_with_schedule_request(
    request: Value,
    people: &[(&str, &str)],
    change: impl FnOnce(&mut Behaviour),
) -> RightfootWorld {
    let it = RightfootWorld::with_behaviour(|rightfoot| {
        rightfoot.webhook_loss = WebhookLoss::All;
        rightfoot.schedule_day = HOUR;
        set_balances(rightfoot, people);
        change(rightfoot);
    })
    .await;
    it.request(request).await;
    it
}

/// Batch id of a run, counted from 0.
fn run_of(it: &RightfootWorld, number: usize) -> String {
    it.rightfoot.schedules()[0].runs[number].batch_id.clone()
}

/// `alerts` in the only message that the poller wrote about a run.
async fn polled_alerts(it: &RightfootWorld, run: &str) -> Value {
    let mut polled: Vec<_> = it.world.drain_queue().await;
    polled.retain(|message| is_polled_alert(message) && message.id.contains(run));
    assert_eq!(polled.len(), 1);
    let event: Value = serde_json::from_str(&polled[0].body).unwrap();
    event["data"]["alerts"].clone()
}

#[tokio::test]
async fn p5_alerts_without_a_webhook_are_found_twenty_minutes_after_the_completion_and_not_before() {
    let it = world_with_schedule(&[("a", "150.00"), ("b", "99.99"), ("c", "null")], |_| {}).await;
    it.advance(MINUTE * 69).await;
    it.run_for(MINUTE).await;
    let run = run_of(&it, 0);
    assert_eq!(it.world.drain_event_ids().await, Vec::<String>::new(), "minute 70: the run is found");
    it.run_for(MINUTE).await;
    assert_eq!(it.world.drain_event_ids().await, [completion_event_id(&run)], "minute 71: it is complete");
    it.rightfoot.clear_requests();
    it.run_for(MINUTE * 19).await;
    assert_eq!(it.world.drain_event_ids().await, Vec::<String>::new(), "minute 90");
    assert_eq!(it.rightfoot.requests(), []);
    it.run_for(MINUTE).await;
    let a = json!([{"authorizer_unique_id": "a", "balance": 150.00, "threshold_amount": 100}]);
    assert_eq!(polled_alerts(&it, &run).await, a, "minute 91");
    assert_eq!(it.rightfoot.requests().len(), 1);
    let due: Vec<_> = it.world.due_polls().await.into_iter().map(|(pk, _)| pk).collect();
    assert_eq!(due, [format!("rightfoot#schedule#{}", it.rightfoot.schedules()[0].schedule_id)]);
}

#[tokio::test]
async fn p5_the_grace_counts_from_the_completion_webhook_if_that_came() {
    let it = world_with_schedule(&[("a", "150.00")], |_| {}).await;
    it.advance(MINUTE * 65).await;
    let run = run_of(&it, 0);
    assert_eq!(it.world.deliver_rightfoot(completion_body(&run, "u-1")).await.status, 200);
    it.run_for(MINUTE * 19).await;
    assert_eq!(it.world.drain_event_ids().await, [completion_event_id(&run)], "minute 84");
    it.run_for(MINUTE).await;
    assert_eq!(it.world.drain_event_ids().await, [polled_alerts_event_id(&run, &["a"])], "minute 85");
}

/// Balances at the default threshold, below it, above an own threshold, below an own one, and none.
const AROUND_THRESHOLD: [(&str, &str); 5] =
    [("at", "100.00"), ("below", "99.99"), ("high", "150.00"), ("low", "-4.99"), ("none", "null")];

fn alerts_of_five() -> Value {
    json!([
        {"authorizer_unique_id": "at", "balance": 100.00, "threshold_amount": 100},
        {"authorizer_unique_id": "low", "balance": -4.99, "threshold_amount": -5},
    ])
}

#[tokio::test]
async fn an_authorizers_own_threshold_beats_the_default_of_a_schedule_that_was_created_here() {
    let mut request = daily_schedule_request(SUBJECT, &AROUND_THRESHOLD.map(|(id, _)| id));
    request["authorizers"][2]["threshold_amount"] = json!(200);
    request["authorizers"][3]["threshold_amount"] = json!(-5);
    let it = world_with_schedule_request(request, &AROUND_THRESHOLD, |_| {}).await;
    it.run_in_steps(MINUTE * 10, MINUTE * 110).await;
    let run = run_of(&it, 0);
    assert_eq!(polled_alerts(&it, &run).await, alerts_of_five());
    let due = it.rightfoot.expected_alerts();
    assert_eq!(due, ["at", "low"].map(|id| (run.clone(), id.to_owned())).into(), "as Rightfoot has it");
}

#[tokio::test]
async fn an_authorizers_own_threshold_beats_the_default_of_a_schedule_that_is_tracked() {
    let it = RightfootWorld::with_behaviour(|rightfoot| {
        rightfoot.webhook_loss = WebhookLoss::All;
        rightfoot.schedule_day = HOUR;
        set_balances(rightfoot, &AROUND_THRESHOLD);
    })
    .await;
    let body = json!({"name": "theirs", "interval_days": 1, "authorizers": AROUND_THRESHOLD.map(|(id, _)| authorizer_json(id))});
    let client = RightfootClient::new(ClientConfig::new(&it.api_url, None).unwrap()).unwrap();
    let key = ApiKey::new(API_KEY).unwrap();
    let schedule = client.create_schedule(&key, body.to_string()).await.unwrap().schedule_id;
    let answer = it
        .request(json!({
            "action": "track_schedule",
            "schedule_id": schedule.as_str(),
            "probe_authorizers": ["below"],
            "thresholds": {"default": 100, "authorizers": {"high": 200, "low": -5}},
            "interval_days": 1,
        }))
        .await;
    assert_eq!(answer["status"], "tracked");
    it.run_in_steps(MINUTE * 10, MINUTE * 110).await;
    assert_eq!(polled_alerts(&it, &run_of(&it, 0)).await, alerts_of_five());
}

#[tokio::test]
async fn a_schedule_without_any_threshold_is_not_asked_for_alerts() {
    let mut request = daily_schedule_request(SUBJECT, &["a"]);
    request.as_object_mut().unwrap().remove("threshold_amount");
    let it = world_with_schedule_request(request, &[("a", "150.00")], |_| {}).await;
    it.run_in_steps(MINUTE * 10, MINUTE * 80).await;
    let run = run_of(&it, 0);
    it.rightfoot.clear_requests();
    it.run_in_steps(MINUTE * 10, MINUTE * 30).await;
    assert_eq!(
        (it.rightfoot.requests().len(), it.world.drain_event_ids().await),
        (0, vec![completion_event_id(&run)])
    );
    assert!(tracked_item(&it, &run).await.contains_key("done_at"));
}

const FOUR_ABOVE_THRESHOLD: [(&str, &str); 4] =
    [("a", "150.00"), ("b", "150.00"), ("c", "150.00"), ("d", "150.00")];

/// Receives the alert events; returns for each: true if it is the poller's, and its authorizers. The poller's come
/// last.
async fn alerted_per_event(it: &RightfootWorld) -> Vec<(bool, Vec<String>)> {
    let mut alerts = it.world.drain_queue().await;
    alerts.retain(|message| message.id.contains("/alert/"));
    let mut alerted: Vec<_> =
        alerts.iter().map(|message| (is_polled_alert(message), alerted_authorizers(message))).collect();
    alerted.sort();
    alerted
}

#[tokio::test]
async fn p5_an_authorizer_in_a_recorded_webhook_is_not_alerted_again() {
    let of = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
    // The webhooks of a run are lost in their order: first the completion, then the alerts.
    for (lost, split, expected) in [
        (1, None, vec![(false, of(&["a", "b", "c", "d"]))]),
        (2, None, vec![(true, of(&["a", "b", "c", "d"]))]),
        (1, Some(2), vec![(false, of(&["a", "b"])), (false, of(&["c", "d"]))]),
        (2, Some(2), vec![(false, of(&["c", "d"])), (true, of(&["a", "b"]))]),
        (4, Some(1), vec![(false, of(&["d"])), (true, of(&["a", "b", "c"]))]),
    ] {
        let it = world_with_schedule(&FOUR_ABOVE_THRESHOLD, |rightfoot| {
            rightfoot.webhook_loss = WebhookLoss::First(lost);
            rightfoot.max_alerts_per_webhook = split;
        })
        .await;
        it.run_in_steps(MINUTE * 10, MINUTE * 110).await;
        assert_eq!(alerted_per_event(&it).await, expected, "{lost} lost of alerts split by {split:?}");
        assert!(tracked_item(&it, &run_of(&it, 0)).await.contains_key("done_at"));
    }
}

#[tokio::test]
async fn p5_a_large_alert_and_large_thresholds_are_read_from_their_parts() {
    let people = authorizer_ids(300);
    let mut request = daily_schedule_request(SUBJECT, &as_strs(&people));
    for (at, person) in people.iter().enumerate() {
        request["authorizers"][at]["threshold_amount"] = json!(if person.ends_with('7') { 200 } else { 120 });
    }
    let all: Vec<_> = people.iter().map(|id| (id.as_str(), "150.00")).collect();
    let it = world_with_schedule_request(request, &all, |rightfoot| {
        rightfoot.webhook_loss = WebhookLoss::First(2);
        rightfoot.max_alerts_per_webhook = Some(135);
    })
    .await;
    it.run_in_steps(MINUTE * 10, MINUTE * 110).await;
    let items = it.world.items().await;
    let in_parts = |pk: &str| {
        items.iter().any(|item| tests::text(item, "pk").starts_with(pk) && item.contains_key("parts"))
    };
    assert!(in_parts("rightfoot#schedule#") && in_parts("rightfoot#batch#"));
    let due: Vec<_> = people.iter().filter(|person| !person.ends_with('7')).cloned().collect();
    let expected = [(false, due[135..].to_vec()), (true, due[..135].to_vec())];
    assert_eq!(alerted_per_event(&it).await, expected);
}

#[tokio::test]
async fn p5_an_authorizer_whose_alert_was_published_is_not_alerted_again() {
    let it = world_with_schedule(&FOUR_ABOVE_THRESHOLD, |_| {}).await;
    it.run_in_steps(MINUTE * 10, MINUTE * 80).await;
    // A worker has only claimed b's alert, and may be dead.
    for (id, is_published) in [("a", true), ("b", false), ("c", true)] {
        let place =
            [("pk", format!("rightfoot#batch#{}", run_of(&it, 0))), ("sk", format!("effect#alert#{id}"))];
        let mut item: tests::Item =
            place.into_iter().map(|(name, value)| (name.to_owned(), AttributeValue::S(value))).collect();
        if is_published {
            item.insert("published_at".to_owned(), AttributeValue::N("1".to_owned()));
        }
        it.world.put_item(item).await;
    }
    it.run_in_steps(MINUTE * 10, MINUTE * 30).await;
    assert_eq!(alerted_per_event(&it).await, [(true, vec!["b".to_owned(), "d".to_owned()])]);
}

/// A quarantined alert covers no authorizer, and neither does one through another URL than the run's.
#[tokio::test]
async fn p5_a_quarantined_alert_or_one_of_another_subject_hides_none() {
    let it = world_with_schedule(&FOUR_ABOVE_THRESHOLD, |_| {}).await;
    // Sent before the run is known, when its owner cannot be determined.
    it.advance(MINUTE * 65).await;
    let run = run_of(&it, 0);
    let webhook_body = |event_uuid: &str, id: &str| {
        let body = tests::alert_body(&run, event_uuid);
        body.replace("user-123", id)
    };
    for (subject, event_uuid, id) in [("another", "u-1", "a"), (SUBJECT, "u-2", "b"), (SUBJECT, "u-3", "c")] {
        let token = it.world.stack.mint_url_token(&subject.parse().unwrap()).unwrap();
        assert_eq!(it.world.deliver_rightfoot_to(&token, webhook_body(event_uuid, id)).await.status, 200);
    }
    let mut quarantined = it.world.event_record(&alert_event_id(&run, "u-2")).await;
    quarantined.insert("quarantined_at".to_owned(), AttributeValue::N("1".to_owned()));
    it.world.put_item(quarantined).await;
    it.world.drain_queue().await;
    it.run_in_steps(MINUTE * 10, HOUR).await;
    let polled = polled_alerts(&it, &run).await;
    let alerted: Vec<_> =
        polled.as_array().unwrap().iter().map(|alert| &alert["authorizer_unique_id"]).collect();
    assert_eq!(alerted, ["a", "b", "d"]);
}

#[tokio::test]
async fn p5_batches_of_the_same_people_that_were_submitted_by_themselves_never_yield_an_alert() {
    let it = world_with_schedule(&[("a", "150.00")], |rightfoot| rightfoot.history_includes_on_demand = true)
        .await;
    it.run_in_steps(MINUTE * 10, MINUTE * 30).await;
    let mut batches = vec![submit_batch(&it, "payroll-1", &["a"]).await];
    let theirs = submit_without_inbox(&it, json!({"authorizers": [authorizer_json("a")]})).await;
    it.request(json!({"action": "track_batch", "batch_id": theirs, "expected": 1})).await;
    batches.push(theirs);
    it.run_in_steps(MINUTE * 10, MINUTE * 35).await;
    batches.push(submit_batch(&it, "payroll-2", &["a"]).await);
    it.run_in_steps(MINUTE * 10, MINUTE * 105).await;

    let runs = [run_of(&it, 0), run_of(&it, 1)];
    let mut expected: Vec<_> = batches.iter().chain(&runs).map(|batch| completion_event_id(batch)).collect();
    expected.extend(runs.iter().map(|run| polled_alerts_event_id(run, &["a"])));
    expected.sort();
    assert_eq!(it.world.drain_event_ids().await, expected);
    for batch in &batches {
        assert!(!tracked_item(&it, batch).await.contains_key("schedule_id"), "no run");
    }
}

#[tokio::test]
async fn a_completion_webhook_that_came_too_early_costs_no_alert() {
    let it = world_with_schedule(&[("a", "150.00"), ("b", "150.00")], |rightfoot| {
        rightfoot.processing_time = HOUR * 3
    })
    .await;
    it.advance(MINUTE * 65).await;
    let run = run_of(&it, 0);
    assert_eq!(it.world.deliver_rightfoot(completion_body(&run, "u-1")).await.status, 200);
    it.run_in_steps(MINUTE * 5, MINUTE * 170).await;
    assert_eq!(it.world.drain_event_ids().await, [completion_event_id(&run)], "minute 235");
    it.run_in_steps(MINUTE * 5, MINUTE * 30).await;
    let mut messages = it.world.drain_queue().await;
    messages.retain(|message| message.id.contains(&run));
    let alerted: Vec<_> =
        messages.iter().map(|message| (message.id.clone(), alerted_authorizers(message))).collect();
    assert_eq!(alerted, [(polled_alerts_event_id(&run, &["a", "b"]), vec!["a".to_owned(), "b".to_owned()])]);
}

/// Rightfoot takes two seconds to answer, so a request before the deadline is answered after it.
#[tokio::test]
async fn p9_a_deadline_that_passes_while_it_is_asked_costs_no_alert() {
    // One more than a page has rows (`PAGE_ROWS`). The page token is ignored below, so one row is never visible.
    let people = authorizer_ids(101);
    let slow = |world: &World, routes: Router| {
        let world = world.clone();
        routes.layer(from_fn(move |request: Request, next: Next| {
            world.advance(Duration::from_secs(2));
            next.run(request)
        }))
    };
    let it = RightfootWorld::with_transport(
        |rightfoot| {
            rightfoot.webhook_loss = WebhookLoss::All;
            rightfoot.page_token_param = PageTokenParam::Ignored;
            rightfoot.schedule_day = HOUR * 48;
            let low: Vec<_> = people.iter().map(|id| (id.as_str(), "99.99")).collect();
            set_balances(rightfoot, &low);
            rightfoot.balances.insert(people[7].clone(), "100.00".to_owned());
        },
        |_| {},
        slow,
    )
    .await;
    it.request(daily_schedule_request(SUBJECT, &as_strs(&people))).await;
    it.advance(HOUR * 48).await;
    it.run_in_steps(MINUTE * 5, MINUTE * 20).await;
    let run = run_of(&it, 0);
    let deadline = number(&tracked_item(&it, &run).await, "deadline_at").unwrap();
    it.run_in_steps(HOUR, HOUR * 23).await;
    it.world.advance(UnixMillis(deadline - 1_000).since(it.world.now()));
    assert_eq!(it.run_poller().await.unwrap()["overdue"], 1);
    assert_eq!(alerted_per_event(&it).await, [(true, vec![people[7].clone()])]);
}

#[tokio::test]
async fn p9_at_the_deadline_of_a_run_visible_alerts_are_recorded_and_the_rest_alarms() {
    // One more than a page has rows (`PAGE_ROWS`). The page token is ignored below, so one row is never visible.
    let people = authorizer_ids(101);
    let all: Vec<_> = people.iter().map(|id| (id.as_str(), "99.99")).collect();
    let it = world_with_schedule(&all, |rightfoot| {
        rightfoot.page_token_param = PageTokenParam::Ignored;
        rightfoot.schedule_day = HOUR * 48;
        for seen_or_not in [&people[7], &people[100]] {
            rightfoot.balances.insert(seen_or_not.clone(), "100.00".to_owned());
        }
    })
    .await;
    it.advance(HOUR * 48 + MINUTE * 5).await;
    let run = run_of(&it, 0);
    assert_eq!(it.world.deliver_rightfoot(completion_body(&run, "u-1")).await.status, 200);
    it.run_in_steps(MINUTE * 5, MINUTE * 5).await;
    it.run_in_steps(HOUR, HOUR * 23).await;
    assert_eq!(it.world.drain_event_ids().await, [completion_event_id(&run)]);
    assert!(tracked_item(&it, &run).await.contains_key("due"), "an hour before its deadline");
    it.advance(HOUR).await;
    assert_eq!(it.run_poller().await.unwrap()["overdue"], 1);
    assert_eq!(alerted_per_event(&it).await, [(true, vec![people[7].clone()])]);
    let item = tracked_item(&it, &run).await;
    assert!(item.contains_key("overdue_at") && !item.contains_key("due"));
}
