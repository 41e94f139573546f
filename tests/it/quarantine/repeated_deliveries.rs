//! The same bytes again: through another URL, or long after.

use std::time::Duration;

use inbox_aws::quarantine_replay::QuarantineReplayOutcome;
use inbox_core::event::{EventKey, payload_hash};
use inbox_core::quarantine::{QuarantineId, QuarantineReason, Resolution};
use tests::operator::test_operator;
use tests::{DAY, Item, World, completion_body, extract_body, number, text};

use super::{COMPLETED, UNREADABLE, oldest_open, quarantine_items, replay, undeliverable_event};

#[tokio::test]
async fn p7_the_same_bytes_by_another_url_make_an_item_of_their_own() {
    let world = World::new().await;
    world.deliver_rightfoot(UNREADABLE).await;
    let first = quarantine_items(&world).await;
    world.advance(Duration::from_secs(60));
    let other = world.stack.mint_url_token(&"other".parse().unwrap()).unwrap();
    assert_eq!(world.deliver_rightfoot_to(&other, UNREADABLE).await.status, 200);
    let mut both = quarantine_items(&world).await;
    both.sort_by_key(|item| number(item, "first_received_at"));
    assert_eq!(both.len(), 2);
    assert_eq!(both[..1], first, "whose URL it came by, and when, stays as it is");
    let subject_of = |item: &Item| {
        let id = QuarantineId::from_pk(text(item, "pk")).unwrap();
        (text(item, "subject").to_owned(), id.to_string(), number(item, "deliveries"))
    };
    let hash = payload_hash(UNREADABLE.as_bytes());
    let expected = ["demo", "other"].map(|it| (it.to_owned(), format!("rightfoot/{it}/{hash}"), Some(1)));
    assert_eq!(both.iter().map(subject_of).collect::<Vec<_>>(), expected);
    let (open, _) = world.stores().operator.list_quarantine(None, None, 10).await.unwrap();
    assert_eq!(open.len(), 2);
}

#[tokio::test]
async fn p7_the_item_of_a_quarantined_event_is_found_while_it_exists() {
    let (world, id) = undeliverable_event().await;
    let hash = payload_hash(completion_body("b-1", "u-1").as_bytes());
    assert_eq!(id.to_string(), format!("rightfoot/demo/{hash}"));
    let event =
        world.stores().operator.event(&EventKey::from_event_id(COMPLETED).unwrap()).await.unwrap().unwrap();
    let item = world.stores().operator.quarantined_item_of(&event).await.unwrap();
    assert_eq!(item.map(|item| item.id), Some(id));

    world.expire_items("quarantine#").await;
    assert!(world.stores().operator.quarantined_item_of(&event).await.unwrap().is_none());
}

/// A genuine, processed Fynapse delivery that somebody has recorded, and sends again so many days later.
async fn resent_after(days: u32) -> (World, QuarantineId) {
    let world = World::new().await;
    let (body, signature) = (extract_body("e-1"), world.sign(extract_body("e-1")));
    assert_eq!(world.deliver_fynapse_with(&body, &signature, None).await.status, 200);
    world.run_worker().await;
    assert_eq!(world.drain_bus_ids().await, ["fynapse/event/e-1"]);
    world.advance(DAY * days);
    assert_eq!(world.deliver_fynapse_with(&body, &signature, None).await.status, 403);
    let quarantined = oldest_open(&world, Some(QuarantineReason::Stale)).await;
    (world, quarantined.id)
}

#[tokio::test]
async fn p10_a_capture_that_comes_after_its_record_has_expired_is_not_published_again_by_a_replay() {
    let (world, id) = resent_after(40).await;
    world.expire_items("fynapse#event#").await;
    let signed_at = tests::START.secs();
    for _ in 0..2 {
        assert_eq!(replay(&world, &id).await, QuarantineReplayOutcome::TooOld { signed_at });
    }
    world.drain_outbox().await;
    world.run_worker().await;
    assert!(world.drain_bus_ids().await.is_empty());
    assert_eq!(
        world.stores().operator.quarantined_item(&id).await.unwrap().unwrap().resolution,
        None,
        "it stays"
    );
    let outcome = world.replayer().force().replay(&id, &test_operator()).await.unwrap();
    assert!(
        matches!(outcome, QuarantineReplayOutcome::Closed { resolution: Resolution::Recorded, .. }),
        "{outcome:?}"
    );
    world.run_worker().await;
    assert_eq!(world.drain_bus_ids().await, ["fynapse/event/e-1"], "somebody has said so");
}

#[tokio::test]
async fn p10_a_capture_that_comes_before_that_is_a_duplicate() {
    let (world, id) = resent_after(29).await;
    let outcome = replay(&world, &id).await;
    assert!(
        matches!(outcome, QuarantineReplayOutcome::Closed { resolution: Resolution::Duplicate, .. }),
        "{outcome:?}"
    );
    world.run_worker().await;
    assert!(world.drain_bus_ids().await.is_empty());
}
