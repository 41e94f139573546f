//! Our stand-in for Lambda's event source mapping: the batches that a function gets, and which messages are deleted
//! after it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use aws_sdk_sqs::types::MessageAttributeValue;
use local::connector::{Fault, until_crash};
use local::sqs_trigger::TriggerOutcome;
use local::stack::DEAD_LETTER_QUEUE;
use serde_json::{Value, json};
use tests::{World, extract_body};

/// A world with a visibility timeout of one second.
async fn world_with_short_visibility() -> World {
    World::with_options(|options| options.visibility_timeout = Duration::from_secs(1)).await
}

async fn deliver(world: &World, events: usize) {
    for number in 0..events {
        assert_eq!(world.deliver_fynapse(extract_body(&format!("e-{number:02}"))).await.status, 200);
    }
}

/// A function that reports these messages as failed and does nothing else.
fn failing(failed: impl Fn(&[String]) -> Vec<String>) -> impl Fn(SqsEvent) -> ReadyResponse {
    move |event| {
        let ids: Vec<_> = event.records.iter().map(|record| record.message_id.clone().unwrap()).collect();
        let mut answer = SqsBatchResponse::default();
        answer.set_failures(failed(&ids));
        std::future::ready(Some(answer))
    }
}

type ReadyResponse = std::future::Ready<Option<SqsBatchResponse>>;

fn trigger_outcome(received: usize, deleted: usize) -> TriggerOutcome {
    TriggerOutcome { received, deleted, failed: received - deleted }
}

#[tokio::test]
async fn a_function_gets_what_lambda_would_hand_to_it() {
    let world = world_with_short_visibility().await;
    let sqs = &world.stack.inspector.sqs;
    let send = sqs.send_message().queue_url(&world.stack.events_queue_url).message_body("body");
    let text = MessageAttributeValue::builder().data_type("String").string_value("fynapse").build().unwrap();
    let send = send.message_attributes("provider", text);
    let sent = send.send().await.unwrap();
    let seen = std::sync::Mutex::new(Value::Null);
    let function = |event: SqsEvent| {
        *seen.lock().unwrap() = serde_json::to_value(event).unwrap();
        std::future::ready(Some(SqsBatchResponse::default()))
    };
    assert_eq!(world.stack.sqs_trigger().run_once(function).await.unwrap(), trigger_outcome(1, 1));
    let mut seen = seen.into_inner().unwrap();
    let record = &mut seen["Records"][0];
    assert!(!record["receiptHandle"].take().as_str().unwrap().is_empty());
    assert!(record["attributes"]["SentTimestamp"].take().is_string());
    assert!(record["attributes"]["ApproximateFirstReceiveTimestamp"].take().is_string());
    assert_eq!(record["attributes"]["ApproximateReceiveCount"], "1");
    record["attributes"].take();
    let expected = json!({
        "messageId": sent.message_id(),
        "receiptHandle": null,
        "body": "body",
        "md5OfBody": "841a2d689ad86bd1611447453c22c6fc",
        "md5OfMessageAttributes": record["md5OfMessageAttributes"],
        "attributes": null,
        "messageAttributes": {
            "provider": {"stringValue": "fynapse", "binaryValue": null, "stringListValues": [], "binaryListValues": [], "dataType": "String"},
        },
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:events",
        "awsRegion": "us-east-1",
    });
    assert_eq!(seen, json!({"Records": [expected]}));
}

#[tokio::test]
async fn at_most_ten_messages_are_processed_at_once_and_those_that_did_not_fail_are_deleted() {
    let world = world_with_short_visibility().await;
    deliver(&world, 12).await;
    let mapping = world.stack.sqs_trigger();
    assert_eq!(mapping.run_once(failing(|_| vec![])).await.unwrap(), trigger_outcome(10, 10));
    assert_eq!(mapping.run_once(failing(|ids| vec![ids[1].clone()])).await.unwrap(), trigger_outcome(2, 1));
    assert_eq!(
        mapping.run_once(failing(|_| vec![])).await.unwrap(),
        TriggerOutcome::default(),
        "it is hidden"
    );
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(mapping.run_once(failing(|_| vec![])).await.unwrap(), trigger_outcome(1, 1));
    assert_eq!(world.drain_event_ids().await, Vec::<String>::new());
}

#[tokio::test]
async fn p10_a_function_that_fails_dies_or_names_what_it_was_not_given_has_done_nothing() {
    let world = world_with_short_visibility().await;
    deliver(&world, 2).await;
    let mapping = world.stack.sqs_trigger();
    let again = || tokio::time::sleep(Duration::from_millis(1_100));
    assert_eq!(mapping.run_once(|_| std::future::ready(None)).await.unwrap(), trigger_outcome(2, 0));
    again().await;
    for named in ["", "another"] {
        let named = |ids: &[String]| vec![ids[0].clone(), named.to_owned()];
        assert_eq!(mapping.run_once(failing(named)).await.unwrap(), trigger_outcome(2, 0));
        again().await;
    }
    world.inject_fault("GetItem", Fault::CrashBefore);
    let clients = world.stack.unrestricted_clients();
    let reads = |_| {
        let read = clients.dynamodb.get_item().table_name("inbox").send();
        until_crash(async move {
            drop(read.await);
            SqsBatchResponse::default()
        })
    };
    assert_eq!(mapping.run_once(reads).await.unwrap(), trigger_outcome(2, 0), "it died");
    again().await;
    assert_eq!(mapping.run_once(failing(|_| vec![])).await.unwrap(), trigger_outcome(2, 2));
    let dead = world.stack.queue_url(DEAD_LETTER_QUEUE).await.unwrap();
    let dead = world.stack.inspector.sqs.receive_message().queue_url(dead).send().await.unwrap();
    assert_eq!(dead.messages(), [], "five receives are allowed");
}

#[tokio::test]
async fn two_mappings_share_the_messages_of_a_queue() {
    let world = World::new().await;
    deliver(&world, 30).await;
    let seen = std::sync::Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let running: Vec<_> = [0, 1]
        .into_iter()
        .map(|which: usize| {
            let seen = seen.clone();
            world.stack.sqs_trigger().run(Duration::from_millis(5), move |event: SqsEvent| {
                seen[which].fetch_add(event.records.len(), Ordering::SeqCst);
                async {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    Some(SqsBatchResponse::default())
                }
            })
        })
        .collect();
    let count = || [seen[0].load(Ordering::SeqCst), seen[1].load(Ordering::SeqCst)];
    let all = async {
        while count().iter().sum::<usize>() < 30 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), all).await.expect("all within bounds");
    tokio::time::sleep(Duration::from_millis(100)).await;
    running.iter().for_each(tokio::task::JoinHandle::abort);
    assert_eq!(count().iter().sum::<usize>(), 30, "each once");
    assert!(count().iter().all(|count| *count > 0), "{:?}", count());
    assert_eq!(world.drain_event_ids().await, Vec::<String>::new());
}
