//! The checks of `doctor` of the account around the stack: what is asked of AWS, and what is said of its answers.

use std::collections::BTreeMap;

use serde_json::json;

use crate::account_stub::{Alarm, StubAccount, alarm, serve};
use crate::{CliHarness, snapshot};

const OPTIONS: &str = "--stack ours --table inbox --balances-table balances --queue-url events \
                       --dead-letter-queue-url events-dead --bus balance-inbox --fynapse-secret fynapse-signing \
                       --rightfoot-url-key rightfoot-url-key --rightfoot-api-key rightfoot-api-key";
const CHECKS: [&str; 6] = [
    "concurrency quota",
    "reserved concurrency",
    "alarms",
    "alarm states",
    "alarm topic",
    "table throttling",
];

/// The lines of these checks, and the exit code.
async fn account_lines(harness: &CliHarness, url: &str) -> String {
    let env = [
        ("AWS_ENDPOINT_URL", harness.aws_url.as_str()),
        ("AWS_ENDPOINT_URL_CLOUDFORMATION", url),
        ("AWS_ENDPOINT_URL_CLOUDWATCH", url),
        ("AWS_ENDPOINT_URL_LAMBDA", url),
        ("AWS_ENDPOINT_URL_SNS", url),
    ];
    let ran = harness.run_with_env(&format!("{OPTIONS} doctor"), &env).await;
    let mut is_ours = false;
    let lines = ran.stdout.lines().filter(|line| {
        let name = |check: &&str| line.get(6..).is_some_and(|rest| rest.starts_with(&format!("{check}  ")));
        is_ours = if line.starts_with(' ') { is_ours } else { CHECKS.iter().any(name) };
        is_ours
    });
    let lines: Vec<_> = lines.collect();
    assert!(!lines.is_empty(), "{}", ran.transcript());
    format!("{}\n[exit {}]", lines.join("\n"), ran.exit_code)
}

