//! `schedules list|show|untrack|update` and `submissions list|show`.

use std::time::Duration;

use serde_json::json;
use tests::rightfoot_world::{RightfootWorld, daily_schedule_request, submit_batch_request};

use crate::{CliHarness, snapshot};

const WHO: &str = "--by ada --why 'ended at Rightfoot'";

/// Two schedules that are tracked, a minute apart.
async fn harness_with_schedules() -> CliHarness {
    let harness = CliHarness::new().await;
    for (id, subject, threshold) in [("s-1", "nightly", 100), ("s-2", "weekly", 200)] {
        let request = json!({
            "action": "track_schedule",
            "schedule_id": id,
            "subject": subject,
            "probe_authorizers": ["user-1"],
            "thresholds": {"default": threshold, "authorizers": {"user-7": 250.5}},
            "interval_days": 1,
            "expires_at": "2020-06-30T00:00:00Z",
        });
        let tracked = harness.world.request(request).await.unwrap().unwrap();
        assert_eq!(tracked["status"], "tracked");
        harness.advance(Duration::from_secs(60));
    }
    harness
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schedules_are_listed_and_shown() {
    let harness = harness_with_schedules().await;
    snapshot!(harness.run("schedules list").await.transcript());
    snapshot!(harness.run("schedules show s-1").await.transcript());
    let listed = harness.run("--json schedules list --subject weekly").await.json();
    assert_eq!(
        (&listed["schedules"][0]["schedule_id"], listed["schedules"].as_array().unwrap().len()),
        (&"s-2".into(), 1)
    );
    assert_eq!(harness.run("schedules list --state ended").await.stdout, "no schedule matches\n");
    snapshot!(harness.run("schedules show nobody").await.transcript());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_untracked_schedule_is_polled_no_more_and_alarms_no_more() {
    let harness = harness_with_schedules().await;
    snapshot!(harness.run(&format!("schedules untrack s-1 {WHO}")).await.transcript());
    assert_eq!(harness.run(&format!("schedules untrack s-1 {WHO} --yes")).await.stdout, "s-1: untracked\n");
    let due = harness.run("--json due").await.json();
    assert_eq!(due["queues"][1]["items"][0]["item"], "schedule s-2");
    assert_eq!(due["queues"][1]["items"].as_array().unwrap().len(), 1);
    let again = harness.run(&format!("schedules untrack s-1 {WHO} --yes")).await;
    assert_eq!((again.stdout.as_str(), again.exit_code), ("s-1: already ended\n", 0));
    let ended = harness.run("--json schedules list --state ended").await.json();
    assert_eq!(ended["schedules"][0]["schedule_id"], "s-1");
    let shown = harness.run("--json schedules show s-1").await.json();
    assert_eq!(
        (&shown["audit_entries"][0]["by"], &shown["audit_entries"][0]["action"]),
        (&"ada".into(), &"untrack".into())
    );
    // Its thresholds can still be read, for alerts of its last runs.
    assert_eq!((&shown["default_threshold"], &shown["own_thresholds"]), (&"100".into(), &1.into()));
    // A change has it polled again.
    snapshot!(harness.run(&format!("schedules update s-1 --interval-days 7 {WHO}")).await.transcript());
    let update = format!("schedules update s-1 --interval-days 7 {WHO} --yes");
    assert_eq!(harness.run(&update).await.stdout, "s-1: updated\n");
    let due = harness.run("--json due").await.json();
    assert_eq!(due["queues"][1]["items"].as_array().unwrap().len(), 2);
    let record = harness.world.item("rightfoot#schedule#s-1", "tracked").await.unwrap();
    assert!(!record.contains_key("done_at") && !record.contains_key("expires_at"), "it does not expire");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_schedule_is_due_at_once_and_keeps_what_was_not_changed() {
    let harness = harness_with_schedules().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("thresholds.json");
    std::fs::write(&file, r#"{"default": 300, "authorizers": {}}"#).unwrap();
    let update =
        format!("schedules update s-1 --thresholds {} --interval-days 7 {WHO} --yes", file.display());
    assert_eq!(harness.run(&update).await.stdout, "s-1: updated\n");
    let shown = harness.run("--json schedules show s-1").await.json();
    assert_eq!((&shown["default_threshold"], &shown["own_thresholds"]), (&"300".into(), &0.into()));
    assert_eq!(
        (&shown["interval_secs"], &shown["expires_at"]),
        (&604_800.into(), &"2020-06-30T00:00:00.000Z".into())
    );
    let due = harness.run("--json due").await.json();
    assert_eq!(due["queues"][1]["items"][0]["item"], "schedule s-2", "due in 2020, and s-1 now");
    // Only the expiry: the thresholds stay.
    let update = format!("schedules update s-1 --expires-at 2020-12-31T00:00:00Z {WHO} --yes");
    assert_eq!(harness.run(&update).await.stdout, "s-1: updated\n");
    let shown = harness.run("--json schedules show s-1").await.json();
    assert_eq!(
        (&shown["default_threshold"], &shown["expires_at"]),
        (&"300".into(), &"2020-12-31T00:00:00.000Z".into())
    );
    snapshot!(harness.run(&format!("schedules update s-2 {WHO} --yes")).await.transcript());
    std::fs::write(&file, r#"{"default": "much"}"#).unwrap();
    let wrong =
        harness.run(&format!("schedules update s-2 --thresholds {} {WHO} --yes", file.display())).await;
    assert!(wrong.stderr.contains("thresholds.default: ") && wrong.exit_code == 1, "{}", wrong.transcript());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn submissions_are_listed_by_state_and_kind_and_shown_with_what_they_created() {
    let it = RightfootWorld::new().await;
    it.request(submit_batch_request("payroll-1", &["user-1", "user-2"])).await;
    it.world.advance(Duration::from_secs(60));
    it.request(daily_schedule_request("payday-watch", &["user-1"])).await;
    let harness = CliHarness::of_world(it.world.clone()).await;
    let listed = harness.run("--json submissions list").await.json();
    let row = |n: usize| {
        let it = &listed["submissions"][n];
        ["submission_id", "kind", "state"].map(|field| it[field].as_str().unwrap().to_owned())
    };
    assert_eq!(row(0), ["payday-watch", "schedule", "created"]);
    assert_eq!(row(1), ["payroll-1", "batch", "created"]);
    let text = harness.run("submissions list --kind batch").await.stdout;
    assert!(text.contains("payroll-1") && !text.contains("payday-watch"), "{text}");
    assert_eq!(harness.run("submissions list --state unknown").await.stdout, "no submission matches\n");
    let shown = harness.run("submissions show payroll").await.stdout;
    assert!(shown.starts_with("submission payroll-1\n") && shown.contains("batch "), "{shown}");
    assert_eq!(harness.run("submissions show nobody").await.exit_code, 1);
}
