//! `events replay`, `quarantine replay`, `dead list|redrive`: what changes something, asks first and leaves a trace.

use local::stack::{DEAD_LETTER_QUEUE, EVENTS_QUEUE};
use local::connector::Fault;
use tests::{Item, completion, extract, number};

use crate::tracing::item;
use crate::{START, Stand, snapshot};

const WHO: &str = "--by ada --why 'fixed in 1.4'";
const COMPLETED: &str = "rightfoot/batch/b-1/completed";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_a_done_event_is_replayed_by_name_and_for_a_reason() {
    let stand = Stand::new().await;
    stand.world.rightfoot(completion("b-1", "u-1")).await;
    stand.world.fynapse(extract("e-1")).await;
    stand.world.finish(COMPLETED).await;
    snapshot!(stand.run(&format!("events replay {COMPLETED} {WHO}")).await.told());
    assert_eq!(number(&stand.world.record_of(COMPLETED).await, "replay"), None, "there was nobody to ask");
    let words = format!("events replay {COMPLETED} fynapse/event/e-1 fynapse/event/none {WHO} --yes");
    snapshot!(stand.run(&words).await.told());
    assert_eq!(number(&stand.world.record_of(COMPLETED).await, "replay"), Some(1));
    snapshot!(stand.run(&format!("events show {COMPLETED}")).await.told());
    stand.world.finish(COMPLETED).await;
    let env = [("AWS_ENDPOINT_URL", stand.aws_url.as_str()), ("INBOXCTL_BY", "bob")];
    let again = stand.run_in(&format!("--json events replay {COMPLETED} --why drill --yes"), &env).await;
    assert_eq!(
        (again.code, again.json()["replays"][0]["told"].as_str()),
        (0, Some("due: the relay sends it, as replay 2"))
    );
    snapshot!(stand.run(&format!("events replay {COMPLETED} --yes")).await.told());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p10_an_event_is_followed_to_its_effect_and_has_it_again_if_somebody_says_so() {
    let stand = Stand::now().await;
    let world = &stand.world;
    world.fynapse(extract("e-1")).await;
    world.work().await;
    snapshot!(stand.run("trace e-1").await.told());
    let replayed = stand.run(&format!("events replay fynapse/event/e-1 {WHO} --yes")).await;
    assert_eq!(replayed.code, 0, "{}", replayed.told());
    world.relay().await.unwrap().unwrap();
    world.work().await;
    let told: Vec<_> = world.on_bus().await.into_iter().map(|event| event.detail["replay"].clone()).collect();
    assert_eq!(told, [serde_json::Value::Null, 1.into()]);
    snapshot!(stand.run("trace fynapse/event/e-1").await.told());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p7_after_a_fix_what_is_in_quarantine_gets_its_way() {
    let stand = Stand::new().await;
    let world = &stand.world;
    let unreadable = r#"{"type":"A_THIRD_TYPE"}"#;
    world.rightfoot(unreadable).await;
    let readable = world.misread(unreadable, &completion("b-1", "u-1")).await;
    world.rightfoot(r#"{"type":"A_FOURTH_TYPE"}"#).await;
    world.fynapse("{").await;
    snapshot!(stand.run(&format!("quarantine replay --reason unknown_type {WHO}")).await.told());
    snapshot!(stand.run(&format!("quarantine replay --reason unknown_type {WHO} --yes")).await.told());
    assert_eq!(world.drain_ids().await, [COMPLETED]);
    snapshot!(stand.run(&format!("quarantine show {readable}")).await.told());
    snapshot!(stand.run(&format!("trace {COMPLETED}")).await.told());
    let again = stand.run(&format!("--json quarantine replay {readable} {WHO} --yes")).await;
    assert_eq!((again.code, again.json()["replays"][0]["outcome"].as_str()), (0, Some("was_closed")));
    snapshot!(stand.run(&format!("quarantine replay --reason stale {WHO} --yes")).await.told());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p7_a_replay_bounded_by_a_limit_says_that_there_is_more() {
    let stand = Stand::new().await;
    for n in 0..3 {
        stand.world.fynapse(format!("{{{n}")).await;
    }
    let asked = stand.run(&format!("quarantine replay --reason unreadable --limit 2 {WHO}")).await;
    assert!(asked.stderr.contains("(There are more for this reason: --limit 2.)"), "{}", asked.told());
    let done =
        stand.run(&format!("--json quarantine replay --reason unreadable --limit 2 {WHO} --yes")).await;
    let outcomes: Vec<_> =
        done.json()["replays"].as_array().unwrap().iter().map(|it| it["outcome"].clone()).collect();
    assert_eq!((done.code, outcomes), (1, vec!["stays".into(), "stays".into()]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_messages_are_shown_and_moved_back_with_a_trace() {
    let stand = Stand::new().await;
    let world = &stand.world;
    world.rightfoot(completion("b-1", "u-1")).await;
    let body = world.drain().await.remove(0).body;
    snapshot!(stand.run("dead list").await.told());
    stand.die(&body).await;
    stand.die("not ours").await;
    let listed = stand.run("--json dead list").await;
    let mut messages = listed.json()["messages"].as_array().unwrap().clone();
    messages.sort_by_key(|message| message["event"].is_null());
    assert_eq!((messages.len(), &messages[0]["event"]), (2, &COMPLETED.into()));
    assert_eq!(messages[0]["state"], "sent");
    assert_eq!(
        stand.run("--json dead list --limit 1").await.json()["is_cut_off"],
        true,
        "a look puts them back"
    );
    snapshot!(stand.run("dead redrive --dry-run").await.told());
    snapshot!(stand.run(&format!("dead redrive {WHO}")).await.told());
    assert!(stand.queued(EVENTS_QUEUE).await.is_empty());
    snapshot!(stand.run(&format!("dead redrive {WHO} --yes")).await.told());
    assert_eq!(stand.queued(EVENTS_QUEUE).await, [body, "not ours".to_owned()]);
    assert!(stand.queued(DEAD_LETTER_QUEUE).await.is_empty());
    snapshot!(stand.run(&format!("trace {COMPLETED}")).await.told());
    snapshot!(stand.run("dead redrive").await.told());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redrive_bounded_by_its_limit_says_that_there_may_be_more_and_how_to_go_on() {
    let stand = Stand::new().await;
    for n in 0..3 {
        stand.die(&format!("not ours {n}")).await;
    }
    let more = "\nThere may be more: do it again, or move more at once with --limit.\n";
    let looked = stand.run("dead redrive --dry-run --limit 2").await;
    assert!(looked.stdout.ends_with(&format!("nothing was moved.\n{more}")), "{}", looked.told());
    let first = stand.run(&format!("dead redrive --limit 2 {WHO} --yes")).await;
    assert!(first.code == 0 && first.stdout.ends_with(more), "{}", first.told());
    let last = stand.run(&format!("dead redrive --limit 2 {WHO} --yes")).await;
    assert!(last.code == 0 && !last.stdout.contains("There may be more"), "{}", last.told());
    assert_eq!(stand.queued(EVENTS_QUEUE).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_p7_an_event_that_sqs_refused_is_put_on_its_way_again() {
    let stand = Stand::new().await;
    let world = &stand.world;
    world.system.connector.set_fault_plan(|call| call.operation.starts_with("SendMessage").then_some(Fault::InvalidMessage));
    world.rightfoot(completion("b-1", "u-1")).await;
    for _ in 0..10 {
        stand.pass(std::time::Duration::from_secs(901));
        world.relay().await.unwrap().unwrap();
    }
    world.system.connector.clear_fault_plan();
    snapshot!(stand.run(&format!("trace {COMPLETED}")).await.told());
    snapshot!(stand.run(&format!("quarantine replay --reason queue_refused {WHO} --yes")).await.told());
    // The system's clock is far behind the one of `inboxctl`.
    stand.time.store(inbox_aws::clock::Clock::system().now().0 + 1_000, std::sync::atomic::Ordering::SeqCst);
    world.relay().await.unwrap().unwrap();
    assert_eq!(world.drain_ids().await, [COMPLETED]);
}

/// A submission that was attempted twice, and of which nobody knows what became.
pub(crate) fn pending(submission_id: &str) -> Item {
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
        &[("written_at", START), ("rev", 2), ("polls", 0), ("attempts", 2), ("due_at", START + 900_000)],
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_submission_that_was_given_up_says_so_after_it_is_concluded() {
    let stand = Stand::new().await;
    let mut given_up = pending("payroll");
    given_up.retain(|name, _| !["due", "due_at", "webhook_url"].contains(&name.as_str()));
    given_up.extend(item(&[], &[("given_up_at", START + 86_400_000)]));
    stand.world.put(given_up).await;
    let stands = stand.run("trace payroll").await.stdout;
    assert!(stands.ends_with("payroll: given up: it is not known whether it made anything\n"), "{stands}");
    assert_eq!(stand.run(&format!("submissions conclude payroll --none {WHO} --yes")).await.code, 0);
    let traced = stand.run("trace payroll").await.stdout;
    let given_up = traced.find("2020-01-03T03:04:05.000Z").unwrap();
    assert!(
        traced[given_up..].contains("submission is given up: it is not known what became of it"),
        "{traced}"
    );
    assert!(traced.ends_with("payroll: it made nothing, and its name is free\n"), "{traced}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_submission_that_made_nothing_is_concluded_for_a_reason_and_frees_its_name() {
    let stand = Stand::new().await;
    let world = &stand.world;
    world.put(pending("payroll")).await;
    let mut made = pending("nightly");
    made.extend(item(&[("batch_id", "b-1")], &[("done_at", START + 1_000)]));
    world.put(made.clone()).await;
    let of = async || world.item("rightfoot#submission#payroll", "submitted").await.unwrap();

    let conclude = format!("submissions conclude payroll --none {WHO}");
    snapshot!(stand.run(&conclude).await.told());
    assert_eq!(of().await, pending("payroll"), "there was nobody to ask");
    let without = stand.run(&format!("submissions conclude payroll {WHO} --yes")).await;
    assert_eq!((without.code, without.stderr.contains("--none")), (2, true), "{}", without.told());
    snapshot!(stand.run(&format!("{conclude} --yes")).await.told());
    let freed = of().await;
    for gone in ["due", "due_at", "webhook_url"] {
        assert!(!freed.contains_key(gone), "{gone}");
    }
    assert_eq!((number(&freed, "rev"), freed["interventions"].as_l().unwrap().len()), (Some(3), 1));
    assert!(freed.contains_key("refused_at") && freed.contains_key("expires_at"));
    snapshot!(stand.run("trace payroll").await.told());
    snapshot!(stand.run(&format!("{conclude} --yes")).await.told());
    assert_eq!(of().await, freed);
    snapshot!(stand.run(&format!("submissions conclude nightly --none {WHO} --yes")).await.told());
    assert_eq!(world.item("rightfoot#submission#nightly", "submitted").await, Some(made));
    snapshot!(stand.run(&format!("submissions conclude nobody --none {WHO} --yes")).await.told());
}
