//! Partial batch responses: each message fails by itself, and Lambda deletes exactly the others.

use std::time::Duration;

use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
use inbox_aws::stores::{EventClaim, WriteOutcome};
use inbox_core::effect::{Publication, RequeueDetails};
use inbox_core::event::EventKey;
use inbox_core::limits::PROCESSING_CLAIM_SECS;
use inbox_core::quarantine::QuarantineReason;
use local::connector::Fault;
use local::inspect;
use local::stack::DEAD_LETTER_QUEUE;
use serde_json::json;
use tests::worker_effects::event_message;
use tests::{World, extract_body, number};

fn sqs_event(bodies: &[String]) -> SqsEvent {
    let records = bodies.iter().enumerate().map(|(index, body)| {
        let mut message = SqsMessage::default();
        message.message_id = Some(format!("m-{index}"));
        message.body = Some(body.clone());
        message
    });
    let mut event = SqsEvent::default();
    event.records = records.collect();
    event
}

/// The worker's response with the failures sorted, because Lambda ignores their order.
async fn answer(world: &World, bodies: &[String]) -> String {
    let mut answer = world.stack.worker.handle(sqs_event(bodies)).await;
    answer.batch_item_failures.sort_by(|one, other| one.item_identifier.cmp(&other.item_identifier));
    serde_json::to_string(&answer).unwrap()
}

#[tokio::test]
async fn a_batch_is_answered_with_what_failed_and_nothing_else() {
    let world = World::new().await;
    for event in ["e-1", "e-2", "e-3"] {
        world.deliver_fynapse(extract_body(event)).await;
    }
    let done = event_message("fynapse/event/e-1");
    insta::assert_snapshot!(answer(&world, std::slice::from_ref(&done)).await, @r#"{"batchItemFailures":[]}"#);
    let bodies = [
        done,
        "not json".to_owned(),
        event_message("fynapse/event/e-2"),
        event_message("fynapse/event/e-2").replace("1.0", "2.0"),
        event_message("somebody/else"),
        event_message("fynapse/event/never-recorded"),
        event_message("fynapse/event/e-3"),
        String::new(),
    ];
    insta::assert_snapshot!(
        answer(&world, &bodies).await,
        @r#"{"batchItemFailures":[{"itemIdentifier":"m-1"},{"itemIdentifier":"m-3"},{"itemIdentifier":"m-4"},{"itemIdentifier":"m-5"},{"itemIdentifier":"m-7"}]}"#
    );
    assert_eq!(world.drain_bus_ids().await, ["fynapse/event/e-1", "fynapse/event/e-2", "fynapse/event/e-3"]);
    insta::assert_snapshot!(answer(&world, &[]).await, @r#"{"batchItemFailures":[]}"#);
}

#[tokio::test]
async fn p10_copies_in_one_batch_have_one_effect_and_the_one_that_finds_it_claimed_comes_again() {
    let world = World::new().await;
    world.deliver_fynapse(extract_body("e-1")).await;
    let twice = [event_message("fynapse/event/e-1"), event_message("fynapse/event/e-1")];
    let answer = answer(&world, &twice).await;
    let failures = answer.matches("itemIdentifier").count();
    assert_eq!((world.drain_bus_ids().await.len(), failures), (1, 1), "{answer}");
}

/// The worker that claimed the event last decides, whatever the earlier one finds.
#[tokio::test]
async fn p10_a_worker_that_lost_its_claim_writes_nothing() {
    let world = World::new().await;
    world.deliver_fynapse(extract_body("e-1")).await;
    let (stores, key) = (&world.stack.stores, EventKey::from_event_id("fynapse/event/e-1").unwrap());
    let claim = async || {
        let EventClaim::Acquired(work) = stores.processing.claim_event(&key, world.now()).await.unwrap()
        else {
            panic!("not ours")
        };
        work
    };
    let slow = claim().await;
    world.advance(Duration::from_secs(PROCESSING_CLAIM_SECS + 1));
    let other = claim().await;
    for is_done in [false, true] {
        if is_done {
            assert_eq!(
                stores.processing.mark_done(&other, &Publication::default(), world.now()).await.unwrap(),
                WriteOutcome::Applied
            );
        }
        let before = world.event_record("fynapse/event/e-1").await;
        let written = [
            stores.processing.mark_done(&slow, &Publication::default(), world.now()).await.unwrap(),
            stores
                .processing
                .requeue(&slow, world.now(), &RequeueDetails::with_reason("not_ready"), world.now())
                .await
                .unwrap(),
            stores
                .processing
                .quarantine_event(&slow, QuarantineReason::BusRefused, world.now())
                .await
                .unwrap(),
        ];
        assert_eq!(written, [WriteOutcome::Conflict; 3]);
        assert_eq!(world.event_record("fynapse/event/e-1").await, before);
    }
}

#[tokio::test]
async fn without_the_table_every_message_comes_again() {
    let world = World::new().await;
    for event in ["e-1", "e-2"] {
        world.deliver_fynapse(extract_body(event)).await;
    }
    world.stack.connector.set_fault_plan(|_| Some(Fault::AccessDenied));
    let bodies = [event_message("fynapse/event/e-1"), event_message("fynapse/event/e-2")];
    insta::assert_snapshot!(
        answer(&world, &bodies).await,
        @r#"{"batchItemFailures":[{"itemIdentifier":"m-0"},{"itemIdentifier":"m-1"}]}"#
    );
    world.stack.connector.clear_fault_plan();
    assert_eq!(answer(&world, &bodies).await, r#"{"batchItemFailures":[]}"#);
}

#[tokio::test]
async fn what_is_not_ours_becomes_a_dead_letter_by_sqs_own_route_and_holds_up_nothing() {
    let world = World::with_options(|options| options.visibility_timeout = Duration::ZERO).await;
    world.send_message("not json").await;
    world
        .send_message(
            json!({"specversion": "0.3", "id": "fynapse/event/e-1", "source": "/fynapse/webhook"})
                .to_string(),
        )
        .await;
    world.deliver_fynapse(extract_body("e-1")).await;
    for _ in 0..8 {
        world.run_worker_once().await;
    }
    assert_eq!(world.drain_bus_ids().await, ["fynapse/event/e-1"]);
    let mut dead = inspect::receive_all(&world.stack, DEAD_LETTER_QUEUE).await.unwrap();
    dead.sort();
    assert_eq!(
        dead,
        ["not json", r#"{"id":"fynapse/event/e-1","source":"/fynapse/webhook","specversion":"0.3"}"#]
    );
}

#[tokio::test]
async fn a_handler_whose_mark_comes_after_the_effect_changes_nothing() {
    let world = World::new().await;
    // The handler's mark never arrives; the worker is faster than the relay.
    world.inject_fault("UpdateItem", Fault::CrashBefore);
    world.deliver_fynapse(extract_body("e-1")).await;
    world.stack.connector.clear_fault_plan();
    world.run_worker().await;
    let record = world.event_record("fynapse/event/e-1").await;
    assert!(number(&record, "done_at").is_some() && !record.contains_key("due"), "done is due no more");
    // Past `RELAY_AGE_MS`: a record that was still due would be sent again.
    world.advance(Duration::from_secs(31));
    let run = world.run_relay().await.unwrap().unwrap();
    assert_eq!((run["due"].as_u64(), world.drain_bus_ids().await.len()), (Some(0), 1));
}
