//! `quarantine replay` of old deliveries, and `quarantine discard`.

use std::time::Duration;

use inbox_aws::clock::Clock;
use tests::{completion_body, extract_body, text};

use crate::{CliHarness, snapshot};

const WHO: &str = "--by ada --why 'a flood'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p10_what_was_signed_before_its_record_may_have_expired_is_replayed_only_by_force() {
    let harness = CliHarness::new().await;
    let world = &harness.world;
    let (body, signature) = (extract_body("e-1"), world.sign(extract_body("e-1")));
    let forty_days = Clock::system().now().0 - 40 * 86_400_000 - 60_000;
    harness.time.store(forty_days, std::sync::atomic::Ordering::SeqCst);
    world.deliver_fynapse_with(&body, &signature, None).await;
    let replay = format!("quarantine replay --reason stale {WHO}");
    snapshot!(harness.run(&replay).await.transcript());
    snapshot!(harness.run(&format!("{replay} --yes")).await.transcript());
    assert!(world.drain_queue().await.is_empty());
    let forced = harness.run(&format!("{replay} --force --yes")).await;
    snapshot!(forced.transcript());
    assert_eq!(world.drain_event_ids().await, ["fynapse/event/e-1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p10_what_was_signed_long_ago_and_has_its_record_yet_is_a_duplicate() {
    let harness = CliHarness::new().await;
    let world = &harness.world;
    let (body, signature) = (extract_body("e-1"), world.sign(extract_body("e-1")));
    world.deliver_fynapse_with(&body, &signature, None).await;
    assert_eq!(world.drain_event_ids().await, ["fynapse/event/e-1"]);
    let forty_days = Clock::system().now().0 - 40 * 86_400_000 - 60_000;
    harness.time.store(forty_days, std::sync::atomic::Ordering::SeqCst);
    world.deliver_fynapse_with(&body, &signature, None).await;
    let replayed = harness.run(&format!("--json quarantine replay --reason stale {WHO} --yes")).await;
    assert_eq!(replayed.json()["replays"][0]["outcome"], "duplicate");
    assert!(world.drain_queue().await.is_empty());
}

/// Three unreadable deliveries by one URL and one by another.
async fn harness_with_flood() -> CliHarness {
    let harness = CliHarness::new().await;
    let world = &harness.world;
    for n in 0..3 {
        world.deliver_rightfoot(format!("{{{n}")).await;
        harness.advance(Duration::from_secs(1));
    }
    let other = world.stack.mint_url_token(&"other".parse().unwrap()).unwrap();
    world.deliver_rightfoot_to(&other, "{0").await;
    harness
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p7_only_the_flood_of_one_subject_is_discarded_and_audited() {
    let harness = harness_with_flood().await;
    let world = &harness.world;
    let discard = format!("quarantine discard --subject demo --reason unreadable --limit 2 {WHO}");
    let kept = async || {
        let items = world.items().await;
        items.iter().filter(|item| !text(item, "pk").starts_with("audit#")).count()
    };
    let items = kept().await;
    snapshot!(harness.run(&discard).await.transcript());
    let open = async || harness.run("--json quarantine list").await.json()["items"].as_array().unwrap().len();
    assert_eq!(open().await, 4, "there is no terminal to ask on");
    snapshot!(harness.run(&format!("{discard} --yes")).await.transcript());
    assert_eq!(open().await, 2);
    snapshot!(harness.run(&format!("--json {discard} --yes")).await.transcript());
    let listed = harness.run("--json quarantine list").await.json();
    assert_eq!(listed["items"][0]["subject"], "other");
    assert_eq!(kept().await, items, "nothing is deleted");
    snapshot!(harness.run(&format!("{discard} --yes")).await.transcript());

    let hash = inbox_core::event::payload_hash(b"{0");
    let item = format!("rightfoot/demo/{hash}");
    snapshot!(harness.run(&format!("quarantine show {item}")).await.transcript());
    let again = harness.run(&format!("quarantine replay {item} {WHO} --yes")).await;
    assert_eq!(
        (again.exit_code, again.stdout.contains("was closed before: discarded")),
        (0, true),
        "{}",
        again.transcript()
    );
    let twice = harness.run(&format!("--json quarantine discard {item} {WHO} --yes")).await;
    assert_eq!((twice.exit_code, twice.json()["discards"][0]["outcome"].clone()), (0, "was_closed".into()));
    world.deliver_rightfoot("{0").await;
    assert_eq!(open().await, 2, "the same bytes open it again");
    let by_name = format!("--json quarantine discard rightfoot/other/{hash} {WHO} --yes");
    assert_eq!(harness.run(&by_name).await.json()["discards"][0]["outcome"], "discarded");
    assert_eq!(harness.run(&format!("quarantine discard {WHO} --yes")).await.exit_code, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p7_an_event_whose_item_is_discarded_stays_quarantined() {
    let harness = CliHarness::new().await;
    let world = &harness.world;
    world.stack.connector.set_fault_plan(|call| {
        call.operation.starts_with("SendMessage").then_some(local::connector::Fault::InvalidMessage)
    });
    world.deliver_rightfoot(completion_body("b-1", "u-1")).await;
    for _ in 0..10 {
        harness.advance(Duration::from_secs(901));
        world.run_relay().await.unwrap().unwrap();
    }
    world.stack.connector.clear_fault_plan();
    let record = world.event_record("rightfoot/batch/b-1/completed").await;
    let discard = format!("quarantine discard --subject demo {WHO}");
    snapshot!(harness.run(&discard).await.transcript());
    assert_eq!(harness.run(&format!("{discard} --yes")).await.exit_code, 0);
    assert_eq!(world.event_record("rightfoot/batch/b-1/completed").await, record);
    snapshot!(harness.run("events show rightfoot/batch/b-1/completed").await.transcript());
}
