//! Large batches: the number of calls, and partial failures of EventBridge and DynamoDB.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use local::connector::Fault;
use serde_json::json;
use tests::rightfoot_world::RightfootWorld;
use tests::{MINUTE, World, completion_event_id, extract_body, number};

use super::forged_webhooks::alert_with;

/// Number of the worker's calls of an operation.
fn calls(world: &World, operation: &str) -> usize {
    world.stack.connector.call_log().iter().filter(|(call, _)| call.operation == operation).count()
}

#[tokio::test]
async fn a_thousand_balances_take_ten_requests_forty_writes_and_one_announcement() {
    let it = RightfootWorld::new().await;
    let people: Vec<_> = (0..1_000).map(|n| format!("user-{n}")).collect();
    let people: Vec<_> = people.iter().map(String::as_str).collect();
    let submitted = it.submit_batch("payroll", &people).await;
    it.advance(MINUTE * 6).await;
    it.rightfoot.clear_requests();
    it.world.stack.connector.clear_call_log();
    it.world.run_worker().await;
    assert_eq!(
        it.world.drain_bus_ids().await,
        [completion_event_id(submitted["batch_id"].as_str().unwrap())]
    );
    assert_eq!(it.world.stored_balances().await.len(), 1_000);
    assert_eq!(it.rightfoot.requests().len(), 10);
    let called = ["BatchWriteItem", "PutEvents", "UpdateItem"].map(|operation| calls(&it.world, operation));
    assert_eq!(called, [40, 1, 2], "stored, published, claimed and done");
}

/// At most one page is held in memory at a time.
#[tokio::test]
async fn a_page_is_stored_before_the_next_one_is_asked_for() {
    let stored_before = Arc::new(Mutex::new(Vec::new()));
    let noted = stored_before.clone();
    let note = move |world: &World, routes: Router| {
        let world = world.clone();
        routes.layer(from_fn(move |request: Request, next: Next| {
            noted.lock().unwrap().push(calls(&world, "BatchWriteItem"));
            next.run(request)
        }))
    };
    let it = RightfootWorld::with_transport(|_| {}, |_| {}, note).await;
    let people: Vec<_> = (0..350).map(|n| (format!("user-{n}"), "150.00".to_owned())).collect();
    it.rightfoot.add_completed_batch("b-1", &people);
    it.request(json!({"action": "track_batch", "batch_id": "b-1", "expected": 350, "subject": "demo"})).await;
    it.world.deliver_rightfoot(tests::completion_body("b-1", "u-1")).await;
    it.world.run_worker().await;
    assert_eq!(*stored_before.lock().unwrap(), [0, 4, 8, 12]);
    assert_eq!(it.world.drain_bus_ids().await, [completion_event_id("b-1")]);
}

#[tokio::test]
async fn what_dynamodb_did_not_get_to_is_written_again() {
    let it = RightfootWorld::with_batch("b-1", &[("a", "1"), ("b", "2"), ("c", "3")]).await;
    it.request(json!({"action": "track_batch", "batch_id": "b-1", "expected": 3, "subject": "demo"})).await;
    it.world.deliver_rightfoot(tests::completion_body("b-1", "u-1")).await;
    let faults = Mutex::new(vec![Fault::Unprocessed, Fault::FirstUnprocessed]);
    it.world.stack.connector.set_fault_plan(move |call| {
        if call.operation == "BatchWriteItem" { faults.lock().unwrap().pop() } else { None }
    });
    it.world.stack.connector.clear_call_log();
    it.world.run_worker().await;
    assert_eq!((it.world.stored_balances().await.len(), calls(&it.world, "BatchWriteItem")), (3, 3));
    assert_eq!(it.world.drain_bus_ids().await, [completion_event_id("b-1")]);
}

#[tokio::test]
async fn what_dynamodb_never_gets_to_is_not_taken_for_stored() {
    let it = RightfootWorld::with_batch("b-1", &[("a", "1")]).await;
    it.request(json!({"action": "track_batch", "batch_id": "b-1", "expected": 1, "subject": "demo"})).await;
    it.world.deliver_rightfoot(tests::completion_body("b-1", "u-1")).await;
    it.world.inject_fault("BatchWriteItem", Fault::Unprocessed);
    it.world.run_worker().await;
    assert_eq!((it.world.drain_bus_ids().await, it.world.stored_balances().await), (vec![], vec![]));
    assert_eq!(number(&it.world.event_record(&completion_event_id("b-1")).await, "requeues"), Some(1));
}

#[tokio::test]
async fn an_entry_that_eventbridge_failed_to_take_is_sent_again_and_the_others_are_not() {
    let people: Vec<_> = (0..12).map(|n| format!("user-{n:02}")).collect();
    let balances: Vec<_> = people.iter().map(|id| (id.as_str(), "150.00")).collect();
    let it = RightfootWorld::with_run("b-1", &balances).await;
    let alerts: Vec<_> = people.iter().map(|id| (id.as_str(), "150.00", "100")).collect();
    it.world.deliver_rightfoot(alert_with("b-1", "u-1", &alerts)).await;
    it.world.inject_fault_once(Fault::FirstEntryFailed, |call| call.operation == "PutEvents");
    it.world.stack.connector.clear_call_log();
    it.world.run_worker().await;
    let expected: Vec<_> =
        people.iter().map(|id| format!("rightfoot/batch/b-1/threshold-met/{id}")).collect();
    assert_eq!(it.world.drain_bus_ids().await, expected, "each once");
    assert_eq!(calls(&it.world, "PutEvents"), 3, "ten, one of them again, two");
}

#[tokio::test]
async fn what_eventbridge_refuses_for_what_it_is_goes_by_reference_or_to_quarantine() {
    let world = World::new().await;
    world.deliver_fynapse(extract_body("e-1")).await;
    world.inject_fault_once(Fault::FirstEntryInvalid, |call| call.operation == "PutEvents");
    world.run_worker().await;
    let published = world.drain_bus().await;
    assert_eq!((published.len(), published[0].detail.get("data")), (1, None), "by reference");

    let it = RightfootWorld::with_run("b-1", &[("a", "150.00"), ("b", "150.00")]).await;
    it.world
        .deliver_rightfoot(alert_with("b-1", "u-1", &[("a", "150.00", "100"), ("b", "150.00", "100")]))
        .await;
    it.world.inject_fault("PutEvents", Fault::FirstEntryInvalid);
    it.world.run_worker().await;
    assert_eq!(it.world.drain_bus_ids().await, ["rightfoot/batch/b-1/threshold-met/b"]);
    let quarantined = it.world.quarantined().await;
    assert_eq!(quarantined.iter().map(|(reason, _)| reason.as_str()).collect::<Vec<_>>(), ["bus_refused"]);
}
