//! Errors name the missing parameter, permission or reason; options override variables; the help text.

use axum::http::StatusCode;
use axum::routing::post;

use tests::completion_body;

use crate::{CliHarness, snapshot};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_names_the_missing_parameter() {
    let harness = CliHarness::new().await;
    let elsewhere = [("AWS_REGION", "eu-west-1")];
    snapshot!(harness.run_with_env("due", &elsewhere).await.transcript());
    snapshot!(harness.run_with_env("due", &[]).await.transcript());
    snapshot!(harness.run("--table nowhere due").await.transcript());
    snapshot!(harness.run("events show nonsense").await.transcript());
    snapshot!(harness.run("quarantine list --reason boredom").await.transcript());
    let nobody = [("AWS_ENDPOINT_URL", "http://127.0.0.1:9")];
    snapshot!(harness.run_with_env("due", &nobody).await.transcript());
    let no_credentials = [
        // Not a loopback address, although this machine listens there.
        ("AWS_ENDPOINT_URL", &*harness.aws_url.replace("127.0.0.1", "0.0.0.0")),
        ("AWS_ACCESS_KEY_ID", ""),
        ("AWS_SECRET_ACCESS_KEY", ""),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ];
    let refused = harness.run_with_env("due", &no_credentials).await;
    assert_eq!(refused.exit_code, 1);
    assert!(
        refused.stderr.starts_with("error: no AWS credentials: configure them as for the AWS CLI"),
        "{}",
        refused.stderr
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_audit_entry_needs_a_name_and_a_reason() {
    let harness = CliHarness::new().await;
    let done = "events replay fynapse/event/e-1 --yes";
    let mut transcripts = Vec::new();
    for words in [
        &format!("{done} --by '' --why x"),
        &format!("{done} --by ada --why ' '"),
        "quarantine replay --reason stale --yes --by ' ' --why x",
        "dead-letters redrive --yes --by ada --why ''",
    ] {
        transcripts.push(harness.run(words).await.transcript());
    }
    let nobody = [("AWS_ENDPOINT_URL", harness.aws_url.as_str()), ("INBOXCTL_BY", "")];
    transcripts.push(harness.run_with_env(&format!("{done} --why x"), &nobody).await.transcript());
    snapshot!(transcripts.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_without_cloudformation_has_no_stack_and_says_what_to_do() {
    let harness = CliHarness::new().await;
    snapshot!(harness.run("--stack ours due").await.transcript());
    let unset = [("AWS_ENDPOINT_URL", harness.aws_url.as_str()), ("INBOXCTL_STACK", "")];
    assert_eq!(harness.run_with_env("due", &unset).await.exit_code, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_is_json_where_json_is_asked_for() {
    let harness = CliHarness::new().await;
    let env = [("AWS_ENDPOINT_URL", harness.aws_url.as_str())];
    for (words, code, expected) in [
        ("--json due --table nowhere", 1, "dynamodb:Query on table nowhere: ResourceNotFoundException"),
        ("due --json --table a\u{202e}b", 1, "dynamodb:Query on table a\u{202e}b: "),
        ("--json --profile nosuch due", 1, "there is no AWS profile nosuch (--profile)"),
        ("--json events show fynapse/x", 2, "invalid value 'fynapse/x' for '<EVENT>': an event's id is "),
        ("due --json --nosuch", 2, "unexpected argument '--nosuch' found"),
        ("--json dead-letters redrive --dry-run --limit 0", 2, "invalid value '0' for '--limit <N>'"),
    ] {
        let ran = harness.run_with_env(words, &env).await;
        assert_eq!(
            (ran.exit_code, ran.stdout.as_str(), ran.stderr.lines().count()),
            (code, "", 1),
            "{}",
            ran.transcript()
        );
        let error: serde_json::Value = serde_json::from_str(&ran.stderr).unwrap();
        let keys: Vec<_> = error.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["error"]);
        assert!(error["error"].as_str().unwrap().starts_with(expected), "{}", ran.transcript());
        assert!(!ran.stderr.contains('\u{202e}'), "{}", ran.transcript());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p8_no_error_about_an_argument_shows_the_password_of_a_url() {
    let harness = CliHarness::new().await;
    let url = "ftp://ada:s3cret@example.com";
    for words in [
        format!("due --base-url {url}"),
        format!("due --endpoint-url={url}"),
        format!("--json due --base-url {url}"),
        format!("due {url}"),
        url.to_owned(),
    ] {
        let ran = harness.run(&words).await;
        assert_eq!(ran.exit_code, 2, "{}", ran.transcript());
        assert!(ran.stderr.contains("…@example.com") && !ran.stderr.contains("s3cret"), "{}", ran.stderr);
    }
    let env = [("AWS_ENDPOINT_URL", harness.aws_url.as_str()), ("WEBHOOK_BASE_URL", url)];
    let ran = harness.run_with_env("due", &env).await;
    let named = "invalid value '…@example.com' for 'WEBHOOK_BASE_URL (--base-url)'";
    assert!(ran.stderr.contains(named) && !ran.stderr.contains("s3cret"), "{}", ran.stderr);
}

/// A stand-in for CloudFormation that knows one stack, with these outputs and parameters.
async fn cloudformation(outputs: &[(&str, String)], parameters: &[(&str, String)]) -> String {
    let members = |kind: &str, all: &[(&str, String)]| -> String {
        let member = |(name, value): &(&str, String)| {
            format!("<member><{kind}Key>{name}</{kind}Key><{kind}Value>{value}</{kind}Value></member>")
        };
        all.iter().map(member).collect()
    };
    let (outputs, parameters) = (members("Output", outputs), members("Parameter", parameters));
    let answer = move |body: String| async move {
        if !body.contains("StackName=ours") {
            let error = "<Code>ValidationError</Code><Message>Stack with id theirs does not exist</Message>";
            return (
                StatusCode::BAD_REQUEST,
                format!("<ErrorResponse><Error>{error}</Error></ErrorResponse>"),
            );
        }
        let stack = format!(
            "<StackName>ours</StackName><CreationTime>2026-01-02T03:04:05Z</CreationTime>\
             <StackStatus>CREATE_COMPLETE</StackStatus><Outputs>{outputs}</Outputs>\
             <Parameters>{parameters}</Parameters>"
        );
        let result = format!("<Stacks><member>{stack}</member></Stacks>");
        let result = format!("<DescribeStacksResult>{result}</DescribeStacksResult>");
        (StatusCode::OK, format!("<DescribeStacksResponse>{result}</DescribeStacksResponse>"))
    };
    crate::serve_stub(post(answer)).await
}

/// The functions do not start with such parameters.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parameter_that_no_function_can_read_fails_wherever_it_is_read() {
    let harness = CliHarness::with_system_clock().await;
    let outputs = [
        ("WebhookBaseUrl", harness.http_url.clone()),
        ("InboxTableName", "inbox".to_owned()),
        ("FynapseSigningSecretArn", "fynapse-signing".to_owned()),
    ];
    let wrong = [
        ("RetentionDays", "90"),
        ("FynapseAllowedCidrs", "example.com"),
        ("FynapseKeyCodec", "base32"),
        ("PollFirstSecs", "0"),
        ("RightfootAllowedCidrs", "10.0.0.0/33"),
        ("RightfootRevokedSubjects", "pay roll"),
    ];
    let wrong = wrong.map(|(name, value)| (name, value.to_owned()));
    let stack = cloudformation(&outputs, &wrong).await;
    let env =
        [("AWS_ENDPOINT_URL", harness.aws_url.as_str()), ("AWS_ENDPOINT_URL_CLOUDFORMATION", stack.as_str())];
    let output = harness.run_with_env("--stack ours --json doctor", &env).await;
    let checks = output.json()["checks"].clone();
    let check =
        |name: &str| checks.as_array().unwrap().iter().find(|it| it["check"] == name).unwrap().clone();
    let (parameters, secret) = (check("parameters"), check("secret of Fynapse"));
    assert_eq!(
        (output.exit_code, &parameters["status"], &secret["status"]),
        (1, &"fail".into(), &"fail".into())
    );
    let finding = parameters["finding"].as_str().unwrap();
    for variable in [
        "FYNAPSE_ALLOWED_CIDRS",
        "FYNAPSE_KEY_CODEC",
        "POLL_FIRST_SECS",
        "RIGHTFOOT_ALLOWED_CIDRS",
        "RIGHTFOOT_REVOKED_SUBJECTS",
    ] {
        assert!(finding.contains(&format!("environment variable {variable} is not valid: ")), "{finding}");
    }
    let codec = "environment variable FYNAPSE_KEY_CODEC is not valid: \"base32\": unknown key codec; use utf8, base64 or hex";
    let sent = harness.run_with_env("--stack ours send fynapse", &env).await;
    assert!(sent.exit_code == 1 && sent.stderr.ends_with(&format!("{codec}\n")), "{}", sent.transcript());
    let tracked = harness
        .run_with_env("--stack ours batches track b-1 --expected 1 --by ada --why drill --yes", &env)
        .await;
    assert!(
        tracked.exit_code == 1 && tracked.stderr.contains("POLL_FIRST_SECS is not valid"),
        "{}",
        tracked.transcript()
    );
}

/// What is recorded of Rightfoot stays in the table: nobody is to be alarmed by it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_the_stack_leaves_out_is_neither_checked_nor_sent_to() {
    let harness = CliHarness::with_system_clock().await;
    let outputs = [
        ("WebhookBaseUrl", harness.http_url.clone()),
        ("InboxTableName", "inbox".to_owned()),
        ("FynapseSigningSecretArn", "fynapse-signing".to_owned()),
        ("RightfootUrlKeyArn", "none".to_owned()),
        ("RightfootApiKeyArn", "none".to_owned()),
    ];
    harness.world.deliver_rightfoot(completion_body("b-1", "u-1")).await;
    let checks_with = async |enabled: &str| {
        let parameters = [("RetentionDays", "90".to_owned()), ("RightfootEnabled", enabled.to_owned())];
        let stack = cloudformation(&outputs, &parameters).await;
        let endpoints =
            [("AWS_ENDPOINT_URL", harness.aws_url.as_str()), ("AWS_ENDPOINT_URL_CLOUDFORMATION", &stack)];
        let doctor = harness.run_with_env("--stack ours --json doctor", &endpoints).await.json();
        let status = |name: &str| {
            let check = doctor["checks"].as_array().unwrap().iter().find(|it| it["check"] == name).unwrap();
            check["status"].as_str().unwrap().to_owned()
        };
        let names = [
            "secret of Fynapse",
            "key of Rightfoot's URLs",
            "key of Rightfoot's API",
            "poller",
            "submissions",
            "polls",
            "overdue batches",
            "tracking",
        ];
        let sent = harness.run_with_env("--stack ours send rightfoot", &endpoints).await;
        let minted = harness.run_with_env("--stack ours url mint demo", &endpoints).await;
        (names.map(status), sent.stderr, minted.stderr)
    };
    let (checks, sent, minted) = checks_with("false").await;
    assert_eq!(checks[0], "ok");
    assert_eq!(checks[1..], ["skipped"; 7].map(str::to_owned));
    let left_out = "the stack is deployed without Rightfoot (RightfootEnabled=false)";
    assert!(sent.ends_with(&format!("{left_out}: it has no such webhook route\n")), "{sent}");
    assert!(minted.ends_with(&format!("{left_out}: the URL would lead to no route\n")), "{minted}");
    let (checks, sent, _) = checks_with("true").await;
    assert_eq!(checks, ["ok", "fail", "fail", "ok", "ok", "ok", "ok", "warn"].map(str::to_owned));
    assert!(!sent.contains("deployed without"), "{sent}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stack_names_everything_by_its_outputs() {
    let harness = CliHarness::with_system_clock().await;
    let queue = |name: &str| format!("{}/123456789012/{name}", harness.aws_url);
    let mut outputs = vec![
        ("WebhookBaseUrl", harness.http_url.clone()),
        ("InboxTableName", "inbox".to_owned()),
        ("EventsQueueUrl", queue("events")),
        ("DeadLetterQueueUrl", queue("events-dead")),
        ("FynapseSigningSecretArn", "fynapse-signing".to_owned()),
        ("RightfootUrlKeyArn", "rightfoot-url-key".to_owned()),
        ("BalancesTableName", "balances".to_owned()),
        ("EventBusName", "balance-inbox".to_owned()),
    ];
    let parameters =
        |worker: &str| [("RetentionDays", "90".to_owned()), ("EventWorkerEnabled", worker.to_owned())];
    let partial = cloudformation(&outputs, &parameters("false")).await;
    outputs.push(("RightfootApiKeyArn", "rightfoot-api-key".to_owned()));
    let whole = cloudformation(&outputs, &parameters("true")).await;
    let run = async |cloudformation: &str, words: &str| {
        let env = [
            ("AWS_ENDPOINT_URL", harness.aws_url.as_str()),
            ("AWS_ENDPOINT_URL_CLOUDFORMATION", cloudformation),
        ];
        harness.run_with_env(words, &env).await
    };
    let doctor = run(&whole, "--stack ours doctor").await;
    assert_eq!(doctor.exit_code, 0, "{}", doctor.transcript());
    assert_eq!(run(&whole, "--stack ours send rightfoot --duplicate").await.exit_code, 0);
    snapshot!(run(&partial, "--stack ours doctor").await.transcript());
    snapshot!(run(&whole, "--stack theirs due").await.transcript());
    let minted = run(&whole, "--stack ours url mint demo").await;
    assert!(
        minted.stdout.starts_with(&format!("{}/webhooks/rightfoot/demo.", harness.http_url)),
        "{}",
        minted.transcript()
    );
    assert_eq!(
        run(&whole, "--stack ours batches track b-9 --expected 1 --by ada --why drill --yes").await.exit_code,
        0
    );

    // `--stack` overrides exported names; INBOXCTL_STACK does not.
    let exported = async |words: &str, stack: &str| {
        let env = [
            ("AWS_ENDPOINT_URL", harness.aws_url.as_str()),
            ("AWS_ENDPOINT_URL_CLOUDFORMATION", &whole),
            ("INBOX_TABLE", "nowhere"),
            ("WEBHOOK_BASE_URL", "https://elsewhere.example"),
            ("RETENTION_DAYS", "1"),
            ("INBOXCTL_STACK", stack),
        ];
        harness.run_with_env(words, &env).await
    };
    for words in ["--stack ours due", "due --stack=ours"] {
        assert_eq!(exported(words, "theirs").await.exit_code, 0, "{words}");
    }
    let minted = exported("--stack ours url mint demo", "").await;
    assert!(minted.stdout.starts_with(&harness.http_url), "{}", minted.transcript());
    let nearer = exported("due", "ours").await;
    assert!(nearer.stderr.contains("dynamodb:Query on table nowhere: "), "{}", nearer.transcript());
    assert!(exported("--stack ours --table elsewhere due", "").await.stderr.contains("on table elsewhere: "));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn help_has_examples_and_usage() {
    let harness = CliHarness::new().await;
    snapshot!(harness.run("--help").await.transcript());
    snapshot!(harness.run("quarantine replay --help").await.transcript());
    for (command, usage) in [
        (
            "events replay",
            vec![
                "[OPTIONS] --by <NAME> --why <TEXT> <EVENTS>...",
                "[OPTIONS] --by <NAME> --why <TEXT> --since <TIME> [--until <TIME>]",
                "[OPTIONS] --since <TIME> [--until <TIME>] --dry-run",
            ],
        ),
        ("dead-letters redrive", vec!["[OPTIONS] --by <NAME> --why <TEXT>", "[OPTIONS] --dry-run"]),
    ] {
        let help = harness.run(&format!("{command} --help")).await.stdout;
        let used = help.lines().filter_map(|line| line.split_once(&format!("inboxctl {command} ")));
        assert_eq!(used.map(|used| used.1).collect::<Vec<_>>(), usage, "{help}");
    }
    let help = harness.run("dead-letters redrive -h").await.stdout;
    assert!(help.starts_with("Move dead letters back to the queue, ten by default (--limit)\n"));
    assert!(help.contains("Maximum number of items [default: 10]"), "{help}");
}

/// P8: payloads are printed only with `--reveal`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p8_nothing_but_reveal_shows_a_payload_or_a_secret() {
    let harness = CliHarness::new().await;
    let canary = "4111-canary";
    harness
        .world
        .deliver_fynapse(tests::extract_body("e-1").replace("150.00", &format!("\"{canary}\"")))
        .await;
    let kept = format!("{{\"type\":\"A_THIRD_TYPE\",\"x\":\"{canary}\"}}");
    harness.world.deliver_rightfoot(&kept).await;
    harness.send_dead_letter(&harness.world.drain_queue().await.remove(0).body).await;
    let item = format!("rightfoot/demo/{}", inbox_core::event::payload_hash(kept.as_bytes()));
    for json in ["", "--json "] {
        for words in [
            "events list",
            "events show fynapse/event/e-1",
            "quarantine list",
            &format!("quarantine show {item}"),
            "timeline fynapse/event/e-1",
            "dead-letters list",
            "dead-letters redrive --dry-run",
            "due",
            "doctor",
            "batches list",
            "schedules list",
            "submissions list",
            "audit",
            "events replay --since 2020-01-01T00:00:00Z --dry-run",
            "events replay fynapse/event/e-1 --by a --why b --yes",
            &format!("quarantine replay {item} --by a --why b --yes"),
        ] {
            let ran = harness.run(&format!("{json}{words}")).await;
            let all = format!("{}{}", ran.stdout, ran.stderr);
            for secret in
                [canary, tests::FYNAPSE_SIGNING_SECRET, "local-rightfoot-url-key", "local-rightfoot-api-key"]
            {
                assert!(!all.contains(secret), "{words}: {all}");
            }
        }
    }
}
