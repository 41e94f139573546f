//! Attacks on the poller by somebody who knows one webhook URL.
//!
//! A schedule's day lasts an hour here: the first run begins in minute 60 and is complete in minute 65.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use inbox_aws::stores::{EventClaim, WriteOutcome};
use inbox_core::effect::Publication;
use inbox_core::event::{EventKey, payload_hash};
use local::rightfoot_simulator::{Behaviour, IncompleteBatchResponse, WebhookLoss};
use serde_json::{Value, json};
use tests::rightfoot_world::{RightfootWorld, daily_schedule_request};
use tests::worker_effects::ReceivedBusEvent;
use tests::{HOUR, Item, MINUTE, SUBJECT, World, completion_body, number, polled_alerts_event_id};

use super::call_counts::write_items;
use super::{completion_event_id, set_balances, submit_batch, tracked_item};
use crate::metrics_recorder::Counters;

/// Balances of three authorizers, all above the threshold.
const THREE_ABOVE_THRESHOLD: [(&str, &str); 3] = [("a", "150.00"), ("b", "150.00"), ("c", "150.00")];

/// A schedule of these three, tracked under [`SUBJECT`].
async fn world_with_schedule(change: impl FnOnce(&mut Behaviour)) -> RightfootWorld {
    let it = RightfootWorld::with_behaviour(|rightfoot| {
        rightfoot.schedule_day = HOUR;
        set_balances(rightfoot, &THREE_ABOVE_THRESHOLD);
        change(rightfoot);
    })
    .await;
    it.request(daily_schedule_request(SUBJECT, &["a", "b", "c"])).await;
    it
}

fn first_run(it: &RightfootWorld) -> String {
    it.rightfoot.schedules()[0].runs[0].batch_id.clone()
}

/// Sends a forged completion of a batch to the URL of this subject.
async fn forge_completion(it: &RightfootWorld, subject: &str, batch: &str) {
    let token = it.world.stack.mint_url_token(&subject.parse().unwrap()).unwrap();
    assert_eq!(it.world.deliver_rightfoot_to(&token, completion_body(batch, "forged")).await.status, 200);
}

/// Runs poller, relay and worker every minute, with webhooks; returns the published events.
async fn run_everything_for(it: &RightfootWorld, minutes: u32) -> Vec<ReceivedBusEvent> {
    let mut events = Vec::new();
    for _ in 0..minutes {
        it.run_for(MINUTE).await;
        it.world.run_worker().await;
        events.extend(it.world.drain_bus().await);
    }
    events
}

/// The completion events of a batch, as (results, expected results, revision).
fn completions(events: &[ReceivedBusEvent], batch: &str) -> Vec<(u64, Option<u64>, Option<u64>)> {
    let of_batch = events.iter().filter(|event| event.id() == completion_event_id(batch));
    let counts = |detail: &Value| {
        (detail["found"].as_u64().unwrap(), detail["expected"].as_u64(), detail["revision"].as_u64())
    };
    of_batch.map(|event| counts(&event.detail)).collect()
}

/// The authorizers for whom alerts of a batch were published, sorted.
fn alerted_on_bus(events: &[ReceivedBusEvent], batch: &str) -> Vec<String> {
    let prefix = format!("rightfoot/batch/{batch}/threshold-met/");
    let mut all: Vec<_> =
        events.iter().filter_map(|event| event.id().strip_prefix(&prefix)).map(str::to_owned).collect();
    all.sort();
    all
}

#[tokio::test]
async fn p5_a_completion_by_another_url_hides_no_run() {
    let it = world_with_schedule(|rightfoot| {
        rightfoot.incomplete_batch_response = IncompleteBatchResponse::NotFound404
    })
    .await;
    it.run_in_steps(MINUTE * 5, HOUR).await;
    it.advance(MINUTE * 2).await;
    let run = first_run(&it);
    forge_completion(&it, "another", &run).await;
    let published = run_everything_for(&it, 50).await;
    assert_eq!(tracked_item(&it, &run).await["subject"].as_s().unwrap(), SUBJECT);
    assert_eq!(completions(&published, &run), [(3, Some(3), None)]);
    assert_eq!(alerted_on_bus(&published, &run), ["a", "b", "c"]);
    assert!(tracked_item(&it, &run).await.contains_key("done_at"));
}

