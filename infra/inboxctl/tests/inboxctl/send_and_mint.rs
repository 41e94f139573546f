//! `url mint` and `send`.

use crate::{CliHarness, snapshot};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_url_is_minted_whole_or_not_at_all() {
    let harness = CliHarness::new().await;
    snapshot!(harness.run("url mint demo").await.transcript());
    let whole = harness.run("--base-url https://inbox.example/ url mint demo").await;
    assert!(
        whole.stdout.starts_with("https://inbox.example/webhooks/rightfoot/demo."),
        "{}",
        whole.transcript()
    );
    snapshot!(harness.run("--json --base-url https://inbox.example url mint demo").await.transcript());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_test_delivery_is_recorded_and_its_copy_is_a_duplicate() {
    let harness = CliHarness::with_system_clock().await;
    let base = harness.http_url.clone();
    for what in ["fynapse", "rightfoot", "rightfoot --alert"] {
        let sent = harness.run(&format!("--base-url {base} send {what} --duplicate --id t-1")).await;
        assert_eq!(sent.exit_code, 0, "{}", sent.transcript());
        let bodies: Vec<_> =
            sent.stdout.lines().skip(1).map(|line| line.split(" in ").next().unwrap()).collect();
        assert_eq!(bodies, [r#"200 {"status":"received"}"#, r#"200 {"status":"duplicate"}"#], "{what}");
    }
    let mut ids = harness.world.drain_event_ids().await;
    ids[1] = ids[1].split("/alert/").next().unwrap().to_owned();
    assert_eq!(ids, ["fynapse/event/t-1", "rightfoot/batch/t-1", "rightfoot/batch/t-1/completed"]);
    snapshot!(harness.run(&format!("--base-url {base} --json send fynapse --id t-2")).await.transcript());
    let minted = harness.run(&format!("--base-url {base} url mint other")).await;
    let whole = harness.run(&format!("send rightfoot --url {}", minted.stdout.trim())).await;
    assert_eq!(whole.exit_code, 0, "{}", whole.transcript());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spoilt_delivery_is_answered_as_it_should_be_and_becomes_no_event() {
    let harness = CliHarness::with_system_clock().await;
    let mut lines = Vec::new();
    for (provider, kinds) in [
        ("fynapse", ["signature", "timestamp", "body", "unsigned", "json", "fields", "id"].as_slice()),
        ("rightfoot", ["token", "json", "fields", "type", "id"].as_slice()),
    ] {
        for kind in kinds {
            let sent =
                harness.run(&format!("send {provider} --spoil {kind} --base-url {}", harness.http_url)).await;
            assert_eq!(sent.exit_code, 0, "{}", sent.transcript());
            lines.push(format!("{provider} {kind}: {}", sent.stdout.trim_end()));
        }
    }
    snapshot!(lines.join("\n"));
    assert!(harness.world.drain_queue().await.is_empty());
    let mut reasons: Vec<_> = harness.world.quarantined().await.into_iter().map(|kept| kept.0).collect();
    reasons.sort();
    let expected = [
        "stale",
        "unknown_type",
        "unreadable",
        "unreadable",
        "unreadable",
        "unreadable",
        "unusable_id",
        "unusable_id",
    ];
    assert_eq!(reasons, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_should_not_come_fails_the_command() {
    // The stack's clock stands still in 2020: a signature of now is far in its future.
    let harness = CliHarness::new().await;
    let base = harness.http_url.clone();
    snapshot!(harness.run(&format!("send fynapse --id t-1 --base-url {base}")).await.transcript());
    snapshot!(harness.run("send fynapse --spoil token --base-url http://x").await.transcript());
    snapshot!(harness.run("send fynapse").await.transcript());
    let nobody = harness.run("send fynapse --url http://127.0.0.1:9/secret-path").await;
    assert_eq!(nobody.exit_code, 1);
    assert!(
        nobody.stderr.starts_with("error: no answer: ") && !nobody.stderr.contains("secret-path"),
        "{}",
        nobody.stderr
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_leaves_this_machine_is_sent_only_if_somebody_says_so() {
    let harness = CliHarness::new().await;
    let refusal = "this changes something, and there is no terminal to ask on: check the plan and add --yes";
    // Nobody is there, by the rules of .invalid: whatever is sent fails.
    for url in
        ["https://inbox.invalid", "http://192.0.2.1", "http://localhost.invalid", "http://127.0.0.1.invalid"]
    {
        let asked = harness.run(&format!("send fynapse --id t-1 --duplicate --base-url {url}")).await;
        let plan = format!(
            "This sends a genuine event, fynapse/event/t-1, twice, to {url}, as fynapse would. Its effects are real."
        );
        let expected = format!("{plan}\nerror: {refusal}\n");
        assert_eq!((asked.exit_code, asked.stdout.as_str(), asked.stderr), (1, "", expected));
        let json = harness.run(&format!("--json send fynapse --id t-1 --duplicate --base-url {url}")).await;
        let error: serde_json::Value = serde_json::from_str(&json.stderr).unwrap();
        assert_eq!(error, serde_json::json!({"error": format!("{refusal}\n{plan}")}));
    }
    let output =
        harness.run("send rightfoot --url https://inbox.invalid/webhooks/rightfoot/demo.credential").await;
    assert!(
        output.stderr.contains("https://inbox.invalid,") && !output.stderr.contains("credential"),
        "{}",
        output.transcript()
    );
    let sent = harness.run("send fynapse --base-url https://inbox.invalid --yes").await;
    assert!(sent.stderr.starts_with("error: no answer: https://inbox.invalid: "), "{}", sent.transcript());
    let here = harness.http_url.replace("127.0.0.1", "localhost");
    assert_eq!(harness.run(&format!("send fynapse --spoil unsigned --base-url {here}")).await.exit_code, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_url_to_send_to_has_a_scheme_and_is_not_shown() {
    let harness = CliHarness::new().await;
    for url in ["inbox.example.com/webhooks/rightfoot/demo.credential", "ftp://h/demo.credential"] {
        let ran = harness.run(&format!("send rightfoot --url {url}")).await;
        let why = "a URL begins with https:// or http:// and a host, and has no user name, query or fragment";
        assert_eq!((ran.exit_code, ran.stderr), (1, format!("error: --url: {why}\n")));
    }
}
