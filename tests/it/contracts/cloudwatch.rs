//! `GetMetricData`: the counts of the functions and the metrics of the queues, by minute.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::HeaderMap;
use inbox_core::time::UnixMillis;
use local::stack::{DEAD_LETTER_QUEUE, EVENTS_QUEUE};
use serde_json::{Value, json};
use tests::{MINUTE, START, World, completion_body, extract_body};

/// The start of the minute in which every test begins: 03:04:00.
const FIRST_MINUTE: i64 = START.0 / 60_000 * 60;

fn query(id: &str, namespace: &str, name: &str, dimensions: &Value, stat: &str) -> Value {
    let dimensions = dimensions.as_object().unwrap().iter();
    let dimensions: Vec<_> = dimensions.map(|(name, value)| json!({"Name": name, "Value": value})).collect();
    let metric = json!({"Namespace": namespace, "MetricName": name, "Dimensions": dimensions});
    json!({"Id": id, "MetricStat": {"Metric": metric, "Period": 60, "Stat": stat}})
}

fn counter(name: &str, dimensions: &Value) -> Value {
    query(name, "BalanceInbox", name, dimensions, "Sum")
}

fn of_queue(id: &str, queue: &str) -> Value {
    let age = "ApproximateAgeOfOldestMessage";
    query(id, "AWS/SQS", age, &json!({"QueueName": queue}), "Maximum")
}

/// Sends a request to the endpoint; returns the status and the body.
async fn ask(world: &World, request: &Value) -> (u16, Value) {
    let mut headers = HeaderMap::new();
    headers.insert("x-amz-target", "GraniteServiceVersion20100801.GetMetricData".parse().unwrap());
    let answer = world.stack.connector.emulator().handle(headers, Bytes::from(request.to_string())).await;
    (answer.status, serde_json::from_slice(&answer.body).unwrap())
}

/// The values of each metric in this many minutes from the first one on: minutes without a value are left out.
async fn values(world: &World, queries: Vec<Value>, minutes: i64) -> Vec<Vec<(i64, u64)>> {
    let request = json!({
        "StartTime": FIRST_MINUTE, "EndTime": FIRST_MINUTE + 60 * minutes,
        "ScanBy": "TimestampAscending", "MetricDataQueries": queries,
    });
    let (status, body) = ask(world, &request).await;
    assert_eq!(status, 200, "{body}");
    let results = body["MetricDataResults"].as_array().unwrap();
    assert_eq!(results.len(), queries.len());
    let pairs = |(query, result): (&Value, &Value)| {
        assert_eq!((&query["Id"], &result["StatusCode"]), (&result["Id"], &json!("Complete")));
        let times = result["Timestamps"].as_array().unwrap().iter().map(|it| it.as_i64().unwrap());
        let values = result["Values"].as_array().unwrap().iter().map(|it| it.as_u64().unwrap());
        times.map(|at| (at - FIRST_MINUTE) / 60).zip(values).collect()
    };
    queries.iter().zip(results).map(pairs).collect()
}

#[tokio::test]
async fn the_counts_are_those_of_the_functions_by_minute_and_dimension() {
    let world = World::new().await;
    let recorder = world.stack.connector.emulator().metrics_recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    for id in ["e-1", "e-2", "e-2"] {
        world.deliver_fynapse(extract_body(id)).await;
    }
    world.deliver_rightfoot("{").await;
    world.advance(2 * MINUTE);
    world.run_worker().await;
    world.deliver_fynapse(extract_body("e-3")).await;
    world.deliver_rightfoot(completion_body("b-1", "u-1")).await;
    let (fynapse, rightfoot) = (json!({"provider": "fynapse"}), json!({"provider": "rightfoot"}));
    let queries = vec![
        counter("received", &fynapse),
        counter("received", &rightfoot),
        counter("recorded", &fynapse),
        counter("duplicate", &fynapse),
        counter("processed", &fynapse),
        counter("published", &json!({"type": "BalanceExtracted"})),
        counter("quarantined", &json!({})),
        // As in CloudWatch, the dimensions must be exactly those of the metric.
        counter("received", &json!({})),
        query("sent", "AWS/SQS", "NumberOfMessagesSent", &json!({"QueueName": EVENTS_QUEUE}), "Sum"),
        query("other", "BalanceInbox/other", "received", &fynapse, "Sum"),
    ];
    assert_eq!(
        values(&world, queries.clone(), 5).await,
        [
            vec![(0, 3), (2, 1)],
            vec![(0, 1), (2, 1)],
            vec![(0, 2), (2, 1)],
            vec![(0, 1)],
            vec![(2, 2)],
            vec![(2, 2)],
            vec![(0, 1)],
            vec![],
            vec![(0, 2), (2, 2)],
            vec![],
        ]
    );
    // The end does not belong to the range.
    assert_eq!(values(&world, queries, 2).await[0], [(0, 3)]);
}