/// The subject has as many open made-up alerts as allowed, so a run's genuine alert is not accepted.
#[tokio::test]
async fn p5_an_alert_that_there_is_no_room_for_sends_the_poller_to_its_run_all_the_same() {
    let it = world_with_schedule(|rightfoot| rightfoot.webhook_loss = WebhookLoss::All).await;
    it.run_in_steps(MINUTE * 5, MINUTE * 10).await;
    let webhook_body = |batch: String, schedule_id: Option<&str>| {
        let alerts = [json!({"authorizer_unique_id": "a", "balance": 150, "threshold_amount": 100})];
        let alert = json!({"event_uuid": "u-1", "type": "BALANCE_THRESHOLD_ALERT", "batch_id": batch, "alerts": alerts,
                          "schedule_id": schedule_id});
        alert.to_string()
    };
    for n in 0..200 {
        assert!(it.world.deliver_rightfoot(webhook_body(format!("made-up-{n}"), None)).await.is_success());
    }
    it.world.run_worker().await;
    let schedule_id = it.rightfoot.schedules()[0].schedule_id.clone();
    let expedited_at = async || {
        let schedule = it.world.item(&format!("rightfoot#schedule#{schedule_id}"), "tracked").await;
        number(&schedule.unwrap(), "expedited_at")
    };
    assert_eq!(expedited_at().await, None);
    assert!(
        it.world.deliver_rightfoot(webhook_body("b-1".to_owned(), Some(&schedule_id))).await.is_success()
    );
    it.world.run_worker().await;
    assert!(it.world.event_record(&tests::alert_event_id("b-1", "u-1")).await.contains_key("quarantined_at"));
    assert_eq!(expedited_at().await, Some(it.world.now().0));
}

/// The worker quarantines such an event, whichever authorizers it names. The poller may come first.
#[tokio::test]
async fn p5_an_alert_of_more_authorizers_than_a_run_may_have_covers_nobody() {
    let it = world_with_schedule(|rightfoot| rightfoot.webhook_loss = WebhookLoss::All).await;
    it.run_in_steps(MINUTE * 5, MINUTE * 75).await;
    let run = first_run(&it);
    // One authorizer more than `ALERTS_MAX`.
    let people = ["a", "b", "c"].map(str::to_owned).into_iter().chain((3..10_001).map(|n| n.to_string()));
    let alerts: Vec<_> = people.map(|id| json!({"authorizer_unique_id": id})).collect();
    let made_up =
        json!({"event_uuid": "u-1", "type": "BALANCE_THRESHOLD_ALERT", "batch_id": run, "alerts": alerts});
    assert!(it.world.deliver_rightfoot(made_up.to_string()).await.is_success());
    it.run_in_steps(MINUTE * 5, MINUTE * 20).await;
    assert!(tracked_item(&it, &run).await.contains_key("done_at"), "the poller was first");
    let published = run_everything_for(&it, 3).await;
    assert_eq!(alerted_on_bus(&published, &run), ["a", "b", "c"]);
}