async fn lines_of(account: StubAccount) -> String {
    let harness = CliHarness::with_system_clock().await;
    let (url, _) = serve(account).await;
    account_lines(&harness, &url).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_without_problems_is_ok() {
    let harness = CliHarness::with_system_clock().await;
    let (url, stub) = serve(StubAccount::new()).await;
    snapshot!(account_lines(&harness, &url).await);
    let alarms: Vec<_> = stub.requests("cloudwatch:DescribeAlarms");
    let names = json!(["ours-rejected", "ours-quarantined", "ours-found-by-poll"]);
    assert_eq!(
        alarms,
        [
            json!({"AlarmNames": names, "MaxRecords": 100}),
            json!({"AlarmNames": names, "MaxRecords": 100, "NextToken": "1"}),
            json!({"AlarmNames": names, "MaxRecords": 100, "NextToken": "2"}),
        ]
    );
    let mut functions = stub.requests("lambda:GetFunctionConcurrency");
    functions.sort_by_key(ToString::to_string);
    let all = [
        "event-relay",
        "event-worker",
        "fynapse-webhook",
        "rightfoot-poller",
        "rightfoot-requests",
        "rightfoot-webhook",
    ];
    assert_eq!(functions, all.map(|name| json!(format!("ours-{name}"))));
}

/// The metrics of a table do not include those of its indexes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn throttling_is_asked_for_every_table_and_index_over_the_last_day() {
    let harness = CliHarness::with_system_clock().await;
    let (url, stub) = serve(StubAccount::new()).await;
    account_lines(&harness, &url).await;
    let requests = stub.requests("cloudwatch:GetMetricData");
    assert_eq!(requests.len(), 1);
    let request = &requests[0];
    let (start, end) = (request["StartTime"].as_i64().unwrap(), request["EndTime"].as_i64().unwrap());
    assert_eq!((end - start, start % 3_600), (25 * 3_600, 0));
    let asked = request["MetricDataQueries"].as_array().unwrap().iter().map(|query| {
        let (stat, metric) = (&query["MetricStat"], &query["MetricStat"]["Metric"]);
        assert_eq!((&stat["Period"], &stat["Stat"]), (&json!(3_600), &json!("Sum")));
        json!([metric["Namespace"], metric["MetricName"], metric["Dimensions"]])
    });
    let mut expected = Vec::new();
    for (table, index) in [
        ("inbox", None),
        ("inbox", Some("due")),
        ("inbox", Some("listed")),
        ("balances", None),
        ("balances", Some("batch")),
    ] {
        let mut dimensions = vec![json!({"Name": "TableName", "Value": table})];
        dimensions.extend(index.map(|index| json!({"Name": "GlobalSecondaryIndexName", "Value": index})));
        for name in ["WriteThrottleEvents", "ReadThrottleEvents"] {
            expected.push(json!(["AWS/DynamoDB", name, dimensions]));
        }
    }
    assert_eq!(asked.collect::<Vec<_>>(), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_that_is_smaller_than_the_limits_names_the_quota_or_the_parameter_to_change() {
    // A usual account, a new one, and one whose other functions have reserved most.
    for (quota, unreserved) in [(1_000, 1_000), (10, 10), (3_000, 1_128)] {
        snapshot!(lines_of(StubAccount { quota, unreserved, ..StubAccount::new() }).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reservation_takes_its_function_out_of_what_the_others_share() {
    let account = StubAccount::new().with_parameter("FynapseReservedConcurrency", "1020");
    let reserved = BTreeMap::from([("ours-fynapse-webhook", 1_020)]);
    let lines = lines_of(StubAccount { unreserved: 109, reserved, ..account }).await;
    assert!(lines.contains("109 of them unreserved; the stack can need 109 at once"), "{lines}");
    assert!(lines.contains("fynapse-webhook: the reservation is as large as the limits need it"), "{lines}");
    assert!(lines.ends_with("[exit 0]"), "{lines}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reservation_that_is_too_small_or_not_the_deployed_one_is_reported() {
    let account = StubAccount::new().with_parameter("FynapseReservedConcurrency", "50");
    let reserved = BTreeMap::from([("ours-fynapse-webhook", 50), ("ours-event-worker", 3)]);
    snapshot!(lines_of(StubAccount { reserved, ..account.clone() }).await);
    snapshot!(lines_of(account).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_that_is_switched_off_fails() {
    let reserved = BTreeMap::from([("ours-event-relay", 0), ("ours-rightfoot-webhook", 0)]);
    snapshot!(lines_of(StubAccount { reserved, ..StubAccount::new() }).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alarms_that_notify_nobody_are_one_finding_if_it_is_all_of_them() {
    let mut account = StubAccount::new().with_parameter("AlarmTopicArn", "");
    for alarm in &mut account.alarms {
        alarm.has_action = false;
    }
    snapshot!(lines_of(account).await);
    let monitoring_disabled = StubAccount::new().with_parameter("MonitoringEnabled", "false");
    snapshot!(lines_of(monitoring_disabled).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alarm_without_action_a_disabled_a_deleted_one_and_one_that_is_on_are_named() {
    let account = StubAccount::new();
    let alarms = vec![
        Alarm { has_action: false, ..alarm("ours-rejected") },
        Alarm { is_enabled: false, state: "ALARM", ..alarm("ours-quarantined") },
        Alarm { state: "INSUFFICIENT_DATA", ..alarm("ours-row-skipped") },
        // Of the stack `ours-dev`.
        Alarm { state: "ALARM", ..alarm("ours-dev-rejected") },
    ];
    let deployed_alarms = vec!["ours-rejected", "ours-quarantined", "ours-row-skipped", "ours-key-refused"];
    snapshot!(lines_of(StubAccount { alarms, deployed_alarms, ..account }).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribers_that_get_nothing_are_counted_over_all_pages() {
    let confirmed = "arn:aws:sns:us-east-1:123456789012:alarms:9d";
    for subscriptions in [
        vec![vec![]],
        vec![vec!["PendingConfirmation"]],
        vec![vec![confirmed, "PendingConfirmation"], vec!["PendingConfirmation", "Deleted"]],
    ] {
        let lines = lines_of(StubAccount { subscriptions, ..StubAccount::new() }).await;
        assert!(!lines.contains("ada@example.com"), "{lines}");
        snapshot!(lines);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn throttled_tables_and_indexes_are_named() {
    let throttled = BTreeMap::from([
        (("inbox", "", "WriteThrottleEvents"), 11),
        (("inbox", "due", "ReadThrottleEvents"), 0),
        (("balances", "batch", "WriteThrottleEvents"), 4),
    ]);
    snapshot!(lines_of(StubAccount { throttled, ..StubAccount::new() }).await);
}

/// Without a permission, its checks name it, and `doctor` does not fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_permission_is_named_and_does_not_count() {
    let harness = CliHarness::with_system_clock().await;
    for denied in [
        "lambda:GetAccountSettings",
        "lambda:GetFunctionConcurrency",
        "cloudformation:ListStackResources",
        "cloudwatch:DescribeAlarms",
        "sns:ListSubscriptionsByTopic",
        "cloudwatch:GetMetricData",
    ] {
        let (url, _) = serve(StubAccount { denied, ..StubAccount::new() }).await;
        let lines = account_lines(&harness, &url).await;
        let skipped: Vec<_> = lines.lines().filter(|line| line.starts_with("- ")).collect();
        assert_eq!(skipped.len(), 1, "{lines}");
        assert!(skipped[0].contains(&format!("not checked: {denied} on ")), "{lines}");
        assert!(skipped[0].ends_with(&format!(" — your role needs {denied}")), "{lines}");
        assert!(lines.ends_with("[exit 0]"), "{lines}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_that_do_not_answer_leave_it_unknown() {
    let harness = CliHarness::with_system_clock().await;
    let (url, _) = serve(StubAccount::new()).await;
    // The discard port: nothing listens.
    let nowhere = "http://127.0.0.1:9";
    let env = [
        ("AWS_ENDPOINT_URL", harness.aws_url.as_str()),
        ("AWS_ENDPOINT_URL_CLOUDFORMATION", url.as_str()),
        ("AWS_ENDPOINT_URL_LAMBDA", nowhere),
        ("AWS_ENDPOINT_URL_CLOUDWATCH", nowhere),
        ("AWS_ENDPOINT_URL_SNS", nowhere),
    ];
    let report = harness.run_with_env(&format!("--json {OPTIONS} doctor"), &env).await;
    assert_eq!(report.exit_code, 2, "{}", report.transcript());
    let report = report.json();
    let checks = report["checks"].as_array().unwrap().iter();
    let ours: Vec<_> = checks.filter(|it| CHECKS.contains(&it["check"].as_str().unwrap())).collect();
    let names: Vec<_> = ours.iter().map(|it| it["check"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        ["concurrency quota", "reserved concurrency", "alarms", "alarm topic", "table throttling"]
    );
    for check in ours {
        assert_eq!(check["status"], "unknown", "{check}");
        assert!(check["finding"].as_str().unwrap().contains(": connection failed"), "{check}");
    }
}
