//! Lists in every shape and style of paging, and lists that lack something.

use inbox_core::fynapse_api::listed_delivery::DeliveryStatus;
use local::fynapse_simulator::{ListPaging, ListShape, SimulatedList};
use serde_json::{Value, json};
use tests::fynapse_world::FynapseWorld;
use tests::{HOUR, MINUTE};

use super::{counts, missed};

const SHAPES: [ListShape; 3] = [ListShape::Envelope, ListShape::Array, ListShape::FrameworkPage];
const PAGINGS: [ListPaging; 5] =
    [ListPaging::FromZero, ListPaging::FromOne, ListPaging::Cursor, ListPaging::Link, ListPaging::None];

/// A world with 12 recorded events, one that was given up, and one that is not here, over several pages of the list.
async fn world_with(change: impl FnOnce(&mut SimulatedList)) -> FynapseWorld {
    let it = FynapseWorld::new().await;
    for number in 0..12 {
        it.deliver(&format!("e-{number}")).await;
        it.world.advance(MINUTE);
    }
    it.add_ended("e-given-up", DeliveryStatus::DeadLetter);
    it.add_ended("e-lost", DeliveryStatus::Delivered);
    it.world.advance(HOUR);
    it.fynapse.configure(|list| {
        list.page_rows = 5;
        change(list);
    });
    it
}

/// The counts of a run without the number of pages.
async fn found(it: &FynapseWorld) -> Value {
    let mut counts = counts(&it.run_auditor().await);
    counts.as_object_mut().unwrap().remove("pages");
    counts
}

fn everything() -> Value {
    json!({"listed": {"DEAD_LETTER": 1, "DELIVERED": 13}, "missed": 1, "lost": 1, "is_complete": true})
}

fn both_missed() -> Vec<(String, String)> {
    missed(&[("delivery-e-given-up", "dead_letter"), ("delivery-e-lost", "lost")])
}

#[tokio::test]
async fn the_list_is_read_in_every_shape_and_style_of_paging() {
    for shape in SHAPES {
        for paging in PAGINGS {
            // Nothing can stand beside an array, so it has neither a cursor nor a link.
            if shape == ListShape::Array && matches!(paging, ListPaging::Cursor | ListPaging::Link) {
                continue;
            }
            for is_oldest_first in [false, true] {
                let it = world_with(|list| {
                    (list.shape, list.paging, list.is_oldest_first) = (shape, paging, is_oldest_first);
                })
                .await;
                assert_eq!(found(&it).await, everything(), "{shape:?} {paging:?} {is_oldest_first}");
                assert_eq!(it.missed().await, both_missed(), "{shape:?} {paging:?} {is_oldest_first}");
            }
        }
    }
}

#[tokio::test]
async fn the_idempotency_key_is_compared_if_there_is_no_event_id() {
    for shape in SHAPES {
        let it = world_with(|list| (list.shape, list.has_event_ids) = (shape, false)).await;
        assert_eq!(found(&it).await, everything(), "{shape:?}");
        assert_eq!(it.missed().await, both_missed(), "{shape:?}");
    }
}

#[tokio::test]
async fn the_event_id_is_enough() {
    let it = world_with(|list| list.has_idempotency_keys = false).await;
    assert_eq!(found(&it).await, everything());
}

#[tokio::test]
async fn a_delivery_that_cannot_be_compared_is_never_lost() {
    let not_comparable = |count: u64| json!({"listed": {"DEAD_LETTER": 1, "DELIVERED": 13}, "missed": 1, "not_comparable": count, "is_complete": true});
    let given_up = missed(&[("delivery-e-given-up", "dead_letter")]);
    let without_ids =
        world_with(|list| (list.has_event_ids, list.has_idempotency_keys) = (false, false)).await;
    assert_eq!(found(&without_ids).await, not_comparable(13));
    assert_eq!(without_ids.missed().await, given_up);
    // Without times, an old record may have expired.
    let without_times = world_with(|list| list.has_times = false).await;
    assert_eq!(found(&without_times).await, not_comparable(1));
    assert_eq!(without_times.missed().await, given_up);
}

#[tokio::test]
async fn p4_a_payload_is_recorded_as_it_stands_in_every_shape() {
    for shape in SHAPES {
        let it = FynapseWorld::new().await;
        it.fynapse.configure(|list| (list.shape, list.has_payloads) = (shape, true));
        let outgoing = it.add_ended("e-1", DeliveryStatus::Cancelled);
        assert_eq!(it.run_auditor().await["recovered"], 1, "{shape:?}");
        let record = it.world.item("fynapse#event#e-1", "event").await.unwrap();
        assert_eq!(record["payload"].as_b().unwrap().as_ref(), outgoing.body.as_ref(), "{shape:?}");
    }
}
