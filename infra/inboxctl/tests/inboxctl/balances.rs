//! `balances list`, and events by batch, schedule and authorizer.

use std::time::Duration;

use serde_json::json;
use tests::{alert_body, completion_body, extract_body};

use crate::{CliHarness, snapshot};

const LONG_BATCH: &str = "5d3c6bbb-fc1a-46a4-93da-1ce4a54b0d83";
const AMOUNT: &str = "12345678901234567890.12";

/// Balances of two batches, a minute apart; a check of the second one has failed.
async fn harness_with_balances() -> CliHarness {
    let harness = CliHarness::new().await;
    let world = &harness.world;
    world.store_balances("b-1", None, &[("user-1", Some("150.00")), ("user-2", Some("-0.10"))]).await;
    harness.advance(Duration::from_secs(60));
    world.store_balances(LONG_BATCH, Some("s-1"), &[("user-1", None), ("user-2", Some(AMOUNT))]).await;
    harness
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn balances_are_listed_by_batch_and_by_authorizer_and_amounts_only_on_request() {
    let harness = harness_with_balances().await;
    snapshot!(harness.run(&format!("balances list --batch {LONG_BATCH}")).await.transcript());
    snapshot!(harness.run(&format!("balances list --batch {LONG_BATCH} --reveal")).await.transcript());
    snapshot!(harness.run("balances list --authorizer user-1 --wide --reveal").await.transcript());
    snapshot!(harness.run("balances list --authorizer nobody").await.transcript());
    let hidden = harness.run("--json balances list --authorizer user-2").await;
    assert!(!hidden.stdout.contains("0.1") && !hidden.stdout.contains("12345678901234567890"));
    assert_eq!(hidden.json()["balances"][0].get("balance"), None);
    let revealed = harness.run("--json balances list --authorizer user-2 --reveal").await.json();
    assert_eq!(
        revealed["balances"][0],
        json!({
            "authorizer": "user-2", "batch_id": LONG_BATCH, "schedule_id": "s-1", "status_code": 0, "status": "success",
            "checked_at": "2020-01-02T03:05:05.000Z", "balance": AMOUNT,
        })
    );
    // A failed check has a balance, and it is null.
    let failed = harness.run(&format!("--json balances list --batch {LONG_BATCH} --reveal")).await.json();
    assert_eq!(failed["balances"][0]["balance"], json!(null));
    assert_eq!(failed["balances"][0]["status"], "institution_not_supported");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_of_balances_is_paged_and_needs_one_batch_or_one_authorizer() {
    let harness = CliHarness::new().await;
    let names: Vec<_> = (0..7).map(|n| format!("user-{n}")).collect();
    let rows: Vec<_> = names.iter().map(|name| (name.as_str(), Some("1"))).collect();
    harness.world.store_balances("b-1", None, &rows).await;
    let page = async |place: &str| {
        let listed = harness.run(&format!("--json balances list --batch b-1 --limit 3 {place}")).await.json();
        let rows = listed["balances"].as_array().unwrap();
        let names: Vec<_> = rows.iter().map(|it| it["authorizer"].as_str().unwrap().to_owned()).collect();
        let token = |name: &str| listed[name].as_str().map(|token| format!("--{name} {token}"));
        (names, token("older"), token("newer"))
    };
    let (first, older, newer) = page("").await;
    assert_eq!((first, newer), (names[..3].to_vec(), None));
    let (second, older, _) = page(&older.unwrap()).await;
    assert_eq!(second, names[3..6]);
    let (third, end, newer) = page(&older.unwrap()).await;
    assert_eq!((third, end), (names[6..].to_vec(), None));
    assert_eq!(page(&newer.unwrap()).await.0, second);
    let text = harness.run("balances list --batch b-1 --limit 3").await.stdout;
    assert!(text.contains("\nOlder: inboxctl balances list --batch b-1 --limit 3 --older "), "{text}");
    snapshot!(harness.run("balances list").await.transcript());
    let both = harness.run("balances list --batch b-1 --authorizer user-1").await;
    assert_eq!(both.exit_code, 2, "{}", both.transcript());
    let long = harness.run(&format!("balances list --authorizer {}", "x".repeat(513))).await;
    assert!(long.exit_code == 2 && long.stderr.contains("an id has 1 to 512 bytes"), "{}", long.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_of_the_table_of_balances_names_it() {
    let harness = CliHarness::new().await;
    let missing = harness.run("--balances-table nowhere balances list --batch b-1").await;
    assert_eq!(missing.exit_code, 1);
    assert!(missing.stderr.contains("table nowhere"), "{}", missing.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_listed_by_batch_schedule_and_authorizer() {
    let harness = CliHarness::new().await;
    let world = &harness.world;
    for body in [completion_body("b-1", "u-1"), alert_body("b-1", "u-2"), completion_body("b-2", "u-3")] {
        world.deliver_rightfoot(body).await;
        harness.advance(Duration::from_secs(60));
    }
    world.deliver_fynapse(extract_body("e-1")).await;
    world.track_run("b-2", 1).await;
    world.store_balances("b-1", None, &[("user-1", Some("1"))]).await;
    let (completed_1, alert_1, completed_2) =
        ("rightfoot/batch/b-1/completed", "rightfoot/batch/b-1/alert/u-2", "rightfoot/batch/b-2/completed");
    for (words, expected) in [
        ("--batch b-1", vec![alert_1, completed_1]),
        ("--batch b-1 --type BALANCE_BATCH_COMPLETED", vec![completed_1]),
        ("--schedule s-1", vec![completed_2]),
        ("--authorizer user-1", vec![alert_1, completed_1]),
        ("--authorizer user-1 --schedule s-1", vec![]),
        ("--batch none", vec![]),
    ] {
        let listed = harness.run(&format!("--json events list {words}")).await.json();
        let rows = listed["events"].as_array().unwrap();
        let ids: Vec<_> = rows.iter().map(|it| it["event"].as_str().unwrap()).collect();
        assert_eq!(ids, expected, "{words}");
        assert_eq!(listed["is_truncated"], false, "{words}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bulk_replay_of_a_batch_is_complete_or_refused() {
    let harness = CliHarness::new().await;
    let world = &harness.world;
    for batch in ["b-1", "b-2"] {
        world.deliver_rightfoot(completion_body(batch, batch)).await;
        world.mark_done(&format!("rightfoot/batch/{batch}/completed")).await;
    }
    let range = "--since 2020-01-02T03:04:00Z";
    let dry = harness.run(&format!("--json events replay {range} --batch b-1 --dry-run")).await.json();
    assert_eq!(dry["planned"], 1);
    // More batches than a list reads.
    for n in 0..101 {
        world.store_balances(&format!("x-{n}"), None, &[("user-1", Some("1"))]).await;
    }
    snapshot!(
        harness.run(&format!("events replay {range} --authorizer user-1 --dry-run")).await.transcript()
    );
    snapshot!(harness.run("events list --authorizer user-1").await.transcript());
    let named = "events replay rightfoot/batch/b-1/completed --batch b-2 --by ada --why test --yes";
    snapshot!(harness.run(named).await.transcript());
    for batch in ["b-1", "b-2"] {
        let record = world.event_record(&format!("rightfoot/batch/{batch}/completed")).await;
        assert_eq!(tests::number(&record, "replay"), None, "{batch}");
    }
}
