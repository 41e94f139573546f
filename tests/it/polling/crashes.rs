//! What one crash, or one record that was given up, must not hide.

use aws_sdk_dynamodb::types::AttributeValue;
use local::connector::Fault;
use serde_json::json;
use tests::rightfoot::{MINUTE, RightfootWorld};
use tests::worker::pairs;
use tests::{SUBJECT, completion, is_found_alert};

use super::{HOUR, completed, tracked, whom};
use crate::counters::Counters;

/// A batch that is known to be a run, of two people. So far Rightfoot shows the balance of one.
async fn half_known_run() -> RightfootWorld {
    let it = RightfootWorld::known("r-1", &[("a", "150.00")]).await;
    it.watch("s-1", "a").await;
    it.world.track_run("r-1", 2).await;
    it
}

/// Whom the alerts on the queue are about that the poller has found; takes them off.
async fn found(it: &RightfootWorld) -> Vec<Vec<String>> {
    let mut all: Vec<_> = it.world.drain().await.iter().filter(|one| is_found_alert(one)).map(whom).collect();
    all.sort();
    all
}

/// The poller dies as soon as it has recorded something.
async fn dies_after_its_record(it: &RightfootWorld) {
    it.world.system.connector.set_fault_plan(|call| (call.operation == "PutItem").then_some(Fault::CrashAfter));
    assert!(it.world.poll().await.is_none(), "it has died");
    it.world.system.connector.clear_fault_plan();
}

/// A record is given up, as a worker would have written it down.
async fn give_up(it: &RightfootWorld, event_id: &str) {
    let mut record = it.world.record(event_id).await;
    record.remove("due");
    record.remove("due_at");
    let number = |value: i64| AttributeValue::N(value.to_string());
    record.insert("quarantined_at".to_owned(), number(it.world.now().0));
    record.insert("expires_at".to_owned(), number(it.world.now().0 / 1_000 + 91 * 86_400));
    it.world.put(record).await;
}

#[tokio::test]
async fn p5_whose_alert_is_seen_only_after_a_crash_past_the_deadline_is_alerted_too() {
    let it = half_known_run().await;
    it.pass(HOUR * 24 + MINUTE).await;
    dies_after_its_record(&it).await;
    it.rightfoot.replace_completed_batch("r-1", &pairs(&[("a", "150.00"), ("b", "200.00")]));
    it.live_by(MINUTE * 5, MINUTE * 60).await;
    assert_eq!(found(&it).await, [["a"], ["b"]]);
    assert!(tracked(&it, "r-1").await.contains_key("done_at"));
}

#[tokio::test]
async fn p5_a_completion_that_was_given_up_hides_none_that_the_api_shows() {
    let it = RightfootWorld::known("b-1", &[("a", "150.00"), ("b", "1.00")]).await;
    assert!(it.world.rightfoot(completion("b-1", "u-1")).await.is_success());
    it.world.drain().await;
    give_up(&it, &completed("b-1")).await;
    it.ask(json!({"action": "track_batch", "batch_id": "b-1", "expected": 2, "subject": SUBJECT})).await;
    it.live_by(MINUTE * 10, MINUTE * 20).await;
    assert_eq!(it.world.drain_ids().await, [completed("b-1")]);
    assert!(tracked(&it, "b-1").await.contains_key("done_at"));
    it.world.work().await;
    assert_eq!(it.world.told().await, [""; 0], "it was taken off the queue");
}

#[tokio::test]
async fn p5_what_is_given_up_again_is_given_back_once_and_the_run_goes_on() {
    let counters = Counters::default();
    let _counting = metrics::set_default_local_recorder(&counters);
    let it = RightfootWorld::known_run("r-1", &[("a", "150.00")]).await;
    assert!(it.world.rightfoot(completion("r-1", "u-1")).await.is_success());
    it.world.drain().await;
    give_up(&it, &completed("r-1")).await;
    it.live_by(MINUTE, MINUTE * 12).await;
    assert_eq!(it.world.drain_ids().await, [completed("r-1")]);
    give_up(&it, &completed("r-1")).await;
    it.live_by(MINUTE, MINUTE * 60).await;
    assert_eq!(found(&it).await, [["a"]], "and of the completion nothing more");
    assert!(it.world.record(&completed("r-1")).await.contains_key("quarantined_at"));
    assert!(tracked(&it, "r-1").await.contains_key("done_at"));
    assert_eq!(counters.count("record_mended", "given_back"), 1);
}

#[tokio::test]
async fn p5_an_alert_that_was_given_up_is_given_back_when_the_api_still_shows_it() {
    for (shown_later, differs) in [("150.00", 0), ("160.00", 1)] {
        let counters = Counters::default();
        let _counting = metrics::set_default_local_recorder(&counters);
        let it = alert_that_was_given_up().await;
        it.rightfoot.replace_completed_batch("r-1", &pairs(&[("a", "150.00"), ("b", shown_later)]));
        it.live_by(MINUTE, MINUTE * 30).await;
        assert_eq!(found(&it).await, [["a", "b"]]);
        assert!(tracked(&it, "r-1").await.contains_key("done_at"));
        assert_eq!(counters.count("payload_differs", "rightfoot"), differs, "but for its time stamp");
    }
}

/// A run whose alerts the poller has recorded before it died; then they were given up.
async fn alert_that_was_given_up() -> RightfootWorld {
    let it = RightfootWorld::known_run("r-1", &[("a", "150.00"), ("b", "150.00")]).await;
    it.live_by(MINUTE, MINUTE * 12).await;
    it.pass(MINUTE * 20).await;
    dies_after_its_record(&it).await;
    it.world.relay().await.unwrap().unwrap();
    it.world.pass(MINUTE);
    it.world.relay().await.unwrap().unwrap();
    let messages = it.world.drain().await;
    let alert = messages.iter().find(|one| is_found_alert(one)).unwrap();
    give_up(&it, &alert.id).await;
    it
}
