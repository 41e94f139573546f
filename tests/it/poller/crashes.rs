//! A crashed poller or a quarantined record must hide no event.

use aws_sdk_dynamodb::types::AttributeValue;
use local::connector::Fault;
use serde_json::json;
use tests::rightfoot_world::RightfootWorld;
use tests::worker_effects::balance_pairs;
use tests::{DAY, HOUR, MINUTE, SUBJECT, completion_body, is_polled_alert};

use super::{alerted_authorizers, completion_event_id, tracked_item};
use crate::metrics_recorder::Counters;

/// A batch of two authorizers, tracked as a run, of which Rightfoot shows one balance so far.
async fn run_with_half_the_results() -> RightfootWorld {
    let it = RightfootWorld::with_batch("r-1", &[("a", "150.00")]).await;
    it.track_schedule("s-1", "a").await;
    it.world.track_run("r-1", 2).await;
    it
}

/// Receives the poller's alerts from the queue; returns the authorizers of each.
async fn drain_polled_alerts(it: &RightfootWorld) -> Vec<Vec<String>> {
    let mut all: Vec<_> = it
        .world
        .drain_queue()
        .await
        .iter()
        .filter(|one| is_polled_alert(one))
        .map(alerted_authorizers)
        .collect();
    all.sort();
    all
}

/// Crashes the poller right after its first record.
async fn crash_after_record(it: &RightfootWorld) {
    it.world.inject_fault("PutItem", Fault::CrashAfter);
    assert!(it.world.run_poller().await.is_none(), "it has died");
    it.world.stack.connector.clear_fault_plan();
}

/// Marks a record quarantined, with the attributes that a worker would write.
async fn mark_quarantined(it: &RightfootWorld, event_id: &str) {
    let mut record = it.world.event_record(event_id).await;
    record.remove("due");
    record.remove("due_at");
    let number = |value: i64| AttributeValue::N(value.to_string());
    record.insert("quarantined_at".to_owned(), number(it.world.now().0));
    record.insert("expires_at".to_owned(), number(it.world.now().0 / 1_000 + 91 * 86_400));
    it.world.put_item(record).await;
}

#[tokio::test]
async fn p5_whose_alert_is_seen_only_after_a_crash_past_the_deadline_is_alerted_too() {
    let it = run_with_half_the_results().await;
    it.advance(DAY + MINUTE).await;
    crash_after_record(&it).await;
    it.rightfoot.replace_completed_batch("r-1", &balance_pairs(&[("a", "150.00"), ("b", "200.00")]));
    it.run_in_steps(MINUTE * 5, HOUR).await;
    assert_eq!(drain_polled_alerts(&it).await, [["a"], ["b"]]);
    assert!(tracked_item(&it, "r-1").await.contains_key("done_at"));
}

#[tokio::test]
async fn p5_a_quarantined_completion_hides_none_that_the_api_shows() {
    let it = RightfootWorld::with_batch("b-1", &[("a", "150.00"), ("b", "1.00")]).await;
    assert!(it.world.deliver_rightfoot(completion_body("b-1", "u-1")).await.is_success());
    it.world.drain_queue().await;
    mark_quarantined(&it, &completion_event_id("b-1")).await;
    it.request(json!({"action": "track_batch", "batch_id": "b-1", "expected": 2, "subject": SUBJECT})).await;
    it.run_in_steps(MINUTE * 10, MINUTE * 20).await;
    assert_eq!(it.world.drain_event_ids().await, [completion_event_id("b-1")]);
    assert!(tracked_item(&it, "b-1").await.contains_key("done_at"));
    it.world.run_worker().await;
    assert_eq!(it.world.drain_bus_ids().await, [""; 0], "it was taken off the queue");
}

#[tokio::test]
async fn p5_a_record_quarantined_again_is_requeued_only_once_and_the_run_goes_on() {
    let counters = Counters::default();
    let _counting = metrics::set_default_local_recorder(&counters);
    let it = RightfootWorld::with_run("r-1", &[("a", "150.00")]).await;
    assert!(it.world.deliver_rightfoot(completion_body("r-1", "u-1")).await.is_success());
    it.world.drain_queue().await;
    mark_quarantined(&it, &completion_event_id("r-1")).await;
    it.run_in_steps(MINUTE, MINUTE * 12).await;
    assert_eq!(it.world.drain_event_ids().await, [completion_event_id("r-1")]);
    mark_quarantined(&it, &completion_event_id("r-1")).await;
    it.run_in_steps(MINUTE, HOUR).await;
    assert_eq!(drain_polled_alerts(&it).await, [["a"]], "and of the completion nothing more");
    assert!(it.world.event_record(&completion_event_id("r-1")).await.contains_key("quarantined_at"));
    assert!(tracked_item(&it, "r-1").await.contains_key("done_at"));
    assert_eq!(counters.count("record_reopened", "was_quarantined"), 1);
}

#[tokio::test]
async fn p5_a_quarantined_alert_is_requeued_when_the_api_still_shows_it() {
    for (shown_later, differs) in [("150.00", 0), ("160.00", 1)] {
        let counters = Counters::default();
        let _counting = metrics::set_default_local_recorder(&counters);
        let it = quarantined_alert().await;
        it.rightfoot.replace_completed_batch("r-1", &balance_pairs(&[("a", "150.00"), ("b", shown_later)]));
        it.run_in_steps(MINUTE, MINUTE * 30).await;
        assert_eq!(drain_polled_alerts(&it).await, [["a", "b"]]);
        assert!(tracked_item(&it, "r-1").await.contains_key("done_at"));
        assert_eq!(counters.count("payload_differs", "rightfoot"), differs, "but for its time stamp");
    }
}

/// A run whose poller died after it had recorded the alerts, which were then quarantined.
async fn quarantined_alert() -> RightfootWorld {
    let it = RightfootWorld::with_run("r-1", &[("a", "150.00"), ("b", "150.00")]).await;
    it.run_in_steps(MINUTE, MINUTE * 12).await;
    it.advance(MINUTE * 20).await;
    crash_after_record(&it).await;
    it.world.run_relay().await.unwrap().unwrap();
    it.world.advance(MINUTE);
    it.world.run_relay().await.unwrap().unwrap();
    let messages = it.world.drain_queue().await;
    let alert = messages.iter().find(|one| is_polled_alert(one)).unwrap();
    mark_quarantined(&it, &alert.id).await;
    it
}
