//! `quarantine replay|discard`: what is too old to be replayed as it is, and what shall not be.

use std::time::Duration;

use inbox_aws::clock::Clock;
use tests::{completion, extract};

use crate::{Stand, snapshot};

const WHO: &str = "--by ada --why 'a flood'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p10_what_was_signed_before_its_record_may_have_expired_is_replayed_only_by_force() {
    let stand = Stand::new().await;
    let world = &stand.world;
    let (body, signature) = (extract("e-1"), world.sign(extract("e-1")));
    let forty_days = Clock::system().now().0 - 40 * 86_400_000 - 60_000;
    stand.time.store(forty_days, std::sync::atomic::Ordering::SeqCst);
    world.fynapse_with(&body, &signature, None).await;
    let replay = format!("quarantine replay --reason stale {WHO}");
    snapshot!(stand.run(&replay).await.told());
    snapshot!(stand.run(&format!("{replay} --yes")).await.told());
    assert!(world.drain().await.is_empty());
    let forced = stand.run(&format!("{replay} --force --yes")).await;
    snapshot!(forced.told());
    assert_eq!(world.drain_ids().await, ["fynapse/event/e-1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p10_what_was_signed_long_ago_and_has_its_record_yet_is_a_duplicate() {
    let stand = Stand::new().await;
    let world = &stand.world;
    let (body, signature) = (extract("e-1"), world.sign(extract("e-1")));
    world.fynapse_with(&body, &signature, None).await;
    assert_eq!(world.drain_ids().await, ["fynapse/event/e-1"]);
    let forty_days = Clock::system().now().0 - 40 * 86_400_000 - 60_000;
    stand.time.store(forty_days, std::sync::atomic::Ordering::SeqCst);
    world.fynapse_with(&body, &signature, None).await;
    let replayed = stand.run(&format!("--json quarantine replay --reason stale {WHO} --yes")).await;
    assert_eq!(replayed.json()["replays"][0]["outcome"], "duplicate");
    assert!(world.drain().await.is_empty());
}

/// Three unreadable deliveries by one URL, one by another, and an event by the first that SQS refused.
async fn flooded() -> Stand {
    let stand = Stand::new().await;
    let world = &stand.world;
    for n in 0..3 {
        world.rightfoot(format!("{{{n}")).await;
        stand.pass(Duration::from_secs(1));
    }
    let other = world.system.mint_url_token(&"other".parse().unwrap()).unwrap();
    world.rightfoot_to(&other, "{0").await;
    stand
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p7_what_one_subject_has_flooded_is_discarded_with_a_trace_and_nothing_else() {
    let stand = flooded().await;
    let world = &stand.world;
    let discard = format!("quarantine discard --subject demo --reason unreadable --limit 2 {WHO}");
    let items = world.items().await.len();
    snapshot!(stand.run(&discard).await.told());
    let open = async || stand.run("--json quarantine list").await.json()["items"].as_array().unwrap().len();
    assert_eq!(open().await, 4, "there was nobody to ask");
    snapshot!(stand.run(&format!("{discard} --yes")).await.told());
    assert_eq!(open().await, 2);
    snapshot!(stand.run(&format!("--json {discard} --yes")).await.told());
    let listed = stand.run("--json quarantine list").await.json();
    assert_eq!(listed["items"][0]["subject"], "other");
    assert_eq!(world.items().await.len(), items, "nothing is deleted");
    snapshot!(stand.run(&format!("{discard} --yes")).await.told());

    let hash = inbox_core::event::payload_hash(b"{0");
    let item = format!("rightfoot/demo/{hash}");
    snapshot!(stand.run(&format!("quarantine show {item}")).await.told());
    let again = stand.run(&format!("quarantine replay {item} {WHO} --yes")).await;
    assert_eq!(
        (again.code, again.stdout.contains("was closed before: discarded")),
        (0, true),
        "{}",
        again.told()
    );
    let twice = stand.run(&format!("--json quarantine discard {item} {WHO} --yes")).await;
    assert_eq!((twice.code, twice.json()["discards"][0]["outcome"].clone()), (0, "was_closed".into()));
    world.rightfoot("{0").await;
    assert_eq!(open().await, 2, "the same bytes open it again");
    let by_name = format!("--json quarantine discard rightfoot/other/{hash} {WHO} --yes");
    assert_eq!(stand.run(&by_name).await.json()["discards"][0]["outcome"], "discarded");
    assert_eq!(stand.run(&format!("quarantine discard {WHO} --yes")).await.code, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p7_an_event_whose_item_is_discarded_stays_given_up() {
    let stand = Stand::new().await;
    let world = &stand.world;
    world
        .system
        .connector
        .set_fault_plan(|call| call.operation.starts_with("SendMessage").then_some(local::connector::Fault::InvalidMessage));
    world.rightfoot(completion("b-1", "u-1")).await;
    for _ in 0..10 {
        stand.pass(Duration::from_secs(901));
        world.relay().await.unwrap().unwrap();
    }
    world.system.connector.clear_fault_plan();
    let record = world.record_of("rightfoot/batch/b-1/completed").await;
    let discard = format!("quarantine discard --subject demo {WHO}");
    snapshot!(stand.run(&discard).await.told());
    assert_eq!(stand.run(&format!("{discard} --yes")).await.code, 0);
    assert_eq!(world.record_of("rightfoot/batch/b-1/completed").await, record);
    snapshot!(stand.run("events show rightfoot/batch/b-1/completed").await.told());
}
