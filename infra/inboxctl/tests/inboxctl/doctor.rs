//! `doctor`.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use local::connector::Fault;
use tests::{completion, extract};

use crate::{Stand, snapshot};

/// The verdicts, by check.
async fn verdicts(stand: &Stand) -> BTreeMap<String, String> {
    let told = stand.run("--json doctor").await.json();
    let checks = told["checks"].as_array().unwrap().iter();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    checks.map(|it| (text(&it["check"]), text(&it["verdict"]))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_is_well_where_nothing_is_stuck_and_it_changes_nothing() {
    let stand = Stand::now().await;
    stand.world.fynapse(extract("e-1")).await;
    let before = stand.world.items().await;
    let told = stand.run("doctor").await;
    assert_eq!(told.code, 0, "{}", told.told());
    snapshot!(told.told());
    assert_eq!(stand.world.items().await, before);
    snapshot!(stand.run("doctor --no-worker").await.told());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_stuck_is_named_with_what_to_do() {
    let stand = Stand::new().await;
    let world = &stand.world;
    world.rightfoot(completion("b-1", "u-1")).await;
    world.system.connector.set_fault_plan(|call| (call.operation == "SendMessage").then_some(Fault::AccessDenied));
    world.fynapse(extract("e-1")).await;
    world.system.connector.clear_fault_plan();
    let (body, signature) = (extract("e-2"), world.sign(extract("e-2")));
    stand.pass(Duration::from_secs(301));
    world.fynapse_with(&body, &signature, None).await;
    stand.die("not ours").await;
    let submission = [
        ("pk", "rightfoot#submission#nightly"),
        ("sk", "submitted"),
        ("subject", "nightly"),
        ("kind", "batch"),
        ("due", "poll#00"),
    ];
    let text = |value: &str| aws_sdk_dynamodb::types::AttributeValue::S(value.to_owned());
    let number = |value: i64| aws_sdk_dynamodb::types::AttributeValue::N(value.to_string());
    let mut item: tests::Item = submission.map(|(name, value)| (name.to_owned(), text(value))).into();
    item.insert("written_at".to_owned(), number(crate::START));
    item.insert("due_at".to_owned(), number(crate::START + 900_000));
    world.put(item).await;
    let told = stand.run("doctor").await;
    assert_eq!(told.code, 1);
    snapshot!(told.told());
    let advised: Vec<_> =
        told.stdout.split("`inboxctl ").skip(1).map(|rest| rest.split('`').next().unwrap()).collect();
    assert_eq!(advised.len(), 7, "{advised:?}");
    for words in advised {
        let ran = stand.run(&words.replace("REASON", "stale")).await;
        assert_ne!(ran.code, 2, "{}", ran.told());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_the_queue_does_not_take_is_told_from_a_relay_that_does_not_run() {
    let stand = Stand::now().await;
    let world = &stand.world;
    world.system.connector.set_fault_plan(|call| call.operation.starts_with("SendMessage").then_some(Fault::AccessDenied));
    world.fynapse(extract("e-1")).await;
    assert_eq!(verdicts(&stand).await["relay"], "ok");
    let mut record = world.record_of("fynapse/event/e-1").await;
    let number = |value: i64| aws_sdk_dynamodb::types::AttributeValue::N(value.to_string());
    record.insert("received_at".to_owned(), number(world.now().0 - 3_600_000));
    record.insert("attempts".to_owned(), number(7));
    record.insert("due_at".to_owned(), number(world.now().0 + 600_000));
    world.put(record).await;
    let told = stand.run("doctor").await;
    let line = told
        .stdout
        .lines()
        .skip_while(|line| !line.contains("relay "))
        .take(2)
        .collect::<Vec<_>>()
        .join("\n");
    snapshot!(line);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_set_up_as_the_promises_need_is_named() {
    let stand = Stand::now().await;
    let sqs = &stand.world.system.inspector.sqs;
    for (name, visibility, retention) in
        [("hasty", "30", "1209600"), ("forgetful", "540", "345600"), ("endless", "540", "1209600")]
    {
        let create = sqs.create_queue().queue_name(name);
        let create = create.attributes(QueueAttributeName::VisibilityTimeout, visibility);
        create.attributes(QueueAttributeName::MessageRetentionPeriod, retention).send().await.unwrap();
    }
    let secrets = &stand.world.system.inspector.secrets;
    for (name, value) in
        [("five", r#"["1","2","3","4","5"]"#), ("half", r#"["1",""]"#), ("pairs", r#"{"key":"1"}"#)]
    {
        secrets.create_secret().name(name).secret_string(value).send().await.unwrap();
    }
    let line = async |words: &str, check: &str| {
        let told = stand.run(&format!("{words} doctor")).await;
        assert_eq!(told.code, 1, "{}", told.told());
        let lines: Vec<_> = told.stdout.lines().collect();
        let at = lines.iter().position(|line| line.contains(&format!("  {check}"))).unwrap();
        let advice = lines[at + 1..].iter().take_while(|line| line.trim_start().starts_with('→'));
        std::iter::once(&lines[at]).chain(advice).map(|line| line.trim()).collect::<Vec<_>>().join("\n")
    };
    let mut told = Vec::new();
    for queue in ["hasty", "forgetful", "endless"] {
        told.push(
            line(&format!("--queue-url {}/123456789012/{queue}", stand.aws_url), "queue of events").await,
        );
    }
    told.push(line("--table balances", "table of the inbox").await);
    told.push(line("--table nowhere", "table of the inbox").await);
    told.push(line("--bus nowhere", "event bus").await);
    told.push(line("--dead-queue-url nowhere", "dead-letter queue").await);
    for secret in ["five", "half", "pairs"] {
        told.push(line(&format!("--fynapse-secret {secret}"), "secret of Fynapse").await);
    }
    told.push(line("--rightfoot-api-key five", "key of Rightfoot's API").await);
    told.push(line("--rightfoot-api-key nowhere", "key of Rightfoot's API").await);
    snapshot!(told.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_secret_fails_as_soon_as_the_inbox_has_a_record_of_its_provider() {
    let stand = Stand::now().await;
    let secrets = &stand.world.system.inspector.secrets;
    secrets.create_secret().name("never").send().await.unwrap();
    for (name, value) in [("empty", ""), ("blank", "\n"), ("bare", "[]")] {
        secrets.create_secret().name(name).secret_string(value).send().await.unwrap();
    }
    let told = async |secret: &str| {
        let words =
            format!("--fynapse-secret {secret} --rightfoot-url-key {secret} --rightfoot-api-key {secret}");
        let told = stand.run(&format!("{words} doctor")).await;
        let of_secrets: Vec<_> =
            told.stdout.lines().skip_while(|line| !line.contains("  secret of Fynapse")).collect();
        let of_secrets = of_secrets.into_iter().take_while(|line| !line.contains("  relay "));
        (told.code, of_secrets.collect::<Vec<_>>().join("\n"))
    };
    let (code, unused) = told("never").await;
    assert_eq!(code, 0, "{unused}");
    snapshot!(&unused);
    for secret in ["empty", "blank", "bare"] {
        assert_eq!(told(secret).await, (0, unused.replace("never", secret)));
    }
    stand.world.fynapse(extract("e-1")).await;
    stand.world.rightfoot("{").await;
    let (code, used) = told("never").await;
    assert_eq!(code, 1);
    snapshot!(used);
}

/// Nobody shall find out by a webhook that was lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_tracked_by_nobody_is_told_with_what_tracking_adds() {
    let stand = Stand::now().await;
    let line = async || {
        let told = stand.run("doctor").await;
        let lines = told.stdout.lines().skip_while(|line| !line.contains("  tracking "));
        lines.take_while(|line| !line.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(line().await, ["-     tracking                 the inbox has no event of Rightfoot's"]);
    stand.world.rightfoot(completion("b-1", "u-1")).await;
    let untracked = line().await;
    assert_eq!(untracked[0], "warn  tracking                 tracked by nobody: 1 of 1 batch looked at");
    assert!(untracked[1].contains("if one is lost, nobody asks for it"), "{untracked:?}");
    let track =
        serde_json::json!({"action": "track_batch", "batch_id": "b-1", "expected": 1, "subject": "demo"});
    stand.world.ask(track).await.unwrap().unwrap();
    assert_eq!(
        line().await,
        [
            "ok    tracking                 every batch that was looked at is tracked: what no webhook tells is asked for"
        ]
    );
}

/// What is not there, and what nothing was ever put into, have one error code: only a second call tells them apart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_may_not_be_described_is_not_taken_for_one_that_is_not_there() {
    let stand = Stand::now().await;
    let answer = |headers: HeaderMap| async move {
        let asked = headers["x-amz-target"].to_str().unwrap().rsplit('.').next().unwrap().to_owned();
        let code = match asked.as_str() {
            "DescribeSecret" => "AccessDeniedException",
            _ => "ResourceNotFoundException",
        };
        (StatusCode::BAD_REQUEST, format!(r#"{{"__type":"{code}","Message":"refused"}}"#))
    };
    let secrets = crate::stand_in(post(answer)).await;
    let env = [
        ("AWS_ENDPOINT_URL", stand.aws_url.as_str()),
        ("AWS_ENDPOINT_URL_SECRETS_MANAGER", secrets.as_str()),
    ];
    let told = stand.run_in("doctor", &env).await;
    assert_eq!(told.code, 2);
    let line = told.stdout.lines().find(|line| line.contains("secret of Fynapse")).unwrap();
    assert_eq!(
        line,
        "?     secret of Fynapse        secretsmanager:DescribeSecret on secret fynapse-signing: AccessDeniedException — \
         your role needs secretsmanager:DescribeSecret"
    );
}