#[tokio::test]
async fn p5_a_batch_published_incomplete_before_tracking_is_published_once_more_complete() {
    // Through another URL than the run's, or through its own, which an attacker knows.
    for subject in ["another", SUBJECT] {
        let it = world_with_schedule(|_| {}).await;
        it.run_in_steps(MINUTE * 5, HOUR).await;
        it.advance(MINUTE * 2).await;
        let run = first_run(&it);
        forge_completion(&it, subject, &run).await;
        it.world.run_worker().await;
        let published = run_everything_for(&it, 2).await;
        assert_eq!(completions(&published, &run), [(1, None, None)], "{subject}: two looks, a minute apart");
        let published = run_everything_for(&it, 50).await;
        assert_eq!(completions(&published, &run), [(3, Some(3), Some(2))], "{subject}");
        assert_eq!(alerted_on_bus(&published, &run), ["a", "b", "c"], "{subject}");
        assert!(tracked_item(&it, &run).await.contains_key("done_at"), "{subject}");
        // During the next run, nothing of this one is published again.
        let later = run_everything_for(&it, 60).await;
        assert_eq!((completions(&later, &run), alerted_on_bus(&later, &run)), (vec![], vec![]), "{subject}");
    }
}

#[tokio::test]
async fn p5_a_batch_tracked_after_it_was_published_incomplete_is_published_once_more_complete() {
    let it = RightfootWorld::with_batch("b-1", &[("a", "1.00")]).await;
    assert!(it.world.deliver_rightfoot(completion_body("b-1", "u-1")).await.is_success());
    it.world.run_worker().await;
    let published = run_everything_for(&it, 3).await;
    assert_eq!(completions(&published, "b-1"), [(1, None, None)]);
    it.rightfoot.replace_completed_batch(
        "b-1",
        &tests::worker_effects::balance_pairs(&[("a", "1.00"), ("b", "2.00")]),
    );
    let track = json!({"action": "track_batch", "batch_id": "b-1", "expected": 2, "subject": SUBJECT});
    it.request(track).await;
    let published = run_everything_for(&it, 60).await;
    assert_eq!(completions(&published, "b-1"), [(2, Some(2), Some(2))]);
    assert!(tracked_item(&it, "b-1").await.contains_key("done_at"));
}

#[tokio::test]
async fn p5_a_batch_published_complete_before_tracking_is_not_published_again() {
    for subject in ["another", SUBJECT] {
        let it = world_with_schedule(|rightfoot| {
            rightfoot.webhook_loss = WebhookLoss::All;
            rightfoot.history_lag = MINUTE * 30;
        })
        .await;
        it.run_in_steps(MINUTE * 5, MINUTE * 65).await;
        let run = first_run(&it);
        forge_completion(&it, subject, &run).await;
        it.world.run_worker().await;
        let published = run_everything_for(&it, 50).await;
        assert_eq!(completions(&published, &run), [(3, None, None)], "{subject}");
        let published = run_everything_for(&it, 60).await;
        assert_eq!(completions(&published, &run), [], "{subject}");
        assert!(tracked_item(&it, &run).await.contains_key("done_at"), "{subject}");
    }
}

/// The worker may have begun before the batch was tracked, and then it publishes what it reads, complete or not.
#[tokio::test]
async fn p5_a_batch_stays_due_while_a_worker_is_at_a_completion_that_does_not_count() {
    let it = RightfootWorld::with_batch("b-1", &[("a", "1.00"), ("b", "2.00")]).await;
    forge_completion(&it, "another", "b-1").await;
    it.world.drain_queue().await;
    it.request(json!({"action": "track_batch", "batch_id": "b-1", "expected": 2, "subject": SUBJECT})).await;
    it.advance(MINUTE * 10).await;
    let (stores, key) = (it.world.stores(), EventKey::from_event_id(&completion_event_id("b-1")).unwrap());
    let EventClaim::Acquired(work) = stores.processing.claim_event(&key, it.world.now()).await.unwrap()
    else {
        panic!("taken")
    };
    assert_eq!(it.run_poller().await.unwrap()["settled"], 0);
    assert!(tracked_item(&it, "b-1").await.contains_key("due"));
    let published = Publication { count: Some(1), is_of_untracked_batch: true };
    assert_eq!(
        stores.processing.mark_done(&work, &published, it.world.now()).await.unwrap(),
        WriteOutcome::Applied
    );
    let published = run_everything_for(&it, 10).await;
    assert_eq!(completions(&published, "b-1"), [(2, Some(2), Some(2))]);
    assert!(tracked_item(&it, "b-1").await.contains_key("done_at"));
}

