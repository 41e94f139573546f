//! The metrics of the console: what is asked of CloudWatch, and what the pages say of its answers.

use std::sync::{Arc, Mutex};

use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::{Value, json};
use tests::extract_body;

use crate::console::RunningConsole;
use crate::{CliHarness, serve_stub};

const OPTIONS: &str = "--stack ours --table inbox --queue-url events --dead-letter-queue-url events-dead";

/// The answer of a stub of CloudWatch.
#[derive(Clone)]
enum StubAnswer {
    /// This value of every metric, in the minute before the current one.
    Value(f64),
    Error(StatusCode, &'static str),
}

/// Headers and body of a request.
type StubRequest = (HeaderMap, Value);

/// Serves CloudWatch; returns its URL, and the requests that came.
async fn serve_cloudwatch(answer: StubAnswer) -> (String, Arc<Mutex<Vec<StubRequest>>>) {
    let requests: Arc<Mutex<Vec<StubRequest>>> = Arc::default();
    let kept = requests.clone();
    let respond = move |headers: HeaderMap, body: String| async move {
        let request: Value = serde_json::from_str(&body).unwrap();
        let response = match answer {
            StubAnswer::Value(value) => {
                let at = request["StartTime"].as_f64().unwrap() + 58.0 * 60.0;
                let result = |query: &Value| json!({"Id": query["Id"], "Label": "x", "StatusCode": "Complete", "Timestamps": [at], "Values": [value]});
                let results = request["MetricDataQueries"].as_array().unwrap().iter().map(result);
                let results: Vec<_> = results.collect();
                (StatusCode::OK, json!({"MetricDataResults": results, "Messages": []}).to_string())
            }
            StubAnswer::Error(status, body) => (status, body.to_owned()),
        };
        kept.lock().unwrap().push((headers, request));
        response
    };
    (serve_stub(post(respond)).await, requests)
}

/// Serves CloudFormation with a stack that has neither outputs nor parameters; returns its URL.
async fn serve_cloudformation() -> String {
    let stack = "<StackName>ours</StackName><CreationTime>2026-01-02T03:04:05Z</CreationTime>\
                 <StackStatus>CREATE_COMPLETE</StackStatus>";
    let result = format!("<Stacks><member>{stack}</member></Stacks>");
    let response = format!(
        "<DescribeStacksResponse><DescribeStacksResult>{result}</DescribeStacksResult></DescribeStacksResponse>"
    );
    serve_stub(post(|| async { response })).await
}

async fn console_with(harness: &CliHarness, cloudwatch: &str) -> RunningConsole {
    let cloudformation = serve_cloudformation().await;
    let env = [
        ("AWS_ENDPOINT_URL_CLOUDFORMATION", cloudformation.as_str()),
        ("AWS_ENDPOINT_URL_CLOUDWATCH", cloudwatch),
    ];
    RunningConsole::start_with_env(harness, OPTIONS, &env).await
}

/// The metrics that must be asked for: namespace, name, dimension, statistic.
fn expected_metrics() -> Vec<Value> {
    let ours = "BalanceInbox/ours";
    let mut expected = Vec::new();
    for name in ["received", "recorded", "duplicate", "processed"] {
        for provider in ["rightfoot", "fynapse"] {
            expected.push(json!([ours, name, [{"Name": "provider", "Value": provider}], "Sum"]));
        }
    }
    for detail_type in ["BalanceBatchCompleted", "BalanceThresholdMet", "BalanceExtracted"] {
        expected.push(json!([ours, "published", [{"Name": "type", "Value": detail_type}], "Sum"]));
    }
    expected.push(json!([ours, "quarantined", [], "Sum"]));
    for (name, queue, stat) in [
        ("NumberOfMessagesSent", "events", "Sum"),
        ("ApproximateAgeOfOldestMessage", "events", "Maximum"),
        ("ApproximateAgeOfOldestMessage", "events-dead", "Maximum"),
    ] {
        expected.push(json!(["AWS/SQS", name, [{"Name": "QueueName", "Value": queue}], stat]));
    }
    expected
}

fn assert_is_the_request((headers, request): &StubRequest) {
    assert_eq!(headers["x-amz-target"], "GraniteServiceVersion20100801.GetMetricData");
    assert_eq!(headers["content-type"], "application/x-amz-json-1.0");
    let authorization = headers["authorization"].to_str().unwrap();
    assert!(authorization.contains("/us-east-1/monitoring/aws4_request, "), "{authorization}");
    assert!(
        authorization
            .contains("SignedHeaders=content-type;host;x-amz-content-sha256;x-amz-date;x-amz-target, "),
        "{authorization}"
    );
    let asked = request["MetricDataQueries"].as_array().unwrap().iter().enumerate().map(|(index, query)| {
        assert_eq!((&query["Id"], &query["MetricStat"]["Period"]), (&json!(format!("m{index}")), &json!(60)));
        let (stat, metric) = (&query["MetricStat"]["Stat"], &query["MetricStat"]["Metric"]);
        json!([metric["Namespace"], metric["MetricName"], metric["Dimensions"], stat])
    });
    let (mut asked, mut expected) = (asked.collect::<Vec<_>>(), expected_metrics());
    asked.sort_by_key(ToString::to_string);
    expected.sort_by_key(ToString::to_string);
    assert_eq!(asked, expected);
    let (start, end) = (request["StartTime"].as_i64().unwrap(), request["EndTime"].as_i64().unwrap());
    assert_eq!((end - start, start % 60), (3_600, 0));
    assert_eq!(request["ScanBy"], "TimestampAscending");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_request_reads_the_last_hour_for_all_tabs() {
    let harness = CliHarness::with_system_clock().await;
    harness.world.deliver_fynapse(extract_body("e-1")).await;
    let (cloudwatch, requests) = serve_cloudwatch(StubAnswer::Value(10.0)).await;
    // An address that is not the local system's, whose own count is read more often.
    let cloudwatch = cloudwatch.replace("127.0.0.1", "0.0.0.0");
    let console = console_with(&harness, &cloudwatch).await;
    for _ in 0..2 {
        let page = console.text("/last-hour").await;
        assert!(page.contains("Received : 20 (rightfoot 10, fynapse 10) in the last hour"), "{page}");
        assert!(page.contains("From CloudWatch, which is a minute or two behind."), "{page}");
        assert!(
            page.contains("Oldest message on the queue : 10 s now, at most 10 s in the last hour"),
            "{page}"
        );
    }
    let overview = console.text("/").await;
    assert!(overview.contains("4 received, 4 recorded, 4 duplicate a minute"), "{overview}");
    assert!(overview.contains("wait for the worker; the oldest is 10 s old"), "{overview}");
    assert!(overview.contains("6 published a minute"), "{overview}");
    let requests = requests.lock().unwrap();
    assert_eq!(requests.len(), 1);
    assert_is_the_request(&requests[0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_that_cannot_be_read_are_said_with_the_permission_and_the_lists_are_counted() {
    let harness = CliHarness::with_system_clock().await;
    harness.world.deliver_fynapse(extract_body("e-1")).await;
    let denied = r#"{"__type":"com.amazonaws.cloudwatch#AccessDenied","Message":"no"}"#;
    let denied_by_html = "<html>\u{1b}[2J</html>";
    for (status, body, why) in [
        (
            StatusCode::FORBIDDEN,
            denied,
            "cloudwatch:GetMetricData on the metrics of ours: AccessDenied — your role needs cloudwatch:GetMetricData.",
        ),
        (
            StatusCode::NOT_FOUND,
            denied_by_html,
            "cloudwatch:GetMetricData on the metrics of ours: 404 Not Found.",
        ),
        (StatusCode::OK, "[]", "cloudwatch:GetMetricData on the metrics of ours: unreadable response."),
    ] {
        let (cloudwatch, requests) = serve_cloudwatch(StubAnswer::Error(status, body)).await;
        let console = console_with(&harness, &cloudwatch).await;
        let page = console.text("/last-hour").await;
        assert!(page.contains(&format!("Counted from the lists, without rates: {why}")), "{page}");
        assert!(page.contains("Events received : 1 in the last hour, at most 1 in a minute"), "{page}");
        assert!(!console.text("/").await.contains("a minute"), "no rates");
        assert_eq!(requests.lock().unwrap().len(), 1);
    }
    // The discard port: nothing listens.
    let console = console_with(&harness, "http://127.0.0.1:9").await;
    let page = console.text("/last-hour").await;
    assert!(page.contains("without rates: cloudwatch:GetMetricData on the metrics of ours: "), "{page}");
}

/// The console asks `local` as it asks CloudWatch. On one thread, whose recorder counts for this stack alone.
#[tokio::test]
async fn the_local_system_counts_for_itself() {
    let harness = CliHarness::with_system_clock().await;
    let recorder = harness.world.stack.connector.emulator().metrics_recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    for id in ["e-1", "e-2", "e-2"] {
        harness.world.deliver_fynapse(extract_body(id)).await;
    }
    harness.world.run_worker().await;
    harness.world.deliver_rightfoot("{").await;
    let console = RunningConsole::start_with_env(&harness, "", &[]).await;
    let page = console.text("/last-hour").await;
    assert!(page.contains("Received : 4 (rightfoot 1, fynapse 3) in the last hour"), "{page}");
    assert!(page.contains("Published : 2 (BalanceExtracted 2) in the last hour"), "{page}");
    assert!(page.contains("Quarantined : 1 in the last hour"), "{page}");
    assert!(page.contains("Counted by the local system since its start."), "{page}");
    assert!(console.text("/").await.contains(" a minute"));
}
