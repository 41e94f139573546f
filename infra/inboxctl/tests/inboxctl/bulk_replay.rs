//! `events replay --since`: the events of a time range, replayed once each.

use std::time::Duration;

use tests::extract_body;

use crate::{CliHarness, snapshot};

const WHO: &str = "--by ada --why 'consumer was down'";

/// Six done events and one that is only sent, a minute apart.
async fn harness_with_done_events() -> CliHarness {
    let harness = CliHarness::new().await;
    for n in 0..7 {
        harness.world.deliver_fynapse(extract_body(&format!("e-{n}"))).await;
        if n != 3 {
            harness.world.mark_done(&format!("fynapse/event/e-{n}")).await;
        }
        harness.advance(Duration::from_secs(60));
    }
    harness
}

async fn replays(harness: &CliHarness) -> Vec<i64> {
    let mut all = Vec::new();
    for n in 0..7 {
        let record = harness.world.event_record(&format!("fynapse/event/e-{n}")).await;
        all.push(tests::number(&record, "replay").unwrap_or(0));
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_shows_the_range_and_changes_nothing() {
    let harness = harness_with_done_events().await;
    let range = "--since 2020-01-02T03:05:00Z --until 2020-01-02T03:09:30Z";
    snapshot!(harness.run(&format!("events replay {range} --dry-run")).await.transcript());
    snapshot!(harness.run("events replay --since 1h --dry-run").await.transcript());
    assert_eq!(replays(&harness).await, [0; 7]);
    // Without --yes, the plan is the error.
    snapshot!(harness.run(&format!("events replay {range} {WHO}")).await.transcript());
    assert_eq!(replays(&harness).await, [0; 7]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_bulk_replay_is_resumed_and_replays_each_event_once() {
    let harness = harness_with_done_events().await;
    let range = "--since 2020-01-02T03:05:00Z --until 2020-01-02T03:10:00Z";
    // The limit stands for the interruption: the oldest ones are replayed first.
    let first = harness.run(&format!("--json events replay {range} --limit 2 {WHO} --yes")).await.json();
    assert_eq!((&first["replayed"], &first["is_truncated"]), (&2.into(), &true.into()));
    assert_eq!(replays(&harness).await, [0, 1, 1, 0, 0, 0, 0]);
    let id = first["bulk_id"].as_str().unwrap();
    let rest = harness.run(&format!("--json events replay {range} --resume {id} {WHO} --yes")).await.json();
    assert_eq!((&rest["replayed"], &rest["already_replayed"]), (&2.into(), &2.into()));
    assert_eq!(rest["skipped"]["sent"], 1);
    assert_eq!(replays(&harness).await, [0, 1, 1, 0, 1, 1, 0]);
    let again = harness.run(&format!("events replay {range} --resume {id} {WHO} --yes")).await;
    assert_eq!((again.exit_code, replays(&harness).await), (0, vec![0, 1, 1, 0, 1, 1, 0]));
    snapshot!(again.transcript().replace(id, "[bulk]"));
    // The same audit entry as of a single replay.
    let shown = harness.run("--json events show fynapse/event/e-1").await.json();
    let entry = &shown["audit_entries"][0];
    assert_eq!(
        (&entry["by"], &entry["action"], &entry["why"]),
        (&"ada".into(), &"replay".into(), &"consumer was down".into())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bulk_replay_takes_a_range_or_events_and_says_what_is_wrong() {
    let harness = CliHarness::new().await;
    snapshot!(harness.run(&format!("events replay {WHO} --yes")).await.transcript());
    snapshot!(
        harness.run(&format!("events replay fynapse/event/e-1 --since 1h {WHO} --yes")).await.transcript()
    );
    snapshot!(harness.run("events replay --since 1h --yes").await.transcript());
    snapshot!(harness.run(&format!("events replay --since 1h --resume nonsense {WHO}")).await.transcript());
    snapshot!(harness.run(&format!("events replay --lost --since 1h {WHO}")).await.transcript());
}
