//! `events replay --lost`: events whose messages are lost.

use tests::{completion_body, extract_body, number};

use crate::{CliHarness, START_MS, snapshot};

const WHO: &str = "--by ada --why 'the queue was purged'";
const DAY_MS: i64 = 86_400_000;

/// Moves the sending of an event to an earlier time.
async fn backdate(harness: &CliHarness, event_id: &str, days_ago: i64) {
    let mut record = harness.world.event_record(event_id).await;
    let at = harness.world.now().0 - days_ago * DAY_MS - 60_000;
    for name in ["sent_at", "received_at", "listed_at"] {
        record.insert(name.to_owned(), aws_sdk_dynamodb::types::AttributeValue::N(at.to_string()));
    }
    harness.world.put_item(record).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_an_event_whose_message_is_lost_is_processed_once_an_operator_replays_it() {
    let harness = CliHarness::with_system_clock().await;
    let world = &harness.world;
    for id in ["e-1", "e-2"] {
        world.deliver_fynapse(extract_body(id)).await;
    }
    assert_eq!(world.drain_queue().await.len(), 2, "gone");
    snapshot!(harness.run(&format!("events replay fynapse/event/e-1 {WHO} --yes")).await.transcript());
    backdate(&harness, "fynapse/event/e-1", 14).await;
    backdate(&harness, "fynapse/event/e-2", 13).await;
    let doctor = harness.run("doctor").await;
    assert_eq!(doctor.exit_code, 1, "{}", doctor.transcript());
    snapshot!(
        doctor
            .stdout
            .lines()
            .filter(|line| line.contains("--lost") || line.contains("messages"))
            .collect::<Vec<_>>()
            .join("\n")
    );
    let both = "events replay fynapse/event/e-1 fynapse/event/e-2 --lost";
    snapshot!(harness.run(&format!("{both} {WHO}")).await.transcript());
    snapshot!(harness.run(&format!("{both} {WHO} --yes")).await.transcript());
    assert_eq!(harness.run("doctor").await.exit_code, 0, "nothing is lost any more");
    world.run_relay().await.unwrap().unwrap();
    world.run_worker().await;
    assert_eq!(world.drain_bus_ids().await, ["fynapse/event/e-1"]);
    snapshot!(harness.run("timeline e-1").await.transcript());
    let purged = format!("--json events replay fynapse/event/e-2 --lost --purged {WHO} --yes");
    assert_eq!(harness.run(&purged).await.json()["replays"][0]["outcome"], "due");
    world.run_relay().await.unwrap().unwrap();
    world.run_worker().await;
    let bus_events = world.drain_bus().await;
    assert_eq!((bus_events.len(), &bus_events[0].detail["replay"]), (1, &serde_json::Value::Null));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_where_somebody_else_reads_the_queue() {
    let harness = CliHarness::new().await;
    harness.world.deliver_rightfoot(completion_body("b-1", "u-1")).await;
    let status = async |words: &str| {
        let report = harness.run(&format!("--json doctor {words}")).await.json();
        let lost = report["checks"].as_array().unwrap().iter().find(|it| it["check"] == "lost messages");
        lost.unwrap()["status"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        number(&harness.world.event_record("rightfoot/batch/b-1/completed").await, "sent_at"),
        Some(START_MS)
    );
    assert_eq!(status("").await, "fail");
    assert_eq!(status("--no-worker").await, "skipped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_was_sent_and_is_not_done_can_be_declared_lost() {
    let harness = CliHarness::with_system_clock().await;
    let world = &harness.world;
    world.deliver_fynapse(extract_body("e-1")).await;
    world.run_worker().await;
    let outcome = async |event_id: &str| {
        let words = format!("--json events replay {event_id} --lost --purged {WHO} --yes");
        let ran = harness.run(&words).await;
        (ran.exit_code, ran.json()["replays"][0]["message"].as_str().unwrap().to_owned())
    };
    assert_eq!(
        outcome("fynapse/event/e-1").await,
        (1, "is done, so its message was not lost: replay it without --lost to repeat its effect".to_owned())
    );
    assert_eq!(
        outcome("fynapse/event/none").await,
        (1, "is not recorded, or its record has expired".to_owned())
    );
    assert_eq!(
        harness.run(&format!("events replay fynapse/event/e-1 --purged {WHO} --yes")).await.exit_code,
        2
    );
    assert_eq!(world.drain_bus_ids().await, ["fynapse/event/e-1"]);
}
