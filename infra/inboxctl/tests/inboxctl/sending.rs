//! `url mint` and `send`.

use crate::{Stand, snapshot};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_url_is_minted_whole_or_not_at_all() {
    let stand = Stand::new().await;
    snapshot!(stand.run("url mint demo").await.told());
    let whole = stand.run("--base-url https://inbox.example/ url mint demo").await;
    assert!(whole.stdout.starts_with("https://inbox.example/webhooks/rightfoot/demo."), "{}", whole.told());
    snapshot!(stand.run("--json --base-url https://inbox.example url mint demo").await.told());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_test_delivery_is_taken_and_its_copy_is_a_duplicate() {
    let stand = Stand::now().await;
    let base = stand.http_url.clone();
    for what in ["fynapse", "rightfoot", "rightfoot --alert"] {
        let sent = stand.run(&format!("--base-url {base} send {what} --duplicate --id t-1")).await;
        assert_eq!(sent.code, 0, "{}", sent.told());
        let bodies: Vec<_> =
            sent.stdout.lines().skip(1).map(|line| line.split(" in ").next().unwrap()).collect();
        assert_eq!(bodies, [r#"200 {"status":"received"}"#, r#"200 {"status":"duplicate"}"#], "{what}");
    }
    let mut ids = stand.world.drain_ids().await;
    ids[1] = ids[1].split("/alert/").next().unwrap().to_owned();
    assert_eq!(ids, ["fynapse/event/t-1", "rightfoot/batch/t-1", "rightfoot/batch/t-1/completed"]);
    snapshot!(stand.run(&format!("--base-url {base} --json send fynapse --id t-2")).await.told());
    let minted = stand.run(&format!("--base-url {base} url mint other")).await;
    let whole = stand.run(&format!("send rightfoot --url {}", minted.stdout.trim())).await;
    assert_eq!(whole.code, 0, "{}", whole.told());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spoilt_delivery_is_answered_as_it_should_be_and_becomes_no_event() {
    let stand = Stand::now().await;
    let mut told = Vec::new();
    for (provider, kinds) in [
        ("fynapse", ["signature", "timestamp", "body", "unsigned", "json", "fields", "id"].as_slice()),
        ("rightfoot", ["token", "json", "fields", "type", "id"].as_slice()),
    ] {
        for kind in kinds {
            let sent =
                stand.run(&format!("send {provider} --spoil {kind} --base-url {}", stand.http_url)).await;
            assert_eq!(sent.code, 0, "{}", sent.told());
            told.push(format!("{provider} {kind}: {}", sent.stdout.trim_end()));
        }
    }
    snapshot!(told.join("\n"));
    assert!(stand.world.drain().await.is_empty());
    let mut reasons: Vec<_> = stand.world.quarantined().await.into_iter().map(|kept| kept.0).collect();
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
    // Its clock stands still: what is signed now is from far in its future.
    let stand = Stand::new().await;
    let base = stand.http_url.clone();
    snapshot!(stand.run(&format!("send fynapse --id t-1 --base-url {base}")).await.told());
    snapshot!(stand.run("send fynapse --spoil token --base-url http://x").await.told());
    snapshot!(stand.run("send fynapse").await.told());
    let nobody = stand.run("send fynapse --url http://127.0.0.1:9/secret-path").await;
    assert_eq!(nobody.code, 1);
    assert!(
        nobody.stderr.starts_with("error: no answer: ") && !nobody.stderr.contains("secret-path"),
        "{}",
        nobody.stderr
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_leaves_this_machine_is_sent_only_if_somebody_says_so() {
    let stand = Stand::new().await;
    let refusal =
        "this changes something, and there is no terminal to ask on: look at what it would do, and say --yes";
    // Nobody is there, by the rules of .invalid: whatever is sent fails.
    for url in
        ["https://inbox.invalid", "http://192.0.2.1", "http://localhost.invalid", "http://127.0.0.1.invalid"]
    {
        let asked = stand.run(&format!("send fynapse --id t-1 --duplicate --base-url {url}")).await;
        let plan = format!(
            "This sends a genuine event, fynapse/event/t-1, twice, to {url}, as fynapse would. What comes of it is real."
        );
        let expected = format!("{plan}\nerror: {refusal}\n");
        assert_eq!((asked.code, asked.stdout.as_str(), asked.stderr), (1, "", expected));
        let json = stand.run(&format!("--json send fynapse --id t-1 --duplicate --base-url {url}")).await;
        let error: serde_json::Value = serde_json::from_str(&json.stderr).unwrap();
        assert_eq!(error, serde_json::json!({"error": format!("{refusal}\n{plan}")}));
    }
    let told =
        stand.run("send rightfoot --url https://inbox.invalid/webhooks/rightfoot/demo.credential").await;
    assert!(
        told.stderr.contains("https://inbox.invalid,") && !told.stderr.contains("credential"),
        "{}",
        told.told()
    );
    let sent = stand.run("send fynapse --base-url https://inbox.invalid --yes").await;
    assert!(sent.stderr.starts_with("error: no answer: https://inbox.invalid: "), "{}", sent.told());
    let here = stand.http_url.replace("127.0.0.1", "localhost");
    assert_eq!(stand.run(&format!("send fynapse --spoil unsigned --base-url {here}")).await.code, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_url_to_send_to_has_a_scheme_and_is_not_shown() {
    let stand = Stand::new().await;
    for url in ["inbox.example.com/webhooks/rightfoot/demo.credential", "ftp://h/demo.credential"] {
        let ran = stand.run(&format!("send rightfoot --url {url}")).await;
        let why = "a URL begins with https:// or http:// and a host, and has no user name, query or fragment";
        assert_eq!((ran.code, ran.stderr), (1, format!("error: --url: {why}\n")));
    }
}