/// A forged alert that names a schedule and an unknown batch.
fn made_up_alert(schedule: &str, number: usize) -> String {
    tests::alert_body(&format!("made-up-{number}"), &format!("u-{number}")).replace("s-1", schedule)
}

/// Layer before the API: each request about a schedule is preceded by a forged alert through the schedule's own URL,
/// about an unknown batch.
fn alert_before_schedule_requests(world: &World, routes: Router, sent: Arc<AtomicUsize>) -> Router {
    let (world, is_sending) = (world.clone(), Arc::new(AtomicBool::new(false)));
    routes.layer(from_fn(move |request: Request, next: Next| {
        let (world, busy, sent) = (world.clone(), is_sending.clone(), sent.clone());
        async move {
            let schedule = request.uri().path().rsplit_once("/schedules/").map(|(_, id)| id.to_owned());
            if let Some(schedule) = schedule.filter(|_| !busy.swap(true, Ordering::SeqCst)) {
                world.advance(Duration::from_secs(1));
                let number = sent.fetch_add(1, Ordering::SeqCst);
                assert!(world.deliver_rightfoot(made_up_alert(&schedule, number)).await.is_success());
                world.run_worker_once().await;
                busy.store(false, Ordering::SeqCst);
            }
            next.run(request).await
        }
    }))
}

#[tokio::test]
async fn p5_alerts_of_batches_that_nobody_knows_do_not_keep_the_poller_from_a_run() {
    let sent = Arc::new(AtomicUsize::new(0));
    let it = RightfootWorld::with_transport(
        |rightfoot| {
            rightfoot.webhook_loss = WebhookLoss::All;
            rightfoot.schedule_day = HOUR;
            set_balances(rightfoot, &THREE_ABOVE_THRESHOLD);
        },
        |_| {},
        |world, routes| alert_before_schedule_requests(world, routes, sent.clone()),
    )
    .await;
    it.request(daily_schedule_request(SUBJECT, &["a", "b", "c"])).await;
    let schedule = it.rightfoot.schedules()[0].schedule_id.clone();
    it.advance(HOUR).await;
    it.rightfoot.clear_requests();
    let mut published = Vec::new();
    for minute in 0..45 {
        it.advance(MINUTE).await;
        // Like Rightfoot's own alerts, it names the schedule and comes through the schedule's URL.
        assert!(it.world.deliver_rightfoot(made_up_alert(&schedule, 1_000_000 + minute)).await.is_success());
        it.world.run_worker_once().await;
        it.run_poller().await.unwrap();
        it.world.run_relay().await.unwrap().unwrap();
        it.world.run_worker().await;
        published.extend(it.world.drain_bus().await);
    }
    let run = first_run(&it);
    assert!(sent.load(Ordering::SeqCst) > 0, "they came while Rightfoot was asked");
    assert_eq!(completions(&published, &run), [(3, Some(3), None)]);
    assert_eq!(alerted_on_bus(&published, &run), ["a", "b", "c"]);
    let schedule_requests =
        it.rightfoot.requests().iter().filter(|it| it.path.contains("/schedules/")).count();
    assert!(schedule_requests <= 45 / 5 + 2, "at most one in five minutes is hurried: {schedule_requests}");
}

