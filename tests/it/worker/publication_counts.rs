//! The number of results or alerts that an event has found or published, as its record keeps it for operators.

use std::time::Duration;

use inbox_core::audit::OperatorAction;
use inbox_core::event::EventKey;
use local::rightfoot_simulator::WebhookLoss;
use tests::operator::test_operator;
use tests::rightfoot_world::RightfootWorld;
use tests::{
    Item, MINUTE, SUBJECT, World, alert_event_id, completion_body, completion_event_id, extract_body, number,
};

use super::forged_webhooks::alert_with;
async fn published_count(world: &World, event_id: &str) -> Option<i64> {
    let record = world.event_record(event_id).await;
    assert!(record.contains_key("done_at"), "{event_id}");
    number(&record, "published_count")
}

/// Number of results that the worker found, and since when.
fn results_found(record: &Item) -> Option<(i64, i64)> {
    let fields = record.get("results_found")?.as_m().unwrap();
    Some((number(fields, "count").unwrap(), number(fields, "since").unwrap()))
}

#[tokio::test]
async fn a_completion_keeps_the_number_of_its_results_through_a_replay() {
    let it = RightfootWorld::with_run("b-1", &[("a", "1.00"), ("b", "2.00"), ("c", "3.00")]).await;
    let (world, id) = (&it.world, completion_event_id("b-1"));
    world.deliver_rightfoot(completion_body("b-1", "u-1")).await;
    world.run_worker().await;
    assert_eq!(published_count(world, &id).await, Some(3));
    let record = world.event_record(&id).await;
    assert!(!record.contains_key("published_untracked"), "it was tracked, so a correction is never due");

    let by = test_operator().audit_entry(OperatorAction::Replay, world.now());
    world.stores().operator.replay_done(&EventKey::from_event_id(&id).unwrap(), &by).await.unwrap();
    let record = world.event_record(&id).await;
    let cycle = record["past_cycles"].as_l().unwrap()[0].as_m().unwrap();
    assert_eq!((number(&record, "published_count"), number(cycle, "published_count")), (None, Some(3)));
    let timeline = world.stores().operator.timeline("rightfoot#batch#b-1").await.unwrap();
    let published = timeline.batch_results().unwrap().published.unwrap();
    assert_eq!((published.count, published.at), (3, world.now()), "it stays published meanwhile");

    world.advance(Duration::from_secs(1));
    world.run_relay().await.unwrap().unwrap();
    world.run_worker().await;
    assert_eq!(published_count(world, &id).await, Some(3));
}

#[tokio::test]
async fn an_alert_event_keeps_how_many_of_its_alerts_are_on_the_bus_by_whichever_event() {
    let it = RightfootWorld::with_run("b-1", &[("a", "150.00"), ("b", "200")]).await;
    let world = &it.world;
    let alerts = [("a", "150.00", "100"), ("b", "200", "100")];
    for (event, alerts) in [("u-1", &alerts[..]), ("u-2", &alerts[..1]), ("u-3", &[])] {
        world.deliver_rightfoot(alert_with("b-1", event, alerts)).await;
        world.run_worker().await;
    }
    for (event, count) in [("u-1", 2), ("u-2", 1), ("u-3", 0)] {
        assert_eq!(published_count(world, &alert_event_id("b-1", event)).await, Some(count), "{event}");
    }
    assert_eq!(world.drain_bus().await.len(), 2);
    world.deliver_fynapse(extract_body("e-1")).await;
    world.run_worker().await;
    assert_eq!(published_count(world, "fynapse/event/e-1").await, None, "an extract is always one event");
}

#[tokio::test]
async fn a_requeued_completion_keeps_how_many_results_the_worker_has_found() {
    // Three rows, one after each minute.
    let it = RightfootWorld::with_behaviour(|rightfoot| {
        rightfoot.webhook_loss = WebhookLoss::All;
        rightfoot.processing_time = MINUTE * 3;
    })
    .await;
    let batch = it.submit_batch(SUBJECT, &["a", "b", "c"]).await["batch_id"].as_str().unwrap().to_owned();
    let (world, id) = (&it.world, completion_event_id(&batch));
    it.advance(MINUTE + Duration::from_secs(1)).await;
    world.deliver_rightfoot(completion_body(&batch, "u-1")).await;
    world.run_worker().await;
    assert_eq!(results_found(&world.event_record(&id).await), Some((1, world.now().0)));
    it.advance(MINUTE + Duration::from_secs(1)).await;
    world.run_relay().await.unwrap().unwrap();
    world.run_worker().await;
    let record = world.event_record(&id).await;
    assert_eq!((results_found(&record), number(&record, "requeues")), (Some((2, world.now().0)), Some(2)));
    it.advance(MINUTE * 2 + Duration::from_secs(1)).await;
    world.run_relay().await.unwrap().unwrap();
    world.run_worker().await;
    assert_eq!(published_count(world, &id).await, Some(3));
}
