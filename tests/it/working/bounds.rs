//! What the work on a large batch costs, and what EventBridge and DynamoDB leave undone.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use local::connector::Fault;
use serde_json::json;
use tests::rightfoot::{MINUTE, RightfootWorld};
use tests::{World, completed, extract, number};

use super::forgeries::alert_of;

/// How often the worker has called an operation.
fn calls(world: &World, operation: &str) -> usize {
    world.system.connector.call_log().iter().filter(|(call, _)| call.operation == operation).count()
}

#[tokio::test]
async fn a_thousand_balances_take_ten_requests_forty_writes_and_one_announcement() {
    let it = RightfootWorld::new().await;
    let people: Vec<_> = (0..1_000).map(|n| format!("user-{n}")).collect();
    let people: Vec<_> = people.iter().map(String::as_str).collect();
    let submitted = it.submit("payroll", &people).await;
    it.pass(MINUTE * 6).await;
    it.rightfoot.clear_requests();
    it.world.system.connector.clear_call_log();
    it.world.work().await;
    assert_eq!(it.world.told().await, [completed(submitted["batch_id"].as_str().unwrap())]);
    assert_eq!(it.world.balances().await.len(), 1_000);
    assert_eq!(it.rightfoot.requests().len(), 10);
    let called = ["BatchWriteItem", "PutEvents", "UpdateItem"].map(|operation| calls(&it.world, operation));
    assert_eq!(called, [40, 1, 2], "stored, told, claimed and done");
}

/// So no more than one page is held at a time.
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
    let it = RightfootWorld::made(|_| {}, |_| {}, note).await;
    let people: Vec<_> = (0..350).map(|n| (format!("user-{n}"), "150.00".to_owned())).collect();
    it.rightfoot.add_completed_batch("b-1", &people);
    it.ask(json!({"action": "track_batch", "batch_id": "b-1", "expected": 350, "subject": "demo"})).await;
    it.world.rightfoot(tests::completion("b-1", "u-1")).await;
    it.world.work().await;
    assert_eq!(*stored_before.lock().unwrap(), [0, 4, 8, 12]);
    assert_eq!(it.world.told().await, [completed("b-1")]);
}

#[tokio::test]
async fn what_dynamodb_did_not_get_to_is_written_again() {
    let it = RightfootWorld::known("b-1", &[("a", "1"), ("b", "2"), ("c", "3")]).await;
    it.ask(json!({"action": "track_batch", "batch_id": "b-1", "expected": 3, "subject": "demo"})).await;
    it.world.rightfoot(tests::completion("b-1", "u-1")).await;
    let faults = Mutex::new(vec![Fault::Unprocessed, Fault::FirstUnprocessed]);
    it.world.system.connector.set_fault_plan(move |call| {
        if call.operation == "BatchWriteItem" { faults.lock().unwrap().pop() } else { None }
    });
    it.world.system.connector.clear_call_log();
    it.world.work().await;
    assert_eq!((it.world.balances().await.len(), calls(&it.world, "BatchWriteItem")), (3, 3));
    assert_eq!(it.world.told().await, [completed("b-1")]);
}

#[tokio::test]
async fn what_dynamodb_never_gets_to_is_not_taken_for_stored() {
    let it = RightfootWorld::known("b-1", &[("a", "1")]).await;
    it.ask(json!({"action": "track_batch", "batch_id": "b-1", "expected": 1, "subject": "demo"})).await;
    it.world.rightfoot(tests::completion("b-1", "u-1")).await;
    it.world.system.connector.set_fault_plan(|call| (call.operation == "BatchWriteItem").then_some(Fault::Unprocessed));
    it.world.work().await;
    assert_eq!((it.world.told().await, it.world.balances().await), (vec![], vec![]));
    assert_eq!(number(&it.world.record(&completed("b-1")).await, "works"), Some(1));
}

#[tokio::test]
async fn an_entry_that_eventbridge_failed_to_take_is_sent_again_and_the_others_are_not() {
    let people: Vec<_> = (0..12).map(|n| format!("user-{n:02}")).collect();
    let balances: Vec<_> = people.iter().map(|id| (id.as_str(), "150.00")).collect();
    let it = RightfootWorld::known_run("b-1", &balances).await;
    let alerts: Vec<_> = people.iter().map(|id| (id.as_str(), "150.00", "100")).collect();
    it.world.rightfoot(alert_of("b-1", "u-1", &alerts)).await;
    let faults = Mutex::new(vec![Fault::FirstEntryFailed]);
    it.world
        .system
        .connector
        .set_fault_plan(move |call| if call.operation == "PutEvents" { faults.lock().unwrap().pop() } else { None });
    it.world.system.connector.clear_call_log();
    it.world.work().await;
    let expected: Vec<_> =
        people.iter().map(|id| format!("rightfoot/batch/b-1/threshold-met/{id}")).collect();
    assert_eq!(it.world.told().await, expected, "each once");
    assert_eq!(calls(&it.world, "PutEvents"), 3, "ten, one of them again, two");
}

#[tokio::test]
async fn what_eventbridge_refuses_for_what_it_is_goes_by_reference_or_to_quarantine() {
    let world = World::new().await;
    world.fynapse(extract("e-1")).await;
    let faults = Mutex::new(vec![Fault::FirstEntryInvalid]);
    world.system.connector.set_fault_plan(
        move |call| {
            if call.operation == "PutEvents" { faults.lock().unwrap().pop() } else { None }
        },
    );
    world.work().await;
    let told = world.on_bus().await;
    assert_eq!((told.len(), told[0].detail.get("data")), (1, None), "by reference");

    let it = RightfootWorld::known_run("b-1", &[("a", "150.00"), ("b", "150.00")]).await;
    it.world.rightfoot(alert_of("b-1", "u-1", &[("a", "150.00", "100"), ("b", "150.00", "100")])).await;
    it.world.system.connector.set_fault_plan(|call| (call.operation == "PutEvents").then_some(Fault::FirstEntryInvalid));
    it.world.work().await;
    assert_eq!(it.world.told().await, ["rightfoot/batch/b-1/threshold-met/b"]);
    let kept = it.world.quarantined().await;
    assert_eq!(kept.iter().map(|(reason, _)| reason.as_str()).collect::<Vec<_>>(), ["bus_refused"]);
}