/// The record of a requeued alert. Its key does not show which authorizers it names.
fn alert_record(batch: &str, number: usize) -> Item {
    let padding = "x".repeat(3_500);
    let body = tests::alert_body(batch, &format!("n-{number}")).replace("user-123", &padding);
    let texts = [
        ("pk", format!("rightfoot#batch#{batch}")),
        ("sk", format!("alert#n-{number:05}")),
        ("type", "BALANCE_THRESHOLD_ALERT".to_owned()),
        ("origin", "webhook".to_owned()),
        ("delivery_id", format!("d-{number}")),
        ("subject", SUBJECT.to_owned()),
        ("payload_hash", payload_hash(body.as_bytes())),
    ];
    let numbers = [("v", 1), ("rev", 1), ("attempts", 0), ("received_at", 1), ("payload_bytes", body.len())];
    let texts = texts.into_iter().map(|(name, text)| (name.to_owned(), AttributeValue::S(text)));
    let numbers =
        numbers.into_iter().map(|(name, value)| (name.to_owned(), AttributeValue::N(value.to_string())));
    let mut item: Item = texts.chain(numbers).collect();
    item.insert("payload".to_owned(), AttributeValue::B(Blob::new(body)));
    item
}

/// The record of an alert whose payload is in parts and larger than any real alert's.
fn large_alert_record(batch: &str, number: usize) -> Item {
    let mut item = alert_record(batch, number);
    item.insert("payload_bytes".to_owned(), AttributeValue::N((5 << 20).to_string()));
    item.insert("parts_expire_at".to_owned(), AttributeValue::N("9999999999".to_owned()));
    let part = AttributeValue::S("nowhere".to_owned());
    item.insert("parts".to_owned(), AttributeValue::L(vec![part]));
    item.remove("payload");
    item
}

/// A run whose alerts are due, and another due batch.
async fn run_before_alerts() -> (RightfootWorld, String, String) {
    let it = world_with_schedule(|rightfoot| rightfoot.webhook_loss = WebhookLoss::All).await;
    it.run_in_steps(MINUTE * 5, MINUTE * 75).await;
    let run = first_run(&it);
    assert_eq!(it.world.drain_event_ids().await, [completion_event_id(&run)]);
    let other = submit_batch(&it, "payroll-1", &["a"]).await;
    it.advance(MINUTE * 25).await;
    (it, run, other)
}

/// The AWS calls of one poller run, without its sixteen queries of the index.
async fn operations_of_poll(it: &RightfootWorld) -> Vec<String> {
    it.world.stack.connector.clear_call_log();
    it.run_poller().await.unwrap();
    it.world.stack.connector.call_log().into_iter().map(|(call, _)| call.operation).skip(16).collect()
}

#[tokio::test]
async fn p9_thousands_of_alerts_for_one_batch_are_not_read_before_it_is_put_off_nor_all_of_them() {
    let counters = Counters::default();
    let _counting = metrics::set_default_local_recorder(&counters);
    let (it, run, other) = run_before_alerts().await;
    write_items(&it.world, (0..3_000).map(|number| alert_record(&run, number))).await;
    let before = it.world.due_polls().await.len();
    let calls = operations_of_poll(&it).await;
    let at = |operation: &str| calls.iter().position(|call| call == operation);
    assert!(at("UpdateItem") < at("Query"), "{calls:?}");
    let queries = calls.iter().filter(|call| *call == "Query").count();
    assert!(queries <= 1 + 5, "the effects, and of the alerts four megabytes: {queries}");
    let mut expected = vec![polled_alerts_event_id(&run, &["a", "b", "c"]), completion_event_id(&other)];
    expected.sort();
    assert_eq!(it.world.drain_event_ids().await, expected, "nobody is hidden");
    assert_eq!(it.world.due_polls().await.len(), before - 2);
    assert_eq!(counters.count("alert_flood", ""), 1);
}

#[tokio::test]
async fn p9_alerts_that_are_larger_than_any_are_not_read() {
    let (it, run, other) = run_before_alerts().await;
    write_items(&it.world, (0..30).map(|number| large_alert_record(&run, number))).await;
    let calls = operations_of_poll(&it).await;
    // One for the schedule's thresholds.
    assert!(calls.iter().filter(|call| *call == "GetItem").count() <= 2, "{calls:?}");
    assert_eq!(it.world.drain_event_ids().await.len(), 2);
    for batch in [&run, &other] {
        assert!(number(&tracked_item(&it, batch).await, "done_at").is_some());
    }
}
