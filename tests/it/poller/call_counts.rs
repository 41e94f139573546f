//! The poller's cost: requests to Rightfoot, AWS calls, and time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use inbox_core::due_queue::DueQueue;
use inbox_core::limits::{POLL_BUDGET_SECS, POLL_CONCURRENCY};
use local::rightfoot_simulator::WebhookLoss;
use local::stack::INBOX_TABLE;
use serde_json::json;
use tests::rightfoot_world::RightfootWorld;
use tests::{DAY, HOUR, Item, MINUTE, START, World, text};

use super::{as_strs, authorizer_ids, completion_event_id, id_and_origin, submit_batch};

/// The AWS calls of one poller run: the number of its index queries, and all others.
async fn operations_of_poll(it: &RightfootWorld) -> (usize, Vec<String>) {
    it.world.stack.connector.clear_call_log();
    it.run_poller().await.unwrap();
    let calls: Vec<_> =
        it.world.stack.connector.call_log().into_iter().map(|(call, _)| call.operation).collect();
    let look_ups = calls.iter().take_while(|operation| *operation == "Query").count().min(16);
    (look_ups, calls[look_ups..].to_vec())
}

#[tokio::test]
async fn a_batch_of_a_thousand_is_checked_with_ten_requests_and_with_none_if_its_webhook_came() {
    let people = authorizer_ids(1_000);
    for (lost, requests, calls, origin) in [
        (WebhookLoss::All, 10, "BatchGetItem UpdateItem PutItem SendMessage UpdateItem UpdateItem", "poll"),
        (WebhookLoss::None, 0, "BatchGetItem UpdateItem", "webhook"),
    ] {
        let it = RightfootWorld::with_behaviour(|rightfoot| rightfoot.webhook_loss = lost).await;
        // The key is loaded at a process's start.
        it.world.stack.poller.load_api_key().await;
        let batch = submit_batch(&it, "payroll-1", &as_strs(&people)).await;
        it.advance(MINUTE * 10).await;
        it.rightfoot.clear_requests();
        let (look_ups, others) = operations_of_poll(&it).await;
        assert_eq!((look_ups, others.join(" ").as_str()), (16, calls));
        assert_eq!(it.rightfoot.requests().len(), requests);
        assert_eq!(
            it.world.drain_ids_and_origins().await,
            [id_and_origin(completion_event_id(&batch), origin)]
        );
        assert_eq!(it.world.due_polls().await, []);
    }
}

/// A tracked batch that is due an hour after [`tests::START`].
fn batch_due_in_an_hour(number: usize) -> Item {
    let pk = format!("rightfoot#batch#{number}");
    let due_at = START.plus(HOUR).0.to_string();
    let deadline_at = START.plus(DAY).0.to_string();
    let texts = [("due", DueQueue::Poll.shard(&pk)), ("pk", pk), ("sk", "tracked".to_owned())];
    let numbers = [
        ("v", "1"),
        ("rev", "1"),
        ("polls", "0"),
        ("expected", "3"),
        ("due_at", &due_at),
        ("deadline_at", &deadline_at),
    ];
    let texts = texts.into_iter().map(|(name, text)| (name.to_owned(), AttributeValue::S(text)));
    let numbers = numbers.into_iter().map(|(name, n)| (name.to_owned(), AttributeValue::N(n.to_owned())));
    texts.chain(numbers).collect()
}

/// Writes items in batches of 25, DynamoDB's limit.
pub(crate) async fn write_items(world: &World, items: impl Iterator<Item = Item>) {
    let mut requests = items.map(|item| {
        let put = PutRequest::builder().set_item(Some(item)).build().unwrap();
        WriteRequest::builder().put_request(put).build()
    });
    loop {
        // More than 25 would be rejected by DynamoDB.
        let some: Vec<_> = requests.by_ref().take(25).collect();
        if some.is_empty() {
            return;
        }
        let write = world.stack.inspector.dynamodb.batch_write_item().request_items(INBOX_TABLE, some);
        let answer = write.send().await.unwrap();
        assert!(answer.unprocessed_items().is_none_or(|left| left.is_empty()));
    }
}

#[tokio::test]
async fn ten_thousand_batches_that_are_not_due_cost_one_query_per_shard() {
    let it = RightfootWorld::new().await;
    write_items(&it.world, (0..10_000).map(batch_due_in_an_hour)).await;
    assert_eq!(it.world.due_items().await.len(), 10_000);
    it.advance(MINUTE * 59).await;
    it.world.stack.connector.clear_call_log();
    let run = it.run_poller().await.unwrap();
    assert_eq!(
        run.as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum::<u64>(),
        0,
        "{run}"
    );
    let calls: Vec<_> =
        it.world.stack.connector.call_log().into_iter().map(|(call, _)| call.operation).collect();
    assert_eq!(calls, ["Query"; 16]);
    assert_eq!(it.rightfoot.requests().len(), 0);
}

