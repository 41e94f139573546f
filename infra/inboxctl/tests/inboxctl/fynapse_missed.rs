//! `fynapse missed list|show|resolve`.

use inbox_core::fynapse_api::listed_delivery::DeliveryStatus;
use serde_json::json;
use tests::MINUTE;
use tests::fynapse_world::FynapseWorld;

use crate::{CliHarness, snapshot};

const WHO: &str = "--by ada --why 'extract was run again'";

/// The auditor has found a delivery that was given up, and one that was cancelled a minute later.
async fn harness_with_missed() -> (CliHarness, FynapseWorld) {
    let it = FynapseWorld::new().await;
    for (event_id, status) in [("e-1", DeliveryStatus::DeadLetter), ("e-2", DeliveryStatus::Cancelled)] {
        it.add_ended(event_id, status);
        it.run_auditor().await;
        it.world.advance(MINUTE);
    }
    (CliHarness::of_world(it.world.clone()).await, it)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missed_deliveries_are_listed_and_shown_with_what_to_do() {
    let (harness, _it) = harness_with_missed().await;
    let listed = harness.run("--json fynapse missed list").await.json();
    let rows: Vec<_> =
        listed["missed"].as_array().unwrap().iter().map(|it| [&it["delivery"], &it["reason"]]).collect();
    assert_eq!(json!(rows), json!([["delivery-e-2", "cancelled"], ["delivery-e-1", "dead_letter"]]));
    let of_reason = harness.run("--json fynapse missed list --reason dead_letter").await.json();
    assert_eq!(of_reason["missed"].as_array().unwrap().len(), 1);
    assert_eq!(harness.run("fynapse missed list --reason lost").await.stdout, "no missed delivery matches\n");
    let shown = harness.run("--json fynapse missed show delivery-e-1").await.json();
    for (field, value) in [
        ("event", "fynapse/event/e-1"),
        ("idempotency_key", "key-e-1"),
        ("event_type", "balance.extracted"),
        ("created_at", "2026-01-02T03:04:05.000Z"),
        ("found_at", "2026-01-02T03:04:05.000Z"),
    ] {
        assert_eq!(shown[field], value, "{field}");
    }
    let text = harness.run("fynapse missed show delivery-e-1").await.stdout;
    assert!(text.starts_with("delivery") && text.contains("Run the extract again at Fynapse"), "{text}");
    snapshot!(harness.run("fynapse missed show nobody").await.transcript());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missed_delivery_is_resolved_once_with_an_audit_entry() {
    let (harness, it) = harness_with_missed().await;
    snapshot!(harness.run(&format!("fynapse missed resolve delivery-e-1 {WHO}")).await.transcript());
    let resolve = format!("fynapse missed resolve delivery-e-1 {WHO} --yes");
    assert_eq!(harness.run(&resolve).await.stdout, "delivery-e-1: resolved\n");
    let again = harness.run(&resolve).await;
    assert_eq!(
        (again.stderr.as_str(), again.exit_code),
        ("error: delivery delivery-e-1 is resolved already\n", 1)
    );
    let open = harness.run("--json fynapse missed list").await.json();
    assert_eq!(open["missed"][0]["delivery"], "delivery-e-2");
    assert_eq!(open["missed"].as_array().unwrap().len(), 1);
    let resolved = harness.run("--json fynapse missed list --state resolved").await.json();
    assert_eq!(resolved["missed"][0]["delivery"], "delivery-e-1");
    let shown = harness.run("--json fynapse missed show delivery-e-1").await.json();
    let entry = &shown["audit_entries"][0];
    assert_eq!((&entry["by"], &entry["action"]), (&json!("ada"), &json!("resolve")));
    let audit = harness.run("--json audit").await.json();
    assert_eq!(audit["entries"][0]["subject"], "missed-delivery delivery-e-1");
    // The auditor sees it in each of its checks, and does not report it again.
    it.world.advance(MINUTE * 15);
    assert_eq!(it.run_auditor().await["missed"], 0);
}