#[tokio::test]
async fn the_age_is_that_of_the_oldest_message_whether_in_flight_or_not() {
    let world = World::new().await;
    world.deliver_fynapse(extract_body("e-1")).await;
    world.advance(2 * MINUTE);
    world.deliver_fynapse(extract_body("e-2")).await;
    world.advance(MINUTE);
    let ages = || async { values(&world, vec![of_queue("age", EVENTS_QUEUE)], 10).await.remove(0) };
    // The message came at 03:04:05: it is 55 s old at the end of the first minute.
    assert_eq!(ages().await, [(0, 55), (1, 115), (2, 175), (3, 180)]);
    // Both are done within this minute, and then the queue is empty.
    world.run_worker().await;
    world.advance(MINUTE);
    assert_eq!(ages().await, [(0, 55), (1, 115), (2, 175), (3, 180), (4, 0)]);
}

#[tokio::test]
async fn a_dead_letter_is_as_old_as_its_time_in_its_queue() {
    let world = World::with_options(|options| options.visibility_timeout = Duration::from_secs(1)).await;
    let (sqs, url) = (&world.stack.inspector.sqs, &world.stack.events_queue_url);
    world.deliver_fynapse(extract_body("e-1")).await;
    for _ in 0..5 {
        let received = sqs.receive_message().queue_url(url).send().await.unwrap();
        let receipt = received.messages()[0].receipt_handle().unwrap();
        let visible = sqs.change_message_visibility().queue_url(url).receipt_handle(receipt);
        visible.visibility_timeout(0).send().await.unwrap();
    }
    world.advance(MINUTE);
    // The sixth receive moves it.
    assert!(sqs.receive_message().queue_url(url).send().await.unwrap().messages().is_empty());
    world.advance(MINUTE);
    let ages = || async {
        values(&world, vec![of_queue("age", EVENTS_QUEUE), of_queue("dead", DEAD_LETTER_QUEUE)], 10).await
    };
    assert_eq!(ages().await, [vec![(0, 55), (1, 60), (2, 0)], vec![(0, 0), (1, 55), (2, 60)]]);
    let dead = world.stack.queue_url(DEAD_LETTER_QUEUE).await.unwrap();
    sqs.purge_queue().queue_url(&dead).send().await.unwrap();
    world.advance(MINUTE);
    assert_eq!(ages().await[1], [(0, 0), (1, 55), (2, 60), (3, 0)]);
}

#[tokio::test]
async fn what_is_not_emulated_is_an_error_and_not_an_empty_answer() {
    let world = World::new().await;
    let UnixMillis(now_ms) = world.now();
    let of = |query: Value| json!({"StartTime": now_ms / 1_000, "EndTime": now_ms / 1_000 + 60, "MetricDataQueries": [query]});
    let received = counter("received", &json!({"provider": "fynapse"}));
    let mut hourly = received.clone();
    hourly["MetricStat"]["Period"] = 3_600.into();
    let average = query("a", "BalanceInbox", "received", &json!({}), "Average");
    let expression = json!({"Id": "e", "Expression": "m1 + m2"});
    assert_eq!(ask(&world, &of(received)).await.0, 200);
    for query in [hourly, average, expression] {
        let (status, body) = ask(&world, &of(query)).await;
        assert_eq!((status, &body["__type"]), (400, &json!("InvalidParameterValueException")), "{body}");
    }
    assert_eq!(ask(&world, &json!({})).await.0, 400);
}