#[tokio::test]
async fn p9_what_is_due_in_one_shard_is_read_page_by_page_to_its_end() {
    let it = RightfootWorld::new().await;
    let in_one_shard = |item: &Item| text(item, "due") == "poll#07";
    write_items(&it.world, (0..).map(batch_due_in_an_hour).filter(in_one_shard).take(120)).await;
    it.advance(HOUR).await;
    it.world.stack.connector.clear_call_log();
    let run = it.run_poller().await.unwrap();
    assert_eq!((&run["due"], &run["polled"], &run["remaining"]), (&json!(120), &json!(120), &json!(0)));
    let calls: Vec<_> =
        it.world.stack.connector.call_log().into_iter().map(|(call, _)| call.operation).collect();
    let count = |operation: &str| calls.iter().filter(|call| *call == operation).count();
    assert_eq!((count("Query"), count("BatchGetItem")), (16 + 2, 120), "fifty keys a page");
    assert_eq!(it.rightfoot.requests().len(), 120);
}

/// Layer before the API: each request takes 100 ms of the world's time, [`POLL_CONCURRENCY`] at a time, and a page
/// has one row, so that a batch of ten takes ten requests. `busiest` is set to the highest number of concurrent
/// requests.
fn with_latency(world: &World, routes: Router, busiest: Arc<AtomicUsize>) -> Router {
    let busy = Arc::new(AtomicUsize::new(0));
    let (world, requests) = (world.clone(), Arc::new(AtomicUsize::new(0)));
    routes.layer(from_fn(move |mut request: Request, next: Next| {
        let (busy, busiest) = (busy.clone(), busiest.clone());
        busiest.fetch_max(busy.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        if requests.fetch_add(1, Ordering::SeqCst) % POLL_CONCURRENCY == POLL_CONCURRENCY - 1 {
            world.advance(Duration::from_millis(100));
        }
        let uri = request.uri().to_string().replace("limit=100", "limit=1");
        *request.uri_mut() = uri.parse().unwrap();
        async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let answer = next.run(request).await;
            busy.fetch_sub(1, Ordering::SeqCst);
            answer
        }
    }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_p9_five_hundred_due_batches_stay_in_the_time_budget_and_what_is_left_is_for_the_next_run() {
    let busiest = Arc::new(AtomicUsize::new(0));
    let it = RightfootWorld::with_transport(
        |rightfoot| rightfoot.webhook_loss = WebhookLoss::All,
        |_| {},
        |world, routes| with_latency(world, routes, busiest.clone()),
    )
    .await;
    let people = authorizer_ids(10);
    let mut batches = Vec::new();
    for n in 0..500 {
        batches.push(submit_batch(&it, &format!("payroll-{n}"), &as_strs(&people)).await);
    }
    it.advance(MINUTE * 15).await;
    it.rightfoot.clear_requests();

    let begun = it.world.now();
    busiest.store(0, Ordering::SeqCst);
    let first = it.run_poller().await.unwrap();
    let took = it.world.now().since(begun);
    let (found, left) = (first["recorded"].as_u64().unwrap(), first["remaining"].as_u64().unwrap());
    // 45 s at 80 requests a second are 360 batches; polls that have begun by then are completed.
    assert!((360..=368).contains(&found) && found + left == 500, "{first}");
    let budget = Duration::from_secs(POLL_BUDGET_SECS);
    assert!((budget..=budget + Duration::from_secs(1)).contains(&took), "{took:?}");
    assert_eq!(it.rightfoot.requests().len() as u64, found * 10);
    assert_eq!(busiest.load(Ordering::SeqCst), POLL_CONCURRENCY, "at a time");
    let due = it.world.due_polls().await;
    assert_eq!(due.len() as u64, left);
    assert!(due.iter().all(|(_, due_at)| *due_at < begun), "at once, not after a pause");

    it.advance(MINUTE).await;
    let second = it.run_poller().await.unwrap();
    assert_eq!((second["recorded"].as_u64(), second["remaining"].as_u64()), (Some(left), Some(0)));
    let mut expected: Vec<_> =
        batches.iter().map(|batch| id_and_origin(completion_event_id(batch), "poll")).collect();
    expected.sort();
    assert_eq!(it.world.drain_ids_and_origins().await, expected);
    assert_eq!(it.world.due_polls().await, []);
    assert_eq!(it.rightfoot.requests().len(), 5_000);
}
