//! Short ids under attack: senders and Rightfoot choose the ids of items.

use tests::{completion_body, extract_body};

use crate::CliHarness;

const WHO: &str = "--by ada --why test --yes";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_whose_whole_id_is_a_printed_short_id_does_not_take_its_place() {
    let harness = CliHarness::new().await;
    let victim = "fynapse/event/a3efc743-ac6c-463b-aa19-4dd9c45b5b96";
    harness.world.deliver_fynapse(extract_body("a3efc743-ac6c-463b-aa19-4dd9c45b5b96")).await;
    harness.world.mark_done(victim).await;
    let listed = harness.run("events list").await.stdout;
    assert!(listed.contains("\na3efc743  "), "{listed}");
    let intruder = "rightfoot/batch/a3efc743/completed";
    harness.world.deliver_rightfoot(completion_body("a3efc743", "u-1")).await;
    harness.world.mark_done(intruder).await;
    let refused = harness.run(&format!("events replay a3efc743 {WHO}")).await;
    assert_eq!(refused.exit_code, 1, "{}", refused.transcript());
    let both =
        format!("a3efc743 begins {victim} on the list that you printed last, and is the id of {intruder}: ");
    assert!(refused.stderr.contains(&both), "{}", refused.transcript());
    for whole in [victim, intruder] {
        let replayed = harness.run(&format!("events replay {whole} {WHO}")).await;
        assert_eq!(replayed.exit_code, 0, "{}", replayed.transcript());
    }
    // A new list prints what tells the two apart, and means what it prints.
    let listed = harness.run("events list").await.stdout;
    assert!(listed.contains("\na3efc743-  ") && listed.contains(&format!("\n{intruder}  ")), "{listed}");
    let refused = harness.run(&format!("events replay a3efc743 {WHO}")).await;
    assert!(refused.stderr.contains("two ids begin with a3efc743: "), "{}", refused.transcript());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bare_id_means_its_event_whatever_was_listed() {
    let harness = CliHarness::new().await;
    harness.world.deliver_rightfoot(completion_body("b-1", "u-1")).await;
    harness.world.deliver_fynapse(extract_body("e-1")).await;
    for event in ["rightfoot/batch/b-1/completed", "fynapse/event/e-1"] {
        harness.world.mark_done(event).await;
    }
    for list in ["events list", "batches list", "events list --provider fynapse"] {
        assert_eq!(harness.run(list).await.exit_code, 0);
        for id in ["b-1", "e-1"] {
            let plan = harness.run(&format!("events replay {id} --by ada --why test")).await.stderr;
            assert!(
                plan.contains(&format!("/{id}")) && plan.contains("(done; becomes replay 1)"),
                "{list}: {plan}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_whose_whole_id_is_a_printed_short_id_does_not_take_its_place() {
    let harness = CliHarness::new().await;
    let victim = "5d3c6bbb-fc1a-46a4-93da-1ce4a54b0d83";
    let track = async |id: &str| {
        let request = serde_json::json!({
            "action": "track_schedule",
            "schedule_id": id,
            "subject": "nightly",
            "probe_authorizers": ["user-1"],
            "thresholds": {"default": 100, "authorizers": {}},
            "interval_days": 1,
            "expires_at": "2020-06-30T00:00:00Z",
        });
        harness.world.request(request).await.unwrap().unwrap();
    };
    track(victim).await;
    let listed = harness.run("schedules list").await.stdout;
    assert!(listed.contains("\n5d3c6bbb  "), "{listed}");
    track("5d3c6bbb").await;
    let untrack = format!("schedules untrack 5d3c6bbb {WHO}");
    let refused = harness.run(&untrack).await;
    assert_eq!(refused.exit_code, 1, "{}", refused.transcript());
    let both =
        format!("5d3c6bbb begins {victim} on the list that you printed last, and is the id of 5d3c6bbb: ");
    assert!(refused.stderr.contains(&both), "{}", refused.transcript());
    // The whole id is taken once it was printed.
    harness.run("schedules list").await;
    assert_eq!(harness.run(&untrack).await.stdout, "5d3c6bbb: untracked\n");
}
