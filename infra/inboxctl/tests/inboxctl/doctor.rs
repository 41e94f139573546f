//! `doctor`: its checks, findings and advice.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use local::connector::Fault;
use tests::{completion_body, extract_body};

use crate::{CliHarness, snapshot};

/// Status of each check.
async fn check_statuses(harness: &CliHarness) -> BTreeMap<String, String> {
    let report = harness.run("--json doctor").await.json();
    let checks = report["checks"].as_array().unwrap().iter();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    checks.map(|it| (text(&it["check"]), text(&it["status"]))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_is_ok_and_read_only_when_nothing_is_stuck() {
    let harness = CliHarness::with_system_clock().await;
    harness.world.deliver_fynapse(extract_body("e-1")).await;
    let before = harness.world.items().await;
    let output = harness.run("doctor").await;
    assert_eq!(output.exit_code, 0, "{}", output.transcript());
    snapshot!(output.transcript());
    assert_eq!(harness.world.items().await, before);
    snapshot!(harness.run("doctor --no-worker").await.transcript());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stuck_items_are_reported_with_advice() {
    let harness = CliHarness::new().await;
    let world = &harness.world;
    world.deliver_rightfoot(completion_body("b-1", "u-1")).await;
    world
        .stack
        .connector
        .set_fault_plan(|call| (call.operation == "SendMessage").then_some(Fault::AccessDenied));
    world.deliver_fynapse(extract_body("e-1")).await;
    world.stack.connector.clear_fault_plan();
    let (body, signature) = (extract_body("e-2"), world.sign(extract_body("e-2")));
    harness.advance(Duration::from_secs(301));
    world.deliver_fynapse_with(&body, &signature, None).await;
    harness.send_dead_letter("not ours").await;
    let submission = [
        ("pk", "rightfoot#submission#nightly"),
        ("sk", "submitted"),
        ("subject", "nightly"),
        ("kind", "batch"),
        ("due", "poll#00"),
        ("fingerprint", "f"),
        ("fingerprint_key", "k"),
        ("call_id", "c"),
    ];
    let text = |value: &str| aws_sdk_dynamodb::types::AttributeValue::S(value.to_owned());
    let number = |value: i64| aws_sdk_dynamodb::types::AttributeValue::N(value.to_string());
    let mut item: tests::Item = submission.map(|(name, value)| (name.to_owned(), text(value))).into();
    item.extend(["rev", "polls", "attempts"].map(|name| (name.to_owned(), number(1))));
    item.insert("written_at".to_owned(), number(crate::START_MS));
    item.insert("due_at".to_owned(), number(crate::START_MS + 900_000));
    world.put_item(item).await;
    let output = harness.run("doctor").await;
    assert_eq!(output.exit_code, 1);
    snapshot!(output.transcript());
    let advised_commands: Vec<_> =
        output.stdout.split("`inboxctl ").skip(1).map(|rest| rest.split('`').next().unwrap()).collect();
    assert_eq!(advised_commands.len(), 8, "{advised_commands:?}");
    for words in advised_commands {
        let item = format!("fynapse/{}", "0".repeat(64));
        let ran = harness.run(&words.replace("REASON", "stale").replace("ITEM", &item)).await;
        assert_ne!(ran.exit_code, 2, "{}", ran.transcript());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_the_queue_rejects_is_distinguished_from_a_relay_that_does_not_run() {
    let harness = CliHarness::with_system_clock().await;
    let world = &harness.world;
    world
        .stack
        .connector
        .set_fault_plan(|call| call.operation.starts_with("SendMessage").then_some(Fault::AccessDenied));
    world.deliver_fynapse(extract_body("e-1")).await;
    assert_eq!(check_statuses(&harness).await["relay"], "ok");
    let mut record = world.event_record("fynapse/event/e-1").await;
    let number = |value: i64| aws_sdk_dynamodb::types::AttributeValue::N(value.to_string());
    record.insert("received_at".to_owned(), number(world.now().0 - 3_600_000));
    record.insert("attempts".to_owned(), number(7));
    record.insert("due_at".to_owned(), number(world.now().0 + 600_000));
    world.put_item(record).await;
    let output = harness.run("doctor").await;
    let line = output
        .stdout
        .lines()
        .skip_while(|line| !line.contains("relay "))
        .take(2)
        .collect::<Vec<_>>()
        .join("\n");
    snapshot!(line);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn misconfigured_resources_are_reported() {
    let harness = CliHarness::with_system_clock().await;
    let sqs = &harness.world.stack.inspector.sqs;
    for (name, visibility, retention) in
        [("hasty", "30", "1209600"), ("forgetful", "540", "345600"), ("endless", "540", "1209600")]
    {
        let create = sqs.create_queue().queue_name(name);
        let create = create.attributes(QueueAttributeName::VisibilityTimeout, visibility);
        create.attributes(QueueAttributeName::MessageRetentionPeriod, retention).send().await.unwrap();
    }
    let secrets = &harness.world.stack.inspector.secrets;
    for (name, value) in
        [("five", r#"["1","2","3","4","5"]"#), ("half", r#"["1",""]"#), ("pairs", r#"{"key":"1"}"#)]
    {
        secrets.create_secret().name(name).secret_string(value).send().await.unwrap();
    }
    let line = async |words: &str, check: &str| {
        let output = harness.run(&format!("{words} doctor")).await;
        assert_eq!(output.exit_code, 1, "{}", output.transcript());
        let lines: Vec<_> = output.stdout.lines().collect();
        let at = lines.iter().position(|line| line.contains(&format!("  {check}"))).unwrap();
        let advice = lines[at + 1..].iter().take_while(|line| line.trim_start().starts_with('→'));
        std::iter::once(&lines[at]).chain(advice).map(|line| line.trim()).collect::<Vec<_>>().join("\n")
    };
    let mut lines = Vec::new();
    for queue in ["hasty", "forgetful", "endless"] {
        lines.push(
            line(&format!("--queue-url {}/123456789012/{queue}", harness.aws_url), "queue of events").await,
        );
    }
    lines.push(line("--table balances", "table of the inbox").await);
    lines.push(line("--table nowhere", "table of the inbox").await);
    lines.push(line("--bus nowhere", "event bus").await);
    // It only warns about this one, so something else makes it fail.
    lines.push(line("--balances-table inbox --bus nowhere", "table of balances").await);
    lines.push(line("--dead-letter-queue-url nowhere", "dead-letter queue").await);
    for secret in ["five", "half", "pairs"] {
        lines.push(line(&format!("--fynapse-secret {secret}"), "secret of Fynapse").await);
    }
    lines.push(line("--rightfoot-api-key five", "key of Rightfoot's API").await);
    lines.push(line("--rightfoot-api-key nowhere", "key of Rightfoot's API").await);
    snapshot!(lines.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_secret_fails_as_soon_as_the_inbox_has_a_record_of_its_provider() {
    let harness = CliHarness::with_system_clock().await;
    let secrets = &harness.world.stack.inspector.secrets;
    secrets.create_secret().name("never").send().await.unwrap();
    for (name, value) in [("empty", ""), ("blank", "\n"), ("bare", "[]")] {
        secrets.create_secret().name(name).secret_string(value).send().await.unwrap();
    }
    let secret_lines = async |secret: &str| {
        let words =
            format!("--fynapse-secret {secret} --rightfoot-url-key {secret} --rightfoot-api-key {secret}");
        let output = harness.run(&format!("{words} doctor")).await;
        // Problems come first, each with an indented line of advice.
        let mut is_of_secret = false;
        let of_secrets = output.stdout.lines().filter(|line| {
            is_of_secret = match line.starts_with(' ') {
                true => is_of_secret,
                false => ["  secret of ", "  key of "].iter().any(|check| line.contains(check)),
            };
            is_of_secret
        });
        (output.exit_code, of_secrets.collect::<Vec<_>>().join("\n"))
    };
    let (code, unused) = secret_lines("never").await;
    assert_eq!(code, 0, "{unused}");
    snapshot!(&unused);
    for secret in ["empty", "blank", "bare"] {
        assert_eq!(secret_lines(secret).await, (0, unused.replace("never", secret)));
    }
    harness.world.deliver_fynapse(extract_body("e-1")).await;
    harness.world.deliver_rightfoot("{").await;
    let (code, used) = secret_lines("never").await;
    assert_eq!(code, 1);
    snapshot!(used);
}

/// The report has to come before a lost webhook shows it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn untracked_batches_are_reported_with_what_tracking_adds() {
    let harness = CliHarness::with_system_clock().await;
    let line = async || {
        let output = harness.run("doctor").await;
        let lines = output.stdout.lines().skip_while(|line| !line.contains("  tracking "));
        lines.take_while(|line| !line.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(line().await, ["-     tracking                 the inbox has no event of Rightfoot"]);
    harness.world.deliver_rightfoot(completion_body("b-1", "u-1")).await;
    let untracked = line().await;
    assert_eq!(untracked[0], "warn  tracking                 not tracked: 1 of 1 batch checked");
    assert!(untracked[1].contains("a lost one is not found by polling"), "{untracked:?}");
    let track =
        serde_json::json!({"action": "track_batch", "batch_id": "b-1", "expected": 1, "subject": "demo"});
    harness.world.request(track).await.unwrap().unwrap();
    assert_eq!(
        line().await,
        ["ok    tracking                 every checked batch is tracked: lost webhooks are found by polling"]
    );
}

/// A missing secret and one without a value have the same error code; only `DescribeSecret` tells them apart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_may_not_be_described_is_not_taken_for_one_that_is_not_there() {
    let harness = CliHarness::with_system_clock().await;
    let answer = |headers: HeaderMap| async move {
        let asked = headers["x-amz-target"].to_str().unwrap().rsplit('.').next().unwrap().to_owned();
        let code = match asked.as_str() {
            "DescribeSecret" => "AccessDeniedException",
            _ => "ResourceNotFoundException",
        };
        (StatusCode::BAD_REQUEST, format!(r#"{{"__type":"{code}","Message":"refused"}}"#))
    };
    let secrets = crate::serve_stub(post(answer)).await;
    let env = [
        ("AWS_ENDPOINT_URL", harness.aws_url.as_str()),
        ("AWS_ENDPOINT_URL_SECRETS_MANAGER", secrets.as_str()),
    ];
    let output = harness.run_with_env("doctor", &env).await;
    assert_eq!(output.exit_code, 2);
    let line = output.stdout.lines().find(|line| line.contains("secret of Fynapse")).unwrap();
    assert_eq!(
        line,
        "?     secret of Fynapse        secretsmanager:DescribeSecret on secret fynapse-signing: AccessDeniedException — \
         your role needs secretsmanager:DescribeSecret"
    );
}
