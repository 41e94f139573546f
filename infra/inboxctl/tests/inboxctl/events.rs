//! `events`, `batches list|track`, `due`: looking.

use std::time::Duration;

use local::connector::Fault;
use tests::{alert, completion, extract};

use crate::{Stand, snapshot};

/// Five events, in four states, a minute apart; and one batch that is watched.
async fn peopled() -> Stand {
    let stand = Stand::new().await;
    let world = &stand.world;
    world.rightfoot(completion("b-1", "u-1")).await;
    world.finish("rightfoot/batch/b-1/completed").await;
    stand.pass(Duration::from_secs(60));
    world.rightfoot(alert("b-1", "u-2")).await;
    stand.pass(Duration::from_secs(60));
    world.fynapse(extract("e-1")).await;
    world.system.connector.set_fault_plan(|call| (call.operation == "SendMessage").then_some(Fault::AccessDenied));
    stand.pass(Duration::from_secs(60));
    world.fynapse(extract("e-2")).await;
    world.system.connector.clear_fault_plan();
    stand.pass(Duration::from_secs(60));
    world.rightfoot(r#"{"type":"A_THIRD_TYPE"}"#).await;
    world.fynapse("{\"half\":").await;
    stand
}

/// A list's rows, sorted: a list is in no order.
fn sorted(told: &str) -> String {
    let mut lines: Vec<_> = told.lines().map(str::to_owned).collect();
    let last = lines.len().saturating_sub(1);
    if last > 2 {
        lines[2..last].sort();
    }
    lines.join("\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_listed_by_state_type_provider_and_time() {
    let stand = peopled().await;
    snapshot!(sorted(&stand.run("events list").await.told()));
    for (words, expected) in [
        ("--state done", vec!["rightfoot/batch/b-1/completed"]),
        (
            "--state recorded --state sent",
            vec!["fynapse/event/e-1", "fynapse/event/e-2", "rightfoot/batch/b-1/alert/u-2"],
        ),
        ("--type balance.extracted", vec!["fynapse/event/e-1", "fynapse/event/e-2"]),
        ("--provider rightfoot", vec!["rightfoot/batch/b-1/alert/u-2", "rightfoot/batch/b-1/completed"]),
        ("--since 2020-01-02T03:06:05Z", vec!["fynapse/event/e-1", "fynapse/event/e-2"]),
        (
            "--until 2020-01-02T03:06:05Z --provider rightfoot",
            vec!["rightfoot/batch/b-1/alert/u-2", "rightfoot/batch/b-1/completed"],
        ),
        ("--since 7d", vec![]),
    ] {
        let listed = stand.run(&format!("--json events list {words}")).await.json();
        let mut ids: Vec<_> = listed["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["event"].as_str().unwrap().to_owned())
            .collect();
        ids.sort();
        assert_eq!(ids, expected, "{words}");
    }
    snapshot!(stand.run("events list --state quarantined").await.told());
    snapshot!(stand.run("--json events list --state done").await.told());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_goes_on_where_it_ended() {
    let stand = Stand::new().await;
    for n in 0..7 {
        stand.world.fynapse(extract(&format!("e-{n}"))).await;
        stand.world.fynapse(format!("{{{n}")).await;
        stand.pass(Duration::from_secs(1));
    }
    for (list, of, name) in [("events list", "events", "event"), ("quarantine list", "items", "item")] {
        let (mut seen, mut page) = (Vec::new(), String::new());
        loop {
            let listed = stand.run(&format!("--json {list} --limit 3 {page}")).await.json();
            let rows = listed[of].as_array().unwrap();
            seen.extend(rows.iter().map(|it| it[name].as_str().unwrap().to_owned()));
            let Some(next) = listed["next"].as_str() else { break };
            assert_eq!(rows.len(), 3);
            page = format!("--page {next}");
        }
        let count = seen.len();
        seen.sort();
        seen.dedup();
        assert_eq!((count, seen.len()), (7, 7), "{list}");
    }
    assert!(stand.run("quarantine list --limit 3").await.stdout.contains("\nThere is more: --page "));
    snapshot!(stand.run("events list --page nonsense").await.told());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_shown_without_its_payload_unless_it_is_asked_for() {
    let stand = peopled().await;
    snapshot!(stand.run("events show fynapse/event/e-1").await.told());
    snapshot!(stand.run("--json events show rightfoot/batch/b-1/completed").await.told());
    let revealed = stand.run("events show fynapse/event/e-1 --reveal").await;
    assert!(revealed.stdout.ends_with(&format!("\nBytes:\n{}\n", extract("e-1"))), "{}", revealed.told());
    let revealed = stand.run("--json events show fynapse/event/e-1 --reveal").await.json();
    assert_eq!(revealed["payload"]["bytes"], extract("e-1"));
    snapshot!(stand.run("events show fynapse/event/none").await.told());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quarantined_item_is_listed_and_shown_without_its_bytes_unless_they_are_asked_for() {
    let stand = peopled().await;
    snapshot!(sorted(&stand.run("quarantine list").await.told()));
    let listed = stand.run("--json quarantine list --reason unknown_type").await;
    snapshot!(listed.told());
    let item = listed.json()["items"][0]["item"].as_str().unwrap().to_owned();
    snapshot!(stand.run(&format!("quarantine show {item}")).await.told());
    let revealed = stand.run(&format!("quarantine show {item} --reveal")).await;
    assert!(revealed.stdout.ends_with("\nBytes:\n{\"type\":\"A_THIRD_TYPE\"}\n"), "{}", revealed.told());
    let zeros = "0".repeat(64);
    snapshot!(stand.run(&format!("quarantine show fynapse/{zeros}")).await.told());
    snapshot!(stand.run("quarantine list --reason stale").await.told());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn due_tells_what_waits_for_whom_and_since_when() {
    let stand = peopled().await;
    snapshot!(
        stand.run("batches track b-2 --expected 3 --failed user-9 --subject nightly --yes").await.told()
    );
    snapshot!(stand.run("due --limit 1").await.told());
    let due = stand.run("--json due").await.json();
    let of = |desk: usize| {
        let waiting = due["desks"][desk]["waiting"].as_array().unwrap();
        waiting.iter().map(|it| it["what"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        (of(0), of(1), of(2).len()),
        (vec!["fynapse/event/e-2".to_owned()], vec!["batch b-2".to_owned()], 2)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_tracked_once_and_listed() {
    let stand = Stand::new().await;
    let track = "batches track b-1 --expected 2 --subject nightly";
    snapshot!(stand.run(track).await.told());
    assert!(stand.world.items().await.is_empty());
    assert_eq!(stand.run(&format!("{track} --yes")).await.stdout, "b-1: tracked\n");
    assert_eq!(stand.run(&format!("--json {track} --yes")).await.json()["status"], "already_tracked");
    snapshot!(stand.run("batches track b-1 --expected 3 --yes").await.told());
    snapshot!(stand.run("batches track b-3 --expected 0 --yes").await.told());
    snapshot!(stand.run("batches list").await.told());
    assert_eq!(stand.run("--json batches list --state watched").await.json()["batches"][0]["expected"], 2);
    assert_eq!(stand.run("batches list --state overdue").await.stdout, "no such batch\n");
    assert_eq!(stand.run("batches list --schedule s-1").await.stdout, "no such batch\n");
}
