//! `events replay`, `quarantine replay`, `dead-letters redrive`, `submissions conclude`: changes ask first and leave an audit
//! entry.

use std::time::Duration;

use local::connector::Fault;
use local::stack::{DEAD_LETTER_QUEUE, EVENTS_QUEUE};
use tests::{Item, completion_body, extract_body, number};

use crate::timeline::item;
use crate::{CliHarness, START_MS, snapshot};

const WHO: &str = "--by ada --why 'fixed in 1.4'";
const COMPLETED: &str = "rightfoot/batch/b-1/completed";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_a_done_event_is_replayed_by_name_and_for_a_reason() {
    let harness = CliHarness::new().await;
    harness.world.deliver_rightfoot(completion_body("b-1", "u-1")).await;
    harness.world.deliver_fynapse(extract_body("e-1")).await;
    harness.world.mark_done(COMPLETED).await;
    snapshot!(harness.run(&format!("events replay {COMPLETED} {WHO}")).await.transcript());
    assert_eq!(
        number(&harness.world.event_record(COMPLETED).await, "replay"),
        None,
        "there is no terminal to ask on"
    );
    let refused = harness.run(&format!("events replay fynapse/event/e-1 {WHO}")).await;
    assert!(refused.stdout.contains("  is sent, not done: "), "{}", refused.transcript());
    assert_eq!(
        (refused.exit_code, refused.stderr.as_str()),
        (1, ""),
        "nobody is asked about what is refused"
    );
    let words = format!("events replay {COMPLETED} fynapse/event/e-1 fynapse/event/none {WHO} --yes");
    snapshot!(harness.run(&words).await.transcript());
    assert_eq!(number(&harness.world.event_record(COMPLETED).await, "replay"), Some(1));
    snapshot!(harness.run(&format!("events show {COMPLETED}")).await.transcript());
    harness.world.mark_done(COMPLETED).await;
    let env = [("AWS_ENDPOINT_URL", harness.aws_url.as_str()), ("INBOXCTL_BY", "bob")];
    let again =
        harness.run_with_env(&format!("--json events replay {COMPLETED} --why drill --yes"), &env).await;
    assert_eq!(
        (again.exit_code, again.json()["replays"][0]["message"].as_str()),
        (0, Some("due: the relay sends it, as replay 2"))
    );
    snapshot!(harness.run(&format!("events replay {COMPLETED} --yes")).await.transcript());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p10_a_replayed_event_is_processed_again() {
    let harness = CliHarness::with_system_clock().await;
    let world = &harness.world;
    world.deliver_fynapse(extract_body("e-1")).await;
    world.run_worker().await;
    snapshot!(harness.run("timeline e-1").await.transcript());
    let replayed = harness.run(&format!("events replay fynapse/event/e-1 {WHO} --yes")).await;
    assert_eq!(replayed.exit_code, 0, "{}", replayed.transcript());
    world.run_relay().await.unwrap().unwrap();
    world.run_worker().await;
    let replay_numbers: Vec<_> =
        world.drain_bus().await.into_iter().map(|event| event.detail["replay"].clone()).collect();
    assert_eq!(replay_numbers, [serde_json::Value::Null, 1.into()]);
    snapshot!(harness.run("timeline fynapse/event/e-1").await.transcript());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p7_quarantined_deliveries_are_replayed_after_a_fix() {
    let harness = CliHarness::new().await;
    let world = &harness.world;
    let unreadable = r#"{"type":"A_THIRD_TYPE"}"#;
    world.deliver_rightfoot(unreadable).await;
    let readable = world.quarantine_as_older_version(unreadable, &completion_body("b-1", "u-1")).await;
    world.deliver_rightfoot(r#"{"type":"A_FOURTH_TYPE"}"#).await;
    world.deliver_fynapse("{").await;
    snapshot!(harness.run(&format!("quarantine replay --reason unknown_type {WHO}")).await.transcript());
    snapshot!(
        harness.run(&format!("quarantine replay --reason unknown_type {WHO} --yes")).await.transcript()
    );
    assert_eq!(world.drain_event_ids().await, [COMPLETED]);
    snapshot!(harness.run(&format!("quarantine show {readable}")).await.transcript());
    snapshot!(harness.run(&format!("timeline {COMPLETED}")).await.transcript());
    let again = harness.run(&format!("--json quarantine replay {readable} {WHO} --yes")).await;
    assert_eq!((again.exit_code, again.json()["replays"][0]["outcome"].as_str()), (0, Some("was_closed")));
    snapshot!(harness.run(&format!("quarantine replay --reason stale {WHO} --yes")).await.transcript());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p7_a_replay_bounded_by_a_limit_says_that_there_is_more() {
    let harness = CliHarness::new().await;
    for n in 0..3 {
        harness.world.deliver_fynapse(format!("{{{n}")).await;
    }
    let asked = harness.run(&format!("quarantine replay --reason unreadable --limit 2 {WHO}")).await;
    assert!(asked.stderr.contains("(There are more for this reason: --limit 2.)"), "{}", asked.transcript());
    let done =
        harness.run(&format!("--json quarantine replay --reason unreadable --limit 2 {WHO} --yes")).await;
    let outcomes: Vec<_> =
        done.json()["replays"].as_array().unwrap().iter().map(|it| it["outcome"].clone()).collect();
    assert_eq!((done.exit_code, outcomes), (1, vec!["stays".into(), "stays".into()]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_are_listed_and_redriven_with_an_audit_entry() {
    let harness = CliHarness::new().await;
    let world = &harness.world;
    world.deliver_rightfoot(completion_body("b-1", "u-1")).await;
    let body = world.drain_queue().await.remove(0).body;
    snapshot!(harness.run("dead-letters list").await.transcript());
    harness.send_dead_letter(&body).await;
    harness.send_dead_letter("not ours").await;
    let listed = harness.run("--json dead-letters list").await;
    let mut messages = listed.json()["messages"].as_array().unwrap().clone();
    messages.sort_by_key(|message| message["event"].is_null());
    assert_eq!((messages.len(), &messages[0]["event"]), (2, &COMPLETED.into()));
    assert_eq!(messages[0]["state"], "sent");
    let text = harness.run("dead-letters list").await.stdout;
    let of_event =
        format!("\n{}  b-1                sent  ", &messages[0]["message_id"].as_str().unwrap()[..8]);
    assert!(text.contains(&of_event) && text.contains("  not of this inbox  -     "), "{text}");
    assert_eq!(
        harness.run("--json dead-letters list --limit 1").await.json()["is_truncated"],
        true,
        "list puts them back"
    );
    snapshot!(harness.run("dead-letters redrive --dry-run").await.transcript());
    snapshot!(harness.run(&format!("dead-letters redrive {WHO}")).await.transcript());
    assert!(harness.drain_queue(EVENTS_QUEUE).await.is_empty());
    snapshot!(harness.run(&format!("dead-letters redrive {WHO} --yes")).await.transcript());
    assert_eq!(harness.drain_queue(EVENTS_QUEUE).await, [body, "not ours".to_owned()]);
    assert!(harness.drain_queue(DEAD_LETTER_QUEUE).await.is_empty());
    snapshot!(harness.run(&format!("timeline {COMPLETED}")).await.transcript());
    snapshot!(harness.run("dead-letters redrive").await.transcript());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redrive_bounded_by_its_limit_says_that_there_may_be_more_and_how_to_go_on() {
    let harness = CliHarness::new().await;
    for n in 0..3 {
        harness.send_dead_letter(&format!("not ours {n}")).await;
    }
    let more = "\nThere may be more: repeat the command, or move more at once with --limit.\n";
    let looked = harness.run("dead-letters redrive --dry-run --limit 2").await;
    assert!(looked.stdout.ends_with(&format!("nothing was moved.\n{more}")), "{}", looked.transcript());
    let first = harness.run(&format!("dead-letters redrive --limit 2 {WHO} --yes")).await;
    assert!(first.exit_code == 0 && first.stdout.ends_with(more), "{}", first.transcript());
    let last = harness.run(&format!("dead-letters redrive --limit 2 {WHO} --yes")).await;
    assert!(last.exit_code == 0 && !last.stdout.contains("There may be more"), "{}", last.transcript());
    assert_eq!(harness.drain_queue(EVENTS_QUEUE).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_p7_an_event_that_sqs_rejected_is_requeued_by_a_replay() {
    let harness = CliHarness::new().await;
    let world = &harness.world;
    world
        .stack
        .connector
        .set_fault_plan(|call| call.operation.starts_with("SendMessage").then_some(Fault::InvalidMessage));
    world.deliver_rightfoot(completion_body("b-1", "u-1")).await;
    for _ in 0..10 {
        harness.advance(std::time::Duration::from_secs(901));
        world.run_relay().await.unwrap().unwrap();
    }
    world.stack.connector.clear_fault_plan();
    snapshot!(harness.run(&format!("timeline {COMPLETED}")).await.transcript());
    snapshot!(
        harness.run(&format!("quarantine replay --reason queue_refused {WHO} --yes")).await.transcript()
    );
    // The stack's clock is far behind the one of `inboxctl`.
    harness
        .time
        .store(inbox_aws::clock::Clock::system().now().0 + 1_000, std::sync::atomic::Ordering::SeqCst);
    world.run_relay().await.unwrap().unwrap();
    assert_eq!(world.drain_event_ids().await, [COMPLETED]);
}

/// A submission with two attempts and an unknown outcome.
pub(crate) fn pending_submission(submission_id: &str) -> Item {
    let pk = format!("rightfoot#submission#{submission_id}");
    let url = format!("https://h.example/webhooks/rightfoot/{submission_id}.secret");
    item(
        &[
            ("pk", &pk),
            ("sk", "submitted"),
            ("subject", submission_id),
            ("kind", "batch"),
            ("fingerprint", "f"),
            ("fingerprint_key", "k"),
            ("call_id", "c"),
            ("webhook_url", &url),
            ("due", "poll#00"),
        ],
        &[
            ("written_at", START_MS),
            ("rev", 2),
            ("polls", 0),
            ("attempts", 2),
            ("due_at", START_MS + 900_000),
        ],
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abandoned_submission_says_so_after_it_is_concluded() {
    let harness = CliHarness::new().await;
    let mut abandoned = pending_submission("payroll");
    abandoned.retain(|name, _| !["due", "due_at", "webhook_url"].contains(&name.as_str()));
    abandoned.extend(item(&[], &[("abandoned_at", START_MS + 86_400_000)]));
    harness.world.put_item(abandoned).await;
    let status = harness.run("timeline payroll").await.stdout;
    assert!(status.ends_with("payroll: abandoned: it is unknown whether it created anything\n"), "{status}");
    assert_eq!(harness.run(&format!("submissions conclude payroll --none {WHO} --yes")).await.exit_code, 0);
    let timeline = harness.run("timeline payroll").await.stdout;
    let abandoned = timeline.find("2020-01-03T03:04:05.000Z").unwrap();
    assert!(timeline[abandoned..].contains("submission is abandoned: its outcome is unknown"), "{timeline}");
    assert!(timeline.ends_with("payroll: it created nothing, and its name is free\n"), "{timeline}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_submission_that_made_nothing_is_concluded_for_a_reason_and_frees_its_name() {
    let harness = CliHarness::new().await;
    let world = &harness.world;
    world.put_item(pending_submission("payroll")).await;
    let mut made = pending_submission("nightly");
    made.extend(item(&[("batch_id", "b-1")], &[("done_at", START_MS + 1_000)]));
    world.put_item(made.clone()).await;
    let submission_item = async || world.item("rightfoot#submission#payroll", "submitted").await.unwrap();

    let conclude = format!("submissions conclude payroll --none {WHO}");
    snapshot!(harness.run(&conclude).await.transcript());
    assert_eq!(submission_item().await, pending_submission("payroll"), "there is no terminal to ask on");
    let without = harness.run(&format!("submissions conclude payroll {WHO} --yes")).await;
    assert_eq!((without.exit_code, without.stderr.contains("--none")), (2, true), "{}", without.transcript());
    snapshot!(harness.run(&format!("{conclude} --yes")).await.transcript());
    let freed = submission_item().await;
    for gone in ["due", "due_at", "webhook_url"] {
        assert!(!freed.contains_key(gone), "{gone}");
    }
    assert_eq!((number(&freed, "rev"), freed["audit_entries"].as_l().unwrap().len()), (Some(3), 1));
    assert!(freed.contains_key("declined_at") && freed.contains_key("expires_at"));
    snapshot!(harness.run("timeline payroll").await.transcript());
    snapshot!(harness.run(&format!("{conclude} --yes")).await.transcript());
    assert_eq!(submission_item().await, freed);
    snapshot!(harness.run(&format!("submissions conclude nightly --none {WHO} --yes")).await.transcript());
    assert_eq!(world.item("rightfoot#submission#nightly", "submitted").await, Some(made));
    snapshot!(harness.run(&format!("submissions conclude nobody --none {WHO} --yes")).await.transcript());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_action_is_in_the_audit_list_with_its_operator_subject_and_reason() {
    let harness = CliHarness::new().await;
    harness.world.deliver_fynapse(extract_body("e-1")).await;
    harness.world.mark_done("fynapse/event/e-1").await;
    harness.world.deliver_fynapse("{\"half\":").await;
    assert_eq!(harness.run("audit").await.stdout, "no operator has done anything\n");
    let item =
        harness.run("--json quarantine list").await.json()["items"][0]["item"].as_str().unwrap().to_owned();
    for command in [
        "events replay fynapse/event/e-1 --by ada --why 'rule failed' --yes".to_owned(),
        format!("quarantine discard {item} --by grace --why 'a test' --yes"),
    ] {
        let done = harness.run(&command).await;
        assert_eq!(done.exit_code, 0, "{}", done.transcript());
        // The clock of `inboxctl` is the machine's.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let entries = async |filter: &str| {
        let listed = harness.run(&format!("--json audit {filter}")).await.json();
        let row = |it: &serde_json::Value| {
            ["by", "action", "subject", "why"].map(|field| it[field].as_str().unwrap().to_owned()).join(" | ")
        };
        listed["entries"].as_array().unwrap().iter().map(row).collect::<Vec<_>>()
    };
    let (discard, replay) = (
        format!("grace | discard | quarantine {item} | a test"),
        "ada | replay | event fynapse/event/e-1 | rule failed".to_owned(),
    );
    assert_eq!(entries("").await, [discard.clone(), replay.clone()]);
    assert_eq!(entries("--operator ada").await, [replay]);
    assert_eq!(entries("--action discard --since 1h").await, [discard]);
    assert_eq!(entries("--until 2020-01-02T00:00:00Z").await, Vec::<String>::new());
}
