//! `events list|show`, `quarantine list|show`, `batches list|track` and `due`.

use std::time::Duration;

use local::connector::Fault;
use tests::{alert_body, completion_body, extract_body};

use crate::{CliHarness, snapshot};

/// Four events and two quarantined deliveries, a minute apart.
async fn harness_with_events() -> CliHarness {
    let harness = CliHarness::new().await;
    let world = &harness.world;
    world.deliver_rightfoot(completion_body("b-1", "u-1")).await;
    world.mark_done("rightfoot/batch/b-1/completed").await;
    harness.advance(Duration::from_secs(60));
    world.deliver_rightfoot(alert_body("b-1", "u-2")).await;
    harness.advance(Duration::from_secs(60));
    world.deliver_fynapse(extract_body("e-1")).await;
    world
        .stack
        .connector
        .set_fault_plan(|call| (call.operation == "SendMessage").then_some(Fault::AccessDenied));
    harness.advance(Duration::from_secs(60));
    world.deliver_fynapse(extract_body("e-2")).await;
    world.stack.connector.clear_fault_plan();
    harness.advance(Duration::from_secs(60));
    world.deliver_rightfoot(r#"{"type":"A_THIRD_TYPE"}"#).await;
    world.deliver_fynapse("{\"half\":").await;
    harness
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_listed_by_state_type_provider_and_time() {
    let harness = harness_with_events().await;
    snapshot!(harness.run("events list").await.transcript());
    snapshot!(harness.run("events list --wide").await.transcript());
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
        let listed = harness.run(&format!("--json events list {words}")).await.json();
        let mut ids: Vec<_> = listed["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["event"].as_str().unwrap().to_owned())
            .collect();
        ids.sort();
        assert_eq!(ids, expected, "{words}");
    }
    snapshot!(harness.run("events list --state quarantined").await.transcript());
    let reversed = harness.run("events list --since 2d --until 3d").await;
    assert!(
        reversed.exit_code == 1 && reversed.stderr.starts_with("error: --until ("),
        "{}",
        reversed.stderr
    );
    snapshot!(harness.run("--json events list --state done").await.transcript());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_are_paged_to_the_oldest_item_and_back() {
    let harness = CliHarness::new().await;
    for n in 0..7 {
        harness.world.deliver_fynapse(extract_body(&format!("e-{n}"))).await;
        harness.world.deliver_fynapse(format!("{{{n}")).await;
        harness.advance(Duration::from_secs(1));
    }
    for (list, of, name) in [("events list", "events", "event"), ("quarantine list", "items", "item")] {
        let page = async |place: String| {
            let listed = harness.run(&format!("--json {list} --limit 3 {place}")).await.json();
            let rows = listed[of].as_array().unwrap();
            let ids: Vec<_> = rows.iter().map(|it| it[name].as_str().unwrap().to_owned()).collect();
            let place =
                |direction: &str| listed[direction].as_str().map(|token| format!("--{direction} {token}"));
            (ids, place("older"), place("newer"))
        };
        let (first, older, none) = page(String::new()).await;
        let (second, oldest, _) = page(older.unwrap()).await;
        let (third, last, newer) = page(oldest.unwrap()).await;
        assert_eq!((none, last), (None, None), "{list}");
        assert_eq!((first.len(), second.len(), third.len()), (3, 3, 1), "{list}");
        let (back, _, newest) = page(newer.unwrap()).await;
        assert_eq!(back, second, "{list}");
        let (newest, _, none) = page(newest.unwrap()).await;
        assert_eq!((newest, none), (first.clone(), None), "{list}");
        if of == "events" {
            let all = [first, second, third].concat();
            assert_eq!(all, (0..7).rev().map(|n| format!("fynapse/event/e-{n}")).collect::<Vec<_>>());
        }
    }
    let text = harness.run("quarantine list --limit 3").await.stdout;
    // The command of the next page, to copy.
    let command = text.lines().find_map(|line| line.strip_prefix("Older: inboxctl ")).unwrap();
    assert!(command.starts_with("quarantine list --limit 3 --older ") && !text.contains("Newer"), "{text}");
    let next = harness.run(command).await.stdout;
    let commands: Vec<_> = next.lines().filter_map(|line| line.split_once(": inboxctl ")).collect();
    assert_eq!(commands.len(), 2, "{next}");
    assert!(commands[0].1.starts_with("quarantine list --limit 3 --older "), "{next}");
    assert!(commands[1].1.starts_with("quarantine list --limit 3 --newer "), "{next}");
    assert_ne!(commands[0].1, command);
    snapshot!(harness.run("events list --older nonsense").await.transcript());
    snapshot!(harness.run("events list --limit 501").await.transcript());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_id_is_taken_where_it_cannot_mean_another_item() {
    let harness = CliHarness::new().await;
    let (one, other) = ("a3efc743-ac6c-463b-aa19-4dd9c45b5b96", "a3efc743-ffff-463b-aa19-4dd9c45b5b96");
    for id in [one, other] {
        harness.world.deliver_fynapse(extract_body(id)).await;
        harness.world.mark_done(&format!("fynapse/event/{id}")).await;
    }
    // Commands that look find it among the newest items.
    let shown = harness.run("--json events show a3efc743-a").await.json();
    assert_eq!(shown["event"], format!("fynapse/event/{one}"));
    let shown = harness.run("--json timeline a3efc743-f").await.json();
    assert_eq!(shown["timelines"][0]["title"], format!("fynapse/event/{other}"));
    snapshot!(harness.run("events show a3efc743").await.transcript());
    // Commands that change something take only what this person has seen in a list.
    let replay = "events replay a3efc743-a --by ada --why test";
    snapshot!(harness.run(&format!("{replay} --yes")).await.transcript());
    let listed = harness.run("events list").await.stdout;
    assert!(listed.contains("\na3efc743-f  ") && listed.contains("\na3efc743-a  "), "{listed}");
    // A list of another kind does not take its place.
    assert_eq!(harness.run("quarantine list").await.exit_code, 0);
    // Without --yes the plan is an error, and names the whole id.
    let plan = harness.run(replay).await.stderr;
    assert!(plan.contains(&format!("fynapse/event/{one}  (done; becomes replay 1)")), "{plan}");
    assert_eq!(harness.run(&format!("{replay} --yes")).await.exit_code, 0);
    let elsewhere = [("AWS_ENDPOINT_URL", harness.aws_url.as_str()), ("XDG_STATE_HOME", "/dev/null")];
    let refused = harness.run_with_env(&format!("{replay} --yes"), &elsewhere).await;
    assert_eq!(refused.exit_code, 1, "another person's list: {}", refused.transcript());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_shown_without_its_payload_unless_it_is_asked_for() {
    let harness = harness_with_events().await;
    snapshot!(harness.run("events show fynapse/event/e-1").await.transcript());
    snapshot!(harness.run("--json events show rightfoot/batch/b-1/completed").await.transcript());
    let revealed = harness.run("events show fynapse/event/e-1 --reveal").await;
    assert!(
        revealed.stdout.ends_with(&format!("\nBytes:\n{}\n", extract_body("e-1"))),
        "{}",
        revealed.transcript()
    );
    let revealed = harness.run("--json events show fynapse/event/e-1 --reveal").await.json();
    assert_eq!(revealed["payload"]["bytes"], extract_body("e-1"));
    snapshot!(harness.run("events show fynapse/event/none").await.transcript());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quarantined_item_is_listed_and_shown_without_its_bytes_unless_they_are_asked_for() {
    let harness = harness_with_events().await;
    snapshot!(harness.run("quarantine list").await.transcript());
    let listed = harness.run("--json quarantine list --reason unknown_type").await;
    snapshot!(listed.transcript());
    let item = listed.json()["items"][0]["item"].as_str().unwrap().to_owned();
    snapshot!(harness.run(&format!("quarantine show {item}")).await.transcript());
    let revealed = harness.run(&format!("quarantine show {item} --reveal")).await;
    assert!(
        revealed.stdout.ends_with("\nBytes:\n{\"type\":\"A_THIRD_TYPE\"}\n"),
        "{}",
        revealed.transcript()
    );
    let zeros = "0".repeat(64);
    snapshot!(harness.run(&format!("quarantine show fynapse/{zeros}")).await.transcript());
    snapshot!(harness.run("quarantine list --reason stale").await.transcript());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn due_lists_every_due_queue_with_its_times() {
    let harness = harness_with_events().await;
    snapshot!(
        harness
            .run(
                "batches track b-2 --expected 3 --failed user-9 --subject nightly --by ada --why drill --yes"
            )
            .await
            .transcript()
    );
    snapshot!(harness.run("due --limit 1").await.transcript());
    let due = harness.run("--json due").await.json();
    let ids = |queue: usize| {
        let items = due["queues"][queue]["items"].as_array().unwrap();
        items.iter().map(|it| it["item"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        (ids(0), ids(1), ids(2).len()),
        (vec!["fynapse/event/e-2".to_owned()], vec!["batch b-2".to_owned()], 2)
    );
    // Short ids are those that other commands take, and the whole ones are there, too.
    let short = harness.run("due").await.stdout;
    let quarantined = ids(2)[0].clone();
    let short_id = &quarantined.rsplit_once('/').unwrap().1[..8];
    assert!(short.contains(&format!("\nquarantine {short_id}  ")), "{short}");
    assert!(short.lines().all(|line| line.chars().count() <= 80), "{short}");
    assert_eq!(harness.run(&format!("--json quarantine show {short_id}")).await.json()["item"], quarantined);
    let wide = harness.run("due --wide").await.stdout;
    assert!(wide.contains(&format!("\n{quarantined}  ")), "{wide}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_tracked_once_and_listed() {
    let harness = CliHarness::new().await;
    let track = "batches track b-1 --expected 2 --subject nightly --by ada --why drill";
    snapshot!(harness.run(track).await.transcript());
    assert!(harness.world.items().await.is_empty());
    assert_eq!(harness.run(&format!("{track} --yes")).await.stdout, "b-1: tracked\n");
    assert_eq!(harness.run(&format!("--json {track} --yes")).await.json()["status"], "already_tracked");
    snapshot!(harness.run("batches track b-1 --expected 3 --by ada --why drill --yes").await.transcript());
    snapshot!(harness.run("batches track b-3 --expected 0 --by ada --why drill --yes").await.transcript());
    let audit = harness.run("--json audit --action track").await.json();
    let entry = &audit["entries"][0];
    assert_eq!(
        (&entry["subject"], &entry["by"], &entry["why"], audit["entries"].as_array().unwrap().len()),
        (&"batch b-1".into(), &"ada".into(), &"drill".into(), 1)
    );
    snapshot!(harness.run("batches list").await.transcript());
    assert_eq!(harness.run("--json batches list --state tracked").await.json()["batches"][0]["expected"], 2);
    assert_eq!(harness.run("batches list --state overdue").await.stdout, "no batch matches\n");
    assert_eq!(harness.run("batches list --schedule s-1").await.stdout, "no batch matches\n");
}
