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
