//! `person show` and `person erase`.

use local::connector::Fault;
use local::stack::{BALANCES_TABLE, INBOX_TABLE};
use serde_json::json;
use tests::rightfoot_world::RightfootWorld;
use tests::text;

use crate::{CliHarness, snapshot};

const WHO: &str = "--by ada --why 'request of 12 November'";

fn extract_of(event_id: &str, owner: &str) -> String {
    format!(
        r#"{{"event_id":"{event_id}","event_type":"balance.extracted","data":{{"owner":"{owner}","amount":150.00}}}}"#
    )
}

/// Two people with balances, payloads and quarantined bytes. The events are from 2020, so no queue can hold their messages.
async fn harness_with_two_people() -> CliHarness {
    let harness = CliHarness::new().await;
    let world = &harness.world;
    world.store_balances("b-1", None, &[("user-1", Some("150.00")), ("user-10", Some("77.50"))]).await;
    world.store_balances("b-2", None, &[("user-1", None)]).await;
    world.deliver_fynapse(extract_of("e-1", "user-1")).await;
    world.deliver_fynapse(extract_of("e-10", "user-10")).await;
    world.deliver_rightfoot(r#"{"type":"A_THIRD_TYPE","who":"user-1"}"#).await;
    harness
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_stored_of_a_person_is_shown_and_amounts_only_on_request() {
    let harness = harness_with_two_people().await;
    snapshot!(harness.run("person show user-1").await.transcript());
    snapshot!(harness.run("person show user-1 --reveal").await.transcript());
    snapshot!(harness.run("person show user").await.transcript());
    let hidden = harness.run("--json person show user-1").await;
    assert!(!hidden.stdout.contains("150") && hidden.stderr.is_empty(), "{}", hidden.transcript());
    let shown = hidden.json();
    assert_eq!(shown["found"], json!({"balance": 2, "event_payload": 1, "quarantined_bytes": 1}));
    assert_eq!((&shown["examined"], &shown["dead_letters"]), (&json!(3), &json!(0)));
    let revealed = harness.run("--json person show user-1 --reveal").await.json();
    let balances: Vec<_> = revealed["items"].as_array().unwrap().iter().map(|it| it.get("balance")).collect();
    assert_eq!(balances, [Some(&json!("150")), Some(&json!(null)), None, None]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p8_a_person_is_erased_after_a_question_and_the_audit_entry_names_nobody() {
    let harness = harness_with_two_people().await;
    let before = harness.world.items().await.len();
    snapshot!(harness.run("person erase user-1 --dry-run").await.transcript());
    snapshot!(harness.run(&format!("person erase user-1 {WHO}")).await.transcript());
    assert_eq!(harness.world.items().await.len(), before, "nothing was written");
    assert_eq!(harness.world.stored_balances().await.len(), 3);
    snapshot!(harness.run(&format!("person erase user-1 {WHO} --yes")).await.transcript());
    let again = harness.run(&format!("--json person erase user-1 {WHO} --yes")).await;
    assert_eq!((again.exit_code, &again.json()["items"]), (0, &json!([])));
    let shown = harness.run("person show user-1").await.stdout;
    assert!(shown.starts_with("nothing is stored under this id\n"), "{shown}");
    let of_other = harness.run("--json person show user-10").await.json();
    assert_eq!(of_other["found"], json!({"balance": 1, "event_payload": 1}));
    let audit = harness.run("audit").await;
    assert!(
        audit.stdout.contains("erase   person (4 of 4 items)  request of 12 November"),
        "{}",
        audit.stdout
    );
    let audit = harness.run("--json audit --action erase").await;
    assert!(!audit.stdout.contains("user-1"), "{}", audit.stdout);
    // The event is there, without its payload, and the quarantined item is closed.
    let event = harness.run("events show fynapse/event/e-1 --reveal").await;
    assert!(!event.stdout.contains("user-1"), "{}", event.transcript());
    assert_eq!(harness.run("--json quarantine list").await.json()["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_of_a_person_is_listed_with_the_reason_and_the_command_fails() {
    let harness = CliHarness::new().await;
    let world = &harness.world;
    world.inject_fault("SendMessage", Fault::AccessDenied);
    world.deliver_fynapse(extract_of("e-1", "user-1")).await;
    world.stack.connector.clear_fault_plan();
    world.store_balances("b-1", None, &[("user-1", Some("150.00"))]).await;
    snapshot!(harness.run(&format!("person erase user-1 {WHO} --yes")).await.transcript());
    assert!(world.stored_balances().await.is_empty());
    harness.send_dead_letter(&extract_of("e-2", "user-2")).await;
    let shown = harness.run("person show user-2").await;
    assert!(shown.stdout.contains("1 message in the dead-letter queue: redrive"), "{}", shown.transcript());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p8_a_reason_that_names_the_person_is_refused() {
    let harness = harness_with_two_people().await;
    for words in ["--by ada --why 'user-1 has asked'", "--by user-1 --why 'a request'"] {
        let refused = harness.run(&format!("person erase user-1 {words} --yes")).await;
        assert_eq!(refused.exit_code, 1);
        assert!(
            refused.stderr.starts_with("error: --why and --by must not contain the id"),
            "{}",
            refused.stderr
        );
    }
    assert_eq!(harness.world.stored_balances().await.len(), 3);
    let other = harness.run("person erase user-1 --by ada --why 'as for user-10' --dry-run").await;
    assert_eq!(other.exit_code, 0, "{}", other.transcript());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_of_either_table_names_it() {
    let harness = CliHarness::new().await;
    for (option, table) in [("--table", INBOX_TABLE), ("--balances-table", BALANCES_TABLE)] {
        let missing = harness.run(&format!("{option} nowhere person show user-1")).await;
        assert_eq!(missing.exit_code, 1);
        assert!(missing.stderr.contains("nowhere"), "{table}: {}", missing.stderr);
        assert!(!missing.stderr.contains("user-1"), "{}", missing.stderr);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_gets_another_probe_and_the_old_one_can_be_erased() {
    let it = RightfootWorld::new().await;
    it.track_schedule("s-1", "user-1").await;
    let harness = CliHarness::of_world(it.world.clone()).await;
    snapshot!(harness.run(&format!("person erase user-1 {WHO} --yes")).await.transcript());
    let updated = harness.run(&format!("schedules update s-1 --probe user-10 {WHO} --yes")).await;
    assert_eq!(updated.exit_code, 0, "{}", updated.transcript());
    let schedule = harness.world.item("rightfoot#schedule#s-1", "tracked").await.unwrap();
    let probes: Vec<_> =
        schedule["probes"].as_l().unwrap().iter().map(|it| it.as_s().unwrap().as_str()).collect();
    assert_eq!((probes, text(&schedule, "sk")), (vec!["user-10"], "tracked"));
    let shown = harness.run("person show user-1").await.stdout;
    assert!(shown.starts_with("nothing is stored under this id\n"), "{shown}");
    let many: String = (0..11).map(|n| format!("--probe user-{n} ")).collect();
    let too_many = harness.run(&format!("schedules update s-1 {many}{WHO} --yes")).await;
    assert_eq!(too_many.exit_code, 1);
    assert!(too_many.stderr.contains("a schedule has at most 10 probes"), "{}", too_many.stderr);
}
