//! Dead letters: listing hides them only for a while, and a redrive loses none.

use std::time::Duration;

use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::types::MessageAttributeValue;
use inbox_aws::dead_letters::DeadLetterQueue;
use inbox_core::audit::OperatorAction;
use inbox_core::event::EventKey;
use local::connector::{Fault, until_crash};
use local::inspect::receive_all;
use local::stack::{DEAD_LETTER_QUEUE, EVENTS_QUEUE};
use tests::operator::test_operator;
use tests::{World, completion_body};

use super::{COMPLETED, audit_entry, audit_trail};

/// A dead letter whose event is on record, and one without an event.
async fn dead_letters() -> (World, DeadLetterQueue) {
    let world = World::new().await;
    world.deliver_rightfoot(completion_body("b-1", "u-1")).await;
    let body = world.drain_queue().await.remove(0).body;
    let dead_url = world.stack.queue_url(DEAD_LETTER_QUEUE).await.unwrap();
    for body in [body.as_str(), "nobody's"] {
        let attribute =
            MessageAttributeValue::builder().data_type("String").string_value("rightfoot").build();
        let send = world.stack.inspector.sqs.send_message().queue_url(&dead_url).message_body(body);
        send.message_attributes("provider", attribute.unwrap()).send().await.unwrap();
    }
    // The operator's tool has longer time-outs than a function.
    let patient = TimeoutConfig::builder().operation_attempt_timeout(Duration::from_secs(10)).build();
    let config = world.stack.unrestricted_clients().sqs.config().to_builder().timeout_config(patient).build();
    let sqs = aws_sdk_sqs::Client::from_conf(config);
    (world.clone(), DeadLetterQueue::new(sqs, dead_url, &world.stack.events_queue_url))
}

#[tokio::test]
async fn listing_dead_letters_leaves_them_on_the_queue() {
    let (_world, letters) = dead_letters().await;
    for _ in 0..2 {
        let taken = letters.receive(10, Duration::from_secs(30)).await.unwrap();
        let events: Vec<_> = taken.iter().map(|it| it.event.as_ref().map(EventKey::event_id)).collect();
        assert_eq!(events, [Some(COMPLETED.to_owned()), None]);
        assert!(letters.receive(10, Duration::from_secs(30)).await.unwrap().is_empty(), "hidden meanwhile");
        for message in &taken {
            letters.release(message).await.unwrap();
        }
    }
    assert_eq!(letters.receive(1, Duration::from_secs(30)).await.unwrap().len(), 1, "bounded");
}

#[tokio::test]
async fn p2_whatever_goes_wrong_in_a_redrive_the_message_is_on_one_of_the_queues() {
    const CALLS: [&str; 3] = ["SendMessage", "TransactWriteItems", "DeleteMessage"];
    for (operation, fault) in
        CALLS.into_iter().flat_map(|call| Fault::FOR_ANY_CALL.map(|fault| (call, fault)))
    {
        let cell = format!("{operation} {fault:?}");
        let (world, letters) = dead_letters().await;
        let by = test_operator().audit_entry(OperatorAction::Redrive, world.now());
        world.inject_fault_once(fault, move |call| call.operation == operation);
        let taken = letters.receive(2, Duration::from_secs(30)).await.unwrap();
        let stores = world.stores();
        let moved = until_crash(letters.redrive(&stores.operator, &taken[0], &by)).await;
        world.stack.connector.clear_fault_plan();
        if !matches!(moved, Some(Ok(()))) {
            letters.release(&taken[0]).await.ok();
            if let Some(again) = letters.receive(1, Duration::from_secs(30)).await.unwrap().first() {
                letters.redrive(&stores.operator, again, &by).await.unwrap();
            }
        }
        let ids = world.drain_event_ids().await;
        assert!(!ids.is_empty() && ids.iter().all(|id| id == COMPLETED), "{cell}: {ids:?}");
        assert!(
            audit_trail(&world, COMPLETED).await.contains(&audit_entry(OperatorAction::Redrive)),
            "{cell}"
        );
        assert!(receive_all(&world.stack, DEAD_LETTER_QUEUE).await.unwrap().is_empty(), "{cell}");
        if moved.is_some_and(|moved| moved.is_ok()) && !fault.leaves_outcome_unknown() {
            assert_eq!(ids.len(), 1, "{cell}");
        }
        letters.redrive(&stores.operator, &taken[1], &by).await.unwrap();
        assert_eq!(receive_all(&world.stack, EVENTS_QUEUE).await.unwrap(), ["nobody's"]);
    }
}
